/*
 * standin_io - what tests do to the disks of a host through standin_host, beside VSS.
 *
 *     standin_io PORT scan                          a line each: LUN BLOCKS BLOCK_BYTES SERIAL
 *     standin_io PORT get LUN FIRST COUNT FILE      blocks into a file
 *     standin_io PORT put LUN FIRST FILE            a file into blocks
 *     standin_io PORT table LUN                     DISK_ID, then a line for each partition:
 *                                                   ID FIRST COUNT ATTRIBUTES
 *     standin_io PORT mark|unmark|new-ids|recover LUN   what VSS does (windows/standin/gpt.h); recover:
 *                                                   of the last partition
 *     standin_io PORT number A FIRST_A B FIRST_B SLOTS  writes 1, 2, 3 ...: each into its slot on A,
 *                                                   flushed, and only then on B; until it is ended
 *     standin_io PORT hold MILLISECONDS             holds the writes of the host so long
 *     standin_io 0 numbered FILE SLOTS              the newest number in a file of slots, if all the
 *                                                   others are what they were when it was written
 *
 * Exit status 0; 1 with what went wrong; 2 for wrong usage.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "src/base/endian.h"
#include "windows/standin/gpt.h"
#include "windows/standin/machine_tcp.h"

enum { SLOT_BYTES = 512, CHUNK_BYTES = 256 * 1024 };

static struct si_machine *machine;
static struct si_disk disks[SI_DISKS_MAX];
static unsigned disk_count;

static const char *io_name(enum si_io io)
{
    static const char *const names[] = {"ok",   "data protect", "no space", "reservation conflict",
                                        "gone", "error"};
    return names[io];
}

static _Noreturn void fail(const char *what, enum si_io io)
{
    printf("standin_io: %s: %s\n", what, io_name(io));
    exit(1);
}

static void must(const char *what, enum si_io io)
{
    if (io != SI_IO_OK) fail(what, io);
}

static uint64_t number_of(const char *word)
{
    return strtoull(word, NULL, 10);
}

static const struct si_disk *find_disk(const char *word)
{
    unsigned lun = (unsigned)number_of(word);
    if (disk_count == 0) {
        disk_count = machine->rescan(machine, disks);
        if (disk_count > SI_DISKS_MAX) fail("no session", SI_IO_ERROR);
    }
    for (unsigned i = 0; i < disk_count; i++) {
        if (disks[i].lun == lun) return &disks[i];
    }
    fail(word, SI_IO_GONE);
}

/* ---- Blocks ---------------------------------------------------------------------------------- */

static void command_scan(char **words)
{
    unsigned count = machine->rescan(machine, disks);
    if (count > SI_DISKS_MAX) fail("no session", SI_IO_ERROR);
    for (unsigned i = 0; i < count; i++) {
        const struct si_disk *d = &disks[i];
        printf("%u %llu %u %.*s\n", d->lun, (unsigned long long)d->block_count, d->block_bytes,
               d->serial_page_size - 4, (const char *)d->serial_page + 4);
    }
}

static FILE *open_file(const char *path, const char *mode)
{
    FILE *file = fopen(path, mode);
    if (file) return file;
    printf("standin_io: %s cannot be opened\n", path);
    exit(1);
}

static void command_get(char **words)
{
    static uint8_t data[CHUNK_BYTES];
    const struct si_disk *disk = find_disk(words[0]);
    uint64_t lba = number_of(words[1]), left = number_of(words[2]);
    uint32_t step = CHUNK_BYTES / disk->block_bytes;
    FILE *file = open_file(words[3], "wb");
    while (left > 0) {
        uint32_t n = left < step ? (uint32_t)left : step;
        must("read", machine->read(machine, disk->handle, lba, n, data));
        if (fwrite(data, disk->block_bytes, n, file) != n) fail(words[3], SI_IO_ERROR);
        lba += n;
        left -= n;
    }
    if (fclose(file) != 0) fail(words[3], SI_IO_ERROR);
}

static void command_put(char **words)
{
    static uint8_t data[CHUNK_BYTES];
    const struct si_disk *disk = find_disk(words[0]);
    uint64_t lba = number_of(words[1]);
    FILE *file = open_file(words[2], "rb");
    size_t got;
    while ((got = fread(data, 1, sizeof data, file)) > 0) {
        uint32_t n = (uint32_t)((got + disk->block_bytes - 1) / disk->block_bytes);
        memset(data + got, 0, (size_t)n * disk->block_bytes - got);
        must("write", machine->write(machine, disk->handle, lba, n, data));
        lba += n;
    }
    fclose(file);
    must("flush", machine->flush(machine, disk->handle));
}

/* ---- Tables ---------------------------------------------------------------------------------- */

static void print_guid(const GUID *id)
{
    printf("%08x-%04x-%04x-%02x%02x-", (unsigned)id->Data1, id->Data2, id->Data3, id->Data4[0],
           id->Data4[1]);
    for (unsigned i = 2; i < 8; i++)
        printf("%02x", id->Data4[i]);
}

static void read_table(const struct si_disk *disk, struct si_gpt *ret)
{
    must("the table", si_gpt_read(machine, disk, ret));
    if (ret->state == SI_GPT_SOUND) return;
    puts("standin_io: the table is not sound");
    exit(1);
}

static void command_table(char **words)
{
    struct si_gpt table;
    read_table(find_disk(words[0]), &table);
    print_guid(&table.disk_id);
    puts("");
    for (unsigned i = 0; i < table.count; i++) {
        const struct si_partition *p = &table.partitions[i];
        print_guid(&p->id);
        printf(" %llu %llu %016llx\n", (unsigned long long)p->first_lba,
               (unsigned long long)p->block_count, (unsigned long long)p->attributes);
    }
}

static void random_guid(struct si_host *h, GUID *ret)
{
    if (getrandom(ret, sizeof *ret, 0) != sizeof *ret) exit(1);
}

static void command_mark(char **words)
{
    must("mark", si_gpt_mark(machine, find_disk(words[0]), NULL));
}

static void command_unmark(char **words)
{
    must("unmark", si_gpt_unmark(machine, find_disk(words[0]), NULL));
}

static void command_new_ids(char **words)
{
    struct si_host host = {.new_guid = random_guid};
    must("new ids", si_gpt_new_ids(machine, find_disk(words[0]), &host));
}

static void command_recover(char **words)
{
    const struct si_disk *disk = find_disk(words[0]);
    struct si_gpt table;
    read_table(disk, &table);
    if (table.count == 0) fail("no partition", SI_IO_ERROR);
    must("recover", si_gpt_recover(machine, disk, &table.partitions[table.count - 1].id));
}

/* ---- Numbers --------------------------------------------------------------------------------- */

static void make_slot(uint64_t number, uint8_t slot[SLOT_BYTES])
{
    memcpy(slot, "NUMBERED", 8);
    for (unsigned i = 8; i < SLOT_BYTES; i += 8)
        store_be64(slot + i, number);
}

static void put_number(const struct si_disk *disk, uint64_t first, uint64_t slots, uint64_t number)
{
    uint8_t slot[SLOT_BYTES];
    make_slot(number, slot);
    must("write", machine->write(machine, disk->handle, first + number % slots, 1, slot));
    must("flush", machine->flush(machine, disk->handle));
}

static void command_number(char **words)
{
    const struct si_disk *a = find_disk(words[0]), *b = find_disk(words[2]);
    uint64_t first_a = number_of(words[1]), first_b = number_of(words[3]);
    uint64_t slots = number_of(words[4]);
    if (a->block_bytes != SLOT_BYTES || b->block_bytes != SLOT_BYTES || slots == 0)
        fail("blocks of 512 bytes are wanted", SI_IO_ERROR);
    for (uint64_t number = 1;; number++) {
        put_number(a, first_a, slots, number);
        put_number(b, first_b, slots, number);
    }
}

/* Slot i holds the newest number up to `last` that belongs there: i, i + slots, i + 2 slots, ... */
static bool is_slot_right(const uint8_t *slot, uint64_t i, uint64_t slots, uint64_t last)
{
    uint8_t wanted[SLOT_BYTES] = {0};
    uint64_t number = last - (last % slots + slots - i) % slots;
    if (number > last || number == 0) return true; /* not written yet: whatever was there */
    make_slot(number, wanted);
    return memcmp(slot, wanted, SLOT_BYTES) == 0;
}

static void command_numbered(char **words)
{
    static uint8_t data[4096 * SLOT_BYTES];
    uint64_t slots = number_of(words[1]), last = 0;
    FILE *file = open_file(words[0], "rb");
    if (slots == 0 || slots > 4096 || fread(data, SLOT_BYTES, slots, file) != slots)
        fail("not so many slots", SI_IO_ERROR);
    fclose(file);
    for (uint64_t i = 0; i < slots; i++) {
        uint64_t number = load_be64(data + i * SLOT_BYTES + 8);
        if (memcmp(data + i * SLOT_BYTES, "NUMBERED", 8) == 0 && number > last) last = number;
    }
    for (uint64_t i = 0; i < slots; i++) {
        if (is_slot_right(data + i * SLOT_BYTES, i, slots, last)) continue;
        printf("standin_io: slot %llu is not of the time of %llu\n", (unsigned long long)i,
               (unsigned long long)last);
        exit(1);
    }
    printf("%llu\n", (unsigned long long)last);
}

static void command_hold(char **words)
{
    unsigned long ms = strtoul(words[0], NULL, 10);
    if (!machine_tcp_hold(machine)) fail("hold", SI_IO_ERROR);
    nanosleep(&(struct timespec){(time_t)(ms / 1000), (long)(ms % 1000) * 1000000}, NULL);
    if (!machine_tcp_release(machine)) fail("the hold was lost", SI_IO_ERROR);
}

static const struct {
    const char *name;
    int words;
    void (*run)(char **words);
} commands[] = {
    {"scan", 0, command_scan},         {"get", 4, command_get},
    {"put", 3, command_put},           {"table", 1, command_table},
    {"mark", 1, command_mark},         {"unmark", 1, command_unmark},
    {"new-ids", 1, command_new_ids},   {"recover", 1, command_recover},
    {"number", 5, command_number},     {"hold", 1, command_hold},
    {"numbered", 2, command_numbered},
};

int main(int argc, char **argv)
{
    for (unsigned i = 0; argc > 2 && i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(argv[2], commands[i].name) != 0 || argc - 3 != commands[i].words) continue;
        unsigned short port = (unsigned short)number_of(argv[1]);
        if (port != 0 && !machine_tcp_open(port, &machine)) fail("standin_host", SI_IO_ERROR);
        if (port == 0 && commands[i].run != command_numbered) break;
        commands[i].run(argv + 3);
        machine_tcp_close(machine);
        return 0;
    }
    fputs("usage: standin_io PORT COMMAND ..., see the beginning of standin_io.c\n", stderr);
    return 2;
}
