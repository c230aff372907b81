/*
 * client.h - a small client of Tarn's control API: one call in, one JSON answer or one error out.
 *
 * Words: a CONFIG says where the server is, which key it has (the pin) and with which token to ask,
 * or with which credential a host signs (sign.h).
 *
 *     struct client_config config;                   TRY(client_config_find(NULL, &config));
 *     struct client *client;                         TRY(client_open(&config, &client));
 *     json_t *disk;    TRY(client_call(client, "GET", "/v1/disks/mail", NULL, &disk));
 *
 * A request that is to be sent at a moment when nothing may be allocated is prepared first
 * (client_prepare), fired then (client_fire) and looked at afterwards (client_outcome).
 *
 * Threads: one at a time per client.
 * Ownership: answers and errors belong to the caller; the transport given to client_create to the
 * client. Failures: an error of the API becomes a struct err with the server's status, its causes
 * and what it says to do next; a server that cannot be reached is STATUS_UNREACHABLE, one that does
 * not answer STATUS_TIMED_OUT.
 */
#ifndef TARN_CLIENT_CLIENT_H
#define TARN_CLIENT_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "client/transport.h"

enum { CLIENT_PINS_MAX = 2, CLIENT_SERVERS_MAX = 8, CLIENT_TIMEOUT_MS = 60 * 1000 };

struct client_config {
    char *path; /* the file it came from */
    char *server, *token;
    char *others[CLIENT_SERVERS_MAX]; /* further addresses of the same server: "servers" */
    unsigned other_count;
    char *credential, *key; /* of a host: its requests are signed, and there is no token */
    char *pins[CLIENT_PINS_MAX];
    unsigned pin_count;
};

/*
 * Reads the first that is there of: explicit_path (if not NULL; then it must be there),
 * $TARN_CONFIG (the same), ~/.config/tarn/client.json, /etc/tarn/host.json,
 * /var/lib/tarn/client.json.
 */
struct err *client_config_find(const char *explicit_path,
                               struct client_config *ret_config) MUST_CHECK;
/* For tests and other callers: the text of such a file. */
struct err *client_config_parse(const char *text, struct client_config *ret_config) MUST_CHECK;
void client_config_fini(struct client_config *config);

/*
 * Exchanges an enrolment code for a credential; *ret_config is what belongs into host.json (it holds
 * the key).  The one-time secret is not sent, and the server must be the one that made the code.
 */
struct err *client_redeem(const char *code, json_t **ret_config) MUST_CHECK;

struct client;
struct err *client_open(const struct client_config *config, struct client **ret_client) MUST_CHECK;
/* Over a transport that exists already; `server` is used in messages. */
struct err *client_create(struct transport *transport, const char *server,
                          struct client **ret_client) MUST_CHECK;
void client_destroy(struct client *client); /* accepts NULL */
void client_set_timeout(struct client *client, unsigned timeout_ms);

/* body may be NULL (stays the caller's); ret_answer may be NULL. */
struct err *client_call(struct client *client, const char *method, const char *path,
                        const json_t *body, json_t **ret_answer) MUST_CHECK;

struct err *client_prepare(struct client *client, const char *method, const char *path,
                           const json_t *body, unsigned timeout_ms) MUST_CHECK;
/* True when the server answered with success; the figures are valid afterwards. */
bool client_fire(struct client *client, bool *ret_connection_reused);
/* What the last fire brought. */
struct err *client_outcome(struct client *client, json_t **ret_answer) MUST_CHECK;

/*
 * Waits until a job has ended; progress (may be NULL) is called with each state of it.  The answer
 * is the job; a job that failed becomes its error.  timeout_ms 0 = as long as it takes.
 */
typedef void client_job_progress(void *arg, const json_t *job);
struct err *client_wait_job(struct client *client, const char *job, uint64_t timeout_ms,
                            client_job_progress *progress, void *arg, json_t **ret_job) MUST_CHECK;

/* Percent-encodes one segment of a path; NULL when memory is out.  The caller frees it. */
char *client_encode_segment(const char *text);
/* An error object of the API ({"status","message","causes","next"}) as struct err. */
struct err *client_error_of(const json_t *error, int http_status) MUST_CHECK;

#endif
