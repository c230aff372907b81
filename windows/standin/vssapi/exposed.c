/* What is exposed under which name, and the names of volumes.  Whoever mounts it is outside: the
 * test sees ID.want and makes ID.done. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "windows/standin/coordinator.h"
#include "windows/standin/vssapi/session.h"

/* ---- Volumes --------------------------------------------------------------------------------- */

/* The volume that STANDIN_MOUNTS gives this letter. */
static bool volume_at(WCHAR letter, char ret_volume[SI_NAME_MAX])
{
    static WCHAR mounts[4096];
    DWORD length = GetEnvironmentVariableW(L"STANDIN_MOUNTS", mounts, ARRAYSIZE(mounts));
    if (length == 0 || length >= ARRAYSIZE(mounts)) return false;
    for (WCHAR *at = mounts, *rest; at && *at; at = rest) {
        rest = wcschr(at, L';');
        if (rest) *rest++ = L'\0';
        if (towupper(at[0]) == towupper(letter) && at[1] == L':' && at[2] == L'=')
            return standin_narrow(at + 3, ret_volume);
    }
    return false;
}

static bool windows_name_at(WCHAR letter, WCHAR ret[64])
{
    WCHAR root[] = {letter, L':', L'\\', L'\0'};
    return GetVolumeNameForVolumeMountPointW(root, ret, 64);
}

static void lower(char *text)
{
    for (char *at = strchr(text, '{'); at && *at && *at != '}'; at++)
        if (*at >= 'A' && *at <= 'Z') *at = (char)(*at - 'A' + 'a');
}

bool standin_volume_of(const WCHAR *path, char ret_volume[SI_NAME_MAX])
{
    WCHAR name[64];
    if (!path) return false;
    if (wcsncmp(path, L"\\\\?\\Volume{", 11) != 0) {
        bool known = path[0] && path[1] == L':' && (path[2] == L'\\' || !path[2]) &&
                     (!path[2] || !path[3]) && volume_at(path[0], ret_volume);
        if (known) lower(ret_volume);
        return known;
    }
    for (WCHAR letter = L'C'; letter <= L'Z'; letter++) {
        if (!volume_at(letter, ret_volume)) continue;
        lower(ret_volume);
        if (windows_name_at(letter, name) && _wcsicmp(name, path) == 0) return true;
    }
    if (!standin_narrow(path, ret_volume)) return false;
    lower(ret_volume);
    return true;
}

WCHAR *standin_windows_name(const char *volume)
{
    WCHAR name[64];
    char at[SI_NAME_MAX];
    for (WCHAR letter = L'C'; letter <= L'Z'; letter++) {
        if (volume_at(letter, at) && _stricmp(at, volume) == 0 && windows_name_at(letter, name))
            return standin_copy(name);
    }
    return standin_wide(volume);
}

/* ---- Exposed shadow copies ------------------------------------------------------------------- */

static void path_of(const VSS_ID *id, const char *end, char ret[MAX_PATH])
{
    char text[64];
    snprintf(text, sizeof text, "%08lx-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x", id->Data1,
             id->Data2, id->Data3, id->Data4[0], id->Data4[1], id->Data4[2], id->Data4[3],
             id->Data4[4], id->Data4[5], id->Data4[6], id->Data4[7]);
    standin_state_path("exposed", text, end, ret);
}

/* Waits until the file is there, or is not. */
static bool wait_for(const VSS_ID *id, bool there)
{
    char path[MAX_PATH];
    unsigned wait_ms = standin_setting_number("STANDIN_EXPOSE_MS");
    path_of(id, ".done", path);
    for (unsigned i = 0; i < wait_ms; i += 20) {
        if ((GetFileAttributesA(path) != INVALID_FILE_ATTRIBUTES) == there) return true;
        Sleep(20);
    }
    return wait_ms == 0;
}

bool standin_exposed_as(const VSS_ID *id, char ret_name[SI_NAME_MAX])
{
    char path[MAX_PATH];
    path_of(id, ".want", path);
    char *text = standin_file_read(path);
    if (!text) return false;
    char *end = strchr(text, '\n');
    if (end) *end = '\0';
    snprintf(ret_name, SI_NAME_MAX, "%s", text);
    free(text);
    return true;
}

/* Two lines: the name; LUN, first block and blocks. */
HRESULT standin_expose(const struct coordinator_snapshot *snapshot, const char *name)
{
    char path[MAX_PATH], text[2 * SI_NAME_MAX], taken[SI_NAME_MAX];
    path_of(&snapshot->id, ".want", path);
    if (standin_exposed_as(&snapshot->id, taken)) return VSS_E_OBJECT_ALREADY_EXISTS;
    snprintf(text, sizeof text, "%s\n%u %llu %llu\n", name, snapshot->lun,
             (unsigned long long)snapshot->first_lba, (unsigned long long)snapshot->block_count);
    if (!standin_file_write(path, text)) return VSS_E_UNEXPECTED;
    if (wait_for(&snapshot->id, true)) return S_OK;
    DeleteFileA(path);
    return VSS_E_UNEXPECTED;
}

HRESULT standin_unexpose(const VSS_ID *id)
{
    char path[MAX_PATH];
    path_of(id, ".want", path);
    if (!DeleteFileA(path)) return VSS_E_OBJECT_NOT_FOUND;
    return wait_for(id, false) ? S_OK : VSS_E_UNEXPECTED;
}
