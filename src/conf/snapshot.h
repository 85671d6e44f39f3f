/* A snapshot of all settings: what was said, and what the server made of it. Written by the one thread that builds it,
 * immutable once published. */
#ifndef VARVE_CONF_SNAPSHOT_H
#define VARVE_CONF_SNAPSHOT_H

#include <stdatomic.h>

#include "base/epoch.h"
#include "conf/setting.h"

struct snapshot {
    struct settings settled;   /* what everybody sees: AUTO decided, paths absolute. First: see snapshot_of() */
    struct settings said;      /* as configured, or the default */
    bool given[SETTING_COUNT]; /* by file, flag or CONFIG SET */
    struct arena arena;        /* the strings of both */
    atomic_uint refs;
    struct epoch_entry reclaim;
};

/* NULL: out of memory. One reference is the caller's. */
struct snapshot *snapshot_new(void);
struct snapshot *snapshot_clone(const struct snapshot *from);
void snapshot_free(struct snapshot *s); /* one that was never published */
/* Fills `settled` from `said`: decides what was left to the server and checks settings against each other. running: what
 * was decided at the start stays as it is there; NULL: this is the start. On failure *culprit is the setting at fault. */
enum result snapshot_settle(struct snapshot *s, const struct snapshot *running, const struct setting **culprit,
                            struct errmsg *msg) MUST_CHECK;
/* Makes it the current one; takes over the caller's reference. */
void snapshot_publish(struct snapshot *s);
/* A reference to the current one. */
struct snapshot *snapshot_hold(void);
void snapshot_release(struct snapshot *s);

/* The configuration file, absolute; NULL or "" for none. */
enum result settings_set_file(const char *path) MUST_CHECK;

#endif
