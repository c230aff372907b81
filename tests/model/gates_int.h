/* gates_int.h - what gates.c and gates_actors.c share. */
#ifndef TARN_TESTS_GATES_INT_H
#define TARN_TESTS_GATES_INT_H

#include "base/endian.h"
#include "base/prng.h"
#include "gates.h"
#include "tests/sim/sim.h"
#include "volume/volume_engine.h"

enum {
    POOLS = 3,
    CHAINS = 4,
    OBSERVERS = 3,
    SLOTS = 3, /* that the writer of an observer goes round in, so that it need not wait */
    CALLS = 8,
    CALL_DELAY_MAX_MS = 10,
    SETS = 4096,
    BLOCKS =
        CHAINS + (SLOTS + 1) * OBSERVERS, /* that hold numbers; each begins a span of its own */
    SPAN_BLOCKS =
        64, /* a whole batch: it gets its generation at once, also while a gate is closed */
    LIMIT_S = 300,
    RUN_LIMIT_S = 60,
};
#define DISK_BYTES (16 * MIB)
#define POOL_BYTES (512 * MIB)
#define WAL_BYTES (4 * MIB)

struct world;

/* A call of a gate on its way to the pool. */
enum call_kind { CALL_PREPARE, CALL_CLOSE, CALL_CUT, CALL_OPEN };
struct call {
    enum call_kind kind;
    struct volume_gate *gate;
};

struct pool {
    struct world *world;
    unsigned index;
    struct uuid uuid, disk;
    struct volume_pool *engine;
    const struct volume_engine_ops *own_ops;
    struct volume_engine_ops slow_ops;
    struct volume *handle;
    struct call calls[CALLS];
    unsigned first_call, call_count;
    struct rt_timer timer;
    uint64_t closed_ns;
};

struct one_io {
    struct world *world;
    struct volume_io io;
    struct iovec iov;
    uint8_t data[SPAN_BLOCKS * BLOCK_BYTES];
    void (*next)(struct one_io *one);
    struct rt_timer pause;
};

struct chain {
    struct one_io one;
    unsigned block, at, order[POOLS];
    uint32_t number;
};

struct observer {
    struct one_io writers[SLOTS], reader;
    unsigned from, to; /* pools */
    unsigned first_block, to_block;
    uint32_t number, seen;
};

enum set_state { SET_NONE, SET_UNDER_WAY, SET_CUT, SET_REFUSED };

struct world {
    struct gates_options options;
    struct gates_result result;
    struct prng prng;
    struct sim *sim;
    struct sim_node *node;
    struct rt *rt;
    struct rt_timer poll, pause;
    bool (*condition)(struct world *w);
    uint64_t limit_ns;
    struct pool pools[POOLS];
    struct chain chains[CHAINS];
    struct observer observers[OBSERVERS];
    unsigned io_pending;
    bool is_stopping; /* no new requests */
    bool is_done, has_failed;
    struct err *error;
    uint32_t base; /* all numbers begin here */
    uint8_t sets[SETS];
    unsigned set; /* the newest */
    struct volume_cut_part parts[POOLS];
    struct volume_cut_member members[POOLS];
};

/* The first failure is kept; false. */
TARN_PRINTF(2, 3) bool gates_failed(struct world *w, const char *format, ...);
/* False: it did not come to be, or the node crashed. */
bool gates_wait(struct world *w, bool (*condition)(struct world *w), const char *what);
bool gates_is_crashed(const struct world *w);
struct uuid gates_point(unsigned pool, unsigned set);

/* gates_actors.c */
void gates_draw_actors(struct world *w);
bool gates_begin_actors(struct world *w);
bool gates_stop_actors(struct world *w);
void gates_forget_requests(struct world *w); /* behind a crash */
/* Reads the points of a set; every number along a chain depends on the one before it. */
bool gates_check_set(struct world *w, unsigned set);

#endif
