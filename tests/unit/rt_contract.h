/*
 * rt_contract.h - the frame of the contract test: every case runs on each runtime.
 *
 * A case starts operations inside STARTING(...), whose callbacks begin with came(): so each of them
 * also proves that no callback runs from inside the call that started it.
 */
#ifndef TARN_TESTS_RT_CONTRACT_H
#define TARN_TESTS_RT_CONTRACT_H

#include "base/limits.h"
#include "rt/rt.h"
#include "tests/lib/tap.h"

extern struct rt *rt;
extern bool starting;

#define STARTING(call)                                                                             \
    do {                                                                                           \
        starting = true;                                                                           \
        call;                                                                                      \
        starting = false;                                                                          \
    } while (0)

/* Every callback on the loop begins with it. */
#define came()                                                                                     \
    do {                                                                                           \
        expect(!starting);                                                                         \
        expect(rt_on_loop(rt));                                                                    \
    } while (0)

/* A path in the namespace of this runtime; valid until the next but three. */
const char *path_of(const char *name);
/* Frees e. */
#define expect_status(e, status) expect(err_status_free(e, status))
bool err_status_free(struct err *e, enum status status);

struct contract_case {
    const char *name;
    void (*body)(void);
};
#define CASE(name)                                                                                 \
    {                                                                                              \
#name, name                                                                                \
    }

extern const struct contract_case loop_cases[], file_cases[], sock_cases[];
extern const unsigned loop_case_count, file_case_count, sock_case_count;
/* Whether a case of these files has failed since the last call. */
bool loop_cases_failed(void), file_cases_failed(void), sock_cases_failed(void);

#endif
