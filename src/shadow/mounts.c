#include "shadow/mounts.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

enum { PATH_BYTES = 4096, STACK_DEPTH_MAX = 16, MOUNTINFO_MAX = 16 * 1024 * 1024 };

void mount_table_fini(struct mount_table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        free(table->entries[i].mount_point);
        free(table->entries[i].fs_type);
    }
    free(table->entries);
    *table = (struct mount_table){0};
}

/* The kernel writes blank, tab, newline and backslash as \ooo. */
static char *unescape(const char *text, size_t length)
{
    char *plain = malloc(length + 1), *at = plain;
    if (!plain) return NULL;
    for (size_t i = 0; i < length; i++) {
        bool octal = text[i] == '\\' && i + 3 < length && text[i + 1] >= '0' &&
                     text[i + 1] <= '3' && text[i + 2] >= '0' && text[i + 2] <= '7' &&
                     text[i + 3] >= '0' && text[i + 3] <= '7';
        if (octal) {
            *at++ =
                (char)((text[i + 1] - '0') << 6 | (text[i + 2] - '0') << 3 | (text[i + 3] - '0'));
            i += 3;
        } else {
            *at++ = text[i];
        }
    }
    *at = '\0';
    return plain;
}

/* proc(5): id parent major:minor root mount-point options [optional...] - type source super-options
 */
static bool parse_line(const char *line, size_t length, struct mount_entry *ret_entry)
{
    const char *fields[6] = {NULL}, *at = line, *end = line + length;
    size_t lengths[6] = {0};
    for (unsigned i = 0; i < 6; i++) {
        const char *space = memchr(at, ' ', (size_t)(end - at));
        if (!space) return false;
        fields[i] = at;
        lengths[i] = (size_t)(space - at);
        at = space + 1;
    }
    const char *dash = at[0] == '-' && at[1] == ' ' ? at : memmem(at, (size_t)(end - at), " - ", 3);
    if (!dash) return false;
    const char *type = dash + (dash[0] == ' ' ? 3 : 2);
    const char *type_end = type < end ? memchr(type, ' ', (size_t)(end - type)) : NULL;
    unsigned major_number, minor_number;
    if (!type_end || sscanf(fields[2], "%u:%u", &major_number, &minor_number) != 2) return false;
    ret_entry->dev = makedev(major_number, minor_number);
    ret_entry->mount_point = unescape(fields[4], lengths[4]);
    ret_entry->fs_type = unescape(type, (size_t)(type_end - type));
    return true;
}

struct err *mount_table_parse(const char *text, struct mount_table *ret_table)
{
    struct mount_table table = {0};
    size_t capacity = 0;
    for (const char *line = text; *line;) {
        size_t length = strcspn(line, "\n");
        struct mount_entry entry = {0};
        if (parse_line(line, length, &entry)) {
            if (table.count == capacity) {
                capacity = capacity ? capacity * 2 : 64;
                struct mount_entry *larger = reallocarray(table.entries, capacity, sizeof *larger);
                if (!larger)
                    entry.mount_point = NULL; /* reported below */
                else
                    table.entries = larger;
            }
            if (!entry.mount_point || !entry.fs_type) {
                mount_table_fini(&table);
                return err_new(STATUS_NO_MEMORY, "read the list of mounts");
            }
            table.entries[table.count++] = entry;
        }
        line += length + (line[length] == '\n');
    }
    *ret_table = table;
    return NULL;
}

struct err *mount_table_read(const char *sysroot, struct mount_table *ret_table)
{
    char path[PATH_BYTES];
    char *text = NULL;
    size_t size = 0;
    snprintf(path, sizeof path, "%s/proc/self/mountinfo", sysroot);
    FILE *file = fopen(path, "re");
    if (!file) return err_from_errno("read %s", path);
    ssize_t got = getdelim(&text, &size, '\0', file);
    fclose(file);
    struct err *e = got <= 0              ? err_new(STATUS_OS_ERROR, "%s is empty", path)
                    : got > MOUNTINFO_MAX ? err_new(STATUS_OS_ERROR, "%s is too large", path)
                                          : mount_table_parse(text, ret_table);
    free(text);
    return e;
}

const struct mount_entry *mount_table_find(const struct mount_table *table, const char *path)
{
    for (size_t i = table->count; i > 0; i--) {
        if (strcmp(table->entries[i - 1].mount_point, path) == 0) return &table->entries[i - 1];
    }
    return NULL;
}

const struct mount_entry *mount_table_holder(const struct mount_table *table, const char *path)
{
    const struct mount_entry *best = NULL;
    size_t best_length = 0;
    for (size_t i = 0; i < table->count; i++) {
        const char *point = table->entries[i].mount_point;
        size_t length = strcmp(point, "/") == 0 ? 0 : strlen(point);
        bool holds =
            strncmp(point, path, length) == 0 && (path[length] == '/' || path[length] == '\0');
        if (holds && (!best || length >= best_length)) {
            best = &table->entries[i];
            best_length = length;
        }
    }
    return best;
}

bool mount_cannot_freeze(const char *fs_type)
{
    static const char *const types[] = {
        "vfat", "msdos", "exfat", "tmpfs",    "ramfs",    "overlay", "nfs",  "nfs4",
        "cifs", "smb3",  "9p",    "virtiofs", "squashfs", "iso9660", "proc", "sysfs"};
    for (size_t i = 0; i < countof(types); i++) {
        if (strcmp(fs_type, types[i]) == 0) return true;
    }
    return strncmp(fs_type, "fuse", 4) == 0;
}

/* ---- What stands on what ---- */

static bool read_line(const char *path, char text[PATH_BYTES])
{
    FILE *file = fopen(path, "re");
    if (!file) return false;
    bool ok = fgets(text, PATH_BYTES, file) != NULL;
    fclose(file);
    if (ok) text[strcspn(text, "\n")] = '\0';
    return ok;
}

static bool read_device(const char *path, dev_t *ret_dev)
{
    char text[PATH_BYTES];
    unsigned major_number, minor_number;
    if (!read_line(path, text) || sscanf(text, "%u:%u", &major_number, &minor_number) != 2)
        return false;
    *ret_dev = makedev(major_number, minor_number);
    return true;
}

struct stack_search {
    const struct mount_table *table;
    const char *sysroot;
    dev_t wanted;
};

static bool stands_on(const struct stack_search *search, dev_t dev, unsigned depth);

static bool step_down(const struct stack_search *search, dev_t lower, unsigned depth)
{
    return lower == search->wanted || stands_on(search, lower, depth + 1);
}

static bool through_slaves(const struct stack_search *search, const char *base, unsigned depth)
{
    char path[PATH_BYTES + 300];
    snprintf(path, sizeof path, "%s/slaves", base);
    DIR *directory = opendir(path);
    bool found = false;
    if (!directory) return false;
    for (struct dirent *entry = readdir(directory); entry && !found; entry = readdir(directory)) {
        dev_t slave;
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/slaves/%s/dev", base, entry->d_name);
        found = read_device(path, &slave) && step_down(search, slave, depth);
    }
    closedir(directory);
    return found;
}

/* Bounded recursion: a stack deeper than STACK_DEPTH_MAX is taken as unrelated. */
static bool stands_on(const struct stack_search *search, dev_t dev, unsigned depth)
{
    char base[PATH_BYTES], path[PATH_BYTES + 64], text[PATH_BYTES];
    dev_t parent;
    if (depth >= STACK_DEPTH_MAX) return false;
    snprintf(base, sizeof base, "%s/sys/dev/block/%u:%u", search->sysroot, major(dev), minor(dev));
    snprintf(path, sizeof path, "%s/partition", base);
    if (read_line(path, text)) {
        snprintf(path, sizeof path, "%s/../dev", base);
        if (read_device(path, &parent) && step_down(search, parent, depth)) return true;
    }
    snprintf(path, sizeof path, "%s/loop/backing_file", base);
    if (read_line(path, text)) {
        const struct mount_entry *holder = mount_table_holder(search->table, text);
        if (holder && step_down(search, holder->dev, depth)) return true;
    }
    return through_slaves(search, base, depth);
}

/* A bind mount made later does not make a file system younger: its first mount counts. */
static size_t first_position(const struct mount_table *table, dev_t dev)
{
    for (size_t i = 0; i < table->count; i++) {
        if (table->entries[i].dev == dev) return i;
    }
    return table->count;
}

void mount_order(const struct mount_table *table, const char *sysroot, dev_t *devices,
                 unsigned count)
{
    for (unsigned placed = 0; placed + 1 < count; placed++) {
        unsigned best = placed;
        bool best_is_free = false;
        for (unsigned i = placed; i < count; i++) {
            bool is_free = true; /* nothing that is left stands on it */
            for (unsigned other = placed; other < count && is_free; other++) {
                struct stack_search search = {table, sysroot, devices[i]};
                is_free = other == i || !stands_on(&search, devices[other], 0);
            }
            bool younger = first_position(table, devices[i]) > first_position(table, devices[best]);
            if (is_free && (!best_is_free || younger)) {
                best = i;
                best_is_free = true;
            }
        }
        dev_t chosen = devices[best];
        memmove(&devices[placed + 1], &devices[placed], (best - placed) * sizeof *devices);
        devices[placed] = chosen;
    }
}
