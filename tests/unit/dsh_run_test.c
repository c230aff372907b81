/*
 * dsh_run_test.c - running DiskShadow scripts: what reaches the program, in which order, and what
 * is refused before or on the way.
 */
#include "tests/lib/fake_dsh.h"
#include "tests/lib/tap.h"

static struct dsh_fake fake;
static struct dsh_ops ops;
static const char *fails;
static char refusal[1024], advice[1024];

static bool runs_with(const char *text, const char *const *parameters, unsigned count)
{
    struct dsh_script *script;
    memset(&fake, 0, sizeof fake);
    fake.fails = fails;
    refusal[0] = advice[0] = '\0';
    struct err *e = dsh_parse(text, strlen(text), &script);
    if (!e) {
        e = dsh_run(script, &ops, &fake, parameters, count);
        dsh_script_destroy(script);
    }
    if (!e) return true;
    err_text(e, refusal, sizeof refusal);
    if (err_next_text(e)) snprintf(advice, sizeof advice, "%s", err_next_text(e));
    err_free(e);
    return false;
}

static bool runs(const char *text)
{
    ops = dsh_fake_ops();
    return runs_with(text, NULL, 0);
}

static bool refused(const char *text, const char *part)
{
    if (!runs(text) && (strstr(refusal, part) || strstr(advice, part))) return true;
    printf("# \"%s\": %s; %s\n", text, refusal, advice);
    return false;
}

#define ID1 "{00000000-0000-4000-8000-000000000001}"
#define ID2 "{00000000-0000-4000-8000-000000000002}"
#define ID3 "{00000000-0000-4000-8000-000000000003}"

static void a_set_gets_its_settings_volumes_and_writers(void)
{
    require(runs(
        "set context persistent\nset option plex transportable\nset metadata %systemdrive%\\m.cab\n"
        "writer exclude \"Task Writer\"\nbegin backup\nadd volume c: alias one\nadd volume d:\n"
        "create\nend backup\n"));
    expect_str(fake.log, "check persistent c:\ncheck persistent d:\n"
                         "create persistent full options=c metadata=C:\\m.cab writers=1:"
                         " one=c: VSS_SHADOW_2=d:\nend_backup\nreset\n");
}

static void aliases_of_a_set_name_its_copies_in_later_commands(void)
{
    require(runs("set context persistent\nadd volume c: alias One\nadd volume d:\ncreate\n"
                 "expose %one% x:\nexpose %VSS_SHADOW_2% y:\nadd alias again %VSS_SHADOW_SET%\n"
                 "mask %again%\nbreak writable %vss_shadow_set%\nexec a.cmd\n"));
    expect(strstr(fake.log, "expose " ID2 " x:\nexpose " ID3 " y:\nmask " ID1
                            "\nbreak writable " ID1 "\nexec a.cmd aliases=4\nreset\n"));
    expect(strstr(fake.printed, "Alias One for shadow ID " ID2 " set as environment variable."));
    expect(strstr(fake.printed, "-> expose " ID2 " x:"));
}

static struct err *note_created(void *context, const struct dsh_set *set,
                                const struct dsh_aliases *aliases)
{
    return dsh_fake_note(context, "created %s volumes=%u aliases=%u\n", set->id, set->volume_count,
                         aliases->count);
}

static void what_is_made_is_told_with_all_names_of_the_script(void)
{
    ops = dsh_fake_ops();
    ops.created = note_created;
    require(runs_with("add alias again x\nadd volume c: alias one\ncreate\n", NULL, 0));
    expect(strstr(fake.log, "\ncreated " ID1 " volumes=1 aliases=3\nreset\n"));
    fails = "created";
    expect(!runs_with("add volume c:\ncreate\nexec a", NULL, 0));
    expect_str(refusal, "line 2: create: the fake was told to fail");
    fails = NULL;
}

static void parameters_and_the_environment_are_names_too(void)
{
    static const char *const parameters[] = {"a b.cab", "e:"};
    ops = dsh_fake_ops();
    require(runs_with("set metadata %DISKSH_PARAM_1%\nadd volume %diskSH_param_2%\ncreate",
                      parameters, 2));
    expect(strstr(fake.log, "metadata=a b.cab writers=0: VSS_SHADOW_1=e:"));
    expect(!runs_with("add volume %DISKSH_PARAM_3%", parameters, 2));
    expect_str(refusal, "line 1: add volume: nothing is called %DISKSH_PARAM_3%");
    expect(runs("exec 100%\nexec %\\a%"));
    expect(strstr(fake.log, "exec 100% aliases=0\nexec %\\a% aliases=0\n"));
}

static void other_settings_have_the_volumes_checked_again(void)
{
    require(runs("add volume c:\nset context persistent nowriters\ncreate"));
    expect(strstr(fake.log,
                  "check volatile c:\ncheck persistent nowriters c:\ncreate persistent nowriters"));
}

static void a_second_set_begins_empty(void)
{
    require(runs("add volume c:\ncreate\nadd volume d:\ncreate\n"));
    expect(strstr(fake.log, "writers=0: VSS_SHADOW_1=c:\n"));
    expect(strstr(fake.log, "writers=0: VSS_SHADOW_1=d:\n"));
    expect(refused("add volume c:\ncreate\ncreate", "line 3: create: no volume was added"));
    expect(refused("add volume c:\nreset\ncreate", "line 3: create: no volume was added"));
}

static void a_set_is_brought_back_and_resynced(void)
{
    require(runs("load metadata m.cab\nimport\nadd shadow %saved% d:\nadd shadow %saved%\n"
                 "resync novolcheck revert_originalsig\n"));
    expect(strstr(fake.log, "load m.cab\nimport\nresync flags=300:"
                            " {00000000-0000-4000-8000-000000000101}->d:"
                            " {00000000-0000-4000-8000-000000000101}->-\nreset\n"));
    expect(refused("load metadata m.cab\nadd shadow %saved%\nresync\nresync", "line 4"));
}

static void commands_out_of_order_are_refused_with_what_comes_first(void)
{
    expect(refused("create", "add volume VOLUME"));
    expect(refused("import", "load metadata"));
    expect(refused("resync", "load metadata"));
    expect(refused("load metadata a\nresync", "add shadow"));
    expect(refused("add shadow " ID1, "load metadata"));
    expect(refused("begin restore", "load metadata"));
    expect(refused("simulate restore", "load metadata"));
    expect(refused("end restore", "begin restore"));
    expect(refused("load metadata a\nbegin restore\nbegin restore", "end restore"));
    expect(refused("end backup", "begin backup before create"));
    expect(refused("begin backup\nend backup", "write first: create"));
    expect(refused("begin backup\nbegin backup", "end backup"));
    expect(refused("begin backup\nadd volume c:\ncreate\nadd volume d:", "end backup"));
    expect(refused("add volume c:\nadd volume C:", "in the set already"));
    expect(refused("add volume c: alias x\nadd volume d: alias X", "given to another volume"));
    expect(refused("add alias x y\nmask %x%", "\"y\" is not a GUID"));
}

static void copies_that_cannot_be_seen_are_not_exposed(void)
{
    expect(refused("add volume c: alias x\ncreate\nexpose %x% y:", "set context persistent"));
    expect(
        refused("set context persistent\nset option transportable\nadd volume c: alias x\ncreate\n"
                "expose %x% y:",
                "line 5: expose: a transportable shadow copy is not on this host"));
    expect(runs("set context persistent\nset option transportable\nset metadata m.cab\n"
                "add volume c: alias x\ncreate\nload metadata m.cab\nimport\nexpose %x% y:"));
}

static void what_the_program_does_not_do_is_refused_before_anything_is_run(void)
{
    ops = dsh_fake_ops();
    ops.mask = NULL;
    ops.revert = NULL;
    expect(!runs_with("add volume c:\ncreate\nmask " ID1, NULL, 0));
    expect_str(refusal, "line 3: this program does not do \"mask\"; nothing was run");
    expect_str(fake.log, "");
    expect(!runs_with("revert " ID1, NULL, 0) && strstr(advice, "resync"));
    expect(!runs_with("create\nset context clientaccessible", NULL, 0) &&
           strstr(advice, "persistent"));
    expect(strstr(refusal, "line 2"));
}

static void the_first_failure_ends_the_script_and_its_session(void)
{
    fails = "exec";
    expect(!runs("begin backup\nadd volume c:\ncreate\nexec a.cmd\nend backup\n"));
    expect_str(refusal, "line 4: exec: the fake was told to fail");
    expect(strstr(fake.log, "exec a.cmd aliases=2\nreset\n") && !strstr(fake.log, "end_backup"));
    fails = "check";
    expect(!runs("add volume c:\ncreate\n"));
    expect(!strstr(fake.log, "create"));
    fails = "reset";
    expect(!runs("add volume c:\ncreate\n") && strstr(refusal, "at the end of the script"));
    fails = NULL;
}

static void exit_ends_the_script_there(void)
{
    require(runs("exec a\nexit\nexec b"));
    expect_str(fake.log, "exec a aliases=0\nreset\n");
}

static void deleting_and_listing_say_what(void)
{
    require(runs("delete shadows all\ndelete shadows oldest c:\ndelete shadows set " ID1
                 "\nlist shadows id " ID2 "\nlist writers\nunexpose x:\nrevert " ID1));
    expect_str(fake.log,
               "delete shadows all -\ndelete shadows oldest c:\ndelete shadows set " ID1
               "\nlist shadows id " ID2 "\nlist writers -\nunexpose x:\nrevert " ID1 "\nreset\n");
}

static void settings_and_aliases_are_shown_when_asked(void)
{
    require(runs("set context volatile nowriters\nset option plex\nset verbose on\nset\nadd\nadd "
                 "alias a b\nadd"));
    expect(strstr(fake.printed, "context: volatile nowriters\noption: plex\nverbose: on\n"));
    expect(strstr(fake.printed, "There are no aliases.\n"));
    expect(strstr(fake.printed, "%a% = b\n"));
}

static void names_cannot_make_an_argument_grow_without_end(void)
{
    char text[2048] = "add alias x 0123456789\n";
    for (int i = 0; i < 20; i++)
        strcat(text, "add alias x %x%%x%\n");
    expect(refused(text, "longer than 4096 bytes"));
}

int main(void)
{
    run(a_set_gets_its_settings_volumes_and_writers);
    run(aliases_of_a_set_name_its_copies_in_later_commands);
    run(what_is_made_is_told_with_all_names_of_the_script);
    run(parameters_and_the_environment_are_names_too);
    run(other_settings_have_the_volumes_checked_again);
    run(a_second_set_begins_empty);
    run(a_set_is_brought_back_and_resynced);
    run(commands_out_of_order_are_refused_with_what_comes_first);
    run(copies_that_cannot_be_seen_are_not_exposed);
    run(what_the_program_does_not_do_is_refused_before_anything_is_run);
    run(the_first_failure_ends_the_script_and_its_session);
    run(exit_ends_the_script_there);
    run(deleting_and_listing_say_what);
    run(settings_and_aliases_are_shown_when_asked);
    run(names_cannot_make_an_argument_grow_without_end);
    return tap_done();
}
