/* Reading settings from text, apart from the command line. */
#ifndef VARVE_CONF_LOAD_H
#define VARVE_CONF_LOAD_H

#include "conf/snapshot.h"

enum load_flags {
    LOAD_NO_INCLUDE = 1, /* an include line is an error */
};
/* Puts the settings of a file's text into s (s->said, s->given). `name` stands in messages. */
enum result load_text(struct snapshot *s, const char *name, struct slice text, int flags, struct errmsg *msg)
    MUST_CHECK;

#endif
