/* Epochs over ck_epoch.
 *
 * ck_epoch supplies the sections and the proof that a grace period has passed. Its own queues are per thread and may
 * be emptied by their owner only; here anybody may retire, threads end, and the thread that retires most (a flush) may
 * not poll for a long time. So retired objects go to one list for all:
 *
 *   retire ─► incoming ─► waiting (one batch, in its grace period) ─► due ─► destroyed, a bounded number a poll
 *             (lock-free)  └──────────── under `reclaim`, by whoever polls ────────────┘
 *
 * 1. `incoming` is taken whole to become the batch. A batch waits for one marker given to ck_epoch under a record that
 *    only the holder of `reclaim` uses, so ck's rule (a record has one user) holds.
 * 2. Retiring is a full barrier: the unlinking is visible to every section that starts after the entry can be taken.
 * 3. `reclaim` is only ever tried, never waited for: no thread sleeps here, and a test's scheduler is never caught by
 *    a lock it does not know.
 * 4. A thread's record is recycled when the thread ends; records are never freed (ck's rule).
 *
 * ThreadSanitizer cannot see into ck's assembly. Leaving a section and retiring release, and destroying acquires, the
 * address of the domain: exactly the order that epochs promise. A section that has not ended has not released, so an
 * early destruction is still reported. */
#include "base/epoch.h"

#include <assert.h>
#include <ck_epoch.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#if defined(__SANITIZE_THREAD__)
#define EPOCH_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define EPOCH_TSAN 1
#endif
#endif
#ifdef EPOCH_TSAN
#include <sanitizer/tsan_interface.h>
#define HB_RELEASE() __tsan_release(&domain)
#define HB_ACQUIRE() __tsan_acquire(&domain)
#else
#define HB_RELEASE() ((void)0)
#define HB_ACQUIRE() ((void)0)
#endif

/* The layout behind struct epoch_entry. */
struct retired {
    struct retired *next;
    epoch_free_fn *destroy;
};
_Static_assert(sizeof(struct retired) <= sizeof(struct epoch_entry), "epoch_entry is too small");

static ck_epoch_t domain;
static pthread_once_t domain_once = PTHREAD_ONCE_INIT;
static pthread_key_t thread_key;
static _Thread_local ck_epoch_record_t *record; /* of this thread; NULL before its first section and after its last */

static struct retired *incoming; /* atomic; newest first */
static uint64_t pending;         /* atomic: retired and not yet destroyed */

static pthread_mutex_t reclaim = PTHREAD_MUTEX_INITIALIZER;
/* All under `reclaim`. */
static ck_epoch_record_t *reclaimer;
static ck_epoch_entry_t marker;
static struct retired *waiting; /* the batch in its grace period */
static bool grace_over;         /* the marker of `waiting` has come back */
static struct retired *due;     /* may be destroyed */
static uint64_t due_count;
static uint64_t batches_taken, batches_destroyed; /* numbers of the last batch that became `waiting`, was destroyed */

void (*epoch_idle)(void);

static void thread_end(void *rec)
{
    ck_epoch_record_t *r = rec;
    assert(r->active == 0); /* a thread must not end inside a section */
    record = NULL;
    HB_RELEASE(); /* to the thread that gets the record next */
    ck_epoch_unregister(r);
}

static ck_epoch_record_t *record_new(void)
{
    ck_epoch_record_t *r = ck_epoch_recycle(&domain, NULL);
    if (r) {
        HB_ACQUIRE();
    } else {
        /* A few hundred bytes a thread, once. Without them no lock-free read is possible. */
        r = aligned_alloc(CK_MD_CACHELINE, (sizeof *r + CK_MD_CACHELINE - 1) / CK_MD_CACHELINE * CK_MD_CACHELINE);
        assert(r != NULL);
        ck_epoch_register(&domain, r, NULL);
    }
    return r;
}

static void domain_init(void)
{
    ck_epoch_init(&domain);
    int rc = pthread_key_create(&thread_key, thread_end);
    assert(rc == 0);
    (void)rc;
    reclaimer = record_new();
}

__attribute__((noinline, cold)) static ck_epoch_record_t *thread_begin(void)
{
    pthread_once(&domain_once, domain_init);
    record = record_new();
    int rc = pthread_setspecific(thread_key, record);
    assert(rc == 0);
    (void)rc;
    return record;
}

void epoch_enter(void)
{
    ck_epoch_record_t *r = record;
    if (__builtin_expect(r == NULL, 0))
        r = thread_begin();
    ck_epoch_begin(r, NULL);
}

void epoch_leave(void)
{
    assert(record && record->active > 0);
    HB_RELEASE();
    ck_epoch_end(record, NULL);
}

int epoch_depth(void) { return record ? (int)record->active : 0; }

void epoch_retire(struct epoch_entry *entry, epoch_free_fn *destroy)
{
    struct retired *r = (struct retired *)entry;
    r->destroy = destroy;
    HB_RELEASE();
    __atomic_fetch_add(&pending, 1, __ATOMIC_SEQ_CST);
    r->next = __atomic_load_n(&incoming, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&incoming, &r->next, r, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
        ;
}

static void marker_back(ck_epoch_entry_t *entry)
{
    (void)entry;
    grace_over = true;
}

/* One step of the batch in its grace period; starts the next one when there is none. */
static void advance(void)
{
    if (!waiting) {
        waiting = __atomic_exchange_n(&incoming, NULL, __ATOMIC_SEQ_CST);
        if (!waiting)
            return;
        batches_taken++;
        grace_over = false;
        ck_epoch_call(reclaimer, &marker, marker_back);
    }
    ck_epoch_poll(reclaimer);
    if (!grace_over || due)
        return;
    due = waiting;
    waiting = NULL;
    due_count = 0;
    for (struct retired *r = due; r; r = r->next)
        due_count++;
}

/* Destroys at least `least` of what is due, and always an eighth, so that a big batch cannot grow old. */
static void destroy_due(uint64_t least)
{
    uint64_t n = least > due_count / 8 ? least : due_count / 8;

    if (!due)
        return;
    HB_ACQUIRE();
    while (due && n--) {
        struct retired *r = due;
        due = r->next;
        due_count--;
        r->destroy((struct epoch_entry *)r);
        __atomic_fetch_sub(&pending, 1, __ATOMIC_RELAXED);
    }
    if (!due)
        batches_destroyed++;
}

void epoch_poll(void)
{
    if (__atomic_load_n(&pending, __ATOMIC_RELAXED) == 0)
        return;
    pthread_once(&domain_once, domain_init);
    if (pthread_mutex_trylock(&reclaim) != 0)
        return; /* somebody is at it */
    advance();
    destroy_due(128);
    pthread_mutex_unlock(&reclaim);
}

static void drain_idle(void)
{
    if (epoch_idle) {
        epoch_idle();
    } else {
        struct timespec moment = {0, 20000};
        nanosleep(&moment, NULL);
    }
}

void epoch_drain(void)
{
    uint64_t target = 0;

    assert(epoch_depth() == 0);
    pthread_once(&domain_once, domain_init);
    for (;; drain_idle()) {
        if (pthread_mutex_trylock(&reclaim) != 0)
            continue;
        /* What is in `incoming` now belongs to the next batch taken. */
        if (target == 0)
            target = batches_taken + (__atomic_load_n(&incoming, __ATOMIC_ACQUIRE) != NULL);
        advance();
        destroy_due(UINT64_MAX);
        bool done = batches_destroyed >= target;
        pthread_mutex_unlock(&reclaim);
        if (done)
            return;
    }
}
