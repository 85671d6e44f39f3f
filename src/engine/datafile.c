/* Data files: writing, opening, single records, hints. See datafile.h for the formats. */
#include "engine/datafile.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/log.h"

#define WRITE_PIECE ((size_t)1 << 20)
#define HINT_HEAD 40
#define HINT_MAGIC "VARVEHNT"
#define VERSION 1
#define HINT_MOST ((size_t)4 << 30)
#define FILE_MOST ((uint64_t)1 << 40)

static uint64_t salt_of(uint64_t number, uint64_t offset) { return (number << 40) + offset; }

static char *path_of(const char *dir, uint64_t number)
{
    size_t room = strlen(dir) + 32;
    char *path = malloc(room);
    if (path)
        snprintf(path, room, "%s/%06" PRIu64, dir, number);
    return path;
}

static bool with_ending(const char *path, const char *ending, char out[1024])
{
    int n = snprintf(out, 1024, "%s%s", path, ending);
    return n > 0 && n < 1024;
}

static enum result open_with(struct env *env, const char *path, const char *ending, int flags, struct env_file **out)
{
    char name[1024];
    *out = NULL;
    return with_ending(path, ending, name) ? env->ops->open(env, name, flags, out) : RES_INVALID;
}

static void remove_both(struct env *env, const char *path)
{
    char name[1024];
    if (with_ending(path, ".hint", name)) /* what cannot be removed now is swept at the next start */
        (void)!env->ops->unlink(env, name);
    if (with_ending(path, ".dat", name))
        (void)!env->ops->unlink(env, name);
}

void datafile_remove(struct env *env, const char *dir, uint64_t number)
{
    char *path = path_of(dir, number);
    if (path)
        remove_both(env, path);
    free(path);
}

bool datafile_number(const char *name, uint64_t *number)
{
    char ending[6], end;
    return sscanf(name, "%" SCNu64 ".%5[a-z]%c", number, ending, &end) == 2 &&
           (strcmp(ending, "dat") == 0 || strcmp(ending, "hint") == 0);
}

/* ---- references ---- */

int datafile_newest_first(const void *a, const void *b)
{
    uint64_t x = (*(struct datafile *const *)a)->order, y = (*(struct datafile *const *)b)->order;
    return x < y ? 1 : x > y ? -1 : 0;
}

void datafile_ref(struct datafile *d) { __atomic_fetch_add(&d->refs, 1, __ATOMIC_RELAXED); }

void datafile_close(struct datafile *d)
{
    if (d->file)
        (void)!d->file->ops->close(d->file); /* only read */
    if (__atomic_load_n(&d->obsolete, __ATOMIC_RELAXED))
        remove_both(d->env, d->path);
    free(d->path);
    free(d);
}

void datafile_unref(struct datafile *d)
{
    if (!d || __atomic_fetch_sub(&d->refs, 1, __ATOMIC_ACQ_REL) != 1)
        return;
    if (d->owner)
        d->owner->gone(d->owner, d);
    else
        datafile_close(d);
}

/* ---- writing ---- */

enum result datafile_begin(struct datafile_writer *w, struct env *env, const char *dir, uint64_t number)
{
    *w = (struct datafile_writer){.env = env, .number = number, .path = path_of(dir, number)};
    enum result r = w->path ? RES_OK : RES_NO_MEMORY;
    if (r == RES_OK)
        r = buf_reserve(&w->hint, HINT_HEAD);
    if (r == RES_OK)
        r = open_with(env, w->path, ".dat", ENV_READ | ENV_WRITE | ENV_CREATE | ENV_EXCL, &w->file);
    if (r != RES_OK) {
        free(w->path);
        buf_fini(&w->hint);
        w->path = NULL;
        return r;
    }
    w->hint.len = HINT_HEAD;
    return RES_OK;
}

static enum result write_out(struct datafile_writer *w)
{
    enum result r = w->data.len ? env_write(w->file, w->data.data, w->data.len, w->written) : RES_OK;
    if (r == RES_OK) {
        w->written += w->data.len;
        buf_clear(&w->data);
    }
    return r;
}

static enum result hint_add(struct datafile_writer *w, struct slice key, uint8_t kind, struct slice value)
{
    size_t shared = 0;
    while (shared < key.len && shared < w->last_len && key.data[shared] == w->last[shared])
        shared++;
    bool range = key.data[0] == REGION_DEAD && kind == RECORD_PUT;
    enum result r = buf_reserve(&w->hint, 3 * VARINT_MAX + key.len + 1 + (range ? value.len : 0));
    if (r != RES_OK)
        return r;
    uint8_t *p = w->hint.data + w->hint.len;
    p += put_varint(p, shared);
    p += put_varint(p, key.len - shared);
    memcpy(p, key.data + shared, key.len - shared);
    p += key.len - shared;
    *p++ = kind;
    p += put_varint(p, value.len);
    if (range) {
        memcpy(p, value.data, value.len);
        p += value.len;
    }
    w->hint.len = (size_t)(p - w->hint.data);
    return RES_OK;
}

enum result datafile_add(struct datafile_writer *w, struct slice key, uint8_t kind, struct slice value,
                         struct keydir_place *place)
{
    size_t size = DATAFILE_HEAD + key.len + value.len;
    if (key.len == 0 || key.len > ENGINE_KEY_MAX || value.len > UINT32_MAX - 1024 ||
        slice_cmp(slice_of(w->last, w->last_len), key) >= 0 || w->offset + size > FILE_MOST)
        return RES_INVALID;
    enum result r = buf_reserve(&w->data, size);
    if (r == RES_OK)
        r = hint_add(w, key, kind, value);
    if (r != RES_OK)
        return r;
    uint8_t *p = w->data.data + w->data.len;
    put_le32(p + 4, (uint32_t)value.len);
    put_le16(p + 8, (uint16_t)key.len);
    p[10] = kind;
    p[11] = 0;
    memcpy(p + DATAFILE_HEAD, key.data, key.len);
    if (value.len)
        memcpy(p + DATAFILE_HEAD + key.len, value.data, value.len);
    put_le32(p, checksum32(p + 4, size - 4, salt_of(w->number, w->offset)));
    *place = (struct keydir_place){w->offset, (uint32_t)w->number, (uint32_t)value.len, kind};
    w->data.len += size;
    w->offset += size;
    w->records++;
    if (kind == RECORD_DELETE)
        w->tombstones += size;
    else if (key.data[0] == REGION_DEAD)
        w->ranges += size;
    memcpy(w->last, key.data, key.len);
    w->last_len = key.len;
    return w->data.len >= WRITE_PIECE ? write_out(w) : RES_OK;
}

static void hint_head(const struct datafile_writer *w, uint8_t *p)
{
    memcpy(p, HINT_MAGIC, 8);
    put_le32(p + 8, VERSION);
    put_le32(p + 12, 0);
    put_le64(p + 16, w->number);
    put_le64(p + 24, w->records);
    put_le64(p + 32, w->offset);
}

/* Writes and syncs the hint file; one that is there is written over. */
static enum result write_hint(struct datafile_writer *w)
{
    struct env_file *f;
    uint8_t sum[4];
    hint_head(w, w->hint.data);
    put_le32(sum, checksum32(w->hint.data, w->hint.len, w->number));
    enum result r = buf_append(&w->hint, sum, 4);
    if (r == RES_OK)
        r = open_with(w->env, w->path, ".hint", ENV_WRITE | ENV_CREATE, &f);
    if (r != RES_OK)
        return r;
    r = f->ops->truncate(f, 0);
    if (r == RES_OK)
        r = env_write(f, w->hint.data, w->hint.len, 0);
    if (r == RES_OK)
        r = f->ops->sync(f);
    enum result closed = f->ops->close(f);
    return r != RES_OK ? r : closed;
}

static struct datafile *datafile_new(struct env *env, char *path, uint64_t number)
{
    struct datafile *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    d->env = env;
    d->path = path;
    d->number = number;
    d->refs = 1;
    return d;
}

static void writer_fini(struct datafile_writer *w)
{
    buf_fini(&w->data);
    buf_fini(&w->hint);
    free(w->path);
    *w = (struct datafile_writer){0};
}

void datafile_abort(struct datafile_writer *w)
{
    if (!w->path)
        return;
    if (w->file)
        (void)!w->file->ops->close(w->file);
    remove_both(w->env, w->path);
    writer_fini(w);
}

enum result datafile_finish(struct datafile_writer *w, struct datafile **out)
{
    *out = NULL;
    enum result r = write_out(w);
    if (r == RES_OK)
        r = w->file->ops->sync(w->file);
    if (r == RES_OK)
        r = write_hint(w);
    struct datafile *d = r == RES_OK ? datafile_new(w->env, w->path, w->number) : NULL;
    if (r == RES_OK && !d)
        r = RES_NO_MEMORY;
    if (r != RES_OK) {
        datafile_abort(w);
        return r;
    }
    d->file = w->file;
    d->size = w->offset;
    d->records = w->records;
    d->tombstones = w->tombstones;
    d->ranges = w->ranges;
    w->path = NULL;
    writer_fini(w);
    *out = d;
    return RES_OK;
}

/* ---- records ---- */

bool datafile_parse(const struct datafile *d, uint64_t offset, const uint8_t *p, size_t len, struct slice *key,
                    uint8_t *kind, struct slice *value, size_t *size)
{
    if (len < DATAFILE_HEAD)
        return false;
    size_t key_len = get_le16(p + 8), value_len = get_le32(p + 4);
    *size = DATAFILE_HEAD + key_len + value_len;
    if (key_len == 0 || key_len > ENGINE_KEY_MAX || *size > len || p[11] != 0 ||
        (p[10] != RECORD_PUT && p[10] != RECORD_DELETE) ||
        get_le32(p) != checksum32(p + 4, *size - 4, salt_of(d->number, offset)))
        return false;
    *key = slice_of(p + DATAFILE_HEAD, key_len);
    *value = slice_of(p + DATAFILE_HEAD + key_len, value_len);
    *kind = p[10];
    return true;
}

enum result datafile_read(struct datafile *d, uint64_t offset, size_t size, int flags, struct datafile_record **out)
{
    *out = NULL;
    if (offset > d->size || size > d->size - offset)
        return RES_CORRUPT;
    struct datafile_record *rec = malloc(sizeof *rec + size);
    if (!rec)
        return RES_NO_MEMORY;
    enum result r = RES_CORRUPT;
    for (int tries = 0; tries < 2 && r == RES_CORRUPT; tries++) { /* one bad read is no damage yet */
        size_t got, whole;
        r = d->file->ops->pread(d->file, rec->bytes, size, offset, flags, &got);
        if (r == RES_OK &&
            (!datafile_parse(d, offset, rec->bytes, got, &rec->key, &rec->kind, &rec->value, &whole) || whole != size))
            r = RES_CORRUPT;
    }
    if (r == RES_CORRUPT)
        log_warning("%s.dat: the record at offset %" PRIu64 " is damaged", d->path, offset);
    if (r != RES_OK) {
        free(rec);
        return r;
    }
    rec->file = d;
    rec->offset = offset;
    *out = rec;
    return RES_OK;
}

enum result datafile_read_at(struct datafile *d, uint64_t offset, int flags, struct datafile_record **out)
{
    uint8_t head[DATAFILE_HEAD];
    size_t got;
    *out = NULL;
    enum result r = d->file->ops->pread(d->file, head, sizeof head, offset, flags, &got);
    if (r != RES_OK)
        return r;
    if (got < sizeof head)
        return RES_CORRUPT;
    return datafile_read(d, offset, DATAFILE_HEAD + get_le16(head + 8) + (size_t)get_le32(head + 4), flags, out);
}

static void record_free(struct epoch_entry *e) { free(e); }

void datafile_record_retire(struct datafile_record *r) { epoch_retire(&r->retired, record_free); }

/* ---- opening ---- */

/* Reads on until the window has so much of the record at hand, or the file ends. */
static enum result walk_read(struct datafile_walk *w, size_t need)
{
    buf_consume(&w->window, w->at);
    w->at = 0;
    uint64_t from = w->offset + w->window.len, left = w->d->size - from;
    size_t want = need - w->window.len, got;
    if (want > left)
        return RES_CORRUPT;
    if (want < WRITE_PIECE)
        want = left < WRITE_PIECE ? (size_t)left : WRITE_PIECE;
    enum result r = buf_reserve(&w->window, want);
    if (r == RES_OK)
        r = w->d->file->ops->pread(w->d->file, w->window.data + w->window.len, want, from, 0, &got);
    if (r != RES_OK)
        return r;
    w->window.len += got;
    return got < want ? RES_CORRUPT : RES_OK;
}

/* The record at w->offset, if there is one. */
static enum result walk_look(struct datafile_walk *w)
{
    size_t need = DATAFILE_HEAD, size;
    w->size = 0;
    for (int step = 0; step < 2; step++) {
        enum result r = w->window.len - w->at < need ? walk_read(w, need) : RES_OK;
        if (r != RES_OK)
            return r;
        const uint8_t *p = w->window.data + w->at;
        need = DATAFILE_HEAD + get_le16(p + 8) + (size_t)get_le32(p + 4);
    }
    if (!datafile_parse(w->d, w->offset, w->window.data + w->at, w->window.len - w->at, &w->key, &w->kind, &w->value,
                        &size))
        return RES_CORRUPT;
    w->size = size;
    return RES_OK;
}

static void walk_past(struct datafile_walk *w, size_t bytes)
{
    w->at += bytes;
    w->offset += bytes;
    w->size = 0;
}

enum result datafile_walk_next(struct datafile_walk *w)
{
    walk_past(w, w->size);
    return w->offset == w->d->size ? RES_NOT_FOUND : walk_look(w);
}

/* Could a record begin with these bytes? Few do in other bytes, so few checksums are computed. */
static bool may_begin(const uint8_t *p)
{
    return p[11] == 0 && (p[10] == RECORD_PUT || p[10] == RECORD_DELETE) && get_le16(p + 8) != 0 &&
           get_le16(p + 8) <= ENGINE_KEY_MAX;
}

enum result datafile_walk_skip(struct datafile_walk *w)
{
    w->size = 0;
    while (w->d->size - w->offset > DATAFILE_HEAD) {
        walk_past(w, 1);
        enum result r = w->window.len - w->at < DATAFILE_HEAD ? walk_read(w, DATAFILE_HEAD) : RES_OK;
        if (r == RES_OK && may_begin(w->window.data + w->at)) {
            r = walk_look(w);
            w->size = 0; /* it is shown by the next step */
            if (r == RES_OK)
                return RES_OK;
        }
        if (r != RES_OK && r != RES_CORRUPT)
            return r;
    }
    w->offset = w->d->size;
    return RES_NOT_FOUND;
}

void datafile_walk_fini(struct datafile_walk *w) { buf_fini(&w->window); }

/* Writes the hint file anew, if it can be written; fills w->hint and counts in any case. */
static enum result rebuild_hint(struct datafile *d, struct datafile_writer *w)
{
    struct datafile_walk walk = {.d = d};
    *w = (struct datafile_writer){.env = d->env, .number = d->number, .path = d->path};
    enum result r = buf_reserve(&w->hint, HINT_HEAD);
    w->hint.len = HINT_HEAD;
    while (r == RES_OK && (r = datafile_walk_next(&walk)) == RES_OK) {
        if (slice_cmp(slice_of(w->last, w->last_len), walk.key) >= 0) {
            r = RES_CORRUPT;
            break;
        }
        r = hint_add(w, walk.key, walk.kind, walk.value);
        memcpy(w->last, walk.key.data, walk.key.len);
        w->last_len = walk.key.len;
        w->records++;
        w->offset += walk.size;
    }
    if (r == RES_CORRUPT)
        log_warning("%s.dat: the record at offset %" PRIu64 " is damaged", d->path, walk.offset);
    datafile_walk_fini(&walk);
    if (r != RES_NOT_FOUND)
        return r;
    if (write_hint(w) != RES_OK)
        log_verbose("%s.hint cannot be written; the next start reads the data file again", d->path);
    return RES_OK;
}

static bool hint_holds(const struct datafile *d, struct slice hint)
{
    return hint.len >= HINT_HEAD + 4 && memcmp(hint.data, HINT_MAGIC, 8) == 0 && get_le32(hint.data + 8) == VERSION &&
           get_le64(hint.data + 16) == d->number && get_le64(hint.data + 32) == d->size &&
           get_le32(hint.data + hint.len - 4) == checksum32(hint.data, hint.len - 4, d->number);
}

enum result datafile_hint_holds(struct datafile *d, bool *holds)
{
    char name[1024];
    uint8_t *data = NULL;
    size_t len = 0;
    enum result r =
        with_ending(d->path, ".hint", name) ? env_read_file(d->env, name, HINT_MOST, &data, &len) : RES_INVALID;
    *holds = r == RES_OK && hint_holds(d, slice_of(data, len));
    free(data);
    return r == RES_NO_MEMORY ? r : RES_OK;
}

/* The hint file's bytes (malloc'd), written anew when need be. */
static enum result load_hint(struct datafile *d, struct slice *out, struct errmsg *msg)
{
    char name[1024];
    uint8_t *data = NULL;
    size_t len = 0;
    *out = slice_of(NULL, 0);
    enum result r =
        with_ending(d->path, ".hint", name) ? env_read_file(d->env, name, HINT_MOST, &data, &len) : RES_INVALID;
    if (r == RES_OK && hint_holds(d, slice_of(data, len))) {
        *out = slice_of(data, len);
        return RES_OK;
    }
    free(data);
    if (r == RES_NO_MEMORY)
        return errmsg_set(msg, r, "no memory for %s", name);
    struct datafile_writer w;
    log_verbose("%s.hint is missing or damaged: it is made from the data file", d->path);
    r = rebuild_hint(d, &w);
    if (r != RES_OK)
        (void)errmsg_set(msg, r, "%s.dat: the record at offset %" PRIu64 ": %s", d->path, w.offset, result_text(r));
    else if (w.hint.len < HINT_HEAD + 4)
        r = RES_NO_MEMORY;
    else
        *out = slice_of(w.hint.data, w.hint.len);
    if (r != RES_OK)
        buf_fini(&w.hint);
    return r;
}

enum result datafile_open(struct env *env, const char *dir, uint64_t number, uint64_t size, struct datafile **out,
                          struct errmsg *msg)
{
    char *path = path_of(dir, number);
    struct datafile *d = path ? datafile_new(env, path, number) : NULL;
    uint64_t there = 0;
    *out = NULL;
    if (!d) {
        free(path);
        return errmsg_set(msg, RES_NO_MEMORY, "no memory for data file %06" PRIu64, number);
    }
    enum result r = open_with(env, path, ".dat", ENV_READ, &d->file);
    if (r == RES_OK)
        r = d->file->ops->size(d->file, &there);
    if (r != RES_OK)
        (void)errmsg_set(msg, r, "%s.dat cannot be opened: %s", path, result_text(r));
    else if (size && there != size)
        r = errmsg_set(msg, RES_CORRUPT, "%s.dat has %" PRIu64 " bytes and should have %" PRIu64, path, there, size);
    d->size = there;
    if (r != RES_OK) {
        datafile_close(d);
        return r;
    }
    *out = d;
    return RES_OK;
}

/* ---- hints ---- */

struct hints {
    struct iter it;
    struct datafile *d;
    uint8_t *data;
    struct slice all, left;
    uint64_t offset, seen, tombstones, ranges;
    uint8_t key[ENGINE_KEY_MAX];
    uint8_t value[sizeof(struct keydir_place) + ENGINE_KEY_MAX];
};

static enum result hints_next(struct iter *it)
{
    struct hints *h = (struct hints *)it;
    uint64_t shared, rest, value_len;
    struct slice bytes, end = slice_of(NULL, 0);
    if (h->left.len == 0) {
        if (h->offset != h->d->size || h->seen != h->d->records)
            return RES_CORRUPT;
        __atomic_store_n(&h->d->tombstones, h->tombstones, __ATOMIC_RELAXED);
        __atomic_store_n(&h->d->ranges, h->ranges, __ATOMIC_RELAXED);
        return RES_NOT_FOUND;
    }
    if (!take_varint(&h->left, &shared) || !take_varint(&h->left, &rest) || shared > h->it.key.len ||
        shared + rest > ENGINE_KEY_MAX || shared + rest == 0 || !take_bytes(&h->left, (size_t)rest, &bytes))
        return RES_CORRUPT;
    memcpy(h->key + shared, bytes.data, bytes.len);
    h->it.key = slice_of(h->key, (size_t)(shared + rest));
    if (!take_bytes(&h->left, 1, &bytes) || !take_varint(&h->left, &value_len) || value_len > UINT32_MAX)
        return RES_CORRUPT;
    h->it.kind = bytes.data[0];
    if (h->it.key.data[0] == REGION_DEAD && h->it.kind == RECORD_PUT &&
        (value_len > ENGINE_KEY_MAX || !take_bytes(&h->left, (size_t)value_len, &end)))
        return RES_CORRUPT;
    struct keydir_place place = {h->offset, (uint32_t)h->d->number, (uint32_t)value_len, h->it.kind};
    memcpy(h->value, &place, sizeof place);
    memcpy(h->value + sizeof place, end.data ? end.data : h->value, end.len);
    h->it.value = slice_of(h->value, sizeof place + end.len);
    h->offset += datafile_record_size(h->it.key.len, &place);
    h->seen++;
    if (h->it.kind == RECORD_DELETE)
        h->tombstones += datafile_record_size(h->it.key.len, &place);
    else if (h->it.key.data[0] == REGION_DEAD)
        h->ranges += datafile_record_size(h->it.key.len, &place);
    return RES_OK;
}

static enum result hints_seek(struct iter *it, struct slice target)
{
    struct hints *h = (struct hints *)it;
    assert(target.len == 0);
    h->left = h->all;
    h->offset = h->seen = h->tombstones = h->ranges = 0;
    h->it.key = slice_of(h->key, 0);
    return hints_next(it);
}

static enum result hints_unsupported(struct iter *it)
{
    (void)it;
    return RES_UNSUPPORTED;
}

static enum result hints_seek_last(struct iter *it, struct slice target)
{
    (void)target;
    return hints_unsupported(it);
}

static void hints_close(struct iter *it)
{
    struct hints *h = (struct hints *)it;
    free(h->data);
    free(h);
}

static const struct iter_ops hints_ops = {hints_seek, hints_seek_last, hints_next, hints_unsupported, hints_close};

enum result datafile_hints(struct datafile *d, struct iter **out, struct errmsg *msg)
{
    struct slice hint;
    *out = NULL;
    struct hints *h = calloc(1, sizeof *h);
    enum result r = h ? load_hint(d, &hint, msg) : RES_NO_MEMORY;
    if (r != RES_OK) {
        free(h);
        return r;
    }
    d->records = get_le64(hint.data + 24);
    h->it.ops = &hints_ops;
    h->d = d;
    h->data = (uint8_t *)(uintptr_t)hint.data;
    h->all = slice_of(hint.data + HINT_HEAD, hint.len - HINT_HEAD - 4);
    *out = &h->it;
    return RES_OK;
}

/* ---- checking ---- */

enum result datafile_check(struct datafile *d, struct errmsg *msg)
{
    struct datafile_walk walk = {.d = d};
    uint8_t last[ENGINE_KEY_MAX];
    size_t last_len = 0;
    struct iter *hints;
    enum result r = datafile_hints(d, &hints, msg), hint;
    if (r != RES_OK)
        return r;
    hint = iter_seek(hints, slice_of(NULL, 0));
    while ((r = datafile_walk_next(&walk)) == RES_OK) {
        if (slice_cmp(slice_of(last, last_len), walk.key) >= 0) {
            r = errmsg_set(msg, RES_CORRUPT, "%s.dat: the key at offset %" PRIu64 " is out of order", d->path,
                           walk.offset);
            goto out;
        }
        if (hint != RES_OK || !slice_eq(hints->key, walk.key) || hints->kind != walk.kind) {
            r = errmsg_set(msg, RES_CORRUPT, "%s.hint does not tell what is at offset %" PRIu64 " of the data file",
                           d->path, walk.offset);
            goto out;
        }
        memcpy(last, walk.key.data, walk.key.len);
        last_len = walk.key.len;
        hint = iter_next(hints);
    }
    if (r != RES_NOT_FOUND)
        r = errmsg_set(msg, r, "%s.dat: the record at offset %" PRIu64 ": %s", d->path, walk.offset, result_text(r));
    else if (hint != RES_NOT_FOUND)
        r = errmsg_set(msg, RES_CORRUPT, "%s.hint tells of more than the data file has", d->path);
    else
        r = RES_OK;
out:
    datafile_walk_fini(&walk);
    iter_close(hints);
    return r;
}
