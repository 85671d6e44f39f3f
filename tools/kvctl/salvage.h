/* Salvaging the tables of an LSM directory: what can be read stays, what cannot is left out, and said. */
#ifndef VARVE_KVCTL_SALVAGE_H
#define VARVE_KVCTL_SALVAGE_H

#include "os/env.h"

struct salvage {
    uint64_t tables, lost_tables, cut_tables, lost_blocks;
    void (*say)(void *arg, const char *sentence);
    void *arg;
};
/* Verifies every table that the manifest names. Tables that are missing or cannot be opened leave the manifest; of those
 * with damaged blocks, a copy without them takes the place. The damaged files are kept in DIR/lost. Nothing is written
 * where nothing is damaged. The caller has locked the directory. */
enum result salvage_tables(struct env *env, const char *dir, struct salvage *out, struct errmsg *msg) MUST_CHECK;

#endif
