/*
 * provider.h - what the VSS hardware provider does, without COM and without Windows.
 *
 * One function for each method of IVssHardwareSnapshotProviderEx, IVssProviderCreateSnapshotSet and
 * IVssProviderNotifications, with the same arguments and the codes that VSS documents for the
 * method, and no others. The shell in windows/provider/com makes them COM.
 *
 * Rules that hold everywhere (facts of the contract, see doc/design/0080-windows-provider.md):
 *  - [in] data is never changed; [in,out] records stay whole on every path; all that is handed out
 * was allocated with os->memory, once.
 *  - VSS_E_PROVIDER_VETO comes with exactly one event that says the cause and the remedy.  From
 * PreCommit to the end of PostCommit none is written, because the disk of the log may be frozen; it
 * is kept until then.
 *  - A LUN that is not ours is S_OK and FALSE, not an error; so is ours, when it could not be done
 * now.
 *
 * Threads: any, several at once.  The lock is never held while the server is asked, so that
 * AbortSnapshots gets through at any time. Ownership: the caller keeps everything it passes; os,
 * transport and config live as long as the provider. Failures: HRESULT.
 */
#ifndef TARN_WINDOWS_CORE_PROVIDER_H
#define TARN_WINDOWS_CORE_PROVIDER_H

#include "windows/provider/core/api.h"
#include "windows/provider/core/event.h"
#include "windows/provider/core/identity.h"
#include "windows/provider/core/machine.h"

enum {
    PROVIDER_VOLUMES_MAX = 64,
    PROVIDER_LUNS_MAX = 256, /* a volume may lie on several LUNs */
    PROVIDER_ID_TEXT = IDENTITY_ID_TEXT,
    PROVIDER_AWAY_MS = 10000, /* how long "the server is away" is believed */
};

struct provider_os {
    struct memory memory; /* for what goes to VSS: CoTaskMemAlloc, CoTaskMemFree */
    void (*lock)(struct provider_os *os);
    void (*unlock)(struct provider_os *os);
    uint64_t (*now_ms)(struct provider_os *os);                       /* monotonic */
    void (*event)(struct provider_os *os, const struct event *event); /* the application log */
    /* A lock of its own, which is held while an event is told; the other one may be taken inside of
     * it, and by `event`, but not the other way round. */
    void (*lock_telling)(struct provider_os *os);
    void (*unlock_telling)(struct provider_os *os);
};

struct provider_config {
    char host[256]; /* this machine's name on the server */
};

struct set_member {
    struct lun_identity source, target;
};

struct provider_set {
    enum set_state state;
    char id[PROVIDER_ID_TEXT];
    LONG context;
    unsigned volume_count, member_count;
    uint64_t begun_ms;
    bool was_sent; /* the server may know it */
    uint64_t
        targets_until_ms; /* created: the members have their targets, and so long they are good */
    struct set_member members[PROVIDER_LUNS_MAX];
};

struct provider {
    struct provider_os *os;
    struct transport *transport;
    const struct provider_config *config;
    /* Under the lock: */
    struct provider_set set; /* VSS makes one at a time */
    unsigned set_number;     /* rises whenever another set begins or one is aborted */
    bool is_frozen;          /* no events now */
    bool has_held_event;
    struct event held_event;
    uint64_t away_until_ms;
    uint64_t quiet_until_ms[EVENT_WARNINGS_MAX]; /* of each warning */
};

void provider_init(struct provider *provider, struct provider_os *os, struct transport *transport,
                   const struct provider_config *config);

/* Of the attributes that VSS asks for: can a shadow copy of that kind be made? */
bool provider_context_is_supported(LONG context);

HRESULT provider_are_luns_supported(struct provider *p, LONG count, LONG context, VSS_PWSZ *devices,
                                    VDS_LUN_INFORMATION *luns, BOOL *ret_supported);
HRESULT provider_fill_in_lun_info(struct provider *p, VSS_PWSZ device, VDS_LUN_INFORMATION *lun,
                                  BOOL *ret_supported);
HRESULT provider_begin_prepare(struct provider *p, VSS_ID set, VSS_ID snapshot, LONG context,
                               LONG count, VSS_PWSZ *devices, VDS_LUN_INFORMATION *luns);
HRESULT provider_get_target_luns(struct provider *p, LONG count, VSS_PWSZ *devices,
                                 VDS_LUN_INFORMATION *sources, VDS_LUN_INFORMATION *ret_targets);
HRESULT provider_locate_luns(struct provider *p, LONG count, VDS_LUN_INFORMATION *luns);
HRESULT provider_on_lun_empty(struct provider *p, VSS_PWSZ device, VDS_LUN_INFORMATION *lun);
HRESULT provider_on_lun_state_change(struct provider *p, VDS_LUN_INFORMATION *snapshots,
                                     VDS_LUN_INFORMATION *originals, DWORD count, DWORD flags);

HRESULT provider_end_prepare(struct provider *p, VSS_ID set);
HRESULT provider_pre_commit(struct provider *p, VSS_ID set);
HRESULT provider_commit(struct provider *p, VSS_ID set);
HRESULT provider_post_commit(struct provider *p, VSS_ID set, LONG snapshot_count);
HRESULT provider_pre_final_commit(struct provider *p, VSS_ID set);
HRESULT provider_post_final_commit(struct provider *p, VSS_ID set);
HRESULT provider_abort(struct provider *p, VSS_ID set);
/* A set is being made.  One that was begun an hour ago and went no further was given up: VSS does not
 * tell that. */
bool provider_is_busy(struct provider *p);
/* Now and then, from a thread of its own: the lease of the set in the making. */
void provider_renew(struct provider *p);
/* OnUnload, and the end of the process: gives up what was not created. */
void provider_unload(struct provider *p);

#endif
