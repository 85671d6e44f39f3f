/* The log: one line an event, nothing a client says can forge or break a line, and the file can be changed while
 * others write. */
#include <criterion/criterion.h>
#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

static char path[64];

static void open_log(enum log_level level, enum log_format format)
{
    struct errmsg msg;
    strcpy(path, "/tmp/varve-test-log-XXXXXX");
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(log_configure(path, level, format, &msg), RES_OK, "%s", msg.text);
}

/* The whole log; the file is removed and the log goes to stderr again. */
static char *close_log(void)
{
    static char text[1 << 20];
    FILE *f = fopen(path, "r");
    cr_assert_not_null(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = 0;
    fclose(f);
    unlink(path);
    cr_assert_eq(log_configure(NULL, LOG_NOTICE, LOG_FORMAT_TEXT, NULL), RES_OK);
    return text;
}

Test(log, a_line_says_when_who_and_how_grave)
{
    open_log(LOG_NOTICE, LOG_FORMAT_TEXT);
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0600);
    log_notice("started on port %d", 6379);
    char *text = close_log();
    int year, month, day, hour, minute, second, ms, pid, n = 0;
    char zone[8], rest[64];
    n = sscanf(text, "%d-%d-%dT%d:%d:%d.%3d%6s %d notice: %63[^\n]", &year, &month, &day, &hour, &minute, &second, &ms,
               zone, &pid, rest);
    cr_assert_eq(n, 10, "%s", text);
    cr_assert_eq(pid, getpid());
    cr_assert_str_eq(rest, "started on port 6379");
    cr_assert(zone[0] == '+' || zone[0] == '-');
}

Test(log, levels_below_the_configured_are_dropped)
{
    open_log(LOG_WARNING, LOG_FORMAT_TEXT);
    log_debug("one");
    log_verbose("two");
    log_notice("three");
    log_warning("four");
    log_set_level(LOG_DEBUG);
    log_debug("five");
    log_set_level(LOG_NOTHING);
    log_warning("six");
    cr_assert_eq(log_get_level(), LOG_NOTHING);
    char *text = close_log();
    cr_assert_null(strstr(text, "three"));
    cr_assert_not_null(strstr(text, "four"));
    cr_assert_not_null(strstr(text, "five"));
    cr_assert_null(strstr(text, "six"));
}

static int lines(const char *text)
{
    int n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

Test(log, what_a_client_sends_stays_in_its_line)
{
    open_log(LOG_NOTICE, LOG_FORMAT_TEXT);
    log_notice("client said '%s'", "x\r\n2026-01-01T00:00:00 1 warning: forged\x1b[31m\x7f");
    char *text = close_log();
    cr_assert_eq(lines(text), 1);
    cr_assert_not_null(strstr(text, "x\\x0d\\x0a2026"));
    cr_assert_not_null(strstr(text, "\\x1b[31m\\x7f'"));
}

Test(log, json_lines_stay_json)
{
    open_log(LOG_NOTICE, LOG_FORMAT_JSON);
    log_notice("quote \" slash \\ tab \t bytes \xff\xc3 ä \xed\xa0\x80 €\xf0\x9f\x8d\x8b");
    char *text = close_log();
    cr_assert_eq(lines(text), 1);
    cr_assert_not_null(strstr(text, "\"level\":\"notice\""));
    cr_assert_not_null(strstr(text, "\"message\":\"quote \\\" slash \\\\ tab \\u0009 bytes \\ufffd\\ufffd ä "
                                    "\\ufffd\\ufffd\\ufffd €\xf0\x9f\x8d\x8b\"}\n"),
                       "%s", text);
}

Test(log, a_long_message_is_cut_not_split)
{
    char big[5000];
    memset(big, '\n', sizeof big - 1);
    big[sizeof big - 1] = 0;
    open_log(LOG_NOTICE, LOG_FORMAT_JSON);
    errno = 77;
    log_notice("%s", big);
    cr_assert_eq(errno, 77, "logging leaves errno alone");
    cr_assert_eq(lines(close_log()), 1);
}

Test(log, a_file_that_cannot_be_opened_is_refused_with_a_sentence)
{
    struct errmsg msg;
    cr_assert_neq(log_configure("/nowhere/at/all", LOG_NOTICE, LOG_FORMAT_TEXT, &msg), RES_OK);
    cr_assert_str_eq(msg.text, "cannot open the log file /nowhere/at/all: No such file or directory");
}

static void *writer(void *arg)
{
    for (int i = 0; i < 500; i++)
        log_notice("thread %d line %d", *(int *)arg, i);
    return NULL;
}

Test(log, lines_of_several_threads_do_not_mix_while_the_file_is_reopened)
{
    static int who[4] = {0, 1, 2, 3};
    pthread_t t[4];
    open_log(LOG_NOTICE, LOG_FORMAT_TEXT);
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, writer, &who[i]);
    for (int i = 0; i < 100; i++)
        cr_assert_eq(log_configure(path, LOG_NOTICE, LOG_FORMAT_TEXT, NULL), RES_OK);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    char *text = close_log();
    cr_assert_eq(lines(text), 2000);
    for (char *line = text; *line; line = strchr(line, '\n') + 1)
        cr_assert(isdigit((unsigned char)line[0]) && strstr(line, " notice: thread ") < strchr(line, '\n'));
}
