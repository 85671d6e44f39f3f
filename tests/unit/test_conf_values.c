/* Settings as values. What must hold:
 * - the declarations are consistent: names, aliases and chapters are unique, defaults are inside their range, and each
 *   default survives the way to text and back, in CONFIG GET's form and in the file's;
 * - numbers are taken at their bounds and refused outside, whatever is refused leaves the value as it was;
 * - Redis' quoting: what split_quote writes, split_line reads; unbalanced quotes are an error. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>

#include "conf/setting.h"
#include "conf/split.h"

static struct arena arena;
static struct settings s;

static void setup(void)
{
    arena_init(&arena, 4096);
    setting_defaults(&s);
}
static void teardown(void) { arena_fini(&arena); }
TestSuite(conf_values, .init = setup, .fini = teardown);

static enum result set(const char *name, const char *value, struct errmsg *msg)
{
    const struct setting *d = setting_find(slice_str(name));
    struct slice word = slice_str(value);
    cr_assert_not_null(d, "%s", name);
    return setting_parse(d, &s, &arena, 1, &word, false, msg);
}

static const char *get(const char *name)
{
    static char text[1024];
    struct buf b = BUF_INIT;
    const struct setting *d = setting_find(slice_str(name));
    cr_assert_not_null(d, "%s", name);
    cr_assert_eq(setting_format(d, &s, &b), RES_OK);
    snprintf(text, sizeof text, "%.*s", (int)b.len, b.len ? (const char *)b.data : "");
    buf_fini(&b);
    return text;
}

static void check_set(const char *name, const char *value, const char *shown)
{
    struct errmsg msg = {""};
    cr_expect_eq(set(name, value, &msg), RES_OK, "%s %s: %s", name, value, msg.text);
    cr_expect_str_eq(get(name), shown, "%s %s", name, value);
}

static void check_refused(const char *name, const char *value, const char *why)
{
    struct errmsg msg = {""};
    char before[1024];
    snprintf(before, sizeof before, "%s", get(name));
    cr_expect_eq(set(name, value, &msg), RES_INVALID, "%s %s is accepted", name, value);
    cr_expect_not_null(strstr(msg.text, why), "%s %s: '%s' lacks '%s'", name, value, msg.text, why);
    cr_expect_str_eq(get(name), before, "%s %s changed something", name, value);
}

Test(conf_values, names_are_unique_and_found)
{
    cr_expect_not_null(setting_section((enum setting_id)0), "the first setting begins a chapter");
    for (int id = 0; id < SETTING_COUNT; id++) {
        const struct setting *d = setting_by_id((enum setting_id)id);
        const char *alias = setting_alias(d);
        cr_expect_eq(d->id, id, "%s", d->name);
        cr_expect_eq(setting_find(slice_str(d->name)), d, "%s", d->name);
        cr_expect(alias == NULL || setting_find(slice_str(alias)) == d, "%s", d->name);
        cr_expect_gt(strlen(d->doc), 8, "%s", d->name);
        cr_expect(!(d->flags & SETTING_AUTO) || d->number == 0, "%s", d->name);
    }
    cr_expect_eq(setting_find(SLICE_LIT("MaxMemory")), setting_by_id(SETTING_maxmemory));
    cr_expect_eq(setting_find(SLICE_LIT("slave-read-only")), setting_by_id(SETTING_replica_read_only));
    cr_expect_null(setting_find(SLICE_LIT("maxmemor")));
    cr_expect_null(setting_find(SLICE_LIT("data-dir")), "a flag's alias is no name for CONFIG");
}

Test(conf_values, every_default_survives_the_way_to_text_and_back)
{
    for (int id = 0; id < SETTING_COUNT; id++) {
        const struct setting *d = setting_by_id((enum setting_id)id);
        struct settings copy;
        struct buf text = BUF_INIT, line = BUF_INIT;
        struct errmsg msg = {""};
        struct slice words[SPLIT_WORDS_MAX];
        int count;
        setting_defaults(&copy);
        cr_assert_eq(setting_format(d, &s, &text), RES_OK);
        struct slice word = buf_slice(&text);
        cr_expect_eq(setting_parse(d, &copy, &arena, 1, &word, false, &msg), RES_OK, "%s: %s", d->name, msg.text);
        cr_expect(setting_equal(d, &copy, &s), "%s", d->name);
        cr_assert_eq(setting_write(d, &s, &line), RES_OK);
        cr_assert_eq(split_line(buf_slice(&line), &arena, words, &count), RES_OK, "%s", d->name);
        cr_expect_eq(setting_parse(d, &copy, &arena, count, words, false, &msg), RES_OK, "%s: %s", d->name, msg.text);
        cr_expect(setting_equal(d, &copy, &s), "%s", d->name);
        buf_fini(&text);
        buf_fini(&line);
    }
}

static void number_text(const struct setting *d, int64_t value, char out[32])
{
    snprintf(out, 32, d->type == SETTING_OCTAL ? "%" PRIo64 : "%" PRId64, value);
}

Test(conf_values, numbers_are_taken_at_their_bounds_and_refused_outside)
{
    char text[32];
    for (int id = 0; id < SETTING_COUNT; id++) {
        const struct setting *d = setting_by_id((enum setting_id)id);
        if (d->type != SETTING_INT && d->type != SETTING_MEMORY && d->type != SETTING_OCTAL)
            continue;
        if (d->flags & SETTING_PERCENT) {
            check_set(d->name, "100%", "100%");
            check_set(d->name, "1mb", "1048576");
            check_refused(d->name, "101%", "percentage argument must be less or equal to 100");
            check_refused(d->name, "-1", "argument must be a memory or percent value");
            check_refused(d->name, "%", "argument must be a memory or percent value");
            continue;
        }
        cr_expect(d->number >= d->min && d->number <= d->max, "%s", d->name);
        number_text(d, d->min, text);
        check_set(d->name, text, text);
        number_text(d, d->max, text);
        check_set(d->name, text, text);
        if (d->max < INT64_MAX) {
            number_text(d, d->max + 1, text);
            check_refused(d->name, text, d->flags & SETTING_PENDING ? "not built yet" : "must be between");
        }
        if (d->min > 0 || (d->min > INT64_MIN && d->type == SETTING_INT)) {
            number_text(d, d->min - 1, text);
            check_refused(d->name, text, d->flags & SETTING_PENDING ? "not built yet" : "must be between");
        }
        check_refused(d->name, "x", "argument");
        check_refused(d->name, "", "argument");
        check_refused(d->name, "99999999999999999999", "argument");
    }
}

Test(conf_values, words_of_each_type)
{
    check_set("maxmemory", "100mb", "104857600");
    check_set("maxmemory", "1G", "1000000000");
    check_refused("maxmemory", "-1", "argument must be a memory value");
    check_refused("maxmemory", "1xb", "argument must be a memory value");
    check_set("protected-mode", "NO", "no");
    check_refused("protected-mode", "maybe", "argument must be 'yes' or 'no'");
    check_set("appendfsync", "EverySec", "everysec");
    check_refused("appendfsync", "sometimes", "argument(s) must be one of the following: always, everysec, no");
    check_refused("maxmemory-policy", "allkeys-lru", "not built yet");
    check_refused("engine", "rocksdb", "one of the following: lsm, memory, btree, file");
    check_refused("daemonize", "yes", "not built yet");
    check_set("http-addr", ":8080", ":8080");
    check_set("unixsocketperm", "0700", "700");
    check_refused("unixsocketperm", "9", "octal");
    check_refused("slowlog-log-slower-than", "+5", "integer");
    check_refused("dbfilename", "a/b", "can't be a path");
    check_refused("dir", "", "needs a name");
}

Test(conf_values, lists_of_words)
{
    check_set("save", "3600 1  60 1000", "3600 1 60 1000");
    check_set("save", "", "");
    check_refused("save", "60", "Invalid save parameters");
    check_refused("save", "0 1", "Invalid save parameters");
    check_refused("save", "60 -1", "Invalid save parameters");
    check_set("client-output-buffer-limit", "pubsub 1mb 2k 3",
              "normal 0 0 0 slave 268435456 67108864 60 pubsub 1048576 2000 3");
    check_set("client-output-buffer-limit", "normal 1 2 3 replica 4 5 6",
              "normal 1 2 3 slave 4 5 6 pubsub 1048576 2000 3");
    check_refused("client-output-buffer-limit", "normal 1 2", "Wrong number of arguments");
    check_refused("client-output-buffer-limit", "normal 1 2 3 master 1 2 3", "Invalid client class");
    check_refused("client-output-buffer-limit", "normal 1 2 -3", "Error in hard, soft");
    check_set("latency-tracking-info-percentiles", "0.0 50.0 100.0", "0 50 100");
    check_set("latency-tracking-info-percentiles", "", "");
    check_refused("latency-tracking-info-percentiles", "50 100.1", "between [0.0,100.0]");
    check_refused("latency-tracking-info-percentiles", "50 a", "Invalid");
    check_refused("oom-score-adj-values", "1 2", "wrong number");
    check_set("shutdown-on-sigterm", "nosave now", "nosave now");
    check_refused("shutdown-on-sigterm", "save nosave", "combination");
    check_refused("bind", "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17", "Too many bind");
}

Test(conf_values, a_string_must_not_hold_a_zero_byte)
{
    struct slice word = SLICE_LIT("a\0b");
    struct errmsg msg = {""};
    cr_expect_eq(setting_parse(setting_by_id(SETTING_requirepass), &s, &arena, 1, &word, false, &msg), RES_INVALID);
    cr_expect_str_eq(s.requirepass, "");
}

Test(conf_values, a_misspelt_name_finds_its_nearest)
{
    cr_expect_str_eq(setting_nearest(SLICE_LIT("maxmemroy")), "maxmemory");
    cr_expect_str_eq(setting_nearest(SLICE_LIT("append_fsync")), "appendfsync");
    cr_expect_str_eq(setting_nearest(SLICE_LIT("prot")), "port");
    cr_expect_null(setting_nearest(SLICE_LIT("completely-else")));
    cr_expect(setting_is_foreign(SLICE_LIT("loadmodule")));
    cr_expect(setting_is_foreign(SLICE_LIT("tls-cert-file")));
    cr_expect_not(setting_is_foreign(SLICE_LIT("tls")));
}

/* ---- quoting ---- */

static void check_split(const char *line, int want, const char *first, size_t len)
{
    struct slice words[SPLIT_WORDS_MAX];
    int count = 0;
    enum result res = split_line(slice_str(line), &arena, words, &count);
    if (want < 0) {
        cr_expect_eq(res, RES_INVALID, "%s", line);
        return;
    }
    cr_assert_eq(res, RES_OK, "%s", line);
    cr_assert_eq(count, want, "%s: %d words", line, count);
    if (want > 0)
        cr_expect(slice_eq(words[0], slice_of(first, len)), "%s: '%.*s'", line, (int)words[0].len, words[0].data);
}

Test(conf_values, quoting_follows_redis)
{
    check_split("", 0, "", 0);
    check_split(" \t a  b\r", 2, "a", 1);
    check_split("\"\" b", 2, "", 0);
    check_split("\"a b\"", 1, "a b", 3);
    check_split("\"\\x41\\n\\r\\t\\b\\a\\q\\\"\\\\\"", 1, "A\n\r\t\b\aq\"\\", 9);
    check_split("\"\\x4\"", 1, "x4", 2);
    check_split("\"\\xZZ\"", 1, "xZZ", 3);
    check_split("'a\\'b\\n'", 1, "a'b\\n", 5);
    check_split("a\"b c\"", 1, "ab c", 4);
    check_split("\"a\"b", -1, "", 0);
    check_split("'a'b", -1, "", 0);
    check_split("\"a", -1, "", 0);
    check_split("'a", -1, "", 0);
    check_split("\"a\\", -1, "", 0);
    check_split("\"a\\\"", -1, "", 0);
}

Test(conf_values, what_is_quoted_reads_back)
{
    uint8_t bytes[256];
    for (int i = 0; i < 256; i++)
        bytes[i] = (uint8_t)i;
    for (size_t start = 0; start < 256; start++) {
        for (size_t len = 0; len <= 256 - start; len += 1 + len / 3) {
            struct buf line = BUF_INIT;
            struct slice words[SPLIT_WORDS_MAX];
            int count = 0;
            cr_assert_eq(split_quote(slice_of(bytes + start, len), &line), RES_OK);
            cr_assert_eq(split_line(buf_slice(&line), &arena, words, &count), RES_OK);
            cr_assert_eq(count, 1);
            cr_assert(slice_eq(words[0], slice_of(bytes + start, len)), "%zu %zu", start, len);
            buf_fini(&line);
            arena_reset(&arena);
        }
    }
}
