/* A borrowed run of bytes. Whoever makes a slice says how long its bytes live; a slice never owns. */
#ifndef VARVE_BASE_SLICE_H
#define VARVE_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const uint8_t *data; /* may be NULL only when len is 0 */
    size_t len;
};

static inline struct slice slice_of(const void *data, size_t len) { return (struct slice){data, len}; }

static inline struct slice slice_str(const char *text) { return (struct slice){(const uint8_t *)text, strlen(text)}; }

#define SLICE_LIT(text) ((struct slice){(const uint8_t *)("" text), sizeof(text) - 1})

static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Byte order, a prefix first: <0, 0, >0. */
static inline int slice_cmp(struct slice a, struct slice b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n ? memcmp(a.data, b.data, n) : 0;
    return c ? c : (a.len > b.len) - (a.len < b.len);
}

/* Memory that is going to be written soon: it comes while something else is done. */
static inline void prefetch_for_write(const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i += 64)
        __builtin_prefetch(p + i, 1);
}

/* Equal but for ASCII case; `lower` is already lower case. */
bool slice_eq_nocase(struct slice a, const char *lower);

#endif
