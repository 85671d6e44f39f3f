/* The failure that makes an engine read-only: see failure.h. */
#include "engine/failure.h"

#include <stdio.h>

#include "base/log.h"

void engine_failure_init(struct engine_failure *f)
{
    f->why = RES_OK;
    os_mutex_init(&f->lock);
}

void engine_failure_fini(struct engine_failure *f) { os_mutex_fini(&f->lock); }

void engine_fail(struct engine_failure *f, const struct engine_options *o, enum result why, const char *what,
                 const char *dir)
{
    char sentence[256];
    os_mutex_lock(&f->lock);
    bool first = f->why == RES_OK;
    if (first)
        f->why = why;
    os_mutex_unlock(&f->lock);
    if (!first)
        return;
    snprintf(sentence, sizeof sentence, "%s in %.150s failed: %s; nothing more is written", what, dir,
             result_text(why));
    log_warning("%s", sentence);
    if (o->on_failure)
        o->on_failure(o->arg, why, sentence);
}

enum result engine_failed(struct engine_failure *f)
{
    os_mutex_lock(&f->lock);
    enum result r = f->why;
    os_mutex_unlock(&f->lock);
    return r;
}
