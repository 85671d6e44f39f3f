/* See json.h. */
#include "proto/json.h"

/* Length of the UTF-8 sequence at p, or 0 where there is none (overlong forms, surrogates and what lies above U+10FFFF
 * are none; Unicode, table 3-7). */
static size_t sequence(const uint8_t *p, size_t len)
{
    uint8_t a = p[0], low = 0x80, high = 0xbf;
    size_t n = a >= 0xc2 && a <= 0xdf ? 2 : a >= 0xe0 && a <= 0xef ? 3 : a >= 0xf0 && a <= 0xf4 ? 4 : 0;
    if (n == 0 || n > len)
        return 0;
    if (a == 0xe0)
        low = 0xa0;
    else if (a == 0xed)
        high = 0x9f;
    else if (a == 0xf0)
        low = 0x90;
    else if (a == 0xf4)
        high = 0x8f;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if (p[i] < 0x80 || p[i] > 0xbf)
            return 0;
    return n;
}

static enum result put_special(struct buf *out, const uint8_t *p, size_t len, size_t *taken)
{
    static const char escapes[] = "\b\t\n\f\r\"\\", letters[] = "btnfr\"\\";
    *taken = 1;
    if (*p >= 0x80) {
        size_t n = sequence(p, len);
        *taken = n ? n : 1;
        return n ? buf_append(out, p, n) : buf_append(out, "\xef\xbf\xbd", 3);
    }
    const char *escape = *p ? strchr(escapes, *p) : NULL;
    if (escape != NULL)
        return buf_append(out, (const char[]){'\\', letters[escape - escapes]}, 2);
    return buf_printf(out, "\\u%04x", *p);
}

enum result json_put_string(struct buf *out, struct slice text)
{
    enum result r = buf_reserve(out, text.len + 2);
    if (r == RES_OK)
        r = buf_append(out, "\"", 1);
    for (size_t i = 0; r == RES_OK && i < text.len;) {
        size_t n = i;
        while (n < text.len && text.data[n] >= 0x20 && text.data[n] < 0x80 && text.data[n] != '"' &&
               text.data[n] != '\\')
            n++;
        r = buf_append(out, text.data + i, n - i);
        i = n;
        if (r == RES_OK && i < text.len) {
            r = put_special(out, text.data + i, text.len - i, &n);
            i += n;
        }
    }
    return r == RES_OK ? buf_append(out, "\"", 1) : r;
}

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

enum result base64_put(struct buf *out, struct slice bytes)
{
    enum result r = buf_reserve(out, (bytes.len + 2) / 3 * 4);
    if (r != RES_OK)
        return r;
    uint8_t *p = out->data + out->len;
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t n = bytes.len - i < 3 ? bytes.len - i : 3;
        uint32_t v = (uint32_t)bytes.data[i] << 16;
        v |= n > 1 ? (uint32_t)bytes.data[i + 1] << 8 : 0;
        v |= n > 2 ? bytes.data[i + 2] : 0;
        *p++ = (uint8_t)digits[v >> 18];
        *p++ = (uint8_t)digits[v >> 12 & 63];
        *p++ = n > 1 ? (uint8_t)digits[v >> 6 & 63] : '=';
        *p++ = n > 2 ? (uint8_t)digits[v & 63] : '=';
    }
    out->len = (size_t)(p - out->data);
    return RES_OK;
}

bool base64_decode(struct slice text, uint8_t *out, size_t *len)
{
    size_t n = 0;
    uint32_t v = 0;
    while (text.len > 0 && text.data[text.len - 1] == '=')
        text.len--;
    for (size_t i = 0; i < text.len; i++) {
        const char *digit = text.data[i] ? strchr(digits, text.data[i]) : NULL;
        if (digit == NULL)
            return false;
        v = v << 6 | (uint32_t)(digit - digits);
        if (i % 4 != 0)
            out[n++] = (uint8_t)(v >> (6 - 2 * (i % 4)));
    }
    *len = n;
    return text.len % 4 != 1;
}
