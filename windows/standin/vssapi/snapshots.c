/* The properties of shadow copies, as requesters ask for them. */
#include <stdlib.h>

#include "windows/standin/vssapi/session.h"

enum { SNAPSHOTS_MAX = 512 };

static unsigned all(struct session *s, struct coordinator_snapshot **ret)
{
    *ret = calloc(SNAPSHOTS_MAX, sizeof **ret);
    return *ret ? coordinator_query(s->coordinator, *ret, SNAPSHOTS_MAX) : 0;
}

bool session_find(struct session *s, const VSS_ID *id, struct coordinator_snapshot *ret)
{
    struct coordinator_snapshot *snapshots;
    unsigned count = all(s, &snapshots), i = 0;
    while (i < count && !IsEqualGUID(&snapshots[i].id, id))
        i++;
    bool found = i < count;
    if (found) *ret = snapshots[i];
    free(snapshots);
    return found;
}

static void fill(const struct coordinator_snapshot *from, VSS_SNAPSHOT_PROP *ret)
{
    char exposed[SI_NAME_MAX], computer[SI_NAME_MAX];
    DWORD length = ARRAYSIZE(computer);
    standin_setting("STANDIN_COMPUTER", computer);
    if (!computer[0]) GetComputerNameA(computer, &length);
    *ret = (VSS_SNAPSHOT_PROP){
        .m_SnapshotId = from->id,
        .m_SnapshotSetId = from->set,
        .m_lSnapshotsCount = (LONG)from->set_count,
        .m_pwszSnapshotDeviceObject = from->device[0] ? standin_wide(from->device) : NULL,
        .m_pwszOriginalVolumeName = standin_windows_name(from->volume),
        .m_pwszOriginatingMachine = standin_wide(from->origin),
        .m_pwszServiceMachine = standin_wide(computer),
        .m_ProviderId = from->provider,
        .m_lSnapshotAttributes = from->attributes,
        .m_tsCreationTimestamp = from->created_filetime,
        .m_eStatus = VSS_SS_CREATED,
    };
    if (!standin_exposed_as(&from->id, exposed)) return;
    ret->m_pwszExposedName = standin_wide(exposed);
    ret->m_lSnapshotAttributes |= VSS_VOLSNAP_ATTR_EXPOSED_LOCALLY;
}

HRESULT session_properties(struct session *s, const VSS_ID *id, VSS_SNAPSHOT_PROP *ret)
{
    struct coordinator_snapshot found;
    if (!session_find(s, id, &found)) return VSS_E_OBJECT_NOT_FOUND;
    fill(&found, ret);
    return S_OK;
}

/* A session sees the shadow copies of its own context, or all with VSS_CTX_ALL. */
static bool is_seen(const struct session *s, const struct coordinator_snapshot *snapshot)
{
    LONG bits = VSS_VOLSNAP_ATTR_PERSISTENT | VSS_VOLSNAP_ATTR_CLIENT_ACCESSIBLE |
                VSS_VOLSNAP_ATTR_NO_AUTO_RELEASE | VSS_VOLSNAP_ATTR_NO_WRITERS;
    return s->context == (LONG)VSS_CTX_ALL || (snapshot->attributes & bits) == (s->context & bits);
}

HRESULT session_query(struct session *s, IVssEnumObject **ret)
{
    struct coordinator_snapshot *snapshots;
    unsigned count = all(s, &snapshots), seen = 0;
    VSS_OBJECT_PROP *properties = calloc(count + 1, sizeof *properties);
    for (unsigned i = 0; properties && i < count; i++) {
        if (!is_seen(s, &snapshots[i])) continue;
        properties[seen].Type = VSS_OBJECT_SNAPSHOT;
        fill(&snapshots[i], &properties[seen++].Obj.Snap);
    }
    free(snapshots);
    *ret = NULL;
    return properties ? standin_enum_create(properties, seen, ret) : E_OUTOFMEMORY;
}
