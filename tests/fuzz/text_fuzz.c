/* Sizes, numbers, hex, names and uuids as people type them. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/text.h"
#include "base/uuid.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    check(text != NULL);
    if (size) memcpy(text, data, size);
    text[size] = '\0';
    uint64_t value, again;
    char formatted[TEXT_SIZE_MAX];
    if (text_parse_size(text, &value)) {
        check(strlen(text_format_size(value, formatted)) < sizeof formatted);
        /* What is printed without a fraction is exact. */
        if (!strchr(formatted, '.')) check(text_parse_size(formatted, &again) && again == value);
    }
    text_parse_u64(text, &value);
    if (text_is_valid_name(text))
        check(text_is_valid_utf8(text, strlen(text)) && strlen(text) <= TEXT_NAME_MAX_BYTES);
    struct uuid uuid, copy;
    char uuid_text[UUID_TEXT_SIZE];
    if (uuid_parse(text, &uuid))
        check(uuid_parse(uuid_format(&uuid, uuid_text), &copy) && uuid_equal(&uuid, &copy));
    uint8_t bytes[16];
    char hex[2 * sizeof bytes + 1];
    if (text_parse_hex(text, bytes, sizeof bytes))
        check(strlen(text_format_hex(bytes, sizeof bytes, hex)) == 2 * sizeof bytes);
    free(text);
    return 0;
}
