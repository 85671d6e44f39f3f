/* kvctl dump: one file of a data directory as text, record by record; docs/formats.md says what the fields mean. What
 * kind of file it is, and its number, without which no checksum holds, are in its name. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "engine/lsm/manifest.h"
#include "engine/lsm/table.h"
#include "front/log_reader.h"
#include "tools/kvctl/dump.h"

#define VALUE_SHOWN 64

void dump_bytes(struct slice s, size_t most)
{
    for (size_t i = 0; i < s.len && i < most; i++) {
        uint8_t c = s.data[i];
        if (c >= 32 && c < 127 && c != '\\')
            putchar(c);
        else
            printf("\\x%02x", c);
    }
    if (s.len > most)
        printf("... (%zu bytes)", s.len);
}

void dump_record(uint8_t kind, struct slice key, struct slice value)
{
    fputs(kind == RECORD_DELETE ? "delete " : "put ", stdout);
    dump_bytes(key, SIZE_MAX);
    if (kind != RECORD_DELETE) {
        fputs(" = ", stdout);
        dump_bytes(value, VALUE_SHOWN);
    }
    putchar('\n');
}

/* ---- logs ---- */

static bool dump_group(const struct log_basis *basis, const struct log_header *h, struct slice payload)
{
    for (uint32_t i = 0; i < h->batches; i++) {
        struct log_batch b;
        if (!log_batch_take(&payload, basis, &b))
            return false;
        printf("  batch %" PRIu64 " at %" PRIu64 " ms, %" PRIu64 " records", h->first + i, b.now_ms, b.records);
        if (b.table)
            printf(", private table %" PRIu64, b.table);
        putchar('\n');
        for (uint64_t n = 0; n < b.counters; n++) {
            struct batch_counter c;
            log_counter_take(&b, &c);
            printf("    counter %" PRIu32 ": keys %+" PRId64 ", with expiry %+" PRId64 "\n", c.id, c.keys, c.expires);
        }
        for (uint64_t n = 0; n < b.records; n++) {
            struct batch_record r;
            log_record_take(&b, &r);
            fputs("    ", stdout);
            dump_record(r.kind, r.key.bytes, r.value);
        }
    }
    return payload.len == 0;
}

static int dump_log(const char *path, uint64_t number)
{
    struct log_reader r;
    struct log_header h;
    struct slice payload;
    enum result res = log_reader_open(&r, env_posix(), path, number);
    if (res == RES_UNSUPPORTED && r.start.format)
        return complain("%s: format version %" PRIu32 ", not %d to %d: use the program that wrote it", path,
                        r.start.format, LOG_FORMAT_OLDEST, LOG_FORMAT_VERSION);
    if (res != RES_OK)
        return complain("%s: %s", path, res == RES_NOT_FOUND ? "no log that was begun" : result_text(res));
    printf("log %012" PRIu64 " format %u, behind log %012" PRIu64 " up to offset %" PRIu64 ", boot epoch %" PRIu64
           ", last sequence before %" PRIu64 "\n",
           number, r.start.format, r.start.before, r.start.before_end, r.start.epoch, r.start_header.first);
    bool good = true;
    uint64_t at = r.offset;
    for (; good && log_reader_next(&r, 0, &h, &payload) == LOG_STEP_RECORD; at = r.offset) {
        printf("%" PRIu64 ": %s first %" PRIu64 ", %" PRIu32 " batches, durable %" PRIu64 ", %" PRIu32 " bytes%s\n", at,
               h.type == LOG_GROUP ? "group" : "note", h.first, h.batches, h.durable, h.length,
               h.type == LOG_NOTE && h.flags & LOG_CLEAN ? ", closed in order" : "");
        good = h.type != LOG_GROUP || dump_group(&r.basis, &h, payload);
    }
    uint64_t torn = good ? log_reader_torn(&r) : 0;
    bool damaged = !good || log_reader_skip(&r);
    if (good && !damaged)
        printf("%" PRIu64 ": the end%s\n", at, torn ? ", in the middle of a record" : "");
    log_reader_close(&r);
    return damaged ? complain("%s: what lies at offset %" PRIu64 " does not hold", path, at) : KVCTL_DONE;
}

/* ---- tables ---- */

static void gone(struct table_owner *o, struct table *t)
{
    (void)o;
    table_close(t);
}

static enum result no_reopening(struct table_owner *o, uint64_t number, struct env_file **out)
{
    (void)o, (void)number;
    *out = NULL;
    return RES_UNSUPPORTED;
}

static int dump_blocks(struct table *t, const char *path)
{
    uint8_t key[ENGINE_KEY_MAX];
    for (uint32_t i = 0; i < t->fences.count; i++) {
        struct block *b;
        enum result r = table_read_block(t, i, 0, &b);
        if (r != RES_OK)
            return complain("%s: block %" PRIu32 " at offset %" PRIu64 " does not hold: %s", path, i,
                            table_block_offset(t, i), result_text(r));
        printf("%" PRIu64 ": block %" PRIu32 ", %u records, %zu bytes on disk, %" PRIu32 " in memory\n",
               table_block_offset(t, i), i, b->count, table_block_span(t, i), b->image_len);
        memcpy(key, b->image + b->prefix_at, b->prefix_len);
        for (uint32_t n = 0; n < b->count; n++) {
            struct block_record record;
            block_record_at(b, n, &record);
            memcpy(key + b->prefix_len, record.rest.data, record.rest.len);
            fputs("  ", stdout);
            dump_record(record.kind, slice_of(key, b->prefix_len + record.rest.len), record.value);
        }
        block_unref(b);
    }
    return KVCTL_DONE;
}

static int dump_table(const char *path, uint64_t number)
{
    struct table_owner owner = {.gone = gone, .open = no_reopening};
    struct errmsg msg = {""};
    struct env_file *file;
    struct table *t = NULL;
    struct cache *cache = cache_new((uint64_t)16 << 20);
    if (!cache)
        return complain("out of memory");
    enum result r = env_posix()->ops->open(env_posix(), path, ENV_READ, &file);
    if (r != RES_OK)
        (void)errmsg_set(&msg, r, "%s: %s", path, result_text(r));
    else
        r = table_open(file, path, number, 0, cache, &owner, &t, &msg);
    int status = r == RES_OK ? KVCTL_DONE : complain("%s", msg.text);
    if (status == KVCTL_DONE) {
        const char *packing = t->meta.packing == ENGINE_PACK_LZ4    ? ", compressed by LZ4"
                              : t->meta.packing == ENGINE_PACK_ZSTD ? ", compressed by Zstandard"
                                                                    : "";
        printf("table %06" PRIu64 " region %c, %" PRIu64 " records, %" PRIu64 " tombstones, %" PRIu64
               " bytes of keys, %" PRIu64 " of values, boundary %" PRIu64 "%s\n  first ",
               number, t->meta.region ? t->meta.region : '*', t->meta.records, t->meta.tombstones, t->meta.key_bytes,
               t->meta.value_bytes, t->meta.boundary, packing);
        dump_bytes(t->meta.first, SIZE_MAX);
        fputs("\n  last ", stdout);
        dump_bytes(t->meta.last, SIZE_MAX);
        putchar('\n');
        status = dump_blocks(t, path);
        table_unref(t);
    }
    cache_free(cache);
    return status;
}

/* ---- manifests ---- */

static int dump_manifest(const char *path, uint64_t number)
{
    struct manifest_state s;
    struct errmsg msg = {""};
    uint8_t *bytes;
    size_t len, good = 0;
    enum result r = env_read_file(env_posix(), path, (size_t)1 << 30, &bytes, &len);
    if (r != RES_OK)
        return complain("%s: %s", path, result_text(r));
    memset(&s, 0, sizeof s);
    r = manifest_parse(slice_of(bytes, len), path, number, &s, &good, &msg);
    free(bytes);
    if (r != RES_OK)
        return complain("%s", msg.text);
    printf("manifest %06" PRIu64 ": next number %" PRIu64 ", boundary %" PRIu64 ", %zu tables, %zu bytes of state\n",
           number, s.next_number, s.sequence, s.count, s.state.len);
    if (s.state.len >= 32)
        printf("  state: log %012" PRIu64 " holds the boundary, %" PRIu32 " counters\n", get_le64(s.state.data + 16),
               get_le32(s.state.data + 32));
    for (size_t i = 0; i < s.count; i++) {
        const struct manifest_table *t = &s.tables[i];
        printf("  table %06" PRIu64 " level %d run %" PRIu64 " region %c %" PRIu64 " bytes\n", t->number, t->level,
               t->run, t->region ? t->region : '*', t->size);
    }
    if (good < len)
        printf("%zu: the end, in the middle of a record\n", good);
    manifest_state_fini(&s);
    return KVCTL_DONE;
}

/* The number in "NNNNNN.sst", "MANIFEST-NNNNNN". */
static bool is_named(const char *name, const char *before, const char *behind, uint64_t *number)
{
    size_t len = strlen(before);
    char *end;
    if (strncmp(name, before, len) != 0 || name[len] < '0' || name[len] > '9')
        return false;
    *number = strtoull(name + len, &end, 10);
    return strcmp(end, behind) == 0;
}

int run_dump(struct kvctl *k)
{
    const char *path = k->argv[0], *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    uint64_t number;
    log_set_level(LOG_NOTHING); /* what does not hold is said once, here */
    if (is_named(name, "", ".sst", &number))
        return dump_table(path, number);
    if (is_named(name, "", ".log", &number))
        return dump_log(path, number);
    if (is_named(name, "MANIFEST-", "", &number))
        return dump_manifest(path, number);
    if (is_named(name, "", ".dat", &number))
        return dump_data(path, number);
    if (is_named(name, "", ".hint", &number))
        return dump_hints(path, number);
    if (strcmp(name, "FILES") == 0)
        return dump_files(path);
    if (strcmp(name, "data.mdb") == 0)
        return dump_tree(path);
    return complain(
        "%s: the name is that of no table (NNNNNN.sst), log (NNNNNNNNNNNN.log), manifest (MANIFEST-NNNNNN), "
        "data or hint file (NNNNNN.dat, NNNNNN.hint), list of those (FILES) or tree (data.mdb)",
        path);
}
