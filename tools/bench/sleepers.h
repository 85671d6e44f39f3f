/* When the machine itself stood still: a thread on each processor sleeps a millisecond at a time and notes when it was woken
 * late. What a program measures meanwhile says nothing of the server. */
#ifndef VARVE_TOOLS_BENCH_SLEEPERS_H
#define VARVE_TOOLS_BENCH_SLEEPERS_H

#include <stdbool.h>
#include <stdint.h>

void sleepers_start(void);
/* Whether one of them has been woken a millisecond too late, or is so late now, since that moment (clock_ns). */
bool sleepers_late_since(uint64_t ns);

#endif
