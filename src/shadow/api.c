/*
 * api.c - the requester's server behind the control API: set verbs over a client (shadow.h).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/client.h"
#include "shadow/shadow.h"

struct shadow_api {
    struct client *client;
    char *set; /* id of the set, encoded for a path */
};

static struct err *api_prepare(void *arg, const struct shadow_request *request, json_t **ret_set)
{
    struct shadow_api *api = arg;
    json_t *list = json_array(), *answer = NULL;
    for (unsigned i = 0; i < request->disk_count; i++)
        json_array_append_new(list, json_string(request->disks[i]));
    json_t *body = json_pack("{s:o, s:s*, s:s*, s:i}", "disks", list, "name", request->name, "host",
                             request->host, "lease_s", (int)request->lease_s);
    if (!body)
        return err_new(STATUS_BAD_REQUEST, "a disk or the set has a name that is not valid UTF-8");
    struct err *e = client_call(api->client, "POST", "/v1/sets", body, &answer);
    json_decref(body);
    if (e) return e;
    const char *id = json_string_value(json_object_get(answer, "uuid"));
    if (!id) id = json_string_value(json_object_get(answer, "name"));
    free(api->set);
    api->set = id ? client_encode_segment(id) : NULL;
    if (!api->set) {
        json_decref(answer);
        return err_new(STATUS_INTERNAL, "the server's answer names no set");
    }
    *ret_set = answer;
    return NULL;
}

static struct err *api_step(void *arg, const char *verb, json_t **ret_set)
{
    struct shadow_api *api = arg;
    auto_free char *path = NULL;
    if (asprintf(&path, "/v1/sets/%s/%s", api->set, verb) < 0) {
        path = NULL;
        return err_new(STATUS_NO_MEMORY, "%s the set", verb);
    }
    return client_call(api->client, "POST", path, NULL, ret_set);
}

static struct err *api_arm(void *arg, unsigned armed_ms, unsigned commit_timeout_ms)
{
    struct shadow_api *api = arg;
    auto_free char *arm = NULL, *commit = NULL;
    if (asprintf(&arm, "/v1/sets/%s/arm", api->set) < 0) arm = NULL;
    if (asprintf(&commit, "/v1/sets/%s/commit", api->set) < 0) commit = NULL;
    json_t *body = json_pack("{s:i}", "armed_ms", (int)armed_ms);
    struct err *e = arm && commit && body ? NULL : err_new(STATUS_NO_MEMORY, "arm the set");
    if (!e) e = client_call(api->client, "POST", arm, body, NULL);
    json_decref(body);
    /* The connection that arm has used stays open; the commit waits on it, ready to go. */
    if (!e) e = client_prepare(api->client, "POST", commit, NULL, commit_timeout_ms);
    return e;
}

static bool api_commit(void *arg, bool *ret_connection_reused)
{
    struct shadow_api *api = arg;
    return client_fire(api->client, ret_connection_reused);
}

static struct err *api_outcome(void *arg, json_t **ret_set)
{
    struct shadow_api *api = arg;
    return client_outcome(api->client, ret_set);
}

static const struct shadow_server_ops api_ops = {api_prepare, api_step, api_arm, api_commit,
                                                 api_outcome};

struct err *shadow_server_open(struct client *client, struct shadow_api **ret_api,
                               struct shadow_server *ret_server)
{
    struct shadow_api *api = calloc(1, sizeof *api);
    if (!api) return err_new(STATUS_NO_MEMORY, "speak to the server");
    api->client = client;
    *ret_api = api;
    *ret_server = (struct shadow_server){&api_ops, api};
    return NULL;
}

void shadow_server_close(struct shadow_api *api)
{
    if (!api) return;
    free(api->set);
    free(api);
}
