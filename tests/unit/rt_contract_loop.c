/* Time, timers, posts, workers, buffers. */
#include <stdlib.h>
#include <unistd.h>

#include "tests/unit/rt_contract.h"

bool loop_cases_failed(void)
{
    bool failed = tap_failed;
    tap_failed = false;
    return failed;
}

static unsigned trail[64], trail_count;

static void leave(unsigned mark)
{
    if (trail_count < countof(trail)) trail[trail_count++] = mark;
}

/* ---- Time and randomness ---- */

static void time_never_goes_back(void)
{
    uint64_t last = rt_now(rt);
    expect(last > 0);
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t now = rt_now(rt);
        expect(now >= last);
        last = now;
    }
    expect(rt_wall(rt) > (uint64_t)1700000000 * RT_SECOND);
}

static void random_bytes_differ(void)
{
    uint8_t a[300] = {0}, b[300] = {0}; /* more than getrandom promises at once */
    unsigned zeros = 0;
    rt_random(rt, a, sizeof a);
    rt_random(rt, b, sizeof b);
    expect(memcmp(a, b, sizeof a) != 0);
    for (unsigned i = 0; i < sizeof a; i++) {
        zeros += a[i] == 0;
    }
    expect(zeros < 30);
    struct uuid u = rt_uuid(rt), v = rt_uuid(rt);
    expect(!uuid_equal(&u, &v));
    expect_eq(u.bytes[6] >> 4, 4);
}

/* ---- Timers ---- */

struct marked_timer {
    struct rt_timer timer;
    unsigned mark;
};

static void timer_fired(struct rt_timer *timer)
{
    struct marked_timer *t = container_of(timer, struct marked_timer, timer);
    came();
    expect(!rt_timer_is_pending(timer));
    expect(rt_now(rt) >= timer->deadline_ns);
    leave(t->mark);
}

static void stop_timer_fired(struct rt_timer *timer)
{
    came();
    rt_stop(rt);
}

static void run_for(uint64_t ns)
{
    struct rt_timer end = {0};
    STARTING(rt_timer_set(rt, &end, rt_now(rt) + ns, stop_timer_fired));
    rt_run(rt);
}

static void timers_fire_by_deadline_and_equal_ones_as_set(void)
{
    struct marked_timer t[6] = {0};
    uint64_t base = rt_now(rt) + RT_MS;
    static const unsigned offsets[] = {3, 1, 2, 1, 3, 0};
    trail_count = 0;
    for (unsigned i = 0; i < 6; i++) {
        t[i].mark = i;
        STARTING(rt_timer_set(rt, &t[i].timer, base + offsets[i] * RT_MS, timer_fired));
        expect(rt_timer_is_pending(&t[i].timer));
    }
    run_for(20 * RT_MS);
    static const unsigned expected[] = {5, 1, 3, 2, 0, 4};
    expect_eq(trail_count, 6);
    expect(memcmp(trail, expected, sizeof expected) == 0);
}

static void a_cancelled_timer_does_not_fire(void)
{
    struct marked_timer a = {.mark = 1}, b = {.mark = 2}, c = {.mark = 3};
    trail_count = 0;
    STARTING(rt_timer_set(rt, &a.timer, rt_now(rt) + RT_MS, timer_fired));
    STARTING(rt_timer_set(rt, &b.timer, rt_now(rt) + RT_MS, timer_fired));
    STARTING(rt_timer_cancel(rt, &a.timer));
    STARTING(rt_timer_cancel(rt, &a.timer)); /* fine when not pending */
    STARTING(rt_timer_cancel(rt, &c.timer)); /* never was */
    expect(!rt_timer_is_pending(&a.timer));
    run_for(5 * RT_MS);
    expect_eq(trail_count, 1);
    expect_eq(trail[0], 2);
}

static void setting_a_pending_timer_moves_it(void)
{
    struct marked_timer a = {.mark = 1}, b = {.mark = 2};
    trail_count = 0;
    uint64_t now = rt_now(rt);
    STARTING(rt_timer_set(rt, &a.timer, now + RT_MS, timer_fired));
    STARTING(rt_timer_set(rt, &b.timer, now + 2 * RT_MS, timer_fired));
    STARTING(rt_timer_set(rt, &a.timer, now + 3 * RT_MS, timer_fired));
    run_for(10 * RT_MS);
    expect_eq(trail_count, 2);
    expect_eq(trail[0], 2);
    expect_eq(trail[1], 1);
}

static struct rt_timer repeating;
static unsigned repeat_count;

static void repeat(struct rt_timer *timer)
{
    came();
    if (++repeat_count < 5) {
        STARTING(rt_timer_set(rt, &repeating, 1, repeat)); /* long past */
    } else {
        rt_stop(rt);
    }
}

static void a_timer_in_the_past_fires_in_a_later_turn(void)
{
    repeat_count = 0;
    repeating = (struct rt_timer){0};
    STARTING(rt_timer_set(rt, &repeating, 0, repeat));
    rt_run(rt);
    expect_eq(repeat_count, 5);
}

enum { MANY_TIMERS = 500 };

static void many_timers_keep_their_order(void)
{
    static struct marked_timer t[MANY_TIMERS];
    uint64_t base = rt_now(rt), state = 7;
    memset(t, 0, sizeof t);
    trail_count = 0;
    for (unsigned i = 0; i < MANY_TIMERS; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        t[i].mark = i;
        STARTING(
            rt_timer_set(rt, &t[i].timer, base + RT_SECOND * 1000 + (state >> 40), timer_fired));
    }
    for (unsigned i = 0; i < MANY_TIMERS; i++) {
        if (i % 50) STARTING(rt_timer_cancel(rt, &t[i].timer));
    }
    for (unsigned i = 0; i < MANY_TIMERS; i += 50) {
        STARTING(rt_timer_set(rt, &t[i].timer, base + (MANY_TIMERS - i) * 1000, timer_fired));
    }
    run_for(5 * RT_MS);
    expect_eq(trail_count, MANY_TIMERS / 50);
    for (unsigned i = 1; i < trail_count; i++) {
        expect(trail[i] < trail[i - 1]);
    }
}

/* ---- Posts ---- */

struct marked_message {
    struct rt_message message;
    unsigned mark;
};

static void message_came(struct rt_message *message)
{
    struct marked_message *m = container_of(message, struct marked_message, message);
    came();
    expect(!list_is_linked(&message->link)); /* it is the sender's again */
    leave(m->mark);
}

static void stop_message(struct rt_message *message)
{
    came();
    rt_stop(rt);
}

static void posts_run_in_order(void)
{
    struct marked_message m[20] = {0};
    struct rt_message last = {.fn = stop_message};
    trail_count = 0;
    for (unsigned i = 0; i < countof(m); i++) {
        m[i].message.fn = message_came;
        m[i].mark = i;
        STARTING(rt_post(rt, &m[i].message));
    }
    STARTING(rt_post(rt, &last));
    rt_run(rt);
    expect_eq(trail_count, countof(m));
    for (unsigned i = 0; i < countof(m); i++) {
        expect_eq(trail[i], i);
    }
}

static struct rt_message again;
static unsigned again_count;

static void post_again(struct rt_message *message)
{
    came();
    if (++again_count == 100) {
        rt_stop(rt);
    } else {
        STARTING(rt_post(rt, message));
    }
}

static void a_message_may_be_posted_again_from_its_function(void)
{
    again = (struct rt_message){.fn = post_again};
    again_count = 0;
    STARTING(rt_post(rt, &again));
    rt_run(rt);
    expect_eq(again_count, 100);
}

/* ---- Workers ---- */

struct marked_work {
    struct rt_work work;
    unsigned mark;
    bool ran;
};
static struct marked_message from_worker[20];
static unsigned worked; /* by the worker alone, until it is destroyed */

static void work_run(struct rt_work *work)
{
    struct marked_work *w = container_of(work, struct marked_work, work);
    w->ran = !rt_on_loop(rt) && worked++ == w->mark;
}

static void work_done(struct rt_work *work)
{
    struct marked_work *w = container_of(work, struct marked_work, work);
    came();
    expect(w->ran);
    leave(w->mark);
    if (w->mark == 29) rt_stop(rt);
}

static void work_runs_in_order_off_the_loop_and_is_done_on_it(void)
{
    struct rt_worker *worker = NULL;
    struct marked_work w[30] = {0};
    trail_count = worked = 0;
    expect_status(rt_worker_create(rt, "contract", &worker), STATUS_OK);
    for (unsigned i = 0; i < countof(w); i++) {
        w[i] = (struct marked_work){.work = {.fn = work_run, .done = work_done}, .mark = i};
        STARTING(rt_work(worker, &w[i].work));
    }
    rt_run(rt);
    rt_worker_destroy(worker);
    expect_eq(trail_count, countof(w));
    for (unsigned i = 0; i < countof(w); i++) {
        expect_eq(trail[i], i);
    }
}

static void post_many(struct rt_work *work)
{
    for (unsigned i = 0; i < countof(from_worker); i++) {
        rt_post(rt, &from_worker[i].message);
    }
}

static void stop_work_done(struct rt_work *work)
{
    came();
    rt_stop(rt);
}

static void posts_of_a_worker_arrive_in_order(void)
{
    struct rt_worker *worker = NULL;
    struct rt_work work = {.fn = post_many, .done = stop_work_done};
    trail_count = 0;
    for (unsigned i = 0; i < countof(from_worker); i++) {
        from_worker[i] = (struct marked_message){.message = {.fn = message_came}, .mark = i};
    }
    expect_status(rt_worker_create(rt, "contract", &worker), STATUS_OK);
    STARTING(rt_work(worker, &work));
    rt_run(rt);
    run_for(RT_MS);
    rt_worker_destroy(worker);
    expect_eq(trail_count, countof(from_worker));
    for (unsigned i = 0; i < countof(from_worker); i++) {
        expect_eq(trail[i], i);
    }
}

static void stop_work(struct rt_work *work)
{
    rt_stop(rt);
}

static void stop_works_from_any_thread_and_run_may_be_called_again(void)
{
    struct rt_worker *worker = NULL;
    struct rt_work work = {.fn = stop_work}; /* nothing is done on the loop afterwards */
    rt_stop(rt);
    rt_run(rt); /* stopped before it began */
    expect_status(rt_worker_create(rt, "contract", &worker), STATUS_OK);
    for (unsigned i = 0; i < 3; i++) {
        STARTING(rt_work(worker, &work));
        rt_run(rt);
    }
    rt_worker_destroy(worker);
    rt_worker_destroy(NULL);
}

static void destroying_a_worker_waits_for_its_work(void)
{
    struct rt_worker *worker = NULL;
    struct marked_work w[30] = {0};
    trail_count = worked = 0;
    expect_status(rt_worker_create(rt, "contract", &worker), STATUS_OK);
    for (unsigned i = 0; i < countof(w); i++) {
        w[i] = (struct marked_work){.work = {.fn = work_run, .done = work_done}, .mark = i};
        STARTING(rt_work(worker, &w[i].work));
    }
    STARTING(rt_worker_destroy(worker));
    expect_eq(worked, countof(w));
    rt_run(rt); /* what is done is still told */
    expect_eq(trail_count, countof(w));
}

static void short_work(struct rt_work *work)
{
    usleep(20000); /* so that the loop sleeps meanwhile */
}

/* The loop has slept already until a far deadline when a nearer one is set. */
static void a_nearer_timer_is_not_kept_by_a_far_one(void)
{
    struct rt_worker *worker = NULL;
    struct rt_work work = {.fn = short_work, .done = stop_work_done};
    struct marked_timer far = {.mark = 1};
    trail_count = 0;
    expect_status(rt_worker_create(rt, "contract", &worker), STATUS_OK);
    STARTING(rt_timer_set(rt, &far.timer, rt_now(rt) + 1000 * RT_SECOND, timer_fired));
    STARTING(rt_work(worker, &work));
    rt_run(rt);
    run_for(RT_MS);
    run_for(RT_MS);
    STARTING(rt_timer_cancel(rt, &far.timer));
    rt_worker_destroy(worker);
    expect_eq(trail_count, 0);
}

/* ---- Buffers ---- */

static void buffers_are_aligned_and_apart(void)
{
    static const size_t sizes[] = {1, 4096, 4097, 65536, 100000, 1024 * 1024};
    uint8_t *bufs[countof(sizes)];
    for (unsigned i = 0; i < countof(sizes); i++) {
        bufs[i] = rt_buf_get(rt, sizes[i]);
        require(bufs[i] != NULL);
        expect_eq((uintptr_t)bufs[i] % BLOCK_BYTES, 0);
        memset(bufs[i], (int)i, sizes[i]);
    }
    expect_eq(rt_buf_in_use_bytes(rt), 4096 + 4096 + 8192 + 65536 + 131072 + 1048576);
    for (unsigned i = 0; i < countof(sizes); i++) {
        expect(bufs[i][0] == i && bufs[i][sizes[i] - 1] == i);
        rt_buf_put(rt, bufs[i], sizes[i]);
    }
    expect_eq(rt_buf_in_use_bytes(rt), 0);
}

enum { SMALL_BUFFERS = 1024 }; /* of 4 KiB: all that the bound of 4 MiB allows */

static void buffers_leave_something_for_who_stands_below(void)
{
    static const enum rt_buf_use uses[] = {RT_BUF_TRANSFER, RT_BUF_COMMAND, RT_BUF_ENGINE};
    void *taken[SMALL_BUFFERS];
    unsigned count = 0;
    for (unsigned i = 0; i < countof(uses); i++) {
        void *buf;
        while ((buf = rt_buf_get_for(rt, BLOCK_BYTES, uses[i])))
            taken[count++] = buf;
        expect_eq(rt_buf_in_use_bytes(rt), SMALL_BUFFERS / 4 * (2 + i) * BLOCK_BYTES);
    }
    while (count > 0)
        rt_buf_put(rt, taken[--count], BLOCK_BYTES);
    expect_eq(rt_buf_in_use_bytes(rt), 0);
}

static void buffers_are_bounded_and_never_fragment(void)
{
    static void *bufs[SMALL_BUFFERS];
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < SMALL_BUFFERS; i++) {
            bufs[i] = rt_buf_get(rt, BLOCK_BYTES);
            require(bufs[i] != NULL);
        }
        expect(rt_buf_get(rt, 1) == NULL);
        for (unsigned i = 0; i < SMALL_BUFFERS; i += 2) {
            rt_buf_put(rt, bufs[i], BLOCK_BYTES);
        }
        /* Half is free, in single blocks: enough for two of 1 MiB, not for a third. */
        void *big[2] = {rt_buf_get(rt, MIB), rt_buf_get(rt, MIB)};
        require(big[0] && big[1]);
        memset(big[0], 1, MIB);
        memset(big[1], 2, MIB);
        expect(rt_buf_get(rt, MIB) == NULL);
        for (unsigned i = 1; i < SMALL_BUFFERS; i += 2) {
            rt_buf_put(rt, bufs[i], BLOCK_BYTES);
        }
        rt_buf_put(rt, big[0], MIB);
        rt_buf_put(rt, big[1], MIB);
    }
    expect_eq(rt_buf_in_use_bytes(rt), 0);
}

struct marked_waiter {
    struct rt_buf_waiter waiter;
    unsigned mark;
    size_t size_bytes;
    void *buf;
};

static void waiter_called(struct rt_buf_waiter *waiter)
{
    struct marked_waiter *w = container_of(waiter, struct marked_waiter, waiter);
    came();
    w->buf = rt_buf_get(rt, w->size_bytes);
    if (w->buf) {
        leave(w->mark);
    } else {
        STARTING(rt_buf_wait(rt, waiter, waiter_called));
    }
}

static void who_waits_for_a_buffer_is_called_in_order(void)
{
    void *all[4];
    for (unsigned i = 0; i < 4; i++) {
        all[i] = rt_buf_get(rt, MIB);
        require(all[i] != NULL);
    }
    struct marked_waiter w[5] = {{.mark = 0, .size_bytes = BLOCK_BYTES},
                                 {.mark = 1, .size_bytes = MIB},
                                 {.mark = 2, .size_bytes = BLOCK_BYTES},
                                 {.mark = 3, .size_bytes = BLOCK_BYTES},
                                 {.mark = 4, .size_bytes = BLOCK_BYTES}};
    trail_count = 0;
    for (unsigned i = 0; i < 5; i++) {
        STARTING(rt_buf_wait(rt, &w[i].waiter, waiter_called));
    }
    STARTING(rt_buf_wait_cancel(rt, &w[3].waiter));
    STARTING(rt_buf_wait_cancel(rt, &w[3].waiter)); /* fine when it does not wait */
    run_for(RT_MS);
    expect_eq(trail_count, 0);
    STARTING(rt_buf_put(rt, all[0], MIB));
    run_for(RT_MS);
    expect_eq(trail_count, 3); /* 0, 2 and 4; the rest is too small for 1 */
    STARTING(rt_buf_put(rt, all[1], MIB));
    run_for(RT_MS);
    static const unsigned expected[] = {0, 2, 4, 1};
    expect_eq(trail_count, 4);
    expect(memcmp(trail, expected, sizeof expected) == 0);
    for (unsigned i = 0; i < 5; i++) {
        if (w[i].buf) rt_buf_put(rt, w[i].buf, w[i].size_bytes);
    }
    rt_buf_put(rt, all[2], MIB);
    rt_buf_put(rt, all[3], MIB);
    expect_eq(rt_buf_in_use_bytes(rt), 0);
}

const struct contract_case loop_cases[] = {
    CASE(time_never_goes_back),
    CASE(random_bytes_differ),
    CASE(timers_fire_by_deadline_and_equal_ones_as_set),
    CASE(a_cancelled_timer_does_not_fire),
    CASE(setting_a_pending_timer_moves_it),
    CASE(a_timer_in_the_past_fires_in_a_later_turn),
    CASE(many_timers_keep_their_order),
    CASE(posts_run_in_order),
    CASE(a_message_may_be_posted_again_from_its_function),
    CASE(work_runs_in_order_off_the_loop_and_is_done_on_it),
    CASE(posts_of_a_worker_arrive_in_order),
    CASE(stop_works_from_any_thread_and_run_may_be_called_again),
    CASE(destroying_a_worker_waits_for_its_work),
    CASE(a_nearer_timer_is_not_kept_by_a_far_one),
    CASE(buffers_are_aligned_and_apart),
    CASE(buffers_leave_something_for_who_stands_below),
    CASE(buffers_are_bounded_and_never_fragment),
    CASE(who_waits_for_a_buffer_is_called_in_order),
};
const unsigned loop_case_count = countof(loop_cases);
