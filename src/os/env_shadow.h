/* An environment that shows another one and never changes it: what is written, made, renamed or removed through it stays
 * in memory and is forgotten at the end. So the code that opens a data directory, which recovers, numbers and cleans up as
 * it goes, can be run on a directory that must stay as it is: the offline checker.
 *
 * Reads of files that nobody has opened for writing go straight to the inner environment. Locks are taken for real where
 * the file exists and may be locked, so that a directory in use is seen. Any thread, any function. */
#ifndef VARVE_OS_ENV_SHADOW_H
#define VARVE_OS_ENV_SHADOW_H

#include "os/env.h"

/* inner must outlive it. NULL: no memory. */
struct env *env_shadow_new(struct env *inner);
void env_shadow_free(struct env *env); /* all files are closed */
/* From now on nothing grows: RES_NO_SPACE, as on a full disk. For when what was to be opened is open, and its background
 * work is not wanted. */
void env_shadow_refuse(struct env *env);
uint64_t env_shadow_bytes(struct env *env); /* kept in memory */

#endif
