/* How the engine goes from one version to the next: made durable first, then published. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "engine/lsm/lsm.h"

/* ---- views ---- */

struct engine_view *lsm_view_acquire(struct lsm *lsm)
{
    os_mutex_lock(&lsm->lock);
    struct engine_view *v = lsm->current;
    lsm_view_ref(v);
    os_mutex_unlock(&lsm->lock);
    return v;
}

void lsm_view_ref(struct engine_view *v)
{
    __atomic_fetch_add(&v->lsm->views, 1, __ATOMIC_RELAXED);
    version_ref(v);
}

void lsm_view_release(struct engine_view *v)
{
    __atomic_fetch_sub(&v->lsm->views, 1, __ATOMIC_RELAXED);
    version_unref(v);
}

/* ---- failure ---- */

enum result lsm_failed(struct lsm *lsm)
{
    os_mutex_lock(&lsm->lock);
    enum result r = lsm->failed;
    os_mutex_unlock(&lsm->lock);
    return r;
}

/* From here on no edit is begun. True for the first failure, which is to be told. */
static bool freeze(struct lsm *lsm, enum result why)
{
    os_mutex_lock(&lsm->lock);
    bool first = lsm->failed == RES_OK;
    if (first)
        lsm->failed = why;
    os_cond_broadcast(&lsm->done);
    os_mutex_unlock(&lsm->lock);
    return first;
}

static void tell_failure(struct lsm *lsm, enum result why, const char *what)
{
    char sentence[256];

    snprintf(sentence, sizeof sentence, "%s failed in %s: %s; nothing is written there any more", what, lsm->dir,
             result_text(why));
    log_warning("%s", sentence);
    if (lsm->options.on_failure)
        lsm->options.on_failure(lsm->options.arg, why, sentence);
}

void lsm_fail(struct lsm *lsm, enum result why, const char *what)
{
    if (freeze(lsm, why))
        tell_failure(lsm, why, what);
}

/* ---- the edit as bytes ---- */

static enum result put_table(struct buf *b, const struct table *t, int level, uint64_t run)
{
    struct manifest_table m = {
        .number = t->meta.number, .level = level, .run = run, .size = t->meta.size, .region = t->meta.region};
    return manifest_put_add(b, &m);
}

enum result lsm_encode_state(struct buf *out, const struct engine_view *v, uint64_t next_number, uint64_t sequence,
                             struct slice state)
{
    const struct {
        enum manifest_field field;
        uint64_t value;
    } numbers[] = {
        {MANIFEST_FORMAT, MANIFEST_VERSION}, {MANIFEST_NEXT_NUMBER, next_number}, {MANIFEST_SEQUENCE, sequence}};
    enum result r = RES_OK;
    for (size_t i = 0; r == RES_OK && i < sizeof numbers / sizeof *numbers; i++)
        r = manifest_put_number(out, numbers[i].field, numbers[i].value);
    if (r == RES_OK)
        r = manifest_put_bytes(out, MANIFEST_STATE, state);
    for (uint32_t i = 0; r == RES_OK && i < v->level0_count; i++)
        for (uint32_t k = 0; r == RES_OK && k < v->runs[i]->count; k++)
            r = put_table(out, v->runs[i]->tables[k], 0, v->runs[i]->id);
    for (int level = 1; r == RES_OK && level < ENGINE_LEVELS; level++)
        for (uint32_t k = 0; r == RES_OK && v->level[level] && k < v->level[level]->count; k++)
            r = put_table(out, v->level[level]->tables[k], level, 0);
    return r;
}

static enum result encode_edit(struct buf *out, const struct edit *e, uint64_t next_number)
{
    enum result r = manifest_put_number(out, MANIFEST_NEXT_NUMBER, next_number);
    if (r == RES_OK && e->boundary) {
        r = manifest_put_number(out, MANIFEST_SEQUENCE, e->boundary->sequence);
        if (r == RES_OK)
            r = manifest_put_bytes(out, MANIFEST_STATE, e->boundary->state);
    }
    for (size_t i = 0; r == RES_OK && i < e->drop_count; i++)
        r = manifest_put_drop(out, e->drops[i].table->meta.number, e->drops[i].level);
    for (size_t i = 0; r == RES_OK && i < e->add_count; i++)
        r = put_table(out, e->adds[i].table, e->adds[i].level, e->adds[i].run);
    return r;
}

/* ---- files in doubt ---- */

static bool version_has(const struct engine_view *v, uint64_t number)
{
    for (uint32_t i = 0; i < v->run_count; i++)
        for (uint32_t k = 0; k < v->runs[i]->count; k++)
            if (v->runs[i]->tables[k]->meta.number == number)
                return true;
    return false;
}

/* Their edit may be found by a recovery, or not, until a new manifest is in force. A private table's file is none of
 * them: its handle has it, for another try, and a log may name it, whatever the manifest says. */
static void doubt(struct lsm *lsm, const struct edit *e)
{
    for (size_t i = 0; i < e->add_count; i++) {
        if (lsm->doubtful_count == lsm->doubtful_cap) {
            size_t cap = lsm->doubtful_cap ? lsm->doubtful_cap * 2 : 16;
            uint64_t *numbers = realloc(lsm->doubtful, cap * sizeof *numbers);
            if (!numbers)
                return; /* the files stay until the next start sweeps them */
            lsm->doubtful = numbers;
            lsm->doubtful_cap = cap;
        }
        if (!version_has(lsm->current, e->adds[i].table->meta.number))
            lsm->doubtful[lsm->doubtful_count++] = e->adds[i].table->meta.number;
    }
}

static void resolve_doubts(struct lsm *lsm, const struct engine_view *v)
{
    for (size_t i = 0; i < lsm->doubtful_count; i++)
        if (!version_has(v, lsm->doubtful[i]))
            lsm_remove_table(lsm, lsm->doubtful[i]);
    lsm->doubtful_count = 0;
}

/* ---- committing ---- */

/* These pass: memory, descriptors or disk space may be there later, and nothing is known to be half done. */
static bool passing(enum result r) { return r == RES_NO_SPACE || r == RES_NO_MEMORY || r == RES_TOO_MANY; }

/* *fatal: it cannot be told any more which manifest is in force. */
static enum result write_edit(struct lsm *lsm, struct edit *e, const struct engine_view *next, bool *fatal)
{
    struct buf payload = BUF_INIT;
    enum result r;

    if (manifest_wants_whole(&lsm->manifest)) {
        uint64_t number = lsm_new_number(lsm), sequence = e->boundary ? e->boundary->sequence : lsm->sequence;
        struct slice state = e->boundary ? e->boundary->state : buf_slice(&lsm->state);
        r = lsm_encode_state(&payload, next, number + 1, sequence, state);
        if (r == RES_OK)
            r = manifest_start(&lsm->manifest, number, buf_slice(&payload), &e->in_doubt);
        *fatal = e->in_doubt;
        if (r == RES_OK)
            resolve_doubts(lsm, next);
    } else {
        r = encode_edit(&payload, e, __atomic_load_n(&lsm->next_number, __ATOMIC_RELAXED));
        if (r == RES_OK) {
            r = manifest_append(&lsm->manifest, buf_slice(&payload));
            e->in_doubt = r != RES_OK;
        }
    }
    buf_fini(&payload);
    return r;
}

static bool added(const struct edit *e, const struct table *t)
{
    for (size_t i = 0; i < e->add_count; i++)
        if (e->adds[i].table == t)
            return true;
    return false;
}

enum result lsm_commit_edit(struct lsm *lsm, struct edit *e)
{
    struct engine_view *old = NULL, *next = NULL;
    struct buf state = BUF_INIT;
    bool fatal = false, first_failure = false;

    e->in_doubt = false;
    os_mutex_lock(&lsm->edit_lock);
    enum result r = lsm_failed(lsm);
    if (r != RES_OK)
        goto out;
    if (e->boundary && (r = buf_append(&state, e->boundary->state.data, e->boundary->state.len)) != RES_OK)
        goto out;
    if ((r = version_edit(lsm, lsm->current, e, &next)) != RES_OK) {
        fatal = !passing(r); /* tables that overlap: a broken invariant, found before it is on disk */
        goto out;
    }
    if ((r = write_edit(lsm, e, next, &fatal)) != RES_OK) {
        if (e->in_doubt && !e->private_table)
            doubt(lsm, e);
        fatal = fatal || !passing(r);
        goto out;
    }
    if (e->boundary) {
        lsm->sequence = e->boundary->sequence;
        buf_fini(&lsm->state);
        lsm->state = state;
        state = BUF_INIT;
    }
    for (size_t i = 0; i < e->drop_count; i++)
        if (!added(e, e->drops[i].table))
            __atomic_store_n(&e->drops[i].table->obsolete, true, __ATOMIC_RELAXED);
    os_mutex_lock(&lsm->lock);
    old = lsm->current;
    lsm->current = next;
    __atomic_store_n(&lsm->debt, lsm_debt_of(lsm, next), __ATOMIC_RELAXED);
    next = NULL;
    os_cond_broadcast(&lsm->work);
    os_mutex_unlock(&lsm->lock);
out:
    /* Before the next edit may begin: it would go to a manifest of which nobody knows whether it is in force. */
    first_failure = fatal && freeze(lsm, r);
    os_mutex_unlock(&lsm->edit_lock);
    if (first_failure)
        tell_failure(lsm, r, "writing the manifest");
    version_unref(old);
    version_unref(next);
    buf_fini(&state);
    return r;
}
