/*
 * decode.h - the bytes of a script as UTF-8 that ends with NUL, whatever they were.
 * Ownership: the text is the caller's (free).
 */
#ifndef TARN_DSH_DECODE_H
#define TARN_DSH_DECODE_H

#include "base/err.h"

struct err *dsh_decode(const void *bytes, size_t size_bytes, char **ret_text) MUST_CHECK;

#endif
