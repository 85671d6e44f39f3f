/* Running commands, over a front that does what the test says (tests/lib/fake_front.h). What must hold:
 *   - a read shows what the gate has passed and what its own connection wrote, and nothing else;
 *   - a write's reply waits for its sequence, or for what it saw when it wrote nothing;
 *   - who cannot have the latch parks and is woken; who finds no log space parks, keeps nothing, and is woken;
 *   - what is cold or long is answered by the pool; prepared commands that were overtaken run again, and after three
 *     times nobody overtakes them any more;
 *   - a failed log shows nothing above the gate and refuses writes;
 *   - large batches become private tables; refused commands leave nothing behind.
 * The workers are moved by this one thread, the clock stands unless the test moves it; the pool has its own threads. */
#include <stdio.h>
#include <unistd.h>

#include "base/epoch.h"
#include "os/env_memory.h"
#include "tests/lib/fake_front.h"
#include "tests/lib/mini.h"
#include "tests/lib/tap.h"

static struct env *env;
static struct shard *shard;
static struct front *front;
static struct mini_worker one, two;
static struct mini_client a, b, c;

static void setup(int pool_threads)
{
    env = mini_clock = env_memory_new(1, ENV_MEMORY_PLAIN);
    struct shard_options o = {
        .front = {.env = env},
        .pool_threads = pool_threads,
        .command_count = MINI_COUNT,
        .batch_limit = 8 << 20,
    };
    struct errmsg msg;
    tap_require(shard_open(&o, &shard, &msg) == RES_OK);
    front = shard_front(shard);
    mini_worker_init(&one, shard, "one");
    mini_worker_init(&two, shard, "two");
    mini_client_init(&a, 1);
    mini_client_init(&b, 2);
    mini_client_init(&c, 3);
}

static void teardown(void)
{
    mini_client_fini(&a);
    mini_client_fini(&b);
    mini_client_fini(&c);
    mini_worker_fini(&one);
    mini_worker_fini(&two);
    tap_check(shard_close(shard) == RES_OK);
    env_memory_free(env);
}

static const char *do_a(enum mini_command cmd, const char *args) { return mini_do(one.exec, &a, cmd, args); }
static const char *do_b(enum mini_command cmd, const char *args) { return mini_do(two.exec, &b, cmd, args); }

static struct shard_stats stats(void)
{
    struct shard_stats s;
    shard_stats(shard, &s);
    return s;
}

static void a_read_shows_what_the_gate_passed_and_its_own_writes(void)
{
    setup(2);
    tap_eq_str(do_a(MINI_SET, "k 1"), "+OK\r\n");
    fake_gate_hold(front);
    tap_eq_str(do_a(MINI_SET, "k 2"), "+OK\r\n");
    tap_eq_u64(a.session.floor, 2);
    tap_eq_u64(shard_gate(shard), 1);
    tap_eq_str(do_b(MINI_GET, "k"), "$1\r\n1\r\n");
    tap_eq_u64(b.session.floor, 0);
    tap_eq_str(do_a(MINI_GET, "k"), "$1\r\n2\r\n");
    fake_gate_to(front, 2);
    tap_eq_str(do_b(MINI_GET, "k"), "$1\r\n2\r\n");
    teardown();
}

static void a_write_that_writes_nothing_waits_for_what_it_saw(void)
{
    setup(2);
    fake_gate_hold(front);
    tap_eq_str(do_a(MINI_SET, "k 1"), "+OK\r\n");
    tap_eq_str(do_b(MINI_SETNX, "k 2"), ":0\r\n");
    tap_eq_u64(b.session.floor, 1);
    tap_eq_u64(front_visible(front), 1);
    tap_eq_str(mini_do(two.exec, &c, MINI_SET, "x 1"), "+OK\r\n");
    tap_eq_str(do_b(MINI_INCR, "k"), ":2\r\n");
    tap_eq_u64(b.session.floor, 3);
    /* An error of a write is an answer too. */
    tap_eq_str(mini_do(two.exec, &c, MINI_SET, "x y"), "+OK\r\n");
    tap_eq_str(do_a(MINI_INCR, "x"), "-ERR value is not an integer or out of range\r\n");
    tap_eq_u64(a.session.floor, 4);
    fake_gate_follow(front);
    teardown();
}

/* Of a command that is run in a row, which goes on. */
static const char *in_row(struct mini_client *client, enum mini_command cmd, const char *args)
{
    mini_prepare(client, cmd, args);
    return mini_run(one.exec, client) == EXEC_DONE ? mini_reply(client) : "(not done)";
}

static void writes_of_a_row_become_one_batch(void)
{
    setup(2);
    tap_eq_str(in_row(&a, MINI_SET, "k 1"), "+OK\r\n");
    tap_eq_str(in_row(&c, MINI_INCR, "k"), ":2\r\n"); /* sees what is before it */
    tap_eq_str(in_row(&a, MINI_SETNX, "k 9"), ":0\r\n");
    tap_eq_str(in_row(&a, MINI_SET, "l 5"), "+OK\r\n");
    tap_eq_u64(front_visible(front), 0);
    tap_eq_u64(a.session.floor, 1);
    tap_eq_u64(c.session.floor, 1);
    tap_eq_str(do_b(MINI_GET, "k"), "$-1\r\n");
    exec_row_end(one.exec);
    tap_eq_u64(front_visible(front), 1);
    tap_eq_str(do_b(MINI_GET, "k"), "$1\r\n2\r\n");
    tap_eq_str(do_b(MINI_GET, "l"), "$1\r\n5\r\n");
    tap_eq_str(do_b(MINI_SIZE, ""), ":2\r\n");
    /* Who wrote nothing waits for what it saw. */
    tap_eq_str(in_row(&b, MINI_SETNX, "k 9"), ":0\r\n");
    tap_eq_u64(b.session.floor, 1);
    tap_eq_str(in_row(&c, MINI_DEL, "k"), ":1\r\n");
    tap_eq_str(in_row(&b, MINI_SETNX, "k 9"), ":1\r\n");
    exec_row_end(one.exec);
    tap_eq_u64(front_visible(front), 2);
    tap_eq_str(do_a(MINI_GET, "k"), "$1\r\n9\r\n");
    tap_eq_str(do_a(MINI_SIZE, ""), ":2\r\n");
    teardown();
}

static void who_looks_at_a_bundle_ends_it(void)
{
    setup(2);
    tap_eq_str(in_row(&a, MINI_SET, "k 1"), "+OK\r\n");
    tap_eq_str(in_row(&c, MINI_GET, "k"), "$-1\r\n"); /* another's: not yet */
    tap_eq_u64(front_visible(front), 0);
    tap_eq_str(in_row(&a, MINI_GET, "k"), "$1\r\n1\r\n");
    tap_eq_u64(front_visible(front), 1);
    /* So do a session's command and one that is not bundled. */
    tap_eq_str(in_row(&a, MINI_SET, "k 2"), "+OK\r\n");
    tap_eq_str(in_row(&c, MINI_WATCH, "k"), "+OK\r\n");
    tap_eq_u64(front_visible(front), 2);
    tap_eq_str(in_row(&a, MINI_SET, "k 3"), "+OK\r\n");
    tap_eq_str(in_row(&c, MINI_MULTI, ""), "+OK\r\n");
    tap_eq_u64(front_visible(front), 3);
    exec_row_end(one.exec);
    tap_eq_str(in_row(&c, MINI_GET, "k"), "+QUEUED\r\n");
    tap_eq_str(in_row(&c, MINI_EXEC, ""), "*-1\r\n"); /* its key was changed in a bundle */
    exec_row_end(one.exec);
    teardown();
}

/* A command that cannot stay in the bundle leaves nothing there, and those before it are committed before it. */
static void a_command_that_leaves_its_bundle_takes_nothing_along(void)
{
    setup(2);
    tap_eq_str(do_a(MINI_SET, "n 5"), "+OK\r\n");
    tap_eq_str(in_row(&a, MINI_SET, "k 7"), "+OK\r\n");
    mini_prepare(&c, MINI_SPIN, "k 3"); /* too long under the latch */
    tap_check(mini_run(one.exec, &c) == EXEC_AWAY);
    tap_check(front_visible(front) >= 2); /* the bundle, and by now perhaps the other */
    exec_row_end(one.exec);
    mini_collect(&c);
    tap_eq_u64(front_visible(front), 3);
    /* Cold in the middle. */
    tap_eq_str(in_row(&a, MINI_SET, "l 1"), "+OK\r\n");
    fake_chill(front, 1000);
    mini_prepare(&c, MINI_INCR, "n");
    tap_check(mini_run(one.exec, &c) == EXEC_AWAY);
    exec_row_end(one.exec);
    mini_collect(&c);
    tap_eq_str(do_b(MINI_GET, "l"), "$1\r\n1\r\n");
    tap_eq_str(do_b(MINI_GET, "n"), "$1\r\n6\r\n");
    teardown();
}

static void bundles_have_an_end(void)
{
    char text[64];
    setup(2);
    for (int i = 0; i < 1000; i++) {
        snprintf(text, sizeof text, "k%d %d", i % 300, i);
        tap_eq_str(in_row(&a, MINI_SET, text), "+OK\r\n");
    }
    exec_row_end(one.exec);
    tap_check(front_visible(front) > 1 && front_visible(front) < 100);
    for (int i = 700; i < 1000; i++) {
        char want[64];
        snprintf(text, sizeof text, "k%d", i % 300);
        snprintf(want, sizeof want, "$3\r\n%d\r\n", i);
        tap_eq_str(do_b(MINI_GET, text), want);
    }
    tap_eq_str(do_b(MINI_SIZE, ""), ":300\r\n");
    teardown();
}

static void a_waiting_client_is_served_before_the_next_command_of_the_row(void)
{
    setup(2);
    mini_prepare(&b, MINI_TAKE, "q 0");
    tap_check(mini_run(two.exec, &b) == EXEC_AWAY);
    exec_row_end(two.exec);
    tap_eq_str(in_row(&a, MINI_PUSH, "q el01"), "+OK\r\n");
    tap_eq_str(in_row(&c, MINI_PUSH, "q el02"), "+OK\r\n");
    tap_eq_str(in_row(&c, MINI_DEL, "q"), ":1\r\n"); /* the second alone */
    exec_row_end(one.exec);
    mini_collect(&b);
    tap_eq_str(mini_reply(&b), "$4\r\nel01\r\n");
    teardown();
}

static void a_busy_latch_parks_and_its_release_wakes(void)
{
    setup(2);
    mini_prepare(&a, MINI_SET, "k 1");
    tap_check(mini_run(one.exec, &a) == EXEC_DONE); /* the row goes on: the latch is held */
    mini_prepare(&b, MINI_SET, "k 2");
    tap_check(mini_run(two.exec, &b) == EXEC_PARKED);
    mini_prepare(&c, MINI_SET, "k 3");
    tap_check(mini_run(two.exec, &c) == EXEC_PARKED);
    exec_row_end(two.exec);
    tap_eq_str(do_b(MINI_GET, "k"), "$-1\r\n"); /* reads go on; the gate has moved only after the row */
    tap_eq_u64(atomic_load(&two.wakes), 0);
    env_memory_advance(env, 70000);
    exec_row_end(one.exec);
    tap_eq_u64(atomic_load(&two.wakes), 1);
    tap_eq_str(do_b(MINI_SET, "k 2"), "+OK\r\n");
    tap_eq_str(mini_do(two.exec, &c, MINI_SET, "k 3"), "+OK\r\n");
    tap_eq_str(do_a(MINI_GET, "k"), "$1\r\n3\r\n");
    struct shard_stats s = stats();
    tap_eq_u64(s.latch_parks, 1);
    tap_eq_u64(s.latch_takes, 3);
    tap_eq_u64(s.latch_held_ns, 70000);
    tap_eq_u64(s.latch_held_max_ns, 70000);
    teardown();
}

/* Two workers are parked; the first one told has lost its connection: the other must hear of it. */
static void who_has_nothing_to_write_any_more_passes_the_latch_on(void)
{
    struct mini_worker three;
    setup(2);
    mini_worker_init(&three, shard, "three");
    mini_prepare(&a, MINI_SET, "k 1");
    tap_check(mini_run(one.exec, &a) == EXEC_DONE);
    mini_prepare(&b, MINI_SET, "k 2");
    tap_check(mini_run(two.exec, &b) == EXEC_PARKED);
    exec_row_end(two.exec);
    mini_prepare(&c, MINI_SET, "k 3");
    tap_check(mini_run(three.exec, &c) == EXEC_PARKED);
    exec_row_end(three.exec);
    exec_row_end(one.exec);
    tap_eq_u64(atomic_load(&two.wakes), 1);
    tap_eq_u64(atomic_load(&three.wakes), 0);
    exec_row_end(two.exec); /* b is closed: nothing is run */
    tap_eq_u64(atomic_load(&three.wakes), 1);
    tap_check(mini_run(three.exec, &c) == EXEC_DONE);
    exec_row_end(three.exec);
    mini_worker_fini(&three);
    teardown();
}

/* So it is when it is the worker that ends, before it is told. */
static void a_worker_that_ends_leaves_the_queue(void)
{
    struct mini_worker three;
    setup(2);
    mini_worker_init(&three, shard, "three");
    mini_prepare(&a, MINI_SET, "k 1");
    tap_check(mini_run(one.exec, &a) == EXEC_DONE);
    mini_prepare(&b, MINI_SET, "k 2");
    tap_check(mini_run(two.exec, &b) == EXEC_PARKED);
    exec_row_end(two.exec);
    mini_prepare(&c, MINI_SET, "k 3");
    tap_check(mini_run(three.exec, &c) == EXEC_PARKED);
    exec_row_end(three.exec);
    exec_worker_end(two.exec);
    exec_row_end(one.exec);
    tap_eq_u64(atomic_load(&two.wakes), 0);
    tap_eq_u64(atomic_load(&three.wakes), 1);
    tap_check(mini_run(three.exec, &c) == EXEC_DONE);
    exec_row_end(three.exec);
    mini_worker_fini(&three);
    teardown();
}

/* Two is queued behind three and takes the latch for another connection, before it was told: the connection that parked
 * must hear of it. */
static void a_worker_that_takes_the_latch_by_luck_wakes_its_own(void)
{
    struct mini_worker three;
    struct mini_client d;
    setup(2);
    mini_worker_init(&three, shard, "three");
    mini_client_init(&d, 4);
    mini_prepare(&a, MINI_SET, "k 1");
    tap_check(mini_run(one.exec, &a) == EXEC_DONE);
    mini_prepare(&d, MINI_SET, "k 4");
    tap_check(mini_run(three.exec, &d) == EXEC_PARKED);
    exec_row_end(three.exec);
    mini_prepare(&b, MINI_SET, "k 2");
    tap_check(mini_run(two.exec, &b) == EXEC_PARKED);
    exec_row_end(two.exec);
    exec_row_end(one.exec);
    tap_eq_u64(atomic_load(&three.wakes), 1);
    tap_eq_u64(atomic_load(&two.wakes), 0);
    mini_prepare(&c, MINI_SET, "k 3");
    enum exec_outcome o = mini_run(two.exec, &c);
    exec_row_end(two.exec);
    tap_check(o == EXEC_DONE);
    tap_eq_u64(atomic_load(&two.wakes), 1);
    tap_check(mini_run(three.exec, &d) == EXEC_DONE);
    exec_row_end(three.exec);
    tap_check(mini_run(two.exec, &b) == EXEC_DONE);
    exec_row_end(two.exec);
    mini_client_fini(&d);
    mini_worker_fini(&three);
    teardown();
}

/* After a millisecond of waiting nobody else may take the latch first. */
static void who_waited_a_millisecond_goes_first(void)
{
    setup(2);
    mini_prepare(&a, MINI_SET, "k 1");
    tap_check(mini_run(one.exec, &a) == EXEC_DONE);
    mini_prepare(&b, MINI_SET, "k 2");
    tap_check(mini_run(two.exec, &b) == EXEC_PARKED);
    exec_row_end(two.exec);
    env_memory_advance(env, 1500000);
    exec_row_end(one.exec);
    mini_prepare(&a, MINI_SET, "k 4");
    tap_check(mini_run(one.exec, &a) == EXEC_PARKED);
    exec_row_end(one.exec);
    tap_check(mini_run(two.exec, &b) == EXEC_DONE);
    exec_row_end(two.exec);
    tap_eq_u64(atomic_load(&one.wakes), 1);
    tap_check(mini_run(one.exec, &a) == EXEC_DONE);
    exec_row_end(one.exec);
    teardown();
}

static void without_log_space_a_write_parks_and_keeps_nothing(void)
{
    setup(2);
    tap_eq_str(do_a(MINI_SET, "k 1"), "+OK\r\n");
    fake_space(front, false);
    mini_prepare(&a, MINI_SET, "k 2");
    tap_check(mini_run(one.exec, &a) == EXEC_PARKED);
    exec_row_end(one.exec);
    tap_eq_u64(a.out.len, 0);
    tap_eq_u64(front_visible(front), 1);
    tap_eq_str(do_b(MINI_GET, "k"), "$1\r\n1\r\n");
    mini_prepare(&b, MINI_SETNX, "k 3"); /* writes nothing, needs no space; and the latch is free */
    tap_check(mini_run(two.exec, &b) == EXEC_DONE);
    exec_row_end(two.exec);
    tap_eq_u64(atomic_load(&one.wakes), 0);
    fake_space(front, true);
    tap_eq_u64(atomic_load(&one.wakes), 1);
    tap_eq_u64(atomic_load(&two.wakes), 0);
    tap_eq_str(do_a(MINI_SET, "k 2"), "+OK\r\n");
    teardown();
}

/* The space comes between the refusal and the parking, so nobody will tell again. */
static void space_now(void *arg)
{
    (void)arg;
    fake_on_refused(front, NULL, NULL);
    fake_space(front, true);
}

static void log_space_that_comes_while_parking_is_not_missed(void)
{
    setup(2);
    fake_space(front, false);
    fake_on_refused(front, space_now, NULL);
    mini_prepare(&a, MINI_SET, "k 1");
    enum exec_outcome o = mini_run(one.exec, &a);
    exec_row_end(one.exec);
    tap_check(o == EXEC_DONE || atomic_load(&one.wakes) > 0);
    teardown();
}

static void a_refusal_of_the_file_system_is_the_clients_error(void)
{
    setup(2);
    fake_refuse(front, RES_NO_SPACE);
    tap_check(strncmp(do_a(MINI_SET, "k 1"), "-MISCONF ", 9) == 0);
    tap_eq_u64(front_visible(front), 0);
    tap_eq_str(do_a(MINI_DEL, "k"), ":0\r\n");
    fake_refuse(front, RES_OK);
    tap_eq_str(do_a(MINI_SET, "k 1"), "+OK\r\n");
    teardown();
}

static void cold_reads_and_writes_are_answered_by_the_pool(void)
{
    setup(2);
    (void)do_a(MINI_MSET, "k 1 l 2 m 3");
    fake_chill(front, 1000);
    mini_prepare(&a, MINI_MGET, "k l m");
    tap_check(mini_run(one.exec, &a) == EXEC_AWAY);
    exec_row_end(one.exec);
    mini_collect(&a);
    tap_eq_str(mini_reply(&a), "*3\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n");
    tap_eq_u64(fake_waits(front), 3);
    tap_eq_str(do_a(MINI_GET, "k"), "$1\r\n1\r\n");
    tap_eq_u64(stats().away_reads, 1);
    fake_chill(front, 1000);
    tap_eq_str(do_a(MINI_INCR, "k"), ":2\r\n");
    struct shard_stats s = stats();
    tap_eq_u64(s.away_writes, 1);
    tap_eq_u64(s.prepared_retries, 0);
    tap_eq_u64(s.pool_threads, 2);
    tap_eq_u64(a.session.floor, 2);
    tap_eq_str(do_b(MINI_GET, "k"), "$1\r\n2\r\n");
    teardown();
}

/* While the first command of a cold pipeline is away, the keys of the others are fetched beside it, each once; and so
 * are the further keys of a command that has many. */
static void a_cold_pipeline_comes_back_warm(void)
{
    setup(4);
    shard_set_prefetch(shard, mini_key_ahead);
    (void)do_a(MINI_MSET, "k 1 l 2 m 3 n 4 o 5");
    fake_chill(front, 1000);
    mini_prepare(&a, MINI_GET, "k");
    tap_check(mini_run(one.exec, &a) == EXEC_AWAY);
    mini_prepare(&b, MINI_INCR, "l");
    exec_warm(one.exec, &a.session, b.entry, b.argc, b.argv);
    mini_prepare(&b, MINI_MGET, "m absent n");
    exec_warm(one.exec, &a.session, b.entry, b.argc, b.argv);
    exec_row_end(one.exec);
    mini_collect(&a);
    while (fake_waits(front) < 4)
        usleep(100);
    shard_set_prefetch(shard, NULL);
    for (int i = 0; i < 1000 && stats().pool_running; i++)
        usleep(1000);
    tap_eq_u64(stats().warmed_keys, 3);
    mini_prepare(&b, MINI_MGET, "k l m n");
    tap_check(mini_run(two.exec, &b) == EXEC_DONE);
    tap_eq_u64(fake_waits(front), 4);
    fake_chill(front, 1000);
    shard_set_prefetch(shard, mini_key_ahead);
    tap_eq_str(do_a(MINI_MGET, "k l m n o"), "*5\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n$1\r\n5\r\n");
    tap_eq_u64(stats().warmed_keys, 7);
    tap_eq_str(do_a(MINI_DEL, "k l m n o absent"), ":5\r\n");
    teardown();
}

/* A read that left its reactor runs at its own connection's floor, and does not show what is above the gate. */
static void the_pool_keeps_the_gate_too(void)
{
    setup(2);
    (void)do_a(MINI_SET, "k 1");
    fake_gate_hold(front);
    (void)do_a(MINI_SET, "k 2");
    fake_chill(front, 1000);
    tap_eq_str(do_b(MINI_GET, "k"), "$1\r\n1\r\n");
    fake_chill(front, 1000);
    tap_eq_str(do_a(MINI_GET, "k"), "$1\r\n2\r\n");
    fake_chill(front, 1000);
    tap_eq_str(do_b(MINI_SETNX, "k 9"), ":0\r\n"); /* prepared, wrote nothing: its answer shows visible, so it waits */
    tap_eq_u64(b.session.floor, 2);
    fake_gate_follow(front);
    teardown();
}

/* While the prepared INCR waits for the disk, another client overwrites its key. */
static void overtake(void *arg)
{
    int *times = arg;
    if (*times > 0) {
        (*times)--;
        (void)mini_do(two.exec, &c, MINI_INCR, "k");
    }
}

static void an_overtaken_prepared_command_runs_again(void)
{
    setup(2);
    (void)do_a(MINI_SET, "k 1");
    fake_chill(front, 1000);
    int times = 1; /* the overtaking client finds it cold too, so it takes the second thread */
    fake_on_wait(front, overtake, &times);
    mini_prepare(&a, MINI_INCR, "k");
    tap_check(mini_run(one.exec, &a) == EXEC_AWAY);
    exec_row_end(one.exec);
    mini_collect(&a);
    fake_on_wait(front, NULL, NULL);
    tap_eq_str(mini_reply(&a), ":3\r\n");
    tap_check(stats().prepared_retries >= 1);
    teardown();
}

static enum result touch_and_chill(struct call *call);
static struct {
    int runs, overtake;
    bool slow, flush;
    enum exec_outcome other;
} probe;

/* A command that is too long for the latch, and overtaken again and again. */
static enum result touch_and_chill(struct call *call)
{
    if (call->mode & CALL_LATCHED && !(call->mode & CALL_MAY_WAIT))
        return RES_WOULD_BLOCK;
    probe.runs++;
    probe.slow |= (call->mode & CALL_LATCHED) != 0;
    call->seen.used_dbs = true;
    enum result r = mini_entry[MINI_INCR].command->run(call);
    if (r == RES_OK && probe.overtake > 0) {
        probe.overtake--;
        mini_prepare(&c, probe.flush ? MINI_FLUSH : MINI_INCR, probe.flush ? "" : "k");
        probe.other = mini_run(two.exec, &c);
        exec_row_end(two.exec);
    }
    return r;
}
static const struct command long_incr = {.name = "longincr", .flags = CMD_WRITE | CMD_LONG, .run = touch_and_chill};
static const struct command_entry long_entry = {.command = &long_incr, .id = 0};

static void after_three_failures_the_keys_are_held(void)
{
    setup(1);
    (void)do_a(MINI_SET, "k 1");
    memset(&probe, 0, sizeof probe);
    probe.overtake = 100;
    mini_prepare(&a, MINI_INCR, "k");
    a.entry = &long_entry;
    tap_check(mini_run(one.exec, &a) == EXEC_AWAY);
    exec_row_end(one.exec);
    mini_collect(&a);
    /* Three preparations were overtaken (2, 3, 4); in the fourth the other client had to park. */
    tap_eq_str(mini_reply(&a), ":5\r\n");
    tap_eq_u64((uint64_t)probe.runs, 4);
    tap_check(probe.other == EXEC_PARKED);
    tap_check(!probe.slow);
    tap_eq_u64(atomic_load(&two.wakes), 1);
    struct shard_stats s = stats();
    tap_eq_u64(s.held_keys, 1);
    tap_eq_u64(s.slow_mode, 0);
    tap_eq_u64(s.prepared_retries, 3);
    probe.overtake = 0;
    tap_eq_str(mini_do(two.exec, &c, MINI_INCR, "k"), ":6\r\n"); /* nothing is held any more */
    teardown();
}

static struct {
    int runs, acts, drops;
    enum exec_outcome other;
} outside;

static void drop_act(void *what) { tap_check(what == &outside && ++outside.drops == 1); }

/* A command that does something which cannot be taken back, while others write its key, and empty a database. */
static enum result act_outside(struct call *call)
{
    outside.runs++;
    call->seen.used_dbs = true;
    enum result r = mini_entry[MINI_INCR].command->run(call);
    if (r != RES_OK || call_kept(call))
        return r;
    if (!call_may_act(call))
        return RES_WOULD_BLOCK;
    outside.acts++;
    call_keep(call, &outside, drop_act);
    mini_prepare(&c, MINI_INCR, "k");
    outside.other = mini_run(two.exec, &c);
    exec_row_end(two.exec);
    tap_eq_str(mini_do(two.exec, &b, MINI_INCR, "else"), ":1\r\n");
    (void)mini_do(two.exec, &b, MINI_FLUSH, "");
    return RES_OK;
}
static const struct command outside_incr = {.name = "outsideincr", .flags = CMD_WRITE | CMD_LONG, .run = act_outside};
static const struct command_entry outside_entry = {.command = &outside_incr, .id = 0};

static void what_acts_outside_acts_once_while_its_keys_are_held(void)
{
    setup(1);
    (void)do_a(MINI_SET, "k 1");
    memset(&outside, 0, sizeof outside);
    mini_prepare(&a, MINI_INCR, "k");
    a.entry = &outside_entry;
    tap_check(mini_run(one.exec, &a) == EXEC_AWAY);
    exec_row_end(one.exec);
    mini_collect(&a);
    /* Once to find its key, once to act; that run was overtaken by the flush and repeated. */
    tap_eq_str(mini_reply(&a), ":2\r\n");
    tap_eq_u64((uint64_t)outside.runs, 3);
    tap_eq_u64((uint64_t)outside.acts, 1);
    tap_eq_u64((uint64_t)outside.drops, 1);
    tap_check(outside.other == EXEC_PARKED);
    tap_eq_u64(stats().slow_mode, 0);
    tap_eq_str(mini_do(two.exec, &c, MINI_INCR, "k"), ":3\r\n"); /* nothing is held any more */
    teardown();
}

static struct {
    atomic_int alone, prepared, latched;
} crowd;

/* Under the latch it takes too long, until one has run alone. */
static enum result only_once(struct call *call)
{
    enum result r = mini_entry[MINI_INCR].command->run(call);
    if (r != RES_OK)
        return r;
    if (call->mode & CALL_LATCHED) {
        atomic_fetch_add(&crowd.latched, 1);
        return atomic_load(&crowd.alone) ? RES_OK : RES_WOULD_BLOCK;
    }
    atomic_fetch_add(&crowd.prepared, 1);
    while (atomic_load(&crowd.prepared) < 2) /* both are here before one has the key */
        usleep(1000);
    if (!call_alone(call))
        return RES_WOULD_BLOCK;
    usleep(50000); /* the other is about to wait */
    atomic_fetch_add(&crowd.alone, 1);
    return RES_OK;
}
static const struct command once_incr = {.name = "onceincr", .flags = CMD_WRITE | CMD_UNBUNDLED, .run = only_once};
static const struct command_entry once_entry = {.command = &once_incr, .id = 0};

static void who_comes_for_a_key_that_is_prepared_alone_waits_and_goes_the_ordinary_way(void)
{
    setup(2);
    (void)do_a(MINI_SET, "k 1");
    memset(&crowd, 0, sizeof crowd);
    struct mini_client *crowded[] = {&a, &b};
    for (int i = 0; i < 2; i++) {
        mini_prepare(crowded[i], MINI_INCR, "k");
        crowded[i]->entry = &once_entry;
        tap_check(mini_run(i ? two.exec : one.exec, crowded[i]) == EXEC_AWAY);
        exec_row_end(i ? two.exec : one.exec);
    }
    mini_collect(&a);
    mini_collect(&b);
    tap_check(strcmp(mini_reply(&a), mini_reply(&b)) != 0);
    tap_eq_u64((uint64_t)crowd.alone, 1);
    tap_check(crowd.prepared <= 3); /* one of them again with the key */
    tap_eq_u64((uint64_t)crowd.latched, 3);
    tap_eq_str(mini_do(two.exec, &c, MINI_INCR, "k"), ":4\r\n"); /* nothing is held any more */
    tap_eq_u64(stats().slow_mode, 0);
    teardown();
}

static void an_untouched_prepared_command_is_not_disturbed_by_other_keys(void)
{
    setup(1);
    (void)do_a(MINI_MSET, "k 1 other 1");
    memset(&probe, 0, sizeof probe);
    mini_prepare(&a, MINI_INCR, "k");
    a.entry = &long_entry;
    mini_prepare(&b, MINI_INCR, "other");
    tap_check(mini_run(one.exec, &a) == EXEC_AWAY);
    exec_row_end(one.exec);
    tap_check(mini_run(two.exec, &b) == EXEC_DONE);
    exec_row_end(two.exec);
    mini_collect(&a);
    tap_eq_str(mini_reply(&a), ":2\r\n");
    tap_eq_u64(stats().prepared_retries, 0);
    teardown();
}

static void a_prepared_command_without_space_waits_for_it(void)
{
    setup(1);
    (void)do_a(MINI_SET, "k 1");
    fake_space(front, false);
    fake_chill(front, 1000);
    mini_prepare(&a, MINI_INCR, "k");
    tap_check(mini_run(one.exec, &a) == EXEC_AWAY);
    exec_row_end(one.exec);
    usleep(20000);
    tap_check(!mini_is_back(&a));
    fake_space(front, true);
    mini_collect(&a);
    tap_eq_str(mini_reply(&a), ":2\r\n");
    teardown();
}

static void a_failed_log_ends_waiting_and_refuses_writes(void)
{
    setup(2);
    (void)do_a(MINI_SET, "k 1");
    fake_gate_hold(front);
    (void)do_a(MINI_SET, "k 2");
    exec_set_waiting_floor(one.exec, 2);
    fake_space(front, false);
    fake_chill(front, 1000);
    mini_prepare(&b, MINI_INCR, "k");
    tap_check(mini_run(two.exec, &b) == EXEC_AWAY);
    exec_row_end(two.exec);
    fake_fail(front);
    mini_collect(&b);
    tap_check(strncmp(mini_reply(&b), "-MISCONF ", 9) == 0);
    tap_check(shard_frozen(shard));
    tap_check(atomic_load(&one.wakes) >= 1);
    tap_check(strncmp(do_a(MINI_SET, "k 3"), "-MISCONF ", 9) == 0);
    tap_eq_u64(front_visible(front), 2);
    tap_eq_u64(shard_gate(shard), 1);
    mini_client_fini(&c);
    mini_client_init(&c, 9);
    tap_eq_str(mini_do(two.exec, &c, MINI_GET, "k"), "$1\r\n1\r\n");
    uint64_t sequence;
    tap_check(exec_background(shard, mini_entry[MINI_INCR].command->run, NULL, &sequence) == RES_READ_ONLY);
    teardown();
}

static uint8_t big[3 << 20];

static void a_large_write_becomes_a_private_table(void)
{
    setup(2);
    memset(big, 'x', sizeof big);
    mini_prepare(&a, MINI_SET, "k");
    mini_prepare_arg(&a, slice_of(big, sizeof big));
    tap_check(mini_run(one.exec, &a) == EXEC_AWAY);
    exec_row_end(one.exec);
    mini_collect(&a);
    tap_eq_str(mini_reply(&a), "+OK\r\n");
    tap_eq_u64(stats().private_tables, 1);
    tap_eq_u64(fake_tables(front), 0);
    (void)do_b(MINI_GET, "k");
    tap_check(b.out.len > sizeof big && memcmp(b.out.data, "$3145728\r\nxxxx", 14) == 0);
    tap_eq_str(do_b(MINI_SIZE, ""), ":1\r\n");

    /* Over the limit (8 MiB): an error, and nothing is there. */
    mini_prepare(&a, MINI_MSET, "p");
    mini_prepare_arg(&a, slice_of(big, sizeof big));
    mini_prepare_arg(&a, SLICE_LIT("q"));
    mini_prepare_arg(&a, slice_of(big, sizeof big));
    mini_prepare_arg(&a, SLICE_LIT("r"));
    mini_prepare_arg(&a, slice_of(big, sizeof big));
    tap_check(mini_run(one.exec, &a) == EXEC_AWAY);
    exec_row_end(one.exec);
    mini_collect(&a);
    tap_eq_str(mini_reply(&a), "-ERR the command writes more than one command may\r\n");
    tap_eq_str(do_b(MINI_SIZE, ""), ":1\r\n");

    /* The same when the log refuses: the table is gone. */
    fake_refuse(front, RES_NO_SPACE);
    mini_prepare(&a, MINI_SET, "p");
    mini_prepare_arg(&a, slice_of(big, sizeof big));
    tap_check(mini_run(one.exec, &a) == EXEC_AWAY);
    mini_collect(&a);
    tap_check(strncmp(mini_reply(&a), "-MISCONF ", 9) == 0);
    tap_eq_u64(fake_tables(front), 0);
    teardown();
}

static void a_long_command_is_whole_and_iterates_over_its_own_writes(void)
{
    setup(2);
    (void)do_a(MINI_MSET, "x:1 a x:2 b x:3 c y:2 old");
    tap_eq_str(do_a(MINI_COPYALL, "x: y:"), ":3\r\n");
    tap_eq_u64(a.session.floor, 2); /* one batch */
    tap_eq_str(do_b(MINI_LIST, "y:"), "$18\r\ny:1=a;y:2=b;y:3=c;\r\n");
    tap_eq_str(do_b(MINI_SIZE, ""), ":6\r\n");
    tap_eq_str(do_b(MINI_DEL, "y:1 y:1 x:1"), ":2\r\n");
    tap_eq_str(do_b(MINI_SIZE, ""), ":4\r\n");
    teardown();
}

static void a_command_that_takes_too_long_moves_to_the_pool(void)
{
    setup(2);
    mini_prepare(&a, MINI_SPIN, "k 4 0");
    tap_check(mini_run(one.exec, &a) == EXEC_AWAY);
    tap_check(stats().latch_over_1ms <= 1);
    exec_row_end(one.exec);
    mini_collect(&a);
    tap_eq_str(mini_reply(&a), "+OK\r\n");
    teardown();
}

static void a_row_ends_after_200_us(void)
{
    setup(2);
    mini_prepare(&a, MINI_SET, "k 1");
    tap_check(mini_run(one.exec, &a) == EXEC_DONE);
    env_memory_advance(env, 150000);
    tap_check(mini_run(one.exec, &a) == EXEC_DONE);
    mini_prepare(&b, MINI_SET, "k 2");
    tap_check(mini_run(two.exec, &b) == EXEC_PARKED);
    env_memory_advance(env, 60000);
    mini_prepare(&c, MINI_GET, "k"); /* a short read runs inside the row, and ends it as a write would */
    tap_check(mini_run(one.exec, &c) == EXEC_DONE);
    tap_eq_u64(atomic_load(&two.wakes), 1);
    tap_check(mini_run(two.exec, &b) == EXEC_DONE);
    mini_prepare(&a, MINI_LIST, "k"); /* a read that may take long does not keep the latch */
    tap_check(mini_run(one.exec, &a) == EXEC_DONE);
    exec_row_end(two.exec);
    mini_prepare(&b, MINI_SET, "k 3");
    tap_check(mini_run(two.exec, &b) == EXEC_DONE);
    mini_prepare(&b, MINI_LIST, "k");
    tap_check(mini_run(two.exec, &b) == EXEC_DONE);
    mini_prepare(&a, MINI_SET, "k 4");
    tap_check(mini_run(one.exec, &a) == EXEC_DONE);
    exec_row_end(one.exec);
    teardown();
}

/* PERSIST of a key that is due in a moment is not yet shown to others; no reader may find the key expired meanwhile,
 * for the PERSIST, which says that it was in time, comes first in everybody's order. */
static void readers_do_not_outrun_the_clock_of_writes_they_do_not_see(void)
{
    setup(2);
    uint64_t now = env->ops->real_ms(env);
    char text[64];
    snprintf(text, sizeof text, "k v %" PRIu64, now + 50);
    tap_eq_str(do_a(MINI_SET, text), "+OK\r\n");
    snprintf(text, sizeof text, "l v %" PRIu64, now + 50);
    tap_eq_str(do_a(MINI_SET, text), "+OK\r\n");
    fake_gate_hold(front);
    env_memory_advance(env, 40000000);
    tap_eq_str(do_a(MINI_PERSIST, "k"), ":1\r\n");
    env_memory_advance(env, 60000000);
    tap_eq_str(do_b(MINI_GET, "k"), "$1\r\nv\r\n");
    tap_eq_str(do_b(MINI_GET, "l"), "$1\r\nv\r\n"); /* the same moment for all keys */
    tap_eq_str(do_a(MINI_GET, "l"), "$-1\r\n");     /* who sees the PERSIST sees today's time */
    fake_chill(front, 1000);
    tap_eq_str(do_b(MINI_GET, "k"), "$1\r\nv\r\n"); /* on the pool too */
    fake_gate_follow(front);
    tap_eq_str(do_b(MINI_GET, "k"), "$1\r\nv\r\n");
    tap_eq_str(do_b(MINI_GET, "l"), "$-1\r\n");
    /* While a write runs: the time stands for readers. */
    snprintf(text, sizeof text, "m v %" PRIu64, env->ops->real_ms(env) + 1);
    tap_eq_str(do_a(MINI_SET, text), "+OK\r\n");
    mini_prepare(&a, MINI_SET, "n v");
    tap_check(mini_run(one.exec, &a) == EXEC_DONE);
    fake_gate_follow(front);
    env_memory_advance(env, 5000000);
    tap_eq_str(do_b(MINI_GET, "m"), "$1\r\nv\r\n");
    exec_row_end(one.exec);
    tap_eq_str(do_b(MINI_GET, "m"), "$-1\r\n");
    teardown();
}

/* A key that the preparation saw alive is due when it commits: it runs again, and finds it gone. */
static void a_prepared_command_is_not_valid_when_its_key_is_due(void)
{
    setup(1);
    char text[64];
    snprintf(text, sizeof text, "k 5 %" PRIu64, env->ops->real_ms(env) + 10);
    tap_eq_str(do_a(MINI_SET, text), "+OK\r\n");
    fake_chill(front, 1000);
    fake_space(front, false); /* holds the commit up */
    mini_prepare(&a, MINI_INCR, "k");
    tap_check(mini_run(one.exec, &a) == EXEC_AWAY);
    exec_row_end(one.exec);
    while (fake_waits(front) == 0)
        usleep(100);
    usleep(20000);
    env_memory_advance(env, 20000000);
    fake_space(front, true);
    mini_collect(&a);
    tap_eq_str(mini_reply(&a), ":1\r\n");
    teardown();
}

/* What looked at the database map is not valid after FLUSHDB; what looked at a counter, after any commit. */
static void a_flush_overtakes_prepared_commands(void)
{
    setup(1);
    (void)do_a(MINI_SET, "k 5");
    memset(&probe, 0, sizeof probe);
    probe.overtake = 1;
    probe.flush = true;
    mini_prepare(&a, MINI_INCR, "k");
    a.entry = &long_entry;
    tap_check(mini_run(one.exec, &a) == EXEC_AWAY);
    exec_row_end(one.exec);
    mini_collect(&a);
    tap_eq_str(mini_reply(&a), ":6\r\n");
    tap_eq_u64((uint64_t)probe.runs, 2);
    teardown();
}

static void a_rerun_draws_the_same_random_numbers(void)
{
    setup(1);
    tap_eq_str(do_a(MINI_SET, "k 1"), "+OK\r\n");
    mini_prepare(&a, MINI_DRAW, "k");
    fake_space(front, false);
    tap_check(mini_run(one.exec, &a) == EXEC_PARKED);
    exec_row_end(one.exec);
    fake_space(front, true);
    fake_chill(front, 1000);
    tap_check(mini_run(one.exec, &a) == EXEC_AWAY);
    exec_row_end(one.exec);
    mini_collect(&a);
    char first[64];
    snprintf(first, sizeof first, "%s", mini_reply(&a));
    tap_eq_str(do_b(MINI_GET, "k"), first);
    tap_check(strcmp(do_a(MINI_DRAW, "k"), first) != 0);
    teardown();
}

static void counters_are_those_of_the_snapshot(void)
{
    setup(2);
    (void)do_a(MINI_MSET, "k 1 l 1");
    fake_gate_hold(front);
    (void)do_a(MINI_SET, "m 1");
    tap_eq_str(do_b(MINI_SIZE, ""), ":2\r\n");
    tap_eq_str(do_a(MINI_SIZE, ""), ":3\r\n");
    tap_eq_u64(a.session.floor, 2);
    fake_gate_follow(front);
    tap_eq_str(do_b(MINI_SIZE, ""), ":3\r\n");
    teardown();
}

static void the_gate_wakes_who_holds_replies_back_once(void)
{
    setup(2);
    fake_gate_hold(front);
    (void)do_a(MINI_SET, "k 1");
    (void)do_a(MINI_SET, "k 2");
    exec_set_waiting_floor(one.exec, 2);
    fake_gate_to(front, 1);
    tap_eq_u64(atomic_load(&one.wakes), 0);
    fake_gate_to(front, 2);
    tap_eq_u64(atomic_load(&one.wakes), 1);
    (void)do_b(MINI_SET, "k 3");
    fake_gate_to(front, 3);
    tap_eq_u64(atomic_load(&one.wakes), 1);
    tap_eq_u64(atomic_load(&two.wakes), 0);
    teardown();
}

static void restrictions_are_checked_before_anything_runs(void)
{
    setup(2);
    struct shard_tuning t = {.slowlog_us = -1, .password_required = "x"};
    shard_tune(shard, &t);
    tap_eq_str(do_a(MINI_SET, "k 1"), "-NOAUTH Authentication required.\r\n");
    tap_eq_str(do_a(MINI_PING, ""), "+PONG\r\n");
    a.session.authenticated = true;
    tap_eq_str(do_a(MINI_SET, "k 1"), "+OK\r\n");
    t.password_required = NULL;
    t.denyoom_bytes = 1;
    shard_tune(shard, &t);
    tap_eq_str(do_b(MINI_SET, "k 1"), "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    tap_eq_str(do_b(MINI_GET, "k"), "$1\r\n1\r\n");
    t.denyoom_bytes = 0;
    shard_tune(shard, &t);
    struct command_stats st = {0};
    histogram_init(&st.latency);
    shard_command_stats(shard, MINI_SET, &st);
    tap_eq_u64(st.calls, 1);
    tap_eq_u64(st.rejected, 2);
    histogram_fini(&st.latency);
    teardown();
}

static void a_pause_parks_and_its_end_wakes(void)
{
    setup(2);
    uint64_t now = env->ops->real_ms(env);
    shard_pause(shard, SHARD_PAUSE_WRITE, now + 60000);
    mini_prepare(&a, MINI_SET, "k 1");
    tap_check(mini_run(one.exec, &a) == EXEC_PARKED);
    tap_eq_str(do_b(MINI_GET, "k"), "$-1\r\n");
    uint64_t sequence;
    tap_check(exec_background(shard, mini_entry[MINI_INCR].command->run, NULL, &sequence) == RES_RETRY);
    shard_pause(shard, SHARD_PAUSE_OFF, 0);
    tap_eq_u64(atomic_load(&one.wakes), 1);
    tap_check(mini_run(one.exec, &a) == EXEC_DONE);
    exec_row_end(one.exec);
    /* It ends by itself. */
    shard_pause(shard, SHARD_PAUSE_ALL, env->ops->real_ms(env) + 30);
    mini_prepare(&b, MINI_GET, "k");
    tap_check(mini_run(two.exec, &b) == EXEC_PARKED);
    env_memory_advance(env, 40000000);
    for (int i = 0; i < 2000 && atomic_load(&two.wakes) == 0; i++)
        usleep(1000);
    tap_eq_u64(atomic_load(&two.wakes), 1);
    tap_check(mini_run(two.exec, &b) == EXEC_DONE);
    tap_eq_str(mini_reply(&b), "$1\r\n1\r\n");
    teardown();
}

struct error_list {
    char text[256];
};
static void error_add(void *arg, const char *code, uint64_t n)
{
    struct error_list *l = arg;
    size_t at = strlen(l->text);
    snprintf(l->text + at, sizeof l->text - at, "%s=%d ", code, (int)n);
}
static void slow_add(void *arg, const struct slowlog_entry *e)
{
    struct error_list *l = arg;
    size_t at = strlen(l->text);
    snprintf(l->text + at, sizeof l->text - at, "%d:%.*s/%d@%s ", (int)e->id, (int)e->argv[0].len,
             (const char *)e->argv[0].data, e->argc, e->address);
}
static void latency_add(void *arg, const struct latency_series *s)
{
    struct error_list *l = arg;
    size_t at = strlen(l->text);
    snprintf(l->text + at, sizeof l->text - at, "%s %d %d;", s->event, s->count, (int)s->max);
}

static void slow_arguments(void *arg, const struct slowlog_entry *e)
{
    struct error_list *l = arg;
    size_t at = strlen(l->text);
    snprintf(l->text + at, sizeof l->text - at, "%.*s ", (int)e->argv[1].len, (const char *)e->argv[1].data);
}

static enum result hide(struct call *call)
{
    call_hide_arg(call, 1);
    reply_ok(call->reply);
    return RES_OK;
}

static void what_ran_is_counted(void)
{
    setup(2);
    struct shard_tuning t = {.slowlog_us = 0, .slowlog_max = 2};
    shard_tune(shard, &t);
    (void)do_a(MINI_SET, "k x");
    (void)do_a(MINI_GET, "k");
    (void)do_b(MINI_GET, "nothing");
    (void)do_a(MINI_INCR, "k");
    (void)do_b(MINI_FAIL, "WRONGTYPE\rno");
    tap_eq_str(mini_reply(&b), "-WRONGTYPE no\r\n");
    (void)do_b(MINI_FAIL, "WRONGTYPE");
    struct shard_stats s = stats();
    tap_eq_u64(s.commands, 6);
    tap_eq_u64(s.keyspace_hits, 1);
    tap_eq_u64(s.keyspace_misses, 1);
    tap_eq_u64(s.error_replies, 3);
    struct error_list l = {""};
    shard_each_error(shard, error_add, &l);
    tap_eq_str(l.text, "ERR=1 WRONGTYPE=2 ");
    l.text[0] = 0;
    tap_eq_u64(shard_slowlog_len(shard), 2);
    shard_slowlog_each(shard, 10, slow_add, &l);
    tap_eq_str(l.text, "5:fail/2@test:2 4:fail/2@test:2 ");
    shard_slowlog_reset(shard);
    tap_eq_u64(shard_slowlog_len(shard), 0);
    /* What one command hides, the next one does not. */
    static const struct command secret = {.name = "secret", .flags = CMD_SESSION, .run = hide};
    static const struct command_entry secret_entry = {.command = &secret, .id = 0};
    mini_prepare(&a, MINI_FAIL, "password");
    a.entry = &secret_entry;
    (void)mini_run(one.exec, &a);
    (void)do_a(MINI_FAIL, "word");
    l.text[0] = 0;
    shard_slowlog_each(shard, 10, slow_arguments, &l);
    tap_eq_str(l.text, "word (redacted) ");
    shard_slowlog_reset(shard);
    t = (struct shard_tuning){.slowlog_us = -1, .latency_ms = 2};
    shard_tune(shard, &t);
    mini_prepare(&a, MINI_SPIN, "k 4 0");
    tap_check(mini_run(one.exec, &a) == EXEC_AWAY);
    exec_row_end(one.exec);
    mini_collect(&a);
    tap_eq_u64(shard_slowlog_len(shard), 0);
    l.text[0] = 0;
    shard_latency_each(shard, latency_add, &l);
    tap_check(strstr(l.text, "command 1 4;") != NULL);
    tap_check(shard_latency_reset(shard, NULL) >= 1);
    shard_reset_stats(shard);
    s = stats();
    tap_check(s.commands == 0 && s.error_replies == 0 && s.latch_takes == 0 && s.keyspace_hits == 0);
    teardown();
}

static enum result background(struct call *call)
{
    struct slice *key = call_background_arg(call);
    struct slice argv[2] = {SLICE_LIT("incr"), *key};
    call->argv = argv;
    call->argc = 2;
    enum result r = mini_entry[MINI_INCR].command->run(call);
    call->argv = NULL;
    return r;
}

static void background_work_commits_like_a_command(void)
{
    setup(2);
    (void)do_a(MINI_SET, "k 1");
    uint64_t sequence = 0;
    struct slice key = SLICE_LIT("k");
    tap_check(exec_background(shard, background, &key, &sequence) == RES_OK);
    tap_eq_u64(sequence, 2);
    tap_eq_str(do_a(MINI_GET, "k"), "$1\r\n2\r\n");
    teardown();
}

static void set_flag(void *arg) { atomic_store((atomic_bool *)arg, true); }

static atomic_bool may_go, is_in;
static void wait_to_go(void *arg)
{
    (void)arg;
    atomic_store(&is_in, true);
    while (!atomic_load(&may_go))
        usleep(100);
}

/* Settings that a call on the pool still uses are not freed, however many epochs pass. */
static void what_is_retired_lives_as_long_as_the_runs_of_its_time(void)
{
    setup(2);
    atomic_bool freed = false;
    (void)do_a(MINI_SET, "k 1");
    fake_chill(front, 1000);
    atomic_store(&may_go, false);
    atomic_store(&is_in, false);
    fake_on_wait(front, wait_to_go, NULL);
    mini_prepare(&a, MINI_GET, "k");
    tap_check(mini_run(one.exec, &a) == EXEC_AWAY);
    while (!atomic_load(&is_in))
        usleep(100);
    shard_retire(shard, set_flag, &freed);
    epoch_drain();
    tap_check(!atomic_load(&freed));
    atomic_store(&may_go, true);
    mini_collect(&a);
    for (int i = 0; i < 5000 && !atomic_load(&freed); i++)
        usleep(1000);
    tap_check(atomic_load(&freed));
    atomic_store(&freed, false);
    shard_retire(shard, set_flag, &freed);
    epoch_drain();
    tap_check(atomic_load(&freed));
    teardown();
}

int main(void)
{
    tap_test(a_read_shows_what_the_gate_passed_and_its_own_writes);
    tap_test(a_write_that_writes_nothing_waits_for_what_it_saw);
    tap_test(writes_of_a_row_become_one_batch);
    tap_test(who_looks_at_a_bundle_ends_it);
    tap_test(a_command_that_leaves_its_bundle_takes_nothing_along);
    tap_test(bundles_have_an_end);
    tap_test(a_waiting_client_is_served_before_the_next_command_of_the_row);
    tap_test(a_busy_latch_parks_and_its_release_wakes);
    tap_test(who_has_nothing_to_write_any_more_passes_the_latch_on);
    tap_test(a_worker_that_ends_leaves_the_queue);
    tap_test(a_worker_that_takes_the_latch_by_luck_wakes_its_own);
    tap_test(who_waited_a_millisecond_goes_first);
    tap_test(without_log_space_a_write_parks_and_keeps_nothing);
    tap_test(log_space_that_comes_while_parking_is_not_missed);
    tap_test(a_refusal_of_the_file_system_is_the_clients_error);
    tap_test(cold_reads_and_writes_are_answered_by_the_pool);
    tap_test(a_cold_pipeline_comes_back_warm);
    tap_test(the_pool_keeps_the_gate_too);
    tap_test(an_overtaken_prepared_command_runs_again);
    tap_test(after_three_failures_the_keys_are_held);
    tap_test(what_acts_outside_acts_once_while_its_keys_are_held);
    tap_test(who_comes_for_a_key_that_is_prepared_alone_waits_and_goes_the_ordinary_way);
    tap_test(an_untouched_prepared_command_is_not_disturbed_by_other_keys);
    tap_test(a_prepared_command_without_space_waits_for_it);
    tap_test(a_failed_log_ends_waiting_and_refuses_writes);
    tap_test(a_large_write_becomes_a_private_table);
    tap_test(a_long_command_is_whole_and_iterates_over_its_own_writes);
    tap_test(a_command_that_takes_too_long_moves_to_the_pool);
    tap_test(a_row_ends_after_200_us);
    tap_test(readers_do_not_outrun_the_clock_of_writes_they_do_not_see);
    tap_test(a_prepared_command_is_not_valid_when_its_key_is_due);
    tap_test(a_flush_overtakes_prepared_commands);
    tap_test(a_rerun_draws_the_same_random_numbers);
    tap_test(counters_are_those_of_the_snapshot);
    tap_test(the_gate_wakes_who_holds_replies_back_once);
    tap_test(restrictions_are_checked_before_anything_runs);
    tap_test(a_pause_parks_and_its_end_wakes);
    tap_test(what_ran_is_counted);
    tap_test(background_work_commits_like_a_command);
    tap_test(what_is_retired_lives_as_long_as_the_runs_of_its_time);
    return tap_done();
}
