/* Where VSS keeps its providers, and reading it. */
#include "windows/standin/vssapi/registry.h"

#include <stdio.h>

static bool read_text(HKEY key, const WCHAR *subkey, const WCHAR *name, WCHAR *ret, DWORD size)
{
    return RegGetValueW(key, subkey, name, RRF_RT_REG_SZ, NULL, ret, &size) == ERROR_SUCCESS;
}

static bool read_guid(HKEY key, const WCHAR *subkey, const WCHAR *name, GUID *ret)
{
    WCHAR text[64];
    return read_text(key, subkey, name, text, sizeof text) && IIDFromString(text, ret) == S_OK;
}

static bool read_provider(HKEY providers, const WCHAR *name, struct si_registered *ret)
{
    WCHAR text[SI_NAME_MAX];
    DWORD type = 0, size = sizeof type;
    HKEY key;
    *ret = (struct si_registered){0};
    if (IIDFromString(name, &ret->id) != S_OK) return false;
    if (RegOpenKeyExW(providers, name, 0, KEY_READ, &key) != ERROR_SUCCESS) return false;
    bool good =
        RegGetValueW(key, NULL, L"Type", RRF_RT_REG_DWORD, NULL, &type, &size) == ERROR_SUCCESS &&
        read_guid(key, L"CLSID", NULL, &ret->clsid) &&
        read_guid(key, NULL, L"VersionId", &ret->version_id);
    ret->type = type;
    if (good && read_text(key, NULL, NULL, text, sizeof text)) standin_narrow(text, ret->name);
    if (good && read_text(key, NULL, L"Version", text, sizeof text))
        standin_narrow(text, ret->version);
    RegCloseKey(key);
    return good;
}

unsigned standin_registered(struct si_registered ret[SI_PROVIDERS_MAX])
{
    unsigned count = 0;
    HKEY providers;
    WCHAR name[64];
    if (RegOpenKeyExW(HKEY_LOCAL_MACHINE, STANDIN_PROVIDERS, 0, KEY_READ, &providers) !=
        ERROR_SUCCESS)
        return 0;
    for (DWORD i = 0; count < SI_PROVIDERS_MAX; i++) {
        DWORD length = ARRAYSIZE(name);
        LONG result = RegEnumKeyExW(providers, i, name, &length, NULL, NULL, NULL, NULL);
        if (result != ERROR_SUCCESS) break;
        count += read_provider(providers, name, &ret[count]);
    }
    RegCloseKey(providers);
    return count;
}

static unsigned list(struct si_registry *r, struct si_registered ret[SI_PROVIDERS_MAX])
{
    (void)r;
    return standin_registered(ret);
}

static struct si_provider *load(struct si_registry *r, const struct si_registered *which)
{
    (void)r;
    return standin_provider_load(which);
}

struct si_registry *standin_registry(void)
{
    static struct si_registry registry = {list, load};
    return &registry;
}
