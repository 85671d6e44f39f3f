/* Numbers as Redis reads and writes them in text. */
#ifndef VARVE_BASE_NUM_H
#define VARVE_BASE_NUM_H

#include "base/result.h"
#include "base/slice.h"

/* Strict decimal: optional '-', no '+', no leading zeros, no spaces, the full range of int64; RES_INVALID otherwise. */
enum result num_parse_i64(struct slice text, int64_t *out) MUST_CHECK;
enum result num_parse_u64(struct slice text, uint64_t *out) MUST_CHECK;
/* Floating point as Redis accepts it in commands: strtold's decimal and hexadecimal forms, "inf", "-inf"; no leading
 * or trailing space, no NaN, at most 5 KiB. */
enum result num_parse_long_double(struct slice text, long double *out) MUST_CHECK;
enum result num_parse_double(struct slice text, double *out) MUST_CHECK;
#define NUM_I64_MAX 20
/* Writes the shortest decimal form, no terminator; returns its length (at most NUM_I64_MAX). */
size_t num_format_i64(char out[NUM_I64_MAX], int64_t value);
size_t num_format_u64(char out[NUM_I64_MAX], uint64_t value);
#define NUM_LD_MAX 5120
/* INCRBYFLOAT's form: %.17Lf without trailing zeros; returns the length. */
size_t num_format_long_double(char out[NUM_LD_MAX], long double value);
#define NUM_DOUBLE_MAX 40
/* The shortest form that reads back equal, as RESP3 doubles and ZSCORE show it ("inf", "-inf", "nan"). */
size_t num_format_double(char out[NUM_DOUBLE_MAX], double value);
/* "100", "1kb" (1024), "1k" (1000), mb, m, gb, g, b, any case: a memory size as in redis.conf. */
enum result num_parse_memory(struct slice text, uint64_t *out) MUST_CHECK;

#endif
