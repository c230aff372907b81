/*
 * .cab files through Windows' own cabinet.dll.  All it opens are files in memory, so that no name
 * has to pass through its 8-bit paths, and nothing is left in a temporary directory.
 */
#include <stdlib.h>
#include <string.h>

#include "windows/shadow/shadow.h"

#include <fci.h>
#include <fcntl.h>
#include <fdi.h>

enum { FILES_MAX = 32, NAME_MAX_BYTES = 260, CABINET_MAX_BYTES = 64 * 1024 * 1024 };

/* A file in memory; it stays when it is closed. */
struct memory_file {
    char name[NAME_MAX_BYTES];
    char *bytes;
    size_t size, room;
};

struct opened {
    struct memory_file *file;
    size_t at;
};

/* FDI's callbacks have no context.  One at a time. */
static struct memory_file files[FILES_MAX];
static const char *wanted;

static struct memory_file *find(const char *name)
{
    for (unsigned i = 0; i < FILES_MAX; i++)
        if (files[i].name[0] && strcmp(files[i].name, name) == 0) return &files[i];
    return NULL;
}

static struct memory_file *make(const char *name)
{
    for (unsigned i = 0; i < FILES_MAX; i++) {
        if (files[i].name[0]) continue;
        snprintf(files[i].name, sizeof files[i].name, "%s", name);
        return &files[i];
    }
    return NULL;
}

static void drop(struct memory_file *file)
{
    free(file->bytes);
    *file = (struct memory_file){0};
}

static void drop_all(void)
{
    for (unsigned i = 0; i < FILES_MAX; i++)
        drop(&files[i]);
}

static bool append(struct memory_file *file, size_t at, const void *bytes, size_t size)
{
    if (at > CABINET_MAX_BYTES || size > CABINET_MAX_BYTES - at) return false;
    if (at + size + 1 > file->room) {
        size_t room = (at + size + 1) * 2;
        char *grown = realloc(file->bytes, room);
        if (!grown) return false;
        memset(grown + file->size, 0, room - file->size);
        file->bytes = grown;
        file->room = room;
    }
    if (size > 0) memcpy(file->bytes + at, bytes, size);
    if (at + size > file->size) file->size = at + size;
    file->bytes[file->size] = '\0';
    return true;
}

/* ---- As FDI calls it ------------------------------------------------------------------------- */

static void *DIAMONDAPI take(ULONG size)
{
    return malloc(size);
}

static void DIAMONDAPI give(void *memory)
{
    free(memory);
}

static INT_PTR open_handle(struct memory_file *file)
{
    struct opened *opened = file ? malloc(sizeof *opened) : NULL;
    if (!opened) return -1;
    *opened = (struct opened){file, 0};
    return (INT_PTR)opened;
}

static INT_PTR DIAMONDAPI fdi_open(char *name, int flags, int mode)
{
    struct memory_file *file = find(name);
    (void)mode;
    if (!file && flags & _O_CREAT) file = make(name);
    if (file && flags & _O_TRUNC) file->size = 0;
    return open_handle(file);
}

static UINT DIAMONDAPI fdi_read(INT_PTR handle, void *bytes, UINT size)
{
    struct opened *opened = (struct opened *)handle;
    size_t left = opened->at < opened->file->size ? opened->file->size - opened->at : 0;
    size_t count = size < left ? size : left;
    if (count > 0) memcpy(bytes, opened->file->bytes + opened->at, count);
    opened->at += count;
    return (UINT)count;
}

static UINT DIAMONDAPI fdi_write(INT_PTR handle, void *bytes, UINT size)
{
    struct opened *opened = (struct opened *)handle;
    if (!append(opened->file, opened->at, bytes, size)) return (UINT)-1;
    opened->at += size;
    return size;
}

static int DIAMONDAPI fdi_close(INT_PTR handle)
{
    free((struct opened *)handle);
    return 0;
}

static long DIAMONDAPI fdi_seek(INT_PTR handle, long distance, int origin)
{
    struct opened *opened = (struct opened *)handle;
    long base = origin == SEEK_CUR   ? (long)opened->at
                : origin == SEEK_END ? (long)opened->file->size
                                     : 0;
    if (base + distance < 0) return -1;
    opened->at = (size_t)(base + distance);
    return (long)opened->at;
}

static INT_PTR DIAMONDAPI notify(FDINOTIFICATIONTYPE kind, PFDINOTIFICATION about)
{
    if (kind == fdintCOPY_FILE) {
        if (strcmp(about->psz1, wanted) != 0 || find("out")) return 0;
        if (about->cb < 0 || about->cb > CABINET_MAX_BYTES) return -1;
        return open_handle(make("out"));
    }
    if (kind == fdintCLOSE_FILE_INFO) {
        fdi_close(about->hf);
        return TRUE;
    }
    return kind == fdintNEXT_CABINET ? -1 : 0; /* sets of several cabinets are not for us */
}

/* ---- As FCI calls it ------------------------------------------------------------------------- */

static INT_PTR DIAMONDAPI fci_open(char *name, int flags, int mode, int *error, void *context)
{
    (void)error;
    (void)context;
    return fdi_open(name, flags, mode);
}

static UINT DIAMONDAPI fci_read(INT_PTR handle, void *bytes, UINT size, int *error, void *context)
{
    (void)error;
    (void)context;
    return fdi_read(handle, bytes, size);
}

static UINT DIAMONDAPI fci_write(INT_PTR handle, void *bytes, UINT size, int *error, void *context)
{
    (void)error;
    (void)context;
    return fdi_write(handle, bytes, size);
}

static int DIAMONDAPI fci_close(INT_PTR handle, int *error, void *context)
{
    (void)error;
    (void)context;
    return fdi_close(handle);
}

static long DIAMONDAPI fci_seek(INT_PTR handle, long distance, int origin, int *error,
                                void *context)
{
    (void)error;
    (void)context;
    return fdi_seek(handle, distance, origin);
}

static int DIAMONDAPI fci_delete(char *name, int *error, void *context)
{
    struct memory_file *file = find(name);
    (void)error;
    (void)context;
    if (file) drop(file);
    return 0;
}

static int DIAMONDAPI placed(PCCAB cabinet, char *name, long size, BOOL continued, void *context)
{
    (void)cabinet, (void)name, (void)size, (void)continued, (void)context;
    return 0;
}

static BOOL DIAMONDAPI temporary(char *ret_name, int size, void *context)
{
    static unsigned number;
    (void)context;
    snprintf(ret_name, (size_t)size, "temporary%u", ++number);
    return TRUE;
}

static BOOL DIAMONDAPI next_cabinet(PCCAB cabinet, ULONG size, void *context)
{
    (void)cabinet, (void)size, (void)context;
    return FALSE;
}

static long DIAMONDAPI progress(UINT kind, ULONG one, ULONG two, void *context)
{
    (void)kind, (void)one, (void)two, (void)context;
    return 0;
}

static INT_PTR DIAMONDAPI open_info(char *name, USHORT *date, USHORT *time, USHORT *attributes,
                                    int *error, void *context)
{
    SYSTEMTIME now;
    (void)error, (void)context;
    GetLocalTime(&now);
    *date = (USHORT)((now.wYear - 1980) << 9 | now.wMonth << 5 | now.wDay);
    *time = (USHORT)(now.wHour << 11 | now.wMinute << 5 | now.wSecond / 2);
    *attributes = FILE_ATTRIBUTE_ARCHIVE;
    return open_handle(find(name));
}

/* ---- Whole files ----------------------------------------------------------------------------- */

static struct err *write_whole(const char *path, const struct memory_file *file)
{
    WCHAR *wide = shadow_wide(path);
    DWORD written = 0, error = ERROR_NOT_ENOUGH_MEMORY;
    bool good = false;
    HANDLE handle = wide ? CreateFileW(wide, GENERIC_WRITE, 0, NULL, CREATE_ALWAYS, 0, NULL)
                         : INVALID_HANDLE_VALUE;
    if (handle != INVALID_HANDLE_VALUE) {
        good = WriteFile(handle, file->bytes, (DWORD)file->size, &written, NULL) &&
               written == file->size && FlushFileBuffers(handle);
        error = GetLastError();
        CloseHandle(handle);
    } else if (wide) {
        error = GetLastError();
    }
    free(wide);
    return good ? NULL : err_new(STATUS_OS_ERROR, "%s cannot be written (error %lu)", path, error);
}

static struct err *read_whole(const char *path, struct memory_file *file)
{
    char chunk[16384];
    DWORD got = 0;
    WCHAR *wide = shadow_wide(path);
    HANDLE handle =
        wide ? CreateFileW(wide, GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING, 0, NULL)
             : INVALID_HANDLE_VALUE;
    DWORD error = GetLastError();
    bool good = handle != INVALID_HANDLE_VALUE;
    free(wide);
    if (!good) {
        return err_next(err_new(error == ERROR_FILE_NOT_FOUND || error == ERROR_PATH_NOT_FOUND
                                    ? STATUS_NOT_FOUND
                                    : STATUS_OS_ERROR,
                                "%s cannot be read (error %lu)", path, error),
                        "name the .cab file that set metadata made");
    }
    do {
        good = ReadFile(handle, chunk, sizeof chunk, &got, NULL) &&
               append(file, file->size, chunk, got);
    } while (good && got > 0);
    CloseHandle(handle);
    return good ? NULL : err_new(STATUS_OS_ERROR, "%s cannot be read, or is too big", path);
}

/* ---- Cabinets -------------------------------------------------------------------------------- */

static bool add_all(HFCI cabinet, const struct cabinet_file *list, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char name[NAME_MAX_BYTES];
        snprintf(name, sizeof name, "%s", list[i].name);
        struct memory_file *file = make(name);
        if (!file || !append(file, 0, list[i].bytes, list[i].size)) return false;
        if (!FCIAddFile(cabinet, name, name, FALSE, next_cabinet, progress, open_info,
                        tcompTYPE_MSZIP))
            return false;
    }
    return FCIFlushCabinet(cabinet, FALSE, next_cabinet, progress);
}

struct err *cabinet_write(const char *path, const struct cabinet_file *list, unsigned count)
{
    CCAB about = {.cb = CABINET_MAX_BYTES,
                  .cbFolderThresh = CABINET_MAX_BYTES,
                  .iCab = 1,
                  .szCab = "made.cab"};
    ERF failure = {0};
    HFCI cabinet = FCICreate(&failure, placed, take, give, fci_open, fci_read, fci_write, fci_close,
                             fci_seek, fci_delete, temporary, &about, NULL);
    bool good = cabinet && add_all(cabinet, list, count);
    if (cabinet) FCIDestroy(cabinet);
    struct memory_file *made = find("made.cab");
    struct err *e = good && made ? write_whole(path, made)
                                 : err_new(STATUS_OS_ERROR, "%s cannot be made (cabinet.dll: %d)",
                                           path, failure.erfOper);
    drop_all();
    return e;
}

struct err *cabinet_read(const char *path, const char *name, char **ret, size_t *ret_size)
{
    char in[] = "in.cab", nowhere[] = "";
    ERF failure = {0};
    struct memory_file *file = make(in);
    struct err *e = file ? read_whole(path, file) : err_new(STATUS_NO_MEMORY, "read %s", path);
    HFDI cabinet = e ? NULL
                     : FDICreate(take, give, fdi_open, fdi_read, fdi_write, fdi_close, fdi_seek,
                                 cpuUNKNOWN, &failure);
    wanted = name;
    bool good = cabinet && FDICopy(cabinet, in, nowhere, 0, notify, NULL, NULL);
    if (cabinet) FDIDestroy(cabinet);
    struct memory_file *out = find("out");
    *ret = NULL;
    if (!e && !good) {
        e = err_next(err_new(STATUS_BAD_REQUEST, "%s is no .cab file, or is damaged", path),
                     "name the .cab file that set metadata made");
    } else if (!e && out) {
        *ret_size = out->size;
        *ret = out->bytes ? out->bytes : calloc(1, 1);
        out->bytes = NULL;
    }
    drop_all();
    return e;
}
