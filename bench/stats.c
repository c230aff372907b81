#include "bench/stats.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

void samples_add(struct samples *samples, double value)
{
    if (samples->count < STATS_MAX) samples->values[samples->count++] = value;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void sorted(const struct samples *samples, struct samples *ret)
{
    *ret = *samples;
    qsort(ret->values, ret->count, sizeof ret->values[0], compare);
}

/* Order statistics: the largest k with P(binomial(n, 1/2) < k) <= 2.5 % on either side. */
struct estimate samples_estimate(const struct samples *samples)
{
    struct samples s;
    check(samples->count > 0);
    sorted(samples, &s);
    unsigned n = s.count, k = 0;
    double term = 1, below = 0;
    for (unsigned i = 0; i < n; i++)
        term /= 2;
    while (k < n / 2 && below + term <= 0.025) {
        below += term;
        term *= (double)(n - k) / (double)(k + 1);
        k++;
    }
    if (k > 0) k--;
    double median = n % 2 ? s.values[n / 2] : (s.values[n / 2 - 1] + s.values[n / 2]) / 2;
    return (struct estimate){.median = median, .low = s.values[k], .high = s.values[n - 1 - k]};
}

double samples_quantile(const struct samples *samples, unsigned permille)
{
    struct samples s;
    check(samples->count > 0);
    sorted(samples, &s);
    unsigned rank = (s.count * permille + 999) / 1000;
    return s.values[rank > 0 ? rank - 1 : 0];
}

void report_header(struct report *report)
{
    printf("%-4s %-58s %10s  %-21s %10s  %s\n", "bar", "what", "median", "95 % bounds", "bar",
           "verdict");
    if (report->tsv)
        fprintf(report->tsv, "bar\twhat\tunit\tmedian\tlow\thigh\tsense\twanted\tverdict\tpairs\n");
}

static void put_samples(FILE *to, const char *name, const struct samples *samples)
{
    if (!samples) return;
    fprintf(to, ",\"%s\":[", name);
    for (unsigned i = 0; i < samples->count; i++)
        fprintf(to, "%s%.6g", i ? "," : "", samples->values[i]);
    fputc(']', to);
}

static const char *verdict_of(const struct finding *f)
{
    switch (f->sense) {
    case AT_LEAST:
        return f->estimate.median >= f->wanted ? "MET"
               : f->estimate.high >= f->wanted ? "UNCLEAR"
                                               : "MISSED";
    case AT_MOST:
        return f->estimate.median <= f->wanted ? "MET"
               : f->estimate.low <= f->wanted  ? "UNCLEAR"
                                               : "MISSED";
    case NO_BAR:
        break;
    }
    return "-";
}

static const char *sign_of(enum sense sense)
{
    return sense == AT_LEAST ? ">=" : sense == AT_MOST ? "<=" : "";
}

void report_finding(struct report *report, const struct finding *f)
{
    const char *verdict = verdict_of(f);
    char bar[32] = "", bounds[48];
    if (f->sense != NO_BAR) snprintf(bar, sizeof bar, "%s %.4g", sign_of(f->sense), f->wanted);
    snprintf(bounds, sizeof bounds, "[%.4g, %.4g] %s", f->estimate.low, f->estimate.high,
             strcmp(f->unit, "ratio") == 0 ? "" : f->unit);
    printf("%-4s %-58s %10.4g  %-21s %10s  %s%s%s%s\n", f->bar, f->what, f->estimate.median, bounds,
           bar, verdict, f->note ? " (" : "", f->note ? f->note : "", f->note ? ")" : "");
    fflush(stdout);
    if (strcmp(verdict, "MISSED") == 0) report->missed++;
    if (report->tsv) {
        fprintf(report->tsv, "%s\t%s\t%s\t%.6g\t%.6g\t%.6g\t%s\t%.6g\t%s\t%u\n", f->bar, f->what,
                f->unit, f->estimate.median, f->estimate.low, f->estimate.high, sign_of(f->sense),
                f->wanted, verdict, f->a ? f->a->count : 1);
        fflush(report->tsv);
    }
    if (!report->json) return;
    fprintf(report->json,
            "{\"bar\":\"%s\",\"what\":\"%s\",\"unit\":\"%s\",\"median\":%.6g,\"low\":%.6g,\"high\":"
            "%.6g,"
            "\"sense\":\"%s\",\"wanted\":%.6g,\"verdict\":\"%s\",\"note\":\"%s\"",
            f->bar, f->what, f->unit, f->estimate.median, f->estimate.low, f->estimate.high,
            sign_of(f->sense), f->wanted, verdict, f->note ? f->note : "");
    put_samples(report->json, "a", f->a);
    put_samples(report->json, "b", f->b);
    fprintf(report->json, "}\n");
    fflush(report->json);
}

void report_ratio(struct report *report, const char *bar, const char *what, const struct samples *a,
                  const struct samples *b, enum sense sense, double wanted, const char *note)
{
    struct samples ratios = {0};
    char text[160];
    check(a->count == b->count && a->count > 0);
    for (unsigned i = 0; i < a->count; i++)
        samples_add(&ratios, b->values[i] > 0 ? a->values[i] / b->values[i] : 0);
    snprintf(text, sizeof text, "%.4g / %.4g%s%s", samples_estimate(a).median,
             samples_estimate(b).median, note ? "; " : "", note ? note : "");
    report_finding(report, &(struct finding){.bar = bar,
                                             .what = what,
                                             .unit = "ratio",
                                             .estimate = samples_estimate(&ratios),
                                             .sense = sense,
                                             .wanted = wanted,
                                             .a = a,
                                             .b = b,
                                             .note = text});
}

void report_value(struct report *report, const char *bar, const char *what, const char *unit,
                  double value, enum sense sense, double wanted, const char *note)
{
    report_finding(report, &(struct finding){.bar = bar,
                                             .what = what,
                                             .unit = unit,
                                             .estimate = {value, value, value},
                                             .sense = sense,
                                             .wanted = wanted,
                                             .note = note});
}
