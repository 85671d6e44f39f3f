/* Damaged logs. What must hold:
 *   1. A log that ends at any byte (the rest zeros, or the bytes of another log) opens, with all groups that are whole.
 *   2. Any flipped bit in the log is refused, with file and offset, or what is opened is a prefix of the commits; what a
 *      later record knows to have been durable is never cut off silently. After an orderly close that is everything.
 *   3. Point-in-time keeps the prefix before the damage; salvage keeps all other groups too; both stay open afterwards.
 *   4. A missing log, another directory's log, another format and a wrong identity are refused with a sentence. */
#include "front/front.h"
#include "front/internal.h"
#include "front/log_format.h"
#include "os/env_memory.h"
#include "tests/lib/front_model.h"
#include "tests/lib/tap.h"

static struct front_options options(struct env *env)
{
    return (struct front_options){.env = env,
                                  .engine = &engine_lsm,
                                  .dir = "/data",
                                  .create = true,
                                  .fsync = FRONT_FSYNC_ALWAYS,
                                  .memtable_bytes = 1 << 20,
                                  .log_segment_bytes = 16384,
                                  .log_ring_bytes = 65536,
                                  .tuning = {.cache_bytes = 1 << 20}};
}

struct log {
    struct env *env; /* an image in which the front is not open */
    struct model model;
    char path[64]; /* of the log with the commits */
    uint64_t end;  /* its last byte that is not zero */
};

/* Some commits, each its own group, all in the first log. */
static struct log make_log(int commits, bool close_it)
{
    struct log l = {0};
    struct model_state state = {0};
    struct env *env = env_memory_new(7, ENV_MEMORY_CRASH);
    struct front_options o = options(env);
    struct front *f;
    model_init(&l.model, 21, 60);
    tap_require(front_open(&o, &f, NULL) == RES_OK);
    for (int i = 0; i < commits; i++) {
        tap_require(model_commit(&l.model, f, &state, false) == RES_OK);
        tap_require(front_wait(f, front_visible(f)) == RES_OK);
    }
    if (close_it)
        tap_require(front_close(f) == RES_OK);
    l.env = env_memory_crash(env, ENV_MEMORY_NOW, 0);
    if (!close_it)
        tap_require(front_close(f) == RES_OK);
    env_memory_free(env);
    snprintf(l.path, sizeof(l.path), "/data/wal/000000000001.log");
    uint8_t *data;
    size_t len;
    tap_require(env_read_file(l.env, l.path, 1 << 20, &data, &len) == RES_OK);
    while (len > 0 && data[len - 1] == 0)
        len--;
    l.end = len;
    free(data);
    return l;
}

static void free_log(struct log *l)
{
    env_memory_free(l->env);
    model_fini(&l->model);
}

static struct env *copy_of(const struct log *l) { return env_memory_crash(l->env, ENV_MEMORY_NOW, 0); }

static void overwrite(struct env *env, const char *path, uint64_t at, const uint8_t *with, size_t len)
{
    struct env_file *file;
    tap_require(env->ops->open(env, path, ENV_READ | ENV_WRITE, &file) == RES_OK);
    tap_require(env_write(file, with, len, at) == RES_OK);
    tap_require(file->ops->close(file) == RES_OK);
}

/* Opens; the commits found, or -1 when refused. What is opened must be right. */
static int64_t try_open(const struct log *l, struct env *env, enum front_recovery recovery, struct errmsg *msg)
{
    struct front_options o = options(env);
    struct front *f;
    o.recovery = recovery;
    enum result res = front_open(&o, &f, msg);
    if (res != RES_OK) {
        tap_check(msg->text[0] != 0);
        return -1;
    }
    struct front_view *v = front_view_ref(f);
    uint64_t n = model_marker(v, front_snapshot(v));
    char why[200] = "";
    if (recovery != FRONT_RECOVER_SALVAGE) {
        struct model_state s = model_state_at(&l->model, n <= l->model.count ? n : 0);
        if (!tap_check(n <= l->model.count && model_equal(f, v, front_snapshot(v), &s, why, sizeof(why))))
            tap_diag("%llu commits: %s", (unsigned long long)n, why);
    }
    front_view_unref(v);
    tap_check(front_close(f) == RES_OK);
    return (int64_t)n;
}

/* Where the i-th record begins; the last is the end of all. */
static size_t record_offsets(const struct log *l, uint64_t *at, size_t room)
{
    uint8_t *data;
    size_t len, n = 0;
    uint64_t offset = 0;
    struct log_header h;
    struct log_basis basis = {.number = 1, .format = LOG_FORMAT_VERSION};
    tap_require(env_read_file(l->env, l->path, 1 << 20, &data, &len) == RES_OK);
    while (n < room && offset + LOG_START_HEADER_BYTES <= len && log_header_get(data + offset, &basis, offset, &h)) {
        at[n++] = offset;
        offset += log_record_bytes(&h);
    }
    at[n] = offset;
    free(data);
    return n;
}

static void torn_at_every_byte(bool garbage)
{
    struct log l = make_log(12, false);
    uint64_t at[64];
    struct errmsg msg;
    size_t n = record_offsets(&l, at, 60);
    static uint8_t rest[1 << 16];
    if (garbage) /* the bytes of the same log, at other places: a recycled file */
        for (size_t i = 0; i < sizeof(rest); i += l.end) {
            struct env_file *file;
            size_t got;
            tap_require(l.env->ops->open(l.env, l.path, ENV_READ, &file) == RES_OK);
            tap_require(file->ops->pread(file, rest + i, sizeof(rest) - i < l.end ? sizeof(rest) - i : l.end, 0, 0,
                                         &got) == RES_OK);
            (void)file->ops->close(file);
        }
    tap_check(n == 13); /* START and the groups */
    for (uint64_t cut = at[1]; cut < l.end; cut += garbage ? 7 : 1) {
        struct env *env = copy_of(&l);
        overwrite(env, l.path, cut, rest, 16384 - cut);
        int64_t want = 0;
        while ((uint64_t)want + 2 <= n && at[want + 2] <= cut)
            want++;
        int64_t got = try_open(&l, env, FRONT_RECOVER_STRICT, &msg);
        /* The last bytes of a record may be padding, or happen to be zeros themselves. */
        if (!tap_check(got == want || (got == want + 1 && at[got + 1] > cut && at[got + 1] - cut <= 16)))
            tap_diag("cut at %llu: %lld commits, not %lld: %s", (unsigned long long)cut, (long long)got,
                     (long long)want, got < 0 ? msg.text : "");
        env_memory_free(env);
    }
    free_log(&l);
}

static void torn_tail_of_zeros(void) { torn_at_every_byte(false); }
static void torn_tail_in_a_recycled_file(void) { torn_at_every_byte(true); }

static void flipped_bits(bool closed)
{
    struct log l = make_log(10, closed);
    uint64_t at[64];
    struct errmsg msg;
    size_t n = record_offsets(&l, at, 60);
    uint64_t last = at[closed ? n : n - 1]; /* from here on nothing says that it was durable */
    for (uint64_t i = 0; i < at[n]; i++)
        for (unsigned bit = i % 3; bit < 8; bit += 3) {
            struct env *env = copy_of(&l);
            tap_require(env_memory_flip(env, l.path, i, bit) == RES_OK);
            int64_t got = try_open(&l, env, FRONT_RECOVER_STRICT, &msg);
            bool note = closed && i >= at[n - 1];
            if (got < 0)
                tap_check(strstr(msg.text, "wal") != NULL);
            else if (!tap_check(got == 10 || (got == 9 && i >= last) || note))
                tap_diag("bit %u of byte %llu: opened with %lld commits", bit, (unsigned long long)i, (long long)got);
            env_memory_free(env);
        }
    free_log(&l);
}

static bool engine_has_all_but_the_newest(struct front *f)
{
    os_mutex_lock(&f->view_lock);
    bool has = f->source_count == 1;
    os_mutex_unlock(&f->view_lock);
    return has;
}

/* The engine has the private table of the last commit, the log its other records. Without these it must not open: half of a
 * commit would be there. Salvage keeps what there is. */
static void half_of_a_commit_is_not_shown(void)
{
    struct model model;
    struct model_state state = {0};
    struct env *env = env_memory_new(9, ENV_MEMORY_CRASH);
    struct front_options o = options(env);
    struct front *f;
    struct errmsg msg;
    int tables = 0;
    model_init(&model, 33, 60);
    tap_require(front_open(&o, &f, NULL) == RES_OK);
    for (int i = 0; i < 200 && tables < 12; i++) {
        tap_require(model_commit(&model, f, &state, true) == RES_OK);
        tap_require(front_wait(f, front_visible(f)) == RES_OK);
        if (!model.commits[i].table)
            continue;
        tables++;
        while (!engine_has_all_but_the_newest(f))
            model_pause();
        struct log l = {.env = env_memory_crash(env, ENV_MEMORY_NOW, 0), .model = model};
        snprintf(l.path, sizeof(l.path), "/data/wal/000000000001.log");
        uint64_t at[256];
        size_t n = record_offsets(&l, at, 250);
        for (int mode = 0; mode < 3; mode++) {
            struct env *image = copy_of(&l);
            tap_require(env_memory_flip(image, l.path, at[n - 1] + LOG_HEADER_BYTES + 3, 4) == RES_OK);
            int64_t got = try_open(&l, image, (enum front_recovery)mode, &msg);
            if (!tap_check(mode == FRONT_RECOVER_SALVAGE ? got >= 0 : got == -1))
                tap_diag("mode %d opens with %lld of %zu commits", mode, (long long)got, model.count);
            else if (got == -1)
                tap_check(strstr(msg.text, "/data/wal") != NULL);
            env_memory_free(image);
        }
        env_memory_free(l.env);
    }
    tap_eq_u64((uint64_t)tables, 12);
    tap_check(front_close(f) == RES_OK);
    env_memory_free(env);
    model_fini(&model);
}

static void flipped_bits_after_a_crash(void) { flipped_bits(false); }
static void flipped_bits_after_an_orderly_close(void) { flipped_bits(true); }

static void flips_in_identity_and_boot(void)
{
    static const char *const files[] = {"/data/IDENTITY", "/data/BOOT"};
    struct log l = make_log(3, true);
    struct errmsg msg;
    for (int k = 0; k < 2; k++) {
        uint8_t *data;
        size_t len;
        tap_require(env_read_file(l.env, files[k], 4096, &data, &len) == RES_OK);
        free(data);
        for (uint64_t i = 0; i < len; i++) {
            struct env *env = copy_of(&l);
            tap_require(env_memory_flip(env, files[k], i, i % 8) == RES_OK);
            int64_t got = try_open(&l, env, FRONT_RECOVER_STRICT, &msg);
            tap_check(got == -1 || got == 3);
            if (got < 0)
                tap_check(strstr(msg.text, "/data") != NULL);
            env_memory_free(env);
        }
        struct env *env = copy_of(&l);
        tap_require(env->ops->unlink(env, files[k]) == RES_OK);
        tap_check(try_open(&l, env, FRONT_RECOVER_STRICT, &msg) == -1);
        env_memory_free(env);
    }
    free_log(&l);
}

static void damage_in_the_middle(void)
{
    struct log l = make_log(10, false);
    uint64_t at[64];
    struct errmsg msg;
    record_offsets(&l, at, 60);
    for (int group = 1; group <= 9; group++) {
        struct env *env = copy_of(&l);
        tap_require(env_memory_flip(env, l.path, at[group] + LOG_HEADER_BYTES + 5, 3) == RES_OK);
        char offset[32];
        snprintf(offset, sizeof(offset), "offset %llu ", (unsigned long long)at[group]);
        tap_check(try_open(&l, env, FRONT_RECOVER_STRICT, &msg) == -1);
        tap_check(strstr(msg.text, "000000000001.log") && strstr(msg.text, offset) && strstr(msg.text, "salvage"));
        struct env *other = env_memory_crash(env, ENV_MEMORY_NOW, 0);
        tap_eq_u64((uint64_t)try_open(&l, env, FRONT_RECOVER_POINT_IN_TIME, &msg), (uint64_t)group - 1);
        tap_eq_u64((uint64_t)try_open(&l, env, FRONT_RECOVER_STRICT, &msg), (uint64_t)group - 1);
        tap_eq_u64((uint64_t)try_open(&l, other, FRONT_RECOVER_SALVAGE, &msg), 10);
        tap_eq_u64((uint64_t)try_open(&l, other, FRONT_RECOVER_SALVAGE, &msg), 10);
        env_memory_free(env);
        env_memory_free(other);
    }
    free_log(&l);
}

static void missing_and_foreign_logs(void)
{
    struct log l = make_log(5, true);
    struct errmsg msg;
    struct env *env = copy_of(&l);
    tap_check(try_open(&l, env, FRONT_RECOVER_STRICT, &msg) == 5); /* a second log names the first now */
    tap_require(env->ops->unlink(env, l.path) == RES_OK);
    tap_check(try_open(&l, env, FRONT_RECOVER_STRICT, &msg) == -1);
    tap_check(strstr(msg.text, "000000000001") && strstr(msg.text, "missing"));
    struct env *salvaged = env_memory_crash(env, ENV_MEMORY_NOW, 0);
    tap_eq_u64((uint64_t)try_open(&l, env, FRONT_RECOVER_POINT_IN_TIME, &msg),
               0); /* nothing is left, and that is final */
    tap_eq_u64((uint64_t)try_open(&l, env, FRONT_RECOVER_STRICT, &msg), 0);
    tap_eq_u64((uint64_t)try_open(&l, salvaged, FRONT_RECOVER_SALVAGE, &msg), 0);
    tap_eq_u64((uint64_t)try_open(&l, salvaged, FRONT_RECOVER_STRICT, &msg), 0);
    env_memory_free(salvaged);
    env_memory_free(env);

    env = copy_of(&l); /* all logs gone */
    for (int i = 1; i < 20; i++) {
        char path[64];
        snprintf(path, sizeof(path), "/data/wal/%012d.log", i);
        if (env_exists(env, path))
            tap_require(env->ops->unlink(env, path) == RES_OK);
    }
    tap_check(try_open(&l, env, FRONT_RECOVER_STRICT, &msg) == -1);
    tap_eq_u64((uint64_t)try_open(&l, env, FRONT_RECOVER_POINT_IN_TIME, &msg), 0);
    tap_eq_u64((uint64_t)try_open(&l, env, FRONT_RECOVER_STRICT, &msg), 0);
    env_memory_free(env);

    env = copy_of(&l); /* the log of another directory under a name that fits */
    struct env *strange = env_memory_new(1234, ENV_MEMORY_PLAIN);
    struct front_options o = options(strange);
    struct front *f;
    tap_require(front_open(&o, &f, NULL) == RES_OK);
    tap_require(front_close(f) == RES_OK);
    uint8_t *data;
    size_t len;
    tap_require(env_read_file(strange, l.path, 1 << 20, &data, &len) == RES_OK);
    overwrite(env, l.path, 0, data, len);
    free(data);
    tap_check(try_open(&l, env, FRONT_RECOVER_STRICT, &msg) == -1);
    tap_check(strstr(msg.text, "another data directory") != NULL);
    env_memory_free(env);
    env_memory_free(strange);
    free_log(&l);
}

static void what_is_no_data_directory(void)
{
    struct env *env = env_memory_new(1, ENV_MEMORY_PLAIN);
    struct front_options o = options(env);
    struct front *f, *second;
    struct errmsg msg;
    struct env_file *file;
    tap_require(env->ops->mkdir(env, "/data") == RES_OK);
    tap_require(env->ops->open(env, "/data/letter.txt", ENV_WRITE | ENV_CREATE, &file) == RES_OK);
    tap_require(file->ops->close(file) == RES_OK);
    o.create = false;
    tap_check(front_open(&o, &f, &msg) == RES_NOT_FOUND && msg.text[0]);
    o.create = true;
    tap_require(env->ops->mkdir(env, "/data/wal") == RES_OK); /* something of ours without an identity */
    tap_check(front_open(&o, &f, &msg) == RES_CORRUPT && strstr(msg.text, "wal"));
    tap_require(env->ops->rmdir(env, "/data/wal") == RES_OK);
    tap_require(front_open(&o, &f, &msg) == RES_OK);
    tap_check(env_exists(env, "/data/letter.txt"));
    tap_eq_u64(front_identity(f)->boot_epoch, 1);
    tap_check(front_open(&o, &second, &msg) == RES_LOCKED && strstr(msg.text, "another process"));
    tap_check(front_close(f) == RES_OK);
    tap_require(front_open(&o, &f, &msg) == RES_OK);
    tap_eq_u64(front_identity(f)->boot_epoch, 2);
    tap_check(front_close(f) == RES_OK);
    struct engine_ops other = engine_lsm;
    other.name = "other";
    o.engine = &other;
    tap_check(front_open(&o, &f, &msg) == RES_UNSUPPORTED && strstr(msg.text, "engine lsm"));
    o.engine = &engine_memory;
    tap_check(front_open(&o, &f, &msg) == RES_UNSUPPORTED && strstr(msg.text, "always"));
    env_memory_free(env);
}

int main(void)
{
    tap_test(torn_tail_of_zeros);
    tap_test(torn_tail_in_a_recycled_file);
    tap_test(flipped_bits_after_a_crash);
    tap_test(flipped_bits_after_an_orderly_close);
    tap_test(half_of_a_commit_is_not_shown);
    tap_test(flips_in_identity_and_boot);
    tap_test(damage_in_the_middle);
    tap_test(missing_and_foreign_logs);
    tap_test(what_is_no_data_directory);
    return tap_done();
}
