/* Writing a table. Blocks are cut where a page of the file ends whenever that wastes next to nothing, so that a cold
 * read of one block costs one page; records too large for that follow each other without gaps. Bytes go out in pieces
 * of a megabyte; nothing is read back.
 *
 * A table whose blocks are kept in a cache that has room for them goes to the disk past the page cache, which would hold
 * them a second time: copying them there, into pages that have to be found first, took as long as merging them. Such
 * writes are aligned: what does not fill a page waits for the next piece, and the last one is filled up with zeros and
 * cut. */
#include <assert.h>
#include <stdlib.h>

#include "base/hash.h"
#include "engine/lsm/table.h"

#define PAGE ((size_t)4096) /* what direct writes are aligned to */

struct table_writer {
    struct table_writer_options o;
    struct block_builder block;
    struct buf out;      /* bytes not written yet */
    uint8_t *aligned;    /* o.direct: room for a piece */
    uint64_t flushed;    /* bytes written to the file */
    struct buf index;    /* encoded already */
    struct buf fence;    /* of the block before */
    struct buf last;     /* the last key added */
    struct buf first;    /* the first */
    struct buf dead_end; /* region DEAD: the largest value */
    uint64_t *hashes;    /* one a record, for the filter */
    size_t hash_count, hash_cap;
    uint32_t blocks;
    uint64_t records, tombstones, key_bytes, value_bytes;
    bool block_open; /* the block at work has its index entry's fence */
};

enum result table_writer_new(const struct table_writer_options *o, struct table_writer **out)
{
    struct table_writer *w = calloc(1, sizeof *w);
    *out = NULL;
    if (!w) {
        (void)o->file->ops->close(o->file);
        return RES_NO_MEMORY;
    }
    w->o = *o;
    if (!w->o.piece)
        w->o.piece = TABLE_WRITE_PIECE;
    block_builder_init(&w->block, o->compression);
    if (o->direct && !(w->aligned = aligned_alloc(PAGE, w->o.piece))) {
        table_writer_abort(w);
        return RES_NO_MEMORY;
    }
    *out = w;
    return RES_OK;
}

static void writer_free(struct table_writer *w)
{
    block_builder_fini(&w->block);
    buf_fini(&w->out);
    free(w->aligned);
    buf_fini(&w->index);
    buf_fini(&w->fence);
    buf_fini(&w->last);
    buf_fini(&w->first);
    buf_fini(&w->dead_end);
    free(w->hashes);
    free(w);
}

void table_writer_abort(struct table_writer *w)
{
    if (!w)
        return;
    (void)w->o.file->ops->close(w->o.file); /* it is going to be removed */
    writer_free(w);
}

/* Full pieces go to the disk at once: were they left to the kernel, they would be written all together at the sync, and
 * whoever writes the log, or needs memory, would wait behind them. */
static enum result write_piece(struct table_writer *w, const uint8_t *data, size_t len, uint64_t at)
{
    struct iovec iov = {(void *)(uintptr_t)data, len};
    return w->o.file->ops->pwritev(w->o.file, &iov, 1, at, len >= w->o.piece ? ENV_DSYNC : 0);
}

/* Whole pages of what is collected; with `last` all of it. */
static enum result write_aligned(struct table_writer *w, bool last)
{
    size_t done = 0;
    enum result r = RES_OK;
    while (r == RES_OK && done < w->out.len) {
        size_t n = w->out.len - done < w->o.piece ? w->out.len - done : w->o.piece;
        size_t whole = n / PAGE * PAGE;
        if (n != whole && last)
            whole += PAGE;
        else
            n = whole;
        if (whole == 0)
            break;
        memcpy(w->aligned, w->out.data + done, n);
        memset(w->aligned + n, 0, whole - n);
        r = write_piece(w, w->aligned, whole, w->flushed + done);
        done += n;
    }
    if (r != RES_OK)
        return r;
    w->flushed += done;
    buf_consume(&w->out, done);
    return last ? w->o.file->ops->truncate(w->o.file, w->flushed) : RES_OK;
}

static enum result write_out(struct table_writer *w, bool last)
{
    if (w->o.direct)
        return write_aligned(w, last);
    if (w->out.len == 0)
        return RES_OK;
    enum result r = write_piece(w, w->out.data, w->out.len, w->flushed);
    if (r == RES_OK) {
        w->flushed += w->out.len;
        w->out.len = 0;
    }
    return r;
}

static uint64_t position(const struct table_writer *w) { return w->flushed + w->out.len; }

/* The block just finished, for who reads the table first. There may be no memory for it: then it is read again. */
static void keep_block(struct table_writer *w)
{
    struct table_kept *k = w->o.keep;
    if (k->count == k->cap) {
        uint32_t cap = k->cap ? k->cap * 2 : 1024;
        struct block **blocks = realloc(k->blocks, cap * sizeof(struct block *));
        if (!blocks) {
            w->o.keep = NULL;
            return;
        }
        k->blocks = blocks;
        k->cap = cap;
    }
    struct slice image = buf_slice(&w->block.image);
    struct block *b = NULL;
    if (image.len == 0 || block_of_image(image.data, (uint32_t)image.len, &b) != RES_OK)
        b = NULL;
    k->blocks[k->count++] = b;
}

/* Ends the block at work; its span is at least min_span. */
static enum result end_block(struct table_writer *w, size_t min_span)
{
    uint8_t varint[VARINT_MAX];
    uint64_t at = position(w);
    size_t before = w->out.len;

    enum result r = block_builder_finish(&w->block, min_span, table_salt(w->o.number, at), &w->out);
    if (r != RES_OK)
        return r;
    uint64_t units = (w->out.len - before) / BLOCK_UNIT;
    if ((at / BLOCK_UNIT) + units > UINT32_MAX || w->blocks == UINT32_MAX - 1)
        return RES_RANGE;
    /* In the index a fence stands behind its block's span, which is known only now. */
    struct slice fence = buf_slice(&w->fence);
    if ((r = buf_append(&w->index, varint, put_varint(varint, units))) != RES_OK ||
        (r = buf_append(&w->index, fence.data, fence.len)) != RES_OK)
        return r;
    if (w->o.keep)
        keep_block(w);
    w->blocks++;
    w->block_open = false;
    return w->out.len >= w->o.piece ? write_out(w, false) : RES_OK;
}

/* Leaves in w->fence the fence of the block that starts with this key, with its length in front: the shortest beginning
 * of the key that is above the last one. */
static enum result begin_block(struct table_writer *w, struct slice key)
{
    uint8_t varint[VARINT_MAX];
    size_t shared = 0, most = w->last.len < key.len ? w->last.len : key.len;
    enum result r;

    while (shared < most && w->last.data[shared] == key.data[shared])
        shared++;
    size_t len = w->blocks || w->records ? shared + 1 : key.len; /* above the last key, so longer than what is shared */
    w->fence.len = 0;
    if ((r = buf_append(&w->fence, varint, put_varint(varint, len))) != RES_OK ||
        (r = buf_append(&w->fence, key.data, len)) != RES_OK)
        return r;
    w->block_open = true;
    return RES_OK;
}

/* Spans then have any length. */
static bool packs(const struct table_writer *w) { return w->o.compression.kind != ENGINE_PACK_NONE; }

/* Decides, before a record is added, whether the block at work ends first, and how. */
static enum result make_room(struct table_writer *w, struct slice key, size_t value_len)
{
    if (w->block.count == 0)
        return RES_OK;
    size_t unit = w->o.block_bytes, have = block_builder_size(&w->block) + BLOCK_TRAILER;
    size_t want = block_builder_size_with(&w->block, key, value_len) + BLOCK_TRAILER;
    size_t room = unit - (size_t)(position(w) % unit);
    if (packs(w))
        room = unit;
    else if (room < unit / 2)
        room += unit;
    if (want <= room && w->block.count < UINT16_MAX)
        return RES_OK;
    if (have <= room && room - have <= unit / 32 && !packs(w))
        return end_block(w, room);
    if (want <= room + unit / 4 && w->block.count < UINT16_MAX)
        return RES_OK; /* a little past the border is better than a gap before it */
    return end_block(w, 0);
}

static enum result remember(struct table_writer *w, struct slice key, uint64_t hash)
{
    if (region_has_filter(w->o.region)) {
        if (w->hash_count == w->hash_cap) {
            size_t cap = w->hash_cap ? w->hash_cap * 2 : 1024;
            uint64_t *hashes = realloc(w->hashes, cap * sizeof *hashes);
            if (!hashes)
                return RES_NO_MEMORY;
            w->hashes = hashes;
            w->hash_cap = cap;
        }
        w->hashes[w->hash_count++] = hash;
    }
    if (w->records == 0) {
        enum result r = buf_append(&w->first, key.data, key.len);
        if (r != RES_OK)
            return r;
    }
    w->last.len = 0;
    return buf_append(&w->last, key.data, key.len);
}

enum result table_writer_add(struct table_writer *w, struct slice key, uint8_t kind, struct slice value)
{
    assert(key.len > 0 && key.len <= ENGINE_KEY_MAX);
    assert(w->o.region == 0 || key.data[0] == w->o.region);
    assert(w->records == 0 || slice_cmp(buf_slice(&w->last), key) < 0);
    if (value.len > INT32_MAX - 65536)
        return RES_RANGE;
    enum result r = make_room(w, key, value.len);
    if (r == RES_OK && !w->block_open)
        r = begin_block(w, key);
    uint64_t hash = engine_hash(key);
    if (r == RES_OK)
        r = block_builder_add(&w->block, key, kind, value, hash);
    if (r == RES_OK)
        r = remember(w, key, hash);
    if (r != RES_OK)
        return r;
    if (key.data[0] == REGION_DEAD && kind == RECORD_PUT && slice_cmp(value, buf_slice(&w->dead_end)) > 0) {
        w->dead_end.len = 0;
        if ((r = buf_append(&w->dead_end, value.data, value.len)) != RES_OK)
            return r;
    }
    w->records++;
    w->tombstones += kind == RECORD_DELETE;
    w->key_bytes += key.len;
    w->value_bytes += value.len;
    return value.len > w->o.block_bytes ? end_block(w, 0) : RES_OK;
}

uint64_t table_writer_bytes(const struct table_writer *w)
{
    return position(w) + (w->block.count ? block_builder_size(&w->block) : 0);
}

uint64_t table_writer_records(const struct table_writer *w) { return w->records; }
struct slice table_writer_last(const struct table_writer *w) { return buf_slice(&w->last); }

static enum result add_filter(struct table_writer *w)
{
    if (w->hash_count == 0)
        return RES_OK;
    uint32_t lines = filter_lines_for(w->hash_count);
    size_t len = (size_t)lines * FILTER_LINE;
    enum result r = buf_reserve(&w->out, len);
    if (r != RES_OK)
        return r;
    uint8_t *p = w->out.data + w->out.len;
    memset(p, 0, len);
    for (size_t i = 0; i < w->hash_count; i++)
        filter_add(p, lines, w->hashes[i]);
    w->out.len += len;
    return RES_OK;
}

static enum result add_bytes(struct table_writer *w, uint64_t tag, struct slice bytes)
{
    uint8_t head[2 * VARINT_MAX];
    size_t n = put_varint(head, tag);
    n += put_varint(head + n, bytes.len);
    enum result r = buf_append(&w->out, head, n);
    return r == RES_OK ? buf_append(&w->out, bytes.data, bytes.len) : r;
}

static enum result add_number(struct table_writer *w, uint64_t tag, uint64_t value)
{
    uint8_t varint[VARINT_MAX];
    return add_bytes(w, tag, slice_of(varint, put_varint(varint, value)));
}

static enum result add_properties(struct table_writer *w)
{
    const struct {
        uint64_t tag, value;
    } numbers[] = {{TABLE_PROP_REGION, w->o.region},           {TABLE_PROP_RECORDS, w->records},
                   {TABLE_PROP_TOMBSTONES, w->tombstones},     {TABLE_PROP_BOUNDARY, w->o.boundary},
                   {TABLE_PROP_KEY_BYTES, w->key_bytes},       {TABLE_PROP_VALUE_BYTES, w->value_bytes},
                   {TABLE_PROP_PACKING, w->o.compression.kind}};
    const struct {
        uint64_t tag;
        const struct buf *bytes;
    } keys[] = {{TABLE_PROP_FIRST, &w->first}, {TABLE_PROP_LAST, &w->last}, {TABLE_PROP_DEAD_END, &w->dead_end}};
    enum result r = RES_OK;
    for (size_t i = 0; r == RES_OK && i < sizeof numbers / sizeof *numbers; i++)
        r = add_number(w, numbers[i].tag, numbers[i].value);
    for (size_t i = 0; r == RES_OK && i < sizeof keys / sizeof *keys; i++)
        if (keys[i].bytes->len) /* without dead ranges there is no end of them */
            r = add_bytes(w, keys[i].tag, buf_slice(keys[i].bytes));
    return r;
}

/* Everything behind the blocks is checked with one checksum, so it is put together in memory. */
static enum result add_tail(struct table_writer *w)
{
    uint8_t footer[TABLE_FOOTER] = "VARVESST";
    uint64_t filter_at = position(w);
    size_t tail = w->out.len;
    enum result r = add_filter(w);
    uint64_t index_at = position(w);
    if (r == RES_OK)
        r = buf_append(&w->out, w->index.data, w->index.len);
    uint64_t properties_at = position(w);
    if (r == RES_OK)
        r = add_properties(w);
    if (r != RES_OK)
        return r;
    uint64_t salt = table_salt(w->o.number, filter_at);
    put_le32(footer + 8, w->o.compression.kind == ENGINE_PACK_ZSTD ? TABLE_VERSION : 1);
    put_le32(footer + 12, w->blocks);
    put_le64(footer + 16, w->o.number);
    put_le64(footer + 24, filter_at);
    put_le64(footer + 32, index_at);
    put_le64(footer + 40, properties_at);
    put_le32(footer + 56, checksum32(w->out.data + tail, w->out.len - tail, salt));
    put_le32(footer + 60, checksum32(footer, 60, table_salt(w->o.number, position(w))));
    return buf_append(&w->out, footer, TABLE_FOOTER);
}

enum result table_writer_finish(struct table_writer *w, uint64_t *size)
{
    assert(w->records > 0);
    enum result r = w->block.count ? end_block(w, 0) : RES_OK;
    if (r == RES_OK)
        r = write_out(w, false);
    if (r == RES_OK)
        r = add_tail(w);
    if (r == RES_OK)
        r = write_out(w, true);
    if (r == RES_OK)
        r = w->o.file->ops->sync(w->o.file);
    *size = w->flushed;
    enum result closed = w->o.file->ops->close(w->o.file);
    writer_free(w);
    return r != RES_OK ? r : closed;
}
