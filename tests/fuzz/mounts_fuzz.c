/*
 * mounts_fuzz.c - whatever a mountinfo says, it is read without harm, and the order of freezing
 * keeps every device.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "shadow/mounts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { DEVICES = 8 };
    struct mount_table table = {0};
    char *text = malloc(size + 1);
    if (!text) return 0;
    if (size) memcpy(text, data, size);
    text[size] = '\0';
    struct err *e = mount_table_parse(text, &table);
    if (!e) {
        dev_t devices[DEVICES] = {0}, sum = 0, sum_after = 0;
        unsigned count = 0;
        for (size_t i = 0; i < table.count && count < DEVICES; i++) {
            devices[count++] = table.entries[i].dev;
            check(mount_table_find(&table, table.entries[i].mount_point) != NULL);
            (void)mount_cannot_freeze(table.entries[i].fs_type);
        }
        for (unsigned i = 0; i < count; i++)
            sum += devices[i];
        mount_order(&table, "/nonexistent", devices, count);
        for (unsigned i = 0; i < count; i++)
            sum_after += devices[i];
        check(sum == sum_after);
        (void)mount_table_holder(&table, text);
    }
    err_free(e);
    mount_table_fini(&table);
    free(text);
    return 0;
}
