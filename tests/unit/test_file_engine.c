/* The engine of append-only files, apart from what the contract and the crash states of the front ask of it:
 *
 * 1. Hint files are no truth: missing, cut or damaged ones are made anew from the data.
 * 2. A flipped bit anywhere is found, or does not matter; never is wrong data shown.
 * 3. Space that overwritten and deleted records took comes back by itself, and dead ranges and tombstones are forgotten.
 * 4. A full disk stops merges until there is room. */
#include <time.h>

#include "engine/file/file.h"
#include "os/env_memory.h"
#include "tests/lib/tap.h"

#define KEYS 500
#define DIR "/db"

static struct engine_options options_for(struct env *env)
{
    return (struct engine_options){.env = env, .dir = DIR, .table_bytes = 2048, .create = true};
}

static enum result open_at(struct env *env, struct engine **e, struct errmsg *msg)
{
    struct engine_options o = options_for(env);
    struct slice state;
    uint64_t sequence;
    enum result r = engine_file.open(&o, e, &sequence, &state, msg);
    free((void *)(uintptr_t)state.data);
    return r;
}

static struct env *new_env(int flags)
{
    struct env *env = env_memory_new(5, flags);
    tap_require(env->ops->mkdir(env, DIR) == RES_OK);
    return env;
}

static void close_all(struct env *env, struct engine *e)
{
    if (e)
        engine_file.close(e);
    epoch_drain();
    tap_eq_u64(env_memory_open_files(env), 0);
    env_memory_free(env);
}

static char key_room[KEYS][16], value_room[KEYS][80];

/* Run number `s` writes every `every`-th key: a value that names run and key, or a tombstone. */
static enum result absorb(struct engine *e, unsigned s, size_t every, bool put)
{
    static struct iter_record records[KEYS];
    size_t n = 0;
    for (size_t i = 0; i < KEYS; i += every) {
        size_t key_len = (size_t)sprintf(key_room[i], "M%05zu", i);
        size_t len = put ? (size_t)sprintf(value_room[i], "%06u of key %05zu, and some more of it", s, i) : 0;
        records[n++] = (struct iter_record){slice_of(key_room[i], key_len), slice_of(value_room[i], len),
                                            put ? RECORD_PUT : RECORD_DELETE};
    }
    struct iter *run;
    tap_require(iter_over_array(records, n, slice_of(NULL, 0), slice_of(NULL, 0), &run) == RES_OK);
    struct engine_boundary b = {s, slice_of(&s, sizeof s)};
    enum result r = engine_file.absorb(e, run, &b);
    iter_close(run);
    return r;
}

/* Every key has the value of run `s`; or, if damage is allowed, reading it says so. */
static bool holds(struct engine *e, unsigned s, bool damaged)
{
    struct engine_view *v = engine_file.view_acquire(e);
    bool good = true;
    for (size_t i = 0; i < KEYS && good; i++) {
        char key[16], want[80];
        struct slice value;
        struct engine_key k = {slice_of(key, (size_t)sprintf(key, "M%05zu", i)), 0};
        k.hash = engine_hash(k.bytes);
        sprintf(want, "%06u of key %05zu, and some more of it", s, i);
        epoch_enter();
        enum result r = engine_file.get(v, &k, 0, &value, NULL);
        good = r == RES_OK ? slice_eq(value, slice_str(want)) : damaged && r == RES_CORRUPT;
        epoch_leave();
    }
    engine_file.view_release(v);
    return good;
}

static uint64_t disk(struct engine *e)
{
    struct engine_stats s;
    engine_file.stats(e, &s);
    return s.bytes_on_disk;
}

static bool comes_below(struct engine *e, uint64_t bytes)
{
    for (int i = 0; i < 600 && disk(e) > bytes; i++)
        os_sleep_ns(10000000);
    return tap_check(disk(e) <= bytes);
}

/* ---- hints ---- */

static void first_hint(void *arg, const char *name)
{
    char *found = arg;
    if (strstr(name, ".hint"))
        snprintf(found, 64, DIR "/data/%s", name);
}

static void hints_are_made_anew(void)
{
    struct env *env = new_env(ENV_MEMORY_PLAIN);
    struct engine *e;
    struct errmsg msg;
    tap_require(open_at(env, &e, &msg) == RES_OK && absorb(e, 1, 1, true) == RES_OK);
    engine_file.close(e);
    for (int how = 0; how < 4; how++) {
        char path[64] = "";
        struct env_file *f;
        uint64_t size = 0, again = 0;
        tap_require(env->ops->list(env, DIR "/data", first_hint, path) == RES_OK && path[0]);
        tap_require(env->ops->open(env, path, ENV_READ | ENV_WRITE, &f) == RES_OK);
        tap_check(f->ops->size(f, &size) == RES_OK && size > 100);
        if (how == 1)
            tap_check(f->ops->truncate(f, size / 2) == RES_OK);
        if (how == 2)
            tap_check(f->ops->truncate(f, 0) == RES_OK);
        tap_check(f->ops->close(f) == RES_OK);
        if (how == 0)
            tap_check(env->ops->unlink(env, path) == RES_OK);
        if (how == 3)
            tap_check(env_memory_flip(env, path, size / 3, 2) == RES_OK);
        tap_require(open_at(env, &e, &msg) == RES_OK);
        tap_check(holds(e, 1, false));
        tap_check(engine_file.check(e, &msg) == RES_OK);
        engine_file.close(e);
        tap_require(env->ops->open(env, path, ENV_READ, &f) == RES_OK);
        tap_check(f->ops->size(f, &again) == RES_OK && again == size);
        tap_check(f->ops->close(f) == RES_OK);
    }
    close_all(env, NULL);
}

/* ---- damage ---- */

struct names {
    char path[8][64];
    size_t count;
};

static void note_name(void *arg, const char *name)
{
    struct names *n = arg;
    if (n->count < 8)
        snprintf(n->path[n->count++], 64, DIR "/data/%s", name);
}

static void flip_one(const char *path, uint64_t offset)
{
    struct env *env = new_env(ENV_MEMORY_PLAIN);
    struct engine *e;
    struct errmsg msg = {""};
    tap_require(open_at(env, &e, &msg) == RES_OK && absorb(e, 1, 1, true) == RES_OK);
    engine_file.close(e);
    tap_require(env_memory_flip(env, path, offset, (unsigned)(offset % 8)) == RES_OK);
    enum result r = open_at(env, &e, &msg);
    bool is_data = strstr(path, ".dat") != NULL;
    if (r == RES_OK) {
        if (!tap_check(holds(e, 1, is_data)))
            tap_diag("%s, byte %llu", path, (unsigned long long)offset);
        r = engine_file.check(e, &msg);
        if (!tap_check(is_data ? r == RES_CORRUPT && strstr(msg.text, ".dat") : r == RES_OK))
            tap_diag("%s, byte %llu: %s, %s", path, (unsigned long long)offset, result_text(r), msg.text);
        engine_file.close(e);
    } else if (!tap_check(strstr(path, "FILES") && (r == RES_CORRUPT || r == RES_UNSUPPORTED) && msg.text[0])) {
        tap_diag("%s, byte %llu: %s", path, (unsigned long long)offset, msg.text);
    }
    close_all(env, NULL);
}

static void every_flipped_bit_is_found(void)
{
    struct env *env = new_env(ENV_MEMORY_PLAIN);
    struct engine *e;
    struct names n = {.count = 1, .path = {DIR "/" FILES_NAME}};
    tap_require(open_at(env, &e, NULL) == RES_OK && absorb(e, 1, 1, true) == RES_OK);
    engine_file.close(e);
    tap_require(env->ops->list(env, DIR "/data", note_name, &n) == RES_OK && n.count == 3);
    for (size_t i = 0; i < n.count; i++) {
        struct env_file *f;
        uint64_t size = 0;
        tap_require(env->ops->open(env, n.path[i], ENV_READ, &f) == RES_OK && f->ops->size(f, &size) == RES_OK);
        tap_check(f->ops->close(f) == RES_OK);
        uint64_t step = tap_long() || size < 300 ? 1 : 397;
        for (uint64_t at = 0; at < size; at += step)
            flip_one(n.path[i], at);
    }
    close_all(env, NULL);
}

static void a_missing_data_file_refuses_to_open(void)
{
    struct env *env = new_env(ENV_MEMORY_PLAIN);
    struct engine *e;
    struct errmsg msg = {""};
    struct names n = {0};
    tap_require(open_at(env, &e, NULL) == RES_OK && absorb(e, 1, 1, true) == RES_OK);
    engine_file.close(e);
    tap_require(env->ops->list(env, DIR "/data", note_name, &n) == RES_OK);
    for (size_t i = 0; i < n.count; i++)
        if (strstr(n.path[i], ".dat"))
            tap_check(env->ops->unlink(env, n.path[i]) == RES_OK);
    tap_check(open_at(env, &e, &msg) == RES_CORRUPT && strstr(msg.text, ".dat"));
    close_all(env, NULL);
}

/* ---- space ---- */

static void space_comes_back_by_itself(void)
{
    struct env *env = new_env(ENV_MEMORY_PLAIN);
    struct engine *e;
    struct errmsg msg = {""};
    tap_require(open_at(env, &e, NULL) == RES_OK && absorb(e, 1, 1, true) == RES_OK);
    uint64_t once = disk(e);
    for (unsigned s = 2; s < 40; s++)
        tap_require(absorb(e, s, 1, true) == RES_OK);
    tap_check(comes_below(e, 2 * once));
    tap_check(holds(e, 39, false));
    tap_check(absorb(e, 40, 1, false) == RES_OK); /* tombstones for all */
    tap_check(comes_below(e, 0));
    engine_file.close(e);
    tap_require(open_at(env, &e, &msg) == RES_OK);
    tap_check(absorb(e, 41, 1, true) == RES_OK && holds(e, 41, false));
    tap_check(engine_file.check(e, &msg) == RES_OK);
    close_all(env, e);
}

static void many_small_files_become_few(void)
{
    struct env *env = new_env(ENV_MEMORY_PLAIN);
    struct engine *e;
    struct engine_stats s;
    tap_require(open_at(env, &e, NULL) == RES_OK);
    for (unsigned i = 1; i <= 60; i++)
        tap_require(absorb(e, i, KEYS, true) == RES_OK); /* one key each */
    for (int i = 0; i < 600; i++) {
        engine_file.stats(e, &s);
        if (s.level[0].files < 10)
            break;
        os_sleep_ns(10000000);
    }
    tap_check(s.level[0].files < 10 && s.level[0].records == 1);
    close_all(env, e);
}

static void a_full_disk_stops_merges_until_there_is_room(void)
{
    struct env *env = new_env(ENV_MEMORY_PLAIN);
    struct engine *e;
    struct errmsg msg = {""};
    struct slice none = slice_of(NULL, 0);
    tap_require(open_at(env, &e, NULL) == RES_OK && absorb(e, 1, 1, true) == RES_OK);
    uint64_t once = disk(e);
    tap_require(absorb(e, 2, 2, true) == RES_OK);
    env_memory_set_space(env, env_memory_used(env) + 100);
    tap_check(absorb(e, 3, 1, true) == RES_NO_SPACE);
    tap_check(engine_file.compact(e, none, none, NULL) == RES_NO_SPACE);
    tap_check(absorb(e, 3, 1, true) == RES_NO_SPACE); /* and what failed left nothing behind */
    tap_check(engine_file.check(e, &msg) == RES_OK);
    env_memory_set_space(env, UINT64_MAX);
    tap_check(absorb(e, 3, 1, true) == RES_OK);
    tap_check(comes_below(e, 2 * once));
    tap_check(engine_file.compact(e, none, none, NULL) == RES_OK);
    tap_check(holds(e, 3, false) && disk(e) == once);
    close_all(env, e);
}

/* ---- starting ---- */

struct crowd {
    struct iter it;
    uint64_t at, count;
    char key[32], value[100];
};

static enum result crowd_show(struct crowd *c)
{
    if (c->at == c->count)
        return RES_NOT_FOUND;
    c->it.key = slice_of(c->key, (size_t)sprintf(c->key, "M\1\1\1\1%012llu:name", (unsigned long long)c->at * 97));
    c->it.value = slice_of(c->value, sizeof c->value);
    c->it.kind = RECORD_PUT;
    return RES_OK;
}
static enum result crowd_seek(struct iter *it, struct slice target)
{
    (void)target;
    ((struct crowd *)it)->at = 0;
    return crowd_show((struct crowd *)it);
}
static enum result crowd_next(struct iter *it)
{
    ((struct crowd *)it)->at++;
    return crowd_show((struct crowd *)it);
}

/* Of processor time, which neighbours do not take away. */
static void a_million_keys_are_loaded_from_hints_in_half_a_second(void)
{
    static const struct iter_ops ops = {.seek = crowd_seek, .next = crowd_next};
    struct crowd c = {.it = {.ops = &ops}, .count = 1000000};
    struct env *env = new_env(ENV_MEMORY_PLAIN);
    struct engine_options o = {.env = env, .dir = DIR, .create = true};
    struct engine *e;
    struct slice state;
    uint64_t sequence;
    struct timespec from, to;
    struct engine_boundary b = {.sequence = 1};
    tap_require(engine_file.open(&o, &e, &sequence, &state, NULL) == RES_OK);
    tap_require(engine_file.absorb(e, &c.it, &b) == RES_OK);
    engine_file.close(e);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    tap_require(engine_file.open(&o, &e, &sequence, &state, NULL) == RES_OK);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    struct engine_stats s;
    engine_file.stats(e, &s);
    double seconds = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
    tap_diag("%.0f ms, %.1f bytes a key, the key included", seconds * 1000,
             (double)s.index_bytes / (double)s.level[0].records);
    tap_eq_u64(s.level[0].records, c.count);
    if (!getenv("VARVE_SANITIZER") || !*getenv("VARVE_SANITIZER"))
        tap_check(seconds < 0.5);
    close_all(env, e);
}

int main(void)
{
    tap_test(hints_are_made_anew);
    tap_test(every_flipped_bit_is_found);
    tap_test(a_missing_data_file_refuses_to_open);
    tap_test(space_comes_back_by_itself);
    tap_test(many_small_files_become_few);
    tap_test(a_million_keys_are_loaded_from_hints_in_half_a_second);
    tap_test(a_full_disk_stops_merges_until_there_is_room);
    return tap_done();
}
