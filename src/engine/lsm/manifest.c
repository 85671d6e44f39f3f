#include "engine/lsm/manifest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/log.h"

#define HEADER 12
#define SECTOR 512
#define WHOLE_RATIO 4              /* the file may grow to this many times the whole state ... */
#define WHOLE_SLACK (64 * 1024)    /* ... and this much */
#define MANIFEST_MAX (1024u << 20) /* a larger one is damage */
#define NAME_MAX_LEN 40

void manifest_state_fini(struct manifest_state *s)
{
    buf_fini(&s->state);
    free(s->tables);
    *s = (struct manifest_state){0};
}

/* ---- encoding ---- */

enum result manifest_put_bytes(struct buf *b, enum manifest_field field, struct slice bytes)
{
    uint8_t head[2 * VARINT_MAX];
    size_t n = put_varint(head, field);
    n += put_varint(head + n, bytes.len);
    enum result r = buf_reserve(b, n + bytes.len);
    if (r == RES_OK)
        r = buf_append(b, head, n);
    return r == RES_OK ? buf_append(b, bytes.data, bytes.len) : r;
}

static enum result put_numbers(struct buf *b, enum manifest_field field, const uint64_t *values, size_t n)
{
    uint8_t bytes[5 * VARINT_MAX];
    size_t len = 0;
    for (size_t i = 0; i < n; i++)
        len += put_varint(bytes + len, values[i]);
    return manifest_put_bytes(b, field, slice_of(bytes, len));
}

enum result manifest_put_number(struct buf *b, enum manifest_field field, uint64_t value)
{
    return put_numbers(b, field, &value, 1);
}

enum result manifest_put_add(struct buf *b, const struct manifest_table *t)
{
    uint64_t v[] = {t->number, (uint64_t)t->level, t->run, t->size, t->region};
    return put_numbers(b, MANIFEST_ADD, v, 5);
}

enum result manifest_put_drop(struct buf *b, uint64_t number, int level)
{
    uint64_t v[] = {number, (uint64_t)level};
    return put_numbers(b, MANIFEST_DROP, v, 2);
}

/* ---- decoding ---- */

static bool take_numbers(struct slice in, uint64_t *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!take_varint(&in, &values[i]))
            return false;
    return in.len == 0;
}

static enum result apply_add(struct manifest_state *s, struct slice bytes)
{
    uint64_t v[5];
    if (!take_numbers(bytes, v, 5) || v[1] >= ENGINE_LEVELS || v[4] > UINT8_MAX)
        return RES_CORRUPT;
    for (size_t i = 0; i < s->count; i++)
        if (s->tables[i].number == v[0])
            return RES_CORRUPT;
    if (s->count == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 64;
        struct manifest_table *tables = realloc(s->tables, cap * sizeof *tables);
        if (!tables)
            return RES_NO_MEMORY;
        s->tables = tables;
        s->cap = cap;
    }
    s->tables[s->count++] =
        (struct manifest_table){.number = v[0], .level = (int)v[1], .run = v[2], .size = v[3], .region = (uint8_t)v[4]};
    return RES_OK;
}

static enum result apply_drop(struct manifest_state *s, struct slice bytes)
{
    uint64_t v[2];
    if (!take_numbers(bytes, v, 2))
        return RES_CORRUPT;
    for (size_t i = s->count; i-- > 0;)
        if (s->tables[i].number == v[0] && (uint64_t)s->tables[i].level == v[1]) {
            s->tables[i] = s->tables[--s->count];
            return RES_OK;
        }
    return RES_CORRUPT;
}

static enum result apply_field(struct manifest_state *s, uint64_t tag, struct slice bytes, bool first,
                               struct errmsg *msg, const char *path)
{
    uint64_t v;
    switch (tag) {
    case MANIFEST_FORMAT:
        if (!first || !take_numbers(bytes, &v, 1))
            return RES_CORRUPT;
        if (v != MANIFEST_VERSION)
            return errmsg_set(msg, RES_UNSUPPORTED, "%s: manifest format version %" PRIu64 ", this program reads %d",
                              path, v, MANIFEST_VERSION);
        return RES_OK;
    case MANIFEST_NEXT_NUMBER:
        return take_numbers(bytes, &s->next_number, 1) ? RES_OK : RES_CORRUPT;
    case MANIFEST_SEQUENCE:
        return take_numbers(bytes, &s->sequence, 1) ? RES_OK : RES_CORRUPT;
    case MANIFEST_STATE:
        s->state.len = 0;
        return buf_append(&s->state, bytes.data, bytes.len);
    case MANIFEST_ADD:
        return apply_add(s, bytes);
    case MANIFEST_DROP:
        return apply_drop(s, bytes);
    default:
        return RES_CORRUPT;
    }
}

/* Drops come before adds in a record, for a table that changes its level does both. */
static enum result apply_record(struct manifest_state *s, struct slice in, bool whole, const char *path,
                                struct errmsg *msg)
{
    bool first = whole;
    while (in.len) {
        uint64_t tag, len;
        struct slice bytes;
        if (!take_varint(&in, &tag) || !take_varint(&in, &len) || len > in.len || !take_bytes(&in, (size_t)len, &bytes))
            return RES_CORRUPT;
        if (first && tag != MANIFEST_FORMAT)
            return RES_CORRUPT;
        enum result r = apply_field(s, tag, bytes, first, msg, path);
        if (r != RES_OK)
            return r;
        first = false;
    }
    return whole && first ? RES_CORRUPT : RES_OK;
}

static uint64_t record_salt(uint64_t number, uint64_t offset) { return (number << 32 ^ offset) + 0x6d616e6966657374u; }

static bool sum_holds(const uint8_t *stored, const void *data, size_t len, uint64_t salt)
{
    return checksum32_holds(get_le32(stored), data, len, salt);
}

/* Can a crash during the append of bytes at..end have left them as they are? Sectors reach the disk whole or not at all,
 * in any order, and one that did not is zero: so a part of some sector must be. */
static bool unwritten(struct slice bytes, size_t at, size_t end)
{
    while (at < end) {
        size_t border = (at / SECTOR + 1) * SECTOR, piece = border < end ? border : end;
        while (at < piece && bytes.data[at] == 0)
            at++;
        if (at == piece)
            return true;
        at = piece;
    }
    return false;
}

static bool whole_record_at(struct slice bytes, size_t at, uint64_t number)
{
    const uint8_t *p = bytes.data + at;
    size_t left = bytes.len - at;
    uint64_t salt = record_salt(number, at);
    uint32_t len;

    return left >= HEADER && sum_holds(p + 4, p, 4, salt) && (len = get_le32(p)) <= left - HEADER &&
           sum_holds(p + 8, p + HEADER, len, salt);
}

/* There is never more than one append that was not synced: behind a torn record nothing whole can follow. */
static bool whole_record_behind(struct slice bytes, size_t at, uint64_t number)
{
    while (++at < bytes.len)
        if (whole_record_at(bytes, at, number))
            return true;
    return false;
}

/* Is what stands at `at`, which is no whole record, the torn end of the file? *what says what is wrong with it. */
static bool torn(struct slice bytes, size_t at, uint64_t number, const char **what)
{
    const uint8_t *p = bytes.data + at;
    size_t left = bytes.len - at;

    if (left < HEADER)
        return true;
    *what = "has a damaged header";
    if (!sum_holds(p + 4, p, 4, record_salt(number, at)))
        return unwritten(bytes, at, bytes.len) && !whole_record_behind(bytes, at, number);
    uint32_t len = get_le32(p);
    if (len > left - HEADER)
        return true;
    *what = "has a wrong checksum";
    return len == left - HEADER && unwritten(bytes, at, bytes.len);
}

enum result manifest_parse(struct slice bytes, const char *path, uint64_t number, struct manifest_state *s,
                           size_t *good, struct errmsg *msg)
{
    size_t at = 0;

    *good = 0;
    while (at < bytes.len) {
        const char *what = "";
        if (!whole_record_at(bytes, at, number)) {
            if (at && torn(bytes, at, number, &what))
                break;
            return errmsg_set(msg, RES_CORRUPT, "%s: the record at offset %zu %s", path, at,
                              at ? what : "is damaged or not whole");
        }
        const uint8_t *p = bytes.data + at;
        uint32_t len = get_le32(p);
        struct errmsg why = {""};
        enum result r = apply_record(s, slice_of(p + HEADER, len), at == 0, path, &why);
        if (r != RES_OK)
            return why.text[0] ? errmsg_set(msg, r, "%s", why.text)
                               : errmsg_set(msg, r, "%s: the record at offset %zu makes no sense: %s", path, at,
                                            result_text(r));
        at += HEADER + len;
        *good = at;
    }
    if (*good == 0)
        return errmsg_set(msg, RES_CORRUPT, "%s: it is empty at offset 0", path);
    return RES_OK;
}

/* ---- files ---- */

static void manifest_path(char *out, size_t room, const char *dir, uint64_t number)
{
    snprintf(out, room, "%s/MANIFEST-%06" PRIu64, dir, number);
}

static size_t path_room(const char *dir) { return strlen(dir) + NAME_MAX_LEN; }

struct listing {
    uint64_t keep;
    uint64_t *numbers;
    size_t count, cap;
    bool failed;
};

static bool parse_name(const char *name, uint64_t *number)
{
    char end;
    return sscanf(name, "MANIFEST-%" SCNu64 "%c", number, &end) == 1;
}

static void list_one(void *arg, const char *name)
{
    struct listing *l = arg;
    uint64_t number;
    if (!parse_name(name, &number) || number == l->keep)
        return;
    if (l->count == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 8;
        uint64_t *numbers = realloc(l->numbers, cap * sizeof *numbers);
        if (!numbers) {
            l->failed = true;
            return;
        }
        l->numbers = numbers;
        l->cap = cap;
    }
    l->numbers[l->count++] = number;
}

/* Parses CURRENT. */
static bool current_names(struct slice text, uint64_t *number)
{
    char line[NAME_MAX_LEN + 16], name[NAME_MAX_LEN], again[NAME_MAX_LEN + 16];
    uint32_t sum;
    if (text.len == 0 || text.len >= sizeof line)
        return false;
    memcpy(line, text.data, text.len);
    line[text.len] = 0;
    if (sscanf(line, "%39s %8" SCNx32, name, &sum) != 2 || !parse_name(name, number))
        return false;
    snprintf(again, sizeof again, "%s %08" PRIx32 "\n", name, checksum32(name, strlen(name), 0));
    return strlen(again) == text.len && memcmp(again, text.data, text.len) == 0;
}

static enum result no_current(struct manifest *m, struct errmsg *msg)
{
    struct listing l = {.keep = 0};
    enum result r = m->env->ops->list(m->env, m->dir, list_one, &l);
    bool any = l.count > 0;
    free(l.numbers);
    if (r != RES_OK)
        return errmsg_set(msg, r, "%s: cannot list the directory: %s", m->dir, result_text(r));
    if (any)
        return errmsg_set(msg, RES_CORRUPT, "%s: there are manifests, but the file CURRENT that names one is missing",
                          m->dir);
    return RES_NOT_FOUND;
}

enum result manifest_open(struct manifest *m, struct env *env, const char *dir, struct manifest_state *s,
                          struct errmsg *msg)
{
    size_t room = path_room(dir), len, good = 0;
    char *path = malloc(room);
    uint8_t *bytes = NULL;

    *s = (struct manifest_state){0};
    *m = (struct manifest){.env = env, .dir = dir};
    if (!path)
        return errmsg_set(msg, RES_NO_MEMORY, "no memory to open %s", dir);
    snprintf(path, room, "%s/CURRENT", dir);
    enum result r = env_read_file(env, path, 4096, &bytes, &len);
    if (r == RES_NOT_FOUND) {
        r = no_current(m, msg);
        goto out;
    }
    if (r != RES_OK) {
        r = errmsg_set(msg, r, "%s: %s", path, result_text(r));
        goto out;
    }
    if (!current_names(slice_of(bytes, len), &m->number)) {
        r = errmsg_set(msg, RES_CORRUPT, "%s: offset 0: is not the checksummed name of a manifest", path);
        goto out;
    }
    free(bytes);
    bytes = NULL;
    manifest_path(path, room, dir, m->number);
    if ((r = env_read_file(env, path, MANIFEST_MAX, &bytes, &len)) != RES_OK) {
        r = errmsg_set(msg, r == RES_NOT_FOUND ? RES_CORRUPT : r, "%s: CURRENT names it: %s", path, result_text(r));
        goto out;
    }
    if ((r = manifest_parse(slice_of(bytes, len), path, m->number, s, &good, msg)) != RES_OK)
        goto out;
    if (good < len) {
        log_warning("%s: the last %zu bytes were not written whole and are left out", path, len - good);
    } else if ((r = env->ops->open(env, path, ENV_READ | ENV_WRITE, &m->file)) != RES_OK) {
        r = errmsg_set(msg, r, "%s: cannot open it for writing: %s", path, result_text(r));
        goto out;
    }
    m->size = good;
    m->base = HEADER + get_le32(bytes);
out:
    free(bytes);
    free(path);
    if (r != RES_OK)
        manifest_state_fini(s);
    return r;
}

bool manifest_wants_whole(const struct manifest *m)
{
    return !m->file || m->size > WHOLE_RATIO * m->base + WHOLE_SLACK;
}

static enum result write_record(struct env_file *f, uint64_t number, uint64_t at, struct slice payload)
{
    uint8_t header[HEADER];
    if (payload.len > MANIFEST_MAX / 2)
        return RES_RANGE;
    put_le32(header, (uint32_t)payload.len);
    put_le32(header + 4, checksum32(header, 4, record_salt(number, at)));
    put_le32(header + 8, checksum32(payload.data, payload.len, record_salt(number, at)));
    struct iovec iov[2] = {{header, HEADER}, {(void *)(uintptr_t)payload.data, payload.len}};
    enum result r = f->ops->pwritev(f, iov, 2, at, 0);
    return r == RES_OK ? f->ops->sync(f) : r;
}

enum result manifest_append(struct manifest *m, struct slice payload)
{
    enum result r = write_record(m->file, m->number, m->size, payload);
    if (r == RES_OK)
        m->size += HEADER + payload.len;
    else
        manifest_close(m);
    return r;
}

/* Does CURRENT still name another manifest than this one? */
static bool not_in_force(struct manifest *m, uint64_t number, char *path, size_t room)
{
    uint8_t *bytes;
    size_t len;
    uint64_t named;
    snprintf(path, room, "%s/CURRENT", m->dir);
    enum result r = env_read_file(m->env, path, 4096, &bytes, &len);
    bool other = r == RES_NOT_FOUND || (r == RES_OK && current_names(slice_of(bytes, len), &named) && named != number);
    free(bytes);
    return other;
}

enum result manifest_start(struct manifest *m, uint64_t number, struct slice payload, bool *in_doubt)
{
    size_t room = path_room(m->dir);
    char *path = malloc(room), name[NAME_MAX_LEN], line[NAME_MAX_LEN + 16];
    struct env_file *f = NULL;
    enum result r = RES_NO_MEMORY;

    *in_doubt = false;
    if (!path)
        return r;
    manifest_path(path, room, m->dir, number);
    if ((r = m->env->ops->open(m->env, path, ENV_READ | ENV_WRITE | ENV_CREATE | ENV_EXCL, &f)) != RES_OK)
        goto out;
    if ((r = write_record(f, number, 0, payload)) != RES_OK)
        goto out;
    if ((r = m->env->ops->sync_dir(m->env, m->dir)) != RES_OK)
        goto out;
    snprintf(name, sizeof name, "MANIFEST-%06" PRIu64, number);
    int len = snprintf(line, sizeof line, "%s %08" PRIx32 "\n", name, checksum32(name, strlen(name), 0));
    r = env_install_file(m->env, m->dir, "CURRENT", slice_of(line, (size_t)len));
    *in_doubt = r != RES_OK && !not_in_force(m, number, path, room);
out:
    if (r != RES_OK) {
        if (f) {
            (void)f->ops->close(f); /* not in force, or nothing is sure any more */
            manifest_path(path, room, m->dir, number);
            if (!*in_doubt)
                (void)m->env->ops->unlink(m->env, path);
        }
        free(path);
        return r;
    }
    uint64_t old = m->number;
    manifest_close(m);
    if (old) {
        manifest_path(path, room, m->dir, old);
        (void)m->env->ops->unlink(m->env, path); /* what stays is swept at the next start */
    }
    m->number = number;
    m->file = f;
    m->size = m->base = HEADER + payload.len;
    free(path);
    return RES_OK;
}

void manifest_close(struct manifest *m)
{
    if (m->file)
        (void)m->file->ops->close(m->file); /* what counts in it was synced */
    m->file = NULL;
}

enum result manifest_sweep(struct manifest *m)
{
    struct listing l = {.keep = m->number};
    size_t room = path_room(m->dir);
    char *path = malloc(room);
    enum result r = path ? m->env->ops->list(m->env, m->dir, list_one, &l) : RES_NO_MEMORY;
    for (size_t i = 0; r == RES_OK && i < l.count; i++) {
        manifest_path(path, room, m->dir, l.numbers[i]);
        r = m->env->ops->unlink(m->env, path);
    }
    free(l.numbers);
    free(path);
    return r;
}
