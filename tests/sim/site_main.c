/*
 * site_main.c - tarn-sim: whole sites under seeds, one after another, each in a process of its own.
 *
 *     tarn-sim [--seed S] [--seeds N] [--ops N] [--crash none|process|power|both]
 *              [--crash-every WRITES] [--ignore-flush SITE] [--mutation NAME] [--full] [--verbs]
 *              [--faults errors|lies] [--trace]
 *
 * A failure prints what it takes to see it again.  doc/simulation.md has the rest.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/attr.h"
#include "base/check.h"
#include "base/text.h"
#include "control/mutation.h"
#include "tests/model/engine_mutation.h"
#include "tests/sim/site.h"

#ifdef TARN_MUTATIONS
enum control_mutation control_mutation_active;
#endif

static struct site_options options = {.seed = 1, .op_count = 2000, .crash = SITE_CRASH_BOTH};
static uint64_t seeds = 1;

static void print_outcome(const struct site_outcome *o)
{
    printf("seed %llu: %s; %u operations, %u commands (%u lost), %u verbs, %u refused, %u sets, "
           "%u verified, %u crashes, %u in recovery, %u logins, %u full; trace %016llx\n",
           (unsigned long long)options.seed, o->ok ? "ok" : "FAILED", o->ops, o->commands, o->lost,
           o->verbs_ok, o->verbs_refused, o->cuts, o->verifies, o->crashes, o->recovery_crashes,
           o->logins, o->full, (unsigned long long)o->trace_hash);
    if (o->storms)
        printf(
            "  %u storms, %u strikes, %u verbs in doubt, %u times a pool was ill; %u views judged, "
            "%u refused, and %u blocks\n",
            o->storms, o->strikes, o->parkings, o->ill_pools, o->views_judged, o->views_refused,
            o->blocks_refused);
    fflush(stdout);
}

static bool parse_site(const char *text)
{
    for (unsigned i = 1; i < RT_FLUSH_SITE_COUNT; i++) {
        if (strcasecmp(text, rt_flush_site_name((enum rt_flush_site)i)) != 0) continue;
        options.ignore_flush = (enum rt_flush_site)i;
        return true;
    }
    return false;
}

static bool parse(int option, const char *value)
{
    uint64_t number = 0;
    bool is_number = value && text_parse_u64(value, &number);
    switch (option) {
    case 's':
        options.seed = number;
        return is_number;
    case 'N':
        seeds = number;
        return is_number;
    case 'n':
        options.op_count = (uint32_t)number;
        return is_number;
    case 'e':
        options.crash_every = (uint32_t)number;
        return is_number;
    case 'F':
        options.full = true;
        return true;
    case 'V':
        options.verbs = true;
        return true;
    case 't':
        options.trace = true;
        return true;
    case 'f':
        return parse_site(value);
    case 'M':
        return engine_mutation_set(value);
    case 'X':
        for (unsigned i = 0; i < countof(site_faults_names); i++) {
            if (strcmp(value, site_faults_names[i]) != 0) continue;
            options.faults = (enum site_faults)i;
            return true;
        }
        return false;
    case 'c':
        for (unsigned i = 0; i < countof(site_crash_names); i++) {
            if (strcmp(value, site_crash_names[i]) != 0) continue;
            options.crash = (enum site_crash)i;
            return true;
        }
        return false;
    default:
        return false;
    }
}

int main(int argc, char **argv)
{
    static const struct option long_options[] = {{"seed", required_argument, NULL, 's'},
                                                 {"seeds", required_argument, NULL, 'N'},
                                                 {"ops", required_argument, NULL, 'n'},
                                                 {"crash", required_argument, NULL, 'c'},
                                                 {"crash-every", required_argument, NULL, 'e'},
                                                 {"trace", no_argument, NULL, 't'},
                                                 {"ignore-flush", required_argument, NULL, 'f'},
                                                 {"mutation", required_argument, NULL, 'M'},
                                                 {"full", no_argument, NULL, 'F'},
                                                 {"verbs", no_argument, NULL, 'V'},
                                                 {"faults", required_argument, NULL, 'X'},
                                                 {NULL, 0, NULL, 0}};
    for (int option; (option = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
        if (parse(option, optarg)) continue;
        fprintf(stderr,
                "usage: tarn-sim [--seed S] [--seeds N] [--ops N] [--crash none|process|"
                "power|both]\n  [--crash-every WRITES] [--ignore-flush SITE] [--mutation NAME] "
                "[--full] [--verbs] [--faults errors|lies] [--trace]\n");
        return 2;
    }
    uint64_t done[32] = {0}, ops = 0;
    bool ok = true;
    for (uint64_t i = 0; i < seeds; i++, options.seed++) {
        struct site_outcome outcome = site_child_run(&options);
        print_outcome(&outcome);
        ok = outcome.ok && ok;
        ops += outcome.ops;
        for (unsigned v = 0; v < site_verb_count(); v++)
            done[v] += outcome.done_by_verb[v];
    }
    printf("%llu operations;", (unsigned long long)ops);
    for (unsigned v = 0; v < site_verb_count(); v++)
        printf(" %llu %s%s", (unsigned long long)done[v], site_verb_name(v),
               v + 1 < site_verb_count() ? "," : "\n");
    return ok ? 0 : 1;
}
