/* Numbers in text must be accepted, refused and printed exactly as Redis does it: clients see every difference. */
#include <criterion/criterion.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/num.h"

static bool i64_is(const char *text, int64_t want)
{
    int64_t v = ~want;
    return num_parse_i64(slice_str(text), &v) == RES_OK && v == want;
}

Test(num, integers_of_the_whole_range_are_read)
{
    cr_assert(i64_is("0", 0));
    cr_assert(i64_is("7", 7));
    cr_assert(i64_is("-1", -1));
    cr_assert(i64_is("1234567890", 1234567890));
    cr_assert(i64_is("9223372036854775807", INT64_MAX));
    cr_assert(i64_is("-9223372036854775808", INT64_MIN));
    for (int digits = 1; digits <= 18; digits++) {
        char text[24];
        int64_t v = 0;
        for (int i = 0; i < digits; i++)
            v = v * 10 + (i + 1) % 10;
        snprintf(text, sizeof text, "%lld", (long long)v);
        cr_assert(i64_is(text, v));
        snprintf(text, sizeof text, "%lld", (long long)-v);
        cr_assert(i64_is(text, -v));
    }
}

Test(num, what_redis_refuses_is_refused)
{
    static const char *const bad[] = {"",
                                      "-",
                                      "+1",
                                      "-0",
                                      "00",
                                      "01",
                                      "-01",
                                      " 1",
                                      "1 ",
                                      "1.0",
                                      "1e3",
                                      "0x10",
                                      "--1",
                                      "1a",
                                      "a",
                                      "9223372036854775808",
                                      "-9223372036854775809",
                                      "18446744073709551616",
                                      "99999999999999999999",
                                      "100000000000000000000",
                                      "\xb2"};
    int64_t v = 77;
    uint64_t u;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_eq(num_parse_i64(slice_str(bad[i]), &v), RES_INVALID, "%s", bad[i]);
    cr_assert_eq(v, 77, "a refused number is not stored");
    cr_assert_eq(num_parse_i64(SLICE_LIT("1\0"), &v), RES_INVALID);
    cr_assert_eq(num_parse_i64(slice_of(NULL, 0), &v), RES_INVALID);
    cr_assert_eq(num_parse_u64(SLICE_LIT("-1"), &u), RES_INVALID);
    cr_assert_eq(num_parse_u64(SLICE_LIT("18446744073709551616"), &u), RES_INVALID);
    cr_assert_eq(num_parse_u64(SLICE_LIT("18446744073709551615"), &u), RES_OK);
    cr_assert_eq(u, UINT64_MAX);
}

Test(num, integers_print_as_printf_does)
{
    char out[NUM_I64_MAX], want[32];
    uint64_t v = 1;
    for (int i = 0; i < 200000; i++) {
        v = i < 64 ? (uint64_t)1 << i : i < 128 ? ~((uint64_t)1 << (i - 64)) : hash_mix((uint64_t)i) >> (i % 64);
        snprintf(want, sizeof want, "%lld", (long long)v);
        cr_assert_eq(num_format_i64(out, (int64_t)v), strlen(want));
        cr_assert_eq(memcmp(out, want, strlen(want)), 0);
        snprintf(want, sizeof want, "%llu", (unsigned long long)v);
        cr_assert_eq(num_format_u64(out, v), strlen(want));
        cr_assert_eq(memcmp(out, want, strlen(want)), 0);
    }
    for (int64_t p = 1; p < 1000000000000000000; p *= 10)
        for (int64_t d = -1; d <= 1; d++) {
            snprintf(want, sizeof want, "%lld", (long long)(p + d));
            cr_assert_eq(num_format_i64(out, p + d), strlen(want));
            cr_assert_eq(memcmp(out, want, strlen(want)), 0);
        }
}

static bool ld_is(const char *text, const char *want)
{
    static char out[NUM_LD_MAX];
    long double v;
    if (num_parse_long_double(slice_str(text), &v) != RES_OK)
        return want == NULL;
    size_t len = num_format_long_double(out, v);
    return want && len == strlen(want) && memcmp(out, want, len) == 0;
}

Test(num, long_doubles_are_read_and_printed_as_incrbyfloat_does)
{
    cr_assert(ld_is("0", "0"));
    cr_assert(ld_is("-0", "0"));
    cr_assert(ld_is("3.0", "3"));
    cr_assert(ld_is("10.50", "10.5"));
    cr_assert(ld_is("5.0e3", "5000"));
    cr_assert(ld_is("1e-17", "0.00000000000000001"));
    cr_assert(ld_is("1e-18", "0"));
    cr_assert(ld_is("-1e-18", "0"));
    cr_assert(ld_is("100", "100"));
    cr_assert(ld_is("0x1p3", "8"));
    cr_assert(ld_is("+5", "5"));
    cr_assert(ld_is(".5", "0.5"));
    cr_assert(ld_is("1.", "1"));
    cr_assert(ld_is("inf", "inf"));
    cr_assert(ld_is("-Infinity", "-inf"));
    static const char *const bad[] = {"",   ".",  "nan", "-nan",   " 1",      "1 ",
                                      "1e", "1x", "1,5", "1e5000", "1e-5000", "1\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert(ld_is(bad[i], NULL), "%s", bad[i]);
    long double v;
    cr_assert_eq(num_parse_long_double(SLICE_LIT("1\0"), &v), RES_INVALID);
    char *digits = malloc(6000);
    memset(digits, '1', 6000);
    cr_assert_eq(num_parse_long_double(slice_of(digits, 5120), &v), RES_INVALID);
    cr_assert_eq(num_parse_long_double(slice_of(digits, 4900), &v), RES_OK);
    free(digits);
}

Test(num, the_largest_long_double_fits_its_room)
{
    char out[NUM_LD_MAX];
    size_t len = num_format_long_double(out, -LDBL_MAX);
    cr_assert_eq(len, 4933 + 1);
    cr_assert_eq(num_format_long_double(out, LDBL_MIN), 1);
}

static bool double_prints(double v, const char *want)
{
    char out[NUM_DOUBLE_MAX];
    size_t len = num_format_double(out, v);
    return len == strlen(want) && memcmp(out, want, len) == 0;
}

Test(num, doubles_print_in_their_shortest_form)
{
    cr_assert(double_prints(0, "0"));
    cr_assert(double_prints(-0.0, "-0"));
    cr_assert(double_prints(3, "3"));
    cr_assert(double_prints(-3, "-3"));
    cr_assert(double_prints(0.1, "0.1"));
    cr_assert(double_prints(0.1 + 0.2, "0.30000000000000004"));
    cr_assert(double_prints(1234.5, "1234.5"));
    cr_assert(double_prints(-0.000123, "-0.000123"));
    cr_assert(double_prints(1e15, "1000000000000000"));
    cr_assert(double_prints(4611686018427387903.0, "4611686018427387904"));
    cr_assert(double_prints(1e21, "1e+21"));
    cr_assert(double_prints(1.5e300, "1.5e+300"));
    cr_assert(double_prints(1e-7, "1e-7"));
    cr_assert(double_prints(5e-324, "5e-324"));
    cr_assert(double_prints(1.7976931348623157e308, "1.7976931348623157e+308"));
    cr_assert(double_prints(INFINITY, "inf"));
    cr_assert(double_prints(-INFINITY, "-inf"));
    cr_assert(double_prints(NAN, "nan"));
    cr_assert(double_prints(-NAN, "nan"));
}

/* Significant digits of the shortest form, by trying them all. */
static int fewest_digits(double v)
{
    char text[40];
    for (int n = 1; n < 17; n++) {
        snprintf(text, sizeof text, "%.*e", n - 1, v);
        if (strtod(text, NULL) == v)
            return n;
    }
    return 17;
}

static int digits_in(const char *text, size_t len)
{
    int n = 0, zeros = 0;
    for (size_t i = 0; i < len && text[i] != 'e'; i++) {
        if (text[i] < '0' || text[i] > '9' || (n == 0 && text[i] == '0'))
            continue;
        zeros = text[i] == '0' ? zeros + 1 : 0;
        n++;
    }
    return n - zeros;
}

Test(num, every_double_reads_back_equal_and_fits_its_room)
{
    char out[NUM_DOUBLE_MAX + 1];
    for (uint64_t i = 0; i < 200000; i++) {
        uint64_t bits = hash_mix(i);
        double v, back;
        memcpy(&v, &bits, 8);
        if (i % 2)
            v = (double)(int64_t)(bits >> (i % 64)) / (i % 4 < 2 ? 1000 : 1e8);
        if (isnan(v))
            continue;
        memset(out, '#', sizeof out);
        size_t len = num_format_double(out, v);
        cr_assert_leq(len, 26);
        cr_assert_eq(out[len], '#');
        cr_assert_eq(num_parse_double(slice_of(out, len), &back), RES_OK, "%.*s", (int)len, out);
        cr_assert_eq(memcmp(&v, &back, 8), 0, "%.*s", (int)len, out);
        if (i % 8 < 2 && v != 0 && fabs(v) < 1e15)
            cr_assert_leq(digits_in(out, len), fewest_digits(v), "%.*s", (int)len, out);
    }
}

static bool memory_is(const char *text, enum result code, uint64_t want)
{
    uint64_t v = 0;
    return num_parse_memory(slice_str(text), &v) == code && v == want;
}

static void reads_as_libc_does(const char *text)
{
    double v = 12345;
    char *end;
    double want = strtod(text, &end);
    cr_assert_eq(*end, 0);
    cr_assert_eq(num_parse_double(slice_str(text), &v), RES_OK, "%s", text);
    cr_assert(memcmp(&v, &want, sizeof v) == 0, "%s: %.17g, not %.17g", text, v, want);
}

Test(num, decimals_are_rounded_as_libc_rounds_them)
{
    static const char *const texts[] = {
        "0",
        "-0",
        "0.0",
        "-0.0",
        "0.00000000000000000",
        "1",
        "-1",
        "0.1",
        "00.10",
        "9007199254740992",
        "9007199254740993",
        "9007199254740995",
        "9007199254740992.5",
        "9007199254740993.0",
        "9999999999999999999",
        "0.9999999999999999999",
        "18446744073709551615",
        "1.8446744073709551615",
        "4503599627370497.5",
        "4503599627370496.5",
        "1e3",
        "1.5e-7",
        "0x10",
        "inf",
        "5e-324",
        ".5",
        "5.",
        "1234567890123456789012",
        "0.3",
        "0.1000000000000000055",
        "0.1000000000000000124",
        "2.2250738585072014",
        "179769313486231570.8",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        reads_as_libc_does(texts[i]);
    uint64_t state = 1;
    for (int i = 0; i < 300000; i++) {
        char text[64];
        state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
        uint64_t r = state >> 1;
        double magnitude = pow(10, (double)(state >> 59) - 12);
        snprintf(text, sizeof text, "%s%.*f", state & 64 ? "-" : "", (int)(state >> 33 & 15) + 1,
                 (double)(r & 0xfffffffff) * magnitude);
        reads_as_libc_does(text);
        snprintf(text, sizeof text, "%" PRIu64 ".%0*" PRIu64, r % 1000, (int)(r % 16) + 1, r >> (r % 64));
        reads_as_libc_does(text);
        snprintf(text, sizeof text, "%.17g", (double)r / 3e15);
        reads_as_libc_does(text);
    }
    double v;
    static const char *const bad[] = {"", "-", ".", "-.", "1.2.3", "1-", "--1", "1 ", " 1", "1,5", "nan"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert_eq(num_parse_double(slice_str(bad[i]), &v), RES_INVALID, "%s", bad[i]);
}

Test(num, memory_sizes_as_in_the_configuration)
{
    cr_assert(memory_is("0", RES_OK, 0));
    cr_assert(memory_is("100", RES_OK, 100));
    cr_assert(memory_is("100b", RES_OK, 100));
    cr_assert(memory_is("1k", RES_OK, 1000));
    cr_assert(memory_is("1kb", RES_OK, 1024));
    cr_assert(memory_is("2M", RES_OK, 2000000));
    cr_assert(memory_is("2Mb", RES_OK, 2 << 20));
    cr_assert(memory_is("3g", RES_OK, 3000000000));
    cr_assert(memory_is("3GB", RES_OK, (uint64_t)3 << 30));
    cr_assert(memory_is("", RES_INVALID, 0));
    cr_assert(memory_is("mb", RES_INVALID, 0));
    cr_assert(memory_is("-1", RES_INVALID, 0));
    cr_assert(memory_is("1 kb", RES_INVALID, 0));
    cr_assert(memory_is("1tb", RES_INVALID, 0));
    cr_assert(memory_is("99999999999999999999", RES_RANGE, 0));
    cr_assert(memory_is("17179869184gb", RES_RANGE, 0));
}
