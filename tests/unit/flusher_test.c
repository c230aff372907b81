/* The shared flush: what it covers, and that a second one beside the first never overtakes it (E5). */
#include "pool/dev.h"
#include "tests/lib/tap.h"
#include "tests/sim/sim.h"

enum { FLUSHES = 3 };

struct bed {
    struct sim *sim;
    struct sim_node *node;
    struct rt *rt;
    struct rt_file *file;
    struct flusher flusher;
    struct flush_request requests[FLUSHES];
    uint64_t complete, durable; /* as the engine counts */
    unsigned failures, answered, good;
};

static uint64_t complete_seq(void *arg)
{
    return ((struct bed *)arg)->complete;
}

static void flushed(void *arg, uint64_t seq)
{
    struct bed *bed = arg;
    expect(seq >= bed->durable);
    bed->durable = seq;
}

static void failed(void *arg)
{
    ((struct bed *)arg)->failures++;
}

static struct bed *the_bed;

static void answered(struct flush_request *request, enum status status)
{
    the_bed->answered++;
    if (status != STATUS_OK) return;
    the_bed->good++;
    expect(the_bed->durable >= request->number);
}

static void submit(struct bed *bed, unsigned index, uint64_t complete)
{
    bed->complete = complete;
    bed->requests[index].number = (unsigned)complete;
    flusher_submit(&bed->flusher, &bed->requests[index], RT_FLUSH_HOST, answered);
}

static bool all_answered(void *arg)
{
    return ((struct bed *)arg)->answered == FLUSHES;
}

static void begin(struct bed *bed, uint64_t seed)
{
    *bed = (struct bed){.sim = sim_create(&(struct sim_options){.seed = seed})};
    the_bed = bed;
    bed->node = sim_node_create(bed->sim, "server");
    bed->rt = sim_node_boot(bed->node);
    sim_file_create(bed->node, "/pool", 65536);
    struct rt_file_info info;
    struct err *e = rt_file_open(bed->rt, "/pool", RT_OPEN_LOCK, &bed->file, &info);
    expect(e == NULL);
    flusher_init(&bed->flusher, bed->rt, bed->file);
    bed->flusher.complete = complete_seq;
    bed->flusher.flushed = flushed;
    bed->flusher.failed = failed;
    bed->flusher.arg = bed;
}

static void end(struct bed *bed)
{
    rt_file_close(bed->file);
    sim_destroy(bed->sim);
}

static void who_comes_later_is_covered_by_a_later_flush(void)
{
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct bed bed;
        begin(&bed, seed);
        submit(&bed, 0, 10);
        submit(&bed, 1, 20);
        submit(&bed, 2, 30); /* both places are taken: it waits */
        expect_eq(bed.flusher.active, 2);
        expect(sim_run_until(bed.sim, all_answered, &bed, RT_SECOND));
        expect_eq(bed.good, FLUSHES);
        expect_eq(bed.durable, 30);
        expect_eq(bed.flusher.flush_count, 3);
        end(&bed);
    }
}

static void a_flush_that_overtakes_an_earlier_one_counts_after_it(void)
{
    struct bed bed;
    begin(&bed, 1);
    sim_node_fault(bed.node, SIM_FAULT_HANG, "/pool", 0);
    submit(&bed, 0, 10);
    submit(&bed, 1, 20);
    sim_run_for(bed.sim, RT_SECOND);
    expect(bed.flusher.slots[1].is_done);
    expect_eq(bed.durable, 0);
    expect_eq(bed.answered, 0);
    submit(&bed, 2, 30);
    sim_heal(bed.sim);
    expect(sim_run_until(bed.sim, all_answered, &bed, RT_SECOND));
    expect_eq(bed.good, FLUSHES);
    expect_eq(bed.durable, 30);
    end(&bed);
}

static void after_a_failed_flush_no_later_one_counts(void)
{
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct bed bed;
        begin(&bed, seed);
        sim_node_fault(bed.node, SIM_FAULT_FLUSH_ERROR, "/pool", 0);
        submit(&bed, 0, 10);
        submit(&bed, 1, 20);
        submit(&bed, 2, 30);
        expect(sim_run_until(bed.sim, all_answered, &bed, RT_SECOND));
        expect_eq(bed.good, 0);
        expect_eq(bed.durable, 0);
        expect_eq(bed.failures, 1);
        end(&bed);
    }
}

int main(void)
{
    run(who_comes_later_is_covered_by_a_later_flush);
    run(a_flush_that_overtakes_an_earlier_one_counts_after_it);
    run(after_a_failed_flush_no_later_one_counts);
    return tap_done();
}
