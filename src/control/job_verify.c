/*
 * snapshot verify: reads every block of snapshots through its checksum and takes the SHA-256 of the
 * whole content, as `sha256sum` of the LUN would.  The first time it is stored, later it is
 * compared.  A durable job: after a restart it begins again with the snapshot that it was at.
 */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "control/control_int.h"

enum { VERIFY_CHUNK_BYTES = 1024 * 1024 };

struct run {
    struct job *job;
    struct control *control;
    unsigned count, next, bad;
    struct uuid *snapshots;
    uint64_t before_bytes, offset_bytes;
    struct volume *volume; /* of the snapshot of now */
    gnutls_hash_hd_t hash;
    bool is_hashing; /* hash is open */
    bool in_flight;  /* a read, a turn of the worker or an operation */
    struct volume_io io;
    struct iovec iov;
    struct rt_work work;
    struct catalog_snapshot row; /* to be stored */
    uint8_t data[VERIFY_CHUNK_BYTES];
};

static void go(struct run *run);

static struct snapshot *snapshot_of(const struct run *run)
{
    return run->next < run->count ? inventory_snapshot(run->control, &run->snapshots[run->next])
                                  : NULL;
}

static void drop(struct job *job)
{
    struct run *run = job->run;
    if (run->is_hashing) gnutls_hash_deinit(run->hash, NULL);
    free(run->snapshots);
    free(run);
    job->run = NULL;
}

/* Nothing is in flight. */
static void let_go(struct run *run)
{
    struct snapshot *snapshot = snapshot_of(run);
    if (snapshot && snapshot->job == run->job) snapshot->job = NULL;
    volume_close(take_ptr(&run->volume));
    if (run->is_hashing) gnutls_hash_deinit(run->hash, NULL);
    run->is_hashing = false;
    run->offset_bytes = 0;
}

static void end(struct run *run, struct err *e)
{
    struct job *job = run->job;
    unsigned count = run->next, bad = run->bad;
    let_go(run);
    drop(job);
    if (!e && bad) {
        e = err_next(err_new(STATUS_BLOCK_CORRUPT, "%u of %u snapshots are damaged", bad, count),
                     "tarn event list says which");
    }
    if (!e) job->result = json_pack("{s:i}", "verified", (int)count);
    job_end(job, e);
}

static void to_next(struct run *run)
{
    const struct snapshot *snapshot = snapshot_of(run);
    if (snapshot) run->before_bytes += snapshot->row.size_bytes;
    let_go(run);
    run->next++;
    go(run);
}

static void damaged(struct run *run, const char *what)
{
    const struct snapshot *snapshot = snapshot_of(run);
    run->bad++;
    event_note(run->control, LEVEL_ALERT, "verify", snapshot ? snapshot->row.name : "?",
               "the snapshot is damaged: %s", what);
}

/* ---- The result of one ----------------------------------------------------------------------- */

static struct err *write_row(struct catalog *catalog, void *arg)
{
    const struct run *run = ((struct op *)arg)->finish_arg;
    return catalog_put_snapshot(catalog, &run->row);
}

static void step_store(struct op *op)
{
    struct run *run = op->finish_arg;
    const struct snapshot *snapshot = snapshot_of(run);
    uint8_t sha256[sizeof run->row.sha256];
    memcpy(sha256, run->row.sha256, sizeof sha256);
    if (!snapshot) {
        op_end(op);
        return;
    }
    run->row = snapshot->row; /* other verbs may have changed it meanwhile */
    memcpy(run->row.sha256, sha256, sizeof sha256);
    run->row.has_sha256 = true;
    run->row.verified_ns = rt_wall(op->control->rt);
    json_object_set_new(op->arguments, "snapshot", json_string(snapshot->row.name));
    op_catalog_audited(op, write_row);
}

static void stored(struct op *op)
{
    struct run *run = op->finish_arg;
    struct snapshot *snapshot = snapshot_of(run);
    run->in_flight = false;
    if (op->error) {
        end(run, take_ptr(&op->error));
        return;
    }
    if (snapshot) {
        snapshot->row.has_sha256 = true;
        snapshot->row.verified_ns = run->row.verified_ns;
        memcpy(snapshot->row.sha256, run->row.sha256, sizeof run->row.sha256);
    }
    to_next(run);
}

static void judge(struct run *run)
{
    static op_step *const steps[] = {step_store, NULL};
    static const struct op_plan plan = {
        .verb = "snapshot_verified", .lane = OP_LANE_GENERAL, .steps = steps};
    const struct snapshot *snapshot = snapshot_of(run);
    gnutls_hash_deinit(run->hash, run->row.sha256);
    run->is_hashing = false;
    if (snapshot->row.has_sha256 &&
        memcmp(snapshot->row.sha256, run->row.sha256, sizeof run->row.sha256) != 0) {
        damaged(run, "its content is not what it was when it was verified first");
        to_next(run);
        return;
    }
    run->in_flight = true;
    op_start_internal(run->control, &plan, NULL, stored, run);
}

/* ---- Reading --------------------------------------------------------------------------------- */

static void hash_on_worker(struct rt_work *work)
{
    struct run *run = container_of(work, struct run, work);
    gnutls_hash(run->hash, run->data, run->iov.iov_len);
}

static void hashed(struct rt_work *work)
{
    struct run *run = container_of(work, struct run, work);
    run->in_flight = false;
    run->offset_bytes += run->iov.iov_len;
    run->job->done_bytes = run->before_bytes + run->offset_bytes;
    go(run);
}

static void was_read(struct volume_io *io)
{
    struct run *run = container_of(io, struct run, io);
    if (io->status != STATUS_OK) {
        run->in_flight = false;
        damaged(run, status_info(io->status)->text);
        to_next(run);
        return;
    }
    run->work = (struct rt_work){.fn = hash_on_worker, .done = hashed};
    rt_work(run->control->worker, &run->work);
}

static void read_on(struct run *run)
{
    uint64_t left = volume_size_bytes(run->volume) - run->offset_bytes;
    run->iov = (struct iovec){.iov_base = run->data,
                              .iov_len = (size_t)min_of(left, (uint64_t)VERIFY_CHUNK_BYTES)};
    run->io = (struct volume_io){.op = VOLUME_READ,
                                 .sector = run->offset_bytes / SECTOR_BYTES,
                                 .sector_count = run->iov.iov_len / SECTOR_BYTES,
                                 .iov = &run->iov,
                                 .iov_count = 1,
                                 .done = was_read};
    run->in_flight = true;
    volume_submit(run->volume, &run->io);
}

static struct err *open_next(struct run *run, struct snapshot *snapshot)
{
    TRY(snapshot_check_ready(snapshot));
    TRY(check_snapshot_idle(snapshot));
    if (!snapshot->disk->pool->engine) return pool_check_open(snapshot->disk->pool);
    TRY(volume_open(snapshot->disk->pool->engine, NULL, &snapshot->row.point, VOLUME_READ_ONLY,
                    &run->volume));
    if (gnutls_hash_init(&run->hash, GNUTLS_DIG_SHA256) != 0) {
        volume_close(take_ptr(&run->volume));
        return err_new(STATUS_NO_MEMORY, "SHA-256");
    }
    run->is_hashing = true;
    snapshot->job = run->job;
    return NULL;
}

static void go(struct run *run)
{
    struct job *job = run->job;
    check(!run->in_flight);
    if (run->control->stopping) {
        let_go(run);
        drop(job);
        job_suspended(job);
        return;
    }
    if (job->is_cancelled) {
        end(run, err_new(STATUS_CANCELLED, "it was cancelled"));
        return;
    }
    if (job->row.state != JOB_RUNNING) return;
    while (run->next < run->count && !snapshot_of(run)) /* deleted meanwhile */
        run->next++;
    if (run->next == run->count) {
        end(run, NULL);
        return;
    }
    struct err *e = run->volume ? NULL : open_next(run, snapshot_of(run));
    if (e) {
        end(run, e);
    } else if (run->offset_bytes == volume_size_bytes(run->volume)) {
        judge(run);
    } else {
        read_on(run);
    }
}

/* ---- The job --------------------------------------------------------------------------------- */

static void start(struct job *job)
{
    struct run *run = calloc(1, sizeof *run);
    const json_t *list = json_object_get(job->work, "snapshots");
    check(run);
    run->job = job;
    run->control = job->control;
    run->snapshots = calloc(json_array_size(list) + 1, sizeof *run->snapshots);
    check(run->snapshots);
    job->run = run;
    job->done_bytes = job->total_bytes = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i));
        if (!text || !uuid_parse(text, &run->snapshots[run->count])) continue;
        const struct snapshot *s = inventory_snapshot(run->control, &run->snapshots[run->count++]);
        if (s) job->total_bytes += s->row.size_bytes;
    }
    go(run);
}

static void poke(struct job *job)
{
    struct run *run = job->run;
    if (!run->in_flight) go(run);
}

const struct job_type job_types_verify[] = {
    {"snapshot_verify", start, poke, poke, poke, drop, NULL},
    {0},
};

/* ---- The verb -------------------------------------------------------------------------------- */

struct verify_data {
    json_t *list;
    char object[CATALOG_NAME_SIZE];
    char *text;
    struct catalog_job job_row;
};

static void data_free(void *arg)
{
    struct verify_data *data = arg;
    json_decref(data->list);
    free(data->text);
    free(data);
}

static void add(struct verify_data *data, const struct snapshot *snapshot)
{
    char text[UUID_TEXT_SIZE];
    json_array_append_new(data->list, json_string(uuid_format(&snapshot->row.uuid, text)));
}

static struct err *verify_check(struct op *op, struct verify_data *data)
{
    const char *name = arg_text(op, "name");
    struct snapshot *snapshot = NULL;
    if (!name == !arg_bool(op, "all")) {
        return err_next(err_new(STATUS_BAD_REQUEST, "give a name, or \"all\""),
                        "tarn snapshot verify NAME, or tarn snapshot verify --all");
    }
    snprintf(data->object, sizeof data->object, "%s", name ? name : "all");
    data->list = json_array();
    if (name) {
        TRY(find_snapshot(op->control, name, &snapshot));
        TRY(snapshot_check_ready(snapshot));
        TRY(check_snapshot_idle(snapshot));
        add(data, snapshot);
    }
    list_for_each (node, &op->control->snapshots) {
        const struct snapshot *s =
            container_of(list_entry(node, struct object, link), struct snapshot, object);
        struct err *e = name ? NULL : snapshot_check_ready(s);
        if (!name && !e && s->disk->pool->engine) add(data, s);
        err_free(e);
    }
    json_t *work = json_pack("{s:O}", "snapshots", data->list);
    data->text = work ? json_dumps(work, JSON_COMPACT) : NULL;
    json_decref(work);
    if (!data->text) return err_new(STATUS_NO_MEMORY, "job");
    job_row_fill(op->control, op->verb->id, data->object, data->text, &data->job_row);
    return NULL;
}

static struct err *job_write(struct catalog *catalog, void *arg)
{
    const struct verify_data *data = ((struct op *)arg)->data;
    return catalog_put_job(catalog, &data->job_row);
}

static void step_verify(struct op *op)
{
    struct verify_data *data = op_data(op, sizeof *data);
    op->data_free = data_free;
    struct err *e = verify_check(op, data);
    if (e) {
        op_fail(op, e);
        return;
    }
    op_catalog_audited(op, job_write);
}

static void step_launch(struct op *op)
{
    const struct verify_data *data = op->data;
    struct job *job = job_launch(op->control, &data->job_row);
    op->result = json_pack("{s:o}", "job", json_job(job));
    op_next(op);
}

static op_step *const verify_steps[] = {step_verify, step_launch, NULL};

const struct op_plan plans_verify[] = {
    {"snapshot_verify", OP_LANE_GENERAL, verify_steps, NULL},
    {0},
};
