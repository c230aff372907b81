/*
 * initiator.h - an iSCSI initiator on a simulated host: one session that comes back by itself, many
 * commands in flight.  A code base of its own: only the offsets of iscsi/pdu.h are the target's.
 *
 *     struct initiator *i = initiator_create(sim, host_node, "iqn.2026-11.test:one");
 *     initiator_connect(i, "10.0.0.1:3260", "iqn.2026-11.local.tarn:test");
 *     request->done = answered;  initiator_submit(i, request);
 *
 * A command whose stream breaks is IN DOUBT until the next login has succeeded: by then the target
 * must have ended it (RFC 7143 6.3.5: the old session's tasks are terminated before the new one
 * begins), and its done is called with is_lost.
 *
 * Threads: one.  Ownership: requests and their memory are the initiator's until done.
 */
#ifndef TARN_TESTS_INITIATOR_H
#define TARN_TESTS_INITIATOR_H

#include "tests/sim/sim.h"

struct initiator;

struct initiator_request {
    unsigned lun;
    uint8_t cdb[16];
    uint8_t *data;
    uint32_t out_bytes, in_bytes; /* one of them, or none */
    void (*done)(struct initiator_request *request);
    /* The answer: */
    bool is_lost;   /* nobody knows */
    uint8_t status; /* of SAM */
    uint32_t sense; /* key << 16 | ASC << 8 | ASCQ */
    uint32_t got_bytes;
    struct list_node link; /* private from here on */
    uint32_t itt;
};

struct initiator *initiator_create(struct sim *sim, struct sim_node *node, const char *name);
/* Logs in, and again whenever the stream breaks. */
void initiator_connect(struct initiator *i, const char *address, const char *target_name);
/* Forgets all requests without a word and stays away: the server is gone, what it did is looked at
 * otherwise. */
void initiator_forget(struct initiator *i);
/* The host dies and boots again; requests in flight are in doubt until it has logged in. */
void initiator_reboot(struct initiator *i);
void initiator_destroy(struct initiator *i);
struct sim_node *initiator_node(const struct initiator *i);
bool initiator_is_up(const struct initiator *i);
void initiator_submit(struct initiator *i, struct initiator_request *request);
/* How often it has logged in. */
unsigned initiator_login_count(const struct initiator *i);

#endif
