/* Numbers in text. Integers are parsed and printed by hand, because they are on the path of nearly every command;
 * other floating point than short decimals goes through libc (the process stays in the C locale, so that '.' is the
 * point). */
#include "base/num.h"

#include <ctype.h>
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* One or more digits without a leading zero ("0" itself is fine). */
static inline bool parse_digits(const uint8_t *p, size_t len, uint64_t *out)
{
    if (len == 0 || len > 20)
        return false;
    uint64_t v = (uint64_t)p[0] - '0';
    if (v > 9 || (v == 0 && len > 1))
        return false;
    size_t safe = len < 19 ? len : 19; /* 19 digits fit in any case */
    for (size_t i = 1; i < safe; i++) {
        uint64_t d = (uint64_t)p[i] - '0';
        if (d > 9)
            return false;
        v = v * 10 + d;
    }
    if (len == 20) {
        uint64_t d = (uint64_t)p[19] - '0';
        if (d > 9 || __builtin_mul_overflow(v, (uint64_t)10, &v) || __builtin_add_overflow(v, d, &v))
            return false;
    }
    *out = v;
    return true;
}

enum result num_parse_i64(struct slice text, int64_t *out)
{
    bool negative = text.len && text.data[0] == '-';
    uint64_t v;

    if (!text.len || !parse_digits(text.data + negative, text.len - negative, &v))
        return RES_INVALID;
    if (negative) {
        if (v == 0 || v > (uint64_t)INT64_MAX + 1)
            return RES_INVALID;
        *out = (int64_t)(0 - v);
    } else {
        if (v > INT64_MAX)
            return RES_INVALID;
        *out = (int64_t)v;
    }
    return RES_OK;
}

enum result num_parse_u64(struct slice text, uint64_t *out)
{
    return parse_digits(text.data, text.len, out) ? RES_OK : RES_INVALID;
}

/* libc's parsers want a terminator. Room for any number of a usual length is on the stack of the caller. */
#define FLOAT_TEXT_MAX (5 * 1024)

static bool float_text(struct slice text, char buf[FLOAT_TEXT_MAX])
{
    if (text.len == 0 || text.len >= FLOAT_TEXT_MAX || isspace(text.data[0]))
        return false;
    memcpy(buf, text.data, text.len);
    buf[text.len] = 0;
    return true;
}

enum result num_parse_long_double(struct slice text, long double *out)
{
    char buf[FLOAT_TEXT_MAX];
    char *end;

    if (!float_text(text, buf))
        return RES_INVALID;
    errno = 0;
    long double v = strtold(buf, &end);
    if ((size_t)(end - buf) != text.len || isnan(v))
        return RES_INVALID;
    if (errno == ERANGE && (isinf(v) || v == 0)) /* a denormal is a result, an overflow is not */
        return RES_INVALID;
    *out = v;
    return RES_OK;
}

__extension__ typedef unsigned __int128 uint128;

#define DECIMAL_DIGITS 19 /* of which any number is below 2^64 */

/* v / 10^behind, rounded to the nearest double, the even one of two: where both are doubles, one division does it (W.
 * D. Clinger, "How to read floating point numbers accurately", 1990); else the quotient is found to 63 bits at least,
 * and its last bit tells whether there was a remainder. */
static double decimal_value(uint64_t v, size_t behind)
{
    static const uint64_t power[DECIMAL_DIGITS + 1] = {
        UINT64_C(1),
        UINT64_C(10),
        UINT64_C(100),
        UINT64_C(1000),
        UINT64_C(10000),
        UINT64_C(100000),
        UINT64_C(1000000),
        UINT64_C(10000000),
        UINT64_C(100000000),
        UINT64_C(1000000000),
        UINT64_C(10000000000),
        UINT64_C(100000000000),
        UINT64_C(1000000000000),
        UINT64_C(10000000000000),
        UINT64_C(100000000000000),
        UINT64_C(1000000000000000),
        UINT64_C(10000000000000000),
        UINT64_C(100000000000000000),
        UINT64_C(1000000000000000000),
        UINT64_C(10000000000000000000),
    };
    const uint64_t exact = UINT64_C(1) << 53;
    if (!v || (v <= exact && power[behind] <= exact))
        return (double)v / (double)power[behind];
    int shift = 63 + __builtin_clzll(v);
    uint128 n = (uint128)v << shift, q = n / power[behind];
    uint64_t high = (uint64_t)(q >> 64);
    int excess = high ? 64 - __builtin_clzll(high) : 0;
    bool rest = q * power[behind] != n || q >> excess << excess != q;
    return ldexp((double)((uint64_t)(q >> excess) | rest), excess - shift);
}

/* Digits, with a point among them or without. False: anything else. */
static bool short_decimal(struct slice text, double *out)
{
    bool negative = text.len && text.data[0] == '-', point = false;
    size_t digits = 0, behind = 0;
    uint64_t v = 0;
    for (size_t i = negative; i < text.len; i++) {
        unsigned d = text.data[i] - (unsigned)'0';
        if (d <= 9 && digits < DECIMAL_DIGITS) {
            v = v * 10 + d;
            behind += point;
            digits++;
        } else if (text.data[i] == '.' && digits && !point) {
            point = true;
        } else {
            return false;
        }
    }
    if (!digits || (point && !behind))
        return false;
    double value = decimal_value(v, behind);
    *out = negative ? -value : value;
    return true;
}

enum result num_parse_double(struct slice text, double *out)
{
    char buf[FLOAT_TEXT_MAX];
    char *end;

    if (short_decimal(text, out))
        return RES_OK;
    if (!float_text(text, buf))
        return RES_INVALID;
    errno = 0;
    double v = strtod(buf, &end);
    if ((size_t)(end - buf) != text.len || isnan(v))
        return RES_INVALID;
    if (errno == ERANGE && (isinf(v) || v == 0))
        return RES_INVALID;
    *out = v;
    return RES_OK;
}

static const char digit_pairs[201] = "00010203040506070809"
                                     "10111213141516171819"
                                     "20212223242526272829"
                                     "30313233343536373839"
                                     "40414243444546474849"
                                     "50515253545556575859"
                                     "60616263646566676869"
                                     "70717273747576777879"
                                     "80818283848586878889"
                                     "90919293949596979899";

static size_t decimal_width(uint64_t v)
{
    size_t n = 1;
    for (;;) {
        if (v < 10)
            return n;
        if (v < 100)
            return n + 1;
        if (v < 1000)
            return n + 2;
        if (v < 10000)
            return n + 3;
        v /= 10000;
        n += 4;
    }
}

static size_t put_digits(char *out, uint64_t value)
{
    size_t len = decimal_width(value), at = len;

    while (value >= 100) {
        at -= 2;
        memcpy(out + at, digit_pairs + 2 * (value % 100), 2);
        value /= 100;
    }
    if (value >= 10)
        memcpy(out, digit_pairs + 2 * value, 2);
    else
        out[0] = (char)('0' + value);
    return len;
}

size_t num_format_u64(char out[NUM_I64_MAX], uint64_t value) { return put_digits(out, value); }

size_t num_format_i64(char out[NUM_I64_MAX], int64_t value)
{
    if (value >= 0)
        return put_digits(out, (uint64_t)value);
    out[0] = '-'; /* and at most 19 digits */
    return 1 + put_digits(out + 1, 0 - (uint64_t)value);
}

size_t num_format_long_double(char out[NUM_LD_MAX], long double value)
{
    if (isinf(value) || isnan(value)) {
        const char *text = isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
        memcpy(out, text, strlen(text));
        return strlen(text);
    }
    size_t len = (size_t)snprintf(out, NUM_LD_MAX, "%.17Lf", value);
    while (out[len - 1] == '0') /* there is a point, so this stops at it at the latest */
        len--;
    if (out[len - 1] == '.')
        len--;
    if (len == 2 && out[0] == '-' && out[1] == '0') {
        out[0] = '0';
        len = 1;
    }
    return len;
}

/* Most doubles that people store are decimals of few digits. If an integer n below 10^15 divided by a power of ten up to
 * 10^8 is the number, both exact in a double, then the division, rounded once, says that the decimal n / 10^k reads back
 * as it; and of decimals with at most 15 digits no two read as the same double, so the smallest k is the shortest form.
 * 0: none found. */
static int few_decimals(double magnitude, char digits[18], int *exponent)
{
    double power = 10;

    for (int k = 1; k <= 8; k++, power *= 10) {
        double scaled = magnitude * power;
        if (!(scaled < 1e15))
            return 0;
        uint64_t n = (uint64_t)(scaled + 0.5);
        if (n != 0 && (double)n / power == magnitude) {
            int len = (int)put_digits(digits, n);
            *exponent = len - 1 - k;
            return len;
        }
    }
    return 0;
}

/* The fewest significant digits that read back equal, as "ddd" without a point, and the power of ten of the first. Any
 * 15 digits survive a double, so a number whose shortest form has fewer shows it at 15, padded with zeros; only the
 * denormals have less precision and are tried from one digit on. */
static int shortest_digits(double magnitude, char digits[18], int *exponent)
{
    char text[40];
    int few = few_decimals(magnitude, digits, exponent);

    if (few)
        return few;
    for (int precision = magnitude < DBL_MIN ? 0 : 14;; precision++) {
        snprintf(text, sizeof text, "%.*e", precision, magnitude);
        if (precision == 16 || strtod(text, NULL) == magnitude)
            break;
    }
    char *e = strchr(text, 'e');
    *exponent = atoi(e + 1);
    int n = 0;
    for (char *p = text; p < e; p++)
        if (*p != '.')
            digits[n++] = *p;
    while (n > 1 && digits[n - 1] == '0')
        n--;
    return n;
}

static char *put(char *to, const char *from, int n)
{
    memcpy(to, from, (size_t)n);
    return to + n;
}

static char *put_zeros(char *to, int n)
{
    memset(to, '0', (size_t)n);
    return to + n;
}

size_t num_format_double(char out[NUM_DOUBLE_MAX], double value)
{
    char *p = out;

    if (isnan(value))
        return (size_t)(put(out, "nan", 3) - out);
    if (signbit(value))
        *p++ = '-';
    double magnitude = fabs(value);
    if (isinf(magnitude))
        return (size_t)(put(p, "inf", 3) - out);
    if (magnitude <= 0x1p62 && magnitude == (double)(int64_t)magnitude)
        return (size_t)(p - out) + put_digits(p, (uint64_t)magnitude);

    char digits[18];
    int exponent;
    int n = shortest_digits(magnitude, digits, &exponent);
    int scale = exponent - n + 1; /* value = digits * 10^scale */
    int abs_exponent = exponent < 0 ? -exponent : exponent;
    if (scale >= 0 && abs_exponent < n + 7) {
        p = put_zeros(put(p, digits, n), scale);
    } else if (scale < 0 && (scale > -7 || abs_exponent < 4)) {
        int whole = n + scale; /* digits before the point */
        if (whole > 0) {
            p = put(p, digits, whole);
            *p++ = '.';
            p = put(p, digits + whole, n - whole);
        } else {
            p = put_zeros(put(p, "0.", 2), -whole);
            p = put(p, digits, n);
        }
    } else {
        *p++ = digits[0];
        if (n > 1) {
            *p++ = '.';
            p = put(p, digits + 1, n - 1);
        }
        *p++ = 'e';
        *p++ = exponent < 0 ? '-' : '+';
        p += put_digits(p, (uint64_t)abs_exponent);
    }
    return (size_t)(p - out);
}

enum result num_parse_memory(struct slice text, uint64_t *out)
{
    static const struct {
        const char *unit;
        uint64_t factor;
    } units[] = {
        {"", 1},        {"b", 1},        {"k", 1000},       {"kb", 1 << 10},
        {"m", 1000000}, {"mb", 1 << 20}, {"g", 1000000000}, {"gb", 1 << 30},
    };
    size_t n = 0;
    uint64_t v = 0;

    while (n < text.len && text.data[n] >= '0' && text.data[n] <= '9') {
        if (__builtin_mul_overflow(v, (uint64_t)10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(text.data[n] - '0'), &v))
            return RES_RANGE;
        n++;
    }
    if (n == 0)
        return RES_INVALID;
    struct slice unit = slice_of(text.data + n, text.len - n);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (slice_eq_nocase(unit, units[i].unit)) {
            if (__builtin_mul_overflow(v, units[i].factor, &v))
                return RES_RANGE;
            *out = v;
            return RES_OK;
        }
    return RES_INVALID;
}
