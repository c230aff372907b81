/* Two threads at the begin of the freeze: whatever comes between, no event is told while Windows holds
 * writes, which is from the end of PreCommitSnapshots on. */
#include "tests/unit/provider_calls.h"

static unsigned skipped; /* chances that the other thread lets go by before it takes one */

static bool is_due(struct fake_server *s)
{
    if (skipped > 0) {
        skipped--;
        return false;
    }
    s->beside = NULL;
    return true;
}

/* ---- An event of one thread, PreCommitSnapshots of another ----------------------------------- */

static void freeze_beside(struct fake_server *s)
{
    if (!is_due(s)) return;
    s->is_held = provider_pre_commit(&provider, set_id(1)) == S_OK;
    expect(s->is_held);
}

/* At each moment of a call that brings a warning. */
static void an_event_that_was_decided_on_before_the_freeze_is_not_told_in_it(void)
{
    unsigned told = 0, kept = 0, chances = 0;
    for (bool came = true; came; chances++) {
        begin();
        advance(1, 2);
        server.session_count = 0; /* a warning */
        skipped = chances;
        server.beside = freeze_beside;
        expect(!supports(rig_disk_lun(1), BACKUP));
        came = !server.beside;
        expect_eq(server.held_events, 0);
        if (came && server.notes) told++;
        if (came && !server.notes) kept++;
        server.beside = NULL;
        server.is_held = false;
        expect_eq(provider_abort(&provider, set_id(1)), S_OK);
        expect_eq(server.notes, 1); /* it is not lost */
        end();
        require(chances < 100);
    }
    expect(told > 0 && kept > 0);
}

/* ---- What waited for the end of one freeze, and the begin of the next ------------------------ */

static void next_freeze_beside(struct fake_server *s)
{
    if (provider.has_held_event || !is_due(s)) return;
    advance(2, 3);
    s->is_held = provider.set.state == SET_ARMED;
}

static void what_waited_is_not_told_in_the_next_freeze(void)
{
    unsigned chances = 0;
    for (bool came = true; came; chances++) {
        begin();
        advance(1, 3);
        server.is_away = true;
        expect_eq(provider_commit(&provider, set_id(1)), VSS_E_PROVIDER_VETO);
        server.is_away = false;
        expect(provider.has_held_event);
        skipped = chances;
        server.beside = next_freeze_beside;
        expect_eq(provider_abort(&provider, set_id(1)), S_OK);
        came = !server.beside;
        expect(!came || server.is_held);
        expect_eq(server.held_events, 0);
        expect_eq(server.events, 1);
        server.beside = NULL;
        end();
        require(chances < 100);
    }
    expect(chances > 1);
}

/* ---- An abort just before the freeze --------------------------------------------------------- */

static void abort_before(struct fake_server *s)
{
    if (is_due(s)) expect_eq(provider_abort(&provider, set_id(1)), S_OK);
}

/* Nobody would end that freeze: the set is gone, and the lease of the next one would not be renewed. */
static void a_set_that_was_aborted_meanwhile_freezes_nothing(void)
{
    unsigned chances = 0;
    for (bool came = true; came; chances++) {
        begin();
        advance(1, 2);
        skipped = chances;
        server.beside = abort_before;
        HRESULT result = provider_pre_commit(&provider, set_id(1));
        came = !server.beside;
        server.beside = NULL;
        expect(!came || !provider.is_frozen);
        expect(came ? result == VSS_E_OBJECT_NOT_FOUND || result == S_OK : result == S_OK);
        expect(!came || fake_snapshot_count(&server) == 0);
        expect_eq(server.events, 0);
        end();
        require(chances < 100);
    }
    expect(chances > 2);
}

int main(void)
{
    run(an_event_that_was_decided_on_before_the_freeze_is_not_told_in_it);
    run(what_waited_is_not_told_in_the_next_freeze);
    run(a_set_that_was_aborted_meanwhile_freezes_nothing);
    return tap_done();
}
