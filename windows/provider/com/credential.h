/*
 * credential.h - what this host knows of its server: addresses, pins, its credential and the key
 * that signs requests.
 *
 * Kept in HKLM\SOFTWARE\Tarn\Host, which only SYSTEM and Administrators may read; the key is sealed
 * by DPAPI for this machine.  Threads: any.  Ownership: the caller's struct, which holds the key:
 * wipe it.
 */
#ifndef TARN_WINDOWS_COM_CREDENTIAL_H
#define TARN_WINDOWS_COM_CREDENTIAL_H

#include <windows.h>

#include "base/signed_request.h"
#include "windows/provider/com/crypto.h"

struct credential {
    unsigned address_count, pin_count;
    char addresses[ENROL_ADDRESSES_MAX][ENROL_ADDRESS_SIZE];
    char pins[ENROL_PINS_MAX][SIGNED_HASH_SIZE];
    char id[SIGNED_ID_SIZE];
    char host[256];
    uint8_t key[CRYPTO_HASH_BYTES];
};

/* false: this host is not enrolled, or what is stored cannot be read. */
bool credential_load(struct credential *ret_credential);
/* ERROR_SUCCESS or an error of Windows. */
DWORD credential_store(const struct credential *credential);
/* Not there is fine. */
DWORD credential_forget(void);
void credential_wipe(struct credential *credential);

#endif
