#include "base/hist.h"

static unsigned slot_of(uint64_t value)
{
    if (value < 8) return (unsigned)value;
    unsigned octave = 63u - (unsigned)__builtin_clzll(value);
    return (octave - 2) * 8 + (unsigned)(value >> (octave - 3) & 7);
}

static uint64_t upper_edge(unsigned slot)
{
    if (slot < 8) return slot;
    unsigned octave = slot / 8 + 2;
    return ((uint64_t)(slot % 8 + 9) << (octave - 3)) - 1;
}

void hist_add(struct hist *hist, uint64_t value)
{
    hist->count++;
    hist->sum += value;
    if (value > hist->max) hist->max = value;
    hist->slots[slot_of(value)]++;
}

uint64_t hist_quantile(const struct hist *hist, unsigned permille)
{
    uint64_t wanted = (hist->count * permille + 999) / 1000;
    uint64_t seen = 0;
    for (unsigned i = 0; i < HIST_SLOTS; i++) {
        seen += hist->slots[i];
        if (seen >= wanted && seen > 0) {
            uint64_t edge = upper_edge(i);
            return edge < hist->max ? edge : hist->max;
        }
    }
    return hist->max;
}
