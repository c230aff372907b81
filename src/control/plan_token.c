/* Verbs on tokens. */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/control_int.h"

struct token_data {
    struct catalog_token row;
    char text[80];
    struct token *token;
};

void token_draw(struct rt *rt, char text[80], uint8_t hash[32])
{
    uint8_t random[32];
    rt_random(rt, random, sizeof random);
    memcpy(text, "tarn_", sizeof "tarn_");
    text_format_hex(random, sizeof random, text + strlen(text));
    check(gnutls_hash_fast(GNUTLS_DIG_SHA256, text, strlen(text), hash) == 0);
}

static struct err *create_check(struct op *op, struct token_data *data)
{
    const char *name = arg_text(op, "name"), *role = arg_text(op, "role");
    if (strlen(name) >= sizeof data->row.name) {
        return err_new(STATUS_BAD_REQUEST, "the name of a token has at most 63 bytes");
    }
    if (strchr(name, ':')) { /* "host:NAME" is a host, in the audit and for idempotency keys */
        return err_new(STATUS_BAD_REQUEST, "the name of a token has no \":\"");
    }
    TRY(name_check_free(&op->control->tokens, "token", name));
    bool known = false;
    for (enum control_role r = CONTROL_ROLE_VIEWER; r <= CONTROL_ROLE_ADMIN; r++) {
        known = known || strcmp(role, control_role_name(r)) == 0;
    }
    if (!known) {
        return err_new(STATUS_BAD_REQUEST,
                       "\"role\" must be administrator, backup-operator or viewer");
    }
    data->row = (struct catalog_token){.uuid = rt_uuid(op->control->rt),
                                       .created_ns = rt_wall(op->control->rt)};
    snprintf(data->row.name, sizeof data->row.name, "%s", name);
    snprintf(data->row.role, sizeof data->row.role, "%s", role);
    token_draw(op->control->rt, data->text, data->row.hash);
    return NULL;
}

static struct err *create_write(struct catalog *catalog, void *arg)
{
    const struct token_data *data = ((struct op *)arg)->data;
    return catalog_put_token(catalog, &data->row);
}

static void step_create(struct op *op)
{
    struct token_data *data = op_data(op, sizeof *data);
    struct err *e = create_check(op, data);
    if (e) {
        op_fail(op, e);
        return;
    }
    op->idempotency_key[0] = '\0'; /* the secret is not kept, so the answer cannot be repeated */
    op_catalog_audited(op, create_write);
}

static void step_publish(struct op *op)
{
    struct token_data *data = op->data;
    op->result = json_token(inventory_add_token(op->control, &data->row));
    json_object_set_new(op->result, "token", json_string(data->text));
    op_next(op);
}

static struct err *delete_check(struct op *op, struct token_data *data)
{
    TRY(find_token(op->control, arg_text(op, "name"), &data->token));
    data->row = data->token->row;
    unsigned administrators = 0;
    list_for_each (node, &op->control->tokens) {
        struct token *token =
            container_of(list_entry(node, struct object, link), struct token, object);
        administrators += token->role == CONTROL_ROLE_ADMIN;
    }
    if (data->token->role == CONTROL_ROLE_ADMIN && administrators == 1) {
        return err_next(err_new(STATUS_CONFLICT, "\"%s\" is the last token of an administrator",
                                data->row.name),
                        "make another first: tarn token create NAME --role administrator");
    }
    return NULL;
}

static struct err *delete_write(struct catalog *catalog, void *arg)
{
    const struct token_data *data = ((struct op *)arg)->data;
    return catalog_delete_token(catalog, &data->row.uuid);
}

static void step_delete(struct op *op)
{
    struct token_data *data = op_data(op, sizeof *data);
    struct err *e = delete_check(op, data);
    if (e) {
        op_fail(op, e);
    } else if (arg_bool(op, "dry_run")) {
        op_end_dry_run(op, json_pack("[o]", json_sprintf("revoke token \"%s\" (%s): the next"
                                                         " request with it is refused",
                                                         data->row.name, data->row.role)));
    } else {
        op_catalog_audited(op, delete_write);
    }
}

static void step_forget(struct op *op)
{
    struct token_data *data = op->data;
    op->result = json_deleted("token", data->row.name, &data->row.uuid);
    inventory_remove_token(data->token);
    op_next(op);
}

static op_step *const create_steps[] = {step_create, step_publish, NULL};
static op_step *const delete_steps[] = {step_delete, step_forget, NULL};

const struct op_plan plans_token[] = {
    {"token_create", OP_LANE_GENERAL, create_steps, NULL},
    {"token_delete", OP_LANE_GENERAL, delete_steps, NULL},
    {0},
};
