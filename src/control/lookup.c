/* Objects by name, id or unique prefix of either. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "control/control_int.h"

enum { CANDIDATES_SHOWN = 4 };

static struct object *find_exact(struct list *list, const char *text, bool past)
{
    struct uuid uuid;
    bool is_uuid = uuid_parse(text, &uuid);
    struct object *found = NULL;
    list_for_each (node, list) {
        struct object *object = list_entry(node, struct object, link);
        if (is_uuid && uuid_equal(object->uuid, &uuid)) return object;
        if (object->past == past && strcmp(object->name, text) == 0) found = object;
    }
    return found;
}

static bool has_prefix(const struct object *object, const char *text, size_t length)
{
    char uuid[UUID_TEXT_SIZE];
    return strncmp(object->name, text, length) == 0 ||
           strncasecmp(uuid_format(object->uuid, uuid), text, length) == 0;
}

/* By its whole name or id: what is there before what is past. */
static struct object *find_whole(struct list *list, const char *text)
{
    struct object *found = find_exact(list, text, false);
    return found ? found : find_exact(list, text, true);
}

/* A whole name comes before any prefix, even when it is that of something past: access.c decided about what
 * has this name, and nothing else may be meant by it. */
struct err *object_find(struct list *list, const char *kind, const char *text,
                        struct object **ret_object)
{
    struct object *found = find_whole(list, text);
    char names[400] = "";
    unsigned matches = found ? 1 : 0;
    size_t length = strlen(text);
    if (!found) {
        list_for_each (node, list) {
            struct object *object = list_entry(node, struct object, link);
            if (object->past || !has_prefix(object, text, length)) continue;
            found = object;
            if (matches++ < CANDIDATES_SHOWN) {
                size_t used = strlen(names);
                snprintf(names + used, sizeof names - used, "%s\"%.60s\"", used ? ", " : "",
                         object->name);
            }
        }
    }
    if (matches > 1) {
        return err_next(err_new(STATUS_AMBIGUOUS, "\"%s\" fits %u %ss: %s%s", text, matches, kind,
                                names, matches > CANDIDATES_SHOWN ? ", ..." : ""),
                        "give more of the name or the id");
    }
    if (!found) {
        return err_next(err_new(STATUS_NOT_FOUND, "no %s is called \"%s\"", kind, text),
                        "tarn %s list", kind);
    }
    *ret_object = found;
    return NULL;
}

struct err *name_check_free(struct list *list, const char *kind, const char *name)
{
    struct object *object = find_exact(list, name, false);
    if (!object) return NULL;
    return err_next(err_new(STATUS_EXISTS, "there is a %s called \"%s\" already", kind, name),
                    "choose another name; tarn %s show %s", kind, name);
}

void name_by_time(struct control *control, struct list *list, const char *prefix,
                  char name[CATALOG_NAME_SIZE])
{
    char time[TEXT_TIME_MAX], compact[TEXT_TIME_MAX];
    text_format_time(rt_wall(control->rt) / RT_SECOND * RT_SECOND, time);
    unsigned n = 0;
    for (const char *p = time; *p != '\0'; p++) {
        if (*p != '-' && *p != ':') compact[n++] = *p;
    }
    compact[n] = '\0';
    snprintf(name, CATALOG_NAME_SIZE, "%s-%s", prefix, compact);
    for (unsigned i = 2; i < 10000 && find_exact(list, name, false); i++) {
        snprintf(name, CATALOG_NAME_SIZE, "%s-%s-%u", prefix, compact, i);
    }
}

#define FINDER(type, list, kind)                                                                   \
    struct err *find_##type(struct control *control, const char *text, struct type **ret_##type)   \
    {                                                                                              \
        struct object *object = NULL;                                                              \
        TRY(object_find(&control->list, kind, text, &object));                                     \
        *ret_##type = container_of(object, struct type, object);                                   \
        return NULL;                                                                               \
    }
FINDER(pool, pools, "pool")
FINDER(disk, disks, "disk")
FINDER(host, hosts, "host")
FINDER(set, sets, "set")
FINDER(snapshot, snapshots, "snapshot")
FINDER(token, tokens, "token")
FINDER(job, jobs, "job")

struct err *snapshot_check_ready(const struct snapshot *snapshot)
{
    const struct set *set = snapshot->set;
    if (set->row.state == SET_CREATED && snapshot->row.state == SNAPSHOT_READY) return NULL;
    return err_next(err_new(STATUS_CONFLICT, "snapshot \"%s\" belongs to set \"%s\", which is %s",
                            snapshot->row.name, set->row.name,
                            catalog_set_state_name(set->row.state)),
                    "a snapshot can be used once its set is created");
}

static struct snapshot *member_of_disk(const struct set *set, const struct disk *disk)
{
    list_for_each (node, &set->members) {
        struct snapshot *s = list_entry(node, struct snapshot, member_link);
        if (s->disk == disk) return s;
    }
    return NULL;
}

/* A whole name of either comes before any prefix (as in access.c, check_content). */
struct err *find_snapshot_of(struct control *control, const char *text, const struct disk *disk,
                             struct snapshot **ret_snapshot)
{
    struct object *snapshot = find_whole(&control->snapshots, text);
    struct object *whole_set = snapshot ? NULL : find_whole(&control->sets, text);
    struct set *set = whole_set ? container_of(whole_set, struct set, object) : NULL;
    if (!set) {
        struct err *e = find_snapshot(control, text, ret_snapshot);
        enum status status = err_status(e);
        if (status != STATUS_NOT_FOUND && status != STATUS_AMBIGUOUS) return e;
        struct err *no_set = find_set(control, text, &set);
        if (no_set) {
            err_free(no_set);
            return e;
        }
        err_free(e);
    }
    struct snapshot *member = member_of_disk(set, disk);
    if (!member) {
        return err_next(err_new(STATUS_NOT_FOUND, "set \"%s\" has no snapshot of disk \"%s\"",
                                set->row.name, disk->row.name),
                        "tarn set show %s", set->row.name);
    }
    *ret_snapshot = member;
    return NULL;
}
