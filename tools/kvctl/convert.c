/* kvctl convert: a data directory's records into a new directory of another engine. The source is opened through a shadow,
 * as check does it. The copy is made as DIR2.converting, verified, and renamed when it is whole. Ctrl+C removes it; what a
 * harder end leaves is known by its LOCK file, or by being empty, and removed by the next conversion to DIR2, unless one is
 * still at work there. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tools/kvctl/interrupt.h"
#include "tools/kvctl/offline.h"
#include "tools/kvctl/progress.h"

struct copying {
    struct progress progress;
    uint64_t records;
};

static bool told(void *arg, uint64_t records)
{
    struct copying *c = arg;
    c->records = records;
    progress_show(&c->progress, records, records);
    return !interrupted();
}

static uint64_t records_of(struct front *f)
{
    struct front_stats s;
    uint64_t n = 0;
    front_stats(f, &s);
    for (int i = 0; i < ENGINE_LEVELS; i++)
        n += s.engine.level[i].records;
    return n + s.memtable_records;
}

/* The folder that the copy's name is in. */
static void above(const char *path, char out[4096])
{
    snprintf(out, 4096, "%s", path);
    char *slash = strrchr(out, '/');
    if (!slash)
        snprintf(out, 4096, ".");
    else if (slash == out)
        out[1] = 0;
    else
        *slash = 0;
}

static void keep_first(void *first, const char *sentence, const struct audit_fix *fix)
{
    struct errmsg *msg = first;
    (void)fix;
    if (msg->text[0] == 0)
        snprintf(msg->text, sizeof msg->text, "%s", sentence);
}

/* As check does it: every checksum, and that records, counters and index agree. */
static enum result verify(struct front *f, struct errmsg *msg)
{
    struct audit a = {0};
    struct errmsg first = {""};
    enum result r = front_check(f, msg);
    if (r == RES_OK && interrupted())
        r = RES_INTERRUPTED;
    if (r == RES_OK)
        r = audit_run(f, keep_first, &first, &a, msg);
    if (r == RES_OK && a.problems)
        r = errmsg_set(msg, RES_CORRUPT, "%" PRIu64 " things do not hold in the copy, the first of them: %.400s",
                       a.problems, first.text);
    audit_fini(&a);
    return r;
}

static enum result fill(struct front *from, const struct engine_ops *engine, const char *dir, struct copying *c,
                        struct errmsg *msg)
{
    struct front *to;
    struct front_options options = {
        .env = env_posix(),
        .engine = engine,
        .dir = dir,
        .create = true,
        .fsync = FRONT_FSYNC_ALWAYS,
        .like = front_identity(from),
        .tuning = {.cache_bytes = (uint64_t)64 << 20},
    };
    enum result r = front_open(&options, &to, msg);
    if (r != RES_OK)
        return r;
    r = front_copy(from, to, told, c, msg);
    if (r == RES_OK)
        r = verify(to, msg);
    enum result closed = front_close(to);
    if (r == RES_OK && closed != RES_OK)
        r = errmsg_set(msg, closed, "%s could not be closed: %s", dir, result_text(closed));
    return r;
}

struct leftover {
    bool locked_file, others;
};

static void note_entry(void *arg, const char *name)
{
    struct leftover *l = arg;
    if (strcmp(name, "LOCK") == 0)
        l->locked_file = true;
    else
        l->others = true;
}

/* What a conversion that was ended the hard way has left; anything else under that name is not ours to remove. */
static enum result remove_leftover(const char *temporary, bool quiet, struct errmsg *msg)
{
    char path[4200];
    struct env *env = env_posix();
    struct env_file *lock = NULL;
    struct leftover l = {false, false};
    if (!env_exists(env, temporary))
        return RES_OK;
    enum result r = env->ops->list(env, temporary, note_entry, &l);
    if (r != RES_OK || (l.others && !l.locked_file))
        return errmsg_set(msg, RES_EXISTS, "%s is there and was left by no conversion: rename it first", temporary);
    snprintf(path, sizeof path, "%s/LOCK", temporary);
    if (l.locked_file && (r = env->ops->lock(env, path, &lock)) == RES_LOCKED)
        return errmsg_set(msg, r, "%s is in use: another conversion is at work", temporary);
    if (r == RES_OK)
        r = env_remove_tree(env, temporary);
    if (lock)
        (void)!lock->ops->close(lock);
    if (r != RES_OK)
        return errmsg_set(msg, r, "cannot remove %s, which an interrupted conversion has left: %s", temporary,
                          result_text(r));
    if (!quiet)
        fprintf(stderr, "kvctl: %s, which an interrupted conversion had left, is removed; this one begins anew\n",
                temporary);
    return RES_OK;
}

static enum result install(const char *temporary, const char *dir, struct errmsg *msg)
{
    char folder[4096];
    struct env *env = env_posix();
    above(dir, folder);
    enum result r = env->ops->rename(env, temporary, dir);
    if (r == RES_OK)
        r = env->ops->sync_dir(env, folder);
    return r == RES_OK ? r : errmsg_set(msg, r, "cannot rename %s to %s: %s", temporary, dir, result_text(r));
}

int run_convert(struct kvctl *k)
{
    char dir[4000], temporary[4096];
    const char *name = option("to");
    const struct engine_ops *engine = name ? engine_by_name(name) : NULL;
    struct errmsg msg = {""};
    struct offline o;
    struct copying c = {.records = 0};
    if (!name)
        return complain("which engine is it to be? Say --to lsm, --to btree or --to file");
    if (!engine || !engine->persistent)
        return complain("%s is no engine that keeps a data directory: say --to lsm, --to btree or --to file", name);
    if (snprintf(dir, sizeof dir, "%s", k->argv[1]) >= (int)sizeof dir)
        return complain("%s: the name is too long", k->argv[1]);
    for (size_t n = strlen(dir); n > 1 && dir[n - 1] == '/'; n--)
        dir[n - 1] = 0;
    snprintf(temporary, sizeof temporary, "%s.converting", dir);
    enum result r = RES_OK;
    if (env_exists(env_posix(), dir))
        r = errmsg_set(&msg, RES_EXISTS, "%s is there already: name a directory that is not", dir);
    if (r == RES_OK)
        r = remove_leftover(temporary, option("quiet") != NULL, &msg);
    if (r == RES_OK)
        r = offline_open(&o, k->argv[0], false, FRONT_RECOVER_STRICT, &msg);
    if (r != RES_OK)
        return complain("%s", msg.text);
    progress_begin(&c.progress, "records", 0, records_of(o.front), option("quiet") == NULL);
    uint64_t from = mono_ns();
    interrupt_catch();
    r = fill(o.front, engine, temporary, &c, &msg);
    progress_end(&c.progress, c.records, c.records);
    (void)!offline_close(&o);
    if (r == RES_OK)
        r = install(temporary, dir, &msg);
    if (r != RES_OK) {
        /* one that is locked is another conversion's, which was quicker */
        bool clean = r == RES_LOCKED || env_remove_tree(env_posix(), temporary) == RES_OK;
        if (r == RES_INTERRUPTED)
            return complain("interrupted: %s", clean ? "there is no copy" : "what was copied could not be removed");
        return complain("%s", msg.text);
    }
    if (!option("quiet"))
        printf("%s, engine %s: %" PRIu64 " records of %s (engine %s), copied and verified in %.1f s\n", dir, name,
               c.records, k->argv[0], o.engine, (double)(mono_ns() - from) / 1e9);
    return KVCTL_DONE;
}
