/* Data directories that no server uses: opening one, and looking at everything in it.
 *
 * A directory is opened by the code of the server, so what is verified is what the server would find. To leave it as it is,
 * it is opened through a shadow (os/env_shadow.h). */
#ifndef VARVE_KVCTL_OFFLINE_H
#define VARVE_KVCTL_OFFLINE_H

#include "front/front.h"
#include "tools/kvctl/kvctl.h"

struct offline {
    struct env *env, *shadow; /* shadow: NULL when opened for change */
    struct front *front;
    char engine[16];
};
/* May the directory be opened at all, and by which engine? */
enum result offline_identify(struct offline *o, const char *dir, struct errmsg *msg) MUST_CHECK;
/* change: recovery and all that follows are written. */
enum result offline_open(struct offline *o, const char *dir, bool change, enum front_recovery mode, struct errmsg *msg)
    MUST_CHECK;
enum result offline_close(struct offline *o) MUST_CHECK;

/* ---- audit.c: do the records agree with each other? ---- */

/* Something does not: a sentence, and what would make it right (fix NULL: nothing can). */
struct audit_fix {
    uint8_t kind; /* enum record_kind */
    struct slice key, value;
};
typedef void audit_fn(void *arg, const char *sentence, const struct audit_fix *fix);
struct audit_counter {
    uint32_t keyspace;
    int64_t keys, expires;         /* as counted */
    int64_t keys_off, expires_off; /* what the counters have more or less than that */
};
struct audit {
    uint64_t records, keys, expires, elements, dead, problems;
    struct audit_counter *counters;
    size_t counter_count, counter_room;
};
/* Looks at every record. RES_OK whatever was found; an error when not all could be read; RES_INTERRUPTED: see interrupt.h. */
enum result audit_run(struct front *f, audit_fn *problem, void *arg, struct audit *out, struct errmsg *msg) MUST_CHECK;
void audit_fini(struct audit *a);

#endif
