/* JSON: see json.h. Reading is strict (RFC 8259), but for what a line of ours never has. */
#include "tools/kvctl/json.h"

#include <stdio.h>

#include "base/num.h"

/* ---- UTF-8 ---- */

/* Length of the character at s[0], 0 when it is none: no overlong forms, no surrogates, at most U+10FFFF. */
static size_t utf8_len(const uint8_t *s, size_t n)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = s[0] < 0x80 ? 1 : s[0] >> 5 == 6 ? 2 : s[0] >> 4 == 14 ? 3 : s[0] >> 3 == 30 ? 4 : 0;
    if (len <= 1 || len > n)
        return len > n ? 0 : len;
    uint32_t c = s[0] & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if (s[i] >> 6 != 2)
            return 0;
        c = c << 6 | (s[i] & 0x3f);
    }
    return c < least[len] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0 : len;
}

bool json_is_utf8(struct slice s)
{
    for (size_t i = 0, n; i < s.len; i += n)
        if ((n = utf8_len(s.data + i, s.len - i)) == 0)
            return false;
    return true;
}

static size_t utf8_put(uint8_t *p, uint32_t c)
{
    if (c < 0x80)
        return p[0] = (uint8_t)c, 1;
    if (c < 0x800) {
        p[0] = (uint8_t)(0xc0 | c >> 6);
        p[1] = (uint8_t)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        p[0] = (uint8_t)(0xe0 | c >> 12);
        p[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        p[2] = (uint8_t)(0x80 | (c & 0x3f));
        return 3;
    }
    p[0] = (uint8_t)(0xf0 | c >> 18);
    p[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
    p[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
    p[3] = (uint8_t)(0x80 | (c & 0x3f));
    return 4;
}

/* ---- base64 ---- */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static enum result put_base64(struct buf *out, struct slice s)
{
    enum result r = buf_reserve(out, (s.len + 2) / 3 * 4);
    if (r != RES_OK)
        return r;
    for (size_t i = 0; i < s.len; i += 3) {
        size_t n = s.len - i < 3 ? s.len - i : 3;
        uint32_t v =
            (uint32_t)s.data[i] << 16 | (n > 1 ? (uint32_t)s.data[i + 1] << 8 : 0) | (n > 2 ? s.data[i + 2] : 0);
        uint8_t *p = out->data + out->len;
        p[0] = (uint8_t)alphabet[v >> 18];
        p[1] = (uint8_t)alphabet[v >> 12 & 63];
        p[2] = n > 1 ? (uint8_t)alphabet[v >> 6 & 63] : '=';
        p[3] = n > 2 ? (uint8_t)alphabet[v & 63] : '=';
        out->len += 4;
    }
    return RES_OK;
}

/* The bytes of out from `from` on, decoded in their place. */
static bool undo_base64(struct buf *out, size_t from)
{
    size_t w = from, n = out->len - from;
    if (n % 4 != 0)
        return false;
    for (size_t i = from; i < out->len; i += 4) {
        uint32_t v = 0;
        size_t pad = 0;
        for (size_t k = 0; k < 4; k++) {
            uint8_t c = out->data[i + k];
            const char *at = c ? strchr(alphabet, c) : NULL;
            if (c == '=' && k >= 2 && i + 4 == out->len)
                pad++;
            else if (!at || pad)
                return false;
            v = v << 6 | (uint32_t)(at ? at - alphabet : 0);
        }
        uint8_t three[3] = {(uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
        memcpy(out->data + w, three, 3 - pad);
        w += 3 - pad;
    }
    out->len = w;
    return true;
}

/* ---- writing ---- */

static enum result put_escaped(struct buf *out, uint8_t c)
{
    char text[8];
    const char *shorts = "\"\\\b\f\n\r\t", *letters = "\"\\bfnrt", *at = c ? strchr(shorts, c) : NULL;
    int n = at ? snprintf(text, sizeof text, "\\%c", letters[at - shorts]) : snprintf(text, sizeof text, "\\u%04x", c);
    return buf_append(out, text, (size_t)n);
}

enum result json_put_string(struct buf *out, struct slice s)
{
    enum result r;
    if (!json_is_utf8(s)) {
        r = buf_append(out, "{\"base64\":\"", 11);
        if (r == RES_OK)
            r = put_base64(out, s);
        return r == RES_OK ? buf_append(out, "\"}", 2) : r;
    }
    r = buf_append(out, "\"", 1);
    for (size_t i = 0, from = 0; r == RES_OK && i <= s.len; i++) {
        bool special = i < s.len && (s.data[i] < 32 || s.data[i] == '"' || s.data[i] == '\\' || s.data[i] == 127);
        if (i < s.len && !special)
            continue;
        r = buf_append(out, s.data + from, i - from);
        if (r == RES_OK && special)
            r = put_escaped(out, s.data[i]);
        from = i + 1;
    }
    return r == RES_OK ? buf_append(out, "\"", 1) : r;
}

/* ---- reading ---- */

void json_init(struct json *j, struct slice text) { *j = (struct json){text.data, text.data + text.len, NULL}; }

static bool fail(struct json *j, const char *error)
{
    if (!j->error)
        j->error = error;
    return false;
}

static void skip_space(struct json *j)
{
    while (j->p < j->end && (*j->p == ' ' || *j->p == '\t' || *j->p == '\r' || *j->p == '\n'))
        j->p++;
}

bool json_take(struct json *j, char c)
{
    skip_space(j);
    if (j->p == j->end || *j->p != (uint8_t)c)
        return false;
    j->p++;
    return true;
}

bool json_expect(struct json *j, char c)
{
    static const char *const texts[] = {"'{' expected", "'}' expected", "'[' expected",
                                        "']' expected", "',' expected", "':' expected"};
    if (json_take(j, c))
        return true;
    const char *marks = "{}[],:", *at = strchr(marks, c);
    return fail(j, at ? texts[at - marks] : "unexpected character");
}

bool json_end(struct json *j)
{
    skip_space(j);
    return j->p == j->end || fail(j, "more text behind the value");
}

static bool four_digits(struct json *j, uint32_t *out)
{
    *out = 0;
    if (j->end - j->p < 4)
        return false;
    for (int i = 0; i < 4; i++, j->p++) {
        uint8_t c = *j->p, low = c | 32;
        if (c >= '0' && c <= '9')
            *out = *out << 4 | (uint32_t)(c - '0');
        else if (low >= 'a' && low <= 'f')
            *out = *out << 4 | (uint32_t)(low - 'a' + 10);
        else
            return false;
    }
    return true;
}

static bool take_unicode(struct json *j, struct buf *out)
{
    uint32_t c, low;
    uint8_t bytes[4];
    if (!four_digits(j, &c))
        return fail(j, "four hexadecimal digits expected behind \\u");
    if (c >= 0xd800 && c < 0xdc00) {
        if (j->end - j->p < 6 || j->p[0] != '\\' || j->p[1] != 'u')
            return fail(j, "half of a surrogate pair");
        j->p += 2;
        if (!four_digits(j, &low) || low < 0xdc00 || low > 0xdfff)
            return fail(j, "half of a surrogate pair");
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    } else if (c >= 0xdc00 && c < 0xe000) {
        return fail(j, "half of a surrogate pair");
    }
    return buf_append(out, bytes, utf8_put(bytes, c)) == RES_OK || fail(j, "out of memory");
}

static bool take_escape(struct json *j, struct buf *out)
{
    static const char letters[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
    if (j->p == j->end)
        return fail(j, "string without an end");
    uint8_t c = *j->p++;
    if (c == 'u')
        return take_unicode(j, out);
    const char *at = c ? strchr(letters, c) : NULL;
    if (!at)
        return fail(j, "unknown escape in a string");
    return buf_append(out, &means[at - letters], 1) == RES_OK || fail(j, "out of memory");
}

static bool take_string(struct json *j, struct buf *out)
{
    if (!json_take(j, '"'))
        return fail(j, "a string expected");
    for (;;) {
        const uint8_t *from = j->p;
        while (j->p < j->end && *j->p != '"' && *j->p != '\\' && *j->p >= 32)
            j->p++;
        if (buf_append(out, from, (size_t)(j->p - from)) != RES_OK)
            return fail(j, "out of memory");
        if (j->p == j->end)
            return fail(j, "string without an end");
        uint8_t c = *j->p++;
        if (c == '"')
            return true;
        if (c != '\\')
            return fail(j, "control character in a string");
        if (!take_escape(j, out))
            return false;
    }
}

bool json_bytes(struct json *j, struct buf *out)
{
    size_t from = out->len;
    if (!json_take(j, '{')) {
        if (!take_string(j, out))
            return false;
        return json_is_utf8(slice_of(out->data ? out->data + from : NULL, out->len - from)) ||
               fail(j, "a string that is not UTF-8");
    }
    if (!take_string(j, out))
        return false;
    bool is_base64 = slice_eq(slice_of(out->data + from, out->len - from), SLICE_LIT("base64"));
    out->len = from;
    if (!is_base64)
        return fail(j, "a string or {\"base64\":...} expected");
    if (!json_expect(j, ':') || !take_string(j, out) || !json_expect(j, '}'))
        return false;
    return undo_base64(out, from) || fail(j, "damaged base64");
}

bool json_integer(struct json *j, int64_t *out)
{
    skip_space(j);
    const uint8_t *from = j->p;
    while (j->p < j->end && (*j->p == '-' || (*j->p >= '0' && *j->p <= '9')))
        j->p++;
    return num_parse_i64(slice_of(from, (size_t)(j->p - from)), out) == RES_OK || fail(j, "a whole number expected");
}

bool json_word(struct json *j, const char *word)
{
    size_t len = strlen(word);
    skip_space(j);
    if ((size_t)(j->end - j->p) < len || memcmp(j->p, word, len) != 0)
        return fail(j, "true expected");
    j->p += len;
    return true;
}
