/*
 * stats.h - what the pairs say: medians with bounds that hold with 95 % whatever the distribution,
 * and the report: one line per bar on the terminal, one JSON object per line and one TSV line in
 * files.
 *
 * Verdicts: MET (the median keeps the bar), UNCLEAR (the median misses it, the 95 % bound does
 * not), MISSED.
 */
#ifndef TARN_BENCH_STATS_H
#define TARN_BENCH_STATS_H

#include <stdio.h>

enum { STATS_MAX = 2048 };

struct samples {
    unsigned count;
    double values[STATS_MAX];
};

struct estimate {
    double median, low, high;
};

void samples_add(struct samples *samples, double value);
struct estimate samples_estimate(const struct samples *samples);
double samples_quantile(const struct samples *samples, unsigned permille);

enum sense { AT_LEAST, AT_MOST, NO_BAR };

struct report {
    FILE *json, *tsv; /* may be NULL */
    unsigned missed;
};

struct finding {
    const char *bar, *what, *unit; /* "P1", "just after a snapshot / without", "ratio" */
    struct estimate estimate;
    enum sense sense;
    double wanted;
    const struct samples *a, *b; /* of the two sides of a ratio; may be NULL */
    const char *note;            /* may be NULL */
};
void report_header(struct report *report);
void report_finding(struct report *report, const struct finding *finding);
/* The ratio a/b of pairs. */
void report_ratio(struct report *report, const char *bar, const char *what, const struct samples *a,
                  const struct samples *b, enum sense sense, double wanted, const char *note);
/* One number. */
void report_value(struct report *report, const char *bar, const char *what, const char *unit,
                  double value, enum sense sense, double wanted, const char *note);

#endif
