/* The provider's calls, in all orders that VSS may make them, against a server in memory.  I
 * numbers: the invariants of doc/design/0080-windows-provider.md. */
#include <stdlib.h>

#include "base/prng.h"
#include "tests/unit/provider_calls.h"

/* ---- The whole way --------------------------------------------------------------------------- */

static void a_set_of_two_volumes_is_made_and_told(void)
{
    VDS_LUN_INFORMATION one, two;
    begin();
    require(make(1, BACKUP));
    expect_str(state_of(1), "confirmed");
    expect_eq(server.commits, 1);
    require(target(1, &one) == S_OK && target(2, &two) == S_OK);
    expect_str(state_of(1), "created");
    expect(strcmp(one.m_szSerialNumber, two.m_szSerialNumber) != 0);
    expect_eq(one.m_cInterconnects, 0);
    expect_eq(one.m_diskSignature.Data1, 0);
    expect_eq(provider_pre_final_commit(&provider, set_id(1)), S_OK);
    expect_eq(provider_post_final_commit(&provider, set_id(1)), S_OK);
    rig_free_lun(&one);
    rig_free_lun(&two);
    expect_eq(server.events, 0);
    end();
}

static void finals_may_come_before_the_targets(void)
{
    VDS_LUN_INFORMATION one;
    begin();
    require(make(1, BACKUP));
    expect_eq(provider_pre_final_commit(&provider, set_id(1)), S_OK);
    expect_eq(provider_post_final_commit(&provider, set_id(1)), S_OK);
    expect_eq(target(1, &one), S_OK);
    rig_free_lun(&one);
    end();
}

/* I8: the same answer in every process. */
static void targets_are_the_same_each_time_and_in_another_process(void)
{
    VDS_LUN_INFORMATION first, again, later;
    begin();
    require(make(1, BACKUP) && target(1, &first) == S_OK && target(1, &again) == S_OK);
    restart();
    require(target(1, &later) == S_OK);
    expect(rig_same_lun(&first, &again) && rig_same_lun(&first, &later));
    rig_free_lun(&first);
    rig_free_lun(&again);
    rig_free_lun(&later);
    end();
}

static void a_new_process_takes_the_newest_set_of_the_disk(void)
{
    VDS_LUN_INFORMATION newest, later;
    begin();
    require(make(1, BACKUP) && target(1, &newest) == S_OK);
    rig_free_lun(&newest);
    require(make(2, BACKUP) && target(1, &newest) == S_OK);
    restart();
    require(target(1, &later) == S_OK);
    expect(rig_same_lun(&newest, &later));
    rig_free_lun(&newest);
    rig_free_lun(&later);
    end();
}

/* A process that died was told of a volume that the set lacks now: its older copy is no answer. */
static void an_older_set_is_never_given_out_for_a_new_one(void)
{
    VDS_LUN_INFORMATION one;
    begin();
    require(make(1, BACKUP) && target(1, &one) == S_OK);
    rig_free_lun(&one);
    server.now_ms += 1000;
    require(prepare(2, 2, BACKUP) == S_OK && provider_end_prepare(&provider, set_id(2)) == S_OK &&
            provider_pre_commit(&provider, set_id(2)) == S_OK &&
            provider_commit(&provider, set_id(2)) == S_OK &&
            provider_post_commit(&provider, set_id(2), 2) == S_OK);
    expect_eq(target(1, &one), VSS_E_PROVIDER_VETO);
    restart();
    expect_eq(target(1, &one), VSS_E_PROVIDER_VETO);
    expect_str(state_of(2), "confirmed"); /* an abort still ends it */
    end();
}

static void two_volumes_on_one_lun_are_one_snapshot(void)
{
    begin();
    require(prepare(1, 3, BACKUP) == S_OK && prepare(1, 3, BACKUP) == S_OK);
    require(provider_end_prepare(&provider, set_id(1)) == S_OK);
    expect_eq(fake_find_set(&server, set_text(1))->disk_count, 1);
    end();
}

static void the_context_decides_what_the_server_is_told(void)
{
    begin();
    require(prepare(1, 1, BACKUP) == S_OK && provider_end_prepare(&provider, set_id(1)) == S_OK);
    expect(strstr(server.last_body, "\"vss\":true,\"volatile\":true,\"transportable\":false"));
    require(prepare(2, 1, VSS_VOLSNAP_ATTR_TRANSPORTABLE) == S_OK &&
            provider_end_prepare(&provider, set_id(2)) == S_OK);
    expect(strstr(server.last_body, "\"volatile\":false,\"transportable\":true"));
    require(prepare(3, 1, ROLLBACK) == S_OK && provider_end_prepare(&provider, set_id(3)) == S_OK);
    expect(strstr(server.last_body, "\"volatile\":false,\"transportable\":false"));
    expect(strstr(server.last_body, "\"full\":false"));
    require(prepare(5, 1, VSS_VOLSNAP_ATTR_PLEX) == S_OK &&
            provider_end_prepare(&provider, set_id(5)) == S_OK);
    expect(strstr(server.last_body, "\"full\":true"));
    expect_eq(prepare(4, 1, VSS_VOLSNAP_ATTR_CLIENT_ACCESSIBLE), VSS_E_UNSUPPORTED_CONTEXT);
    expect_eq(prepare(4, 1, VSS_VOLSNAP_ATTR_DIFFERENTIAL | VSS_VOLSNAP_ATTR_PLEX),
              VSS_E_UNSUPPORTED_CONTEXT);
    end();
}

static void sixty_four_volumes_and_no_more(void)
{
    begin();
    for (unsigned i = 0; i < PROVIDER_VOLUMES_MAX; i++)
        require(prepare(1, i % FAKE_DISKS, BACKUP) == S_OK);
    expect_eq(prepare(1, 0, BACKUP), VSS_E_MAXIMUM_NUMBER_OF_VOLUMES_REACHED);
    end();
}

/* ---- Abort ----------------------------------------------------------------------------------- */

static void an_abort_at_every_step_leaves_nothing(void)
{
    for (unsigned steps = 0; steps <= 5; steps++) {
        begin();
        advance(1, steps);
        expect_eq(provider_abort(&provider, set_id(1)), S_OK);
        expect_eq(fake_snapshot_count(&server), 0);
        expect(!server.commit_is_open);
        expect_eq(provider_abort(&provider, set_id(1)), S_OK);
        expect(make(2, BACKUP)); /* and nothing is in the way of the next */
        end();
    }
}

static void an_abort_by_a_new_process_leaves_nothing(void)
{
    for (unsigned steps = 0; steps <= 5; steps++) {
        begin();
        advance(1, steps);
        restart();
        expect_eq(provider_abort(&provider, set_id(1)), S_OK);
        expect_eq(fake_snapshot_count(&server), 0);
        end();
    }
}

static void an_abort_after_the_identities_are_out_changes_nothing(void)
{
    VDS_LUN_INFORMATION one;
    begin();
    require(make(1, BACKUP) && target(1, &one) == S_OK);
    rig_free_lun(&one);
    expect_eq(provider_abort(&provider, set_id(1)), S_OK);
    expect_str(state_of(1), "created");
    restart();
    expect_eq(provider_abort(&provider, set_id(1)), S_OK);
    expect_str(state_of(1), "created");
    end();
}

static void an_abort_of_another_set_is_not_one_of_ours(void)
{
    begin();
    advance(1, 3);
    expect_eq(provider_abort(&provider, set_id(2)), S_OK);
    expect_str(state_of(1), "armed");
    expect_eq(provider_commit(&provider, set_id(1)), S_OK);
    end();
}

static void another_set_gives_up_the_one_before(void)
{
    begin();
    advance(1, 3);
    require(make(2, BACKUP));
    expect_str(state_of(1), "aborted");
    expect_str(state_of(2), "confirmed");
    end();
}

static void an_unloaded_provider_leaves_nothing_half_made(void)
{
    begin();
    advance(1, 4);
    provider_unload(&provider);
    expect_eq(fake_snapshot_count(&server), 0);
    end();
}

/* After PostCommitSnapshots VSS may unload us and ask another process for the identities. */
static void an_unloaded_provider_keeps_what_was_confirmed(void)
{
    VDS_LUN_INFORMATION one;
    begin();
    advance(1, 5);
    provider_unload(&provider);
    restart();
    require(target(1, &one) == S_OK);
    expect_str(state_of(1), "created");
    rig_free_lun(&one);
    end();
}

/* Another thread's AbortSnapshots, in the middle of PreCommitSnapshots: the volumes are frozen. */
static void abort_beside_arm(struct fake_server *s, const struct api_request *request)
{
    if (!strstr(request->path, "/arm")) return;
    s->before = NULL;
    provider_abort(&provider, set_id(1));
}

static void an_abort_beside_pre_commit_writes_no_event(void)
{
    begin();
    advance(1, 2);
    server.before = abort_beside_arm;
    expect_eq(provider_pre_commit(&provider, set_id(1)), VSS_E_OBJECT_NOT_FOUND);
    expect_eq(server.events, 0);
    expect_eq(fake_snapshot_count(&server), 0);
    end();
}

/* Another thread's AbortSnapshots, in the middle of EndPrepareSnapshots' request. */
static void abort_meanwhile(struct fake_server *s, const struct api_request *request)
{
    if (strcmp(request->path, "/v1/sets") != 0) return;
    s->before = NULL;
    provider_abort(&provider, set_id(1));
}

static void an_abort_ends_a_prepare_that_is_under_way(void)
{
    begin();
    require(prepare(1, 1, BACKUP) == S_OK);
    server.before = abort_meanwhile;
    expect_eq(provider_end_prepare(&provider, set_id(1)), VSS_E_OBJECT_NOT_FOUND);
    expect_eq(server.interrupts, 1);
    expect_eq(fake_snapshot_count(&server), 0);
    expect_eq(server.events, 0);
    end();
}

/* ---- Codes and events ------------------------------------------------------------------------ */

static void calls_out_of_order_are_refused_and_change_nothing(void)
{
    typedef HRESULT call(struct provider * p, VSS_ID set);
    call *const calls[] = {provider_end_prepare, provider_pre_commit, provider_commit};
    for (unsigned steps = 0; steps <= 5; steps++) {
        for (unsigned c = 0; c < 3; c++) {
            begin();
            advance(1, steps);
            if (c + 1 != steps) {
                const char *before = state_of(1);
                HRESULT result = calls[c](&provider, set_id(1));
                expect_eq(result, steps == 0 ? VSS_E_OBJECT_NOT_FOUND : VSS_E_PROVIDER_VETO);
                expect_str(state_of(1), before);
                if (steps > 2 && steps < 5)
                    expect_eq(server.events, 0); /* not while it may be frozen */
            }
            end();
        }
    }
}

/* I3: one event for each veto; none from PreCommit until PostCommit is over. */
static void a_veto_in_the_freeze_is_told_after_it(void)
{
    begin();
    advance(1, 3);
    server.fail = "commit";
    server.fail_http = 409;
    server.fail_status = "TOO_LATE";
    expect_eq(provider_commit(&provider, set_id(1)), VSS_E_PROVIDER_VETO);
    expect_eq(server.events, 0);
    expect_eq(provider_post_commit(&provider, set_id(1), 1), VSS_E_PROVIDER_VETO);
    expect_eq(server.events, 1);
    expect(strstr(server.last_event, "409") && strstr(server.last_event, "What to do: "));
    end();
}

static void a_veto_in_the_freeze_is_told_after_an_abort_too(void)
{
    begin();
    advance(1, 3);
    server.is_away = true;
    expect_eq(provider_commit(&provider, set_id(1)), VSS_E_PROVIDER_VETO);
    expect_eq(server.events, 0);
    expect_eq(provider_abort(&provider, set_id(1)), S_OK);
    expect_eq(server.events, 1);
    expect(strstr(server.last_event, "no answer"));
    end();
}

static void a_refusal_of_the_server_is_an_event_with_cause_and_remedy(void)
{
    begin();
    require(prepare(1, 1, BACKUP) == S_OK);
    server.fail = "/v1/sets";
    server.fail_http = 409;
    server.fail_status = "LIMIT_REACHED";
    expect_eq(provider_end_prepare(&provider, set_id(1)), VSS_E_PROVIDER_VETO);
    expect_str(server.last_event,
               "The shadow copy could not be prepared: because of \"LIMIT_REACHED\" (set "
               "abcd0001-1234-5678-0102-030405060708). What to do: do this");
    expect_eq(server.events, 1);
    end();
}

/* A warning that came first must not hide the veto. */
static void a_warning_in_the_freeze_gives_way_to_a_veto(void)
{
    BOOL supported;
    VDS_LUN_INFORMATION lun = rig_disk_lun(1);
    begin();
    advance(1, 3);
    server.session_count = 0;
    expect_eq(provider_are_luns_supported(&provider, 1, BACKUP, NULL, &lun, &supported), S_OK);
    expect(!supported);
    server.is_away = true;
    expect_eq(provider_commit(&provider, set_id(1)), VSS_E_PROVIDER_VETO);
    expect_eq(server.events + server.notes, 0);
    expect_eq(provider_abort(&provider, set_id(1)), S_OK);
    expect_eq(server.events, 1);
    expect_eq(server.notes, 0);
    rig_free_lun(&lun);
    end();
}

static void a_warning_is_told_once_in_a_while(void)
{
    BOOL supported;
    VDS_LUN_INFORMATION lun = rig_disk_lun(1);
    begin();
    server.session_count = 0;
    for (unsigned i = 0; i < 5; i++)
        expect_eq(provider_are_luns_supported(&provider, 1, BACKUP, NULL, &lun, &supported), S_OK);
    expect_eq(server.notes, 1);
    expect(strstr(server.last_note, "no iSCSI session of host sql 1"));
    server.now_ms += 3600000;
    expect_eq(provider_are_luns_supported(&provider, 1, BACKUP, NULL, &lun, &supported), S_OK);
    expect_eq(server.notes, 2);
    rig_free_lun(&lun);
    end();
}

static void a_set_is_told_when_it_is_created_once(void)
{
    VDS_LUN_INFORMATION one;
    begin();
    require(make(1, BACKUP));
    for (unsigned i = 0; i < 2; i++) {
        expect_eq(target(1, &one), S_OK);
        rig_free_lun(&one);
    }
    expect_eq(server.notes, 1);
    expect_str(server.last_note, "Shadow copy set abcd0001-1234-5678-0102-030405060708 was "
                                 "created; it has 2 LUNs");
    end();
}

/* An upgrade of the program asks first. */
static void the_provider_is_busy_from_begin_to_created(void)
{
    VDS_LUN_INFORMATION one;
    for (unsigned steps = 0; steps <= 5; steps++) {
        begin();
        advance(1, steps);
        expect_eq(provider_is_busy(&provider), steps > 0);
        server.now_ms += 3600000;
        expect_eq(provider_is_busy(&provider), steps > 1);
        expect_eq(provider_abort(&provider, set_id(1)), S_OK);
        expect(!provider_is_busy(&provider));
        end();
    }
    begin();
    require(make(1, BACKUP));
    expect_eq(target(1, &one), S_OK);
    rig_free_lun(&one);
    expect(!provider_is_busy(&provider));
    end();
}

static void a_full_pool_has_a_code_of_its_own(void)
{
    begin();
    require(prepare(1, 1, BACKUP) == S_OK);
    server.fail = "/v1/sets";
    server.fail_http = 507;
    server.fail_status = "POOL_FULL";
    expect_eq(provider_end_prepare(&provider, set_id(1)), VSS_E_INSUFFICIENT_STORAGE);
    expect_eq(server.events, 0);
    expect(strstr(server.last_note, "POOL_FULL") && strstr(server.last_note, "What to do: "));
    end();
}

static void a_server_that_is_away_vetoes_at_every_step(void)
{
    for (unsigned steps = 1; steps <= 4; steps++) {
        begin();
        advance(1, steps);
        server.is_away = true;
        HRESULT result = steps == 1   ? provider_end_prepare(&provider, set_id(1))
                         : steps == 2 ? provider_pre_commit(&provider, set_id(1))
                         : steps == 3 ? provider_commit(&provider, set_id(1))
                                      : provider_post_commit(&provider, set_id(1), 1);
        expect_eq(result, VSS_E_PROVIDER_VETO);
        expect_eq(provider_abort(&provider, set_id(1)), S_OK);
        expect_eq(server.events, 1);
        end();
    }
}

static void a_server_that_tells_nonsense_is_refused(void)
{
    VDS_LUN_INFORMATION one;
    begin();
    require(make(1, BACKUP));
    server.is_lying = true;
    expect_eq(target(1, &one), VSS_E_PROVIDER_VETO);
    expect_eq(server.events, 1);
    end();
}

/* I16: NULL, zero and negative counts, for every method. */
static void nonsense_arguments_are_refused(void)
{
    VDS_LUN_INFORMATION lun = rig_disk_lun(1), out = {0};
    BOOL supported = TRUE;
    begin();
    static const LONG counts[] = {0, -1, INT32_MIN};
    for (unsigned i = 0; i < 3; i++) {
        expect_eq(provider_are_luns_supported(&provider, counts[i], 0, NULL, &lun, &supported),
                  E_INVALIDARG);
        expect(!supported);
        expect_eq(provider_begin_prepare(&provider, set_id(1), set_id(2), 0, counts[i], NULL, &lun),
                  E_INVALIDARG);
        expect_eq(provider_get_target_luns(&provider, counts[i], NULL, &lun, &out), E_INVALIDARG);
        expect_eq(provider_locate_luns(&provider, counts[i], &lun), E_INVALIDARG);
    }
    expect_eq(provider_are_luns_supported(&provider, 1, 0, NULL, NULL, &supported), E_INVALIDARG);
    expect_eq(provider_are_luns_supported(&provider, 1, 0, NULL, &lun, NULL), E_INVALIDARG);
    expect_eq(provider_fill_in_lun_info(&provider, NULL, NULL, &supported), E_INVALIDARG);
    expect_eq(provider_fill_in_lun_info(&provider, NULL, &lun, NULL), E_INVALIDARG);
    expect_eq(provider_begin_prepare(&provider, set_id(1), set_id(2), 0, 1, NULL, NULL),
              E_INVALIDARG);
    expect_eq(provider_get_target_luns(&provider, 1, NULL, NULL, &out), E_INVALIDARG);
    expect_eq(provider_get_target_luns(&provider, 1, NULL, &lun, NULL), E_INVALIDARG);
    expect_eq(provider_locate_luns(&provider, 1, NULL), E_INVALIDARG);
    expect_eq(provider_on_lun_empty(&provider, NULL, NULL), E_INVALIDARG);
    expect_eq(provider_on_lun_state_change(&provider, NULL, NULL, 1, 0x800), E_INVALIDARG);
    expect_eq(provider_on_lun_state_change(&provider, &lun, NULL, 0, 0x800), E_INVALIDARG);
    expect_eq(provider_post_commit(&provider, set_id(1), -1), E_INVALIDARG);
    expect_eq(server.requests, 0);
    rig_free_lun(&lun);
    end();
}

static void memory_that_runs_out_leaves_whole_records(void)
{
    for (unsigned k = 1;; k++) {
        VDS_LUN_INFORMATION sources[2], targets[2] = {0};
        begin();
        require(make(1, BACKUP));
        sources[0] = rig_disk_lun(1);
        sources[1] = rig_disk_lun(2);
        rig_fail_allocation(k);
        HRESULT result = provider_get_target_luns(&provider, 2, NULL, sources, targets);
        rig_fail_allocation(0);
        expect(result == S_OK || result == E_OUTOFMEMORY);
        for (unsigned i = 0; i < 2; i++) {
            expect(rig_is_whole(&targets[i]) &&
                   (result == S_OK) == (targets[i].m_szSerialNumber != NULL));
            rig_free_lun(&targets[i]);
            rig_free_lun(&sources[i]);
        }
        end();
        if (result == S_OK) break;
        require(k < 100);
    }
}

/* ---- AreLunsSupported ------------------------------------------------------------------------ */

static void only_what_can_be_done_now_is_supported(void)
{
    begin();
    expect(supports(rig_disk_lun(1), BACKUP));
    expect(supports(rig_disk_lun(1), VSS_VOLSNAP_ATTR_DIFFERENTIAL));
    expect(supports(rig_disk_lun(1), VSS_VOLSNAP_ATTR_PLEX));
    expect(!supports(rig_disk_lun(1), VSS_VOLSNAP_ATTR_CLIENT_ACCESSIBLE));
    expect(!supports(rig_disk_lun(1), VSS_VOLSNAP_ATTR_DIFFERENTIAL | VSS_VOLSNAP_ATTR_PLEX));
    server.host_disks = 1;
    expect(!supports(rig_disk_lun(1), BACKUP)); /* not served to this host */
    server.host_disks = FAKE_DISKS;
    server.session_count = 0; /* Windows could not see the copy */
    expect(!supports(rig_disk_lun(1), BACKUP));
    expect(supports(rig_disk_lun(1), VSS_VOLSNAP_ATTR_TRANSPORTABLE));
    expect_eq(server.events, 0);
    end();
}

static void a_foreign_lun_costs_no_network(void)
{
    begin();
    expect(!supports(rig_foreign_lun(), BACKUP));
    expect_eq(server.requests, 0);
    end();
}

static void a_server_that_is_away_is_asked_once_in_ten_seconds(void)
{
    begin();
    server.is_away = true;
    expect(!supports(rig_disk_lun(1), BACKUP));
    expect_eq(server.requests, 1);
    server.is_away = false;
    server.now_ms += PROVIDER_AWAY_MS - 1;
    expect(!supports(rig_disk_lun(1), BACKUP));
    expect_eq(server.requests, 1);
    server.now_ms += 1;
    expect(supports(rig_disk_lun(1), BACKUP));
    end();
}

static void one_lun_seen_as_two_disks_is_not_supported(void)
{
    VDS_LUN_INFORMATION luns[2] = {rig_disk_lun(1), rig_disk_lun(1)};
    BOOL supported = TRUE;
    begin();
    expect_eq(provider_are_luns_supported(&provider, 2, 0, NULL, luns, &supported), S_OK);
    expect(!supported);
    rig_free_lun(&luns[0]);
    rig_free_lun(&luns[1]);
    end();
}

/* ---- FillInLunInfo, LocateLuns, OnLunEmpty, OnLunStateChange --------------------------------- */

/* I10 */
static void filling_in_changes_ours_and_leaves_others_alone(void)
{
    VDS_LUN_INFORMATION ours = rig_disk_lun(1), foreign = rig_foreign_lun(),
                        before = rig_copy_lun(&foreign);
    BOOL supported;
    begin();
    server.is_away = true; /* it needs nobody */
    expect_eq(provider_fill_in_lun_info(&provider, NULL, &ours, &supported), S_OK);
    expect(supported);
    expect_str(ours.m_szVendorId, "TARN");
    expect_str(ours.m_szProductId, "VIRTUAL DISK");
    expect_eq(ours.m_cInterconnects, 1);
    expect(memcmp(ours.m_rgInterconnects[0].m_pbAddress, "10.0.0.1", 8) == 0);
    expect_eq(provider_fill_in_lun_info(&provider, NULL, &foreign, &supported), S_OK);
    expect(!supported && rig_same_lun(&foreign, &before));
    expect_eq(server.requests, 0);
    rig_free_lun(&ours);
    rig_free_lun(&foreign);
    rig_free_lun(&before);
    end();
}

/* I11, I12, I13: by a process that never saw the set. */
static void targets_are_imported_masked_and_deleted_by_any_process(void)
{
    VDS_LUN_INFORMATION one;
    begin();
    require(make(1, BACKUP) && target(1, &one) == S_OK);
    restart();
    expect_eq(provider_locate_luns(&provider, 1, &one), S_OK);
    expect_eq(provider_locate_luns(&provider, 1, &one), S_OK);
    expect_eq(map_count(), 2); /* a set is imported as one */
    expect_eq(
        provider_on_lun_state_change(&provider, &one, NULL, 1, VSS_ONLUNSTATECHANGE_DO_MASK_LUNS),
        S_OK);
    expect_eq(map_count(), 0);
    expect_eq(fake_snapshot_count(&server), 2);
    expect_eq(
        provider_on_lun_state_change(&provider, &one, NULL, 1, VSS_ONLUNSTATECHANGE_DO_MASK_LUNS),
        S_OK);
    expect_eq(provider_locate_luns(&provider, 1, &one), S_OK);
    restart();
    expect_eq(provider_on_lun_empty(&provider, NULL, &one), S_OK);
    expect_eq(map_count(), 1);
    expect_eq(fake_snapshot_count(&server), 1); /* exactly this one */
    expect_eq(provider_on_lun_empty(&provider, NULL, &one), S_OK);
    expect_eq(fake_snapshot_count(&server), 1);
    expect_eq(server.events, 0);
    expect_eq(provider_locate_luns(&provider, 1, &one), VSS_E_PROVIDER_VETO);
    expect_eq(server.events, 1);
    rig_free_lun(&one);
    end();
}

static void a_foreign_lun_is_never_deleted_or_masked(void)
{
    VDS_LUN_INFORMATION foreign = rig_foreign_lun();
    begin();
    expect_eq(provider_on_lun_empty(&provider, NULL, &foreign), S_OK);
    expect_eq(provider_on_lun_state_change(&provider, &foreign, NULL, 1,
                                           VSS_ONLUNSTATECHANGE_DO_MASK_LUNS),
              S_OK);
    expect_eq(server.requests, 0);
    expect_eq(provider_locate_luns(&provider, 1, &foreign), VSS_E_PROVIDER_VETO);
    rig_free_lun(&foreign);
    end();
}

static void read_write_breaks_the_set_and_recovery_does_nothing(void)
{
    VDS_LUN_INFORMATION one;
    begin();
    require(make(1, BACKUP) && target(1, &one) == S_OK);
    unsigned before = server.requests;
    expect_eq(provider_on_lun_state_change(&provider, &one, NULL, 1,
                                           VSS_ONLUNSTATECHANGE_NOTIFY_LUN_PRE_RECOVERY),
              S_OK);
    expect_eq(provider_on_lun_state_change(&provider, &one, NULL, 1,
                                           VSS_ONLUNSTATECHANGE_NOTIFY_LUN_POST_RECOVERY),
              S_OK);
    expect_eq(server.requests, before);
    expect_eq(provider_on_lun_state_change(&provider, &one, NULL, 1,
                                           VSS_ONLUNSTATECHANGE_NOTIFY_READ_WRITE),
              S_OK);
    expect_str(state_of(1), "breaking");
    expect_eq(provider_on_lun_state_change(&provider, &one, NULL, 1,
                                           VSS_ONLUNSTATECHANGE_NOTIFY_READ_WRITE),
              S_OK);
    rig_free_lun(&one);
    end();
}

/* ---- Random orders --------------------------------------------------------------------------- */

static bool is_allowed(HRESULT result)
{
    return result == S_OK || result == VSS_E_PROVIDER_VETO || result == VSS_E_OBJECT_NOT_FOUND;
}

static void any_order_of_calls_keeps_codes_and_accounts(void)
{
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct prng prng;
        begin();
        prng_init(&prng, seed);
        for (unsigned i = 0; i < 60 && server.set_count < FAKE_SETS - 1; i++) {
            unsigned set = 1 + (unsigned)prng_below(&prng, 2), events = server.events;
            HRESULT result = S_OK;
            VDS_LUN_INFORMATION out = {0};
            server.is_away = prng_chance(&prng, 1, 20);
            switch (prng_below(&prng, 9)) {
            case 0:
            case 1:
                result = prepare(set, (unsigned)prng_below(&prng, FAKE_DISKS), BACKUP);
                break;
            case 2:
                result = provider_end_prepare(&provider, set_id(set));
                break;
            case 3:
                result = provider_pre_commit(&provider, set_id(set));
                break;
            case 4:
                result = provider_commit(&provider, set_id(set));
                break;
            case 5:
                result = provider_post_commit(&provider, set_id(set), 1);
                break;
            case 6:
                result = target((unsigned)prng_below(&prng, FAKE_DISKS), &out);
                rig_free_lun(&out);
                break;
            case 7:
                result = prng_chance(&prng, 1, 2)
                             ? provider_abort(&provider, set_id(set))
                             : provider_post_final_commit(&provider, set_id(set));
                break;
            default:
                restart();
            }
            expect(is_allowed(result));
            if (provider.is_frozen) expect_eq(server.events, events);
        }
        server.is_away = false;
        end();
        if (tap_failed) printf("# seed %llu\n", (unsigned long long)seed);
        require(!tap_failed);
    }
}

int main(void)
{
    run(a_set_of_two_volumes_is_made_and_told);
    run(finals_may_come_before_the_targets);
    run(targets_are_the_same_each_time_and_in_another_process);
    run(a_new_process_takes_the_newest_set_of_the_disk);
    run(an_older_set_is_never_given_out_for_a_new_one);
    run(two_volumes_on_one_lun_are_one_snapshot);
    run(the_context_decides_what_the_server_is_told);
    run(sixty_four_volumes_and_no_more);
    run(an_abort_at_every_step_leaves_nothing);
    run(an_abort_by_a_new_process_leaves_nothing);
    run(an_abort_after_the_identities_are_out_changes_nothing);
    run(an_abort_of_another_set_is_not_one_of_ours);
    run(another_set_gives_up_the_one_before);
    run(an_unloaded_provider_leaves_nothing_half_made);
    run(an_unloaded_provider_keeps_what_was_confirmed);
    run(an_abort_beside_pre_commit_writes_no_event);
    run(an_abort_ends_a_prepare_that_is_under_way);
    run(calls_out_of_order_are_refused_and_change_nothing);
    run(a_veto_in_the_freeze_is_told_after_it);
    run(a_veto_in_the_freeze_is_told_after_an_abort_too);
    run(a_refusal_of_the_server_is_an_event_with_cause_and_remedy);
    run(a_warning_in_the_freeze_gives_way_to_a_veto);
    run(a_warning_is_told_once_in_a_while);
    run(the_provider_is_busy_from_begin_to_created);
    run(a_set_is_told_when_it_is_created_once);
    run(a_full_pool_has_a_code_of_its_own);
    run(a_server_that_is_away_vetoes_at_every_step);
    run(a_server_that_tells_nonsense_is_refused);
    run(nonsense_arguments_are_refused);
    run(memory_that_runs_out_leaves_whole_records);
    run(only_what_can_be_done_now_is_supported);
    run(a_foreign_lun_costs_no_network);
    run(a_server_that_is_away_is_asked_once_in_ten_seconds);
    run(one_lun_seen_as_two_disks_is_not_supported);
    run(filling_in_changes_ours_and_leaves_others_alone);
    run(targets_are_imported_masked_and_deleted_by_any_process);
    run(a_foreign_lun_is_never_deleted_or_masked);
    run(read_write_breaks_the_set_and_recovery_does_nothing);
    run(any_order_of_calls_keeps_codes_and_accounts);
    return tap_done();
}
