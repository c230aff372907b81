/* leaf.c - the versions of one leaf: insert, remove, merge, encode, decode. */
#include <stdlib.h>

#include "base/buf.h"
#include "timeline/map.h"
#include "timeline/mutation.h"

enum { LEAF_HEADER_BYTES = 32, RUN_BYTES = 16, STORED_FLAGS = VERSION_HOLE | VERSION_STAGED };

/* Index of the first version of a block >= `block`. */
static unsigned lower_bound(const struct leaf *leaf, unsigned block)
{
    unsigned low = 0, high = leaf->version_count;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (leaf->versions[middle].block < block)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

unsigned leaf_versions(const struct leaf *leaf, unsigned block, struct version **ret_first)
{
    unsigned first = lower_bound(leaf, block), n = 0;
    while (first + n < leaf->version_count && leaf->versions[first + n].block == block)
        n++;
    *ret_first = n > 0 ? &leaf->versions[first] : NULL;
    return n;
}

static void grow(struct leaf *leaf, uint32_t count)
{
    if (count <= leaf->version_capacity) return;
    uint32_t capacity = leaf->version_capacity ? leaf->version_capacity : 16;
    while (capacity < count)
        capacity += capacity / 2;
    leaf->versions = realloc(leaf->versions, capacity * sizeof *leaf->versions);
    check(leaf->versions != NULL);
    leaf->version_capacity = capacity;
}

void leaf_insert(struct leaf *leaf, unsigned block, uint64_t generation, uint64_t phys,
                 uint32_t crc, uint8_t flags)
{
    grow(leaf, leaf->version_count + 1);
    unsigned at = lower_bound(leaf, block);
    while (at < leaf->version_count && leaf->versions[at].block == block &&
           version_generation(&leaf->versions[at]) > generation)
        at++;
    memmove(&leaf->versions[at + 1], &leaf->versions[at],
            (leaf->version_count - at) * sizeof *leaf->versions);
    leaf->version_count++;
    leaf->versions[at] = (struct version){.crc = crc, .block = (uint16_t)block, .flags = flags};
    version_set(&leaf->versions[at], generation, phys);
}

bool leaf_remove(struct leaf *leaf, unsigned block, uint64_t generation)
{
    struct version *first;
    unsigned n = leaf_versions(leaf, block, &first);
    for (unsigned i = 0; i < n; i++) {
        if (version_generation(&first[i]) != generation) continue;
        unsigned at = (unsigned)(&first[i] - leaf->versions);
        memmove(&leaf->versions[at], &leaf->versions[at + 1],
                (leaf->version_count - at - 1) * sizeof *leaf->versions);
        leaf->version_count--;
        return true;
    }
    return false;
}

void leaf_push_op(struct leaf *leaf, const struct leaf_op *op)
{
    if (leaf->op_count == leaf->op_capacity) {
        leaf->op_capacity = leaf->op_capacity ? leaf->op_capacity * 2 : 8;
        leaf->ops = realloc(leaf->ops, leaf->op_capacity * sizeof *leaf->ops);
        check(leaf->ops != NULL);
    }
    leaf->ops[leaf->op_count++] = *op;
}

void leaf_merge_ops(struct leaf *leaf, uint64_t applied_seq)
{
    for (uint32_t i = 0; i < leaf->op_count; i++) {
        const struct leaf_op *op = &leaf->ops[i];
        if (op->seq <= applied_seq && !mutation_is(MUTATION_SKIP_APPLIED_SEQ)) continue; /* E11 */
        for (unsigned b = op->first; b < (unsigned)op->first + op->count; b++) {
            uint64_t phys = op->phys ? op->phys + (b - op->first) : 0;
            if (op->is_removal)
                leaf_remove(leaf, b, op->generation);
            else
                leaf_insert(leaf, b, op->generation, phys, op->crc, op->flags);
        }
    }
    free(leaf->ops);
    leaf->ops = NULL;
    leaf->op_count = leaf->op_capacity = 0;
}

uint64_t leaf_bytes_for(uint64_t version_count)
{
    return LEAF_HEADER_BYTES + version_count * (RUN_BYTES + sizeof(uint32_t));
}

uint64_t leaf_oldest_superseded(const struct leaf *leaf)
{
    uint64_t oldest = 0;
    for (uint32_t i = 0; i < leaf->version_count; i++) {
        const struct version *v = &leaf->versions[i];
        bool is_newest = i == 0 || leaf->versions[i - 1].block != v->block;
        /* A hole counts: it may have lost what it hid.  A staged one may have lost its record. */
        if (is_newest && !(v->flags & STORED_FLAGS)) continue;
        uint64_t g = version_generation(v);
        if (oldest == 0 || g < oldest) oldest = g;
    }
    return oldest;
}

/* ---- On disk --------------------------------------------------------------------------------- */

/* Does b continue a's run? */
static bool continues(const struct version *a, const struct version *b, unsigned distance)
{
    if (b->block != a->block + distance || version_generation(a) != version_generation(b) ||
        (a->flags & STORED_FLAGS) != (b->flags & STORED_FLAGS))
        return false;
    return (a->flags & VERSION_HOLE) || version_phys(b) == version_phys(a) + distance;
}

static void put_run(struct buf_writer *w, const struct version *const *run, unsigned count)
{
    uint8_t place[11];
    buf_put_le16(w, run[0]->block);
    buf_put_le16(w, (uint16_t)count);
    store_le48(place, version_generation(run[0]));
    store_le32(place + 6, run[0]->phys_low);
    place[10] = (uint8_t)run[0]->phys_high;
    buf_put_bytes(w, place, sizeof place);
    buf_put_u8(w, run[0]->flags & STORED_FLAGS);
    if (run[0]->flags & VERSION_HOLE) return;
    for (unsigned i = 0; i < count; i++)
        buf_put_le32(w, run[i]->crc);
}

/* One layer: the n-th newest version of each block, so that history does not break runs. */
static bool put_layer(struct buf_writer *w, const struct leaf *leaf, unsigned layer, uint32_t *runs)
{
    const struct version *run[FORMAT_LEAF_BLOCKS];
    unsigned count = 0, depth = 0;
    bool found = false;
    for (uint32_t i = 0; i < leaf->version_count; i++) {
        const struct version *v = &leaf->versions[i];
        depth = i > 0 && leaf->versions[i - 1].block == v->block ? depth + 1 : 0;
        if (depth != layer) continue;
        found = true;
        if (count > 0 && !continues(run[0], v, count)) {
            put_run(w, run, count);
            (*runs)++;
            count = 0;
        }
        run[count++] = v;
    }
    if (count > 0) {
        put_run(w, run, count);
        (*runs)++;
    }
    return found;
}

uint8_t *leaf_encode(const struct leaf *leaf, uint64_t applied_seq, uint64_t *ret_bytes)
{
    uint64_t most = leaf_bytes_for(leaf->version_count);
    uint8_t *payload = malloc(most);
    uint32_t runs = 0;
    check(payload != NULL);
    struct buf_writer w = buf_writer(payload, most);
    buf_put_le32(&w, leaf->disk->id);
    buf_put_le64(&w, leaf->index);
    buf_put_le64(&w, applied_seq);
    buf_put_le32(&w, leaf->version_count);
    buf_put_le32(&w, 0); /* runs, below */
    buf_put_le32(&w, 0);
    for (unsigned layer = 0; put_layer(&w, leaf, layer, &runs);)
        layer++;
    store_le32(payload + 24, runs);
    check(!w.failed);
    *ret_bytes = buf_used(&w);
    return payload;
}

/* By block, the newest version first: the order in memory. */
static bool is_before(const struct version *a, const struct version *b)
{
    if (a->block != b->block) return a->block < b->block;
    return version_generation(a) > version_generation(b);
}

/* On disk versions stand by layers, so those of one block come newest first: counting them per block
 * says where each goes, and no comparison is needed. */
static void order_by_block(struct leaf *leaf)
{
    uint32_t at[FORMAT_LEAF_BLOCKS + 1] = {0};
    struct version *ordered = malloc(leaf->version_capacity * sizeof *ordered);
    check(ordered != NULL);
    for (uint32_t i = 0; i < leaf->version_count; i++)
        at[leaf->versions[i].block + 1]++;
    for (unsigned b = 1; b < FORMAT_LEAF_BLOCKS; b++)
        at[b] += at[b - 1];
    for (uint32_t i = 0; i < leaf->version_count; i++)
        ordered[at[leaf->versions[i].block]++] = leaf->versions[i];
    free(leaf->versions);
    leaf->versions = ordered;
}

static bool take_run(struct buf_reader *r, struct leaf *leaf, uint32_t version_count,
                     uint64_t data_start, uint64_t data_end)
{
    uint16_t first = buf_take_le16(r), count = buf_take_le16(r);
    const uint8_t *place = buf_take(r, 11);
    uint8_t flags = buf_take_u8(r);
    if (r->failed || count == 0 || first + count > FORMAT_LEAF_BLOCKS || (flags & ~STORED_FLAGS) ||
        count > version_count - leaf->version_count)
        return false;
    uint64_t generation = load_le48(place), phys = load_le32(place + 6) | (uint64_t)place[10] << 32;
    bool is_hole = flags & VERSION_HOLE;
    if (generation == 0) return false;
    grow(leaf, leaf->version_count + count);
    if (is_hole ? phys != 0 : phys < data_start || phys + count > data_end) return false;
    for (unsigned i = 0; i < count; i++) {
        struct version *v = &leaf->versions[leaf->version_count++];
        *v = (struct version){.block = (uint16_t)(first + i), .flags = flags};
        version_set(v, generation, is_hole ? 0 : phys + i);
        if (!is_hole) v->crc = buf_take_le32(r);
    }
    return !r->failed;
}

bool leaf_decode(struct leaf *leaf, const uint8_t *payload, uint64_t bytes, uint64_t data_start,
                 uint64_t data_end, uint64_t *ret_applied_seq)
{
    struct buf_reader r = buf_reader(payload, bytes);
    uint32_t disk = buf_take_le32(&r);
    uint64_t index = buf_take_le64(&r), applied = buf_take_le64(&r);
    uint32_t version_count = buf_take_le32(&r), runs = buf_take_le32(&r);
    buf_take_le32(&r);
    check(leaf->version_count == 0);
    if (r.failed || disk != leaf->disk->id || index != leaf->index) return false;
    bool good = true;
    for (uint32_t i = 0; i < runs && good; i++)
        good = take_run(&r, leaf, version_count, data_start, data_end);
    good = good && leaf->version_count == version_count;
    if (good && version_count > 1) order_by_block(leaf);
    for (uint32_t i = 1; good && i < version_count; i++)
        good = is_before(&leaf->versions[i - 1], &leaf->versions[i]);
    if (!good) {
        leaf->version_count = 0;
        return false;
    }
    *ret_applied_seq = applied;
    return true;
}
