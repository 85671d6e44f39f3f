/* When the machine itself was disturbed: a thread on each processor sleeps a millisecond at a time, notes when it was woken
 * late, and then touches some pages of its own and notes when that took long. The second was
 * seen on a virtual machine with nothing to do (its host may have looked for pages nobody uses): every access is slow for
 * tens of milliseconds, on all processors, and nobody sleeps longer. What a program measures meanwhile says nothing of the server. */
#ifndef VARVE_TOOLS_BENCH_SLEEPERS_H
#define VARVE_TOOLS_BENCH_SLEEPERS_H

#include <stdbool.h>
#include <stdint.h>

void sleepers_start(void);
/* Whether since that moment (clock_ns) one of them has been woken a millisecond too late, or is so late now, or memory was
 * slow: two looks within some milliseconds took four times as long as they usually do. */
bool sleepers_disturbed_since(uint64_t ns);

#endif
