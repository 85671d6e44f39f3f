/* The graph has a column for each sample, oldest first, up to GRAPH_COLUMNS of them: bars of GRAPH_ROWS rows between the
 * lowest and the highest sample, and below each bar its age, read downwards. */
#include "cmd/latency_report.h"

#include <inttypes.h>
#include <stdio.h>

#define GRAPH_COLUMNS 80
#define GRAPH_ROWS 4
#define AGE_MAX 8

static void age_text(uint32_t seconds, char out[AGE_MAX])
{
    if (seconds < 60)
        snprintf(out, AGE_MAX, "%us", seconds);
    else if (seconds < 3600)
        snprintf(out, AGE_MAX, "%um", seconds / 60);
    else if (seconds < 86400)
        snprintf(out, AGE_MAX, "%uh", seconds / 3600);
    else
        snprintf(out, AGE_MAX, "%ud", seconds / 86400 % 100000);
}

/* One cell of a bar: `level` of 0 to 2 * GRAPH_ROWS - 1, half a row each. */
static char cell(unsigned level, unsigned row)
{
    if (level >= 2 * row + 1)
        return '#';
    return level == 2 * row ? '_' : ' ';
}

static enum result draw(const struct latency_sample *sample, int count, uint32_t low, uint32_t high, uint32_t now_s,
                        struct buf *out)
{
    char line[GRAPH_COLUMNS + 2], age[GRAPH_COLUMNS][AGE_MAX];
    size_t deepest = 0;
    enum result res = RES_OK;
    for (unsigned row = GRAPH_ROWS; row-- > 0 && res == RES_OK;) {
        for (int i = 0; i < count; i++) {
            uint64_t over = sample[i].ms - low, span = high - low;
            line[i] = cell(span ? (unsigned)(over * (2 * GRAPH_ROWS - 1) / span) : 0, row);
        }
        line[count] = '\n';
        res = buf_append(out, line, (size_t)count + 1);
    }
    for (int i = 0; i < count; i++) {
        age_text(now_s > sample[i].time_s ? now_s - sample[i].time_s : 0, age[i]);
        deepest = strlen(age[i]) > deepest ? strlen(age[i]) : deepest;
    }
    if (res == RES_OK)
        res = buf_append(out, "\n", 1);
    for (size_t row = 0; row < deepest && res == RES_OK; row++) {
        for (int i = 0; i < count; i++)
            line[i] = row < strlen(age[i]) ? age[i][row] : ' ';
        line[count] = '\n';
        res = buf_append(out, line, (size_t)count + 1);
    }
    return res;
}

enum result latency_graph_text(const struct latency_series *s, uint32_t now_s, struct buf *out)
{
    int first = s->count > GRAPH_COLUMNS ? s->count - GRAPH_COLUMNS : 0;
    uint32_t low = UINT32_MAX, high = 0;
    for (int i = first; i < s->count; i++) {
        low = s->sample[i].ms < low ? s->sample[i].ms : low;
        high = s->sample[i].ms > high ? s->sample[i].ms : high;
    }
    enum result res =
        buf_printf(out, "%s - high %u ms, low %u ms (all time high %u ms)\n", s->event, high, low, s->max);
    for (int i = 0; i < GRAPH_COLUMNS && res == RES_OK; i++)
        res = buf_append(out, "-", 1);
    if (res == RES_OK)
        res = buf_append(out, "\n", 1);
    return res == RES_OK ? draw(s->sample + first, s->count - first, low, high, now_s, out) : res;
}

/* What an operator can do about an event of this name. */
static const char *advice(const char *event)
{
    static const struct {
        const char *event, *text;
    } known[] = {
        {"command", "SLOWLOG GET names the commands. Long ones over many elements run beside the others; a long "
                    "transaction does not, and holds up all writers."},
        {"fast-command",
         "Commands that should take microseconds took long: the machine has too little processor time for "
         "this process, or memory was swapped out."},
        {"write-latch",
         "One writer kept all others waiting, for longer than the threshold: a command over many elements "
         "that may not leave the latch, or too little processor time. SLOWLOG GET and INFO execution tell "
         "which."},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].event, event) == 0)
            return known[i].text;
    return "";
}

static enum result describe(const struct latency_series *s, int number, struct buf *out)
{
    uint64_t sum = 0, deviation = 0;
    for (int i = 0; i < s->count; i++)
        sum += s->sample[i].ms;
    uint64_t mean = sum / (uint64_t)s->count;
    for (int i = 0; i < s->count; i++)
        deviation += s->sample[i].ms > mean ? s->sample[i].ms - mean : mean - s->sample[i].ms;
    uint32_t span = s->sample[s->count - 1].time_s - s->sample[0].time_s;
    return buf_printf(out,
                      "%d. %s: %d times in %u seconds, %" PRIu64 " ms on average (mean deviation %" PRIu64
                      " ms), at worst %u ms.\n   %s\n",
                      number, s->event, s->count, span, mean, deviation / (uint64_t)s->count, s->max, advice(s->event));
}

enum result latency_doctor_text(const struct latency_series *series, size_t count, int64_t threshold_ms,
                                struct buf *out)
{
    enum result res = RES_OK;
    int shown = 0;
    if (threshold_ms == 0 && count == 0)
        return buf_printf(out, "Nothing is sampled: latency-monitor-threshold is 0. CONFIG SET it to the number of "
                               "milliseconds from which an event is worth a sample.\n");
    for (size_t i = 0; i < count && res == RES_OK; i++)
        if (series[i].count > 0)
            res = describe(&series[i], ++shown, out);
    if (res == RES_OK && shown == 0)
        res = buf_printf(out, "No event took %" PRId64 " ms or longer since the samples were last reset.\n",
                         threshold_ms);
    return res;
}
