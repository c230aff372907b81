/* open.c - the set in the making, between the calls: its lease is renewed, and a process that was
 * started since finds it on the server again. */
#include <stdio.h>

#include "windows/provider/core/provider_int.h"

/* ---- The lease ------------------------------------------------------------------------------- */

/* Not while it is armed: that lasts ten seconds, and Windows may hold all writes meanwhile. */
static bool wants_renewal(const struct provider_set *set)
{
    return set->was_sent && (set->state == SET_PREPARED || set->state == SET_CONFIRMED);
}

/* VSS does not tell that it gives a set up, nor that it died: what is an hour old is left to its
 * lease. */
static bool is_young(const struct provider_set *set, uint64_t now_ms)
{
    return now_ms < set->begun_ms + 3600000;
}

void provider_renew(struct provider *p)
{
    char id[PROVIDER_ID_TEXT];
    struct api_reply reply;
    uint64_t now_ms = p->os->now_ms(p->os);
    lock(p);
    bool wanted = wants_renewal(&p->set) && !p->is_frozen && is_young(&p->set, now_ms);
    memcpy(id, p->set.id, sizeof id);
    unlock(p);
    if (!wanted) return;
    /* No answer: there is time for two more tries, and the call that comes next tells what is. */
    ask(p, "POST", ASK_MS, &reply, "/v1/sets", id, "renew");
    api_reply_fini(&reply);
}

/* ---- A process that was started since -------------------------------------------------------- */

static const struct {
    const char *name;
    enum set_state state;
} states[] = {
    {"prepared", SET_PREPARED},
    {"armed", SET_PREPARED}, /* it is armed again: the channel of the other process is gone */
    {"committed", SET_COMMITTED},
    {"confirmed", SET_CONFIRMED},
};

static bool is_free(const struct provider_set *set)
{
    return set->state == SET_IDLE || set->state == SET_CREATED;
}

/* Only one of this host that is still being made; else nothing changes. */
static bool read_set(struct provider *p, struct json set, const char *id,
                     struct provider_set *ret_set)
{
    char state[16], host[sizeof p->config->host];
    struct targets *targets;
    bool ok = false;
    if (!json_text_member(set, "state", state, sizeof state) ||
        !json_text_member(set, "host", host, sizeof host) || strcmp(host, p->config->host) != 0)
        return false;
    if (!(targets = calloc(1, sizeof *targets))) return false;
    for (unsigned i = 0; !ok && i < sizeof states / sizeof *states; i++) {
        if (strcmp(states[i].name, state) != 0 || !targets_read(set, targets)) continue;
        ret_set->state = states[i].state;
        ret_set->was_sent = ok = true;
        ret_set->member_count = targets->count;
        memcpy(ret_set->members, targets->members, sizeof ret_set->members);
        snprintf(ret_set->id, sizeof ret_set->id, "%s", id);
    }
    free(targets);
    return ok;
}

void provider_find_open(struct provider *p, const char *id)
{
    struct api_reply reply;
    struct provider_set *found;
    lock(p);
    bool is_idle = is_free(&p->set);
    unsigned number = p->set_number;
    unlock(p);
    if (!is_idle || !(found = calloc(1, sizeof *found))) return;
    ask(p, "GET", ASK_SHORT_MS, &reply, "/v1/sets", id, NULL);
    if (api_is_ok(&reply) && read_set(p, reply.value, id, found)) {
        found->begun_ms = p->os->now_ms(p->os);
        lock(p);
        if (p->set_number == number && is_free(&p->set)) p->set = *found;
        unlock(p);
    }
    api_reply_fini(&reply);
    free(found);
}
