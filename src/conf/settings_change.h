/* Changing and listing settings while the server runs: what CONFIG is made of. Any thread that may wait: one change at a
 * time, a mutex inside, and hooks may take their time. */
#ifndef VARVE_CONF_SETTINGS_CHANGE_H
#define VARVE_CONF_SETTINGS_CHANGE_H

#include "base/buf.h"
#include "base/slice.h"
#include "conf/settings.h"

/* Names and values by turns, all or nothing. On failure *culprit is the index of the pair at fault, or -1 when the
 * fault is nobody's. RES_NOT_FOUND: no such setting; RES_EXISTS: named twice; RES_READ_ONLY: it does not change at run
 * time (but may be given the value it has); RES_INVALID and others: *msg says why. */
enum result settings_change(int pairs, const struct slice *names_and_values, int *culprit, struct errmsg *msg)
    MUST_CHECK;

/* A setting whose value is not for logs. */
bool settings_is_secret(struct slice name);

/* Calls each for every setting and second name that the pattern matches, in a fixed order, with its present value. */
typedef enum result settings_each_fn(void *arg, const char *name, struct slice value);
enum result settings_each(const struct settings *s, struct slice pattern, settings_each_fn *each, void *arg) MUST_CHECK;

/* Writes the settings that differ from the defaults into the configuration file: comments, order and includes stay. The
 * file is replaced as a whole. RES_NOT_FOUND: the server runs without a file. */
enum result settings_rewrite(struct errmsg *msg) MUST_CHECK;
/* The new text of a file: exposed for tests. */
enum result settings_rewrite_text(struct slice old, struct buf *out) MUST_CHECK;

#endif
