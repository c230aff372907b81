/*
 * dsh_recipes_test.c - every script of doc/recipes is read and run, does what its page says, and
 * has a page; and those that are given to a real Windows are read and run.  $TARN_RECIPES and
 * $TARN_ACCEPT are the folders.
 */
#include <dirent.h>
#include <stdlib.h>

#include "tests/lib/fake_dsh.h"
#include "tests/lib/tap.h"

#define ID(n) "{00000000-0000-4000-8000-000000000" n "}"

/* What each asks the program for, with parameters "m.cab" (or an id) and "copy.cmd". */
static const struct recipe {
    const char *file, *parameter, *calls;
} recipes[] = {
    {"backup.dsh", "m.cab",
     "check persistent D:\ncheck persistent E:\n"
     "create persistent full options=2 metadata=m.cab writers=0: data=D: log=E:\n"
     "expose " ID("002") " X:\nexpose " ID(
         "003") " Y:\nexec copy.cmd aliases=3\nend_backup\n"
                "unexpose X:\nunexpose Y:\ndelete shadows set " ID("001") "\nreset\n"},
    {"off-host-create.dsh", "m.cab",
     "check persistent D:\ncheck persistent E:\n"
     "create persistent copy options=a metadata=m.cab writers=0: data=D: log=E:\nreset\n"},
    {"off-host-copy.dsh", "m.cab",
     "load m.cab\nimport\nexpose " ID("102") " X:\nexpose " ID(
         "103") " Y:\nexec copy.cmd aliases=4\n"
                "unexpose X:\nunexpose Y:\ndelete shadows id " ID("102") "\ndelete shadows id " ID(
                    "103") "\nreset\n"},
    {"revert-prepare.dsh", "m.cab",
     "check persistent D:\ncheck persistent E:\n"
     "create persistent copy options=a metadata=m.cab writers=0: data=D: log=E:\nreset\n"},
    {"revert.dsh", "m.cab",
     "load m.cab\nresync flags=200: " ID("102") "->- " ID("103") "->-\nreset\n"},
    {"test-copy-import.dsh", "m.cab", "load m.cab\nimport\nlist shadows all -\nreset\n"},
    {"test-copy-break.dsh", ID("100"), "break writable " ID("100") "\nreset\n"},
};

static size_t read_file(const char *folder, const char *name, char *text, size_t size)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", getenv(folder), name);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    size_t got = fread(text, 1, size - 1, file);
    fclose(file);
    text[got] = '\0';
    return got;
}

static void every_recipe_asks_for_what_its_page_says(void)
{
    for (size_t i = 0; i < countof(recipes); i++) {
        const struct recipe *recipe = &recipes[i];
        const char *parameters[] = {recipe->parameter, "copy.cmd"};
        struct dsh_fake fake = {.ids = 0};
        struct dsh_ops ops = dsh_fake_ops();
        struct dsh_script *script = NULL;
        char text[8192], why[1024];
        size_t size = read_file("TARN_RECIPES", recipe->file, text, sizeof text);
        struct err *e = dsh_parse(text, size, &script);
        if (!e) e = dsh_run(script, &ops, &fake, parameters, 2);
        if (e) printf("# %s: %s\n", recipe->file, err_text(e, why, sizeof why));
        expect(!e);
        expect_str(fake.log, recipe->calls);
        err_free(e);
        dsh_script_destroy(script);
    }
}

static void every_script_in_the_folder_is_a_recipe_tested_here_and_has_a_page(void)
{
    static char index[16384];
    unsigned scripts = 0;
    DIR *directory = opendir(getenv("TARN_RECIPES"));
    require(directory && read_file("TARN_RECIPES", "README.md", index, sizeof index) > 0);
    for (const struct dirent *entry; (entry = readdir(directory));) {
        const char *dot = strrchr(entry->d_name, '.');
        if (!dot || strcmp(dot, ".dsh") != 0) continue;
        bool known = false;
        for (size_t i = 0; i < countof(recipes); i++)
            known = known || strcmp(recipes[i].file, entry->d_name) == 0;
        if (!known || !strstr(index, entry->d_name)) printf("# %s\n", entry->d_name);
        expect(known && strstr(index, entry->d_name));
        scripts++;
    }
    closedir(directory);
    expect_eq(scripts, countof(recipes));
}

static bool has_suffix(const char *name, const char *suffix)
{
    size_t length = strlen(name), wanted = strlen(suffix);
    return length > wanted && strcmp(name + length - wanted, suffix) == 0;
}

/* Read, and run to its end; what it is for is a set made of the volume that it is given. */
static bool accept_script_runs(const char *file)
{
    const char *parameters[] = {"T:"};
    struct dsh_fake fake = {.ids = 0};
    struct dsh_ops ops = dsh_fake_ops();
    struct dsh_script *script = NULL;
    char text[8192], why[1024];
    struct err *e = dsh_parse(text, read_file("TARN_ACCEPT", file, text, sizeof text), &script);
    if (!e) e = dsh_run(script, &ops, &fake, parameters, 1);
    bool runs = !e && strstr(fake.log, "create ") && strstr(fake.log, " copy=T:\n");
    if (!runs) printf("# %s: %s %s\n", file, e ? err_text(e, why, sizeof why) : "", fake.log);
    err_free(e);
    dsh_script_destroy(script);
    return runs;
}

static void every_script_for_a_real_windows_runs_and_is_run_by_its_command(void)
{
    static char command[16384];
    unsigned scripts = 0;
    DIR *directory = opendir(getenv("TARN_ACCEPT"));
    require(directory && read_file("TARN_ACCEPT", "run.cmd", command, sizeof command) > 0);
    const char *list = strstr(command, "for %%S in (");
    require(list);
    for (const struct dirent *entry; (entry = readdir(directory));) {
        char name[300];
        if (!has_suffix(entry->d_name, ".dsh")) continue;
        snprintf(name, sizeof name, "%.*s", (int)strlen(entry->d_name) - 4, entry->d_name);
        expect(accept_script_runs(entry->d_name));
        const char *found = strstr(list, name);
        expect(found && found < list + strcspn(list, ")"));
        scripts++;
    }
    closedir(directory);
    expect(scripts >= 6);
}

int main(void)
{
    if (!getenv("TARN_RECIPES") || !getenv("TARN_ACCEPT")) {
        printf("Bail out! TARN_RECIPES or TARN_ACCEPT is not set\n");
        return 1;
    }
    run(every_recipe_asks_for_what_its_page_says);
    run(every_script_in_the_folder_is_a_recipe_tested_here_and_has_a_page);
    run(every_script_for_a_real_windows_runs_and_is_run_by_its_command);
    return tap_done();
}
