/* Strangers: how many there may be, how long they may stay, how much they may have us write. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "iscsi/iscsi_int.h"
#include "tests/lib/tap.h"
#include "tests/unit/iscsi_rig.h"

#define IDENTITY "InitiatorName=" RIG_ONE "\nTargetName=" RIG_TARGET "\nSessionType=Normal\n"

static void close_all(struct wire **wires, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (wires[i]) wire_close(wires[i]);
    }
}

static void connections_that_do_not_log_in_are_few_and_leave_room_again(void)
{
    struct rig rig;
    struct wire *wires[STRANGERS_PER_ADDRESS_MAX], *sessions[4];
    rig_init(&rig, 0);
    for (unsigned i = 0; i < countof(sessions); i++) /* who has logged in does not count */
        sessions[i] = wire_login_isid(&rig, RIG_ONE, NULL, (uint8_t)(10 + i));
    for (unsigned i = 0; i < countof(wires); i++)
        wires[i] = wire_connect(&rig);
    struct wire *more = wire_connect(&rig);
    expect(wire_is_gone(more));
    wire_close(more);
    expect(!wire_is_gone_within(wires[0], 10));
    expect_eq(wire_is_gone_within(sessions[0], 0), false);
    expect(wire_is_gone_within(wires[0], 6)); /* login took too long */
    more = wire_connect(&rig);
    require(wire_login_step(more, 0x87, IDENTITY));
    expect_eq(more->login_status, 0);
    wire_close(more);
    close_all(wires, countof(wires));
    close_all(sessions, countof(sessions));
    rig_fini(&rig);
}

static struct wire *discover(struct rig *rig)
{
    struct wire *w = wire_connect(rig);
    bool good = wire_login_step(w, 0x87, "InitiatorName=" RIG_ONE "\nSessionType=Discovery\n");
    check(good);
    return w;
}

static void a_discovery_session_ends_though_it_answers_pings(void)
{
    struct rig rig;
    struct wire_pdu ping;
    rig_init(&rig, 0);
    struct wire *w = discover(&rig);
    unsigned pings = 0;
    uint64_t began_ns = rt_now(rig.client);
    for (unsigned i = 0; i < 40 && !wire_is_gone_within(w, 0); i++) { /* lively, for ever */
        uint8_t bhs[ISCSI_BHS_BYTES];
        if (!wire_next(w, &ping)) continue;
        expect_eq(ping.opcode & 0x3F, ISCSI_OP_NOP_IN);
        iscsi_pdu_start(bhs, ISCSI_OP_NOP_OUT, 0x80);
        bhs[0] |= 0x40; /* immediate */
        memset(bhs + ISCSI_AT_ITT, 0xFF, 4);
        memcpy(bhs + ISCSI_AT_TTT, ping.bhs + ISCSI_AT_TTT, 4);
        store_be32(bhs + ISCSI_AT_CMDSN, w->cmd_sn);
        wire_send(w, bhs, NULL, 0);
        pings++;
    }
    uint64_t stayed_ns = rt_now(rig.client) - began_ns;
    expect(pings > 0 && pings < 10);
    expect(stayed_ns >= 55 * RT_SECOND && stayed_ns < 90 * RT_SECOND);
    wire_close(w);
    rig_fini(&rig);
}

static void discovery_sessions_are_strangers_too(void)
{
    struct rig rig;
    struct wire *wires[STRANGERS_PER_ADDRESS_MAX];
    rig_init(&rig, 0);
    for (unsigned i = 0; i < countof(wires); i++)
        wires[i] = discover(&rig);
    struct wire *more = wire_connect(&rig);
    expect(wire_is_gone(more));
    wire_close(more);
    wire_close(wires[0]);
    wires[0] = NULL;
    rig_run_ms(&rig, 100);
    more = wire_connect(&rig);
    require(wire_login_step(more, 0x87, IDENTITY));
    wire_close(more);
    close_all(wires, countof(wires));
    rig_fini(&rig);
}

/* Lines on stderr that hold the text while fn runs. */
static unsigned lines_with(const char *text, void (*fn)(struct rig *rig), struct rig *rig)
{
    char line[512];
    unsigned count = 0;
    FILE *file = tmpfile();
    int saved = dup(STDERR_FILENO);
    check(file && saved >= 0 && dup2(fileno(file), STDERR_FILENO) >= 0);
    fn(rig);
    check(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    rewind(file);
    while (fgets(line, sizeof line, file))
        count += strstr(line, text) != NULL;
    fclose(file);
    return count;
}

static void fail_fifty_logins(struct rig *rig)
{
    for (unsigned i = 0; i < 50; i++) {
        struct wire *w = wire_connect(rig);
        expect(wire_login_step(w, 0x87, "InitiatorName=iqn.stranger\nTargetName=" RIG_TARGET "\n"));
        expect_eq(w->login_status, 0x0202);
        wire_close(w);
    }
}

static void fail_one_login(struct rig *rig)
{
    struct wire *w = wire_connect(rig);
    expect(wire_login_step(w, 0x87, "InitiatorName=iqn.stranger\nTargetName=" RIG_TARGET "\n"));
    wire_close(w);
}

static void failed_logins_fill_no_log(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    unsigned lines = lines_with("iscsi", fail_fifty_logins, &rig);
    printf("# %u lines for 50 failed logins\n", lines);
    expect(lines > 0 && lines <= 20);
    rig_run_ms(&rig, 11000);
    expect_eq(lines_with("more connections and logins were refused", fail_one_login, &rig), 1);
    rig_fini(&rig);
}

int main(void)
{
    run(connections_that_do_not_log_in_are_few_and_leave_room_again);
    run(a_discovery_session_ends_though_it_answers_pings);
    run(discovery_sessions_are_strangers_too);
    run(failed_logins_fill_no_log);
    return tap_done();
}
