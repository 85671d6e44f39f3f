/* Which request is what: method and path become an action. A pure function, free of sockets. docs/http.md has the rows. */
#ifndef VARVE_NET_HTTP_ROUTE_H
#define VARVE_NET_HTTP_ROUTE_H

#include "proto/http_parse.h"

enum http_action {
    HTTP_REJECT, /* status and text say why */
    /* plain text: /kv/{key}, /clear */
    HTTP_KV_GET,
    HTTP_KV_PUT,
    HTTP_KV_DELETE,
    HTTP_CLEAR,
    /* JSON: /get/{key}, /set/{key}, /delete/{key} */
    HTTP_STORE_GET,
    HTTP_STORE_SET,
    HTTP_STORE_DELETE,
    /* JSON with a TTL: /{key} */
    HTTP_ITEM_GET,
    HTTP_ITEM_PUT,
    HTTP_ITEM_DELETE,
    /* the server's own REST: /v1/kv/{key}, /v1/kv */
    HTTP_V1_GET,
    HTTP_V1_PUT,
    HTTP_V1_DELETE,
    HTTP_V1_LIST,
    /* Redis commands: /, /pipeline, /multi-exec */
    HTTP_COMMAND,
    HTTP_PIPELINE,
    HTTP_MULTI_EXEC,
    /* operations */
    HTTP_METRICS,
    HTTP_HEALTH,
    HTTP_READY,
    HTTP_OPENAPI,
    HTTP_ACTIONS
};

/* How errors are told. */
enum http_style {
    STYLE_TEXT,    /* a line of text */
    STYLE_PROBLEM, /* RFC 9457 */
    STYLE_COMMAND, /* {"error":"ERR ..."} */
};

struct http_route {
    enum http_action action;
    enum http_style style;
    struct slice key; /* as sent: percent-encoded */
    int status;       /* HTTP_REJECT */
    const char *text;
    const char *allow; /* 405: the methods there are */
};

void http_route(const struct http_message *m, struct http_route *out);

#endif
