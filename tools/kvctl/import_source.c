/* Reading a file of JSON lines or RESP commands, see import.h. RESP is passed on as it is, but looked through: a damaged
 * file must not become commands that nobody meant. */
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "tools/kvctl/import.h"

#define WORDS_MAX 1048576
#define WORD_MAX (512u * 1024 * 1024)

enum result import_source_begin(struct import_source *s, uint64_t offset)
{
    int first = fgetc(s->in);
    if (first == EOF)
        return ferror(s->in) ? RES_IO : RES_OK;
    ungetc(first, s->in);
    s->resp = first == '*';
    if (offset && fseeko(s->in, (off_t)offset, SEEK_SET) != 0)
        return RES_IO;
    s->at = s->unit_start = offset;
    return RES_OK;
}

void import_source_end(struct import_source *s)
{
    buf_fini(&s->line);
    free(s->text);
}

/* A line with its end. RES_NOT_FOUND at the end of the file. */
static enum result take_line(struct import_source *s, struct slice *out)
{
    ssize_t n = getline(&s->text, &s->room, s->in);
    if (n < 0)
        return ferror(s->in) ? RES_IO : RES_NOT_FOUND;
    s->at += (size_t)n;
    s->lines++;
    *out = slice_of(s->text, (size_t)n);
    return RES_OK;
}

static bool is_blank(struct slice line)
{
    for (size_t i = 0; i < line.len; i++)
        if (!strchr(" \t\r\n", line.data[i]) || !line.data[i])
            return false;
    return true;
}

static enum result next_json(struct import_source *s, struct buf *out, unsigned *commands, bool *starts,
                             const char **error)
{
    struct slice line;
    uint64_t from;
    size_t before = out->len;
    bool append;
    do {
        from = s->at;
        enum result r = take_line(s, &line);
        if (r != RES_OK)
            return r;
    } while (is_blank(line));
    enum result r = data_from_json(line, out, commands, &append, error);
    if (r != RES_OK)
        out->len = before;
    *starts = r == RES_OK && !append;
    if (*starts)
        s->unit_start = from;
    return r;
}

/* ---- RESP ---- */

/* "*3\r\n", "$5\r\n" */
static bool take_head(struct import_source *s, char sign, uint64_t most, uint64_t *n, struct buf *out, enum result *why)
{
    struct slice line;
    *why = take_line(s, &line);
    if (*why != RES_OK)
        return false;
    *why = RES_INVALID;
    if (line.len < 4 || line.data[0] != (uint8_t)sign || line.data[line.len - 2] != '\r' ||
        num_parse_u64(slice_of(line.data + 1, line.len - 3), n) != RES_OK || *n > most)
        return false;
    *why = buf_append(out, line.data, line.len);
    return *why == RES_OK;
}

static enum result take_word(struct import_source *s, uint64_t len, struct buf *out)
{
    enum result r = buf_reserve(out, (size_t)len + 2);
    if (r != RES_OK)
        return r;
    size_t got = fread(out->data + out->len, 1, (size_t)len + 2, s->in);
    s->at += got;
    if (got != len + 2)
        return ferror(s->in) ? RES_IO : RES_INVALID;
    out->len += (size_t)len + 2;
    return memcmp(out->data + out->len - 2, "\r\n", 2) == 0 ? RES_OK : RES_INVALID;
}

static bool begins_key(struct slice name) { return slice_eq_nocase(name, "set") || slice_eq_nocase(name, "del"); }

static enum result next_resp(struct import_source *s, struct buf *out, bool *starts, const char **error)
{
    uint64_t words, len, from = s->at;
    size_t before = out->len;
    enum result r;
    if (!take_head(s, '*', WORDS_MAX, &words, out, &r))
        goto out;
    r = words > 0 ? RES_OK : RES_INVALID;
    for (uint64_t i = 0; r == RES_OK && i < words; i++) {
        if (!take_head(s, '$', WORD_MAX, &len, out, &r)) {
            r = r == RES_NOT_FOUND ? RES_INVALID : r;
            break;
        }
        size_t at = out->len;
        r = take_word(s, len, out);
        if (r == RES_OK && i == 0 && begins_key(slice_of(out->data + at, (size_t)len))) {
            *starts = true;
            s->unit_start = from;
        }
    }
out:
    if (r != RES_OK)
        out->len = before;
    if (r == RES_INVALID)
        *error = "no RESP command, or not whole";
    return r;
}

enum result import_next(struct import_source *s, struct buf *out, unsigned *commands, bool *starts, const char **error)
{
    *starts = false;
    *commands = 1;
    return s->resp ? next_resp(s, out, starts, error) : next_json(s, out, commands, starts, error);
}
