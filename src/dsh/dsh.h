/*
 * dsh.h - the language of DiskShadow scripts: from the bytes of a file to a list of commands.
 *
 *     struct dsh_script *script;
 *     struct err *e = dsh_parse(bytes, size_bytes, &script);
 *
 * A script is lines; a line is a command, a comment (#) or empty.  Keywords are in either case; a
 * word in "quotes" may hold blanks; %NAME% stands for an alias, a parameter of the script or a
 * variable of the environment and is replaced when the command is run (dsh/run.h), never split into
 * words.  Files are UTF-8 or ASCII, or UTF-16 with a byte order mark, with LF or CRLF.
 *
 * The parser knows the whole language and judges form only; what a program can do of it, and in
 * which order, is judged by dsh/run.h.  Portable: runs on Windows too. Threads: a script is
 * read-only after parsing.  Ownership: the script owns all its texts. Failures: the first bad line,
 * by number, and how it should be. Limits: DSH_SCRIPT_MAX_BYTES, DSH_COMMANDS_MAX, DSH_WORDS_MAX.
 */
#ifndef TARN_DSH_DSH_H
#define TARN_DSH_DSH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum {
    DSH_SCRIPT_MAX_BYTES = 1024 * 1024,
    DSH_COMMANDS_MAX = 4096,
    DSH_WORDS_MAX = 12, /* of one line */
};

enum dsh_kind {
#define COMMAND(name, words, form, usage) DSH_##name,
#include "dsh/commands.def"
    DSH_KIND_COUNT,
};

enum dsh_flag {
    DSH_NOWRITERS = 1 << 0,    /* set context */
    DSH_DIFFERENTIAL = 1 << 1, /* set option, these seven */
    DSH_PLEX = 1 << 2,
    DSH_TRANSPORTABLE = 1 << 3,
    DSH_ROLLBACK_RECOVER = 1 << 4,
    DSH_TXF_RECOVER = 1 << 5,
    DSH_NO_AUTORECOVER = 1 << 6,
    DSH_WRITABLE = 1 << 7,        /* break */
    DSH_NO_VOLUME_CHECK = 1 << 8, /* resync */
    DSH_ORIGINAL_SIGNATURE = 1 << 9,
};

/* Arguments that a command does not have are NULL; they still hold their %NAMES%. */
struct dsh_command {
    enum dsh_kind kind;
    unsigned line;        /* from 1 */
    unsigned flags;       /* enum dsh_flag */
    const char *subject;  /* the volume, id, file, name or alias that the command is about */
    const char *object;   /* add volume: alias; add alias: value; add shadow, expose: target */
    const char *provider; /* add volume */
};

struct dsh_script;

struct err *dsh_parse(const void *bytes, size_t size_bytes,
                      struct dsh_script **ret_script) MUST_CHECK;
void dsh_script_destroy(struct dsh_script *script); /* accepts NULL */
size_t dsh_script_count(const struct dsh_script *script);
const struct dsh_command *dsh_script_at(const struct dsh_script *script, size_t index);

const char *dsh_kind_words(enum dsh_kind kind); /* "delete shadows set" */
const char *dsh_kind_usage(enum dsh_kind kind); /* "delete shadows set SET" */
/* Its subject is the id of a shadow copy or of a set. */
bool dsh_kind_wants_id(enum dsh_kind kind);
/* ASCII letters in either case are the same. */
bool dsh_same_word(const char *a, const char *b);

#endif
