/*
 * tarnd - the server.  Start: lock the state directory, catalog, pools, maps; then portals open, so
 * that initiators find complete maps; then the API.  SIGTERM goes back the same way; a second one
 * ends at once.
 */
#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <jansson.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "control/control.h"
#include "control/http.h"
#include "iscsi/iscsi.h"
#include "rt/rt_linux.h"
#include "tarnd/config.h"

#ifndef TARN_VERSION
#define TARN_VERSION "0.1.0"
#endif

enum { EXIT_USAGE = 2 };

struct tarnd {
    struct config config;
    struct rt *rt;
    struct control *control;
    struct iscsi_server *iscsi;
    struct http *http;
    struct tls_identity identity;
    char target_name[CONFIG_TEXT_SIZE];
    int lock_fd;
    int exit_code;
    bool stopping, control_started;
};

/* ---- Between control and the target ---------------------------------------------------------- */

static enum status find_initiator(void *arg, const char *name, struct iscsi_access *ret_access)
{
    struct tarnd *tarnd = arg;
    struct control_host_access access;
    enum status status = control_find_initiator(tarnd->control, name, &access);
    if (status != STATUS_OK) return status;
    static const enum iscsi_auth auth[] = {[CONTROL_AUTH_NONE] = ISCSI_AUTH_NONE,
                                           [CONTROL_AUTH_CHAP] = ISCSI_AUTH_CHAP,
                                           [CONTROL_AUTH_MUTUAL] = ISCSI_AUTH_MUTUAL};
    *ret_access = (struct iscsi_access){.map = access.map,
                                        .host = access.host,
                                        .auth = auth[access.auth],
                                        .chap_user = access.chap_user,
                                        .chap_secret = access.chap_secret,
                                        .mutual_user = access.mutual_user,
                                        .mutual_secret = access.mutual_secret};
    return STATUS_OK;
}

static void session_changed(void *arg, void *host, const char *initiator_name, bool up)
{
    control_session_changed(((struct tarnd *)arg)->control, host, initiator_name, up);
}

static void drop_host(void *arg, void *host, void (*done)(void *done_arg), void *done_arg)
{
    iscsi_server_drop_host(((struct tarnd *)arg)->iscsi, host, done, done_arg);
}

static const char *portal_address(void *arg, unsigned index)
{
    struct tarnd *tarnd = arg;
    if (!tarnd->iscsi || index >= tarnd->config.portal_count) return NULL;
    return iscsi_server_portal_address(tarnd->iscsi, index);
}

static const struct iscsi_access_ops access_ops = {.find = find_initiator,
                                                   .session_changed = session_changed};
static const struct control_target_ops target_ops = {.drop_host = drop_host,
                                                     .portal_address = portal_address};

/* ---- Stop ------------------------------------------------------------------------------------ */

static void control_stopped(void *arg)
{
    rt_stop(((struct tarnd *)arg)->rt);
}

static void stop_control(void *arg)
{
    struct tarnd *tarnd = arg;
    tarnd->iscsi = NULL;
    control_set_target(tarnd->control, NULL, NULL);
    control_stop(tarnd->control, control_stopped, tarnd);
}

static void stop_iscsi(void *arg)
{
    struct tarnd *tarnd = arg;
    tarnd->http = NULL;
    if (tarnd->iscsi) {
        iscsi_server_close(tarnd->iscsi, stop_control, tarnd);
    } else {
        stop_control(tarnd);
    }
}

static void stop(struct tarnd *tarnd)
{
    tarnd->stopping = true;
    if (tarnd->http) {
        http_close(tarnd->http, stop_iscsi, tarnd);
    } else {
        stop_iscsi(tarnd);
    }
}

static void on_signal(void *arg, int signal)
{
    struct tarnd *tarnd = arg;
    if (tarnd->stopping) _exit(1);
    log_info("stopping", "signal=%d", signal);
    /* While pools are being recovered there is nothing to close, and a kill is what recovery is made for. */
    if (!tarnd->control_started) _exit(0);
    stop(tarnd);
}

/* ---- Start ----------------------------------------------------------------------------------- */

static struct err *start_iscsi(struct tarnd *tarnd)
{
    struct config *config = &tarnd->config;
    if (config->target_name[0] != '\0') {
        snprintf(tarnd->target_name, sizeof tarnd->target_name, "%s", config->target_name);
    } else {
        struct uuid uuid = control_server_uuid(tarnd->control);
        char text[UUID_TEXT_SIZE];
        snprintf(tarnd->target_name, sizeof tarnd->target_name, "iqn.2026-11.local.tarn:%s",
                 uuid_format(&uuid, text));
    }
    control_set_target_name(tarnd->control, tarnd->target_name);
    struct iscsi_server_options options = {.target_name = tarnd->target_name,
                                           .target_alias = config->name,
                                           .portal_count = config->portal_count};
    for (unsigned i = 0; i < config->portal_count; i++) {
        options.portals[i].listen = config->portals[i];
        if (config->advertise_count) options.portals[i].advertise = config->advertise[i];
    }
    TRY(iscsi_server_create(tarnd->rt, &options, &access_ops, tarnd, &tarnd->iscsi));
    control_set_target(tarnd->control, &target_ops, tarnd);
    return NULL;
}

static struct err *read_token(struct tarnd *tarnd, char *token, size_t size)
{
    char path[CONFIG_PATH_SIZE + 32];
    snprintf(path, sizeof path, "%s/admin.token", tarnd->config.state_dir);
    FILE *file = fopen(path, "re");
    if (!file) return err_from_errno("%s", path);
    size_t n = fread(token, 1, size - 1, file);
    fclose(file);
    token[n] = '\0';
    token[strcspn(token, "\r\n")] = '\0';
    return NULL;
}

/* What the CLI on this machine reads: address, pin, token. */
static struct err *write_client_file(struct tarnd *tarnd)
{
    char path[CONFIG_PATH_SIZE + 32], temporary[CONFIG_PATH_SIZE + 40], token[128] = "",
                                                                        server[160];
    struct err *e = read_token(tarnd, token, sizeof token);
    if (e) { /* revoked or moved away on purpose */
        log_warn("no admin.token: client.json has no token", "state_dir=\"%s\"",
                 tarnd->config.state_dir);
        err_free(e);
    }
    const char *address = http_address(tarnd->http);
    const char *port = strrchr(address, ':');
    bool wildcard = strncmp(address, "0.0.0.0:", 8) == 0 || strncmp(address, "[::]:", 5) == 0;
    snprintf(server, sizeof server, "https://%s%s", wildcard ? "127.0.0.1" : "",
             wildcard ? port : address);
    json_t *json =
        json_pack("{s:s, s:s, s:s}", "server", server, "pin", tarnd->identity.pin, "token", token);
    char *text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
    json_decref(json);
    snprintf(path, sizeof path, "%s/client.json", tarnd->config.state_dir);
    snprintf(temporary, sizeof temporary, "%s.new", path);
    unlink(temporary);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool ok = text && fd >= 0 && dprintf(fd, "%s\n", text) > 0 && rename(temporary, path) == 0;
    e = ok ? NULL : err_from_errno("write %s", path);
    if (fd >= 0) close(fd);
    free(text);
    return e;
}

/* Of an API that listens everywhere only an administrator can say what hosts call it. */
static void tell_control(struct tarnd *tarnd)
{
    const char *address = http_address(tarnd->http), *pin = tarnd->identity.pin;
    bool wildcard = strncmp(address, "0.0.0.0:", 8) == 0 || strncmp(address, "[::]:", 5) == 0;
    control_set_api(tarnd->control, &pin, 1, wildcard ? "" : address);
}

static void notify_ready(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof address.sun_path)
        return;
    memcpy(address.sun_path, path, strlen(path));
    if (path[0] == '@') address.sun_path[0] = '\0';
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return;
    if (sendto(fd, "READY=1", 7, MSG_NOSIGNAL, (struct sockaddr *)&address, size) < 0) {
        log_warn("could not tell the service manager that the server is ready", "socket=\"%s\"",
                 path);
    }
    close(fd);
}

static void log_ready(struct tarnd *tarnd)
{
    char portals[CONFIG_PORTALS_MAX * (CONFIG_ADDRESS_SIZE + 1)] = "";
    for (unsigned i = 0; i < tarnd->config.portal_count; i++) {
        size_t used = strlen(portals);
        snprintf(portals + used, sizeof portals - used, "%s%s", used ? "," : "",
                 iscsi_server_portal_address(tarnd->iscsi, i));
    }
    log_info("ready", "api=%s iscsi=%s target=%s pin=%s", http_address(tarnd->http), portals,
             tarnd->target_name, tarnd->identity.pin);
}

/* Ends the travel of an error of starting. */
static void cannot_start(struct tarnd *tarnd, struct err *e)
{
    log_failure("the server could not start", e);
    const char *next = err_next_text(e);
    if (next) fprintf(stderr, "%s\n", next);
    tarnd->exit_code = status_info(err_status(e))->exit_code;
    err_free(e);
}

static void on_started(void *arg, struct err *e)
{
    struct tarnd *tarnd = arg;
    tarnd->control_started = e == NULL;
    if (!e) e = start_iscsi(tarnd);
    if (!e) {
        e = http_create(tarnd->rt, tarnd->control, tarnd->config.api_listen, &tarnd->identity,
                        &tarnd->http);
    }
    if (!e) tell_control(tarnd);
    if (!e) e = write_client_file(tarnd);
    if (e) {
        cannot_start(tarnd, e);
        if (!tarnd->control_started) _exit(tarnd->exit_code);
        stop(tarnd);
        return;
    }
    log_ready(tarnd);
    notify_ready();
}

/* Of two servers over one state directory the second is refused. */
static struct err *lock_state(struct tarnd *tarnd)
{
    const char *directory = tarnd->config.state_dir;
    if (mkdir(directory, 0700) && errno != EEXIST) return err_from_errno("make %s", directory);
    char path[CONFIG_PATH_SIZE + 16];
    snprintf(path, sizeof path, "%s/lock", directory);
    tarnd->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (tarnd->lock_fd < 0) return err_from_errno("open %s", path);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(tarnd->lock_fd, F_OFD_SETLK, &lock)) {
        return err_next(err_new(STATUS_LOCKED, "another tarnd uses %s", directory),
                        "stop it, or set another state_dir");
    }
    return NULL;
}

static struct err *run(struct tarnd *tarnd)
{
    char tls[CONFIG_PATH_SIZE + 8];
    snprintf(tls, sizeof tls, "%s/tls", tarnd->config.state_dir);
    TRY(lock_state(tarnd));
    TRY(rt_linux_create(&(struct rt_linux_options){.buffer_bytes = tarnd->config.buffer_bytes},
                        &tarnd->rt));
    log_info("runtime", "backend=%s", rt_linux_backend_name(tarnd->rt));
    if (rt_linux_refusal(tarnd->rt)) log_failure("io_uring is refused", rt_linux_refusal(tarnd->rt));
    TRY(rt_linux_on_signal(tarnd->rt, on_signal, tarnd));
    TRY(tls_identity_load(tarnd->rt, tls, &tarnd->identity));
    struct control_options options = {.state_directory = tarnd->config.state_dir,
                                      .cache_bytes = tarnd->config.cache_bytes,
                                      .server_name = tarnd->config.name,
                                      .version = TARN_VERSION};
    TRY(control_create(tarnd->rt, &options, &tarnd->control));
    control_start(tarnd->control, on_started, tarnd);
    rt_run(tarnd->rt);
    return NULL;
}

static int usage(FILE *file)
{
    fprintf(file, "usage: tarnd [-c FILE]\n\n"
                  "  -c FILE     configuration (default /etc/tarn/tarn.conf)\n"
                  "  --version   print the version\n"
                  "  --help      print this\n");
    return file == stdout ? EXIT_SUCCESS : EXIT_USAGE;
}

int main(int argc, char **argv)
{
    static struct tarnd tarnd = {.lock_fd = -1};
    const char *path = "/etc/tarn/tarn.conf";
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return usage(stdout);
        if (strcmp(argv[i], "--version") == 0) {
            printf("tarnd %s\n", TARN_VERSION);
            return EXIT_SUCCESS;
        }
        if (strcmp(argv[i], "-c") != 0 || i + 1 == argc) return usage(stderr);
        path = argv[++i];
    }
    signal(SIGPIPE, SIG_IGN);
    config_defaults(&tarnd.config);
    struct err *e = config_load(path, &tarnd.config);
    if (e) {
        log_failure("bad configuration", e);
        const char *next = err_next_text(e);
        if (next) fprintf(stderr, "%s\n", next);
        err_free(e);
        return EXIT_USAGE;
    }
    log_set_level(tarnd.config.log_level);
    umask(0077);
    e = run(&tarnd);
    if (e) cannot_start(&tarnd, e);
    control_destroy(tarnd.control);
    tls_identity_fini(&tarnd.identity);
    rt_linux_destroy(tarnd.rt);
    if (tarnd.lock_fd >= 0) close(tarnd.lock_fd);
    return tarnd.exit_code;
}
