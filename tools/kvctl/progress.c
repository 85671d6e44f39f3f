/* The progress bar: see progress.h. */
#include "tools/kvctl/progress.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/kvctl/kvctl.h"

#define BAR 30
#define REDRAW_NS 100000000u

uint64_t mono_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void progress_begin(struct progress *p, const char *what, uint64_t first, uint64_t total, bool wanted)
{
    *p = (struct progress){
        .shown = wanted && isatty(STDERR_FILENO), .what = what, .start_ns = mono_ns(), .first = first, .total = total};
}

static void draw(struct progress *p, uint64_t done, uint64_t count, uint64_t now)
{
    char bar[BAR + 1], counted[32], rate[32], left[32] = "";
    double seconds = (double)(now - p->start_ns) / 1e9;
    double share = p->total ? (double)done / (double)p->total : 0;
    share = share > 1 ? 1 : share;
    size_t full = (size_t)(share * BAR);
    memset(bar, '#', full);
    memset(bar + full, '.', BAR - full);
    bar[BAR] = 0;
    human_count((double)count, counted);
    human_count(seconds > 0 ? (double)count / seconds : 0, rate);
    if (p->total && done > p->first && seconds > 0.5)
        human_seconds((double)(p->total - (done < p->total ? done : p->total)) * seconds / (double)(done - p->first),
                      left);
    if (p->total)
        fprintf(stderr, "\r[%s] %3.0f%%  %s %s  %s/s%s%s\033[K", bar, share * 100, counted, p->what, rate,
                *left ? "  left " : "", left);
    else
        fprintf(stderr, "\r%s %s  %s/s\033[K", counted, p->what, rate);
    fflush(stderr);
}

void progress_show(struct progress *p, uint64_t done, uint64_t count)
{
    if (!p->shown)
        return;
    uint64_t now = mono_ns();
    if (now - p->drawn_ns < REDRAW_NS)
        return;
    p->drawn_ns = now;
    draw(p, done, count, now);
}

void progress_end(struct progress *p, uint64_t done, uint64_t count)
{
    if (!p->shown)
        return;
    draw(p, done, count, mono_ns());
    fputc('\n', stderr);
}
