/*
 * trail_file.h - the files of a trail (core/trail.h) on Windows: FILE, and its predecessor.
 *
 * Everything is opened so that others may read, write and rename it meanwhile; readers have to do
 * the same (trail_file_open), or the file cannot be retired as long as they have it.
 */
#ifndef TARN_WINDOWS_COM_TRAIL_FILE_H
#define TARN_WINDOWS_COM_TRAIL_FILE_H

#include <stdio.h>

#include <windows.h>

#include "windows/provider/core/trail.h"

struct trail_file {
    struct trail_os os; /* append and retire are filled in; the rest is the caller's */
    wchar_t path[MAX_PATH], old_path[MAX_PATH];
};

/* C:\dir\name.log has the predecessor C:\dir\name.old.log.  false: the path is too long, or is no
 * .log. */
bool trail_file_init(struct trail_file *file, const wchar_t *path);

enum { TRAIL_FILES = 2 };
/* For reading, the predecessor first; NULL where there is none.  None is there twice, and none
 * between them is left out, whatever is retired meanwhile. */
void trail_file_open(const struct trail_file *file, FILE *ret_files[TRAIL_FILES]);
/* The file that took the place of one that was opened (NULL: none was); NULL: it is the current one
 * still. */
FILE *trail_file_next(const struct trail_file *file, FILE *opened);

#endif
