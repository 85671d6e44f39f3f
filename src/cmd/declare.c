/* Arguments and key specifications that many commands share. */
#include "cmd/declare.h"

const struct command_arg args_key[] = {ARG("key", ARG_KEY), ARGS_END};
const struct command_arg args_keys[] = {ARG("key", ARG_KEY, .flags = ARG_MULTIPLE), ARGS_END};

const struct command_keyspec key_read[] = {KEY_AT(1, KEY_RO | KEY_ACCESS), KEYS_END};
const struct command_keyspec key_look[] = {KEY_AT(1, KEY_RO), KEYS_END};
const struct command_keyspec key_change[] = {KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_UPDATE), KEYS_END};
const struct command_keyspec key_update[] = {KEY_AT(1, KEY_RW | KEY_UPDATE), KEYS_END};
const struct command_keyspec key_overwrite[] = {KEY_AT(1, KEY_OW | KEY_UPDATE), KEYS_END};
const struct command_keyspec key_insert_new[] = {KEY_AT(1, KEY_OW | KEY_INSERT), KEYS_END};
