#include "iscsi/keys.h"

#include <stdio.h>
#include <string.h>

#include "base/attr.h"
#include "base/check.h"

/* How the outcome follows from the initiator's offer (RFC 7143 6.2 and 13). */
enum rule {
    RULE_MINIMUM,
    RULE_MAXIMUM,
    RULE_AND,
    RULE_OR,
    RULE_DECLARED, /* the sender's own number; we declare ours */
    RULE_LIST,     /* the first of the offered words that we know */
    RULE_NO,       /* an obsolete question: always "No" (RFC 7143 13.25) */
    RULE_IRRELEVANT,
    RULE_TAKEN, /* a declaration that login.c or discovery.c has consumed */
};

enum {
    IN_SECURITY = 1 << ISCSI_PHASE_SECURITY,
    IN_OPERATIONAL = 1 << ISCSI_PHASE_OPERATIONAL,
    IN_FULL = 1 << ISCSI_PHASE_FULL,
    IN_LOGIN = IN_SECURITY | IN_OPERATIONAL,
    NOT_IN_DISCOVERY = 1 << 8, /* answered Irrelevant in a discovery session */
    BOTH = IN_OPERATIONAL,     /* sessions of both types */
    NORMAL = IN_OPERATIONAL | NOT_IN_DISCOVERY,
};

#define SEGMENT_MAX 0xFFFFFFu /* 2^24 - 1 */

static const struct key_row {
    const char *name;
    enum rule rule;
    unsigned flags;
    uint32_t minimum, maximum;
    uint32_t initial; /* the default of RFC 7143 13 when nobody says anything */
    uint32_t ours;
    const char *words; /* LIST: ours, in the order of their values */
} rows[ISCSI_KEY_COUNT] = {
    /* clang-format off */
    [ISCSI_KEY_HEADER_DIGEST] = {"HeaderDigest", RULE_LIST, BOTH, .words = "None,CRC32C"},
    [ISCSI_KEY_DATA_DIGEST] = {"DataDigest", RULE_LIST, BOTH, .words = "None,CRC32C"},
    /* minimum, maximum, initial, ours */
    [ISCSI_KEY_MAX_CONNECTIONS] = {"MaxConnections", RULE_MINIMUM, NORMAL, 1, 65535, 1, 1, NULL},
    [ISCSI_KEY_INITIAL_R2T] = {"InitialR2T", RULE_OR, NORMAL, 0, 1, 1, 0, NULL},
    [ISCSI_KEY_IMMEDIATE_DATA] = {"ImmediateData", RULE_AND, NORMAL, 0, 1, 1, 1, NULL},
    [ISCSI_KEY_MAX_RECV_SEGMENT] = {"MaxRecvDataSegmentLength", RULE_DECLARED, BOTH | IN_FULL,
                                    512, SEGMENT_MAX, 8192, ISCSI_MAX_RECV_SEGMENT, NULL},
    [ISCSI_KEY_MAX_BURST] = {"MaxBurstLength", RULE_MINIMUM, NORMAL, 512, SEGMENT_MAX, 262144,
                             1048576, NULL},
    [ISCSI_KEY_FIRST_BURST] = {"FirstBurstLength", RULE_MINIMUM, NORMAL, 512, SEGMENT_MAX, 65536,
                               262144, NULL},
    [ISCSI_KEY_TIME2WAIT] = {"DefaultTime2Wait", RULE_MAXIMUM, BOTH, 0, 3600, 2, 2, NULL},
    [ISCSI_KEY_TIME2RETAIN] = {"DefaultTime2Retain", RULE_MINIMUM, BOTH, 0, 3600, 20, 0, NULL},
    [ISCSI_KEY_MAX_R2T] = {"MaxOutstandingR2T", RULE_MINIMUM, NORMAL, 1, 65535, 1, 16, NULL},
    [ISCSI_KEY_DATA_PDU_IN_ORDER] = {"DataPDUInOrder", RULE_OR, NORMAL, 0, 1, 1, 1, NULL},
    [ISCSI_KEY_DATA_SEQUENCE_IN_ORDER] = {"DataSequenceInOrder", RULE_OR, NORMAL, 0, 1, 1, 1, NULL},
    [ISCSI_KEY_ERROR_RECOVERY_LEVEL] = {"ErrorRecoveryLevel", RULE_MINIMUM, BOTH, 0, 2, 0, 0, NULL},
    [ISCSI_KEY_PROTOCOL_LEVEL] = {"iSCSIProtocolLevel", RULE_MINIMUM, NORMAL, 0, 31, 1, 1, NULL},
    [ISCSI_KEY_TASK_REPORTING] = {"TaskReporting", RULE_LIST, NORMAL,
                                  .words = "RFC3720,ResponseFence"},
    [ISCSI_KEY_OF_MARKER] = {.name = "OFMarker", RULE_NO, BOTH},
    [ISCSI_KEY_IF_MARKER] = {.name = "IFMarker", RULE_NO, BOTH},
    [ISCSI_KEY_OF_MARK_INTERVAL] = {.name = "OFMarkInt", RULE_IRRELEVANT, BOTH},
    [ISCSI_KEY_IF_MARK_INTERVAL] = {.name = "IFMarkInt", RULE_IRRELEVANT, BOTH},
    [ISCSI_KEY_INITIATOR_NAME] = {.name = "InitiatorName", RULE_TAKEN, IN_LOGIN},
    [ISCSI_KEY_INITIATOR_ALIAS] = {.name = "InitiatorAlias", RULE_TAKEN, IN_LOGIN | IN_FULL},
    [ISCSI_KEY_TARGET_NAME] = {.name = "TargetName", RULE_TAKEN, IN_LOGIN},
    [ISCSI_KEY_SESSION_TYPE] = {.name = "SessionType", RULE_TAKEN, IN_LOGIN},
    [ISCSI_KEY_AUTH_METHOD] = {.name = "AuthMethod", RULE_TAKEN, IN_SECURITY},
    [ISCSI_KEY_SEND_TARGETS] = {.name = "SendTargets", RULE_TAKEN, IN_FULL},
    /* clang-format on */
};

void iscsi_keys_init(struct iscsi_keys *keys)
{
    *keys = (struct iscsi_keys){0};
    for (unsigned i = 0; i < ISCSI_KEY_COUNT; i++)
        keys->values[i] = rows[i].initial;
}

enum iscsi_key iscsi_key_find(const char *name)
{
    unsigned i = 0;
    while (i < ISCSI_KEY_COUNT && strcmp(rows[i].name, name) != 0)
        i++;
    return (enum iscsi_key)i;
}

/* ---- Text ---- */

static bool is_name_character(char c)
{
    /* RFC 7143 6.1: letters, digits and . - + @ _ */
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr(".-+@_", c) != NULL);
}

bool iscsi_text_next(char **at, char *end, struct iscsi_text_pair *ret_pair, bool *ret_bad)
{
    char *p = *at;
    *ret_bad = false;
    /* Some initiators pad with further NULs. */
    while (p < end && *p == '\0')
        p++;
    if (p == end) return false;

    *ret_bad = true;
    char *stop = memchr(p, '\0', (size_t)(end - p));
    if (!stop) return false; /* each pair ends with a NUL (RFC 7143 6.1) */
    char *equals = memchr(p, '=', (size_t)(stop - p));
    if (!equals || equals == p || equals - p > ISCSI_KEY_NAME_MAX) return false;
    if (stop - equals - 1 > ISCSI_KEY_VALUE_MAX) return false;
    for (const char *c = p; c < equals; c++) {
        if (!is_name_character(*c)) return false;
    }
    *ret_bad = false;
    *equals = '\0';
    ret_pair->name = p;
    ret_pair->value = equals + 1;
    *at = stop + 1;
    return true;
}

void iscsi_text_put(struct buf_writer *w, const char *name, const char *value)
{
    buf_put_bytes(w, name, strlen(name));
    buf_put_u8(w, '=');
    buf_put_bytes(w, value, strlen(value) + 1);
}

void iscsi_text_put_number(struct buf_writer *w, const char *name, uint32_t value)
{
    char text[16];
    snprintf(text, sizeof text, "%u", value);
    iscsi_text_put(w, name, text);
}

bool iscsi_text_number(const char *text, uint32_t *ret_value)
{
    uint32_t base = 10, value = 0;
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
        base = 16;
        text += 2;
    }
    if (*text == '\0') return false;
    for (; *text; text++) {
        uint32_t digit;
        if (*text >= '0' && *text <= '9')
            digit = (uint32_t)(*text - '0');
        else if (base == 16 && *text >= 'a' && *text <= 'f')
            digit = (uint32_t)(*text - 'a') + 10;
        else if (base == 16 && *text >= 'A' && *text <= 'F')
            digit = (uint32_t)(*text - 'A') + 10;
        else
            return false;
        if (__builtin_mul_overflow(value, base, &value)) return false;
        if (__builtin_add_overflow(value, digit, &value)) return false;
    }
    *ret_value = value;
    return true;
}

/* Index of `word` (of that size) in the comma-separated list, or -1. */
static int list_index(const char *list, const char *word, size_t size_bytes)
{
    for (int index = 0;; index++) {
        size_t n = strcspn(list, ",");
        if (n == size_bytes && memcmp(list, word, n) == 0) return index;
        if (list[n] == '\0') return -1;
        list += n + 1;
    }
}

bool iscsi_text_list_has(const char *list, const char *word)
{
    return list_index(list, word, strlen(word)) >= 0;
}

/* ---- Negotiation ---- */

/* The first offered word that we know becomes the value (RFC 7143 6.2.1). */
static bool choose(const struct key_row *row, const char *offered, uint32_t *ret_value,
                   char *ret_word, size_t word_size)
{
    for (;;) {
        size_t n = strcspn(offered, ",");
        int index = list_index(row->words, offered, n);
        if (index >= 0 && n < word_size) {
            *ret_value = (uint32_t)index;
            memcpy(ret_word, offered, n);
            ret_word[n] = '\0';
            return true;
        }
        if (offered[n] == '\0') return false;
        offered += n + 1;
    }
}

static void answer_number(struct iscsi_keys *keys, enum iscsi_key key, const char *value,
                          struct buf_writer *answer)
{
    const struct key_row *row = &rows[key];
    uint32_t offer;
    if (!iscsi_text_number(value, &offer) || offer < row->minimum || offer > row->maximum) {
        iscsi_text_put(answer, row->name, "Reject"); /* RFC 7143 6.2.2 */
        return;
    }
    if (row->rule == RULE_DECLARED) {
        keys->values[key] = offer;
        if (keys->told_segment) return;
        keys->told_segment = true;
        iscsi_text_put_number(answer, row->name, row->ours);
        return;
    }
    uint32_t result =
        row->rule == RULE_MINIMUM ? min_of(offer, row->ours) : max_of(offer, row->ours);
    keys->values[key] = result;
    iscsi_text_put_number(answer, row->name, result);
}

static void answer_boolean(struct iscsi_keys *keys, enum iscsi_key key, const char *value,
                           struct buf_writer *answer)
{
    const struct key_row *row = &rows[key];
    bool yes = strcmp(value, "Yes") == 0;
    if (!yes && strcmp(value, "No") != 0) {
        iscsi_text_put(answer, row->name, "Reject");
        return;
    }
    bool result = row->rule == RULE_AND ? yes && row->ours : yes || row->ours;
    keys->values[key] = result;
    iscsi_text_put(answer, row->name, result ? "Yes" : "No");
}

static void answer_list(struct iscsi_keys *keys, enum iscsi_key key, const char *value,
                        struct buf_writer *answer)
{
    char word[32];
    uint32_t index;
    if (choose(&rows[key], value, &index, word, sizeof word)) {
        keys->values[key] = index;
        iscsi_text_put(answer, rows[key].name, word);
    } else {
        iscsi_text_put(answer, rows[key].name, "Reject");
    }
}

enum iscsi_key_outcome iscsi_keys_mark(struct iscsi_keys *keys, enum iscsi_key key)
{
    uint64_t bit = (uint64_t)1 << key;
    if (keys->seen & bit) return ISCSI_KEYS_DUPLICATE;
    keys->seen |= bit;
    return ISCSI_KEYS_OK;
}

enum iscsi_key_outcome iscsi_keys_answer(struct iscsi_keys *keys,
                                         const struct iscsi_text_pair *pair,
                                         enum iscsi_key_phase phase, struct buf_writer *answer)
{
    enum iscsi_key key = iscsi_key_find(pair->name);
    if (key == ISCSI_KEY_COUNT) {
        iscsi_text_put(answer, pair->name, "NotUnderstood");
        return answer->failed ? ISCSI_KEYS_TOO_LONG : ISCSI_KEYS_OK;
    }
    const struct key_row *row = &rows[key];
    if (!(row->flags & 1u << phase)) return ISCSI_KEYS_MISPLACED;
    /* Once per negotiation; a declaration may be renewed in full feature phase (RFC 7143 13.12). */
    if (phase != ISCSI_PHASE_FULL && iscsi_keys_mark(keys, key) != ISCSI_KEYS_OK)
        return ISCSI_KEYS_DUPLICATE;

    if (keys->discovery && row->flags & NOT_IN_DISCOVERY) {
        iscsi_text_put(answer, row->name, "Irrelevant");
        return answer->failed ? ISCSI_KEYS_TOO_LONG : ISCSI_KEYS_OK;
    }
    switch (row->rule) {
    case RULE_MINIMUM:
    case RULE_MAXIMUM:
    case RULE_DECLARED:
        answer_number(keys, key, pair->value, answer);
        break;
    case RULE_AND:
    case RULE_OR:
        answer_boolean(keys, key, pair->value, answer);
        break;
    case RULE_LIST:
        answer_list(keys, key, pair->value, answer);
        break;
    case RULE_NO:
        iscsi_text_put(answer, row->name, "No");
        break;
    case RULE_IRRELEVANT:
        iscsi_text_put(answer, row->name, "Irrelevant");
        break;
    case RULE_TAKEN:
        break;
    }
    return answer->failed ? ISCSI_KEYS_TOO_LONG : ISCSI_KEYS_OK;
}
