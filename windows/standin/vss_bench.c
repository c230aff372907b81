/*
 * vss_bench - how long the provider takes for each call that makes a shadow copy set.
 *
 *     vss_bench DISKS SETS [mark]
 *
 * DISKS has one volume's LUN in every three lines (standin_file.h). Makes so many sets of all of
 * them, one after the other, in the order of VSS and without its requester, and deletes each. The
 * calls go to the service in its own process, as those of VSS do. Prints a line for each call: its
 * name, median, 99th percentile and longest time in microseconds; of calls that come once per volume
 * it is the time of all of them. The first set is not counted: it opens connections.
 *
 * mark: writes "CommitSnapshots begins" and "CommitSnapshots ends" to stderr around the call, between
 * which a trace of Wine can be read. Exit status 0, 1 when a call failed, 2 for wrong usage.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "windows/standin/standin_file.h"

#include <vsprov.h>

#include "windows/provider/com/ids.h"

enum { LUNS_MAX = 256, SETS_MAX = 1000 };

enum phase {
    BEGIN_PREPARE,
    END_PREPARE,
    PRE_COMMIT,
    COMMIT,
    POST_COMMIT,
    GET_TARGETS,
    EMPTY,
    PHASES
};

static const char *const phase_names[PHASES] = {
    "BeginPrepareSnapshot", "EndPrepareSnapshots", "PreCommitSnapshots", "CommitSnapshots",
    "PostCommitSnapshots",  "GetTargetLuns",       "OnLunEmpty"};

static IVssHardwareSnapshotProviderEx *hardware;
static IVssProviderCreateSnapshotSet *creation;
static VDS_LUN_INFORMATION luns[LUNS_MAX], targets[LUNS_MAX];
static unsigned lun_count;
static uint64_t samples[PHASES][SETS_MAX];
static bool is_marked;

static uint64_t now_us(void)
{
    LARGE_INTEGER now, frequency;
    QueryPerformanceCounter(&now);
    QueryPerformanceFrequency(&frequency);
    return (uint64_t)now.QuadPart * 1000000u / (uint64_t)frequency.QuadPart;
}

static void need(const char *what, HRESULT result)
{
    if (result == S_OK) return;
    printf("failed: %s: %08lx\n", what, (unsigned long)result);
    exit(1);
}

static void mark(const char *text)
{
    if (is_marked) fputs(text, stderr);
}

static HRESULT per_lun(enum phase phase, const VSS_ID *set, unsigned i)
{
    wchar_t name[] = L"\\\\?\\GLOBALROOT\\Device\\Harddisk1";
    VSS_PWSZ devices[] = {name};
    VSS_ID snapshot = {.Data1 = i + 1};
    if (phase == BEGIN_PREPARE)
        return hardware->lpVtbl->BeginPrepareSnapshot(hardware, *set, snapshot, 0, 1, devices,
                                                      &luns[i]);
    if (phase == GET_TARGETS)
        return hardware->lpVtbl->GetTargetLuns(hardware, 1, devices, &luns[i], &targets[i]);
    return hardware->lpVtbl->OnLunEmpty(hardware, name, &targets[i]);
}

static HRESULT per_set(enum phase phase, const VSS_ID *set)
{
    HRESULT result;
    switch (phase) {
    case END_PREPARE:
        return creation->lpVtbl->EndPrepareSnapshots(creation, *set);
    case PRE_COMMIT:
        return creation->lpVtbl->PreCommitSnapshots(creation, *set);
    case COMMIT:
        mark("CommitSnapshots begins\n");
        result = creation->lpVtbl->CommitSnapshots(creation, *set);
        mark("CommitSnapshots ends\n");
        return result;
    case POST_COMMIT:
        return creation->lpVtbl->PostCommitSnapshots(creation, *set, (LONG)lun_count);
    case BEGIN_PREPARE:
    case GET_TARGETS:
    case EMPTY:
    case PHASES:
    default:
        break;
    }
    result = S_OK;
    for (unsigned i = 0; result == S_OK && i < lun_count; i++)
        result = per_lun(phase, set, i);
    return result;
}

static void make_set(unsigned number)
{
    VSS_ID set;
    need("CoCreateGuid", CoCreateGuid(&set));
    for (unsigned phase = 0; phase < PHASES; phase++) {
        uint64_t start_us = now_us();
        HRESULT result = per_set((enum phase)phase, &set);
        uint64_t took_us = now_us() - start_us;
        need(phase_names[phase], result);
        if (number > 0) samples[phase][number - 1] = took_us;
    }
    for (unsigned i = 0; i < lun_count; i++) {
        record_free(standin_memory(), &targets[i]);
        targets[i] = (VDS_LUN_INFORMATION){0};
    }
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void print(unsigned count)
{
    for (unsigned phase = 0; phase < PHASES; phase++) {
        uint64_t *s = samples[phase];
        qsort(s, count, sizeof *s, compare);
        unsigned p99 = (99 * count + 99) / 100 - 1;
        printf("%s\t%u\t%llu\t%llu\t%llu\n", phase_names[phase], lun_count,
               (unsigned long long)s[count / 2], (unsigned long long)s[p99],
               (unsigned long long)s[count - 1]);
    }
}

static void load(const char *path)
{
    const CLSID clsid = TARN_CLSID;
    FILE *file = fopen(path, "r");
    while (file && lun_count < LUNS_MAX && standin_read_disk(file, &luns[lun_count]))
        lun_count++;
    if (file) fclose(file);
    if (lun_count == 0) {
        printf("failed: %s has no disks\n", path);
        exit(1);
    }
    need("CoInitializeEx", CoInitializeEx(NULL, COINIT_MULTITHREADED));
    need("CoCreateInstance",
         CoCreateInstance(&clsid, NULL, CLSCTX_LOCAL_SERVER, &IID_IVssHardwareSnapshotProviderEx,
                          (void **)&hardware));
    need("QueryInterface", hardware->lpVtbl->QueryInterface(
                               hardware, &IID_IVssProviderCreateSnapshotSet, (void **)&creation));
}

int main(int argc, char **argv)
{
    unsigned long sets = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    is_marked = argc == 4 && strcmp(argv[3], "mark") == 0;
    if (argc < 3 || argc > 4 || (argc == 4 && !is_marked) || sets == 0 || sets > SETS_MAX) {
        fputs("usage: vss_bench DISKS SETS [mark]\n", stderr);
        return 2;
    }
    setvbuf(stdout, NULL, _IONBF, 0);
    setvbuf(stderr, NULL, _IONBF, 0);
    load(argv[1]);
    for (unsigned i = 0; i <= sets; i++)
        make_set(i);
    print((unsigned)sets);
    creation->lpVtbl->Release(creation);
    hardware->lpVtbl->Release(hardware);
    puts("done");
    return 0;
}
