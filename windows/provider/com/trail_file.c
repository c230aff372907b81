#include "windows/provider/com/trail_file.h"

#include <io.h>
#include <wchar.h>

#include <fcntl.h>

enum {
    SHARED = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
    OPEN_TRIES = 5, /* it would take a retired file each time */
};

/* ---- Writing --------------------------------------------------------------------------------- */

static struct trail_file *file_of(struct trail_os *os)
{
    return (struct trail_file *)(void *)((char *)os - offsetof(struct trail_file, os));
}

static bool get_size(HANDLE file, uint64_t *ret_bytes)
{
    LARGE_INTEGER size;
    if (!GetFileSizeEx(file, &size)) return false;
    *ret_bytes = (uint64_t)size.QuadPart;
    return true;
}

static bool append(struct trail_os *os, const char *text, size_t size, uint64_t *ret_file_bytes)
{
    DWORD written = 0;
    HANDLE file = CreateFileW(file_of(os)->path, FILE_APPEND_DATA | FILE_READ_ATTRIBUTES, SHARED,
                              NULL, OPEN_ALWAYS, FILE_ATTRIBUTE_NORMAL, NULL);
    if (file == INVALID_HANDLE_VALUE) return false;
    bool ok = WriteFile(file, text, (DWORD)size, &written, NULL) && written == size &&
              get_size(file, ret_file_bytes);
    CloseHandle(file);
    return ok;
}

static bool rename_to(HANDLE file, const wchar_t *path)
{
    union {
        FILE_RENAME_INFO info;
        BYTE bytes[sizeof(FILE_RENAME_INFO) + MAX_PATH * sizeof(wchar_t)];
    } to = {.info = {.ReplaceIfExists = TRUE}};
    size_t size = wcslen(path) * sizeof *path;
    to.info.FileNameLength = (DWORD)size;
    memcpy(to.bytes + offsetof(FILE_RENAME_INFO, FileName), path, size + sizeof *path);
    return SetFileInformationByHandle(file, FileRenameInfo, &to, sizeof to);
}

/* Opened so that nobody else can open it to rename it: what is renamed is what was measured, and no
 * file that another process began in between.  Who finds it so tries again later. */
static bool retire(struct trail_os *os, uint64_t least_bytes)
{
    struct trail_file *trail = file_of(os);
    uint64_t bytes;
    HANDLE file =
        CreateFileW(trail->path, DELETE | FILE_READ_ATTRIBUTES, FILE_SHARE_READ | FILE_SHARE_WRITE,
                    NULL, OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, NULL);
    if (file == INVALID_HANDLE_VALUE) return GetLastError() == ERROR_FILE_NOT_FOUND;
    bool ok = get_size(file, &bytes) && (bytes < least_bytes || rename_to(file, trail->old_path));
    CloseHandle(file);
    return ok;
}

bool trail_file_init(struct trail_file *file, const wchar_t *path)
{
    static const wchar_t end[] = L".log", old_end[] = L".old.log";
    const size_t length = wcslen(path), stem = length - (wcslen(end));
    *file = (struct trail_file){.os = {.append = append, .retire = retire}};
    if (length < wcslen(end) || wcscmp(path + stem, end) != 0 ||
        stem + sizeof old_end / sizeof *old_end > MAX_PATH)
        return false;
    wcscpy(file->path, path);
    wcscpy(file->old_path, path);
    wcscpy(file->old_path + stem, old_end);
    return true;
}

/* ---- Reading --------------------------------------------------------------------------------- */

static FILE *open_shared(const wchar_t *path)
{
    HANDLE handle =
        CreateFileW(path, GENERIC_READ, SHARED, NULL, OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, NULL);
    if (handle == INVALID_HANDLE_VALUE) return NULL;
    int fd = _open_osfhandle((intptr_t)handle, _O_RDONLY | _O_BINARY);
    FILE *file = fd == -1 ? NULL : _fdopen(fd, "rb");
    if (fd == -1)
        CloseHandle(handle);
    else if (!file)
        _close(fd);
    return file;
}

static bool is_same(FILE *a, FILE *b)
{
    BY_HANDLE_FILE_INFORMATION x, y;
    return GetFileInformationByHandle((HANDLE)_get_osfhandle(_fileno(a)), &x) &&
           GetFileInformationByHandle((HANDLE)_get_osfhandle(_fileno(b)), &y) &&
           x.dwVolumeSerialNumber == y.dwVolumeSerialNumber &&
           x.nFileIndexHigh == y.nFileIndexHigh && x.nFileIndexLow == y.nFileIndexLow;
}

/* The current one is opened first: when it is retired then, it is seen as its own predecessor, and
 * both are opened anew.  The other way round it would be missed. */
void trail_file_open(const struct trail_file *file, FILE *ret_files[TRAIL_FILES])
{
    for (unsigned i = 0;; i++) {
        FILE *now = open_shared(file->path), *old = open_shared(file->old_path);
        ret_files[0] = old;
        ret_files[1] = now;
        if (!old || !now || !is_same(old, now)) return;
        fclose(now);
        ret_files[1] = NULL; /* nothing was written since */
        if (i == OPEN_TRIES) return;
        fclose(old);
    }
}

FILE *trail_file_next(const struct trail_file *file, FILE *opened)
{
    FILE *now = open_shared(file->path);
    if (!now || !opened || !is_same(now, opened)) return now;
    fclose(now);
    return NULL;
}
