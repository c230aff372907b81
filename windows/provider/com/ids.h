/*
 * ids.h - the fixed names of the provider.  The provider's id is for ever, across all versions:
 * requesters may ask for it by name.  Its version's id changes with each version that is
 * registered.
 */
#ifndef TARN_WINDOWS_COM_IDS_H
#define TARN_WINDOWS_COM_IDS_H

#define TARN_PROVIDER_NAME L"Tarn VSS hardware provider"
#define TARN_SERVICE_NAME L"TarnVss"
#define TARN_EVENT_SOURCE L"TarnVss"
#define TARN_BUSY_EVENT L"Global\\TarnVssBusy"

/* {b1a9a2d4-6f0c-4e57-9a63-0d9c5f4f7e21}: the provider */
#define TARN_PROVIDER_ID                                                                           \
    {                                                                                              \
        0xb1a9a2d4, 0x6f0c, 0x4e57,                                                                \
        {                                                                                          \
            0x9a, 0x63, 0x0d, 0x9c, 0x5f, 0x4f, 0x7e, 0x21                                         \
        }                                                                                          \
    }
/* {5c3be0f8-1d6a-4b0e-8f5d-3a7e2c914b66}: its COM class */
#define TARN_CLSID                                                                                 \
    {                                                                                              \
        0x5c3be0f8, 0x1d6a, 0x4b0e,                                                                \
        {                                                                                          \
            0x8f, 0x5d, 0x3a, 0x7e, 0x2c, 0x91, 0x4b, 0x66                                         \
        }                                                                                          \
    }
#define TARN_CLSID_TEXT L"{5C3BE0F8-1D6A-4B0E-8F5D-3A7E2C914B66}"
/* {e4c1f7a3-90b2-4d38-b6c5-7f21d8a05e94}: the application that COM starts as a service */
#define TARN_APPID_TEXT L"{E4C1F7A3-90B2-4D38-B6C5-7F21D8A05E94}"

#endif
