/* Glob matching against a second matcher, written as a table over pattern elements and text bytes: slow, and with no
 * idea in common with the fast one but the rules. Input: a byte of flags, a byte that is the pattern's length, pattern,
 * text. */
#include <stdlib.h>

#include "base/glob.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t fold(uint8_t c, bool ignore_case) { return ignore_case && c >= 'A' && c <= 'Z' ? c + 32 : c; }

/* Does the element at p[*at] take the byte c? Moves *at behind the element. */
static bool takes(struct slice p, size_t *at, uint8_t c, bool ignore_case)
{
    size_t i = *at;
    uint8_t first = p.data[i++];

    if (first == '\\' && i < p.len)
        first = p.data[i++];
    else if (first == '?' || first == '[') {
        bool not = false, in = false;
        if (first == '?') {
            *at = i;
            return true;
        }
        if (i < p.len && p.data[i] == '^') {
            not = true;
            i++;
        }
        for (;; i++) {
            size_t left = p.len - i;
            if (left == 0)
                break;
            if (p.data[i] == '\\' && left >= 2) {
                in |= p.data[++i] == c;
            } else if (p.data[i] == ']') {
                i++;
                break;
            } else if (left >= 3 && p.data[i + 1] == '-') {
                int from = (int8_t)p.data[i], to = (int8_t)p.data[i + 2];
                int low = from < to ? from : to, high = from < to ? to : from;
                low = (int8_t)fold((uint8_t)low, ignore_case);
                high = (int8_t)fold((uint8_t)high, ignore_case);
                int x = (int8_t)fold(c, ignore_case);
                in |= low <= x && x <= high;
                i += 2;
            } else {
                in |= fold(p.data[i], ignore_case) == fold(c, ignore_case);
            }
        }
        *at = i;
        return in != not ;
    }
    *at = i;
    return fold(first, ignore_case) == fold(c, ignore_case);
}

/* reach[j]: the pattern up to here can have taken the first j bytes. */
static bool by_table(struct slice p, struct slice t, bool ignore_case)
{
    bool *reach = calloc(t.len + 1, 1), *next = calloc(t.len + 1, 1);
    if (!reach || !next)
        abort();
    reach[0] = true;
    for (size_t at = 0; at < p.len;) {
        if (p.data[at] == '*') {
            for (size_t j = 1; j <= t.len; j++)
                reach[j] |= reach[j - 1];
            at++;
            continue;
        }
        size_t behind = at + 1;
        next[0] = false;
        for (size_t j = 0; j <= t.len; j++) {
            behind = at;
            bool hit = takes(p, &behind, j < t.len ? t.data[j] : 0, ignore_case);
            if (j < t.len)
                next[j + 1] = reach[j] && hit;
        }
        at = behind;
        bool *swap = reach;
        reach = next;
        next = swap;
    }
    bool match = reach[t.len];
    free(reach);
    free(next);
    /* Redis' corner: an empty text wants an empty pattern, or the one star that its commands treat apart. */
    if (t.len == 0)
        match = p.len == 0 || (p.len == 1 && p.data[0] == '*');
    return match;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > 4096)
        return 0;
    bool ignore_case = data[0] & 1;
    size_t len = data[1] < size - 2 ? data[1] : size - 2;
    struct slice pattern = slice_of(data + 2, len), text = slice_of(data + 2 + len, size - 2 - len);
    bool match = glob_match(pattern, text, ignore_case);

    if (match != by_table(pattern, text, ignore_case))
        abort();

    uint8_t *prefix = malloc(len + 1);
    bool exact;
    if (!prefix)
        abort();
    size_t n = glob_prefix(pattern, prefix, &exact);
    if (n > len)
        abort();
    if (!ignore_case && match && (text.len < n || memcmp(text.data, prefix, n) != 0))
        abort();
    if (!ignore_case && exact && match != slice_eq(text, slice_of(prefix, n)))
        abort();
    free(prefix);
    return 0;
}
