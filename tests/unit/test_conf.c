/* Settings at the start and while the server runs. What must hold:
 * - flags in all their forms, files, standard input and includes are read, later ones win, and save adds up;
 * - whatever is wrong stops the start with file and line, or the flag, the reason, and what is allowed;
 * - a change is all or nothing, through the hooks too, which are undone the other way round;
 * - a snapshot that is held stays as it was; CONFIG REWRITE keeps comments, order and includes, and a start with what it
 *   wrote finds the same settings. */
#include <criterion/criterion.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/epoch.h"
#include "base/log.h"
#include "conf/settings.h"
#include "conf/settings_change.h"
#include "front/front.h"

static char dir[] = "/tmp/varve-conf-XXXXXX";
static struct errmsg msg;
static enum settings_action action;

static void setup(void)
{
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(chdir(dir), 0);
}
static void teardown(void)
{
    char command[PATH_MAX + 16];
    settings_unload();
    epoch_drain();
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    cr_expect_eq(system(command), 0);
}
TestSuite(conf, .init = setup, .fini = teardown);

static enum result load(const char *arg, ...)
{
    char *argv[32] = {(char[]){"varved"}};
    int argc = 1;
    va_list ap;
    va_start(ap, arg);
    for (const char *a = arg; a != NULL; a = va_arg(ap, const char *))
        argv[argc++] = strdup(a);
    va_end(ap);
    msg.text[0] = 0;
    enum result res = settings_load(argc, argv, &action, &msg);
    for (int i = 1; i < argc; i++)
        free(argv[i]);
    return res;
}
#define LOAD(...) cr_assert_eq(load(__VA_ARGS__, NULL), RES_OK, "%s", msg.text)
#define REFUSED(why, ...)                                                                                              \
    do {                                                                                                               \
        cr_expect_neq(load(__VA_ARGS__, NULL), RES_OK);                                                                \
        cr_expect_not_null(strstr(msg.text, why), "'%s' lacks '%s'", msg.text, why);                                   \
    } while (0)

static void write_file(const char *name, const char *text)
{
    FILE *f = fopen(name, "w");
    cr_assert_not_null(f);
    cr_assert_geq(fputs(text, f), 0);
    fclose(f);
}

static char *read_file(const char *name)
{
    static char text[65536];
    FILE *f = fopen(name, "r");
    cr_assert_not_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    return text;
}

/* The tests have one thread: the snapshot lives until the next change. */
static const struct settings *now(void) { return settings_current(); }

static enum result change(const char *a, const char *b, const char *c, const char *d, int *culprit)
{
    struct slice kv[4] = {slice_str(a), slice_str(b), slice_str(c ? c : ""), slice_str(d ? d : "")};
    return settings_change(c ? 2 : 1, kv, culprit, &msg);
}

/* ---- the start ---- */

Test(conf, flags_have_one_dash_or_two_or_an_equals_sign)
{
    LOAD("--port", "7000", "-timeout", "5", "--hz=20", "-LOGLEVEL=warning", "--requirepass", "-secret");
    cr_expect_eq(now()->port, 7000);
    cr_expect_eq(now()->timeout, 5);
    cr_expect_eq(now()->hz, 20);
    cr_expect_eq(now()->loglevel, LOG_WARNING);
    cr_expect_str_eq(now()->requirepass, "-secret");
    cr_expect_eq(action, SETTINGS_START);
    cr_expect_str_eq(settings_file(), "");
}

Test(conf, a_flag_of_several_words_ends_at_the_next_flag)
{
    LOAD("--bind", "127.0.0.1", "-::1", "--save", "3600", "1", "60", "10", "-port", "1", "--slowlog-log-slower-than",
         "-1");
    cr_expect_str_eq(now()->bind, "127.0.0.1 -::1");
    cr_expect_str_eq(now()->save, "3600 1 60 10");
    cr_expect_eq(now()->slowlog_log_slower_than, -1);
}

Test(conf, other_names_of_flags)
{
    LOAD("-data-dir", "/x/y", "-max-mem-size", "8mb", "--lua-time-limit", "7");
    cr_expect_str_eq(now()->dir, "/x/y");
    cr_expect_eq(now()->memtable_size, 8 << 20);
    cr_expect_eq(now()->busy_reply_threshold, 7);
    REFUSED("not built yet", "-node-id", "1");
    REFUSED("not built yet", "-peers", "a,b");
    LOAD("-http-addr", ":8080", "-metrics-addr", ":2112", "-tcp-addr", ":9090");
    cr_expect_str_eq(now()->http_addr, ":8080");
}

Test(conf, wrong_flags_are_named)
{
    REFUSED("command line: unknown setting 'prot'; did you mean 'port'?", "--prot", "1");
    REFUSED("port '70000': argument must be between 0 and 65535 inclusive (allowed: an integer from 0 to 65535)",
            "--port", "70000");
    REFUSED("--port needs a value", "--port");
    REFUSED("'b' belongs to no flag", "--port", "1", "b");
    REFUSED("a setting of Redis that this server does not have", "--loadmodule", "x");
    REFUSED("cannot open 'nothing.conf'", "nothing.conf");
    REFUSED("Is a directory", ".");
    load("--requirepass", "secret", "--requirepass=", "--unixsocket", "a", "--tls-port", "1", NULL);
    cr_expect_null(strstr(msg.text, "secret"));
}

Test(conf, asking_for_help_looks_at_nothing_else)
{
    LOAD("--help", "--prot", "1");
    cr_expect_eq(action, SETTINGS_HELP);
    LOAD("-h");
    cr_expect_eq(action, SETTINGS_HELP);
    LOAD("-version");
    cr_expect_eq(action, SETTINGS_VERSION);
    LOAD("--check-config", "--port", "1");
    cr_expect_eq(action, SETTINGS_CHECK);
    REFUSED("unknown setting", "--check-config", "--prot", "1");
}

Test(conf, a_file_is_read_and_flags_win)
{
    write_file("a.conf", "# comment\n\n  port 7000\r\nTimeout 9\nsave 1 2\nsave \"3 4\"\nrequirepass \"a \\x41\"\n"
                         "client-output-buffer-limit normal 1 2 3\nclient-output-buffer-limit pubsub 4 5 6");
    LOAD("a.conf", "--timeout", "11");
    cr_expect_eq(now()->port, 7000);
    cr_expect_eq(now()->timeout, 11);
    cr_expect_str_eq(now()->save, "1 2 3 4");
    cr_expect_str_eq(now()->requirepass, "a A");
    cr_expect_eq(now()->client_output_buffer_limit[OUTPUT_NORMAL].seconds, 3);
    cr_expect_eq(now()->client_output_buffer_limit[OUTPUT_PUBSUB].hard, 4);
    char path[PATH_MAX + 8];
    snprintf(path, sizeof path, "%s/a.conf", dir);
    cr_expect_str_eq(settings_file(), path);
    LOAD("a.conf", "--save", "5", "6");
    cr_expect_str_eq(now()->save, "5 6", "a flag replaces what the file adds up");
}

Test(conf, save_with_nothing_forgets_the_lines_before)
{
    write_file("a.conf", "save 1 2\nsave \"\"\nsave 3 4\n");
    LOAD("a.conf");
    cr_expect_str_eq(now()->save, "3 4");
}

Test(conf, wrong_lines_are_named_by_file_and_line)
{
    write_file("a.conf", "port 1\n\nmaxmemroy 1gb\n");
    REFUSED("a.conf:3: unknown setting 'maxmemroy'; did you mean 'maxmemory'?", "a.conf");
    write_file("a.conf", "port \"1\n");
    REFUSED("a.conf:1: unbalanced quotes", "a.conf");
    write_file("a.conf", "\nport 1 2\n");
    REFUSED("a.conf:2: port: wrong number of arguments", "a.conf");
    write_file("a.conf", "port 1\nengine memory\n\nappendfsync always\n");
    REFUSED("a.conf:4: appendfsync: the engine 'memory'", "a.conf");
    write_file("a.conf", "log-buffer-size 32768\n");
    REFUSED("a.conf:1: log-buffer-size: argument must be at least 65536, or 0", "a.conf");
    write_file("a.conf", "log-buffer-size 100000\n");
    REFUSED("a.conf:1: log-buffer-size: argument must be a power of two", "a.conf");
    write_file("a.conf", "requirepass a b\n");
    REFUSED("wrong number", "a.conf");
    cr_expect_null(strstr(msg.text, "'a'"));
}

Test(conf, includes_are_read_in_place)
{
    cr_assert_eq(mkdir("d", 0700), 0);
    write_file("d/1.conf", "port 1\nhz 7\n");
    write_file("d/2.conf", "port 2\ninclude d/deep\n");
    write_file("d/deep", "timeout 3\n");
    write_file("a.conf", "hz 5\ninclude d/*.conf\ntimeout 4\ninclude none/*.conf\n");
    LOAD("a.conf");
    cr_expect_eq(now()->port, 2);
    cr_expect_eq(now()->hz, 7);
    cr_expect_eq(now()->timeout, 4);
    write_file("d/deep", "timeout x\n");
    REFUSED("d/deep:1: timeout 'x'", "a.conf");
    write_file("a.conf", "include none.conf\n");
    REFUSED("a.conf:1: cannot open 'none.conf'", "a.conf");
    write_file("a.conf", "include a.conf\n");
    REFUSED("include each other", "a.conf");
    LOAD("--include", "d/1.conf", "--hz", "8");
    cr_expect_eq(now()->hz, 8);
}

Test(conf, standard_input_is_read)
{
    write_file("in", "port 5\nhz 6\n");
    write_file("a.conf", "port 4\ntimeout 2\n");
    cr_assert_not_null(freopen("in", "r", stdin));
    LOAD("-", "--hz", "7");
    cr_expect_eq(now()->port, 5);
    cr_expect_eq(now()->hz, 7);
    cr_assert_not_null(freopen("in", "r", stdin));
    LOAD("a.conf", "--timeout", "3", "-");
    cr_expect_eq(now()->port, 5);
    cr_expect_eq(now()->timeout, 3);
    write_file("in", "x\n");
    cr_assert_not_null(freopen("in", "r", stdin));
    REFUSED("standard input:1: unknown setting 'x'", "-");
}

Test(conf, what_is_left_to_the_server_is_decided)
{
    LOAD("--dir", "./a/b");
    char path[PATH_MAX + 8];
    snprintf(path, sizeof path, "%s/a/b", dir);
    cr_expect_str_eq(now()->dir, path);
    cr_expect_gt(now()->maxmemory, 1 << 20);
    cr_expect_geq(now()->io_threads, 1);
    cr_expect_leq(now()->io_threads, 4);
    cr_expect_gt(now()->memtable_size, 0);
    cr_expect_gt(now()->cache_size, 0);
    cr_expect_lt(now()->cache_size + now()->memtables_max * now()->memtable_size, now()->maxmemory);
    LOAD("--maxmemory", "64mb", "--dir", ".");
    cr_expect_str_eq(now()->dir, dir);
    cr_expect_eq(now()->maxmemory, 64 << 20);
    cr_expect_eq(now()->memtable_size, 4 << 20);
    cr_expect_eq(now()->log_buffer_size, 2 << 20);
    LOAD("--maxmemory", "32mb", "--dir", ".");
    cr_expect_eq(now()->memtable_size, 1 << 20);
    LOAD("--maxmemory", "100mb", "--dir", ".");
    cr_expect_eq(now()->log_buffer_size, 2 << 20);
    LOAD("--maxmemory", "4gb", "--dir", ".");
    cr_expect_eq(now()->log_buffer_size, 16 << 20);
    LOAD("--engine", "memory");
    cr_expect_eq(now()->appendfsync, FRONT_FSYNC_NO);
    REFUSED("refused", "--engine", "memory", "--appendfsync", "always");
}

/* ---- changes ---- */

static char trace[256];
static enum result hook(void *arg, const struct settings *old, const struct settings *new, struct errmsg *why)
{
    size_t len = strlen(trace);
    (void)old;
    snprintf(trace + len, sizeof trace - len, "%s%d ", (const char *)arg, (int)(new->timeout + new->hz));
    if (strcmp(arg, "bad") == 0)
        return errmsg_set(why, RES_INVALID, "no luck");
    return RES_OK;
}

static int published;
static void publish(void *arg, const struct settings *new)
{
    (void)arg;
    published = (int)new->timeout;
}

Test(conf, a_change_is_all_or_nothing)
{
    int culprit;
    LOAD("--timeout", "1");
    cr_expect_eq(change("timeout", "2", "hz", "20", &culprit), RES_OK);
    cr_expect_eq(now()->timeout, 2);
    cr_expect_eq(now()->hz, 20);
    cr_expect_eq(change("timeout", "3", "hz", "x", &culprit), RES_INVALID);
    cr_expect_eq(culprit, 1);
    cr_expect_eq(now()->timeout, 2);
    cr_expect_eq(change("timeout", "3", "nothing", "x", &culprit), RES_NOT_FOUND);
    cr_expect_eq(culprit, 1);
    cr_expect_eq(change("timeout", "3", "TIMEOUT", "4", &culprit), RES_EXISTS);
    cr_expect_eq(change("lua-time-limit", "3", "busy-reply-threshold", "4", &culprit), RES_EXISTS);
    cr_expect_eq(change("timeout", "3", "databases", "4", &culprit), RES_READ_ONLY);
    cr_expect_eq(culprit, 1);
    cr_expect_eq(change("timeout", "2", "databases", "16", &culprit), RES_OK);
    cr_expect_eq(change("timeout", "2", "dir", dir, &culprit), RES_OK);
    cr_expect_eq(change("maxmemory", "x", NULL, NULL, &culprit), RES_INVALID);
    cr_expect_eq(culprit, 0);
    cr_expect_eq(now()->timeout, 2);
}

Test(conf, what_was_decided_at_the_start_stays)
{
    int culprit;
    LOAD("--maxmemory", "64mb");
    int64_t threads = now()->io_threads, cache = now()->cache_size;
    int64_t ring = now()->log_buffer_size, reserve = now()->disk_reserve;
    cr_expect_eq(change("maxmemory", "1gb", NULL, NULL, &culprit), RES_OK);
    cr_expect_eq(now()->memtable_size, 64 << 20, "memtables follow");
    cr_expect_eq(now()->log_buffer_size, ring);
    cr_expect_eq(now()->disk_reserve, reserve);
    cr_expect_eq(now()->io_threads, threads);
    cr_expect_gt(now()->cache_size, cache, "the cache may change at run time, and follows");
    cr_expect_eq(change("maxmemory", "1", NULL, NULL, &culprit), RES_OK);
    cr_expect_eq(now()->maxmemory, 1);
    cr_expect_eq(now()->memtable_size, 1 << 20);
    LOAD("--maxmemory", "64mb", "--memtable-size", "8mb");
    cr_expect_eq(change("maxmemory", "1gb", NULL, NULL, &culprit), RES_OK);
    cr_expect_eq(now()->memtable_size, 8 << 20, "what was said stays");
}

Test(conf, hooks_run_for_what_differs_and_are_undone)
{
    int culprit;
    LOAD("--timeout", "1", "--hz", "10");
    settings_on_change("timeout", hook, (void *)(uintptr_t) "t");
    settings_on_change("hz", hook, (void *)(uintptr_t) "h");
    settings_on_publish(publish, NULL);
    cr_expect_eq(published, 1);
    cr_expect_eq(change("timeout", "2", "hz", "10", &culprit), RES_OK);
    cr_expect_str_eq(trace, "t12 ");
    cr_expect_eq(published, 2);
    settings_on_change("hz", hook, (void *)(uintptr_t) "bad");
    trace[0] = 0;
    cr_expect_eq(change("timeout", "3", "hz", "20", &culprit), RES_INVALID);
    cr_expect_str_eq(trace, "t23 h23 bad23 h12 t12 ");
    cr_expect_str_eq(msg.text, "no luck");
    cr_expect_eq(culprit, 1);
    cr_expect_eq(now()->timeout, 2);
    cr_expect_eq(published, 2);
}

Test(conf, a_held_snapshot_stays)
{
    int culprit;
    LOAD("--requirepass", "first");
    const struct settings *held = settings_hold();
    for (int i = 0; i < 100; i++)
        cr_assert_eq(change("requirepass", i % 2 ? "a" : "b", NULL, NULL, &culprit), RES_OK);
    epoch_drain();
    cr_expect_str_eq(held->requirepass, "first");
    settings_release(held);
    cr_expect_str_eq(now()->requirepass, "a");
}

static enum result collect(void *arg, const char *name, struct slice value)
{
    return buf_printf(arg, "%s=%.*s;", name, (int)value.len, value.len ? (const char *)value.data : "");
}

Test(conf, listing_shows_both_names)
{
    struct buf text = BUF_INIT;
    LOAD("--timeout", "1");
    cr_assert_eq(settings_each(now(), SLICE_LIT("*zset-max-*-value"), collect, &text), RES_OK);
    cr_assert_eq(settings_each(now(), SLICE_LIT("TIMEOUT"), collect, &text), RES_OK);
    cr_assert_eq(settings_each(now(), SLICE_LIT("nothing*"), collect, &text), RES_OK);
    cr_assert_eq(buf_append(&text, "", 1), RES_OK);
    cr_expect_str_eq((char *)text.data, "zset-max-listpack-value=64;zset-max-ziplist-value=64;timeout=1;");
    buf_fini(&text);
}

/* ---- CONFIG REWRITE ---- */

Test(conf, rewriting_without_a_file_is_refused)
{
    LOAD("--timeout", "1");
    cr_expect_eq(settings_rewrite(&msg), RES_NOT_FOUND);
}

Test(conf, rewriting_keeps_comments_order_and_spelling)
{
    int culprit;
    write_file("inc.conf", "tcp-keepalive 9\n");
    write_file("a.conf", "# head\nport   7000\n\nmaxmemory 0x\n");
    REFUSED("maxmemory", "a.conf");
    write_file("a.conf", "# head\nport   7000\n\n  # middle\ntimeout 1\nmaxmemory 100mb\ninclude inc.conf\n"
                         "zset-max-ziplist-value 5\n# end");
    cr_assert_eq(chmod("a.conf", 0640), 0);
    LOAD("a.conf", "--hz", "11");
    cr_assert_eq(settings_rewrite(&msg), RES_OK, "%s", msg.text);
    cr_expect_str_eq(read_file("a.conf"),
                     "# head\nport   7000\n\n  # middle\ntimeout 1\nmaxmemory 100mb\ninclude inc.conf\n"
                     "zset-max-ziplist-value 5\n# end\n\n# Written by CONFIG REWRITE:\nhz 11\n");
    cr_assert_eq(change("timeout", "5", "tcp-keepalive", "8", &culprit), RES_OK);
    cr_assert_eq(change("maxmemory", "3gb", "requirepass", "a b\"\n", &culprit), RES_OK);
    cr_assert_eq(settings_rewrite(&msg), RES_OK, "%s", msg.text);
    cr_expect_str_eq(read_file("a.conf"),
                     "# head\nport   7000\n\n  # middle\ntimeout 5\nmaxmemory 3gb\ninclude inc.conf\n"
                     "zset-max-ziplist-value 5\n# end\n\n# Written by CONFIG REWRITE:\nhz 11\n"
                     "tcp-keepalive 8\nrequirepass \"a b\\\"\\n\"\n");
    struct stat st;
    cr_assert_eq(stat("a.conf", &st), 0);
    cr_expect_eq(st.st_mode & 07777, 0640);
    LOAD("a.conf");
    cr_expect_eq(now()->tcp_keepalive, 8);
    cr_expect_eq(now()->maxmemory, (int64_t)3 << 30);
    cr_expect_str_eq(now()->requirepass, "a b\"\n");
}

Test(conf, rewriting_settings_that_add_up)
{
    int culprit;
    write_file("inc.conf", "save 7 8\n");
    write_file("a.conf", "save 1 2\nsave 3 4\nclient-output-buffer-limit normal 1 2 3\n");
    LOAD("a.conf");
    cr_assert_eq(settings_rewrite(&msg), RES_OK);
    cr_expect_str_eq(read_file("a.conf"), "save 1 2\nsave 3 4\nclient-output-buffer-limit normal 1 2 3\n");
    cr_assert_eq(change("save", "5 6", "client-output-buffer-limit", "pubsub 4 5 6", &culprit), RES_OK);
    cr_assert_eq(settings_rewrite(&msg), RES_OK);
    cr_expect_str_eq(read_file("a.conf"),
                     "save 5 6\nclient-output-buffer-limit normal 1 2 3 slave 268435456 67108864 60 pubsub 4 5 6\n");
    write_file("a.conf", "save 1 2\ninclude inc.conf\n");
    LOAD("a.conf");
    cr_expect_str_eq(now()->save, "1 2 7 8");
    cr_assert_eq(change("save", "9 9", NULL, NULL, &culprit), RES_OK);
    cr_assert_eq(settings_rewrite(&msg), RES_OK);
    LOAD("a.conf");
    cr_expect_str_eq(now()->save, "9 9");
    cr_assert_eq(change("save", "", NULL, NULL, &culprit), RES_OK);
    cr_assert_eq(settings_rewrite(&msg), RES_OK);
    LOAD("a.conf");
    cr_expect_str_eq(now()->save, "");
}

Test(conf, rewriting_replaces_duplicates_and_aliases)
{
    int culprit;
    write_file("a.conf",
               "hash-max-listpack-entries 20\nhash-max-ziplist-entries 21\ndata-dir /x\ntimeout 1\ntimeout 2\n");
    LOAD("a.conf");
    cr_expect_eq(now()->hash_max_listpack_entries, 21);
    cr_assert_eq(change("hash-max-ziplist-entries", "30", "timeout", "3", &culprit), RES_OK);
    cr_assert_eq(settings_rewrite(&msg), RES_OK);
    cr_expect_str_eq(read_file("a.conf"), "hash-max-listpack-entries 30\ndata-dir /x\ntimeout 3\n");
}

Test(conf, rewriting_fails_with_a_reason)
{
    write_file("a.conf", "timeout 1\n");
    LOAD("a.conf");
    cr_assert_eq(unlink("a.conf"), 0);
    cr_expect_eq(settings_rewrite(&msg), RES_IO);
    cr_expect_not_null(strstr(msg.text, "a.conf': No such file"), "%s", msg.text);
}
