/* What comes from the front: sorted runs, which become data files, and private tables, which are some; and dead ranges. */
#include <stdlib.h>

#include "base/bytes.h"
#include "engine/file/file.h"

/* ---- what an edit takes away ---- */

enum result tally_init(struct tally *t, const struct datafile_set *set)
{
    *t = (struct tally){.cap = set->count + 8};
    t->files = malloc(t->cap * sizeof(struct datafile *));
    t->bytes = calloc(t->cap, sizeof(uint64_t));
    if (!t->files || !t->bytes)
        return RES_NO_MEMORY;
    if (set->count)
        memcpy(t->files, set->files, set->count * sizeof(struct datafile *));
    t->count = set->count;
    return RES_OK;
}

enum result tally_add(struct tally *t, struct datafile *d)
{
    if (t->count == t->cap) {
        size_t cap = t->cap * 2;
        struct datafile **files = realloc(t->files, cap * sizeof(struct datafile *));
        if (files)
            t->files = files;
        uint64_t *bytes = files ? realloc(t->bytes, cap * sizeof(uint64_t)) : NULL;
        if (bytes)
            t->bytes = bytes;
        if (!bytes)
            return RES_NO_MEMORY;
        t->cap = cap;
    }
    size_t at = t->count++;
    for (; at > 0 && t->files[at - 1]->number > d->number; at--) {
        t->files[at] = t->files[at - 1];
        t->bytes[at] = t->bytes[at - 1];
    }
    t->files[at] = d;
    t->bytes[at] = 0;
    return RES_OK;
}

void tally_note(struct tally *t, size_t key_len, const struct keydir_place *place)
{
    size_t lo = 0, hi = t->count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (t->files[mid]->number < place->file)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo < t->count && t->files[lo]->number == place->file)
        t->bytes[lo] += datafile_record_size(key_len, place);
    t->records++;
}

void tally_apply(const struct tally *t)
{
    for (size_t i = 0; i < t->count; i++)
        __atomic_fetch_sub(&t->files[i]->live, t->bytes[i], __ATOMIC_RELAXED);
}

void tally_fini(struct tally *t)
{
    free(t->files);
    free(t->bytes);
    *t = (struct tally){0};
}

static void dropped(void *arg, size_t key_len, const struct keydir_place *place) { tally_note(arg, key_len, place); }

/* ---- dead ranges ---- */

enum result dead_list_add(struct dead_list *d, struct slice key, struct slice end)
{
    struct slice start = slice_of(key.data + 1, key.len - 1);
    if (start.len == 0 || end.len == 0 || end.len > ENGINE_KEY_MAX || start.data[0] == REGION_DEAD ||
        slice_cmp(start, end) >= 0)
        return RES_OK;
    enum result r = buf_reserve(&d->bytes, 4 + start.len + end.len);
    if (r != RES_OK)
        return r;
    uint8_t *p = d->bytes.data + d->bytes.len;
    put_le16(p, (uint16_t)start.len);
    memcpy(p + 2, start.data, start.len);
    p += 2 + start.len;
    put_le16(p, (uint16_t)end.len);
    memcpy(p + 2, end.data, end.len);
    d->bytes.len += 4 + start.len + end.len;
    d->count++;
    return RES_OK;
}

struct ranges {
    struct slice left;
    struct tally *tally;
};

static struct slice take_one(struct slice *in)
{
    struct slice out = slice_of(in->data + 2, get_le16(in->data));
    *in = slice_of(in->data + 2 + out.len, in->len - 2 - out.len);
    return out;
}

/* Starts ascend, but ranges may overlap: those that do are told as one. */
static enum result next_range(void *arg, struct keydir_change *out)
{
    struct ranges *r = arg;
    if (r->left.len == 0)
        return RES_NOT_FOUND;
    out->kind = KEYDIR_REMOVE_RANGE;
    out->key = take_one(&r->left);
    out->end = take_one(&r->left);
    while (r->left.len) {
        struct slice rest = r->left, start = take_one(&rest), end = take_one(&rest);
        if (slice_cmp(start, out->end) > 0)
            break;
        if (slice_cmp(end, out->end) > 0)
            out->end = end;
        r->left = rest;
    }
    return RES_OK;
}

static void range_dropped(void *arg, size_t key_len, const struct keydir_place *place)
{
    tally_note(((struct ranges *)arg)->tally, key_len, place);
}

enum result dead_list_apply(struct dead_list *d, struct file_engine *fe, struct keydir_node **root, struct tally *tally)
{
    struct ranges ranges = {buf_slice(&d->bytes), tally};
    struct keydir_changes changes = {.next = next_range, .dropped = range_dropped, .arg = &ranges};
    struct keydir_node *next;
    if (d->count == 0)
        return RES_OK;
    enum result r = keydir_edit(*root, &changes, &fe->private_tables.memory, &next);
    if (r != RES_OK)
        return r;
    keydir_unref(*root, &fe->private_tables.memory);
    *root = next;
    return RES_OK;
}

/* ---- runs ---- */

struct absorption {
    struct file_engine *fe;
    struct iter *run;
    struct file_output *output;
    struct tally tally;
    struct dead_list dead;
    bool begun;
};

static enum result next_record(void *arg, struct keydir_change *out)
{
    struct absorption *a = arg;
    enum result r = a->begun ? iter_next(a->run) : iter_seek(a->run, slice_of(NULL, 0));
    a->begun = true;
    if (r != RES_OK)
        return r;
    const struct iter *it = a->run;
    out->key = it->key;
    out->kind = it->kind == RECORD_PUT ? KEYDIR_PUT : KEYDIR_REMOVE;
    if ((r = file_output_add(a->output, it->key, it->kind, it->value, &out->place)) != RES_OK)
        return r == RES_NOT_FOUND ? RES_IO : r;
    if (it->kind == RECORD_PUT && it->key.data[0] == REGION_DEAD)
        r = dead_list_add(&a->dead, it->key, it->value);
    return r;
}

static void run_dropped(void *arg, size_t key_len, const struct keydir_place *place)
{
    dropped(&((struct absorption *)arg)->tally, key_len, place);
}

/* Adds the files, the newest there are, with the directory that leads to them. */
static enum result install(struct file_engine *fe, struct absorption *a, struct keydir_node *root,
                           struct datafile **files, size_t count, const struct engine_boundary *boundary,
                           bool *in_doubt) REQUIRES(fe->edit_lock)
{
    enum result r = RES_OK;
    *in_doubt = false;
    for (size_t i = 0; r == RES_OK && i < count; i++) {
        files[i]->order = fe->next_order;
        files[i]->owner = &fe->owner;
        files[i]->live = files[i]->size - files[i]->tombstones;
        r = tally_add(&a->tally, files[i]);
    }
    if (r == RES_OK)
        r = dead_list_apply(&a->dead, fe, &root, &a->tally);
    if (r != RES_OK) {
        keydir_unref(root, &fe->private_tables.memory);
        return r;
    }
    fe->next_order++;
    if ((r = files_commit(fe, root, files, count, NULL, 0, boundary, in_doubt)) != RES_OK)
        return r;
    tally_apply(&a->tally);
    os_mutex_lock(&fe->lock);
    fe->dropped += a->dead.count ? a->tally.records : 0;
    os_mutex_unlock(&fe->lock);
    return RES_OK;
}

static enum result only_boundary(struct file_engine *fe, const struct engine_boundary *boundary) REQUIRES(fe->edit_lock)
{
    bool in_doubt;
    keydir_ref(fe->current->root);
    return files_commit(fe, fe->current->root, NULL, 0, NULL, 0, boundary, &in_doubt);
}

static enum result absorb_run(struct file_engine *fe, struct iter *run, const struct engine_boundary *boundary)
    REQUIRES(fe->edit_lock)
{
    struct file_output output = {.fe = fe};
    struct absorption a = {.fe = fe, .run = run, .output = &output};
    struct keydir_changes changes = {.next = next_record, .dropped = run_dropped, .arg = &a};
    struct keydir_node *root = NULL;
    bool in_doubt = false;
    enum result r = tally_init(&a.tally, &fe->current->set);
    if (r == RES_OK)
        r = keydir_edit(fe->current->root, &changes, &fe->private_tables.memory, &root);
    if (r == RES_OK && (r = file_output_finish(&output)) != RES_OK)
        keydir_unref(root, &fe->private_tables.memory);
    if (r == RES_OK)
        r = install(fe, &a, root, output.files, output.count, boundary, &in_doubt);
    if (r == RES_OK) {
        os_mutex_lock(&fe->lock);
        fe->flushes++;
        fe->flush_bytes += output.bytes;
        os_mutex_unlock(&fe->lock);
    }
    file_output_fini(&output, r != RES_OK && !in_doubt);
    tally_fini(&a.tally);
    buf_fini(&a.dead.bytes);
    return r;
}

enum result file_absorb(struct engine *e, struct iter *run, const struct engine_boundary *boundary)
{
    struct file_engine *fe = (struct file_engine *)e;
    enum result r = engine_failed(&fe->failure);
    if (r != RES_OK)
        return r;
    os_mutex_lock(&fe->edit_lock);
    r = run ? absorb_run(fe, run, boundary) : only_boundary(fe, boundary);
    os_mutex_unlock(&fe->edit_lock);
    if (r == RES_IO)
        engine_fail(&fe->failure, &fe->options, r, "writing a data file", fe->dir);
    return r;
}

/* ---- private tables ---- */

struct taking {
    struct absorption a; /* first: what is dropped is counted there */
    struct keydir_cursor cursor;
    struct engine_table *table;
};

static enum result next_of_table(void *arg, struct keydir_change *out)
{
    struct taking *t = arg;
    bool there = t->a.begun ? keydir_next(&t->cursor) : keydir_seek(&t->cursor, slice_of(NULL, 0));
    t->a.begun = true;
    if (!there)
        return RES_NOT_FOUND;
    out->key = t->cursor.key;
    out->place = t->cursor.place;
    out->kind = out->place.kind == RECORD_PUT ? KEYDIR_PUT : KEYDIR_REMOVE;
    if (out->kind == KEYDIR_REMOVE || out->key.data[0] != REGION_DEAD)
        return RES_OK;
    struct datafile_record *record;
    enum result r =
        datafile_read(t->table->file, out->place.offset, datafile_record_size(out->key.len, &out->place), 0, &record);
    if (r != RES_OK)
        return r;
    r = dead_list_add(&t->a.dead, record->key, record->value);
    free(record);
    return r;
}

enum result file_attach(struct engine *e, struct engine_table *table, const struct engine_boundary *boundary)
{
    struct file_engine *fe = (struct file_engine *)e;
    struct taking t = {.a = {.fe = fe}, .table = table};
    struct keydir_changes changes = {.next = next_of_table, .dropped = run_dropped, .arg = &t};
    struct keydir_node *root;
    bool in_doubt = false;
    enum result r = engine_failed(&fe->failure);
    if (r != RES_OK)
        return r;
    keydir_cursor_init(&t.cursor, table->root);
    os_mutex_lock(&fe->edit_lock);
    r = tally_init(&t.a.tally, &fe->current->set);
    if (r == RES_OK)
        r = keydir_edit(fe->current->root, &changes, &fe->private_tables.memory, &root);
    if (r == RES_OK)
        r = install(fe, &t.a, root, &table->file, 1, boundary, &in_doubt);
    os_mutex_unlock(&fe->edit_lock);
    tally_fini(&t.a.tally);
    buf_fini(&t.a.dead.bytes);
    if (in_doubt)
        private_in_doubt(table);
    if (r == RES_IO)
        engine_fail(&fe->failure, &fe->options, r, "attaching a private table", fe->dir);
    return r;
}
