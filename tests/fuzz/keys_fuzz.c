/* Text of a login or text request: pairs, and their negotiation in each phase. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "iscsi/keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    uint8_t how = data[0];
    char *text = malloc(size), answer[512];
    check(text != NULL);
    memcpy(text, data + 1, size - 1);
    struct iscsi_keys keys;
    iscsi_keys_init(&keys);
    keys.discovery = how & 4;
    struct buf_writer w = buf_writer(answer, 16 + (how >> 3) * 16u);
    struct iscsi_text_pair pair;
    bool bad = false;
    char *at = text;
    while (iscsi_text_next(&at, text + size - 1, &pair, &bad)) {
        check(strlen(pair.name) >= 1 && strlen(pair.name) <= ISCSI_KEY_NAME_MAX);
        check(strlen(pair.value) <= ISCSI_KEY_VALUE_MAX);
        if (iscsi_keys_answer(&keys, &pair, (enum iscsi_key_phase)(how & 3) % 3, &w) !=
            ISCSI_KEYS_OK)
            break;
    }
    /* Whatever was offered, the values stay within what the rest of the target counts on. */
    check(keys.values[ISCSI_KEY_MAX_RECV_SEGMENT] >= 512 &&
          keys.values[ISCSI_KEY_MAX_RECV_SEGMENT] <= 0xFFFFFF);
    check(keys.values[ISCSI_KEY_MAX_BURST] >= 512 &&
          keys.values[ISCSI_KEY_MAX_BURST] <= 1024 * 1024);
    check(keys.values[ISCSI_KEY_FIRST_BURST] >= 512 &&
          keys.values[ISCSI_KEY_FIRST_BURST] <= 262144);
    check(keys.values[ISCSI_KEY_MAX_R2T] >= 1 && keys.values[ISCSI_KEY_MAX_R2T] <= 16);
    check(keys.values[ISCSI_KEY_MAX_CONNECTIONS] == 1 &&
          keys.values[ISCSI_KEY_ERROR_RECOVERY_LEVEL] == 0);
    check(keys.values[ISCSI_KEY_DATA_PDU_IN_ORDER] == 1 &&
          keys.values[ISCSI_KEY_DATA_SEQUENCE_IN_ORDER] == 1);
    free(text);
    return 0;
}
