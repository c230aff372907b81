/*
 * report.c - what was done and how long it took: for programs and for people.
 */
#include <string.h>

#include "base/text.h"
#include "shadow/shadow.h"

void shadow_report_fini(struct shadow_report *report)
{
    json_decref(report->set);
    json_decref(report->writers);
    *report = (struct shadow_report){0};
}

/* Which disks the person named for this mount point: one, or several. */
static json_t *disks_of(const struct shadow_options *options, const char *mount)
{
    json_t *disks = json_array();
    for (unsigned i = 0; i < options->mount_count; i++) {
        size_t length = strlen(mount);
        bool same = strncmp(options->mounts[i].mount, mount, length) == 0 &&
                    strspn(options->mounts[i].mount + length, "/") ==
                        strlen(options->mounts[i].mount + length);
        if (same) json_array_append_new(disks, json_string(options->mounts[i].disk));
    }
    return disks;
}

/* To a hundredth, for people who read JSON. */
static double rounded_ms(uint64_t ns)
{
    uint64_t hundredths = (ns + 5000) / 10000;
    return (double)hundredths / 100.0;
}

json_t *shadow_report_json(const struct shadow_options *options, const struct shadow_report *report)
{
    json_t *phases = json_array(), *members = json_array();
    for (unsigned i = 0; i < report->phase_count; i++) {
        json_array_append_new(phases, json_pack("{s:s, s:I}", "name", report->phases[i].name, "ns",
                                                (json_int_t)report->phases[i].ns));
    }
    for (unsigned i = 0; i < report->member_count; i++) {
        const struct shadow_member *m = &report->members[i];
        json_array_append_new(members,
                              json_pack("{s:s, s:s, s:o, s:b, s:I}", "mount", m->mount, "fs_type",
                                        m->fs_type, "disks", disks_of(options, m->mount), "frozen",
                                        m->is_frozen, "frozen_ns", (json_int_t)m->frozen_ns));
    }
    return json_pack("{s:O?, s:O?, s:s?, s:I, s:I, s:f, s:f, s:b, s:b, s:o, s:o, s:O?}", "set",
                     report->set, "members", json_object_get(report->set, "members"), "consistency",
                     report->consistency, "frozen_ns", (json_int_t)report->frozen_ns, "commit_ns",
                     (json_int_t)report->commit_ns, "frozen_ms", rounded_ms(report->frozen_ns),
                     "commit_ms", rounded_ms(report->commit_ns), "connection_reused",
                     report->connection_reused, "watchdog_fired", report->watchdog_fired, "phases",
                     phases, "file_systems", members, "writers", report->writers);
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "-";
}

static void print_snapshots(FILE *out, const json_t *set)
{
    const json_t *members = json_object_get(set, "members");
    size_t width = strlen("DISK");
    for (size_t i = 0; i < json_array_size(members); i++) {
        width = max_of(width, strlen(text_of(json_array_get(members, i), "disk")));
    }
    fprintf(out, "\n  %-*s  SNAPSHOT\n", (int)width, "DISK");
    for (size_t i = 0; i < json_array_size(members); i++) {
        const json_t *member = json_array_get(members, i);
        fprintf(out, "  %-*s  %s\n", (int)width, text_of(member, "disk"),
                text_of(member, "snapshot"));
    }
}

static void print_file_systems(FILE *out, const struct shadow_report *report)
{
    char duration[TEXT_SIZE_MAX];
    for (unsigned i = 0; i < report->member_count; i++) {
        const struct shadow_member *m = &report->members[i];
        if (m->is_frozen) {
            fprintf(out, "    %s (%s) was held for %s\n", m->mount, m->fs_type,
                    text_format_duration(m->frozen_ns, duration));
        } else {
            fprintf(out, "    %s (%s) was not frozen: its copy is like one after a power failure\n",
                    m->mount, m->fs_type);
        }
    }
}

/* How a copy of these file systems is mounted read-only: it differs. */
static const char *mount_options_for(const struct shadow_report *report)
{
    bool xfs = false, others = false;
    for (unsigned i = 0; i < report->member_count; i++) {
        if (strcmp(report->members[i].fs_type, "xfs") == 0)
            xfs = true;
        else
            others = true;
    }
    if (xfs && !others) return "ro,nouuid,norecovery";
    return xfs ? "ro (xfs: ro,nouuid,norecovery)" : "ro";
}

void shadow_report_print(FILE *out, const struct shadow_options *options,
                         const struct shadow_report *report)
{
    char duration[TEXT_SIZE_MAX];
    const char *name = text_of(report->set, "name");
    const json_t *first = json_array_get(json_object_get(report->set, "members"), 0);
    const char *snapshot = text_of(first, "snapshot");
    fprintf(out, "Shadow copy %s is made; it is %s-consistent.\n\n", name, report->consistency);
    if (report->frozen_ns) {
        fprintf(out, "  Writes were frozen for %s",
                text_format_duration(report->frozen_ns, duration));
        fprintf(out, " (at most %u s are allowed).\n",
                (options->hold_ms ? options->hold_ms : SHADOW_HOLD_DEFAULT_MS) / 1000);
    }
    print_file_systems(out, report);
    fprintf(out, "  The commit took %s%s.\n", text_format_duration(report->commit_ns, duration),
            report->connection_reused ? "" : " (on a new connection)");
    for (size_t i = 0; i < json_array_size(report->writers); i++) {
        const json_t *writer = json_array_get(report->writers, i);
        fprintf(out, "  Writer %s: %s\n", text_of(writer, "name"), text_of(writer, "is"));
    }
    fputs("  Steps:", out);
    for (unsigned i = 0; i < report->phase_count; i++) {
        fprintf(out, "%s %s %s", i ? "," : "", report->phases[i].name,
                text_format_duration(report->phases[i].ns, duration));
    }
    fprintf(out, "\n  Set %s (%s)\n", name, text_of(report->set, "uuid"));
    print_snapshots(out, report->set);
    fprintf(out,
            "\nWhat to do with it:\n"
            "  serve it read-only:    tarn map add HOST --snapshot %s    (then mount -o %s)\n"
            "  make a writable disk:  tarn snapshot branch %s NEWDISK\n"
            "  delete it:             tarn shadow delete %s\n",
            snapshot, mount_options_for(report), snapshot, name);
}
