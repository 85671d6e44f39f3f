/* Salvaging a directory of the engine btree: see salvage.h. LMDB's file is read without LMDB (engine/btree/pages.h), and what
 * can be read of it goes through the engine into a new one, which takes the old one's name when it is whole. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/epoch.h"
#include "engine/btree/pages.h"
#include "engine/datafile.h"
#include "front/log_format.h"
#include "front/log_reader.h"
#include "tools/kvctl/salvage.h"

#define RUN_BYTES ((size_t)16 << 20) /* absorbed at a time */
#define FAULTS_SAID 20

struct tree {
    const char *dir;
    char path[4096]; /* of data.mdb */
    struct pages pages;
    const struct pages_meta *meta; /* which of the two is gone by */
    struct salvage *out;           /* NULL: the first fault is wanted, in msg */
    struct errmsg *msg;
    bool silent; /* it has been said */
    uint64_t pages_seen, pages_lost, records, records_lost, found_again;
    bool has_boundary;
    uint64_t sequence, next_number;
    struct buf state; /* the front's, at the boundary */
    uint8_t last[ENGINE_KEY_MAX];
    size_t last_len;
    /* what is copied */
    struct engine *to;
    struct buf bytes;
    struct iter_record *run;
    size_t run_count, run_room;
};

/* ---- looking ---- */

static void fault(void *arg, uint64_t page, bool whole, const char *what)
{
    struct tree *t = arg;
    t->pages_lost += whole;
    t->records_lost += !whole;
    if (!t->out && !t->msg->text[0])
        (void)errmsg_set(t->msg, RES_CORRUPT, "%s: page %" PRIu64 " at offset %" PRIu64 ": %s", t->path, page,
                         page * t->pages.page_bytes, what);
    if (!t->out || t->silent)
        return;
    uint64_t n = t->pages_lost + t->records_lost;
    if (n <= FAULTS_SAID)
        salvage_say(t->out, "%s: %s page %" PRIu64 " at offset %" PRIu64 " is lost: %s", t->path,
                    whole ? "what" : "a record in", page, page * t->pages.page_bytes, what);
    else if (n == FAULTS_SAID + 1)
        salvage_say(t->out, "...");
}

static void came_to(void *arg, uint64_t page, bool leaf, unsigned nodes)
{
    struct tree *t = arg;
    (void)page, (void)leaf, (void)nodes;
    t->pages_seen++;
}

/* The boundary's record: not one of the interface's. */
static enum result note_boundary(struct tree *t, uint64_t page, struct slice stored)
{
    struct btree_boundary b;
    if (!btree_boundary_parse(stored, &b)) {
        fault(t, page, false, "the boundary's checksum does not hold");
        return RES_OK;
    }
    t->has_boundary = true;
    t->sequence = b.sequence;
    t->next_number = b.next_number;
    buf_clear(&t->state);
    return buf_append(&t->state, b.state.data, b.state.len);
}

static bool record_holds(struct tree *t, uint64_t page, struct slice key, struct slice stored, struct slice *value)
{
    if (key.len == 0 || key.len > ENGINE_KEY_MAX)
        fault(t, page, false, "its key is none");
    else if (!btree_stored_value(key, stored, value))
        fault(t, page, false, "its checksum does not hold");
    else
        return true;
    return false;
}

static enum result look_at_record(void *arg, uint64_t page, struct slice key, struct slice stored)
{
    struct tree *t = arg;
    struct slice value;
    if (slice_eq(key, btree_boundary_key))
        return note_boundary(t, page, stored);
    if (!record_holds(t, page, key, stored, &value))
        return RES_OK;
    if (slice_cmp(slice_of(t->last, t->last_len), key) >= 0) {
        fault(t, page, false, "it is out of order");
        return RES_OK;
    }
    memcpy(t->last, key.data, key.len);
    t->last_len = key.len;
    t->records++;
    return RES_OK;
}

static enum result look_through(struct tree *t)
{
    const struct pages_visitor v = {.arg = t, .record = look_at_record, .fault = fault, .page = came_to};
    t->last_len = 0;
    return pages_walk(&t->pages, t->meta, &v);
}

static enum result begin(struct tree *t)
{
    if (snprintf(t->path, sizeof t->path, "%s/btree/data.mdb", t->dir) >= (int)sizeof t->path)
        return errmsg_set(t->msg, RES_RANGE, "%s: the name is too long", t->dir);
    enum result r = pages_open(&t->pages, env_posix(), t->path, t->msg);
    if (r != RES_OK)
        return r;
    t->meta = &t->pages.meta[t->pages.newest];
    if (!t->pages.meta[!t->pages.newest].holds)
        fault(t, (uint64_t)!t->pages.newest, true, "it is one of the two that name the tree");
    if ((r = look_through(t)) != RES_OK)
        return errmsg_set(t->msg, r, "%s: cannot be read: %s", t->path, result_text(r));
    if (!t->has_boundary)
        fault(t, t->meta->root, false, "the boundary's record is not there");
    if (t->out && t->pages_seen == 0 &&
        t->pages.meta[!t->pages.newest].holds) { /* its root is lost: the state before */
        salvage_say(t->out, "%s: nothing can be reached: the state before the last is taken", t->path);
        t->meta = &t->pages.meta[!t->pages.newest];
        if ((r = look_through(t)) != RES_OK)
            return errmsg_set(t->msg, r, "%s: cannot be read: %s", t->path, result_text(r));
    }
    return RES_OK;
}

static void end(struct tree *t)
{
    pages_close(&t->pages);
    buf_fini(&t->state);
    buf_fini(&t->bytes);
    free(t->run);
}

enum result salvage_tree_check(const char *dir, struct errmsg *msg)
{
    struct tree t = {.dir = dir, .msg = msg};
    enum result r = begin(&t);
    if (r == RES_OK && (t.pages_lost || t.records_lost))
        r = RES_CORRUPT;
    end(&t);
    return r;
}

/* ---- a boundary, when the tree's is lost ---- */

struct logs {
    const char *dir;
    struct {
        uint64_t number, before, first;
    } * log;
    size_t count, room;
    bool failed;
};

static void note_log(void *arg, const char *name)
{
    struct logs *l = arg;
    char path[4096];
    uint64_t number;
    int used = 0;
    struct log_header h;
    struct log_start s;
    if (sscanf(name, "%12" SCNu64 ".log%n", &number, &used) != 1 || used != 16 || name[used])
        return;
    snprintf(path, sizeof path, "%s/wal/%s", l->dir, name);
    if (log_peek(env_posix(), path, number, &h, &s) != RES_OK)
        return;
    if (l->count == l->room) {
        size_t room = l->room ? 2 * l->room : 16;
        void *more = realloc(l->log, room * sizeof *l->log);
        if (!more) {
            l->failed = true;
            return;
        }
        l->log = more;
        l->room = room;
    }
    l->log[l->count].number = number;
    l->log[l->count].before = s.before;
    l->log[l->count++].first = h.first;
}

/* The oldest log that the newest leads back to: all that is in it and behind it is run once more, which ends in the same
 * state, since for every key that it changes it holds the last change too. */
static enum result invent_boundary(struct tree *t)
{
    struct logs l = {.dir = t->dir};
    uint8_t state[36] = {0};
    char folder[4096];
    size_t at = 0;
    snprintf(folder, sizeof folder, "%s/wal", t->dir);
    enum result r = env_posix()->ops->list(env_posix(), folder, note_log, &l);
    if (r == RES_OK && l.failed)
        r = RES_NO_MEMORY;
    if (r == RES_OK && l.count == 0)
        r = RES_CORRUPT;
    if (r != RES_OK) {
        free(l.log);
        return errmsg_set(t->msg, r, "%s: the boundary is lost, and %s has no log that could tell it: %s", t->path,
                          folder, result_text(r));
    }
    for (size_t i = 1; i < l.count; i++)
        at = l.log[i].number > l.log[at].number ? i : at;
    for (size_t i = 0; i < l.count; i++)
        if (l.log[i].number == l.log[at].before && l.log[i].number < l.log[at].number) {
            at = i;
            i = (size_t)-1;
        }
    put_le32(state, 1); /* docs/formats.md, "The front's state in the engine" */
    put_le64(state + 8, l.log[at].first);
    put_le64(state + 16, l.log[at].number);
    t->sequence = l.log[at].first;
    salvage_say(t->out, "%s: the boundary is lost: the log is run from %012" PRIu64 " on", t->path, l.log[at].number);
    free(l.log);
    buf_clear(&t->state);
    return buf_append(&t->state, state, sizeof state);
}

/* ---- copying ---- */

static enum result absorb(struct tree *t)
{
    struct engine_boundary b = {t->sequence, buf_slice(&t->state)};
    struct iter *it;
    const uint8_t *at = t->bytes.data;
    if (t->run_count == 0)
        return RES_OK;
    for (size_t i = 0; i < t->run_count; i++) { /* the buffer may have moved while it grew */
        struct iter_record *rec = &t->run[i];
        rec->key.data = at;
        rec->value.data = at + rec->key.len;
        at += rec->key.len + rec->value.len;
    }
    enum result r = iter_over_array(t->run, t->run_count, slice_of(NULL, 0), slice_of(NULL, 0), &it);
    if (r != RES_OK)
        return r;
    r = engine_btree.absorb(t->to, it, &b);
    iter_close(it);
    epoch_poll();
    t->run_count = 0;
    buf_clear(&t->bytes);
    t->last_len = 0;
    return r;
}

static enum result copy_record(void *arg, uint64_t page, struct slice key, struct slice stored)
{
    struct tree *t = arg;
    struct slice value;
    enum result r = RES_OK;
    if (slice_eq(key, btree_boundary_key) || !record_holds(t, page, key, stored, &value))
        return RES_OK;
    if (slice_cmp(slice_of(t->last, t->last_len), key) >= 0 || t->bytes.len > RUN_BYTES)
        r = absorb(t);
    if (r == RES_OK && t->run_count == t->run_room) {
        size_t room = t->run_room ? 2 * t->run_room : 1024;
        struct iter_record *more = realloc(t->run, room * sizeof *more);
        if (!more)
            return RES_NO_MEMORY;
        t->run = more;
        t->run_room = room;
    }
    if (r == RES_OK)
        r = buf_append(&t->bytes, key.data, key.len);
    if (r == RES_OK)
        r = buf_append(&t->bytes, value.data, value.len);
    if (r != RES_OK)
        return r;
    t->run[t->run_count++] = (struct iter_record){{NULL, key.len}, {NULL, value.len}, RECORD_PUT};
    memcpy(t->last, key.data, key.len);
    t->last_len = key.len;
    return RES_OK;
}

static enum result copy_orphan(void *arg, uint64_t page, struct slice key, struct slice stored)
{
    struct tree *t = arg;
    struct btree_boundary b;
    if (slice_eq(key, btree_boundary_key)) /* below a damaged branch */
        return t->has_boundary || !btree_boundary_parse(stored, &b) ? RES_OK : note_boundary(t, page, stored);
    uint64_t before = t->records_lost;
    enum result r = copy_record(arg, page, key, stored);
    t->found_again += t->records_lost == before;
    return r;
}

/* Orphans first: should the tree have the same key, the tree's record counts. */
static enum result copy_all(struct tree *t)
{
    const struct pages_visitor orphans = {.arg = t, .record = copy_orphan, .fault = fault};
    const struct pages_visitor rest = {.arg = t, .record = copy_record, .fault = fault};
    uint64_t lost = t->records_lost, pages_lost = t->pages_lost;
    t->silent = true;
    t->last_len = 0;
    enum result r = pages_lost ? pages_walk_orphans(&t->pages, t->meta, &orphans) : RES_OK;
    if (r == RES_OK && !t->has_boundary)
        r = invent_boundary(t);
    if (r == RES_OK)
        r = absorb(t);
    if (r == RES_OK)
        r = pages_walk(&t->pages, t->meta, &rest);
    if (r == RES_OK)
        r = absorb(t);
    t->records_lost = lost;
    t->pages_lost = pages_lost;
    if (r == RES_OK) { /* also when there is no record at all */
        struct engine_boundary b = {t->sequence, buf_slice(&t->state)};
        r = engine_btree.absorb(t->to, NULL, &b);
    }
    return r;
}

static void highest_number(void *arg, const char *name)
{
    uint64_t number, *highest = arg;
    if (datafile_number(name, &number) && number > *highest)
        *highest = number;
}

/* The new engine gives no number that the old one has given: it counts on from the files that it finds. */
static enum result reserve_numbers(const struct tree *t, const char *folder)
{
    char path[4200];
    uint64_t highest = t->next_number ? t->next_number - 1 : 0;
    struct env_file *f;
    snprintf(path, sizeof path, "%s/btree", t->dir);
    enum result r = env_posix()->ops->list(env_posix(), path, highest_number, &highest);
    snprintf(path, sizeof path, "%s/btree", folder);
    if (r == RES_OK)
        r = env_posix()->ops->mkdir(env_posix(), path);
    if (r != RES_OK || highest == 0)
        return r;
    snprintf(path, sizeof path, "%s/btree/%06" PRIu64 ".dat", folder, highest);
    r = env_posix()->ops->open(env_posix(), path, ENV_WRITE | ENV_CREATE, &f);
    return r == RES_OK ? f->ops->close(f) : r;
}

static enum result make_copy(struct tree *t, const char *folder)
{
    struct engine_options o = {.env = env_posix(), .dir = folder, .create = true};
    uint64_t sequence;
    struct slice state;
    enum result r = reserve_numbers(t, folder);
    if (r != RES_OK)
        return errmsg_set(t->msg, r, "cannot make %s/btree: %s", folder, result_text(r));
    if ((r = engine_btree.open(&o, &t->to, &sequence, &state, t->msg)) != RES_OK)
        return r;
    free((void *)(uintptr_t)state.data);
    r = copy_all(t);
    engine_btree.close(t->to);
    epoch_drain();
    return r == RES_OK || t->msg->text[0] ? r : errmsg_set(t->msg, r, "cannot write %s: %s", folder, result_text(r));
}

/* The old file under a name in DIR/lost that no earlier repair has used. */
static enum result keep_old(struct tree *t)
{
    char lost[4096], to[4200];
    struct env *env = env_posix();
    snprintf(lost, sizeof lost, "%s/lost", t->dir);
    enum result r = env->ops->mkdir(env, lost);
    r = r == RES_EXISTS ? RES_OK : r;
    for (unsigned n = 1; r == RES_OK; n++) {
        snprintf(to, sizeof to, n == 1 ? "%s/data.mdb" : "%s/data.mdb.%u", lost, n);
        if ((r = env->ops->link(env, t->path, to)) != RES_EXISTS)
            break;
        r = RES_OK;
    }
    if (r == RES_OK)
        r = env->ops->sync_dir(env, lost);
    t->out->aside |= r == RES_OK;
    return r == RES_OK ? r : errmsg_set(t->msg, r, "cannot keep %s in %s: %s", t->path, lost, result_text(r));
}

static enum result rebuild(struct tree *t)
{
    char folder[4096], from[4200], above[4096];
    struct env *env = env_posix();
    snprintf(folder, sizeof folder, "%s/" SALVAGE_FOLDER, t->dir);
    snprintf(from, sizeof from, "%s/btree/data.mdb", folder);
    snprintf(above, sizeof above, "%s/btree", t->dir);
    enum result r = salvage_folder(env, t->dir, t->msg);
    if (r == RES_OK)
        r = make_copy(t, folder);
    if (r == RES_OK)
        r = keep_old(t);
    if (r != RES_OK)
        return r;
    r = env->ops->rename(env, from, t->path);
    if (r == RES_OK)
        r = env->ops->sync_dir(env, above);
    if (r == RES_OK)
        r = env_remove_tree(env, folder);
    return r == RES_OK ? r : errmsg_set(t->msg, r, "cannot put %s in place: %s", from, result_text(r));
}

enum result salvage_tree(struct env *env, const char *dir, struct salvage *out, struct errmsg *msg)
{
    struct salvage_data d = {.salvage = out, .env = env, .dir = dir, .folder = "btree", .msg = msg};
    struct tree t = {.dir = dir, .out = out, .msg = msg};
    enum result r = begin(&t);
    bool damaged = t.pages_lost || t.records_lost;
    out->tried = !damaged || env == env_posix();
    if (r == RES_OK)
        r = salvage_private(&d, NULL, NULL);
    if (r == RES_OK && damaged) {
        out->changed = true;
        r = out->tried ? rebuild(&t) : RES_OK;
    }
    snprintf(out->told, sizeof out->told,
             "%" PRIu64 " pages of the tree: %" PRIu64 " lost, %" PRIu64 " records lost in others, %" PRIu64
             " found again below lost ones; %" PRIu64 " private tables without some of their records",
             t.pages_seen, t.pages_lost, t.records_lost, t.found_again, d.cut);
    end(&t);
    return r;
}
