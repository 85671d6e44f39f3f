/* The manifest: the list of tables, as a file of checksummed edits, and CURRENT, which names the manifest in force.
 *
 * CURRENT is one line, "MANIFEST-NNNNNN xxxxxxxx\n": the checksum32 of the name, in hexadecimal, salt 0.
 *
 * A manifest is a sequence of records:
 *      0  length of the payload u32
 *      4  checksum32 of the length        \  salted with manifest number and offset of the record,
 *      8  checksum32 of the payload       /  so that neither holds at another place
 *     12  payload: fields varint(tag) varint(length) bytes, see enum manifest_field; unknown tags are refused, for a
 *         later program may mean something by them that must not be lost
 * The first record is the whole state, the others change it.
 *
 * 1. A record counts once the file has been synced behind it; only then is a version published.
 * 2. What follows the last whole record is cut if a crash during its append can have left it: the file ends in the
 *    middle of the record, or some sector of it is zero; and no whole record follows. Anything else is damage, and
 *    refuses to open.
 * 3. A file on which a write or sync failed is not written again: the next edit starts a new manifest with the whole
 *    state. So does an edit after the file has grown to several times the size of the state.
 * 4. A new manifest is written and synced before CURRENT names it, and the old one removed only afterwards. */
#ifndef VARVE_ENGINE_LSM_MANIFEST_H
#define VARVE_ENGINE_LSM_MANIFEST_H

#include "base/buf.h"
#include "engine/engine.h"

#define MANIFEST_VERSION 1

enum manifest_field {
    MANIFEST_FORMAT = 1,      /* first in the first record: MANIFEST_VERSION */
    MANIFEST_NEXT_NUMBER = 2, /* no file has this number or a higher one, but for files of a process that crashed */
    MANIFEST_SEQUENCE = 3,    /* the boundary */
    MANIFEST_STATE = 4,       /* the front's bytes */
    MANIFEST_ADD = 5,         /* varints: number, level, run, size, region */
    MANIFEST_DROP = 6,        /* varints: number, level */
};

struct manifest_table {
    uint64_t number, run, size;
    int level;
    uint8_t region;
};
/* The state that a sequence of edits leads to. */
struct manifest_state {
    uint64_t next_number, sequence;
    struct buf state;
    struct manifest_table *tables;
    size_t count, cap;
};
void manifest_state_fini(struct manifest_state *s);

/* ---- encoding ---- */
enum result manifest_put_number(struct buf *b, enum manifest_field field, uint64_t value) MUST_CHECK;
enum result manifest_put_bytes(struct buf *b, enum manifest_field field, struct slice bytes) MUST_CHECK;
enum result manifest_put_add(struct buf *b, const struct manifest_table *t) MUST_CHECK;
enum result manifest_put_drop(struct buf *b, uint64_t number, int level) MUST_CHECK;

/* Applies the records of a manifest's bytes to an empty state. *good: the bytes that count; less than len when a torn
 * tail was cut. RES_CORRUPT with file name and offset in *msg. */
enum result manifest_parse(struct slice bytes, const char *path, uint64_t number, struct manifest_state *s,
                           size_t *good, struct errmsg *msg) MUST_CHECK;

/* ---- files ---- */
struct manifest {
    struct env *env;
    const char *dir;
    uint64_t number;
    struct env_file *file; /* NULL: the next edit starts a new one */
    uint64_t size;         /* where the next record goes */
    uint64_t base;         /* size of the record with the whole state */
};
/* Reads CURRENT and the manifest it names. RES_NOT_FOUND when there is neither CURRENT nor a manifest. */
enum result manifest_open(struct manifest *m, struct env *env, const char *dir, struct manifest_state *s,
                          struct errmsg *msg) MUST_CHECK;
/* Is the next edit to be written as a whole state? */
bool manifest_wants_whole(const struct manifest *m);
/* Appends and syncs. After a failure the manifest wants whole. */
enum result manifest_append(struct manifest *m, struct slice payload) MUST_CHECK;
/* Starts manifest `number` with this payload and puts it in force. *in_doubt is set when it failed so late that it may
 * be in force after a crash. */
enum result manifest_start(struct manifest *m, uint64_t number, struct slice payload, bool *in_doubt) MUST_CHECK;
void manifest_close(struct manifest *m);
/* Removes manifests that are not in force. */
enum result manifest_sweep(struct manifest *m) MUST_CHECK;

#endif
