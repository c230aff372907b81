/*
 * volume_engine.h - what an engine behind volume.h provides: a vtable, and the two base objects.
 *
 * Words: an ENGINE stores disks (timeline, rbd, the memory engine of tests).  The CHOKE POINT
 * (volume.c) checks every call and hands it on; an engine may rely on what is said at each member
 * below.
 *
 *     struct my_pool { struct volume_pool base; ... };
 *     volume_pool_base_init(&p->base, rt, &my_ops, &uuid);     // in the engine's own open
 *     ...  volume_io_complete(io, STATUS_OK);                   // from a later turn of the loop
 *
 * An engine with another way of being made (rbd, memory) has a constructor of its own which returns
 * the struct volume_pool *; everything else goes through volume.h.  volume_pool_create and
 * volume_pool_open make and open pools of the timeline engine.
 *
 * Threads: ON_LOOP.  Ownership: the engine allocates and frees what embeds the base objects.
 * Failures: as volume.h says.  done is called from a later turn of the loop.
 */
#ifndef TARN_VOLUME_VOLUME_ENGINE_H
#define TARN_VOLUME_VOLUME_ENGINE_H

#include "volume/volume.h"

/* One pool's part in a cut over several pools (E22).  The calls of the vtable below come in this
 * order: prepare, close, cut, open; each is answered once, in a later turn.  `open` may come at any
 * time after prepare and ends the part: its answer replaces one that is still owed. */
struct volume_gate {
    struct volume_pool *pool;            /* NULL: it has gone */
    const struct volume_cut_part *parts; /* all of them, for the record (E23) */
    unsigned part_count, index;          /* index: this pool's */
    void (*answer)(struct volume_gate *gate, struct err *e); /* to prepare, close, cut */
    void (*opened)(struct volume_gate *gate);
    void (*durable)(struct volume_gate *gate, struct err *e); /* once, if is_cut; maybe after open */
    bool is_cut;                         /* from the engine: the record was appended */
    struct volume_cut_result result;     /* and its number */
    struct list_node pool_link;          /* pool->gates, until it is over */
    struct list_node link;               /* the engine's, as the rest */
    struct rt_timer timer;
    struct err *error;
    bool owes_answer, owes_open;
};
/* From the engine: the answer, in a later turn; e is taken. */
void volume_gate_answer(struct volume_gate *gate, struct err *e);
void volume_gate_opened(struct volume_gate *gate);

struct volume_engine_ops {
    const char *name;
    unsigned capabilities; /* enum volume_capability */

    void (*pool_close)(struct volume_pool *pool, volume_done_fn *done,
                       void *arg);                  /* no handles open */
    void (*pool_abandon)(struct volume_pool *pool); /* also volume_pool_base_fini */
    void (*pool_usage)(struct volume_pool *pool, struct volume_pool_usage *ret_usage);
    const struct volume_recovery *(*pool_recovery)(const struct volume_pool *pool);
    void (*pool_counters)(const struct volume_pool *pool,
                          struct volume_pool_counters *ret_counters);
    void (*pool_settle)(struct volume_pool *pool, volume_done_fn *done, void *arg);
    void (*pool_checkpoint)(struct volume_pool *pool, volume_done_fn *done, void *arg);
    void (*pool_check)(struct volume_pool *pool, struct volume_check_report *ret_report,
                       volume_done_fn *done, void *arg);

    /* The pool's state is OK for every call that changes something. */
    void (*disk_create)(struct volume_pool *pool, const struct uuid *disk, uint64_t size_bytes,
                        volume_done_fn *done, void *arg); /* size valid, uuid not nil and new */
    void (*disk_resize)(struct volume_pool *pool, const struct uuid *disk, uint64_t size_bytes,
                        volume_done_fn *done, void *arg); /* disk exists, size >= the present one */
    void (*disk_delete)(struct volume_pool *pool, const struct uuid *disk, volume_done_fn *done,
                        void *arg); /* disk exists, no handles */
    bool (*disk_find)(struct volume_pool *pool, const struct uuid *disk,
                      struct volume_disk_info *ret_info);
    void (*disks)(struct volume_pool *pool,
                  void (*fn)(void *arg, const struct volume_disk_info *info), void *arg);

    void (*cut)(struct volume_pool *pool, const struct volume_cut *cut,
                struct volume_cut_result *ret_result, volume_done_fn *done,
                void *arg); /* members exist, each disk and each point uuid once, point uuids new */
    /* Cuts over several pools; all four or none. */
    void (*gate_prepare)(struct volume_pool *pool,
                         struct volume_gate *gate); /* hold what the record needs; one at a time */
    /* Hold acknowledgements and publication of host writes, and all that could make the record
     * impossible; the answer says that it is so, or why the cut cannot be. */
    void (*gate_close)(struct volume_pool *pool, struct volume_gate *gate);
    void (*gate_cut)(struct volume_pool *pool, struct volume_gate *gate); /* append the record */
    void (*gate_open)(struct volume_pool *pool, struct volume_gate *gate); /* cannot fail */
    void (*sets)(struct volume_pool *pool,
                 void (*fn)(void *arg, const struct volume_set_info *info),
                 void *arg); /* or NULL */
    void (*point_delete)(struct volume_pool *pool, const struct uuid *point, volume_done_fn *done,
                         void *arg); /* point exists, no handles */
    bool (*point_find)(struct volume_pool *pool, const struct uuid *point,
                       struct volume_point_info *ret_info);
    void (*points)(struct volume_pool *pool, const struct uuid *disk,
                   void (*fn)(void *arg, const struct volume_point_info *info), void *arg);
    void (*branch)(struct volume_pool *pool, const struct uuid *point, const struct uuid *new_disk,
                   volume_done_fn *done, void *arg); /* point exists, uuid is new */
    void (*revert)(
        struct volume_pool *pool, const struct uuid *disk, const struct uuid *point,
        const struct uuid *undo_point, volume_done_fn *done,
        void *arg); /* with VOLUME_CAP_REVERT; disk and its point exist, undo_point is new */

    void (*promote)(struct volume_pool *pool, struct volume_promotion *job); /* the disk is a branch */
    void (*split)(struct volume_pool *pool, const struct uuid *disk, volume_done_fn *done,
                  void *arg); /* the disk is a branch */

    /* With VOLUME_CAP_REPLACE: the disk exists, undo_point is new, content is at a point and has a
     * size that a disk can have.  replace_poke: is_paused or is_cancelled has changed. */
    void (*replace)(struct volume_pool *pool, struct volume_replacement *job);
    void (*replace_poke)(struct volume_pool *pool, struct volume_replacement *job);

    struct err *(*open)(struct volume_pool *pool, const struct uuid *disk, const struct uuid *point,
                        enum volume_mode mode, struct volume **ret_volume);
    void (*close)(struct volume *volume); /* nothing in flight, no watches */
    /* In range, allowed by mode and state, iov total right, sector_count > 0 but for FLUSH. */
    void (*submit)(struct volume *volume, struct volume_io *io);
    void (*map_status)(struct volume *volume, struct volume_map_query *query);
};

enum { VOLUME_TROUBLE_MAX = 256 };

struct volume_pool {
    const struct volume_engine_ops *ops;
    struct rt *rt;
    struct uuid uuid;
    enum volume_pool_state state;
    char trouble[VOLUME_TROUBLE_MAX];
    unsigned handle_count;
    struct list handles; /* of struct volume */
    struct list refused; /* ios and queries that the choke point answers in the next turn */
    struct rt_message refuse_message;
    bool refuse_is_posted;
    struct list later; /* control answers under way */
    struct list gates; /* of volume_gate.pool_link */
    struct {
        uint64_t low_bytes;
        void (*fn)(void *arg); /* NULL: nobody */
        void *arg;
        bool is_low;
        struct rt_timer timer;
    } space; /* who is told when the pool fills up */
    struct {
        void (*fn)(void *arg); /* NULL: nobody */
        void *arg;
    } state_watch; /* who is told when it fails */
    struct list guests; /* of volume_guest */
};

struct volume {
    struct volume_pool *pool;
    struct list_node link; /* pool->handles */
    uint64_t size_bytes;
    bool read_only;
    bool is_point; /* its content never changes */
    unsigned in_flight;
    uint64_t change_count;
    struct list watches;
};

void volume_pool_base_init(struct volume_pool *pool, struct rt *rt,
                           const struct volume_engine_ops *ops, const struct uuid *uuid);
/* Drops answers under way.  The rt must not call back any more for this pool, or nothing be
 * pending. */
void volume_pool_base_fini(struct volume_pool *pool);
void volume_base_init(struct volume *volume, struct volume_pool *pool, uint64_t size_bytes,
                      bool read_only);
void volume_base_fini(struct volume *volume);

/* Somebody outside who has requests on the pool: told when it goes without answering them. */
struct volume_guest {
    struct list_node link; /* pool->guests */
    void (*gone)(struct volume_guest *guest);
};
static inline void volume_guest_add(struct volume_pool *pool, struct volume_guest *guest)
{
    list_push_back(&pool->guests, &guest->link);
}
static inline void volume_guest_remove(struct volume_guest *guest) /* fine when not added */
{
    if (list_is_linked(&guest->link)) list_remove(&guest->link);
}

/* Ends a request; only from a callback of rt, never from inside submit. */
static inline void volume_io_complete(struct volume_io *io, enum status status)
{
    io->status = status;
    io->volume->in_flight--;
    io->done(io);
}
static inline void volume_query_complete(struct volume_map_query *query, enum status status)
{
    query->status = status;
    query->volume->in_flight--;
    query->done(query);
}
/* Why the pool cannot be changed; NULL when it can. */
struct err *volume_change_check(const struct volume_pool *pool) MUST_CHECK;
/* What the choke point demands of a cut in one pool. */
struct err *volume_cut_check(struct volume_pool *pool, const struct volume_cut *cut) MUST_CHECK;
/* Calls done(arg, e) in a later turn; e is taken. */
void volume_done_later(struct volume_pool *pool, volume_done_fn *done, void *arg, struct err *e);
/* Tells the watches of a handle; only from a callback of rt. */
void volume_notify(struct volume *volume, unsigned events);
/* From the engine, whenever it may have changed: what host writes can still take. */
void volume_pool_space_is(struct volume_pool *pool, uint64_t free_bytes);
/* The pool goes: what of its gates is owed will not come. */
void volume_pool_gates_end(struct volume_pool *pool);
/* Tells all handles of the pool; of STATE its watch as well. */
void volume_pool_notify(struct volume_pool *pool, unsigned events);

#endif
