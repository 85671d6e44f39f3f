/* The declarations of table.def as data: what a setting is called, what it may hold, how text becomes its value and its
 * value text. All of it is constant; any thread. */
#ifndef VARVE_CONF_SETTING_H
#define VARVE_CONF_SETTING_H

#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"
#include "conf/settings.h"

/* SECTION_FIRST_x is the id of the first setting of chapter x. */
enum setting_id {
#define SECTION(id, title) SECTION_FIRST_##id, SECTION_BACK_##id = SECTION_FIRST_##id - 1,
#define BOOL(field, ...) SETTING_##field,
#define INT(field, ...) SETTING_##field,
#define MEMORY(field, ...) SETTING_##field,
#define OCTAL(field, ...) SETTING_##field,
#define ENUM(field, ...) SETTING_##field,
#define STRING(field, ...) SETTING_##field,
#define LIMITS(field, ...) SETTING_##field,
#define QUANTILES(field, ...) SETTING_##field,
#define ALIAS(alias, name)
#define FLAG_ALIAS(alias, name, doc)
#include "conf/table.def"
#include "conf/table_end.def"
    SETTING_COUNT
};

enum setting_type {
    SETTING_BOOL,
    SETTING_INT,
    SETTING_MEMORY,
    SETTING_OCTAL,
    SETTING_ENUM,
    SETTING_STRING,
    SETTING_LIMITS,
    SETTING_QUANTILES_LIST,
};

enum setting_flags {
    SETTING_RUN = 1 << 0,       /* CONFIG SET may change it */
    SETTING_AUTO = 1 << 1,      /* 0: the server chooses */
    SETTING_NO_EFFECT = 1 << 2, /* accepted, returned, changes nothing */
    SETTING_PENDING = 1 << 3,   /* only the default is accepted */
    SETTING_WORDS = 1 << 4,     /* its value is several words */
    SETTING_ADDS = 1 << 5,      /* further lines add */
    SETTING_SECRET = 1 << 6,    /* not for logs */
    SETTING_PERCENT = 1 << 7,   /* memory: may be a percentage, which is kept as a negative number */
};

/* Looks at a string before it is taken; may put another form of it (in `arena`) into *value. */
typedef enum result setting_check_fn(struct arena *arena, const char **value, struct errmsg *msg);

struct setting {
    enum setting_id id;
    enum setting_type type;
    unsigned flags;
    const char *name;
    size_t offset;             /* of its field in struct settings */
    int64_t number;            /* default of bool, int, memory, octal, enum */
    int64_t min, max;          /* int, memory, octal */
    const char *text;          /* default of strings and lists, as written */
    const char *const *values; /* enum: NULL-terminated; a leading '!' marks one that is not built yet */
    setting_check_fn *check;
    const char *doc;
};
/* A name understood in files and flags only. */
struct setting_flag_alias {
    const char *alias;
    const char *name; /* NULL: refused, for the reason in doc */
    const char *doc;
};

const struct setting *setting_by_id(enum setting_id id);
/* By name or alias, any case; NULL. */
const struct setting *setting_find(struct slice name);
/* The name closest to a misspelt one, or NULL when none is close. */
const char *setting_nearest(struct slice name);
/* Redis' second name for it, or NULL. */
const char *setting_alias(const struct setting *d);
/* The chapter that begins with this setting, or NULL. */
const char *setting_section(enum setting_id id);
const struct setting_flag_alias *setting_flag_aliases(size_t *count);
/* Redis has such a setting, this server does not. */
bool setting_is_foreign(struct slice name);

/* Writes all defaults into s. */
void setting_defaults(struct settings *s);
/* Takes the words of a value. add: to what is there (ADDS). Strings live in arena. The message is Redis' ("argument must
 * be between ..."). RES_INVALID, RES_NO_MEMORY. */
enum result setting_parse(const struct setting *d, struct settings *s, struct arena *arena, int argc,
                          const struct slice *argv, bool add, struct errmsg *msg) MUST_CHECK;
/* Appends the value as CONFIG GET shows it. */
enum result setting_format(const struct setting *d, const struct settings *s, struct buf *out) MUST_CHECK;
/* Appends the value as a line of a file gives it: quoted, sizes with units. */
enum result setting_write(const struct setting *d, const struct settings *s, struct buf *out) MUST_CHECK;
bool setting_equal(const struct setting *d, const struct settings *a, const struct settings *b);
/* What may be given, as a phrase: "yes or no", "an integer from 0 to 65535". */
enum result setting_describe(const struct setting *d, struct buf *out) MUST_CHECK;

/* Checks of table.def: check.c. */
setting_check_fn check_address, check_hosts, check_bind, check_password, check_dir, check_checkpoint_dir, check_save,
    check_file_name, check_oom_values, check_shutdown, check_events, check_compression, check_not_built;

#endif
