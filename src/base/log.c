/* The log writes each line with one write(2), so that lines of several threads (and of a rotated file's two writers)
 * never mix. What is logged may come from a client: control bytes are escaped, so that nobody can forge a line. */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE_MAX 1024
/* Escaping makes at most 6 bytes ("\u001b", "\ufffd") of one. */
#define LINE_MAX_BYTES (MESSAGE_MAX * 6 + 256)

static const char *const level_names[] = {"debug", "verbose", "notice", "warning", "nothing"};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards fd against being closed under a writer */
static int log_fd = STDERR_FILENO;
static int log_format_now = LOG_FORMAT_TEXT;
static int log_level_now = LOG_NOTICE;

void log_set_level(enum log_level level) { __atomic_store_n(&log_level_now, (int)level, __ATOMIC_RELAXED); }

enum log_level log_get_level(void) { return (enum log_level)__atomic_load_n(&log_level_now, __ATOMIC_RELAXED); }

enum result log_configure(const char *path, enum log_level level, enum log_format format, struct errmsg *msg)
{
    int fd = STDERR_FILENO;

    if (path && *path) {
        fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0)
            return errmsg_set(msg, result_from_errno(errno), "cannot open the log file %s: %s", path, strerror(errno));
    }
    pthread_mutex_lock(&lock);
    int old = log_fd;
    log_fd = fd;
    log_format_now = (int)format;
    pthread_mutex_unlock(&lock);
    if (old != STDERR_FILENO)
        close(old);
    log_set_level(level);
    return RES_OK;
}

/* Local time with its offset, so that the line says when without knowing where: 2026-11-21T09:14:03.123+01:00. */
static size_t put_time(char *out, size_t room)
{
    struct timespec now;
    struct tm tm;

    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &tm);
    size_t n = strftime(out, room, "%Y-%m-%dT%H:%M:%S", &tm);
    long off = tm.tm_gmtoff < 0 ? -tm.tm_gmtoff : tm.tm_gmtoff;
    n += (size_t)snprintf(out + n, room - n, ".%03ld%c%02ld:%02ld", now.tv_nsec / 1000000, tm.tm_gmtoff < 0 ? '-' : '+',
                          off / 3600, off / 60 % 60);
    return n;
}

static size_t escape_text(char *out, const char *in)
{
    size_t n = 0;
    for (; *in; in++) {
        uint8_t c = (uint8_t)*in;
        if (c < 0x20 || c == 0x7f)
            n += (size_t)sprintf(out + n, "\\x%02x", c);
        else
            out[n++] = (char)c;
    }
    return n;
}

/* Length of the valid UTF-8 character at p, or 0. The terminator ends a cut one. */
static size_t utf8_len(const uint8_t *p)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = p[0] < 0x80 ? 1 : p[0] >> 5 == 6 ? 2 : p[0] >> 4 == 14 ? 3 : p[0] >> 3 == 30 ? 4 : 0;
    uint32_t c = n > 1 ? p[0] & (0x7fu >> n) : p[0];

    for (size_t i = 1; i < n; i++) {
        if (p[i] >> 6 != 2)
            return 0;
        c = c << 6 | (p[i] & 0x3f);
    }
    return n && c >= least[n] && c <= 0x10ffff && !(c >= 0xd800 && c < 0xe000) ? n : 0;
}

static size_t escape_json(char *out, const char *in)
{
    size_t n = 0;
    const uint8_t *p = (const uint8_t *)in;

    while (*p) {
        size_t len = utf8_len(p);
        if (len == 0) {
            n += (size_t)sprintf(out + n, "\\ufffd");
            p++;
            continue;
        }
        if (*p < 0x20 || *p == 0x7f) {
            n += (size_t)sprintf(out + n, "\\u%04x", *p);
        } else {
            if (*p == '"' || *p == '\\')
                out[n++] = '\\';
            memcpy(out + n, p, len);
            n += len;
        }
        p += len;
    }
    return n;
}

void log_write(enum log_level level, const char *fmt, ...)
{
    char message[MESSAGE_MAX], line[LINE_MAX_BYTES];
    size_t n;
    va_list args;

    if (level < log_get_level() || level >= LOG_NOTHING)
        return;
    int saved = errno;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);

    pthread_mutex_lock(&lock);
    if (log_format_now == LOG_FORMAT_JSON) {
        n = (size_t)sprintf(line, "{\"time\":\"");
        n += put_time(line + n, sizeof line - n);
        n += (size_t)sprintf(line + n, "\",\"level\":\"%s\",\"pid\":%ld,\"message\":\"", level_names[level],
                             (long)getpid());
        n += escape_json(line + n, message);
        n += (size_t)sprintf(line + n, "\"}\n");
    } else {
        n = put_time(line, sizeof line);
        n += (size_t)sprintf(line + n, " %ld %s: ", (long)getpid(), level_names[level]);
        n += escape_text(line + n, message);
        line[n++] = '\n';
    }
    ssize_t written = write(log_fd, line, n);
    (void)written; /* nowhere to complain */
    pthread_mutex_unlock(&lock);
    errno = saved;
}
