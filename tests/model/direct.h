/*
 * direct.h - a world driven by hand, for directed tests: blocking calls on world->pool, content by a number.
 * Every function fails the world (and returns false or a status) when something hangs.
 */
#ifndef TARN_TESTS_DIRECT_H
#define TARN_TESTS_DIRECT_H

#include "world.h"

struct uuid direct_uuid(uint32_t number); /* never nil */
struct volume *direct_disk(struct world *world, uint32_t number, uint64_t size_bytes); /* made and opened */
struct volume *direct_open(struct world *world, const struct uuid *disk, const struct uuid *point);
enum status direct_io(struct world *world, struct volume *volume, enum volume_op op, uint64_t sector,
                      uint64_t sector_count, void *data);
/* A whole block whose words are all `value`. */
enum status direct_write(struct world *world, struct volume *volume, uint64_t block, uint64_t value);
bool direct_expect(struct world *world, struct volume *volume, uint64_t block, uint64_t value);
/* Statuses of the control calls. */
enum status direct_cut(struct world *world, uint32_t disk, uint32_t point);
enum status direct_point_delete(struct world *world, uint32_t point);
enum status direct_branch(struct world *world, uint32_t point, uint32_t disk);
enum status direct_disk_delete(struct world *world, uint32_t disk);
bool direct_settle(struct world *world); /* and check */
uint64_t direct_data_blocks(struct world *world);
/* Prints the failure, destroys; true = green. */
bool direct_end(struct world *world);

#endif
