/* Merging files, in the background: space comes back, and small files become large ones.
 *
 * What is picked: files of which nothing is live and which hide nothing, at once and unread; files whose dead share is
 * large, when that of all is; small files, when there are many of one size; and all, when tombstones and dead ranges have
 * come to be much, since those can be forgotten only together with all that is older (file.h, 4). */
#include <inttypes.h>
#include <stdlib.h>

#include "base/log.h"
#include "engine/file/file.h"

#define DEAD_PERCENT 30    /* of all files together: from here on merging has a point */
#define FILE_PERCENT 25    /* of a file that is then picked */
#define PASSING_PERCENT 20 /* of all: everything is merged */
#define ALIKE 8            /* so many files of about one size become one */
#define INPUT_MOST 8       /* files' worth of input in one merge */
#define DEBT_FROM 55       /* dead percent at which writers begin to be slowed */
#define DEBT_TO 80
#define RETRY_NS 1000000000u
#define IDLE_NS 1000000000u

/* ---- output ---- */

static enum result output_cut(struct file_output *o)
{
    if (o->count == o->cap) {
        size_t cap = o->cap ? o->cap * 2 : 4;
        struct datafile **files = realloc(o->files, cap * sizeof(struct datafile *));
        if (!files)
            return RES_NO_MEMORY;
        o->files = files;
        o->cap = cap;
    }
    uint64_t bytes = o->writer.offset;
    enum result r = datafile_finish(&o->writer, &o->files[o->count]);
    if (r != RES_OK)
        return r;
    o->count++;
    o->bytes += bytes;
    return RES_OK;
}

enum result file_output_add(struct file_output *o, struct slice key, uint8_t kind, struct slice value,
                            struct keydir_place *place)
{
    enum result r = RES_OK;
    if (o->writer.path && o->writer.offset >= o->fe->file_bytes)
        r = output_cut(o);
    if (r == RES_OK && !o->writer.path)
        r = datafile_begin(&o->writer, o->fe->env, o->fe->data, private_new_number(&o->fe->private_tables));
    return r == RES_OK ? datafile_add(&o->writer, key, kind, value, place) : r;
}

enum result file_output_finish(struct file_output *o)
{
    enum result r = o->writer.path ? output_cut(o) : RES_OK;
    return r == RES_OK && o->count ? private_sync_names(&o->fe->private_tables) : r;
}

void file_output_fini(struct file_output *o, bool remove)
{
    datafile_abort(&o->writer);
    for (size_t i = 0; i < o->count; i++) {
        if (remove)
            __atomic_store_n(&o->files[i]->obsolete, true, __ATOMIC_RELAXED);
        datafile_unref(o->files[i]);
    }
    free(o->files);
}

/* ---- picking ---- */

struct job {
    struct engine_view *view;
    struct datafile **inputs;
    size_t count;
    uint64_t order;          /* of the output */
    const atomic_bool *stop; /* may be NULL */
    bool oldest;             /* no file of lower order than the inputs' highest is left out */
};

static uint64_t live_of(const struct datafile *d) { return __atomic_load_n(&d->live, __ATOMIC_RELAXED); }
static uint64_t dead_of(const struct datafile *d)
{
    uint64_t live = live_of(d);
    return live < d->size ? d->size - live : 0;
}
static uint64_t passing_of(const struct datafile *d)
{
    return __atomic_load_n(&d->tombstones, __ATOMIC_RELAXED) + __atomic_load_n(&d->ranges, __ATOMIC_RELAXED);
}

struct sums {
    uint64_t size, dead, passing;
};

static struct sums sum_up(const struct engine_view *v)
{
    struct sums s = {0};
    for (size_t i = 0; i < v->set.count; i++) {
        s.size += v->set.files[i]->size;
        s.dead += dead_of(v->set.files[i]);
        s.passing += passing_of(v->set.files[i]);
    }
    return s;
}

static void take(struct job *j, struct datafile *d) { j->inputs[j->count++] = d; }

static void pick_all(struct job *j)
{
    for (size_t i = 0; i < j->view->set.count; i++)
        take(j, j->view->set.files[i]);
}

/* Nothing in it is live, and nothing in it hides what is older. */
static void pick_empty(struct job *j)
{
    for (size_t i = 0; i < j->view->set.count; i++)
        if (live_of(j->view->set.files[i]) == 0 && passing_of(j->view->set.files[i]) == 0)
            take(j, j->view->set.files[i]);
}

static void pick_dead(struct job *j, uint64_t most)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < j->view->set.count && bytes < most; i++) {
        struct datafile *d = j->view->set.files[i];
        uint64_t dead = dead_of(d), old = __atomic_load_n(&d->tombstones, __ATOMIC_RELAXED);
        if (d->damaged || (dead - (old < dead ? old : dead)) * 100 < d->size * FILE_PERCENT)
            continue;
        bytes += d->size;
        take(j, d);
    }
}

static int tier_of(const struct datafile *d) { return (63 - __builtin_clzll(d->size | 1)) / 2; }

static void pick_small(struct job *j, uint64_t file_bytes)
{
    size_t alike[33] = {0};
    for (size_t i = 0; i < j->view->set.count; i++)
        if (j->view->set.files[i]->size < file_bytes / 2 && !j->view->set.files[i]->damaged)
            alike[tier_of(j->view->set.files[i])]++;
    for (int tier = 0; tier < 33; tier++) {
        if (alike[tier] < ALIKE)
            continue;
        for (size_t i = 0; i < j->view->set.count; i++)
            if (j->view->set.files[i]->size < file_bytes / 2 && !j->view->set.files[i]->damaged &&
                tier_of(j->view->set.files[i]) <= tier)
                take(j, j->view->set.files[i]);
        return;
    }
}

static bool any_damaged(const struct engine_view *v)
{
    for (size_t i = 0; i < v->set.count; i++)
        if (v->set.files[i]->damaged)
            return true;
    return false;
}

/* Takes the state and the order that goes with it. */
static enum result job_begin(struct file_engine *fe, struct job *j)
{
    os_mutex_lock(&fe->edit_lock);
    j->view = file_view_acquire(&fe->engine);
    j->order = fe->next_order++;
    os_mutex_unlock(&fe->edit_lock);
    j->inputs = malloc((j->view->set.count + 1) * sizeof(struct datafile *));
    return j->inputs ? RES_OK : RES_NO_MEMORY;
}

static void job_end(struct job *j)
{
    file_view_unref(j->view);
    free(j->inputs);
}

static void pick(struct file_engine *fe, struct job *j)
{
    struct sums s = sum_up(j->view);
    pick_empty(j);
    if (j->count)
        return;
    if (s.passing * 100 >= s.size * PASSING_PERCENT && j->view->set.count > 0 && s.size && !any_damaged(j->view)) {
        pick_all(j);
        return;
    }
    if (s.dead * 100 >= s.size * DEAD_PERCENT && s.size)
        pick_dead(j, INPUT_MOST * fe->file_bytes);
    if (j->count == 0)
        pick_small(j, fe->file_bytes);
}

/* ---- merging ---- */

static bool is_input(const struct job *j, uint32_t number)
{
    for (size_t i = 0; i < j->count; i++)
        if (j->inputs[i]->number == number)
            return true;
    return false;
}

/* Is there nothing older than the newest input beside the inputs? */
static bool takes_oldest(const struct job *j)
{
    uint64_t highest = 0;
    for (size_t i = 0; i < j->count; i++)
        if (j->inputs[i]->order > highest)
            highest = j->inputs[i]->order;
    for (size_t i = 0; i < j->view->set.count; i++)
        if (j->view->set.files[i]->order <= highest && !is_input(j, (uint32_t)j->view->set.files[i]->number))
            return false;
    return true;
}

struct merge {
    struct file_engine *fe;
    struct job *job;
    struct file_output output;
    struct buf forgotten; /* u16 length, key: of dead ranges */
    uint64_t read;
};

static enum result copy(struct merge *m, const struct iter *record, const struct keydir_place *from)
{
    struct datafile_record *bytes = NULL;
    struct keydir_place to;
    struct slice value = slice_of(NULL, 0);
    enum result r = RES_OK;
    if (record->kind == RECORD_PUT) {
        struct datafile *d = datafile_of(&m->job->view->set, from->file);
        r = datafile_read(d, from->offset, datafile_record_size(record->key.len, from), 0, &bytes);
        if (r == RES_CORRUPT)
            d->damaged = true;
        if (r != RES_OK)
            return r;
        value = bytes->value;
    }
    r = file_output_add(&m->output, record->key, record->kind, value, &to);
    m->read += datafile_record_size(record->key.len, from);
    free(bytes);
    return r;
}

static enum result forget(struct merge *m, struct slice key)
{
    uint8_t len[2] = {(uint8_t)key.len, (uint8_t)(key.len >> 8)};
    enum result r = buf_reserve(&m->forgotten, 2 + key.len);
    if (r == RES_OK)
        r = buf_append(&m->forgotten, len, 2);
    return r == RES_OK ? buf_append(&m->forgotten, key.data, key.len) : r;
}

/* The newest record of a key among the inputs. */
static enum result look_at(struct merge *m, const struct iter *record)
{
    struct keydir_place from, now;
    memcpy(&from, record->value.data, sizeof from);
    bool known = keydir_find(m->job->view->root, record->key, &now);
    if (record->kind == RECORD_DELETE)
        return known || m->job->oldest ? RES_OK : copy(m, record, &from);
    if (!known || now.file != from.file || now.offset != from.offset)
        return RES_OK; /* dead */
    if (record->key.data[0] == REGION_DEAD && m->job->oldest)
        return forget(m, record->key);
    return copy(m, record, &from);
}

static enum result copy_live(struct merge *m)
{
    struct job *j = m->job;
    struct iter **children = calloc(j->count + 1, sizeof(struct iter *)), *merged = NULL;
    size_t n = 0;
    enum result r = children ? RES_OK : RES_NO_MEMORY;
    for (; r == RES_OK && n < j->count; n++)
        if ((r = datafile_hints(j->inputs[n], &children[n], NULL)) != RES_OK) {
            j->inputs[n]->damaged |= r == RES_CORRUPT;
            break;
        }
    if (r == RES_OK)
        r = iter_merge(children, n, ITER_TOMBSTONES, &merged);
    else
        while (n)
            iter_close(children[--n]);
    free(children);
    for (enum result at = r == RES_OK ? iter_seek(merged, slice_of(NULL, 0)) : r; r == RES_OK; at = iter_next(merged)) {
        if (at != RES_OK) {
            r = at == RES_NOT_FOUND ? RES_OK : at;
            break;
        }
        bool stop = __atomic_load_n(&m->fe->stopping, __ATOMIC_RELAXED) || (m->job->stop && atomic_load(m->job->stop));
        r = stop ? RES_CLOSED : look_at(m, merged);
    }
    iter_close(merged);
    return r;
}

/* ---- its end: the directory leads to the new files ---- */

struct moving {
    const struct job *job;
    struct file_output *output;
    size_t at;          /* file of the output */
    struct iter *hints; /* over it */
    struct slice forgotten;
    struct tally tally;
};

static bool yields(void *arg, const struct keydir_place *place)
{
    return is_input(((struct moving *)arg)->job, place->file);
}

static void moved(void *arg, size_t key_len, const struct keydir_place *place)
{
    tally_note(&((struct moving *)arg)->tally, key_len, place);
}

static enum result next_hint(struct moving *m)
{
    enum result r = m->hints ? iter_next(m->hints) : RES_NOT_FOUND;
    while (r == RES_NOT_FOUND && m->at < m->output->count) {
        iter_close(m->hints);
        m->hints = NULL;
        if ((r = datafile_hints(m->output->files[m->at++], &m->hints, NULL)) == RES_OK)
            r = iter_seek(m->hints, slice_of(NULL, 0));
    }
    return r;
}

static enum result next_move(void *arg, struct keydir_change *out)
{
    struct moving *m = arg;
    enum result r;
    do
        r = next_hint(m);
    while (r == RES_OK && m->hints->kind == RECORD_DELETE);
    if (r != RES_OK)
        return r;
    out->kind = KEYDIR_MOVE;
    out->key = m->hints->key;
    memcpy(&out->place, m->hints->value.data, sizeof out->place);
    return RES_OK;
}

static enum result next_forgotten(void *arg, struct keydir_change *out)
{
    struct moving *m = arg;
    if (m->forgotten.len == 0)
        return RES_NOT_FOUND;
    size_t len = m->forgotten.data[0] | (size_t)m->forgotten.data[1] << 8;
    out->kind = KEYDIR_FORGET;
    out->key = slice_of(m->forgotten.data + 2, len);
    m->forgotten = slice_of(m->forgotten.data + 2 + len, m->forgotten.len - 2 - len);
    return RES_OK;
}

/* The directory with both done to it. */
static enum result move_all(struct file_engine *fe, struct moving *moving, struct keydir_node **root)
    REQUIRES(fe->edit_lock)
{
    struct keydir_memory *memory = &fe->private_tables.memory;
    struct keydir_changes changes = {.next = next_move, .dropped = moved, .yields = yields, .arg = moving};
    struct keydir_node *next;
    enum result r = keydir_edit(fe->current->root, &changes, memory, root);
    iter_close(moving->hints);
    if (r != RES_OK || moving->forgotten.len == 0)
        return r;
    changes.next = next_forgotten;
    r = keydir_edit(*root, &changes, memory, &next);
    keydir_unref(*root, memory);
    *root = next;
    return r;
}

static enum result publish(struct file_engine *fe, struct merge *m, bool *in_doubt) REQUIRES(fe->edit_lock)
{
    struct file_output *o = &m->output;
    struct moving moving = {.job = m->job, .output = o, .forgotten = buf_slice(&m->forgotten)};
    struct keydir_node *root = NULL;
    enum result r = tally_init(&moving.tally, &fe->current->set);
    for (size_t i = 0; r == RES_OK && i < o->count; i++) {
        o->files[i]->order = m->job->order;
        o->files[i]->owner = &fe->owner;
        o->files[i]->live = o->files[i]->size - o->files[i]->tombstones;
        r = tally_add(&moving.tally, o->files[i]);
    }
    if (r == RES_OK)
        r = move_all(fe, &moving, &root);
    if (r == RES_OK)
        r = files_commit(fe, root, o->files, o->count, m->job->inputs, m->job->count, NULL, in_doubt);
    if (r == RES_OK)
        tally_apply(&moving.tally);
    tally_fini(&moving.tally);
    return r;
}

static enum result run_job(struct file_engine *fe, struct job *j)
{
    struct merge m = {.fe = fe, .job = j, .output = {.fe = fe}};
    bool in_doubt = false;
    uint64_t bytes = 0;
    j->oldest = takes_oldest(j);
    for (size_t i = 0; i < j->count; i++)
        bytes += j->inputs[i]->size;
    os_mutex_lock(&fe->lock);
    fe->pending = bytes;
    os_mutex_unlock(&fe->lock);
    qsort(j->inputs, j->count, sizeof j->inputs[0], datafile_newest_first);
    enum result r = copy_live(&m);
    if (r == RES_OK)
        r = file_output_finish(&m.output);
    if (r == RES_OK) {
        os_mutex_lock(&fe->edit_lock);
        r = publish(fe, &m, &in_doubt);
        os_mutex_unlock(&fe->edit_lock);
    }
    os_mutex_lock(&fe->lock);
    fe->pending = 0;
    fe->merges += r == RES_OK;
    fe->merge_read += m.read;
    fe->merge_written += m.output.bytes;
    os_mutex_unlock(&fe->lock);
    file_output_fini(&m.output, r != RES_OK && !in_doubt);
    buf_fini(&m.forgotten);
    if (r == RES_IO)
        engine_fail(&fe->failure, &fe->options, r, "merging data files", fe->dir);
    return r;
}

/* One merge if there is something to do. RES_NOT_FOUND: there is not. */
static enum result merge_once(struct file_engine *fe, bool all, const atomic_bool *stop)
{
    struct job j = {.stop = stop};
    enum result r = engine_failed(&fe->failure);
    if (r == RES_OK)
        r = job_begin(fe, &j);
    if (r == RES_OK && all)
        pick_all(&j);
    else if (r == RES_OK)
        pick(fe, &j);
    if (r == RES_OK)
        r = j.count ? run_job(fe, &j) : RES_NOT_FOUND;
    job_end(&j);
    file_bury(fe);
    if (r == RES_OK && fe->options.on_change) /* or what was merged could not go */
        fe->options.on_change(fe->options.arg);
    return r;
}

/* ---- the thread ---- */

static void merge_thread(void *arg)
{
    struct file_engine *fe = arg;
    enum result r = RES_NOT_FOUND;
    os_mutex_lock(&fe->lock);
    while (!fe->stopping) {
        if (r != RES_OK) /* nothing to do, or not now */
            (void)os_cond_wait_for(&fe->work, &fe->lock, r == RES_NOT_FOUND ? IDLE_NS : RETRY_NS);
        if (fe->stopping)
            break;
        bool mine = !fe->merging;
        fe->merging = true;
        os_mutex_unlock(&fe->lock);
        r = mine ? merge_once(fe, false, NULL) : RES_NOT_FOUND;
        file_bury(fe);
        if (r == RES_NO_SPACE && fe->options.on_full)
            fe->options.on_full(fe->options.arg);
        epoch_poll();
        os_mutex_lock(&fe->lock);
        if (mine) {
            fe->merging = false;
            os_cond_broadcast(&fe->done);
        }
    }
    os_mutex_unlock(&fe->lock);
}

enum result file_start(struct file_engine *fe)
{
    enum result r = os_thread_start(&fe->thread, "merge", merge_thread, fe);
    fe->started = r == RES_OK;
    return r;
}

void file_stop(struct file_engine *fe)
{
    os_mutex_lock(&fe->lock);
    __atomic_store_n(&fe->stopping, true, __ATOMIC_RELAXED);
    os_cond_broadcast(&fe->work);
    os_cond_broadcast(&fe->done);
    os_mutex_unlock(&fe->lock);
    if (fe->started)
        os_thread_join(&fe->thread);
}

enum result file_compact(struct engine *e, struct slice lower, struct slice upper, const atomic_bool *stop)
{
    struct file_engine *fe = (struct file_engine *)e;
    (void)lower, (void)upper; /* files hold keys from everywhere */
    os_mutex_lock(&fe->lock);
    while (fe->merging && !fe->stopping)
        os_cond_wait(&fe->done, &fe->lock);
    bool stopping = fe->stopping;
    fe->merging = true;
    os_mutex_unlock(&fe->lock);
    enum result r = stopping ? RES_CLOSED : merge_once(fe, true, stop);
    os_mutex_lock(&fe->lock);
    fe->merging = false;
    os_cond_broadcast(&fe->done);
    os_mutex_unlock(&fe->lock);
    return r == RES_NOT_FOUND || r == RES_CORRUPT ? RES_OK : r; /* what is damaged is set aside */
}

unsigned file_debt(struct engine *e)
{
    struct file_engine *fe = (struct file_engine *)e;
    struct engine_view *v = file_view_acquire(e);
    struct sums s = sum_up(v);
    file_view_unref(v);
    uint64_t percent = s.size > 4 * fe->file_bytes ? s.dead * 100 / s.size : 0;
    if (percent <= DEBT_FROM)
        return 0;
    return percent >= DEBT_TO ? 1000 : (unsigned)((percent - DEBT_FROM) * 1000 / (DEBT_TO - DEBT_FROM));
}
