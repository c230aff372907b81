/*
 * provider_calls.h - the provider on the server in memory, and the calls of VSS in one line each;
 * for its tests.
 */
#ifndef TARN_TESTS_PROVIDER_CALLS_H
#define TARN_TESTS_PROVIDER_CALLS_H

#include "base/check.h"
#include "tests/lib/tap.h"
#include "tests/unit/provider_rig.h"

static struct fake_server server;
static struct provider provider;

enum { BACKUP = 0, ROLLBACK = VSS_VOLSNAP_ATTR_PERSISTENT | VSS_VOLSNAP_ATTR_NO_AUTO_RELEASE };

static inline void begin(void)
{
    fake_init(&server);
    provider_init(&provider, &server.os, &server.transport, &server.config);
}

/* A new process that knows nothing. */
static inline void restart(void)
{
    provider_init(&provider, &server.os, &server.transport, &server.config);
}

/* After each test: nothing leaked, nothing freed twice, no request under the lock. */
static inline void end(void)
{
    provider_unload(&provider);
    expect_eq(rig_live_count(), 0);
    expect_eq(rig_wrong_free_count(), 0);
    expect(!server.was_locked);
}

static inline VSS_ID set_id(unsigned n)
{
    return (VSS_ID){.Data1 = 0xABCD0000u + n,
                    .Data2 = 0x1234,
                    .Data3 = 0x5678,
                    .Data4 = {1, 2, 3, 4, 5, 6, 7, 8}};
}

static inline const char *set_text(unsigned n)
{
    static char text[64];
    snprintf(text, sizeof text, "abcd%04x-1234-5678-0102-030405060708", n);
    return text;
}

static inline const char *state_of(unsigned set)
{
    const struct fake_set *s = fake_find_set(&server, set_text(set));
    return s ? s->state : "none";
}

/* One volume on one disk. */
static inline HRESULT prepare(unsigned set, unsigned disk, LONG context)
{
    VDS_LUN_INFORMATION lun = rig_disk_lun(disk), before = rig_copy_lun(&lun);
    HRESULT result =
        provider_begin_prepare(&provider, set_id(set), set_id(900 + disk), context, 1, NULL, &lun);
    expect(rig_same_lun(&lun, &before) && rig_is_whole(&lun));
    rig_free_lun(&lun);
    rig_free_lun(&before);
    return result;
}

/* The target of a source disk; freed by the caller. */
static inline HRESULT target(unsigned disk, VDS_LUN_INFORMATION *ret_target)
{
    VDS_LUN_INFORMATION source = rig_disk_lun(disk), before = rig_copy_lun(&source);
    *ret_target = (VDS_LUN_INFORMATION){0};
    HRESULT result = provider_get_target_luns(&provider, 1, NULL, &source, ret_target);
    expect(rig_same_lun(&source, &before));
    expect(rig_is_whole(ret_target));
    rig_free_lun(&source);
    rig_free_lun(&before);
    return result;
}

static inline bool make(unsigned set, LONG context)
{
    return prepare(set, 1, context) == S_OK && prepare(set, 2, context) == S_OK &&
           provider_end_prepare(&provider, set_id(set)) == S_OK &&
           provider_pre_commit(&provider, set_id(set)) == S_OK &&
           provider_commit(&provider, set_id(set)) == S_OK &&
           provider_post_commit(&provider, set_id(set), 2) == S_OK;
}

/* The calls of a set in order; the count of them that were made. */
static inline unsigned advance(unsigned set, unsigned steps)
{
    unsigned i = 0;
    if (i++ < steps) expect_eq(prepare(set, 1, BACKUP), S_OK);
    if (i++ < steps) expect_eq(provider_end_prepare(&provider, set_id(set)), S_OK);
    if (i++ < steps) expect_eq(provider_pre_commit(&provider, set_id(set)), S_OK);
    if (i++ < steps) expect_eq(provider_commit(&provider, set_id(set)), S_OK);
    if (i++ < steps) expect_eq(provider_post_commit(&provider, set_id(set), 1), S_OK);
    return i;
}

static inline bool supports(VDS_LUN_INFORMATION lun, LONG context)
{
    BOOL supported = FALSE;
    VDS_LUN_INFORMATION before = rig_copy_lun(&lun);
    expect_eq(provider_are_luns_supported(&provider, 1, context, NULL, &lun, &supported), S_OK);
    expect(rig_same_lun(&lun, &before));
    rig_free_lun(&lun);
    rig_free_lun(&before);
    return supported;
}

static inline unsigned map_count(void)
{
    unsigned count = 0;
    for (unsigned i = 0; i < FAKE_MAPS; i++)
        count += server.maps[i][0] != '\0';
    return count;
}

#endif
