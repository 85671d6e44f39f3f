/* Opening data directories for the offline subcommands: see offline.h. */
#include "tools/kvctl/offline.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "os/env_shadow.h"

enum result offline_identify(struct offline *o, const char *dir, struct errmsg *msg)
{
    char path[4096];
    uint8_t *text = NULL;
    size_t len;
    if (snprintf(path, sizeof path, "%s/IDENTITY", dir) >= (int)sizeof path)
        return errmsg_set(msg, RES_RANGE, "%s: the name is too long", dir);
    enum result r = env_read_file(env_posix(), path, 65536, &text, &len);
    if (r == RES_NOT_FOUND)
        return errmsg_set(msg, r, "%s is no data directory: it has no IDENTITY file", dir);
    if (r != RES_OK)
        return errmsg_set(msg, r, "cannot read %s: %s", path, result_text(r));
    const char *at = strstr((const char *)text, "\nengine ");
    if (!at || sscanf(at, "\nengine %15s", o->engine) != 1) /* front_open says more about what is wrong with it */
        snprintf(o->engine, sizeof o->engine, "lsm");
    free(text);
    return RES_OK;
}

enum result offline_open(struct offline *o, const char *dir, bool change, enum front_recovery mode, struct errmsg *msg)
{
    *o = (struct offline){.env = env_posix()};
    log_set_level(change ? LOG_WARNING : LOG_NOTHING); /* what does not hold is said by check itself */
    enum result r = offline_identify(o, dir, msg);
    if (r != RES_OK)
        return r;
    const struct engine_ops *engine = engine_by_name(o->engine);
    if (!engine || !engine->persistent)
        return errmsg_set(msg, RES_UNSUPPORTED, "%s was made with engine %s, which this program does not know", dir,
                          o->engine);
    if (!change) {
        o->shadow = o->env = env_shadow_new(env_posix());
        if (!o->env)
            return errmsg_set(msg, RES_NO_MEMORY, "out of memory");
    }
    struct front_options options = {
        .env = o->env,
        .engine = engine,
        .dir = dir,
        .fsync = FRONT_FSYNC_ALWAYS,
        .recovery = mode,
        .tuning = {.cache_bytes = (uint64_t)64 << 20},
    };
    r = front_open(&options, &o->front, msg);
    if (r == RES_OK && o->shadow)
        env_shadow_refuse(o->shadow); /* no compaction into our memory */
    if (r != RES_OK && o->shadow) {
        env_shadow_free(o->shadow);
        o->shadow = NULL;
    }
    return r;
}

enum result offline_close(struct offline *o)
{
    enum result r = front_close(o->front);
    if (o->shadow) {
        env_shadow_free(o->shadow);
        return RES_OK; /* what could not be written was not to be */
    }
    return r;
}
