/* The categories commands are in. Some are declared (enum command_acl), the others follow from a command's flags. */
#ifndef VARVE_CMD_ACL_H
#define VARVE_CMD_ACL_H

#include "exec/command.h"

#define ACL_CATEGORY_COUNT 21 /* numbered in the order in which Redis lists them */
const char *acl_category_name(int category);
int acl_category_by_name(struct slice name); /* any case; -1: there is none */
/* A bit for each category. */
uint32_t command_acl_categories(const struct command *cmd);

#endif
