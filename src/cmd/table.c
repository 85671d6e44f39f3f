/* The command table. Declarations are constants beside their handlers; this file numbers them (so that statistics are
 * arrays), finds them by name and by request, and finds a request's keys.
 *
 * Names lie in one open hash table, subcommands too under "container|sub"; both are short and the table is a quarter
 * full, so a lookup on the hot path is one hash over a few bytes and one comparison. */
#include "cmd/table.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define COMMAND(name) extern const struct command cmd_##name;
#include "cmd/commands.def"
#undef COMMAND

static const struct command *const declared[] = {
#define COMMAND(name) &cmd_##name,
#include "cmd/commands.def"
#undef COMMAND
    NULL,
};

#define NAME_MAX_LEN sizeof(((struct command_entry *)0)->full_name)
#define BUCKETS 2048 /* a power of two, at least four times the entries */

static struct {
    struct command_entry *entries;
    size_t count, names;
    struct command_entry *buckets[BUCKETS];
} table;

static inline uint8_t lower(uint8_t c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; }

static uint32_t name_hash(uint32_t h, struct slice name) /* FNV-1a over lower case */
{
    for (size_t i = 0; i < name.len; i++)
        h = (h ^ lower(name.data[i])) * 16777619u;
    return h;
}
#define NAME_HASH_START 2166136261u

static size_t bucket_of(uint32_t hash) { return (hash ^ hash >> 15) & (BUCKETS - 1); }

static struct command_entry *add(const struct command *command, const struct command_entry *parent)
{
    struct command_entry *e = &table.entries[table.count];
    e->command = command;
    e->parent = parent;
    e->id = (uint16_t)table.count++;
    int len = snprintf(e->full_name, sizeof e->full_name, "%s%s%s", parent ? parent->command->name : "",
                       parent ? "|" : "", command->name);
    assert(len > 0 && (size_t)len < sizeof e->full_name);
    assert(command->run || command->subcommands);
    size_t b = bucket_of(name_hash(NAME_HASH_START, slice_str(e->full_name)));
    while (table.buckets[b]) {
        assert(strcmp(table.buckets[b]->full_name, e->full_name) != 0);
        b = (b + 1) % BUCKETS;
    }
    table.buckets[b] = e;
    return e;
}

void command_table_init(void)
{
    if (table.entries)
        return;
    size_t n = 0;
    for (const struct command *const *c = declared; *c; c++) {
        n++;
        for (const struct command *const *s = (*c)->subcommands; s && *s; s++)
            n++;
    }
    assert(n * 4 <= BUCKETS);
    table.entries = calloc(n + 1, sizeof *table.entries);
    assert(table.entries);
    for (const struct command *const *c = declared; *c; c++) {
        const struct command_entry *e = add(*c, NULL);
        table.names++;
        for (const struct command *const *s = (*c)->subcommands; s && *s; s++)
            add(*s, e);
    }
}

size_t command_count(void) { return table.count; }
size_t command_count_names(void) { return table.names; }
const struct command_entry *command_by_id(uint16_t id)
{
    assert(id < table.count);
    return &table.entries[id];
}

static bool same_name(const char *full, struct slice a, struct slice b)
{
    const uint8_t *p = (const uint8_t *)full;
    for (size_t i = 0; i < a.len; i++, p++)
        if (*p != lower(a.data[i]) || !*p)
            return false;
    for (size_t i = 0; i < b.len; i++, p++)
        if (*p != lower(b.data[i]) || !*p)
            return false;
    return *p == 0;
}

/* The entry whose full name is a followed by b. */
static const struct command_entry *find(struct slice a, struct slice b)
{
    if (a.len + b.len >= NAME_MAX_LEN)
        return NULL;
    uint32_t h = name_hash(name_hash(NAME_HASH_START, a), b);
    for (size_t at = bucket_of(h); table.buckets[at]; at = (at + 1) % BUCKETS)
        if (same_name(table.buckets[at]->full_name, a, b))
            return table.buckets[at];
    return NULL;
}

const struct command_entry *command_lookup(struct slice name)
{
    const struct command_entry *e = find(name, slice_of(NULL, 0));
    return e && !e->parent ? e : NULL;
}

const struct command_entry *command_lookup_sub(const struct command_entry *container, struct slice name)
{
    char prefix[NAME_MAX_LEN + 1];
    int len = snprintf(prefix, sizeof prefix, "%s|", container->full_name);
    return find(slice_of(prefix, (size_t)len), name);
}

const struct command_entry *command_lookup_full(struct slice name) { return find(name, slice_of(NULL, 0)); }

bool command_arity_fits(const struct command_entry *entry, int argc)
{
    int arity = entry->command->arity;
    return arity >= 0 ? argc == arity : argc >= -arity;
}

/* Redis prints client bytes as C strings of at most 128 characters. */
static int printable(struct slice s, size_t max)
{
    size_t n = s.len < max ? s.len : max;
    const void *zero = n ? memchr(s.data, 0, n) : NULL;
    return (int)(zero ? (size_t)((const uint8_t *)zero - s.data) : n);
}

static void unknown_command(int argc, const struct slice *argv, char error[512])
{
    char args[160];
    size_t len = 0;
    args[0] = 0;
    for (int i = 1; i < argc && len < 128; i++) {
        int n = printable(argv[i], 128 - len);
        len += (size_t)snprintf(args + len, sizeof args - len, "'%.*s' ", n, (const char *)argv[i].data);
    }
    snprintf(error, 512, "ERR unknown command '%.*s', with args beginning with: %s", printable(argv[0], 128),
             (const char *)argv[0].data, args);
}

static void unknown_subcommand(const struct command_entry *container, struct slice name, char error[512])
{
    char upper[NAME_MAX_LEN];
    size_t i = 0;
    for (const char *p = container->full_name; *p; p++)
        upper[i++] = (char)(*p >= 'a' && *p <= 'z' ? *p - 32 : *p);
    upper[i] = 0;
    snprintf(error, 512, "ERR unknown subcommand '%.*s'. Try %s HELP.", printable(name, 128), (const char *)name.data,
             upper);
}

const struct command_entry *command_resolve(int argc, const struct slice *argv, char error[512])
{
    assert(argc > 0);
    const struct command_entry *e = command_lookup(argv[0]);
    if (unlikely(!e)) {
        unknown_command(argc, argv, error);
        return NULL;
    }
    if (e->command->subcommands && argc > 1) {
        const struct command_entry *sub = command_lookup_sub(e, argv[1]);
        if (!sub) {
            unknown_subcommand(e, argv[1], error);
            return NULL;
        }
        e = sub;
    }
    if (unlikely(!command_arity_fits(e, argc) || !e->command->run)) {
        snprintf(error, 512, "ERR wrong number of arguments for '%s' command", e->full_name);
        return NULL;
    }
    return e;
}

/* ---- keys of a request ---- */

/* The position of the first key by its specification, 0: this specification does not apply, -1: it does not fit. */
static int first_key(const struct command_keyspec *k, int argc, const struct slice *argv)
{
    if (k->begin == KEYS_INDEX)
        return k->index < argc ? k->index : -1;
    if (k->begin != KEYS_KEYWORD)
        return -1;
    char word[NAME_MAX_LEN];
    size_t len = strlen(k->keyword);
    assert(len < sizeof word);
    for (size_t i = 0; i <= len; i++)
        word[i] = (char)lower((uint8_t)k->keyword[i]);
    int step = k->startfrom > 0 ? 1 : -1;
    int at = k->startfrom > 0 ? k->startfrom : argc + k->startfrom;
    int end = k->startfrom > 0 ? argc - 1 : 1; /* forwards, the last argument cannot have a key behind it */
    for (; at > 0 && at < argc && at != end; at += step)
        if (slice_eq_nocase(argv[at], word))
            return at + 1;
    return 0;
}

/* The positions of one specification's keys: from first to *last by *step. False when they do not fit. */
static bool key_range(const struct command_keyspec *k, int argc, const struct slice *argv, int *first, int *last,
                      int *step)
{
    if (k->find == KEYS_RANGE) {
        *step = k->step;
        if (k->last >= 0)
            *last = *first + k->last;
        else if (k->limit == 0)
            *last = argc + k->last;
        else
            *last = *first + (argc - *first) / k->limit + k->last;
    } else if (k->find == KEYS_KEYNUM) {
        int at = *first + k->keynum_index;
        if (at >= argc || argv[at].len == 0 || argv[at].len > 9)
            return false;
        long n = 0;
        for (size_t i = 0; i < argv[at].len; i++) {
            if (argv[at].data[i] < '0' || argv[at].data[i] > '9')
                return false;
            n = n * 10 + (argv[at].data[i] - '0');
        }
        *step = k->keynum_step;
        *first += k->keynum_first;
        if (n > argc)
            return false;
        *last = *first + ((int)n - 1) * *step;
    } else {
        return false;
    }
    return *step >= 1 && *last < argc && *last >= *first;
}

bool command_keys(const struct command_entry *entry, int argc, const struct slice *argv, command_key_fn *each,
                  void *arg)
{
    bool found = false;
    if (entry->command->find_keys)
        return entry->command->find_keys(argc, argv, each, arg);
    for (const struct command_keyspec *k = entry->command->keys; k && k->flags; k++) {
        int last, step, first = first_key(k, argc, argv);
        if (first == 0)
            continue;
        if (first < 0 || !key_range(k, argc, argv, &first, &last, &step)) {
            /* A specification that says itself that it may miss keys, misses them; anything else is a wrong request. */
            if (k->flags & KEY_INCOMPLETE)
                continue;
            return false;
        }
        uint16_t flags = k->flags;
        if (flags & KEY_VARIABLE && entry->command->key_flags)
            flags = entry->command->key_flags(argc, argv);
        for (int i = first; i <= last; i += step) {
            each(arg, argv[i], flags);
            found = true;
        }
    }
    return found;
}
