/* kvctl check: is everything in a data directory as it must be? Opens it through a shadow, strictly, so that recovery
 * verifies logs and manifest; has the engine verify every block of every table; then looks at all records. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tools/kvctl/offline.h"
#include "tools/kvctl/salvage.h"

#define SAID_MOST 100 /* problems that are told one by one */

struct said {
    const struct kvctl *k;
    uint64_t count;
};

static void say(void *arg, const char *sentence, const struct audit_fix *fix)
{
    struct said *s = arg;
    (void)fix;
    if (s->count++ < SAID_MOST)
        printf("%s\n", sentence);
    else if (s->count == SAID_MOST + 1)
        puts("...");
}

static void report(const struct kvctl *k, const char *dir, const struct offline *o, const struct audit *a)
{
    struct front_stats s;
    front_stats(o->front, &s);
    if (k->json) {
        printf("{\"dir\":");
        print_json_string(stdout, slice_str(dir));
        printf(",\"engine\":\"%s\",\"tables\":%" PRIu64 ",\"records\":%" PRIu64 ",\"keys\":%" PRIu64
               ",\"replayed_commits\":%" PRIu64 ",\"torn_bytes\":%" PRIu64 ",\"problems\":%" PRIu64 "}\n",
               o->engine, s.engine.open_tables, a->records, a->keys, s.recovered_commits, s.torn_bytes, a->problems);
        return;
    }
    if (option("quiet") && a->problems == 0)
        return;
    printf("%s, engine %s: %" PRIu64 " tables, %" PRIu64 " records, %" PRIu64 " keys, %" PRIu64 " with expiry; %" PRIu64
           " commits in the log behind the tables\n",
           dir, o->engine, s.engine.open_tables, a->records, a->keys, a->expires, s.recovered_commits);
    if (s.torn_bytes)
        printf("the log ends in %" PRIu64 " bytes that were being written when the server stopped: they were never "
               "acknowledged\n",
               s.torn_bytes);
    if (a->problems)
        printf("%" PRIu64 " things do not hold\n", a->problems);
    else
        puts("everything holds");
}

/* LMDB trusts its file: a damaged one is not to be shown to it. */
static enum result look_at_tree(struct offline *o, const char *dir, struct errmsg *msg)
{
    char path[4096];
    struct env_file *lock;
    enum result r = offline_identify(o, dir, msg);
    if (r != RES_OK || strcmp(o->engine, "btree") != 0)
        return r;
    snprintf(path, sizeof path, "%s/LOCK", dir);
    r = env_posix()->ops->lock(env_posix(), path, &lock);
    if (r != RES_OK)
        return errmsg_set(msg, r, "cannot lock %s: %s", dir, result_text(r));
    r = salvage_tree_check(dir, msg);
    (void)lock->ops->close(lock);
    return r;
}

int run_check(struct kvctl *k)
{
    struct offline o;
    struct errmsg msg = {""};
    struct audit audit = {0};
    struct said said = {.k = k};
    const char *dir = k->argv[0];
    enum result r = look_at_tree(&o, dir, &msg);
    if (r == RES_OK)
        r = offline_open(&o, dir, false, FRONT_RECOVER_STRICT, &msg);
    if (r != RES_OK)
        return complain("%s", msg.text);
    r = front_check(o.front, &msg);
    if (r == RES_OK)
        r = audit_run(o.front, say, &said, &audit, &msg);
    int status = audit.problems ? KVCTL_ERROR : KVCTL_DONE;
    if (r != RES_OK)
        status = complain("%s", msg.text);
    else
        report(k, dir, &o, &audit);
    audit_fini(&audit);
    (void)!offline_close(&o);
    return status;
}
