/* What a host is: its operating system decides how snapshots are served to it. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "control/control_int.h"

/* The naming authorities that the systems' own initiators use. */
static const struct {
    const char *prefix;
    enum catalog_os os;
} authorities[] = {
    {"iqn.1991-05.com.microsoft:", OS_WINDOWS}, {"iqn.1998-01.com.vmware:", OS_VMWARE},
    {"iqn.1993-08.org.debian:", OS_LINUX},      {"iqn.2004-10.com.ubuntu:", OS_LINUX},
    {"iqn.1994-05.com.redhat:", OS_LINUX},      {"iqn.1996-04.de.suse:", OS_LINUX},
};

static enum catalog_os os_by_name(const char *initiator)
{
    for (unsigned i = 0; i < countof(authorities); i++) {
        if (strncasecmp(initiator, authorities[i].prefix, strlen(authorities[i].prefix)) == 0) {
            return authorities[i].os;
        }
    }
    return OS_OTHER;
}

struct err *host_take_os(struct op *op, struct catalog_host *row)
{
    const char *text = arg_text(op, "os");
    if (!text) {
        row->os = row->initiator_count ? os_by_name(row->initiators[0]) : OS_OTHER;
        return NULL;
    }
    for (unsigned os = 0; os < OS_COUNT; os++) {
        if (strcmp(text, catalog_os_name((enum catalog_os)os)) != 0) continue;
        row->os = (enum catalog_os)os;
        return NULL;
    }
    return err_new(STATUS_BAD_REQUEST, "\"os\" must be windows, linux, vmware or other");
}

struct set_data {
    struct host *host;
    struct catalog_host row;
};

static struct err *set_check(struct op *op, struct set_data *data)
{
    TRY(find_host(op->control, arg_text(op, "name"), &data->host));
    data->row = data->host->row;
    TRY(host_take_os(op, &data->row));
    if (data->row.os == data->host->row.os) return NULL;
    list_for_each (node, &data->host->maps) {
        const struct map *map = list_entry(node, struct map, link);
        if (!map->snapshot) continue;
        return err_next(err_new(STATUS_IN_USE,
                                "host \"%s\" has snapshot \"%s\" as LUN %u, served as its present"
                                " system needs it",
                                data->row.name, map->snapshot->row.name, map->row.lun),
                        "unmap its snapshots first: tarn map remove %s %u", data->row.name,
                        map->row.lun);
    }
    return NULL;
}

static struct err *set_write(struct catalog *catalog, void *arg)
{
    const struct set_data *data = ((struct op *)arg)->data;
    return catalog_put_host(catalog, &data->row);
}

static void step_check(struct op *op)
{
    struct set_data *data = op_data(op, sizeof *data);
    struct err *e = set_check(op, data);
    if (e) {
        op_fail(op, e);
        return;
    }
    op_catalog_audited(op, set_write);
}

static void step_stored(struct op *op)
{
    struct set_data *data = op->data;
    data->host->row.os = data->row.os;
    op->result = json_host(data->host);
    op_next(op);
}

static op_step *const set_steps[] = {step_check, step_stored, NULL};

const struct op_plan plans_host_set[] = {
    {"host_set", OP_LANE_GENERAL, set_steps, NULL},
    {0},
};
