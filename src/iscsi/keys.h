/*
 * keys.h - text keys: parsing "Name=value\0..." and negotiation by one table.  RFC 7143 sections 6
 * and 13.
 *
 *     iscsi_keys_init(&keys);
 *     while (iscsi_text_next(&reader, &pair)) failure = iscsi_keys_answer(&keys, &pair, phase,
 * &writer);
 *
 * Pure: no I/O; authentication keys are seen by login.c first.  Threads: any.  Ownership: pairs
 * point into the text, which iscsi_text_next cuts with NULs.  Failures: enum iscsi_key_outcome;
 * after anything but OK the negotiation is over.  Limits: names 63 bytes, values 255 (8192 for
 * binary ones of CHAP), each key once.
 */
#ifndef TARN_ISCSI_KEYS_H
#define TARN_ISCSI_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

enum { ISCSI_KEY_NAME_MAX = 63, ISCSI_KEY_VALUE_MAX = 8191, ISCSI_KEY_STRING_MAX = 255 };

enum iscsi_key {
    ISCSI_KEY_HEADER_DIGEST, /* value: 1 = CRC32C */
    ISCSI_KEY_DATA_DIGEST,
    ISCSI_KEY_MAX_CONNECTIONS,
    ISCSI_KEY_INITIAL_R2T,
    ISCSI_KEY_IMMEDIATE_DATA,
    ISCSI_KEY_MAX_RECV_SEGMENT, /* value: the initiator's, what we may send */
    ISCSI_KEY_MAX_BURST,
    ISCSI_KEY_FIRST_BURST,
    ISCSI_KEY_TIME2WAIT,
    ISCSI_KEY_TIME2RETAIN,
    ISCSI_KEY_MAX_R2T,
    ISCSI_KEY_DATA_PDU_IN_ORDER,
    ISCSI_KEY_DATA_SEQUENCE_IN_ORDER,
    ISCSI_KEY_ERROR_RECOVERY_LEVEL,
    ISCSI_KEY_PROTOCOL_LEVEL,
    ISCSI_KEY_TASK_REPORTING,
    ISCSI_KEY_OF_MARKER,
    ISCSI_KEY_IF_MARKER,
    ISCSI_KEY_OF_MARK_INTERVAL,
    ISCSI_KEY_IF_MARK_INTERVAL,
    ISCSI_KEY_INITIATOR_NAME, /* declared; login.c takes them */
    ISCSI_KEY_INITIATOR_ALIAS,
    ISCSI_KEY_TARGET_NAME,
    ISCSI_KEY_SESSION_TYPE,
    ISCSI_KEY_AUTH_METHOD,
    ISCSI_KEY_SEND_TARGETS,
    ISCSI_KEY_COUNT
};

/* Largest data segment that we take; told as our MaxRecvDataSegmentLength. */
enum { ISCSI_MAX_RECV_SEGMENT = 256 * 1024 };

enum iscsi_key_phase {
    ISCSI_PHASE_SECURITY,
    ISCSI_PHASE_OPERATIONAL,
    ISCSI_PHASE_FULL,
};

enum iscsi_key_outcome {
    ISCSI_KEYS_OK,
    ISCSI_KEYS_DUPLICATE, /* negotiated twice (RFC 7143 6.2) */
    ISCSI_KEYS_MISPLACED, /* not allowed in this phase */
    ISCSI_KEYS_TOO_LONG,  /* the answer does not fit */
};

struct iscsi_keys {
    uint32_t values[ISCSI_KEY_COUNT];
    uint64_t seen; /* bit per key */
    bool discovery;
    bool told_segment; /* our MaxRecvDataSegmentLength was declared */
};

struct iscsi_text_pair {
    const char *name, *value;
};

void iscsi_keys_init(struct iscsi_keys *keys);

/* The next pair of a text of `size` bytes at *at; false at the end or when malformed (*ret_bad). */
bool iscsi_text_next(char **at, char *end, struct iscsi_text_pair *ret_pair, bool *ret_bad);

/* The key of this name, ISCSI_KEY_COUNT when unknown. */
enum iscsi_key iscsi_key_find(const char *name);

/* Marks a declared key as seen; DUPLICATE when it was. */
enum iscsi_key_outcome iscsi_keys_mark(struct iscsi_keys *keys, enum iscsi_key key);

/* Negotiates one pair: sets the value and writes our answer, if one is due. */
enum iscsi_key_outcome iscsi_keys_answer(struct iscsi_keys *keys,
                                         const struct iscsi_text_pair *pair,
                                         enum iscsi_key_phase phase, struct buf_writer *answer);

/* Writes "name=value" with its NUL. */
void iscsi_text_put(struct buf_writer *w, const char *name, const char *value);
void iscsi_text_put_number(struct buf_writer *w, const char *name, uint32_t value);

/* Decimal or 0x hexadecimal (RFC 7143 6.1 numerical-value). */
bool iscsi_text_number(const char *text, uint32_t *ret_value);

/* Is `word` an item of the comma-separated list? */
bool iscsi_text_list_has(const char *list, const char *word);

#endif
