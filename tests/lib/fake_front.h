/* A front that does what a test says: for tests of the executor, which is written against src/front/front.h and must be
 * right whatever the log, the disk and the gate do. Linked instead of libfront.a (before it).
 *
 * Everything lies in memory, every version for ever; there is no log. The gate follows visible unless the test takes it
 * in hand. Keys can be cold: a read that may not wait is refused until one has waited for it. Log space can be refused,
 * the log can fail. One front at a time is controlled; any thread. */
#ifndef VARVE_TESTS_LIB_FAKE_FRONT_H
#define VARVE_TESTS_LIB_FAKE_FRONT_H

#include "front/front.h"

/* The gate stays until fake_gate_to(); or follows visible again. */
void fake_gate_hold(struct front *f);
void fake_gate_follow(struct front *f);
void fake_gate_to(struct front *f, uint64_t sequence); /* at most visible; calls on_gate */
/* front_reserve answers RES_WOULD_BLOCK until there is space again (on_space is called), or `refusal`. */
void fake_space(struct front *f, bool available);
/* Called when space was refused, before front_reserve returns; NULL: none. */
void fake_on_refused(struct front *f, void (*fn)(void *arg), void *arg);
void fake_refuse(struct front *f, enum result refusal); /* RES_OK: no more */
/* Freezes the gate where it is; calls on_failure. */
void fake_fail(struct front *f);
/* Every key is cold that was not waited for since; permille: the share of keys concerned, by hash. */
void fake_chill(struct front *f, unsigned permille);
uint64_t fake_waits(struct front *f); /* reads that waited */
uint64_t fake_kicks(struct front *f);
uint64_t fake_tables(struct front *f); /* private tables not yet attached or aborted */
/* Called by every read that waits, before it reads; NULL: none. */
void fake_on_wait(struct front *f, void (*fn)(void *arg), void *arg);

#endif
