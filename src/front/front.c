/* Opening and closing a front, and its statistics. */
#include "front/front.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "front/internal.h"

static void fill_defaults(struct front_options *o)
{
    if (o->memtable_bytes == 0)
        o->memtable_bytes = (uint64_t)64 << 20;
    if (o->memtable_bytes < MEMTABLE_LEAST)
        o->memtable_bytes = MEMTABLE_LEAST;
    if (o->replay_ns == 0)
        o->replay_ns = 200000000;
    if (o->memtables_max == 0)
        o->memtables_max = 3;
    if (o->memtables_max < 2)
        o->memtables_max = 2;
    if (o->memtables_max > SOURCES_MAX / 2)
        o->memtables_max = SOURCES_MAX / 2;
    if (o->log_segment_bytes == 0)
        o->log_segment_bytes = (uint64_t)64 << 20;
    if (o->log_ring_bytes == 0)
        o->log_ring_bytes = (uint64_t)8 << 20;
}

static void on_log_space(void *arg) { front_tell_space(arg); }

static struct front *front_new(const struct front_options *o)
{
    struct front *f = aligned_alloc(64, (sizeof(*f) + 63) & ~(size_t)63);
    if (!f)
        return NULL;
    memset(f, 0, sizeof(*f));
    f->o = *o;
    fill_defaults(&f->o);
    f->ops = o->engine;
    atomic_store(&f->memtable_bytes, f->o.memtable_bytes);
    f->replay_most = f->o.replay_ns / 3 * 2; /* part of another one may be on its way to the engine */
    f->populate_at = UINT64_MAX;
    f->living = 1;
    os_mutex_init(&f->view_lock);
    os_mutex_init(&f->views_lock);
    f->newest_link = &f->oldest_view;
    os_mutex_init(&f->gate_lock);
    os_mutex_init(&f->flush_lock);
    os_mutex_init(&f->keep_lock);
    os_cond_init(&f->gate_cond);
    os_cond_init(&f->flush_wake);
    atomic_init(&f->flusher_awaits, UINT64_MAX);
    os_cond_init(&f->flushed_cond);
    os_cond_init(&f->keep_wake);
    return f;
}

static void stop_threads(struct front *f)
{
    os_mutex_lock(&f->flush_lock);
    os_mutex_lock(&f->keep_lock);
    f->stop = true;
    os_cond_broadcast(&f->flush_wake);
    os_cond_broadcast(&f->keep_wake);
    os_mutex_unlock(&f->keep_lock);
    os_mutex_unlock(&f->flush_lock);
    if (f->threads > 0)
        os_thread_join(&f->flush_thread);
    if (f->threads > 1)
        os_thread_join(&f->keep_thread);
    f->threads = 0;
}

/* Everything in the order of its dependence; works on a front that was opened half. */
static enum result tear_down(struct front *f)
{
    enum result res = RES_OK;
    stop_threads(f);
    if (f->wal)
        res = wal_stop(f->wal);
    if (f->engine)
        view_drop_all(f);
    struct front_source *spare = atomic_exchange(&f->spare, NULL);
    if (spare)
        source_unref(spare);
    if (f->in_hand)
        source_unref(f->in_hand);
    for (struct front_source *s = f->dead, *next; s; s = next) {
        next = s->next;
        memtable_free(s->memtable);
        free(s);
    }
    if (f->active_unlisted)
        memtable_free(f->active);
    if (f->table_source)
        free(f->table_source->counts);
    free(f->table_source);
    free(f->table_view);
    if (f->engine)
        f->ops->close(f->engine);
    if (f->wal) /* after the engine, whose threads may find a failure to report to the log until their end */
        wal_free(f->wal);
    if (f->counters.ring)
        counters_fini(&f->counters);
    if (f->lock && f->lock->ops->close(f->lock) != RES_OK && res == RES_OK)
        res = RES_IO;
    os_mutex_fini(&f->view_lock);
    os_mutex_fini(&f->views_lock);
    os_mutex_fini(&f->gate_lock);
    os_mutex_fini(&f->flush_lock);
    os_mutex_fini(&f->keep_lock);
    os_cond_fini(&f->gate_cond);
    os_cond_fini(&f->flush_wake);
    os_cond_fini(&f->flushed_cond);
    os_cond_fini(&f->keep_wake);
    free(f->dir);
    free(f->wal_dir);
    free(f);
    return res;
}

static enum result open_engine(struct front *f, bool fresh, uint64_t *boundary, struct slice *state, struct errmsg *msg)
{
    struct engine_options options = f->o.tuning;
    options.env = f->o.env;
    options.dir = f->dir;
    options.create = fresh;
    options.on_change = view_engine_changed;
    options.on_failure = front_fail;
    options.on_full = front_engine_full;
    options.arg = f;
    *state = slice_of(NULL, 0);
    enum result res = f->ops->open(&options, &f->engine, boundary, state, msg);
    if (res != RES_OK)
        f->engine = NULL;
    else if (fresh && *boundary != 0)
        res = errmsg_set(msg, RES_CORRUPT, "%s holds data without an IDENTITY file: restore it from a backup", f->dir);
    return res;
}

static enum result make_wal_dir(struct front *f, struct errmsg *msg)
{
    size_t room = strlen(f->dir) + 5;
    f->wal_dir = malloc(room);
    if (!f->wal_dir)
        return errmsg_set(msg, RES_NO_MEMORY, "no memory");
    snprintf(f->wal_dir, room, "%s/wal", f->dir);
    enum result res = f->o.env->ops->mkdir(f->o.env, f->wal_dir);
    if (res == RES_EXISTS)
        return RES_OK;
    if (res == RES_OK)
        res = f->o.env->ops->sync_dir(f->o.env, f->dir);
    if (res != RES_OK)
        return errmsg_set(msg, res, "cannot make the directory %s: %s", f->wal_dir, result_text(res));
    return RES_OK;
}

/* The log of this life, and the files of earlier ones. */
static enum result open_wal(struct front *f, const struct recovered *r, struct errmsg *msg)
{
    struct wal_options o = {.env = f->o.env,
                            .dir = f->wal_dir,
                            .mode = f->o.fsync,
                            .segment_bytes = f->o.log_segment_bytes,
                            .ring_bytes = f->o.log_ring_bytes,
                            .leave_bytes = 2 * f->o.memtable_bytes + f->reserve_target,
                            .epoch = f->identity.boot_epoch,
                            .base = r->base,
                            .number = r->number,
                            .before = r->before,
                            .on_progress = front_progress,
                            .on_space = on_log_space,
                            .on_failure = front_fail,
                            .on_full = front_spend_reserve,
                            .arg = f};
    memcpy(o.uuid, f->identity.uuid, sizeof(o.uuid));
    o.time_ms = f->log_time_ms = f->o.env->ops->real_ms(f->o.env);
    enum result res = wal_open(&o, &f->wal, msg);
    if (res == RES_OK)
        wal_set_frugal(f->wal, atomic_load(&f->disk_low));
    for (size_t i = 0; res == RES_OK && i < r->file_count; i++) {
        const struct recovered_file *file = &r->files[i];
        if (file->needed)
            res = wal_adopt(f->wal, file->number, file->base);
        else if (!file->damaged)
            res = wal_discard(f->wal, file->number);
    }
    return res;
}

/* The first view: the active memtable with what was replayed, over the engine. */
static enum result first_view(struct front *f, uint64_t base, struct errmsg *msg)
{
    struct front_source *s = source_new(f, f->active);
    struct front_view *room = malloc(sizeof(*room));
    if (!s || !room) {
        free(s);
        free(room);
        return errmsg_set(msg, RES_NO_MEMORY, "no memory for the first view");
    }
    f->active_unlisted = false;
    atomic_store(&f->visible, base);
    atomic_store(&f->gate, base);
    atomic_store(&f->told, base);
    f->populate_at = 0;
    f->batch_max = f->wal ? wal_batch_max(f->wal) : FRONT_BATCH_MAX;
    os_mutex_lock(&f->view_lock);
    f->sources[0] = s;
    f->source_count = 1;
    f->memtable_count = 1;
    view_publish(f, room);
    os_mutex_unlock(&f->view_lock);
    return RES_OK;
}

static enum result start_threads(struct front *f, struct errmsg *msg)
{
    enum result res = f->wal ? wal_start(f->wal) : RES_OK;
    if (res == RES_OK)
        res = os_thread_start(&f->flush_thread, "flush", front_flush_thread, f);
    if (res == RES_OK) {
        f->threads++;
        res = os_thread_start(&f->keep_thread, "keeper", front_keep_thread, f);
    }
    if (res == RES_OK)
        f->threads++;
    else
        errmsg_set(msg, res, "cannot start the front's threads: %s", result_text(res));
    return res;
}

static enum result open_persistent(struct front *f, struct recovered *r, struct errmsg *msg)
{
    bool fresh = false;
    uint64_t boundary = 0;
    struct slice state = {NULL, 0};
    enum result res = identity_begin(f, &fresh, msg);
    if (res == RES_OK)
        front_reserve_at_start(f);
    if (res == RES_OK)
        res = make_wal_dir(f, msg);
    if (res == RES_OK)
        res = open_engine(f, fresh, &boundary, &state, msg);
    if (res == RES_OK)
        res = front_recover(f, fresh, boundary, state, r, msg);
    free((void *)(uintptr_t)state.data);
    if (res == RES_OK)
        res = f->ops->table_sweep(f->engine);
    if (res == RES_OK)
        res = open_wal(f, r, msg);
    if (res == RES_OK && r->damaged)
        res = front_forget_logs(f, r->base);
    if (res == RES_OK)
        res = identity_finish(f, fresh, msg);
    return res;
}

static enum result open_volatile(struct front *f, struct errmsg *msg)
{
    uint64_t boundary = 0;
    struct slice state;
    if (f->o.fsync == FRONT_FSYNC_ALWAYS)
        return errmsg_set(msg, RES_UNSUPPORTED,
                          "engine %s keeps nothing on disk, so appendfsync always cannot be promised: set "
                          "appendfsync no",
                          f->ops->name);
    f->o.env->ops->random(f->o.env, f->identity.uuid, sizeof(f->identity.uuid));
    f->o.env->ops->random(f->o.env, f->identity.seed, sizeof(f->identity.seed));
    f->identity.format = 1;
    f->identity.boot_epoch = 1;
    snprintf(f->identity.engine, sizeof(f->identity.engine), "%s", f->ops->name);
    enum result res = open_engine(f, true, &boundary, &state, msg);
    if (res == RES_OK)
        free((void *)(uintptr_t)state.data);
    return res;
}

enum result front_open(const struct front_options *options, struct front **out, struct errmsg *msg)
{
    struct recovered r = {0};
    *out = NULL;
    if (msg)
        msg->text[0] = 0;
    assert(options->env && options->engine);
    struct front *f = front_new(options);
    if (!f)
        return errmsg_set(msg, RES_NO_MEMORY, "no memory");
    bool small = f->o.memtable_bytes < MEMTABLE_LARGE;
    enum result res = counters_init(&f->counters, small ? COUNTERS_RING_SMALL : COUNTERS_RING);
    f->dir = strdup(options->dir ? options->dir : "");
    f->active = memtable_new(f->o.memtable_bytes, MEMTABLE_ROOM);
    f->active_unlisted = true;
    if (res != RES_OK || !f->dir || !f->active)
        res = errmsg_set(msg, RES_NO_MEMORY, "no memory for a memtable of %" PRIu64 " bytes", f->o.memtable_bytes);
    else
        res = f->ops->persistent ? open_persistent(f, &r, msg) : open_volatile(f, msg);
    if (res == RES_OK)
        res = first_view(f, r.base, msg);
    if (res == RES_OK)
        res = start_threads(f, msg);
    free(r.files);
    atomic_store(&f->opened, true);
    if (res == RES_OK && front_frozen(f))
        res = errmsg_set(msg, f->failed_why, "%s", f->failure);
    if (res != RES_OK) {
        if (msg && !msg->text[0])
            errmsg_set(msg, res, "cannot open %s: %s", f->dir ? f->dir : "the data", result_text(res));
        enum result closed = tear_down(f);
        (void)closed; /* the first failure is the one to report */
        return res;
    }
    *out = f;
    return RES_OK;
}

enum result front_close(struct front *f)
{
    if (!f)
        return RES_OK;
    enum result frozen = front_frozen(f) ? RES_READ_ONLY : RES_OK;
    enum result res = tear_down(f);
    return frozen != RES_OK ? frozen : res;
}

const struct front_identity *front_identity(const struct front *f) { return &f->identity; }

enum result front_check(struct front *f, struct errmsg *msg) { return f->ops->check(f->engine, msg); }

void front_set_cache_bytes(struct front *f, uint64_t bytes) { f->ops->set_cache_bytes(f->engine, bytes); }

void front_set_compression(struct front *f, const struct engine_compression levels[ENGINE_LEVELS])
{
    if (f->ops->set_compression)
        f->ops->set_compression(f->engine, levels);
}

void front_set_memtable_bytes(struct front *f, uint64_t bytes)
{
    if (bytes < MEMTABLE_LEAST)
        bytes = MEMTABLE_LEAST;
    if (atomic_exchange(&f->memtable_bytes, bytes) == bytes)
        return;
    os_mutex_lock(&f->view_lock);
    memtable_lower(f->sources[0]->memtable, bytes);
    os_mutex_unlock(&f->view_lock);
    struct front_source *spare = atomic_exchange(&f->spare, NULL);
    if (spare)
        source_unref(spare);
    front_wake_keeper(f);
}

static uint64_t get(const _Atomic uint64_t *v) { return atomic_load_explicit(v, memory_order_relaxed); }

static void log_stats(struct front *f, struct front_stats *out)
{
    const struct wal_stats *s = &f->wal->stats;
    out->log_bytes_written = get(&s->bytes);
    out->log_writes = get(&s->writes);
    out->log_syncs = get(&s->syncs);
    out->log_groups = get(&s->groups);
    out->log_sync_ns_total = get(&s->sync_ns);
    out->log_sync_ns_max = get(&s->sync_ns_max);
    out->log_bytes_live = wal_live_bytes(f->wal);
    out->log_segments = out->log_bytes_live / f->o.log_segment_bytes;
}

void front_stats(struct front *f, struct front_stats *out)
{
    memset(out, 0, sizeof(*out));
    f->ops->stats(f->engine, &out->engine);
    out->visible = front_visible(f);
    out->written = front_written(f);
    out->durable = front_durable(f);
    out->gate = front_gate(f);
    os_mutex_lock(&f->view_lock);
    out->memtables = (uint64_t)f->memtable_count;
    for (int i = 0; i < f->source_count; i++)
        if (f->sources[i]->memtable) {
            uint64_t used = memtable_used(f->sources[i]->memtable);
            out->memtable_bytes += used;
            if (f->sources[i]->memtable->full_at > front_memtable_bytes(f))
                out->memtable_leaving += used;
            out->memtable_records += get(&f->sources[i]->memtable->records);
            out->memtable_pruned += get(&f->sources[i]->memtable->pruned);
        }
    os_mutex_unlock(&f->view_lock);
    if (f->wal) {
        log_stats(f, out);
        out->log_ring_bytes = f->o.log_ring_bytes;
    }
    out->commits = get(&f->commits);
    out->commit_records = get(&f->commit_records);
    out->reserve_waits = get(&f->reserve_waits);
    out->pace_waits = get(&f->pace_waits);
    out->recovered_commits = f->recovered_commits;
    out->recovered_bytes = f->recovered_bytes;
    out->recovery_ms = f->recovery_ms;
    out->torn_bytes = f->torn_bytes;
    out->views = get(&f->views);
    out->disk_low = atomic_load(&f->disk_low);
    out->frozen = front_frozen(f);
    out->frozen_why = f->failed_why;
}
