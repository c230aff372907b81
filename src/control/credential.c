/*
 * Credentials of hosts: codes for enrolment, exchanging one for a credential, listing, revoking
 * (doc/design/0070-host-requests.md).
 */
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/host_int.h"

#define EXPIRES_DEFAULT_S ((uint64_t)3600)
#define EXPIRES_MAX_S ((uint64_t)7 * 24 * 3600)
enum { CREDENTIALS_PER_HOST_MAX = 16 };

static struct credential *credential_of(struct list_node *node)
{
    return container_of(list_entry(node, struct object, link), struct credential, object);
}

/* ---- In memory ---- */

struct credential *credential_by_id(struct control *control, const char *text)
{
    struct uuid uuid;
    if (!uuid_parse(text, &uuid)) return NULL;
    list_for_each (node, &control->credentials) {
        if (uuid_equal(&credential_of(node)->row.uuid, &uuid)) return credential_of(node);
    }
    return NULL;
}

void credential_add(struct control *control, const struct catalog_credential *row)
{
    struct host *host = inventory_host(control, &row->host);
    if (!host) return;
    struct credential *credential = calloc(1, sizeof *credential);
    check(credential);
    credential->row = *row;
    credential->host = host;
    uuid_format(&row->uuid, credential->name);
    credential->object.uuid = &credential->row.uuid;
    credential->object.name = credential->name;
    list_push_back(&control->credentials, &credential->object.link);
}

static void credential_remove(struct credential *credential)
{
    list_remove(&credential->object.link);
    seen_free(&credential->seen);
    explicit_bzero(credential, sizeof *credential);
    free(credential);
}

void enrolment_add(struct control *control, const struct catalog_enrolment *row)
{
    struct host *host = inventory_host(control, &row->host);
    if (!host) return;
    struct enrolment *enrolment = calloc(1, sizeof *enrolment);
    check(enrolment);
    enrolment->row = *row;
    enrolment->host = host;
    list_push_back(&control->enrolments, &enrolment->link);
}

static void enrolment_remove(struct enrolment *enrolment)
{
    list_remove(&enrolment->link);
    explicit_bzero(enrolment, sizeof *enrolment);
    free(enrolment);
}

void credential_forget(struct control *control, const struct host *host)
{
    list_for_each_safe (node, &control->credentials) {
        struct credential *credential = credential_of(node);
        if (!host || credential->host == host) credential_remove(credential);
    }
    list_for_each_safe (node, &control->enrolments) {
        struct enrolment *enrolment = list_entry(node, struct enrolment, link);
        if (!host || enrolment->host == host) enrolment_remove(enrolment);
    }
}

static struct enrolment *enrolment_of(struct control *control, const struct host *host)
{
    list_for_each (node, &control->enrolments) {
        struct enrolment *enrolment = list_entry(node, struct enrolment, link);
        if (enrolment->host == host) return enrolment;
    }
    return NULL;
}

void control_set_api(struct control *control, const char *const *pins, unsigned pin_count,
                     const char *address)
{
    control->pin_count = min_of(pin_count, (unsigned)ENROL_PINS_MAX);
    for (unsigned i = 0; i < control->pin_count; i++)
        snprintf(control->pins[i], sizeof control->pins[i], "%s", pins[i]);
    snprintf(control->api_address, sizeof control->api_address, "%s", address);
}

/* ---- A code ---- */

struct enrol_data {
    struct host *host;
    struct enrolment *older;
    struct catalog_enrolment row, older_row;
    struct enrol_code code;
    char text[ENROL_CODE_MAX];
    uint64_t expires_s;
};

static void data_free(void *arg)
{
    struct enrol_data *data = arg;
    explicit_bzero(data, sizeof *data);
    free(data);
}

static struct err *take_addresses(struct op *op, struct enrol_code *code)
{
    const json_t *given = json_object_get(op->arguments, "addresses");
    for (size_t i = 0; i < json_array_size(given) && i < ENROL_ADDRESSES_MAX; i++) {
        const char *address = json_string_value(json_array_get(given, i));
        if (strlen(address) < ENROL_ADDRESS_SIZE)
            memcpy(code->addresses[i], address, strlen(address) + 1);
        code->address_count++; /* one that did not fit is empty, and refused */
    }
    if (json_array_size(given) > ENROL_ADDRESSES_MAX) code->address_count = 0; /* refused as well */
    if (given) return NULL;
    if (op->control->api_address[0] == '\0') {
        return err_next(err_new(STATUS_BAD_REQUEST,
                                "the API listens on every address: \"addresses\""
                                " must say which of them the host reaches"),
                        "tarn host enrol HOST --addresses SERVER:7260");
    }
    snprintf(code->addresses[0], ENROL_ADDRESS_SIZE, "%s", op->control->api_address);
    code->address_count = 1;
    return NULL;
}

static struct err *enrol_check(struct op *op, struct enrol_data *data)
{
    struct control *control = op->control;
    TRY(find_host(control, arg_text(op, "name"), &data->host));
    data->expires_s = arg_uint(op, "expires_s", EXPIRES_DEFAULT_S);
    if (data->expires_s == 0 || data->expires_s > EXPIRES_MAX_S) {
        return err_new(STATUS_BAD_REQUEST, "\"expires_s\" must be 1 to 604800 (7 days)");
    }
    if (control->pin_count == 0) return err_new(STATUS_AGAIN, "the API is not open yet");
    data->row =
        (struct catalog_enrolment){.uuid = rt_uuid(control->rt),
                                   .host = data->host->row.uuid,
                                   .replace = arg_bool(op, "replace"),
                                   .expires_ns = clock_now(control) + data->expires_s * RT_SECOND,
                                   .created_ns = rt_wall(control->rt)};
    rt_random(control->rt, data->row.secret, sizeof data->row.secret);
    struct enrol_code *code = &data->code;
    TRY(take_addresses(op, code));
    code->pin_count = control->pin_count;
    memcpy(code->pins, control->pins, sizeof code->pins);
    uuid_format(&data->row.uuid, code->enrolment);
    text_format_hex(data->row.secret, sizeof data->row.secret, code->secret);
    if (enrol_code_write(code, data->text)) return NULL;
    return err_next(err_new(STATUS_BAD_REQUEST, "\"addresses\" must be 1 to 8 of HOST:PORT"),
                    "such as tarn.example:7260, 192.0.2.1:7260 or [2001:db8::1]:7260");
}

static struct err *enrol_write(struct catalog *catalog, void *arg)
{
    const struct enrol_data *data = ((struct op *)arg)->data;
    if (data->older) TRY(catalog_delete_enrolment(catalog, &data->older_row.uuid));
    return catalog_put_enrolment(catalog, &data->row);
}

static json_t *would_enrol(struct op *op, const struct enrol_data *data)
{
    json_t *would =
        json_pack("[o]", json_sprintf("make a code for host \"%s\"", data->host->row.name));
    char id[UUID_TEXT_SIZE];
    if (data->older) {
        json_array_append_new(would, json_sprintf("end its code %s, which nobody used yet",
                                                  uuid_format(&data->older_row.uuid, id)));
    }
    list_for_each (node, &op->control->credentials) {
        const struct credential *credential = credential_of(node);
        if (!data->row.replace || credential->host != data->host) continue;
        json_array_append_new(
            would, json_sprintf("when that code is used, end its credential %s", credential->name));
    }
    return would;
}

static void step_enrol(struct op *op)
{
    struct enrol_data *data = op_data(op, sizeof *data);
    op->data_free = data_free;
    struct err *e = enrol_check(op, data);
    if (e) {
        op_fail(op, e);
        return;
    }
    data->older = enrolment_of(op->control, data->host); /* of several codes the last is good */
    if (data->older) data->older_row = data->older->row;
    if (arg_bool(op, "dry_run")) {
        op_end_dry_run(op, would_enrol(op, data));
        return;
    }
    op->idempotency_key[0] = '\0'; /* the secret is not kept, so the answer cannot be repeated */
    op_catalog_audited(op, enrol_write);
}

static void step_enrolled(struct op *op)
{
    struct enrol_data *data = op->data;
    if (data->older) enrolment_remove(data->older);
    enrolment_add(op->control, &data->row);
    op->result = json_pack("{s:s, s:s, s:I, s:o}", "host", data->host->row.name, "code", data->text,
                           "expires_s", (json_int_t)data->expires_s, "expires_at",
                           json_time(rt_wall(op->control->rt) + data->expires_s * RT_SECOND));
    op_next(op);
}

/* ---- Redeeming it ---- */

struct redeem_data {
    struct control_enrol *call;
    struct enrolment *enrolment;
    struct uuid enrolment_uuid;
    struct catalog_credential row;
    unsigned older_count;
    struct uuid older[CREDENTIALS_PER_HOST_MAX];
};

static void redeem_free(void *arg)
{
    struct redeem_data *data = arg;
    explicit_bzero(data, sizeof *data);
    free(data);
}

static struct err *refused(void)
{
    return err_next(err_new(STATUS_UNAUTHENTICATED, "this enrolment code is not known (any more):"
                                                    " it was used, replaced, or has expired"),
                    "ask an administrator for a new one: tarn host enrol HOST");
}

static struct enrolment *enrolment_find(struct control *control, const char *text)
{
    struct uuid uuid;
    if (!uuid_parse(text, &uuid)) return NULL;
    list_for_each (node, &control->enrolments) {
        struct enrolment *enrolment = list_entry(node, struct enrolment, link);
        if (uuid_equal(&enrolment->row.uuid, &uuid)) return enrolment;
    }
    return NULL;
}

/* The pin that the proof was made for; NULL: it was made without the secret. */
static const char *proven_pin(struct control *control, const struct control_enrol *call,
                              const struct catalog_enrolment *row)
{
    char text[ENROL_TEXT_MAX], wanted[SIGNED_HASH_SIZE];
    for (unsigned i = 0; i < control->pin_count; i++) {
        const char *pin = control->pins[i];
        if (enrol_proof_text(call->enrolment, call->client_nonce, pin, text) &&
            sign_text(row->secret, sizeof row->secret, text, wanted) &&
            gnutls_memcmp(wanted, call->proof, sizeof wanted) == 0) {
            return pin;
        }
    }
    return NULL;
}

static struct err *derive(struct control *control, struct redeem_data *data, const char *pin)
{
    struct control_enrol *call = data->call;
    const struct catalog_enrolment *row = &data->enrolment->row;
    uint8_t nonce[32];
    rt_random(control->rt, nonce, sizeof nonce);
    text_format_hex(nonce, sizeof nonce, call->server_nonce);
    data->row = (struct catalog_credential){
        .uuid = rt_uuid(control->rt), .host = row->host, .created_ns = rt_wall(control->rt)};
    uuid_format(&data->row.uuid, call->credential);
    struct enrol_answer answer = {.enrolment = call->enrolment,
                                  .client_nonce = call->client_nonce,
                                  .server_nonce = call->server_nonce,
                                  .credential = call->credential,
                                  .pin = pin};
    char text[ENROL_TEXT_MAX], key[SIGNED_HASH_SIZE];
    bool ok = enrol_confirm_text(&answer, text) &&
              sign_text(row->secret, sizeof row->secret, text, call->confirm) &&
              enrol_key_text(&answer, text) &&
              sign_text(row->secret, sizeof row->secret, text, key) &&
              text_parse_hex(key, data->row.key, sizeof data->row.key);
    explicit_bzero(key, sizeof key);
    return ok ? NULL : err_new(STATUS_INTERNAL, "derive the key of a credential");
}

static struct err *redeem_check(struct op *op, struct redeem_data *data)
{
    struct control *control = op->control;
    struct control_enrol *call = data->call;
    struct enrolment *found = enrolment_find(control, call->enrolment);
    const char *pin = found ? proven_pin(control, call, &found->row) : NULL;
    if (!pin || found->host->leaving || clock_now(control) >= found->row.expires_ns)
        return refused();
    data->enrolment = found;
    data->enrolment_uuid = found->row.uuid;
    list_for_each (node, &control->credentials) {
        const struct credential *credential = credential_of(node);
        if (credential->host != found->host || data->older_count == CREDENTIALS_PER_HOST_MAX)
            continue;
        data->older[data->older_count++] = credential->row.uuid;
    }
    if (!found->row.replace && data->older_count == CREDENTIALS_PER_HOST_MAX) {
        return err_next(err_new(STATUS_LIMIT_REACHED, "host \"%s\" has %d credentials",
                                found->host->row.name, CREDENTIALS_PER_HOST_MAX),
                        "tarn credential list; tarn credential revoke ID");
    }
    if (!found->row.replace) data->older_count = 0;
    snprintf(op->actor.name, sizeof op->actor.name, "host:%s", found->host->row.name);
    snprintf(call->host, sizeof call->host, "%s", found->host->row.name);
    return derive(control, data, pin);
}

static struct err *redeem_write(struct catalog *catalog, void *arg)
{
    const struct redeem_data *data = ((struct op *)arg)->data;
    for (unsigned i = 0; i < data->older_count; i++)
        TRY(catalog_delete_credential(catalog, &data->older[i]));
    TRY(catalog_delete_enrolment(catalog, &data->enrolment_uuid));
    return catalog_put_credential(catalog, &data->row);
}

static void step_redeem(struct op *op)
{
    struct redeem_data *data = op_data(op, sizeof *data);
    op->data_free = redeem_free;
    data->call = op->finish_arg;
    op->audit_verb = "host_redeem";
    snprintf(op->actor.name, sizeof op->actor.name, "nobody");
    struct err *e = redeem_check(op, data);
    if (e) {
        op_fail(op, e);
        return;
    }
    json_t *arguments =
        json_pack("{s:s, s:s}", "host", data->call->host, "credential", data->call->credential);
    op->audit_arguments = arguments ? json_dumps(arguments, JSON_COMPACT) : NULL;
    json_decref(arguments);
    op_catalog_audited(op, redeem_write);
}

static bool is_older(const struct redeem_data *data, const struct credential *credential)
{
    for (unsigned i = 0; i < data->older_count; i++) {
        if (uuid_equal(&data->older[i], &credential->row.uuid)) return true;
    }
    return false;
}

static void step_redeemed(struct op *op)
{
    struct redeem_data *data = op->data;
    list_for_each_safe (node, &op->control->credentials) {
        if (is_older(data, credential_of(node))) credential_remove(credential_of(node));
    }
    enrolment_remove(data->enrolment);
    credential_add(op->control, &data->row);
    op_next(op);
}

static void redeem_ended(struct op *op)
{
    struct control_enrol *call = op->finish_arg;
    call->error = take_ptr(&op->error);
    if (call->error) explicit_bzero(call->confirm, sizeof call->confirm);
    call->done(call);
}

static void redeem_on_loop(struct rt_message *message)
{
    static op_step *const steps[] = {step_redeem, step_redeemed, NULL};
    static const struct op_plan plan = {
        .verb = "host_redeem", .lane = OP_LANE_GENERAL, .steps = steps};
    struct control_enrol *call = container_of(message, struct control_enrol, message);
    struct control *control = call->private_;
    if (!control->started || control->stopping) {
        call->error = err_new(STATUS_AGAIN, "the server is starting or stopping");
        call->done(call);
        return;
    }
    op_start_internal(control, &plan, NULL, redeem_ended, call);
}

void control_redeem(struct control *control, struct control_enrol *call)
{
    call->error = NULL;
    call->private_ = control;
    call->message.fn = redeem_on_loop;
    rt_post(control->rt, &call->message);
}

/* ---- Listing and revoking ---- */

void credential_say(struct control *control, const struct host *host, json_t *would)
{
    char id[UUID_TEXT_SIZE];
    list_for_each (node, &control->credentials) {
        const struct credential *credential = credential_of(node);
        if (credential->host != host) continue;
        json_array_append_new(would, json_sprintf("end its credential %s", credential->name));
    }
    list_for_each (node, &control->enrolments) {
        const struct enrolment *enrolment = list_entry(node, struct enrolment, link);
        if (enrolment->host != host) continue;
        json_array_append_new(would, json_sprintf("end its enrolment code %s",
                                                  uuid_format(&enrolment->row.uuid, id)));
    }
}

static void step_list(struct op *op)
{
    json_t *array = json_array();
    list_for_each (node, &op->control->credentials) {
        const struct credential *credential = credential_of(node);
        json_array_append_new(array,
                              json_pack("{s:s, s:s, s:s, s:o, s:o}", "id", credential->name, "host",
                                        credential->host->row.name, "kind", "credential",
                                        "created_at", json_time(credential->row.created_ns),
                                        "used_at", json_time(credential->used_ns)));
    }
    list_for_each (node, &op->control->enrolments) {
        const struct enrolment *enrolment = list_entry(node, struct enrolment, link);
        char id[UUID_TEXT_SIZE];
        uint64_t now = clock_now(op->control), until = enrolment->row.expires_ns;
        json_array_append_new(array,
                              json_pack("{s:s, s:s, s:s, s:o, s:I}", "id",
                                        uuid_format(&enrolment->row.uuid, id), "host",
                                        enrolment->host->row.name, "kind",
                                        until > now ? "code" : "expired code", "created_at",
                                        json_time(enrolment->row.created_ns), "expires_in_ms",
                                        (json_int_t)(until > now ? (until - now) / RT_MS : 0)));
    }
    op->result = json_pack("{s:o}", "credentials", array);
    op_next(op);
}

struct revoke_data {
    struct uuid uuid;
    struct credential *credential;
    struct enrolment *enrolment;
};

static struct err *revoke_find(struct op *op, struct revoke_data *data)
{
    const char *text = arg_text(op, "name");
    list_for_each (node, &op->control->enrolments) {
        struct enrolment *enrolment = list_entry(node, struct enrolment, link);
        char id[UUID_TEXT_SIZE];
        if (strcmp(uuid_format(&enrolment->row.uuid, id), text) != 0) continue;
        data->enrolment = enrolment;
        data->uuid = enrolment->row.uuid;
        return NULL;
    }
    struct object *object = NULL;
    TRY(object_find(&op->control->credentials, "credential", text, &object));
    data->credential = container_of(object, struct credential, object);
    data->uuid = data->credential->row.uuid;
    return NULL;
}

static struct err *revoke_write(struct catalog *catalog, void *arg)
{
    const struct revoke_data *data = ((struct op *)arg)->data;
    return data->enrolment ? catalog_delete_enrolment(catalog, &data->uuid)
                           : catalog_delete_credential(catalog, &data->uuid);
}

static unsigned credential_count(struct control *control, const struct host *host)
{
    unsigned count = 0;
    list_for_each (node, &control->credentials)
        count += credential_of(node)->host == host;
    return count;
}

static json_t *would_revoke(struct op *op, const struct revoke_data *data)
{
    const struct host *host = data->enrolment ? data->enrolment->host : data->credential->host;
    unsigned others = credential_count(op->control, host) - (data->credential != NULL);
    char id[UUID_TEXT_SIZE];
    json_t *would = json_array();
    uuid_format(&data->uuid, id);
    json_array_append_new(
        would, data->enrolment
                   ? json_sprintf("end the enrolment code %s of host \"%s\"; nobody used it yet",
                                  id, host->row.name)
                   : json_sprintf("end the credential %s of host \"%s\": the next request"
                                  " signed with it is refused",
                                  id, host->row.name));
    json_array_append_new(
        would, json_sprintf("keep its LUNs, its iSCSI sessions and %u other credential%s", others,
                            others == 1 ? "" : "s"));
    return would;
}

static void step_revoke(struct op *op)
{
    struct revoke_data *data = op_data(op, sizeof *data);
    struct err *e = revoke_find(op, data);
    if (e) {
        op_fail(op, e);
    } else if (arg_bool(op, "dry_run")) {
        op_end_dry_run(op, would_revoke(op, data));
    } else {
        op_catalog_audited(op, revoke_write);
    }
}

static void step_revoked(struct op *op)
{
    struct revoke_data *data = op->data;
    char id[UUID_TEXT_SIZE];
    op->result = json_deleted("credential", uuid_format(&data->uuid, id), &data->uuid);
    if (data->enrolment) {
        enrolment_remove(data->enrolment);
    } else {
        credential_remove(data->credential);
    }
    op_next(op);
}

static op_step *const enrol_steps[] = {step_enrol, step_enrolled, NULL};
static op_step *const list_steps[] = {step_list, NULL};
static op_step *const revoke_steps[] = {step_revoke, step_revoked, NULL};

const struct op_plan plans_credential[] = {
    {"host_enrol", OP_LANE_GENERAL, enrol_steps, NULL},
    {"credential_list", OP_LANE_NONE, list_steps, NULL},
    {"credential_revoke", OP_LANE_GENERAL, revoke_steps, NULL},
    {0},
};
