/* A plain HTTP key-value server on libevent's own evhttp, in memory: what tools/httpbench measures the HTTP listener against.
 * GET and PUT of /kv/KEY; one thread. evhttp_peer PORT */
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS (1 << 16)
struct item {
    struct item *next;
    size_t len;
    char *value;
    char key[];
};
static struct item *table[BUCKETS];

static struct item **find(const char *key)
{
    unsigned h = 2166136261u;
    for (const char *p = key; *p; p++)
        h = (h ^ (unsigned char)*p) * 16777619u;
    struct item **at = &table[h % BUCKETS];
    while (*at != NULL && strcmp((*at)->key, key) != 0)
        at = &(*at)->next;
    return at;
}

static void put(struct evhttp_request *q, struct item **at, const char *key)
{
    struct evbuffer *body = evhttp_request_get_input_buffer(q);
    if (*at == NULL && (*at = calloc(1, sizeof **at + strlen(key) + 1)) != NULL)
        strcpy((*at)->key, key);
    size_t len = evbuffer_get_length(body);
    char *value = malloc(len + 1);
    if (*at == NULL || value == NULL)
        exit(1);
    evbuffer_remove(body, value, len);
    free((*at)->value);
    (*at)->value = value;
    (*at)->len = len;
    evhttp_send_reply(q, 200, "OK", NULL);
}

static void serve(struct evhttp_request *q, void *arg)
{
    struct evbuffer *out = arg;
    const char *key = evhttp_request_get_uri(q);
    struct item **at = find(key);
    if (evhttp_request_get_command(q) == EVHTTP_REQ_PUT) {
        put(q, at, key);
    } else if (*at == NULL) {
        evhttp_send_reply(q, 404, "Not Found", NULL);
    } else {
        evbuffer_add(out, (*at)->value, (*at)->len);
        evhttp_send_reply(q, 200, "OK", out);
    }
}

int main(int argc, char **argv)
{
    struct event_base *base = event_base_new();
    struct evhttp *http = base ? evhttp_new(base) : NULL;
    struct evbuffer *out = evbuffer_new();
    if (argc != 2 || http == NULL || out == NULL ||
        evhttp_bind_socket(http, "127.0.0.1", (ev_uint16_t)atoi(argv[1])) != 0) {
        fprintf(stderr, "usage: evhttp_peer PORT (free, on 127.0.0.1)\n");
        return 1;
    }
    evhttp_set_allowed_methods(http, EVHTTP_REQ_GET | EVHTTP_REQ_PUT);
    evhttp_set_gencb(http, serve, out);
    return event_base_dispatch(base) < 0;
}
