/*
 * Where a point cut through VSS is used outside of VSS: its volumes become visible and writable there, as
 * ordinary writes above the point (gpt/gpt.h).
 */
#include <stdlib.h>

#include "base/log.h"
#include "control/control_int.h"
#include "gpt/gpt.h"

struct clearing {
    struct list_node link; /* control->clearings */
    struct gpt_clearing gpt;
    volume_done_fn *done;
    void *arg;
    char *text;
};

static void cleared(struct gpt_clearing *gpt, struct err *e)
{
    struct clearing *clearing = container_of(gpt, struct clearing, gpt);
    char text[GPT_TEXT_MAX];
    if (!e) {
        gpt_text(gpt, text);
        log_info("partition flags of a VSS shadow copy", "found=\"%s\"", text);
        if (clearing->text) snprintf(clearing->text, VSS_TEXT_MAX, "%s", text);
    }
    volume_close(gpt->volume);
    list_remove(&clearing->link);
    volume_done_fn *done = clearing->done;
    void *arg = clearing->arg;
    free(clearing);
    done(arg, e ? err_wrap(e, "clear the flags that VSS set on its volumes") : NULL);
}

void vss_flags_clear(struct control *control, struct volume_pool *engine, const struct uuid *disk,
                     char text[VSS_TEXT_MAX], volume_done_fn *done, void *arg)
{
    struct clearing *clearing = calloc(1, sizeof *clearing);
    check(clearing);
    clearing->done = done;
    clearing->arg = arg;
    clearing->text = text;
    struct err *e =
        volume_open(engine, disk, NULL, VOLUME_READ_WRITE, &clearing->gpt.volume);
    if (e) {
        free(clearing);
        done(arg, e);
        return;
    }
    clearing->gpt.sector_bytes = SECTOR_BYTES;
    clearing->gpt.done = cleared;
    list_push_back(&control->clearings, &clearing->link);
    gpt_clear(&clearing->gpt);
}

void vss_flags_abandon(struct control *control)
{
    for (struct list_node *node; (node = list_pop_front(&control->clearings));) {
        struct clearing *clearing = list_entry(node, struct clearing, link);
        gpt_abandon(&clearing->gpt);
        free(clearing);
    }
}
