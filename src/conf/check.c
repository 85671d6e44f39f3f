/* Checks of string settings that have a form. Each may put the settled form of the value in the arena. */
#include <inttypes.h>
#include <stdio.h>

#include "base/num.h"
#include "conf/setting.h"

/* The next word of a text whose words are parted by single spaces, as value.c leaves them. */
static bool next_word(const char **at, struct slice *word)
{
    if (**at == 0)
        return false;
    size_t len = strcspn(*at, " ");
    *word = slice_of(*at, len);
    *at += len + ((*at)[len] == ' ');
    return true;
}

#define BIND_MAX 16
enum result check_bind(struct arena *arena, const char **value, struct errmsg *msg)
{
    (void)arena;
    struct slice word;
    int count = 0;
    for (const char *at = *value; next_word(&at, &word);)
        if (++count > BIND_MAX)
            return errmsg_set(msg, RES_INVALID, "Too many bind addresses specified.");
    return RES_OK;
}

/* "host:port", "[::1]:port" or ":port"; "" for none. */
enum result check_address(struct arena *arena, const char **value, struct errmsg *msg)
{
    (void)arena;
    if (**value == 0)
        return RES_OK;
    const char *colon = strrchr(*value, ':');
    int64_t port;
    if (colon == NULL || num_parse_i64(slice_str(colon + 1), &port) != RES_OK || port < 1 || port > 65535)
        return errmsg_set(msg, RES_INVALID, "argument must be ADDRESS:PORT, :PORT, or empty");
    bool bracketed = **value == '[' && colon[-1] == ']';
    if (colon - *value > 255 || (memchr(*value, ':', (size_t)(colon - *value)) != NULL && !bracketed))
        return errmsg_set(msg, RES_INVALID, "an IPv6 address stands in brackets: [::1]:8080");
    return RES_OK;
}

#define HOSTS_MAX 1000
enum result check_hosts(struct arena *arena, const char **value, struct errmsg *msg)
{
    (void)arena;
    if (strlen(*value) > HOSTS_MAX)
        return errmsg_set(msg, RES_INVALID, "all names together are longer than %d bytes", HOSTS_MAX);
    return RES_OK;
}

#define PASSWORD_MAX 512
enum result check_password(struct arena *arena, const char **value, struct errmsg *msg)
{
    (void)arena;
    if (strlen(*value) > PASSWORD_MAX)
        return errmsg_set(msg, RES_INVALID, "Password is longer than CONFIG_AUTHPASS_MAX_LEN");
    return RES_OK;
}

enum result check_dir(struct arena *arena, const char **value, struct errmsg *msg)
{
    (void)arena;
    if (**value == 0)
        return errmsg_set(msg, RES_INVALID, "the data directory needs a name");
    return RES_OK;
}

enum result check_checkpoint_dir(struct arena *arena, const char **value, struct errmsg *msg)
{
    (void)arena;
    size_t len = strlen(*value);
    if (len == 0 || (*value)[len - 1] == '/')
        return errmsg_set(msg, RES_INVALID, "a directory's name is needed, without a / at its end");
    return RES_OK;
}

/* Pairs of seconds and changes; "" clears what was there. */
enum result check_save(struct arena *arena, const char **value, struct errmsg *msg)
{
    (void)arena;
    struct slice word;
    int count = 0;
    for (const char *at = *value; next_word(&at, &word); count++) {
        int64_t number;
        if (num_parse_i64(word, &number) != RES_OK || number < (count % 2 == 0 ? 1 : 0))
            return errmsg_set(msg, RES_INVALID, "Invalid save parameters");
    }
    if (count % 2 != 0)
        return errmsg_set(msg, RES_INVALID, "Invalid save parameters");
    return RES_OK;
}

enum result check_file_name(struct arena *arena, const char **value, struct errmsg *msg)
{
    (void)arena;
    if (**value == 0)
        return errmsg_set(msg, RES_INVALID, "argument must not be empty");
    if (strchr(*value, '/') != NULL)
        return errmsg_set(msg, RES_INVALID, "argument can't be a path, just a filename");
    return RES_OK;
}

enum result check_oom_values(struct arena *arena, const char **value, struct errmsg *msg)
{
    (void)arena;
    struct slice word;
    int64_t number, last = INT64_MIN;
    int count = 0;
    for (const char *at = *value; next_word(&at, &word); count++) {
        if (num_parse_i64(word, &number) != RES_OK || number < -2000 || number > 2000)
            return errmsg_set(msg, RES_INVALID,
                              "Invalid oom-score-adj-values, elements must be between -2000 and 2000.");
        if (number < last)
            return errmsg_set(msg, RES_INVALID, "oom-score-adj-values elements must not decrease");
        last = number;
    }
    if (count != 3)
        return errmsg_set(msg, RES_INVALID, "wrong number of arguments");
    return RES_OK;
}

enum result check_shutdown(struct arena *arena, const char **value, struct errmsg *msg)
{
    (void)arena;
    static const char *const known[] = {"default", "save", "nosave", "now", "force"};
    struct slice word;
    bool save = false, nosave = false;
    int count = 0;
    for (const char *at = *value; next_word(&at, &word); count++) {
        bool found = false;
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
            found |= slice_eq_nocase(word, known[i]);
        if (!found)
            return errmsg_set(msg, RES_INVALID,
                              "argument(s) must be one of the following: default, save, nosave, now, force");
        save |= slice_eq_nocase(word, "save");
        nosave |= slice_eq_nocase(word, "nosave");
    }
    if (count == 0 || (save && nosave))
        return errmsg_set(msg, RES_INVALID, "Invalid combination of SHUTDOWN flags");
    return RES_OK;
}

/* The letters in Redis' order; A stands for the first ten. */
enum result check_events(struct arena *arena, const char **value, struct errmsg *msg)
{
    static const char classes[] = "g$lshzxetd";
    char text[sizeof classes + 8];
    size_t n = 0;
    bool all = strchr(*value, 'A') != NULL;
    if (strspn(*value, "g$lshzxetdAnKEm") != strlen(*value))
        return errmsg_set(msg, RES_INVALID, "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
    bool whole = true;
    for (const char *p = classes; *p; p++)
        whole &= all || strchr(*value, *p) != NULL;
    if (whole)
        text[n++] = 'A';
    for (const char *p = classes; *p && !whole; p++)
        if (strchr(*value, *p) != NULL)
            text[n++] = *p;
    for (const char *p = "nKEm"; *p; p++)
        if (strchr(*value, *p) != NULL)
            text[n++] = *p;
    text[n] = 0;
    *value = arena_copy(arena, text, n + 1);
    return *value ? RES_OK : RES_NO_MEMORY;
}

/* none, lz4, zstd or zstd:N. */
static bool take_packing(struct slice word, struct engine_compression *out)
{
    static const char zstd[] = "zstd:";
    size_t len = sizeof zstd - 1;
    int64_t level = ENGINE_ZSTD_LEVEL;
    *out = (struct engine_compression){0};
    if (slice_eq_nocase(word, "none"))
        return true;
    if (slice_eq_nocase(word, "lz4")) {
        out->kind = ENGINE_PACK_LZ4;
        return true;
    }
    if (word.len > len && slice_eq_nocase(slice_of(word.data, len), zstd)) {
        struct slice number = slice_of(word.data + len, word.len - len);
        if (num_parse_i64(number, &level) != RES_OK || level < 1 || level > ENGINE_ZSTD_MOST)
            return false;
    } else if (!slice_eq_nocase(word, "zstd")) {
        return false;
    }
    *out = (struct engine_compression){.kind = ENGINE_PACK_ZSTD, .level = (uint8_t)level};
    return true;
}

enum result compression_parse(const char *text, struct engine_compression levels[ENGINE_LEVELS], struct errmsg *msg)
{
    struct slice word;
    int count = 0;
    for (; next_word(&text, &word); count++) {
        if (count == ENGINE_LEVELS)
            return errmsg_set(msg, RES_INVALID, "there are %d levels, so at most as many words", ENGINE_LEVELS);
        if (!take_packing(word, &levels[count]))
            return errmsg_set(msg, RES_INVALID, "each word must be none, lz4, zstd, or zstd:1 to zstd:%d",
                              ENGINE_ZSTD_MOST);
    }
    if (count == 0)
        return errmsg_set(msg, RES_INVALID, "a word for each level is needed, or one for all");
    for (int i = count; i < ENGINE_LEVELS; i++)
        levels[i] = levels[count - 1];
    return RES_OK;
}

enum result check_compression(struct arena *arena, const char **value, struct errmsg *msg)
{
    struct engine_compression levels[ENGINE_LEVELS];
    enum result res = compression_parse(*value, levels, msg);
    if (res != RES_OK)
        return res;
    size_t len = strlen(*value);
    char *text = arena_copy(arena, *value, len + 1);
    if (text == NULL)
        return RES_NO_MEMORY;
    for (size_t i = 0; i < len; i++)
        text[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + 32 : text[i]);
    *value = text;
    return RES_OK;
}

enum result check_not_built(struct arena *arena, const char **value, struct errmsg *msg)
{
    (void)arena;
    if (**value != 0)
        return errmsg_set(msg, RES_INVALID, "not built yet: the only value is \"\"");
    return RES_OK;
}
