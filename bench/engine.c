/*
 * engine.c - tarn-bench-engine: the engine against its bars, over real files (bench/README.md).
 *
 * One process, one loop: volume.h on a pool file with O_DIRECT.  bench/run calls it.
 */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bench/rig.h"
#include "rt/rt_linux.h"

struct scenario {
    const char *name;
    void (*run)(struct bench *bench);
    bool own_base; /* makes its own pools: the shared one is dropped first, for the space */
};
static const struct scenario scenarios[] = {
    {"p12", size_p12, true}, /* first: it measures this process */
    {"p6", speed_p6, false}, {"p6-aged", speed_p6_aged, false},
    {"p1", speed_p1, false}, {"p2", speed_p2, false},
    {"p7", speed_p7, false}, {"peers", peers_run, false},
    {"p4", speed_p4, true},  {"p5", sets_p5, true},
    {"p8", size_p8, true},   {"p11", sets_p11, true},
    {"p13", size_p13, true},
};
enum { SCENARIOS = sizeof scenarios / sizeof scenarios[0] };

static void usage(FILE *to)
{
    fprintf(to, "usage: tarn-bench-engine --dir DIR [--pairs N] [--seconds S] [--quick] [--xfs "
                "MOUNT] [--qcow2]\n"
                "                         [--json FILE] [--tsv FILE] [SCENARIO...]\n"
                "DIR must be empty and hold 6 GiB (1.5 GiB with --quick).  Scenarios:");
    for (unsigned i = 0; i < SCENARIOS; i++)
        fprintf(to, " %s", scenarios[i].name);
    fprintf(to, "\n");
}

static FILE *open_output(const char *path)
{
    FILE *file = fopen(path, "we");
    if (!file) bench_die(NULL, path);
    return file;
}

static bool is_chosen(const char *name, char **names, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0) return true;
    return count == 0;
}

static bool knows_all(char **names, int count)
{
    for (int i = 0; i < count; i++) {
        unsigned at = 0;
        while (at < SCENARIOS && strcmp(names[i], scenarios[at].name) != 0)
            at++;
        if (at < SCENARIOS) continue;
        fprintf(stderr, "bench: there is no scenario \"%s\"\n", names[i]);
        return false;
    }
    return true;
}

static bool parse(struct bench *bench, int argc, char **argv)
{
    static const struct option options[] = {
        {"dir", required_argument, NULL, 'd'},     {"pairs", required_argument, NULL, 'p'},
        {"seconds", required_argument, NULL, 's'}, {"quick", no_argument, NULL, 'q'},
        {"xfs", required_argument, NULL, 'x'},     {"qcow2", no_argument, NULL, 'Q'},
        {"json", required_argument, NULL, 'j'},    {"tsv", required_argument, NULL, 't'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0}};
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'd':
            bench->dir = optarg;
            break;
        case 'p':
            bench->pairs = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 's':
            bench->run_ns = (uint64_t)(strtod(optarg, NULL) * 1e9);
            break;
        case 'q':
            bench->is_quick = true;
            bench->pairs = 3;
            bench->run_ns = RT_SECOND / 4;
            break;
        case 'x':
            bench->xfs_dir = optarg;
            break;
        case 'Q':
            bench->qcow2 = true;
            break;
        case 'j':
            bench->report.json = open_output(optarg);
            break;
        case 't':
            bench->report.tsv = open_output(optarg);
            break;
        case 'h':
            usage(stdout);
            exit(0);
        default:
            return false;
        }
    }
    return bench->dir && bench->pairs > 0 && bench->pairs <= 100 && bench->run_ns >= RT_MS &&
           knows_all(argv + optind, argc - optind);
}

int main(int argc, char **argv)
{
    struct bench bench = {.pairs = 15, .run_ns = RT_SECOND};
    if (!parse(&bench, argc, argv)) {
        usage(stderr);
        return 2;
    }
    struct err *e = rt_linux_create(&(struct rt_linux_options){0}, &bench.rt);
    if (e) bench_die(e, "runtime");
    printf("# backend %s, %u pairs of %.2f s\n", rt_linux_backend_name(bench.rt), bench.pairs,
           (double)bench.run_ns / 1e9);
    report_header(&bench.report);
    for (unsigned i = 0; i < SCENARIOS; i++) {
        if (!is_chosen(scenarios[i].name, argv + optind, argc - optind)) continue;
        if (scenarios[i].own_base) bench_base_drop(&bench);
        scenarios[i].run(&bench);
    }
    bench_base_drop(&bench);
    rt_linux_destroy(bench.rt);
    if (bench.report.json) fclose(bench.report.json);
    if (bench.report.tsv) fclose(bench.report.tsv);
    return bench.report.missed ? 1 : 0;
}
