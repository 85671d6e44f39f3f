/* Blocks, tables and manifests whose checksums hold over contents that no writer makes: by another program, or by a mistake
 * of this one. What must hold:
 *   1. A block that is accepted can be read: every record of it lies inside. All others are RES_CORRUPT.
 *   2. The same for a table's footer, index and properties: it is refused with a message that names the file, or all of it
 *      can be read without a crash. What contradicts itself is refused.
 *   3. The same for a manifest; and an edit that makes no sense refuses.
 *   4. The n-th allocation that fails, in whatever of these, is an answer; nothing leaks, and the next try succeeds. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/log.h"
#include "engine/lsm/manifest.h"
#include "engine/lsm/table.h"
#include "os/env_memory.h"
#include "tests/lib/tap.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

static int64_t left = INT64_MAX; /* allocations until one fails */

static bool fails(void) { return left != INT64_MAX && --left == 0; }
void *__wrap_malloc(size_t size) { return fails() ? NULL : __real_malloc(size); }
void *__wrap_calloc(size_t n, size_t size) { return fails() ? NULL : __real_calloc(n, size); }
void *__wrap_realloc(void *p, size_t size) { return fails() ? NULL : __real_realloc(p, size); }
void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : __real_aligned_alloc(alignment, size);
}

static uint64_t rng_state;
static uint64_t below(uint64_t n) { return hash_mix(rng_state += 0x9e3779b97f4a7c15u) % n; }

static const struct slice none;

/* ---- 1 ---- */

static struct buf block_span(unsigned records, unsigned value_max, struct engine_compression how)
{
    struct block_builder b;
    struct buf out = BUF_INIT;
    uint8_t value[300];
    char key[200];
    block_builder_init(&b, how);
    for (unsigned i = 0; i < records; i++) {
        size_t len = (size_t)snprintf(key, sizeof key, "Mshared%04u%.*s", i, i % 5 == 4 ? 120 : 0,
                                      "................................................................................"
                                      "........................................");
        size_t n = below(value_max);
        memset(value, (int)i, n);
        struct slice k = slice_of(key, len);
        uint8_t kind = i % 7 == 3 ? RECORD_DELETE : RECORD_PUT;
        tap_require(block_builder_add(&b, k, kind, slice_of(value, kind == RECORD_PUT ? n : 0), engine_hash(k)) ==
                    RES_OK);
    }
    tap_require(block_builder_finish(&b, 0, 77, &out) == RES_OK);
    block_builder_fini(&b);
    return out;
}

/* Signs the span and decodes it. True: it was accepted, and every record could be read. */
static bool block_is_readable(uint8_t *span, size_t len)
{
    struct block *b;
    struct block_record record;
    put_le32(span + len - 4, checksum32(span, len - 4, 77));
    enum result r = block_decode(span, len, 77, &b);
    tap_check(r == RES_OK ? b != NULL : r == RES_CORRUPT && b == NULL);
    if (r != RES_OK)
        return false;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        block_record_at(b, i, &record);
        const uint8_t *end = b->image + b->image_len;
        tap_check(record.rest.data >= b->image && record.rest.data + record.rest.len == record.value.data &&
                  record.value.data + record.value.len <= end);
        sum += checksum32(record.rest.data, record.rest.len, sum) + checksum32(record.value.data, record.value.len, 1);
    }
    struct slice k = SLICE_LIT("Mshared0003");
    struct engine_key key = {k, engine_hash(k)};
    tap_check(block_lower_bound(b, k) <= b->count && block_find(b, &key, &record) < (int64_t)b->count);
    tap_check(sum + 1 != 0);
    block_unref(b);
    return true;
}

static void a_forged_block_is_refused_or_can_be_read(void)
{
    unsigned accepted = 0, refused = 0;
    rng_state = 1;
    for (int round = 0; round < (tap_long() ? 400 : 12); round++) {
        struct buf span = block_span(1 + (unsigned)below(20), round % 4 == 3 ? 300 : 40,
                                     (struct engine_compression){(uint8_t)(round % 3), 3});
        uint8_t *copy = __real_malloc(span.len);
        for (size_t at = 0; at < span.len - 4; at++)
            for (int how = 0; how < 6; how++) {
                static const uint8_t with[] = {0, 0xff, 0x80, 1};
                memcpy(copy, span.data, span.len);
                copy[at] = how < 4 ? with[how] : how == 4 ? (uint8_t)(copy[at] + 1) : (uint8_t)(copy[at] - 1);
                bool good = block_is_readable(copy, span.len);
                accepted += good;
                refused += !good;
            }
        for (int i = 0; i < 3000; i++) {
            memcpy(copy, span.data, span.len);
            for (uint64_t k = 1 + below(3); k > 0; k--)
                copy[below(span.len - 4)] = (uint8_t)below(256);
            size_t len = below(10) ? span.len : below(span.len / BLOCK_UNIT + 1) * BLOCK_UNIT;
            if (len < 4)
                continue;
            bool good = block_is_readable(copy, len);
            accepted += good;
            refused += !good;
        }
        tap_check(block_is_readable(span.data, span.len));
        free(copy);
        buf_fini(&span);
    }
    epoch_drain();
    tap_check(accepted > 100 && refused > 100);
}

/* ---- 2 ---- */

struct bench {
    struct env *env;
    struct cache *cache;
    struct table_owner owner;
    uint8_t *bytes; /* of the table */
    size_t len;
};

static void gone(struct table_owner *o, struct table *t)
{
    (void)o;
    table_close(t);
}

static enum result open_file(struct table_owner *o, uint64_t number, struct env_file **out)
{
    struct bench *b = (struct bench *)((char *)o - offsetof(struct bench, owner));
    (void)number;
    return b->env->ops->open(b->env, "/7", ENV_READ, out);
}

static enum result write_table(struct env *env, const char *path, unsigned records, uint8_t region, uint32_t block,
                               bool direct, struct table_kept *keep)
{
    struct table_writer_options o = {.number = 7,
                                     .boundary = 99,
                                     .block_bytes = block,
                                     .region = region,
                                     .compression = {(uint8_t)(records % 3), 1},
                                     .direct = direct,
                                     .keep = keep};
    struct table_writer *w;
    uint64_t size;
    enum result r = env->ops->open(env, path, ENV_READ | ENV_WRITE | ENV_CREATE, &o.file);
    if (r == RES_OK)
        r = table_writer_new(&o, &w);
    if (r != RES_OK)
        return r;
    for (unsigned i = 0; i < records && r == RES_OK; i++) {
        char key[40], value[60];
        snprintf(key, sizeof key, "%c%06u%.*s", region ? region : 'M', i, (int)(i * 7 % 20), "....................");
        snprintf(value, sizeof value, region == REGION_DEAD ? "M%06u" : "value %u and a little more of it", i + 1);
        bool put = i % 9 != 5;
        r = table_writer_add(w, slice_str(key), put ? RECORD_PUT : RECORD_DELETE, put ? slice_str(value) : none);
    }
    if (r != RES_OK) {
        table_writer_abort(w);
        return r;
    }
    return table_writer_finish(w, &size);
}

static void begin(struct bench *b, unsigned records, uint8_t region)
{
    *b = (struct bench){
        .env = env_memory_new(1, ENV_MEMORY_PLAIN), .cache = cache_new(1 << 20), .owner = {gone, open_file}};
    tap_require(write_table(b->env, "/7", records, region, 128, false, NULL) == RES_OK);
    tap_require(env_read_file(b->env, "/7", 1 << 20, &b->bytes, &b->len) == RES_OK);
}

static void end(struct bench *b)
{
    epoch_drain();
    tap_eq_u64(b->cache->used, 0);
    tap_eq_u64(env_memory_open_files(b->env), 0);
    cache_free(b->cache);
    env_memory_free(b->env);
    free(b->bytes);
}

/* Both checksums anew. What they are of is told by the footer, as far as that makes sense. */
static void sign(uint8_t *t, size_t len)
{
    uint8_t *footer = t + len - TABLE_FOOTER;
    uint64_t filter_at = get_le64(footer + 24), number = get_le64(footer + 16), end = len - TABLE_FOOTER;
    if (filter_at <= end)
        put_le32(footer + 56, checksum32(t + filter_at, end - filter_at, table_salt(7, filter_at)));
    (void)number;
    put_le32(footer + 60, checksum32(footer, 60, table_salt(7, end)));
}

static void put_file(struct bench *b, const uint8_t *bytes, size_t len)
{
    struct env_file *f;
    tap_require(b->env->ops->open(b->env, "/7", ENV_READ | ENV_WRITE, &f) == RES_OK);
    tap_require(f->ops->truncate(f, 0) == RES_OK && env_write(f, bytes, len, 0) == RES_OK);
    tap_require(f->ops->close(f) == RES_OK);
}

/* Writes these bytes, opens and reads all. True: the table was accepted. */
static bool table_is_readable(struct bench *b, const uint8_t *bytes, size_t len)
{
    struct env_file *f;
    struct table *t;
    struct errmsg msg = {""};
    struct iter *it;
    uint64_t n = 0;
    put_file(b, bytes, len);
    tap_require(b->env->ops->open(b->env, "/7", ENV_READ, &f) == RES_OK);
    enum result r = table_open(f, "/7", 7, len, b->cache, &b->owner, &t, &msg);
    if (r != RES_OK) {
        tap_check((r == RES_CORRUPT || r == RES_UNSUPPORTED) && strstr(msg.text, "/7") != NULL);
        return false;
    }
    tap_require(table_iter(t, none, none, 0, false, &it) == RES_OK);
    for (r = iter_seek(it, none); r == RES_OK && n < 10000; r = iter_next(it))
        n++;
    tap_check(r == RES_NOT_FOUND || r == RES_CORRUPT);
    for (r = iter_seek_last(it, none); r == RES_OK && n < 20000; r = iter_prev(it))
        n++;
    tap_check(r == RES_NOT_FOUND || r == RES_CORRUPT);
    iter_close(it);
    struct engine_key key = {SLICE_LIT("M000003......."), engine_hash(SLICE_LIT("M000003......."))};
    struct slice value;
    uint8_t kind;
    epoch_enter();
    r = table_get(t, &key, 0, &kind, &value, NULL);
    tap_check(r == RES_OK || r == RES_NOT_FOUND || r == RES_CORRUPT);
    epoch_leave();
    tap_check(table_range_bytes(t, SLICE_LIT("M"), none) <= len);
    table_unref(t);
    return true;
}

static void a_forged_tail_is_refused_or_can_be_read(void)
{
    static const uint8_t regions[] = {REGION_META, REGION_DEAD, 0};
    unsigned accepted = 0, refused = 0;
    log_set_level(LOG_NOTHING);
    for (size_t k = 0; k < sizeof regions; k++) {
        struct bench b;
        begin(&b, 24, regions[k]);
        uint8_t *copy = __real_malloc(b.len);
        uint64_t from =
            get_le64(b.bytes + b.len - TABLE_FOOTER + 32); /* the index: what filters tell is no structure */
        for (uint64_t at = from; at < b.len - 4; at++)
            for (int how = 0; how < 5; how++) {
                static const uint8_t with[] = {0, 0xff, 0x80};
                memcpy(copy, b.bytes, b.len);
                copy[at] = how < 3 ? with[how] : how == 3 ? (uint8_t)(copy[at] + 1) : (uint8_t)(copy[at] - 1);
                sign(copy, b.len);
                bool good = table_is_readable(&b, copy, b.len);
                accepted += good;
                refused += !good;
            }
        tap_check(table_is_readable(&b, b.bytes, b.len));
        free(copy);
        end(&b);
    }
    log_set_level(LOG_WARNING);
    tap_check(accepted > 100 && refused > 1000);
}

static void a_footer_that_contradicts_itself_is_refused(void)
{
    struct bench b;
    begin(&b, 24, REGION_META);
    uint64_t end_at = b.len - TABLE_FOOTER;
    const uint8_t *footer = b.bytes + end_at;
    uint64_t filter = get_le64(footer + 24), index = get_le64(footer + 32), properties = get_le64(footer + 40);
    const struct {
        int at, bytes;
        uint64_t value;
    } edits[] = {
        {12, 4, 0},          {12, 4, 0x7fffffff}, {12, 4, 1},         {16, 8, 8},
        {24, 8, filter + 8}, {24, 8, index + 16}, {32, 8, index - 1}, {32, 8, properties + 1},
        {40, 8, end_at + 1}, {40, 8, index},      {48, 8, 1},         {8, 4, TABLE_VERSION + 1},
        {0, 4, 0},           {24, 8, 0},
    };
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        uint8_t *copy = __real_malloc(b.len), *f = copy + end_at;
        memcpy(copy, b.bytes, b.len);
        if (edits[i].bytes == 4)
            put_le32(f + edits[i].at, (uint32_t)edits[i].value);
        else
            put_le64(f + edits[i].at, edits[i].value);
        sign(copy, b.len);
        if (!tap_check(!table_is_readable(&b, copy, b.len)))
            tap_diag("edit %zu was accepted", i);
        free(copy);
    }
    for (size_t len = 0; len < b.len; len += 1 + b.len / 40)
        tap_check(!table_is_readable(&b, b.bytes, len));
    end(&b);
}

/* Properties of my own behind the same blocks. */
static bool with_properties(struct bench *b, const struct buf *properties)
{
    const uint8_t *footer = b->bytes + b->len - TABLE_FOOTER;
    uint64_t at = get_le64(footer + 40);
    size_t len = at + properties->len + TABLE_FOOTER;
    uint8_t *copy = __real_malloc(len);
    memcpy(copy, b->bytes, at);
    if (properties->len)
        memcpy(copy + at, properties->data, properties->len);
    memcpy(copy + at + properties->len, footer, TABLE_FOOTER);
    sign(copy, len);
    bool good = table_is_readable(b, copy, len);
    free(copy);
    return good;
}

struct wanted {
    uint64_t region, records, tombstones;
    const char *first, *last;
};

static void add_bytes(struct buf *out, uint64_t tag, struct slice bytes)
{
    uint8_t head[2 * VARINT_MAX];
    size_t n = put_varint(head, tag);
    n += put_varint(head + n, bytes.len);
    tap_require(buf_append(out, head, n) == RES_OK && buf_append(out, bytes.data, bytes.len) == RES_OK);
}

static void add_number(struct buf *out, uint64_t tag, uint64_t value)
{
    uint8_t varint[VARINT_MAX];
    add_bytes(out, tag, slice_of(varint, put_varint(varint, value)));
}

static struct buf properties_of(const struct wanted *w)
{
    struct buf out = BUF_INIT;
    add_number(&out, TABLE_PROP_REGION, w->region);
    add_number(&out, TABLE_PROP_RECORDS, w->records);
    add_number(&out, TABLE_PROP_TOMBSTONES, w->tombstones);
    add_bytes(&out, 99, SLICE_LIT("skipped"));
    add_bytes(&out, TABLE_PROP_FIRST, slice_str(w->first));
    add_bytes(&out, TABLE_PROP_LAST, slice_str(w->last));
    return out;
}

static void properties_that_contradict_themselves_are_refused(void)
{
    static char giant[ENGINE_KEY_MAX + 2];
    struct bench b;
    begin(&b, 24, REGION_META);
    memset(giant, 'M', ENGINE_KEY_MAX + 1);
    const struct {
        struct wanted w;
        bool good;
    } cases[] = {
        {{REGION_META, 24, 3, "M000000", "N"}, false}, /* its last key lies in another region */
        {{REGION_META, 24, 3, "M000000", "M9"}, true},
        {{0, 24, 3, "M000000", "M9"}, true},
        {{256, 24, 3, "M000000", "M9"}, false},
        {{REGION_META, 0, 0, "M000000", "M9"}, false},
        {{REGION_META, 24, 25, "M000000", "M9"}, false},
        {{REGION_META, 24, 3, "", "M9"}, false},
        {{REGION_META, 24, 3, "M000000", ""}, false},
        {{REGION_META, 24, 3, giant, "N"}, false},
        {{REGION_META, 24, 3, "M000000", giant}, false},
        {{REGION_META, 24, 3, "M000000", "M0"}, false}, /* the other way round */
        {{REGION_META, 24, 3, "L000000", "M9"}, false},
        {{REGION_META, 24, 3, "M000001", "M9"}, false}, /* not what the index begins with */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf p = properties_of(&cases[i].w);
        if (!tap_check(with_properties(&b, &p) == cases[i].good))
            tap_diag("properties %zu", i);
        buf_fini(&p);
    }
    for (size_t cut = 0;; cut++) { /* of any length */
        struct buf p = properties_of(&cases[1].w);
        if (cut == p.len) {
            buf_fini(&p);
            break;
        }
        p.len = cut;
        tap_check(!with_properties(&b, &p));
        buf_fini(&p);
    }
    static const uint64_t numbers[] = {TABLE_PROP_REGION,   TABLE_PROP_RECORDS,   TABLE_PROP_TOMBSTONES,
                                       TABLE_PROP_BOUNDARY, TABLE_PROP_KEY_BYTES, TABLE_PROP_VALUE_BYTES};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) { /* no number, and one with something behind it */
        struct buf p = properties_of(&cases[1].w);
        add_bytes(&p, numbers[i], SLICE_LIT("\x80"));
        tap_check(!with_properties(&b, &p));
        buf_fini(&p);
        p = properties_of(&cases[1].w);
        add_bytes(&p, numbers[i], SLICE_LIT("\x01\x01"));
        tap_check(!with_properties(&b, &p));
        buf_fini(&p);
    }
    end(&b);
}

/* ---- 3 ---- */

static void whole_state(struct buf *b)
{
    struct manifest_table t = {.number = 5, .level = 3, .run = 1, .size = 77, .region = 'M'};
    tap_require(manifest_put_number(b, MANIFEST_FORMAT, MANIFEST_VERSION) == RES_OK);
    tap_require(manifest_put_number(b, MANIFEST_NEXT_NUMBER, 9) == RES_OK);
    tap_require(manifest_put_number(b, MANIFEST_SEQUENCE, 44) == RES_OK);
    tap_require(manifest_put_bytes(b, MANIFEST_STATE, SLICE_LIT("state")) == RES_OK);
    tap_require(manifest_put_add(b, &t) == RES_OK);
}

/* A manifest of this first record and this edit (none when empty), opened. */
static enum result open_manifest(struct slice first, struct slice edit, struct errmsg *msg)
{
    struct env *env = env_memory_new(1, ENV_MEMORY_PLAIN);
    struct manifest m = {.env = env, .dir = "/db"}, again;
    struct manifest_state s;
    bool in_doubt;
    tap_require(env->ops->mkdir(env, "/db") == RES_OK);
    tap_require(manifest_start(&m, 3, first, &in_doubt) == RES_OK);
    if (edit.len)
        tap_require(manifest_append(&m, edit) == RES_OK);
    manifest_close(&m);
    enum result r = manifest_open(&again, env, "/db", &s, msg);
    manifest_state_fini(&s);
    manifest_close(&again);
    tap_eq_u64(env_memory_open_files(env), 0);
    env_memory_free(env);
    return r;
}

static void a_forged_manifest_is_refused_or_makes_sense(void)
{
    struct buf whole = BUF_INIT;
    struct errmsg msg;
    unsigned refused = 0, accepted = 0;
    whole_state(&whole);
    tap_check(open_manifest(buf_slice(&whole), none, &msg) == RES_OK);
    for (size_t at = 0; at < whole.len; at++)
        for (int how = 0; how < 5; how++) {
            static const uint8_t with[] = {0, 0xff, 0x80};
            uint8_t was = whole.data[at];
            whole.data[at] = how < 3 ? with[how] : how == 3 ? (uint8_t)(was + 1) : (uint8_t)(was - 1);
            enum result r = open_manifest(buf_slice(&whole), none, &msg);
            tap_check(r == RES_OK || ((r == RES_CORRUPT || r == RES_UNSUPPORTED) && strstr(msg.text, "MANIFEST")));
            refused += r != RES_OK;
            accepted += r == RES_OK;
            whole.data[at] = was;
        }
    for (size_t cut = 1; cut < whole.len; cut++) {
        enum result r = open_manifest(slice_of(whole.data, cut), none, &msg);
        tap_check(r == RES_OK || r == RES_CORRUPT);
    }
    tap_check(refused > 50 && accepted > 10);
    buf_fini(&whole);
}

static void an_edit_that_makes_no_sense_is_refused(void)
{
    struct buf whole = BUF_INIT;
    struct errmsg msg;
    whole_state(&whole);
    static const struct {
        const char *bytes;
        size_t len;
        bool good;
    } edits[] = {
        {"\x03\x01\x07", 3, true},          /* a sequence */
        {"\x06\x02\x05\x03", 4, true},      /* table 5 leaves level 3 */
        {"\x06\x02\x05\x02", 4, false},     /* but is not in level 2 */
        {"\x06\x02\x06\x03", 4, false},     /* and there is no table 6 */
        {"\x06\x01\x05", 3, false},         /* from where? */
        {"\x06\x03\x05\x03\x00", 5, false}, /* and what? */
        {"\x05\x05\x06\x03\x01\x4d\x4d", 7, true},
        {"\x05\x05\x05\x03\x01\x4d\x4d", 7, false},     /* is there */
        {"\x05\x05\x06\x63\x01\x4d\x4d", 7, false},     /* level 99 */
        {"\x05\x06\x06\x03\x01\x4d\x80\x02", 8, false}, /* region 256 */
        {"\x05\x04\x06\x03\x01\x4d", 6, false},
        {"\x01\x01\x01", 3, false}, /* the format is said once, at the start */
        {"\x02\x00", 2, false},
        {"\x03\x00", 2, false},
        {"\x07\x01\x00", 3, false}, /* nobody knows what this is */
        {"\x03", 1, false},
        {"\x80", 1, false},
        {"\x03\x05\x01", 3, false}, /* longer than what is there */
    };
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        enum result r = open_manifest(buf_slice(&whole), slice_of(edits[i].bytes, edits[i].len), &msg);
        if (!tap_check(r == (edits[i].good ? RES_OK : RES_CORRUPT)))
            tap_diag("edit %zu: %s", i, result_text(r));
    }
    tap_check(open_manifest(slice_of(edits[0].bytes, edits[0].len), none, &msg) == RES_CORRUPT); /* without a format */
    buf_fini(&whole);
}

/* ---- 4 ---- */

static char dir[256];

/* A table of so many records, written, opened, read and closed. The first error, or RES_OK. */
static enum result live_with(unsigned records, uint8_t region, bool direct, struct cache *cache)
{
    struct bench b = {.env = env_posix(), .cache = cache, .owner = {gone, open_file}};
    struct env_file *f;
    struct table *t = NULL;
    struct iter *it = NULL;
    struct table_kept kept = {0};
    char path[300];
    snprintf(path, sizeof path, "%s/7", dir);
    enum result r = write_table(b.env, path, records, region, 128, direct, &kept);
    if (r == RES_OK)
        r = b.env->ops->open(b.env, path, ENV_READ, &f);
    if (r == RES_OK)
        r = table_open(f, path, 7, 0, b.cache, &b.owner, &t, NULL);
    if (r == RES_OK && kept.count)
        table_adopt(t, &kept);
    table_kept_fini(&kept);
    if (r == RES_OK)
        r = table_iter(t, none, none, records % 3 ? 0 : ITER_NO_FILL, records % 3 == 0, &it);
    if (r == RES_OK) {
        unsigned n = 0;
        for (r = iter_seek(it, none); r == RES_OK; r = iter_next(it))
            n++;
        tap_check(r != RES_NOT_FOUND || n == records);
        r = r == RES_NOT_FOUND ? RES_OK : r;
    }
    iter_close(it);
    if (t)
        table_unref(t);
    (void)b.env->ops->unlink(b.env, path);
    return r;
}

static void the_nth_allocation_fails(void)
{
    uint64_t failed = 0, tries = 0;
    log_set_level(LOG_NOTHING);
    for (unsigned records = 1; records < (tap_long() ? 2000u : 400u); records += 1 + records / 3) {
        struct cache *cache = cache_new(1 << 20);
        uint8_t region = records % 5 == 4 ? REGION_DEAD : records % 4 == 3 ? 0 : REGION_META;
        for (int64_t n = 1;; n++) {
            left = n;
            enum result r = live_with(records, region, records % 2, cache);
            bool reached = left <= 0;
            left = INT64_MAX;
            tries++;
            failed += r != RES_OK;
            if (!tap_check(r == RES_OK || r == RES_NO_MEMORY))
                tap_diag("%u records, allocation %lld: %s", records, (long long)n, result_text(r));
            epoch_drain();
            tap_eq_u64(cache->used, 0);
            if (!reached)
                break;
        }
        tap_check(live_with(records, region, records % 2, cache) == RES_OK);
        epoch_drain();
        cache_free(cache);
    }
    log_set_level(LOG_WARNING);
    tap_check(failed > 100);
    tap_diag("%llu tries, %llu failed", (unsigned long long)tries, (unsigned long long)failed);
}

int main(void)
{
    const char *above = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/varve-forged-XXXXXX", above ? above : "/tmp");
    tap_require(mkdtemp(dir) != NULL);
    tap_test(a_forged_block_is_refused_or_can_be_read);
    tap_test(a_forged_tail_is_refused_or_can_be_read);
    tap_test(a_footer_that_contradicts_itself_is_refused);
    tap_test(properties_that_contradict_themselves_are_refused);
    tap_test(a_forged_manifest_is_refused_or_makes_sense);
    tap_test(an_edit_that_makes_no_sense_is_refused);
    tap_test(the_nth_allocation_fails);
    (void)rmdir(dir);
    return tap_done();
}
