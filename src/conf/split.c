/* Words of a line: a scanner that goes once over the bytes. */
#include "conf/split.h"

static bool is_space(uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 32;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One escape of a double-quoted text; *at stands behind the backslash. */
static uint8_t unescape(struct slice line, size_t *at)
{
    uint8_t c = line.data[(*at)++];
    if (c == 'x' && *at + 1 < line.len) {
        int high = hex_digit(line.data[*at]), low = hex_digit(line.data[*at + 1]);
        if (high >= 0 && low >= 0) {
            *at += 2;
            return (uint8_t)(high * 16 + low);
        }
    }
    switch (c) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'b':
        return '\b';
    case 'a':
        return '\a';
    default:
        return c;
    }
}

/* Reads one word from *at into out (which has room for the rest of the line). */
static enum result read_word(struct slice line, size_t *at, uint8_t *out, size_t *len)
{
    uint8_t quote = 0;
    size_t n = 0, i = *at;
    while (i < line.len) {
        uint8_t c = line.data[i++];
        if (quote == 0) {
            if (is_space(c))
                break;
            if (c == '"' || c == '\'')
                quote = c;
            else
                out[n++] = c;
        } else if (c == quote) {
            if (i < line.len && !is_space(line.data[i]))
                return RES_INVALID;
            quote = 0;
            break;
        } else if (c == '\\' && i < line.len && quote == '"') {
            out[n++] = unescape(line, &i);
        } else if (c == '\\' && i < line.len && line.data[i] == '\'') {
            out[n++] = line.data[i++];
        } else {
            out[n++] = c;
        }
    }
    if (quote != 0)
        return RES_INVALID;
    *at = i;
    *len = n;
    return RES_OK;
}

enum result split_line(struct slice line, struct arena *arena, struct slice words[SPLIT_WORDS_MAX], int *count)
{
    uint8_t *out = arena_alloc(arena, line.len + 1);
    if (out == NULL)
        return RES_NO_MEMORY;
    size_t at = 0;
    *count = 0;
    for (;;) {
        while (at < line.len && is_space(line.data[at]))
            at++;
        if (at == line.len)
            return RES_OK;
        if (*count == SPLIT_WORDS_MAX)
            return RES_TOO_MANY;
        size_t len = 0;
        enum result res = read_word(line, &at, out, &len);
        if (res != RES_OK)
            return res;
        words[(*count)++] = slice_of(out, len);
        out += len; /* a word is never longer than its text */
    }
}

static bool needs_quotes(struct slice word)
{
    for (size_t i = 0; i < word.len; i++) {
        uint8_t c = word.data[i];
        if (c <= ' ' || c >= 127 || c == '"' || c == '\'' || c == '\\' || (c == '#' && i == 0))
            return true;
    }
    return word.len == 0;
}

static enum result quote_byte(uint8_t c, struct buf *out)
{
    switch (c) {
    case '\n':
        return buf_append(out, "\\n", 2);
    case '\r':
        return buf_append(out, "\\r", 2);
    case '\t':
        return buf_append(out, "\\t", 2);
    case '"':
    case '\\':
        return buf_printf(out, "\\%c", c);
    default:
        return c >= ' ' && c < 127 ? buf_append(out, &c, 1) : buf_printf(out, "\\x%02x", c);
    }
}

enum result split_quote(struct slice word, struct buf *out)
{
    if (!needs_quotes(word))
        return buf_append(out, word.data, word.len);
    enum result res = buf_append(out, "\"", 1);
    for (size_t i = 0; i < word.len && res == RES_OK; i++)
        res = quote_byte(word.data[i], out);
    return res == RES_OK ? buf_append(out, "\"", 1) : res;
}
