/* Glob matching after Redis' rules, without its recursion.
 *
 * Apart from '*' every element of a pattern (byte, '?', bracket) takes exactly one byte of text. So a pattern is a row of
 * segments of fixed length with stars between them: the first lies at the front of the text, the last at its end, and
 * each other one may as well lie at the first place behind its predecessor where it fits, because a later place only
 * leaves less text for the rest. No choice is ever taken back. Segments of plain bytes are searched in linear time; one
 * with '?' or brackets, or without case, costs its length times the text it passes at worst.
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

/* Whether the elements from p on, until `end` or a star, match the bytes at t, of which there are enough. */
static bool segment_matches(const uint8_t *p, const uint8_t *end, const uint8_t *t, bool ignore_case)
{
    bool hit = true;

    while (hit && p < end)
        p = element(p, end, *t++, ignore_case, &hit);
    return hit;
}

/* What lies between two stars. */
struct segment {
    const uint8_t *start, *end;
    size_t len; /* bytes of text it takes */
    bool plain; /* its bytes are those of the text */
};

static struct segment segment_at(const uint8_t *p, const uint8_t *end)
{
    struct segment s = {.start = p, .plain = true};
    bool hit;

    while (p < end && *p != '*') {
        s.plain &= *p != '?' && *p != '[' && *p != '\\';
        p = element(p, end, 0, false, &hit);
        s.len++;
    }
    s.end = p;
    return s;
}

/* The first place at or behind t where the segment fits, or NULL. */
static const uint8_t *segment_find(const struct segment *s, const uint8_t *t, const uint8_t *text_end, bool ignore_case)
{
    if (s->plain && !ignore_case)
        return memmem(t, (size_t)(text_end - t), s->start, s->len);
    for (; (size_t)(text_end - t) >= s->len; t++)
        if (segment_matches(s->start, s->end, t, ignore_case))
            return t;
    return NULL;
}

bool glob_match(struct slice pattern, struct slice text, bool ignore_case)
{
    const uint8_t *p = pattern.data, *end = p + pattern.len;
    const uint8_t *t = text.data, *text_end = t + text.len;

    if (text.len == 0)
        return pattern.len == 0 || (pattern.len == 1 && *p == '*');
    while (p < end && *p != '*') {
        bool hit;
        if (t == text_end)
            return false;
        p = element(p, end, *t++, ignore_case, &hit);
        if (!hit)
            return false;
    }
    if (p == end)
        return t == text_end;
    for (;;) {
        while (p < end && *p == '*')
            p++;
        if (p == end)
            return true;
        struct segment s = segment_at(p, end);
        if ((size_t)(text_end - t) < s.len)
            return false;
        if (s.end == end)
            return s.plain && !ignore_case ? memcmp(p, text_end - s.len, s.len) == 0
                                           : segment_matches(p, end, text_end - s.len, ignore_case);
        t = segment_find(&s, t, text_end, ignore_case);
        if (!t)
            return false;
        t += s.len;
        p = s.end;
    }
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
