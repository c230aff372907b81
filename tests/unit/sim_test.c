/* The simulator itself: what a crash keeps, loses and tears, faults, determinism. */
#include "tests/sim/sim.h"

#include <stdlib.h>

#include "base/limits.h"
#include "tests/lib/tap.h"

enum { SEEDS = 200, BLOCKS = 16 };

static struct sim *sim;
static struct sim_node *node;
static struct rt *rt;
static struct rt_file *file;
static unsigned done_count;

static uint8_t memory[BLOCKS][BLOCK_BYTES] __attribute__((aligned(4096)));
static struct iovec iovs[BLOCKS];
static struct rt_file_io ios[BLOCKS];
static struct rt_file_io sync_io;

static void count_done(struct rt_file_io *io)
{
    done_count++;
}

static bool all_done(void *arg)
{
    return done_count >= *(unsigned *)arg;
}

static void run_until_done(unsigned count)
{
    expect(sim_run_until(sim, all_done, &count, 10 * RT_SECOND));
}

static void open_file(unsigned flags)
{
    struct err *e = rt_file_open(rt, "f", flags, &file, NULL);
    expect(!e);
    err_free(e);
}

static void world(uint64_t seed)
{
    sim = sim_create(&(struct sim_options){.seed = seed});
    node = sim_node_create(sim, "node");
    sim_file_create(node, "f", MIB);
    rt = sim_node_boot(node);
    open_file(RT_OPEN_LOCK | RT_OPEN_DIRECT);
    done_count = 0;
}

static void submit_block(enum rt_file_op op, unsigned block, uint8_t value)
{
    if (op == RT_FILE_WRITE) memset(memory[block], value, BLOCK_BYTES);
    iovs[block] = (struct iovec){memory[block], BLOCK_BYTES};
    ios[block] = (struct rt_file_io){.op = op,
                                     .file = file,
                                     .offset = (uint64_t)block * BLOCK_BYTES,
                                     .iov = &iovs[block],
                                     .iov_count = 1,
                                     .done = count_done};
    rt_file_submit(rt, &ios[block]);
}

static void write_block(unsigned block, uint8_t value)
{
    unsigned before = done_count;
    submit_block(RT_FILE_WRITE, block, value);
    run_until_done(before + 1);
}

static void submit_sync(enum rt_flush_site site)
{
    sync_io =
        (struct rt_file_io){.op = RT_FILE_SYNC, .file = file, .site = site, .done = count_done};
    rt_file_submit(rt, &sync_io);
}

static void sync_now(enum rt_flush_site site)
{
    unsigned before = done_count;
    submit_sync(site);
    run_until_done(before + 1);
}

/* How many of the eight sectors of a block hold `value`. */
static unsigned sectors_with(unsigned block, uint8_t value)
{
    uint8_t bytes[BLOCK_BYTES];
    unsigned count = 0;
    sim_file_peek(node, "f", (uint64_t)block * BLOCK_BYTES, bytes, sizeof bytes);
    for (unsigned i = 0; i < SECTORS_PER_BLOCK; i++) {
        const uint8_t *sector = bytes + i * SECTOR_BYTES;
        bool same = true;
        for (unsigned j = 0; j < SECTOR_BYTES; j++) {
            same &= sector[j] == sector[0]; /* a sector is never torn */
        }
        expect(same);
        count += sector[0] == value;
    }
    return count;
}

/* ---- Power ---- */

static void power_loss_keeps_what_was_synced_and_any_part_of_the_rest(void)
{
    unsigned lost = 0, kept = 0, torn = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        world(seed);
        write_block(0, 1);
        sync_now(RT_FLUSH_HOST);
        write_block(1, 2);
        sim_node_crash(node, SIM_CRASH_POWER);
        expect_eq(sectors_with(0, 1), 8);
        unsigned count = sectors_with(1, 2);
        *(count == 0 ? &lost : count == 8 ? &kept : &torn) += 1;
        sim_destroy(sim);
    }
    expect(lost > 10 && kept > 10 && torn > 5);
}

static void power_loss_may_keep_a_later_write_and_lose_an_earlier_one(void)
{
    unsigned only_later = 0, only_earlier = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        world(seed);
        write_block(3, 1);
        write_block(1, 2);
        sim_node_crash(node, SIM_CRASH_POWER);
        bool earlier = sectors_with(3, 1) == 8, later = sectors_with(1, 2) == 8;
        only_later += later && !earlier;
        only_earlier += earlier && !later;
        sim_destroy(sim);
    }
    expect(only_later > 5 && only_earlier > 5);
}

static bool write_came_first;

static void sync_done(struct rt_file_io *io)
{
    write_came_first = done_count == 2;
    done_count++;
}

static void a_sync_covers_only_what_had_completed_before_it_was_submitted(void)
{
    unsigned lost = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        world(seed);
        write_block(0, 1);
        submit_block(RT_FILE_WRITE, 1, 2);
        submit_sync(RT_FLUSH_HOST);
        sync_io.done = sync_done;
        run_until_done(3);
        sim_node_crash(node, SIM_CRASH_POWER);
        expect_eq(sectors_with(0, 1), 8);
        lost += write_came_first && sectors_with(1, 2) == 0;
        sim_destroy(sim);
    }
    expect(lost > 10);
}

static void overwriting_an_unsynced_block_leaves_either_version_or_the_synced_one(void)
{
    unsigned seen[4] = {0};
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        world(seed);
        write_block(0, 1);
        sync_now(RT_FLUSH_HOST);
        write_block(0, 2);
        write_block(0, 3);
        sim_node_crash(node, SIM_CRASH_POWER);
        unsigned total = 0;
        for (uint8_t v = 1; v <= 3; v++) {
            unsigned n = sectors_with(0, v);
            total += n;
            seen[v] += n == 8;
        }
        expect_eq(total, 8);
        sim_destroy(sim);
    }
    expect(seen[1] && seen[2] && seen[3]);
}

static void an_ignored_flush_completes_and_protects_nothing(void)
{
    unsigned lost = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        world(seed);
        sim_node_ignore_flush(node, RT_FLUSH_CHECKPOINT_SUPER);
        write_block(0, 1);
        sync_now(RT_FLUSH_HOST); /* another one: honest */
        write_block(1, 2);
        sync_now(RT_FLUSH_CHECKPOINT_SUPER);
        expect_eq(sync_io.status, STATUS_OK);
        sim_node_crash(node, SIM_CRASH_POWER);
        expect_eq(sectors_with(0, 1), 8);
        lost += sectors_with(1, 2) == 0;
        sim_destroy(sim);
    }
    expect(lost > 10);
}

static void what_survived_power_loss_survives_the_next_one(void)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        uint8_t before[BLOCKS * BLOCK_BYTES], after[BLOCKS * BLOCK_BYTES];
        world(seed);
        for (unsigned i = 0; i < BLOCKS; i++) {
            submit_block(RT_FILE_WRITE, i, (uint8_t)(i + 1));
        }
        run_until_done(BLOCKS / 2);
        sim_node_crash(node, SIM_CRASH_POWER);
        sim_file_peek(node, "f", 0, before, sizeof before);
        rt = sim_node_boot(node);
        open_file(RT_OPEN_LOCK);
        sim_node_crash(node, SIM_CRASH_POWER);
        sim_file_peek(node, "f", 0, after, sizeof after);
        expect(memcmp(before, after, sizeof before) == 0);
        sim_destroy(sim);
    }
}

/* ---- Process ---- */

static void process_crash_keeps_every_completed_write(void)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        world(seed);
        for (unsigned i = 0; i < BLOCKS; i++) {
            write_block(i, (uint8_t)(i + 1));
        }
        sim_node_crash(node, SIM_CRASH_PROCESS);
        for (unsigned i = 0; i < BLOCKS; i++) {
            expect_eq(sectors_with(i, (uint8_t)(i + 1)), 8);
        }
        /* But they are no safer than before. */
        sim_node_crash(node, SIM_CRASH_POWER);
        sim_destroy(sim);
    }
}

static void process_crash_keeps_any_subset_of_what_is_in_flight(void)
{
    unsigned lost = 0, kept = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        world(seed);
        submit_block(RT_FILE_WRITE, 0, 1);
        sim_node_crash(node, SIM_CRASH_PROCESS);
        sim_run_for(sim, RT_SECOND);
        expect_eq(done_count, 0);
        lost += sectors_with(0, 1) == 0;
        kept += sectors_with(0, 1) == 8;
        sim_destroy(sim);
    }
    expect(lost > 10 && kept > 10);
}

static void a_write_may_land_after_the_next_boot_until_the_lock_is_had(void)
{
    unsigned late = 0, after_lock = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        world(seed);
        submit_block(RT_FILE_WRITE, 0, 1);
        sim_node_crash(node, SIM_CRASH_PROCESS);
        rt = sim_node_boot(node);
        unsigned before = sectors_with(0, 1);
        if (seed % 2) open_file(RT_OPEN_LOCK);
        unsigned locked = sectors_with(0, 1);
        sim_run_for(sim, RT_SECOND);
        if (seed % 2) {
            after_lock += locked != sectors_with(0, 1);
        } else {
            late += before != sectors_with(0, 1);
        }
        sim_destroy(sim);
    }
    expect(late > 10);
    expect_eq(after_lock, 0);
}

static void a_dead_programs_objects_can_still_be_closed(void)
{
    struct rt_timer timer = {0};
    struct rt_message message = {0};
    world(1);
    void *buf = rt_buf_get(rt, 4096);
    rt_timer_set(rt, &timer, rt_now(rt) + 1, NULL);
    rt_post(rt, &message);
    submit_block(RT_FILE_WRITE, 0, 1);
    sim_node_crash(node, SIM_CRASH_PROCESS);
    expect(!sim_node_is_up(node));
    rt_timer_cancel(rt, &timer);
    rt_buf_put(rt, buf, 4096);
    submit_block(RT_FILE_WRITE, 1, 1);
    rt_file_close(file);
    sim_run_for(sim, RT_SECOND); /* none of the functions is called: they are NULL */
    expect_eq(done_count, 0);
    expect_eq(sectors_with(1, 1), 0);
    struct err *e = rt_file_open(rt, "f", 0, &file, NULL);
    expect_eq(err_status(e), STATUS_OS_ERROR);
    err_free(e);
    rt = sim_node_boot(node);
    expect(sim_node_is_up(node));
    open_file(RT_OPEN_LOCK); /* the dead one's lock has gone */
    sim_destroy(sim);
}

static void the_node_crashes_at_the_kth_write(void)
{
    for (unsigned k = 1; k <= 4; k++) {
        world(k);
        write_block(15, 9);
        sim_node_crash_at_write(node, k, SIM_CRASH_PROCESS);
        done_count = 0;
        for (unsigned i = 0; i < 2; i++) {
            submit_block(RT_FILE_WRITE, i, 1);
            unsigned want = i + 1;
            sim_run_until(sim, all_done, &want, RT_SECOND);
        }
        submit_sync(RT_FLUSH_HOST);
        unsigned want = 3;
        sim_run_until(sim, all_done, &want, RT_SECOND);
        submit_block(RT_FILE_READ, 2, 0);
        sim_run_for(sim, RT_SECOND);
        expect_eq(sim_node_is_up(node), k == 4);
        expect_eq(done_count, k == 4 ? 4 : k - 1);
        expect_eq(sim_node_write_count(node), min_of(1 + k, 4u));
        if (k == 1) expect_eq(sectors_with(1, 1), 0); /* submitted when all was over */
        sim_destroy(sim);
    }
}

/* ---- Order and determinism ---- */

static unsigned finished[BLOCKS], finished_count;

static void note_order(struct rt_file_io *io)
{
    finished[finished_count++] = (unsigned)(io->offset / BLOCK_BYTES);
}

static void completions_are_reordered(void)
{
    world(5);
    finished_count = 0;
    for (unsigned i = 0; i < BLOCKS; i++) {
        submit_block(RT_FILE_WRITE, i, 1);
        ios[i].done = note_order;
    }
    sim_run_for(sim, RT_SECOND);
    expect_eq(finished_count, BLOCKS);
    unsigned out_of_order = 0;
    for (unsigned i = 1; i < BLOCKS; i++) {
        out_of_order += finished[i] < finished[i - 1];
    }
    expect(out_of_order > 0);
    sim_destroy(sim);
}

static uint64_t hash_of_a_life(uint64_t seed)
{
    world(seed);
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < BLOCKS; i++) {
            submit_block(RT_FILE_WRITE, i, (uint8_t)round);
        }
        submit_sync(RT_FLUSH_HOST);
        sim_run_for(sim, RT_MS);
        sim_node_crash(node, round % 2 ? SIM_CRASH_POWER : SIM_CRASH_PROCESS);
        rt = sim_node_boot(node);
        open_file(round % 3 ? RT_OPEN_LOCK : 0);
    }
    sim_run_for(sim, RT_SECOND);
    uint64_t hash = sim_trace_hash(sim);
    for (unsigned i = 0; i < BLOCKS; i++) {
        hash = hash * 31 + sectors_with(i, 4);
    }
    sim_destroy(sim);
    return hash;
}

static void equal_seeds_give_equal_traces_and_others_do_not(void)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        uint64_t hash = hash_of_a_life(seed);
        expect(hash == hash_of_a_life(seed));
        expect(hash != hash_of_a_life(seed + 1));
    }
}

/* ---- Faults ---- */

static void faults_strike_once_and_where_asked(void)
{
    world(3);
    write_block(0, 1);
    sim_node_fault(node, SIM_FAULT_READ_ERROR, "f", 1);
    static const enum status reads[] = {STATUS_OK, STATUS_READ_FAILED, STATUS_OK};
    for (unsigned i = 0; i < 3; i++) {
        unsigned before = done_count;
        submit_block(RT_FILE_READ, 0, 0);
        run_until_done(before + 1);
        expect_eq(ios[0].status, reads[i]);
    }
    sim_node_fault(node, SIM_FAULT_WRITE_ERROR, NULL, 0);
    sim_node_fault(node, SIM_FAULT_WRITE_ERROR, "other", 0);
    write_block(1, 1);
    expect_eq(ios[1].status, STATUS_WRITE_FAILED);
    sim_node_fault(node, SIM_FAULT_FLUSH_ERROR, "f", 0);
    sync_now(RT_FLUSH_HOST);
    expect_eq(sync_io.status, STATUS_FLUSH_FAILED);
    sim_node_fault(node, SIM_FAULT_LOST_WRITE, "f", 0);
    write_block(2, 1);
    expect_eq(ios[2].status, STATUS_OK);
    expect_eq(sectors_with(2, 1), 0);
    write_block(2, 2);
    expect_eq(sectors_with(2, 2), 8);
    sim_destroy(sim);
}

static void a_misdirected_write_lands_elsewhere(void)
{
    world(4);
    sim_node_fault(node, SIM_FAULT_MISDIRECTED_WRITE, "f", 0);
    write_block(0, 7);
    expect_eq(ios[0].status, STATUS_OK);
    uint8_t *all = malloc(MIB);
    unsigned found = 0;
    sim_file_peek(node, "f", 0, all, MIB);
    for (unsigned i = 0; i < MIB / BLOCK_BYTES; i++) {
        found += memcmp(all + i * BLOCK_BYTES, memory[0], BLOCK_BYTES) == 0;
    }
    expect_eq(found, 1);
    expect_eq(sectors_with(0, 7), 0);
    free(all);
    sim_destroy(sim);
}

/* Only block 0 begins with something: it is the one that is met. */
static void rot_flips_the_bit_that_it_tells(void)
{
    uint64_t block = 77;
    unsigned bit = 0;
    uint8_t after[BLOCK_BYTES];
    world(6);
    expect(!sim_file_rot(node, "f", sim_prng(sim), &block, &bit));
    expect_eq(block, 77);
    write_block(0, 7);
    while (!sim_file_rot(node, "f", sim_prng(sim), &block, &bit))
        ;
    expect_eq(block, 0);
    sim_file_peek(node, "f", 0, after, sizeof after);
    after[bit / 8] ^= (uint8_t)(1 << bit % 8);
    expect(memcmp(after, memory[0], sizeof after) == 0);
    sim_node_crash(node, SIM_CRASH_POWER);
    sim_destroy(sim);
}

static void a_hanging_request_completes_after_healing(void)
{
    world(5);
    sim_node_fault(node, SIM_FAULT_HANG, "f", 0);
    submit_block(RT_FILE_WRITE, 0, 1);
    sim_run_for(sim, 100 * RT_SECOND);
    expect_eq(done_count, 0);
    sim_heal(sim);
    sim_run_for(sim, RT_SECOND);
    expect_eq(done_count, 1);
    expect_eq(sectors_with(0, 1), 8);
    sim_destroy(sim);
}

/* ---- Blocking files ---- */

static void blocking_files_lose_what_was_not_synced(void)
{
    unsigned lost = 0, kept = 0, short_files = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rt_bfile *b;
        uint8_t byte = 0;
        world(seed);
        expect(!rt_bfile_open(rt, "b", RT_BOPEN_CREATE, &b));
        expect(!rt_bfile_write(b, 0, "A", 1));
        expect(!rt_bfile_sync(b, RT_FLUSH_CATALOG));
        expect(!rt_bfile_write(b, 5000, "B", 1));
        sim_node_crash(node, SIM_CRASH_POWER);
        sim_file_peek(node, "b", 0, &byte, 1);
        expect_eq(byte, 'A');
        sim_file_peek(node, "b", 5000, &byte, 1);
        *(byte == 'B' ? &kept : &lost) += 1;
        expect_eq(sim_file_size(node, "b"), byte == 'B' ? 5001 : 1);
        short_files += sim_file_size(node, "b") == 1;
        struct err *e = rt_bfile_write(b, 0, "C", 1);
        expect_eq(err_status(e), STATUS_OS_ERROR);
        err_free(e);
        rt_bfile_close(b);
        sim_destroy(sim);
    }
    expect(lost > 10 && kept > 10 && short_files == lost);
}

static void an_unsynced_truncation_or_deletion_may_be_undone(void)
{
    unsigned truncated = 0, whole = 0, back = 0, gone = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rt_bfile *b;
        world(seed);
        expect(!rt_bfile_open(rt, "b", RT_BOPEN_CREATE, &b));
        expect(!rt_bfile_write(b, 0, "0123456789", 10));
        expect(!rt_bfile_sync(b, RT_FLUSH_CATALOG));
        expect(!rt_bfile_truncate(b, 5));
        rt_bfile_close(b);
        expect(!rt_bfile_open(rt, "d", RT_BOPEN_CREATE, &b));
        rt_bfile_close(b);
        expect(!rt_path_delete(rt, "d", false));
        sim_node_crash(node, SIM_CRASH_POWER);
        rt = sim_node_boot(node);
        *(rt_path_exists(rt, "d") ? &back : &gone) += 1;
        char text[11] = "";
        sim_file_peek(node, "b", 0, text, 10);
        bool is_whole = strcmp(text, "0123456789") == 0;
        expect(is_whole || strcmp(text, "01234") == 0);
        expect_eq(sim_file_size(node, "b"), is_whole ? 10 : 5);
        *(is_whole ? &whole : &truncated) += 1;
        sim_destroy(sim);
    }
    expect(truncated > 10 && whole > 10 && back > 10 && gone > 10);
}

static void a_blocking_write_may_be_the_one_that_crashes(void)
{
    struct rt_bfile *b;
    world(1);
    expect(!rt_bfile_open(rt, "b", RT_BOPEN_CREATE, &b));
    sim_node_crash_at_write(node, 2, SIM_CRASH_POWER);
    expect(!rt_bfile_write(b, 0, "A", 1));
    struct err *e = rt_bfile_sync(b, RT_FLUSH_CATALOG);
    expect_eq(err_status(e), STATUS_OS_ERROR);
    err_free(e);
    expect(!sim_node_is_up(node));
    e = rt_bfile_write(b, 0, "B", 1);
    expect_eq(err_status(e), STATUS_OS_ERROR);
    err_free(e);
    sim_destroy(sim);
}

/* ---- Net ---- */

static struct rt_sock *near_sock, *far_sock;
static struct rt_sock_io connect_io, recv_io;
static unsigned net_done;

static void on_accept(void *arg, struct rt_sock *sock)
{
    far_sock = sock;
    net_done++;
}

static void on_net(struct rt_sock_io *io)
{
    if (io == &connect_io) near_sock = io->sock;
    net_done++;
}

static struct sim_node *other;
static struct rt *other_rt;
static struct rt_listener *listener;
static uint8_t byte_in;
static struct iovec byte_iov = {&byte_in, 1};

static void connect_nodes(void)
{
    connect_io = (struct rt_sock_io){
        .op = RT_SOCK_CONNECT, .address = rt_listener_address(listener), .done = on_net};
    net_done = 0;
    rt_sock_submit(rt, &connect_io);
    sim_run_for(sim, RT_SECOND);
}

static void two_nodes(void)
{
    world(6);
    other = sim_node_create(sim, "other");
    other_rt = sim_node_boot(other);
    expect(!rt_listen(other_rt, "127.0.0.1:0", on_accept, NULL, &listener));
    connect_nodes();
    expect_eq(net_done, 2);
    recv_io = (struct rt_sock_io){
        .op = RT_SOCK_RECV, .sock = near_sock, .iov = &byte_iov, .iov_count = 1, .done = on_net};
    rt_sock_submit(rt, &recv_io);
}

static void a_partition_breaks_streams_until_healed(void)
{
    two_nodes();
    sim_partition(sim, node, other);
    sim_run_for(sim, RT_SECOND);
    expect_eq(net_done, 3);
    expect_eq(recv_io.status, STATUS_SOCKET_FAILED);
    connect_nodes();
    expect_eq(net_done, 1);
    expect_eq(connect_io.status, STATUS_UNREACHABLE);
    sim_heal(sim);
    connect_nodes();
    expect_eq(net_done, 2);
    expect_eq(connect_io.status, STATUS_OK);
    sim_destroy(sim);
}

static void a_crash_breaks_the_streams_of_the_node(void)
{
    for (int kind = 0; kind < 2; kind++) {
        two_nodes();
        sim_node_crash(other, kind ? SIM_CRASH_POWER : SIM_CRASH_PROCESS);
        sim_run_for(sim, 5 * RT_SECOND);
        expect_eq(net_done, 3);
        expect_eq(recv_io.status, STATUS_SOCKET_FAILED);
        connect_nodes();
        expect_eq(connect_io.status, STATUS_UNREACHABLE);
        sim_destroy(sim);
    }
}

/* ---- The rest ---- */

static void the_wall_clock_jumps_alone(void)
{
    world(1);
    uint64_t wall = rt_wall(rt), now = rt_now(rt);
    sim_node_wall_jump(node, -(int64_t)RT_SECOND);
    expect_eq(rt_wall(rt), wall - RT_SECOND);
    expect_eq(rt_now(rt), now);
    sim_run_for(sim, 3 * RT_SECOND);
    expect_eq(rt_wall(rt), wall + 2 * RT_SECOND);
    expect_eq(rt_now(rt), now + 3 * RT_SECOND);
    sim_destroy(sim);
}

static void files_are_sparse_and_can_be_touched_from_outside(void)
{
    world(1);
    uint8_t byte = 5;
    sim_file_create(node, "big", 16 * GIB);
    expect_eq(sim_file_size(node, "big"), 16 * GIB);
    expect_eq(sim_file_size(node, "none"), 0);
    sim_file_peek(node, "big", 16 * GIB - 1, &byte, 1);
    expect_eq(byte, 0);
    sim_file_poke(node, "big", 7 * GIB, "x", 1);
    sim_node_crash(node, SIM_CRASH_POWER);
    sim_file_peek(node, "big", 7 * GIB, &byte, 1);
    expect_eq(byte, 'x');
    sim_destroy(sim);
}

static void io_is_counted(void)
{
    world(1);
    write_block(0, 1);
    write_block(1, 1);
    sync_now(RT_FLUSH_HOST);
    submit_block(RT_FILE_READ, 0, 0);
    run_until_done(4);
    struct sim_counters c = sim_node_counters(node);
    expect_eq(c.writes, 2);
    expect_eq(c.write_bytes, 2 * BLOCK_BYTES);
    expect_eq(c.syncs, 1);
    expect_eq(c.reads, 1);
    expect_eq(c.read_bytes, BLOCK_BYTES);
    expect_eq(sim_node_write_count(node), 3);
    sim_destroy(sim);
}

int main(void)
{
    run(power_loss_keeps_what_was_synced_and_any_part_of_the_rest);
    run(power_loss_may_keep_a_later_write_and_lose_an_earlier_one);
    run(a_sync_covers_only_what_had_completed_before_it_was_submitted);
    run(overwriting_an_unsynced_block_leaves_either_version_or_the_synced_one);
    run(an_ignored_flush_completes_and_protects_nothing);
    run(what_survived_power_loss_survives_the_next_one);
    run(process_crash_keeps_every_completed_write);
    run(process_crash_keeps_any_subset_of_what_is_in_flight);
    run(a_write_may_land_after_the_next_boot_until_the_lock_is_had);
    run(a_dead_programs_objects_can_still_be_closed);
    run(the_node_crashes_at_the_kth_write);
    run(completions_are_reordered);
    run(equal_seeds_give_equal_traces_and_others_do_not);
    run(faults_strike_once_and_where_asked);
    run(a_misdirected_write_lands_elsewhere);
    run(rot_flips_the_bit_that_it_tells);
    run(a_hanging_request_completes_after_healing);
    run(blocking_files_lose_what_was_not_synced);
    run(an_unsynced_truncation_or_deletion_may_be_undone);
    run(a_blocking_write_may_be_the_one_that_crashes);
    run(a_partition_breaks_streams_until_healed);
    run(a_crash_breaks_the_streams_of_the_node);
    run(the_wall_clock_jumps_alone);
    run(files_are_sparse_and_can_be_touched_from_outside);
    run(io_is_counted);
    return tap_done();
}
