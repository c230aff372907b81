/* CHAP values as they come in text: lists of algorithms, binary values in hex and base64. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "iscsi/chap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 3);
    check(text != NULL);
    for (unsigned kind = 0; kind < 3; kind++) {
        /* As it came, and as hex and base64 whatever it is. */
        size_t prefix = kind ? 2 : 0;
        memcpy(text, kind == 1 ? "0x" : "0b", 2);
        if (size) memcpy(text + prefix, data, size);
        text[prefix + size] = '\0';
        size_t max = size % 40, got = 0;
        uint8_t *out = malloc(max ? max : 1);
        check(out != NULL);
        if (iscsi_chap_decode(text, out, max, &got)) check(got >= 1 && got <= max);
        free(out);
        const struct iscsi_chap_algorithm *a = iscsi_chap_choose(text);
        check(!a || (a->number >= 5 && a->number <= 8));
    }
    /* What we write can be read. */
    char written[256];
    uint8_t back[64];
    size_t n = size < 64 ? size : 64, got = 0;
    struct buf_writer w = buf_writer(written, sizeof written);
    iscsi_chap_put(&w, "C", data, n);
    check(!w.failed && strncmp(written, "C=0x", 4) == 0);
    check(iscsi_chap_decode(written + 2, back, sizeof back, &got) == (n > 0));
    check(got == n && (n == 0 || memcmp(back, data, n) == 0));
    free(text);
    return 0;
}
