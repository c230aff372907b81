/*
 * Stored bytes.  A file has two images: what reads see, and what is certain to survive power loss;
 * between them the list of completed changes.  A sync folds the changes it covers into the second
 * one.
 */
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "tests/sim/sim_int.h"

/* ---- Sparse images ---- */

static uint8_t *chunk_at(const struct sim_image *image, uint64_t chunk)
{
    size_t table = (size_t)(chunk / IMAGE_TABLE_CHUNKS);
    if (table >= image->table_count || !image->tables[table]) return NULL;
    return image->tables[table][chunk % IMAGE_TABLE_CHUNKS];
}

static uint8_t *chunk_make(struct sim_image *image, uint64_t chunk)
{
    size_t table = (size_t)(chunk / IMAGE_TABLE_CHUNKS);
    if (table >= image->table_count) {
        size_t count = max_of(table + 1, 2 * image->table_count);
        image->tables = realloc(image->tables, count * sizeof *image->tables);
        check(image->tables != NULL);
        memset(image->tables + image->table_count, 0,
               (count - image->table_count) * sizeof *image->tables);
        image->table_count = count;
    }
    uint8_t ***slot = &image->tables[table];
    if (!*slot) *slot = calloc(IMAGE_TABLE_CHUNKS, sizeof **slot);
    check(*slot != NULL);
    uint8_t **place = &(*slot)[chunk % IMAGE_TABLE_CHUNKS];
    if (!*place) *place = calloc(1, IMAGE_CHUNK_BYTES);
    check(*place != NULL);
    return *place;
}

static size_t part_length(uint64_t offset, uint64_t left)
{
    return (size_t)min_of(left, IMAGE_CHUNK_BYTES - offset % IMAGE_CHUNK_BYTES);
}

void sim_image_read(const struct sim_image *image, uint64_t offset, void *to, size_t size_bytes)
{
    uint8_t *at = to;
    while (size_bytes > 0) {
        size_t n = part_length(offset, size_bytes);
        const uint8_t *chunk = chunk_at(image, offset / IMAGE_CHUNK_BYTES);
        if (chunk) {
            memcpy(at, chunk + offset % IMAGE_CHUNK_BYTES, n);
        } else {
            memset(at, 0, n);
        }
        at += n;
        offset += n;
        size_bytes -= n;
    }
}

void sim_image_write(struct sim_image *image, uint64_t offset, const void *from, size_t size_bytes)
{
    const uint8_t *at = from;
    image->size_bytes = max_of(image->size_bytes, offset + size_bytes);
    while (size_bytes > 0) {
        size_t n = part_length(offset, size_bytes);
        memcpy(chunk_make(image, offset / IMAGE_CHUNK_BYTES) + offset % IMAGE_CHUNK_BYTES, at, n);
        at += n;
        offset += n;
        size_bytes -= n;
    }
}

static void image_clear(struct sim_image *image)
{
    for (size_t i = 0; i < image->table_count; i++) {
        for (size_t j = 0; image->tables[i] && j < IMAGE_TABLE_CHUNKS; j++) {
            free(image->tables[i][j]);
        }
        free(image->tables[i]);
    }
    free(image->tables);
    *image = (struct sim_image){0};
}

/* Only chunks that exist are touched, so that huge ranges cost little. */
static void image_zero(struct sim_image *image, uint64_t offset, uint64_t length)
{
    uint64_t end = min_of(offset + length,
                          (uint64_t)image->table_count * IMAGE_TABLE_CHUNKS * IMAGE_CHUNK_BYTES);
    while (offset < end) {
        uint64_t chunk = offset / IMAGE_CHUNK_BYTES;
        if (!image->tables[chunk / IMAGE_TABLE_CHUNKS]) {
            offset = (chunk / IMAGE_TABLE_CHUNKS + 1) * IMAGE_TABLE_CHUNKS * IMAGE_CHUNK_BYTES;
            continue;
        }
        size_t n = part_length(offset, end - offset);
        uint8_t *bytes = chunk_at(image, chunk);
        if (bytes) memset(bytes + offset % IMAGE_CHUNK_BYTES, 0, n);
        offset += n;
    }
}

static void image_truncate(struct sim_image *image, uint64_t size_bytes)
{
    if (size_bytes < image->size_bytes)
        image_zero(image, size_bytes, image->size_bytes - size_bytes);
    image->size_bytes = size_bytes;
}

/* Makes a range of `to` equal to that of `from`. */
static void image_copy(struct sim_image *to, const struct sim_image *from, uint64_t offset,
                       uint64_t length)
{
    uint64_t end = offset + length;
    while (offset < end) {
        size_t n = part_length(offset, end - offset);
        const uint8_t *source = chunk_at(from, offset / IMAGE_CHUNK_BYTES);
        uint8_t *target = chunk_at(to, offset / IMAGE_CHUNK_BYTES);
        size_t skip = offset % IMAGE_CHUNK_BYTES;
        if (source) {
            memcpy(chunk_make(to, offset / IMAGE_CHUNK_BYTES) + skip, source + skip, n);
        } else if (target) {
            memset(target + skip, 0, n);
        }
        offset += n;
    }
}

/* ---- Names ---- */

struct sim_file *sim_store_create(struct sim_node *node, const char *path)
{
    struct sim_file *file = calloc(1, sizeof *file);
    check(file != NULL);
    file->node = node;
    file->path = strdup(path);
    list_init(&file->changes);
    list_init(&file->ops);
    list_init(&file->late);
    list_push_back(&node->files, &file->link);
    return file;
}

struct sim_file *sim_store_find(const struct sim_node *node, const char *path)
{
    list_for_each (n, &node->files) {
        struct sim_file *file = list_entry(n, struct sim_file, link);
        if (strcmp(file->path, path) == 0) return file;
    }
    return NULL;
}

void sim_store_free(struct sim_file *file)
{
    check(file->handles == 0);
    while (!list_is_empty(&file->changes)) {
        sim_change_free(list_entry(list_pop_front(&file->changes), struct sim_change, link));
    }
    check(list_is_empty(&file->ops) && list_is_empty(&file->late));
    if (list_is_linked(&file->link)) list_remove(&file->link);
    image_clear(&file->current);
    image_clear(&file->durable);
    free(file->path);
    free(file);
}

void sim_store_drop_handle(struct sim_file *file)
{
    check(file->handles > 0);
    if (--file->handles == 0 && file->is_gone) sim_store_free(file);
}

void sim_store_sync_names(struct sim_node *node)
{
    list_for_each_safe (n, &node->limbo) {
        struct sim_file *file = list_entry(n, struct sim_file, link);
        file->is_gone = true;
        if (file->handles == 0 && list_is_empty(&file->late)) sim_store_free(file);
    }
}

void sim_store_unlink(struct sim_file *file, bool sync_directory)
{
    struct sim_node *node = file->node;
    list_remove(&file->link);
    list_push_back(&node->limbo, &file->link);
    if (sync_directory) sim_store_sync_names(node);
}

/* ---- Changes ---- */

struct sim_change *sim_change_new(enum sim_change_kind kind, uint64_t offset, uint64_t length)
{
    struct sim_change *change = calloc(1, sizeof *change);
    check(change != NULL);
    change->kind = kind;
    change->offset = offset;
    change->length = length;
    if (kind == CHANGE_WRITE) {
        change->data = malloc(length ? length : 1);
        check(change->data != NULL);
    }
    return change;
}

void sim_change_free(struct sim_change *change)
{
    if (!change) return;
    free(change->data);
    free(change);
}

static void apply(struct sim_image *image, const struct sim_change *change)
{
    switch (change->kind) {
    case CHANGE_WRITE:
        if (change->length) sim_image_write(image, change->offset, change->data, change->length);
        return;
    case CHANGE_TRUNCATE:
        image_truncate(image, change->offset);
        return;
    case CHANGE_DISCARD:
        image_zero(image, change->offset, change->length);
        return;
    }
}

void sim_store_complete(struct sim_file *file, struct sim_change *change)
{
    apply(&file->current, change);
    change->seq = ++file->completed_seq;
    list_push_back(&file->changes, &change->link);
}

void sim_store_sync(struct sim_file *file, uint64_t seq)
{
    while (!list_is_empty(&file->changes)) {
        struct sim_change *change = list_entry(list_front(&file->changes), struct sim_change, link);
        if (change->seq > seq) return;
        list_remove(&change->link);
        apply(&file->durable, change);
        sim_change_free(change);
    }
}

/* ---- Power loss ---- */

static void add_part(const struct sim_change *whole, uint64_t from, uint64_t to, struct list *parts)
{
    if (from >= to) return;
    struct sim_change *part = sim_change_new(CHANGE_WRITE, whole->offset + from, to - from);
    memcpy(part->data, whole->data + from, to - from);
    list_push_back(parts, &part->link);
}

/* Sectors are atomic; which of them are written is anybody's guess. */
void sim_change_tear(struct sim_change *change, struct prng *prng, struct list *parts)
{
    uint64_t sectors = (change->length + SECTOR_BYTES - 1) / SECTOR_BYTES;
    if (change->kind != CHANGE_WRITE || sectors < 2) {
        list_push_back(parts, &change->link);
        return;
    }
    uint64_t middle = (1 + prng_below(prng, sectors - 1)) * SECTOR_BYTES;
    switch (prng_below(prng, 3)) {
    case 0:
        add_part(change, 0, middle, parts);
        break;
    case 1:
        add_part(change, middle, change->length, parts);
        break;
    default:
        for (uint64_t i = 0; i < sectors; i++) {
            uint64_t end = min_of((i + 1) * SECTOR_BYTES, change->length);
            if (prng_chance(prng, 1, 2)) add_part(change, i * SECTOR_BYTES, end, parts);
        }
    }
    sim_change_free(change);
}

/* How much of what no sync covers survives; drawn once per power loss. */
struct survival {
    unsigned keep_of_8;
    bool by_region, above;
    uint64_t pivot;
};

static struct survival draw_survival(struct prng *prng, struct sim_change *const *changes,
                                     size_t count)
{
    static const unsigned keeps[] = {0, 1, 4, 4, 7, 8};
    struct survival s = {.keep_of_8 = keeps[prng_below(prng, countof(keeps))]};
    s.by_region = prng_chance(prng, 1, 4);
    s.above = prng_chance(prng, 1, 2);
    if (count) s.pivot = changes[prng_below(prng, count)]->offset;
    return s;
}

static bool survives(const struct survival *s, struct prng *prng, const struct sim_change *change)
{
    if (s->by_region) return (change->offset >= s->pivot) == s->above;
    return prng_chance(prng, s->keep_of_8, 8);
}

static void keep_or_lose(struct sim_file *file, struct prng *prng, const struct survival *survival,
                         struct sim_change *change)
{
    struct list parts;
    list_init(&parts);
    if (!survives(survival, prng, change)) {
        sim_change_free(change);
        return;
    }
    if (prng_chance(prng, 1, 4)) {
        sim_change_tear(change, prng, &parts);
    } else {
        list_push_back(&parts, &change->link);
    }
    while (!list_is_empty(&parts)) {
        struct sim_change *part = list_entry(list_pop_front(&parts), struct sim_change, link);
        apply(&file->durable, part);
        sim_change_free(part);
    }
}

/* The same range in both images; a truncation makes that the whole file. */
struct touched {
    uint64_t offset, length;
};

static size_t list_length(const struct list *list)
{
    size_t n = 0;
    list_for_each (node, list)
        n++;
    return n;
}

static void shuffle(struct sim_change **changes, size_t count, struct prng *prng)
{
    for (size_t i = count; i > 1; i--) {
        size_t j = (size_t)prng_below(prng, i);
        struct sim_change *other = changes[i - 1];
        changes[i - 1] = changes[j];
        changes[j] = other;
    }
}

/* Completed changes keep their order among each other where they overlap (a cache has one copy of a
 * sector); those in flight come in any order. */
void sim_store_lose_power(struct sim_file *file, struct prng *prng, struct list *in_flight)
{
    size_t completed = list_length(&file->changes), count = completed + list_length(in_flight);
    if (count == 0) return;
    struct sim_change **changes = calloc(count, sizeof(struct sim_change *));
    struct touched *touched = calloc(count, sizeof *touched);
    check(changes && touched);
    list_splice_back(&file->changes, in_flight);
    bool whole = false;
    for (size_t i = 0; i < count; i++) {
        changes[i] = list_entry(list_pop_front(&file->changes), struct sim_change, link);
        touched[i] = (struct touched){changes[i]->offset, changes[i]->length};
        whole |= changes[i]->kind == CHANGE_TRUNCATE;
    }
    shuffle(changes + completed, count - completed, prng);
    struct survival survival = draw_survival(prng, changes, count);
    for (size_t i = 0; i < count; i++) {
        keep_or_lose(file, prng, &survival, changes[i]);
    }
    for (size_t i = 0; i < count && !whole; i++) {
        image_copy(&file->current, &file->durable, touched[i].offset, touched[i].length);
    }
    if (whole) {
        uint64_t end = max_of(file->current.size_bytes, file->durable.size_bytes);
        image_copy(&file->current, &file->durable, 0, end);
    }
    file->current.size_bytes = file->durable.size_bytes;
    free(changes);
    free(touched);
}
