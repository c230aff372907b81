/*
 * sim.h - the simulated world: nodes with runtimes, devices that outlive crashes, a network, one clock,
 * one seed.  One thread; the same seed gives the same trace, byte for byte.
 *
 * Words: a WORLD has NODES; each node has a file namespace that survives crashes and, while it is up,
 * one struct rt.  A CRASH freezes a node: no I/O of it completes any more and no callback of its rt runs.
 * The test then frees the crashed program's objects (their *_abandon functions) and boots again.
 *
 *     struct sim *sim = sim_create(&(struct sim_options){.seed = 7});
 *     struct sim_node *n = sim_node_create(sim, "server");
 *     struct rt *rt = sim_node_boot(n);  ... sim_run_until(sim, condition, arg, 10 * RT_SECOND) ...
 *     sim_node_crash(n, SIM_CRASH_POWER); ... free what used rt ...; rt = sim_node_boot(n);
 *
 * Crash kinds (E30): PROCESS keeps every completed write and any subset of those in flight, which may
 * land late (also after the next boot has begun, until the lock of the file is had); POWER keeps what a
 * completed sync covers and any subset of the rest, reordered over all regions, torn at 512 bytes.
 */
#ifndef TARN_TESTS_SIM_H
#define TARN_TESTS_SIM_H

#include "base/prng.h"
#include "rt/rt.h"

struct sim;
struct sim_node;

struct sim_options {
    uint64_t seed;
    uint64_t file_latency_max_ns; /* 0 = 2 ms; each I/O draws its own, so completions are reordered */
    uint64_t net_latency_max_ns;  /* 0 = 1 ms */
    uint64_t buffer_bytes;        /* rt_buf bound; 0 = 64 MiB */
};

enum sim_crash { SIM_CRASH_PROCESS, SIM_CRASH_POWER };

enum sim_fault_kind {
    SIM_FAULT_READ_ERROR,   /* the next matching read fails */
    SIM_FAULT_WRITE_ERROR,  /* ... write fails, nothing or a part of it lands */
    SIM_FAULT_FLUSH_ERROR,
    SIM_FAULT_LOST_WRITE,   /* reported good, never lands */
    SIM_FAULT_MISDIRECTED_WRITE, /* lands at another aligned place of the file */
    SIM_FAULT_HANG,         /* completes only after sim_heal */
    SIM_FAULT_STALL,        /* completes after up to half a minute */
    SIM_FAULT_SLOW_READ,    /* the next matching read does */
    SIM_FAULT_SHORT_READ,   /* fails, with a part of the bytes in place */
    SIM_FAULT_DUPLICATE_WRITE, /* lands, and a while later lands once more over what is there then */
};

struct sim *sim_create(const struct sim_options *options);
void sim_destroy(struct sim *sim);
struct prng *sim_prng(struct sim *sim); /* the world's generator, for the test's own choices */
uint64_t sim_now(struct sim *sim);

struct sim_node *sim_node_create(struct sim *sim, const char *name);
struct rt *sim_node_boot(struct sim_node *node);
void sim_node_crash(struct sim_node *node, enum sim_crash kind);
bool sim_node_is_up(const struct sim_node *node);

/* Runs the next event (its time becomes now); false when nothing is left to do. */
bool sim_step(struct sim *sim);
/* Steps until condition(arg) is true (true), or limit_ns of simulated time passed or nothing is left (false). */
bool sim_run_until(struct sim *sim, bool (*condition)(void *arg), void *arg, uint64_t limit_ns);
void sim_run_for(struct sim *sim, uint64_t duration_ns);

/* Crash at the k-th write (or sync) from now, counted over all files of the node; 0 = never.  Writes of
 * the blocking file set count too; after it every blocking call fails with STATUS_OS_ERROR. */
void sim_node_crash_at_write(struct sim_node *node, uint64_t k, enum sim_crash kind);
uint64_t sim_node_write_count(const struct sim_node *node);
/* Each sync of this site completes with OK and does nothing (E30's mutation); NONE = honest. */
void sim_node_ignore_flush(struct sim_node *node, enum rt_flush_site site);
void sim_node_fault(struct sim_node *node, enum sim_fault_kind kind, const char *path, uint64_t after_matches);
void sim_heal(struct sim *sim); /* ends hangs and pending faults */

/* The wall clock of the node jumps; its monotonic clock does not. */
void sim_node_wall_jump(struct sim_node *node, int64_t by_ns);

/* Direct access to stored bytes, for checkers and bit rot; the node may be up or down. */
uint64_t sim_file_size(struct sim_node *node, const char *path); /* 0 when missing */
void sim_file_create(struct sim_node *node, const char *path, uint64_t size_bytes); /* zeroes, sparse */
void sim_file_peek(struct sim_node *node, const char *path, uint64_t offset, void *to, size_t size_bytes);
void sim_file_poke(struct sim_node *node, const char *path, uint64_t offset, const void *from, size_t size_bytes);
/* Flips one bit of a block that begins with something, as metadata and records do; false when it meets none. */
bool sim_file_rot(struct sim_node *node, const char *path, struct prng *prng, uint64_t *ret_block, unsigned *ret_bit);

/* Counters for the deterministic twins of the speed bars. */
struct sim_counters {
    uint64_t reads, read_bytes, writes, write_bytes, syncs, discards;
};
struct sim_counters sim_node_counters(const struct sim_node *node);

/* Network faults between nodes: every stream breaks, new connects fail, until healed. */
void sim_partition(struct sim *sim, struct sim_node *a, struct sim_node *b);

/* A running hash over every event (kind, time, node, sizes): equal seeds give equal hashes. */
uint64_t sim_trace_hash(const struct sim *sim);

#endif
