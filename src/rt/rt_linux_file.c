#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "rt/rt_linux_int.h"

static struct err *lock_file(int fd, const char *path, bool read_only)
{
    struct flock lock = {.l_type = read_only ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_SETLK, &lock) == 0) return NULL;
    if (errno != EAGAIN && errno != EACCES) return err_from_errno("lock %s", path);
    return err_next(err_new(STATUS_LOCKED, "%s is held by another process", path),
                    "stop the other process, or wait until it has ended");
}

static struct err *fill_info(int fd, const char *path, bool direct, struct rt_file_info *info)
{
    struct stat st;
    if (fstat(fd, &st) != 0) return err_from_errno("ask for the size of %s", path);
    /* Also devices with smaller sectors are used in whole blocks. */
    *info = (struct rt_file_info){.alignment_bytes = direct ? BLOCK_BYTES : 1};
    if (S_ISREG(st.st_mode)) {
        info->size_bytes = (uint64_t)st.st_size;
    } else if (S_ISBLK(st.st_mode)) {
        int sector_bytes;
        info->is_block_device = true;
        if (ioctl(fd, BLKGETSIZE64, &info->size_bytes) != 0 ||
            ioctl(fd, BLKSSZGET, &sector_bytes) != 0)
            return err_from_errno("ask for the size of %s", path);
        if (direct && sector_bytes > BLOCK_BYTES) info->alignment_bytes = (uint32_t)sector_bytes;
    } else {
        return err_new(STATUS_BAD_REQUEST, "%s is neither a regular file nor a block device", path);
    }
    return NULL;
}

static struct err *open_fd(const char *path, unsigned flags, int *ret_fd, bool *ret_direct)
{
    int how = O_CLOEXEC | (flags & RT_OPEN_READ_ONLY ? O_RDONLY : O_RDWR);
    bool direct = flags & RT_OPEN_DIRECT;
    if (flags & RT_OPEN_CREATE) how |= O_CREAT | O_EXCL;
    int fd = open(path, how | (direct ? O_DIRECT : 0), 0600);
    if (fd < 0 && direct && errno == EINVAL) { /* the file system knows no direct I/O */
        direct = false;
        if (flags & RT_OPEN_CREATE) unlink(path); /* made by the attempt that failed */
        fd = open(path, how, 0600);
    }
    if (fd < 0) return err_from_errno("open %s", path);
    if (flags & RT_OPEN_CREATE) {
        struct err *e = rt_linux_sync_directory_of(path);
        if (e) {
            close(fd);
            return e;
        }
    }
    *ret_fd = fd;
    *ret_direct = direct;
    return NULL;
}

struct err *rt_linux_file_open(struct rt *rt, const char *path, unsigned flags,
                               struct rt_file **ret_file, struct rt_file_info *ret_info)
{
    struct rt_file_info info;
    int fd = -1;
    bool direct = false;
    TRY(open_fd(path, flags, &fd, &direct));
    struct err *e = fill_info(fd, path, direct, &info);
    if (!e && (flags & RT_OPEN_LOCK)) e = lock_file(fd, path, flags & RT_OPEN_READ_ONLY);
    struct rt_linux_file *file = e ? NULL : calloc(1, sizeof *file);
    if (!file) {
        close(fd);
        return e ? e : err_new(STATUS_NO_MEMORY, "no memory to open %s", path);
    }
    file->base.rt = rt;
    file->fd = fd;
    *ret_file = &file->base;
    if (ret_info) *ret_info = info;
    return NULL;
}

void rt_linux_file_close(struct rt_file *base)
{
    struct rt_linux_file *file = container_of(base, struct rt_linux_file, base);
    check(file->in_flight == 0);
    close(file->fd);
    free(file);
}

void rt_linux_file_submit(struct rt *rt, struct rt_file_io *io)
{
    struct rt_linux *l = rt_linux_of(rt);
    check(rt_on_loop(rt));
    io->private_[RT_FILE_PRIVATE_DONE] = 0;
    container_of(io->file, struct rt_linux_file, base)->in_flight++;
    l->ops->file_issue(l, io);
}

static enum status failure_status(const struct rt_file_io *io, int code)
{
    switch (io->op) {
    case RT_FILE_READ:
        return STATUS_READ_FAILED;
    case RT_FILE_WRITE:
        return code == ENOSPC || code == EDQUOT ? STATUS_NO_SPACE : STATUS_WRITE_FAILED;
    case RT_FILE_SYNC:
        return STATUS_FLUSH_FAILED;
    case RT_FILE_DISCARD:
        return STATUS_OK; /* best effort */
    }
    unreachable("file operation");
}

/* Whole length or failure: goes on after a short transfer. */
void rt_linux_file_complete(struct rt_linux *l, struct rt_file_io *io, int result)
{
    bool is_transfer = io->op == RT_FILE_READ || io->op == RT_FILE_WRITE;
    bool again = result == -EINTR || result == -EAGAIN;
    if (is_transfer && result > 0) {
        io->private_[RT_FILE_PRIVATE_DONE] += (uint64_t)result;
        again = io->private_[RT_FILE_PRIVATE_DONE] < io->length;
    }
    if (again) {
        l->ops->file_issue(l, io);
        return;
    }
    if (result < 0 || (is_transfer && io->private_[RT_FILE_PRIVATE_DONE] < io->length)) {
        io->status = failure_status(io, -result);
    }
    container_of(io->file, struct rt_linux_file, base)->in_flight--;
    io->done(io);
}
