/* disk replace: a disk takes the content of a snapshot of any disk, in the background. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/control_int.h"

struct replace_data {
    struct disk *disk;
    struct snapshot *snapshot;
    bool of_branch; /* what a host wrote into the snapshot counts */
    char *text;
    struct catalog_job job_row;
};

static void data_free(void *data)
{
    free(((struct replace_data *)data)->text);
    free(data);
}

bool snapshot_content_is_branch(const struct op *op, const struct snapshot *snapshot)
{
    struct volume_disk_info info;
    return snapshot->row.branch_used && !arg_bool(op, "as_cut") &&
           snapshot_branch_find(snapshot, &info);
}

static struct err *check_both(struct op *op, struct replace_data *data)
{
    struct disk *disk = data->disk;
    if (disk->row.state != CATALOG_READY) {
        return err_new(STATUS_CONFLICT, "disk \"%s\" is %s", disk->row.name,
                       catalog_state_name(disk->row.state));
    }
    TRY(pool_check_open(disk->pool));
    TRY(snapshot_check_ready(data->snapshot));
    TRY(pool_check_open(data->snapshot->disk->pool));
    TRY(check_disk_idle(disk));
    TRY(check_snapshot_idle(data->snapshot));
    if (!(volume_pool_capabilities(disk->pool->engine) & VOLUME_CAP_REPLACE)) {
        return err_new(STATUS_NOT_SUPPORTED, "disks of pool \"%s\" cannot be replaced",
                       disk->pool->row.name);
    }
    return disk_check_quiet(op, disk);
}

static struct err *replace_check(struct op *op, struct replace_data *data)
{
    TRY(find_disk(op->control, arg_text(op, "name"), &data->disk));
    TRY(find_snapshot_of(op->control, arg_text(op, "from"), data->disk, &data->snapshot));
    data->of_branch = snapshot_content_is_branch(op, data->snapshot);
    if (data->snapshot->disk == data->disk && !data->of_branch) {
        return err_next(err_new(STATUS_CONFLICT, "snapshot \"%s\" is one of disk \"%s\" itself",
                                data->snapshot->row.name, data->disk->row.name),
                        "that takes milliseconds: tarn disk revert %s --to %s",
                        data->disk->row.name, data->snapshot->row.name);
    }
    return check_both(op, data);
}

static json_t *would_do(struct op *op, const struct replace_data *data)
{
    char from[TEXT_SIZE_MAX], to[TEXT_SIZE_MAX];
    const struct snapshot *s = data->snapshot;
    json_t *would = json_array();
    json_array_append_new(
        would,
        json_sprintf("copy snapshot \"%s\" of disk \"%s\"%s to disk \"%s\", at most %s, in the"
                     " background; until that is done the disk stays as it is",
                     s->row.name, s->disk->row.name,
                     data->of_branch ? " with what was written into it since" : "",
                     data->disk->row.name, text_format_size(s->row.size_bytes, to)));
    json_array_append_new(would,
                          json_sprintf("then take away everything that disk \"%s\" holds; keep"
                                       " that for 24 hours as an undo point",
                                       data->disk->row.name));
    if (s->row.size_bytes != data->disk->row.size_bytes) {
        json_array_append_new(would,
                              json_sprintf("change its size from %s to %s",
                                           text_format_size(data->disk->row.size_bytes, from),
                                           text_format_size(s->row.size_bytes, to)));
    }
    disk_say_who_uses(op, data->disk, would);
    return would;
}

static struct err *fill_job(struct op *op, struct replace_data *data)
{
    char disk[UUID_TEXT_SIZE], snapshot[UUID_TEXT_SIZE], undo[UUID_TEXT_SIZE];
    char temporary[UUID_TEXT_SIZE] = "", resync_by[UUID_TEXT_SIZE] = "";
    struct uuid drawn = rt_uuid(op->control->rt);
    uuid_format(&drawn, undo);
    drawn = rt_uuid(op->control->rt);
    if (data->of_branch) uuid_format(&drawn, temporary);
    if (op_resync_by(op)) uuid_format(op_resync_by(op), resync_by);
    json_t *work = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:b}", "actor", op->actor.name, "disk",
                             uuid_format(&data->disk->row.uuid, disk), "snapshot",
                             uuid_format(&data->snapshot->row.uuid, snapshot), "undo", undo,
                             "temporary", temporary, "resync_by", resync_by, "force",
                             arg_bool(op, "force"), "keep_vss_flags",
                             arg_bool(op, "keep_vss_flags"));
    data->text = work ? json_dumps(work, JSON_COMPACT) : NULL;
    json_decref(work);
    if (!data->text) return err_new(STATUS_NO_MEMORY, "job");
    job_row_fill(op->control, op->verb->id, data->disk->row.name, data->text, &data->job_row);
    return NULL;
}

static struct err *job_write(struct catalog *catalog, void *arg)
{
    const struct replace_data *data = ((struct op *)arg)->data;
    return catalog_put_job(catalog, &data->job_row);
}

static void begin(struct op *op, struct err *e)
{
    struct replace_data *data = op->data;
    if (!e) e = fill_job(op, data);
    if (e) {
        op_fail(op, e);
    } else if (arg_bool(op, "dry_run")) {
        op_end_dry_run(op, would_do(op, data));
    } else {
        op_catalog_audited(op, job_write);
    }
}

static void step_launch(struct op *op)
{
    struct replace_data *data = op->data;
    struct job *job = job_launch(op->control, &data->job_row);
    op->result = json_pack("{s:o}", "job", json_job(job));
    op_next(op);
}

static void step_replace(struct op *op)
{
    struct replace_data *data = op_data(op, sizeof *data);
    op->data_free = data_free;
    begin(op, replace_check(op, data));
}

static op_step *const launch_steps[] = {step_launch, NULL};

void replace_instead(struct op *op, struct disk *disk, struct snapshot *snapshot)
{
    struct replace_data *data = op_data(op, sizeof *data);
    op->data_free = data_free;
    data->disk = disk;
    data->snapshot = snapshot;
    data->of_branch = snapshot_content_is_branch(op, snapshot);
    op_continue_with(op, launch_steps);
    begin(op, check_both(op, data));
}

static op_step *const replace_steps[] = {step_replace, step_launch, NULL};

const struct op_plan plans_replace[] = {
    {"disk_replace", OP_LANE_GENERAL, replace_steps, NULL},
    {0},
};
