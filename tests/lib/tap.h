/*
 * A test program that prints TAP by itself: for tests with threads, because Criterion forks each test and aborts under
 * ThreadSanitizer. Header only; one program includes it once.
 *
 *     static void gate_lets_no_reply_pass_early(void)
 *     {
 *         tap_check(gate_passed(g) == 0);
 *         tap_eq_u64(gate_sequence(g), 7);
 *     }
 *
 *     int main(void)
 *     {
 *         tap_test(gate_lets_no_reply_pass_early);
 *         return tap_done();
 *     }
 *
 * Each tap_test() is one test point: it passes when none of the checks inside has failed. Checks may be called by any
 * thread of the test; a failed check prints file, line and values and goes on. tap_require() ends the program, for what
 * the rest cannot do without. tap_run() tells the runs of a CI run apart, for seeds. tap_long() says whether this is `make check-long`.
 */
#ifndef VARVE_TESTS_LIB_TAP_H
#define VARVE_TESTS_LIB_TAP_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 1 in a build with the sanitizer: tests that look for something else may do less there. */
#if defined(__SANITIZE_THREAD__)
#define TAP_THREAD_SANITIZER 1
#elif defined(__SANITIZE_ADDRESS__)
#define TAP_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TAP_THREAD_SANITIZER 1
#elif __has_feature(address_sanitizer)
#define TAP_ADDRESS_SANITIZER 1
#endif
#endif
#ifndef TAP_THREAD_SANITIZER
#define TAP_THREAD_SANITIZER 0
#endif
#ifndef TAP_ADDRESS_SANITIZER
#define TAP_ADDRESS_SANITIZER 0
#endif

/* 1 in a build with --enable-coverage: a branch need be taken but once. */
#ifdef VARVE_COVERAGE
#define TAP_COVERAGE 1
#else
#define TAP_COVERAGE 0
#endif

static int tap_points;
static int tap_failed_points;
static atomic_int tap_failed_checks;    /* of the running test */
static const char *_Atomic tap_skipped; /* why the running test was skipped */

/* A comment line in the output. */
static inline void __attribute__((format(printf, 1, 2))) tap_diag(const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    printf("# %s\n", text); /* one call: lines of several threads do not mix */
    fflush(stdout);
}

static inline bool tap_check_at(bool ok, const char *expr, const char *file, int line)
{
    if (!ok) {
        atomic_fetch_add(&tap_failed_checks, 1);
        tap_diag("%s:%d: not true: %s", file, line, expr);
    }
    return ok;
}

static inline bool tap_eq_u64_at(uint64_t got, uint64_t want, const char *expr, const char *file, int line)
{
    if (got != want) {
        atomic_fetch_add(&tap_failed_checks, 1);
        tap_diag("%s:%d: %s is %" PRIu64 ", not %" PRIu64, file, line, expr, got, want);
    }
    return got == want;
}

static inline bool tap_eq_str_at(const char *got, const char *want, const char *expr, const char *file, int line)
{
    bool ok = got != NULL && want != NULL ? strcmp(got, want) == 0 : got == want;
    if (!ok) {
        atomic_fetch_add(&tap_failed_checks, 1);
        tap_diag("%s:%d: %s is \"%s\", not \"%s\"", file, line, expr, got ? got : "(null)", want ? want : "(null)");
    }
    return ok;
}

static inline void tap_require_at(bool ok, const char *expr, const char *file, int line)
{
    if (!ok) {
        printf("Bail out! %s:%d: required: %s\n", file, line, expr);
        fflush(stdout);
        exit(1);
    }
}

static inline void tap_test_at(void (*test)(void), const char *name)
{
    atomic_store(&tap_failed_checks, 0);
    atomic_store(&tap_skipped, NULL);
    test();
    bool ok = atomic_load(&tap_failed_checks) == 0;
    const char *why = atomic_load(&tap_skipped);
    tap_points++;
    tap_failed_points += !ok;
    printf("%s %d - %s%s%s\n", ok ? "ok" : "not ok", tap_points, name, why ? " # SKIP " : "", why ? why : "");
    fflush(stdout);
}

/* Call inside a test, then return from it. `why` is a literal. */
static inline void tap_skip(const char *why) { atomic_store(&tap_skipped, why); }

/* Prints the plan; its value is main's. */
static inline int tap_done(void)
{
    printf("1..%d\n", tap_points);
    fflush(stdout);
    return tap_failed_points ? 1 : 0;
}

/* Which run of the same tests this is: .ci/run makes several, by other compilers, and their seeds shall differ. */
static inline unsigned tap_run(void)
{
    const char *v = getenv("VARVE_TEST_RUN");
    return v != NULL ? (unsigned)strtoul(v, NULL, 10) : 0;
}

static inline bool tap_long(void)
{
    const char *v = getenv("VARVE_TEST_LONG");
    return v != NULL && *v != '\0';
}

#define tap_check(expr) tap_check_at((expr), #expr, __FILE__, __LINE__)
#define tap_eq_u64(got, want) tap_eq_u64_at((got), (want), #got, __FILE__, __LINE__)
#define tap_eq_str(got, want) tap_eq_str_at((got), (want), #got, __FILE__, __LINE__)
#define tap_require(expr) tap_require_at((expr), #expr, __FILE__, __LINE__)
#define tap_test(name) tap_test_at(name, #name)

#endif
