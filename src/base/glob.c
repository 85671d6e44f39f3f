/* Glob matching after Redis' rules, without its recursion.
 *
 * Apart from '*' every element of a pattern (byte, '?', bracket) takes exactly one byte of text. So when something
 * fails only the last '*' has to be tried again, one byte further: no earlier one could help. That bounds the work by
 * pattern length times text length.
 *
 * Redis' corners, kept because clients can see them: an empty text is matched by the empty pattern and by "*" alone;
 * a bracket that is never closed ends with the pattern; '[^' closes over nothing, so it takes any byte; a range runs
 * either way and compares bytes as signed; a quoted byte in a bracket is compared with its case; a backslash at the
 * very end stands for itself. */
#include "base/glob.h"

static inline uint8_t lower(uint8_t c) { return c >= 'A' && c <= 'Z' ? c | 0x20 : c; }

static inline bool same(uint8_t a, uint8_t b, bool ignore_case)
{
    return a == b || (ignore_case && lower(a) == lower(b));
}

static bool in_range(uint8_t from, uint8_t to, uint8_t c, bool ignore_case)
{
    int8_t a = (int8_t)from, b = (int8_t)to, x = (int8_t)c;
    if (a > b) {
        int8_t t = a;
        a = b;
        b = t;
    }
    if (ignore_case) {
        a = (int8_t)lower((uint8_t)a);
        b = (int8_t)lower((uint8_t)b);
        x = (int8_t)lower((uint8_t)x);
    }
    return x >= a && x <= b;
}

/* p is behind '['. Returns what is behind the ']', or end. */
static const uint8_t *bracket(const uint8_t *p, const uint8_t *end, uint8_t c, bool ignore_case, bool *hit)
{
    bool negate = p < end && *p == '^';
    bool match = false;

    p += negate;
    for (; p < end && *p != ']'; p++) {
        if (*p == '\\' && end - p >= 2) {
            p++;
            match |= *p == c;
        } else if (end - p >= 3 && p[1] == '-') {
            match |= in_range(p[0], p[2], c, ignore_case);
            p += 2;
        } else {
            match |= same(*p, c, ignore_case);
        }
    }
    *hit = match != negate;
    return p < end ? p + 1 : end;
}

/* One element that is not '*' against one byte. */
static const uint8_t *element(const uint8_t *p, const uint8_t *end, uint8_t c, bool ignore_case, bool *hit)
{
    switch (*p) {
    case '?':
        *hit = true;
        return p + 1;
    case '[':
        return bracket(p + 1, end, c, ignore_case, hit);
    case '\\':
        if (end - p >= 2)
            p++;
        break;
    default:
        break;
    }
    *hit = same(*p, c, ignore_case);
    return p + 1;
}

bool glob_match(struct slice pattern, struct slice text, bool ignore_case)
{
    const uint8_t *p = pattern.data, *end = p + pattern.len;
    const uint8_t *t = text.data, *text_end = t + text.len;
    const uint8_t *star = NULL, *star_text = NULL; /* behind the last '*', and where its next trial starts */

    if (text.len == 0)
        return pattern.len == 0 || (pattern.len == 1 && *p == '*');
    while (t < text_end) {
        bool hit = false;
        if (p < end && *p == '*') {
            do
                p++;
            while (p < end && *p == '*');
            if (p == end)
                return true;
            star = p;
            star_text = t;
            continue;
        }
        if (p < end) {
            p = element(p, end, *t, ignore_case, &hit);
            t++;
        }
        if (!hit) {
            if (!star)
                return false;
            p = star;
            t = ++star_text;
        }
    }
    while (p < end && *p == '*')
        p++;
    return p == end;
}

size_t glob_prefix(struct slice pattern, uint8_t *out, bool *exact)
{
    size_t n = 0, i = 0;

    for (; i < pattern.len; i++) {
        uint8_t c = pattern.data[i];
        if (c == '*' || c == '?' || c == '[')
            break;
        if (c == '\\' && i + 1 < pattern.len)
            c = pattern.data[++i];
        out[n++] = c;
    }
    *exact = i == pattern.len;
    return n;
}
