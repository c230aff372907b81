/*
 * host_int.h - inside src/control: groups of hosts, what one group lets another import, and whose a
 * set is.
 */
#ifndef TARN_CONTROL_HOST_INT_H
#define TARN_CONTROL_HOST_INT_H

#include "catalog/host.h"
#include "control/control_int.h"

struct group {
    struct object object;
    struct catalog_group row;
};

struct grant {
    struct list_node link; /* control.grants */
    struct catalog_grant row;
    struct group *to, *from;
};

/* group.c */
ON_WORKER struct err *group_load(struct control *control) MUST_CHECK;
void group_free(struct control *control);
unsigned group_size(struct control *control, const struct group *group);
/* What a set that is prepared for this host belongs to. */
struct uuid host_owner(const struct host *host);
/* The host, or its group, or a host of its group is the owner. */
bool host_owns(struct control *control, const struct host *host, const struct uuid *owner);
/* A grant lets the host's group import what belongs to `owner`. */
bool host_is_granted(struct control *control, const struct host *host, const struct uuid *owner);
bool hosts_are_together(const struct host *a, const struct host *b); /* the same, or one group */
const char *owner_name(struct control *control, const struct uuid *owner); /* NULL: nobody */

#endif
