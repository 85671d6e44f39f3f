/* GET /openapi.json: the HTTP interface described for programs (OpenAPI 3.1). tests/system/test_openapi.py asks the running
 * server everything that stands here. The text is JSON as it stands; the macro makes a string of it. */
#include "config.h"
#include "net/net_internal.h"

#define JSON(...) JSON_TEXT(__VA_ARGS__) /* macros within are expanded first: the version */
#define JSON_TEXT(...) #__VA_ARGS__
#undef true /* JSON has these words, too */
#undef false

/* clang-format off */
static const char description[] = JSON({
"openapi": "3.1.0",
"info": {
  "title": "Varve",
  "version": PACKAGE_VERSION,
  "description": "One set of keys, that of database 0, in several dialects; the same keys and commands as over the Redis protocol. With a password set, every request but GET /healthz needs it.",
  "license": {"name": "BSD-3-Clause", "identifier": "BSD-3-Clause"}
},
"servers": [{"url": "/"}],
"security": [{}, {"bearer": []}, {"basic": []}],
"tags": [
  {"name": "v1", "description": "The server's own interface: any bytes as key and value, versions, conditions, times to live."},
  {"name": "text", "description": "Plain text. Keys consist of letters, digits and : _ . -"},
  {"name": "store", "description": "JSON, by verb."},
  {"name": "item", "description": "JSON with a time to live."},
  {"name": "commands", "description": "Redis commands."},
  {"name": "operations", "description": "Health and metrics."}
],
"paths": {
  "/v1/kv": {
    "get": {
      "tags": ["v1"], "operationId": "listKeys",
      "summary": "Lists keys of strings, in no order. A page may be short or empty; the end is a missing cursor.",
      "parameters": [
        {"name": "prefix", "in": "query", "schema": {"type": "string"}, "example": "example"},
        {"name": "cursor", "in": "query", "schema": {"type": "string", "pattern": "^[0-9]+$"}, "example": "0"},
        {"name": "limit", "in": "query", "description": "About how many keys are looked at.", "schema": {"type": "integer", "minimum": 1, "maximum": 10000, "default": 100}, "example": 10}
      ],
      "responses": {
        "200": {"description": "A page.", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Page"}}}},
        "400": {"$ref": "#/components/responses/Problem"},
        "401": {"$ref": "#/components/responses/Problem"}
      }
    }
  },
  "/v1/kv/{key}": {
    "parameters": [{"name": "key", "in": "path", "required": true, "description": "Percent-encoded; any bytes.", "schema": {"type": "string", "minLength": 1}, "example": "example%2Fkey"}],
    "get": {
      "tags": ["v1"], "operationId": "getValue", "summary": "The value, with its version and type.",
      "parameters": [{"$ref": "#/components/parameters/IfMatch"}, {"$ref": "#/components/parameters/IfNoneMatch"}],
      "responses": {
        "200": {"description": "The value.", "headers": {"ETag": {"$ref": "#/components/headers/ETag"}, "Varve-Ttl-Ms": {"$ref": "#/components/headers/Ttl"}}, "content": {"*/*": {"schema": {}}}},
        "304": {"description": "It has the version of If-None-Match.", "headers": {"ETag": {"$ref": "#/components/headers/ETag"}}},
        "400": {"$ref": "#/components/responses/Problem"},
        "401": {"$ref": "#/components/responses/Problem"},
        "404": {"$ref": "#/components/responses/Problem"},
        "409": {"$ref": "#/components/responses/Problem"},
        "412": {"$ref": "#/components/responses/Problem"}
      }
    },
    "put": {
      "tags": ["v1"], "operationId": "putValue", "summary": "Stores a value. Content-Type is kept with it.",
      "parameters": [
        {"name": "ttl", "in": "query", "description": "Seconds to live.", "schema": {"type": "integer", "minimum": 1}, "example": 100},
        {"name": "ttl_ms", "in": "query", "description": "Milliseconds to live; instead of ttl.", "schema": {"type": "integer", "minimum": 1}},
        {"$ref": "#/components/parameters/IfMatch"}, {"$ref": "#/components/parameters/IfNoneMatch"}
      ],
      "requestBody": {"required": true, "content": {"*/*": {"schema": {}, "example": "a value"}}},
      "responses": {
        "201": {"description": "Stored under a new key.", "headers": {"ETag": {"$ref": "#/components/headers/ETag"}}},
        "204": {"description": "Stored instead of an earlier value.", "headers": {"ETag": {"$ref": "#/components/headers/ETag"}}},
        "400": {"$ref": "#/components/responses/Problem"},
        "401": {"$ref": "#/components/responses/Problem"},
        "412": {"$ref": "#/components/responses/Problem"},
        "413": {"$ref": "#/components/responses/Problem"},
        "503": {"$ref": "#/components/responses/Problem"}
      }
    },
    "delete": {
      "tags": ["v1"], "operationId": "deleteValue", "summary": "Deletes a key.",
      "parameters": [{"$ref": "#/components/parameters/IfMatch"}, {"$ref": "#/components/parameters/IfNoneMatch"}],
      "responses": {
        "204": {"description": "It is gone."},
        "400": {"$ref": "#/components/responses/Problem"},
        "401": {"$ref": "#/components/responses/Problem"},
        "404": {"$ref": "#/components/responses/Problem"},
        "412": {"$ref": "#/components/responses/Problem"},
        "503": {"$ref": "#/components/responses/Problem"}
      }
    }
  },
  "/kv/{key}": {
    "parameters": [{"name": "key", "in": "path", "required": true, "schema": {"type": "string", "pattern": "^[A-Za-z0-9:_.-]+$"}, "example": "example"}],
    "get": {
      "tags": ["text"], "operationId": "getText", "summary": "The value.",
      "responses": {
        "200": {"description": "The value.", "content": {"application/octet-stream": {"schema": {}}}},
        "400": {"$ref": "#/components/responses/Text"}, "401": {"$ref": "#/components/responses/Text"},
        "404": {"$ref": "#/components/responses/Text"}, "409": {"$ref": "#/components/responses/Text"}
      }
    },
    "put": {
      "tags": ["text"], "operationId": "putText", "summary": "Stores a value, which is not empty.",
      "requestBody": {"required": true, "content": {"*/*": {"schema": {}, "example": "a value"}}},
      "responses": {
        "200": {"description": "Stored."},
        "400": {"$ref": "#/components/responses/Text"}, "401": {"$ref": "#/components/responses/Text"},
        "413": {"$ref": "#/components/responses/Text"}, "503": {"$ref": "#/components/responses/Text"}
      }
    },
    "delete": {
      "tags": ["text"], "operationId": "deleteText", "summary": "Deletes a key, if it is there.",
      "responses": {
        "200": {"description": "It is gone."},
        "400": {"$ref": "#/components/responses/Text"}, "401": {"$ref": "#/components/responses/Text"}, "503": {"$ref": "#/components/responses/Text"}
      }
    }
  },
  "/clear": {
    "delete": {
      "tags": ["text"], "operationId": "clear", "summary": "Deletes every key of database 0.",
      "responses": {"200": {"description": "They are gone."}, "401": {"$ref": "#/components/responses/Text"}, "503": {"$ref": "#/components/responses/Text"}}
    }
  },
  "/set/{key}": {
    "parameters": [{"$ref": "#/components/parameters/Key"}],
    "post": {
      "tags": ["store"], "operationId": "storeSet", "summary": "Stores a value.",
      "requestBody": {"required": true, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Value"}, "example": {"value": "a value"}}}},
      "responses": {
        "201": {"description": "Stored."},
        "400": {"$ref": "#/components/responses/Text"}, "401": {"$ref": "#/components/responses/Text"},
        "413": {"$ref": "#/components/responses/Text"}, "503": {"$ref": "#/components/responses/Text"}
      }
    }
  },
  "/get/{key}": {
    "parameters": [{"$ref": "#/components/parameters/Key"}],
    "get": {
      "tags": ["store"], "operationId": "storeGet", "summary": "The value.",
      "responses": {
        "200": {"description": "The value.", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Value"}}}},
        "400": {"$ref": "#/components/responses/Text"}, "401": {"$ref": "#/components/responses/Text"},
        "404": {"$ref": "#/components/responses/Text"}, "409": {"$ref": "#/components/responses/Text"}
      }
    }
  },
  "/delete/{key}": {
    "parameters": [{"$ref": "#/components/parameters/Key"}],
    "delete": {
      "tags": ["store"], "operationId": "storeDelete", "summary": "Deletes a key, if it is there.",
      "responses": {
        "204": {"description": "It is gone."},
        "400": {"$ref": "#/components/responses/Text"}, "401": {"$ref": "#/components/responses/Text"}, "503": {"$ref": "#/components/responses/Text"}
      }
    }
  },
  "/{key}": {
    "parameters": [{"$ref": "#/components/parameters/Key"}],
    "get": {
      "tags": ["item"], "operationId": "getItem", "summary": "The value, and the seconds it has left. Names that the server uses itself are no keys here.",
      "responses": {
        "200": {"description": "The value.", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Item"}}}},
        "400": {"$ref": "#/components/responses/Text"}, "401": {"$ref": "#/components/responses/Text"},
        "404": {"$ref": "#/components/responses/Text"}, "409": {"$ref": "#/components/responses/Text"}
      }
    },
    "put": {
      "tags": ["item"], "operationId": "putItem", "summary": "Stores a value, for some seconds if ttl is given.",
      "requestBody": {"required": true, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/TimedValue"}, "example": {"value": "a value", "ttl": 3600}}}},
      "responses": {
        "200": {"description": "Stored."},
        "400": {"$ref": "#/components/responses/Text"}, "401": {"$ref": "#/components/responses/Text"},
        "404": {"$ref": "#/components/responses/Text"}, "413": {"$ref": "#/components/responses/Text"}, "503": {"$ref": "#/components/responses/Text"}
      }
    },
    "delete": {
      "tags": ["item"], "operationId": "deleteItem", "summary": "Deletes a key, if it is there.",
      "responses": {
        "200": {"description": "It is gone."},
        "400": {"$ref": "#/components/responses/Text"}, "401": {"$ref": "#/components/responses/Text"}, "404": {"$ref": "#/components/responses/Text"}, "503": {"$ref": "#/components/responses/Text"}
      }
    }
  },
  "/": {
    "post": {
      "tags": ["commands"], "operationId": "command", "summary": "Runs one Redis command.",
      "parameters": [{"$ref": "#/components/parameters/Encoding"}],
      "requestBody": {"required": true, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Command"}, "example": ["SET", "example", "a value"]}}},
      "responses": {
        "200": {"description": "Its reply.", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Reply"}}}},
        "400": {"$ref": "#/components/responses/Error"}, "401": {"$ref": "#/components/responses/Error"}, "413": {"$ref": "#/components/responses/Error"}
      }
    }
  },
  "/pipeline": {
    "post": {
      "tags": ["commands"], "operationId": "pipeline", "summary": "Runs Redis commands one after the other.",
      "parameters": [{"$ref": "#/components/parameters/Encoding"}],
      "requestBody": {"required": true, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Commands"}, "example": [["SET", "example", 1], ["INCR", "example"]]}}},
      "responses": {
        "200": {"description": "Their replies.", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Replies"}}}},
        "400": {"$ref": "#/components/responses/Error"}, "401": {"$ref": "#/components/responses/Error"}, "413": {"$ref": "#/components/responses/Error"}
      }
    }
  },
  "/multi-exec": {
    "post": {
      "tags": ["commands"], "operationId": "multiExec", "summary": "Runs Redis commands as one transaction.",
      "parameters": [{"$ref": "#/components/parameters/Encoding"}],
      "requestBody": {"required": true, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Commands"}, "example": [["SET", "example", 1], ["INCR", "example"]]}}},
      "responses": {
        "200": {"description": "Their replies.", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Replies"}}}},
        "400": {"$ref": "#/components/responses/Error"}, "401": {"$ref": "#/components/responses/Error"}, "413": {"$ref": "#/components/responses/Error"}
      }
    }
  },
  "/metrics": {
    "get": {
      "tags": ["operations"], "operationId": "metrics", "summary": "Metrics in Prometheus' text format.",
      "responses": {"200": {"description": "Metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}}, "401": {"$ref": "#/components/responses/Text"}}
    }
  },
  "/healthz": {
    "get": {
      "tags": ["operations"], "operationId": "health", "summary": "200 while the process lives.", "security": [],
      "responses": {"200": {"description": "It does.", "content": {"text/plain": {"schema": {"type": "string"}}}}}
    }
  },
  "/readyz": {
    "get": {
      "tags": ["operations"], "operationId": "readiness", "summary": "Can it serve?",
      "responses": {
        "200": {"description": "It can.", "content": {"text/plain": {"schema": {"type": "string"}}}},
        "401": {"$ref": "#/components/responses/Text"},
        "503": {"description": "It cannot, and why: recovering, read-only, stalled, or stopping.", "content": {"text/plain": {"schema": {"type": "string"}}}}
      }
    }
  },
  "/openapi.json": {
    "get": {
      "tags": ["operations"], "operationId": "openapi", "summary": "This description.",
      "responses": {"200": {"description": "This description.", "content": {"application/json": {"schema": {"type": "object"}}}}, "401": {"$ref": "#/components/responses/Text"}}
    }
  }
},
"components": {
  "securitySchemes": {
    "bearer": {"type": "http", "scheme": "bearer", "description": "The password."},
    "basic": {"type": "http", "scheme": "basic", "description": "User default (or none), and the password."}
  },
  "parameters": {
    "Key": {"name": "key", "in": "path", "required": true, "description": "Percent-encoded; one segment.", "schema": {"type": "string", "minLength": 1}, "example": "example"},
    "IfMatch": {"name": "If-Match", "in": "header", "description": "Only if the value has one of these versions; *: only if there is one.", "schema": {"type": "string"}},
    "IfNoneMatch": {"name": "If-None-Match", "in": "header", "description": "Only if the value has none of these versions; *: only if there is none.", "schema": {"type": "string"}},
    "Encoding": {"name": "Upstash-Encoding", "in": "header", "description": "base64: texts in the replies are encoded, but for a status of OK.", "schema": {"type": "string", "enum": ["base64"]}}
  },
  "headers": {
    "ETag": {"description": "The version: a hash of the value and its type.", "schema": {"type": "string", "pattern": "^\"[0-9a-f]{16}\"$"}},
    "Ttl": {"description": "Milliseconds left; missing where there is no end.", "schema": {"type": "integer"}}
  },
  "responses": {
    "Text": {"description": "Why not, as a line.", "content": {"text/plain": {"schema": {"type": "string", "pattern": "\n$"}}}},
    "Problem": {"description": "Why not (RFC 9457).", "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}},
    "Error": {"description": "Why not, in Redis' words.", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
  },
  "schemas": {
    "Problem": {"type": "object", "required": ["type", "title", "status", "detail"], "additionalProperties": false, "properties": {"type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"}, "detail": {"type": "string"}}},
    "Page": {"type": "object", "required": ["keys"], "additionalProperties": false, "properties": {
      "keys": {"type": "array", "items": {"type": "object", "required": ["key", "path"], "additionalProperties": false, "properties": {
        "key": {"type": "string", "description": "For people: bytes that are no UTF-8 are replaced."},
        "path": {"type": "string", "description": "Where its value is, exactly."}}}},
      "cursor": {"type": "string", "description": "For the next page; missing: this is the last."}}},
    "Value": {"type": "object", "required": ["value"], "properties": {"value": {"type": "string"}}},
    "TimedValue": {"type": "object", "required": ["value"], "properties": {"value": {"type": "string"}, "ttl": {"type": ["integer", "null"], "minimum": 1, "description": "Seconds."}}},
    "Item": {"type": "object", "required": ["key", "value"], "additionalProperties": false, "properties": {"key": {"type": "string"}, "value": {"type": "string"}, "ttl": {"type": "integer", "description": "Seconds left."}}},
    "Command": {"type": "array", "minItems": 1, "items": {"type": ["string", "number", "boolean"]}},
    "Commands": {"type": "array", "items": {"$ref": "#/components/schemas/Command"}},
    "Reply": {"type": "object", "required": ["result"], "additionalProperties": false, "properties": {"result": {"type": ["string", "integer", "array", "null"]}}},
    "Error": {"type": "object", "required": ["error"], "additionalProperties": false, "properties": {"error": {"type": "string"}}},
    "Replies": {"type": "array", "items": {"anyOf": [{"$ref": "#/components/schemas/Reply"}, {"$ref": "#/components/schemas/Error"}]}}
  }
}
}) "\n";
/* clang-format on */

struct slice http_openapi(void) { return slice_of(description, sizeof description - 1); }
