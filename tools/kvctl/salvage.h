/* Salvaging the files of a data directory's engine: what can be read stays, what cannot is left out, and said. Damaged files
 * are kept in DIR/lost. Nothing is written where nothing is damaged. The caller has locked the directory. */
#ifndef VARVE_KVCTL_SALVAGE_H
#define VARVE_KVCTL_SALVAGE_H

#include "base/result.h"
#include "os/env.h"

struct salvage {
    bool changed;   /* something was left out, or made anew */
    bool aside;     /* damaged files are in DIR/lost */
    bool tried;     /* false: the engine cannot be opened before this has been done for real */
    char told[256]; /* what it came to */
    void (*say)(void *arg, const char *sentence);
    void *arg;
};
void salvage_say(struct salvage *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* DIR/FOLDER/NAME, under that name in DIR/lost. When it is missing, or kept by an earlier repair, nothing is done. */
enum result salvage_keep(struct salvage *s, struct env *env, const char *dir, const char *folder, const char *name,
                         struct errmsg *msg) MUST_CHECK;

/* Engine lsm: verifies every table that the manifest names. Tables that are missing or cannot be opened leave the manifest;
 * of those with damaged blocks, a copy without them takes the place. salvage.c */
enum result salvage_tables(struct env *env, const char *dir, struct salvage *out, struct errmsg *msg) MUST_CHECK;

/* Engine file: verifies every record of the files that FILES names, and of private tables. Of files with damaged records, a
 * copy without them takes the place; hint files that do not hold are made anew. salvage_files.c */
enum result salvage_files(struct env *env, const char *dir, struct salvage *out, struct errmsg *msg) MUST_CHECK;

/* Engine btree: verifies every page and every record of the tree, and of private tables. When something is lost, a new tree
 * takes the place, with all that can be read: below damaged branches, too. With an env that is not the real one the tree is
 * only looked at, since LMDB takes no other. salvage_tree.c */
enum result salvage_tree(struct env *env, const char *dir, struct salvage *out, struct errmsg *msg) MUST_CHECK;
/* The looking alone: RES_CORRUPT and the first fault. */
enum result salvage_tree_check(const char *dir, struct errmsg *msg) MUST_CHECK;

/* ---- data files of either engine: salvage_data.c ---- */
struct salvage_data {
    struct salvage *salvage;
    struct env *env;
    const char *dir, *folder; /* they lie in DIR/FOLDER */
    struct errmsg *msg;
    uint64_t records, lost_bytes, places; /* of the file looked at last: records that hold; bytes that do not, where */
    uint64_t size;                        /* of the copy */
    uint64_t files, lost, cut, hints;     /* in all */
};
/* Verifies the file, its hint file too. *whole: nothing of it is damaged. RES_NOT_FOUND: there is no such file. size 0:
 * whatever it has. */
enum result salvage_data_look(struct salvage_data *d, uint64_t number, uint64_t size, bool *whole) MUST_CHECK;
/* Writes what holds into a file of another number, in DIR/INTO. */
enum result salvage_data_copy(struct salvage_data *d, uint64_t number, uint64_t size, const char *into, uint64_t to)
    MUST_CHECK;
/* Private tables: files with a hint file that are not among these. A damaged one is replaced by a copy with its number, since
 * the log names it. */
enum result salvage_private(struct salvage_data *d, bool (*is_other)(void *arg, uint64_t number), void *arg) MUST_CHECK;
/* A folder in DIR for what is not in place yet; what an earlier repair left there is removed. */
#define SALVAGE_FOLDER "repairing"
enum result salvage_folder(struct env *env, const char *dir, struct errmsg *msg) MUST_CHECK;

#endif
