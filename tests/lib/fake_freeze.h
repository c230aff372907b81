/*
 * fake_freeze.h - file systems that only pretend to freeze: directories, with their state in memory
 * that the requester and its watchdog share.  They behave as the kernel's: EBUSY, EINVAL, blocking,
 * not supported. Header-only, one per test program.
 */
#ifndef TARN_TESTS_FAKE_FREEZE_H
#define TARN_TESTS_FAKE_FREEZE_H

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "shadow/shadow.h"

enum { FAKE_FS_COUNT = 4, FAKE_LOG_MAX = 64, FAKE_WAIT_MS = 20000 };

struct fake_world {
    atomic_int frozen[FAKE_FS_COUNT];
    atomic_int freeze_error[FAKE_FS_COUNT];  /* errno that freeze answers */
    atomic_int waits_for[FAKE_FS_COUNT];     /* 1 + index: freeze blocks until that one is thawed */
    atomic_int lost[FAKE_FS_COUNT];          /* 1: somebody else thaws it at once */
    atomic_int thaw_failures[FAKE_FS_COUNT]; /* so many thaws answer EIO and do nothing */
    atomic_int log_count;
    char log[FAKE_LOG_MAX][16]; /* "freeze 0", "commit", ... */
};

static struct fake_world *fake_world;
static char fake_root[64], fake_points[FAKE_FS_COUNT][96];
static ino_t fake_inodes[FAKE_FS_COUNT];

static inline void fake_sleep_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static inline void fake_note(const char *what)
{
    int at = atomic_fetch_add(&fake_world->log_count, 1);
    if (at < FAKE_LOG_MAX) snprintf(fake_world->log[at], sizeof fake_world->log[at], "%s", what);
}

/* The log as one line. */
static inline const char *fake_log(void)
{
    static char text[FAKE_LOG_MAX * 18];
    text[0] = '\0';
    for (int i = 0; i < atomic_load(&fake_world->log_count) && i < FAKE_LOG_MAX; i++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s%.15s", used ? ", " : "", fake_world->log[i]);
    }
    return text;
}

static inline void fake_note_index(const char *what, unsigned index)
{
    char text[16];
    snprintf(text, sizeof text, "%.10s %u", what, index);
    fake_note(text);
}

static inline unsigned fake_index(int fd)
{
    struct stat st;
    if (fstat(fd, &st) == 0) {
        for (unsigned i = 0; i < FAKE_FS_COUNT; i++) {
            if (st.st_ino == fake_inodes[i]) return i;
        }
    }
    abort();
}

static inline int fake_freeze_fs(int fd)
{
    unsigned i = fake_index(fd);
    int error = atomic_load(&fake_world->freeze_error[i]),
        other = atomic_load(&fake_world->waits_for[i]);
    if (error) return error;
    while (other && atomic_load(&fake_world->frozen[other - 1]))
        fake_sleep_ms(1);
    if (atomic_exchange(&fake_world->frozen[i], 1)) return EBUSY;
    fake_note_index("freeze", i);
    if (atomic_load(&fake_world->lost[i])) atomic_store(&fake_world->frozen[i], 0);
    return 0;
}

static inline int fake_thaw_fs(int fd)
{
    unsigned i = fake_index(fd);
    if (atomic_load(&fake_world->thaw_failures[i]) > 0) {
        atomic_fetch_sub(&fake_world->thaw_failures[i], 1);
        return EIO;
    }
    if (!atomic_exchange(&fake_world->frozen[i], 0)) return EINVAL;
    fake_note_index("thaw", i);
    return 0;
}

static const struct freeze_ops fake_freeze_ops = {fake_freeze_fs, fake_thaw_fs};

static inline bool fake_anything_frozen(void)
{
    for (unsigned i = 0; i < FAKE_FS_COUNT; i++) {
        if (atomic_load(&fake_world->frozen[i])) return true;
    }
    return false;
}

/* Waits, far longer than it ever should take, until nothing is frozen. */
static inline bool fake_all_thawed_soon(void)
{
    for (int ms = 0; ms < FAKE_WAIT_MS && fake_anything_frozen(); ms++)
        fake_sleep_ms(1);
    return !fake_anything_frozen();
}

/* In memory where that is to be had: these directories are synced for real. */
static inline bool fake_set_up(void)
{
    snprintf(fake_root, sizeof fake_root, "%s/tarn-test.XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    fake_world =
        mmap(NULL, sizeof *fake_world, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (fake_world == MAP_FAILED || !mkdtemp(fake_root)) return false;
    for (unsigned i = 0; i < FAKE_FS_COUNT; i++) {
        struct stat st;
        snprintf(fake_points[i], sizeof fake_points[i], "%s/fs%u", fake_root, i);
        if (mkdir(fake_points[i], 0700) != 0 || stat(fake_points[i], &st) != 0) return false;
        fake_inodes[i] = st.st_ino;
    }
    return true;
}

static inline void fake_start_over(void)
{
    memset(fake_world, 0, sizeof *fake_world);
}

static inline void fake_tear_down(void)
{
    for (unsigned i = 0; i < FAKE_FS_COUNT; i++)
        rmdir(fake_points[i]);
    rmdir(fake_root);
}

#endif
