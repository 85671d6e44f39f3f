/* Private tables as data files: see private.h. */
#include "engine/private.h"

#include <stdlib.h>

#include "base/log.h"

void private_init(struct private_tables *p, struct env *env, char *dir)
{
    *p = (struct private_tables){.env = env, .dir = dir, .next_number = 1};
    os_mutex_init(&p->lock);
    os_mutex_init(&p->sync_lock);
}

void private_fini(struct private_tables *p)
{
    os_mutex_fini(&p->sync_lock);
    os_mutex_fini(&p->lock);
}

uint64_t private_new_number(struct private_tables *p)
{
    return __atomic_fetch_add(&p->next_number, 1, __ATOMIC_RELAXED);
}

enum result private_sync_names(struct private_tables *p)
{
    os_mutex_lock(&p->sync_lock);
    if (p->sync_failed == RES_OK && p->env->ops->sync_dir(p->env, p->dir) != RES_OK)
        p->sync_failed = RES_IO; /* whatever it was, it will not pass */
    enum result r = p->sync_failed;
    os_mutex_unlock(&p->sync_lock);
    return r;
}

/* ---- handles ---- */

static struct engine_table *table_new(struct private_tables *p, uint64_t number)
{
    struct engine_table *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->owner = p;
    t->refs = 1;
    t->number = number;
    os_mutex_lock(&p->lock);
    t->next = p->tables;
    p->tables = t;
    os_mutex_unlock(&p->lock);
    return t;
}

void private_ref(struct engine_table *t) { __atomic_fetch_add(&t->refs, 1, __ATOMIC_RELAXED); }

static void table_unref(struct engine_table *t)
{
    struct private_tables *p = t->owner;
    if (__atomic_fetch_sub(&t->refs, 1, __ATOMIC_ACQ_REL) != 1)
        return;
    os_mutex_lock(&p->lock);
    struct engine_table **link = &p->tables;
    while (*link != t)
        link = &(*link)->next;
    *link = t->next;
    bool remove = t->remove && !t->in_doubt;
    os_mutex_unlock(&p->lock);
    if (remove && t->file)
        __atomic_store_n(&t->file->obsolete, true, __ATOMIC_RELAXED);
    datafile_abort(&t->writer);
    keydir_unref(t->root, &p->memory);
    datafile_unref(t->file);
    free(t);
}

void private_taken(struct engine_table *t)
{
    os_mutex_lock(&t->owner->lock);
    t->remove = true;
    os_mutex_unlock(&t->owner->lock);
}

void private_in_doubt(struct engine_table *t)
{
    os_mutex_lock(&t->owner->lock);
    t->in_doubt = true;
    os_mutex_unlock(&t->owner->lock);
}

void private_release(struct engine_table *t) { table_unref(t); }

void private_abort(struct engine_table *t)
{
    private_taken(t);
    table_unref(t);
}

/* ---- writing and opening ---- */

enum result private_begin(struct private_tables *p, struct engine_table **out)
{
    *out = NULL;
    struct engine_table *t = table_new(p, private_new_number(p));
    if (!t)
        return RES_NO_MEMORY;
    enum result r = datafile_begin(&t->writer, p->env, p->dir, t->number);
    if (r != RES_OK) {
        table_unref(t);
        return r;
    }
    *out = t;
    return RES_OK;
}

enum result private_add(struct engine_table *t, struct slice key, uint8_t kind, struct slice value)
{
    struct keydir_place place;
    return datafile_add(&t->writer, key, kind, value, &place);
}

/* What the hints of one file tell, as changes. */
struct file_hints {
    struct iter *hints;
    bool begun;
};

static enum result next_hint(void *arg, struct keydir_change *out)
{
    struct file_hints *h = arg;
    enum result r = h->begun ? iter_next(h->hints) : iter_seek(h->hints, slice_of(NULL, 0));
    h->begun = true;
    if (r != RES_OK)
        return r;
    out->kind = KEYDIR_PUT;
    out->key = h->hints->key;
    memcpy(&out->place, h->hints->value.data, sizeof out->place);
    return RES_OK;
}

static enum result build_directory(struct engine_table *t)
{
    struct file_hints h = {0};
    struct keydir_changes changes = {.next = next_hint, .arg = &h};
    enum result r = datafile_hints(t->file, &h.hints, NULL);
    if (r == RES_OK)
        r = keydir_edit(NULL, &changes, &t->owner->memory, &t->root);
    iter_close(h.hints);
    t->set = (struct datafile_set){&t->file, 1};
    return r;
}

enum result private_finish(struct engine_table *t, uint64_t *number)
{
    *number = 0;
    enum result r = t->writer.records ? datafile_finish(&t->writer, &t->file) : RES_INVALID;
    if (r == RES_OK)
        r = private_sync_names(t->owner);
    if (r == RES_OK)
        r = build_directory(t);
    if (r == RES_OK)
        *number = t->number;
    return r;
}

enum result private_open(struct private_tables *p, uint64_t number, struct engine_table **out)
{
    *out = NULL;
    struct engine_table *t = table_new(p, number);
    if (!t)
        return RES_NO_MEMORY;
    enum result r = datafile_open(p->env, p->dir, number, 0, &t->file, NULL);
    if (r == RES_OK)
        r = build_directory(t);
    if (r != RES_OK) {
        table_unref(t);
        return r;
    }
    *out = t;
    return RES_OK;
}

/* ---- reading ---- */

enum result private_get(struct engine_table *t, const struct engine_key *key, int flags, uint8_t *kind,
                        struct slice *value, struct engine_miss *miss)
{
    return datafile_get(t->root, &t->set, key->bytes, flags, kind, value, miss);
}

static void iterated(void *table) { table_unref(table); }

enum result private_iter(struct engine_table *t, struct slice lower, struct slice upper, int flags, struct iter **out)
{
    struct iter *inner;
    private_ref(t);
    *out = NULL;
    enum result r = datafile_iter(t->root, &t->set, lower, upper, flags, iterated, t, &inner);
    if (r == RES_OK && (flags & ITER_TOMBSTONES))
        *out = inner;
    else if (r == RES_OK)
        r = iter_merge(&inner, 1, flags, out); /* which skips tombstones */
    return r;
}

enum result private_records(struct engine_table *t, struct iter **out)
{
    struct slice none = slice_of(NULL, 0);
    return datafile_iter(t->root, &t->set, none, none, ITER_TOMBSTONES, NULL, NULL, out);
}

/* ---- what lies in the folder ---- */

struct numbers {
    uint64_t *number;
    size_t count, cap;
    bool failed;
};

static void note_number(void *arg, const char *name)
{
    struct numbers *n = arg;
    uint64_t number;
    if (!datafile_number(name, &number))
        return;
    if (n->count == n->cap) {
        size_t cap = n->cap ? n->cap * 2 : 64;
        uint64_t *more = realloc(n->number, cap * sizeof *more);
        n->failed |= !more;
        if (!more)
            return;
        n->number = more;
        n->cap = cap;
    }
    n->number[n->count++] = number;
}

static enum result list_numbers(struct private_tables *p, struct numbers *n)
{
    *n = (struct numbers){0};
    enum result r = p->env->ops->list(p->env, p->dir, note_number, n);
    return r == RES_OK && n->failed ? RES_NO_MEMORY : r;
}

enum result private_count_files(struct private_tables *p)
{
    struct numbers n;
    enum result r = list_numbers(p, &n);
    for (size_t i = 0; i < n.count; i++)
        if (n.number[i] >= p->next_number)
            p->next_number = n.number[i] + 1;
    free(n.number);
    return r;
}

static bool has_handle(struct private_tables *p, uint64_t number)
{
    os_mutex_lock(&p->lock);
    struct engine_table *t = p->tables;
    while (t && t->number != number)
        t = t->next;
    os_mutex_unlock(&p->lock);
    return t != NULL;
}

enum result private_sweep(struct private_tables *p, bool (*keep)(void *arg, uint64_t number), void *arg)
{
    struct numbers n;
    enum result r = list_numbers(p, &n);
    size_t removed = 0;
    for (size_t i = 0; r == RES_OK && i < n.count; i++) {
        if (has_handle(p, n.number[i]) || (keep && keep(arg, n.number[i])))
            continue;
        datafile_remove(p->env, p->dir, n.number[i]);
        removed++;
    }
    free(n.number);
    if (removed)
        log_verbose("%s: removed data files that nothing names", p->dir);
    return r;
}
