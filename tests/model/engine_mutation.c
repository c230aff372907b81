/* Deliberate bugs by name (engine_mutation.h). */
#include "engine_mutation.h"

#include <string.h>
#include <strings.h>

#include "timeline/mutation.h"

#ifdef TARN_MUTATIONS
enum mutation mutation_active;
#endif

bool engine_mutation_set(const char *name)
{
    static const char *const names[] = {
        "NONE",
#define X(name, invariant, what) #name,
#include "timeline/mutation.def"
#undef X
    };
    for (unsigned i = 0; i < MUTATION_COUNT; i++) {
        if (strcasecmp(names[i], name) != 0) continue;
#ifdef TARN_MUTATIONS
        mutation_active = (enum mutation)i;
        return true;
#else
        return i == MUTATION_NONE;
#endif
    }
    return false;
}
