/* What hosts see of a pool that fills up, in iSCSI PDUs: the whole server, two initiators that come
 * and go (E28). */
#include "tests/unit/control_rig.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/endian.h"
#include "base/limits.h"
#include "iscsi/iscsi.h"
#include "tests/sim/initiator.h"

#define TARGET "iqn.2026-11.local.tarn:test"
#define PORTAL "10.0.0.1:3260"

enum { THRESHOLD = 0x063807, FULL = 0x072707, POWER_ON = 0x062900, PUT_BLOCKS = 16 };

/* ---- The server's front end, and hosts ------------------------------------------------------- */

struct wire {
    struct rig *rig;
    struct iscsi_server *server;
    struct initiator *hosts[2];
    struct initiator_request request;
    bool done, closed;
    unsigned lun; /* that is asked */
    uint8_t data[PUT_BLOCKS * BLOCK_BYTES];
};

static enum status find(void *arg, const char *name, struct iscsi_access *ret_access)
{
    struct control_host_access access;
    enum status status = control_find_initiator(((struct wire *)arg)->rig->control, name, &access);
    if (status != STATUS_OK) return status;
    *ret_access =
        (struct iscsi_access){.map = access.map, .host = access.host, .auth = ISCSI_AUTH_NONE};
    return STATUS_OK;
}

static void session_changed(void *arg, void *host, const char *initiator_name, bool up)
{
    control_session_changed(((struct wire *)arg)->rig->control, host, initiator_name, up);
}

static const struct iscsi_access_ops access_ops = {.find = find,
                                                   .session_changed = session_changed};

static void server_closed(void *arg)
{
    ((struct wire *)arg)->closed = true;
}

static bool is_closed(void *arg)
{
    return ((struct wire *)arg)->closed;
}

static bool is_up(void *arg)
{
    return initiator_is_up(arg);
}

static void answered(struct initiator_request *request)
{
    container_of(request, struct wire, request)->done = true;
}

static bool is_answered(void *arg)
{
    return ((struct wire *)arg)->done;
}

static void log_in(struct wire *w, unsigned host)
{
    static const char *const names[] = {"iqn.a", "iqn.b"};
    struct sim *sim = w->rig->sim;
    w->hosts[host] = initiator_create(sim, sim_node_create(sim, names[host]), names[host]);
    initiator_connect(w->hosts[host], PORTAL, TARGET);
    check(sim_run_until(sim, is_up, w->hosts[host], 10 * RT_SECOND));
}

static uint32_t send(struct wire *w, unsigned host, const uint8_t cdb[16], uint32_t out_bytes)
{
    w->request = (struct initiator_request){
        .lun = w->lun, .data = w->data, .out_bytes = out_bytes, .done = answered};
    memcpy(w->request.cdb, cdb, sizeof w->request.cdb);
    w->done = false;
    initiator_submit(w->hosts[host], &w->request);
    check(sim_run_until(w->rig->sim, is_answered, w, 60 * RT_SECOND) && !w->request.is_lost);
    check((w->request.status == 2) == (w->request.sense != 0));
    return w->request.sense;
}

/* TEST UNIT READY: the sense, 0 = GOOD. */
static uint32_t ask(struct wire *w, unsigned host)
{
    return send(w, host, (uint8_t[16]){0}, 0);
}

static uint32_t put(struct wire *w, unsigned host, uint64_t block)
{
    uint8_t cdb[16] = {0x8A};
    store_be64(cdb + 2, block * SECTORS_PER_BLOCK);
    store_be32(cdb + 10, PUT_BLOCKS * SECTORS_PER_BLOCK);
    memset(w->data, 'x', sizeof w->data);
    return send(w, host, cdb, sizeof w->data);
}

static struct wire *furnished(void)
{
    struct wire *w = calloc(1, sizeof *w);
    check(w);
    w->lun = 5;
    w->rig = rig_create(RIG_REAL);
    rig_furnish(w->rig);
    static const char *const names[][2] = {{"h", "iqn.a"}, {"k", "iqn.b"}};
    check(rig_do(w->rig, "disk_create", "{s:s, s:s}", "name", "big", "size", "256M"));
    for (unsigned i = 0; i < 2; i++) {
        check(rig_do(w->rig, "host_create", "{s:s, s:[s]}", "name", names[i][0], "initiators",
                     names[i][1]));
        check(rig_do(w->rig, "map_add", "{s:s, s:s, s:i}", "host", names[i][0], "disk", "big",
                     "lun", 5));
    }
    struct iscsi_server_options options = {
        .target_name = TARGET, .portal_count = 1, .portals = {{.listen = PORTAL}}};
    struct err *e = iscsi_server_create(w->rig->rt, &options, &access_ops, w, &w->server);
    check(!e);
    return w;
}

static void end(struct wire *w)
{
    for (unsigned i = 0; i < 2; i++)
        initiator_destroy(take_ptr(&w->hosts[i]));
    iscsi_server_close(w->server, server_closed, w);
    check(sim_run_until(w->rig->sim, is_closed, w, 60 * RT_SECOND));
    rig_destroy(w->rig);
    free(w);
}

/* ---- Behaviours ------------------------------------------------------------------------------ */

/* New blocks until a command is answered with more than GOOD. */
static uint32_t write_on(struct wire *w, unsigned host, uint64_t *block)
{
    uint32_t sense = 0;
    for (; !sense; *block += PUT_BLOCKS)
        sense = put(w, host, *block);
    return sense;
}

static void every_session_is_told_once_and_then_writes_fail(void)
{
    struct wire *w = furnished();
    uint64_t block = 0;
    log_in(w, 0);
    expect_eq(ask(w, 0), POWER_ON);
    expect_eq(write_on(w, 0, &block), THRESHOLD);
    uint64_t told = block;
    expect_eq(ask(w, 0), 0); /* once */
    log_in(w, 1);            /* it comes when it has happened */
    expect_eq(ask(w, 1), POWER_ON);
    expect_eq(ask(w, 1), THRESHOLD);
    expect_eq(ask(w, 1), 0);
    expect_eq(write_on(w, 0, &block), FULL); /* DATA PROTECT, SPACE ALLOCATION FAILED */
    expect(block > told + 256);
    expect_eq(put(w, 0, 0), 0); /* what is there can be overwritten */
    expect_eq(put(w, 1, 0), 0);
    end(w);
}

static void a_disk_that_is_mapped_when_it_has_happened_tells_it_too(void)
{
    struct wire *w = furnished();
    uint64_t block = 0;
    log_in(w, 0);
    log_in(w, 1);
    expect_eq(ask(w, 0), POWER_ON);
    expect_eq(write_on(w, 0, &block), THRESHOLD);
    check(rig_do(w->rig, "map_add", "{s:s, s:s, s:i}", "host", "k", "disk", "a", "lun", 6));
    w->lun = 6;
    expect_eq(ask(w, 1), POWER_ON);
    uint32_t next = ask(w, 1);
    if (next == 0x063F0E) next = ask(w, 1); /* the map has changed: for the nexus, not the LUN */
    expect_eq(next, THRESHOLD);
    /* A level above what is used: it has not happened any more. */
    check(rig_do(w->rig, "pool_set", "{s:s, s:i}", "name", "p", "warn", 99));
    initiator_destroy(take_ptr(&w->hosts[1]));
    sim_run_for(w->rig->sim, 10 * RT_SECOND);
    log_in(w, 1);
    expect_eq(ask(w, 1), POWER_ON);
    expect_eq(ask(w, 1), 0);
    end(w);
}

int main(void)
{
    run(every_session_is_told_once_and_then_writes_fail);
    run(a_disk_that_is_mapped_when_it_has_happened_tells_it_too);
    return tap_done();
}
