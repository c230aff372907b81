/*
 * standin - plays the VSS service towards the provider, for tests under Wine: the documented order
 * of calls, checks of what comes back, and the document that carries a shadow copy set from process
 * to process and host to host.
 *
 *     standin create DISKS DOCUMENT [CONTEXT]   a set of one volume on each disk of DISKS (hex
 * lines, record.h) standin create-abort DISKS STEP           the same, aborted after STEP calls of
 * the set standin import DOCUMENT                   LocateLuns standin match DOCUMENT DISKS
 * FillInLunInfo of each disk; all targets have to be among them standin mask DOCUMENT
 * OnLunStateChange, DO_MASK_LUNS standin delete DOCUMENT                   FillInLunInfo and
 * OnLunEmpty of each target
 *
 * Each run is a process of its own; a target is known from the document alone.  Prints a line for
 * each call; the last line is "done", or "failed: WHY".  Exit status 0, 1, or 2 for wrong usage.
 */
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "windows/standin/standin_file.h"

#include <vsprov.h>
#include <vsserror.h>

#include "windows/provider/com/ids.h"

enum { LUNS_MAX = 64 };

static IVssHardwareSnapshotProviderEx *hardware;
static IVssProviderCreateSnapshotSet *creation;
static IVssProviderNotifications *notifications;

static VDS_LUN_INFORMATION luns[LUNS_MAX], targets[LUNS_MAX];
static unsigned lun_count, target_count;
static wchar_t device_name[] = L"\\\\?\\GLOBALROOT\\Device\\Harddisk1";

static const VSS_ID *set_in_progress; /* from EndPrepareSnapshots on: aborted when a call fails */

static _Noreturn void fail(const char *format, ...) __attribute__((format(gnu_printf, 1, 2)));
static _Noreturn void fail(const char *format, ...)
{
    va_list args;
    const VSS_ID *set = set_in_progress;
    set_in_progress = NULL;
    if (set)
        printf("AbortSnapshots %08lx\n",
               (unsigned long)creation->lpVtbl->AbortSnapshots(creation, *set));
    va_start(args, format);
    fputs("failed: ", stdout);
    vprintf(format, args);
    puts("");
    va_end(args);
    exit(1);
}

/* One call: told with its time, and it has to succeed. */
static uint64_t now_us(void)
{
    LARGE_INTEGER now, frequency;
    QueryPerformanceCounter(&now);
    QueryPerformanceFrequency(&frequency);
    return (uint64_t)now.QuadPart * 1000000u / (uint64_t)frequency.QuadPart;
}

#define CALL(name, call)                                                                           \
    do {                                                                                           \
        uint64_t start_us_ = now_us();                                                             \
        HRESULT result_ = (call);                                                                  \
        printf("%s %08lx %llu us\n", name, (unsigned long)result_,                                 \
               (unsigned long long)(now_us() - start_us_));                                        \
        if (result_ != S_OK) fail("%s: %08lx", name, (unsigned long)result_);                      \
    } while (0)

/* ---- The provider ---------------------------------------------------------------------------- */

static void load(void)
{
    const CLSID clsid = TARN_CLSID;
    CALL("CoCreateInstance",
         CoCreateInstance(&clsid, NULL, CLSCTX_LOCAL_SERVER, &IID_IVssHardwareSnapshotProviderEx,
                          (void **)&hardware));
    CALL("IVssProviderCreateSnapshotSet",
         hardware->lpVtbl->QueryInterface(hardware, &IID_IVssProviderCreateSnapshotSet,
                                          (void **)&creation));
    CALL("IVssProviderNotifications",
         hardware->lpVtbl->QueryInterface(hardware, &IID_IVssProviderNotifications,
                                          (void **)&notifications));
    CALL("OnLoad", notifications->lpVtbl->OnLoad(notifications, NULL));
}

static void unload(void)
{
    CALL("OnUnload", notifications->lpVtbl->OnUnload(notifications, TRUE));
    notifications->lpVtbl->Release(notifications);
    creation->lpVtbl->Release(creation);
    hardware->lpVtbl->Release(hardware);
}

/* ---- Files ----------------------------------------------------------------------------------- */

static FILE *open_file(const char *path, const char *mode)
{
    FILE *file = fopen(path, mode);
    if (!file) fail("%s cannot be opened", path);
    return file;
}

static void read_disks(const char *path)
{
    FILE *file = open_file(path, "r");
    while (lun_count < LUNS_MAX && standin_read_disk(file, &luns[lun_count]))
        lun_count++;
    fclose(file);
    if (lun_count == 0) fail("%s has no disks", path);
}

static void read_document(const char *path)
{
    FILE *file = open_file(path, "r");
    while (target_count < LUNS_MAX && standin_read_record(file, &targets[target_count]))
        target_count++;
    fclose(file);
    if (target_count == 0) fail("%s has no targets", path);
}

static void write_document(const char *path)
{
    FILE *file = open_file(path, "wb");
    for (unsigned i = 0; i < target_count; i++)
        standin_write_record(file, &targets[i]);
    fclose(file);
}

/* ---- Making a set ---------------------------------------------------------------------------- */

static void check_record(const char *name, const VDS_LUN_INFORMATION *lun)
{
    const char *fault = record_fault(standin_memory(), lun);
    if (fault) fail("%s: a record with a pointer that is %s", name, fault);
}

static void begin(const VSS_ID *set, LONG context)
{
    for (unsigned i = 0; i < lun_count; i++) {
        VSS_PWSZ devices[] = {device_name};
        BOOL supported = FALSE;
        VSS_ID snapshot;
        VDS_LUN_INFORMATION before;
        if (!record_copy(standin_memory(), &luns[i], &before)) fail("no memory");
        if (FAILED(CoCreateGuid(&snapshot))) fail("no GUID");
        CALL("AreLunsSupported", hardware->lpVtbl->AreLunsSupported(hardware, 1, context, devices,
                                                                    &luns[i], &supported));
        if (!supported) fail("AreLunsSupported: disk %u is not supported", i);
        CALL("BeginPrepareSnapshot", hardware->lpVtbl->BeginPrepareSnapshot(
                                         hardware, *set, snapshot, context, 1, devices, &luns[i]));
        check_record("BeginPrepareSnapshot", &luns[i]);
        const char *difference = record_difference(&before, &luns[i]);
        if (difference) fail("BeginPrepareSnapshot changed the %s of a source", difference);
        record_free(standin_memory(), &before);
    }
}

/* The calls of a set up to the commit's end; returns how many there are. */
static unsigned commit(const VSS_ID *set, unsigned steps)
{
    if (steps > 0)
        CALL("EndPrepareSnapshots", creation->lpVtbl->EndPrepareSnapshots(creation, *set));
    if (steps > 1) CALL("PreCommitSnapshots", creation->lpVtbl->PreCommitSnapshots(creation, *set));
    if (steps > 2) {
        uint64_t start_us = now_us();
        CALL("CommitSnapshots", creation->lpVtbl->CommitSnapshots(creation, *set));
        if (now_us() - start_us > 10000000) fail("CommitSnapshots took more than ten seconds");
    }
    if (steps > 3)
        CALL("PostCommitSnapshots",
             creation->lpVtbl->PostCommitSnapshots(creation, *set, (LONG)lun_count));
    return 4;
}

static void check_target(unsigned i)
{
    check_record("GetTargetLuns", &targets[i]);
    if (targets[i].m_diskSignature.Data1 != 0) fail("GetTargetLuns: a disk signature");
    if (!targets[i].m_szSerialNumber || targets[i].m_deviceIdDescriptor.m_cIdentifiers == 0)
        fail("GetTargetLuns: a target without identity");
    for (unsigned j = 0; j < i; j++)
        if (!record_difference(&targets[i], &targets[j]))
            fail("GetTargetLuns: two targets are the same");
    for (unsigned j = 0; j < lun_count; j++)
        if (strcmp(targets[i].m_szSerialNumber, luns[j].m_szSerialNumber) == 0)
            fail("GetTargetLuns: a target is its source");
}

static void get_targets(void)
{
    VSS_PWSZ devices[] = {device_name};
    for (unsigned i = 0; i < lun_count; i++) {
        VDS_LUN_INFORMATION again = {0};
        CALL("GetTargetLuns",
             hardware->lpVtbl->GetTargetLuns(hardware, 1, devices, &luns[i], &targets[i]));
        check_target(i);
        CALL("GetTargetLuns",
             hardware->lpVtbl->GetTargetLuns(hardware, 1, devices, &luns[i], &again));
        const char *difference = record_difference(&targets[i], &again);
        if (difference) fail("GetTargetLuns: another %s the second time", difference);
        record_free(standin_memory(), &again);
        target_count++;
    }
}

static void command_create(char **words)
{
    VSS_ID set;
    if (FAILED(CoCreateGuid(&set))) fail("no GUID");
    read_disks(words[0]);
    begin(&set, words[2] ? strtol(words[2], NULL, 16) : 0);
    set_in_progress = &set;
    commit(&set, UINT32_MAX);
    set_in_progress = NULL;
    get_targets();
    write_document(words[1]);
}

static void command_create_abort(char **words)
{
    VSS_ID set;
    if (FAILED(CoCreateGuid(&set))) fail("no GUID");
    read_disks(words[0]);
    begin(&set, 0);
    commit(&set, (unsigned)strtoul(words[1], NULL, 10));
    CALL("AbortSnapshots", creation->lpVtbl->AbortSnapshots(creation, set));
}

/* VSS itself dies: no abort, no unload, no release. */
static void command_create_vanish(char **words)
{
    VSS_ID set;
    if (FAILED(CoCreateGuid(&set))) fail("no GUID");
    read_disks(words[0]);
    begin(&set, 0);
    commit(&set, (unsigned)strtoul(words[1], NULL, 10));
    puts("done");
    ExitProcess(0);
}

/* ---- Using a set ----------------------------------------------------------------------------- */

static void command_import(char **words)
{
    read_document(words[0]);
    CALL("LocateLuns", hardware->lpVtbl->LocateLuns(hardware, (LONG)target_count, targets));
}

/* What VSS does with each disk that arrives, until it has seen all targets. */
static void command_match(char **words)
{
    unsigned seen = 0;
    read_document(words[0]);
    read_disks(words[1]);
    for (unsigned i = 0; i < lun_count; i++) {
        BOOL supported = FALSE;
        CALL("FillInLunInfo",
             hardware->lpVtbl->FillInLunInfo(hardware, device_name, &luns[i], &supported));
        check_record("FillInLunInfo", &luns[i]);
        for (unsigned j = 0; supported && j < target_count; j++)
            seen += record_difference(&luns[i], &targets[j]) == NULL;
    }
    if (seen != target_count) fail("%u of %u targets were found again", seen, target_count);
}

static void command_mask(char **words)
{
    read_document(words[0]);
    CALL("OnLunStateChange",
         hardware->lpVtbl->OnLunStateChange(hardware, targets, NULL, target_count,
                                            VSS_ONLUNSTATECHANGE_DO_MASK_LUNS));
}

static void command_state(char **words)
{
    read_document(words[0]);
    CALL("OnLunStateChange",
         hardware->lpVtbl->OnLunStateChange(hardware, targets, NULL, target_count,
                                            (DWORD)strtoul(words[1], NULL, 16)));
}

static void command_delete(char **words)
{
    read_document(words[0]);
    for (unsigned i = 0; i < target_count; i++) {
        BOOL supported = FALSE;
        CALL("FillInLunInfo",
             hardware->lpVtbl->FillInLunInfo(hardware, device_name, &targets[i], &supported));
        if (!supported) fail("FillInLunInfo: not the provider's own target");
        CALL("OnLunEmpty", hardware->lpVtbl->OnLunEmpty(hardware, device_name, &targets[i]));
    }
}

/* Each target of the document back onto the disk at its place, and the truth about it. */
static void command_resync(char **words)
{
    IVssAsync *async = NULL;
    HRESULT status = S_OK;
    INT reserved = 0;
    read_document(words[0]);
    read_disks(words[1]);
    if (lun_count != target_count) fail("%u disks for %u targets", lun_count, target_count);
    CALL("ResyncLuns", hardware->lpVtbl->ResyncLuns(hardware, targets, luns, target_count, &async));
    if (!async) fail("ResyncLuns: no IVssAsync");
    CALL("Wait", async->lpVtbl->Wait(async, 60000));
    CALL("QueryStatus", async->lpVtbl->QueryStatus(async, &status, &reserved));
    if (status != VSS_S_ASYNC_FINISHED) fail("the resync ended with %08lx", (unsigned long)status);
    if (async->lpVtbl->Cancel(async) != VSS_S_ASYNC_FINISHED)
        fail("a finished resync was cancelled");
    async->lpVtbl->Release(async);
}

static const struct {
    const char *name;
    int words_min, words_max;
    void (*run)(char **words);
} commands[] = {
    {"create", 2, 3, command_create}, {"create-abort", 2, 2, command_create_abort},
    {"import", 1, 1, command_import}, {"match", 2, 2, command_match},
    {"state", 2, 2, command_state},
    {"mask", 1, 1, command_mask},     {"delete", 1, 1, command_delete},
    {"resync", 2, 2, command_resync}, {"create-vanish", 2, 2, command_create_vanish},
};

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    for (unsigned i = 0; argc > 1 && i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(argv[1], commands[i].name) != 0) continue;
        if (argc - 2 < commands[i].words_min || argc - 2 > commands[i].words_max) break;
        if (FAILED(CoInitializeEx(NULL, COINIT_MULTITHREADED))) return 1;
        load();
        commands[i].run(argv + 2);
        unload();
        puts("done");
        return 0;
    }
    fputs("usage: standin create DISKS DOCUMENT [CONTEXT] | create-abort DISKS STEP | "
          "create-vanish DISKS STEP | import "
          "DOCUMENT |\n"
          "       match DOCUMENT DISKS | mask DOCUMENT | delete DOCUMENT | resync DOCUMENT DISKS\n",
          stderr);
    return 2;
}
