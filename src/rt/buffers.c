/*
 * Each size has a range of addresses of its own, as long as the bound of all; memory behind it
 * exists only where buffers are in use or kept.  So nothing fragments: whenever the bound allows a
 * buffer, there is one, and a wrong size or a double put is noticed.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/limits.h"
#include "rt/rt_int.h"

#if defined(__SANITIZE_ADDRESS__)
#define POISONS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POISONS 1
#endif
#endif
#ifdef POISONS
#include <sanitizer/asan_interface.h>
#define poison(p, size) __asan_poison_memory_region(p, size)
#define unpoison(p, size) __asan_unpoison_memory_region(p, size)
#else
#define poison(p, size) ((void)0)
#define unpoison(p, size) ((void)0)
#endif

#define IN_USE UINT32_MAX

static size_t class_bytes(unsigned index)
{
    return (size_t)BLOCK_BYTES << index;
}

static unsigned class_of(size_t size_bytes)
{
    check(size_bytes > 0 && size_bytes <= class_bytes(RT_BUF_CLASSES - 1));
    if (size_bytes <= BLOCK_BYTES) return 0;
    return (unsigned)(64 - __builtin_clzll((size_bytes - 1) / BLOCK_BYTES));
}

struct err *rt_buffers_init(struct rt_buffers *buffers, uint64_t bound_bytes)
{
    *buffers = (struct rt_buffers){.bound_bytes = bound_bytes};
    list_init(&buffers->waiters);
    for (unsigned i = 0; i < RT_BUF_CLASSES; i++) {
        struct rt_buf_class *class = &buffers->classes[i];
        class->count = (uint32_t)(bound_bytes / class_bytes(i));
        if (!class->count) continue;
        void *base = mmap(NULL, class->count * class_bytes(i), PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        class->next = calloc(class->count, sizeof *class->next);
        if (base == MAP_FAILED || !class->next) {
            int code = base == MAP_FAILED ? errno : ENOMEM;
            if (base != MAP_FAILED) munmap(base, class->count * class_bytes(i));
            rt_buffers_fini(buffers);
            return err_from_code(code, "reserve memory for I/O buffers");
        }
        class->base = base;
    }
    return NULL;
}

void rt_buffers_fini(struct rt_buffers *buffers)
{
    for (unsigned i = 0; i < RT_BUF_CLASSES; i++) {
        struct rt_buf_class *class = &buffers->classes[i];
        if (class->base) {
            unpoison(class->base, class->fresh * class_bytes(i)); /* the rest never was */
            munmap(class->base, class->count * class_bytes(i));
        }
        free(class->next);
        *class = (struct rt_buf_class){0};
    }
}

/* Gives memory of free buffers of any size back to the kernel until `size` more fits into the
 * bound. */
static void make_room(struct rt_buffers *buffers, size_t size)
{
    for (unsigned i = RT_BUF_CLASSES; i-- > 0;) {
        struct rt_buf_class *class = &buffers->classes[i];
        while (class->hot && buffers->held_bytes + size > buffers->bound_bytes) {
            uint32_t index = class->hot - 1;
            class->hot = class->next[index];
            class->next[index] = class->cold;
            class->cold = index + 1;
            madvise(class->base + index * class_bytes(i), class_bytes(i), MADV_DONTNEED);
            buffers->held_bytes -= class_bytes(i);
        }
    }
}

static uint32_t pop(struct rt_buf_class *class, uint32_t *head)
{
    uint32_t index = *head - 1;
    *head = class->next[index];
    return index;
}

void *rt_buffers_get(struct rt_buffers *buffers, size_t size_bytes, uint64_t limit_bytes)
{
    unsigned class_index = class_of(size_bytes);
    struct rt_buf_class *class = &buffers->classes[class_index];
    size_t size = class_bytes(class_index);
    if (buffers->in_use_bytes + size > limit_bytes) return NULL;
    uint32_t index;
    if (class->hot) {
        index = pop(class, &class->hot);
    } else {
        if (buffers->held_bytes + size > buffers->bound_bytes) make_room(buffers, size);
        buffers->held_bytes += size;
        index = class->cold ? pop(class, &class->cold) : class->fresh++;
    }
    check(index < class->count);
    class->next[index] = IN_USE;
    buffers->in_use_bytes += size;
    uint8_t *buf = class->base + index * size;
    unpoison(buf, size);
    return buf;
}

void rt_buffers_put(struct rt_buffers *buffers, void *buf, size_t size_bytes)
{
    unsigned class_index = class_of(size_bytes);
    struct rt_buf_class *class = &buffers->classes[class_index];
    size_t size = class_bytes(class_index);
    size_t offset = (size_t)((uint8_t *)buf - class->base);
    check(offset < class->count * size && offset % size == 0);
    uint32_t index = (uint32_t)(offset / size);
    check(class->next[index] == IN_USE);
    class->next[index] = class->hot;
    class->hot = index + 1;
    check(buffers->in_use_bytes >= size);
    buffers->in_use_bytes -= size;
    poison(buf, size);
}

/* Goes through the waiters once: who finds his buffer still too large waits again, behind the
 * others. */
void rt_buffers_run_waiters(struct rt_buffers *buffers)
{
    struct list waiters;
    list_init(&waiters);
    list_splice_back(&waiters, &buffers->waiters);
    buffers->wake_pending = false;
    while (!list_is_empty(&waiters) &&
           buffers->in_use_bytes + BLOCK_BYTES <= buffers->bound_bytes) {
        struct rt_buf_waiter *waiter =
            list_entry(list_pop_front(&waiters), struct rt_buf_waiter, link);
        waiter->fn(waiter);
    }
    /* The rest came before those who have joined meanwhile. */
    list_splice_back(&waiters, &buffers->waiters);
    list_splice_back(&buffers->waiters, &waiters);
}
