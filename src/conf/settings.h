/* The settings as the rest of the server sees them: one immutable struct, made from the declarations in table.def, read
 * by any thread without a lock and replaced as a whole by CONFIG SET.
 *
 * The field of a setting is its name with '-' replaced by '_'. What a setting of 0 leaves to the server (AUTO in
 * table.def) is decided already: s->maxmemory is a number of bytes, s->io_threads a number of threads, s->dir an absolute
 * path.
 *
 * Reading: settings_current() inside an epoch section, or settings_hold() ... settings_release() for longer. Changing:
 * settings_change() (settings_change.h), which runs the hooks that the server registered here. */
#ifndef VARVE_CONF_SETTINGS_H
#define VARVE_CONF_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/result.h"
#include "engine/engine.h"

/* client-output-buffer-limit, by class. */
enum output_class { OUTPUT_NORMAL, OUTPUT_REPLICA, OUTPUT_PUBSUB, OUTPUT_CLASSES };
struct output_limit {
    int64_t hard, soft, seconds; /* bytes, bytes, seconds; 0: no limit */
};

#define SETTINGS_QUANTILES_MAX 16
struct quantiles {
    int count;
    double value[SETTINGS_QUANTILES_MAX]; /* percent, 0 to 100 */
};

/* Values of the enumerated settings that code compares with. `loglevel` is an enum log_level, `log_format` an enum
 * log_format (base/log.h), `appendfsync` an enum front_fsync, `recovery` an enum front_recovery (front/front.h). */
enum setting_engine { SETTING_ENGINE_LSM, SETTING_ENGINE_MEMORY, SETTING_ENGINE_BTREE, SETTING_ENGINE_FILE };
enum setting_protected { SETTING_NO, SETTING_LOCAL, SETTING_YES }; /* enable-debug-command */

struct settings {
#define SECTION(id, title)
#define BOOL(field, name, value, flags, doc) bool field;
#define INT(field, name, value, min, max, flags, doc) int64_t field;
#define MEMORY(field, name, value, min, max, flags, doc) int64_t field;
#define OCTAL(field, name, value, min, max, flags, doc) int64_t field;
#define ENUM(field, name, value, values, flags, doc) int field;
#define STRING(field, name, value, check, flags, doc) const char *field; /* never NULL */
#define LIMITS(field, name, flags, doc) struct output_limit field[OUTPUT_CLASSES];
#define QUANTILES(field, name, value, flags, doc) struct quantiles field;
#define ALIAS(alias, name)
#define FLAG_ALIAS(alias, name, doc)
#include "conf/table.def"
#include "conf/table_end.def"
};

/* What compression-per-level says; the last word holds for all levels below. RES_INVALID with a message (may be NULL). */
enum result compression_parse(const char *text, struct engine_compression levels[ENGINE_LEVELS], struct errmsg *msg)
    MUST_CHECK;

/* ---- start ---- */

enum settings_action { SETTINGS_START, SETTINGS_HELP, SETTINGS_VERSION, SETTINGS_CHECK };

/* Reads the command line and the files it names, and publishes what came out; before any thread starts. The message of
 * a failure names file and line, or the flag, and what is allowed. For HELP and VERSION nothing else is looked at. */
enum result settings_load(int argc, char **argv, enum settings_action *action, struct errmsg *msg) MUST_CHECK;
/* Publishes the defaults. For tests and tools. */
enum result settings_load_defaults(struct errmsg *msg) MUST_CHECK;
/* The configuration file, as an absolute path; "" when there is none. */
const char *settings_file(void);
void settings_print_help(FILE *out, const char *program);
/* Forgets everything, hooks included. No thread reads settings any more. */
void settings_unload(void);

/* Was it said, in a file or as a flag, that this setting has the value it has? Main thread, before changes. */
bool settings_given(const char *name);

/* ---- reading, any thread ---- */

/* Valid until the epoch section ends. NULL before settings_load. */
const struct settings *settings_current(void);
/* A counted reference to the current snapshot, for what outlives an epoch section. */
const struct settings *settings_hold(void);
void settings_release(const struct settings *s);

/* ---- hooks of the server, registered before the first change ---- */

/* Makes a change of this setting take effect, before it is published. May wait. When it fails, *msg says why, the hooks
 * that ran already are called the other way round (old and new exchanged), and nothing is changed. */
typedef enum result settings_apply_fn(void *arg, const struct settings *old, const struct settings *now,
                                      struct errmsg *msg);
/* Once for each change of `name`, a setting that may change at run time. */
void settings_on_change(const char *name, settings_apply_fn *apply, void *arg);
/* Called with each new snapshot once it is published; it stays valid until the next call has returned and everybody has
 * left the epoch sections of then. Called at once for the present one. */
typedef void settings_publish_fn(void *arg, const struct settings *now);
void settings_on_publish(settings_publish_fn *published, void *arg);

#endif
