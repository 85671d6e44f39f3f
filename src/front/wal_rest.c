/* The log at rest. Under load the preparer is a ring's worth and more ahead of the writer, and files that are full are
 * recycled; when little is written, all of that would lie on the disk for nothing, beside what the current file has of
 * records that the engine has long had. So, once the latch holder has found that little is written (wal_rest):
 *
 *  1. Files to be recycled are removed (wal_files.c).
 *  2. A current file with much in it is ended: the next one begins with a START record alone, which is durable, and with it
 *     all before. So the engine's next boundary, when it is that file's base already, leaves nothing that is needed in
 *     the old one (wal_release).
 *  3. What is prepared beyond a little is taken back: files that were never begun go, the current one is cut.
 *
 * From then on the preparer goes ahead by what is written, several times as much, until it is where it was.
 *
 * What was promised to the latch holder may be taken back only while he has not used it. So wal_rest(), under the latch,
 * gives it all up and sets `resting`; before he uses any space again he clears it, and then looks at position and prepared.
 * The preparer moves these first, and then looks whether `resting` still holds and nothing is pending: each sees what
 * the other did, or both do. While it does so it has the turn, so that nobody writes. */
#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "front/wal.h"

#define AHEAD_TIMES 4 /* of what was written since the log rested is prepared */

/* What stays prepared, and how much in the current file is not worth another one: a megabyte of 64. */
static uint64_t a_little(const struct wal *w)
{
    uint64_t most = (uint64_t)1 << 20, share = w->o.segment_bytes / 64 / 4096 * 4096;
    return share < 4096 ? 4096 : share < most ? share : most;
}

uint64_t wal_ahead_after_rest(const struct wal *w)
{
    uint64_t since = atomic_load_explicit(&w->position, memory_order_relaxed) -
                     atomic_load_explicit(&w->rested_at, memory_order_relaxed);
    return a_little(w) + AHEAD_TIMES * since;
}

void wal_rest(struct wal *w)
{
    if (wal_failed(w) || atomic_load(&w->tail) != w->put_head)
        return;
    w->budget = 0;
    atomic_store(&w->rested_at, atomic_load(&w->position));
    atomic_store(&w->resting, true);
    os_fence();
    wal_wake_preparer(w);
}

void wal_end_rest(struct wal *w)
{
    atomic_store(&w->resting, false);
    os_fence();
}

bool wal_is_one_file(struct wal *w)
{
    os_mutex_lock(&w->files_lock);
    bool one = w->oldest == w->current;
    os_mutex_unlock(&w->files_lock);
    return one;
}

/* ---- the preparer's ---- */

static bool still_at_rest(struct wal *w)
{
    os_fence();
    return atomic_load(&w->resting) && atomic_load(&w->head) == atomic_load(&w->tail);
}

/* Writes the START record of the file that has just become the current one. */
static enum result write_start(struct wal *w)
{
    struct iovec iov = {w->start_record, LOG_START_RECORD};
    enum result res = w->current->file->ops->pwritev(w->current->file, &iov, 1, 0, ENV_DSYNC);
    if (res != RES_OK) {
        char sentence[256];
        snprintf(sentence, sizeof(sentence), "beginning log %012" PRIu64 " failed: %s; nothing more is written",
                 w->current->number, result_text(res));
        wal_fail(w, res, sentence);
        return res;
    }
    os_mutex_lock(&w->files_lock);
    w->current->started = true;
    os_mutex_unlock(&w->files_lock);
    w->offset = LOG_START_RECORD;
    return RES_OK;
}

/* The next file takes over, if all is still at rest; `made` is it when none was prepared yet. True: it was used. */
static bool end_current(struct wal *w, struct wal_file *made)
{
    uint64_t before = atomic_load(&w->position);
    if (wal_sync_all(w) != RES_OK) /* what the new file follows must not be lost when that one is not */
        return false;
    atomic_store(&w->position, (w->files_begun + 1) * w->o.segment_bytes + LOG_START_RECORD);
    if (!still_at_rest(w)) {
        atomic_store(&w->position, before);
        return false;
    }
    bool used = !w->current->next;
    if (used)
        wal_append_file(w, made);
    wal_begin_next_file(w);
    if (write_start(w) == RES_OK)
        atomic_store(&w->rested_at, atomic_load(&w->position));
    wal_count_prepared(w);
    return used;
}

/* Files that were prepared and not begun; *cut is the current one when its end is to go. */
static struct wal_file *take_back(struct wal *w, struct wal_file **cut)
{
    struct wal_file *f = w->current;
    uint64_t had = atomic_load(&f->prepared), unit = a_little(w), keep = (w->offset + 2 * unit - 1) / unit * unit;
    *cut = NULL;
    if (keep > had)
        keep = had;
    if (!f->next && keep == had)
        return NULL;
    uint64_t all = atomic_load(&w->prepared);
    atomic_store(&f->prepared, keep);
    atomic_store(&w->prepared, w->files_begun * w->o.segment_bytes + keep);
    if (!still_at_rest(w)) {
        atomic_store(&f->prepared, had);
        atomic_store(&w->prepared, all);
        return NULL;
    }
    os_mutex_lock(&w->files_lock);
    struct wal_file *unbegun = f->next;
    f->next = NULL;
    w->newest = f;
    os_mutex_unlock(&w->files_lock);
    w->files_made = w->files_begun + 1;
    if (keep < had)
        *cut = f;
    return unbegun;
}

/* So much is in the current file that another one shall take over. Only about, when the turn is not held. */
static bool has_much(const struct wal *w) { return atomic_load(&w->position) % w->o.segment_bytes >= a_little(w); }

static struct wal_file *make_next(struct wal *w)
{
    struct wal_file *f = NULL;
    os_mutex_lock(&w->files_lock);
    bool there = w->current->next != NULL;
    os_mutex_unlock(&w->files_lock);
    if (!there && wal_make_file(w, &f) != RES_OK)
        log_verbose("the log is not made smaller now: there is no room for another file");
    return f;
}

void wal_take_rest(struct wal *w)
{
    struct wal_file *unbegun = NULL, *cut = NULL, *made = NULL;
    if (!atomic_load(&w->resting) || wal_failed(w))
        return;
    if (has_much(w))
        made = make_next(w);
    if (!atomic_exchange(&w->turn, true)) {
        if (has_much(w) && (made || w->current->next) && end_current(w, made))
            made = NULL;
        if (!wal_failed(w))
            unbegun = take_back(w, &cut);
        atomic_store(&w->turn, false);
    }
    if (made)
        wal_remove_file(w, made);
    for (struct wal_file *f = unbegun, *next; f; f = next) {
        next = f->next;
        wal_remove_file(w, f);
    }
    /* What lies behind `prepared` is nobody's: whoever wants it waits for this thread to prepare it. */
    if (cut && cut->file->ops->truncate(cut->file, atomic_load(&cut->prepared)) != RES_OK)
        log_warning("log %012" PRIu64 " cannot be cut to what is used of it", cut->number);
    wal_write_pending(w); /* what came while we had the turn */
    wal_space(w);
}
