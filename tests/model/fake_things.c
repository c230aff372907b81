/* The disks and points of the fake engine (fake_things.h). */
#include "fake_things.h"

#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "base/check.h"
#include "base/limits.h"

struct thing fake_things[FAKE_THINGS];

struct thing *fake_find(const struct uuid *uuid)
{
    for (unsigned i = 0; i < FAKE_THINGS; i++)
        if (fake_things[i].used && uuid_equal(&fake_things[i].uuid, uuid)) return &fake_things[i];
    return NULL;
}

struct thing *fake_thing_new(const struct uuid *uuid, uint64_t sectors, bool is_point)
{
    for (unsigned i = 0; i < FAKE_THINGS; i++) {
        struct thing *t = &fake_things[i];
        if (t->used) continue;
        *t = (struct thing){.used = true, .uuid = *uuid, .sectors = sectors, .is_point = is_point};
        t->data = calloc(sectors, SECTOR_BYTES);
        check(t->data != NULL);
        return t;
    }
    unreachable("too many things in the fake engine");
}

void fake_thing_free(struct thing *t)
{
    free(t->data);
    *t = (struct thing){.used = false};
}

uint64_t fake_things_blocks(void)
{
    static const uint8_t zeroes[BLOCK_BYTES];
    uint64_t blocks = 0;
    for (unsigned i = 0; i < FAKE_THINGS; i++) {
        const struct thing *t = &fake_things[i];
        for (uint64_t s = 0; t->used && s + 8 <= t->sectors; s += 8) {
            const uint8_t *data = t->data + s * SECTOR_BYTES;
            bool counted = memcmp(data, zeroes, BLOCK_BYTES) == 0;
            for (unsigned j = 0; !counted && j < i; j++) {
                const struct thing *u = &fake_things[j];
                counted = u->used && s + 8 <= u->sectors &&
                          memcmp(u->data + s * SECTOR_BYTES, data, BLOCK_BYTES) == 0;
            }
            blocks += !counted;
        }
    }
    return blocks;
}
