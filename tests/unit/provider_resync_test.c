/* ResyncLuns: disks take the content of shadow copies again, and what is told of it is true. */
#include "tests/unit/provider_calls.h"
#include "windows/provider/core/resync.h"

/* The first snapshot's LUN onto a disk. */
static HRESULT resync_onto(unsigned disk, struct resync **ret_resync)
{
    VDS_LUN_INFORMATION source, onto = rig_disk_lun(disk), before = rig_copy_lun(&onto);
    begin();
    check(make(1, BACKUP) && target(1, &source) == S_OK);
    *ret_resync = NULL;
    HRESULT result = resync_begin(&provider, &source, &onto, 1, ret_resync);
    expect(rig_same_lun(&onto, &before));
    rig_free_lun(&source);
    rig_free_lun(&onto);
    rig_free_lun(&before);
    return result;
}

static void a_resync_to_the_snapshots_own_disk_is_a_revert_and_done(void)
{
    struct resync *resync;
    require(resync_onto(1, &resync) == S_OK);
    expect_eq(resync_query(resync), VSS_S_ASYNC_FINISHED);
    expect_eq(server.tries, 1); /* before anything was changed */
    expect_eq(server.reverts, 1);
    expect_eq(server.replaces, 0);
    resync_destroy(resync);
    end();
}

static void a_resync_to_another_disk_is_pending_until_it_is_done(void)
{
    struct resync *resync;
    require(resync_onto(5, &resync) == S_OK);
    expect_eq(server.replaces, 1);
    expect_eq(resync_query(resync), VSS_S_ASYNC_PENDING);
    server.is_away = true; /* nobody knows better */
    expect_eq(resync_query(resync), VSS_S_ASYNC_PENDING);
    server.is_away = false;
    server.job_state = "done";
    expect_eq(resync_query(resync), VSS_S_ASYNC_FINISHED);
    server.job_state = "running";
    expect_eq(resync_query(resync), VSS_S_ASYNC_FINISHED); /* and that stays */
    expect_eq(server.events, 0);
    resync_destroy(resync);
    end();
}

static void a_resync_that_fails_is_never_told_as_finished(void)
{
    struct resync *resync;
    require(resync_onto(5, &resync) == S_OK);
    server.job_state = "failed";
    server.job_status = "POOL_FULL";
    expect_eq(resync_query(resync), VSS_E_PROVIDER_VETO);
    expect_eq(resync_query(resync), VSS_E_PROVIDER_VETO);
    expect_eq(server.events, 1);
    expect(strstr(server.last_event, "a reason"));
    resync_destroy(resync);
    end();
}

static void a_resync_is_cancelled(void)
{
    struct resync *resync;
    require(resync_onto(5, &resync) == S_OK);
    resync_cancel(resync);
    expect_eq(server.cancels, 1);
    expect_eq(resync_query(resync), VSS_S_ASYNC_CANCELLED);
    resync_destroy(resync);
    end();
}

static void a_resync_that_is_refused_changes_nothing(void)
{
    VDS_LUN_INFORMATION sources[2], onto[2] = {rig_disk_lun(1), rig_foreign_lun()};
    struct resync *resync = NULL;
    begin();
    require(make(1, BACKUP) && target(1, &sources[0]) == S_OK && target(2, &sources[1]) == S_OK);
    expect_eq(resync_begin(&provider, sources, onto, 2, &resync), VSS_E_PROVIDER_VETO);
    expect_eq(server.reverts + server.replaces + server.tries, 0); /* one of the two is foreign */
    expect_eq(server.events, 1);
    rig_free_lun(&onto[1]);
    onto[1] = rig_disk_lun(2);
    server.fail = "/revert";
    server.fail_http = 409;
    server.fail_status = "IN_USE";
    expect_eq(resync_begin(&provider, sources, onto, 2, &resync), VSS_E_PROVIDER_VETO);
    server.fail_status = "POOL_FULL";
    expect_eq(resync_begin(&provider, sources, onto, 2, &resync), VSS_E_INSUFFICIENT_STORAGE);
    expect_eq(server.reverts, 0);
    expect_eq(resync_begin(&provider, sources, onto, 0, &resync), E_INVALIDARG);
    expect_eq(resync_begin(&provider, NULL, onto, 2, &resync), E_INVALIDARG);
    expect(!resync);
    for (unsigned i = 0; i < 2; i++) {
        rig_free_lun(&onto[i]);
        rig_free_lun(&sources[i]);
    }
    end();
}

int main(void)
{
    run(a_resync_to_the_snapshots_own_disk_is_a_revert_and_done);
    run(a_resync_to_another_disk_is_pending_until_it_is_done);
    run(a_resync_that_fails_is_never_told_as_finished);
    run(a_resync_is_cancelled);
    run(a_resync_that_is_refused_changes_nothing);
    return tap_done();
}
