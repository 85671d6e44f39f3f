/* The expiry thread: removes keys when their time has come, touched or not.
 *
 * Per database it keeps `due`, a place before which the index has no entry, so that nothing is scanned when nothing is
 * due and deleted entries are not scanned again. Two things move it: a scan, upwards, to the first entry it left; and
 * commits of new entries, downwards, through `pending`. The race between the two is decided by sequence: what a scan
 * took from `pending` belongs to commits up to `sequence`; when the scan's snapshot is older than that, its result may
 * lack the entry, and `due` stays at what was pending.
 *
 * The work is done by prepared commands of at most EXPIRY_JOB keys: they read without the latch, and hold it only to
 * validate and commit. */
#include <stdatomic.h>
#include <stdlib.h>

#include "base/log.h"
#include "os/thread.h"
#include "store/expiry_priv.h"
#include "store/hash.h"
#include "store/store_priv.h"

#define EXPIRY_JOB 256
#define EXPIRY_TICK_MS 25 /* an entry that comes due earlier than all others is seen after this time */
#define EXPIRY_RETRY_MS 100
#define TTL_EVERY_MS 1000

/* Where the entries that are left begin: the time of the first, and what else is known of its key. Many keys may be due
 * in the same millisecond, and deleted entries are slow to pass. */
struct expiry_place {
    uint64_t ms;
    size_t len;                                 /* 8: the time alone */
    uint8_t key[ENGINE_KEY_MAX - REGION_BOUND]; /* as in the index, behind the keyspace */
};
struct expiry_db {
    struct expiry_place due; /* of the thread alone */
    _Atomic uint64_t pending;
    _Atomic uint64_t sequence;
};
struct expiry {
    struct store *store;
    struct os_thread thread;
    struct os_mutex lock;
    struct os_cond wake;
    bool stop;           /* under lock */
    _Atomic bool paused; /* by DEBUG SET-ACTIVE-EXPIRE */
    _Atomic bool behind; /* clients were paused, and what came due meanwhile is still there */
    struct expiry_db db[];
};

/* Under the latch: one caller at a time. */
void expiry_announce(struct expiry *e, const struct expiry_note *note, uint64_t sequence)
{
    if (unlikely(!e)) /* while the store is being opened */
        return;
    struct expiry_db *db = &e->db[note->db];
    atomic_store_explicit(&db->sequence, sequence, memory_order_relaxed);
    uint64_t seen = atomic_load_explicit(&db->pending, memory_order_relaxed);
    while (note->ms < seen && !atomic_compare_exchange_weak_explicit(&db->pending, &seen, note->ms,
                                                                     memory_order_release, memory_order_relaxed))
        ;
}

static void place_at(struct expiry_place *place, uint64_t ms)
{
    place->ms = ms;
    place->len = 8;
    put_be64(place->key, ms);
}

/* ---- one job ---- */

struct job {
    struct store *store;
    uint32_t db;
    struct expiry_place from; /* no entry before it */
    /* results of the last run */
    uint64_t snapshot;
    struct expiry_place next; /* the first entry that is left; at UINT64_MAX: none */
    unsigned handled;
};

struct due_entry {
    struct slice key; /* of the index */
    uint64_t ms;
};

/* Collects entries that are due; job->next becomes the first that was not taken. */
static enum result collect(struct call *c, struct job *job, uint32_t keyspace, struct due_entry *out, unsigned *count)
{
    uint8_t lower[ENGINE_KEY_MAX], upper[REGION_BOUND];
    region_bounds(REGION_EXPIRY, keyspace, lower, upper);
    memcpy(lower + REGION_BOUND, job->from.key, job->from.len);
    struct iter *it;
    enum result r = call_iter(c, slice_of(lower, REGION_BOUND + job->from.len), slice_of(upper, sizeof upper), 0, &it);
    if (r != RES_OK)
        return r;
    *count = 0;
    place_at(&job->next, UINT64_MAX);
    for (r = iter_seek(it, slice_of(NULL, 0)); r == RES_OK; r = iter_next(it)) {
        if (it->key.len < EXPIRY_KEY_HEAD) {
            r = RES_CORRUPT;
            break;
        }
        uint64_t ms = get_be64(it->key.data + REGION_BOUND);
        if (ms >= c->now_ms || *count == EXPIRY_JOB) {
            job->next.ms = ms;
            job->next.len = it->key.len - REGION_BOUND;
            memcpy(job->next.key, it->key.data + REGION_BOUND, job->next.len);
            break;
        }
        void *copy = arena_copy(c->arena, it->key.data, it->key.len);
        if (!copy) {
            r = RES_NO_MEMORY;
            break;
        }
        out[(*count)++] = (struct due_entry){slice_of(copy, it->key.len), ms};
    }
    iter_close(it);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

static enum result drop_entry(struct call *c, struct slice entry)
{
    struct engine_key key = {.bytes = entry, .hash = engine_hash(entry)};
    return call_delete(c, &key);
}

/* The user's key of an entry: in the entry itself, or for a long key in the metadata. */
static enum result key_of_entry(struct call *c, const struct job *job, struct slice entry, struct slice *user)
{
    *user = slice_of(entry.data + EXPIRY_KEY_HEAD, entry.len - EXPIRY_KEY_HEAD);
    if (user->len <= STORE_KEY_INLINE)
        return RES_OK;
    size_t len = entry.len - EXPIRY_KEY_HEAD + META_KEY_HEAD;
    uint8_t *p = arena_alloc(c->arena, len);
    if (!p)
        return RES_NO_MEMORY;
    memcpy(p, entry.data, REGION_BOUND);
    p[0] = REGION_META;
    memcpy(p + REGION_BOUND, entry.data + EXPIRY_KEY_HEAD - 6, len - REGION_BOUND);
    struct engine_key key = {.bytes = slice_of(p, len)};
    key.hash = engine_hash(key.bytes);
    struct slice record;
    struct meta m;
    enum result r = call_get(c, &key, &record);
    if (r == RES_OK)
        r = meta_decode(record, &m);
    return r == RES_OK ? user_key_of(job->store, key.bytes, &m, user) : r;
}

static enum result handle(struct call *c, const struct job *job, const struct due_entry *entry)
{
    struct slice user;
    enum result r = key_of_entry(c, job, entry->key, &user);
    if (r == RES_NOT_FOUND)
        return drop_entry(c, entry->key);
    if (r != RES_OK)
        return r;
    struct store_key *key = arena_alloc(c->arena, sizeof *key);
    if (!key)
        return RES_NO_MEMORY;
    struct object o;
    if ((r = store_key_init(c, job->db, user, key)) != RES_OK || (r = object_load(c, key, &o)) != RES_OK)
        return r;
    if (!o.exists || o.index_ms != entry->ms)
        return drop_entry(c, entry->key);
    if (is_expired(c, o.expire_ms))
        return store_delete(c, &o, SIGNAL_EXPIRED);
    if (is_expired(c, o.fields_ms))
        return hash_expire_fields(c, &o);
    return expiry_move_entry(c, &o);
}

static enum result run_job(struct call *c)
{
    struct job *job = call_background_arg(c);
    job->snapshot = c->snapshot;
    job->handled = 0;
    uint32_t keyspace;
    unsigned count;
    struct due_entry *entries = arena_alloc(c->arena, EXPIRY_JOB * sizeof *entries);
    if (!entries)
        return RES_NO_MEMORY;
    enum result r = store_keyspace(c, job->db, &keyspace);
    if (r == RES_OK)
        r = collect(c, job, keyspace, entries, &count);
    for (unsigned i = 0; r == RES_OK && i < count; i++)
        r = handle(c, job, &entries[i]);
    if (r == RES_OK)
        job->handled = count;
    return r;
}

/* ---- the thread ---- */

/* Works off what is due in one database. false: it could not, and should be tried again later. */
static bool serve(struct expiry *e, uint32_t number)
{
    struct expiry_db *db = &e->db[number];
    for (;;) {
        uint64_t pending = atomic_exchange_explicit(&db->pending, UINT64_MAX, memory_order_acquire);
        uint64_t sequence = atomic_load_explicit(&db->sequence, memory_order_relaxed);
        if (pending <= db->due.ms)
            place_at(&db->due, pending);
        if (db->due.ms >= shard_now_ms(e->store->shard))
            return true;
        struct job job = {.store = e->store, .db = number, .from = db->due};
        uint64_t committed;
        enum result r = exec_background(e->store->shard, run_job, &job, &committed);
        if (r != RES_OK) {
            if (r == RES_RETRY)
                atomic_store_explicit(&e->behind, true, memory_order_relaxed);
            log_verbose("expiry in database %u: %s", number, result_text(r));
            return false;
        }
        if (job.snapshot < sequence && pending <= job.next.ms)
            place_at(&job.next, pending);
        bool moved = job.next.ms > db->due.ms || job.handled > 0;
        db->due = job.next;
        if (!moved)
            return true; /* an entry that is about to become visible */
        os_mutex_lock(&e->lock);
        bool stop = e->stop;
        os_mutex_unlock(&e->lock);
        if (stop)
            return true;
    }
}

static void expiry_main(void *arg)
{
    struct expiry *e = arg;
    uint64_t sampled = 0;
    os_mutex_lock(&e->lock);
    while (!e->stop) {
        os_mutex_unlock(&e->lock);
        uint64_t first = UINT64_MAX;
        bool failed = false;
        bool paused = atomic_load_explicit(&e->paused, memory_order_relaxed);
        for (uint32_t i = 0; i < e->store->databases && !paused; i++) {
            failed |= !serve(e, i);
            if (e->db[i].due.ms < first)
                first = e->db[i].due.ms;
        }
        if (!failed)
            atomic_store_explicit(&e->behind, false, memory_order_relaxed);
        uint64_t now = shard_now_ms(e->store->shard);
        if (now < sampled || now - sampled >= TTL_EVERY_MS) {
            sampled = now;
            for (uint32_t i = 0; i < e->store->databases; i++)
                ttl_sample(e->store, i);
        }
        uint64_t wait = failed ? EXPIRY_RETRY_MS : EXPIRY_TICK_MS;
        if (!failed && first < now + wait)
            wait = first >= now ? first - now + 1 : 1;
        os_mutex_lock(&e->lock);
        if (!e->stop)
            os_cond_wait_for(&e->wake, &e->lock, wait * 1000000);
    }
    os_mutex_unlock(&e->lock);
}

enum result expiry_open(struct store *s, struct errmsg *msg)
{
    struct expiry *e = calloc(1, sizeof *e + s->databases * sizeof e->db[0]);
    if (!e)
        return errmsg_set(msg, RES_NO_MEMORY, "no memory for the expiry index of %u databases", s->databases);
    e->store = s;
    os_mutex_init(&e->lock);
    os_cond_init(&e->wake);
    for (uint32_t i = 0; i < s->databases; i++) {
        place_at(&e->db[i].due, 0);
        atomic_init(&e->db[i].pending, 0); /* everything is yet to be looked at */
    }
    s->expiry = e;
    enum result r = os_thread_start(&e->thread, "expiry", expiry_main, e);
    if (r == RES_OK)
        return r;
    s->expiry = NULL;
    os_cond_fini(&e->wake);
    os_mutex_fini(&e->lock);
    free(e);
    return errmsg_set(msg, r, "the expiry thread cannot be started: %s", result_text(r));
}

void store_set_active_expiry(struct shard *s, bool on)
{
    const struct store *store = shard_store(s);
    if (store->expiry != NULL)
        atomic_store_explicit(&store->expiry->paused, !on, memory_order_relaxed);
}

static enum result delete_due_key(struct call *c)
{
    const struct store_key *due = call_background_arg(c);
    struct store_key *key = arena_alloc(c->arena, sizeof *key);
    struct object o;
    if (!key)
        return RES_NO_MEMORY;
    enum result r = store_key_init(c, due->db, due->user, key);
    return r == RES_OK ? store_write(c, key, &o) : r; /* which deletes it first */
}

/* Whether keys that are due wait for a read: there is no active expiry, or it has to make up for CLIENT PAUSE. */
static bool left_to_readers(const struct call *c, const struct expiry *e)
{
    if (atomic_load_explicit(&e->paused, memory_order_relaxed))
        return true;
    return atomic_load_explicit(&e->behind, memory_order_relaxed) && shard_paused(c->shard) == SHARD_PAUSE_OFF;
}

enum result expiry_met_due_key(struct call *c, struct store_key *key)
{
    const struct store *store = store_of(c);
    if (likely(c->overlay || !store->expiry || !left_to_readers(c, store->expiry)))
        return RES_OK;
    if (!(c->mode & CALL_MAY_WAIT))
        return RES_WOULD_BLOCK;
    uint64_t sequence = 0;
    enum result r = exec_background(c->shard, delete_due_key, key, &sequence);
    if (sequence > c->bind)
        c->bind = sequence;
    return r == RES_RETRY || r == RES_READ_ONLY ? RES_OK
                                                : r; /* nothing is deleted now: to the reader it is gone all the same */
}

void expiry_close(struct store *s)
{
    struct expiry *e = s->expiry;
    if (!e)
        return;
    os_mutex_lock(&e->lock);
    e->stop = true;
    os_cond_signal(&e->wake);
    os_mutex_unlock(&e->lock);
    os_thread_join(&e->thread);
    s->expiry = NULL;
    os_cond_fini(&e->wake);
    os_mutex_fini(&e->lock);
    free(e);
}
