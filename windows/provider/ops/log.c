#include "windows/provider/ops/log.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define EVENT_MARK "event: "

/* ---- Reading --------------------------------------------------------------------------------- */

/* The next word; false: there is none. */
static bool next_word(const char **at, const char *end, const char **ret_word, size_t *ret_size)
{
    while (*at < end && **at == ' ')
        (*at)++;
    const char *word = *at;
    while (*at < end && **at != ' ')
        (*at)++;
    *ret_word = word;
    *ret_size = (size_t)(*at - word);
    return *ret_size > 0;
}

static bool copy(char *to, size_t to_size, const char *from, size_t size)
{
    if (size >= to_size) return false;
    for (size_t i = 0; i < size; i++)
        if (!isprint((unsigned char)from[i])) return false;
    memcpy(to, from, size);
    to[size] = '\0';
    return true;
}

/* A key may have no value. */
static bool is_key(const char *word, size_t size, const char *key)
{
    return size >= strlen(key) && memcmp(word, key, strlen(key)) == 0;
}

static bool is_name(const char *word, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!isalnum((unsigned char)word[i])) return false;
    return true;
}

static bool parse_hex32(const char *word, size_t size, uint32_t *ret_number)
{
    uint32_t number = 0;
    if (size != 8) return false;
    for (size_t i = 0; i < size; i++) {
        if (!isxdigit((unsigned char)word[i])) return false;
        int c = tolower((unsigned char)word[i]);
        number = number << 4 | (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    *ret_number = number;
    return true;
}

static bool parse_number(const char *word, size_t size, uint64_t *ret_number)
{
    uint64_t number = 0;
    if (size == 0 || size > 18) return false;
    for (size_t i = 0; i < size; i++) {
        if (word[i] < '0' || word[i] > '9') return false;
        number = number * 10 + (uint64_t)(word[i] - '0');
    }
    *ret_number = number;
    return true;
}

/* A KEY=VALUE; those that are not known are arguments of the call. */
static bool take_pair(struct log_line *line, const char *word, size_t size)
{
    if (is_key(word, size, "state="))
        return copy(line->state, sizeof line->state, word + 6, size - 6);
    if (is_key(word, size, "us=")) return parse_number(word + 3, size - 3, &line->duration_us);
    if (is_key(word, size, "at=")) return copy(line->at, sizeof line->at, word + 3, size - 3);
    size_t used = strlen(line->arguments);
    if (used > 0 && used + 1 < sizeof line->arguments) line->arguments[used++] = ' ';
    return memchr(word, '=', size) &&
           copy(line->arguments + used, sizeof line->arguments - used, word, size);
}

bool log_parse(const char *text, size_t size, struct log_line *ret_line)
{
    struct log_line line = {0};
    const char *at = text, *end = text + size, *word;
    size_t word_size;
    if (size >= sizeof line.text || memchr(text, '\0', size)) return false;
    if (is_key(text, size, EVENT_MARK)) {
        memcpy(line.text, text + strlen(EVENT_MARK), size - strlen(EVENT_MARK));
        *ret_line = line;
        return true;
    }
    line.is_call = true;
    if (!next_word(&at, end, &word, &word_size) || !is_name(word, word_size) ||
        !copy(line.method, sizeof line.method, word, word_size) ||
        !next_word(&at, end, &word, &word_size) || !parse_hex32(word, word_size, &line.result))
        return false;
    while (next_word(&at, end, &word, &word_size))
        if (!take_pair(&line, word, word_size)) return false;
    *ret_line = line;
    return true;
}

/* ---- For people ------------------------------------------------------------------------------ */

static const char *result_name(uint32_t result)
{
    static const struct {
        uint32_t result;
        const char *name;
    } names[] = {
        {0, "ok"},
        {0x80004001, "not implemented"},
        {0x8007000E, "out of memory"},
        {0x80070057, "nonsense was asked"},
        {0x80042301, "bad state"},
        {0x80042306, "VETO"},
        {0x80042308, "no such set"},
        {0x8004230E, "not ours"},
        {0x80042312, "too many volumes"},
        {0x8004231B, "kind not supported"},
        {0x8004231F, "no room"},
    };
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].result == result) return names[i].name;
    return NULL;
}

void log_format(const struct log_line *line, char text[LOG_LINE_SIZE])
{
    char code[24];
    if (!line->is_call) {
        snprintf(text, LOG_LINE_SIZE, "%24s ! %.1200s", line->at, line->text);
        return;
    }
    const char *name = result_name(line->result);
    if (!name) {
        snprintf(code, sizeof code, "error %08lx", (unsigned long)line->result);
        name = code;
    }
    snprintf(text, LOG_LINE_SIZE, "%24s   %-26s %9llu.%llu ms  %-18s %-10s %s", line->at,
             line->method, (unsigned long long)(line->duration_us / 1000),
             (unsigned long long)(line->duration_us % 1000 / 100), name, line->state,
             line->arguments);
    for (size_t end = strlen(text); end > 0 && text[end - 1] == ' '; end--)
        text[end - 1] = '\0';
}

/* ---- The normal form ------------------------------------------------------------------------- */

/* How many characters of an id begin here: hexadecimal digits and dashes, at least 16 of them. */
static size_t id_length(const char *text)
{
    size_t length = 0;
    while (isxdigit((unsigned char)text[length]) || text[length] == '-')
        length++;
    return length >= 16 ? length : 0;
}

static void without_ids(const char *from, char *to, size_t size)
{
    size_t used = 0;
    while (*from && used + 5 < size) {
        size_t id = id_length(from);
        if (id > 0) {
            memcpy(to + used, "<id>", 4);
            used += 4;
            from += id;
        } else {
            to[used++] = *from++;
        }
    }
    to[used] = '\0';
}

bool log_normalise(const struct log_line *line, char text[LOG_LINE_SIZE])
{
    /* As often as Windows likes: for every requester, every disk, every start. */
    static const char *const any_number[] = {"AreLunsSupported", "FillInLunInfo", "OnLoad",
                                             "OnUnload"};
    /* Their LUNs are of any set; the state is that of the last one this process made, if any. */
    static const char *const of_no_set[] = {"LocateLuns", "OnLunEmpty", "OnLunStateChange"};
    char event[LOG_LINE_SIZE];
    if (!line->is_call) {
        without_ids(line->text, event, sizeof event);
        snprintf(text, LOG_LINE_SIZE, EVENT_MARK "%.1200s", event);
        return true;
    }
    for (unsigned i = 0; i < sizeof any_number / sizeof *any_number; i++)
        if (strcmp(line->method, any_number[i]) == 0) return false;
    bool has_state = true;
    for (unsigned i = 0; i < sizeof of_no_set / sizeof *of_no_set; i++)
        if (strcmp(line->method, of_no_set[i]) == 0) has_state = false;
    has_state = has_state && line->state[0];
    snprintf(text, LOG_LINE_SIZE, "%s %08lx%s%s%s%s", line->method, (unsigned long)line->result,
             has_state ? " state=" : "", has_state ? line->state : "",
             line->arguments[0] ? " " : "", line->arguments);
    return true;
}

/* ---- Files ----------------------------------------------------------------------------------- */

/* The next line that can be read; the others are passed over. */
static bool read_line(FILE *from, struct log_line *ret_line)
{
    char text[LOG_LINE_SIZE];
    while (fgets(text, sizeof text, from))
        if (log_parse(text, strcspn(text, "\r\n"), ret_line)) return true;
    return false;
}

void log_print(FILE *from, bool is_normal, FILE *to)
{
    struct log_line line;
    char text[LOG_LINE_SIZE];
    while (read_line(from, &line)) {
        if (is_normal && !log_normalise(&line, text)) continue;
        if (!is_normal) log_format(&line, text);
        fprintf(to, "%s\n", text);
    }
}

struct lines {
    char *text[LOG_LINES_MAX];
    unsigned count;
};

static bool read_lines(FILE *from, struct lines *lines)
{
    struct log_line line;
    char text[LOG_LINE_SIZE];
    while (read_line(from, &line)) {
        if (!log_normalise(&line, text)) continue;
        if (lines->count == LOG_LINES_MAX) return false;
        size_t size = strlen(text) + 1;
        char *kept = malloc(size);
        if (!kept) return false;
        memcpy(kept, text, size);
        lines->text[lines->count++] = kept;
    }
    return true;
}

/* The longest common subsequence: length[i][j] is that of the ends from i and from j. */
static int write_difference(const struct lines *a, const struct lines *b, FILE *to)
{
    size_t width = b->count + 1;
    uint16_t *length = calloc((a->count + 1) * width, sizeof *length);
    int status = 0;
    if (!length) return 2;
    for (unsigned i = a->count; i-- > 0;)
        for (unsigned j = b->count; j-- > 0;) {
            uint16_t down = length[(i + 1) * width + j], right = length[i * width + j + 1];
            length[i * width + j] = strcmp(a->text[i], b->text[j]) == 0
                                        ? (uint16_t)(length[(i + 1) * width + j + 1] + 1)
                                    : down > right ? down
                                                   : right;
        }
    for (unsigned i = 0, j = 0; i < a->count || j < b->count;) {
        if (i < a->count && j < b->count && strcmp(a->text[i], b->text[j]) == 0) {
            i++, j++;
        } else if (i < a->count &&
                   (j == b->count || length[(i + 1) * width + j] >= length[i * width + j + 1])) {
            fprintf(to, "- %s\n", a->text[i++]);
            status = 1;
        } else {
            fprintf(to, "+ %s\n", b->text[j++]);
            status = 1;
        }
    }
    free(length);
    return status;
}

int log_compare(FILE *expected, FILE *const *actual, unsigned actual_count, FILE *to)
{
    struct lines *a = calloc(1, sizeof *a), *b = calloc(1, sizeof *b);
    bool ok = a && b && read_lines(expected, a);
    for (unsigned i = 0; ok && i < actual_count; i++)
        if (actual[i]) ok = read_lines(actual[i], b);
    int status = ok ? write_difference(a, b, to) : 2;
    for (unsigned i = 0; a && i < a->count; i++)
        free(a->text[i]);
    for (unsigned i = 0; b && i < b->count; i++)
        free(b->text[i]);
    free(a);
    free(b);
    return status;
}
