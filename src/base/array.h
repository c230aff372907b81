/*
 * array.h - an array of the control path that grows by one.
 *
 *     array_push(set->members, set->member_count, member);
 *
 * The array is malloc's, NULL while its count is 0, and the owner's to free.  Without memory the
 * program ends, so nothing of the data path grows by this.
 */
#ifndef TARN_BASE_ARRAY_H
#define TARN_BASE_ARRAY_H

#include <stdlib.h>

#include "base/check.h"

/* The value is last, so that commas of a compound literal are no matter. */
#define array_push(array, count, ...)                                                              \
    do {                                                                                           \
        (array) = realloc((array), ((count) + 1) * sizeof *(array));                               \
        check((array) != NULL);                                                                    \
        (array)[(count)++] = (__VA_ARGS__);                                                        \
    } while (0)

#endif
