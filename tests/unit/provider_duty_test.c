/* What the provider owes VSS besides the order of calls: open sets live, contexts and flags in every
 * combination, answers that hold.  T and I numbers: doc/design/0080-windows-provider.md. */
#include "tests/unit/provider_calls.h"

/* ---- Between the calls ------------------------------------------------------------------------ */

/* From EndPrepare until the identities are out; not while it is armed, when writes may be held. */
static void the_lease_is_renewed_while_a_set_is_open(void)
{
    static const unsigned renewed[] = {0, 0, 1, 0, 0, 1};
    VDS_LUN_INFORMATION one;
    for (unsigned steps = 0; steps <= 5; steps++) {
        begin();
        advance(1, steps);
        expect_eq(provider_is_busy(&provider), steps > 0);
        unsigned before = server.requests;
        provider_renew(&provider);
        expect_eq(server.renewals, renewed[steps]);
        expect_eq(server.requests, before + renewed[steps]);
        end();
    }
    begin();
    require(make(1, BACKUP) && target(1, &one) == S_OK);
    rig_free_lun(&one);
    provider_renew(&provider);
    expect_eq(server.renewals, 0);
    expect(!provider_is_busy(&provider));
    end();
}

static void a_set_that_nobody_goes_on_with_is_left_to_its_lease(void)
{
    begin();
    advance(1, 2);
    server.now_ms += 3599999;
    provider_renew(&provider);
    expect_eq(server.renewals, 1);
    server.now_ms += 1;
    provider_renew(&provider);
    expect_eq(server.renewals, 1);
    end();
}

static void a_renewal_that_fails_is_no_event_and_changes_nothing(void)
{
    begin();
    advance(1, 2);
    server.is_away = true;
    provider_renew(&provider);
    expect_eq(server.events, 0);
    server.is_away = false;
    expect_eq(provider_pre_commit(&provider, set_id(1)), S_OK);
    end();
}

static void a_new_process_takes_up_the_set_that_is_being_made(void)
{
    VDS_LUN_INFORMATION one;
    begin();
    advance(1, 2);
    restart();
    expect_eq(provider_pre_commit(&provider, set_id(1)), S_OK);
    provider_renew(&provider);
    expect_eq(provider_commit(&provider, set_id(1)), S_OK);
    restart(); /* and another after the cut */
    expect_eq(provider_post_commit(&provider, set_id(1), 1), S_OK);
    expect_eq(target(1, &one), S_OK);
    expect_str(state_of(1), "created");
    rig_free_lun(&one);
    end();
}

static void a_new_process_takes_up_no_set_of_another_host_and_none_that_is_over(void)
{
    begin();
    advance(1, 2);
    restart();
    struct provider_config other = {.host = "sql 2"};
    provider.config = &other;
    expect_eq(provider_pre_commit(&provider, set_id(1)), VSS_E_OBJECT_NOT_FOUND);
    restart();
    expect_eq(provider_abort(&provider, set_id(1)), S_OK);
    expect_eq(provider_pre_commit(&provider, set_id(1)), VSS_E_OBJECT_NOT_FOUND);
    expect_eq(provider_post_commit(&provider, set_id(7), 1), VSS_E_OBJECT_NOT_FOUND);
    expect_eq(server.events, 0);
    end();
}

/* In the freeze nobody is asked anything: a process that was started then has no channel. */
static void a_new_process_does_not_commit(void)
{
    begin();
    advance(1, 3);
    restart();
    unsigned before = server.requests;
    expect_eq(provider_commit(&provider, set_id(1)), VSS_E_OBJECT_NOT_FOUND);
    expect_eq(server.requests, before);
    end();
}

/* ---- What can be made ------------------------------------------------------------------------- */

/* I4: what is answered TRUE can be made. */
static void a_full_pool_supports_nothing_and_says_so_once(void)
{
    begin();
    server.has_no_room_for_copies = true;
    expect(supports(rig_disk_lun(1), BACKUP));
    expect(!supports(rig_disk_lun(1), VSS_VOLSNAP_ATTR_PLEX));
    server.is_full = true;
    expect(!supports(rig_disk_lun(1), BACKUP));
    expect_eq(server.events, 0);
    expect_eq(server.notes, 1);
    expect_eq(server.set_count, 0);
    end();
}

static void time_passes(struct fake_server *s, const struct api_request *request)
{
    s->now_ms += 1500;
    s->asked_ms += request->timeout_ms;
}

/* Every requester asks for every volume. */
static void all_questions_together_take_two_seconds_at_most(void)
{
    begin();
    server.before = time_passes;
    (void)supports(rig_disk_lun(1), BACKUP);
    expect(server.asked_ms <= 2000 + 500 + 100);
    end();
}

/* ---- Flags, contexts, volumes ----------------------------------------------------------------- */

/* Every combination of flags, twice: once or again makes no difference. */
static void any_flags_of_a_state_change_can_come_again(void)
{
    static const DWORD all[] = {
        VSS_ONLUNSTATECHANGE_NOTIFY_READ_WRITE, VSS_ONLUNSTATECHANGE_NOTIFY_LUN_PRE_RECOVERY,
        VSS_ONLUNSTATECHANGE_NOTIFY_LUN_POST_RECOVERY, VSS_ONLUNSTATECHANGE_DO_MASK_LUNS};
    for (unsigned mask = 0; mask < 16; mask++) {
        VDS_LUN_INFORMATION one;
        DWORD flags = 0;
        for (unsigned i = 0; i < 4; i++)
            if (mask & 1U << i) flags |= all[i];
        bool is_broken = flags & VSS_ONLUNSTATECHANGE_NOTIFY_READ_WRITE;
        bool is_masked = flags & VSS_ONLUNSTATECHANGE_DO_MASK_LUNS;
        begin();
        require(make(1, BACKUP) && target(1, &one) == S_OK);
        require(provider_locate_luns(&provider, 1, &one) == S_OK);
        for (unsigned again = 0; again < 2; again++) {
            expect_eq(provider_on_lun_state_change(&provider, &one, NULL, 1, flags), S_OK);
            expect_str(state_of(1), is_broken ? "breaking" : "created");
            expect_eq(map_count(), is_masked ? 0 : 2);
            restart();
        }
        expect_eq(fake_snapshot_count(&server), 2);
        expect_eq(server.events, 0);
        rig_free_lun(&one);
        end();
        require(!tap_failed);
    }
}

/* T2, T10: nothing changes by it, however often. */
static void loading_and_unloading_leaves_what_is_complete(void)
{
    VDS_LUN_INFORMATION one;
    begin();
    require(make(1, BACKUP) && target(1, &one) == S_OK);
    require(provider_locate_luns(&provider, 1, &one) == S_OK);
    for (unsigned i = 0; i < 1000; i++)
        provider_unload(&provider);
    expect_str(state_of(1), "created");
    expect_eq(map_count(), 2);
    rig_free_lun(&one);
    end();
}

/* T4: six contexts by four attributes by transportable or not. */
static void every_context_is_answered_and_what_is_supported_is_made(void)
{
    static const LONG contexts[] = {0x0, 0x10, 0x9, 0x19, 0x1D, 0xD};
    static const LONG kinds[] = {0, VSS_VOLSNAP_ATTR_DIFFERENTIAL, VSS_VOLSNAP_ATTR_PLEX,
                                 VSS_VOLSNAP_ATTR_DIFFERENTIAL | VSS_VOLSNAP_ATTR_PLEX};
    for (unsigned i = 0; i < 48; i++) {
        LONG context = contexts[i / 8] | kinds[i / 2 % 4] | (i % 2 ? 0x20 : 0);
        bool is_fine = i / 2 % 4 != 3 && !(context & VSS_VOLSNAP_ATTR_CLIENT_ACCESSIBLE);
        begin();
        expect_eq(supports(rig_disk_lun(1), context), is_fine);
        if (is_fine)
            expect(make(1, context));
        else
            expect_eq(prepare(1, 1, context), VSS_E_UNSUPPORTED_CONTEXT);
        if (is_fine)
            expect_eq(fake_find_set(&server, set_text(1))->is_full,
                      (context & VSS_VOLSNAP_ATTR_PLEX) != 0);
        end();
        require(!tap_failed);
    }
}

/* T5: a volume over several LUNs is all or nothing. */
static void a_volume_with_a_foreign_lun_is_not_taken_in_part(void)
{
    VDS_LUN_INFORMATION luns[3] = {rig_disk_lun(1), rig_disk_lun(2), rig_foreign_lun()};
    BOOL supported = TRUE;
    begin();
    expect_eq(provider_are_luns_supported(&provider, 3, BACKUP, NULL, luns, &supported), S_OK);
    expect(!supported);
    expect_eq(provider_begin_prepare(&provider, set_id(1), set_id(2), BACKUP, 3, NULL, luns),
              VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER);
    expect_eq(provider.set.member_count, 0);
    expect_eq(provider_begin_prepare(&provider, set_id(1), set_id(2), BACKUP, 2, NULL, luns), S_OK);
    expect_eq(provider_end_prepare(&provider, set_id(1)), S_OK);
    expect_eq(fake_find_set(&server, set_text(1))->disk_count, 2);
    for (unsigned i = 0; i < 3; i++)
        rig_free_lun(&luns[i]);
    end();
}

int main(void)
{
    run(the_lease_is_renewed_while_a_set_is_open);
    run(a_set_that_nobody_goes_on_with_is_left_to_its_lease);
    run(a_renewal_that_fails_is_no_event_and_changes_nothing);
    run(a_new_process_takes_up_the_set_that_is_being_made);
    run(a_new_process_takes_up_no_set_of_another_host_and_none_that_is_over);
    run(a_new_process_does_not_commit);
    run(a_full_pool_supports_nothing_and_says_so_once);
    run(all_questions_together_take_two_seconds_at_most);
    run(any_flags_of_a_state_change_can_come_again);
    run(loading_and_unloading_leaves_what_is_complete);
    run(every_context_is_answered_and_what_is_supported_is_made);
    run(a_volume_with_a_foreign_lun_is_not_taken_in_part);
    return tap_done();
}
