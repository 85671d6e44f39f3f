/* Private tables: data files beside the tree until they are attached (engine/datafile.h). */
#include <inttypes.h>
#include <stdlib.h>

#include "base/log.h"
#include "engine/btree/btree.h"

void btree_table_ref(struct engine_table *t) { __atomic_fetch_add(&t->refs, 1, __ATOMIC_RELAXED); }

static void table_unref(struct engine_table *t)
{
    struct btree *b = t->b;
    if (__atomic_fetch_sub(&t->refs, 1, __ATOMIC_ACQ_REL) != 1)
        return;
    os_mutex_lock(&b->lock);
    for (struct engine_table **p = &b->tables; *p; p = &(*p)->next)
        if (*p == t) {
            *p = t->next;
            break;
        }
    bool remove = t->remove;
    os_mutex_unlock(&b->lock);
    if (remove && t->table.file)
        __atomic_store_n(&t->table.file->obsolete, true, __ATOMIC_RELAXED);
    datafile_table_fini(&t->table);
    free(t);
}

static struct engine_table *table_new(struct btree *b, uint64_t number)
{
    struct engine_table *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->b = b;
    t->refs = 1;
    t->number = number;
    os_mutex_lock(&b->lock);
    t->next = b->tables;
    b->tables = t;
    os_mutex_unlock(&b->lock);
    return t;
}

enum result btree_table_begin(struct engine *e, struct engine_table **out)
{
    struct btree *b = (struct btree *)e;
    enum result r = btree_failed(b);
    *out = NULL;
    if (r != RES_OK)
        return r;
    struct engine_table *t = table_new(b, __atomic_fetch_add(&b->next_number, 1, __ATOMIC_RELAXED));
    if (!t)
        return RES_NO_MEMORY;
    r = datafile_table_begin(&t->table, b->env, b->dir, t->number, &b->memory);
    if (r != RES_OK) {
        table_unref(t);
        return r;
    }
    *out = t;
    return RES_OK;
}

enum result btree_table_add(struct engine_table *t, struct slice key, uint8_t kind, struct slice value)
{
    struct keydir_place place;
    return datafile_add(&t->table.writer, key, kind, value, &place);
}

enum result btree_table_finish(struct engine_table *t, uint64_t *number)
{
    *number = 0;
    enum result r = datafile_table_finish(&t->table);
    if (r == RES_OK)
        r = t->b->env->ops->sync_dir(t->b->env, t->b->dir);
    if (r == RES_OK)
        *number = t->number;
    return r;
}

void btree_table_abort(struct engine_table *t)
{
    os_mutex_lock(&t->b->lock);
    t->remove = true;
    os_mutex_unlock(&t->b->lock);
    table_unref(t);
}

enum result btree_table_open(struct engine *e, uint64_t number, struct engine_table **out)
{
    struct btree *b = (struct btree *)e;
    *out = NULL;
    struct engine_table *t = table_new(b, number);
    if (!t)
        return RES_NO_MEMORY;
    enum result r = datafile_table_open(&t->table, b->env, b->dir, number, &b->memory);
    if (r != RES_OK) {
        t->table = (struct datafile_table){.memory = &b->memory};
        table_unref(t);
        return r;
    }
    *out = t;
    return RES_OK;
}

enum result btree_table_get(struct engine_table *t, const struct engine_key *key, int flags, uint8_t *kind,
                            struct slice *value, struct engine_miss *miss)
{
    return datafile_get(t->table.root, &t->table.set, key->bytes, flags, kind, value, miss);
}

static void iterated(void *table) { table_unref(table); }

enum result btree_table_iter(struct engine_table *t, struct slice lower, struct slice upper, int flags,
                             struct iter **out)
{
    struct iter *inner;
    btree_table_ref(t);
    *out = NULL;
    enum result r = datafile_iter(t->table.root, &t->table.set, lower, upper, flags, iterated, t, &inner);
    if (r == RES_OK && (flags & ITER_TOMBSTONES))
        *out = inner;
    else if (r == RES_OK)
        r = iter_merge(&inner, 1, flags, out); /* which skips tombstones */
    return r;
}

void btree_table_release(struct engine_table *t) { table_unref(t); }

/* ---- sweeping ---- */

struct leftovers {
    struct btree *b;
    uint64_t *numbers;
    size_t count, cap;
    bool failed;
};

static void leftover(void *arg, const char *name)
{
    struct leftovers *l = arg;
    uint64_t number;
    if (!datafile_number(name, &number))
        return;
    os_mutex_lock(&l->b->lock);
    bool open = false;
    for (struct engine_table *t = l->b->tables; t && !open; t = t->next)
        open = t->number == number;
    os_mutex_unlock(&l->b->lock);
    if (open)
        return;
    if (l->count == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 64;
        uint64_t *numbers = realloc(l->numbers, cap * sizeof *numbers);
        l->failed |= !numbers;
        if (!numbers)
            return;
        l->numbers = numbers;
        l->cap = cap;
    }
    l->numbers[l->count++] = number;
}

enum result btree_table_sweep(struct engine *e)
{
    struct btree *b = (struct btree *)e;
    struct leftovers l = {.b = b};
    enum result r = b->env->ops->list(b->env, b->dir, leftover, &l);
    if (r == RES_OK && l.failed)
        r = RES_NO_MEMORY;
    for (size_t i = 0; r == RES_OK && i < l.count; i++)
        datafile_remove(b->env, b->dir, l.numbers[i]);
    if (l.count)
        log_verbose("%s: removed private tables that nothing names", b->dir);
    free(l.numbers);
    return r;
}
