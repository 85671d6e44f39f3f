/* Fields that expire. What must hold:
 *   - HEXPIRE and its relatives answer as Redis 7.4 does; HSET takes a field's expiry away, HINCRBY keeps it;
 *   - in pieces, whatever commands come, every field with an expiry stands once in the order of times and nothing else does,
 *     and the metadata's time is not after the first of them, nor the entry of the key in the expiry index after that;
 *   - fields are gone for readers when their time has come, and are removed soon, with the key when none is left, with no entry
 *     staying in any index; over a restart, too. */
#include <stdio.h>

#include "os/env_memory.h"
#include "store/hash.h"
#include "store/store_priv.h"
#include "tests/lib/talk.h"
#include "tests/lib/tap.h"

static struct talk t;
static uint64_t seed = 3;
static uint64_t draw(uint64_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return below ? (seed >> 24) % below : 0;
}

#define IS(reply, ...)                                                                                                 \
    do {                                                                                                               \
        const char *got_ = talk(&t, __VA_ARGS__);                                                                      \
        if (!tap_check(strcmp(got_, reply) == 0))                                                                      \
            tap_diag("%s: %s", #__VA_ARGS__, got_);                                                                    \
    } while (0)

static void they_answer_as_redis_does(void)
{
    struct env *env = env_memory_new(1, ENV_MEMORY_PLAIN);
    struct talk_options o = {.env = env};
    talk_open(&t, &o);
    IS("*2\r\n:-2\r\n:-2\r\n", "HEXPIRE h 100 FIELDS 2 a b");
    IS("*1\r\n:-2\r\n", "HTTL h FIELDS 1 a");
    IS("*1\r\n:-2\r\n", "HPERSIST h FIELDS 1 a");
    IS(":3\r\n", "HSET h a 1 b 2 c 3");
    IS("*2\r\n:1\r\n:-2\r\n", "HEXPIRE h 100 FIELDS 2 a nope");
    IS("*3\r\n:100\r\n:-1\r\n:-2\r\n", "HTTL h FIELDS 3 a b nope");
    IS("*1\r\n:0\r\n", "HEXPIRE h 200 NX FIELDS 1 a");
    IS("*2\r\n:0\r\n:0\r\n", "HEXPIRE h 50 GT FIELDS 2 a b");
    IS("*2\r\n:1\r\n:1\r\n", "HEXPIRE h 50 LT FIELDS 2 a b");
    IS("*1\r\n:0\r\n", "HEXPIRE h 50 XX FIELDS 1 c");
    IS("*1\r\n:1\r\n", "HPEXPIREAT h 4102444800123 XX FIELDS 1 a");
    IS("*1\r\n:4102444800123\r\n", "HPEXPIRETIME h FIELDS 1 a");
    IS("*1\r\n:4102444801\r\n", "HEXPIRETIME h FIELDS 1 a");
    IS(":6\r\n", "HINCRBY h a 5");
    IS("*1\r\n:4102444800123\r\n", "HPEXPIRETIME h FIELDS 1 a");
    IS(":0\r\n", "HSET h a 1");
    IS("*1\r\n:-1\r\n", "HPEXPIRETIME h FIELDS 1 a");
    IS("*2\r\n:1\r\n:-1\r\n", "HPERSIST h FIELDS 2 b c");
    IS("*1\r\n:2\r\n", "HPEXPIREAT h 1 FIELDS 1 b");
    IS(":2\r\n", "HLEN h");
    IS("*2\r\n:2\r\n:2\r\n", "HEXPIRE h 0 FIELDS 2 a c");
    IS(":0\r\n", "EXISTS h");
    IS(":1\r\n", "HSET h a 1");
    IS("-ERR invalid expire time, must be >= 0\r\n", "HEXPIRE h -1 FIELDS 1 a");
    IS("-ERR invalid expire time in 'hexpire' command\r\n", "HEXPIRE h 99999999999999 FIELDS 1 a");
    IS("-ERR value is not an integer or out of range\r\n", "HEXPIRE h x FIELDS 1 a");
    IS("-ERR Mandatory argument FIELDS is missing or not at the right position\r\n", "HEXPIRE h 1 FIELD 1 a");
    IS("-ERR Parameter `numFields` should be greater than 0\r\n", "HEXPIRE h 1 FIELDS 0 a");
    IS("-ERR The `numfields` parameter must match the number of arguments\r\n", "HEXPIRE h 1 FIELDS 2 a");
    IS("-ERR Number of fields must be a positive integer\r\n", "HTTL h FIELDS x a");
    IS("+OK\r\n", "SET s v");
    IS("-WRONGTYPE Operation against a key holding the wrong kind of value\r\n", "HPERSIST s FIELDS 1 a");
    talk_close(&t);
    env_memory_free(env);
}

/* ---- what lies below ---- */

struct below {
    uint64_t members, indexed, wrong; /* with an expiry; in the order of times; that do not fit together */
    uint64_t entries;                 /* in the expiry index, of all keys */
    bool exists, pieces;
};

static enum result check_member(struct elements *e, void *arg, const struct element *x)
{
    struct below *b = arg;
    if (!x->expire_ms)
        return RES_OK;
    b->members++;
    b->wrong += !e->fields_ms || e->fields_ms > x->expire_ms;
    return RES_OK;
}

static enum result count_entries(struct call *c, struct below *b)
{
    struct iter *it;
    enum result r = call_iter(c, SLICE_LIT("X"), SLICE_LIT("Y"), 0, &it);
    if (r != RES_OK)
        return r;
    for (r = iter_seek(it, slice_of(NULL, 0)); r == RES_OK; r = iter_next(it))
        b->entries++;
    iter_close(it);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

static enum result check_index(struct elements *e, struct below *b)
{
    struct iter *it;
    enum result r = piece_iter(e, SUBSPACE_EXPIRY, slice_of(NULL, 0), slice_of(NULL, 0), 0, &it);
    if (r != RES_OK)
        return r;
    for (r = iter_seek(it, slice_of(NULL, 0)); r == RES_OK; r = iter_next(it)) {
        struct slice at = piece_element(it);
        struct engine_key key;
        struct element x;
        b->indexed++;
        r = piece_key(e, SUBSPACE_MEMBERS, slice_of(at.data + 8, at.len - 8), &key);
        enum result g = r == RES_OK ? piece_get(e, &key, &x) : r;
        b->wrong += g != RES_OK || x.expire_ms != get_be64(at.data);
    }
    iter_close(it);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

static enum result look_below(struct call *c)
{
    struct below *b = call_background_arg(c);
    struct store_key key;
    struct object o;
    struct elements e;
    *b = (struct below){.exists = false};
    enum result r = count_entries(c, b);
    if (r == RES_OK)
        r = store_key_init(c, 0, SLICE_LIT("h"), &key);
    if (r == RES_OK)
        r = store_read(c, &key, LOOKUP_NO_STATS, &o);
    if (r == RES_OK)
        r = elements_open(&e, c, &o, &elements_of_hash);
    if (r == RES_OK)
        r = member_each(&e, check_member, b);
    if (r != RES_OK || !o.exists)
        return r;
    b->exists = true;
    b->pieces = e.pieces;
    b->wrong += o.index_ms > o.fields_ms || (!o.fields_ms && o.index_ms); /* the key itself does not expire */
    return e.pieces ? check_index(&e, b) : RES_OK;
}

static void change_something(unsigned fields)
{
    unsigned f = (unsigned)draw(fields), g = (unsigned)draw(fields);
    switch (draw(8)) {
    case 0:
    case 1:
        (void)talk(&t, "HSET h f%u v%u f%u w", f, g, g);
        break;
    case 2:
        (void)talk(&t, "HDEL h f%u f%u", f, g);
        break;
    case 3:
        (void)talk(&t, "HPERSIST h FIELDS 2 f%u f%u", f, g);
        break;
    case 4:
        (void)talk(&t, "HINCRBYFLOAT h n%u 1.5", f % 20);
        break;
    default:
        (void)talk(&t, "HEXPIRE h %u FIELDS 3 f%u f%u n%u", 1000 + (unsigned)draw(100000), f, g, f % 20);
    }
}

static void indexes_fit_whatever_comes(void)
{
    struct env *env = env_memory_new(2, ENV_MEMORY_PLAIN);
    struct talk_options o = {.env = env};
    talk_open(&t, &o);
    struct below b;
    for (unsigned fields = 20; fields < 500; fields *= 4) {
        for (int round = 0; round < 20; round++) {
            for (int i = 0; i < 60; i++)
                change_something(fields);
            talk_call(&t, look_below, &b, RES_OK);
            tap_eq_u64(b.wrong, 0);
            tap_eq_u64(b.indexed, b.pieces ? b.members : 0);
        }
        tap_check(b.members > 3 && b.pieces == (fields > 20));
        IS("+OK\r\n", "RENAME h g");
        IS(":1\r\n", "COPY g h");
        talk_call(&t, look_below, &b, RES_OK);
        tap_eq_u64(b.wrong, 0);
        IS(":2\r\n", "DEL g h");
        talk_call(&t, look_below, &b, RES_OK);
        tap_eq_u64(b.entries, 0);
    }
    talk_close(&t);
    env_memory_free(env);
}

static bool one_is_left(void *arg)
{
    (void)arg;
    return talk_int(&t, "HLEN h") == 1;
}
static bool nothing_is_left(void *arg)
{
    (void)arg;
    return talk_int(&t, "EXISTS h") == 0;
}

/* Fields come due one after the other. */
static void expire_all(unsigned fields, const struct talk_options *o)
{
    struct env *env = o->env;
    struct below b;
    IS(":1\r\n", "HSET h stays 1");
    for (unsigned f = 0; f < fields; f++) {
        (void)talk(&t, "HSET h f%u v", f);
        (void)talk(&t, "HPEXPIRE h %u FIELDS 1 f%u", 1 + (unsigned)draw(300), f);
    }
    if (o->engine) { /* what is due meanwhile is found after the start */
        talk_close(&t);
        talk_open(&t, o);
    }
    env_memory_advance(env, 150000000);
    IS(":0\r\n", "HDEL h nope");
    env_memory_advance(env, 151000000);
    tap_check(talk_wait_for(one_is_left, NULL));
    IS("*2\r\n$5\r\nstays\r\n$1\r\n1\r\n", "HGETALL h");
    talk_call(&t, look_below, &b, RES_OK);
    tap_check(b.exists && !b.members && !b.indexed && !b.wrong && !b.entries);
    IS("*1\r\n:1\r\n", "HPEXPIRE h 20 FIELDS 1 stays");
    env_memory_advance(env, 21000000);
    tap_check(talk_wait_for(nothing_is_left, NULL));
    IS(":0\r\n", "DBSIZE");
    talk_call(&t, look_below, &b, RES_OK);
    tap_eq_u64(b.entries, 0);
}

static void fields_go_when_their_time_has_come(void)
{
    struct env *env = env_memory_new(3, ENV_MEMORY_PLAIN);
    struct talk_options o = {.env = env};
    talk_open(&t, &o);
    IS(":2\r\n", "HSET h a 1 b 2");
    IS("*1\r\n:1\r\n", "HPEXPIRE h 1 FIELDS 1 a");
    env_memory_advance(env, 2000000);
    IS("$-1\r\n", "HGET h a");
    IS("*1\r\n$1\r\nb\r\n", "HKEYS h");
    IS("*2\r\n$1\r\n0\r\n*2\r\n$1\r\nb\r\n$1\r\n2\r\n", "HSCAN h 0");
    IS("$1\r\nb\r\n", "HRANDFIELD h");
    IS(":1\r\n", "HSET h a 3");
    IS(":1\r\n", "DEL h");
    expire_all(5, &o);
    expire_all(700, &o);
    talk_close(&t);
    env_memory_free(env);
}

static void they_do_over_a_restart(void)
{
    struct env *env = env_memory_new(4, ENV_MEMORY_PLAIN);
    struct talk_options o = {.env = env, .engine = &engine_lsm};
    talk_open(&t, &o);
    expire_all(300, &o);
    expire_all(6, &o);
    talk_close(&t);
    env_memory_free(env);
}

int main(void)
{
    tap_test(they_answer_as_redis_does);
    tap_test(indexes_fit_whatever_comes);
    tap_test(fields_go_when_their_time_has_come);
    tap_test(they_do_over_a_restart);
    return tap_done();
}
