/* A progress bar on stderr, when that is a terminal: share done, figures, rate, time left. Elsewhere nothing is drawn. */
#ifndef VARVE_KVCTL_PROGRESS_H
#define VARVE_KVCTL_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    bool shown;
    const char *what; /* "keys" */
    uint64_t start_ns, drawn_ns;
    uint64_t total; /* of `done`: bytes or keys; 0: not known */
    uint64_t first; /* `done` at the start: what an earlier run did */
};
uint64_t mono_ns(void);
void progress_begin(struct progress *p, const char *what, uint64_t first, uint64_t total, bool wanted);
/* Draws at most ten times a second. count: of `what`, since the start. */
void progress_show(struct progress *p, uint64_t done, uint64_t count);
void progress_end(struct progress *p, uint64_t done, uint64_t count);

#endif
