/* kvctl repair: makes a damaged data directory one that a server opens, keeping all that can be read.
 *
 *  1. The engine's files: salvage.c, salvage_files.c, salvage_tree.c.
 *  2. Log: opened with recovery mode salvage, which goes on at the next whole record behind damage.
 *  3. Records: what the audit finds is put right as it says, in batches like any commit; then the counters.
 *
 * Without --yes the same is done in a shadow, so that what it says is what it would do. The exception is a damaged tree of
 * the engine btree, of which it says what would be lost, and no more. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "os/env_shadow.h"
#include "tools/kvctl/offline.h"
#include "tools/kvctl/salvage.h"

#define SAID_MOST 100
#define FIXES_A_BATCH 1000

struct fix {
    struct batch_record record;
    uint8_t *bytes;
};

struct repair {
    uint64_t said;
    struct fix *fixes;
    size_t count, room;
    bool no_memory;
};

static void say(void *arg, const char *sentence)
{
    struct repair *r = arg;
    if (r->said++ < SAID_MOST)
        printf("%s\n", sentence);
    else if (r->said == SAID_MOST + 1)
        puts("...");
}

static void note_fix(void *arg, const char *sentence, const struct audit_fix *fix)
{
    struct repair *r = arg;
    say(arg, sentence);
    if (!fix || r->no_memory)
        return;
    if (r->count == r->room) {
        size_t room = r->room ? 2 * r->room : 64;
        struct fix *more = realloc(r->fixes, room * sizeof *more);
        if (!more) {
            r->no_memory = true;
            return;
        }
        r->fixes = more;
        r->room = room;
    }
    uint8_t *bytes = malloc(fix->key.len + fix->value.len + 1);
    if (!bytes) {
        r->no_memory = true;
        return;
    }
    memcpy(bytes, fix->key.data, fix->key.len);
    if (fix->value.len)
        memcpy(bytes + fix->key.len, fix->value.data, fix->value.len);
    struct slice key = slice_of(bytes, fix->key.len);
    r->fixes[r->count++] =
        (struct fix){{{key, engine_hash(key)}, slice_of(bytes + fix->key.len, fix->value.len), fix->kind}, bytes};
}

static void forget_fixes(struct repair *r)
{
    for (size_t i = 0; i < r->count; i++)
        free(r->fixes[i].bytes);
    free(r->fixes);
    r->fixes = NULL;
    r->count = r->room = 0;
}

/* ---- writing ---- */

static enum result commit(struct front *f, struct batch *b)
{
    struct timespec pause = {0, 1000000};
    enum result r;
    b->now_ms = env_posix()->ops->real_ms(env_posix());
    while ((r = front_reserve(f, b)) == RES_WOULD_BLOCK)
        nanosleep(&pause, NULL);
    if (r != RES_OK)
        return r;
    uint64_t sequence = front_commit(f, b);
    front_kick(f);
    return front_wait(f, sequence);
}

static enum result write_fixes(struct front *f, const struct repair *r)
{
    struct batch_record *records = calloc(FIXES_A_BATCH, sizeof *records);
    enum result res = records ? RES_OK : RES_NO_MEMORY;
    for (size_t at = 0; res == RES_OK && at < r->count; at += FIXES_A_BATCH) {
        size_t n = r->count - at < FIXES_A_BATCH ? r->count - at : FIXES_A_BATCH;
        for (size_t i = 0; i < n; i++)
            records[i] = r->fixes[at + i].record;
        struct batch b = {.records = records, .count = n};
        res = commit(f, &b);
    }
    free(records);
    return res;
}

static enum result write_counters(struct front *f, const struct audit *a)
{
    for (size_t i = 0; i < a->counter_count; i++) {
        const struct audit_counter *n = &a->counters[i];
        struct batch_counter change = {n->keyspace, -n->keys_off, -n->expires_off};
        struct batch b = {.counters = &change, .counter_count = 1};
        enum result r = n->keys_off || n->expires_off ? commit(f, &b) : RES_OK;
        if (r != RES_OK)
            return r;
    }
    return RES_OK;
}

static void say_nothing(void *arg, const char *sentence, const struct audit_fix *fix)
{
    (void)arg, (void)sentence, (void)fix;
}

/* Twice: what is deleted counts no more, and may have left entries and pieces behind. */
static enum result put_records_right(struct front *f, struct repair *r, struct audit *a, struct errmsg *msg)
{
    enum result res = audit_run(f, note_fix, r, a, msg);
    for (int pass = 0; res == RES_OK && r->count && pass < 3; pass++) {
        res = r->no_memory ? RES_NO_MEMORY : write_fixes(f, r);
        if (res != RES_OK)
            return errmsg_set(msg, res, "cannot write what puts records right: %s", result_text(res));
        forget_fixes(r);
        audit_fini(a);
        res = audit_run(f, note_fix, r, a, msg);
    }
    if (res != RES_OK)
        return res;
    res = write_counters(f, a);
    if (res != RES_OK)
        return errmsg_set(msg, res, "cannot write counters: %s", result_text(res));
    audit_fini(a);
    return audit_run(f, say_nothing, NULL, a, msg);
}

/* ---- the whole ---- */

static enum result open_for_repair(struct offline *o, const char *dir, struct env *env, struct errmsg *msg)
{
    struct front_options options = {
        .env = env,
        .engine = engine_by_name(o->engine),
        .dir = dir,
        .fsync = FRONT_FSYNC_ALWAYS,
        .recovery = FRONT_RECOVER_SALVAGE,
        .tuning = {.cache_bytes = (uint64_t)64 << 20},
    };
    if (!options.engine || !options.engine->persistent)
        return errmsg_set(msg, RES_UNSUPPORTED, "%s was made with engine %s, which this program does not know", dir,
                          o->engine);
    return front_open(&options, &o->front, msg);
}

static enum result salvage(struct env *env, struct offline *o, const char *dir, struct repair *r, struct salvage *s,
                           struct errmsg *msg)
{
    char path[4096];
    struct env_file *lock;
    *s = (struct salvage){.say = say, .arg = r};
    snprintf(path, sizeof path, "%s/LOCK", dir);
    enum result res = env->ops->lock(env, path, &lock);
    if (res != RES_OK)
        return errmsg_set(msg, res, "cannot lock %s: %s", dir, result_text(res));
    snprintf(path, sizeof path, "%s/" SALVAGE_FOLDER, dir); /* of a repair that was interrupted */
    res = env_remove_tree(env, path);
    if (res != RES_OK)
        (void)errmsg_set(msg, res, "cannot remove %s: %s", path, result_text(res));
    else if (strcmp(o->engine, "file") == 0)
        res = salvage_files(env, dir, s, msg);
    else if (strcmp(o->engine, "btree") == 0)
        res = salvage_tree(env, dir, s, msg);
    else if (strcmp(o->engine, "lsm") == 0)
        res = salvage_tables(env, dir, s, msg);
    (void)lock->ops->close(lock);
    return res;
}

static int conclude(const struct kvctl *k, const struct repair *r, const struct salvage *s, const struct audit *a,
                    bool yes)
{
    printf("%s", s->told);
    if (s->tried)
        printf("; %" PRIu64 " keys are there", a->keys);
    putchar('\n');
    if (s->aside)
        printf("what is damaged %s in %s/lost; long values may have zeros, and long lists empty elements, "
               "where pieces were in it\n",
               yes ? "is" : "would be", k->argv[0]);
    if (!yes)
        puts(r->said || s->changed ? "nothing was changed: say --yes to do it" : "nothing is to be done");
    if (a->problems)
        return complain("%" PRIu64 " things still do not hold", a->problems);
    return KVCTL_DONE;
}

static enum result pass(struct offline *o, const char *dir, struct env *env, struct repair *r, struct salvage *s,
                        struct audit *a, struct errmsg *msg)
{
    log_set_level(LOG_NOTHING); /* of damaged blocks: salvage says them once */
    enum result res = offline_identify(o, dir, msg);
    if (res == RES_OK)
        res = salvage(env, o, dir, r, s, msg);
    log_set_level(LOG_WARNING); /* what recovery leaves out of the log, it says there */
    if (res != RES_OK || !s->tried)
        return res;
    o->front = NULL;
    res = open_for_repair(o, dir, env, msg);
    if (res == RES_OK)
        res = put_records_right(o->front, r, a, msg);
    enum result closed = front_close(o->front);
    if (res == RES_OK && closed != RES_OK)
        res = errmsg_set(msg, closed, "%s could not be closed: %s", dir, result_text(closed));
    return res;
}

int run_repair(struct kvctl *k)
{
    bool yes = option("yes") != NULL;
    const char *dir = k->argv[0];
    struct offline o = {0};
    struct repair r = {0};
    struct salvage s = {0};
    struct audit a = {0};
    struct errmsg msg = {""};
    struct env *shadow = yes ? NULL : env_shadow_new(env_posix());
    struct env *env = yes ? env_posix() : shadow;
    enum result res = env ? pass(&o, dir, env, &r, &s, &a, &msg) : errmsg_set(&msg, RES_NO_MEMORY, "out of memory");
    if (res == RES_CORRUPT && o.front) { /* in a table of lsm that only the log named, and that has been attached now */
        forget_fixes(&r);
        audit_fini(&a);
        res = pass(&o, dir, env, &r, &s, &a, &msg);
    }
    int status = res == RES_OK ? conclude(k, &r, &s, &a, yes) : complain("%s", msg.text);
    forget_fixes(&r);
    audit_fini(&a);
    if (shadow)
        env_shadow_free(shadow);
    return status;
}
