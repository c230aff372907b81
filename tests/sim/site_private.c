/*
 * The private branches of a Windows host (site.h): what it is shown of a snapshot it may write to,
 * and keeps while it is masked.  Here each is a disk of its own, which that host alone sees; the
 * point below it stays as it is.  It goes with its point.
 */
#include <stdio.h>

#include "base/check.h"
#include "control/control_int.h"
#include "tests/sim/site_int.h"

enum { WINDOWS_HOST = 1 };

bool site_wants_branch(const struct site *site, int host)
{
    return site->options.verbs && host == WINDOWS_HOST;
}

int site_private_of(const struct site *site, int point)
{
    for (int i = SITE_OWN_DISKS; i < SITE_DISKS; i++)
        if (site->disks[i].state != SITE_NONE && site->disks[i].private_of == point) return i;
    return -1;
}

bool site_private_room(const struct site *site, const int *points, unsigned count)
{
    unsigned needed = 0, free_count = 0;
    for (unsigned i = 0; i < SITE_CALLS; i++) {
        const struct site_call *call = &site->calls[i];
        if (call->busy && call->host == WINDOWS_HOST && call->disk < 0) return false;
    }
    for (unsigned i = 0; i < count; i++) {
        if (!site->points[points[i]].exact) return false;
        needed += site_private_of(site, points[i]) < 0;
    }
    for (int i = SITE_OWN_DISKS; i < SITE_DISKS; i++)
        free_count += site->disks[i].state == SITE_NONE;
    return needed <= free_count;
}

static void begin(struct site *site, int point)
{
    const struct site_point *p = &site->points[point];
    int i = SITE_OWN_DISKS;
    while (i < SITE_DISKS && site->disks[i].state != SITE_NONE)
        i++;
    if (i == SITE_DISKS || !p->exact) {
        site_fail(site, "snapshot %s is at a Windows host, and nobody asked", p->name);
        return;
    }
    struct site_disk *d = &site->disks[i];
    d->number = ++site->disk_number;
    d->pool = site->disks[p->disk].pool;
    d->state = SITE_THERE;
    d->private_of = point;
    snprintf(d->name, sizeof d->name, "private%u", d->number);
    model_view_copy(&p->view, &d->view);
    site_snapshot_id(site, point, &d->uuid);
    site_count(site, SITE_COUNT_PRIVATE);
    site_trace(site, "%s is what host h%d has of %s", d->name, WINDOWS_HOST, p->name);
}

void site_private_sync(struct site *site)
{
    if (!site->options.verbs) return;
    for (int i = 0; i < SITE_POINTS; i++) {
        const struct site_point *p = &site->points[i];
        if (p->state == SITE_NONE) continue;
        int disk = site_private_of(site, i);
        bool is_shown = p->lun[WINDOWS_HOST] >= 0 && !p->mapping[WINDOWS_HOST];
        if (disk < 0 && is_shown && p->state == SITE_THERE) {
            begin(site, i);
            disk = site_private_of(site, i);
        }
        if (disk < 0) continue;
        site->disks[disk].lun[WINDOWS_HOST] = p->lun[WINDOWS_HOST];
        site->disks[disk].mapping[WINDOWS_HOST] = p->mapping[WINDOWS_HOST];
    }
}

void site_private_becomes(struct site *site, int point, int disk)
{
    struct site_disk *d = &site->disks[disk];
    int private = site_private_of(site, point);
    d->has_become = true;
    if (private < 0) return;
    struct site_disk *from = &site->disks[private];
    check(!from->busy);
    model_view_fini(&d->view);
    d->view = from->view;
    from->view = (struct model_view){0};
    d->number = from->number;
    site_disk_forget(site, private);
    site_count(site, SITE_COUNT_BROKEN_PRIVATE);
}
