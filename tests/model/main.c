/*
 * tarn-model - random operations on a pool in a simulated world, held against a reference model.
 *
 *     tarn-model --seed 7 --ops 20000 --crash power --trace
 *
 * Prints what went wrong and the command that shows it again.  doc/simulation.md has the rest.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/text.h"
#include "engine_mutation.h"
#include "rows.h"

static char replay_command[1024];

static void print_replay(void)
{
    fprintf(stderr, "replay: %s\n", replay_command);
}

static const struct option long_options[] = {
    {"seed", required_argument, NULL, 's'},         {"ops", required_argument, NULL, 'n'},
    {"crash", required_argument, NULL, 'c'},        {"kind", required_argument, NULL, 'c'},
    {"crash-every", required_argument, NULL, 'e'},  {"crash-at", required_argument, NULL, 'a'},
    {"recovery-crashes", required_argument, NULL, 'r'}, {"cache", required_argument, NULL, 'm'},
    {"pool", required_argument, NULL, 'p'},         {"wal", required_argument, NULL, 'w'},
    {"disk-blocks", required_argument, NULL, 'b'},  {"exact-space", no_argument, NULL, 'x'},
    {"written-through", no_argument, NULL, 'W'},    {"ignore-flush", required_argument, NULL, 'f'},
    {"mutation", required_argument, NULL, 'M'},     {"seeds", required_argument, NULL, 'N'},
    {"replay", required_argument, NULL, 'R'},       {"shrink", required_argument, NULL, 'S'},
    {"buffers", required_argument, NULL, 'B'},      {"big", no_argument, NULL, 'G'},
    {"checkpoint-every", required_argument, NULL, 'C'},
    {"open-faults", no_argument, NULL, 'O'},
    {"slow-reads", no_argument, NULL, 'Z'},
    {"latency-us", required_argument, NULL, 'L'},   {"flush-after-us", required_argument, NULL, 'F'},
    {"pace", required_argument, NULL, 'P'},
    {"trace", no_argument, NULL, 't'},              {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static int usage(FILE *to)
{
    fprintf(to,
            "usage: tarn-model [--seed S] [--seeds COUNT] [--ops N] [--crash none|process|power|both]\n"
            "  [--crash-every WRITES] [--crash-at WRITE] [--recovery-crashes N] [--cache tiny|SIZE]\n"
            "  [--pool SIZE] [--wal SIZE] [--disk-blocks N] [--pace N] [--checkpoint-every N]\n"
            "  [--open-faults] [--slow-reads]\n"
            "  [--latency-us N] [--flush-after-us N]\n"
            "  [--buffers SIZE] [--big] [--exact-space] [--written-through]\n"
            "  [--ignore-flush SITE] [--mutation NAME] [--replay FILE] [--shrink FILE] [--trace]\n"
            "--replay takes the operations from FILE, --shrink writes the fewest that still fail to it.\n");
    return to == stdout ? 0 : 2;
}

static bool parse_crash(const char *text, enum world_crash *ret_crash)
{
    static const char *const names[] = {"none", "process", "power", "both"};
    for (unsigned i = 0; i < countof(names); i++) {
        if (strcmp(text, names[i]) != 0) continue;
        *ret_crash = (enum world_crash)i;
        return true;
    }
    return false;
}

static bool parse_site(const char *text, enum rt_flush_site *ret_site)
{
    for (unsigned i = 1; i < RT_FLUSH_SITE_COUNT; i++) {
        if (strcasecmp(text, rt_flush_site_name((enum rt_flush_site)i)) != 0) continue;
        *ret_site = (enum rt_flush_site)i;
        return true;
    }
    return false;
}

struct arguments {
    struct world_options options;
    uint64_t seeds;
    const char *replay, *shrink;
};

static bool parse_number(const char *text, uint64_t *ret_value)
{
    return text_parse_size(text, ret_value) || text_parse_u64(text, ret_value);
}

static bool parse_one(int option, const char *value, struct arguments *a)
{
    uint64_t number = 0;
    struct world_options *o = &a->options;
    bool is_number = value && parse_number(value, &number);
    switch (option) {
    case 's': o->seed = number; return is_number;
    case 'n': o->op_count = (uint32_t)number; return is_number;
    case 'e': o->crash_every = (uint32_t)number; return is_number;
    case 'a': o->crash_at = (uint32_t)number; return is_number;
    case 'r': o->recovery_crashes = (uint32_t)number; return is_number;
    case 'p': o->pool_bytes = number; return is_number;
    case 'w': o->wal_bytes = number; return is_number;
    case 'b': o->disk_blocks_max = (uint32_t)number; return is_number;
    case 'P': o->pace = (unsigned)number; return is_number;
    case 'B': o->buffer_bytes = number; return is_number;
    case 'G': o->big_requests = true; return true;
    case 'C': o->checkpoint_every = (uint32_t)number; return is_number;
    case 'O': o->open_faults = true; return true;
    case 'Z': o->slow_reads = true; return true;
    case 'L': o->latency_ns = number * 1000; return is_number;
    case 'F': o->flush_after_ns = number * 1000; return is_number;
    case 'N': a->seeds = number; return is_number;
    case 'c': return parse_crash(value, &o->crash);
    case 'f': return parse_site(value, &o->ignore_flush);
    case 'M': return engine_mutation_set(value);
    case 'm':
        o->cache_bytes = strcmp(value, "tiny") == 0 ? MODEL_TINY_CACHE_BYTES : number;
        return is_number || strcmp(value, "tiny") == 0;
    case 'x': o->no_ragged_zero = true; return true;
    case 'W': o->written_through = true; return true;
    case 't': o->trace = true; return true;
    case 'R': a->replay = value; return true;
    case 'S': a->shrink = value; return true;
    default: return false;
    }
}

static uint8_t *read_records(const char *path, uint32_t *ret_count)
{
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    uint8_t *records = NULL;
    size_t used = 0, got;
    do {
        records = realloc(records, used + 65536);
        check(records != NULL);
        got = fread(records + used, 1, 65536, file);
        used += got;
    } while (got);
    fclose(file);
    *ret_count = (uint32_t)(used / OPS_RECORD_BYTES);
    return records;
}

static void write_records(const char *path, const uint8_t *records, uint32_t count)
{
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(records, OPS_RECORD_BYTES, count, file) != count) perror(path);
    if (file) fclose(file);
}

/* Drops pieces, then smaller ones, while it still fails (delta debugging). */
static void shrink(struct world_options options, const char *path)
{
    uint32_t count = options.op_count;
    uint8_t *records = ops_draw(options.seed, count);
    if (options.ops) memcpy(records, options.ops, (size_t)count * OPS_RECORD_BYTES);
    uint8_t *trial = malloc((size_t)count * OPS_RECORD_BYTES + 1);
    check(trial != NULL);
    options.trace = false;
    for (uint32_t piece = count / 2; piece >= 1; piece /= 2) {
        for (uint32_t at = 0; at < count;) {
            uint32_t dropped = min_of(piece, count - at);
            memcpy(trial, records, (size_t)at * OPS_RECORD_BYTES);
            memcpy(trial + (size_t)at * OPS_RECORD_BYTES,
                   records + (size_t)(at + dropped) * OPS_RECORD_BYTES,
                   (size_t)(count - at - dropped) * OPS_RECORD_BYTES);
            options.ops = trial;
            options.op_count = count - dropped;
            if (ops_world_run(&options).ok) {
                at += piece;
                continue;
            }
            count -= dropped;
            memcpy(records, trial, (size_t)count * OPS_RECORD_BYTES);
            write_records(path, records, count);
        }
        printf("# %u operations left (pieces of %u)\n", count, piece);
    }
    free(trial);
    free(records);
}

static bool run_one(const struct world_options *options)
{
    struct ops_outcome o = ops_world_run(options);
    printf("seed %llu: %s; %u writes, %u cuts, %u verified, %u crashes, %u in recovery, %u full; "
           "%llu batches, %llu checkpoints, %llu leaf loads, %llu blocks reclaimed; trace %016llx\n",
           (unsigned long long)options->seed, o.ok ? "ok" : "FAILED", o.writes, o.cuts, o.verifies,
           o.crashes, o.recovery_crashes, o.full, (unsigned long long)o.counters.batches,
           (unsigned long long)o.counters.checkpoints, (unsigned long long)o.counters.leaf_loads,
           (unsigned long long)o.counters.reclaimed_blocks, (unsigned long long)o.trace_hash);
    if (!o.ok) printf("%s\nreplay: %s\n", o.failure, replay_command);
    fflush(stdout);
    return o.ok;
}

int main(int argc, char **argv)
{
    struct arguments a = {.options = {.seed = 1, .op_count = 2000, .recovery_crashes = 2}, .seeds = 1};
    for (int i = 0, used = 0; i < argc; i++)
        used += snprintf(replay_command + used, sizeof replay_command - (size_t)used, "%s%s",
                         i ? " " : "", argv[i]);
    int option;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (option == 'h') return usage(stdout);
        if (!parse_one(option, optarg, &a)) {
            fprintf(stderr, "tarn-model: bad option or value%s%s\n", optarg ? ": " : "",
                    optarg ? optarg : "");
            return usage(stderr);
        }
    }
    check_set_panic_hook(print_replay);
    auto_free uint8_t *records = NULL;
    if (a.replay) {
        records = read_records(a.replay, &a.options.op_count);
        if (!records) return perror(a.replay), 2;
        a.options.ops = records;
    }
    if (a.shrink) return shrink(a.options, a.shrink), 0;
    bool ok = true;
    for (uint64_t i = 0; i < a.seeds; i++, a.options.seed++) {
        if (a.seeds > 1) rows_command(&a.options, replay_command, sizeof replay_command);
        ok = run_one(&a.options) && ok;
    }
    return ok ? 0 : 1;
}
