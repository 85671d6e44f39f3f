/* The server's own log: one line an event, to stderr or a file, for people or as JSON. Any thread. */
#ifndef VARVE_BASE_LOG_H
#define VARVE_BASE_LOG_H

#include "base/result.h"

enum log_level { LOG_DEBUG, LOG_VERBOSE, LOG_NOTICE, LOG_WARNING, LOG_NOTHING };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/* path NULL or "": stderr. Can be called again at any time (reopening after rotation, CONFIG SET). */
enum result log_configure(const char *path, enum log_level level, enum log_format format, struct errmsg *msg)
    MUST_CHECK;
void log_set_level(enum log_level level);
enum log_level log_get_level(void);
void log_write(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define log_debug(...)                                                                                                 \
    do {                                                                                                               \
        if (log_get_level() <= LOG_DEBUG)                                                                              \
            log_write(LOG_DEBUG, __VA_ARGS__);                                                                         \
    } while (0)
#define log_verbose(...) log_write(LOG_VERBOSE, __VA_ARGS__)
#define log_notice(...) log_write(LOG_NOTICE, __VA_ARGS__)
#define log_warning(...) log_write(LOG_WARNING, __VA_ARGS__)

#endif
