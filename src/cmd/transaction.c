/* Transactions: MULTI, EXEC, DISCARD, WATCH, UNWATCH. The executor keeps the queue and the table of watched keys
 * (exec/multi.c, exec/watch.c); what is here looks at keys and answers. */
#include "cmd/declare.h"
#include "cmd/support.h"

#define TRANSACTION_FLAGS (CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_UNQUEUED)

static enum result run_multi(struct call *c)
{
    if (c->session->state & SESSION_MULTI)
        return reply_error(c->reply, "ERR MULTI calls can not be nested");
    if (!session_multi_begin(c->session))
        return RES_NO_MEMORY;
    reply_ok(c->reply);
    return RES_OK;
}

const struct command cmd_multi = {
    .name = "multi",
    .arity = 1,
    .flags = TRANSACTION_FLAGS | CMD_FAST | CMD_ALLOW_BUSY | CMD_SESSION,
    .acl = ACL_TRANSACTION,
    .group = "transactions",
    .since = "1.2.0",
    .complexity = "O(1)",
    .summary = "Begins a transaction: the commands that follow are queued until `EXEC`.",
    .run = run_multi,
};

static enum result run_discard(struct call *c)
{
    if (!(c->session->state & SESSION_MULTI))
        return reply_error(c->reply, "ERR DISCARD without MULTI");
    session_multi_end(c->session);
    session_unwatch(c->shard, c->session);
    reply_ok(c->reply);
    return RES_OK;
}

const struct command cmd_discard = {
    .name = "discard",
    .arity = 1,
    .flags = TRANSACTION_FLAGS | CMD_FAST | CMD_ALLOW_BUSY | CMD_SESSION,
    .acl = ACL_TRANSACTION,
    .group = "transactions",
    .since = "2.0.0",
    .complexity = "O(N) for N queued commands",
    .summary = "Gives a transaction up, and forgets what was watched.",
    .run = run_discard,
};

/* ---- WATCH ---- */

/* Looks at the key of a watch as it is now. */
static enum result peek(struct call *c, uint32_t db, struct slice user, struct watch_key *out)
{
    struct store_key key;
    enum result r = store_key_init(c, db, user, &key);
    if (r != RES_OK)
        return r;
    *out = (struct watch_key){.db = db, .key = user, .hash = key.hash};
    return store_peek(c, &key, &out->exists, &out->expired);
}

static enum result run_watch(struct call *c)
{
    if (c->session->state & SESSION_MULTI)
        return reply_error(c->reply, "ERR WATCH inside MULTI is not allowed");
    size_t n = (size_t)c->argc - 1;
    struct watch_key *keys = arena_alloc(c->arena, n * sizeof *keys);
    if (!keys)
        return RES_NO_MEMORY;
    for (size_t i = 0; i < n; i++) {
        enum result r = peek(c, c->session->db, c->argv[i + 1], &keys[i]);
        if (r != RES_OK)
            return r;
    }
    enum result r = call_watch(c, keys, n);
    if (r == RES_OK)
        reply_ok(c->reply);
    return r;
}

const struct command cmd_watch = {
    .name = "watch",
    .arity = -2,
    .flags = TRANSACTION_FLAGS | CMD_FAST | CMD_ALLOW_BUSY | CMD_LATCHED,
    .acl = ACL_TRANSACTION,
    .group = "transactions",
    .since = "2.2.0",
    .complexity = "O(1) for each key",
    .summary = "Lets the next `EXEC` run only if these keys have not been changed until then.",
    .keys = (const struct command_keyspec[]){KEYS_FROM(1, 1, KEY_RO), KEYS_END},
    .args = args_keys,
    .run = run_watch,
};

static enum result run_unwatch(struct call *c)
{
    if (!call_in_exec(c)) /* EXEC does it anyway, and may run again */
        session_unwatch(c->shard, c->session);
    reply_ok(c->reply);
    return RES_OK;
}

const struct command cmd_unwatch = {
    .name = "unwatch",
    .arity = 1,
    .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_ALLOW_BUSY | CMD_SESSION | CMD_IN_PLACE,
    .acl = ACL_TRANSACTION,
    .group = "transactions",
    .since = "2.2.0",
    .complexity = "O(1)",
    .summary = "Forgets which keys are watched.",
    .run = run_unwatch,
};

/* ---- EXEC ---- */

/* A key that was changed, though no commit could tell: its time has come, or it stands in an exchanged database. */
static enum result test_watched(struct call *c, void *arg, const struct watch_key *k)
{
    struct watch_key now;
    enum result r = peek(c, k->db, k->key, &now);
    if (r == RES_OK && ((now.expired && !k->expired) || (now.exists && k->exists)))
        *(bool *)arg = true;
    return r;
}

static enum result run_exec(struct call *c)
{
    struct session *s = c->session;
    bool broken = session_watch_broken(s);
    if (!(s->state & SESSION_MULTI))
        return reply_error(c->reply, "ERR EXEC without MULTI");
    if (session_multi_failed(s))
        return reply_error(c->reply, "EXECABORT Transaction discarded because of previous errors.");
    if (!broken) {
        enum result r = call_watched(c, test_watched, &broken);
        if (r != RES_OK)
            return r;
    }
    if (!broken)
        return call_exec(c);
    c->reply->ops->null_array(c->reply);
    return RES_OK;
}

const struct command cmd_exec = {
    .name = "exec",
    .arity = 1,
    .flags = TRANSACTION_FLAGS | CMD_SKIP_SLOWLOG | CMD_EXEC,
    .acl = ACL_TRANSACTION,
    .group = "transactions",
    .since = "1.2.0",
    .complexity = "Depends on the queued commands",
    .summary = "Runs the queued commands as one: all of them or none, and nobody sees it half done.",
    .run = run_exec,
};
