/* Blocking files on Linux. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rt/rt_linux_int.h"

struct linux_bfile {
    struct rt_bfile base;
    int fd;
    char *path; /* for messages */
};

static struct linux_bfile *bfile_of(struct rt_bfile *file)
{
    return container_of(file, struct linux_bfile, base);
}

struct err *rt_linux_sync_directory_of(const char *path)
{
    char copy[PATH_MAX];
    if (strlen(path) >= sizeof copy) return err_from_code(ENAMETOOLONG, "open %s", path);
    memcpy(copy, path, strlen(path) + 1);
    const char *directory = dirname(copy);
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return err_from_errno("open directory %s", directory);
    struct err *e = fsync(fd) == 0 ? NULL : err_from_errno("flush directory %s", directory);
    close(fd);
    return e;
}

/* Whether the file is made here is known from the first try, so that its name is made durable once.
 */
static struct err *open_or_create(const char *path, unsigned flags, int *ret_fd)
{
    int how = O_CLOEXEC | (flags & RT_BOPEN_READ_ONLY ? O_RDONLY : O_RDWR);
    int fd = -1;
    if (flags & RT_BOPEN_CREATE) {
        fd = open(path, how | O_CREAT | O_EXCL, 0600);
        if (fd >= 0) {
            struct err *e = rt_linux_sync_directory_of(path);
            if (e) {
                close(fd);
                return e;
            }
        } else if (errno != EEXIST || (flags & RT_BOPEN_EXCLUSIVE)) {
            return err_from_errno("create %s", path);
        }
    }
    if (fd < 0) fd = open(path, how);
    if (fd < 0) return err_from_errno("open %s", path);
    *ret_fd = fd;
    return NULL;
}

struct err *rt_linux_bfile_open(struct rt *rt, const char *path, unsigned flags,
                                struct rt_bfile **ret_file)
{
    int fd = -1;
    TRY(open_or_create(path, flags, &fd));
    struct linux_bfile *file = calloc(1, sizeof *file);
    char *copy = strdup(path);
    if (!file || !copy) {
        free(file);
        free(copy);
        close(fd);
        return err_new(STATUS_NO_MEMORY, "no memory to open %s", path);
    }
    file->base.rt = rt;
    file->fd = fd;
    file->path = copy;
    *ret_file = &file->base;
    return NULL;
}

struct err *rt_linux_bfile_read(struct rt_bfile *base, uint64_t offset, void *to, size_t size_bytes,
                                size_t *ret_read)
{
    struct linux_bfile *file = bfile_of(base);
    size_t done = 0;
    while (done < size_bytes) {
        ssize_t n =
            pread(file->fd, (uint8_t *)to + done, size_bytes - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return err_from_errno("read %s", file->path);
        if (n == 0) break;
        done += (size_t)n;
    }
    *ret_read = done;
    return NULL;
}

struct err *rt_linux_bfile_write(struct rt_bfile *base, uint64_t offset, const void *from,
                                 size_t size_bytes)
{
    struct linux_bfile *file = bfile_of(base);
    size_t done = 0;
    while (done < size_bytes) {
        ssize_t n = pwrite(file->fd, (const uint8_t *)from + done, size_bytes - done,
                           (off_t)(offset + done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return err_from_errno("write %s", file->path);
        done += (size_t)n;
    }
    return NULL;
}

struct err *rt_linux_bfile_truncate(struct rt_bfile *base, uint64_t size_bytes)
{
    struct linux_bfile *file = bfile_of(base);
    if (ftruncate(file->fd, (off_t)size_bytes) == 0) return NULL;
    return err_from_errno("set the size of %s", file->path);
}

struct err *rt_linux_bfile_sync(struct rt_bfile *base, enum rt_flush_site site)
{
    struct linux_bfile *file = bfile_of(base);
    if (fdatasync(file->fd) == 0) return NULL;
    return err_from_errno("flush %s", file->path);
}

struct err *rt_linux_bfile_size(struct rt_bfile *base, uint64_t *ret_size_bytes)
{
    struct linux_bfile *file = bfile_of(base);
    struct stat st;
    if (fstat(file->fd, &st) != 0) return err_from_errno("ask for the size of %s", file->path);
    *ret_size_bytes = (uint64_t)st.st_size;
    return NULL;
}

void rt_linux_bfile_close(struct rt_bfile *base)
{
    struct linux_bfile *file = bfile_of(base);
    close(file->fd);
    free(file->path);
    free(file);
}

struct err *rt_linux_path_delete(struct rt *rt, const char *path, bool sync_directory)
{
    if (unlink(path) != 0) return err_from_errno("delete %s", path);
    return sync_directory ? rt_linux_sync_directory_of(path) : NULL;
}

struct err *rt_linux_path_rename(struct rt *rt, const char *from, const char *to)
{
    if (rename(from, to) != 0) return err_from_errno("rename %s to %s", from, to);
    return rt_linux_sync_directory_of(to);
}

bool rt_linux_path_exists(struct rt *rt, const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

struct err *rt_linux_path_make_directory(struct rt *rt, const char *path)
{
    struct stat st;
    if (mkdir(path, 0700) == 0) return rt_linux_sync_directory_of(path);
    int code = errno;
    if (code == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode)) return NULL;
    return err_from_code(code, "make directory %s", path);
}
