/* The command table and the declarations in it. What must hold:
 *   - names are found whatever their case, subcommands inside their container only; unknown names, unknown subcommands
 *     and wrong numbers of arguments give Redis' words;
 *   - every declaration is whole: documented, with an arity that fits its arguments, key arguments that name a
 *     specification there is, and specifications that find keys where the arguments have them;
 *   - keys of a request are found by every kind of specification. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "cmd/acl.h"
#include "cmd/declare.h"
#include "cmd/table.h"

TestSuite(cmd_table, .init = command_table_init);

static const char *resolve(const char *words, const char **name)
{
    static char error[512], text[1024];
    static struct slice argv[16];
    int argc = 0;
    snprintf(text, sizeof text, "%s", words);
    for (char *p = strtok(text, " "); p; p = strtok(NULL, " "))
        argv[argc++] = slice_str(p);
    error[0] = 0;
    const struct command_entry *e = command_resolve(argc, argv, error);
    *name = e ? e->full_name : NULL;
    return error;
}

Test(cmd_table, names_are_found_whatever_their_case)
{
    const char *name;
    (void)resolve("GeT k", &name);
    cr_assert_str_eq(name, "get");
    (void)resolve("OBJECT Encoding k", &name);
    cr_assert_str_eq(name, "object|encoding");
    cr_assert_null(command_lookup(SLICE_LIT("object|encoding")));
    cr_assert_str_eq(command_lookup_full(SLICE_LIT("OBJECT|ENCODING"))->full_name, "object|encoding");
    cr_assert_null(command_lookup(SLICE_LIT("")));
    cr_assert_null(command_lookup(SLICE_LIT("ge")));
    cr_assert_null(command_lookup(slice_of("get\0", 4)));
    cr_assert_eq(command_lookup(SLICE_LIT("command"))->command->subcommands != NULL, true);
}

Test(cmd_table, what_cannot_be_resolved_gets_redis_words)
{
    const char *name;
    cr_assert_str_eq(resolve("nope a b", &name), "ERR unknown command 'nope', with args beginning with: 'a' 'b' ");
    cr_assert_null(name);
    cr_assert_str_eq(resolve("get", &name), "ERR wrong number of arguments for 'get' command");
    cr_assert_str_eq(resolve("get a b", &name), "ERR wrong number of arguments for 'get' command");
    cr_assert_str_eq(resolve("object", &name), "ERR wrong number of arguments for 'object' command");
    cr_assert_str_eq(resolve("object nope x", &name), "ERR unknown subcommand 'nope'. Try OBJECT HELP.");
    cr_assert_str_eq(resolve("OBJECT encoding", &name), "ERR wrong number of arguments for 'object|encoding' command");
    char want[700], words[700], longest[301];
    memset(longest, 'x', 300);
    longest[300] = 0;
    snprintf(words, sizeof words, "%s %s", longest, longest);
    snprintf(want, sizeof want, "ERR unknown command '%.128s', with args beginning with: '%.128s' ", longest, longest);
    cr_assert_str_eq(resolve(words, &name), want);
}

/* ---- declarations ---- */

static int fewest(const struct command_arg *a)
{
    int n = 0;
    if (a->flags & ARG_OPTIONAL)
        return 0;
    if (a->type == ARG_ONEOF) {
        for (const struct command_arg *c = a->children; c->name; c++) {
            int k = fewest(c);
            n = c == a->children || k < n ? k : n;
        }
    } else if (a->type == ARG_BLOCK) {
        for (const struct command_arg *c = a->children; c->name; c++)
            n += fewest(c);
    } else if (a->type != ARG_PURE_TOKEN) {
        n = 1;
    }
    return n + (a->token != NULL);
}

static bool repeats(const struct command_arg *a)
{
    bool any = a->flags & (ARG_OPTIONAL | ARG_MULTIPLE);
    for (const struct command_arg *c = a->children; !any && a->type == ARG_BLOCK && c->name; c++)
        any = repeats(c);
    return any;
}

static void check_args(const struct command_entry *e, const struct command_arg *args, int specs)
{
    for (const struct command_arg *a = args; a->name; a++) {
        bool group = a->type == ARG_ONEOF || a->type == ARG_BLOCK;
        cr_assert_eq(group, a->children != NULL, "%s: %s", e->full_name, a->name);
        cr_assert(a->type != ARG_PURE_TOKEN || a->token, "%s: %s has no token", e->full_name, a->name);
        cr_assert(a->type != ARG_KEY || (a->key_spec >= 0 && a->key_spec < specs), "%s: %s", e->full_name, a->name);
        if (group)
            check_args(e, a->children, specs);
    }
}

Test(cmd_table, every_declaration_is_whole)
{
    cr_assert_gt(command_count(), 80);
    for (size_t i = 0; i < command_count(); i++) {
        const struct command_entry *e = command_by_id((uint16_t)i);
        const struct command *c = e->command;
        cr_assert_eq(e->id, i);
        cr_assert(c->summary && c->summary[0] >= 'A' && c->summary[0] <= 'Z', "%s has no summary", e->full_name);
        cr_assert_eq(c->summary[strlen(c->summary) - 1], '.', "%s: a summary is a sentence", e->full_name);
        cr_assert(c->group && c->since, "%s", e->full_name);
        cr_assert_neq(c->arity, 0);
        cr_assert_neq(command_acl_categories(c), 0);
        cr_assert(!(c->flags & CMD_WRITE && c->flags & CMD_READONLY), "%s", e->full_name);
        if (c->keys && c->keys[0].flags && !(c->keys[0].flags & KEY_NOT_KEY))
            cr_assert(c->flags & (CMD_WRITE | CMD_READONLY | CMD_LATCHED), "%s has keys and does nothing to them",
                      e->full_name);
        int specs = 0;
        while (c->keys && c->keys[specs].flags)
            specs++;
        if (c->args)
            check_args(e, c->args, specs);
        /* The shortest form of its arguments is a request, and the only one where nothing is optional. */
        int words = e->parent ? 2 : 1;
        bool open_ended = false;
        for (const struct command_arg *a = c->args; a && a->name; a++) {
            words += fewest(a);
            open_ended |= repeats(a) || a->type == ARG_ONEOF;
        }
        /* CLIENT KILL: each of its filters may be left out, but not all of them, which a declaration cannot say. */
        bool odd = strcmp(e->full_name, "client|kill") == 0 || (!c->args && c->arity < 0);
        if (!c->subcommands && !odd)
            cr_assert(command_arity_fits(e, words), "%s: arity %d, shortest form %d", e->full_name, c->arity, words);
        if (!open_ended && !c->subcommands && c->args)
            cr_assert_eq(c->arity, words, "%s: arity %d, has %d", e->full_name, c->arity, words);
    }
}

/* ---- keys of requests ---- */

struct found {
    char keys[256];
    uint16_t flags;
};

static void note(void *arg, struct slice key, uint16_t flags)
{
    struct found *f = arg;
    size_t len = strlen(f->keys);
    snprintf(f->keys + len, sizeof f->keys - len, "%s%.*s", len ? " " : "", (int)key.len, (const char *)key.data);
    f->flags = flags;
}

static const char *keys_by(const struct command *c, const char *words)
{
    static struct found f;
    static char text[256];
    struct slice argv[16];
    int argc = 0;
    f = (struct found){.flags = 0};
    snprintf(text, sizeof text, "%s", words);
    for (char *p = strtok(text, " "); p; p = strtok(NULL, " "))
        argv[argc++] = slice_str(p);
    struct command_entry e = {.command = c};
    return command_keys(&e, argc, argv, note, &f) ? f.keys : "none";
}

Test(cmd_table, keys_are_found_by_every_kind_of_specification)
{
    cr_assert_str_eq(keys_by(command_lookup(SLICE_LIT("get"))->command, "get a"), "a");
    cr_assert_str_eq(keys_by(command_lookup(SLICE_LIT("mset"))->command, "mset a 1 b 2"), "a b");
    cr_assert_str_eq(keys_by(command_lookup(SLICE_LIT("bitop"))->command, "bitop and a b c"), "a b c");
    cr_assert_str_eq(keys_by(command_lookup(SLICE_LIT("lcs"))->command, "lcs a b len"), "a b");
    const struct command *sort = command_lookup(SLICE_LIT("sort"))->command;
    cr_assert_str_eq(keys_by(sort, "sort a by store get x limit 1 store b"), "a");
    cr_assert_str_eq(keys_by(sort, "sort a store b get store limit 0 1 STORE c"), "a c");
    const struct command *migrate = command_lookup(SLICE_LIT("migrate"))->command;
    cr_assert_str_eq(keys_by(migrate, "migrate h p a 0 1 auth2 keys keys copy"), "a");
    cr_assert_str_eq(keys_by(migrate, "migrate h p a 0 1 copy keys b"), "none");
    const struct command by_count = {.keys = (const struct command_keyspec[]){{.flags = KEY_RO,
                                                                               .begin = KEYS_INDEX,
                                                                               .index = 2,
                                                                               .find = KEYS_KEYNUM,
                                                                               .keynum_index = 0,
                                                                               .keynum_first = 1,
                                                                               .keynum_step = 1},
                                                                              KEYS_END}};
    cr_assert_str_eq(keys_by(&by_count, "eval script 2 a b x"), "a b");
    cr_assert_str_eq(keys_by(&by_count, "eval script 3 a b"), "none");
    cr_assert_str_eq(keys_by(&by_count, "eval script 0 a b"), "none");
    cr_assert_str_eq(keys_by(&by_count, "eval script x a b"), "none");
    cr_assert_str_eq(keys_by(&by_count, "eval script 99999999999 a b"), "none");
    cr_assert_str_eq(keys_by(&by_count, "eval script"), "none");
    const struct command half = {.keys = (const struct command_keyspec[]){{.flags = KEY_RO,
                                                                           .begin = KEYS_KEYWORD,
                                                                           .keyword = "STREAMS",
                                                                           .startfrom = 1,
                                                                           .find = KEYS_RANGE,
                                                                           .last = -1,
                                                                           .step = 1,
                                                                           .limit = 2},
                                                                          KEYS_END}};
    cr_assert_str_eq(keys_by(&half, "xread count 3 streams a b 0 0"), "a b");
    cr_assert_str_eq(keys_by(&half, "xread count 3 streams"), "none");
    const struct command backwards = {.keys = (const struct command_keyspec[]){{.flags = KEY_RO,
                                                                                .begin = KEYS_KEYWORD,
                                                                                .keyword = "keys",
                                                                                .startfrom = -2,
                                                                                .find = KEYS_RANGE,
                                                                                .last = -1,
                                                                                .step = 1},
                                                                               KEYS_END}};
    cr_assert_str_eq(keys_by(&backwards, "migrate host port keys a b c"), "a b c");
    cr_assert_str_eq(keys_by(&backwards, "migrate host port"), "none");
}
