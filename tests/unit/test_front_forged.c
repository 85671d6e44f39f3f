/* Logs, identities and states whose checksums hold over contents that this program does not write. What must hold:
 *   1. A batch is taken whole, or refused; what was taken can be taken apart.
 *   2. A log with such a batch is refused, or what it says is opened; never a crash. Its START is believed only as far as
 *      format, directory and place go.
 *   3. An identity, or a state of the engine, that cannot be understood refuses with a sentence that names it. */
#include "base/bytes.h"
#include "base/hash.h"
#include "base/log.h"
#include "front/internal.h"
#include "front/log_format.h"
#include "os/env_memory.h"
#include "tests/lib/front_model.h"
#include "tests/lib/tap.h"

#define LOG "/data/wal/000000000001.log"

/* Of log 1, whose first sequence is 1. */
static const struct log_basis basis = {.number = 1, .format = LOG_FORMAT_VERSION, .time_ms = 1767225600123};

/* ---- 1 ---- */

static size_t make_batch(uint8_t *out, size_t room, bool counters, bool table)
{
    static const uint8_t value[300];
    struct batch_record records[4];
    struct batch_counter changes[3] = {{1, 1, 0}, {70000, -5, 2}, {UINT32_MAX, INT64_MAX, INT64_MIN}};
    static const char *const keys[] = {"Ma", "Mlonger than that", "E\x01\x02", "X"};
    for (int i = 0; i < 4; i++) {
        records[i].key.bytes = slice_str(keys[i]);
        records[i].kind = i == 2 ? RECORD_DELETE : RECORD_PUT;
        records[i].value = slice_of(value, i == 2 ? 0 : i == 1 ? 300 : 5);
    }
    struct batch b = {.records = records, .count = 4, .now_ms = 1767225600000};
    if (counters) {
        b.counters = changes;
        b.counter_count = 3;
    }
    if (table) {
        b.table = (struct engine_table *)(void *)out; /* only its number is written */
        b.table_number = 12345;
    }
    size_t bytes = log_batch_bytes(&b, basis.time_ms);
    tap_require(bytes <= room && bytes <= log_batch_most(5 + 300 + 5 + 40, 4, 3));
    log_batch_put(out, bytes, &b, basis.time_ms);
    tap_eq_u64(log_batch_length(out), bytes);
    return bytes;
}

/* True: it was taken. */
static bool take_apart(const uint8_t *bytes, size_t len)
{
    struct slice rest = slice_of(bytes, len);
    struct log_batch b;
    if (!log_batch_take(&rest, &basis, &b))
        return false;
    struct batch_counter c;
    struct batch_record r;
    for (uint64_t i = 0; i < b.counters; i++)
        log_counter_take(&b, &c);
    for (uint64_t i = 0; i < b.records; i++) {
        log_record_take(&b, &r);
        tap_check(r.key.bytes.len > 0 && r.key.bytes.len <= ENGINE_KEY_MAX &&
                  (r.kind == RECORD_PUT || (r.kind == RECORD_DELETE && r.value.len == 0)));
    }
    tap_check(b.counter_bytes.len == 0 && b.record_bytes.len == 0);
    tap_check(rest.data >= bytes && rest.data + rest.len == bytes + len);
    return true;
}

static void a_batch_is_taken_whole_or_refused(void)
{
    uint8_t batch[600], copy[600];
    unsigned taken = 0, refused = 0;
    for (int kind = 0; kind < 4; kind++) {
        size_t len = make_batch(batch, sizeof(batch), kind & 1, kind & 2);
        tap_check(take_apart(batch, len));
        for (size_t cut = 0; cut < len; cut++) { /* cut off, with the length as it was, and with one that fits */
            memcpy(copy, batch, len);
            tap_check(!take_apart(copy, cut));
            if (cut < 2)
                continue;
            copy[0] = (uint8_t)((cut - 2) | 128); /* a length of two bytes, as it was */
            copy[1] = (uint8_t)((cut - 2) >> 7);
            tap_check(!take_apart(copy, cut));
        }
        for (size_t at = 0; at < len; at++)
            for (int value = 0; value < 256; value++) {
                memcpy(copy, batch, len);
                copy[at] = (uint8_t)value;
                bool good = take_apart(copy, len);
                taken += good;
                refused += !good;
            }
        uint64_t seed = (uint64_t)kind;
        for (int i = 0; i < 30000; i++) {
            memcpy(copy, batch, len);
            for (int k = 0; k < 3; k++) {
                seed = hash_mix(seed + 1);
                copy[seed % 60] = (uint8_t)(seed >> 32);
            }
            bool good = take_apart(copy, len);
            taken += good;
            refused += !good;
        }
    }
    tap_check(taken > 1000 && refused > 1000);
}

/* ---- 2 ---- */

static struct engine_ops engine;

static struct front_options options(struct env *env)
{
    return (struct front_options){.env = env,
                                  .engine = &engine,
                                  .dir = "/data",
                                  .create = true,
                                  .fsync = FRONT_FSYNC_ALWAYS,
                                  .memtable_bytes = 1 << 20,
                                  .log_segment_bytes = 16384,
                                  .log_ring_bytes = 65536,
                                  .tuning = {.cache_bytes = 1 << 20}};
}

/* A directory that was killed: commits in the log, each in its group. */
static struct env *make_directory(bool flush)
{
    struct model model;
    struct model_state state = {0};
    struct env *env = env_memory_new(7, ENV_MEMORY_CRASH);
    struct front_options o = options(env);
    struct front *f;
    model_init(&model, 21, 60);
    tap_require(front_open(&o, &f, NULL) == RES_OK);
    for (int i = 0; i < 8; i++) {
        tap_require(model_commit(&model, f, &state, false) == RES_OK);
        tap_require(front_wait(f, front_visible(f)) == RES_OK);
        if (flush && i == 3)
            tap_require(front_flush(f) == RES_OK);
    }
    struct env *image = env_memory_crash(env, ENV_MEMORY_NOW, 0);
    tap_require(front_close(f) == RES_OK);
    env_memory_free(env);
    model_fini(&model);
    return image;
}

static void overwrite(struct env *env, const char *path, uint64_t at, const void *with, size_t len)
{
    struct env_file *file;
    tap_require(env->ops->open(env, path, ENV_READ | ENV_WRITE, &file) == RES_OK);
    tap_require(env_write(file, with, len, at) == RES_OK);
    tap_require(file->ops->close(file) == RES_OK);
}

static enum result open_it(struct env *env, enum front_recovery recovery, struct errmsg *msg)
{
    struct front_options o = options(env);
    struct front *f;
    o.recovery = recovery;
    enum result res = front_open(&o, &f, msg);
    if (res != RES_OK) {
        tap_check(msg->text[0] != 0);
        tap_check(env_memory_open_files(env) == 0);
        return res;
    }
    struct front_view *v = front_view_ref(f);
    struct iter *it;
    tap_require(front_iter(v, front_snapshot(v), slice_of(NULL, 0), slice_of(NULL, 0), 0, &it) == RES_OK);
    for (res = iter_seek(it, slice_of(NULL, 0)); res == RES_OK;)
        res = iter_next(it);
    tap_check(res == RES_NOT_FOUND);
    iter_close(it);
    front_view_unref(v);
    tap_check(front_close(f) == RES_OK);
    return RES_OK;
}

/* The n-th record of the log: where it is, its header and bytes. */
static uint64_t record_of(struct env *env, int n, struct log_header *h, uint8_t *payload, size_t room)
{
    uint8_t *data;
    size_t len;
    uint64_t at = 0;
    tap_require(env_read_file(env, LOG, 1 << 20, &data, &len) == RES_OK);
    for (int i = 0;; i++) {
        tap_require(log_header_get(data + at, &basis, at, h));
        if (i == n)
            break;
        at += log_record_bytes(h);
    }
    tap_require(h->length <= room);
    memcpy(payload, data + at + h->bytes, h->length);
    free(data);
    return at;
}

static void sign(struct env *env, uint64_t at, struct log_header h, const uint8_t *payload)
{
    uint8_t header[LOG_START_HEADER_BYTES];
    log_header_put(header, LOG_FORMAT_VERSION, &h, at, payload);
    overwrite(env, LOG, at, header, h.bytes);
    overwrite(env, LOG, at + h.bytes, payload, h.length);
}

static void a_forged_group_is_refused_or_replayed(void)
{
    struct env *env = make_directory(false);
    struct log_header h;
    uint8_t payload[4000];
    struct errmsg msg;
    int refused = 0, opened = 0;
    uint64_t at = record_of(env, 4, &h, payload, sizeof(payload));
    for (uint32_t i = 0; i < h.length; i++)
        for (int how = 0; how < 3; how++)
            for (int mode = 0; mode < 3; mode += 1 + how) {
                struct env *image = env_memory_crash(env, ENV_MEMORY_NOW, 0);
                uint8_t was = payload[i];
                payload[i] = how == 0 ? 0xff : how == 1 ? (uint8_t)(was + 1) : 0;
                sign(image, at, h, payload);
                enum result res = open_it(image, (enum front_recovery)mode, &msg);
                tap_check(res == RES_OK || (res == RES_CORRUPT && strstr(msg.text, "/data")));
                refused += res != RES_OK;
                opened += res == RES_OK;
                payload[i] = was;
                env_memory_free(image);
            }
    tap_check(refused > 10 && opened > 10);
    env_memory_free(env);
}

static void a_forged_header_is_refused_or_ends_the_log(void)
{
    struct env *env = make_directory(false);
    struct log_header h;
    uint8_t payload[4000];
    struct errmsg msg;
    uint64_t at = record_of(env, 4, &h, payload, sizeof(payload));
    for (int how = 0; how < 9; how++)
        for (int mode = 0; mode < 3; mode++) {
            struct env *image = env_memory_crash(env, ENV_MEMORY_NOW, 0);
            struct log_header f = h;
            switch (how) {
            case 0:
                f.batches = 0;
                break;
            case 1:
                f.batches++;
                break;
            case 2:
                f.first++;
                break;
            case 3:
                f.first--;
                break;
            case 4:
                f.type = LOG_NOTE;
                break;
            case 5:
                f.type = LOG_START;
                break;
            case 6:
                f.durable = f.first + 100;
                break;
            case 7:
                f.length -= 4;
                break;
            default: /* the same batch twice in a group of two: the second half is another's */
                f.length *= 2;
                memcpy(payload + h.length, payload, h.length);
                f.batches = 2;
            }
            sign(image, at, f, payload);
            enum result res = open_it(image, (enum front_recovery)mode, &msg);
            tap_check(res == RES_OK || res == RES_CORRUPT);
            if (how == 1 || how == 2 || how == 7)
                tap_check(mode != FRONT_RECOVER_STRICT || res == RES_CORRUPT);
            env_memory_free(image);
        }
    env_memory_free(env);
}

static void a_forged_start_is_believed_only_so_far(void)
{
    struct env *env = make_directory(true);
    struct log_header h;
    struct log_start s;
    uint8_t payload[4000];
    struct errmsg msg;
    for (int how = 0; how < 7; how++)
        for (int mode = 0; mode < 3; mode++) {
            struct env *image = env_memory_crash(env, ENV_MEMORY_NOW, 0);
            (void)record_of(image, 0, &h, payload, sizeof(payload));
            tap_require(log_start_get(slice_of(payload, h.length), &s));
            switch (how) {
            case 0:
                s.format = LOG_FORMAT_VERSION + 1;
                break;
            case 1:
                s.uuid[3] ^= 1;
                break;
            case 2:
                s.before = 1; /* itself */
                break;
            case 3:
                s.before = 77;
                break;
            case 4:
                h.first += 2; /* behind what follows */
                break;
            case 5:
                h.length -= 8;
                break;
            default:
                h.type = LOG_GROUP;
            }
            log_start_put(payload, &s);
            sign(image, 0, h, payload);
            enum result res = open_it(image, (enum front_recovery)mode, &msg);
            if (how == 0)
                tap_check(res == RES_UNSUPPORTED && strstr(msg.text, "version 3"));
            else if (how == 1)
                tap_check(res == RES_CORRUPT && strstr(msg.text, "another data directory"));
            else if (how >= 4 && mode == FRONT_RECOVER_STRICT)
                tap_check(res == RES_CORRUPT && strstr(msg.text, "wal"));
            else
                tap_check(res == RES_OK || res == RES_CORRUPT);
            env_memory_free(image);
        }
    env_memory_free(env);
}

/* ---- 3 ---- */

static void put_text(struct env *env, const char *name, const char *text)
{
    char whole[600];
    int n = snprintf(whole, sizeof(whole), "%schecksum %08x\n", text,
                     (unsigned)checksum32(text, strlen(text), 0x7661727665)); /* identity.c */
    tap_require(env_install_file(env, "/data", name, slice_of(whole, (size_t)n)) == RES_OK);
}

static void an_identity_that_cannot_be_understood_is_refused(void)
{
#define HEX "00112233445566778899aabbccddeeff"
    static const struct {
        const char *text;
        enum result res;
        const char *said;
    } cases[] = {
        {"varve data directory\nformat 1\nengine lsm\nuuid " HEX "\nseed " HEX "\n", RES_CORRUPT,
         "another data directory"},
        {"a letter\n", RES_CORRUPT, "not the identity"},
        {"varve data directory\nformat one\n", RES_CORRUPT, "not the identity"},
        {"varve data directory\nformat 9\n", RES_UNSUPPORTED, "version 9"},
        {"varve data directory\nformat 1\nengine lsm\n", RES_CORRUPT, "cannot be understood"},
        {"varve data directory\nformat 1\nengine lsm\nuuid zz\nseed " HEX "\n", RES_CORRUPT, "cannot be understood"},
        {"varve data directory\nformat 1\nengine lsm\nuuid " HEX "\nseed yy\n", RES_CORRUPT, "cannot be understood"},
        {"varve data directory\nformat 1\nengine btree\nuuid " HEX "\nseed " HEX "\n", RES_UNSUPPORTED,
         "kvctl convert"},
    };
    struct env *env = make_directory(false);
    struct errmsg msg;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct env *image = env_memory_crash(env, ENV_MEMORY_NOW, 0);
        put_text(image, "IDENTITY", cases[i].text);
        enum result res = open_it(image, FRONT_RECOVER_STRICT, &msg);
        if (!tap_check(res == cases[i].res && strstr(msg.text, cases[i].said)))
            tap_diag("identity %zu: %s: %s", i, result_text(res), msg.text);
        env_memory_free(image);
    }
    static const char *const boots[] = {"boot\n", "shoe 1\n", "boot x\n"};
    for (size_t i = 0; i < sizeof(boots) / sizeof(*boots); i++) {
        struct env *image = env_memory_crash(env, ENV_MEMORY_NOW, 0);
        put_text(image, "BOOT", boots[i]);
        tap_check(open_it(image, FRONT_RECOVER_STRICT, &msg) == RES_CORRUPT && strstr(msg.text, "/data/BOOT"));
        env_memory_free(image);
    }
    struct env *image = env_memory_crash(env, ENV_MEMORY_NOW, 0);
    tap_require(image->ops->unlink(image, "/data/IDENTITY") == RES_OK);
    put_text(image, "BOOT", "boot 0\n"); /* its making was interrupted: nothing was committed, so nothing is kept */
    tap_check(open_it(image, FRONT_RECOVER_STRICT, &msg) == RES_OK);
    env_memory_free(image);
    env_memory_free(env);
}

static int edit_of_state;

static enum result open_forged(const struct engine_options *o, struct engine **e, uint64_t *sequence,
                               struct slice *state, struct errmsg *msg)
{
    enum result res = engine_lsm.open(o, e, sequence, state, msg);
    uint8_t *p = (uint8_t *)(uintptr_t)state->data;
    if (res != RES_OK || state->len == 0)
        return res;
    switch (edit_of_state) {
    case 1:
        state->len = 31;
        break;
    case 2:
        p[0] = 2; /* version */
        break;
    case 3:
        p[8] ^= 1; /* another boundary */
        break;
    case 4:
        state->len = 34; /* not even the number of counters */
        break;
    case 5:
        state->len -= 1;
        break;
    case 6:
        p[32]++; /* more counters than there are */
        break;
    case 7:
        put_le64(p + 16, 900); /* a log that is not there */
        break;
    default:
        break;
    }
    return RES_OK;
}

static void a_state_that_cannot_be_understood_is_refused(void)
{
    struct env *env = make_directory(true);
    struct errmsg msg;
    engine.open = open_forged;
    for (edit_of_state = 0; edit_of_state <= 7; edit_of_state++)
        for (int mode = 0; mode < 3; mode++) {
            struct env *image = env_memory_crash(env, ENV_MEMORY_NOW, 0);
            enum result res = open_it(image, (enum front_recovery)mode, &msg);
            bool opens = edit_of_state == 0 || (edit_of_state == 7 && mode != FRONT_RECOVER_STRICT);
            if (!tap_check(res == (opens ? RES_OK : RES_CORRUPT)))
                tap_diag("edit %d, mode %d: %s: %s", edit_of_state, mode, result_text(res), msg.text);
            env_memory_free(image);
        }
    engine.open = engine_lsm.open;
    env_memory_free(env);
}

/* Files beside the logs that are none, and a path beyond what a path may be. */
static void names_that_are_no_logs_do_not_matter(void)
{
    static const char *const names[] = {"letter", "000000000001.logs", "1.log", "000000000009.log.tmp", "abc.log"};
    struct env *env = make_directory(false);
    struct errmsg msg;
    struct env_file *file;
    char path[1200];
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        snprintf(path, sizeof(path), "/data/wal/%s", names[i]);
        tap_require(env->ops->open(env, path, ENV_WRITE | ENV_CREATE, &file) == RES_OK);
        tap_require(file->ops->close(file) == RES_OK);
    }
    tap_check(open_it(env, FRONT_RECOVER_STRICT, &msg) == RES_OK);
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        snprintf(path, sizeof(path), "/data/wal/%s", names[i]);
        tap_check(env_exists(env, path));
    }
    memset(path, 'd', sizeof(path));
    path[0] = '/';
    for (size_t len = 490; len < 530; len++) {
        path[len] = 0;
        struct front_options o = options(env);
        struct front *f;
        o.dir = path;
        enum result res = front_open(&o, &f, &msg);
        if (res == RES_OK)
            tap_check(front_close(f) == RES_OK);
        else
            tap_check(msg.text[0] != 0);
        tap_check(len < 512 || res != RES_OK);
        path[len] = 'd';
    }
    tap_check(env_memory_open_files(env) == 0);
    env_memory_free(env);
}

/* Relative, with slashes behind it, in the root: its entry above is made durable wherever that is. */
static void a_directory_may_be_named_in_any_way(void)
{
    static const char *const names[] = {"here", "/there/", "/there2//", "/above", "./dot"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        struct env *env = env_memory_new(3, ENV_MEMORY_CRASH);
        struct front_options o = options(env);
        struct front *f;
        struct errmsg msg;
        o.dir = names[i];
        if (!tap_check(front_open(&o, &f, &msg) == RES_OK)) {
            tap_diag("%s: %s", names[i], msg.text);
            env_memory_free(env);
            continue;
        }
        struct env *image = env_memory_crash(env, ENV_MEMORY_NOW, 1); /* only what was synced */
        tap_check(front_close(f) == RES_OK);
        o.env = image;
        o.create = false;
        if (tap_check(front_open(&o, &f, &msg) == RES_OK))
            tap_check(front_close(f) == RES_OK);
        else
            tap_diag("%s, after a crash: %s", names[i], msg.text);
        env_memory_free(image);
        env_memory_free(env);
    }
}

int main(void)
{
    log_set_level(LOG_NOTHING);
    engine = engine_lsm;
    tap_test(a_batch_is_taken_whole_or_refused);
    tap_test(a_forged_group_is_refused_or_replayed);
    tap_test(a_forged_header_is_refused_or_ends_the_log);
    tap_test(a_forged_start_is_believed_only_so_far);
    tap_test(an_identity_that_cannot_be_understood_is_refused);
    tap_test(a_state_that_cannot_be_understood_is_refused);
    tap_test(names_that_are_no_logs_do_not_matter);
    tap_test(a_directory_may_be_named_in_any_way);
    return tap_done();
}
