#include "windows/provider/com/register.h"

#include <stdio.h>
#include <string.h>

#include <vsserror.h>

#include "windows/provider/com/crypto.h"
#include "windows/provider/com/ids.h"

enum { VERSION_CHARS = 64 };

/* RFC 9562 5.8: version 8 is for ids made in a way of one's own. */
bool registration_version_id(const char *version, GUID *ret_id)
{
    char text[VERSION_CHARS + 32], hex[CRYPTO_HASH_SIZE];
    uint8_t bytes[CRYPTO_HASH_BYTES];
    snprintf(text, sizeof text, "tarn-vss version %.63s", version);
    if (!crypto_sha256(text, strlen(text), hex) || !crypto_from_hex(hex, bytes, sizeof bytes))
        return false;
    bytes[6] = (uint8_t)((bytes[6] & 0x0F) | 0x80);
    bytes[8] = (uint8_t)((bytes[8] & 0x3F) | 0x80);
    ret_id->Data1 = (ULONG)bytes[0] << 24 | (ULONG)bytes[1] << 16 | (ULONG)bytes[2] << 8 | bytes[3];
    ret_id->Data2 = (WORD)(bytes[4] << 8 | bytes[5]);
    ret_id->Data3 = (WORD)(bytes[6] << 8 | bytes[7]);
    memcpy(ret_id->Data4, bytes + 8, sizeof ret_id->Data4);
    return true;
}

static HRESULT add(IVssAdmin *admin, const char *version, const GUID *version_id)
{
    const GUID provider = TARN_PROVIDER_ID;
    const CLSID clsid = TARN_CLSID;
    wchar_t wide[VERSION_CHARS], name[] = TARN_PROVIDER_NAME;
    if (!MultiByteToWideChar(CP_UTF8, 0, version, -1, wide, VERSION_CHARS)) return E_INVALIDARG;
    return admin->lpVtbl->RegisterProvider(admin, provider, clsid, name, VSS_PROV_HARDWARE, wide,
                                           *version_id);
}

HRESULT registration_add(IVssAdmin *admin, const char *version)
{
    GUID version_id;
    if (!registration_version_id(version, &version_id)) return E_FAIL;
    HRESULT result = add(admin, version, &version_id);
    if (result != VSS_E_PROVIDER_ALREADY_REGISTERED) return result;
    result = registration_remove(admin);
    return FAILED(result) ? result : add(admin, version, &version_id);
}

HRESULT registration_remove(IVssAdmin *admin)
{
    const GUID provider = TARN_PROVIDER_ID;
    HRESULT result = admin->lpVtbl->UnregisterProvider(admin, provider);
    return result == VSS_E_PROVIDER_NOT_REGISTERED ? S_OK : result;
}

const char *registration_advice(HRESULT result)
{
    static const struct {
        HRESULT result;
        const char *text;
    } advice[] = {
        {E_INVALIDARG,
         "Windows takes hardware providers only where it is a server: install it on Windows Server "
         "2016 or later; a client Windows needs no provider to use Tarn disks"},
        {E_ACCESSDENIED, "run it as administrator"},
        {VSS_E_PROVIDER_IN_USE,
         "VSS is making a shadow copy with the provider: try again when it is done (vssadmin list "
         "shadows); what was registered before stays"},
        {REGDB_E_CLASSNOTREG,
         "this Windows has no Volume Shadow Copy service: see that the service VSS is there (sc "
         "query vss), and repair Windows if it is not"},
        {(HRESULT)0x80070422, /* ERROR_SERVICE_DISABLED */
         "the service VSS is disabled: let it be started on demand (sc config vss start= demand), "
         "and try again"},
    };
    for (unsigned i = 0; i < sizeof advice / sizeof *advice; i++)
        if (advice[i].result == result) return advice[i].text;
    return "see the application log for events of VSS, and try again";
}

HRESULT registration_open(IVssAdmin **ret_admin)
{
    *ret_admin = NULL;
    return CoCreateInstance(&CLSID_VSSCoordinator, NULL, CLSCTX_ALL, &IID_IVssAdmin,
                            (void **)ret_admin);
}
