/* Data files of the engines file and btree: what holds in them, and copies of that. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/datafile.h"
#include "tools/kvctl/salvage.h"

#define PLACES_SAID 5 /* a file */

void salvage_say(struct salvage *s, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    s->say(s->arg, text);
}

enum result salvage_keep(struct salvage *s, struct env *env, const char *dir, const char *folder, const char *name,
                         struct errmsg *msg)
{
    char from[4096], to[4096], lost[4096];
    snprintf(from, sizeof from, "%s/%s/%s", dir, folder, name);
    snprintf(lost, sizeof lost, "%s/lost", dir);
    if (snprintf(to, sizeof to, "%s/lost/%s", dir, name) >= (int)sizeof to)
        return errmsg_set(msg, RES_RANGE, "%s: the name is too long", dir);
    enum result r = env->ops->mkdir(env, lost);
    if (r == RES_OK || r == RES_EXISTS)
        r = env->ops->link(env, from, to);
    if (r == RES_OK)
        r = env->ops->sync_dir(env, lost);
    if (r == RES_NOT_FOUND || r == RES_EXISTS)
        return RES_OK;
    s->aside |= r == RES_OK;
    return r == RES_OK ? r : errmsg_set(msg, r, "cannot keep %s in %s: %s", from, lost, result_text(r));
}

enum result salvage_folder(struct env *env, const char *dir, struct errmsg *msg)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/" SALVAGE_FOLDER, dir);
    enum result r = env_remove_tree(env, path);
    if (r == RES_OK)
        r = env->ops->mkdir(env, path);
    return r == RES_OK ? r : errmsg_set(msg, r, "cannot make %s: %s", path, result_text(r));
}

/* ---- one file ---- */

static enum result open_file(struct salvage_data *d, uint64_t number, uint64_t size, struct datafile **out,
                             struct errmsg *why)
{
    char folder[4096];
    snprintf(folder, sizeof folder, "%s/%s", d->dir, d->folder);
    enum result r = datafile_open(d->env, folder, number, 0, out, why);
    if (r != RES_OK)
        return r;
    d->lost_bytes = d->places = d->records = 0;
    if (size && (*out)->size != size) {
        d->places++;
        d->lost_bytes = size > (*out)->size ? size - (*out)->size : 0;
        if ((*out)->size > size)
            (*out)->size = size;
    }
    return RES_OK;
}

/* The next record that holds and is in order. */
struct holding {
    struct datafile_walk walk;
    struct salvage_data *data;
    uint8_t last[ENGINE_KEY_MAX];
    size_t last_len;
    bool silent;
};

static void note_place(struct holding *h, uint64_t from, uint64_t to, const char *what)
{
    struct salvage_data *d = h->data;
    d->lost_bytes += to - from;
    if (d->places++ < PLACES_SAID && !h->silent)
        salvage_say(d->salvage, "%s.dat: %" PRIu64 " bytes at offset %" PRIu64 " are lost (%s)", h->walk.d->path,
                    to - from, from, what);
}

static enum result next_holding(struct holding *h)
{
    for (;;) {
        struct datafile_walk *w = &h->walk;
        enum result r = datafile_walk_next(w);
        if (r == RES_CORRUPT) {
            uint64_t from = w->offset;
            r = datafile_walk_skip(w);
            if (r == RES_OK || r == RES_NOT_FOUND)
                note_place(h, from, w->offset, result_text(RES_CORRUPT));
            if (r == RES_OK)
                continue;
        }
        if (r != RES_OK)
            return r;
        if (slice_cmp(slice_of(h->last, h->last_len), w->key) >= 0) {
            note_place(h, w->offset, w->offset + w->size, "a record out of order");
            continue;
        }
        memcpy(h->last, w->key.data, w->key.len);
        h->last_len = w->key.len;
        return RES_OK;
    }
}

/* The hint file of a sound data file. */
static enum result look_at_hint(struct salvage_data *d, struct datafile *f)
{
    char name[1040];
    struct errmsg why = {""};
    bool holds;
    enum result r = datafile_hint_holds(f, &holds);
    if (r == RES_OK && holds && (r = datafile_check(f, &why)) == RES_CORRUPT) {
        holds = false;
        r = RES_OK;
    }
    if (r != RES_OK)
        return errmsg_set(d->msg, r, "%s.hint cannot be verified: %s", f->path, result_text(r));
    if (holds)
        return RES_OK;
    struct iter *hints;
    snprintf(name, sizeof name, "%s.hint", f->path);
    salvage_say(d->salvage, "%s is missing or damaged: it is made anew", name);
    d->salvage->changed = true;
    d->hints++;
    r = d->env->ops->unlink(d->env, name);
    if (r != RES_OK && r != RES_NOT_FOUND)
        return errmsg_set(d->msg, r, "cannot remove %s: %s", name, result_text(r));
    if ((r = datafile_hints(f, &hints, d->msg)) == RES_OK) /* which writes it */
        iter_close(hints);
    return r;
}

enum result salvage_data_look(struct salvage_data *d, uint64_t number, uint64_t size, bool *whole)
{
    struct errmsg why = {""};
    struct holding h = {.data = d};
    *whole = false;
    d->files++;
    enum result r = open_file(d, number, size, &h.walk.d, &why);
    if (r == RES_NO_MEMORY || r == RES_TOO_MANY)
        return errmsg_set(d->msg, r, "%s", why.text);
    if (r != RES_OK) {
        salvage_say(d->salvage, "%s (lost)", why.text);
        return RES_NOT_FOUND;
    }
    if (d->places)
        salvage_say(d->salvage, "%s.dat has not the %" PRIu64 " bytes that it should have", h.walk.d->path, size);
    while ((r = next_holding(&h)) == RES_OK)
        d->records++;
    datafile_walk_fini(&h.walk);
    *whole = r == RES_NOT_FOUND && d->places == 0;
    if (r != RES_NOT_FOUND)
        r = errmsg_set(d->msg, r, "%s.dat cannot be read: %s", h.walk.d->path, result_text(r));
    else if (*whole)
        r = look_at_hint(d, h.walk.d);
    else
        r = RES_OK;
    if (r == RES_OK && !*whole)
        salvage_say(d->salvage,
                    "%s.dat: %" PRIu64 " bytes at %" PRIu64 " places are lost, %" PRIu64 " records are there",
                    h.walk.d->path, d->lost_bytes, d->places, d->records);
    datafile_close(h.walk.d);
    return r;
}

enum result salvage_data_copy(struct salvage_data *d, uint64_t number, uint64_t size, const char *into, uint64_t to)
{
    char folder[4096];
    struct datafile_writer w;
    struct keydir_place place;
    struct datafile *copy = NULL;
    struct holding h = {.data = d, .silent = true};
    snprintf(folder, sizeof folder, "%s/%s", d->dir, into);
    enum result r = open_file(d, number, size, &h.walk.d, d->msg);
    if (r != RES_OK)
        return r;
    r = datafile_begin(&w, d->env, folder, to);
    if (r == RES_OK) {
        while ((r = next_holding(&h)) == RES_OK)
            if ((r = datafile_add(&w, h.walk.key, h.walk.kind, h.walk.value, &place)) != RES_OK)
                break;
        if (r == RES_NOT_FOUND)
            r = datafile_finish(&w, &copy);
        else
            datafile_abort(&w);
    }
    datafile_walk_fini(&h.walk);
    datafile_close(h.walk.d);
    if (r != RES_OK)
        return errmsg_set(d->msg, r, "cannot write %s/%06" PRIu64 ".dat: %s", folder, to, result_text(r));
    d->size = copy->size;
    datafile_close(copy);
    return RES_OK;
}

/* ---- private tables ---- */

struct numbers {
    uint64_t *number;
    size_t count, room;
    bool failed;
};

/* Those with a hint file were finished; others a crash cut short, and no log names them. */
static void note_finished(void *arg, const char *name)
{
    struct numbers *n = arg;
    uint64_t number;
    size_t len = strlen(name);
    if (!datafile_number(name, &number) || len < 5 || strcmp(name + len - 5, ".hint") != 0)
        return;
    if (n->count == n->room) {
        size_t room = n->room ? 2 * n->room : 64;
        uint64_t *more = realloc(n->number, room * sizeof *more);
        if (!more) {
            n->failed = true;
            return;
        }
        n->number = more;
        n->room = room;
    }
    n->number[n->count++] = number;
}

static enum result put_in_place(struct salvage_data *d, uint64_t number)
{
    static const char *const endings[] = {"dat", "hint"};
    char from[4096], to[4096], name[64];
    enum result r = RES_OK;
    snprintf(name, sizeof name, "%06" PRIu64 ".dat", number);
    r = salvage_keep(d->salvage, d->env, d->dir, d->folder, name, d->msg);
    if (r == RES_OK)
        r = salvage_folder(d->env, d->dir, d->msg);
    if (r == RES_OK)
        r = salvage_data_copy(d, number, 0, SALVAGE_FOLDER, number);
    if (r != RES_OK)
        return r;
    for (int i = 0; r == RES_OK && i < 2; i++) { /* after a crash in between the hint file is made anew */
        snprintf(from, sizeof from, "%s/" SALVAGE_FOLDER "/%06" PRIu64 ".%s", d->dir, number, endings[i]);
        snprintf(to, sizeof to, "%s/%s/%06" PRIu64 ".%s", d->dir, d->folder, number, endings[i]);
        r = d->env->ops->rename(d->env, from, to);
    }
    snprintf(to, sizeof to, "%s/%s", d->dir, d->folder);
    if (r == RES_OK)
        r = d->env->ops->sync_dir(d->env, to);
    snprintf(from, sizeof from, "%s/" SALVAGE_FOLDER, d->dir);
    if (r == RES_OK)
        r = env_remove_tree(d->env, from);
    return r == RES_OK ? r : errmsg_set(d->msg, r, "cannot put a copy in place in %s: %s", to, result_text(r));
}

enum result salvage_private(struct salvage_data *d, bool (*is_other)(void *arg, uint64_t number), void *arg)
{
    char folder[4096];
    struct numbers n = {0};
    snprintf(folder, sizeof folder, "%s/%s", d->dir, d->folder);
    enum result r = d->env->ops->list(d->env, folder, note_finished, &n);
    if (r == RES_OK && n.failed)
        r = RES_NO_MEMORY;
    if (r != RES_OK)
        (void)errmsg_set(d->msg, r, "cannot list %s: %s", folder, result_text(r));
    for (size_t i = 0; r == RES_OK && i < n.count; i++) {
        bool whole;
        if (is_other && is_other(arg, n.number[i]))
            continue;
        r = salvage_data_look(d, n.number[i], 0, &whole);
        if (r == RES_NOT_FOUND) { /* a hint file alone: recovery says it if the log names it */
            r = RES_OK;
            continue;
        }
        if (r == RES_OK && !whole) {
            d->salvage->changed = true;
            d->cut++;
            r = put_in_place(d, n.number[i]);
        }
    }
    free(n.number);
    return r;
}
