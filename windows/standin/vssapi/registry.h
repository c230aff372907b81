/*
 * registry.h - the providers that are registered with VSS:
 *
 *     HKLM\SYSTEM\CurrentControlSet\Services\VSS\Providers\{provider}   (default): its name
 *         Type (a number), Version, VersionId
 *         CLSID                                                         (default): its class
 *
 * Threads: any.
 */
#ifndef TARN_WINDOWS_STANDIN_REGISTRY_H
#define TARN_WINDOWS_STANDIN_REGISTRY_H

#include "windows/standin/vssapi/vssapi.h"

#define STANDIN_PROVIDERS L"SYSTEM\\CurrentControlSet\\Services\\VSS\\Providers"

unsigned standin_registered(struct si_registered ret[SI_PROVIDERS_MAX]);

#endif
