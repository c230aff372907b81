/*
 * target.c - an iSCSI server over volumes in memory, to test the target with what others have
 * written: iscsi-test-cu, qemu, libiscsi's tools.
 *
 *     conformance_target --port 0 --lun-size 256M
 *     listening 127.0.0.1:41213 iqn.2026-11.local.tarn:test
 *
 * LUN 0 is a disk, LUN 1 another; --read-only-lun adds a write-protected one behind them.  Every
 * initiator is let in, unless --chap USER:SECRET asks it for a secret (--mutual USER:SECRET: and us
 * for ours).
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "iscsi/iscsi.h"
#include "rt/rt_linux.h"
#include "tests/lib/memvol.h"

enum { LUNS = 3 };

static const char target_name[] = "iqn.2026-11.local.tarn:test";

struct options {
    char listen[64];
    uint64_t size_bytes, buffer_bytes;
    unsigned luns;
    bool read_only;
    char *chap, *mutual;
    unsigned nop_interval_s;
};

struct program {
    struct rt *rt;
    struct volume_pool *pool;
    struct volume *volumes[LUNS];
    struct scsi_lun *units[LUNS];
    struct scsi_map *map;
    struct iscsi_server *server;
    struct iscsi_access access;
};

static _Noreturn void die(struct err *e)
{
    char text[512];
    fprintf(stderr, "conformance_target: %s\n", err_text(e, text, sizeof text));
    err_free(e);
    exit(1);
}

static void must(struct err *e)
{
    if (e) die(e);
}

static _Noreturn void usage(void)
{
    fprintf(stderr,
            "usage: conformance_target [--listen ADDRESS] [--port N] [--lun-size SIZE] [--luns N]\n"
            "         [--read-only-lun] [--chap USER:SECRET] [--mutual USER:SECRET]\n"
            "         [--buffers SIZE] [--nop-interval SECONDS]\n");
    exit(2);
}

static enum status find(void *arg, const char *initiator_name, struct iscsi_access *ret_access)
{
    const struct program *p = arg;
    *ret_access = p->access;
    return STATUS_OK;
}

/* "user:secret" is cut in place. */
static void split(char *text, const char **ret_user, const char **ret_secret)
{
    char *colon = strchr(text, ':');
    if (!colon) usage();
    *colon = '\0';
    *ret_user = text;
    *ret_secret = colon + 1;
}

static void add_lun(struct program *p, unsigned number, uint64_t size_bytes, bool read_only)
{
    struct uuid uuid = rt_uuid(p->rt);
    p->volumes[number] =
        memvol_disk(p->pool, &uuid, size_bytes, read_only ? VOLUME_READ_ONLY : VOLUME_READ_WRITE);
    struct scsi_lun_options options = {
        .volume = p->volumes[number],
        .identity = {.naa_bytes = 8},
        .write_protected = read_only,
    };
    rt_random(p->rt, options.identity.naa, 8);
    options.identity.naa[0] = (uint8_t)(0x30 | (options.identity.naa[0] & 0x0F));
    text_format_hex(uuid.bytes, sizeof uuid.bytes, options.identity.serial);
    must(scsi_lun_create(p->rt, &options, &p->units[number]));
    must(scsi_map_add(p->map, number, p->units[number]));
}

static void server_closed(void *arg)
{
    const struct program *p = arg;
    rt_stop(p->rt);
}

static void signalled(void *arg, int number)
{
    struct program *p = arg;
    if (p->server) iscsi_server_close(take_ptr(&p->server), server_closed, p);
}

static void parse(int argc, char **argv, struct options *o)
{
    static const struct option names[] = {
        {"listen", required_argument, NULL, 'l'},       {"port", required_argument, NULL, 'p'},
        {"lun-size", required_argument, NULL, 's'},     {"luns", required_argument, NULL, 'n'},
        {"read-only-lun", no_argument, NULL, 'r'},      {"chap", required_argument, NULL, 'c'},
        {"mutual", required_argument, NULL, 'm'},       {"buffers", required_argument, NULL, 'b'},
        {"nop-interval", required_argument, NULL, 'i'}, {NULL, 0, NULL, 0},
    };
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        bool good = true;
        if (c == 'l')
            snprintf(o->listen, sizeof o->listen, "%s", optarg);
        else if (c == 'p')
            snprintf(o->listen, sizeof o->listen, "127.0.0.1:%s", optarg);
        else if (c == 's')
            good = text_parse_size(optarg, &o->size_bytes);
        else if (c == 'b')
            good = text_parse_size(optarg, &o->buffer_bytes);
        else if (c == 'n')
            o->luns = (unsigned)atoi(optarg);
        else if (c == 'r')
            o->read_only = true;
        else if (c == 'c')
            o->chap = optarg;
        else if (c == 'm')
            o->mutual = optarg;
        else if (c == 'i')
            o->nop_interval_s = (unsigned)atoi(optarg);
        else
            good = false;
        if (!good) usage();
    }
    if (optind != argc || o->luns < 1 || o->luns >= LUNS) usage();
}

int main(int argc, char **argv)
{
    struct options o = {.listen = "127.0.0.1:0", .size_bytes = 128 * MIB, .luns = 2};
    struct program p = {0};
    parse(argc, argv, &o);
    must(rt_linux_create(&(struct rt_linux_options){.buffer_bytes = o.buffer_bytes}, &p.rt));
    p.pool = memvol_pool_create(p.rt);
    must(scsi_map_create(p.rt, &p.map));
    unsigned count = 0;
    while (count < o.luns)
        add_lun(&p, count++, o.size_bytes, false);
    if (o.read_only) add_lun(&p, count++, o.size_bytes, true);

    p.access = (struct iscsi_access){.map = p.map, .host = &p};
    if (o.chap) {
        p.access.auth = o.mutual ? ISCSI_AUTH_MUTUAL : ISCSI_AUTH_CHAP;
        split(o.chap, &p.access.chap_user, &p.access.chap_secret);
        if (o.mutual) split(o.mutual, &p.access.mutual_user, &p.access.mutual_secret);
    }
    struct iscsi_server_options options = {
        .target_name = target_name,
        .target_alias = "tarn test",
        .portal_count = 1,
        .portals = {{.listen = o.listen}},
        .nop_interval_s = o.nop_interval_s,
    };
    const struct iscsi_access_ops ops = {.find = find};
    must(iscsi_server_create(p.rt, &options, &ops, &p, &p.server));
    must(rt_linux_on_signal(p.rt, signalled, &p));
    printf("listening %s %s\n", iscsi_server_portal_address(p.server, 0), target_name);
    fflush(stdout);
    rt_run(p.rt);

    for (unsigned i = 0; i < count; i++)
        scsi_map_remove(p.map, i, NULL, NULL);
    for (unsigned i = 0; i < count; i++)
        scsi_lun_destroy(p.units[i]);
    scsi_map_destroy(p.map);
    volume_pool_abandon(p.pool);
    rt_linux_destroy(p.rt);
    return 0;
}
