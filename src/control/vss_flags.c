/* Where a point cut through VSS is used outside of VSS: its volumes become visible and writable there. */
#include "control/control_int.h"

void vss_flags_clear(struct op *op, struct volume_pool *engine, const struct uuid *disk,
                     volume_done_fn *done, void *arg)
{
    (void)op;
    (void)engine;
    (void)disk;
    done(arg, NULL);
}
