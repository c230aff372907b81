/*
 * host.h - what the catalog knows of hosts besides their initiators: groups, what one group lets
 * another import, whose a set is, credentials, codes for enrolment.
 *
 * Words: a host is in at most one GROUP.  A GRANT lets the hosts of one group (to) import the sets
 * of another (from).  The OWNER of a set is the group of the host that it was prepared for, or the
 * host itself.  A CREDENTIAL is the key with which a host signs its requests; an ENROLMENT is the
 * one-time secret that it is made from.  Keys are sealed as the secrets of catalog.h.
 *
 * Threads, ownership, failures: as catalog.h; all but the load within a transaction.
 */
#ifndef TARN_CATALOG_HOST_H
#define TARN_CATALOG_HOST_H

#include "catalog/catalog.h"

enum { CATALOG_KEY_BYTES = 32 };

struct catalog_group {
    struct uuid uuid;
    char name[CATALOG_NAME_SIZE];
    uint64_t created_ns;
};

struct catalog_grant {
    struct uuid to, from;
    uint64_t created_ns;
};

struct catalog_credential {
    struct uuid uuid, host;
    uint8_t key[CATALOG_KEY_BYTES];
    uint64_t created_ns;
};

struct catalog_enrolment {
    struct uuid uuid, host;
    uint8_t secret[CATALOG_KEY_BYTES];
    bool replace; /* the host's older credentials end when it is redeemed */
    uint64_t expires_ns, created_ns;
};

struct catalog_host_reader {
    struct err *(*group)(void *arg, const struct catalog_group *row);
    struct err *(*member)(void *arg, const struct uuid *host, const struct uuid *group);
    struct err *(*grant)(void *arg, const struct catalog_grant *row);
    struct err *(*owner)(void *arg, const struct uuid *set, const struct uuid *owner);
    struct err *(*credential)(void *arg, const struct catalog_credential *row);
    struct err *(*enrolment)(void *arg, const struct catalog_enrolment *row);
};
/* After catalog_load: hosts and sets are known. */
ON_WORKER struct err *catalog_load_hosts(struct catalog *catalog,
                                         const struct catalog_host_reader *reader,
                                         void *arg) MUST_CHECK;

struct err *catalog_put_group(struct catalog *catalog, const struct catalog_group *row) MUST_CHECK;
struct err *catalog_delete_group(struct catalog *catalog, const struct uuid *uuid) MUST_CHECK;
/* group NULL: in none. */
struct err *catalog_put_member(struct catalog *catalog, const struct uuid *host,
                               const struct uuid *group) MUST_CHECK;
struct err *catalog_put_grant(struct catalog *catalog, const struct catalog_grant *row) MUST_CHECK;
struct err *catalog_delete_grant(struct catalog *catalog, const struct uuid *to,
                                 const struct uuid *from) MUST_CHECK;
struct err *catalog_put_owner(struct catalog *catalog, const struct uuid *set,
                              const struct uuid *owner) MUST_CHECK;
struct err *catalog_put_credential(struct catalog *catalog,
                                   const struct catalog_credential *row) MUST_CHECK;
struct err *catalog_delete_credential(struct catalog *catalog, const struct uuid *uuid) MUST_CHECK;
struct err *catalog_put_enrolment(struct catalog *catalog,
                                  const struct catalog_enrolment *row) MUST_CHECK;
struct err *catalog_delete_enrolment(struct catalog *catalog, const struct uuid *uuid) MUST_CHECK;

#endif
