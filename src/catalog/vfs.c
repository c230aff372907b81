/* SQLite's file system on rt's blocking calls, so that the simulator sees and crashes every write.
 */
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalog/catalog_int.h"

enum { VFS_PATH_MAX = 1024, VFS_SECTOR_BYTES = 4096 };

struct catalog_vfs {
    sqlite3_vfs base; /* first */
    struct rt *rt;
    char name[40];
};

struct vfs_file {
    sqlite3_file base; /* first */
    struct rt_bfile *file;
};

static struct rt *rt_of(sqlite3_vfs *vfs)
{
    return ((struct catalog_vfs *)vfs->pAppData)->rt;
}

static struct rt_bfile *bfile_of(sqlite3_file *file)
{
    return ((struct vfs_file *)(void *)file)->file;
}

/* SQLite's code for a failure; the error itself ends here (SQLite has no place for it). */
static int code_of(struct err *e, int code)
{
    if (!e) return SQLITE_OK;
    if (err_status(e) == STATUS_NO_SPACE) code = SQLITE_FULL;
    err_free(e);
    return code;
}

static int file_close(sqlite3_file *file)
{
    rt_bfile_close(take_ptr(&((struct vfs_file *)(void *)file)->file));
    return SQLITE_OK;
}

static int file_read(sqlite3_file *file, void *to, int size, sqlite3_int64 offset)
{
    size_t done = 0;
    struct err *e = rt_bfile_read(bfile_of(file), (uint64_t)offset, to, (size_t)size, &done);
    if (e) return code_of(e, SQLITE_IOERR_READ);
    if (done == (size_t)size) return SQLITE_OK;
    memset((char *)to + done, 0, (size_t)size - done);
    return SQLITE_IOERR_SHORT_READ;
}

static int file_write(sqlite3_file *file, const void *from, int size, sqlite3_int64 offset)
{
    return code_of(rt_bfile_write(bfile_of(file), (uint64_t)offset, from, (size_t)size),
                   SQLITE_IOERR_WRITE);
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    return code_of(rt_bfile_truncate(bfile_of(file), (uint64_t)size), SQLITE_IOERR_TRUNCATE);
}

static int file_sync(sqlite3_file *file, int flags)
{
    return code_of(rt_bfile_sync(bfile_of(file), RT_FLUSH_CATALOG), SQLITE_IOERR_FSYNC);
}

static int file_size(sqlite3_file *file, sqlite3_int64 *ret_size)
{
    uint64_t size = 0;
    struct err *e = rt_bfile_size(bfile_of(file), &size);
    if (!e) *ret_size = (sqlite3_int64)size;
    return code_of(e, SQLITE_IOERR_FSTAT);
}

/* The state directory is locked as a whole; nobody else opens the database. */
static int file_lock(sqlite3_file *file, int level)
{
    return SQLITE_OK;
}

static int file_check_reserved(sqlite3_file *file, int *ret_reserved)
{
    *ret_reserved = 0;
    return SQLITE_OK;
}

static int file_control(sqlite3_file *file, int op, void *arg)
{
    return SQLITE_NOTFOUND;
}

static int file_sector(sqlite3_file *file)
{
    return VFS_SECTOR_BYTES;
}

static int file_characteristics(sqlite3_file *file)
{
    return 0;
}

static const sqlite3_io_methods file_methods = {
    .iVersion = 1, /* no shared memory, no memory mapping */
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_lock,
    .xCheckReservedLock = file_check_reserved,
    .xFileControl = file_control,
    .xSectorSize = file_sector,
    .xDeviceCharacteristics = file_characteristics,
};

static int vfs_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags,
                    int *ret_flags)
{
    struct vfs_file *f = (struct vfs_file *)(void *)file;
    memset(f, 0, sizeof *f);
    if (!path) return SQLITE_CANTOPEN; /* temporary files live in memory (temp_store) */
    unsigned open_flags = flags & SQLITE_OPEN_CREATE ? RT_BOPEN_CREATE : 0;
    struct err *e = rt_bfile_open(rt_of(vfs), path, open_flags, &f->file);
    if (e) return code_of(e, SQLITE_CANTOPEN);
    f->base.pMethods = &file_methods;
    if (ret_flags) *ret_flags = flags;
    return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *path, int sync_directory)
{
    if (!rt_path_exists(rt_of(vfs), path)) return SQLITE_IOERR_DELETE_NOENT;
    return code_of(rt_path_delete(rt_of(vfs), path, sync_directory != 0), SQLITE_IOERR_DELETE);
}

static int vfs_access(sqlite3_vfs *vfs, const char *path, int flags, int *ret_result)
{
    *ret_result = rt_path_exists(rt_of(vfs), path);
    return SQLITE_OK;
}

static int vfs_full_path(sqlite3_vfs *vfs, const char *path, int size, char *ret_path)
{
    int n = snprintf(ret_path, (size_t)size, "%s", path);
    return n < size ? SQLITE_OK : SQLITE_CANTOPEN;
}

static int vfs_randomness(sqlite3_vfs *vfs, int size, char *to)
{
    rt_random(rt_of(vfs), to, (size_t)size);
    return size;
}

static int vfs_sleep(sqlite3_vfs *vfs, int microseconds)
{
    return microseconds; /* never asked: there is no lock to wait for */
}

static int vfs_time(sqlite3_vfs *vfs, sqlite3_int64 *ret_ms)
{
    /* Milliseconds since noon of 24 November 4714 BC. */
    *ret_ms = (sqlite3_int64)(rt_wall(rt_of(vfs)) / RT_MS) + 210866760000000;
    return SQLITE_OK;
}

static int vfs_time_double(sqlite3_vfs *vfs, double *ret_days)
{
    sqlite3_int64 ms = 0;
    vfs_time(vfs, &ms);
    *ret_days = (double)ms / 86400000.0;
    return SQLITE_OK;
}

static int vfs_last_error(sqlite3_vfs *vfs, int size, char *text)
{
    return 0;
}

struct err *catalog_vfs_register(struct rt *rt, struct catalog_vfs **ret_vfs)
{
    static atomic_uint next_number;
    struct catalog_vfs *vfs = calloc(1, sizeof *vfs);
    if (!vfs) return err_new(STATUS_NO_MEMORY, "catalog file system");
    vfs->rt = rt;
    snprintf(vfs->name, sizeof vfs->name, "tarn-rt-%u", atomic_fetch_add(&next_number, 1));
    vfs->base = (sqlite3_vfs){
        .iVersion = 2,
        .szOsFile = sizeof(struct vfs_file),
        .mxPathname = VFS_PATH_MAX,
        .zName = vfs->name,
        .pAppData = vfs,
        .xOpen = vfs_open,
        .xDelete = vfs_delete,
        .xAccess = vfs_access,
        .xFullPathname = vfs_full_path,
        .xRandomness = vfs_randomness,
        .xSleep = vfs_sleep,
        .xCurrentTime = vfs_time_double,
        .xGetLastError = vfs_last_error,
        .xCurrentTimeInt64 = vfs_time,
    };
    if (sqlite3_vfs_register(&vfs->base, 0) != SQLITE_OK) {
        free(vfs);
        return err_new(STATUS_INTERNAL, "register the catalog's file system with SQLite");
    }
    *ret_vfs = vfs;
    return NULL;
}

const char *catalog_vfs_name(const struct catalog_vfs *vfs)
{
    return vfs->name;
}

void catalog_vfs_unregister(struct catalog_vfs *vfs)
{
    if (!vfs) return;
    sqlite3_vfs_unregister(&vfs->base);
    free(vfs);
}
