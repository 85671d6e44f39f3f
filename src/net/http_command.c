/* Redis commands over HTTP, as clients of Upstash's REST interface send them: a JSON array is a command, an array of arrays
 * a pipeline. Replies are JSON: null, numbers, strings, arrays; RESP2's shapes. */
#include <stdlib.h>

#include "base/num.h"
#include "cmd/table.h"
#include "net/net_internal.h"
#include "proto/json.h"

/* ---- requests ---- */

/* Commands about the connection they come on mean nothing where every request stands for itself; and who waits, or is told
 * things later, needs a connection of his own. */
static bool needs_connection(const struct command_entry *e)
{
    static const char *const names[] = {"select",     "auth",       "hello",       "quit",         "reset",
                                        "monitor",    "multi",      "exec",        "discard",      "watch",
                                        "unwatch",    "client",     "sync",        "psync",        "subscribe",
                                        "psubscribe", "ssubscribe", "unsubscribe", "punsubscribe", "sunsubscribe"};
    const struct command *top = e->parent ? e->parent->command : e->command;
    if (e->command->flags & CMD_BLOCKING)
        return true;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(top->name, names[i]) == 0)
            return true;
    return false;
}

/* An argument as text. Numbers and booleans are written into s->words; their place is only known when all are there, so
 * *offset says where they begin. */
static bool argument_text(struct http_state *s, const json_t *v, struct slice *out, size_t *offset)
{
    char text[NUM_DOUBLE_MAX];
    size_t len;
    *offset = SIZE_MAX;
    if (json_is_string(v)) {
        *out = slice_of(json_string_value(v), json_string_length(v));
        return true;
    }
    if (json_is_integer(v))
        len = num_format_i64(text, json_integer_value(v));
    else if (json_is_real(v))
        len = num_format_double(text, json_real_value(v));
    else if (json_is_boolean(v))
        len = (size_t)snprintf(text, sizeof text, json_is_true(v) ? "true" : "false");
    else
        return false;
    *offset = s->words.len;
    out->len = len;
    return buf_append(&s->words, text, len) == RES_OK;
}

/* argv of a command that has more arguments than the batch has room for lies in front of its words. */
static struct slice *argument_room(struct connection *c, size_t count)
{
    struct http_state *s = c->http;
    struct request *q = &c->batch->requests[0];
    if (s->argv != NULL)
        free(s->argv);
    s->argv = NULL;
    q->argv = c->batch->slices;
    if (count > BATCH_SLICES)
        q->argv = s->argv = malloc(count * sizeof *s->argv);
    return q->argv;
}

/* One command as the batch's. NULL, or why not. */
static const char *use_array(struct connection *c, const json_t *array, char error[512])
{
    struct http_state *s = c->http;
    size_t count = json_array_size(array);
    if (!json_is_array(array) || count == 0 || count > INT32_MAX)
        return "ERR failed to parse command";
    struct slice *argv = argument_room(c, count);
    buf_clear(&s->words);
    size_t *offsets = malloc(count * sizeof *offsets);
    bool good = argv != NULL && offsets != NULL;
    for (size_t i = 0; i < count && good; i++)
        good = argument_text(s, json_array_get(array, i), &argv[i], &offsets[i]);
    for (size_t i = 0; i < count && good; i++)
        if (offsets[i] != SIZE_MAX)
            argv[i].data = s->words.data + offsets[i];
    free(offsets);
    if (!good)
        return "ERR failed to parse command";
    const struct command_entry *entry = command_resolve((int)count, argv, error);
    if (entry == NULL) {
        shard_count_error(c->reactor->worker, slice_str(error));
        entry = command_lookup(argv[0]);
        if (entry != NULL)
            shard_count_rejected(c->reactor->worker, entry);
        return error;
    }
    if (needs_connection(entry)) {
        snprintf(error, 512, "ERR '%s' is not available over HTTP", entry->full_name);
        return error;
    }
    http_use_command(c, entry, (int)count);
    return NULL;
}

/* ---- replies ---- */

static enum result put_text(struct http_state *s, struct slice text, bool encode)
{
    if (!encode)
        return json_put_string(&s->out, text);
    enum result r = buf_append(&s->out, "\"", 1);
    if (r == RES_OK)
        r = base64_put(&s->out, text);
    return r == RES_OK ? buf_append(&s->out, "\"", 1) : r;
}

/* The client takes "OK" as it is and decodes every other text. */
static enum result put_scalar(struct http_state *s, const struct http_sink *reply, const struct http_value *v)
{
    switch (v->kind) {
    case VALUE_INTEGER:
        return buf_printf(&s->out, "%lld", (long long)v->integer);
    case VALUE_STATUS: {
        struct slice text = http_value_text(reply, v);
        return put_text(s, text, s->base64 && !slice_eq(text, SLICE_LIT("OK")));
    }
    case VALUE_BULK:
        return put_text(s, http_value_text(reply, v), s->base64);
    case VALUE_ERROR:
        return put_text(s, http_value_text(reply, v), false);
    default:
        return buf_append(&s->out, "null", 4);
    }
}

#define DEPTH_MAX 64

/* The value at *i, with all that belongs to it. */
static enum result put_value(struct http_state *s, const struct http_sink *reply, size_t *i)
{
    size_t left[DEPTH_MAX];
    int depth = 0;
    enum result r = RES_OK;
    do {
        const struct http_value *v = &reply->values[(*i)++];
        if (v->kind == VALUE_ARRAY && v->count > 0) {
            if (depth == DEPTH_MAX)
                return RES_TOO_MANY;
            left[depth++] = v->count;
            r = buf_append(&s->out, "[", 1);
            continue;
        }
        r = v->kind == VALUE_ARRAY ? buf_append(&s->out, "[]", 2) : put_scalar(s, reply, v);
        while (depth > 0 && r == RES_OK && --left[depth - 1] == 0) {
            r = buf_append(&s->out, "]", 1);
            depth--;
        }
        if (depth > 0 && r == RES_OK)
            r = buf_append(&s->out, ",", 1);
    } while (depth > 0 && r == RES_OK && *i < reply->count);
    return r;
}

/* {"result":...} or {"error":...} */
static enum result put_reply(struct http_state *s, const struct http_sink *reply, size_t *i)
{
    bool failed = reply->values[*i].kind == VALUE_ERROR;
    enum result r = buf_printf(&s->out, "{\"%s\":", failed ? "error" : "result");
    if (r == RES_OK)
        r = put_value(s, reply, i);
    return r == RES_OK ? buf_append(&s->out, "}", 1) : r;
}

static enum result put_error(struct http_state *s, const char *text)
{
    enum result r = buf_append(&s->out, "{\"error\":", 9);
    if (r == RES_OK)
        r = json_put_string(&s->out, slice_str(text));
    return r == RES_OK ? buf_append(&s->out, "}", 1) : r;
}

/* ---- pipelines ---- */

/* Puts commands into the answer until one can be run. false: all are answered. */
static bool next_of_pipeline(struct connection *c, enum result *r)
{
    struct http_state *s = c->http;
    char error[512];
    for (*r = RES_OK; *r == RES_OK && s->next < json_array_size(s->json);) {
        if (s->next > 0)
            *r = buf_append(&s->out, ",", 1);
        const char *why = use_array(c, json_array_get(s->json, s->next++), error);
        if (why == NULL)
            return true;
        if (*r == RES_OK)
            *r = put_error(s, why);
    }
    if (*r == RES_OK)
        *r = buf_append(&s->out, "]", 1);
    return false;
}

static void answer_ready(struct connection *c, int status)
{
    struct http_state *s = c->http;
    s->status = status;
    s->type = "application/json";
    s->text = buf_slice(&s->out);
}

/* ---- transactions: MULTI, the commands, EXEC ---- */

static void use_word(struct connection *c, const char *name)
{
    argument_room(c, 1);
    http_argument(c, 0, slice_str(name));
    http_use_command(c, command_lookup(slice_str(name)), 1);
}

/* The transaction is given up; s->out is the answer. */
static enum result give_up(struct connection *c, const char *why)
{
    buf_clear(&c->http->out);
    c->http->stage = MULTI_GIVEN_UP;
    enum result r = put_error(c->http, why);
    use_word(c, "discard");
    return r;
}

/* The next command to be queued, or EXEC. */
static enum result next_of_transaction(struct connection *c)
{
    struct http_state *s = c->http;
    char error[512];
    if (s->next == json_array_size(s->json)) {
        s->stage = MULTI_EXEC;
        use_word(c, "exec");
        return RES_OK;
    }
    const char *why = use_array(c, json_array_get(s->json, s->next++), error);
    const struct command_entry *e = c->batch->requests[0].entry;
    if (why == NULL && e->command->flags & CMD_SESSION && !(e->command->flags & CMD_IN_PLACE)) {
        snprintf(error, sizeof error, "ERR '%s' is not available in a transaction over HTTP", e->full_name);
        why = error;
    }
    return why != NULL ? give_up(c, why) : RES_OK;
}

/* EXEC's reply: an array, or why not. */
static int put_transaction(struct http_state *s, const struct http_sink *reply, enum result *r)
{
    size_t i = 0;
    if (reply->values[0].kind != VALUE_ARRAY) {
        *r = put_reply(s, reply, &i);
        return reply->values[0].kind == VALUE_ERROR ? 400 : 200;
    }
    *r = buf_append(&s->out, "[", 1);
    for (i = 1; i < reply->count && *r == RES_OK;) {
        if (i > 1)
            *r = buf_append(&s->out, ",", 1);
        if (*r == RES_OK && reply->values[i].kind == VALUE_STREAM) {
            *r = put_error(s, "ERR the value is too long for a transaction over HTTP");
            i++;
        } else if (*r == RES_OK) {
            *r = put_reply(s, reply, &i);
        }
    }
    if (*r == RES_OK)
        *r = buf_append(&s->out, "]", 1);
    return 200;
}

/* false: another command is to be run. */
static bool answer_transaction(struct connection *c, struct http_sink *reply, int *status, enum result *r)
{
    struct http_state *s = c->http;
    switch (s->stage) {
    case MULTI_QUEUES:
        if (reply->values[0].kind == VALUE_ERROR) {
            struct slice text = http_value_text(reply, &reply->values[0]);
            char copy[512];
            snprintf(copy, sizeof copy, "%.*s", (int)(text.len < 500 ? text.len : 500), (const char *)text.data);
            *r = give_up(c, copy);
        } else {
            *r = next_of_transaction(c);
        }
        return *r != RES_OK;
    case MULTI_EXEC:
        *status = put_transaction(s, reply, r);
        return true;
    default:
        *status = 400;
        return true;
    }
}

/* ---- all of them ---- */

void http_begin_commands(struct connection *c)
{
    struct http_state *s = c->http;
    char error[512];
    enum result r = RES_OK;
    s->base64 = slice_eq_nocase(s->m.field[FIELD_UPSTASH_ENCODING], "base64");
    s->json = http_json_body(s->m.body);
    if (!json_is_array(s->json)) {
        http_refuse(c, 400, "ERR failed to parse command");
        return;
    }
    if (s->route.action == HTTP_COMMAND) {
        const char *why = use_array(c, s->json, error);
        if (why != NULL)
            http_refuse(c, 400, why);
        return;
    }
    if (s->route.action == HTTP_MULTI_EXEC && json_array_size(s->json) > 0) {
        s->stage = MULTI_QUEUES;
        use_word(c, "multi");
        return;
    }
    r = buf_append(&s->out, "[", 1);
    if (r == RES_OK && !next_of_pipeline(c, &r) && r == RES_OK)
        answer_ready(c, 200);
    if (r != RES_OK)
        http_refuse(c, 503, "ERR out of memory");
}

bool http_answer_command(struct connection *c, struct http_sink *reply)
{
    struct http_state *s = c->http;
    enum result r = RES_OK;
    int status = 200;
    size_t i = 0;
    if (s->route.action == HTTP_MULTI_EXEC) {
        if (!answer_transaction(c, reply, &status, &r))
            return false;
    } else {
        r = put_reply(s, reply, &i);
        if (s->route.action == HTTP_COMMAND)
            status = reply->values[0].kind == VALUE_ERROR ? 400 : 200;
        else if (r == RES_OK && next_of_pipeline(c, &r))
            return false;
    }
    if (r == RES_OK)
        http_say(c, status, "application/json", buf_slice(&s->out));
    else
        connection_close(c);
    return true;
}
