/*
 * transport.h - the core's requests, signed and sent to the server that this host was enrolled
 * with.
 *
 * Described in doc/design/0070-host-requests.md.  The commit channel: commit_open connects, sends
 * the headers, checks the key and keeps the signed line; commit_send writes the line and reads the
 * status.
 *
 * Threads: any.  Ownership: it lives as long as the process.
 */
#ifndef TARN_WINDOWS_COM_TRANSPORT_H
#define TARN_WINDOWS_COM_TRANSPORT_H

#include "windows/provider/com/credential.h"
#include "windows/provider/core/api.h"

/* The transport of the process; NULL: out of memory, or no WinHTTP. */
struct transport *transport_create(const struct credential *credential);

#endif
