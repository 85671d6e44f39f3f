/* Text to value and back: what a setting of each type may hold. The sentences are those of Redis' CONFIG SET. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/num.h"
#include "conf/setting.h"
#include "conf/split.h"

static void *field_of(const struct setting *d, struct settings *s) { return (char *)s + d->offset; }

static const void *const_field_of(const struct setting *d, const struct settings *s)
{
    return (const char *)s + d->offset;
}

static int64_t number_of(const struct setting *d, const struct settings *s)
{
    const void *p = const_field_of(d, s);
    if (d->type == SETTING_BOOL)
        return *(const bool *)p;
    if (d->type == SETTING_ENUM)
        return *(const int *)p;
    return *(const int64_t *)p;
}

/* ---- one word ---- */

static enum result parse_bool(struct slice word, bool *out, struct errmsg *msg)
{
    if (slice_eq_nocase(word, "yes"))
        *out = true;
    else if (slice_eq_nocase(word, "no"))
        *out = false;
    else
        return errmsg_set(msg, RES_INVALID, "argument must be 'yes' or 'no'");
    return RES_OK;
}

static enum result check_range(const struct setting *d, int64_t value, struct errmsg *msg)
{
    if (value >= d->min && value <= d->max)
        return RES_OK;
    if ((d->flags & SETTING_PENDING) != 0)
        return errmsg_set(msg, RES_INVALID, "not built yet: the only value is %" PRId64, d->min);
    if (d->type == SETTING_OCTAL)
        return errmsg_set(msg, RES_INVALID, "argument must be between %" PRIo64 " and %" PRIo64 " inclusive",
                          (uint64_t)d->min, (uint64_t)d->max);
    return errmsg_set(msg, RES_INVALID, "argument must be between %" PRId64 " and %" PRId64 " inclusive", d->min,
                      d->max);
}

static enum result parse_octal(struct slice word, int64_t *out, struct errmsg *msg)
{
    int64_t value = 0;
    bool good = word.len > 0 && word.len <= 20;
    for (size_t i = 0; good && i < word.len; i++) {
        good = word.data[i] >= '0' && word.data[i] <= '7';
        value = value * 8 + (word.data[i] - '0');
    }
    if (!good)
        return errmsg_set(msg, RES_INVALID, "argument couldn't be parsed as an octal number");
    *out = value;
    return RES_OK;
}

static bool parse_percent(const struct setting *d, struct slice word, int64_t *out)
{
    int64_t value;
    if ((d->flags & SETTING_PERCENT) == 0 || word.len < 2 || word.data[word.len - 1] != '%' ||
        num_parse_i64(slice_of(word.data, word.len - 1), &value) != RES_OK || value < 0)
        return false;
    *out = -value;
    return true;
}

static enum result parse_number(const struct setting *d, struct slice word, int64_t *out, struct errmsg *msg)
{
    int64_t value = 0;
    enum result res = RES_OK;
    if (d->type == SETTING_OCTAL) {
        res = parse_octal(word, &value, msg);
    } else if (parse_percent(d, word, &value)) {
        if (value < d->min)
            return errmsg_set(msg, RES_INVALID, "percentage argument must be less or equal to %" PRId64, -d->min);
    } else if (d->type == SETTING_MEMORY) {
        uint64_t bytes = 0;
        res = num_parse_memory(word, &bytes);
        if (res == RES_OK && bytes > INT64_MAX)
            res = RES_RANGE;
        if (res != RES_OK)
            return errmsg_set(msg, RES_INVALID, "argument must be a memory%s value",
                              (d->flags & SETTING_PERCENT) != 0 ? " or percent" : "");
        value = (int64_t)bytes;
    } else if (num_parse_i64(word, &value) != RES_OK) {
        return errmsg_set(msg, RES_INVALID, "argument couldn't be parsed into an integer");
    }
    if (res == RES_OK)
        res = check_range(d, value, msg);
    if (res == RES_OK)
        *out = value;
    return res;
}

static enum result parse_enum(const struct setting *d, struct slice word, int *out, struct errmsg *msg)
{
    struct errmsg allowed = {""};
    size_t used = 0;
    for (int i = 0; d->values[i] != NULL; i++) {
        bool missing = d->values[i][0] == '!';
        const char *name = d->values[i] + missing;
        if (slice_eq_nocase(word, name)) {
            if (missing)
                return errmsg_set(msg, RES_INVALID, "'%s' is not built yet", name);
            *out = i;
            return RES_OK;
        }
        if (!missing)
            used += (size_t)snprintf(allowed.text + used, sizeof allowed.text - used, "%s%s", used ? ", " : "", name);
    }
    return errmsg_set(msg, RES_INVALID, "argument(s) must be one of the following: %.400s", allowed.text);
}

/* ---- several words ---- */

static enum result parse_string(const struct setting *d, const char **out, struct arena *arena, int argc,
                                const struct slice *argv, bool add, struct errmsg *msg)
{
    size_t old = add ? strlen(*out) : 0, len = old;
    for (int i = 0; i < argc; i++) {
        if (memchr(argv[i].data ? argv[i].data : (const uint8_t *)"", 0, argv[i].len) != NULL)
            return errmsg_set(msg, RES_INVALID, "argument must not hold a zero byte");
        len += argv[i].len + 1;
    }
    char *text = arena_alloc(arena, len + 1), *end = text;
    if (text == NULL)
        return RES_NO_MEMORY;
    memcpy(end, *out, old);
    end += old;
    for (int i = 0; i < argc; i++) {
        if (argv[i].len == 0)
            continue;
        if (end != text)
            *end++ = ' ';
        memcpy(end, argv[i].data, argv[i].len);
        end += argv[i].len;
    }
    *end = 0;
    const char *value = text;
    if (d->check != NULL) {
        enum result res = d->check(arena, &value, msg);
        if (res != RES_OK)
            return res;
    }
    *out = value;
    return RES_OK;
}

static const char *const class_names[OUTPUT_CLASSES] = {"normal", "slave", "pubsub"};

static int class_of(struct slice word)
{
    for (int i = 0; i < OUTPUT_CLASSES; i++)
        if (slice_eq_nocase(word, class_names[i]))
            return i;
    return slice_eq_nocase(word, "replica") ? OUTPUT_REPLICA : -1;
}

/* Groups of class, hard, soft, seconds; a class that is not named keeps its limits. */
static enum result parse_limits(struct output_limit limits[OUTPUT_CLASSES], int argc, const struct slice *argv,
                                struct errmsg *msg)
{
    if (argc == 0 || argc % 4 != 0)
        return errmsg_set(msg, RES_INVALID, "Wrong number of arguments in buffer limit configuration.");
    struct output_limit result[OUTPUT_CLASSES];
    memcpy(result, limits, sizeof result);
    for (int i = 0; i < argc; i += 4) {
        int class = class_of(argv[i]);
        if (class < 0)
            return errmsg_set(msg, RES_INVALID, "Invalid client class specified in buffer limit configuration.");
        uint64_t hard, soft;
        int64_t seconds;
        if (num_parse_memory(argv[i + 1], &hard) != RES_OK || num_parse_memory(argv[i + 2], &soft) != RES_OK ||
            num_parse_i64(argv[i + 3], &seconds) != RES_OK || seconds < 0 || hard > INT64_MAX || soft > INT64_MAX)
            return errmsg_set(msg, RES_INVALID,
                              "Error in hard, soft or soft_seconds setting in buffer limit configuration.");
        result[class] = (struct output_limit){(int64_t)hard, (int64_t)soft, seconds};
    }
    memcpy(limits, result, sizeof result);
    return RES_OK;
}

static enum result parse_quantiles(struct quantiles *out, int argc, const struct slice *argv, struct errmsg *msg)
{
    struct quantiles q = {0};
    for (int i = 0; i < argc; i++) {
        double value;
        if (argv[i].len == 0)
            continue;
        if (q.count == SETTINGS_QUANTILES_MAX)
            return errmsg_set(msg, RES_INVALID, "at most %d percentiles may be given", SETTINGS_QUANTILES_MAX);
        if (num_parse_double(argv[i], &value) != RES_OK)
            return errmsg_set(msg, RES_INVALID, "Invalid latency-tracking-info-percentiles parameters");
        if (!(value >= 0 && value <= 100))
            return errmsg_set(msg, RES_INVALID,
                              "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]");
        q.value[q.count++] = value;
    }
    *out = q;
    return RES_OK;
}

/* CONFIG SET gives the words of a list in one argument: "normal 0 0 0". */
#define WORDS_MAX 128
static enum result split_words(int argc, const struct slice *argv, struct slice words[WORDS_MAX], int *count,
                               struct errmsg *msg)
{
    int n = 0;
    for (int i = 0; i < argc; i++) {
        size_t at = 0;
        while (at < argv[i].len) {
            while (at < argv[i].len && argv[i].data[at] == ' ')
                at++;
            size_t start = at;
            while (at < argv[i].len && argv[i].data[at] != ' ')
                at++;
            if (at == start)
                break;
            if (n == WORDS_MAX)
                return errmsg_set(msg, RES_INVALID, "too many arguments");
            words[n++] = slice_of(argv[i].data + start, at - start);
        }
    }
    *count = n;
    return RES_OK;
}

enum result setting_parse(const struct setting *d, struct settings *s, struct arena *arena, int argc,
                          const struct slice *argv, bool add, struct errmsg *msg)
{
    void *field = field_of(d, s);
    if ((d->flags & SETTING_WORDS) == 0) {
        if (argc != 1)
            return errmsg_set(msg, RES_INVALID, "wrong number of arguments");
        if (d->type == SETTING_ENUM)
            return parse_enum(d, argv[0], field, msg);
        if (d->type == SETTING_STRING)
            return parse_string(d, field, arena, argc, argv, add, msg);
        if (d->type != SETTING_BOOL)
            return parse_number(d, argv[0], field, msg);
        bool value = false;
        enum result res = parse_bool(argv[0], &value, msg);
        if (res == RES_OK && (d->flags & SETTING_PENDING) && value != (bool)d->number)
            return errmsg_set(msg, RES_INVALID, "not built yet: the only value is %s", d->number ? "yes" : "no");
        if (res == RES_OK)
            *(bool *)field = value;
        return res;
    }
    struct slice words[WORDS_MAX];
    int count;
    enum result res = split_words(argc, argv, words, &count, msg);
    if (res != RES_OK)
        return res;
    if (d->type == SETTING_LIMITS)
        return parse_limits(field, count, words, msg);
    if (d->type == SETTING_QUANTILES_LIST)
        return parse_quantiles(field, count, words, msg);
    return parse_string(d, field, arena, count, words, add && count > 0, msg);
}

void setting_defaults(struct settings *s)
{
    memset(s, 0, sizeof *s);
    for (int id = 0; id < SETTING_COUNT; id++) {
        const struct setting *d = setting_by_id((enum setting_id)id);
        void *field = field_of(d, s);
        struct slice text = slice_str(d->text ? d->text : "");
        struct slice words[WORDS_MAX];
        int count;
        enum result res = RES_OK;
        if (d->type == SETTING_BOOL)
            *(bool *)field = d->number != 0;
        else if (d->type == SETTING_ENUM)
            *(int *)field = (int)d->number;
        else if (d->type == SETTING_STRING)
            *(const char **)field = d->text;
        else if (d->type != SETTING_LIMITS && d->type != SETTING_QUANTILES_LIST)
            *(int64_t *)field = d->number;
        else if ((res = split_words(1, &text, words, &count, NULL)) == RES_OK)
            res = d->type == SETTING_LIMITS ? parse_limits(field, count, words, NULL)
                                            : parse_quantiles(field, count, words, NULL);
        if (res != RES_OK)
            abort(); /* table.def contradicts itself */
    }
}

/* ---- value to text ---- */

static enum result format_limits(const struct output_limit limits[OUTPUT_CLASSES], struct buf *out)
{
    enum result res = RES_OK;
    for (int i = 0; i < OUTPUT_CLASSES && res == RES_OK; i++)
        res = buf_printf(out, "%s%s %" PRId64 " %" PRId64 " %" PRId64, i ? " " : "", class_names[i], limits[i].hard,
                         limits[i].soft, limits[i].seconds);
    return res;
}

static enum result format_quantiles(const struct quantiles *q, struct buf *out)
{
    enum result res = RES_OK;
    for (int i = 0; i < q->count && res == RES_OK; i++) {
        char text[NUM_DOUBLE_MAX];
        size_t len = num_format_double(text, q->value[i]);
        res = buf_printf(out, "%s%.*s", i ? " " : "", (int)len, text);
    }
    return res;
}

enum result setting_format(const struct setting *d, const struct settings *s, struct buf *out)
{
    const void *field = const_field_of(d, s);
    switch (d->type) {
    case SETTING_BOOL:
        return buf_printf(out, "%s", *(const bool *)field ? "yes" : "no");
    case SETTING_ENUM:
        return buf_printf(out, "%s", d->values[*(const int *)field]);
    case SETTING_OCTAL:
        return buf_printf(out, "%" PRIo64, (uint64_t) * (const int64_t *)field);
    case SETTING_STRING: {
        const char *text = *(const char *const *)field;
        return buf_append(out, text, strlen(text));
    }
    case SETTING_LIMITS:
        return format_limits(field, out);
    case SETTING_QUANTILES_LIST:
        return format_quantiles(field, out);
    case SETTING_INT:
    case SETTING_MEMORY:
        break;
    }
    int64_t number = *(const int64_t *)field;
    if ((d->flags & SETTING_PERCENT) != 0 && number < 0)
        return buf_printf(out, "%" PRId64 "%%", -number);
    return buf_printf(out, "%" PRId64, number);
}

bool setting_equal(const struct setting *d, const struct settings *a, const struct settings *b)
{
    const void *x = const_field_of(d, a), *y = const_field_of(d, b);
    if (d->type == SETTING_STRING)
        return strcmp(*(const char *const *)x, *(const char *const *)y) == 0;
    if (d->type == SETTING_LIMITS)
        return memcmp(x, y, sizeof(struct output_limit) * OUTPUT_CLASSES) == 0;
    if (d->type == SETTING_QUANTILES_LIST) {
        const struct quantiles *q = x, *r = y;
        return q->count == r->count && memcmp(q->value, r->value, sizeof q->value[0] * (size_t)q->count) == 0;
    }
    return number_of(d, a) == number_of(d, b);
}

/* A round number of bytes as it is written in the file. */
static enum result describe_memory(int64_t bytes, struct buf *out)
{
    static const char *const units[] = {"", "kb", "mb", "gb"};
    int unit = 0;
    while (unit < 3 && bytes != 0 && bytes % 1024 == 0) {
        bytes /= 1024;
        unit++;
    }
    return buf_printf(out, "%" PRId64 "%s", bytes, units[unit]);
}

enum result setting_write(const struct setting *d, const struct settings *s, struct buf *out)
{
    if (d->type == SETTING_MEMORY && number_of(d, s) >= 0)
        return describe_memory(number_of(d, s), out);
    if (d->type != SETTING_STRING) {
        size_t start = out->len;
        enum result res = setting_format(d, s, out);
        return res == RES_OK && out->len == start ? buf_append(out, "\"\"", 2) : res;
    }
    const char *text = *(const char *const *)const_field_of(d, s);
    enum result res;
    for (;; text++) {
        size_t len = (d->flags & SETTING_WORDS) != 0 ? strcspn(text, " ") : strlen(text);
        res = split_quote(slice_of(text, len), out);
        text += len;
        if (res != RES_OK || *text == 0 || (res = buf_append(out, " ", 1)) != RES_OK)
            return res;
    }
}

static enum result describe_number(const struct setting *d, struct buf *out)
{
    enum result res;
    if (d->type == SETTING_OCTAL)
        return buf_printf(out, "an octal number from %" PRIo64 " to %" PRIo64, (uint64_t)d->min, (uint64_t)d->max);
    if (d->type == SETTING_INT) {
        if (d->max == INT64_MAX)
            return buf_printf(out, "an integer, at least %" PRId64, d->min);
        return buf_printf(out, "an integer from %" PRId64 " to %" PRId64, d->min, d->max);
    }
    if ((d->flags & SETTING_PERCENT) != 0)
        return buf_printf(out, "a memory size, or a percentage");
    if (d->min == 0 && d->max == INT64_MAX)
        return buf_printf(out, "a memory size");
    if ((res = buf_printf(out, d->max == INT64_MAX ? "a memory size, at least " : "a memory size from ")) != RES_OK ||
        (res = describe_memory(d->min, out)) != RES_OK || d->max == INT64_MAX)
        return res;
    if ((res = buf_printf(out, " to ")) == RES_OK)
        res = describe_memory(d->max, out);
    return res;
}

enum result setting_describe(const struct setting *d, struct buf *out)
{
    enum result res = RES_OK;
    if ((d->flags & SETTING_PENDING) != 0)
        return buf_printf(out, "%s only", d->type == SETTING_BOOL ? (d->number ? "yes" : "no") : "0");
    switch (d->type) {
    case SETTING_BOOL:
        return buf_printf(out, "yes or no");
    case SETTING_ENUM:
        for (int i = 0; d->values[i] != NULL && res == RES_OK; i++)
            if (d->values[i][0] != '!')
                res = buf_printf(out, "%s%s", i ? ", " : "", d->values[i]);
        return res;
    case SETTING_STRING:
        if (d->check == check_not_built)
            return buf_printf(out, "empty only");
        return buf_printf(out, (d->flags & SETTING_WORDS) != 0 ? "words" : "text");
    case SETTING_LIMITS:
        return buf_printf(out, "groups of class, size, size, seconds");
    case SETTING_QUANTILES_LIST:
        return buf_printf(out, "up to %d numbers from 0 to 100", SETTINGS_QUANTILES_MAX);
    case SETTING_INT:
    case SETTING_MEMORY:
    case SETTING_OCTAL:
        break;
    }
    return describe_number(d, out);
}
