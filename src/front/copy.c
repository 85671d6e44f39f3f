/* Copying a front's data into another one, of whatever engine: records go over as private tables, which are written once
 * and attached as they are, and counters as batches. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "front/counters.h"
#include "front/internal.h"

#define TABLE_BYTES ((uint64_t)64 << 20) /* of records in one table */
#define TELL_EVERY 1024
#define PAUSE_NS 1000000

static enum result commit(struct front *f, struct batch *b)
{
    enum result r;
    b->now_ms = f->o.env->ops->real_ms(f->o.env);
    while ((r = front_reserve(f, b)) == RES_WOULD_BLOCK) {
        front_kick(f);
        os_sleep_ns(PAUSE_NS);
    }
    if (r != RES_OK)
        return r;
    (void)front_commit(f, b);
    front_kick(f);
    return RES_OK;
}

/* Writes records from where the iterator stands until the table is full; *at: what the last move said. */
static enum result copy_table(struct front *to, struct iter *it, enum result *at, uint64_t *records,
                              bool (*told)(void *arg, uint64_t records), void *arg)
{
    struct batch b = {0};
    uint64_t bytes = 0;
    enum result r = front_table_begin(to, &b.table);
    if (r != RES_OK)
        return r;
    for (; r == RES_OK && *at == RES_OK && bytes < TABLE_BYTES; *at = iter_next(it)) {
        r = front_table_add(to, b.table, it->key, RECORD_PUT, it->value);
        bytes += it->key.len + it->value.len + 16;
        if (++*records % TELL_EVERY == 0 && told && !told(arg, *records) && r == RES_OK)
            r = RES_INTERRUPTED;
    }
    if (r == RES_OK && *at != RES_OK && *at != RES_NOT_FOUND)
        r = *at;
    if (r == RES_OK)
        r = front_table_finish(to, b.table, &b.table_number);
    if (r == RES_OK)
        r = commit(to, &b);
    if (r != RES_OK)
        front_table_abort(to, b.table);
    return r;
}

static enum result copy_records(struct front *from, struct front *to, bool (*told)(void *arg, uint64_t records),
                                void *arg)
{
    struct iter *it;
    struct slice none = {NULL, 0};
    uint64_t records = 0;
    struct front_view *v = front_view_ref(from);
    enum result r = front_iter(v, front_visible(from), none, none, ITER_NO_FILL, &it);
    if (r == RES_OK) {
        enum result at = iter_seek(it, none);
        r = at == RES_NOT_FOUND ? RES_OK : at;
        while (r == RES_OK && at == RES_OK)
            r = copy_table(to, it, &at, &records, told, arg);
        iter_close(it);
    }
    front_view_unref(v);
    if (r == RES_OK && told && !told(arg, records))
        r = RES_INTERRUPTED;
    return r;
}

static enum result copy_counters(struct front *from, struct front *to)
{
    uint8_t *bytes = malloc(counters_bytes(&from->counters));
    struct batch_counter *changes = calloc(COUNTERS_BATCH_MAX, sizeof(*changes));
    enum result r = bytes && changes ? RES_OK : RES_NO_MEMORY;
    uint32_t n = 0, in_batch = 0;
    if (r == RES_OK) {
        (void)counters_put(&from->counters, bytes);
        n = get_le32(bytes);
    }
    for (uint32_t i = 0; r == RES_OK && i < n; i++) {
        const uint8_t *p = bytes + 4 + (size_t)20 * i; /* counters.h */
        changes[in_batch++] = (struct batch_counter){get_le32(p), (int64_t)get_le64(p + 4), (int64_t)get_le64(p + 12)};
        if (in_batch < COUNTERS_BATCH_MAX && i + 1 < n)
            continue;
        struct batch b = {.counters = changes, .counter_count = in_batch};
        r = commit(to, &b);
        in_batch = 0;
    }
    free(changes);
    free(bytes);
    return r;
}

enum result front_copy(struct front *from, struct front *to, bool (*told)(void *arg, uint64_t records), void *arg,
                       struct errmsg *msg)
{
    enum result r = copy_records(from, to, told, arg);
    if (r == RES_OK)
        r = copy_counters(from, to);
    if (r == RES_OK)
        r = front_flush(to);
    if (r == RES_OK)
        r = front_wait(to, front_visible(to)); /* counters are flushed with the records before them, or not yet */
    return r == RES_OK ? r : errmsg_set(msg, r, "copying %s to %s: %s", from->dir, to->dir, result_text(r));
}
