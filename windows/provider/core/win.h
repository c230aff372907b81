/*
 * win.h - the words of Windows that the core of the provider uses.
 *
 * On Windows they come from the system's headers.  Elsewhere, for the unit tests, this file
 * declares the same names with the same layout (checked below), so that the core is one source. The
 * typedefs are theirs.
 */
#ifndef TARN_WINDOWS_CORE_WIN_H
#define TARN_WINDOWS_CORE_WIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef _WIN32

#include <windows.h>

#include <vdslun.h>
#include <vsprov.h>
#include <vss.h>
#include <vsserror.h>

#else

typedef int32_t HRESULT;
typedef int32_t LONG;
typedef uint32_t ULONG, DWORD;
typedef uint8_t BYTE;
typedef int BOOL;
typedef uint16_t WCHAR; /* UTF-16; L"" literals are wider here */
typedef struct {
    uint32_t Data1;
    uint16_t Data2, Data3;
    uint8_t Data4[8];
} GUID;
typedef GUID VSS_ID;
typedef WCHAR *VSS_PWSZ;

enum { FALSE = 0, TRUE = 1 };

#define HRESULT_(code) ((HRESULT)(code))
#define S_OK HRESULT_(0)
#define E_NOTIMPL HRESULT_(0x80004001u)
#define E_OUTOFMEMORY HRESULT_(0x8007000Eu)
#define E_INVALIDARG HRESULT_(0x80070057u)
#define E_ACCESSDENIED HRESULT_(0x80070005u)
#define VSS_E_BAD_STATE HRESULT_(0x80042301u)
#define VSS_E_PROVIDER_VETO HRESULT_(0x80042306u)
#define VSS_E_OBJECT_NOT_FOUND HRESULT_(0x80042308u)
#define VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER HRESULT_(0x8004230Eu)
#define VSS_E_MAXIMUM_NUMBER_OF_VOLUMES_REACHED HRESULT_(0x80042312u)
#define VSS_S_ASYNC_PENDING HRESULT_(0x00042309)
#define VSS_S_ASYNC_FINISHED HRESULT_(0x0004230A)
#define VSS_S_ASYNC_CANCELLED HRESULT_(0x0004230B)
#define VSS_E_UNSUPPORTED_CONTEXT HRESULT_(0x8004231Bu)
#define VSS_E_INSUFFICIENT_STORAGE HRESULT_(0x8004231Fu)

enum {
    VSS_VOLSNAP_ATTR_PERSISTENT = 0x1,
    VSS_VOLSNAP_ATTR_CLIENT_ACCESSIBLE = 0x4,
    VSS_VOLSNAP_ATTR_NO_AUTO_RELEASE = 0x8,
    VSS_VOLSNAP_ATTR_TRANSPORTABLE = 0x20,
    VSS_VOLSNAP_ATTR_DIFFERENTIAL = 0x20000,
    VSS_VOLSNAP_ATTR_PLEX = 0x40000,
    VSS_VOLSNAP_ATTR_FILE_SHARE = 0x4000000,
};
enum {
    VSS_ONLUNSTATECHANGE_NOTIFY_READ_WRITE = 0x100,
    VSS_ONLUNSTATECHANGE_NOTIFY_LUN_PRE_RECOVERY = 0x200,
    VSS_ONLUNSTATECHANGE_NOTIFY_LUN_POST_RECOVERY = 0x400,
    VSS_ONLUNSTATECHANGE_DO_MASK_LUNS = 0x800,
};

typedef enum {
    VDSStorageIdCodeSetBinary = 1,
    VDSStorageIdCodeSetAscii,
    VDSStorageIdCodeSetUtf8
} VDS_STORAGE_IDENTIFIER_CODE_SET;
typedef enum {
    VDSStorageIdTypeVendorId = 1,
    VDSStorageIdTypeEUI64 = 2,
    VDSStorageIdTypeFCPHName = 3,
    VDSStorageIdTypeScsiNameString = 8,
} VDS_STORAGE_IDENTIFIER_TYPE;
typedef enum {
    VDSBusTypeUnknown = 0,
    VDSBusTypeScsi = 1,
    VDSBusTypeiScsi = 9
} VDS_STORAGE_BUS_TYPE;
typedef enum { VDS_IA_UNKNOWN = 0, VDS_IA_SCSI = 5 } VDS_INTERCONNECT_ADDRESS_TYPE;

typedef struct {
    VDS_STORAGE_IDENTIFIER_CODE_SET m_CodeSet;
    VDS_STORAGE_IDENTIFIER_TYPE m_Type;
    ULONG m_cbIdentifier;
    BYTE *m_rgbIdentifier;
} VDS_STORAGE_IDENTIFIER;
typedef struct {
    ULONG m_version;
    ULONG m_cIdentifiers;
    VDS_STORAGE_IDENTIFIER *m_rgIdentifiers;
} VDS_STORAGE_DEVICE_ID_DESCRIPTOR;
typedef struct {
    VDS_INTERCONNECT_ADDRESS_TYPE m_addressType;
    ULONG m_cbPort;
    BYTE *m_pbPort;
    ULONG m_cbAddress;
    BYTE *m_pbAddress;
} VDS_INTERCONNECT;
typedef struct {
    ULONG m_version;
    BYTE m_DeviceType;
    BYTE m_DeviceTypeModifier;
    BOOL m_bCommandQueueing;
    VDS_STORAGE_BUS_TYPE m_BusType;
    char *m_szVendorId;
    char *m_szProductId;
    char *m_szProductRevision;
    char *m_szSerialNumber;
    GUID m_diskSignature;
    VDS_STORAGE_DEVICE_ID_DESCRIPTOR m_deviceIdDescriptor;
    ULONG m_cInterconnects;
    VDS_INTERCONNECT *m_rgInterconnects;
} VDS_LUN_INFORMATION;

#endif

_Static_assert(sizeof(VDS_LUN_INFORMATION) == 96, "the layout of VSS on x64");
_Static_assert(offsetof(VDS_LUN_INFORMATION, m_szVendorId) == 16, "the layout of VSS on x64");
_Static_assert(offsetof(VDS_LUN_INFORMATION, m_diskSignature) == 48, "the layout of VSS on x64");
_Static_assert(offsetof(VDS_LUN_INFORMATION, m_deviceIdDescriptor) == 64,
               "the layout of VSS on x64");
_Static_assert(offsetof(VDS_LUN_INFORMATION, m_rgInterconnects) == 88, "the layout of VSS on x64");
_Static_assert(sizeof(VDS_STORAGE_IDENTIFIER) == 24, "the layout of VSS on x64");

#endif
