/* Open files of tables. When there is a limit, a table whose file has not been read for a while has it closed and opens
 * it again when it must; so a table's file is a counted handle, taken for each read from the disk, which is rare beside
 * what the cache answers. The hand that looks for files to close goes round the cache's list of tables. */
#include <stdlib.h>

#include "engine/lsm/table.h"

static void handle_free(struct epoch_entry *e) { free((char *)e - offsetof(struct table_file, retire)); }

void table_file_release(struct table_file *h)
{
    if (!h || __atomic_sub_fetch(&h->refs, 1, __ATOMIC_ACQ_REL))
        return;
    (void)h->file->ops->close(h->file); /* only read */
    __atomic_fetch_sub(&h->cache->open_files, 1, __ATOMIC_RELAXED);
    epoch_retire(&h->retire, handle_free);
}

static bool handle_ref(struct table_file *h)
{
    uint32_t n = __atomic_load_n(&h->refs, __ATOMIC_RELAXED);
    do {
        if (n == 0)
            return false;
    } while (!__atomic_compare_exchange_n(&h->refs, &n, n + 1, true, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED));
    return true;
}

static bool too_many(const struct cache *c)
{
    uint64_t most = __atomic_load_n(&c->files_max, __ATOMIC_RELAXED);
    return most && __atomic_load_n(&c->open_files, __ATOMIC_RELAXED) > most;
}

/* Closes files until the limit holds; what is being read at the moment closes when that has ended. */
static void close_some(struct cache *c)
{
    while (too_many(c)) {
        struct table_file *victim = NULL;
        os_mutex_lock(&c->lock);
        for (size_t steps = 2 * c->count; steps && !victim; steps--) {
            if (c->hand_file >= c->count)
                c->hand_file = 0;
            struct table *t = c->tables[c->hand_file++];
            if (__atomic_exchange_n(&t->file_used, false, __ATOMIC_RELAXED))
                continue;
            victim = __atomic_exchange_n(&t->file, NULL, __ATOMIC_ACQ_REL);
        }
        os_mutex_unlock(&c->lock);
        if (!victim)
            return;
        table_file_release(victim);
    }
}

enum result table_file_set(struct table *t, struct env_file *file)
{
    struct table_file *h = malloc(sizeof *h), *none = NULL;
    if (!h) {
        (void)file->ops->close(file); /* only read */
        return RES_NO_MEMORY;
    }
    *h = (struct table_file){.file = file, .cache = t->cache, .refs = 1};
    __atomic_fetch_add(&t->cache->open_files, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&t->file_used, true, __ATOMIC_RELAXED);
    if (!__atomic_compare_exchange_n(&t->file, &none, h, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        table_file_release(h); /* somebody was faster */
    close_some(t->cache);
    return RES_OK;
}

void table_file_drop(struct table *t) { table_file_release(__atomic_exchange_n(&t->file, NULL, __ATOMIC_ACQ_REL)); }

enum result table_file_acquire(struct table *t, bool may_wait, struct table_file **out)
{
    for (;;) {
        epoch_enter();
        struct table_file *h = __atomic_load_n(&t->file, __ATOMIC_ACQUIRE);
        bool have = h && handle_ref(h);
        epoch_leave();
        if (have) {
            if (!__atomic_load_n(&t->file_used, __ATOMIC_RELAXED))
                __atomic_store_n(&t->file_used, true, __ATOMIC_RELAXED);
            *out = h;
            return RES_OK;
        }
        *out = NULL;
        if (h)
            continue; /* it is being closed: its slot is empty in a moment */
        if (!may_wait)
            return RES_WOULD_BLOCK;
        struct env_file *file;
        enum result r = t->owner->open(t->owner, t->meta.number, &file);
        if (r == RES_OK)
            r = table_file_set(t, file);
        if (r != RES_OK)
            return r;
    }
}
