#include "windows/provider/com/credential.h"

#include <stdio.h>
#include <string.h>

#include <sddl.h>
#include <wincrypt.h>

#define KEY_PATH L"SOFTWARE\\Tarn\\Host"
/* Nobody but SYSTEM and Administrators, nothing inherited: DPAPI's machine scope alone opens to
 * every process. */
#define KEY_SDDL L"O:BAG:BAD:P(A;CI;KA;;;SY)(A;CI;KA;;;BA)"

enum { LIST_SIZE = ENROL_ADDRESSES_MAX * ENROL_ADDRESS_SIZE };

void credential_wipe(struct credential *credential)
{
    SecureZeroMemory(credential, sizeof *credential);
}

/* ---- Lists as one text, with spaces between -------------------------------------------------- */

static void join(const char *items, size_t item_size, unsigned count, char text[LIST_SIZE])
{
    text[0] = '\0';
    for (unsigned i = 0; i < count; i++)
        snprintf(text + strlen(text), LIST_SIZE - strlen(text), "%s%s", i ? " " : "",
                 items + i * item_size);
}

static unsigned split(const char *text, char *items, size_t item_size, unsigned max)
{
    unsigned count = 0;
    while (*text && count < max) {
        size_t length = strcspn(text, " ");
        if (length == 0 || length >= item_size) return 0;
        memcpy(items + count * item_size, text, length);
        items[count++ * item_size + length] = '\0';
        text += length;
        if (*text == ' ') text++;
    }
    return count;
}

/* ---- The registry ---------------------------------------------------------------------------- */

static bool get_text(HKEY key, const char *name, char *text, DWORD size)
{
    return RegGetValueA(key, NULL, name, RRF_RT_REG_SZ, NULL, text, &size) == ERROR_SUCCESS;
}

static bool get_key(HKEY key, uint8_t secret[CRYPTO_HASH_BYTES])
{
    BYTE sealed[1024];
    DWORD size = sizeof sealed;
    DATA_BLOB open = {0};
    if (RegGetValueA(key, NULL, "Key", RRF_RT_REG_BINARY, NULL, sealed, &size) != ERROR_SUCCESS)
        return false;
    DATA_BLOB blob = {size, sealed};
    if (!CryptUnprotectData(&blob, NULL, NULL, NULL, NULL, CRYPTPROTECT_UI_FORBIDDEN, &open))
        return false;
    bool ok = open.cbData == CRYPTO_HASH_BYTES;
    if (ok) memcpy(secret, open.pbData, CRYPTO_HASH_BYTES);
    SecureZeroMemory(open.pbData, open.cbData);
    LocalFree(open.pbData);
    return ok;
}

bool credential_load(struct credential *ret_credential)
{
    HKEY key;
    char addresses[LIST_SIZE], pins[LIST_SIZE];
    struct credential c = {0};
    if (RegOpenKeyExW(HKEY_LOCAL_MACHINE, KEY_PATH, 0, KEY_READ, &key) != ERROR_SUCCESS)
        return false;
    bool ok = get_text(key, "Credential", c.id, sizeof c.id) &&
              get_text(key, "Host", c.host, sizeof c.host) &&
              get_text(key, "Addresses", addresses, sizeof addresses) &&
              get_text(key, "Pins", pins, sizeof pins) && get_key(key, c.key);
    RegCloseKey(key);
    if (ok) {
        c.address_count =
            split(addresses, c.addresses[0], sizeof c.addresses[0], ENROL_ADDRESSES_MAX);
        c.pin_count = split(pins, c.pins[0], sizeof c.pins[0], ENROL_PINS_MAX);
        ok = c.address_count > 0 && c.pin_count > 0;
    }
    if (ok) *ret_credential = c;
    credential_wipe(&c);
    return ok;
}

static DWORD open_for_store(HKEY *ret_key)
{
    PSECURITY_DESCRIPTOR descriptor = NULL;
    if (!ConvertStringSecurityDescriptorToSecurityDescriptorW(KEY_SDDL, SDDL_REVISION_1,
                                                              &descriptor, NULL))
        return GetLastError();
    SECURITY_ATTRIBUTES attributes = {sizeof attributes, descriptor, FALSE};
    DWORD error = (DWORD)RegCreateKeyExW(HKEY_LOCAL_MACHINE, KEY_PATH, 0, NULL, 0, KEY_ALL_ACCESS,
                                         &attributes, ret_key, NULL);
    /* Also where it was there before, with other rights. */
    if (!error) error = (DWORD)RegSetKeySecurity(*ret_key, DACL_SECURITY_INFORMATION, descriptor);
    LocalFree(descriptor);
    return error;
}

static DWORD put_text(HKEY key, const char *name, const char *text)
{
    return (DWORD)RegSetValueExA(key, name, 0, REG_SZ, (const BYTE *)text, (DWORD)strlen(text) + 1);
}

static DWORD put_key(HKEY key, const uint8_t secret[CRYPTO_HASH_BYTES])
{
    uint8_t copy[CRYPTO_HASH_BYTES];
    memcpy(copy, secret, sizeof copy);
    DATA_BLOB open = {sizeof copy, copy}, sealed = {0};
    BOOL ok = CryptProtectData(&open, L"Tarn host key", NULL, NULL, NULL,
                               CRYPTPROTECT_LOCAL_MACHINE | CRYPTPROTECT_UI_FORBIDDEN, &sealed);
    DWORD error = GetLastError();
    SecureZeroMemory(copy, sizeof copy);
    if (!ok) return error;
    error = (DWORD)RegSetValueExA(key, "Key", 0, REG_BINARY, sealed.pbData, sealed.cbData);
    LocalFree(sealed.pbData);
    return error;
}

DWORD credential_forget(void)
{
    LSTATUS status = RegDeleteTreeW(HKEY_LOCAL_MACHINE, KEY_PATH);
    return status == ERROR_FILE_NOT_FOUND ? ERROR_SUCCESS : (DWORD)status;
}

DWORD credential_store(const struct credential *c)
{
    HKEY key;
    char addresses[LIST_SIZE], pins[LIST_SIZE];
    DWORD error = open_for_store(&key);
    if (error) return error;
    join(c->addresses[0], sizeof c->addresses[0], c->address_count, addresses);
    join(c->pins[0], sizeof c->pins[0], c->pin_count, pins);
    error = put_text(key, "Addresses", addresses);
    if (!error) error = put_text(key, "Pins", pins);
    if (!error) error = put_text(key, "Host", c->host);
    if (!error) error = put_text(key, "Credential", c->id);
    if (!error) error = put_key(key, c->key);
    RegCloseKey(key);
    return error;
}
