/*
 * man_page.h - the sources of man pages ($TARN_MAN/NAME.scd), for tests that hold them against tables.
 *
 *     char *page = man_page("tarn-set.1");
 *     expect(man_page_has(page, "*tarn set %s*", verb));
 */
#ifndef TARN_TESTS_LIB_MAN_PAGE_H
#define TARN_TESTS_LIB_MAN_PAGE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAN_PAGE_MAX = 256 * 1024 };

/* The caller frees it; NULL: there is none. */
static inline char *man_page(const char *name)
{
    const char *directory = getenv("TARN_MAN");
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.scd", directory ? directory : ".", name);
    FILE *file = fopen(path, "r");
    char *page = file ? calloc(1, MAN_PAGE_MAX) : NULL;
    if (page && fread(page, 1, MAN_PAGE_MAX - 1, file) == 0) page[0] = '\0';
    if (file) fclose(file);
    if (!page) printf("# no %s\n", path);
    return page;
}

__attribute__((format(printf, 2, 3))) static inline bool man_page_has(const char *page,
                                                                      const char *wanted, ...)
{
    char text[256];
    va_list args;
    va_start(args, wanted);
    vsnprintf(text, sizeof text, wanted, args);
    va_end(args);
    bool has = page && strstr(page, text);
    if (!has) printf("# %.*s does not name %s\n", page ? (int)strcspn(page, "\n") : 0, page, text);
    return has;
}

#endif
