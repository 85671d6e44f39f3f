/* An engine that may write no more: the first failure is kept, said in the log and told to the front, once. */
#ifndef VARVE_ENGINE_FAILURE_H
#define VARVE_ENGINE_FAILURE_H

#include "engine/engine.h"
#include "os/thread.h"

struct engine_failure {
    struct os_mutex lock; /* a leaf */
    enum result why;      /* lock; RES_OK: there was none */
};
void engine_failure_init(struct engine_failure *f);
void engine_failure_fini(struct engine_failure *f);
/* what: "writing a data file"; dir: where. Any thread, without locks that on_failure may want. */
void engine_fail(struct engine_failure *f, const struct engine_options *o, enum result why, const char *what,
                 const char *dir);
enum result engine_failed(struct engine_failure *f);

#endif
