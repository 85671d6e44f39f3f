/* The current snapshot: published by one pointer, read inside epoch sections, replaced by CONFIG SET.
 *
 * A change clones the current snapshot, parses the new values into the clone, settles it, lets the hooks of all settings
 * that differ put it into effect, and publishes it. A failure on the way leaves everything as it was. */
#include "conf/snapshot.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>

#include "base/glob.h"
#include "base/log.h"
#include "conf/settings_change.h"
#include "os/thread.h"

struct hook {
    const struct setting *setting;
    settings_apply_fn *apply;
    void *arg;
};
struct publish_hook {
    settings_publish_fn *published;
    void *arg;
};
#define HOOKS_MAX 64

static _Atomic(struct snapshot *) current;
static struct hook hooks[HOOKS_MAX];
static struct publish_hook publish_hooks[HOOKS_MAX];
static int hook_count, publish_hook_count;
static char *config_file;
static struct os_mutex change_lock = {PTHREAD_MUTEX_INITIALIZER}; /* held by the one change */

/* ---- life of a snapshot ---- */

struct snapshot *snapshot_new(void)
{
    struct snapshot *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    arena_init(&s->arena, 512);
    atomic_init(&s->refs, 1);
    setting_defaults(&s->said);
    s->settled = s->said;
    return s;
}

struct snapshot *snapshot_clone(const struct snapshot *from)
{
    struct snapshot *s = snapshot_new();
    if (s == NULL)
        return NULL;
    s->said = from->said;
    memcpy(s->given, from->given, sizeof s->given);
    for (int id = 0; id < SETTING_COUNT; id++) {
        const struct setting *d = setting_by_id((enum setting_id)id);
        if (d->type != SETTING_STRING || !s->given[id])
            continue;
        const char **field = (const char **)(void *)((char *)&s->said + d->offset);
        *field = arena_copy(&s->arena, *field, strlen(*field) + 1);
        if (*field == NULL) {
            snapshot_free(s);
            return NULL;
        }
    }
    return s;
}

void snapshot_free(struct snapshot *s)
{
    if (s == NULL)
        return;
    arena_fini(&s->arena);
    free(s);
}

static void reclaim(struct epoch_entry *entry)
{
    snapshot_free((struct snapshot *)(void *)((char *)entry - offsetof(struct snapshot, reclaim)));
}

void snapshot_release(struct snapshot *s)
{
    if (s != NULL && atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1)
        epoch_retire(&s->reclaim, reclaim);
}

void snapshot_publish(struct snapshot *s)
{
    struct snapshot *old = atomic_exchange_explicit(&current, s, memory_order_acq_rel);
    for (int i = 0; i < publish_hook_count && s != NULL; i++)
        publish_hooks[i].published(publish_hooks[i].arg, &s->settled);
    snapshot_release(old);
}

const struct settings *settings_current(void)
{
    struct snapshot *s = atomic_load_explicit(&current, memory_order_acquire);
    return s ? &s->settled : NULL;
}

/* In an epoch section the struct cannot go away, but its last reference may: then a newer snapshot is there. */
struct snapshot *snapshot_hold(void)
{
    struct snapshot *s;
    epoch_enter();
    for (;;) {
        s = atomic_load_explicit(&current, memory_order_acquire);
        if (s == NULL)
            break;
        unsigned refs = atomic_load_explicit(&s->refs, memory_order_relaxed);
        while (refs != 0 && !atomic_compare_exchange_weak_explicit(&s->refs, &refs, refs + 1, memory_order_acquire,
                                                                   memory_order_relaxed))
            ;
        if (refs != 0)
            break;
    }
    epoch_leave();
    return s;
}

const struct settings *settings_hold(void)
{
    struct snapshot *s = snapshot_hold();
    return s ? &s->settled : NULL;
}

bool settings_given(const char *name)
{
    const struct setting *d = setting_find(slice_str(name));
    struct snapshot *s = d ? snapshot_hold() : NULL;
    bool given = s != NULL && s->given[d->id];
    if (s != NULL)
        snapshot_release(s);
    return given;
}

void settings_release(const struct settings *s)
{
    _Static_assert(offsetof(struct snapshot, settled) == 0, "the settings are the head of their snapshot");
    union {
        const struct settings *in;
        struct snapshot *out;
    } head = {.in = s};
    snapshot_release(head.out);
}

enum result settings_load_defaults(struct errmsg *msg)
{
    struct snapshot *s = snapshot_new();
    const struct setting *culprit;
    if (s == NULL)
        return errmsg_set(msg, RES_NO_MEMORY, "out of memory");
    enum result res = snapshot_settle(s, NULL, &culprit, msg);
    if (res == RES_OK)
        snapshot_publish(s);
    else
        snapshot_free(s);
    return res;
}

void settings_unload(void)
{
    snapshot_publish(NULL);
    hook_count = publish_hook_count = 0;
    free(config_file);
    config_file = NULL;
}

const char *settings_file(void) { return config_file ? config_file : ""; }

enum result settings_set_file(const char *path)
{
    char *real = path && *path ? realpath(path, NULL) : NULL;
    if (path && *path && real == NULL)
        return RES_NO_MEMORY;
    free(config_file);
    config_file = real;
    return RES_OK;
}

/* ---- hooks ---- */

void settings_on_change(const char *name, settings_apply_fn *apply, void *arg)
{
    const struct setting *d = setting_find(slice_str(name));
    assert(d != NULL && (d->flags & SETTING_RUN) != 0 && hook_count < HOOKS_MAX);
    hooks[hook_count++] = (struct hook){d, apply, arg};
}

void settings_on_publish(settings_publish_fn *published, void *arg)
{
    assert(publish_hook_count < HOOKS_MAX);
    publish_hooks[publish_hook_count++] = (struct publish_hook){published, arg};
    if (settings_current() != NULL)
        published(arg, settings_current());
}

static enum result apply_hooks(const struct settings *old, const struct settings *now, const struct setting **culprit,
                               struct errmsg *msg)
{
    enum result res = RES_OK;
    int i;
    for (i = 0; i < hook_count && res == RES_OK; i++) {
        if (setting_equal(hooks[i].setting, old, now))
            continue;
        *culprit = hooks[i].setting;
        res = hooks[i].apply(hooks[i].arg, old, now, msg);
    }
    if (res == RES_OK)
        return RES_OK;
    for (i -= 2; i >= 0; i--) /* the one that failed changed nothing */
        if (!setting_equal(hooks[i].setting, old, now) && hooks[i].apply(hooks[i].arg, now, old, NULL) != RES_OK)
            log_warning("setting %s cannot be put back to what it was", hooks[i].setting->name);
    return res;
}

/* ---- CONFIG SET and GET ---- */

/* Which pair named this setting; -1: none did. */
static int pair_of(const struct setting *d, int pairs, const struct slice *kv)
{
    for (int i = 0; i < pairs; i++)
        if (setting_find(kv[2 * i]) == d)
            return i;
    return -1;
}

static enum result check_pair(int i, const struct slice *kv)
{
    const struct setting *d = setting_find(kv[2 * i]);
    if (d == NULL)
        return RES_NOT_FOUND;
    return pair_of(d, i, kv) >= 0 ? RES_EXISTS : RES_OK;
}

/* A setting of the start can be given the value it has: whoever sets everything anew need not know which those are. */
static enum result check_same(const struct setting *d, const struct snapshot *old, const struct slice *value)
{
    struct settings other = old->said;
    struct arena arena;
    arena_init(&arena, 256);
    bool same = setting_parse(d, &other, &arena, 1, value, false, NULL) == RES_OK &&
                (setting_equal(d, &other, &old->said) || setting_equal(d, &other, &old->settled));
    arena_fini(&arena);
    return same ? RES_OK : RES_READ_ONLY;
}

static enum result change_locked(int pairs, const struct slice *kv, int *culprit, struct errmsg *msg)
{
    struct snapshot *old = atomic_load_explicit(&current, memory_order_acquire), *now;
    const struct setting *at_fault = NULL;
    enum result res = RES_OK;
    assert(old != NULL);
    if ((now = snapshot_clone(old)) == NULL)
        return errmsg_set(msg, RES_NO_MEMORY, "out of memory");
    for (int i = 0; i < pairs && res == RES_OK; i++) {
        const struct setting *d = setting_find(kv[2 * i]);
        *culprit = i;
        if ((d->flags & SETTING_RUN) == 0)
            res = check_same(d, old, &kv[2 * i + 1]);
        else if ((res = setting_parse(d, &now->said, &now->arena, 1, &kv[2 * i + 1], false, msg)) == RES_OK)
            now->given[d->id] = true;
    }
    if (res == RES_OK) {
        res = snapshot_settle(now, old, &at_fault, msg);
        if (res == RES_OK)
            res = apply_hooks(&old->settled, &now->settled, &at_fault, msg);
        if (res != RES_OK && at_fault != NULL)
            *culprit = pair_of(at_fault, pairs, kv);
    }
    if (res == RES_OK)
        snapshot_publish(now);
    else
        snapshot_free(now);
    return res;
}

enum result settings_change(int pairs, const struct slice *kv, int *culprit, struct errmsg *msg)
{
    *culprit = -1;
    if (msg != NULL)
        msg->text[0] = 0;
    for (int i = 0; i < pairs; i++) /* an unknown name comes before any other fault, as in Redis */
        if (setting_find(kv[2 * i]) == NULL) {
            *culprit = i;
            return RES_NOT_FOUND;
        }
    for (int i = 0; i < pairs; i++) {
        enum result res = check_pair(i, kv);
        *culprit = i;
        if (res != RES_OK)
            return res;
    }
    os_mutex_lock(&change_lock);
    enum result res = change_locked(pairs, kv, culprit, msg);
    os_mutex_unlock(&change_lock);
    return res;
}

bool settings_is_secret(struct slice name)
{
    const struct setting *d = setting_find(name);
    return d != NULL && (d->flags & SETTING_SECRET) != 0;
}

enum result settings_each(const struct settings *s, struct slice pattern, settings_each_fn *each, void *arg)
{
    struct buf value = BUF_INIT;
    enum result res = RES_OK;
    for (int id = 0; id < SETTING_COUNT && res == RES_OK; id++) {
        const struct setting *d = setting_by_id((enum setting_id)id);
        const char *alias = setting_alias(d);
        bool named = glob_match(pattern, slice_str(d->name), true);
        bool aliased = alias != NULL && glob_match(pattern, slice_str(alias), true);
        if (!named && !aliased)
            continue;
        buf_clear(&value);
        res = setting_format(d, s, &value);
        if (res == RES_OK && named)
            res = each(arg, d->name, buf_slice(&value));
        if (res == RES_OK && aliased)
            res = each(arg, alias, buf_slice(&value));
    }
    buf_fini(&value);
    return res;
}
