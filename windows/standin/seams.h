/*
 * seams.h - what the stand-in for the VSS service stands on: providers, the disks of its host, a
 * clock, writers.
 *
 * The coordinator (coordinator.h) is portable.  Its providers are COM objects under Wine, and plain
 * functions in the native tests (Tarn's own core, and the bad providers that have to be caught).  Its
 * disks are LUNs that this host's own iSCSI session found, reached through a native helper; in the
 * native tests memory.  Names and codes are those of the Windows SDK (windows/provider/core/win.h
 * has them for a native build).
 *
 * Threads: a provider's functions may be called on two threads at once (AbortSnapshots beside
 * EndPrepareSnapshots); everything else on one.  Ownership: nested pointers of LUN records belong to
 * `memory` by COM's rules for [in, out]; whatever else is handed out says whose it is.
 */
#ifndef TARN_WINDOWS_STANDIN_SEAMS_H
#define TARN_WINDOWS_STANDIN_SEAMS_H

#include <stdbool.h>

#include "windows/provider/core/win.h"

/* ---- A provider ------------------------------------------------------------------------------ */

/* One loaded provider: the methods of IVssHardwareSnapshotProviderEx, IVssProviderCreateSnapshotSet
 * and IVssProviderNotifications, with their arguments. */
struct si_provider {
    HRESULT (*on_load)(struct si_provider *p);
    HRESULT (*on_unload)(struct si_provider *p, BOOL force);
    HRESULT (*are_luns_supported)
    (struct si_provider *p, LONG count, LONG context, VSS_PWSZ *devices, VDS_LUN_INFORMATION *luns,
     BOOL *ret_supported);
    HRESULT (*fill_in_lun_info)
    (struct si_provider *p, VSS_PWSZ device, VDS_LUN_INFORMATION *lun, BOOL *ret_supported);
    HRESULT (*begin_prepare)
    (struct si_provider *p, VSS_ID set, VSS_ID snapshot, LONG context, LONG count,
     VSS_PWSZ *devices, VDS_LUN_INFORMATION *luns);
    HRESULT (*get_target_luns)
    (struct si_provider *p, LONG count, VSS_PWSZ *devices, VDS_LUN_INFORMATION *sources,
     VDS_LUN_INFORMATION *ret_targets);
    HRESULT (*locate_luns)(struct si_provider *p, LONG count, VDS_LUN_INFORMATION *luns);
    HRESULT (*on_lun_empty)(struct si_provider *p, VSS_PWSZ device, VDS_LUN_INFORMATION *lun);
    HRESULT (*on_lun_state_change)
    (struct si_provider *p, VDS_LUN_INFORMATION *snapshots, VDS_LUN_INFORMATION *originals,
     DWORD count, DWORD flags);
    /* *ret_async as IVssAsync*: here a handle of the binding's, see the three functions below. */
    HRESULT (*resync_luns)
    (struct si_provider *p, VDS_LUN_INFORMATION *sources, VDS_LUN_INFORMATION *targets, DWORD count,
     void **ret_async);
    HRESULT (*async_wait)(struct si_provider *p, void *async, DWORD timeout_ms);
    HRESULT (*async_query)(struct si_provider *p, void *async, HRESULT *ret_result);
    HRESULT (*async_cancel)(struct si_provider *p, void *async);
    void (*async_release)(struct si_provider *p, void *async);

    HRESULT (*end_prepare)(struct si_provider *p, VSS_ID set);
    HRESULT (*pre_commit)(struct si_provider *p, VSS_ID set);
    HRESULT (*commit)(struct si_provider *p, VSS_ID set);
    HRESULT (*post_commit)(struct si_provider *p, VSS_ID set, LONG snapshot_count);
    HRESULT (*pre_final_commit)(struct si_provider *p, VSS_ID set);
    HRESULT (*post_final_commit)(struct si_provider *p, VSS_ID set);
    HRESULT (*abort)(struct si_provider *p, VSS_ID set);

    /* Not VSS's: the process behind it dies now, without a word, and the next call meets a new one.
     * NULL: cannot be done. */
    void (*die)(struct si_provider *p);
    void (*release)(struct si_provider *p); /* the last call */
};

enum { SI_PROVIDERS_MAX = 8, SI_NAME_MAX = 256 };

/* A provider as it is registered: HKLM\SYSTEM\CurrentControlSet\Services\VSS\Providers\{id}. */
struct si_registered {
    GUID id, clsid, version_id;
    unsigned type; /* VSS_PROV_HARDWARE is 3 */
    char name[SI_NAME_MAX], version[SI_NAME_MAX];
};

struct si_registry {
    unsigned (*list)(struct si_registry *r, struct si_registered ret[SI_PROVIDERS_MAX]);
    struct si_provider *(*load)(struct si_registry *r, const struct si_registered *which);
};

/* COM's task allocator.  is_block: exactly such a block, alive. */
struct si_memory {
    void *(*alloc)(struct si_memory *m, size_t size);
    void (*free)(struct si_memory *m, void *block);
    bool (*is_block)(struct si_memory *m, const void *block);
    /* How many blocks live; NULL: unknown, and leaks are not judged. */
    unsigned (*live_count)(struct si_memory *m);
};

/* ---- The disks of this host ------------------------------------------------------------------ */

enum { SI_DISKS_MAX = 320, SI_PAGE_MAX = 512 };

/* What a LUN answered, byte for byte.  The handle stands for this LUN until the next rescan. */
struct si_disk {
    unsigned handle, lun;
    uint32_t block_bytes;
    uint64_t block_count;
    uint8_t inquiry[SI_PAGE_MAX], serial_page[SI_PAGE_MAX], id_page[SI_PAGE_MAX]; /* 80h, 83h */
    uint16_t inquiry_size, serial_page_size, id_page_size;
};

/* How the target answered, where a shadow copy is lost or saved by the difference. */
enum si_io {
    SI_IO_OK,
    SI_IO_DATA_PROTECT,         /* 07h, but no space problem: a write-protected LUN in a VSS path */
    SI_IO_NO_SPACE,             /* 27h/07h */
    SI_IO_RESERVATION_CONFLICT, /* status 18h */
    SI_IO_GONE,                 /* 25h/00h: the LUN is not there */
    SI_IO_ERROR,
};

struct si_machine {
    /* REPORT LUNS and INQUIRY on the session of this host.  Returns how many; UINT_MAX: no session. */
    unsigned (*rescan)(struct si_machine *m, struct si_disk ret[SI_DISKS_MAX]);
    enum si_io (*read)(struct si_machine *m, unsigned handle, uint64_t lba, uint32_t blocks,
                       void *ret_data);
    enum si_io (*write)(struct si_machine *m, unsigned handle, uint64_t lba, uint32_t blocks,
                        const void *data);
    enum si_io (*flush)(struct si_machine *m, unsigned handle);
};

/* ---- Time, writers, memory of the host ------------------------------------------------------- */

struct si_host {
    uint64_t (*now_ms)(struct si_host *h); /* monotonic */
    void (*new_guid)(struct si_host *h, GUID *ret);
    /* The writers of this host; called in the documented places.  false: a writer vetoes. */
    bool (*freeze)(struct si_host *h);
    void (*hold)(struct si_host *h);    /* all writes of this host stop */
    void (*release)(struct si_host *h); /* and go on */
    void (*thaw)(struct si_host *h);
    /* What the host knows of its shadow copies over processes and reboots: a text under a name.
     * load: malloc'd, NULL if there is none.  save with NULL forgets it. */
    char *(*load)(struct si_host *h, const char *name);
    bool (*save)(struct si_host *h, const char *name, const char *text);
    unsigned (*list)(struct si_host *h, char ret_names[][SI_NAME_MAX], unsigned max);
    void (*say)(struct si_host *h, const char *line); /* the trace: one line for each call */

    /* What the providers did, where this host can tell; each may be NULL, and is not judged then:
     * errors that they wrote to the application log; files, keys and logs that they touched. */
    uint64_t (*event_count)(struct si_host *h);
    uint64_t (*io_count)(struct si_host *h);
    /* Two calls on two threads; returns when both have.  NULL: the second comes after the first. */
    void (*beside)(struct si_host *h, void (*first)(void *arg), void (*second)(void *arg),
                   void *arg);
};

#endif
