/*
 * standin_world.h - all that the stand-in for VSS needs around it, in memory: a Tarn server with
 * disks that have content, two hosts that see them, and Tarn's own provider (its portable core).
 *
 *     world_init(&w, 1);                       every choice below follows from the seed
 *     unsigned disk = world_add_disk(&w, HOST_A, 256, 2);       blocks, volumes on it
 *     struct coordinator *c = world_coordinator(&w, HOST_A);
 *     ...
 *     world_fini(&w);                          checks that no block of COM's allocator is left
 *
 * The server follows the rules of sets that tarnd has (states, one host at a time, idempotence); its
 * snapshots are copies.  Deterministic: one thread, a clock that moves when something waits.
 * Writers write a number to the first block of every volume at each moment that matters, so that a
 * cut can be told from one before and one after.
 */
#ifndef TARN_TESTS_STANDIN_WORLD_H
#define TARN_TESTS_STANDIN_WORLD_H

#include "windows/provider/core/provider.h"
#include "windows/provider/core/resync.h"
#include "windows/standin/coordinator.h"
#include "windows/standin/words.h"

enum {
    WORLD_HOSTS = 2,
    HOST_A = 0,
    HOST_B = 1,
    WORLD_LUNS_MAX = 512,
    WORLD_SETS_MAX = 64,
    WORLD_MEMBERS_MAX = 80,
    WORLD_MAPS_MAX = 600,
    WORLD_TEXTS_MAX = 80,
    WORLD_BLOCK = 512,
    WORLD_FIRST_LBA = 40, /* of the first volume of a disk; they are 40 blocks each */
    WORLD_VOLUME_BLOCKS = 40,
};

/* A disk, or a snapshot. */
struct world_lun {
    char serial[33];
    uint8_t *data;
    uint64_t block_count;
    bool is_snapshot, is_gone, is_foreign, is_write_protected, is_reserved;
    unsigned set, source, volume_count;
};

struct world_map {
    bool is_used;
    unsigned host, number, lun;
};

struct world_member {
    unsigned source, snapshot; /* LUNs; snapshot is made at commit */
};

struct world_set {
    char id[PROVIDER_ID_TEXT], state[16];
    unsigned host, member_count;
    uint64_t cut;
    struct world_member members[WORLD_MEMBERS_MAX];
};

struct world;

struct world_host {
    struct world *world;
    unsigned index;
    char name[16];
    struct transport transport;
    struct provider_os os;
    struct provider_config config;
    struct si_machine machine;
    struct si_host host;
    struct si_registry registry;
    struct {
        char name[SI_NAME_MAX], *text;
    } texts[WORLD_TEXTS_MAX];
    unsigned lock_depth, telling_depth;
    bool is_commit_open, are_writers_stubborn, is_away;
    char commit_path[API_PATH_MAX], last_event[EVENT_TEXT_SIZE];
    uint64_t events, io;    /* events: those of errors; io: all that was written */
    unsigned process_count; /* providers that were loaded */
    bool does_death_last;   /* after a death calls fail as RPC's do, and nothing is loaded */
    bool is_dead;
};

struct world {
    struct world_lun luns[WORLD_LUNS_MAX];
    unsigned lun_count, set_count, next_number[WORLD_HOSTS];
    struct world_map maps[WORLD_MAPS_MAX];
    struct world_set sets[WORLD_SETS_MAX];
    struct world_host hosts[WORLD_HOSTS];
    struct si_memory memory;
    uint64_t now_ms, guid_count, commit_ms, seed;
    uint64_t number, number_at_hold; /* what writers wrote last; and before writes were held */
    bool new_process_each_call, is_loud;
    bool
        has_other_provider; /* registered before Tarn's: of another maker, for none of these LUNs */
    unsigned other_asked;   /* how often it was asked for a volume */
    const char *fail;       /* a request whose path has this in it fails */
    unsigned jobs;
    unsigned stowaway; /* a disk that appears at the next host that imports; UINT32_MAX: none */
    bool is_job_failing;
    struct {
        bool is_running;
        unsigned snapshot, disk, questions;
    } job;
    void (*beside)(void *arg); /* called in the next request: the other thread */
    void *beside_arg;
    /* A bad provider: changes what was loaded.  NULL: the good one. */
    void (*spoil)(struct si_provider *provider);
};

/* Tarn's provider in one process; bad providers change its functions. */
struct world_provider {
    struct si_provider si;
    struct si_provider good; /* as it was made */
    struct world_host *host;
    struct provider core;
    unsigned calls; /* for bad providers */
};

void world_init(struct world *w, uint64_t seed);
void world_fini(struct world *w);
/* Served to the host; volumes named after `span` where it is not NULL. */
unsigned world_add_disk(struct world *w, unsigned host, uint64_t blocks, unsigned volumes);
unsigned world_add_span_disk(struct world *w, unsigned host, uint64_t blocks, const char *span);
void world_serve(struct world *w, unsigned host, unsigned lun);
void world_unserve(struct world *w, unsigned host, unsigned lun);
bool world_is_served(const struct world *w, unsigned host, unsigned lun);
struct coordinator *world_coordinator(struct world *w, unsigned host, uint64_t order_seed);

unsigned world_snapshot_count(const struct world *w); /* that exist, of sets in any state */
unsigned world_open_set_count(const struct world *w); /* between prepare and created */
/* The number that writers wrote to the volume, as the LUN has it. */
uint64_t world_number_of(const struct world *w, unsigned lun, unsigned volume);
void world_write_number(struct world *w);
/* The LUN that a host sees under this number; UINT_MAX: none. */
unsigned world_lun_of_number(const struct world *w, unsigned host, unsigned number);
const GUID *world_provider_id(void);
/* Blocks of COM's allocator that live; frees of something else. */
unsigned world_live_count(void);
unsigned world_wrong_free_count(void);

/* standin_memory.c: as the provider has it, and as the stand-in does */
extern const struct memory world_com_memory;
extern const struct si_memory world_memory;
/* standin_server.c */
void world_server_exchange(struct transport *t, const struct api_request *request,
                           struct api_reply *ret_reply);
unsigned world_server_commit(struct world_host *host);
struct world_provider *world_provider_of(struct si_provider *p);
void world_lun_free(struct world_lun *lun);

#endif
