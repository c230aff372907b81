/* Texts, and the environment. */
#include <stdlib.h>
#include <string.h>

#include "windows/standin/vssapi/vssapi.h"

volatile LONG standin_objects;

WCHAR *standin_copy(const WCHAR *text)
{
    size_t size = (wcslen(text) + 1) * sizeof *text;
    WCHAR *copy = CoTaskMemAlloc(size);
    if (copy) memcpy(copy, text, size);
    return copy;
}

WCHAR *standin_wide(const char *text)
{
    int count = MultiByteToWideChar(CP_UTF8, 0, text, -1, NULL, 0);
    WCHAR *wide = count > 0 ? CoTaskMemAlloc((size_t)count * sizeof *wide) : NULL;
    if (wide) MultiByteToWideChar(CP_UTF8, 0, text, -1, wide, count);
    return wide;
}

bool standin_narrow(const WCHAR *text, char ret[SI_NAME_MAX])
{
    ret[0] = '\0';
    return text && WideCharToMultiByte(CP_UTF8, 0, text, -1, ret, SI_NAME_MAX, NULL, NULL) > 0;
}

void standin_free_properties(VSS_OBJECT_PROP *property)
{
    if (property->Type == VSS_OBJECT_PROVIDER) {
        CoTaskMemFree(property->Obj.Prov.m_pwszProviderName);
        CoTaskMemFree(property->Obj.Prov.m_pwszProviderVersion);
        return;
    }
    VSS_SNAPSHOT_PROP *snapshot = &property->Obj.Snap;
    VSS_PWSZ *texts[] = {
        &snapshot->m_pwszSnapshotDeviceObject, &snapshot->m_pwszOriginalVolumeName,
        &snapshot->m_pwszOriginatingMachine,   &snapshot->m_pwszServiceMachine,
        &snapshot->m_pwszExposedName,          &snapshot->m_pwszExposedPath,
    };
    for (size_t i = 0; i < ARRAYSIZE(texts); i++) {
        CoTaskMemFree(*texts[i]);
        *texts[i] = NULL;
    }
}

void standin_setting(const char *name, char ret[SI_NAME_MAX])
{
    WCHAR value[SI_NAME_MAX];
    WCHAR *wide = standin_wide(name);
    DWORD length = wide ? GetEnvironmentVariableW(wide, value, ARRAYSIZE(value)) : 0;
    ret[0] = '\0';
    if (length > 0 && length < ARRAYSIZE(value)) standin_narrow(value, ret);
    CoTaskMemFree(wide);
}

unsigned standin_setting_number(const char *name)
{
    char value[SI_NAME_MAX];
    standin_setting(name, value);
    return (unsigned)strtoul(value, NULL, 10);
}
