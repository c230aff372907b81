/* checks_machine.c - what the doctor looks at on this machine. */
#include <stdlib.h>
#include <string.h>

#include "windows/provider/ops/doctor_int.h"

#define PROVIDER_KEY                                                                               \
    "SYSTEM\\CurrentControlSet\\Services\\VSS\\Providers\\{b1a9a2d4-6f0c-4e57-9a63-0d9c5f4f7e21}"
#define CLASS_KEY "SOFTWARE\\Classes\\CLSID\\{5c3be0f8-1d6a-4b0e-8f5d-3a7e2c914b66}"
#define WINDOWS_KEY "SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion"
#define PRODUCT_KEY "SYSTEM\\CurrentControlSet\\Control\\ProductOptions"
#define PARTMGR_KEY "SYSTEM\\CurrentControlSet\\Services\\partmgr\\Parameters"
#define MPDEV_KEY "SYSTEM\\CurrentControlSet\\Control\\MPDEV"
#define MSDSM_KEY "SYSTEM\\CurrentControlSet\\Services\\msdsm\\Parameters"

enum { BUILD_MIN = 14393 }; /* Windows Server 2016 */

void check_administrator(struct doctor *d, struct doctor_finding *f)
{
    if (d->os->is_administrator(d->os))
        found_ok(f, "this runs as an administrator");
    else
        found(f, DOCTOR_WARNING, "run it in a command prompt that was started as administrator",
              "this does not run as an administrator: much of what follows cannot be seen");
}

static bool is_client(struct doctor *d)
{
    char type[32];
    return d->os->text(d->os, PRODUCT_KEY, "ProductType", type, sizeof type) &&
           strcmp(type, "WinNT") == 0;
}

/* What a client Windows cannot have is told once, by check_windows. */
static bool is_not_for_clients(struct doctor *d, struct doctor_finding *f)
{
    if (!is_client(d)) return false;
    found_ok(f, "not needed: a client Windows has no hardware providers");
    return true;
}

/* Hardware providers are for Windows Server only. */
void check_windows(struct doctor *d, struct doctor_finding *f)
{
    char type[32], build[32];
    if (!d->os->text(d->os, PRODUCT_KEY, "ProductType", type, sizeof type) ||
        !d->os->text(d->os, WINDOWS_KEY, "CurrentBuildNumber", build, sizeof build))
        found(f, DOCTOR_UNKNOWN, "", "Windows does not tell which Windows it is");
    else if (is_client(d))
        found(f, DOCTOR_WRONG,
              "use Windows Server 2016 or newer for shadow copies; disks of Tarn can be used here "
              "all the same, and snapshotted on the server: tarn snapshot create",
              "this is a client Windows (build %s), and VSS takes hardware providers on Windows "
              "Server only: it makes no shadow copies with Tarn here",
              build);
    else if (strtoul(build, NULL, 10) < BUILD_MIN)
        found(f, DOCTOR_WRONG, "use Windows Server 2016 or newer",
              "this Windows Server is too old (build %s)", build);
    else
        found_ok(f, "this is a Windows Server, build %s", build);
}

/* Disks that arrive stay offline under some policies.  VSS sees to its own imports; a broken LUN is
 * an ordinary new disk. */
void check_san_policy(struct doctor *d, struct doctor_finding *f)
{
    static const char *const names[] = {NULL, "OnlineAll", "OfflineShared", "OfflineAll",
                                        "OfflineInternal"};
    uint32_t policy;
    if (!d->os->number(d->os, PARTMGR_KEY, "SanPolicy", &policy) || policy < 1 || policy > 4)
        found(f, DOCTOR_UNKNOWN, "ask diskpart: san",
              "Windows does not tell its policy for new disks");
    else if (policy == 2 || policy == 3)
        found(f, DOCTOR_WARNING,
              "bring them online by hand (diskpart: select disk N, online disk, attributes disk "
              "clear readonly), or, on a host that shares no disks: diskpart: san policy=OnlineAll",
              "new disks stay offline (%s): snapshots that were broken, and new disks of Tarn",
              names[policy]);
    else
        found_ok(f, "new disks on iSCSI come online (%s)", names[policy]);
}

void check_initiator(struct doctor *d, struct doctor_finding *f)
{
    struct doctor_service service;
    if (!d->os->service(d->os, "MSiSCSI", &service))
        found(f, DOCTOR_WRONG, "install it: it is part of every Windows Server",
              "there is no iSCSI Initiator service");
    else if (!service.is_running)
        found(f, DOCTOR_WRONG, "sc config MSiSCSI start= auto, then: net start MSiSCSI",
              "the iSCSI Initiator service does not run");
    else if (service.start != DOCTOR_START_AUTO)
        found(f, DOCTOR_WARNING, "sc config MSiSCSI start= auto",
              "the iSCSI Initiator runs, but will not after a restart of Windows");
    else
        found_ok(f, "the iSCSI Initiator runs");
}

/* MSDSM claims by vendor and product, padded as INQUIRY has them; or everything on iSCSI. */
static bool is_claimed(struct doctor_os *os, const char *key, const char *name)
{
    char list[4096];
    return os->text(os, key, name, list, sizeof list) &&
           (strstr(list, "TARN    VIRTUAL DISK") || strstr(list, "MSFT2005iSCSIBusType_0x9"));
}

static unsigned session_count(const struct doctor *d)
{
    struct json value;
    uint64_t count = 0;
    if (api_is_ok(&d->host) && json_member(d->host.value, "session_count", &value))
        json_u64(value, &count);
    return (unsigned)count;
}

void check_mpio(struct doctor *d, struct doctor_finding *f)
{
    struct doctor_service service;
    bool is_claimed_here = d->os->service(d->os, "mpio", &service) &&
                           (is_claimed(d->os, MSDSM_KEY, "DsmSupportedDeviceList") ||
                            is_claimed(d->os, MPDEV_KEY, "MPIOSupportedDeviceList"));
    unsigned sessions = session_count(d);
    if (is_claimed_here)
        found_ok(f, "MPIO claims the disks of Tarn");
    else if (sessions > 1)
        found(f, DOCTOR_WRONG,
              "Install-WindowsFeature Multipath-IO; then New-MSDSMSupportedHW -VendorId TARN "
              "-ProductId \"VIRTUAL DISK\"; then restart Windows",
              "there are %u sessions to the server and MPIO does not claim its disks: each LUN "
              "shows as several disks, and Windows would write to it through one and read through "
              "another",
              sessions);
    else
        found_ok(f, "MPIO does not claim the disks of Tarn, and with one session it need not");
}

void check_service(struct doctor *d, struct doctor_finding *f)
{
    struct doctor_service service;
    char class_of[64];
    if (is_not_for_clients(d, f)) return;
    if (!d->os->service(d->os, "TarnVss", &service))
        found(f, DOCTOR_WRONG, "tarn-vss repair", "the service TarnVss is not there");
    else if (service.start == DOCTOR_START_DISABLED)
        found(f, DOCTOR_WRONG, "sc config TarnVss start= demand",
              "the service TarnVss is disabled: VSS cannot start it");
    else if (!d->os->text(d->os, CLASS_KEY, "AppID", class_of, sizeof class_of))
        found(f, DOCTOR_WRONG, "tarn-vss repair",
              "the COM class of the provider is not registered: VSS cannot find the service");
    else
        found_ok(f, "the service TarnVss %s", service.is_running ? "runs" : "starts on demand");
}

void check_vss(struct doctor *d, struct doctor_finding *f)
{
    char name[128], version[64];
    struct doctor_service service;
    if (is_not_for_clients(d, f)) return;
    if (!d->os->service(d->os, "VSS", &service))
        found(f, DOCTOR_WRONG, "repair Windows: sfc /scannow", "Windows has no VSS service");
    else if (service.start == DOCTOR_START_DISABLED)
        found(f, DOCTOR_WRONG, "sc config VSS start= demand", "the service of VSS is disabled");
    else if (!d->os->text(d->os, PROVIDER_KEY, "", name, sizeof name))
        found(f, DOCTOR_WRONG, "tarn-vss repair", "the provider is not registered with VSS");
    else if (d->os->text(d->os, PROVIDER_KEY, "Version", version, sizeof version) &&
             strcmp(version, d->os->version) != 0)
        found(f, DOCTOR_WARNING, "tarn-vss repair",
              "the provider is registered with VSS as version %s, and this is %s", version,
              d->os->version);
    else
        found_ok(f, "the provider is registered with VSS");
}

void check_events(struct doctor *d, struct doctor_finding *f)
{
    if (is_not_for_clients(d, f)) return;
    if (d->os->is_event_source(d->os))
        found_ok(f, "events of TarnVss have their texts in the application log");
    else
        found(f, DOCTOR_WARNING, "tarn-vss repair",
              "events of TarnVss show without their texts in the application log");
}

void check_cluster(struct doctor *d, struct doctor_finding *f)
{
    struct doctor_service service;
    if (d->os->service(d->os, "ClusSvc", &service) && service.start != DOCTOR_START_DISABLED)
        found(f, DOCTOR_WARNING,
              "install the same version on each node, enrol each with a code of its own, and put "
              "them in one group on the server: tarn group create",
              "this is a node of a cluster: each node needs the provider");
    else
        found_ok(f, "this is no node of a cluster");
}
