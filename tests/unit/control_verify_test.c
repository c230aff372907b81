/* snapshot verify, on the real engine. */
#include "tests/unit/control_lun.h"

#include <stdlib.h>

#include "base/attr.h"
#include "base/check.h"
#include "base/limits.h"
#include "control/control_int.h"

enum { LUN = 5 };

/* Snapshots "one" and "same" are alike, "other" is not. */
static struct rig *furnished(void)
{
    struct rig *rig = rig_create(RIG_REAL);
    rig_furnish(rig);
    check(rig_do(rig, "host_create", "{s:s, s:[s]}", "name", "h", "initiators", "iqn.a"));
    check(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "disk", "a", "lun", LUN));
    struct lun_host *host = lun_login(rig, "iqn.a");
    for (unsigned i = 0; i < 700; i += 7)
        check(lun_put(host, LUN, i, 'x') == SCSI_STATUS_GOOD);
    check(rig_do(rig, "snapshot_create", "{s:[s], s:s}", "disks", "a", "name", "one"));
    check(rig_do(rig, "snapshot_create", "{s:[s], s:s}", "disks", "a", "name", "same"));
    check(lun_put(host, LUN, 4000, 'q') == SCSI_STATUS_GOOD);
    check(rig_do(rig, "snapshot_create", "{s:[s], s:s}", "disks", "a", "name", "other"));
    lun_logout(host);
    return rig;
}

static bool ends_as(struct rig *rig, json_t *answer, const char *state)
{
    char id[64];
    json_t *job = NULL;
    snprintf(id, sizeof id, "%s", rig_text(answer, "job.id"));
    json_decref(answer);
    for (unsigned i = 0; i < 5; i++) {
        json_decref(job);
        job = rig_ok(rig, "job_show", "{s:s, s:i}", "name", id, "wait", 30);
        if (strcmp(rig_text(job, "state"), "running") != 0) break;
    }
    bool same = strcmp(rig_text(job, "state"), state) == 0;
    if (!same) printf("# %s: %s\n", rig_text(job, "state"), rig_text(job, "error.message"));
    json_decref(job);
    return same;
}

static void sha_of(struct rig *rig, const char *name, char text[80])
{
    json_t *s = rig_ok(rig, "snapshot_show", "{s:s}", "name", name);
    snprintf(text, 80, "%s", rig_text(s, "sha256"));
    json_decref(s);
}

static void the_first_run_stores_what_later_ones_compare(void)
{
    char one[80], same[80], other[80], again[80];
    struct rig *rig = furnished();
    sha_of(rig, "one", one);
    expect_str(one, "");
    expect(ends_as(rig, rig_ok(rig, "snapshot_verify", "{s:b}", "all", 1), "done"));
    sha_of(rig, "one", one);
    sha_of(rig, "same", same);
    sha_of(rig, "other", other);
    expect_eq(strlen(one), 64);
    expect_str(one, same);
    expect(strcmp(one, other) != 0);
    expect(rig_restart(rig));
    expect(ends_as(rig, rig_ok(rig, "snapshot_verify", "{s:s}", "name", "one"), "done"));
    sha_of(rig, "one", again);
    expect_str(again, one);
    expect_eq(rig_fails(rig, "snapshot_verify", NULL), STATUS_BAD_REQUEST);
    expect_eq(rig_fails(rig, "snapshot_verify", "{s:s, s:b}", "name", "one", "all", 1),
              STATUS_BAD_REQUEST);
    rig_destroy(rig);
}

/* Turns one bit in every copy of a block of this byte that the pool's file holds. */
static unsigned rot(struct rig *rig, char byte)
{
    uint64_t size = sim_file_size(rig->node, "/pool");
    auto_free uint8_t *block = malloc(BLOCK_BYTES);
    unsigned count = 0;
    check(block);
    for (uint64_t at = 0; at + BLOCK_BYTES <= size; at += BLOCK_BYTES) {
        unsigned alike = 0;
        sim_file_peek(rig->node, "/pool", at, block, BLOCK_BYTES);
        while (alike < BLOCK_BYTES && block[alike] == (uint8_t)byte)
            alike++;
        if (alike < BLOCK_BYTES) continue;
        block[100] ^= 1;
        sim_file_poke(rig->node, "/pool", at, block, BLOCK_BYTES);
        count++;
    }
    return count;
}

static void a_block_that_rotted_is_found_and_named(void)
{
    struct rig *rig = furnished();
    expect(ends_as(rig, rig_ok(rig, "snapshot_verify", "{s:b}", "all", 1), "done"));
    rig_stop(rig);
    sim_node_crash(rig->node, SIM_CRASH_PROCESS);
    expect_eq(rot(rig, 'q'), 1);
    require(rig_boot(rig));
    expect(ends_as(rig, rig_ok(rig, "snapshot_verify", "{s:b}", "all", 1), "failed"));
    json_t *events = rig_ok(rig, "event_list", NULL);
    expect_eq(json_array_size(json_object_get(events, "events")), 1);
    expect_str(rig_text(events, "events.0.object"), "other");
    expect_str(rig_text(events, "events.0.level"), "alert");
    json_decref(events);
    expect(ends_as(rig, rig_ok(rig, "snapshot_verify", "{s:s}", "name", "one"), "done"));
    rig_destroy(rig);
}

static void a_restart_and_a_cancel_leave_nothing_behind(void)
{
    char id[64];
    struct rig *rig = furnished();
    json_t *answer = rig_ok(rig, "snapshot_verify", "{s:b}", "all", 1);
    snprintf(id, sizeof id, "%s", rig_text(answer, "job.id"));
    expect(rig_do(rig, "job_pause", "{s:s}", "name", id));
    expect(rig_restart(rig));
    expect(rig_do(rig, "job_resume", "{s:s}", "name", id));
    expect(ends_as(rig, answer, "done"));
    answer = rig_ok(rig, "snapshot_verify", "{s:b}", "all", 1);
    expect(rig_do(rig, "job_cancel", "{s:s}", "name", rig_text(answer, "job.id")));
    expect(ends_as(rig, answer, "failed"));
    expect(rig_do(rig, "snapshot_delete", "{s:s, s:b}", "name", "one", "now", 1));
    rig_destroy(rig);
}

int main(void)
{
    run(the_first_run_stores_what_later_ones_compare);
    run(a_block_that_rotted_is_found_and_named);
    run(a_restart_and_a_cancel_leave_nothing_behind);
    return tap_done();
}
