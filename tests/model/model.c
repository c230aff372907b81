/* The reference model: chains of possible writes per sector (model.h). */
#include "model.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/endian.h"

/* A cell is EXACT | write number, or the index of a node. */
#define EXACT ((uint32_t)1 << 31)
#define NEVER UINT32_MAX

enum { CHAIN_MAX = 256 };

struct write {
    uint32_t disk, sector, sector_count;
    uint32_t submitted, completed; /* ticks; NEVER while in flight */
    bool zero, failed, durable, atomic;
};

struct node {
    uint32_t write, next;
    uint32_t value; /* whose content it is: the write's own, but for reverts */
    uint32_t after; /* in this sector, certain to come after all that completed before this tick */
    uint32_t seen;  /* the tick at which a read had returned it; NEVER */
};

struct model {
    uint64_t nonce;
    uint32_t tick;
    struct write *writes;
    uint32_t write_count, write_room;
    struct node *nodes;
    uint32_t node_count, node_room;
    char problem[512];
};

/* One link of a chain in hand. */
struct link {
    uint32_t write, value, submitted, completed, after, seen, node;
    bool zero, failed, durable;
};

/* What one sector was found to hold. */
struct found {
    uint32_t write;
    bool zero;
};

struct model *model_create(uint64_t nonce)
{
    struct model *model = calloc(1, sizeof *model);
    check(model != NULL);
    model->nonce = nonce;
    model->write_room = model->node_room = 1024;
    model->writes = calloc(model->write_room, sizeof *model->writes);
    model->nodes = calloc(model->node_room, sizeof *model->nodes);
    check(model->writes && model->nodes);
    model->write_count = 1; /* number 0: never written */
    model->writes[0].zero = true;
    return model;
}

void model_destroy(struct model *model)
{
    if (!model) return;
    free(model->writes);
    free(model->nodes);
    free(model);
}

uint32_t model_tick(struct model *model)
{
    return ++model->tick;
}

uint32_t model_now(const struct model *model)
{
    return model->tick;
}

const char *model_problem(const struct model *model)
{
    return model->problem;
}

uint32_t model_write_count(const struct model *model)
{
    return model->write_count - 1;
}

TARN_PRINTF(2, 3) static bool problem(struct model *model, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(model->problem, sizeof model->problem, format, args);
    va_end(args);
    return false;
}

const char *model_describe(const struct model *model, uint32_t write, char *text, size_t size)
{
    const struct write *w = &model->writes[write];
    if (write == 0)
        snprintf(text, size, "zeroes (never written)");
    else if (w->completed == NEVER)
        snprintf(text, size, "%s %u (disk %u, sectors %u+%u, submitted at %u, in flight)",
                 w->zero ? "zero" : "write", write, w->disk, w->sector, w->sector_count,
                 w->submitted);
    else
        snprintf(text, size, "%s %u (disk %u, sectors %u+%u, ticks %u to %u%s%s)",
                 w->zero ? "zero" : "write", write, w->disk, w->sector, w->sector_count,
                 w->submitted, w->completed, w->failed ? ", failed" : "",
                 w->durable ? ", FUA" : "");
    return text;
}

/* ---- Views ----------------------------------------------------------------------------------- */

void model_view_init(struct model_view *view, uint32_t sector_count)
{
    view->sector_count = 0;
    view->cells = NULL;
    model_view_grow(view, sector_count);
}

void model_view_fini(struct model_view *view)
{
    free(view->cells);
    view->cells = NULL;
    view->sector_count = 0;
}

void model_view_copy(const struct model_view *from, struct model_view *to)
{
    to->sector_count = from->sector_count;
    to->cells = malloc(from->sector_count * sizeof *to->cells);
    check(to->cells != NULL);
    memcpy(to->cells, from->cells, from->sector_count * sizeof *to->cells);
}

void model_view_grow(struct model_view *view, uint32_t sector_count)
{
    view->cells = realloc(view->cells, sector_count * sizeof *view->cells);
    check(view->cells != NULL);
    for (uint32_t i = view->sector_count; i < sector_count; i++)
        view->cells[i] = EXACT;
    view->sector_count = sector_count;
}

bool model_view_is_exact(const struct model_view *view)
{
    for (uint32_t i = 0; i < view->sector_count; i++)
        if (!(view->cells[i] & EXACT)) return false;
    return true;
}

/* ---- Chains ---------------------------------------------------------------------------------- */

/* The link at a cell; returns the next cell, or 0 at the end (node 0 is never used). */
static uint32_t chain_link(const struct model *model, uint32_t cell, struct link *link)
{
    if (cell & EXACT) {
        uint32_t write = cell & ~EXACT;
        *link = (struct link){
            .write = write, .value = write, .seen = NEVER, .zero = model->writes[write].zero};
        return 0;
    }
    const struct node *node = &model->nodes[cell];
    const struct write *w = &model->writes[node->write];
    *link = (struct link){.write = node->write,
                          .value = node->value,
                          .submitted = w->submitted,
                          .completed = w->completed,
                          .after = node->after,
                          .seen = node->seen,
                          .node = cell,
                          .zero = model->writes[node->value].zero,
                          .failed = w->failed,
                          .durable = w->durable};
    return node->next;
}

static unsigned chain_read(const struct model *model, uint32_t cell, struct link links[CHAIN_MAX])
{
    unsigned count = 0;
    while (cell) {
        check(count < CHAIN_MAX);
        cell = chain_link(model, cell, &links[count++]);
    }
    return count;
}

static bool link_in_prefix(const struct link *link, const struct model_bound *bound)
{
    if (link->completed <= bound->floor && !link->failed) return true;
    if (bound->count_seen && link->seen <= bound->floor) return true;
    return bound->count_durable && link->durable;
}

/* Certain to be covered by a later write of the prefix? */
static bool link_is_hidden(const struct link *links, unsigned count, unsigned at,
                           const struct model_bound *bound)
{
    for (unsigned i = 0; i < count; i++) {
        if (i == at) continue;
        if (links[at].completed < links[i].after && link_in_prefix(&links[i], bound)) return true;
    }
    return false;
}

static uint32_t node_new(struct model *model, const struct node *node)
{
    if (model->node_count + 2 >= model->node_room) {
        model->node_room *= 2;
        model->nodes = realloc(model->nodes, model->node_room * sizeof *model->nodes);
        check(model->nodes != NULL);
    }
    model->nodes[++model->node_count] = *node;
    return model->node_count;
}

/* Writes links[0..count) as a fresh chain (older chains are shared and never changed). */
static uint32_t chain_write(struct model *model, const struct link *links, unsigned count)
{
    uint32_t cell = 0;
    for (unsigned i = count; i-- > 0;) {
        const struct link *l = &links[i];
        if (!l->node)
            cell = EXACT | l->write;
        else
            cell = node_new(model, &(struct node){.write = l->write,
                                                  .next = cell,
                                                  .value = l->value,
                                                  .after = l->after,
                                                  .seen = l->seen});
    }
    return cell;
}

/* Drops what the horizon hides for ever; a single survivor that is in every prefix becomes exact.
 */
static uint32_t chain_trim(struct model *model, uint32_t cell, uint32_t horizon)
{
    if (cell & EXACT) return cell;
    struct link links[CHAIN_MAX], kept[CHAIN_MAX];
    struct model_bound bound = {.floor = horizon};
    unsigned count = chain_read(model, cell, links), kept_count = 0;
    for (unsigned i = 0; i < count; i++)
        if (!link_is_hidden(links, count, i, &bound)) kept[kept_count++] = links[i];
    check(kept_count > 0);
    if (kept_count == 1 && link_in_prefix(&kept[0], &bound))
        return EXACT | (kept[0].zero ? 0 : kept[0].value);
    if (kept_count == count) return cell;
    check(kept_count < CHAIN_MAX - 1);
    return chain_write(model, kept, kept_count);
}

/* ---- Writes ---------------------------------------------------------------------------------- */

uint32_t model_write_submit(struct model *model, struct model_view *view,
                            const struct model_write_options *options)
{
    check(options->sector + options->sector_count <= view->sector_count);
    if (model->write_count == model->write_room) {
        model->write_room *= 2;
        model->writes = realloc(model->writes, model->write_room * sizeof *model->writes);
        check(model->writes != NULL);
    }
    uint32_t write = model->write_count++;
    model->writes[write] = (struct write){.disk = options->disk,
                                          .sector = options->sector,
                                          .sector_count = options->sector_count,
                                          .submitted = model_tick(model),
                                          .completed = NEVER,
                                          .zero = options->zero,
                                          .atomic = options->atomic};
    for (uint32_t i = 0; i < options->sector_count; i++) {
        uint32_t *cell = &view->cells[options->sector + i];
        uint32_t rest = chain_trim(model, *cell, options->horizon);
        *cell = node_new(model, &(struct node){.write = write,
                                               .next = rest,
                                               .value = write,
                                               .after = model->writes[write].submitted,
                                               .seen = NEVER});
    }
    return write;
}

uint32_t model_revert_submit(struct model *model, struct model_view *view,
                             const struct model_view *point, uint32_t disk, uint32_t horizon)
{
    struct model_view nothing = {.sector_count = point->sector_count};
    uint32_t write =
        model_write_submit(model, &nothing, &(struct model_write_options){.disk = disk});
    model->writes[write].sector_count = point->sector_count;
    check(view->sector_count >= point->sector_count);
    for (uint32_t i = 0; i < point->sector_count; i++) {
        check(point->cells[i] & EXACT);
        uint32_t rest = chain_trim(model, view->cells[i], horizon);
        view->cells[i] = node_new(model, &(struct node){.write = write,
                                                        .next = rest,
                                                        .value = point->cells[i] & ~EXACT,
                                                        .after = model->writes[write].submitted,
                                                        .seen = NEVER});
    }
    return write;
}

void model_write_done(struct model *model, uint32_t write, bool ok)
{
    check(model->writes[write].completed == NEVER);
    model->writes[write].completed = model_tick(model);
    model->writes[write].failed = !ok;
}

void model_write_void(struct model *model, struct model_view *view, uint32_t write)
{
    const struct write *w = &model->writes[write];
    for (uint32_t s = w->sector; s < w->sector + w->sector_count; s++) {
        struct link links[CHAIN_MAX];
        unsigned count = chain_read(model, view->cells[s], links), kept = 0;
        for (unsigned i = 0; i < count; i++)
            if (links[i].write != write || !links[i].node) links[kept++] = links[i];
        if (kept < count) view->cells[s] = chain_write(model, links, kept);
    }
}

void model_write_durable(struct model *model, uint32_t write)
{
    model->writes[write].durable = true;
}

void model_write_proves_nothing(struct model *model, uint32_t write)
{
    model->writes[write].submitted = 0;
}

uint32_t model_write_submitted_at(const struct model *model, uint32_t write)
{
    return model->writes[write].submitted;
}

/* ---- Content --------------------------------------------------------------------------------- */

static void fill_sector(const struct model *model, uint32_t write, uint32_t sector, uint8_t *to)
{
    const struct write *w = &model->writes[write];
    if (w->zero) {
        memset(to, 0, SECTOR_BYTES);
        return;
    }
    store_le64(to, MODEL_STAMP_MAGIC);
    store_le64(to + 8, model->nonce);
    store_le32(to + 16, write);
    store_le32(to + 20, w->disk);
    store_le32(to + 24, sector);
    store_le32(to + 28, w->submitted);
    uint64_t word = ((uint64_t)write << 32 | sector) * 0x9e3779b97f4a7c15 ^ model->nonce;
    for (unsigned at = 32; at < SECTOR_BYTES; at += 8) {
        word += 0xd1b54a32d192ed03;
        store_le64(to + at, word);
    }
}

void model_fill(const struct model *model, uint32_t write, uint32_t first, uint32_t sector_count,
                uint8_t *to)
{
    for (uint32_t i = 0; i < sector_count; i++)
        fill_sector(model, write, first + i, to + (size_t)i * SECTOR_BYTES);
}

/* Names the content of a sector; false when it is no write of this run, or of another place. */
static bool identify(struct model *model, uint32_t sector, const uint8_t *data,
                     struct found *ret_found)
{
    static const uint8_t zeroes[SECTOR_BYTES];
    if (memcmp(data, zeroes, SECTOR_BYTES) == 0) {
        *ret_found = (struct found){.zero = true};
        return true;
    }
    if (load_le64(data) != MODEL_STAMP_MAGIC || load_le64(data + 8) != model->nonce)
        return problem(model, "sector %u holds garbage (first bytes %016llx %016llx)", sector,
                       (unsigned long long)load_le64(data),
                       (unsigned long long)load_le64(data + 8));
    uint32_t write = load_le32(data + 16);
    if (write == 0 || write >= model->write_count || load_le32(data + 24) != sector)
        return problem(model, "sector %u holds write %u of disk %u, sector %u", sector, write,
                       load_le32(data + 20), load_le32(data + 24));
    uint8_t want[SECTOR_BYTES];
    fill_sector(model, write, sector, want);
    if (memcmp(data, want, SECTOR_BYTES) != 0)
        return problem(model, "sector %u holds a damaged copy of write %u", sector, write);
    *ret_found = (struct found){.write = write};
    return true;
}

/* ---- Questions about one cell ---------------------------------------------------------------- */

bool model_cell_certain(const struct model *model, const struct model_view *view, uint32_t sector,
                        uint32_t *ret_write)
{
    struct link links[CHAIN_MAX];
    struct model_bound bound = {.floor = model->tick, .count_seen = true};
    unsigned count = chain_read(model, view->cells[sector], links), open = 0;
    for (unsigned i = 0; i < count; i++) {
        if (link_is_hidden(links, count, i, &bound)) continue;
        if (links[i].completed == NEVER) return false;
        open++;
        *ret_write = links[i].zero ? 0 : links[i].value;
    }
    return open == 1;
}

bool model_cell_may_differ(const struct model *model, const struct model_view *view,
                           uint32_t sector, const struct model_bound *bound, const uint8_t *content)
{
    struct link links[CHAIN_MAX];
    uint8_t other[SECTOR_BYTES];
    unsigned count = chain_read(model, view->cells[sector], links);
    for (unsigned i = 0; i < count; i++) {
        if (link_is_hidden(links, count, i, bound)) continue;
        fill_sector(model, links[i].value, sector, other);
        if (memcmp(other, content, SECTOR_BYTES) != 0) return true;
    }
    return false;
}

bool model_cell_may_be_zero(const struct model *model, const struct model_view *view,
                            uint32_t sector, const struct model_bound *bound)
{
    struct link links[CHAIN_MAX];
    unsigned count = chain_read(model, view->cells[sector], links);
    for (unsigned i = 0; i < count; i++)
        if (links[i].zero && !link_is_hidden(links, count, i, bound)) return true;
    return false;
}

/* The allowed link that explains what was found with the least claim: for zeroes the one submitted
 * first. NULL when none is allowed. */
static const struct link *explain(const struct link *links, unsigned count,
                                  const struct found *found, const struct model_bound *bound)
{
    const struct link *best = NULL;
    for (unsigned i = 0; i < count; i++) {
        if (found->zero ? !links[i].zero : links[i].value != found->write) continue;
        if (link_is_hidden(links, count, i, bound)) continue;
        if (!best || links[i].submitted < best->submitted) best = &links[i];
    }
    return best;
}

static bool refuse(struct model *model, uint32_t sector, const struct found *found,
                   const struct link *links, unsigned count, const struct model_bound *bound)
{
    char is[160], want[160];
    for (unsigned i = 0; i < count; i++) {
        if (link_is_hidden(links, count, i, bound)) continue;
        model_describe(model, links[i].value, want, sizeof want);
        return problem(model, "sector %u holds %s; allowed (floor %u) is %s%s", sector,
                       found->zero ? "zeroes" : model_describe(model, found->write, is, sizeof is),
                       bound->floor, want, count > 1 ? " or another" : "");
    }
    return problem(model, "sector %u: nothing is allowed", sector);
}

/* ---- Torn blocks ----------------------------------------------------------------------------- */

static bool covers(const struct write *w, uint32_t sector)
{
    return sector >= w->sector && sector - w->sector < w->sector_count;
}

/* Could what was found here have come after write w?  (Zeroes: any allowed zero may have.) */
static bool may_follow(const struct model *model, const struct model_view *view, uint32_t sector,
                       const struct found *found, uint32_t write, const struct model_bound *bound)
{
    struct link links[CHAIN_MAX];
    unsigned count = chain_read(model, view->cells[sector], links);
    bool known = false; /* else it was hidden long ago: what is there now came later */
    for (unsigned i = 0; i < count; i++) {
        known = known || (links[i].write == write && links[i].node);
        if (found->zero ? !links[i].zero : links[i].value != found->write) continue;
        if (link_is_hidden(links, count, i, bound)) continue;
        if (links[i].completed >= model->writes[write].submitted) return true;
    }
    return !known;
}

/* found[0..count): sectors first.. of one block.  A block has one version: the writes in it can be
 * put in one order that explains every sector. */
static bool check_block(struct model *model, const struct model_view *view, uint32_t first,
                        const struct found *found, uint32_t count, const struct model_bound *bound)
{
    for (uint32_t a = 0; a < count; a++) {
        if (found[a].zero || (view->cells[first + a] & EXACT)) continue;
        uint32_t write = found[a].write;
        const struct write *w = &model->writes[write];
        for (uint32_t b = 0; b < count; b++) {
            if (!covers(w, first + b) || (!found[b].zero && found[b].write == write)) continue;
            bool fits = may_follow(model, view, first + b, &found[b], write, bound);
            if (fits && !found[b].zero && covers(&model->writes[found[b].write], first + a))
                fits = false;
            if (fits) continue;
            char text[160], other[160];
            return problem(model, "block torn: sector %u holds %s, sector %u holds %s", first + a,
                           model_describe(model, write, text, sizeof text), first + b,
                           found[b].zero
                               ? "zeroes"
                               : model_describe(model, found[b].write, other, sizeof other));
        }
    }
    return true;
}

static bool check_blocks(struct model *model, const struct model_view *view, uint32_t sector,
                         uint32_t sector_count, const struct found *found,
                         const struct model_bound *bound)
{
    for (uint32_t done = 0; done < sector_count;) {
        uint32_t first = sector + done;
        uint32_t count = SECTORS_PER_BLOCK - first % SECTORS_PER_BLOCK;
        if (count > sector_count - done) count = sector_count - done;
        if (!check_block(model, view, first, &found[done], count, bound)) return false;
        done += count;
    }
    return true;
}

/* ---- Reads ----------------------------------------------------------------------------------- */

/* A read that was submitted at bound->floor returned this write: all that had completed by then
 * came before it. */
static void remember(struct model *model, struct model_view *view, uint32_t sector, uint32_t write,
                     uint32_t submitted)
{
    uint32_t *cell = &view->cells[sector];
    if (*cell & EXACT) return;
    struct link links[CHAIN_MAX];
    unsigned count = chain_read(model, *cell, links);
    bool changed = false;
    unsigned same = 0;
    for (unsigned i = 0; i < count; i++)
        same += links[i].value == write;
    if (same > 1) return; /* before a revert or brought back by it: nobody knows */
    for (unsigned i = 0; i < count; i++) {
        if (links[i].value != write || !links[i].node) continue;
        if (links[i].seen == NEVER && links[i].completed > submitted) {
            links[i].seen = model->tick;
            changed = true;
        }
        for (unsigned j = 0; j < count; j++) {
            if (j == i || links[j].completed < links[i].after || links[j].completed >= submitted)
                continue;
            links[i].after = submitted;
            changed = true;
        }
    }
    if (changed) *cell = chain_write(model, links, count);
}

bool model_check_read(struct model *model, struct model_view *view, uint32_t sector,
                      uint32_t sector_count, const uint8_t *data, const struct model_bound *bound)
{
    auto_free struct found *found = calloc(sector_count, sizeof *found);
    struct link links[CHAIN_MAX];
    check(found != NULL && sector + sector_count <= view->sector_count);
    for (uint32_t i = 0; i < sector_count; i++) {
        if (!identify(model, sector + i, data + (size_t)i * SECTOR_BYTES, &found[i])) return false;
        unsigned count = chain_read(model, view->cells[sector + i], links);
        if (!explain(links, count, &found[i], bound))
            return refuse(model, sector + i, &found[i], links, count, bound);
    }
    if (!check_blocks(model, view, sector, sector_count, found, bound)) return false;
    for (uint32_t i = 0; i < sector_count; i++)
        if (!found[i].zero) remember(model, view, sector + i, found[i].write, bound->floor);
    return true;
}

/* ---- Frozen states --------------------------------------------------------------------------- */

/* One pass over a view: every sector explained; *floor rises to what the finds prove. */
static bool resolve_pass(struct model *model, const struct model_view *view,
                         const struct found *found, struct model_bound *bound)
{
    struct link links[CHAIN_MAX];
    for (uint32_t i = 0; i < view->sector_count; i++) {
        unsigned count = chain_read(model, view->cells[i], links);
        const struct link *link = explain(links, count, &found[i], bound);
        if (!link) return refuse(model, i, &found[i], links, count, bound);
        if (link->submitted > bound->floor) bound->floor = link->submitted;
    }
    return true;
}

/* Compare-and-write is one batch: all of its blocks or none. */
static bool check_atomic(struct model *model, const struct model_view *view,
                         const struct found *found, const struct model_bound *bound)
{
    for (uint32_t i = 0; i < view->sector_count; i++) {
        if (found[i].zero || (view->cells[i] & EXACT)) continue;
        const struct write *w = &model->writes[found[i].write];
        if (!w->atomic) continue;
        for (uint32_t s = w->sector; s < w->sector + w->sector_count; s++) {
            if (!found[s].zero && found[s].write == found[i].write) continue;
            if (may_follow(model, view, s, &found[s], found[i].write, bound)) continue;
            char text[160];
            return problem(model, "sector %u holds %s, but sector %u of it is missing", i,
                           model_describe(model, found[i].write, text, sizeof text), s);
        }
    }
    return true;
}

bool model_resolve(struct model *model, const struct model_frozen *frozen, unsigned count,
                   struct model_bound *bound)
{
    struct found **found = calloc(count + 1, sizeof *found);
    check(found != NULL);
    bool ok = true;
    for (unsigned f = 0; ok && f < count; f++) {
        uint32_t sectors = frozen[f].view->sector_count;
        found[f] = calloc(sectors + 1, sizeof **found);
        check(found[f] != NULL);
        for (uint32_t i = 0; ok && i < sectors; i++)
            ok = identify(model, i, frozen[f].data + (size_t)i * SECTOR_BYTES, &found[f][i]);
    }
    uint32_t before;
    do { /* a raised floor may exclude what an earlier pass let through */
        before = bound->floor;
        for (unsigned f = 0; ok && f < count; f++)
            ok = resolve_pass(model, frozen[f].view, found[f], bound);
    } while (ok && bound->floor != before);
    for (unsigned f = 0; ok && f < count; f++) {
        struct model_view *view = frozen[f].view;
        ok = check_blocks(model, view, 0, view->sector_count, found[f], bound) &&
             check_atomic(model, view, found[f], bound);
    }
    for (unsigned f = 0; ok && f < count; f++)
        for (uint32_t i = 0; i < frozen[f].view->sector_count; i++)
            frozen[f].view->cells[i] = EXACT | found[f][i].write;
    for (unsigned f = 0; f < count; f++)
        free(found[f]);
    free(found);
    return ok;
}

/* ---- Space ----------------------------------------------------------------------------------- */

static bool block_is_empty(const struct model *model, const struct model_view *view, uint32_t first)
{
    for (uint32_t i = 0; i < SECTORS_PER_BLOCK; i++)
        if (view->cells[first + i] != EXACT) return false;
    return true;
}

uint64_t model_block_count(const struct model_view *const *views, unsigned count)
{
    uint64_t blocks = 0;
    for (unsigned v = 0; v < count; v++) {
        for (uint32_t s = 0; s + SECTORS_PER_BLOCK <= views[v]->sector_count;
             s += SECTORS_PER_BLOCK) {
            const uint32_t *cells = &views[v]->cells[s];
            bool counted = block_is_empty(NULL, views[v], s);
            for (unsigned u = 0; !counted && u < v; u++)
                counted =
                    s + SECTORS_PER_BLOCK <= views[u]->sector_count &&
                    memcmp(cells, &views[u]->cells[s], SECTORS_PER_BLOCK * sizeof *cells) == 0;
            if (!counted) blocks++;
        }
    }
    return blocks;
}
