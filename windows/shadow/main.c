/* tarn-shadow: shadow copies by script, or by one command that becomes a script. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "windows/shadow/shadow.h"

static const char usage[] =
    "tarn-shadow " TARN_VERSION " - shadow copies of volumes, by whatever provider VSS chooses\n"
    "\n"
    "  tarn-shadow -s SCRIPT [PARAMETER...] [-l LOG]     runs a DiskShadow script\n"
    "  tarn-shadow create [--volatile] [--nowriters] [--transportable] [--plex | --differential]\n"
    "                     [--metadata FILE.cab] VOLUME[=ALIAS]...\n"
    "  tarn-shadow list [shadows | providers | writers]\n"
    "  tarn-shadow import FILE.cab\n"
    "  tarn-shadow expose SHADOW {X: | SHARE | MOUNT POINT}\n"
    "  tarn-shadow unexpose {SHADOW | X: | SHARE | MOUNT POINT}\n"
    "  tarn-shadow mask SET\n"
    "  tarn-shadow break [--writable] SET\n"
    "  tarn-shadow resync [--novolcheck] [--originalsig] FILE.cab SHADOW[=VOLUME]...\n"
    "  tarn-shadow delete {--all | --set SET | --id SHADOW | --volume VOLUME | --oldest VOLUME |\n"
    "                      --exposed X:}\n"
    "\n"
    "SHADOW may be an alias of FILE.cab, as %data%.  Every command has the form and the checks of\n"
    "its script: tarn-shadow create D: is set context persistent, add volume D:, create.\n";

/* ---- One command as a script ----------------------------------------------------------------- */

struct script {
    char text[16384];
    bool is_bad; /* does not fit, or cannot be written in a script */
};

TARN_PRINTF(2, 3)
static void add(struct script *script, const char *format, ...)
{
    size_t used = strlen(script->text), room = sizeof script->text - used;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(script->text + used, room, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= room) script->is_bad = true;
}

static void add_word(struct script *script, const char *word)
{
    if (strpbrk(word, "\"\r\n")) script->is_bad = true;
    add(script, " \"%s\"", word);
}

/* Takes the option out of the words; true if it was there. */
static bool take_flag(char **words, int *count, const char *name)
{
    for (int i = 0; i < *count; i++) {
        if (strcmp(words[i], name) != 0) continue;
        memmove(words + i, words + i + 1, (size_t)(*count - i - 1) * sizeof *words);
        --*count;
        return true;
    }
    return false;
}

static const char *take_value(char **words, int *count, const char *name)
{
    for (int i = 0; i + 1 < *count; i++) {
        if (strcmp(words[i], name) != 0) continue;
        const char *value = words[i + 1];
        memmove(words + i, words + i + 2, (size_t)(*count - i - 2) * sizeof *words);
        *count -= 2;
        return value;
    }
    return NULL;
}

/* A=B: one word, or two. */
static void add_pair(struct script *script, const char *command, const char *between, char *pair)
{
    char *second = strchr(pair, '=');
    if (second) *second++ = '\0';
    add(script, "%s", command);
    add_word(script, pair);
    if (second) {
        add(script, "%s", between);
        add_word(script, second);
    }
    add(script, "\n");
}

static bool create(char **words, int count, struct script *script)
{
    bool is_volatile = take_flag(words, &count, "--volatile");
    bool nowriters = take_flag(words, &count, "--nowriters");
    bool transportable = take_flag(words, &count, "--transportable");
    bool plex = take_flag(words, &count, "--plex");
    bool differential = take_flag(words, &count, "--differential");
    const char *metadata = take_value(words, &count, "--metadata");
    add(script, "set context %s%s\n", is_volatile ? "volatile" : "persistent",
        nowriters ? " nowriters" : "");
    if (transportable || plex || differential)
        add(script, "set option%s%s%s\n", differential ? " differential" : "", plex ? " plex" : "",
            transportable ? " transportable" : "");
    if (metadata) {
        add(script, "set metadata");
        add_word(script, metadata);
        add(script, "\n");
    }
    for (int i = 0; i < count; i++)
        add_pair(script, "add volume", " alias", words[i]);
    add(script, "create\n");
    return count > 0;
}

static bool list(char **words, int count, struct script *script)
{
    const char *what = count > 0 ? words[0] : "shadows";
    add(script, "list %s%s\n", what, strcmp(what, "shadows") == 0 ? " all" : "");
    return count <= 1;
}

static bool import(char **words, int count, struct script *script)
{
    if (count != 1) return false;
    add(script, "load metadata");
    add_word(script, words[0]);
    add(script, "\nimport\nlist shadows all\n");
    return true;
}

static bool plain(const char *command, char **words, int count, int wanted, struct script *script)
{
    add(script, "%s", command);
    for (int i = 0; i < count; i++)
        add_word(script, words[i]);
    add(script, "\n");
    return count == wanted;
}

static bool expose(char **words, int count, struct script *script)
{
    return plain("expose", words, count, 2, script);
}

static bool unexpose(char **words, int count, struct script *script)
{
    return plain("unexpose", words, count, 1, script);
}

static bool mask(char **words, int count, struct script *script)
{
    return plain("mask", words, count, 1, script);
}

static bool break_set(char **words, int count, struct script *script)
{
    bool writable = take_flag(words, &count, "--writable");
    return plain(writable ? "break writable" : "break", words, count, 1, script);
}

static bool resync(char **words, int count, struct script *script)
{
    bool no_check = take_flag(words, &count, "--novolcheck");
    bool signature = take_flag(words, &count, "--originalsig");
    if (count < 2) return false;
    add(script, "load metadata");
    add_word(script, words[0]);
    add(script, "\n");
    for (int i = 1; i < count; i++)
        add_pair(script, "add shadow", "", words[i]);
    add(script, "resync%s%s\n", no_check ? " novolcheck" : "",
        signature ? " revert_originalsig" : "");
    return true;
}

static bool delete (char **words, int count, struct script *script)
{
    static const char *const kinds[] = {"set", "id", "volume", "oldest", "exposed"};
    if (take_flag(words, &count, "--all")) {
        add(script, "delete shadows all\n");
        return count == 0;
    }
    for (size_t i = 0; i < ARRAYSIZE(kinds); i++) {
        char option[16];
        snprintf(option, sizeof option, "--%s", kinds[i]);
        const char *value = take_value(words, &count, option);
        if (!value) continue;
        add(script, "delete shadows %s", kinds[i]);
        add_word(script, value);
        add(script, "\n");
        return count == 0;
    }
    return false;
}

static const struct {
    const char *name;
    bool (*write)(char **words, int count, struct script *script);
} commands[] = {
    {"create", create},   {"list", list},         {"import", import},
    {"expose", expose},   {"unexpose", unexpose}, {"mask", mask},
    {"break", break_set}, {"resync", resync},     {"delete", delete},
};

/* ---- Running --------------------------------------------------------------------------------- */

static int told(struct shadow_session *s, struct err *e)
{
    char text[4096];
    if (!e) return 0;
    shadow_say(s, "%s", err_text(e, text, sizeof text));
    if (err_next_text(e)) shadow_say(s, "What to do: %s", err_next_text(e));
    err_free(e);
    return 1;
}

static struct err *run(struct shadow_session *s, const char *bytes, size_t size, char **parameters,
                       int count)
{
    struct dsh_script *script;
    struct dsh_ops ops = shadow_ops();
    TRY(dsh_parse(bytes, size, &script));
    struct err *e = dsh_run(script, &ops, s, (const char *const *)parameters, (unsigned)count);
    dsh_script_destroy(script);
    return e;
}

static struct err *run_file(struct shadow_session *s, char **words, int count)
{
    WCHAR *path = shadow_wide(words[0]);
    FILE *file = path ? _wfopen(path, L"rb") : NULL;
    char *bytes = malloc(DSH_SCRIPT_MAX_BYTES + 1);
    size_t size = file && bytes ? fread(bytes, 1, DSH_SCRIPT_MAX_BYTES + 1, file) : 0;
    struct err *e;
    if (!file || (bytes && ferror(file)))
        e = err_next(err_new(STATUS_NOT_FOUND, "script %s cannot be read", words[0]),
                     "write the whole path of the script");
    else if (!bytes)
        e = err_new(STATUS_NO_MEMORY, "read script %s", words[0]);
    else
        e = run(s, bytes, size, words + 1, count - 1);
    if (file) fclose(file);
    free(bytes);
    free(path);
    return e;
}

static void banner(struct shadow_session *s)
{
    WCHAR computer[MAX_COMPUTERNAME_LENGTH + 1] = L"";
    DWORD length = ARRAYSIZE(computer);
    SYSTEMTIME now;
    GetComputerNameW(computer, &length);
    GetLocalTime(&now);
    char *utf8 = shadow_utf8(computer);
    shadow_say(s, "tarn-shadow " TARN_VERSION);
    shadow_say(s, "On computer:  %s,  %04u-%02u-%02u %02u:%02u:%02u\n", utf8 ? utf8 : "", now.wYear,
               now.wMonth, now.wDay, now.wHour, now.wMinute, now.wSecond);
    free(utf8);
}

static bool is_option(const char *word, char letter)
{
    return (word[0] == '-' || word[0] == '/') && (word[1] | 0x20) == letter && !word[2];
}

static int run_script(struct shadow_session *s, char **words, int count)
{
    for (int i = 0; i + 1 < count; i++) {
        if (!is_option(words[i], 'l')) continue;
        WCHAR *path = shadow_wide(words[i + 1]);
        s->log = path ? _wfopen(path, L"ab") : NULL;
        free(path);
        if (!s->log)
            return told(s, err_new(STATUS_OS_ERROR, "log %s cannot be written", words[i + 1]));
        memmove(words + i, words + i + 2, (size_t)(count - i - 2) * sizeof *words);
        count -= 2;
        break;
    }
    banner(s);
    return told(s, run_file(s, words, count));
}

static int run_command(struct shadow_session *s, char **words, int count)
{
    static struct script script;
    for (size_t i = 0; i < ARRAYSIZE(commands); i++) {
        if (strcmp(words[0], commands[i].name) != 0) continue;
        if (!commands[i].write(words + 1, count - 1, &script)) break;
        if (script.is_bad)
            return told(s, err_new(STATUS_BAD_REQUEST, "an argument is too long, or has a quote"));
        s->is_quiet = true;
        return told(s, run(s, script.text, strlen(script.text), NULL, 0));
    }
    fputs(usage, stderr);
    return 2;
}

/* As UTF-8, with one place more; NULL: no memory. */
static char **words_of(int argc, WCHAR **argv)
{
    char **words = calloc((size_t)argc + 1, sizeof *words);
    for (int i = 1; words && i < argc; i++)
        if (!(words[i - 1] = shadow_utf8(argv[i]))) return NULL;
    return words;
}

static struct err *start_com(void)
{
    HRESULT result = CoInitializeEx(NULL, COINIT_MULTITHREADED);
    /* VSS calls back as LocalSystem and has to be let in; only its identity is needed. */
    if (SUCCEEDED(result))
        result = CoInitializeSecurity(NULL, -1, NULL, NULL, RPC_C_AUTHN_LEVEL_PKT_PRIVACY,
                                      RPC_C_IMP_LEVEL_IDENTIFY, NULL, EOAC_DYNAMIC_CLOAKING, NULL);
    if (SUCCEEDED(result)) return NULL;
    return err_next(
        err_new(STATUS_OS_ERROR, "COM does not start here (0x%08lx)", (unsigned long)result),
        "see that the services RpcSs and DcomLaunch run");
}

int wmain(int argc, WCHAR **argv);
int wmain(int argc, WCHAR **argv)
{
    static struct shadow_session session;
    int status = 2;
    shadow_tell_crashes();
    char **words = words_of(argc, argv);
    if (!words) return told(&session, err_new(STATUS_NO_MEMORY, "read the command line"));
    if (argc < 2 || strcmp(words[0], "--help") == 0) {
        fputs(usage, argc < 2 ? stderr : stdout);
        return argc < 2 ? 2 : 0;
    }
    struct err *e = start_com();
    if (!e) e = shadow_open(&session);
    if (e)
        status = told(&session, e);
    else if (is_option(words[0], 's') && argc > 2)
        status = run_script(&session, words + 1, argc - 2);
    else
        status = run_command(&session, words, argc - 1);
    shadow_close(&session);
    CoUninitialize();
    return status;
}
