/*
 * register.h - the provider's registration with VSS itself, through IVssAdmin.
 *
 * VSS keeps for each provider its id, class, name, type, version and the version's id. A provider
 * that is registered already is made new by unregistering first: VSS has no update. The provider's
 * id stays for ever; the version's id is made of the version's text, so that no two versions share
 * one and nobody has to remember to draw it.
 *
 * Threads: the command's own. Ownership: the caller's IVssAdmin. Failures: the HRESULT of VSS;
 * registration_advice says in plain words what it means and what to do.
 */
#ifndef TARN_WINDOWS_COM_REGISTER_H
#define TARN_WINDOWS_COM_REGISTER_H

#include <stdbool.h>

#include <windows.h>

#include <vsadmin.h>
#include <vss.h>

/* Registered already is fine: then it is this version afterwards. */
HRESULT registration_add(IVssAdmin *admin, const char *version);
/* Not registered is fine. */
HRESULT registration_remove(IVssAdmin *admin);
/* A sentence for people: why, and what to do next. */
const char *registration_advice(HRESULT result);
/* Of VSS on this Windows; E_... when it has none. */
HRESULT registration_open(IVssAdmin **ret_admin);
/* The id of a version, the same each time. */
bool registration_version_id(const char *version, GUID *ret_id);

#endif
