/* Linearizability of the executor. What must hold, with four workers, a pool, a gate that stands and jumps at random,
 * keys that go cold at random, log space that comes and goes, and prepared commands among the ordinary ones:
 *   - what clients are told has one order that fits the moments of their calls and replies;
 *   - no wake-up is lost: everybody finishes;
 *   - when the log fails, nothing above the gate has been shown to anybody.
 * Once with real threads (which ThreadSanitizer watches), and many times under the deterministic scheduler, where a
 * schedule is found again by its seed. VARVE_STORM_SEED runs that one alone. */
#include <stdlib.h>

#include "base/log.h"
#include "os/env_memory.h"
#include "os/sched.h"
#include "tests/lib/fake_front.h"
#include "tests/lib/storm.h"
#include "tests/lib/tap.h"

/* ---- disturbing ---- */

static void disturb(struct storm *s, uint64_t r, bool last)
{
    struct front *f = shard_front(s->shard);
    uint64_t gate = front_gate(f), visible = front_visible(f);
    if (s->arg && (r >> 32) % 2) /* time passes */
        env_memory_advance(s->arg, (r >> 34) % 1500000);
    if (last || r % 16 == 0) {
        fake_space(f, true);
        fake_gate_follow(f);
        return;
    }
    switch (r % 16) {
    case 1:
        fake_space(f, false);
        break;
    case 2:
    case 3:
        fake_space(f, true);
        break;
    case 4:
        fake_chill(f, (unsigned)(r >> 8 & 1023));
        break;
    case 5:
    case 6:
    case 7:
        fake_gate_hold(f);
        break;
    default:
        if (visible > gate)
            fake_gate_to(f, gate + 1 + (r >> 8) % (visible - gate));
    }
}

/* The same, and at some moment the log fails. */
static void disturb_and_fail(struct storm *s, uint64_t r, bool last)
{
    if (!last)
        disturb(s, r, false);
    if (last || (r >> 40) % 40 == 0)
        fake_fail(shard_front(s->shard));
}

static struct shard *shard_new(struct env *env, int pool_threads)
{
    struct shard_options o = {
        .front = {.env = env}, .pool_threads = pool_threads, .command_count = MINI_COUNT, .max_workers = 8};
    struct shard *shard;
    struct errmsg msg;
    tap_require(shard_open(&o, &shard, &msg) == RES_OK);
    return shard;
}

static void explain(const struct storm *s)
{
    tap_diag("seed %" PRIu64 "%s%s", s->seed, s->standstill ? ": standstill" : "",
             s->wrong_reply ? ": wrong reply" : "");
    for (const char *p = s->text, *end; *p; p = *end ? end + 1 : end) {
        end = p + strcspn(p, "\n");
        tap_diag("%.*s", (int)(end - p), p);
    }
}

/* ---- real threads ---- */

static void storms_with_real_threads_are_linearizable(void)
{
    struct shard *shard = shard_new(env_posix(), 4);
    int rounds = tap_long() ? 3000 : 150;
    uint64_t away = 0;
    for (int i = 0; i < rounds; i++) {
        struct storm s = {.shard = shard,
                          .seed = (uint64_t)i,
                          .workers = 4,
                          .clients = 4,
                          .ops = 4,
                          .group = i,
                          .prepared_permille = i % 3 ? 100 : 0,
                          .transactions_permille = i % 4 ? 300 : 0,
                          .expiring = i % 2,
                          .disturb = disturb};
        if (!tap_check(storm_run(&s))) {
            explain(&s);
            break;
        }
    }
    struct shard_stats st;
    shard_stats(shard, &st);
    away = st.away_reads + st.away_writes;
    tap_diag("%" PRIu64 " commands, %" PRIu64 " away, %" PRIu64 " parked, %" PRIu64 " retries, %" PRIu64
             " keys held, %" PRIu64 " in slow mode",
             st.commands, away, st.latch_parks, st.prepared_retries, st.held_keys, st.slow_mode);
    tap_check(away > 0);
    tap_check(st.slow_mode == 0);
    tap_check(shard_close(shard) == RES_OK);
}

/* ---- the deterministic scheduler ---- */

static struct storm storm;
static bool storm_ok;
static struct shard_stats total;

static void storm_main(void *arg)
{
    struct env *env = arg;
    storm.shard = shard_new(env, 3);
    storm_ok = storm_run(&storm);
    struct shard_stats st;
    shard_stats(storm.shard, &st);
    total.away_reads += st.away_reads;
    total.away_writes += st.away_writes;
    total.latch_parks += st.latch_parks;
    total.prepared_retries += st.prepared_retries;
    total.held_keys += st.held_keys;
    total.slow_mode += st.slow_mode;
    tap_check(shard_close(storm.shard) == RES_OK);
}

static bool scheduled(uint64_t seed, bool fail)
{
    struct env *env = env_memory_new(seed, ENV_MEMORY_PLAIN);
    struct sched_report report;
    env_memory_follow(env, sched_now);
    memset(&storm, 0, sizeof storm);
    storm.seed = seed;
    storm.workers = 2 + (int)(seed % 3);
    storm.clients = 3;
    storm.ops = 5;
    storm.arg = env;
    storm.expiring = seed % 5 < 3;
    storm.prepared_permille = seed % 4 == 1 ? 0 : seed % 4 == 2 ? 500 : 100;
    storm.transactions_permille = seed % 3 ? 300 : 0;
    storm.disturb = fail ? disturb_and_fail : disturb;
    sched_run(seed, 0, storm_main, env, &report);
    if (report.stuck) {
        tap_diag("seed %" PRIu64 ": stuck: %s", seed, report.text);
        tap_check(!report.stuck);
        tap_require(!report.stuck); /* its threads are left behind */
    }
    env_memory_free(env);
    if (!tap_check(storm_ok))
        explain(&storm);
    return storm_ok;
}

static void run_seeds(uint64_t count, bool fail)
{
    const char *one = getenv("VARVE_STORM_SEED");
    size_t lost = 0, kept = 0;
    memset(&total, 0, sizeof total);
    for (uint64_t seed = one ? strtoull(one, NULL, 10) : 0; seed < (one ? seed + 1 : count); seed++) {
        if (!scheduled(seed, fail))
            break;
        lost += storm.lost;
        kept += storm.count;
        if (one)
            return;
    }
    tap_diag("%zu operations, %zu lost, %" PRIu64 " away, %" PRIu64 " parked, %" PRIu64 " retries, %" PRIu64
             " keys held, %" PRIu64 " in slow mode",
             kept, lost, total.away_reads + total.away_writes, total.latch_parks, total.prepared_retries,
             total.held_keys, total.slow_mode);
    /* Every way was gone. */
    tap_check(total.away_reads && total.away_writes && total.latch_parks && total.prepared_retries && total.held_keys);
    tap_check(fail == (lost > 0));
}

static void scheduled_storms_are_linearizable(void) { run_seeds(tap_long() ? 20000 : 400, false); }

static void a_failed_log_has_shown_nothing_above_the_gate(void) { run_seeds(tap_long() ? 20000 : 400, true); }

int main(void)
{
    log_set_level(LOG_NOTHING);
    tap_test(scheduled_storms_are_linearizable);
    tap_test(a_failed_log_has_shown_nothing_above_the_gate);
    tap_test(storms_with_real_threads_are_linearizable);
    return tap_done();
}
