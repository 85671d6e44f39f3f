/* Short forms for the declarations of commands; exec/command.h has the structures they fill. */
#ifndef VARVE_CMD_DECLARE_H
#define VARVE_CMD_DECLARE_H

#include "exec/command.h"

/* Key specifications: the keys stand at argument n; from n to the end by step. */
#define KEY_AT(n, fl, ...)                                                                                             \
    {                                                                                                                  \
        .flags = fl, .begin = KEYS_INDEX, .index = n, .find = KEYS_RANGE, .step = 1, ##__VA_ARGS__                     \
    }
#define KEYS_FROM(n, by, fl, ...)                                                                                      \
    {                                                                                                                  \
        .flags = fl, .begin = KEYS_INDEX, .index = n, .find = KEYS_RANGE, .last = -1, .step = by, ##__VA_ARGS__        \
    }
#define KEYS_END                                                                                                       \
    {                                                                                                                  \
        .flags = 0                                                                                                     \
    }

/* Arguments. */
#define ARG(n, t, ...)                                                                                                 \
    {                                                                                                                  \
        .name = n, .type = t, ##__VA_ARGS__                                                                            \
    }
#define ARG_TOKEN(n, tok, ...)                                                                                         \
    {                                                                                                                  \
        .name = n, .type = ARG_PURE_TOKEN, .token = tok, ##__VA_ARGS__                                                 \
    }
#define ARGS_END                                                                                                       \
    {                                                                                                                  \
        .name = NULL                                                                                                   \
    }

/* History: the version and what came with it. */
#define SINCE(version, text)                                                                                           \
    {                                                                                                                  \
        .since = version, .change = text                                                                               \
    }
#define HISTORY_END                                                                                                    \
    {                                                                                                                  \
        .since = NULL                                                                                                  \
    }

/* Arguments of commands with one key and nothing else, and the specifications of their key. */
extern const struct command_arg args_key[];
extern const struct command_arg args_keys[];          /* key [key ...] */
extern const struct command_keyspec key_read[];       /* RO access */
extern const struct command_keyspec key_look[];       /* RO: not its value */
extern const struct command_keyspec key_change[];     /* RW access update */
extern const struct command_keyspec key_update[];     /* RW update */
extern const struct command_keyspec key_overwrite[];  /* OW update */
extern const struct command_keyspec key_insert_new[]; /* OW insert */

#endif
