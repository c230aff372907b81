/* standin_memory.c - COM's task allocator, as it is for the provider and for VSS: it knows its blocks. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tests/unit/standin_world.h"

enum { TABLE_SIZE = 1 << 16 };
static void *table[TABLE_SIZE];
static unsigned live, wrong_frees;

static unsigned slot_of(const void *block)
{
    uintptr_t h = (uintptr_t)block >> 4;
    return (unsigned)((h ^ h >> 16) % TABLE_SIZE);
}

/* Blocks lie behind each other from their slot on; a hole ends the search. */
static unsigned find_block(const void *block)
{
    unsigned i = slot_of(block);
    while (table[i] && table[i] != block)
        i = (i + 1) % TABLE_SIZE;
    return i;
}

static void *com_alloc(size_t size)
{
    void *block = malloc(size ? size : 1);
    check(block != NULL && live < TABLE_SIZE / 2);
    memset(block, 0xA5, size);
    table[find_block(block)] = block;
    live++;
    return block;
}

/* Those behind the hole move up. */
static void com_free(void *block)
{
    unsigned i = find_block(block);
    if (!block) return;
    if (table[i] != block) {
        wrong_frees++;
        return;
    }
    free(block);
    table[i] = NULL;
    live--;
    for (unsigned j = (i + 1) % TABLE_SIZE; table[j]; j = (j + 1) % TABLE_SIZE) {
        void *moved = table[j];
        table[j] = NULL;
        table[find_block(moved)] = moved;
    }
}

const struct memory world_com_memory = {com_alloc, com_free};

unsigned world_live_count(void)
{
    return live;
}

unsigned world_wrong_free_count(void)
{
    return wrong_frees;
}

static void *memory_alloc(struct si_memory *m, size_t size)
{
    (void)m;
    return com_alloc(size);
}

static void memory_free(struct si_memory *m, void *block)
{
    (void)m;
    com_free(block);
}

static bool memory_is_block(struct si_memory *m, const void *block)
{
    (void)m;
    return block && table[find_block(block)] == block;
}

static unsigned memory_live_count(struct si_memory *m)
{
    (void)m;
    return live;
}

const struct si_memory world_memory = {memory_alloc, memory_free, memory_is_block,
                                       memory_live_count};
