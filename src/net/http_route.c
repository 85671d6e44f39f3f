/* See http_route.h. Names at the root are compared as they were sent, so an encoded one ("/%6bv") is a key like any other. */
#include "net/http_route.h"

#define TEXT_NO_METHOD "method not allowed"
#define TEXT_NOT_FOUND "not found"
#define TEXT_EMPTY_KEY "key cannot be empty"

static void reject(struct http_route *r, int status, const char *text)
{
    r->action = HTTP_REJECT;
    r->status = status;
    r->text = text;
}

/* The action of each method of a resource; 0 (HTTP_REJECT): it has no such method. HEAD is GET where `head`. */
struct methods {
    enum http_action get, put, post, remove;
    bool head;
    const char *allow;
};
static const struct methods kv = {HTTP_KV_GET, HTTP_KV_PUT, 0, HTTP_KV_DELETE, false, "GET, PUT, DELETE"},
                            clear = {.remove = HTTP_CLEAR, .allow = "DELETE"},
                            store_get = {.get = HTTP_STORE_GET, .head = true, .allow = "GET, HEAD"},
                            store_set = {.post = HTTP_STORE_SET, .allow = "POST"},
                            store_delete = {.remove = HTTP_STORE_DELETE, .allow = "DELETE"},
                            item = {HTTP_ITEM_GET, HTTP_ITEM_PUT, 0, HTTP_ITEM_DELETE, true, "GET, HEAD, PUT, DELETE"},
                            v1 = {HTTP_V1_GET, HTTP_V1_PUT, 0, HTTP_V1_DELETE, true, "GET, HEAD, PUT, DELETE"},
                            v1_list = {.get = HTTP_V1_LIST, .head = true, .allow = "GET, HEAD"},
                            command = {.post = HTTP_COMMAND, .allow = "POST"},
                            pipeline = {.post = HTTP_PIPELINE, .allow = "POST"},
                            multi_exec = {.post = HTTP_MULTI_EXEC, .allow = "POST"},
                            metrics = {.get = HTTP_METRICS, .head = true, .allow = "GET, HEAD"},
                            health = {.get = HTTP_HEALTH, .head = true, .allow = "GET, HEAD"},
                            ready = {.get = HTTP_READY, .head = true, .allow = "GET, HEAD"},
                            openapi = {.get = HTTP_OPENAPI, .head = true, .allow = "GET, HEAD"};

static void choose(struct http_route *r, enum http_verb verb, const struct methods *m)
{
    enum http_action action = HTTP_REJECT;
    switch (verb) {
    case VERB_HEAD:
        action = m->head ? m->get : HTTP_REJECT;
        break;
    case VERB_GET:
        action = m->get;
        break;
    case VERB_PUT:
        action = m->put;
        break;
    case VERB_POST:
        action = m->post;
        break;
    case VERB_DELETE:
        action = m->remove;
        break;
    case VERB_OTHER:
        break;
    }
    r->action = action;
    if (action == HTTP_REJECT) {
        reject(r, 405, TEXT_NO_METHOD);
        r->allow = m->allow;
    }
}

/* A resource with a key. Dialects of one path segment say so. */
static void with_key(struct http_route *r, enum http_verb verb, const struct methods *m, struct slice key, bool segment)
{
    if (segment && key.len > 0 && memchr(key.data, '/', key.len) != NULL) {
        reject(r, 404, TEXT_NOT_FOUND);
        return;
    }
    choose(r, verb, m);
    r->key = key;
    if (r->action != HTTP_REJECT && key.len == 0)
        reject(r, 400, TEXT_EMPTY_KEY);
}

/* What follows a prefix. */
static bool behind(struct slice path, struct slice prefix, struct slice *rest)
{
    if (path.len < prefix.len || memcmp(path.data, prefix.data, prefix.len) != 0)
        return false;
    *rest = slice_of(path.data + prefix.len, path.len - prefix.len);
    return true;
}

static const struct {
    struct slice path;
    const struct methods *methods;
    enum http_style style;
} places[] = {
#define PLACE(text)                                                                                                    \
    {                                                                                                                  \
        (const uint8_t *)text, sizeof text - 1                                                                         \
    }
    {PLACE("/"), &command, STYLE_COMMAND},          {PLACE("/clear"), &clear, STYLE_TEXT},
    {PLACE("/pipeline"), &pipeline, STYLE_COMMAND}, {PLACE("/multi-exec"), &multi_exec, STYLE_COMMAND},
    {PLACE("/metrics"), &metrics, STYLE_TEXT},      {PLACE("/healthz"), &health, STYLE_TEXT},
    {PLACE("/readyz"), &ready, STYLE_TEXT},         {PLACE("/openapi.json"), &openapi, STYLE_TEXT},
    {PLACE("/v1/kv"), &v1_list, STYLE_PROBLEM},
};

/* Names at the root that are, or will be, the server's own. */
static const struct slice reserved[] = {
    PLACE("kv"),         PLACE("set"),     PLACE("get"),     PLACE("delete"),       PLACE("clear"),
    PLACE("metrics"),    PLACE("healthz"), PLACE("readyz"),  PLACE("v1"),           PLACE("pipeline"),
    PLACE("multi-exec"), PLACE("console"), PLACE("cluster"), PLACE("openapi.json"),
};

static void at_root(struct http_route *r, enum http_verb verb, struct slice rest)
{
    const uint8_t *slash = rest.len ? memchr(rest.data, '/', rest.len) : NULL;
    struct slice first = slash ? slice_of(rest.data, (size_t)(slash - rest.data)) : rest;
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
        if (slice_eq(first, reserved[i])) {
            reject(r, 404, TEXT_NOT_FOUND);
            return;
        }
    with_key(r, verb, &item, rest, true);
}

void http_route(const struct http_message *m, struct http_route *out)
{
    struct slice rest;
    *out = (struct http_route){.action = HTTP_REJECT};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (slice_eq(m->path, places[i].path)) {
            out->style = places[i].style;
            choose(out, m->verb, places[i].methods);
            return;
        }
    if (behind(m->path, SLICE_LIT("/kv/"), &rest)) {
        with_key(out, m->verb, &kv, rest, false);
    } else if (slice_eq(m->path, SLICE_LIT("/kv"))) {
        with_key(out, m->verb, &kv, slice_of(NULL, 0), false);
    } else if (behind(m->path, SLICE_LIT("/get/"), &rest)) {
        with_key(out, m->verb, &store_get, rest, true);
    } else if (behind(m->path, SLICE_LIT("/set/"), &rest)) {
        with_key(out, m->verb, &store_set, rest, true);
    } else if (behind(m->path, SLICE_LIT("/delete/"), &rest)) {
        with_key(out, m->verb, &store_delete, rest, true);
    } else if (behind(m->path, SLICE_LIT("/v1/"), &rest)) {
        out->style = STYLE_PROBLEM;
        if (behind(rest, SLICE_LIT("kv/"), &rest))
            with_key(out, m->verb, &v1, rest, true);
        else
            reject(out, 404, TEXT_NOT_FOUND);
    } else if (behind(m->path, SLICE_LIT("/"), &rest)) {
        at_root(out, m->verb, rest);
    } else {
        reject(out, 404, TEXT_NOT_FOUND);
    }
}
