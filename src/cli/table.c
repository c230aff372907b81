/*
 * table.c - aligned columns for eyes.
 */
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "base/check.h"
#include "cli/cli_int.h"

enum { COLUMNS_MAX = 16, COLUMN_GAP = 2 };

struct cli_table {
    unsigned columns;
    size_t count, capacity;
    char **cells;
    bool right[COLUMNS_MAX], drop_if_empty[COLUMNS_MAX];
};

struct cli_table *cli_table_create(unsigned columns)
{
    check(columns > 0 && columns <= COLUMNS_MAX);
    struct cli_table *table = calloc(1, sizeof *table);
    if (table) table->columns = columns;
    return table;
}

void cli_table_destroy(struct cli_table *table)
{
    if (!table) return;
    for (size_t i = 0; i < table->count; i++)
        free(table->cells[i]);
    free(table->cells);
    free(table);
}

/* A terminal must not be steered by what a name or a path contains. */
static void make_printable(char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < ' ' || *text == 0x7f) *text = '?';
    }
}

void cli_table_add(struct cli_table *table, const char *text)
{
    if (!table) return;
    if (table->count == table->capacity) {
        size_t capacity = max_of(table->capacity * 2, (size_t)64);
        char **larger = realloc(table->cells, capacity * sizeof *larger);
        if (!larger) return;
        table->cells = larger;
        table->capacity = capacity;
    }
    char *copy = strdup(text && text[0] ? text : "-");
    if (!copy) return;
    make_printable(copy);
    table->cells[table->count++] = copy;
}

void cli_table_set_right(struct cli_table *table, unsigned column)
{
    if (table) table->right[column] = true;
}

void cli_table_drop_if_empty(struct cli_table *table, unsigned column)
{
    if (table) table->drop_if_empty[column] = true;
}

/* Columns on a terminal; bytes when the locale cannot tell. */
static size_t width_of(const char *text)
{
    wchar_t wide[CLI_CELL_MAX];
    size_t count = mbstowcs(wide, text, countof(wide));
    if (count == (size_t)-1 || count == countof(wide)) return strlen(text);
    int width = wcswidth(wide, count);
    return width < 0 ? strlen(text) : (size_t)width;
}

static bool is_dropped(const struct cli_table *table, unsigned column)
{
    if (!table->drop_if_empty[column]) return false;
    for (size_t i = column + table->columns; i < table->count; i += table->columns) {
        if (strcmp(table->cells[i], "-") != 0) return false;
    }
    return true;
}

static void put_spaces(FILE *out, size_t count)
{
    while (count-- > 0)
        fputc(' ', out);
}

void cli_table_print(const struct cli_table *table, FILE *out, const char *indent)
{
    size_t width[COLUMNS_MAX] = {0};
    bool dropped[COLUMNS_MAX];
    if (!table) return;
    unsigned last = 0;
    for (unsigned c = 0; c < table->columns; c++) {
        dropped[c] = is_dropped(table, c);
        if (!dropped[c]) last = c;
        for (size_t i = c; i < table->count; i += table->columns) {
            width[c] = max_of(width[c], width_of(table->cells[i]));
        }
    }
    for (size_t row = 0; row + table->columns <= table->count; row += table->columns) {
        fputs(indent, out);
        for (unsigned c = 0; c < table->columns; c++) {
            if (dropped[c]) continue;
            const char *cell = table->cells[row + c];
            size_t pad = width[c] - width_of(cell);
            if (table->right[c]) put_spaces(out, pad);
            fputs(cell, out);
            if (c == last) break;
            if (!table->right[c]) put_spaces(out, pad);
            put_spaces(out, COLUMN_GAP);
        }
        fputc('\n', out);
    }
}
