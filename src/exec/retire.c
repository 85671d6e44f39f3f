/* Settings and other snapshots that calls borrow: freed when nobody can use them any more.
 *
 * A run on a reactor lies in one epoch section, so for it an epoch is enough. Runs that may wait (on the pool, in the
 * background, CMD_SESSION commands) lie outside of sections; they are kept in a list, in the order of their beginning,
 * each with a ticket. What was retired waits for the epoch, then takes a ticket itself, and is freed when the oldest run
 * began later. */
#include <stddef.h>
#include <stdlib.h>

#include "base/epoch.h"
#include "exec/internal.h"

struct retired {
    struct epoch_entry entry; /* first */
    struct shard *shard;
    struct retired *next;
    uint64_t ticket;
    void (*fn)(void *arg);
    void *arg;
};

/* Takes off the list what no run can use. */
static struct retired *take_due(struct shard *s)
{
    uint64_t oldest = s->active_runs ? s->active_runs->ticket : UINT64_MAX;
    struct retired *due = NULL, **at = &s->retired;
    while (*at) {
        struct retired *r = *at;
        if (r->ticket < oldest) {
            *at = r->next;
            r->next = due;
            due = r;
        } else {
            at = &r->next;
        }
    }
    return due;
}

static void free_due(struct retired *due)
{
    while (due) {
        struct retired *next = due->next;
        due->fn(due->arg);
        free(due);
        due = next;
    }
}

void run_enter(struct run *r)
{
    struct shard *s = r->call.shard;
    os_mutex_lock(&s->lock);
    r->ticket = ++s->tickets;
    r->newer = NULL;
    r->older = s->active_last;
    if (r->older)
        r->older->newer = r;
    else
        s->active_runs = r;
    s->active_last = r;
    os_mutex_unlock(&s->lock);
}

void run_leave(struct run *r)
{
    struct shard *s = r->call.shard;
    os_mutex_lock(&s->lock);
    if (r->older)
        r->older->newer = r->newer;
    else
        s->active_runs = r->newer;
    if (r->newer)
        r->newer->older = r->older;
    else
        s->active_last = r->older;
    r->ticket = 0;
    struct retired *due = s->retired ? take_due(s) : NULL;
    os_mutex_unlock(&s->lock);
    free_due(due);
}

/* Every epoch section that might have seen it has ended. */
static void epoch_over(struct epoch_entry *entry)
{
    struct retired *r = (struct retired *)entry;
    struct shard *s = r->shard;
    os_mutex_lock(&s->lock);
    r->ticket = ++s->tickets;
    r->next = s->retired;
    s->retired = r;
    struct retired *due = take_due(s);
    os_mutex_unlock(&s->lock);
    free_due(due);
}

void shard_retire(struct shard *s, void (*fn)(void *arg), void *arg)
{
    struct retired *r = calloc(1, sizeof *r);
    if (!r)
        return; /* a snapshot of the settings lost to a full heap does no harm; freeing it too early would */
    r->shard = s;
    r->fn = fn;
    r->arg = arg;
    epoch_retire(&r->entry, epoch_over);
}

void retire_all(struct shard *s)
{
    epoch_drain();
    assert(!s->active_runs && !s->retired);
}
