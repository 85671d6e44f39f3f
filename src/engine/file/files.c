/* States, and FILES, which makes them durable: see file.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "engine/file/file.h"

#define MAGIC "VARVEFIL"
#define VERSION 1
#define HEAD 48
#define ENTRY 24
#define SALT 0x66696c6573
#define FILES_MOST ((size_t)1 << 30)

/* ---- states ---- */

void file_view_ref(struct engine_view *v) { __atomic_fetch_add(&v->refs, 1, __ATOMIC_RELAXED); }

void file_view_unref(struct engine_view *v)
{
    if (!v || __atomic_fetch_sub(&v->refs, 1, __ATOMIC_ACQ_REL) != 1)
        return;
    keydir_unref(v->root, &v->fe->private_tables.memory);
    for (size_t i = 0; i < v->set.count; i++)
        datafile_unref(v->set.files[i]);
    free(v->set.files);
    free(v);
}

struct engine_view *file_view_acquire(struct engine *e)
{
    struct file_engine *fe = (struct file_engine *)e;
    os_mutex_lock(&fe->lock);
    struct engine_view *v = fe->current;
    file_view_ref(v);
    os_mutex_unlock(&fe->lock);
    return v;
}

static bool among(struct datafile *d, struct datafile **files, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (files[i] == d)
            return true;
    return false;
}

/* A state with these files; takes over the reference on root when it succeeds. */
static struct engine_view *state_new(struct file_engine *fe, struct keydir_node *root, struct datafile **add,
                                     size_t add_count, struct datafile **removed, size_t remove_count)
{
    const struct engine_view *old = fe->current;
    size_t most = (old ? old->set.count : 0) + add_count, n = 0;
    struct engine_view *v = calloc(1, sizeof *v);
    struct datafile **files = malloc((most + 1) * sizeof(struct datafile *));
    if (!v || !files) {
        free(v);
        free(files);
        return NULL;
    }
    for (size_t i = 0; old && i < old->set.count; i++)
        if (!among(old->set.files[i], removed, remove_count))
            files[n++] = old->set.files[i];
    for (size_t i = 0; i < add_count; i++) { /* a private table may be older than what came meanwhile */
        size_t at = n++;
        for (; at > 0 && files[at - 1]->number > add[i]->number; at--)
            files[at] = files[at - 1];
        files[at] = add[i];
    }
    for (size_t i = 0; i < n; i++)
        datafile_ref(files[i]);
    *v = (struct engine_view){.fe = fe, .refs = 1, .root = root, .set = {files, n}};
    return v;
}

/* ---- FILES ---- */

enum result files_encode(const struct files_list *l, struct buf *out)
{
    enum result r = buf_reserve(out, HEAD + l->count * ENTRY + l->state.len + 4);
    if (r != RES_OK)
        return r;
    uint8_t *p = out->data;
    memcpy(p, MAGIC, 8);
    put_le32(p + 8, VERSION);
    put_le32(p + 12, (uint32_t)l->count);
    put_le64(p + 16, l->next_number);
    put_le64(p + 24, l->next_order);
    put_le64(p + 32, l->sequence);
    put_le32(p + 40, (uint32_t)l->state.len);
    put_le32(p + 44, 0);
    p += HEAD;
    for (size_t i = 0; i < l->count; i++, p += ENTRY) {
        put_le64(p, l->entries[i].number);
        put_le64(p + 8, l->entries[i].size);
        put_le64(p + 16, l->entries[i].order);
    }
    if (l->state.len)
        memcpy(p, l->state.data, l->state.len);
    p += l->state.len;
    put_le32(p, checksum32(out->data, (size_t)(p - out->data), SALT));
    out->len = (size_t)(p + 4 - out->data);
    return RES_OK;
}

static enum result encode(const struct file_engine *fe, const struct datafile_set *set, uint64_t sequence,
                          struct slice state, struct buf *out)
{
    struct files_list l = {.next_number = __atomic_load_n(&fe->private_tables.next_number, __ATOMIC_RELAXED),
                           .next_order = fe->next_order,
                           .sequence = sequence,
                           .entries = calloc(set->count + 1, sizeof *l.entries),
                           .count = set->count,
                           .state = state};
    for (size_t i = 0; l.entries && i < set->count; i++)
        l.entries[i] = (struct files_entry){set->files[i]->number, set->files[i]->size, set->files[i]->order};
    enum result r = l.entries ? files_encode(&l, out) : RES_NO_MEMORY;
    free(l.entries);
    return r;
}

/* Is that what FILES has now? */
static bool is_there(struct file_engine *fe, const char *dir, struct slice content)
{
    char path[1024];
    uint8_t *data;
    size_t len;
    snprintf(path, sizeof path, "%s/" FILES_NAME, dir);
    enum result r = env_read_file(fe->env, path, FILES_MOST, &data, &len);
    bool same = r == RES_OK && slice_eq(slice_of(data, len), content);
    free(data);
    return same || (r != RES_OK && r != RES_NOT_FOUND);
}

static enum result install(struct file_engine *fe, const char *dir, const struct datafile_set *set, uint64_t sequence,
                           struct slice state, bool *in_doubt)
{
    struct buf b = BUF_INIT;
    *in_doubt = false;
    enum result r = encode(fe, set, sequence, state, &b);
    if (r == RES_OK && (r = env_install_file(fe->env, dir, FILES_NAME, buf_slice(&b))) != RES_OK)
        *in_doubt = is_there(fe, dir, buf_slice(&b));
    buf_fini(&b);
    return r;
}

enum result files_write(struct file_engine *fe, const char *dir, const struct datafile_set *set, uint64_t sequence,
                        struct slice state)
{
    bool in_doubt;
    return install(fe, dir, set, sequence, state, &in_doubt);
}

enum result files_commit(struct file_engine *fe, struct keydir_node *root, struct datafile **add, size_t add_count,
                         struct datafile **removed, size_t remove_count, const struct engine_boundary *boundary,
                         bool *in_doubt)
{
    struct engine_view *v = state_new(fe, root, add, add_count, removed, remove_count);
    *in_doubt = false;
    struct engine_boundary b = boundary ? *boundary : boundary_of(&fe->kept);
    enum result r = !v ? RES_NO_MEMORY : boundary ? boundary_reserve(&fe->kept, boundary) : RES_OK;
    if (r == RES_OK)
        r = install(fe, fe->dir, &v->set, b.sequence, b.state, in_doubt);
    if (r != RES_OK) {
        if (v)
            file_view_unref(v);
        else
            keydir_unref(root, &fe->private_tables.memory);
        if (*in_doubt) /* renamed, but perhaps not for ever: nobody can tell what the next start finds */
            engine_fail(&fe->failure, &fe->options, r = RES_IO, "writing the list of files", fe->dir);
        return r;
    }
    if (boundary)
        boundary_keep(&fe->kept, boundary);
    for (size_t i = 0; i < remove_count; i++)
        __atomic_store_n(&removed[i]->obsolete, true, __ATOMIC_RELAXED);
    os_mutex_lock(&fe->lock);
    struct engine_view *old = fe->current;
    fe->current = v;
    os_cond_signal(&fe->work);
    os_mutex_unlock(&fe->lock);
    file_view_unref(old);
    return RES_OK;
}

/* ---- loading ---- */

enum result files_read(struct env *env, const char *path, struct files_list *out, struct errmsg *msg)
{
    *out = (struct files_list){0};
    enum result r = env_read_file(env, path, FILES_MOST, &out->bytes, &out->len);
    if (r == RES_NOT_FOUND)
        return r;
    if (r != RES_OK)
        return errmsg_set(msg, r, "%s cannot be read: %s", path, result_text(r));
    const uint8_t *data = out->bytes;
    size_t len = out->len;
    if (len >= HEAD + 4 && memcmp(data, MAGIC, 8) == 0 && get_le32(data + 8) != VERSION)
        r = errmsg_set(msg, RES_UNSUPPORTED, "%s has format version %u, this program knows version %d", path,
                       get_le32(data + 8), VERSION);
    else if (len < HEAD + 4 || memcmp(data, MAGIC, 8) != 0 ||
             get_le32(data + len - 4) != checksum32(data, len - 4, SALT) ||
             len != HEAD + (size_t)get_le32(data + 12) * ENTRY + get_le32(data + 40) + 4)
        r = errmsg_set(msg, RES_CORRUPT, "%s is damaged: restore it from a backup", path);
    if (r == RES_OK && !(out->entries = calloc((size_t)get_le32(data + 12) + 1, sizeof *out->entries)))
        r = errmsg_set(msg, RES_NO_MEMORY, "no memory for %u data files", get_le32(data + 12));
    if (r != RES_OK) {
        files_list_fini(out);
        return r;
    }
    out->count = get_le32(data + 12);
    out->next_number = get_le64(data + 16);
    out->next_order = get_le64(data + 24);
    out->sequence = get_le64(data + 32);
    const uint8_t *p = data + HEAD;
    for (size_t i = 0; i < out->count; i++, p += ENTRY)
        out->entries[i] = (struct files_entry){get_le64(p), get_le64(p + 8), get_le64(p + 16)};
    out->state = slice_of(p, get_le32(data + 40));
    return RES_OK;
}

void files_list_fini(struct files_list *l)
{
    free(l->entries);
    free(l->bytes);
    *l = (struct files_list){0};
}

/* Takes the files that FILES names into the state; RES_NOT_FOUND: there is none. */
static enum result read_list(struct file_engine *fe, struct datafile_set *set, struct errmsg *msg)
{
    char path[1024];
    struct files_list l;
    *set = (struct datafile_set){0};
    if (snprintf(path, sizeof path, "%s/" FILES_NAME, fe->dir) >= (int)sizeof path)
        return errmsg_set(msg, RES_INVALID, "%s: the name is too long", fe->dir);
    enum result r = files_read(fe->env, path, &l, msg);
    if (r != RES_OK)
        return r;
    if (l.next_number > fe->private_tables.next_number)
        fe->private_tables.next_number = l.next_number;
    fe->next_order = l.next_order;
    struct engine_boundary at = {l.sequence, l.state};
    r = boundary_reserve(&fe->kept, &at);
    if (r == RES_OK)
        boundary_keep(&fe->kept, &at);
    set->files = r == RES_OK ? calloc(l.count + 1, sizeof(struct datafile *)) : NULL;
    if (!set->files)
        r = errmsg_set(msg, RES_NO_MEMORY, "no memory for %zu data files", l.count);
    for (size_t i = 0; r == RES_OK && i < l.count; i++) {
        r = datafile_open(fe->env, fe->data, l.entries[i].number, l.entries[i].size, &set->files[i], msg);
        if (r == RES_NOT_FOUND)
            r = RES_CORRUPT; /* it was there */
        if (r != RES_OK)
            break;
        set->files[i]->order = l.entries[i].order;
        set->files[i]->owner = &fe->owner;
        set->count++;
    }
    files_list_fini(&l);
    return r;
}

/* The newest record of each key as the hints have it, into the directory. */
struct loading {
    struct iter *merged;
    struct tally *tally; /* what is added: see next_loaded */
    struct dead_list *dead;
    bool begun;
};

static enum result next_loaded(void *arg, struct keydir_change *out)
{
    struct loading *l = arg;
    enum result r;
    do {
        r = l->begun ? iter_next(l->merged) : iter_seek(l->merged, slice_of(NULL, 0));
        l->begun = true;
    } while (r == RES_OK && l->merged->kind == RECORD_DELETE);
    if (r != RES_OK)
        return r;
    out->kind = KEYDIR_PUT;
    out->key = l->merged->key;
    memcpy(&out->place, l->merged->value.data, sizeof out->place);
    tally_note(l->tally, out->key.len, &out->place); /* counted there, and added to live */
    if (out->key.data[0] == REGION_DEAD)
        r = dead_list_add(
            l->dead, out->key,
            slice_of(l->merged->value.data + sizeof out->place, l->merged->value.len - sizeof out->place));
    return r;
}

static enum result open_hints(const struct datafile_set *set, struct iter **out, struct errmsg *msg)
{
    struct datafile **files = malloc((set->count + 1) * sizeof(struct datafile *));
    struct iter **children = calloc(set->count + 1, sizeof(struct iter *));
    size_t n = 0;
    enum result r =
        files && children ? RES_OK : errmsg_set(msg, RES_NO_MEMORY, "no memory for %zu hint files", set->count);
    *out = NULL;
    if (r == RES_OK) {
        memcpy(files, set->files, set->count * sizeof(struct datafile *));
        qsort(files, set->count, sizeof files[0], datafile_newest_first);
    }
    for (; r == RES_OK && n < set->count; n++)
        if ((r = datafile_hints(files[n], &children[n], msg)) != RES_OK)
            break;
    if (r == RES_OK)
        r = iter_merge(children, n, ITER_TOMBSTONES, out); /* which takes them over in any case */
    else
        while (n)
            iter_close(children[--n]);
    free(children);
    free(files);
    return r;
}

static enum result fill_directory(struct file_engine *fe, const struct datafile_set *set, struct keydir_node **root,
                                  struct errmsg *msg)
{
    struct tally counted, dropped = {0};
    struct dead_list dead = {0};
    struct loading l = {.tally = &counted, .dead = &dead};
    struct keydir_changes changes = {.next = next_loaded, .arg = &l};
    *root = NULL;
    enum result r = tally_init(&counted, set);
    if (r == RES_OK)
        r = tally_init(&dropped, set);
    if (r == RES_OK)
        r = open_hints(set, &l.merged, msg);
    if (r == RES_OK && (r = keydir_edit(NULL, &changes, &fe->private_tables.memory, root)) != RES_OK)
        (void)errmsg_set(msg, r, "%s: the hint files cannot be loaded: %s", fe->data, result_text(r));
    if (r == RES_OK && (r = dead_list_apply(&dead, fe, root, &dropped)) != RES_OK)
        (void)errmsg_set(msg, r, "no memory for dead ranges");
    for (size_t i = 0; r == RES_OK && i < set->count; i++)
        set->files[i]->live = counted.bytes[i] - dropped.bytes[i];
    iter_close(l.merged);
    buf_fini(&dead.bytes);
    tally_fini(&counted);
    tally_fini(&dropped);
    return r;
}

enum result files_load(struct file_engine *fe, struct errmsg *msg)
{
    struct datafile_set set;
    struct keydir_node *root = NULL;
    enum result r = read_list(fe, &set, msg);
    if (r == RES_OK)
        r = fill_directory(fe, &set, &root, msg);
    if (r == RES_OK && !(fe->current = state_new(fe, root, set.files, set.count, NULL, 0)))
        r = errmsg_set(msg, RES_NO_MEMORY, "no memory for the engine");
    if (r != RES_OK)
        keydir_unref(root, &fe->private_tables.memory);
    for (size_t i = 0; i < set.count; i++)
        datafile_unref(set.files[i]); /* the state has its own */
    free(set.files);
    return r;
}
