#include "windows/provider/core/api.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void api_request_init(struct api_request *request, const char *method, unsigned timeout_ms)
{
    *request = (struct api_request){.method = method, .timeout_ms = timeout_ms};
}

void api_request_fini(struct api_request *request)
{
    free(request->body);
    request->body = NULL;
}

/* RFC 3986 2.3: what needs no escape. */
static bool is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("-._~", c) != NULL);
}

static bool put_segment(struct api_request *request, const char *text)
{
    size_t used = strlen(request->path);
    if (used + 1 >= API_PATH_MAX) return false;
    request->path[used++] = '/';
    for (; *text; text++) {
        size_t need = is_unreserved(*text) ? 1 : 3;
        if (used + need >= API_PATH_MAX) return false;
        if (need == 1)
            request->path[used] = *text;
        else
            snprintf(request->path + used, 4, "%%%02X", (unsigned)(unsigned char)*text);
        used += need;
    }
    request->path[used] = '\0';
    return true;
}

bool api_request_path(struct api_request *request, const char *first, ...)
{
    va_list args;
    const char *part;
    bool ok = true;
    memset(request->path, 0, sizeof request->path);
    snprintf(request->path, sizeof request->path, "%s", first);
    va_start(args, first);
    while (ok && (part = va_arg(args, const char *)) != NULL)
        ok = put_segment(request, part);
    va_end(args);
    return ok;
}

/* ---- Bodies ---------------------------------------------------------------------------------- */

static void put(struct api_body *body, const char *text, size_t size)
{
    if (body->failed) return;
    if (body->used + size + 1 > body->size) {
        size_t grown = 2 * (body->used + size + 1) + 128;
        char *more = realloc(body->text, grown);
        if (!more) {
            body->failed = true;
            return;
        }
        body->text = more;
        body->size = grown;
    }
    memcpy(body->text + body->used, text, size);
    body->used += size;
    body->text[body->used] = '\0';
}

static void put_string(struct api_body *body, const char *text)
{
    put(body, "\"", 1);
    for (; *text; text++) {
        char escaped[8];
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c == '"' || c == '\\')
            put(body, escaped, (size_t)snprintf(escaped, sizeof escaped, "\\u%04x", (unsigned)c));
        else
            put(body, text, 1);
    }
    put(body, "\"", 1);
}

static void put_separator(struct api_body *body)
{
    if (body->used == 0)
        put(body, "{", 1);
    else if (body->text && body->text[body->used - 1] != '[')
        put(body, ",", 1);
}

static void put_key(struct api_body *body, const char *key)
{
    put_separator(body);
    put_string(body, key);
    put(body, ":", 1);
}

void api_body_text(struct api_body *body, const char *key, const char *value)
{
    put_key(body, key);
    put_string(body, value);
}

void api_body_bool(struct api_body *body, const char *key, bool value)
{
    put_key(body, key);
    put(body, value ? "true" : "false", value ? 4 : 5);
}

void api_body_begin_list(struct api_body *body, const char *key)
{
    put_key(body, key);
    put(body, "[", 1);
}

void api_body_item(struct api_body *body, const char *value)
{
    put_separator(body);
    put_string(body, value);
}

void api_body_end_list(struct api_body *body)
{
    put(body, "]", 1);
}

bool api_body_finish(struct api_body *body, struct api_request *request)
{
    if (body->used == 0) put(body, "{", 1);
    put(body, "}", 1);
    if (body->failed) {
        free(body->text);
        body->text = NULL;
        return false;
    }
    request->body = body->text;
    body->text = NULL;
    return true;
}

/* ---- Answers --------------------------------------------------------------------------------- */

void api_exchange(struct transport *transport, const struct api_request *request,
                  struct api_reply *ret_reply)
{
    *ret_reply = (struct api_reply){0};
    transport->exchange(transport, request, ret_reply);
    ret_reply->value = (struct json){0};
    if (ret_reply->http == 0) return;
    if (!ret_reply->body || !json_parse(ret_reply->body, ret_reply->size, &ret_reply->value))
        ret_reply->value = (struct json){0};
    /* Every answer of the API is an object; something else is not the server that was enrolled
     * with. */
    if (ret_reply->value.size == 0 || ret_reply->value.at[0] != '{') ret_reply->http = 0;
}

void api_reply_fini(struct api_reply *reply)
{
    free(reply->body);
    *reply = (struct api_reply){0};
}

bool api_is_ok(const struct api_reply *reply)
{
    return reply->http >= 200 && reply->http < 300;
}

void api_error_read(const struct api_reply *reply, struct api_error *ret_error)
{
    struct json error;
    struct api_error e = {.status = "UNREACHABLE", .message = "the Tarn server did not answer"};
    if (reply->http != 0) {
        snprintf(e.status, sizeof e.status, "INTERNAL");
        snprintf(e.message, sizeof e.message, "the Tarn server answered with HTTP status %u",
                 reply->http);
        if (json_member(reply->value, "error", &error)) {
            json_text_member(error, "status", e.status, sizeof e.status);
            json_text_member(error, "message", e.message, sizeof e.message);
            json_text_member(error, "next", e.next, sizeof e.next);
        }
    }
    *ret_error = e;
}
