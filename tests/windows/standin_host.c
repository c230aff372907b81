/*
 * standin_host - the I/O stack of a host that the stand-in for VSS runs on: its own iSCSI session, and
 * nothing else to know of the server.  Serves windows/standin/machine_wire.h on a loopback port.
 *
 *     standin_host PORT PORTAL TARGET INITIATOR USER SECRET_FILE
 *
 * It does what a host does: answers the target's pings, repeats a command that met a unit attention or
 * BUSY, logs in again when the session is lost and repeats what was under way (for 15 seconds), and
 * gives up on all else with what the target said.  Says what happened, a line each:
 *
 *     ready | login | session lost | attention LUN ASC/ASCQ | refused LUN OPCODE KEY/ASC/ASCQ
 *     held at N | released | hold lost
 *
 * N: the number in the last block written that begins with "NUMBERED" (standin_io number).
 * One thread; requests are done one after the other, over all clients.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "src/base/endian.h" /* not by -I src: libiscsi has an iscsi/iscsi.h too */
#include "windows/standin/machine_wire.h"

enum {
    CLIENTS_MAX = 16,
    PATIENCE_MS = 15000,
    PAUSE_MS = 100,
    HOLD_MS = 10000,
    ATTENTIONS_MAX = 16,
    SECRET_MAX = 256,
};

struct client {
    int fd; /* -1: free */
    bool is_waiting;
    uint8_t request[MACHINE_REQUEST_BYTES];
    uint8_t *data;
};

/* libiscsi's answer to one request.  In static memory, because a context that is destroyed answers all
 * that is still under way, long after who asked gave up.  (libiscsi's own functions that wait, iscsi_*_sync,
 * have theirs on the stack, and that late answer is written into whatever lies there by then.) */
struct reply {
    bool has_come;
    int status;
};

struct host {
    const char *portal, *target, *initiator, *user;
    char secret[SECRET_MAX];
    struct iscsi_context *iscsi; /* NULL: not logged in */
    struct reply reply;
    struct client clients[CLIENTS_MAX];
    const struct client *holder; /* NULL: writes are not held */
    uint64_t hold_end_ms, last_number;
    struct si_disk disks[SI_DISKS_MAX];
    unsigned disk_count;
    uint8_t answer[SI_DISKS_MAX * MACHINE_DISK_BYTES];
};

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void pause_a_bit(void)
{
    nanosleep(&(struct timespec){.tv_nsec = PAUSE_MS * 1000000L}, NULL);
}

/* ---- The session ----------------------------------------------------------------------------- */

static void replied(struct iscsi_context *iscsi, int status, void *data, void *private_data)
{
    struct reply *reply = private_data;
    (void)iscsi;
    (void)data;
    reply->has_come = true;
    reply->status = status;
}

/* The answer to what was just started; false: there was none in time, and the context is of no more use. */
static bool wait_for_reply(struct host *h, struct iscsi_context *iscsi)
{
    uint64_t end_ms = now_ms() + PATIENCE_MS;
    while (!h->reply.has_come) {
        struct pollfd fd = {.fd = iscsi_get_fd(iscsi), .events = (short)iscsi_which_events(iscsi)};
        if (fd.fd < 0 || now_ms() > end_ms) return false;
        if (poll(&fd, 1, PAUSE_MS) < 0 && errno != EINTR) return false;
        if (iscsi_service(iscsi, fd.revents) != 0 && !h->reply.has_come) return false;
    }
    return true;
}

static bool connects(struct host *h, struct iscsi_context *iscsi)
{
    h->reply = (struct reply){0};
    return iscsi_connect_async(iscsi, h->portal, replied, &h->reply) == 0 &&
           wait_for_reply(h, iscsi) && h->reply.status == SCSI_STATUS_GOOD;
}

static bool is_let_in(struct host *h, struct iscsi_context *iscsi)
{
    h->reply = (struct reply){0};
    return iscsi_login_async(iscsi, replied, &h->reply) == 0 && wait_for_reply(h, iscsi) &&
           h->reply.status == SCSI_STATUS_GOOD;
}

static void lose_session(struct host *h)
{
    if (!h->iscsi) return;
    iscsi_destroy_context(h->iscsi);
    h->iscsi = NULL;
    puts("session lost");
}

static bool log_in(struct host *h)
{
    if (h->iscsi) return true;
    struct iscsi_context *iscsi = iscsi_create_context(h->initiator);
    if (!iscsi) return false;
    iscsi_set_targetname(iscsi, h->target);
    iscsi_set_session_type(iscsi, ISCSI_SESSION_NORMAL);
    iscsi_set_header_digest(iscsi, ISCSI_HEADER_DIGEST_NONE_CRC32C);
    iscsi_set_noautoreconnect(iscsi, 1);
    iscsi_set_timeout(iscsi, PATIENCE_MS / 1000);
    if (iscsi_set_initiator_username_pwd(iscsi, h->user, h->secret) != 0 || !connects(h, iscsi) ||
        !is_let_in(h, iscsi)) {
        iscsi_destroy_context(iscsi);
        return false;
    }
    puts("login");
    h->iscsi = iscsi;
    return true;
}

/* ---- Commands -------------------------------------------------------------------------------- */

struct command {
    unsigned lun;
    uint8_t cdb[16];
    int cdb_bytes;
    const void *data_out;
    uint32_t size_bytes; /* of data out, or of the most that may come in */
};

/* The command after its end, or as it is when there was none: SCSI_STATUS_CANCELLED, and it is still the
 * session's, which has to end first. */
static struct scsi_task *issue(struct host *h, const struct command *c)
{
    uint8_t cdb[16];
    struct iscsi_data data = {.size = c->data_out ? c->size_bytes : 0};
    int direction = c->data_out ? SCSI_XFER_WRITE : c->size_bytes ? SCSI_XFER_READ : SCSI_XFER_NONE;
    memcpy(cdb, c->cdb, sizeof cdb);
    memcpy(&data.data, &c->data_out, sizeof c->data_out); /* libiscsi only reads it */
    struct scsi_task *task = scsi_create_task(c->cdb_bytes, cdb, direction, (int)c->size_bytes);
    if (!task) return NULL;
    h->reply = (struct reply){0};
    if (iscsi_scsi_command_async(h->iscsi, (int)c->lun, task, replied, c->data_out ? &data : NULL,
                                 &h->reply) != 0 ||
        !wait_for_reply(h, h->iscsi))
        task->status = SCSI_STATUS_CANCELLED;
    return task;
}

enum verdict { DONE, AGAIN, LATER, LOST, REFUSED };

static enum verdict judge(const struct command *c, const struct scsi_task *task)
{
    if (!task) return LOST;
    switch (task->status) {
    case SCSI_STATUS_GOOD:
        return DONE;
    case SCSI_STATUS_BUSY:
    case SCSI_STATUS_TASK_SET_FULL:
        return LATER;
    case SCSI_STATUS_RESERVATION_CONFLICT:
        return REFUSED;
    case SCSI_STATUS_CHECK_CONDITION:
        break;
    default:
        return LOST;
    }
    if (task->sense.key == SCSI_SENSE_UNIT_ATTENTION) {
        printf("attention %u %02x/%02x\n", c->lun, (unsigned)task->sense.ascq >> 8,
               (unsigned)task->sense.ascq & 0xFF);
        return AGAIN;
    }
    return task->sense.key == SCSI_SENSE_NOT_READY ? LATER : REFUSED;
}

/* Until it is done, or refused, or 15 seconds are over.  NULL: the last. */
static struct scsi_task *run(struct host *h, const struct command *c)
{
    uint64_t end_ms = now_ms() + PATIENCE_MS;
    unsigned attentions = 0;
    for (;;) {
        struct scsi_task *task = log_in(h) ? issue(h, c) : NULL;
        enum verdict verdict = judge(c, task);
        if (verdict == DONE || verdict == REFUSED) return task;
        if (verdict == LOST) lose_session(h); /* before its task is freed */
        if (task) scsi_free_scsi_task(task);
        if (verdict == AGAIN && ++attentions > ATTENTIONS_MAX) return NULL;
        if (verdict == AGAIN) continue;
        if (now_ms() > end_ms) return NULL;
        pause_a_bit();
    }
}

/* SPC-5 4.4; a space problem is 27h/07h (SBC-4 4.7.3.6). */
static enum si_io outcome(const struct command *c, const struct scsi_task *task)
{
    if (!task) return SI_IO_ERROR;
    if (task->status == SCSI_STATUS_GOOD) return SI_IO_OK;
    printf("refused %u %02x %02x/%02x/%02x status %02x\n", c->lun, (unsigned)c->cdb[0],
           (unsigned)task->sense.key, (unsigned)task->sense.ascq >> 8,
           (unsigned)task->sense.ascq & 0xFF, (unsigned)task->status);
    if (task->status == SCSI_STATUS_RESERVATION_CONFLICT) return SI_IO_RESERVATION_CONFLICT;
    if (task->sense.key == SCSI_SENSE_DATA_PROTECTION)
        return task->sense.ascq == 0x2707 ? SI_IO_NO_SPACE : SI_IO_DATA_PROTECT;
    return task->sense.ascq == 0x2500 ? SI_IO_GONE : SI_IO_ERROR;
}

/* Data that comes in, at most `size_bytes`; ret_got may be NULL when it must be all. */
static enum si_io command_in(struct host *h, const struct command *c, uint8_t *ret_data,
                             uint32_t *ret_got)
{
    struct scsi_task *task = run(h, c);
    enum si_io io = outcome(c, task);
    uint32_t got = io == SI_IO_OK ? (uint32_t)task->datain.size : 0;
    if (got > c->size_bytes) got = c->size_bytes;
    if (io == SI_IO_OK && !ret_got && got != c->size_bytes) io = SI_IO_ERROR;
    if (io == SI_IO_OK && got > 0) memcpy(ret_data, task->datain.data, got);
    if (ret_got) *ret_got = got;
    if (task) scsi_free_scsi_task(task);
    return io;
}

static enum si_io command_out(struct host *h, const struct command *c)
{
    struct scsi_task *task = run(h, c);
    enum si_io io = outcome(c, task);
    if (task) scsi_free_scsi_task(task);
    return io;
}

static struct command block_command(unsigned opcode, unsigned lun, uint64_t lba, uint32_t blocks)
{
    struct command c = {.lun = lun, .cdb = {(uint8_t)opcode}, .cdb_bytes = 16};
    store_be64(c.cdb + 2, lba);
    store_be32(c.cdb + 10, blocks);
    return c;
}

/* ---- What there is --------------------------------------------------------------------------- */

static bool inquire(struct host *h, unsigned lun, int page, uint8_t ret[SI_PAGE_MAX],
                    uint16_t *ret_size)
{
    struct command c = {.lun = lun, .cdb = {0x12}, .cdb_bytes = 6, .size_bytes = SI_PAGE_MAX};
    uint32_t got;
    if (page >= 0) {
        c.cdb[1] = 1;
        c.cdb[2] = (uint8_t)page;
    }
    store_be16(c.cdb + 3, SI_PAGE_MAX);
    if (command_in(h, &c, ret, &got) != SI_IO_OK) return false;
    *ret_size = (uint16_t)got;
    return got >= 4;
}

static bool look_at(struct host *h, unsigned lun, struct si_disk *ret)
{
    struct si_disk disk = {.handle = lun, .lun = lun};
    struct command capacity = {.lun = lun, .cdb = {0x9E, 0x10}, .cdb_bytes = 16, .size_bytes = 32};
    uint8_t data[32];
    if (!inquire(h, lun, -1, disk.inquiry, &disk.inquiry_size) || disk.inquiry[0] != 0 ||
        !inquire(h, lun, 0x80, disk.serial_page, &disk.serial_page_size) ||
        !inquire(h, lun, 0x83, disk.id_page, &disk.id_page_size))
        return false;
    store_be32(capacity.cdb + 10, sizeof data);
    if (command_in(h, &capacity, data, NULL) != SI_IO_OK) return false;
    disk.block_count = load_be64(data) + 1;
    disk.block_bytes = load_be32(data + 8);
    *ret = disk;
    return disk.block_bytes > 0 && disk.block_bytes <= 4096;
}

static enum si_io rescan(struct host *h)
{
    uint8_t list[8 + 8 * SI_DISKS_MAX];
    struct command c = {.cdb = {0xA0}, .cdb_bytes = 12, .size_bytes = sizeof list};
    uint32_t got;
    store_be32(c.cdb + 6, sizeof list);
    enum si_io io = command_in(h, &c, list, &got);
    if (io != SI_IO_OK) return SI_IO_ERROR;
    h->disk_count = 0;
    for (uint32_t at = 8; at + 8 <= got && at < 8 + load_be32(list); at += 8) {
        unsigned lun = load_be16(list + at) & 0x3FFF; /* peripheral or flat: SAM-5 4.7 */
        if (h->disk_count < SI_DISKS_MAX && look_at(h, lun, &h->disks[h->disk_count]))
            h->disk_count++;
    }
    return SI_IO_OK;
}

static const struct si_disk *disk_of(const struct host *h, unsigned handle)
{
    for (unsigned i = 0; i < h->disk_count; i++) {
        if (h->disks[i].handle == handle) return &h->disks[i];
    }
    return NULL;
}

static void encode_disk(uint8_t *at, const struct si_disk *disk)
{
    memset(at, 0, MACHINE_DISK_BYTES);
    store_be32(at, disk->lun);
    store_be32(at + 4, disk->block_bytes);
    store_be64(at + 8, disk->block_count);
    store_be16(at + 16, disk->inquiry_size);
    store_be16(at + 18, disk->serial_page_size);
    store_be16(at + 20, disk->id_page_size);
    memcpy(at + 24, disk->inquiry, SI_PAGE_MAX);
    memcpy(at + 24 + SI_PAGE_MAX, disk->serial_page, SI_PAGE_MAX);
    memcpy(at + 24 + 2 * SI_PAGE_MAX, disk->id_page, SI_PAGE_MAX);
}

/* ---- Requests -------------------------------------------------------------------------------- */

static bool transfer(int fd, void *data, size_t size, bool is_send)
{
    char *at = data;
    while (size > 0) {
        ssize_t n = is_send ? send(fd, at, size, MSG_NOSIGNAL) : recv(fd, at, size, 0);
        if (n <= 0) return false;
        at += n;
        size -= (size_t)n;
    }
    return true;
}

static void drop(struct host *h, struct client *client);

static void answer(struct host *h, struct client *client, enum si_io io, uint32_t size)
{
    uint8_t head[MACHINE_ANSWER_BYTES] = {0};
    if (io != SI_IO_OK) size = 0;
    store_be32(head, MACHINE_MAGIC);
    store_be32(head + 4, io);
    store_be32(head + 8, size);
    store_be32(head + 12, h->disk_count);
    if (!transfer(client->fd, head, sizeof head, true) ||
        !transfer(client->fd, h->answer, size, true))
        drop(h, client);
}

static void do_rescan(struct host *h, struct client *client)
{
    enum si_io io = rescan(h);
    for (unsigned i = 0; i < h->disk_count; i++)
        encode_disk(h->answer + (size_t)i * MACHINE_DISK_BYTES, &h->disks[i]);
    answer(h, client, io, h->disk_count * MACHINE_DISK_BYTES);
}

/* The block count is as large as its data: checked by the caller. */
static void do_transfer(struct host *h, struct client *client, const struct si_disk *disk)
{
    const uint8_t *request = client->request;
    bool is_write = load_be32(request + 4) == MACHINE_WRITE;
    struct command c = block_command(is_write ? 0x8A : 0x88, disk->lun, load_be64(request + 16),
                                     load_be32(request + 12));
    c.size_bytes = load_be32(request + 12) * disk->block_bytes;
    if (!is_write) {
        enum si_io io = command_in(h, &c, h->answer, NULL);
        answer(h, client, io, c.size_bytes);
        return;
    }
    c.data_out = client->data;
    enum si_io io = command_out(h, &c);
    if (io == SI_IO_OK && memcmp(client->data, "NUMBERED", 8) == 0)
        h->last_number = load_be64(client->data + 8);
    answer(h, client, io, 0);
}

static void do_hold(struct host *h, struct client *client)
{
    if (h->holder) {
        answer(h, client, SI_IO_ERROR, 0);
        return;
    }
    h->holder = client;
    h->hold_end_ms = now_ms() + HOLD_MS;
    printf("held at %llu\n", (unsigned long long)h->last_number);
    answer(h, client, SI_IO_OK, 0);
}

static void serve(struct host *h, struct client *client);

static void end_hold(struct host *h, const char *how)
{
    h->holder = NULL;
    puts(how);
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        if (h->clients[i].fd < 0 || !h->clients[i].is_waiting) continue;
        h->clients[i].is_waiting = false;
        serve(h, &h->clients[i]);
    }
}

static void do_release(struct host *h, struct client *client)
{
    bool is_held = h->holder == client;
    if (is_held) end_hold(h, "released");
    answer(h, client, is_held ? SI_IO_OK : SI_IO_ERROR, 0);
}

static void drop(struct host *h, struct client *client)
{
    if (client->fd < 0) return;
    close(client->fd);
    client->fd = -1;
    client->is_waiting = false;
    if (h->holder == client) end_hold(h, "hold lost");
}

/* One whole request that has come in. */
static void serve(struct host *h, struct client *client)
{
    const uint8_t *request = client->request;
    const struct si_disk *disk = disk_of(h, load_be32(request + 8));
    switch (load_be32(request + 4)) {
    case MACHINE_RESCAN:
        do_rescan(h, client);
        return;
    case MACHINE_HOLD:
        do_hold(h, client);
        return;
    case MACHINE_RELEASE:
        do_release(h, client);
        return;
    case MACHINE_FLUSH: {
        struct command c = block_command(0x91, disk ? disk->lun : 0, 0, 0);
        answer(h, client, disk ? command_out(h, &c) : SI_IO_GONE, 0);
        return;
    }
    case MACHINE_WRITE:
        if (h->holder) {
            client->is_waiting = true;
            return;
        }
        break;
    case MACHINE_READ:
        break;
    default:
        drop(h, client);
        return;
    }
    uint64_t size = disk ? (uint64_t)load_be32(request + 12) * disk->block_bytes : 0;
    bool is_write = load_be32(request + 4) == MACHINE_WRITE;
    if (!disk) {
        answer(h, client, SI_IO_GONE, 0);
    } else if (size == 0 || size > MACHINE_DATA_MAX ||
               (is_write && size != load_be32(request + 24))) {
        drop(h, client);
    } else {
        do_transfer(h, client, disk);
    }
}

static void receive(struct host *h, struct client *client)
{
    if (!transfer(client->fd, client->request, sizeof client->request, false) ||
        load_be32(client->request) != MACHINE_MAGIC ||
        load_be32(client->request + 24) > MACHINE_DATA_MAX ||
        !transfer(client->fd, client->data, load_be32(client->request + 24), false)) {
        drop(h, client);
        return;
    }
    serve(h, client);
}

/* ---- Clients --------------------------------------------------------------------------------- */

static void welcome(struct host *h, int listener)
{
    const struct timeval patience = {.tv_sec = 10};
    int on = 1, fd = accept(listener, NULL, NULL);
    if (fd < 0) return;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        struct client *client = &h->clients[i];
        if (client->fd >= 0) continue;
        if (!client->data) client->data = malloc(MACHINE_DATA_MAX);
        if (!client->data) break;
        client->fd = fd;
        return;
    }
    close(fd);
}

/* A session that is idle: the target's pings are answered. */
static void serve_session(struct host *h, short revents)
{
    if (h->iscsi && revents && iscsi_service(h->iscsi, revents) != 0) lose_session(h);
}

static void turn(struct host *h, int listener)
{
    struct pollfd fds[2 + CLIENTS_MAX] = {{.fd = listener, .events = POLLIN}};
    struct pollfd *session = &fds[1 + CLIENTS_MAX];
    int timeout_ms = -1;
    session->fd = h->iscsi ? iscsi_get_fd(h->iscsi) : -1;
    session->events = h->iscsi ? (short)iscsi_which_events(h->iscsi) : 0;
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        const struct client *client = &h->clients[i];
        fds[1 + i] = (struct pollfd){.fd = client->fd, .events = client->is_waiting ? 0 : POLLIN};
    }
    if (h->holder) {
        uint64_t now = now_ms();
        timeout_ms = now < h->hold_end_ms ? (int)(h->hold_end_ms - now) : 0;
    }
    if (poll(fds, 2 + CLIENTS_MAX, timeout_ms) < 0 && errno != EINTR) exit(1);
    serve_session(h, session->revents);
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        if (!fds[1 + i].revents || h->clients[i].fd < 0) continue;
        if (h->clients[i].is_waiting) {
            drop(h, &h->clients[i]);
        } else {
            receive(h, &h->clients[i]);
        }
    }
    if (fds[0].revents) welcome(h, listener);
    if (h->holder && now_ms() >= h->hold_end_ms) end_hold(h, "hold lost");
}

static int listen_on(unsigned short port)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0) return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 16) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static bool read_secret(const char *path, char secret[SECRET_MAX])
{
    FILE *file = fopen(path, "r");
    if (!file) return false;
    size_t n = fread(secret, 1, SECRET_MAX - 1, file);
    fclose(file);
    secret[n] = '\0';
    secret[strcspn(secret, "\r\n")] = '\0';
    return n > 0;
}

int main(int argc, char **argv)
{
    static struct host host;
    if (argc != 7) {
        fputs("usage: standin_host PORT PORTAL TARGET INITIATOR USER SECRET_FILE\n", stderr);
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN); /* libiscsi sends data with writev */
    host.portal = argv[2];
    host.target = argv[3];
    host.initiator = argv[4];
    host.user = argv[5];
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        host.clients[i].fd = -1;
    int listener = listen_on((unsigned short)strtoul(argv[1], NULL, 10));
    if (listener < 0 || !read_secret(argv[6], host.secret)) {
        fputs("standin_host: the port or the secret cannot be had\n", stderr);
        return 1;
    }
    if (rescan(&host) != SI_IO_OK) fputs("standin_host: no session yet\n", stderr);
    puts("ready");
    for (;;)
        turn(&host, listener);
}
