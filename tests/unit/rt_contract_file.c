/* Files, both kinds. */
#include <stdlib.h>

#include "base/prng.h"
#include "tests/unit/rt_contract.h"

bool file_cases_failed(void)
{
    bool failed = tap_failed;
    tap_failed = false;
    return failed;
}

enum { DEEP = 200, BIG_BYTES = 4 * 1024 * 1024 };

static uint8_t memory_a[BIG_BYTES] __attribute__((aligned(4096)));
static uint8_t memory_b[BIG_BYTES] __attribute__((aligned(4096)));

static unsigned waiting; /* requests in flight; the run stops with the last */

static void io_done(struct rt_file_io *io)
{
    came();
    if (--waiting == 0) rt_stop(rt);
}

static void submit(struct rt_file_io *io)
{
    io->done = io_done;
    waiting++;
    STARTING(rt_file_submit(rt, io));
}

static enum status run_io(struct rt_file_io *io)
{
    submit(io);
    rt_run(rt);
    return io->status;
}

static enum status transfer(struct rt_file *file, enum rt_file_op op, uint64_t offset, void *memory,
                            size_t size_bytes)
{
    struct iovec v = {memory, size_bytes};
    struct rt_file_io io = {.op = op, .file = file, .offset = offset, .iov = &v, .iov_count = 1};
    enum status status = run_io(&io);
    expect_eq(io.length, size_bytes);
    return status;
}

static enum status sync_file(struct rt_file *file)
{
    struct rt_file_io io = {.op = RT_FILE_SYNC, .site = RT_FLUSH_HOST, .file = file};
    return run_io(&io);
}

static void fill(uint8_t *memory, size_t size_bytes, uint64_t seed)
{
    struct prng prng;
    prng_init(&prng, seed);
    prng_fill(&prng, memory, size_bytes);
}

static struct rt_file *create(const char *name, unsigned flags)
{
    struct rt_file *file = NULL;
    expect_status(rt_file_open(rt, path_of(name), RT_OPEN_CREATE | flags, &file, NULL), STATUS_OK);
    return file;
}

static void opening_says_what_is_there(void)
{
    struct rt_file *file = NULL;
    struct rt_file_info info;
    expect_status(rt_file_open(rt, path_of("none"), 0, &file, &info), STATUS_NOT_FOUND);
    expect(file == NULL);
    expect_status(rt_file_open(rt, path_of("f"), RT_OPEN_CREATE, &file, &info), STATUS_OK);
    require(file != NULL);
    expect_eq(info.size_bytes, 0);
    expect_eq(info.alignment_bytes, 1);
    expect(!info.is_block_device);
    expect_eq(transfer(file, RT_FILE_WRITE, 0, memory_a, 12345), STATUS_OK);
    rt_file_close(file);
    file = NULL;
    expect_status(rt_file_open(rt, path_of("f"), RT_OPEN_CREATE, &file, &info), STATUS_EXISTS);
    expect(file == NULL);
    expect_status(rt_file_open(rt, path_of("f"), RT_OPEN_READ_ONLY, &file, &info), STATUS_OK);
    expect_eq(info.size_bytes, 12345);
    rt_file_close(file);
    rt_file_close(NULL);
    expect_status(rt_path_make_directory(rt, path_of("d")), STATUS_OK);
    file = NULL;
    expect_status(rt_file_open(rt, path_of("d"), RT_OPEN_READ_ONLY, &file, &info),
                  STATUS_BAD_REQUEST);
    expect(file == NULL);
}

static void what_was_written_is_read(void)
{
    struct rt_file *file = create("f", RT_OPEN_DIRECT);
    require(file != NULL);
    fill(memory_a, BIG_BYTES, 1);
    expect_eq(transfer(file, RT_FILE_WRITE, 0, memory_a, BIG_BYTES), STATUS_OK);
    expect_eq(sync_file(file), STATUS_OK);
    expect_eq(transfer(file, RT_FILE_READ, 0, memory_b, BIG_BYTES), STATUS_OK);
    expect(memcmp(memory_a, memory_b, BIG_BYTES) == 0);
    expect_eq(transfer(file, RT_FILE_READ, 65536, memory_b, 4096), STATUS_OK);
    expect(memcmp(memory_a + 65536, memory_b, 4096) == 0);
    rt_file_close(file);
}

static void pieces_of_memory_are_one_transfer(void)
{
    struct rt_file *file = create("f", RT_OPEN_DIRECT);
    require(file != NULL);
    struct iovec v[RT_IOV_MAX];
    fill(memory_a, sizeof memory_a, 2);
    memset(memory_b, 0, sizeof memory_b);
    for (unsigned i = 0; i < RT_IOV_MAX; i++) { /* every other piece, of different lengths */
        v[i] = (struct iovec){memory_a + i * 32768, 4096u * (1 + i % 3)};
    }
    struct rt_file_io io = {
        .op = RT_FILE_WRITE, .file = file, .offset = 8192, .iov = v, .iov_count = RT_IOV_MAX};
    expect_eq(run_io(&io), STATUS_OK);
    for (unsigned i = 0; i < RT_IOV_MAX; i++) {
        v[i].iov_base = memory_b + i * 32768;
    }
    io.op = RT_FILE_READ;
    expect_eq(run_io(&io), STATUS_OK);
    for (unsigned i = 0; i < RT_IOV_MAX; i++) {
        expect(memcmp(memory_a + i * 32768, memory_b + i * 32768, v[i].iov_len) == 0);
    }
    rt_file_close(file);
}

static void a_transfer_is_whole_or_failed(void)
{
    struct rt_file *file = create("f", 0);
    require(file != NULL);
    expect_eq(transfer(file, RT_FILE_WRITE, 0, memory_a, 10000), STATUS_OK);
    expect_eq(transfer(file, RT_FILE_READ, 0, memory_b, 10000), STATUS_OK);
    expect_eq(transfer(file, RT_FILE_READ, 4096, memory_b, 8192), STATUS_READ_FAILED);
    expect_eq(transfer(file, RT_FILE_READ, 20000, memory_b, 1), STATUS_READ_FAILED);
    rt_file_close(file);
    expect_status(rt_file_open(rt, path_of("f"), RT_OPEN_READ_ONLY, &file, NULL), STATUS_OK);
    expect_eq(transfer(file, RT_FILE_READ, 0, memory_b, 10000), STATUS_OK);
    expect_eq(transfer(file, RT_FILE_WRITE, 0, memory_a, 512), STATUS_WRITE_FAILED);
    rt_file_close(file);
}

static void direct_files_say_their_alignment(void)
{
    struct rt_file *file = NULL;
    struct rt_file_info info;
    expect_status(rt_file_open(rt, path_of("f"), RT_OPEN_CREATE | RT_OPEN_DIRECT, &file, &info),
                  STATUS_OK);
    require(file != NULL);
    expect(info.alignment_bytes >= 1 && info.alignment_bytes <= 4096);
    uint32_t unit = info.alignment_bytes;
    fill(memory_a, 65536, 9);
    expect_eq(transfer(file, RT_FILE_WRITE, unit, memory_a + unit, unit), STATUS_OK);
    expect_eq(transfer(file, RT_FILE_READ, unit, memory_b, unit), STATUS_OK);
    expect(memcmp(memory_a + unit, memory_b, unit) == 0);
    rt_file_close(file);
}

static void many_requests_at_once_all_complete(void)
{
    static struct rt_file_io ios[DEEP];
    static struct iovec v[DEEP];
    struct rt_file *file = create("f", RT_OPEN_DIRECT);
    require(file != NULL);
    fill(memory_a, DEEP * 4096, 3);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < DEEP; i++) {
            v[i] = (struct iovec){(round ? memory_b : memory_a) + i * 4096, 4096};
            ios[i] = (struct rt_file_io){.op = round ? RT_FILE_READ : RT_FILE_WRITE,
                                         .file = file,
                                         .offset = (DEEP - 1 - i) * 4096,
                                         .iov = &v[i],
                                         .iov_count = 1};
            submit(&ios[i]);
        }
        rt_run(rt);
        for (unsigned i = 0; i < DEEP; i++) {
            expect_eq(ios[i].status, STATUS_OK);
        }
    }
    expect(memcmp(memory_a, memory_b, DEEP * 4096) == 0);
    rt_file_close(file);
}

static void discard_and_sync_complete(void)
{
    struct rt_file *file = create("f", RT_OPEN_DIRECT);
    require(file != NULL);
    fill(memory_a, 1024 * 1024, 4);
    expect_eq(transfer(file, RT_FILE_WRITE, 0, memory_a, 1024 * 1024), STATUS_OK);
    struct rt_file_io io = {.op = RT_FILE_DISCARD, .file = file, .offset = 65536, .length = 65536};
    expect_eq(run_io(&io), STATUS_OK);
    expect_eq(io.length, 65536);
    expect_eq(sync_file(file), STATUS_OK);
    expect_eq(transfer(file, RT_FILE_READ, 0, memory_b, 1024 * 1024), STATUS_OK);
    expect(memcmp(memory_a, memory_b, 65536) == 0); /* only the range is given up */
    expect(memcmp(memory_a + 131072, memory_b + 131072, 1024 * 1024 - 131072) == 0);
    rt_file_close(file);
}

static void a_locked_file_is_locked_until_closed(void)
{
    struct rt_file *first = create("f", RT_OPEN_LOCK), *second = NULL;
    require(first != NULL);
    expect_status(rt_file_open(rt, path_of("f"), RT_OPEN_LOCK, &second, NULL), STATUS_LOCKED);
    expect(second == NULL);
    expect_status(rt_file_open(rt, path_of("f"), 0, &second, NULL), STATUS_OK); /* did not ask */
    rt_file_close(second);
    second = NULL;
    /* Closing another description does not let go of it (as a POSIX lock would). */
    expect_status(rt_file_open(rt, path_of("f"), RT_OPEN_LOCK, &second, NULL), STATUS_LOCKED);
    rt_file_close(first);
    expect_status(rt_file_open(rt, path_of("f"), RT_OPEN_LOCK, &second, NULL), STATUS_OK);
    rt_file_close(second);
}

/* ---- Blocking files, on a worker ---- */

static void blocking_body(void);

static void blocking_work(struct rt_work *work)
{
    blocking_body();
}

static void blocking_done(struct rt_work *work)
{
    came();
    rt_stop(rt);
}

static void blocking_files_read_write_and_change_size(void)
{
    struct rt_worker *worker = NULL;
    struct rt_work work = {.fn = blocking_work, .done = blocking_done};
    expect_status(rt_worker_create(rt, "files", &worker), STATUS_OK);
    STARTING(rt_work(worker, &work));
    rt_run(rt);
    rt_worker_destroy(worker);
}

static void blocking_body(void)
{
    struct rt_bfile *file = NULL;
    uint64_t size = 99;
    size_t n = 99;
    uint8_t got[64];
    expect_status(rt_bfile_open(rt, path_of("b"), 0, &file), STATUS_NOT_FOUND);
    require(file == NULL);
    expect_status(rt_bfile_open(rt, path_of("b"), RT_BOPEN_CREATE, &file), STATUS_OK);
    require(file != NULL);
    expect_status(rt_bfile_size(file, &size), STATUS_OK);
    expect_eq(size, 0);
    expect_status(rt_bfile_write(file, 10, "hello world", 11), STATUS_OK);
    expect_status(rt_bfile_size(file, &size), STATUS_OK);
    expect_eq(size, 21);
    expect_status(rt_bfile_read(file, 0, got, sizeof got, &n), STATUS_OK);
    expect_eq(n, 21); /* fewer at the end */
    expect(memcmp(got, "\0\0\0\0\0\0\0\0\0\0hello world", 21) == 0);
    expect_status(rt_bfile_read(file, 100, got, sizeof got, &n), STATUS_OK);
    expect_eq(n, 0);
    expect_status(rt_bfile_truncate(file, 15), STATUS_OK);
    expect_status(rt_bfile_truncate(file, 30), STATUS_OK);
    expect_status(rt_bfile_read(file, 0, got, sizeof got, &n), STATUS_OK);
    expect_eq(n, 30);
    expect(memcmp(got + 10, "hello\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20) == 0);
    expect_status(rt_bfile_sync(file, RT_FLUSH_CATALOG), STATUS_OK);
    rt_bfile_close(file);
    rt_bfile_close(NULL);
    file = NULL;
    unsigned exclusive = RT_BOPEN_CREATE | RT_BOPEN_EXCLUSIVE;
    expect_status(rt_bfile_open(rt, path_of("b"), exclusive, &file), STATUS_EXISTS);
    expect(file == NULL);
    expect_status(rt_bfile_open(rt, path_of("b"), RT_BOPEN_CREATE | RT_BOPEN_READ_ONLY, &file),
                  STATUS_OK);
    require(file != NULL);
    struct err *e = rt_bfile_write(file, 0, "x", 1);
    expect(e != NULL);
    err_free(e);
    expect_status(rt_bfile_size(file, &size), STATUS_OK);
    expect_eq(size, 30);
    rt_bfile_close(file);
}

static void names_are_made_moved_and_deleted(void)
{
    struct rt_bfile *file = NULL;
    size_t n = 0;
    char got[8] = "";
    expect_status(rt_path_make_directory(rt, path_of("d")), STATUS_OK);
    expect_status(rt_path_make_directory(rt, path_of("d")), STATUS_OK); /* fine if there */
    expect(rt_path_exists(rt, path_of("d")));
    expect(!rt_path_exists(rt, path_of("a")));
    static const char *const names[] = {"a", "b"};
    for (unsigned i = 0; i < 2; i++) {
        expect_status(
            rt_bfile_open(rt, path_of(names[i]), RT_BOPEN_CREATE | RT_BOPEN_EXCLUSIVE, &file),
            STATUS_OK);
        expect_status(rt_bfile_write(file, 0, names[i], 1), STATUS_OK);
        rt_bfile_close(file);
    }
    expect_status(rt_path_rename(rt, path_of("none"), path_of("b")), STATUS_NOT_FOUND);
    expect_status(rt_path_rename(rt, path_of("a"), path_of("b")), STATUS_OK); /* replaces */
    expect(!rt_path_exists(rt, path_of("a")));
    expect_status(rt_bfile_open(rt, path_of("b"), RT_BOPEN_READ_ONLY, &file), STATUS_OK);
    expect_status(rt_bfile_read(file, 0, got, sizeof got, &n), STATUS_OK);
    expect(n == 1 && got[0] == 'a');
    expect_status(rt_path_delete(rt, path_of("b"), true), STATUS_OK);
    expect(!rt_path_exists(rt, path_of("b")));
    expect_status(rt_bfile_read(file, 0, got, sizeof got, &n), STATUS_OK); /* still open */
    expect_eq(n, 1);
    rt_bfile_close(file);
    expect_status(rt_path_delete(rt, path_of("b"), false), STATUS_NOT_FOUND);
}

const struct contract_case file_cases[] = {
    CASE(opening_says_what_is_there),
    CASE(what_was_written_is_read),
    CASE(pieces_of_memory_are_one_transfer),
    CASE(a_transfer_is_whole_or_failed),
    CASE(direct_files_say_their_alignment),
    CASE(many_requests_at_once_all_complete),
    CASE(discard_and_sync_complete),
    CASE(a_locked_file_is_locked_until_closed),
    CASE(blocking_files_read_write_and_change_size),
    CASE(names_are_made_moved_and_deleted),
};
const unsigned file_case_count = countof(file_cases);
