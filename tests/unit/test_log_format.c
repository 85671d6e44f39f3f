/* The log's two formats. What must hold:
 *   1. A header says again what it was given, at its place alone; what does not fit says less, never something else.
 *   2. A log of format 1 is replayed, and its damage is told, as in a log of today; a log of today may follow it.
 *   3. A file whose START is damaged still knows what was durable, whatever its format is. */
#include "base/bytes.h"
#include "base/log.h"
#include "front/front.h"
#include "front/log_reader.h"
#include "os/env_memory.h"
#include "tests/lib/front_model.h"
#include "tests/lib/tap.h"

#define LOG "/data/wal/000000000001.log"
#define SEGMENT 16384

/* ---- 1 ---- */

static bool same(const struct log_header *a, const struct log_header *b)
{
    return a->checksum == b->checksum && a->payload_checksum == b->payload_checksum && a->length == b->length &&
           a->bytes == b->bytes && a->type == b->type && a->flags == b->flags && a->number == b->number &&
           a->first == b->first && a->batches == b->batches && a->durable == b->durable;
}

static void a_header_comes_back_as_it_was(void)
{
    static const uint64_t firsts[] = {1, 7, 0xfffffffe, 0xffffffff, 0x100000000, 0x1000000000001, UINT64_MAX - 5};
    static const uint64_t lags[] = {0, 1, 77, 0xffff, 0xfffffe};
    uint8_t p[LOG_START_HEADER_BYTES];
    for (uint32_t format = 1; format <= LOG_FORMAT_VERSION; format++)
        for (size_t i = 0; i < sizeof(firsts) / sizeof(*firsts); i++)
            for (size_t k = 0; k < sizeof(lags) / sizeof(*lags); k++)
                for (int note = 0; note < 2; note++) {
                    uint64_t last = firsts[i] - !note;
                    if (lags[k] > last)
                        continue;
                    struct log_header got, h = {.length = note ? 0 : 5,
                                                .type = note ? LOG_NOTE : LOG_GROUP,
                                                .flags = note ? LOG_CLEAN : 0,
                                                .number = 0x100000003,
                                                .first = firsts[i],
                                                .batches = note ? 0 : LOG_GROUP_BATCHES,
                                                .durable = last - lags[k]};
                    struct log_basis b = {.number = h.number, .format = format, .base = firsts[i] - firsts[i] % 1000};
                    log_header_put(p, format, &h, 4096, "bytes");
                    tap_eq_u64(h.bytes, format == 1 ? 64 : 22);
                    tap_check(log_header_may_be(p, &b) && log_header_get(p, &b, 4096, &got) && same(&h, &got));
                    tap_check(log_payload_ok(&got, 4096, slice_of("bytes", h.length)));
                    tap_check(h.length == 0 || !log_payload_ok(&got, 4096, slice_str("Bytes")));
                    tap_check(!log_header_get(p, &b, 4104, &got));
                    b.number++;
                    tap_check(!log_header_get(p, &b, 4096, &got));
                    b.number -= 1 + ((uint64_t)1 << 32); /* the same low half */
                    tap_check(!log_header_get(p, &b, 4096, &got));
                    b.number = h.number;
                    for (unsigned bit = 0; bit < 8 * h.bytes; bit++) {
                        p[bit / 8] ^= (uint8_t)(1u << bit % 8);
                        tap_check(!log_header_get(p, &b, 4096, &got));
                        p[bit / 8] ^= (uint8_t)(1u << bit % 8);
                    }
                }
}

static void a_mark_that_does_not_fit_says_nothing(void)
{
    uint8_t p[LOG_HEADER_BYTES];
    struct log_basis b = {.number = 3, .format = LOG_FORMAT_VERSION, .base = 1 << 30};
    for (uint64_t lag = 0xfffff0; lag < 0x1000010; lag++) {
        struct log_header got,
            h = {.type = LOG_GROUP, .number = 3, .first = (1 << 30) + 2, .batches = 1, .durable = (1 << 30) + 1 - lag};
        log_header_put(p, LOG_FORMAT_VERSION, &h, 8, "");
        tap_check(log_header_get(p, &b, 8, &got));
        tap_eq_u64(got.durable, lag < 0xffffff ? h.durable : 0);
    }
}

/* The sequence is told by its low part: whatever the base is, if it is not further off than a file can be. */
static void the_nearest_sequence_is_meant(void)
{
    static const int64_t off[] = {0, 1, -1, 1 << 20, -(1 << 20), ((int64_t)1 << 31) - 1, -((int64_t)1 << 31) + 1};
    uint8_t p[LOG_HEADER_BYTES];
    for (size_t i = 0; i < sizeof(off) / sizeof(*off); i++)
        for (unsigned at = 32; at < 63; at++) {
            struct log_header got, h = {.type = LOG_GROUP, .number = 3, .first = (uint64_t)1 << at, .batches = 1};
            struct log_basis b = {.number = 3, .format = LOG_FORMAT_VERSION, .base = h.first - (uint64_t)off[i]};
            log_header_put(p, LOG_FORMAT_VERSION, &h, 8, "");
            tap_check(log_header_get(p, &b, 8, &got));
            tap_eq_u64(got.first, h.first);
        }
}

/* What lies where a record could, of another log or at another place, is none: neither its header nor its payload. */
static void stale_bytes_are_no_record(void)
{
    uint8_t p[LOG_HEADER_BYTES];
    struct log_header got, h = {.length = 5, .type = LOG_GROUP, .first = 9, .batches = 1, .durable = 8};
    unsigned headers = 0, payloads = 0;
    for (uint64_t number = 1; number <= 1000; number++)
        for (uint64_t offset = 120; offset < 120 + 8 * 100; offset += 8) {
            struct log_basis b = {.number = 1001, .format = LOG_FORMAT_VERSION, .base = 8};
            h.number = number;
            log_header_put(p, LOG_FORMAT_VERSION, &h, offset, "bytes");
            headers += log_header_get(p, &b, offset, &got);
            payloads += log_payload_ok(&got, offset, slice_str("bytes"));
        }
    tap_check(headers == 0 && payloads == 0);
}

/* ---- a log of format 1, out of one of today ---- */

static uint8_t *put_batch_1(uint8_t *p, struct log_batch *b)
{
    uint8_t *start = p;
    p += 4;
    *p++ = (uint8_t)((b->counters ? 1 : 0) | (b->table ? 2 : 0));
    p += put_varint(p, b->now_ms);
    p += put_varint(p, b->records);
    if (b->counters) {
        p += put_varint(p, b->counters);
        memcpy(p, b->counter_bytes.data, b->counter_bytes.len);
        p += b->counter_bytes.len;
    }
    if (b->table)
        p += put_varint(p, b->table);
    for (uint64_t i = 0; i < b->records; i++) {
        struct batch_record r;
        log_record_take(b, &r);
        *p++ = r.kind;
        p += put_varint(p, r.key.bytes.len);
        p += put_varint(p, r.value.len);
        memcpy(p, r.key.bytes.data, r.key.bytes.len);
        p += r.key.bytes.len;
        if (r.value.len)
            memcpy(p, r.value.data, r.value.len);
        p += r.value.len;
    }
    put_le32(start, (uint32_t)(p - start - 4));
    return p;
}

struct log {
    struct env *env; /* not open */
    struct model model;
    uint64_t at[64]; /* of its records */
    size_t count;
};

static struct front_options options(struct env *env)
{
    return (struct front_options){.env = env,
                                  .engine = &engine_lsm,
                                  .dir = "/data",
                                  .create = true,
                                  .fsync = FRONT_FSYNC_ALWAYS,
                                  .memtable_bytes = 1 << 20,
                                  .log_segment_bytes = SEGMENT,
                                  .log_ring_bytes = 65536,
                                  .tuning = {.cache_bytes = 1 << 20}};
}

static void overwrite(struct env *env, const void *with, size_t len)
{
    struct env_file *file;
    tap_require(env->ops->open(env, LOG, ENV_READ | ENV_WRITE, &file) == RES_OK);
    tap_require(env_write(file, with, len, 0) == RES_OK);
    tap_require(file->ops->close(file) == RES_OK);
}

static void to_format_1(struct log *l)
{
    static uint8_t out[SEGMENT];
    struct log_reader r;
    struct log_header h;
    struct slice payload;
    memset(out, 0, sizeof(out));
    l->count = 0;
    tap_require(log_reader_open(&r, l->env, LOG, 1) == RES_OK && r.start.format == LOG_FORMAT_VERSION);
    h = r.start_header;
    r.start.format = 1;
    r.start.time_ms = 0;
    log_start_put(out + LOG_START_HEADER_BYTES, &r.start);
    log_header_put(out, 1, &h, 0, out + LOG_START_HEADER_BYTES);
    uint64_t at = log_record_bytes(&h);
    while (log_reader_next(&r, 0, &h, &payload) == LOG_STEP_RECORD) {
        uint8_t *bytes = out + at + LOG_START_HEADER_BYTES, *end = bytes;
        struct log_batch b;
        l->at[l->count++] = at;
        for (uint32_t i = 0; i < h.batches; i++) {
            tap_require(log_batch_take(&payload, &r.basis, &b) && b.now_ms > 0);
            end = put_batch_1(end, &b);
        }
        h.length = (uint32_t)(end - bytes);
        log_header_put(out + at, 1, &h, at, bytes);
        at += log_record_bytes(&h);
        tap_require(at <= sizeof(out));
    }
    log_reader_close(&r);
    overwrite(l->env, out, sizeof(out));
}

/* Ten commits, each a group. */
static struct log make_log(uint32_t format)
{
    struct log l = {0};
    struct model_state state = {0};
    struct env *env = env_memory_new(7, ENV_MEMORY_CRASH);
    struct front_options o = options(env);
    struct front *f;
    struct log_reader r;
    struct log_header h;
    struct slice payload;
    model_init(&l.model, 21, 60);
    tap_require(front_open(&o, &f, NULL) == RES_OK);
    for (int i = 0; i < 10; i++) {
        tap_require(model_commit(&l.model, f, &state, false) == RES_OK);
        tap_require(front_wait(f, front_visible(f)) == RES_OK);
    }
    l.env = env_memory_crash(env, ENV_MEMORY_NOW, 0);
    tap_require(front_close(f) == RES_OK);
    env_memory_free(env);
    if (format == 1) {
        to_format_1(&l);
    } else {
        tap_require(log_reader_open(&r, l.env, LOG, 1) == RES_OK);
        for (uint64_t at = r.offset; log_reader_next(&r, 0, &h, &payload) == LOG_STEP_RECORD; at = r.offset)
            l.at[l.count++] = at;
        log_reader_close(&r);
    }
    tap_eq_u64(l.count, 10);
    return l;
}

static void free_log(struct log *l)
{
    env_memory_free(l->env);
    model_fini(&l->model);
}

/* The commits found, or -1 when refused. */
static int64_t try_open(const struct log *l, struct env *env, enum front_recovery recovery, struct errmsg *msg)
{
    struct front_options o = options(env);
    struct front *f;
    o.recovery = recovery;
    if (front_open(&o, &f, msg) != RES_OK)
        return -1;
    struct front_view *v = front_view_ref(f);
    uint64_t n = model_marker(v, front_snapshot(v));
    char why[200] = "";
    if (recovery != FRONT_RECOVER_SALVAGE) {
        struct model_state s = model_state_at(&l->model, n);
        if (!tap_check(model_equal(f, v, front_snapshot(v), &s, why, sizeof(why))))
            tap_diag("%" PRIu64 " commits: %s", n, why);
    }
    front_view_unref(v);
    tap_check(front_close(f) == RES_OK);
    return (int64_t)n;
}

/* ---- 2 ---- */

static void an_old_log_is_replayed_and_followed(void)
{
    struct log l = make_log(1);
    struct errmsg msg;
    struct log_reader r;
    for (int i = 0; i < 3; i++) /* each start leaves one more behind */
        tap_eq_u64((uint64_t)try_open(&l, l.env, FRONT_RECOVER_STRICT, &msg), 10);
    tap_require(log_reader_open(&r, l.env, LOG, 1) == RES_OK);
    tap_eq_u64(r.start.format, 1);
    log_reader_close(&r);
    int followers = 0;
    for (uint64_t number = 2; number < 20; number++) {
        char path[64];
        snprintf(path, sizeof(path), "/data/wal/%012" PRIu64 ".log", number);
        if (log_reader_open(&r, l.env, path, number) != RES_OK)
            continue;
        tap_check(r.start.format == LOG_FORMAT_VERSION && r.start.before >= 1 && r.start.before_end > 0);
        followers += r.start.before == 1;
        log_reader_close(&r);
    }
    tap_eq_u64((uint64_t)followers, 1);
    free_log(&l);
}

static void damage_of_an_old_log_is_told(void)
{
    struct log l = make_log(1);
    struct errmsg msg;
    for (size_t group = 0; group < 10; group++)
        for (uint64_t in = 0; in < 2; in++) {
            struct env *env = env_memory_crash(l.env, ENV_MEMORY_NOW, 0);
            tap_require(env_memory_flip(env, LOG, l.at[group] + (in ? 70 : 20), 3) == RES_OK);
            struct env *other = env_memory_crash(env, ENV_MEMORY_NOW, 0);
            char offset[32];
            snprintf(offset, sizeof(offset), "offset %" PRIu64 " ", l.at[group]);
            int64_t got = try_open(&l, env, FRONT_RECOVER_STRICT, &msg);
            if (group == 9) { /* nothing says that the last was durable */
                tap_eq_u64((uint64_t)got, 9);
            } else {
                tap_check(got == -1 && strstr(msg.text, offset));
                tap_eq_u64((uint64_t)try_open(&l, env, FRONT_RECOVER_POINT_IN_TIME, &msg), group);
                tap_eq_u64((uint64_t)try_open(&l, other, FRONT_RECOVER_SALVAGE, &msg), 10);
            }
            env_memory_free(env);
            env_memory_free(other);
        }
    free_log(&l);
}

/* ---- 3 ---- */

static void a_file_without_its_start_knows_what_was_durable(void)
{
    for (uint32_t format = 1; format <= LOG_FORMAT_VERSION; format++) {
        struct log l = make_log(format);
        struct log_reader r;
        for (int damaged = 0; damaged < 2; damaged++) {
            if (damaged)
                tap_require(env_memory_flip(l.env, LOG, 30, 1) == RES_OK);
            tap_require(log_reader_open_any(&r, l.env, LOG, 1) == RES_OK);
            tap_eq_u64(r.basis.format, damaged ? 0 : format);
            tap_check(log_reader_says_durable(&r, 0, UINT64_MAX, 1) && log_reader_says_durable(&r, 0, UINT64_MAX, 9));
            tap_check(!log_reader_says_durable(&r, 0, UINT64_MAX, 10)); /* the last record says 9 */
            tap_check(!log_reader_says_durable(&r, 0, UINT64_MAX, ((uint64_t)1 << 31) - 100));
            tap_check(!log_reader_says_durable(&r, l.at[3] + 8, l.at[4], 1));
            tap_check(log_reader_says_durable(&r, l.at[3], l.at[4], 3));
            r.offset = l.at[4] + 1;
            tap_check(log_reader_skip(&r) && r.offset == l.at[5]);
            log_reader_close(&r);
            tap_check(log_reader_open(&r, l.env, LOG, 1) == (damaged ? RES_NOT_FOUND : RES_OK));
            log_reader_close(&r);
        }
        free_log(&l);
    }
}

static void an_unknown_format_is_told(void)
{
    struct log l = make_log(LOG_FORMAT_VERSION);
    struct log_reader r;
    uint8_t bytes[LOG_START_RECORD];
    tap_require(log_reader_open(&r, l.env, LOG, 1) == RES_OK);
    struct log_header h = r.start_header, got;
    struct log_start s = r.start, again;
    log_reader_close(&r);
    s.format = LOG_FORMAT_VERSION + 1;
    log_start_put(bytes + LOG_START_HEADER_BYTES, &s);
    log_header_put(bytes, s.format, &h, 0, bytes + LOG_START_HEADER_BYTES);
    overwrite(l.env, bytes, sizeof(bytes));
    tap_check(log_reader_open(&r, l.env, LOG, 1) == RES_UNSUPPORTED && r.start.format == LOG_FORMAT_VERSION + 1);
    tap_check(log_peek(l.env, LOG, 1, &got, &again) == RES_OK && again.format == s.format);
    free_log(&l);
}

/* However long a file is and whatever is in it: AddressSanitizer sees to it that nothing behind it is looked at. */
static void no_byte_behind_the_file_is_read(void)
{
    for (uint32_t format = 0; format <= LOG_FORMAT_VERSION; format++)
        for (size_t len = 1; len < 300; len++)
            for (int fill = 0; fill <= LOG_NOTE; fill++) {
                struct log_reader r = {
                    .basis = {.number = 1, .format = format}, .len = len, .held = len, .data = malloc(len)};
                tap_require(r.data != NULL);
                memset(r.data, fill, len);
                tap_check(!log_reader_says_durable(&r, 0, UINT64_MAX, 1));
                r.offset = 1;
                tap_check(!log_reader_skip(&r));
                log_reader_close(&r);
            }
}

int main(void)
{
    log_set_level(LOG_NOTHING);
    tap_test(a_header_comes_back_as_it_was);
    tap_test(a_mark_that_does_not_fit_says_nothing);
    tap_test(the_nearest_sequence_is_meant);
    tap_test(stale_bytes_are_no_record);
    tap_test(an_old_log_is_replayed_and_followed);
    tap_test(damage_of_an_old_log_is_told);
    tap_test(a_file_without_its_start_knows_what_was_durable);
    tap_test(no_byte_behind_the_file_is_read);
    tap_test(an_unknown_format_is_told);
    return tap_done();
}
