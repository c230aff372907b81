/*
 * dsh_parse_test.c - the language of DiskShadow scripts: what is read, and what is refused how.
 */
#include "dsh/dsh.h"
#include "tests/lib/tap.h"

static struct dsh_script *script;
static char refusal[1024], advice[1024];

static bool parses_bytes(const void *bytes, size_t size)
{
    dsh_script_destroy(script);
    script = NULL;
    refusal[0] = advice[0] = '\0';
    struct err *e = dsh_parse(bytes, size, &script);
    if (!e) return true;
    err_text(e, refusal, sizeof refusal);
    if (err_next_text(e)) snprintf(advice, sizeof advice, "%s", err_next_text(e));
    err_free(e);
    return false;
}

static bool parses(const char *text)
{
    return parses_bytes(text, strlen(text));
}

static const struct dsh_command *at(size_t index)
{
    return dsh_script_at(script, index);
}

static bool refused(const char *text, const char *part)
{
    if (parses(text)) return false;
    if (strstr(refusal, part) || strstr(advice, part)) return true;
    printf("# \"%s\": %s; %s\n", text, refusal, advice);
    return false;
}

#define ID "{8f3a1c52-0d7e-4b1b-9d4e-6a5c0f7b2e11}"

static void every_command_as_it_is_documented_is_read(void)
{
    static const char *const usage[] = {
        "set context clientaccessible",
        "set context persistent nowriters",
        "set context volatile",
        "set option differential transportable rollbackrecover txfrecover",
        "set option plex noautorecover",
        "set verbose on",
        "set verbose off",
        "set metadata c:\\a.cab",
        "set",
        "load metadata a.cab",
        "writer verify \"System Writer\"",
        "writer exclude \"a:\\b\\c\"",
        "add volume c:",
        "add volume c: alias x provider " ID,
        "add alias x " ID,
        "add shadow " ID,
        "add shadow " ID " d:",
        "add",
        "create",
        "exec a.cmd",
        "begin backup",
        "end backup",
        "begin restore",
        "end restore",
        "simulate restore",
        "import",
        "expose " ID " x:",
        "unexpose x:",
        "break " ID,
        "break writable " ID,
        "mask " ID,
        "revert " ID,
        "resync",
        "resync novolcheck revert_originalsig",
        "delete shadows all",
        "delete shadows volume c:",
        "delete shadows oldest c:",
        "delete shadows set " ID,
        "delete shadows id " ID,
        "delete shadows exposed x:",
        "list writers",
        "list writers metadata",
        "list writers detailed",
        "list writers status",
        "list shadows all",
        "list shadows set " ID,
        "list shadows id " ID,
        "list providers",
        "reset",
        "help",
        "exit"};
    bool seen[DSH_KIND_COUNT] = {false};
    for (size_t i = 0; i < countof(usage); i++) {
        if (!parses(usage[i])) printf("# %s: %s\n", usage[i], refusal);
        require(script && dsh_script_count(script) == 1);
        seen[at(0)->kind] = true;
    }
    for (unsigned kind = 0; kind < DSH_KIND_COUNT; kind++) {
        if (!seen[kind]) printf("# not tried: %s\n", dsh_kind_words((enum dsh_kind)kind));
        expect(seen[kind]);
    }
}

static void keywords_are_in_either_case_and_arguments_stay_as_written(void)
{
    require(parses("SET Context PERSISTENT NoWriters\nADD VOLUME D:\\Data ALIAS MyData\n"));
    expect_eq(at(0)->kind, DSH_SET_CONTEXT_PERSISTENT);
    expect_eq(at(0)->flags, DSH_NOWRITERS);
    expect_str(at(1)->subject, "D:\\Data");
    expect_str(at(1)->object, "MyData");
    expect(!at(1)->provider);
}

static void comments_and_empty_lines_count_as_lines(void)
{
    require(parses("# one\r\n\r\n  # three\r\ncreate\r\n"));
    expect_eq(dsh_script_count(script), 1);
    expect_eq(at(0)->line, 4);
}

static void words_in_quotes_hold_blanks_and_names_stay_for_the_run(void)
{
    require(parses("exec \"c:\\my scripts\\%x% y.cmd\"\nset metadata c:\\\"a b\".cab"));
    expect_str(at(0)->subject, "c:\\my scripts\\%x% y.cmd");
    expect_str(at(1)->subject, "c:\\a b.cab");
}

static void scripts_come_in_utf8_and_utf16_with_marks(void)
{
    static const unsigned char utf16[] = {0xFF, 0xFE, 'e',  0, 'x',  0, 'e',  0,
                                          'c',  0,    ' ',  0, 0xE4, 0, 0x3D, 0xD8,
                                          0x00, 0xDE, '\r', 0, '\n', 0},
                               big[] = {0xFE, 0xFF, 0, 'a', 0, 'd', 0, 'd'},
                               half[] = {0xFF, 0xFE, 'a', 0, 'd'},
                               lone[] = {0xFF, 0xFE, 0x00, 0xD8, 'd', 0};
    require(parses("\xEF\xBB\xBF"
                   "create"));
    expect_eq(at(0)->kind, DSH_CREATE);
    require(parses_bytes(utf16, sizeof utf16));
    expect_str(at(0)->subject, "\xC3\xA4\xF0\x9F\x98\x80");
    require(parses_bytes(big, sizeof big));
    expect_eq(at(0)->kind, DSH_ADD);
    expect(!parses_bytes(half, sizeof half) && strstr(refusal, "UTF-16"));
    expect(!parses_bytes(lone, sizeof lone) && strstr(refusal, "UTF-16"));
    expect(!parses_bytes("add\0", 4) && strstr(refusal, "not text"));
}

static void what_is_wrong_is_said_with_its_line_and_how_it_should_be(void)
{
    expect(refused("create\nfoo bar", "line 2: \"foo\" is not a command"));
    expect(refused("add volum c:", "add volume"));
    expect(refused("list shadows", "list shadows all"));
    expect(refused("list writers all", "list writers status"));
    expect(refused("add volume", "no volume"));
    expect(refused("add volume c: alias", "a value is missing"));
    expect(refused("add volume c: name x", "\"name\" is not known here"));
    expect(refused("add volume c: alias x alias y", "the same option twice"));
    expect(refused("add volume c: alias a%b", "not a name for an alias"));
    expect(refused("add volume c: provider x", "not a GUID"));
    expect(refused("set option", "no option"));
    expect(refused("set option plex differential", "exclude each other"));
    expect(refused("set option txfrecover noautorecover", "exclude each other"));
    expect(refused("set context transportable", "transportable is an option"));
    expect(refused("exec a.cmd now", "too many words"));
    expect(refused("exec \"a.cmd", "a quote is not closed"));
    expect(refused("exec \"\"", "an argument is empty"));
    expect(refused("mask x", "\"x\" is not a GUID"));
    expect(refused("break readonly " ID, "\"readonly\" is not known here"));
    expect(refused("create a b c d e f g h i j k l m", "more than 12 words"));
}

static void scripts_have_limits(void)
{
    static char big[DSH_SCRIPT_MAX_BYTES + 1];
    memset(big, '\n', sizeof big);
    expect(!parses_bytes(big, sizeof big) && strstr(refusal, "more than 1048576 bytes"));
    expect(parses_bytes(big, sizeof big - 1) && dsh_script_count(script) == 0);
    for (size_t i = 0; i < (DSH_COMMANDS_MAX + 1) * 4; i += 4)
        memcpy(big + i, "add\n", 4);
    expect(!parses_bytes(big, sizeof big - 1) && strstr(refusal, "more than 4096 commands"));
}

int main(void)
{
    run(every_command_as_it_is_documented_is_read);
    run(keywords_are_in_either_case_and_arguments_stay_as_written);
    run(comments_and_empty_lines_count_as_lines);
    run(words_in_quotes_hold_blanks_and_names_stay_for_the_run);
    run(scripts_come_in_utf8_and_utf16_with_marks);
    run(what_is_wrong_is_said_with_its_line_and_how_it_should_be);
    run(scripts_have_limits);
    dsh_script_destroy(script);
    return tap_done();
}
