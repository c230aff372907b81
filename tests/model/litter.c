/* Small things that a crash leaves behind (litter.h). */
#include "litter.h"

#include <stdlib.h>

#include "base/attr.h"
#include "base/check.h"
#include "base/limits.h"

static void *litter[4096];

void *litter_new(size_t size_bytes)
{
    for (unsigned i = 0; i < countof(litter); i++) {
        if (litter[i]) continue;
        litter[i] = calloc(1, size_bytes);
        check(litter[i] != NULL);
        return litter[i];
    }
    unreachable("too much litter in the fake engine");
}

void litter_free(void *thing)
{
    for (unsigned i = 0; thing && i < countof(litter); i++)
        if (litter[i] == thing) litter[i] = NULL;
    free(thing);
}

void litter_sweep(void)
{
    for (unsigned i = 0; i < countof(litter); i++)
        free(take_ptr(&litter[i]));
}
