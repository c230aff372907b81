/* COM's task allocator.  What comes from a provider was made by COM itself, in this process, out of
 * what the provider handed to COM in its own: a leak over there is not seen here. */
#include "windows/standin/vssapi/vssapi.h"

static void *alloc(struct si_memory *m, size_t size)
{
    (void)m;
    return CoTaskMemAlloc(size);
}

static void release(struct si_memory *m, void *block)
{
    (void)m;
    CoTaskMemFree(block);
}

static bool is_block(struct si_memory *m, const void *block)
{
    IMalloc *allocator;
    (void)m;
    if (!block || FAILED(CoGetMalloc(1, &allocator))) return false;
    bool is = IMalloc_DidAlloc(allocator, (void *)(uintptr_t)block) == 1;
    IMalloc_Release(allocator);
    return is;
}

struct si_memory *standin_memory(void)
{
    static struct si_memory memory = {alloc, release, is_block, NULL};
    return &memory;
}
