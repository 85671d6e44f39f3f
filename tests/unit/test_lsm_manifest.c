/* The manifest and CURRENT.
 *
 * 1. Edits come back as they were written, over rotations and restarts.
 * 2. Any byte changed in manifest or CURRENT: opening refuses, naming file and offset, or the state is right.
 * 3. Cut off at any length: a state that was in force once, or a refusal; never anything else.
 * 4. After every crash the state is that of an edit at or after the last one acknowledged; a crash while opening, too.
 * 5. Whatever call fails, an edit is in force or it is not; the next one after a full disk is whole again. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "engine/lsm/manifest.h"
#include "os/env_memory.h"

#define EDITS 12

static struct env *env;

/* Edit n: sequence 10 n, a state of 150 n bytes, tables n and n + 100; table n - 1 goes. */
static void put_edit(struct buf *b, unsigned n, bool whole)
{
    uint8_t state[150 * EDITS + 1];
    memset(state, (int)n, sizeof state);
    if (whole)
        cr_assert_eq(manifest_put_number(b, MANIFEST_FORMAT, MANIFEST_VERSION), RES_OK);
    cr_assert_eq(manifest_put_number(b, MANIFEST_NEXT_NUMBER, 1000 + n), RES_OK);
    cr_assert_eq(manifest_put_number(b, MANIFEST_SEQUENCE, 10 * n), RES_OK);
    cr_assert_eq(manifest_put_bytes(b, MANIFEST_STATE, slice_of(state, 150 * n)), RES_OK);
    if (!whole && n > 1)
        cr_assert_eq(manifest_put_drop(b, n - 1, 3), RES_OK);
    for (unsigned i = whole ? 1 : n; i <= n; i++) {
        struct manifest_table far = {.number = i + 100, .level = 0, .run = i, .size = 5000 + i, .region = 'E'};
        cr_assert_eq(manifest_put_add(b, &far), RES_OK);
    }
    if (n) {
        struct manifest_table near = {.number = n, .level = 3, .size = 77, .region = 'M'};
        cr_assert_eq(manifest_put_add(b, &near), RES_OK);
    }
}

/* Which edit led to this state? -1: none. */
static int edit_of(const struct manifest_state *s)
{
    unsigned n = (unsigned)(s->sequence / 10);
    size_t near = 0, far = 0;
    if (s->sequence % 10 || n > EDITS || s->next_number != 1000 + n || s->state.len != 150 * n ||
        s->count != n + (n > 0))
        return -1;
    for (size_t i = 0; i < s->state.len; i++)
        if (s->state.data[i] != n)
            return -1;
    for (size_t i = 0; i < s->count; i++) {
        const struct manifest_table *t = &s->tables[i];
        near += t->number == n && t->level == 3 && t->size == 77 && t->region == 'M' && t->run == 0;
        far += t->number > 100 && t->number <= 100 + n && t->level == 0 && t->run == t->number - 100 &&
               t->size == 5000 + t->run && t->region == 'E';
    }
    return near == (n > 0) && far == n ? (int)n : -1;
}

/* Writes edit n: appended, or as a new manifest. */
static enum result write_edit(struct manifest *m, unsigned n, bool rotate)
{
    struct buf b = BUF_INIT;
    bool in_doubt = false, whole = rotate || manifest_wants_whole(m);
    put_edit(&b, n, whole);
    enum result r = whole ? manifest_start(m, 500 + n, buf_slice(&b), &in_doubt) : manifest_append(m, buf_slice(&b));
    buf_fini(&b);
    return r;
}

static void begin(int flags)
{
    log_set_level(LOG_NOTHING);
    env = env_memory_new(3, flags);
    cr_assert_eq(env->ops->mkdir(env, "/db"), RES_OK);
}

static void end(void)
{
    cr_assert_eq(env_memory_open_files(env), 0);
    env_memory_free(env);
}

static int reopened(struct env *e, struct errmsg *msg)
{
    struct manifest m;
    struct manifest_state s;
    enum result r = manifest_open(&m, e, "/db", &s, msg);
    int n = r == RES_OK ? edit_of(&s) : -(int)r - 100;
    manifest_state_fini(&s);
    manifest_close(&m);
    return n;
}

static void write_all(unsigned rotate_at)
{
    struct manifest m = {.env = env, .dir = "/db"};
    for (unsigned n = 0; n <= EDITS; n++)
        cr_assert_eq(write_edit(&m, n, n == rotate_at), RES_OK);
    manifest_close(&m);
}

Test(lsm_manifest, edits_come_back_after_restarts_and_rotations)
{
    struct manifest m = {0};
    struct manifest_state s;
    begin(ENV_MEMORY_PLAIN);
    cr_assert_eq(manifest_open(&m, env, "/db", &s, NULL), RES_NOT_FOUND);
    for (unsigned n = 0; n <= EDITS; n++) {
        cr_assert_eq(write_edit(&m, n, n % 5 == 3), RES_OK);
        manifest_close(&m);
        cr_assert_eq(manifest_open(&m, env, "/db", &s, NULL), RES_OK);
        cr_assert_eq(edit_of(&s), (int)n);
        manifest_state_fini(&s);
    }
    manifest_close(&m);
    end();
}

Test(lsm_manifest, grows_only_in_proportion_to_its_state)
{
    struct manifest m = {.env = env, .dir = "/db"};
    begin(ENV_MEMORY_PLAIN);
    m.env = env;
    cr_assert_eq(write_edit(&m, 0, true), RES_OK);
    unsigned appended = 0;
    struct buf b = BUF_INIT;
    cr_assert_eq(manifest_put_number(&b, MANIFEST_SEQUENCE, 7), RES_OK);
    while (!manifest_wants_whole(&m)) {
        cr_assert_eq(manifest_append(&m, buf_slice(&b)), RES_OK);
        cr_assert_lt(++appended, 100000u);
    }
    cr_assert_gt(appended, 1000u);
    buf_fini(&b);
    manifest_close(&m);
    end();
}

Test(lsm_manifest, every_flipped_bit_is_seen)
{
    begin(ENV_MEMORY_PLAIN);
    write_all(4);
    const char *files[] = {"/db/MANIFEST-000504", "/db/CURRENT"};
    for (size_t f = 0; f < 2; f++) {
        struct env_file *file;
        uint64_t size;
        cr_assert_eq(env->ops->open(env, files[f], ENV_READ, &file), RES_OK);
        cr_assert_eq(file->ops->size(file, &size), RES_OK);
        cr_assert_eq(file->ops->close(file), RES_OK);
        for (uint64_t at = 0; at < size; at++)
            for (unsigned bit = 0; bit < 8; bit++) {
                struct errmsg msg = {""};
                cr_assert_eq(env_memory_flip(env, files[f], at, bit), RES_OK);
                int n = reopened(env, &msg);
                cr_assert_lt(n, -100, "%s: byte %lu bit %u unnoticed: edit %d", files[f], (unsigned long)at, bit, n);
                cr_assert(strstr(msg.text, files[f]) && strstr(msg.text, "offset"), "%s", msg.text);
                cr_assert_eq(env_memory_flip(env, files[f], at, bit), RES_OK);
            }
    }
    cr_assert_eq(reopened(env, NULL), EDITS);
    end();
}

Test(lsm_manifest, every_truncation_leaves_an_earlier_state_or_a_refusal)
{
    uint8_t *whole;
    size_t len;
    int last = -1;
    begin(ENV_MEMORY_PLAIN);
    write_all(2);
    cr_assert_eq(env_read_file(env, "/db/MANIFEST-000502", 1 << 20, &whole, &len), RES_OK);
    for (size_t keep = 0; keep <= len; keep++) {
        struct env_file *f;
        cr_assert_eq(env->ops->open(env, "/db/MANIFEST-000502", ENV_READ | ENV_WRITE, &f), RES_OK);
        cr_assert_eq(f->ops->truncate(f, 0), RES_OK);
        cr_assert_eq(env_write(f, whole, keep, 0), RES_OK);
        cr_assert_eq(f->ops->close(f), RES_OK);
        int n = reopened(env, NULL);
        if (last < 0 && n < 0) {
            cr_assert_lt(n, -100);
            continue;
        }
        cr_assert(n == last || n == last + 1 || (last < 0 && n == 2), "%zu bytes: edit %d after %d", keep, n, last);
        last = n;
    }
    cr_assert_eq(last, EDITS);
    free(whole);
    end();
}

Test(lsm_manifest, zeros_where_sectors_were_not_written_are_cut_but_not_holes)
{
    uint8_t *whole;
    size_t len;
    struct env_file *f;
    begin(ENV_MEMORY_PLAIN);
    write_all(2);
    cr_assert_eq(env_read_file(env, "/db/MANIFEST-000502", 1 << 20, &whole, &len), RES_OK);
    uint8_t *longer = calloc(1, len + 2000);
    memcpy(longer, whole, len);
    cr_assert_eq(env->ops->open(env, "/db/MANIFEST-000502", ENV_READ | ENV_WRITE, &f), RES_OK);
    cr_assert_eq(env_write(f, longer, len + 2000, 0), RES_OK);
    cr_assert_eq(reopened(env, NULL), EDITS); /* the file grew, the bytes did not come */
    memset(longer + len / 2, 0, 40);
    cr_assert_eq(env_write(f, longer, len, 0), RES_OK);
    cr_assert_eq(f->ops->truncate(f, len), RES_OK);
    cr_assert_lt(reopened(env, NULL), -100);
    cr_assert_eq(f->ops->close(f), RES_OK);
    free(whole);
    free(longer);
    end();
}

Test(lsm_manifest, survives_every_crash_and_a_second_one)
{
    uint64_t acknowledged[EDITS + 1];
    begin(ENV_MEMORY_HISTORY);
    cr_assert_eq(env->ops->sync_dir(env, "/"), RES_OK);
    struct manifest m = {.env = env, .dir = "/db"};
    for (unsigned n = 0; n <= EDITS; n++) {
        cr_assert_eq(write_edit(&m, n, n % 4 == 3), RES_OK);
        acknowledged[n] = env_memory_changes(env);
    }
    for (uint64_t k = acknowledged[0]; k <= env_memory_changes(env); k++) {
        int least = 0;
        while (least < EDITS && acknowledged[least + 1] <= k)
            least++;
        for (uint64_t seed = 0; seed < 12; seed++) {
            struct env *image = env_memory_crash(env, k, seed);
            struct errmsg msg = {""};
            int n = reopened(image, &msg);
            cr_assert(n == least || n == least + 1, "crash after change %lu, seed %lu: edit %d, not %d (%s)",
                      (unsigned long)k, (unsigned long)seed, n, least, msg.text);
            /* And go on from there: what is written next must hold, whatever was cut. */
            struct manifest again;
            struct manifest_state s;
            cr_assert_eq(manifest_open(&again, image, "/db", &s, NULL), RES_OK);
            manifest_state_fini(&s);
            struct buf b = BUF_INIT;
            bool in_doubt;
            put_edit(&b, 5, true);
            enum result r = manifest_start(&again, 900, buf_slice(&b), &in_doubt);
            cr_assert_eq(r, RES_OK);
            cr_assert_eq(manifest_sweep(&again), RES_OK);
            buf_fini(&b);
            manifest_close(&again);
            struct env *second = env_memory_crash(image, ENV_MEMORY_NOW, 1);
            cr_assert_eq(reopened(second, NULL), 5);
            env_memory_free(second);
            env_memory_free(image);
        }
    }
    manifest_close(&m);
    end();
}

Test(lsm_manifest, any_failing_call_leaves_an_edit_in_force_or_not)
{
    static const enum result codes[] = {RES_IO, RES_NO_SPACE};
    for (int c = 0; c < 2; c++)
        for (int half = 0; half < 2; half++)
            for (uint64_t nth = 1;; nth++) {
                begin(ENV_MEMORY_CRASH);
                cr_assert_eq(env->ops->sync_dir(env, "/"), RES_OK);
                struct manifest m = {.env = env, .dir = "/db"};
                unsigned done = 0;
                enum result r = RES_OK;
                cr_assert_eq(write_edit(&m, 0, true), RES_OK);
                struct env_fault fault = {.ops = ENV_OPS_WRITE, .nth = nth, .code = codes[c], .partial = half ? 9 : -1};
                env_faults_add(env_memory_faults(env), &fault);
                for (unsigned n = 1; n <= 6 && r == RES_OK; n++) {
                    r = write_edit(&m, n, n == 4);
                    done = r == RES_OK ? n : done;
                }
                bool hit = env_faults_hits(env_memory_faults(env)) > 0;
                env_faults_clear(env_memory_faults(env));
                for (uint64_t seed = 0; seed < 6; seed++) {
                    struct env *image = env_memory_crash(env, ENV_MEMORY_NOW, seed);
                    struct errmsg msg = {""};
                    int n = reopened(image, &msg);
                    cr_assert(n == (int)done || n == (int)done + 1, "fault %lu: edit %d after %u (%s)",
                              (unsigned long)nth, n, done, msg.text);
                    env_memory_free(image);
                }
                if (r == RES_NO_SPACE) { /* space came back */
                    cr_assert_eq(write_edit(&m, done + 1, m.file == NULL), RES_OK);
                    cr_assert_eq(reopened(env, NULL), (int)done + 1);
                }
                manifest_close(&m);
                end();
                if (!hit)
                    break;
                cr_assert_lt(nth, 200u);
            }
}

Test(lsm_manifest, a_missing_current_is_not_an_empty_directory)
{
    struct errmsg msg = {""};
    begin(ENV_MEMORY_PLAIN);
    write_all(3);
    cr_assert_eq(env->ops->unlink(env, "/db/CURRENT"), RES_OK);
    cr_assert_eq(reopened(env, &msg), -(int)RES_CORRUPT - 100);
    cr_assert(strstr(msg.text, "CURRENT"), "%s", msg.text);
    end();
}

Test(lsm_manifest, a_newer_format_is_refused)
{
    struct buf b = BUF_INIT;
    struct errmsg msg = {""};
    bool in_doubt;
    begin(ENV_MEMORY_PLAIN);
    struct manifest m = {.env = env, .dir = "/db"};
    cr_assert_eq(manifest_put_number(&b, MANIFEST_FORMAT, MANIFEST_VERSION + 1), RES_OK);
    cr_assert_eq(manifest_start(&m, 9, buf_slice(&b), &in_doubt), RES_OK);
    manifest_close(&m);
    cr_assert_eq(reopened(env, &msg), -(int)RES_UNSUPPORTED - 100);
    cr_assert(strstr(msg.text, "version"), "%s", msg.text);
    buf_fini(&b);
    end();
}
