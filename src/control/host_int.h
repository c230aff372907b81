/*
 * host_int.h - inside src/control: groups of hosts, what one group lets another import, and whose a
 * set is.
 */
#ifndef TARN_CONTROL_HOST_INT_H
#define TARN_CONTROL_HOST_INT_H

#include "base/endian.h"
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

enum { REQUEST_ID_BYTES = 16 };
struct seen_entry {
    uint8_t id[REQUEST_ID_BYTES];
    uint64_t until_ns;
};
struct seen {
    unsigned size, first, count;
    struct seen_entry *entries;
};

struct credential {
    struct object object;
    struct catalog_credential row;
    char name[UUID_TEXT_SIZE];
    struct host *host;
    struct seen seen;
    uint64_t used_ns; /* wall; 0 = not since the start */
};

struct enrolment {
    struct list_node link; /* control.enrolments */
    struct catalog_enrolment row;
    struct host *host;
};

/* sign.c */
void sign_nonce(struct control *control, char nonce[SIGNED_NONCE_SIZE]);
/* HMAC-SHA-256 of a text, in hex. */
bool sign_text(const void *key, size_t key_size, const char *text, char ret_hex[SIGNED_HASH_SIZE]);
enum status sign_check(struct control *control, const struct control_signed *given,
                       struct credential **ret_credential) MUST_CHECK;
void seen_free(struct seen *seen);

/* credential.c */
struct credential *credential_by_id(struct control *control, const char *text); /* NULL */
void credential_add(struct control *control, const struct catalog_credential *row);
void enrolment_add(struct control *control, const struct catalog_enrolment *row);
/* host NULL: of all. */
void credential_forget(struct control *control, const struct host *host);
/* Adds to would (borrowed) what credential_forget would end. */
void credential_say(struct control *control, const struct host *host, json_t *would);

/* access.c */
struct err *access_check_verb(struct op *op) MUST_CHECK;    /* may this role call it at all? */
/* Puts in what a host may leave out. */
void access_complete(const struct op *op, json_t *given);
struct err *access_check_objects(struct op *op) MUST_CHECK; /* and on these? */
bool access_sees_disk(const struct op *op, const struct disk *disk);
bool access_sees_host(const struct op *op, const struct host *host);
bool access_sees_set(const struct op *op, const struct set *set);
/* For tests and documents: the rule of a verb for hosts, NULL = none. */
const char *access_rule_name(const char *verb);

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
