/* Whole data directories, damaged anywhere (tests/lib/directory.h): in each file of an lsm or a file engine's directory bits
 * are flipped, each is removed, and directories suffer several things at once. What opens shows no wrong data. */
#include <unistd.h>

#include "base/log.h"
#include "tests/lib/directory.h"
#include "tests/lib/tap.h"

#define SLOW (TAP_ADDRESS_SANITIZER || TAP_THREAD_SANITIZER || TAP_COVERAGE)

static struct directory directories[DIRECTORY_KINDS];

#define KEPT 3 /* directories, of those that fail */

/* What a directory is made of differs from run to run: the bytes of the edits alone would explain nothing. */
static void explain(const struct directory *d, const uint8_t *data, size_t size)
{
    static int kept;
    struct directory_bytes b = {data, size};
    char text[300];
    uint64_t first = directory_take(&b, 1);
    tap_diag("recovery mode %d, %s", (int)(first % 3), first & 64 ? "with commits" : "opened twice");
    for (int i = 0; i < DIRECTORY_EDITS && b.left > 0; i++) {
        directory_tell_edit(d, &b, text, sizeof(text));
        tap_diag("  %s", text);
    }
    if (kept == KEPT)
        return;
    kept++;
    for (int i = 0; i < d->count; i++)
        tap_diag("  %s, %llu bytes", d->path[i], (unsigned long long)d->size[i]);
    snprintf(text, sizeof(text), "test_front_directory.%d.%d", (int)getpid(), kept);
    tap_diag("the undamaged directory %s %s", directory_keep(d, text) ? "is kept in" : "could not be kept in", text);
}

static void must_be_right(const struct directory *d, const uint8_t *data, size_t size, const char *what)
{
    char why[256] = "";
    if (tap_check(directory_try(d, data, size, true, why, sizeof(why))))
        return;
    char hex[256];
    for (size_t i = 0; i < size && i < 120; i++)
        snprintf(hex + 2 * i, 3, "%02x", data[i]);
    tap_diag("directory %d, %s, %s: %s", (int)(d - directories), what, hex, why);
    explain(d, data, size);
}

/* Of all files the same number, wherever in them; short ones everywhere. */
static void a_flipped_bit_in_any_file_is_refused_or_does_not_matter(void)
{
    uint64_t flips = 0, seed = 1 + tap_run(), of_each = tap_long() ? 3000 : SLOW ? 8 : 30;
    for (int k = 0; k < DIRECTORY_KINDS; k++) {
        const struct directory *d = &directories[k];
        for (int file = 0; file < d->count; file++) {
            uint64_t n = d->size[file] * 8 < of_each ? d->size[file] * 8 : of_each;
            for (uint64_t i = 0; i < n; i++, flips++) {
                uint64_t chance = seed = hash_mix(seed + 1), at = n < of_each ? i / 8 : chance % d->size[file];
                uint8_t edit[] = {(uint8_t)(chance >> 32),
                                  0,
                                  (uint8_t)file,
                                  (uint8_t)(at >> 16),
                                  (uint8_t)(at >> 8),
                                  (uint8_t)at,
                                  (uint8_t)(n < of_each ? i : chance >> 40)};
                must_be_right(d, edit, sizeof(edit), d->path[file]);
            }
        }
    }
    tap_diag("%llu flips", (unsigned long long)flips);
}

static void several_things_at_once(void)
{
    uint64_t seed = 1 + tap_run(), tries = tap_long() ? 100000 : SLOW ? 300 : 1500;
    for (uint64_t i = 0; i < tries; i++) {
        uint8_t edits[40];
        size_t n = 7 + (seed = hash_mix(seed + i)) % (sizeof(edits) - 7);
        for (size_t j = 0; j < n; j++)
            edits[j] = (uint8_t)(hash_mix(seed + j) >> 20);
        must_be_right(&directories[i % DIRECTORY_KINDS], edits, n, "edits");
    }
}

/* Each file is missing, in each mode; in a long run, others are damaged as well. */
static void without_any_one_file(void)
{
    uint64_t seed = 1 + tap_run();
    for (int k = 0; k < DIRECTORY_KINDS; k++) {
        const struct directory *d = &directories[k];
        for (int file = 0; file < d->count; file++)
            for (int other = tap_long() ? (int)(seed % 5) : d->count - 1; other < d->count; other += 5)
                for (int how = 0; how < 6; how++) {
                    uint8_t edits[40] = {(uint8_t)(how % 3 + (how < 3 ? 0 : 66)), 5, (uint8_t)file};
                    for (size_t i = 6; i < sizeof(edits); i++)
                        edits[i] = (uint8_t)((seed = hash_mix(seed + i)) >> 20);
                    edits[6] &= 1; /* a bit or bytes */
                    edits[7] = (uint8_t)other;
                    must_be_right(d, edits, !tap_long() ? 6 : edits[6] ? 12 + 1 + edits[11] % 28 : 12, d->path[file]);
                }
    }
}

static void undamaged_they_open(void)
{
    for (int k = 0; k < DIRECTORY_KINDS; k++) {
        char why[256] = "";
        struct front_options o = directory_options(&directories[k], directories[k].env);
        struct front *f;
        struct errmsg msg;
        struct env *env = o.env = env_memory_crash(directories[k].env, ENV_MEMORY_NOW, 0);
        if (tap_check(front_open(&o, &f, &msg) == RES_OK)) {
            struct front_view *v = front_view_ref(f);
            tap_eq_u64(model_marker(v, front_snapshot(v)), 150);
            front_view_unref(v);
            tap_check(directory_reads_right(&directories[k], f, why, sizeof(why)));
            tap_check(front_check(f, &msg) == RES_OK);
            tap_check(front_close(f) == RES_OK);
        } else {
            tap_diag("%s", msg.text);
        }
        env_memory_free(env);
    }
}

int main(void)
{
    log_set_level(LOG_NOTHING);
    for (int k = 0; k < DIRECTORY_KINDS; k++)
        tap_require(directory_make(&directories[k], k));
    tap_test(undamaged_they_open);
    tap_test(a_flipped_bit_in_any_file_is_refused_or_does_not_matter);
    tap_test(without_any_one_file);
    tap_test(several_things_at_once);
    for (int k = 0; k < DIRECTORY_KINDS; k++)
        directory_free(&directories[k]);
    return tap_done();
}
