/* kvctl import: reads what export wrote, sends it in pipelines, and remembers how far it came.
 *
 * A file is read in units. A unit is what may be stored once more from its beginning without harm: a line of JSON with
 * those that append to it, or in RESP a SET or a DEL with the commands behind it up to the next SET or DEL. The place up to which all units have been
 * answered is kept in FILE.progress, written anew once a second and when the import ends before its time; --resume begins
 * there. What lies behind it may have been stored already, and is stored again. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/kvctl/import.h"
#include "tools/kvctl/interrupt.h"
#include "tools/kvctl/progress.h"

#define IN_FLIGHT_COMMANDS 1000
#define IN_FLIGHT_BYTES (1u << 20)

struct import {
    struct kvctl *k;
    struct import_source source;
    const char *file; /* NULL: stdin, nothing is remembered */
    char *memory;     /* FILE.progress */
    struct stat st;
    struct progress progress;
    struct buf out;
    unsigned commands; /* in out */
    uint64_t units, answered_units;
    uint64_t safe; /* all units before this place have been answered */
    uint64_t saved_ns;
};

/* ---- remembering ---- */

/* Which file it is: an import of another one must not go on at this place. */
static int describe(const struct import *i, char *out, size_t room)
{
    return snprintf(out, room, "size %lld modified %lld.%09ld", (long long)i->st.st_size,
                    (long long)i->st.st_mtim.tv_sec, i->st.st_mtim.tv_nsec);
}

static void save(struct import *i)
{
    char temporary[4200], what[128];
    if (!i->memory)
        return;
    i->saved_ns = mono_ns();
    describe(i, what, sizeof what);
    snprintf(temporary, sizeof temporary, "%s.tmp", i->memory);
    FILE *f = fopen(temporary, "w");
    bool good = f && fprintf(f, "kvctl import 1\n%s\noffset %" PRIu64 " keys %" PRIu64 "\n", what, i->safe,
                             i->answered_units) > 0;
    good = f && fclose(f) == 0 && good;
    if (!good || rename(temporary, i->memory) != 0)
        (void)complain("cannot write %s: %s", i->memory, strerror(errno));
}

static int recall(struct import *i)
{
    char line[256], what[128];
    unsigned long long offset = 0, keys = 0;
    if (!i->memory)
        return complain("--resume needs a FILE: nothing is known of what came from standard input");
    FILE *f = fopen(i->memory, "r");
    if (!f)
        return complain("cannot resume: %s: %s", i->memory, strerror(errno));
    describe(i, what, sizeof what);
    bool good = fgets(line, sizeof line, f) && strcmp(line, "kvctl import 1\n") == 0 && fgets(line, sizeof line, f);
    line[strcspn(line, "\n")] = 0;
    bool same = good && strcmp(line, what) == 0;
    good = good && fscanf(f, "offset %llu keys %llu", &offset, &keys) == 2;
    fclose(f);
    if (!good)
        return complain("cannot resume: %s is damaged", i->memory);
    if (!same)
        return complain("cannot resume: %s has changed since", i->file);
    i->safe = offset;
    i->units = i->answered_units = keys;
    return 0;
}

/* ---- sending ---- */

/* Sends what is there and takes the answers; all before `place` is safe then. */
static int settle(struct import *i, uint64_t place)
{
    redisContext *c = i->k->redis;
    if (i->commands && redisAppendFormattedCommand(c, (const char *)i->out.data, i->out.len) != REDIS_OK)
        return complain("out of memory");
    for (; i->commands > 0; i->commands--) {
        void *any = NULL;
        if (redisGetReply(c, &any) != REDIS_OK || !any)
            return complain("the connection broke: %s", c->errstr);
        if (client_refused(any))
            return complain("the import stopped at a key at or behind byte %" PRIu64, i->safe);
        freeReplyObject(any);
    }
    i->out.len = 0;
    i->safe = place;
    i->answered_units = i->units;
    if (i->units > 0 && place < i->source.at)
        i->answered_units--; /* the last one may go on */
    if (i->memory && mono_ns() - i->saved_ns > 1000000000u)
        save(i);
    progress_show(&i->progress, i->safe, i->answered_units);
    return 0;
}

static int import_all(struct import *i)
{
    for (;;) {
        unsigned n = 0;
        bool starts_unit = false;
        const char *error = NULL;
        enum result r = import_next(&i->source, &i->out, &n, &starts_unit, &error);
        if (r == RES_NOT_FOUND)
            break;
        if (r != RES_OK) {
            int status = settle(i, i->source.unit_start); /* what was good before it */
            if (status)
                return status;
            return complain("%s, %s %" PRIu64 ": %s", i->file ? i->file : "standard input",
                            i->source.resp ? "byte" : "line", i->source.resp ? i->source.unit_start : i->source.lines,
                            error ? error : result_text(r));
        }
        i->commands += n;
        i->units += starts_unit;
        bool full = i->commands >= IN_FLIGHT_COMMANDS || i->out.len >= IN_FLIGHT_BYTES;
        if ((full || interrupted()) && settle(i, i->source.unit_start))
            return KVCTL_ERROR;
        if (interrupted())
            return complain("interrupted");
    }
    return settle(i, i->source.at);
}

/* ---- from the beginning to the end ---- */

static int open_file(struct import *i)
{
    i->source.in = stdin;
    if (i->k->argc == 0 || strcmp(i->k->argv[0], "-") == 0)
        return 0;
    i->file = i->k->argv[0];
    i->source.in = fopen(i->file, "rb");
    if (!i->source.in || fstat(fileno(i->source.in), &i->st) != 0)
        return complain("cannot open %s: %s", i->file, strerror(errno));
    if (!S_ISREG(i->st.st_mode))
        return 0; /* a pipe: nothing to come back to */
    if (strlen(i->file) > 4096 || asprintf(&i->memory, "%s.progress", i->file) < 0) {
        i->memory = NULL;
        return complain("%s: the name is too long", i->file);
    }
    return 0;
}

static int begin(struct import *i)
{
    if (open_file(i))
        return KVCTL_ERROR;
    uint64_t earlier = 0;
    if (option("resume")) {
        if (recall(i))
            return KVCTL_ERROR;
        earlier = i->safe;
    }
    enum result r = import_source_begin(&i->source, i->safe);
    if (r != RES_OK)
        return complain("cannot read %s: %s", i->file ? i->file : "standard input", result_text(r));
    interrupt_catch();
    i->saved_ns = mono_ns();
    progress_begin(&i->progress, "keys", earlier, i->memory ? (uint64_t)i->st.st_size : 0, !option("quiet"));
    return 0;
}

int run_import(struct kvctl *k)
{
    struct import i = {.k = k};
    int status = begin(&i);
    if (status == 0) {
        status = import_all(&i);
        progress_end(&i.progress, i.safe, i.answered_units);
        if (status == 0 && i.memory)
            unlink(i.memory);
        else if (status != 0)
            save(&i);
        if (status != 0 && i.memory)
            fprintf(stderr, "kvctl: %" PRIu64 " keys are in; go on with: kvctl import --resume %s\n", i.answered_units,
                    i.file);
        else if (!option("quiet"))
            fprintf(stderr, "%" PRIu64 " keys imported\n", i.answered_units);
    }
    import_source_end(&i.source);
    if (i.source.in && i.source.in != stdin)
        fclose(i.source.in);
    free(i.memory);
    buf_fini(&i.out);
    return status;
}
