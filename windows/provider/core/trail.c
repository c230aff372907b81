#include "windows/provider/core/trail.h"

#include <stdio.h>
#include <string.h>

void trail_init(struct trail *trail, struct trail_os *os, uint64_t max_bytes)
{
    *trail = (struct trail){.os = os, .max_bytes = max_bytes};
}

static bool put(struct trail *t, const char *line)
{
    size_t size = strlen(line);
    if (t->pending_bytes + size > sizeof t->pending) return false;
    memcpy(t->pending + t->pending_bytes, line, size);
    t->pending_bytes += size;
    return true;
}

/* What was lost is told where it would have been. */
static void keep(struct trail *t, const char *line)
{
    char note[96];
    snprintf(note, sizeof note, "event: %u lines of this trace were lost\r\n", t->lost_count);
    if (t->lost_count > 0 && put(t, note)) t->lost_count = 0;
    if (t->lost_count > 0 || !put(t, line)) t->lost_count++;
}

static void write_pending(struct trail *t)
{
    if (t->is_overdue) t->is_overdue = !t->os->retire(t->os, t->max_bytes);
    if (t->is_overdue && t->file_bytes >= 2 * t->max_bytes) return;
    if (!t->os->append(t->os, t->pending, t->pending_bytes, &t->file_bytes)) return;
    t->pending_bytes = 0;
    t->is_overdue = t->file_bytes >= t->max_bytes && !t->os->retire(t->os, t->max_bytes);
}

void trail_add(struct trail *trail, const char *line)
{
    trail->os->lock(trail->os);
    keep(trail, line);
    if (!trail->os->is_held(trail->os)) write_pending(trail);
    trail->os->unlock(trail->os);
}
