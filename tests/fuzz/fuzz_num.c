/* Number parsing and printing: what is accepted as an integer is exactly what printing gives back; what is accepted as
 * floating point is what libc accepts whole; memory sizes are digits and a unit. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/num.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void integers(struct slice text, const char *string)
{
    char out[NUM_I64_MAX];
    int64_t i;
    uint64_t u;

    if (num_parse_i64(text, &i) == RES_OK) {
        must(slice_eq(text, slice_of(out, num_format_i64(out, i))));
    } else { /* then it is no number that libc prints */
        char printed[32];
        snprintf(printed, sizeof printed, "%lld", strtoll(string, NULL, 10));
        must(!slice_eq(text, slice_str(printed)));
    }
    if (num_parse_u64(text, &u) == RES_OK) {
        must(slice_eq(text, slice_of(out, num_format_u64(out, u))));
    } else {
        char printed[32];
        snprintf(printed, sizeof printed, "%llu", strtoull(string, NULL, 10));
        must(!slice_eq(text, slice_str(printed)));
    }
}

static void floats(struct slice text, const char *string)
{
    static char out[NUM_LD_MAX];
    long double ld;
    double d, back;
    char *end;

    double libc = strtod(string, &end);
    bool whole = text.len && (size_t)(end - string) == text.len && !isspace(text.data[0]) && !isnan(libc);
    if (num_parse_double(text, &d) == RES_OK) {
        must(whole && memcmp(&d, &libc, sizeof d) == 0);
        size_t len = num_format_double(out, d);
        must(len <= NUM_DOUBLE_MAX);
        must(num_parse_double(slice_of(out, len), &back) == RES_OK && memcmp(&d, &back, sizeof d) == 0);
    } else {
        must(!whole || isinf(libc) || libc == 0); /* out of range */
    }
    if (num_parse_long_double(text, &ld) == RES_OK) {
        must(!isnan(ld));
        size_t len = num_format_long_double(out, ld);
        must(len > 0 && len < NUM_LD_MAX);
        long double again;
        must(num_parse_long_double(slice_of(out, len), &again) == RES_OK);
        must(isinf(ld) ? again == ld : fabsl(again - ld) <= 1e-17L + fabsl(ld) * 1e-18L);
    }
}

static void memory(struct slice text)
{
    uint64_t v;
    enum result r = num_parse_memory(text, &v);
    must(r == RES_OK || r == RES_INVALID || r == RES_RANGE);
    if (r == RES_OK)
        must(text.len && text.data[0] >= '0' && text.data[0] <= '9');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *string = malloc(size + 1);

    if (!string)
        abort();
    memcpy(string, data, size);
    string[size] = 0;
    struct slice text = slice_of(data, size);
    integers(text, string);
    if (size < 5000)
        floats(text, string);
    memory(text);
    if (size >= 8) { /* the same bytes as a number */
        char out[NUM_DOUBLE_MAX];
        double d, back;
        memcpy(&d, data, 8);
        size_t len = num_format_double(out, d);
        if (!isnan(d))
            must(num_parse_double(slice_of(out, len), &back) == RES_OK && memcmp(&d, &back, 8) == 0);
    }
    free(string);
    return 0;
}
