/* Lines of a configuration file into words, and words back into a line, by Redis' rules of quoting:
 *
 *   word                 up to the next space
 *   "text"               \n \r \t \b \a \xHH \" \\ ; any other escaped character stands for itself
 *   'text'               \' alone is an escape
 *
 * What follows a closing quote must be a space or the end. A quote in the middle of a word begins quoted text too. */
#ifndef VARVE_CONF_SPLIT_H
#define VARVE_CONF_SPLIT_H

#include "base/arena.h"
#include "base/buf.h"

#define SPLIT_WORDS_MAX 256

/* The words live in arena. RES_INVALID: unbalanced quotes; RES_TOO_MANY: more than SPLIT_WORDS_MAX words; RES_NO_MEMORY. */
enum result split_line(struct slice line, struct arena *arena, struct slice words[SPLIT_WORDS_MAX], int *count)
    MUST_CHECK;
/* Appends a word so that split_line gives it back: quoted when it must be. */
enum result split_quote(struct slice word, struct buf *out) MUST_CHECK;

#endif
