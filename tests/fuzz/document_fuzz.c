/*
 * document_fuzz.c - any text as the backup components document of the stand-in for VSS.
 *
 * What is taken says the same when it is written and read again; what is not leaves nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "windows/standin/coordinator_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned live;

static void *take(struct si_memory *m, size_t size)
{
    void *block = malloc(size ? size : 1);
    (void)m;
    check(block != NULL);
    memset(block, 0xA5, size);
    live++;
    return block;
}

static void give(struct si_memory *m, void *block)
{
    (void)m;
    if (block) live--;
    free(block);
}

static struct si_memory memory = {.alloc = take, .free = give};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    check(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    struct snapshot_set *set = document_read(&memory, text);
    if (set) {
        char *first = document_write(set);
        struct snapshot_set *again = document_read(&memory, first);
        check(again != NULL);
        char *second = document_write(again);
        check(first && second && strcmp(first, second) == 0);
        free(first);
        free(second);
        set_destroy(&memory, again);
    }
    set_destroy(&memory, set);
    free(text);
    check(live == 0);
    return 0;
}
