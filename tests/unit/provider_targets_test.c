/* GetTargetLuns and OnLunEmpty, of which VSS makes one for each LUN: how often the server is asked, and
 * that what is kept is never another set's. */
#include <stdlib.h>

#include "tests/unit/provider_calls.h"

/* A set of all disks but the last, up to PostCommitSnapshots. */
enum { MEMBERS = FAKE_DISKS - 1 };

static bool make_large(unsigned set)
{
    bool ok = true;
    for (unsigned disk = 0; disk < MEMBERS; disk++)
        ok = ok && prepare(set, disk, BACKUP) == S_OK;
    return ok && provider_end_prepare(&provider, set_id(set)) == S_OK &&
           provider_pre_commit(&provider, set_id(set)) == S_OK &&
           provider_commit(&provider, set_id(set)) == S_OK &&
           provider_post_commit(&provider, set_id(set), MEMBERS) == S_OK;
}

/* Is the target of this disk the snapshot that this set has of it? */
static bool is_of(unsigned set, unsigned disk)
{
    VDS_LUN_INFORMATION lun;
    char serial[40];
    bool ok = target(disk, &lun) == S_OK;
    unsigned index = (unsigned)(fake_find_set(&server, set_text(set)) - server.sets);
    snprintf(serial, sizeof serial, "5%015x%016x", index, disk);
    if (ok && strcmp(lun.m_szSerialNumber, serial) != 0) {
        printf("# %s instead of %s\n", lun.m_szSerialNumber, serial);
        ok = false;
    }
    rig_free_lun(&lun);
    return ok;
}

static unsigned requests_for_all(unsigned set)
{
    unsigned before = server.requests;
    for (unsigned disk = 0; disk < MEMBERS; disk++)
        expect(is_of(set, disk));
    return server.requests - before;
}

static void a_process_that_made_the_set_asks_once_for_all_its_volumes(void)
{
    begin();
    require(make_large(1));
    expect_eq(requests_for_all(1), 1);
    expect_eq(requests_for_all(1), 0);
    expect_str(state_of(1), "created");
    end();
}

static void a_process_that_did_not_asks_twice(void)
{
    begin();
    require(make_large(1));
    expect_eq(requests_for_all(1), 1);
    restart();
    expect_eq(requests_for_all(1), 2); /* which set it is, and its identities */
    expect_eq(provider_abort(&provider, set_id(1)), S_OK);
    expect_str(state_of(1), "created");
    expect(!provider_is_busy(&provider));
    end();
    expect_str(state_of(1), "created");
}

static void a_source_that_the_set_lacks_has_no_target(void)
{
    VDS_LUN_INFORMATION lun;
    begin();
    require(make_large(1));
    expect_eq(requests_for_all(1), 1);
    expect_eq(target(MEMBERS, &lun), VSS_E_PROVIDER_VETO);
    expect_eq(requests_for_all(1), 0); /* and nothing is lost by that */
    end();
}

static void the_next_set_has_targets_of_its_own(void)
{
    VDS_LUN_INFORMATION lun;
    begin();
    require(make_large(1));
    expect_eq(requests_for_all(1), 1);
    expect_eq(prepare(2, 1, BACKUP), S_OK);
    expect_eq(target(1, &lun), VSS_E_PROVIDER_VETO); /* of set 1 they are not wanted any more */
    expect_eq(provider_end_prepare(&provider, set_id(2)), S_OK);
    expect_eq(target(1, &lun), VSS_E_PROVIDER_VETO);
    expect_eq(provider_abort(&provider, set_id(2)), S_OK);
    require(make_large(3));
    expect_eq(requests_for_all(3), 1);
    end();
}

/* Made by another process, while this one still has what it was told. */
static void after_a_minute_a_newer_set_is_looked_for(void)
{
    begin();
    require(make_large(1));
    expect_eq(requests_for_all(1), 1);
    struct provider *other = malloc(sizeof *other);
    require(other != NULL);
    *other = provider;
    restart();
    require(make_large(2));
    expect_eq(requests_for_all(2), 1);
    provider = *other;
    free(other);
    server.now_ms += 60001;
    expect_eq(requests_for_all(2), 2);
    end();
}

/* Its own is deleted: what is left is older. */
static void without_its_own_set_a_process_gives_out_no_older_one(void)
{
    VDS_LUN_INFORMATION lun;
    begin();
    require(make_large(1));
    expect_eq(requests_for_all(1), 1);
    require(make_large(2));
    expect_eq(requests_for_all(2), 1);
    snprintf(fake_find_set(&server, set_text(2))->state, 16, "trashed");
    server.now_ms += 60001;
    expect_eq(target(1, &lun), VSS_E_PROVIDER_VETO);
    end();
}

/* Newer, of the same host and disks, but none of VSS's: somebody else's snapshots. */
static void a_set_that_was_cut_by_hand_is_never_given_out(void)
{
    VDS_LUN_INFORMATION lun;
    begin();
    require(make_large(1));
    expect_eq(requests_for_all(1), 1);
    require(make_large(2));
    fake_find_set(&server, set_text(2))->is_by_hand = true;
    restart();
    expect_eq(requests_for_all(1), 2);
    expect_str(state_of(1), "created");
    expect_str(state_of(2), "confirmed");
    fake_find_set(&server, set_text(1))->is_by_hand = true;
    restart();
    expect_eq(target(1, &lun), VSS_E_PROVIDER_VETO);
    expect_str(state_of(2), "confirmed");
    end();
}

static void a_refused_finish_keeps_nothing(void)
{
    VDS_LUN_INFORMATION lun;
    begin();
    require(make_large(1));
    server.fail = "/finish";
    server.fail_http = 409;
    server.fail_status = "CONFLICT";
    expect_eq(target(1, &lun), VSS_E_PROVIDER_VETO);
    server.fail = NULL;
    expect_eq(requests_for_all(1), 1);
    end();
}

static void abort_beside(struct fake_server *s, const struct api_request *request)
{
    if (!strstr(request->path, "/finish")) return;
    s->before = NULL;
    provider_abort(&provider, set_id(1));
}

static void what_was_aborted_meanwhile_is_not_kept(void)
{
    VDS_LUN_INFORMATION lun;
    begin();
    require(make_large(1));
    server.before = abort_beside;
    expect_eq(target(1, &lun), VSS_E_PROVIDER_VETO);
    expect_str(state_of(1), "aborted");
    unsigned before = server.requests;
    expect_eq(target(1, &lun), VSS_E_PROVIDER_VETO);
    expect(server.requests > before);
    end();
}

/* Forgotten by OnUnload, and by whatever is done to a snapshot. */
static void what_was_kept_is_forgotten_when_it_may_change(void)
{
    VDS_LUN_INFORMATION lun;
    begin();
    require(make_large(1));
    expect_eq(requests_for_all(1), 1);
    provider_unload(&provider);
    expect_eq(requests_for_all(1), 2);
    require(target(1, &lun) == S_OK);
    expect_eq(
        provider_on_lun_state_change(&provider, &lun, NULL, 1, VSS_ONLUNSTATECHANGE_DO_MASK_LUNS),
        S_OK);
    expect_eq(requests_for_all(1), 2);
    expect_eq(provider_on_lun_empty(&provider, NULL, &lun), S_OK);
    expect_eq(requests_for_all(1), 2);
    rig_free_lun(&lun);
    end();
}

/* ---- OnLunEmpty ------------------------------------------------------------------------------ */

static void a_lun_that_is_empty_costs_one_request(void)
{
    VDS_LUN_INFORMATION lun;
    begin();
    require(make_large(1) && target(1, &lun) == S_OK);
    expect_eq(provider_locate_luns(&provider, 1, &lun), S_OK);
    expect_eq(map_count(), MEMBERS);
    unsigned before = server.requests;
    expect_eq(provider_on_lun_empty(&provider, NULL, &lun), S_OK);
    expect_eq(server.requests - before, 1);
    expect_eq(map_count(), MEMBERS - 1);
    expect_eq(fake_snapshot_count(&server), MEMBERS - 1);
    rig_free_lun(&lun);
    end();
}

static void what_another_host_has_too_is_not_deleted(void)
{
    VDS_LUN_INFORMATION lun;
    begin();
    require(make_large(1) && target(1, &lun) == S_OK);
    expect_eq(provider_locate_luns(&provider, 1, &lun), S_OK);
    server.is_served_elsewhere = true;
    expect_eq(provider_on_lun_empty(&provider, NULL, &lun), VSS_E_PROVIDER_VETO);
    expect(strstr(server.last_event, "could not be deleted") != NULL);
    expect_eq(map_count(), MEMBERS); /* nothing was changed */
    expect_eq(fake_snapshot_count(&server), MEMBERS);
    rig_free_lun(&lun);
    end();
}

int main(void)
{
    run(a_process_that_made_the_set_asks_once_for_all_its_volumes);
    run(a_process_that_did_not_asks_twice);
    run(a_source_that_the_set_lacks_has_no_target);
    run(the_next_set_has_targets_of_its_own);
    run(after_a_minute_a_newer_set_is_looked_for);
    run(without_its_own_set_a_process_gives_out_no_older_one);
    run(a_set_that_was_cut_by_hand_is_never_given_out);
    run(a_refused_finish_keeps_nothing);
    run(what_was_aborted_meanwhile_is_not_kept);
    run(what_was_kept_is_forgotten_when_it_may_change);
    run(a_lun_that_is_empty_costs_one_request);
    run(what_another_host_has_too_is_not_deleted);
    return tap_done();
}
