/*
 * lun_tool - what the demo and the system tests do to a LUN below any file system, through libiscsi.
 * Stands alone: the name of libiscsi's header is also the name of one of ours.
 *
 *     lun_tool fill URL                      write the whole LUN once, in order
 *     lun_tool write URL LBA                 write one block and print how the target answered
 *     lun_tool mapped URL                    print how many bytes the LUN maps (GET LBA STATUS)
 *     lun_tool inquiry URL                   print INQUIRY and the pages 80h and 83h, a line of hex each
 *     lun_tool load URL DEPTH MILLISECONDS   4 KiB writes at random places; prints writes per second
 *
 * URL: iscsi://USER%SECRET@HOST:PORT/TARGET/LUN; the initiator's name comes from $INITIATOR.
 * Exit status: 0 done, 1 failed, 2 usage, 3 refused by the target (CHECK CONDITION).
 */
#include <inttypes.h>
#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define IO_BYTES 4096u
#define FILL_BYTES (256u * 1024u)
#define DEPTH_MAX 128u
#define POOL_BYTES (1024u * 1024u)

struct lun {
    struct iscsi_context *iscsi;
    int number;
    uint64_t block_count;
    uint32_t block_bytes;
};

struct load {
    struct lun *lun;
    unsigned short seed[3];
    uint64_t end_ns, done;
    unsigned in_flight;
    bool failed;
};

/* Filled with noise once; writes take pieces of it. */
static unsigned char payload[POOL_BYTES + IO_BYTES];

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t below(unsigned short seed[3], uint64_t bound)
{
    uint64_t high = (uint64_t)nrand48(seed);
    return (high << 31 | (uint64_t)nrand48(seed)) % bound;
}

static bool lun_capacity(struct lun *lun)
{
    struct scsi_task *task = iscsi_readcapacity16_sync(lun->iscsi, lun->number);
    struct scsi_readcapacity16 *capacity = NULL;
    if (task != NULL && task->status == SCSI_STATUS_GOOD) {
        capacity = scsi_datain_unmarshall(task);
    }
    if (capacity != NULL) {
        lun->block_count = capacity->returned_lba + 1;
        lun->block_bytes = capacity->block_length;
    }
    if (task != NULL) scsi_free_scsi_task(task);
    return capacity != NULL;
}

static bool lun_open(struct lun *lun, const char *url_text)
{
    const char *initiator = getenv("INITIATOR");
    struct iscsi_url *url;

    lun->iscsi = iscsi_create_context(initiator != NULL ? initiator : "iqn.2026-11.example:lun-tool");
    if (lun->iscsi == NULL) return false;
    url = iscsi_parse_full_url(lun->iscsi, url_text);
    if (url == NULL) {
        fprintf(stderr, "lun_tool: %s\n", iscsi_get_error(lun->iscsi));
        return false;
    }
    lun->number = url->lun;
    iscsi_set_targetname(lun->iscsi, url->target);
    iscsi_set_session_type(lun->iscsi, ISCSI_SESSION_NORMAL);
    iscsi_set_header_digest(lun->iscsi, ISCSI_HEADER_DIGEST_NONE);
    if (iscsi_full_connect_sync(lun->iscsi, url->portal, url->lun) != 0 || !lun_capacity(lun)) {
        fprintf(stderr, "lun_tool: %s: %s\n", url->portal, iscsi_get_error(lun->iscsi));
        iscsi_destroy_url(url);
        return false;
    }
    iscsi_destroy_url(url);
    return true;
}

static void lun_close(struct lun *lun)
{
    if (lun->iscsi == NULL) return;
    if (iscsi_is_logged_in(lun->iscsi)) (void)iscsi_logout_sync(lun->iscsi);
    iscsi_destroy_context(lun->iscsi);
}

static int report(const struct scsi_task *task)
{
    if (task == NULL) return 1;
    if (task->status == SCSI_STATUS_GOOD) {
        puts("GOOD");
        return 0;
    }
    if (task->status != SCSI_STATUS_CHECK_CONDITION) {
        printf("status %02Xh\n", (unsigned)task->status);
        return 1;
    }
    printf("CHECK CONDITION, sense key %02Xh %s, ASC/ASCQ %02Xh/%02Xh %s\n", (unsigned)task->sense.key,
           scsi_sense_key_str((int)task->sense.key), (unsigned)task->sense.ascq >> 8,
           (unsigned)task->sense.ascq & 0xff, scsi_sense_ascq_str(task->sense.ascq));
    return 3;
}

static bool print_page(struct lun *lun, int page)
{
    struct scsi_task *task = iscsi_inquiry_sync(lun->iscsi, lun->number, page >= 0, page >= 0 ? page : 0, 252);
    bool ok = task != NULL && task->status == SCSI_STATUS_GOOD;
    for (int i = 0; ok && i < task->datain.size; i++) {
        printf("%02x", (unsigned)task->datain.data[i]);
    }
    if (ok) puts("");
    if (task != NULL) scsi_free_scsi_task(task);
    return ok;
}

static int command_inquiry(struct lun *lun)
{
    return print_page(lun, -1) && print_page(lun, 0x80) && print_page(lun, 0x83) ? 0 : 1;
}

static int command_write(struct lun *lun, uint64_t lba)
{
    struct scsi_task *task = iscsi_write16_sync(lun->iscsi, lun->number, lba, payload, lun->block_bytes,
                                                (int)lun->block_bytes, 0, 0, 0, 0, 0);
    int status = report(task);
    if (task != NULL) scsi_free_scsi_task(task);
    return status;
}

static int command_fill(struct lun *lun)
{
    const uint64_t step = FILL_BYTES / lun->block_bytes;
    int status = 0;

    for (uint64_t lba = 0; status == 0 && lba < lun->block_count; lba += step) {
        uint64_t blocks = lun->block_count - lba < step ? lun->block_count - lba : step;
        struct scsi_task *task = iscsi_write16_sync(
            lun->iscsi, lun->number, lba, payload + lba * lun->block_bytes % (POOL_BYTES / 2),
            (uint32_t)blocks * lun->block_bytes, (int)lun->block_bytes, 0, 0, 0, 0, 0);
        if (task == NULL || task->status != SCSI_STATUS_GOOD) status = report(task);
        if (task != NULL) scsi_free_scsi_task(task);
    }
    return status;
}

/* Adds the mapped blocks among the descriptors and moves *lba behind the last one. */
static bool add_mapped(struct scsi_task *task, uint64_t *lba, uint64_t *blocks)
{
    struct scsi_get_lba_status *answer = scsi_datain_unmarshall(task);

    if (answer == NULL || answer->num_descriptors == 0) return false;
    for (uint32_t i = 0; i < answer->num_descriptors; i++) {
        const struct scsi_lba_status_descriptor *d = &answer->descriptors[i];
        if (d->lba != *lba || d->num_blocks == 0) return false;
        if (d->provisioning == SCSI_PROVISIONING_TYPE_MAPPED) *blocks += d->num_blocks;
        *lba += d->num_blocks;
    }
    return true;
}

static int command_mapped(struct lun *lun)
{
    uint64_t lba = 0, blocks = 0;
    int status = 0;

    while (status == 0 && lba < lun->block_count) {
        struct scsi_task *task = iscsi_get_lba_status_sync(lun->iscsi, lun->number, lba, 8192);
        if (task == NULL || task->status != SCSI_STATUS_GOOD) {
            status = report(task);
        } else if (!add_mapped(task, &lba, &blocks)) {
            fputs("lun_tool: GET LBA STATUS answered descriptors that do not follow\n", stderr);
            status = 1;
        }
        if (task != NULL) scsi_free_scsi_task(task);
    }
    if (status == 0) printf("%" PRIu64 "\n", blocks * lun->block_bytes);
    return status;
}

static void load_next(struct load *load);

static void load_done(struct iscsi_context *iscsi, int status, void *command_data, void *arg)
{
    struct load *load = arg;

    (void)iscsi;
    load->in_flight--;
    if (status != SCSI_STATUS_GOOD) {
        load->failed = true;
        (void)report(command_data);
    } else {
        load->done++;
    }
    scsi_free_scsi_task(command_data);
    if (!load->failed && now_ns() < load->end_ns) load_next(load);
}

static void load_next(struct load *load)
{
    struct lun *lun = load->lun;
    const uint32_t blocks = IO_BYTES / lun->block_bytes;
    uint64_t lba = below(load->seed, lun->block_count / blocks) * blocks;
    unsigned char *data = payload + below(load->seed, POOL_BYTES / 512) * 512;

    if (iscsi_write16_task(lun->iscsi, lun->number, lba, data, IO_BYTES, (int)lun->block_bytes, 0, 0, 0, 0,
                           0, load_done, load) == NULL) {
        load->failed = true;
        return;
    }
    load->in_flight++;
}

static int command_load(struct lun *lun, unsigned depth, unsigned duration_ms)
{
    uint64_t start_ns = now_ns();
    struct load load = {.lun = lun, .end_ns = start_ns + (uint64_t)duration_ms * 1000000u};

    memcpy(load.seed, &start_ns, sizeof(load.seed));
    for (unsigned i = 0; i < depth; i++) {
        load_next(&load);
    }
    while (load.in_flight > 0) {
        struct pollfd fd = {.fd = iscsi_get_fd(lun->iscsi),
                            .events = (short)iscsi_which_events(lun->iscsi)};
        if (poll(&fd, 1, 10000) <= 0 || iscsi_service(lun->iscsi, fd.revents) != 0) {
            fprintf(stderr, "lun_tool: no answer: %s\n", iscsi_get_error(lun->iscsi));
            return 1;
        }
    }
    printf("%" PRIu64 "\n", load.done * 1000000000u / (now_ns() - start_ns));
    return load.failed ? 1 : 0;
}

static int run(struct lun *lun, char **words, int count)
{
    if (strcmp(words[0], "fill") == 0 && count == 2) return command_fill(lun);
    if (strcmp(words[0], "mapped") == 0 && count == 2) return command_mapped(lun);
    if (strcmp(words[0], "inquiry") == 0 && count == 2) return command_inquiry(lun);
    if (strcmp(words[0], "write") == 0 && count == 3) {
        return command_write(lun, strtoull(words[2], NULL, 10));
    }
    if (strcmp(words[0], "load") == 0 && count == 4) {
        unsigned depth = (unsigned)strtoul(words[2], NULL, 10);
        if (depth >= 1 && depth <= DEPTH_MAX) {
            return command_load(lun, depth, (unsigned)strtoul(words[3], NULL, 10));
        }
    }
    fputs("lun_tool: unknown command\n", stderr);
    return 2;
}

int main(int argc, char **argv)
{
    struct lun lun = {.iscsi = NULL};
    unsigned short seed[3] = {1, 2, 3};
    int status = 1;

    if (argc < 3) {
        fputs("usage: lun_tool fill URL | mapped URL | inquiry URL | write URL LBA | load URL DEPTH MILLISECONDS\n",
              stderr);
        return 2;
    }
    for (size_t i = 0; i < sizeof(payload); i++) {
        payload[i] = (unsigned char)nrand48(seed);
    }
    if (lun_open(&lun, argv[2])) status = run(&lun, argv + 1, argc - 1);
    lun_close(&lun);
    return status;
}
