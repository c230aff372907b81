/*
 * trace.h - what VSS called, how it ended and how long it took: a line for each call, in a file for
 * support.
 *
 *     CommitSnapshots 00000000 state=committed us=5210 at=2026-11-22T21:00:00.123Z
 *     LocateLuns 00000000 state=idle us=9120 luns=2 at=2026-11-22T21:00:01.456Z
 *
 * Lines are kept in memory and written when nothing is frozen: neither a line nor an event touches
 * a disk between PreCommitSnapshots and the end of PostCommitSnapshots.  The file is bounded: see
 * core/trail.h.  Threads: any.  Failures: a file that cannot be written is left; the event log has
 * what matters.
 */
#ifndef TARN_WINDOWS_COM_TRACE_H
#define TARN_WINDOWS_COM_TRACE_H

#include "windows/provider/core/provider.h"

/* Once, before the first call; path NULL: no file. */
void trace_init(struct provider *provider, const wchar_t *path);
uint64_t trace_now_us(void);
/* arguments: "" or KEY=VALUE with blanks between, without what differs from run to run. */
void trace_call(struct provider *provider, const char *method, const char *arguments,
                HRESULT result, uint64_t duration_us);
/* A line of another kind: an event. */
void trace_text(const char *text);

#endif
