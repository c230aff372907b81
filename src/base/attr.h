/*
 * attr.h - attributes and role words used on public prototypes.
 *
 * ON_LOOP     call only on the loop thread of the rt that owns the object
 * ON_WORKER   call only on a serial worker (may block)
 * ANY_THREAD  call from anywhere
 * The role words document the contract where it is read; rt_on_loop() checks it at run time.
 */
#ifndef TARN_BASE_ATTR_H
#define TARN_BASE_ATTR_H

#include <stddef.h>
#include <stdlib.h>

#define ON_LOOP
#define ON_WORKER
#define ANY_THREAD

#define MUST_CHECK __attribute__((warn_unused_result))
#define NONNULL __attribute__((nonnull))
#define TARN_PRINTF(format_index, first_argument)                                                  \
    __attribute__((format(printf, format_index, first_argument)))

#define countof(array) (sizeof(array) / sizeof((array)[0]))

/* The object that embeds `member`; through void * so that -Wcast-align has nothing to say. */
#define container_of(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(void *)(pointer) - offsetof(type, member)))

/* Moves ownership out of a variable: returns its value and leaves NULL behind. */
#define take_ptr(pointer_address)                                                                  \
    ({                                                                                             \
        typeof(*(pointer_address)) taken_ = *(pointer_address);                                    \
        *(pointer_address) = NULL;                                                                 \
        taken_;                                                                                    \
    })

static inline void auto_free_cleanup_(void *pointer_address)
{
    free(*(void **)pointer_address);
}
/* auto_free char *text = ...;  frees at the end of the scope (control path and tools only). */
#define auto_free __attribute__((cleanup(auto_free_cleanup_)))

#define min_of(a, b)                                                                               \
    ({                                                                                             \
        typeof(a) min_a_ = (a);                                                                    \
        typeof(b) min_b_ = (b);                                                                    \
        min_a_ < min_b_ ? min_a_ : min_b_;                                                         \
    })
#define max_of(a, b)                                                                               \
    ({                                                                                             \
        typeof(a) max_a_ = (a);                                                                    \
        typeof(b) max_b_ = (b);                                                                    \
        max_a_ > max_b_ ? max_a_ : max_b_;                                                         \
    })

#endif
