/* checks_server.c - what the doctor asks the server, and holds against this machine. */
#include <string.h>

#include "windows/provider/ops/doctor_int.h"

enum { SKEW_MAX_S = 60, LUN_NUMBERS_LOW = 64, PATCH_PARTS = 2 };

/* true: nothing can be said without an answer, and that is the finding. */
static bool is_mute(const struct api_reply *reply, struct doctor_finding *f, const char *what)
{
    if (api_is_ok(reply)) return false;
    found(f, DOCTOR_UNKNOWN, "see what the doctor says of enrolment and server",
          "%s cannot be told without the server", what);
    return true;
}

void check_enrolment(struct doctor *d, struct doctor_finding *f)
{
    if (d->os->host)
        found_ok(f, "this host is enrolled as \"%s\"", d->os->host);
    else
        found(f, DOCTOR_WRONG,
              "have a code made on the server (tarn host enrol HOST), and redeem it here: tarn-vss "
              "enrol CODE",
              "this host is not enrolled with a server, or its credential cannot be read");
}

void check_server(struct doctor *d, struct doctor_finding *f)
{
    struct api_error e;
    char name[128] = "";
    if (!d->os->host) {
        found(f, DOCTOR_UNKNOWN, "enrol this host first", "there is no server to ask");
    } else if (api_is_ok(&d->server) && api_is_ok(&d->host)) {
        json_text_member(d->server.value, "name", name, sizeof name);
        found_ok(f, "the server \"%s\" answers, and takes this host's credential", name);
    } else {
        const struct api_reply *refusal = api_is_ok(&d->server) ? &d->host : &d->server;
        api_error_read(refusal, &e);
        found(f, DOCTOR_WRONG,
              e.next[0] ? e.next
                        : "see that tarnd runs, that its API can be reached from here (firewall), "
                          "and that this host's credential was not revoked: tarn credential list",
              "%s", e.message);
    }
}

/* Major and minor number. */
static size_t significant(const char *version)
{
    const char *end = version;
    for (unsigned dots = 0; *end; end++)
        if (*end == '.' && ++dots == PATCH_PARTS) break;
    return (size_t)(end - version);
}

void check_version(struct doctor *d, struct doctor_finding *f)
{
    char version[64];
    if (is_mute(&d->server, f, "the server's version")) return;
    if (!json_text_member(d->server.value, "version", version, sizeof version)) {
        found(f, DOCTOR_UNKNOWN, "", "the server does not tell its version");
        return;
    }
    size_t size = significant(version);
    if (size == significant(d->os->version) && strncmp(version, d->os->version, size) == 0)
        found_ok(f, "provider %s and server %s go together", d->os->version, version);
    else
        found(f, DOCTOR_WARNING, "bring both to the same version, the server first",
              "the provider is version %s and the server %s", d->os->version, version);
}

/* Requests are signed without a clock; but people compare logs, and retention is by the server's. */
void check_clock(struct doctor *d, struct doctor_finding *f)
{
    struct json value;
    uint64_t server_ns, here_ns = d->os->wall_ns(d->os);
    if (is_mute(&d->server, f, "the server's clock")) return;
    if (!json_member(d->server.value, "now_wall_ns", &value) || !json_u64(value, &server_ns)) {
        found(f, DOCTOR_UNKNOWN, "", "the server does not tell its time");
        return;
    }
    uint64_t skew_s =
        (here_ns > server_ns ? here_ns - server_ns : server_ns - here_ns) / 1000000000u;
    if (skew_s <= SKEW_MAX_S)
        found_ok(f, "the clocks of host and server agree within %llu s",
                 (unsigned long long)skew_s + 1);
    else
        found(f, DOCTOR_WARNING, "let both follow the same time server; here: w32tm /resync",
              "the clock of this host is %llu s %s the server's", (unsigned long long)skew_s,
              here_ns > server_ns ? "ahead of" : "behind");
}

void check_initiator_name(struct doctor *d, struct doctor_finding *f)
{
    char name[256], known[256];
    struct json names, item;
    if (is_mute(&d->host, f, "whether the server knows this initiator")) return;
    if (!d->os->initiator_name(d->os, name, sizeof name)) {
        found(f, DOCTOR_UNKNOWN, "compare by hand: iscsicli, and tarn host show on the server",
              "the iSCSI Initiator does not tell its name");
        return;
    }
    if (json_member(d->host.value, "initiators", &names))
        for (size_t at = 0; json_next(names, &at, &item);)
            if (json_text(item, known, sizeof known) && strcmp(known, name) == 0) {
                found_ok(f, "the server knows this initiator: %s", name);
                return;
            }
    found(f, DOCTOR_WRONG,
          "enrol with a code for the host of this machine, or register it with this initiator's "
          "name: tarn host create",
          "host \"%s\" on the server has another initiator than this machine's %s", d->os->host,
          name);
}

void check_sessions(struct doctor *d, struct doctor_finding *f)
{
    struct json value;
    uint64_t count = 0;
    unsigned persistent;
    if (is_mute(&d->host, f, "the iSCSI sessions")) return;
    if (json_member(d->host.value, "session_count", &value)) json_u64(value, &count);
    if (count == 0)
        found(f, DOCTOR_WRONG,
              "log in: iscsicpl, or Connect-IscsiTarget -IsPersistent $true; is it the right host? "
              "tarn-vss status",
              "the server has no iSCSI session of this host: no LUN can appear here");
    else if (d->os->persistent_login_count(d->os, &persistent) && persistent == 0)
        found(f, DOCTOR_WARNING,
              "Get-IscsiSession | Register-IscsiSession, so that disks and persistent shadow "
              "copies come back",
              "the iSCSI session will not come back after a restart of Windows");
    else
        found_ok(f, "the server has %llu iSCSI session%s of this host", (unsigned long long)count,
                 count == 1 ? "" : "s");
}

void check_lun_numbers(struct doctor *d, struct doctor_finding *f)
{
    struct json value;
    uint64_t left;
    const char *remedy = "delete or mask shadow copies that nobody needs: tarn map list on the "
                         "server; a number rests for ten minutes";
    if (is_mute(&d->host, f, "the number of free LUN numbers")) return;
    if (!json_member(d->host.value, "free_lun_count", &value) || !json_u64(value, &left))
        found(f, DOCTOR_UNKNOWN, "", "the server does not tell how many LUN numbers are free");
    else if (left == 0)
        found(f, DOCTOR_WRONG, remedy, "no LUN number is free for this host");
    else if (left < LUN_NUMBERS_LOW)
        found(f, DOCTOR_WARNING, remedy,
              "%llu LUN numbers are free for this host: fewer than the largest shadow copy set has",
              (unsigned long long)left);
    else
        found_ok(f, "%llu LUN numbers are free for this host", (unsigned long long)left);
}

void check_pools(struct doctor *d, struct doctor_finding *f)
{
    struct json pools, pool, flag;
    char name[128];
    unsigned count = 0;
    bool is_low = false;
    const char *remedy =
        "delete snapshots that nobody needs, or make the pool larger: tarn pool list on the server";
    if (is_mute(&d->host, f, "the space on the server")) return;
    if (!json_member(d->host.value, "pools", &pools)) {
        found(f, DOCTOR_UNKNOWN, "", "the server does not tell how full its pools are");
        return;
    }
    for (size_t at = 0; json_next(pools, &at, &pool); count++) {
        if (!json_text_member(pool, "name", name, sizeof name) ||
            !json_member(pool, "is_nearly_full", &flag) || !json_bool(flag, &is_low) || !is_low)
            continue;
        found(f, DOCTOR_WARNING, remedy,
              "pool \"%s\" is nearly full: shadow copies will be refused, then writes", name);
        return;
    }
    if (count == 0)
        found(f, DOCTOR_WARNING, "serve one: tarn map add on the server",
              "the server serves no disk to this host");
    else
        found_ok(f, "no pool with disks of this host is nearly full");
}
