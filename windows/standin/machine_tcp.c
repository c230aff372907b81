#ifdef _WIN32
#include <winsock2.h> /* before windows.h */
#endif

#include "windows/standin/machine_tcp.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#ifndef _WIN32
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>
#endif

#include "base/endian.h"
#include "windows/standin/machine_wire.h"

#ifdef _WIN32
typedef SOCKET socket_type;
#define NO_SOCKET INVALID_SOCKET
#else
typedef int socket_type;
#define NO_SOCKET (-1)
#endif

struct machine_tcp {
    struct si_machine face; /* the first */
    socket_type socket;
    unsigned disk_count; /* of the last rescan */
    struct {
        unsigned handle;
        uint32_t block_bytes;
    } disks[SI_DISKS_MAX];
};

static struct machine_tcp *of(struct si_machine *m)
{
    return (struct machine_tcp *)m;
}

static void hang_up(struct machine_tcp *m)
{
    if (m->socket == NO_SOCKET) return;
#ifdef _WIN32
    closesocket(m->socket);
#else
    close(m->socket);
#endif
    m->socket = NO_SOCKET;
}

static bool send_all(struct machine_tcp *m, const void *data, size_t size)
{
    const char *at = data;
    while (size > 0) {
        long n = (long)send(m->socket, at, (int)size, 0);
        if (n <= 0) return false;
        at += n;
        size -= (size_t)n;
    }
    return true;
}

static bool receive_all(struct machine_tcp *m, void *data, size_t size)
{
    char *at = data;
    while (size > 0) {
        long n = (long)recv(m->socket, at, (int)size, 0);
        if (n <= 0) return false;
        at += n;
        size -= (size_t)n;
    }
    return true;
}

struct call {
    enum machine_operation operation;
    unsigned handle;
    uint64_t lba;
    uint32_t blocks;
    const void *data; /* sent after the request */
    uint32_t size_bytes;
    void *ret_data; /* of the answer: exactly so many bytes, or at most so many with is_up_to */
    uint32_t ret_size_bytes;
    bool is_up_to;
    uint32_t ret_count;
};

static bool exchange(struct machine_tcp *m, struct call *call, uint8_t answer[MACHINE_ANSWER_BYTES])
{
    uint8_t request[MACHINE_REQUEST_BYTES] = {0};
    store_be32(request, MACHINE_MAGIC);
    store_be32(request + 4, call->operation);
    store_be32(request + 8, call->handle);
    store_be32(request + 12, call->blocks);
    store_be64(request + 16, call->lba);
    store_be32(request + 24, call->size_bytes);
    if (!send_all(m, request, sizeof request) || !send_all(m, call->data, call->size_bytes) ||
        !receive_all(m, answer, MACHINE_ANSWER_BYTES) || load_be32(answer) != MACHINE_MAGIC)
        return false;
    uint32_t size = load_be32(answer + 8);
    uint32_t wanted = load_be32(answer + 4) == SI_IO_OK ? call->ret_size_bytes : 0;
    if (size > wanted || (size < wanted && !call->is_up_to)) return false;
    return receive_all(m, call->ret_data, size);
}

static enum si_io ask(struct machine_tcp *m, struct call *call)
{
    uint8_t answer[MACHINE_ANSWER_BYTES];
    if (m->socket == NO_SOCKET) return SI_IO_ERROR;
    if (!exchange(m, call, answer)) {
        hang_up(m);
        return SI_IO_ERROR;
    }
    call->ret_count = load_be32(answer + 12);
    uint32_t io = load_be32(answer + 4);
    return io <= SI_IO_ERROR ? (enum si_io)io : SI_IO_ERROR;
}

/* ---- struct si_machine ----------------------------------------------------------------------- */

static bool decode_disk(const uint8_t *at, struct si_disk *ret)
{
    struct si_disk disk = {.handle = load_be32(at),
                           .lun = load_be32(at),
                           .block_bytes = load_be32(at + 4),
                           .block_count = load_be64(at + 8),
                           .inquiry_size = load_be16(at + 16),
                           .serial_page_size = load_be16(at + 18),
                           .id_page_size = load_be16(at + 20)};
    if (disk.inquiry_size > SI_PAGE_MAX || disk.serial_page_size > SI_PAGE_MAX ||
        disk.id_page_size > SI_PAGE_MAX)
        return false;
    memcpy(disk.inquiry, at + 24, SI_PAGE_MAX);
    memcpy(disk.serial_page, at + 24 + SI_PAGE_MAX, SI_PAGE_MAX);
    memcpy(disk.id_page, at + 24 + 2 * SI_PAGE_MAX, SI_PAGE_MAX);
    *ret = disk;
    return true;
}

static unsigned tcp_rescan(struct si_machine *face, struct si_disk ret[SI_DISKS_MAX])
{
    const uint32_t size = SI_DISKS_MAX * MACHINE_DISK_BYTES;
    struct machine_tcp *m = of(face);
    struct call call = {.operation = MACHINE_RESCAN, .ret_size_bytes = size, .is_up_to = true};
    uint8_t *data = malloc(size);
    unsigned count = UINT_MAX;
    call.ret_data = data;
    m->disk_count = 0;
    if (data && ask(m, &call) == SI_IO_OK && call.ret_count <= SI_DISKS_MAX) {
        count = call.ret_count;
        for (unsigned i = 0; i < count; i++) {
            if (!decode_disk(data + (size_t)i * MACHINE_DISK_BYTES, &ret[i])) {
                count = UINT_MAX;
                break;
            }
            m->disks[i].handle = ret[i].handle;
            m->disks[i].block_bytes = ret[i].block_bytes;
        }
    }
    if (count != UINT_MAX) m->disk_count = count;
    free(data);
    return count;
}

/* How much so many blocks of it are; 0: no such disk in the last rescan, or too much at once. */
static uint32_t size_of(const struct machine_tcp *m, unsigned handle, uint32_t blocks)
{
    for (unsigned i = 0; i < m->disk_count; i++) {
        uint64_t size = (uint64_t)blocks * m->disks[i].block_bytes;
        if (m->disks[i].handle == handle && size <= MACHINE_DATA_MAX) return (uint32_t)size;
    }
    return 0;
}

static enum si_io tcp_read(struct si_machine *m, unsigned handle, uint64_t lba, uint32_t blocks,
                           void *ret_data)
{
    struct call call = {.operation = MACHINE_READ,
                        .handle = handle,
                        .lba = lba,
                        .blocks = blocks,
                        .ret_data = ret_data,
                        .ret_size_bytes = size_of(of(m), handle, blocks)};
    return call.ret_size_bytes ? ask(of(m), &call) : SI_IO_GONE;
}

static enum si_io tcp_write(struct si_machine *m, unsigned handle, uint64_t lba, uint32_t blocks,
                            const void *data)
{
    struct call call = {.operation = MACHINE_WRITE,
                        .handle = handle,
                        .lba = lba,
                        .blocks = blocks,
                        .data = data,
                        .size_bytes = size_of(of(m), handle, blocks)};
    return call.size_bytes ? ask(of(m), &call) : SI_IO_GONE;
}

static enum si_io simple(struct si_machine *m, enum machine_operation operation, unsigned handle)
{
    return ask(of(m), &(struct call){.operation = operation, .handle = handle});
}

static enum si_io tcp_flush(struct si_machine *m, unsigned handle)
{
    return simple(m, MACHINE_FLUSH, handle);
}

bool machine_tcp_hold(struct si_machine *m)
{
    return simple(m, MACHINE_HOLD, 0) == SI_IO_OK;
}

bool machine_tcp_release(struct si_machine *m)
{
    return simple(m, MACHINE_RELEASE, 0) == SI_IO_OK;
}

/* ---- Opening --------------------------------------------------------------------------------- */

static bool start_sockets(void)
{
#ifdef _WIN32
    WSADATA data;
    return WSAStartup(MAKEWORD(2, 2), &data) == 0;
#else
    return true;
#endif
}

static void end_sockets(void)
{
#ifdef _WIN32
    WSACleanup();
#endif
}

static bool call_up(struct machine_tcp *m, unsigned short port)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    m->socket = socket(AF_INET, SOCK_STREAM, 0);
    if (m->socket == NO_SOCKET) return false;
    if (connect(m->socket, (const struct sockaddr *)&address, sizeof address) != 0) {
        hang_up(m);
        return false;
    }
    setsockopt(m->socket, IPPROTO_TCP, TCP_NODELAY, (const char *)&on, sizeof on);
    return true;
}

bool machine_tcp_open(unsigned short port, struct si_machine **ret)
{
    struct machine_tcp *m = calloc(1, sizeof *m);
    if (!m) return false;
    m->face = (struct si_machine){tcp_rescan, tcp_read, tcp_write, tcp_flush};
    m->socket = NO_SOCKET;
    if (!start_sockets()) {
        free(m);
        return false;
    }
    if (!call_up(m, port)) {
        machine_tcp_close(&m->face);
        return false;
    }
    *ret = &m->face;
    return true;
}

void machine_tcp_close(struct si_machine *face)
{
    if (!face) return;
    hang_up(of(face));
    end_sockets();
    free(of(face));
}
