/* standin_server.c - the Tarn server of standin_world.h: the part of the API that a provider uses. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tests/unit/fake_api.h"
#include "tests/unit/standin_world.h"

static unsigned find_lun(struct world *w, const char *id)
{
    for (unsigned i = 0; i < w->lun_count; i++) {
        char wanted[IDENTITY_ID_TEXT];
        fake_dashed(w->luns[i].serial, wanted);
        if (!w->luns[i].is_gone && strcmp(wanted, id) == 0) return i;
    }
    return UINT32_MAX;
}

/* The id in "/v1/KIND/ID/VERB". */
static void id_of(const char *path, char id[IDENTITY_ID_TEXT])
{
    const char *at = strchr(path + 4, '/');
    snprintf(id, IDENTITY_ID_TEXT, "%.36s", at ? at + 1 : "");
}

static struct world_set *find_set(struct world *w, const char *id)
{
    for (unsigned i = 0; i < w->set_count; i++)
        if (strcmp(w->sets[i].id, id) == 0) return &w->sets[i];
    return NULL;
}

/* ---- Sets ------------------------------------------------------------------------------------ */

static void say_set(struct world *w, struct fake_text *text, const struct world_set *set)
{
    fake_say(text,
             "{\"uuid\":\"%s\",\"state\":\"%s\",\"host\":\"%s\",\"vss\":true,\"cut_wall_ns\":%llu,"
             "\"members\":[",
             set->id, set->state, w->hosts[set->host].name, (unsigned long long)set->cut);
    for (unsigned i = 0; i < set->member_count; i++) {
        char disk[IDENTITY_ID_TEXT];
        const struct world_lun *snapshot = &w->luns[set->members[i].snapshot];
        fake_dashed(w->luns[set->members[i].source].serial, disk);
        fake_say(text, "%s{\"disk_uuid\":\"%s\",\"serial\":\"%s\",\"naa\":\"3a%s\"}", i ? "," : "",
                 disk, snapshot->serial, snapshot->serial + 18);
    }
    fake_say(text, "]}");
}

static unsigned new_snapshot(struct world *w, unsigned set, unsigned source)
{
    check(w->lun_count < WORLD_LUNS_MAX);
    struct world_lun *lun = &w->luns[w->lun_count];
    *lun = (struct world_lun){.is_snapshot = true,
                              .set = set,
                              .source = source,
                              .volume_count = w->luns[source].volume_count};
    snprintf(lun->serial, sizeof lun->serial, "5%015x%016x", set, w->lun_count);
    return w->lun_count++;
}

static unsigned prepare(struct world_host *host, const struct api_request *request,
                        struct fake_text *text)
{
    struct world *w = host->world;
    struct json body, disks, disk;
    char id[PROVIDER_ID_TEXT];
    bool ok = json_parse(request->body, strlen(request->body), &body) &&
              json_member(body, "disks", &disks);
    check(ok);
    if (strstr(request->body, "\"dry_run\":true")) { /* there is always room here */
        fake_say(text, "{\"dry_run\":true,\"would\":[]}");
        return 200;
    }
    ok = json_text_member(body, "uuid", id, sizeof id);
    check(ok);
    struct world_set *set = find_set(w, id);
    if (!set) {
        check(w->set_count < WORLD_SETS_MAX);
        set = &w->sets[w->set_count];
        *set = (struct world_set){.state = "prepared", .host = host->index};
        memcpy(set->id, id, sizeof id);
        for (size_t at = 0; json_next(disks, &at, &disk);) {
            ok = json_text(disk, id, sizeof id);
            unsigned source = find_lun(w, id);
            check(ok && set->member_count < WORLD_MEMBERS_MAX);
            if (source == UINT32_MAX) return fake_refuse(text, 404, "NOT_FOUND");
            set->members[set->member_count++] =
                (struct world_member){source, new_snapshot(w, w->set_count, source)};
        }
        w->set_count++;
    }
    say_set(w, text, set);
    return 200;
}

static void cut(struct world *w, struct world_set *set)
{
    set->cut = ++w->guid_count;
    for (unsigned i = 0; i < set->member_count; i++) {
        struct world_lun *from = &w->luns[set->members[i].source],
                         *to = &w->luns[set->members[i].snapshot];
        to->block_count = from->block_count;
        to->data = malloc(from->block_count * WORLD_BLOCK);
        check(to->data != NULL);
        memcpy(to->data, from->data, from->block_count * WORLD_BLOCK);
    }
}

static void unmap(struct world *w, unsigned lun)
{
    for (unsigned i = 0; i < WORLD_MAPS_MAX; i++)
        if (w->maps[i].is_used && w->maps[i].lun == lun) w->maps[i].is_used = false;
}

static void forget(struct world *w, struct world_set *set)
{
    for (unsigned i = 0; i < set->member_count; i++) {
        unmap(w, set->members[i].snapshot);
        world_lun_free(&w->luns[set->members[i].snapshot]);
    }
}

static bool is_elsewhere(const struct world *w, unsigned host, unsigned lun)
{
    for (unsigned i = 0; i < WORLD_MAPS_MAX; i++)
        if (w->maps[i].is_used && w->maps[i].lun == lun && w->maps[i].host != host) return true;
    return false;
}

/* All snapshots of a set appear at the host, or none does. */
static unsigned import(struct world_host *host, struct world_set *set, struct fake_text *text)
{
    struct world *w = host->world;
    for (unsigned i = 0; i < set->member_count; i++)
        if (is_elsewhere(w, host->index, set->members[i].snapshot))
            return fake_refuse(text, 409, "BUSY");
    for (unsigned i = 0; i < set->member_count; i++) {
        unsigned lun = set->members[i].snapshot;
        if (!w->luns[lun].is_gone && !world_is_served(w, host->index, lun))
            world_serve(w, host->index, lun);
    }
    if (w->stowaway != UINT32_MAX) world_serve(w, host->index, w->stowaway);
    w->stowaway = UINT32_MAX;
    say_set(w, text, set);
    return 200;
}

static void mask(struct world_host *host, struct world_set *set)
{
    for (unsigned i = 0; i < set->member_count; i++)
        world_unserve(host->world, host->index, set->members[i].snapshot);
}

static unsigned move(struct world_host *host, const char *path, struct fake_text *text)
{
    struct world *w = host->world;
    char id[PROVIDER_ID_TEXT];
    id_of(path, id);
    struct world_set *set = find_set(w, id);
    const char *verb = strrchr(path, '/') + 1;
    if (!set) return fake_refuse(text, 404, "NOT_FOUND");
    const char *next = fake_set_next(set->state, verb);
    if (!next) return fake_refuse(text, 409, "CONFLICT");
    if (strcmp(verb, "import") == 0) return import(host, set, text);
    if (strcmp(verb, "mask") == 0) mask(host, set);
    if (strcmp(verb, "commit") == 0) cut(w, set);
    if (strcmp(next, "aborted") == 0 && strcmp(set->state, "aborted") != 0) forget(w, set);
    snprintf(set->state, sizeof set->state, "%s", next);
    say_set(w, text, set);
    return 200;
}

/* ---- LUNs ------------------------------------------------------------------------------------ */

static void say_maps(struct world *w, struct fake_text *text)
{
    const char *comma = "";
    fake_say(text, "{\"maps\":[");
    for (unsigned i = 0; i < WORLD_MAPS_MAX; i++) {
        const struct world_map *map = &w->maps[i];
        if (!map->is_used) continue;
        fake_say(text, "%s{\"host\":\"%s\",\"lun\":%u,\"serial\":\"%s\"}", comma,
                 w->hosts[map->host].name, map->number, w->luns[map->lun].serial);
        comma = ",";
    }
    fake_say(text, "]}");
}

/* Its LUN goes away from the host that asks, and nobody else may have it. */
static unsigned delete_snapshot(struct world_host *host, const struct api_request *request,
                                unsigned lun, struct fake_text *text)
{
    struct world *w = host->world;
    struct json body;
    char name[64];
    bool ok = request->body && json_parse(request->body, strlen(request->body), &body) &&
              json_text_member(body, "unmap_host", name, sizeof name) &&
              strcmp(name, host->name) == 0;
    check(ok);
    if (is_elsewhere(w, host->index, lun)) return fake_refuse(text, 409, "IN_USE");
    world_unserve(w, host->index, lun);
    world_lun_free(&w->luns[lun]);
    fake_say(text, "{}");
    return 200;
}

static unsigned snapshot(struct world_host *host, const struct api_request *request,
                         struct fake_text *text)
{
    struct world *w = host->world;
    char id[IDENTITY_ID_TEXT], disk[IDENTITY_ID_TEXT];
    id_of(request->path, id);
    unsigned lun = find_lun(w, id);
    if (lun == UINT32_MAX || !w->luns[lun].is_snapshot) return fake_refuse(text, 404, "NOT_FOUND");
    if (strcmp(request->method, "DELETE") == 0) return delete_snapshot(host, request, lun, text);
    fake_dashed(w->luns[w->luns[lun].source].serial, disk);
    fake_say(text, "{\"set_uuid\":\"%s\",\"disk_uuid\":\"%s\"}", w->sets[w->luns[lun].set].id,
             disk);
    return 200;
}

static void replace(struct world *w, unsigned snapshot_lun, unsigned disk)
{
    struct world_lun *from = &w->luns[snapshot_lun], *to = &w->luns[disk];
    free(to->data);
    to->data = malloc(from->block_count * WORLD_BLOCK);
    check(to->data != NULL);
    memcpy(to->data, from->data, from->block_count * WORLD_BLOCK);
    to->block_count = from->block_count;
}

/* revert is done at once, replace by a job. */
static unsigned change_disk(struct world *w, const struct api_request *request,
                            struct fake_text *text)
{
    struct json body;
    char disk_id[IDENTITY_ID_TEXT], from[IDENTITY_ID_TEXT];
    bool is_revert = strstr(request->path, "/revert") != NULL;
    id_of(request->path, disk_id);
    bool ok = json_parse(request->body, strlen(request->body), &body) &&
              json_text_member(body, is_revert ? "to" : "from", from, sizeof from);
    check(ok);
    unsigned disk = find_lun(w, disk_id), lun = find_lun(w, from);
    if (disk == UINT32_MAX || lun == UINT32_MAX) return fake_refuse(text, 404, "NOT_FOUND");
    if (strstr(request->body, "\"dry_run\":true")) {
        fake_say(text, "{\"dry_run\":true,\"would\":[]}");
        return 200;
    }
    if (is_revert) {
        replace(w, lun, disk);
        fake_say(text, "{\"name\":\"d\"}");
        return 200;
    }
    w->job.is_running = true;
    w->job.snapshot = lun;
    w->job.disk = disk;
    w->job.questions = 0;
    fake_say(text, "{\"job\":{\"id\":\"j-%u\",\"state\":\"running\"}}", ++w->jobs);
    return 202;
}

/* Done when it was asked for three times. */
static unsigned job(struct world *w, struct fake_text *text)
{
    bool is_due = ++w->job.questions >= 3 && w->job.is_running;
    if (is_due && w->is_job_failing) {
        fake_say(text,
                 "{\"state\":\"failed\",\"error\":{\"status\":\"IO\",\"message\":\"a reason\"}}");
        return 200;
    }
    if (is_due) {
        replace(w, w->job.snapshot, w->job.disk);
        w->job.is_running = false;
    }
    fake_say(text, "{\"state\":\"%s\",\"error\":null}", w->job.is_running ? "running" : "done");
    return 200;
}

/* ---- Requests -------------------------------------------------------------------------------- */

static void say_sets(struct world *w, struct fake_text *text)
{
    fake_say(text, "{\"sets\":[");
    for (unsigned i = 0; i < w->set_count; i++) {
        if (i) fake_say(text, ",");
        say_set(w, text, &w->sets[i]);
    }
    fake_say(text, "]}");
}

static unsigned answer(struct world_host *host, const struct api_request *request,
                       struct fake_text *text)
{
    struct world *w = host->world;
    const char *path = request->path;
    bool is_get = strcmp(request->method, "GET") == 0;
    if (w->fail && strstr(path, w->fail)) return fake_refuse(text, 409, "CONFLICT");
    if (strcmp(path, "/v1/maps") == 0 && is_get)
        say_maps(w, text);
    else if (strncmp(path, "/v1/hosts/", 10) == 0)
        fake_say(text, "{\"session_count\":1}");
    else if (strcmp(path, "/v1/sets") == 0 && is_get)
        say_sets(w, text);
    else if (strcmp(path, "/v1/sets") == 0)
        return prepare(host, request, text);
    else if (strncmp(path, "/v1/sets/", 9) == 0)
        return move(host, path, text);
    else if (strncmp(path, "/v1/disks/", 10) == 0)
        return change_disk(w, request, text);
    else if (strncmp(path, "/v1/jobs/", 9) == 0)
        return job(w, text);
    else if (strncmp(path, "/v1/snapshots/", 14) == 0)
        return snapshot(host, request, text);
    else
        return fake_refuse(text, 404, "NOT_FOUND");
    return 200;
}

static struct world_host *host_of(struct transport *t)
{
    return (struct world_host *)(void *)((char *)t - offsetof(struct world_host, transport));
}

void world_server_exchange(struct transport *t, const struct api_request *request,
                           struct api_reply *ret_reply)
{
    enum { ANSWER_MAX = 1 << 20 };
    struct world_host *host = host_of(t);
    struct world *w = host->world;
    check(host->lock_depth == 0);
    *ret_reply = (struct api_reply){0};
    if (w->beside) {
        void (*other)(void *) = w->beside;
        w->beside = NULL;
        other(w->beside_arg);
    }
    if (host->is_away) return;
    w->now_ms += 1;
    struct fake_text text = fake_text_create(ANSWER_MAX);
    ret_reply->http = answer(host, request, &text);
    ret_reply->body = text.at;
    ret_reply->size = text.used;
}

unsigned world_server_commit(struct world_host *host)
{
    enum { ANSWER_MAX = 1 << 16 };
    struct fake_text text = fake_text_create(ANSWER_MAX);
    host->world->now_ms += host->world->commit_ms;
    unsigned http = 0;
    if (!host->is_away)
        http = host->world->fail && strstr(host->commit_path, host->world->fail)
                   ? 409
                   : move(host, host->commit_path, &text);
    free(text.at);
    return http;
}
