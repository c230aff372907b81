/* Prometheus text (exposition format 0.0.4). */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/control_int.h"

/* Label values: backslash, quote and newline are escaped. */
static void put_label(FILE *file, const char *value)
{
    for (const char *p = value; *p != '\0'; p++) {
        if (*p == '\\' || *p == '"') fputc('\\', file);
        fputc(*p, file);
    }
}

static void put(FILE *file, const char *name, const char *label, const char *value, uint64_t number)
{
    fprintf(file, "tarn_%s", name);
    if (label) {
        fprintf(file, "{%s=\"", label);
        put_label(file, value);
        fputs("\"}", file);
    }
    fprintf(file, " %" PRIu64 "\n", number);
}

static void type_of(FILE *file, const char *name, const char *type, const char *help)
{
    fprintf(file, "# HELP tarn_%s %s\n# TYPE tarn_%s %s\n", name, help, name, type);
}

static void put_pools(FILE *file, struct control *control)
{
    static const struct {
        const char *name, *type, *help;
        size_t usage_offset, counter_offset; /* one of them, +1; 0 = the other */
    } rows[] = {
        {"pool_size_bytes", "gauge", "Size of the pool",
         offsetof(struct volume_pool_usage, size_bytes) + 1, 0},
        {"pool_used_bytes", "gauge", "Data and metadata",
         offsetof(struct volume_pool_usage, used_bytes) + 1, 0},
        {"pool_free_bytes", "gauge", "What host writes can still take",
         offsetof(struct volume_pool_usage, free_bytes) + 1, 0},
        {"pool_host_writes_total", "counter", "Writes of hosts", 0,
         offsetof(struct volume_pool_counters, host_writes) + 1},
        {"pool_host_write_bytes_total", "counter", "Bytes written by hosts", 0,
         offsetof(struct volume_pool_counters, host_write_bytes) + 1},
        {"pool_host_reads_total", "counter", "Reads of hosts", 0,
         offsetof(struct volume_pool_counters, host_reads) + 1},
        {"pool_host_read_bytes_total", "counter", "Bytes read by hosts", 0,
         offsetof(struct volume_pool_counters, host_read_bytes) + 1},
        {"pool_device_flushes_total", "counter", "Flushes of the device", 0,
         offsetof(struct volume_pool_counters, device_flushes) + 1},
        {"pool_checksum_errors_total", "counter", "Blocks that did not match their checksum", 0,
         offsetof(struct volume_pool_counters, checksum_errors) + 1},
    };
    for (unsigned i = 0; i < countof(rows); i++) {
        type_of(file, rows[i].name, rows[i].type, rows[i].help);
        list_for_each (node, &control->pools) {
            struct pool *pool =
                container_of(list_entry(node, struct object, link), struct pool, object);
            struct volume_pool_usage usage;
            struct volume_pool_counters counters;
            if (!pool->engine) continue;
            volume_pool_usage(pool->engine, &usage);
            volume_pool_counters(pool->engine, &counters);
            const char *base =
                rows[i].usage_offset ? (const char *)&usage : (const char *)&counters;
            size_t offset = rows[i].usage_offset ? rows[i].usage_offset : rows[i].counter_offset;
            uint64_t value;
            memcpy(&value, base + offset - 1, sizeof value);
            put(file, rows[i].name, "pool", pool->row.name, value);
        }
    }
}

static void put_sets(FILE *file, struct control *control)
{
    uint64_t counts[SET_STATE_COUNT] = {0};
    list_for_each (node, &control->sets) {
        counts[container_of(list_entry(node, struct object, link), struct set, object)
                   ->row.state]++;
    }
    type_of(file, "sets", "gauge", "Snapshot sets by state");
    for (unsigned i = 0; i < SET_STATE_COUNT; i++) {
        put(file, "sets", "state", catalog_set_state_name((enum catalog_set_state)i), counts[i]);
    }
}

static uint64_t count(const struct list *list)
{
    uint64_t n = 0;
    list_for_each (node, list)
        n++;
    return n;
}

char *control_metrics(struct control *control)
{
    char *data = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&data, &size);
    if (!file) return NULL;
    put_pools(file, control);
    put_sets(file, control);
    const struct {
        const char *name, *type, *help;
        uint64_t value;
    } rows[] = {
        {"disks", "gauge", "Disks and branches", count(&control->disks)},
        {"snapshots", "gauge", "Snapshots", count(&control->snapshots)},
        {"hosts", "gauge", "Hosts", count(&control->hosts)},
        {"jobs_running", "gauge", "Jobs that run", control->jobs_running},
        {"calls_total", "counter", "Verbs called", control->counters.calls},
        {"call_failures_total", "counter", "Verbs that ended with an error",
         control->counters.failures},
        {"sets_committed_total", "counter", "Sets cut", control->counters.sets_committed},
        {"sets_aborted_total", "counter", "Sets aborted", control->counters.sets_aborted},
        {"sets_lapsed_total", "counter", "Sets whose lease ended", control->counters.lapsed},
    };
    for (unsigned i = 0; i < countof(rows); i++) {
        type_of(file, rows[i].name, rows[i].type, rows[i].help);
        put(file, rows[i].name, NULL, NULL, rows[i].value);
    }
    fclose(file);
    return data;
}
