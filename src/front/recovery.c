/* Recovery: from what the engine has, through the log, to the newest commit.
 *
 *  1. The engine's state names the log that holds its boundary. Each log's START names its predecessor, so the logs to
 *     read are a chain, followed backward from the newest begun log to the one the engine names. Logs outside the chain
 *     were never begun or were cut off by an earlier recovery.
 *  2. Each log of the chain is synced before it is read: what recovery builds on must not be only in the page cache.
 *  3. Records are read in order. A predecessor ends where its successor says, with the checksum it says.
 *  4. What does not hold up is damage if any valid record behind it, in its file or a later one, says that the sequence
 *     due there was durable; else it is the torn tail of a crash, and it and all behind it is cut.
 *  5. Strict: damage refuses. Point in time: the prefix before it is kept. Salvage: reading goes on at the next record
 *     that is whole.
 *  6. Sequences are never used twice: after anything but an orderly close numbering goes on at the next multiple of
 *     2^32, above all that may have been given and lost.
 *
 * Batches go into the memtable; when it is full, and when a private table comes, it goes to the engine at once. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/log.h"
#include "front/internal.h"
#include "front/log_reader.h"

#define GIVEN_AND_LOST 0xffffffffu

struct log_file {
    uint64_t number;
    bool begun, chained, damaged;
    struct log_header header; /* of START */
    struct log_start start;
};

struct recovery {
    struct front *f;
    struct errmsg *msg;
    struct recovered *out;
    struct log_file *files; /* ascending */
    size_t count, room;
    size_t *chain; /* indexes into files, oldest first */
    size_t chain_len;
    uint64_t boundary, needed, attached;
    uint64_t last;    /* last sequence read */
    uint64_t applied; /* last sequence in memtable or engine */
    size_t at;        /* chain position being read */
    bool clean;
    bool no_memory;
    uint32_t last_checksum;
    uint64_t end;
    uint64_t noticed; /* bytes replayed at the last progress line */
};

static enum result file_path(const struct front *f, uint64_t number, char path[512])
{
    int n = snprintf(path, 512, "%s/%012" PRIu64 ".log", f->wal_dir, number);
    return n > 0 && n < 512 ? RES_OK : RES_INVALID;
}

/* ---- which logs ---- */

static void note_file(void *arg, const char *name)
{
    struct recovery *r = arg;
    uint64_t number = 0;
    int used = 0;
    if (sscanf(name, "%12" SCNu64 ".log%n", &number, &used) != 1 || used != 16 || name[16] != 0)
        return;
    if (r->count == r->room) {
        size_t room = r->room ? 2 * r->room : 16;
        struct log_file *more = realloc(r->files, room * sizeof(*more));
        if (!more) {
            r->no_memory = true;
            return;
        }
        r->files = more;
        r->room = room;
    }
    r->files[r->count++] = (struct log_file){.number = number};
}

static int by_number(const void *a, const void *b)
{
    const struct log_file *x = a, *y = b;
    return (x->number > y->number) - (x->number < y->number);
}

static enum result list_files(struct recovery *r)
{
    struct front *f = r->f;
    enum result res = f->o.env->ops->list(f->o.env, f->wal_dir, note_file, r);
    if (res == RES_OK && r->no_memory)
        res = RES_NO_MEMORY;
    if (res != RES_OK)
        return errmsg_set(r->msg, res, "cannot list %s: %s", f->wal_dir, result_text(res));
    if (r->count)
        qsort(r->files, r->count, sizeof(*r->files), by_number);
    for (size_t i = 0; i < r->count; i++) {
        char path[512];
        struct log_file *l = &r->files[i];
        res = file_path(f, l->number, path);
        if (res == RES_OK)
            res = log_peek(f->o.env, path, l->number, &l->header, &l->start);
        if (res != RES_OK && res != RES_NOT_FOUND)
            return errmsg_set(r->msg, res, "cannot read %s: %s", path, result_text(res));
        l->begun = res == RES_OK;
    }
    return RES_OK;
}

static struct log_file *find_file(struct recovery *r, uint64_t number)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->files[i].number == number)
            return &r->files[i];
    return NULL;
}

static const char advice[] = "check the directory with kvctl check, salvage it with kvctl repair; recovery mode "
                             "point-in-time keeps what is before "
                             "the damage, salvage also what can be read behind it";

/* A data directory always has a begun log: its first is written before its identity. */
static enum result lost_all(struct recovery *r)
{
    r->out->damaged = true;
    if (r->f->o.recovery == FRONT_RECOVER_STRICT)
        return errmsg_set(r->msg, RES_CORRUPT, "%s has no log that can be read: %s", r->f->wal_dir, advice);
    log_warning("%s has no log that can be read", r->f->wal_dir);
    return RES_OK;
}

/* Follows the chain from the newest begun log back to the one that is needed. */
static enum result find_chain(struct recovery *r)
{
    r->chain = calloc(r->count + 1, sizeof(*r->chain));
    if (!r->chain)
        return errmsg_set(r->msg, RES_NO_MEMORY, "no memory for the list of logs");
    size_t newest = r->count;
    while (newest > 0 && !r->files[newest - 1].begun)
        newest--;
    struct log_file *l = newest ? &r->files[newest - 1] : NULL;
    uint64_t missing = l ? 0 : r->needed;
    size_t n = 0;
    while (l && l->number >= r->needed) {
        if (!log_format_known(l->start.format))
            return errmsg_set(r->msg, RES_UNSUPPORTED,
                              "log %012" PRIu64 " in %s has format version %u, not %d to %d: use the program "
                              "that wrote it",
                              l->number, r->f->wal_dir, l->start.format, LOG_FORMAT_OLDEST, LOG_FORMAT_VERSION);
        if (memcmp(l->start.uuid, r->f->identity.uuid, 16) != 0)
            return errmsg_set(r->msg, RES_CORRUPT,
                              "log %012" PRIu64 " in %s belongs to another data directory: remove it", l->number,
                              r->f->wal_dir);
        r->chain[n++] = (size_t)(l - r->files);
        l->chained = true;
        uint64_t before = l->start.before;
        if (l->number == r->needed || before == 0 || before < r->needed)
            break;
        l = find_file(r, before);
        if (!l || !l->begun || l->chained)
            missing = before;
        if (missing)
            break;
    }
    r->chain_len = n;
    for (size_t i = 0; i < n / 2; i++) {
        size_t swap = r->chain[i];
        r->chain[i] = r->chain[n - 1 - i];
        r->chain[n - 1 - i] = swap;
    }
    if (!missing && n == 0)
        return lost_all(r);
    if (!missing && r->needed && (n == 0 || r->files[r->chain[0]].number != r->needed))
        missing = r->needed;
    if (missing && r->f->o.recovery == FRONT_RECOVER_STRICT)
        return errmsg_set(r->msg, RES_CORRUPT, "log %012" PRIu64 " is missing in %s or its beginning is damaged: %s",
                          missing, r->f->wal_dir, advice);
    if (missing) {
        log_warning("log %012" PRIu64 " is missing in %s or its beginning is damaged", missing, r->f->wal_dir);
        r->out->damaged = true;
        if (r->f->o.recovery == FRONT_RECOVER_POINT_IN_TIME) /* nothing before it is left to read */
            for (r->chain_len = 0; n > 0; n--)
                r->files[r->chain[n - 1]].damaged = true;
    }
    return RES_OK;
}

static enum result sync_file(struct recovery *r, const char *path)
{
    struct env *env = r->f->o.env;
    struct env_file *file = NULL;
    enum result res = env->ops->open(env, path, ENV_READ | ENV_WRITE, &file);
    if (res == RES_OK) {
        res = file->ops->sync(file);
        enum result closed = file->ops->close(file);
        res = res == RES_OK ? closed : res;
    }
    if (res != RES_OK)
        return errmsg_set(r->msg, res, "cannot sync %s: %s", path, result_text(res));
    return RES_OK;
}

/* ---- applying ---- */

static enum result engine_failed(struct recovery *r, enum result res)
{
    return errmsg_set(r->msg, res, "writing replayed commits to %s failed: %s", r->f->dir, result_text(res));
}

static enum result boundary_for(struct recovery *r, uint64_t sequence, uint64_t attached, uint8_t **state,
                                struct engine_boundary *b)
{
    struct front *f = r->f;
    uint8_t *counts = malloc(counters_bytes(&f->counters));
    *state = malloc(FRONT_STATE_HEAD + counters_bytes(&f->counters));
    if (!counts || !*state) {
        free(counts);
        free(*state);
        *state = NULL;
        return RES_NO_MEMORY;
    }
    size_t n = counters_put(&f->counters, counts);
    size_t at = r->at < r->chain_len ? r->at : r->chain_len - 1;
    uint64_t log = r->chain_len ? r->files[r->chain[at]].number : 0;
    size_t len = front_state_put(f, *state, sequence, log, attached, slice_of(counts, n));
    *b = (struct engine_boundary){sequence, slice_of(*state, len)};
    free(counts);
    return RES_OK;
}

/* The memtable to the engine, with all up to the last sequence applied. */
static enum result flush_replayed(struct recovery *r)
{
    struct front *f = r->f;
    uint8_t *state = NULL;
    struct engine_boundary b;
    struct iter *run = NULL;
    if (r->applied <= r->boundary)
        return RES_OK;
    enum result res = boundary_for(r, r->applied, 0, &state, &b);
    if (res == RES_OK && !memtable_empty(f->active)) {
        res = memtable_order(f->active);
        if (res == RES_OK)
            res = memtable_iter(f->active, UINT64_MAX, slice_of(NULL, 0), slice_of(NULL, 0), ITER_TOMBSTONES, &run);
    }
    if (res == RES_OK)
        res = f->ops->absorb(f->engine, run, &b);
    iter_close(run);
    free(state);
    if (res != RES_OK)
        return engine_failed(r, res);
    memtable_reset(f->active);
    r->boundary = r->applied;
    r->attached = 0;
    return RES_OK;
}

/* A private table that no engine has yet takes its place above all that came before it. */
static enum result replay_table(struct recovery *r, const struct log_batch *b, uint64_t sequence)
{
    struct front *f = r->f;
    struct engine_table *table = NULL;
    uint8_t *state = NULL;
    struct engine_boundary boundary;
    enum result res = flush_replayed(r);
    if (res != RES_OK)
        return res;
    res = f->ops->table_open(f->engine, b->table, &table);
    if ((res == RES_NOT_FOUND || res == RES_CORRUPT) && f->o.recovery == FRONT_RECOVER_SALVAGE) {
        log_warning("table %" PRIu64 ", which sequence %" PRIu64
                    " of the log names, cannot be opened in %s and is left out",
                    b->table, sequence, f->dir);
        r->out->damaged = true;
        return RES_OK;
    }
    if (res != RES_OK)
        return errmsg_set(r->msg, res == RES_NOT_FOUND ? RES_CORRUPT : res,
                          "table %" PRIu64 ", which sequence %" PRIu64
                          " of the log names, cannot be opened in %s: %s; %s",
                          b->table, sequence, f->dir, result_text(res), advice);
    res = boundary_for(r, r->applied, b->table, &state, &boundary);
    if (res == RES_OK)
        res = f->ops->attach(f->engine, table, &boundary);
    free(state);
    f->ops->table_release(table); /* never aborted: the log names it, and the next start will need it */
    if (res != RES_OK)
        return engine_failed(r, res);
    r->attached = b->table;
    return RES_OK;
}

enum result front_insert(struct front *f, struct log_batch *b, uint64_t sequence)
{
    struct batch_counter change;
    for (uint64_t i = 0; i < b->counters; i++) {
        log_counter_take(b, &change);
        struct batch one = {.counters = &change, .counter_count = 1};
        enum result res = counters_reserve(&f->counters, &one, UINT64_MAX);
        if (res != RES_OK)
            return res;
        counters_apply(&f->counters, &change, 1, sequence);
    }
    struct batch_record record;
    for (uint64_t i = 0; i < b->records; i++) {
        log_record_take(b, &record);
        record.key.hash = engine_hash(record.key.bytes);
        memtable_insert(f->active, &record.key, record.kind, record.value, sequence);
    }
    return RES_OK;
}

static uint64_t memory_for(const struct log_batch *b) { return b->record_bytes.len + b->records * memtable_need(0, 0); }

static enum result replay_batch(struct recovery *r, struct log_batch *b, uint64_t sequence)
{
    struct front *f = r->f;
    enum result res = RES_OK;
    if (b->table && b->table != r->attached)
        res = replay_table(r, b, sequence);
    else if (memtable_full(f->active) || !memtable_fits(f->active, memory_for(b)))
        res = flush_replayed(r);
    if (res != RES_OK)
        return res;
    if (!memtable_fits(f->active, memory_for(b)))
        return RES_INVALID; /* no commit is that large */
    res = front_insert(f, b, sequence);
    r->applied = sequence;
    f->recovered_commits++;
    return res;
}

#define AHEAD 16 /* batches */

/* Fetches what inserting the next batches will touch: one memory access waits for the other otherwise, for each key. */
static void prefetch_batches(const struct memtable *m, const struct log_basis *basis, struct slice batches,
                             uint32_t count)
{
    struct log_batch b;
    struct batch_record record;
    uint64_t hashes[AHEAD];
    uint32_t n = 0;
    for (uint32_t i = 0; i < count && n < AHEAD && log_batch_take(&batches, basis, &b); i++) {
        if (b.records == 0)
            continue;
        log_record_take(&b, &record);
        hashes[n] = engine_hash(record.key.bytes);
        memtable_prefetch(m, hashes[n++]);
    }
    for (uint32_t i = 0; i < n; i++)
        (void)memtable_prefetch_node(m, hashes[i]);
}

/* RES_INVALID: its batches do not hold up. They are all checked before the first is applied. */
static enum result replay_group(struct recovery *r, const struct log_basis *basis, const struct log_header *h,
                                struct slice payload)
{
    struct log_batch b;
    struct slice rest = payload;
    for (uint32_t i = 0; i < h->batches; i++)
        if (!log_batch_take(&rest, basis, &b))
            return RES_INVALID;
    if (rest.len != 0)
        return RES_INVALID;
    r->f->recovered_bytes += payload.len;
    for (uint32_t i = 0; i < h->batches; i++) {
        if (i % AHEAD == 0)
            prefetch_batches(r->f->active, basis, payload, h->batches - i);
        if (!log_batch_take(&payload, basis, &b))
            return RES_INVALID;
        enum result res = h->first + i > r->boundary ? replay_batch(r, &b, h->first + i) : RES_OK;
        if (res != RES_OK)
            return res;
    }
    if (r->f->recovered_bytes - r->noticed > (uint64_t)256 << 20) {
        r->noticed = r->f->recovered_bytes;
        log_notice("replaying the log: %" PRIu64 " MB, %" PRIu64 " commits so far", r->noticed >> 20,
                   r->f->recovered_commits);
    }
    return RES_OK;
}

/* ---- reading ---- */

#define UNBEGUN_LOOK ((uint64_t)4 << 20)

/* Does this file know that the sequence was durable? One that was begun is looked at whole. Of one whose START does not
 * hold up, most likely because it was only prepared, the beginning has to do: records stand there side by side from the
 * START on, so if it was begun, one is found unless all of that is damaged; and nobody waits at every start for files without
 * content to be read. */
static enum result file_says_durable(struct recovery *r, const struct log_file *l, uint64_t sequence, bool *found)
{
    char path[512];
    struct log_reader reader;
    enum result res = file_path(r->f, l->number, path);
    if (res == RES_OK)
        res = log_reader_open_any(&reader, r->f->o.env, path, l->number);
    if (res != RES_OK)
        return res;
    *found = log_reader_says_durable(&reader, 0, l->begun ? UINT64_MAX : UNBEGUN_LOOK, sequence);
    res = reader.failed;
    log_reader_close(&reader);
    return res;
}

/* Does anything at or behind the reader's place know that this sequence was durable? Later files are asked whether or
 * not they were begun: a START may be what is damaged. */
static enum result was_durable(struct recovery *r, struct log_reader *reader, uint64_t sequence, bool *found)
{
    *found = log_reader_says_durable(reader, reader->offset, UINT64_MAX, sequence);
    enum result res = reader->failed;
    for (size_t i = 0; i < r->count && !*found && res == RES_OK; i++)
        if (r->files[i].number > reader->basis.number && (r->files[i].chained || !r->files[i].begun))
            res = file_says_durable(r, &r->files[i], sequence, found);
    return res;
}

static enum result cannot_read(struct recovery *r, const char *path, enum result why)
{
    return errmsg_set(r->msg, why, "cannot read %s: %s", path, result_text(why));
}

/* From here on nothing counts: logs behind this one leave the chain. */
static void cut_here(struct recovery *r)
{
    for (size_t i = r->at + 1; i < r->chain_len; i++)
        r->files[r->chain[i]].chained = false;
    r->chain_len = r->at + 1;
}

/* RES_OK: reading ends here; RES_RETRY: it goes on. */
static enum result handle_damage(struct recovery *r, struct log_reader *reader, const char *path, const char *what)
{
    if (r->f->o.recovery == FRONT_RECOVER_STRICT)
        return errmsg_set(r->msg, RES_CORRUPT,
                          "%s is damaged at offset %" PRIu64 " (%s; sequence %" PRIu64 " was durable): %s", path,
                          reader->offset, what, r->last + 1, advice);
    log_warning("%s is damaged at offset %" PRIu64 " (%s)", path, reader->offset, what);
    r->files[r->chain[r->at]].damaged = true;
    r->out->damaged = true;
    if (r->f->o.recovery == FRONT_RECOVER_POINT_IN_TIME) {
        cut_here(r);
        return RES_OK;
    }
    reader->offset += 8;
    return log_reader_skip(reader) ? RES_RETRY : RES_OK;
}

/* The engine has the private table of the commit behind its boundary, and the log has not given the rest of it. It was
 * attached when the log was durable so far. */
static bool has_half(const struct recovery *r) { return r->attached != 0 && r->applied <= r->boundary; }

/* At the offset of the reader lies no record that can follow. The same results. */
static enum result handle_bad(struct recovery *r, struct log_reader *reader, const char *path, const char *what)
{
    bool durable = has_half(r);
    enum result res = reader->failed;
    if (res == RES_OK && !durable)
        res = was_durable(r, reader, r->last + 1, &durable);
    if (res != RES_OK)
        return cannot_read(r, path, res);
    if (durable)
        return handle_damage(r, reader, path, what);
    uint64_t torn = log_reader_torn(reader);
    r->f->torn_bytes += torn;
    if (torn || r->at + 1 < r->chain_len)
        log_notice("the tail of %s, from offset %" PRIu64 ", was being written when the server stopped, and was cut",
                   path, reader->offset);
    cut_here(r);
    return RES_OK;
}

/* One record. RES_OK and *end: reading of this file is over. */
static enum result read_record(struct recovery *r, struct log_reader *reader, const char *path, bool *end)
{
    struct log_header h;
    struct slice payload;
    const char *what = "no valid record";
    uint64_t offset = reader->offset;
    bool salvage = r->out->damaged && r->f->o.recovery == FRONT_RECOVER_SALVAGE;
    *end = false;
    if (log_reader_next(reader, r->boundary, &h, &payload) == LOG_STEP_RECORD) {
        uint64_t first = h.type == LOG_GROUP ? h.first : h.first + 1;
        if (first == r->last + 1 || (salvage && first > r->last)) {
            bool known = h.type != LOG_GROUP || h.first + h.batches - 1 <= r->boundary;
            enum result res = known ? RES_OK : replay_group(r, &reader->basis, &h, payload);
            if (res == RES_INVALID)
                return errmsg_set(r->msg, RES_CORRUPT,
                                  "the record at offset %" PRIu64 " of %s has a right checksum and cannot "
                                  "be understood: it was written by another program",
                                  offset, path);
            if (res != RES_OK)
                return res;
            r->last = h.type == LOG_GROUP ? h.first + h.batches - 1 : h.first;
            r->clean = h.type == LOG_NOTE && (h.flags & LOG_CLEAN);
            r->last_checksum = h.checksum;
            r->end = reader->offset;
            return RES_OK;
        }
        what = "a sequence is missing";
        reader->offset = offset;
    }
    enum result res = handle_bad(r, reader, path, what);
    *end = res == RES_OK;
    return res == RES_RETRY ? RES_OK : res;
}

static enum result replay_file(struct recovery *r)
{
    char path[512];
    struct log_reader reader;
    struct log_file *l = &r->files[r->chain[r->at]];
    enum result res = file_path(r->f, l->number, path);
    if (res == RES_OK)
        res = sync_file(r, path);
    if (res != RES_OK)
        return res;
    res = log_reader_open(&reader, r->f->o.env, path, l->number);
    if (res != RES_OK)
        return cannot_read(r, path, res == RES_NOT_FOUND ? RES_CORRUPT : res);
    if (r->at == 0)
        r->last = l->header.first;
    else if (l->header.first > r->last)
        r->last = l->header.first; /* an earlier recovery left a gap */
    r->last_checksum = l->header.checksum;
    r->end = reader.offset;
    r->clean = false;
    bool end = false;
    while (res == RES_OK && !end) {
        bool last = r->at + 1 == r->chain_len;
        const struct log_start *next = last ? NULL : &r->files[r->chain[r->at + 1]].start;
        if (next && reader.offset == next->before_end) {
            if (next->before_checksum != r->last_checksum)
                res = handle_damage(r, &reader, path, "its last record is not the one that its successor knows");
            res = res == RES_RETRY ? RES_OK : res;
            break;
        }
        if (last && r->clean)
            break;
        res = read_record(r, &reader, path, &end);
    }
    if (res == RES_OK && reader.failed != RES_OK)
        res = cannot_read(r, path, reader.failed);
    log_reader_close(&reader);
    return res;
}

static enum result parse_state(struct recovery *r, uint64_t boundary, struct slice state)
{
    r->boundary = r->applied = boundary;
    if (state.len == 0 && boundary == 0)
        return RES_OK;
    if (state.len < FRONT_STATE_HEAD || get_le32(state.data) != 1 || get_le64(state.data + 8) != boundary)
        return errmsg_set(r->msg, RES_CORRUPT, "the state that the engine in %s keeps cannot be understood", r->f->dir);
    r->needed = get_le64(state.data + 16);
    r->attached = get_le64(state.data + 24);
    enum result res =
        counters_load(&r->f->counters, slice_of(state.data + FRONT_STATE_HEAD, state.len - FRONT_STATE_HEAD));
    if (res != RES_OK)
        return errmsg_set(r->msg, res, "the counters that the engine in %s keeps cannot be read: %s", r->f->dir,
                          result_text(res));
    return RES_OK;
}

/* No state between two commits can be had when the log ends before the commit that the engine has a part of. */
static enum result check_whole(struct recovery *r)
{
    if (!has_half(r))
        return RES_OK;
    if (r->f->o.recovery != FRONT_RECOVER_SALVAGE)
        return errmsg_set(r->msg, RES_CORRUPT,
                          "the log in %s no longer has all of the commit with sequence %" PRIu64
                          ", of which the engine has a part: %s",
                          r->f->wal_dir, r->boundary + 1, advice);
    log_warning("of the commit with sequence %" PRIu64 " only a part could be read", r->boundary + 1);
    return RES_OK;
}

/* Files that were only prepared go before the new log takes room: on a small disk there may be none beside them. What is
 * not removed now is discarded later. */
static bool remove_spare(const struct recovery *r, const struct log_file *l)
{
    char path[512];
    return !l->begun && !r->out->damaged && file_path(r->f, l->number, path) == RES_OK &&
           r->f->o.env->ops->unlink(r->f->o.env, path) == RES_OK;
}

/* What the new log begins with, and what becomes of the old ones. */
static enum result conclude(struct recovery *r)
{
    struct recovered *out = r->out;
    uint64_t last = r->last > r->applied ? r->last : r->applied;
    out->number = (r->count ? r->files[r->count - 1].number : 0) + 1;
    if (out->number <= r->needed)
        out->number = r->needed + 1;
    out->base = r->clean || (r->chain_len == 0 && last == 0) ? last : last | GIVEN_AND_LOST;
    if (r->chain_len) {
        out->before.before = r->files[r->chain[r->chain_len - 1]].number;
        out->before.before_end = r->end;
        out->before.before_checksum = r->last_checksum;
    }
    out->files = calloc(r->count + 1, sizeof(*out->files));
    if (!out->files)
        return errmsg_set(r->msg, RES_NO_MEMORY, "no memory for the list of logs");
    for (size_t i = 0; i < r->count; i++)
        if (!remove_spare(r, &r->files[i]))
            out->files[out->file_count++] = (struct recovered_file){r->files[i].number, r->files[i].header.first,
                                                                    r->files[i].chained, r->files[i].damaged};
    return RES_OK;
}

enum result front_recover(struct front *f, bool fresh, uint64_t boundary, struct slice state, struct recovered *out,
                          struct errmsg *msg)
{
    struct recovery r = {.f = f, .msg = msg, .out = out};
    uint64_t started = f->o.env->ops->mono_ns(f->o.env);
    enum result res = parse_state(&r, boundary, state);
    if (res == RES_OK)
        res = list_files(&r);
    if (res == RES_OK && !fresh) /* a fresh one may hold what an interrupted making left: nothing of it counts */
        res = find_chain(&r);
    for (; res == RES_OK && r.at < r.chain_len; r.at++)
        res = replay_file(&r);
    if (res == RES_OK)
        res = check_whole(&r);
    if (res == RES_OK && out->damaged) /* what was left out must not be met again: see front_forget_logs */
        res = flush_replayed(&r);
    if (res == RES_OK)
        res = conclude(&r);
    f->recovery_ms = (f->o.env->ops->mono_ns(f->o.env) - started) / 1000000;
    f->attached = r.attached;
    if (res == RES_OK && f->recovered_commits)
        log_notice("replayed %" PRIu64 " commits, %" PRIu64 " bytes of log, in %" PRIu64 " ms", f->recovered_commits,
                   f->recovered_bytes, f->recovery_ms);
    free(r.files);
    free(r.chain);
    return res;
}
