/* Two jobs, each at most once at a time; see saver.h. */
#include "cmd/saver.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "conf/settings.h"
#include "os/thread.h"

#define NAME "checkpoint-"

struct job {
    struct saver_job_figures shown; /* but for running_for */
    bool claimed;                   /* running, on whichever thread */
    bool joinable;
    uint64_t started_ms;
    struct os_thread thread;
};

static struct saver {
    struct shard *shard; /* NULL: not started */
    struct env *env;
    char *dir;
    atomic_bool stop;
    struct os_mutex lock; /* of what follows; a leaf */
    struct os_cond ended;
    struct job save, compact;
    uint64_t last_save, changes, last_sequence;
    char last_path[512];
} saver;

static uint64_t wall_seconds(void) { return saver.env->ops->real_ms(saver.env) / 1000; }

static uint64_t now_ms(void) { return saver.env->ops->mono_ns(saver.env) / 1000000; }

static uint64_t changes_now(void)
{
    struct shard_stats *stats = malloc(sizeof *stats);
    uint64_t changes = 0;
    if (stats) {
        shard_stats(saver.shard, stats);
        changes = stats->changes;
    }
    free(stats);
    return changes;
}

/* ---- the directory ---- */

struct listing {
    uint64_t *numbers;
    size_t count, room;
    uint64_t highest;
    bool leftovers, failed;
};

static bool number_of(const char *name, uint64_t *number, bool *leftover)
{
    int used = 0;
    if (sscanf(name, NAME "%6" SCNu64 "%n", number, &used) != 1 || used < (int)sizeof(NAME) - 1 + 6)
        return false;
    *leftover = strcmp(name + used, ".tmp") == 0;
    return *leftover || name[used] == 0;
}

static void note(void *arg, const char *name)
{
    struct listing *l = arg;
    uint64_t number;
    bool leftover;
    if (!number_of(name, &number, &leftover))
        return;
    l->highest = number > l->highest ? number : l->highest;
    l->leftovers |= leftover;
    if (l->count == l->room) {
        size_t room = l->room ? 2 * l->room : 16;
        uint64_t *more = realloc(l->numbers, room * sizeof *more);
        if (!more) {
            l->failed = true;
            return;
        }
        l->numbers = more;
        l->room = room;
    }
    if (!leftover)
        l->numbers[l->count++] = number;
}

static int descending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x < y) - (x > y);
}

static void path_of(uint64_t number, const char *end, char out[512])
{
    snprintf(out, 512, "%s/" NAME "%06" PRIu64 "%s", saver.dir, number, end);
}

/* Newest first. */
static enum result list(struct listing *l)
{
    *l = (struct listing){0};
    enum result res = saver.env->ops->list(saver.env, saver.dir, note, l);
    if (res == RES_NOT_FOUND)
        res = RES_OK;
    if (res == RES_OK && l->failed)
        res = RES_NO_MEMORY;
    if (l->count)
        qsort(l->numbers, l->count, sizeof *l->numbers, descending);
    return res;
}

static void remove_leftover(void *arg, const char *name)
{
    uint64_t number;
    bool leftover;
    char path[512];
    (void)arg;
    if (!number_of(name, &number, &leftover) || !leftover)
        return;
    path_of(number, ".tmp", path);
    enum result res = env_remove_tree(saver.env, path);
    if (res != RES_OK)
        log_warning("%s, which an interrupted checkpoint left, cannot be removed: %s", path, result_text(res));
}

static void remove_leftovers(void) { (void)!saver.env->ops->list(saver.env, saver.dir, remove_leftover, NULL); }

static void remove_old(void)
{
    const struct settings *set = settings_hold();
    size_t keep = (size_t)set->checkpoint_keep;
    settings_release(set);
    struct listing l;
    enum result res = list(&l);
    for (size_t i = keep; res == RES_OK && i < l.count; i++) {
        char path[512];
        path_of(l.numbers[i], "", path);
        res = front_checkpoint_remove(saver.env, path);
        if (res == RES_OK)
            log_notice("checkpoint %s was removed: %zu newer ones are kept", path, keep);
    }
    if (res != RES_OK)
        log_warning("old checkpoints in %s cannot be removed: %s", saver.dir, result_text(res));
    free(l.numbers);
}

/* Its entry is synced each time: an earlier making may have been interrupted just before. */
static enum result make_dir(struct errmsg *msg)
{
    enum result res = saver.env->ops->mkdir(saver.env, saver.dir);
    if (res == RES_OK || res == RES_EXISTS) {
        char above[512];
        snprintf(above, sizeof above, "%s", saver.dir);
        char *slash = strrchr(above, '/');
        if (slash)
            slash[slash == above] = 0;
        res = saver.env->ops->sync_dir(saver.env, slash ? above : ".");
    }
    return res == RES_OK ? RES_OK
                         : errmsg_set(msg, res, "the directory %s cannot be made: %s", saver.dir, result_text(res));
}

/* ---- jobs ---- */

static enum result claim(struct job *j)
{
    os_mutex_lock(&saver.lock);
    enum result res = j->claimed ? RES_LOCKED : RES_OK;
    if (res == RES_OK) {
        j->claimed = true;
        j->started_ms = now_ms();
        j->shown.begun++;
    }
    os_mutex_unlock(&saver.lock);
    return res;
}

static void end(struct job *j, enum result res)
{
    os_mutex_lock(&saver.lock);
    if (j->shown.running)
        j->shown.seconds = (int64_t)((now_ms() - j->started_ms) / 1000);
    j->shown.failed = res != RES_OK;
    j->shown.running = j->claimed = false;
    os_cond_broadcast(&saver.ended);
    os_mutex_unlock(&saver.lock);
}

static enum result checkpoint(struct errmsg *msg)
{
    struct listing l;
    char path[512];
    uint64_t sequence, changes = changes_now(), began = now_ms();
    enum result res = make_dir(msg);
    if (res != RES_OK)
        return res;
    remove_leftovers();
    res = list(&l);
    free(l.numbers);
    if (res != RES_OK)
        return errmsg_set(msg, res, "%s cannot be listed: %s", saver.dir, result_text(res));
    path_of(l.highest + 1, "", path);
    res = shard_checkpoint(saver.shard, path, &saver.stop, &sequence, msg);
    if (res != RES_OK)
        return res;
    log_notice("checkpoint %s was made in %" PRIu64 " ms: all up to commit %" PRIu64, path, now_ms() - began, sequence);
    os_mutex_lock(&saver.lock);
    saver.last_save = wall_seconds();
    saver.changes = changes;
    saver.last_sequence = sequence;
    snprintf(saver.last_path, sizeof saver.last_path, "%s", path);
    os_mutex_unlock(&saver.lock);
    remove_old();
    return RES_OK;
}

static void save_thread(void *arg)
{
    struct errmsg msg = {""};
    (void)arg;
    enum result res = checkpoint(&msg);
    if (res != RES_OK)
        log_warning("%s", msg.text);
    end(&saver.save, res);
}

static void compact_thread(void *arg)
{
    (void)arg;
    enum result res = shard_compact(saver.shard, &saver.stop);
    if (res == RES_OK)
        log_notice("everything has been compacted");
    else
        log_warning("compacting everything ended: %s", result_text(res));
    end(&saver.compact, res);
}

static void join_last(struct job *j)
{
    if (j->joinable)
        os_thread_join(&j->thread);
    j->joinable = false;
}

static enum result begin(struct job *j, const char *name, void (*run)(void *arg), struct errmsg *msg)
{
    if (!saver.shard || atomic_load(&saver.stop))
        return errmsg_set(msg, RES_CLOSED, "nothing is saved here");
    enum result res = claim(j);
    if (res != RES_OK)
        return res;
    join_last(j); /* which has ended, and is this caller's, who has the claim */
    os_mutex_lock(&saver.lock);
    j->shown.running = true;
    os_mutex_unlock(&saver.lock);
    res = os_thread_start(&j->thread, name, run, NULL);
    j->joinable = res == RES_OK;
    if (res == RES_OK)
        return RES_OK;
    end(j, res);
    return errmsg_set(msg, res, "a thread cannot be started: %s", result_text(res));
}

enum result saver_save(struct errmsg *msg) { return begin(&saver.save, "save", save_thread, msg); }

enum result saver_compact(struct errmsg *msg) { return begin(&saver.compact, "compact-all", compact_thread, msg); }

enum result saver_save_now(struct errmsg *msg)
{
    if (!saver.shard || atomic_load(&saver.stop))
        return errmsg_set(msg, RES_CLOSED, "nothing is saved here");
    enum result res = claim(&saver.save);
    if (res != RES_OK)
        return res;
    res = checkpoint(msg);
    end(&saver.save, res);
    return res;
}

/* ---- start and stop ---- */

enum result saver_start(struct shard *s, struct env *env, const char *dir, struct errmsg *msg)
{
    saver = (struct saver){.env = env, .dir = strdup(dir)};
    if (!saver.dir || strlen(dir) > 400) {
        free(saver.dir);
        return errmsg_set(msg, RES_INVALID, "checkpoint-dir is too long");
    }
    os_mutex_init(&saver.lock);
    os_cond_init(&saver.ended);
    saver.save.shown.seconds = saver.compact.shown.seconds = -1;
    saver.last_save = wall_seconds();
    saver.shard = s;
    remove_leftovers();
    return RES_OK;
}

/* Commands that have begun may still be in saver_save_now() or saver_figures(): the lock stays. */
void saver_stop(void)
{
    if (!saver.shard)
        return;
    atomic_store(&saver.stop, true);
    os_mutex_lock(&saver.lock);
    while (saver.save.claimed || saver.compact.claimed)
        os_cond_wait(&saver.ended, &saver.lock);
    saver.save.claimed = saver.compact.claimed = true; /* nobody is let in any more */
    os_mutex_unlock(&saver.lock);
    join_last(&saver.save);
    join_last(&saver.compact);
}

static struct saver_job_figures figures_of(const struct job *j) REQUIRES(saver.lock)
{
    struct saver_job_figures f = j->shown;
    f.running_for = f.running ? (int64_t)((now_ms() - j->started_ms) / 1000) : -1;
    return f;
}

void saver_figures(struct saver_figures *out)
{
    *out = (struct saver_figures){.save = {.seconds = -1, .running_for = -1}};
    out->compact = out->save;
    if (!saver.shard)
        return;
    os_mutex_lock(&saver.lock);
    out->save = figures_of(&saver.save);
    out->compact = figures_of(&saver.compact);
    out->last_save = saver.last_save;
    out->changes = saver.changes;
    out->last_sequence = saver.last_sequence;
    memcpy(out->last_path, saver.last_path, sizeof out->last_path);
    os_mutex_unlock(&saver.lock);
}
