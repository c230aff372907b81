/*
 * standalone.c - runs a fuzz target without libFuzzer: on files, and on inputs that it makes up.
 *
 *     NAME_fuzz [--random COUNT SEED MAX_BYTES] [FILE | DIRECTORY]...
 *
 * The made-up inputs are random bytes or, when files are given, mostly damaged copies of them.
 * Prints TAP.  An input that crashes the target is left in the current directory as
 * crash-standalone.bin.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/check.h"
#include "base/prng.h"
#include "base/text.h"
#include "tests/lib/tap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    uint8_t *data;
    size_t size;
};

static struct input *inputs;
static size_t input_count;
static struct input running; /* for the crash handler */

static void on_crash(int signal_number)
{
    static const char text[] = "# the input is in crash-standalone.bin\n";
    int fd = open("crash-standalone.bin", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd >= 0 && write(fd, running.data, running.size) == (ssize_t)running.size)
        (void)!write(STDERR_FILENO, text, sizeof text - 1);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

/* From a copy of exactly this size, so that a sanitizer sees every read beyond it. */
static void run_one(const uint8_t *data, size_t size)
{
    running.data = malloc(size ? size : 1);
    check(running.data != NULL);
    if (size) memcpy(running.data, data, size);
    running.size = size;
    LLVMFuzzerTestOneInput(running.data, size);
    free(take_ptr(&running.data));
    running.size = 0;
}

static bool add_path(const char *path);

static bool add_directory(const char *path)
{
    struct dirent **entries;
    int count = scandir(path, &entries, NULL, alphasort);
    bool ok = count >= 0;
    for (int i = 0; i < count; i++) {
        char full[4096];
        snprintf(full, sizeof full, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.') ok &= add_path(full);
        free(entries[i]);
    }
    if (count >= 0) free(entries);
    return ok;
}

static bool add_path(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) return false;
    if (S_ISDIR(st.st_mode)) return add_directory(path);
    FILE *file = fopen(path, "rb");
    if (!file) return false;
    struct input input = {malloc((size_t)st.st_size + 1), 0};
    check(input.data != NULL);
    input.size = fread(input.data, 1, (size_t)st.st_size, file);
    fclose(file);
    inputs = realloc(inputs, (input_count + 1) * sizeof *inputs);
    check(inputs != NULL);
    inputs[input_count++] = input;
    return true;
}

/* A damaged copy of one of the files in `to`; returns its length. */
static size_t damage(struct prng *prng, uint8_t *to, size_t max)
{
    const struct input *from = &inputs[prng_below(prng, input_count)];
    size_t size = min_of(from->size, max);
    memcpy(to, from->data, size);
    for (uint64_t n = prng_below(prng, 8); n-- > 0 && size > 0;) {
        size_t at = (size_t)prng_below(prng, size);
        switch (prng_below(prng, 5)) {
        case 0:
            to[at] ^= (uint8_t)(1 << prng_below(prng, 8));
            break;
        case 1:
            to[at] = (uint8_t)prng_u64(prng);
            break;
        case 2:
            to[at] = prng_chance(prng, 1, 2) ? 0xFF : 0;
            break;
        case 3:
            size = at;
            break;
        default: { /* another file's bytes from here on */
            const struct input *other = &inputs[prng_below(prng, input_count)];
            if (other->size <= at) break;
            size = min_of(other->size, max);
            memcpy(to + at, other->data + at, size - at);
        }
        }
    }
    return size;
}

static void run_random(uint64_t count, uint64_t seed, size_t max)
{
    struct prng prng;
    uint8_t *data = malloc(max ? max : 1);
    check(data != NULL);
    prng_init(&prng, seed);
    for (uint64_t i = 0; i < count; i++) {
        size_t size;
        if (input_count && prng_chance(&prng, 3, 4)) {
            size = damage(&prng, data, max);
        } else {
            /* Mostly short: what is random is refused early. */
            size = (size_t)prng_below(&prng,
                                      prng_chance(&prng, 7, 8) ? min_of(max, 128u) + 1 : max + 1);
            prng_fill(&prng, data, size);
        }
        run_one(data, size);
    }
    free(data);
}

static int usage(const char *program)
{
    fprintf(stderr, "usage: %s [--random COUNT SEED MAX_BYTES] [FILE | DIRECTORY]...\n", program);
    return 2;
}

int main(int argc, char **argv)
{
    uint64_t count = 0, seed = 0, max = 0;
    int first = 1;
    if (argc > 1 && strcmp(argv[1], "--random") == 0) {
        if (argc < 5 || !text_parse_u64(argv[2], &count) || !text_parse_u64(argv[3], &seed) ||
            !text_parse_u64(argv[4], &max))
            return usage(argv[0]);
        first = 5;
    }
    bool readable = true;
    for (int i = first; i < argc; i++) {
        if (argv[i][0] == '-') return usage(argv[0]);
        readable &= add_path(argv[i]);
    }
    static const int signals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    for (unsigned i = 0; i < countof(signals); i++) {
        signal(signals[i], on_crash);
    }
    for (size_t i = 0; i < input_count; i++) {
        run_one(inputs[i].data, inputs[i].size);
    }
    char name[80];
    snprintf(name, sizeof name, "survives %zu files", input_count);
    if (argc > first) tap_point(name, readable);
    run_random(count, seed, (size_t)max);
    snprintf(name, sizeof name, "survives %llu inputs made from seed %llu",
             (unsigned long long)count, (unsigned long long)seed);
    if (count) tap_point(name, true);
    for (size_t i = 0; i < input_count; i++) {
        free(inputs[i].data);
    }
    free(inputs);
    return tap_done();
}
