#!/usr/bin/python3
"""The HTTP interface: every row of docs/http.md, byte for byte, and that it is the same data, executor and durability as RESP."""
import base64
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import server  # noqa: E402
import tap  # noqa: E402
import web  # noqa: E402

S = server.Varved('--appendfsync', 'no', '--http-threads', '2', http=True)
R = S.connect()
C = web.Connection(S.http_port)
TEXT, JSON, BYTES, PROBLEM = ('text/plain; charset=utf-8', 'application/json', 'application/octet-stream',
                              'application/problem+json')


def rows(method, path, body, status, want, kind=None, headers=None):
    """One request on the common connection; the answer's status, body and type."""
    a = C.request(method, path, body, headers)
    tap.eq((a.status, a.body), (status, want), f'{method} {path}')
    if kind is not None:
        tap.eq(a.headers.get('content-type'), kind, f'{method} {path}')
    return a


def resp(*args):
    return R.call(*args)


# ---- the predecessors' dialects

@tap.test
def plain_text_under_kv():
    rows('PUT', '/kv/hello', b'world', 200, b'')
    rows('GET', '/kv/hello', None, 200, b'world', BYTES)
    tap.eq(resp('GET', 'hello'), b'world')
    everything = bytes(range(256))
    rows('PUT', '/kv/A-Z:a_z.0', everything, 200, b'')
    rows('GET', '/kv/A-Z:a_z.0?x=y', None, 200, everything)
    rows('GET', '/kv/%68ello', None, 200, b'world')
    rows('GET', '/kv/missing', None, 404, b'key not found\n', TEXT)
    rows('DELETE', '/kv/hello', None, 200, b'')
    rows('DELETE', '/kv/hello', None, 200, b'')
    rows('GET', '/kv/hello', None, 404, b'key not found\n')
    for method in ('GET', 'PUT', 'DELETE'):
        for path in ('/kv/', '/kv', '/kv/?a=b'):
            rows(method, path, b'x' if method == 'PUT' else None, 400, b'key cannot be empty\n', TEXT)
    rows('PUT', '/kv/a', b'', 400, b'value cannot be empty\n', TEXT)
    rows('PUT', '/kv/a', None, 400, b'value cannot be empty\n', TEXT)
    for key in ('a%20b', 'a/b', 'a%2Fb', '%00', 'caf%C3%A9', 'a%', 'a%4', 'a%zz', 'a+b', '~', '$x', 'a%0ab'):
        for method in ('GET', 'PUT', 'DELETE'):
            rows(method, '/kv/' + key, b'x' if method == 'PUT' else None, 400, b'key contains invalid characters\n', TEXT)
    for key in ('..', '.', '-', ':', '_', '...'):
        rows('PUT', '/kv/' + key, b'dots', 200, b'')
        rows('GET', '/kv/' + key, None, 200, b'dots')
    for method in ('POST', 'PATCH', 'OPTIONS', 'BREW', 'M-SEARCH', 'TRACE'):
        for path, allow in (('/kv/a', 'GET, PUT, DELETE'), ('/kv/', 'GET, PUT, DELETE'), ('/clear', 'DELETE')):
            a = rows(method, path, None, 405, b'method not allowed\n', TEXT)
            tap.eq(a.headers['allow'], allow)
    tap.eq(C.request('HEAD', '/kv/a').status, 405)
    rows('PUT', '/clear', b'x', 405, b'method not allowed\n')


@tap.test
def clear_empties_database_0_alone():
    resp('SET', 'here', '1')
    resp('SELECT', 1)
    resp('SET', 'there', '1')
    rows('DELETE', '/clear', None, 200, b'')
    tap.eq(resp('DBSIZE'), 1)
    resp('FLUSHDB')
    resp('SELECT', 0)
    tap.eq(resp('DBSIZE'), 0)


@tap.test
def json_under_set_get_delete():
    rows('POST', '/set/name', b'{"value":"daniel"}', 201, b'')
    rows('GET', '/get/name', None, 200, b'{"value":"daniel"}\n', JSON)
    tap.eq(resp('GET', 'name'), b'daniel')
    rows('DELETE', '/delete/name', None, 204, b'')
    rows('DELETE', '/delete/name', None, 204, b'')
    rows('GET', '/get/name', None, 404, b'key not found\n', TEXT)
    rows('POST', '/set/a%2Fb%20c', b'{"value":"\\u00e4\\u0000\\n\\"", "more": [1]}', 201, b'')
    tap.eq(resp('GET', 'a/b c'), 'ä\0\n"'.encode())
    rows('GET', '/get/a%2Fb%20c', None, 200, b'{"value":"\xc3\xa4\\u0000\\n\\""}\n')
    rows('POST', '/set/empty', b'{"value":""}', 201, b'')
    rows('GET', '/get/empty', None, 200, b'{"value":""}\n')
    resp('SET', 'bytes', b'a\xff\xc3(\xed\xa0\x80\xf4\x90\x80\x80z')
    rows('GET', '/get/bytes', None, 200, ('{"value":"a' + '�' * 2 + '(' + '�' * 7 + 'z"}\n').encode())
    deep = b'{"value":' + b'[' * 100000 + b']' * 100000 + b'}'
    for body in (b'', b'{', b'[]', b'"x"', b'null', b'{}', b'{"value":1}', b'{"value":null}', b'{"value":["x"]}',
                 b'{"Value":"x"}', b'{"value":"x"} y', b'{"value":"\xff"}', b'{"value":"\\ud800"}', b'{"value":"a\nb"}',
                 b"{'value':'x'}", deep, b'{"value":"x","ttl":}'):
        rows('POST', '/set/bad', body, 400, b'invalid body\n', TEXT)
    tap.eq(resp('EXISTS', 'bad'), 0)
    for method, path in (('GET', '/set/a'), ('PUT', '/set/a'), ('POST', '/get/a'), ('GET', '/delete/a'), ('POST', '/delete/a')):
        rows(method, path, None, 405, b'method not allowed\n')
    for path in ('/get/a/b', '/set/a/b', '/delete/a/b'):
        rows('GET', path, None, 404, b'not found\n')
    rows('GET', '/get/', None, 400, b'key cannot be empty\n')
    a = C.request('HEAD', '/get/empty')
    tap.eq((a.status, a.headers['content-length']), (200, '13'))


@tap.test
def json_with_a_ttl_at_the_root():
    rows('PUT', '/user123', b'{"value": "Saurab", "ttl": 3600}', 200, b'')
    rows('GET', '/user123', None, 200, b'{"key":"user123","value":"Saurab","ttl":3600}', JSON)
    tap.check(3590 <= resp('TTL', 'user123') <= 3600, 'no TTL over RESP')
    rows('PUT', '/user123', b'{"value": "Saurab"}', 200, b'')
    rows('GET', '/user123', None, 200, b'{"key":"user123","value":"Saurab"}', JSON)
    tap.eq(resp('TTL', 'user123'), -1)
    resp('PEXPIRE', 'user123', 3597200)
    rows('GET', '/user123', None, 200, b'{"key":"user123","value":"Saurab","ttl":3597}')
    rows('PUT', '/user123', b'{"value":"x","ttl":null}', 200, b'')
    tap.eq(resp('TTL', 'user123'), -1)
    rows('DELETE', '/user123', None, 200, b'')
    rows('DELETE', '/user123', None, 200, b'')
    tap.eq(rows('GET', '/user123', None, 404, b'key not found\n').status, 404)
    for body in (b'{"value":"x","ttl":0}', b'{"value":"x","ttl":-1}', b'{"value":"x","ttl":"1"}', b'{"value":"x","ttl":1.5}',
                 b'{"value":"x","ttl":9223372036854775807}', b'{"value":"x","ttl":99999999999999999999}', b'{"ttl":5}',
                 b'{"value":1}', b''):
        rows('PUT', '/bad', body, 400, b'invalid body\n', TEXT)
    rows('PUT', '/%6bv', b'{"value":"encoded"}', 200, b'')
    rows('GET', '/kv/kv', None, 200, b'encoded')
    rows('PUT', '/a/b', b'{"value":"x"}', 404, b'not found\n')
    rows('GET', '/a/', None, 404, b'not found\n')
    rows('POST', '/a', b'{"value":"x"}', 405, b'method not allowed\n')
    rows('PUT', '/short', b'{"value":"x","ttl":1}', 200, b'')
    tap.until(lambda: C.request('GET', '/short').status == 404, what='the end of a TTL')


@tap.test
def reserved_names_are_no_keys():
    for name in ('set', 'get', 'delete', 'console', 'cluster', 'v1', 'cluster/nodes', 'console/', 'v1/', 'v1/x', 'v1/kv/a/b'):
        for method in ('GET', 'PUT'):
            a = C.request(method, '/' + name, b'{"value":"x"}' if method == 'PUT' else None)
            tap.eq(a.status, 404, name)
    for name in ('metrics', 'healthz', 'readyz', 'openapi.json', 'pipeline', 'multi-exec', 'clear'):
        tap.eq(C.request('PUT', '/' + name, b'{"value":"x"}').status, 405, name)


@tap.test
def another_type_is_a_conflict():
    if isinstance(resp('RPUSH', 'list', 'a'), Exception) or resp('TYPE', 'list') != b'list':
        raise tap.Skip('no other type is there yet')
    for path in ('/kv/list', '/get/list', '/list'):
        rows('GET', path, None, 409, b'key holds another type\n', TEXT)
    a = C.request('GET', '/v1/kv/list')
    tap.eq((a.status, a.headers['content-type']), (409, PROBLEM))
    resp('DEL', 'list')


# ---- /v1/kv

@tap.test
def v1_keeps_bytes_types_and_versions():
    key, path = bytes(range(256)), '/v1/kv/' + ''.join(f'%{b:02x}' for b in range(256))
    a = rows('PUT', path, b'one', 201, b'', headers={'Content-Type': 'text/html; charset=utf-8'})
    tag = a.headers['etag']
    tap.matches(tag, r'^"[0-9a-f]{16}"$')
    tap.eq(resp('GET', key), b'one')
    a = rows('GET', path, None, 200, b'one', 'text/html; charset=utf-8')
    tap.eq(a.headers['etag'], tag)
    a = C.request('HEAD', path)
    tap.eq((a.status, a.headers['content-length'], a.headers['etag']), (200, '3', tag))
    a = rows('PUT', path, b'two', 204, b'')
    tap.check(a.headers['etag'] != tag, 'another value, the same version')
    a = rows('GET', path, None, 200, b'two', BYTES)
    resp('SET', key, 'one')
    tap.check(C.request('GET', path).headers['etag'] != tag, 'SET clears the content type, so it is another version')
    rows('PUT', path, b'one', 204, b'', headers={'Content-Type': 'text/html; charset=utf-8'})
    tap.eq(C.request('GET', path).headers['etag'], tag)
    rows('DELETE', path, None, 204, b'')
    a = rows('DELETE', path, None, 404, b'{"type":"about:blank","title":"Not Found","status":404,"detail":"key not found"}\n',
             PROBLEM)
    rows('GET', path, None, 404, b'{"type":"about:blank","title":"Not Found","status":404,"detail":"key not found"}\n', PROBLEM)
    rows('PUT', '/v1/kv/nothing', b'', 201, b'')
    rows('GET', '/v1/kv/nothing', None, 200, b'', BYTES)
    a = C.request('POST', '/v1/kv/a', b'x')
    tap.eq((a.status, a.headers['allow'], a.headers['content-type']), (405, 'GET, HEAD, PUT, DELETE', PROBLEM))
    tap.eq(C.request('PUT', '/v1/kv/a', b'x', {'Content-Type': 'x/' + 'y' * 254}).status, 400)
    tap.eq(C.request('PUT', '/v1/kv/', b'x').status, 400)


@tap.test
def v1_versions_are_the_same_for_every_shape_and_after_a_restart():
    global R, C
    tags = {}
    for size in (0, 1, 8191, 8192, 8193, 16384, 16385, 100000, 3000000):
        value = random.Random(size).randbytes(size)
        tags[size] = C.request('PUT', f'/v1/kv/v{size}', value, {'Content-Type': 'a/b'}).headers['etag']
        a = C.request('GET', f'/v1/kv/v{size}')
        tap.eq((a.status, a.body == value, a.headers['etag']), (200, True, tags[size]), str(size))
        resp('SET', 'copy', value)
        plain = C.request('HEAD', '/v1/kv/copy').headers['etag']
        resp('SET', 'copy', '')
        for at in range(0, size, 50000):  # the same bytes, but in pieces
            resp('APPEND', 'copy', value[at:at + 50000])
        tap.eq(C.request('HEAD', '/v1/kv/copy').headers['etag'], plain)
    S.restart()
    R, C = S.connect(), web.Connection(S.http_port)
    for size, tag in tags.items():
        a = C.request('GET', f'/v1/kv/v{size}')
        tap.eq((a.headers['etag'], a.headers['content-type'], len(a.body)), (tag, 'a/b', size))


@tap.test
def v1_conditions():
    one = rows('PUT', '/v1/kv/c', b'1', 201, b'', headers={'If-None-Match': '*'}).headers['etag']
    for headers, status in (({'If-None-Match': '*'}, 412), ({'If-Match': '"0000000000000000"'}, 412), ({'If-Match': one}, 204),
                            ({'If-Match': f'"x", {one}'}, 204), ({'If-Match': 'W/' + one}, 412), ({'If-Match': '*'}, 204),
                            ({'If-None-Match': one}, 412), ({'If-None-Match': 'W/' + one}, 412),
                            ({'If-None-Match': '"other"'}, 204), ({'If-Match': 'garbage'}, 412), ({'If-Match': '"'}, 412)):
        tap.eq(C.request('PUT', '/v1/kv/c', b'1', headers).status, status, str(headers))
    tap.eq(C.request('PUT', '/v1/kv/none', b'1', {'If-Match': '*'}).status, 412)
    tap.eq(C.request('PUT', '/v1/kv/none', b'1', {'If-Match': one}).status, 412)
    tap.eq(resp('EXISTS', 'none'), 0)
    for headers, status in (({'If-None-Match': one}, 304), ({'If-None-Match': 'W/' + one}, 304), ({'If-None-Match': '*'}, 304),
                            ({'If-None-Match': '"x"'}, 200), ({'If-Match': one}, 200), ({'If-Match': '"x"'}, 412)):
        a = C.request('GET', '/v1/kv/c', None, headers)
        tap.eq(a.status, status, str(headers))
        if status == 304:
            tap.eq((a.headers['etag'], a.body), (one, b''))
    tap.eq(C.request('DELETE', '/v1/kv/c', None, {'If-Match': '"x"'}).status, 412)
    tap.eq(C.request('DELETE', '/v1/kv/c', None, {'If-Match': one}).status, 204)


@tap.test
def v1_counters_by_compare_and_swap_lose_nothing():
    rows('PUT', '/v1/kv/n', b'0', 201, b'')
    rounds, workers = tap.pick(20, 200), 4

    def count():
        with web.Connection(S.http_port) as c:
            done = 0
            while done < rounds:
                a = c.request('GET', '/v1/kv/n')
                b = c.request('PUT', '/v1/kv/n', str(int(a.body) + 1).encode(), {'If-Match': a.headers['etag']})
                done += b.status == 204
    threads = [threading.Thread(target=count) for _ in range(workers)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    tap.eq(resp('GET', 'n'), str(rounds * workers).encode())


@tap.test
def v1_ttl():
    rows('PUT', '/v1/kv/t?ttl=100', b'x', 201, b'')
    tap.check(99000 < resp('PTTL', 't') <= 100000, 'ttl')
    rows('PUT', '/v1/kv/t?ttl_ms=5000', b'x', 204, b'')
    tap.check(4000 < resp('PTTL', 't') <= 5000, 'ttl_ms')
    tap.check(0 < int(C.request('GET', '/v1/kv/t').headers['varve-ttl-ms']) <= 5000, 'the field')
    rows('PUT', '/v1/kv/t', b'x', 204, b'')
    tap.eq(resp('PTTL', 't'), -1)
    for query in ('ttl=0', 'ttl=-1', 'ttl=x', 'ttl=1&ttl_ms=1', 'ttl_ms=0', 'ttl=1.5', 'ttl=99999999999999999999'):
        a = C.request('PUT', '/v1/kv/t?' + query, b'y')
        tap.eq((a.status, a.headers['content-type']), (400, PROBLEM), query)
    tap.eq(C.request('PUT', '/v1/kv/t?ttl=9223372036854775', b'y').status, 400)
    tap.eq(resp('GET', 't'), b'x')
    rows('PUT', '/v1/kv/t?ttl_ms=1', b'y', 204, b'')
    tap.until(lambda: C.request('GET', '/v1/kv/t').status == 404, what='the end of a TTL')


@tap.test
def v1_lists_by_prefix():
    rows('DELETE', '/clear', None, 200, b'')
    keys = {f'l[*?\\]^-{i}'.encode() for i in range(300)} | {b'l[*?\\]^-\xff\0/ %'}
    for k in keys:
        resp('SET', k, 'v')
        resp('SET', b'x' + k, 'v')
    found, cursor, pages = [], None, 0
    while True:
        query = '/v1/kv?limit=50&prefix=l%5B%2A%3F%5C%5D%5E-' + (f'&cursor={cursor}' if cursor else '')
        page = json.loads(rows('GET', query, None, 200, C.request('GET', query).body, JSON).body)
        found += [urllib.request.unquote(e['path'][len('/v1/kv/'):], 'latin-1').encode('latin-1') for e in page['keys']]
        pages += 1
        cursor = page.get('cursor')
        if cursor is None:
            break
    tap.eq(sorted(found), sorted(keys))
    tap.check(pages > 3, 'one page only')
    tap.check({'key': 'l[*?\\]^-�\0/ %', 'path': '/v1/kv/l%5B%2A%3F%5C%5D%5E-%FF%00%2F%20%25'} in
              json.loads(C.request('GET', '/v1/kv?limit=10000').body)['keys'], 'the odd key')
    for query in ('limit=0', 'limit=x', 'limit=10001', 'cursor=x', 'prefix=%zz', 'cursor=-1'):
        tap.eq(C.request('GET', '/v1/kv?' + query).status, 400, query)


# ---- Redis commands as JSON

def post(path, what, headers=None, status=200):
    a = C.request('POST', path, json.dumps(what).encode() if not isinstance(what, bytes) else what, headers)
    tap.eq(a.status, status, str(what)[:100])
    tap.eq(a.headers['content-type'], JSON)
    return json.loads(a.body)


@tap.test
def commands_as_json():
    tap.eq(post('/', ['SET', 'k', 'v']), {'result': 'OK'})
    tap.eq(post('/', ['GET', 'k']), {'result': 'v'})
    tap.eq(post('/', ['GET', 'nope']), {'result': None})
    tap.eq(post('/', ['SET', 'n', 5]), {'result': 'OK'})
    tap.eq(post('/', ['INCRBY', 'n', 3]), {'result': 8})
    tap.eq(post('/', ['SET', 'f', 1.5]), {'result': 'OK'})
    tap.eq(resp('GET', 'f'), b'1.5')
    tap.eq(post('/', ['SET', 'b', True]), {'result': 'OK'})
    tap.eq(resp('GET', 'b'), b'true')
    tap.eq(post('/', ['MGET', 'k', 'nope', 'n']), {'result': ['v', None, '8']})
    tap.eq(post('/', ['PING']), {'result': 'PONG'})
    tap.eq(post('/', ['DBSIZE'])['result'], resp('DBSIZE'))
    tap.eq(post('/', ['COMMAND', 'INFO', 'get', 'nope'])['result'][0][:2], ['get', 2])
    tap.eq(post('/', ['INCR', 'k'], status=400), {'error': 'ERR value is not an integer or out of range'})
    tap.eq(post('/', ['NOPE', 'x'], status=400),
           {'error': "ERR unknown command 'NOPE', with args beginning with: 'x' "})
    tap.eq(post('/', ['GET'], status=400), {'error': "ERR wrong number of arguments for 'get' command"})
    for bad in (b'', b'{}', b'[]', b'x', b'["GET",null]', b'["GET",["a"]]', b'["GET",{}]', b'[' * 3000):
        tap.eq(post('/', bad, status=400), {'error': 'ERR failed to parse command'})
    for name in (['SELECT', 1], ['MONITOR'], ['AUTH', 'x'], ['HELLO', 3], ['CLIENT', 'REPLY', 'OFF'], ['QUIT'], ['RESET']):
        tap.matches(post('/', name, status=400)['error'], 'not available over HTTP')
    tap.eq(post('/', ['MSET'] + [str(i) for i in range(1000)]), {'result': 'OK'})  # more arguments than a batch has room for
    tap.eq(post('/', ['MGET'] + [str(i) for i in range(0, 1000, 2)])['result'], [str(i) for i in range(1, 1000, 2)])
    a = C.request('GET', '/')
    tap.eq((a.status, a.headers['allow'], json.loads(a.body)), (405, 'POST', {'error': 'method not allowed'}))


@tap.test
def pipelines_as_json():
    tap.eq(post('/pipeline', [['SET', 'p', '1'], ['INCR', 'p'], ['INCR', 'k'], ['NOPE'], ['GET', 'p'], 'x', []]),
           [{'result': 'OK'}, {'result': 2}, {'error': 'ERR value is not an integer or out of range'},
            {'error': "ERR unknown command 'NOPE', with args beginning with: "}, {'result': '2'},
            {'error': 'ERR failed to parse command'}, {'error': 'ERR failed to parse command'}])
    tap.eq(post('/pipeline', []), [])
    tap.eq(post('/pipeline', [['NOPE']] * 2), [{'error': "ERR unknown command 'NOPE', with args beginning with: "}] * 2)
    many = [['SET', f'many{i}', i] for i in range(5000)] + [['GET', f'many{i}'] for i in range(5000)]
    tap.eq(post('/pipeline', many), [{'result': 'OK'}] * 5000 + [{'result': str(i)} for i in range(5000)])
    tap.eq(post('/pipeline', {'a': 1}, status=400), {'error': 'ERR failed to parse command'})


@tap.test
def transactions_as_json():
    tap.eq(post('/multi-exec', [['SET', 'm', '1'], ['INCR', 'm'], ['LPUSH', 'm', 'x'], ['GET', 'm'], ['MGET', 'm', 'nope']]),
           [{'result': 'OK'}, {'result': 2},
            {'error': 'WRONGTYPE Operation against a key holding the wrong kind of value'}, {'result': '2'}, {'result': ['2', None]}])
    tap.eq(post('/multi-exec', []), [])
    for bad, why in ((['NOPE'], "ERR unknown command 'NOPE', with args beginning with: "),
                     (['GET'], "ERR wrong number of arguments for 'get' command"), ('x', 'ERR failed to parse command'),
                     (['MULTI'], "ERR 'multi' is not available over HTTP"), (['WATCH', 'a'], "ERR 'watch' is not available over HTTP"),
                     (['CONFIG', 'GET', 'port'], "ERR 'config|get' is not available in a transaction over HTTP")):
        tap.eq(post('/multi-exec', [['SET', 'm', 'changed'], bad, ['SET', 'm', 'changed']], status=400), {'error': why})
        tap.eq(resp('GET', 'm'), b'2')
    tap.eq(post('/', ['PING']), {'result': 'PONG'})  # the same connection, outside of any transaction
    tap.eq(post('/multi-exec', [['SET', f'm{i}', i] for i in range(3000)]), [{'result': 'OK'}] * 3000)
    tap.eq(post('/multi-exec', [['GET', 'm'], ['PING'], ['DBSIZE']], {'Upstash-Encoding': 'base64'})[:2],
           [{'result': 'Mg=='}, {'result': 'UE9ORw=='}])


@tap.test
def transactions_are_whole_to_everybody():
    rounds, seen, stop = tap.pick(150, 3000), [], threading.Event()
    post('/multi-exec', [['SET', 'ta', '0'], ['SET', 'tb', '0']])

    def watch():
        with S.connect() as c:
            while not stop.is_set():
                a, b = c.call('MGET', 'ta', 'tb')
                if a != b:
                    seen.append((a, b))
    t = threading.Thread(target=watch)
    t.start()
    for i in range(rounds):
        post('/multi-exec', [['INCR', 'ta'], ['INCR', 'tb']])
    stop.set()
    t.join()
    tap.eq(seen, [])
    tap.eq(resp('MGET', 'ta', 'tb'), [str(rounds).encode()] * 2)


@tap.test
def commands_in_base64():
    h = {'Upstash-Encoding': 'base64'}
    resp('SET', 'raw', b'\xff\0OK')
    tap.eq(post('/', ['GET', 'raw'], h), {'result': base64.b64encode(b'\xff\0OK').decode()})
    tap.eq(post('/', ['SET', 'raw', 'OK'], h), {'result': 'OK'})
    tap.eq(post('/', ['GET', 'raw'], h), {'result': 'T0s='})
    tap.eq(post('/pipeline', [['MGET', 'raw', 'nope'], ['STRLEN', 'raw'], ['ECHO', '']], h),
           [{'result': ['T0s=', None]}, {'result': 2}, {'result': ''}])
    for n in range(7):
        tap.eq(post('/', ['ECHO', 'x' * n], h), {'result': base64.b64encode(b'x' * n).decode()})


@tap.test
def long_values_in_every_dialect():
    value = ''.join(random.Random(1).choices('abcdefg"\\\n', k=tap.pick(1_200_000, 9_000_000)))
    resp('SET', 'long', value)
    tap.check(C.request('GET', '/kv/long').body == value.encode(), '/kv')
    tap.check(json.loads(C.request('GET', '/get/long').body)['value'] == value, '/get')
    tap.check(json.loads(C.request('GET', '/long').body)['value'] == value, '/')
    tap.check(C.request('GET', '/v1/kv/long').body == value.encode(), '/v1')
    tap.check(post('/', ['GET', 'long'])['result'] == value, 'as JSON')
    tap.check(post('/pipeline', [['GET', 'long'], ['PING'], ['GET', 'long']]) ==
              [{'result': value}, {'result': 'PONG'}, {'result': value}], 'as a pipeline')
    for path in ('/kv/long', '/v1/kv/long'):  # more requests behind it, and a client that goes away in the middle
        with web.Connection(S.http_port) as c:
            c.send(f'GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n'.encode() * 2 + b'GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n')
            tap.check(c.answer().body == value.encode() and c.answer().body == value.encode(), 'pipelined')
            tap.eq(c.answer().body, b'ok\n')
        with web.Connection(S.http_port) as c:
            c.send(f'GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n'.encode())
            c.socket.recv(1000)
    resp('DEL', 'long')


# ---- who may ask

@tap.test
def a_password_is_wanted_in_every_dialect():
    with server.Varved('--appendfsync', 'no', '--requirepass', 'se:cret', http=True) as s, web.Connection(s.http_port) as c:
        good = [{'Authorization': 'Bearer se:cret'}, {'Authorization': 'bearer se:cret'},
                {'Authorization': 'Basic ' + base64.b64encode(b'default:se:cret').decode()},
                {'Authorization': 'Basic ' + base64.b64encode(b':se:cret').decode()}]
        bad = [{}, {'Authorization': 'Bearer se:cre'}, {'Authorization': 'Bearer se:cret '[:-1] + 'x'}, {'Authorization': 'se:cret'},
               {'Authorization': 'Basic ' + base64.b64encode(b'other:se:cret').decode()}, {'Authorization': 'Basic ?'},
               {'Authorization': 'Basic ' + base64.b64encode(b'se:cret').decode()}, {'Authorization': 'Bearer '}]
        asked = [('PUT', '/kv/a', b'x'), ('GET', '/kv/a', None), ('GET', '/get/a', None), ('GET', '/a', None),
                 ('GET', '/v1/kv/a', None), ('POST', '/', b'["PING"]'), ('POST', '/pipeline', b'[["PING"]]'), ('GET', '/metrics', None),
                 ('GET', '/readyz', None), ('DELETE', '/clear', None), ('GET', '/openapi.json', None)]
        for method, path, body in asked:
            for headers in bad:
                a = c.request(method, path, body, headers)
                tap.eq(a.status, 401, f'{path} {headers}')
                tap.check('Bearer' in a.headers['www-authenticate'] and 'Basic' in a.headers['www-authenticate'], 'no challenge')
            for headers in good:
                tap.eq(c.request(method, path, body, headers).status, 200, f'{path} {headers}')
        tap.eq(c.request('GET', '/healthz').status, 200)
        tap.eq(json.loads(c.request('POST', '/', b'["PING"]').body), {'error': 'NOAUTH Authentication required.'})
        with web.Connection(s.http_port) as other:  # what was shown on one request is not remembered
            tap.eq(other.request('GET', '/readyz', None, good[0]).status, 200)
            tap.eq(other.request('GET', '/kv/a').status, 401)
        with web.Connection(s.http_port) as other:
            other.send(b'PUT /kv/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n')
            tap.eq(other.answer().status, 401)
        tap.eq(c.request('GET', '/readyz', None, {**good[0], 'Origin': 'null'}).status, 200)


@tap.test
def pages_of_other_origins_write_nothing():
    with server.Varved('--appendfsync', 'no', '--http-hosts', 'store.example', http=True) as s:
        here = f'localhost:{s.http_port}'

        def ask(method, path, host, origin=None, body=None):
            with web.Connection(s.http_port) as c:
                lines = [f'{method} {path} HTTP/1.1', f'Host: {host}', f'Content-Length: {len(body or b"")}']
                lines += [f'Origin: {origin}'] if origin else []
                c.send('\r\n'.join(lines).encode() + b'\r\n\r\n' + (body or b''))
                return c.answer()
        form = b'{"value":"x"}'
        for host in ('localhost', here, f'127.0.0.1:{s.http_port}', '[::1]:80', 'store.example', 'STORE.example:80', '10.0.0.1'):
            tap.eq(ask('POST', '/set/a', host, body=form).status, 201, host)
        for host in ('evil.example', f'evil.example:{s.http_port}', 'localhost.evil.example', '127.0.0.1.evil.example', '[x]'):
            a = ask('GET', '/get/a', host)
            tap.eq((a.status, a.body), (403, b'host not allowed\n'), host)
        for origin in ('http://evil.example', 'null', 'https://evil.example', 'http://localhost', f'ftp://{here}', 'http://'):
            for method, path in (('POST', '/set/a'), ('PUT', '/kv/a'), ('DELETE', '/clear'), ('POST', '/'), ('PUT', '/v1/kv/a')):
                tap.eq(ask(method, path, here, origin, b'["FLUSHALL"]').status, 403, f'{origin} {path}')
        tap.eq(ask('POST', '/set/a', here, f'http://{here}', form).status, 201)
        a = ask('GET', '/get/a', here, 'http://evil.example')
        tap.check('access-control-allow-origin' not in a.headers, 'a page of another origin may read')
        tap.eq(ask('OPTIONS', '/set/a', here, 'http://evil.example').status, 403)
        tap.eq(s.call('GET', 'a'), b'x')
        s.call('CONFIG', 'SET', 'http-hosts', '*')
        tap.until(lambda: ask('GET', '/get/a', 'evil.example').status == 200, what='http-hosts *')


@tap.test
def the_default_address_is_a_wish_and_a_configured_one_a_demand():
    import socket
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(('127.0.0.1', 8080))
            taken.listen()
        except OSError:
            tap.diag('port 8080 is in use already, which is as good')
        class Default(server.Varved):
            def command(self):
                return [self.program, '--port', str(self.port), '--dir', self.dir] + self.args
        with Default() as s:
            tap.check(b'no HTTP' in s.log(), 'it does not say so')
            tap.eq(s.call('DBSIZE'), 0)
        with socket.socket() as other:
            other.bind(('127.0.0.1', 0))
            other.listen()
            try:
                with server.Varved('--http-addr', f'127.0.0.1:{other.getsockname()[1]}', port=server.free_port()):
                    tap.check(False, 'it started')
            except server.ServerError as why:
                tap.matches(str(why), 'cannot listen on 127.0.0.1 port')


# ---- the same executor

@tap.test
def commands_are_counted_shown_and_paused_as_over_resp():
    before = S.info()
    rows('PUT', '/kv/counted', b'x', 200, b'')
    rows('PUT', '/v1/kv/counted', b'x', 204, b'')
    rows('GET', '/counted', None, 200, b'{"key":"counted","value":"x"}')
    after = S.info()

    def calls(info, name):
        return int(info.get('cmdstat_' + name, 'calls=0,').split(',')[0].split('=')[1])
    tap.eq(calls(after, 'set') - calls(before, 'set'), 2)
    tap.eq(calls(after, 'get') - calls(before, 'get'), 1)
    tap.eq(int(after['keyspace_hits']) - int(before['keyspace_hits']), 1)
    with S.connect() as m:
        m.call('MONITOR')
        rows('PUT', '/kv/seen', b'x', 200, b'')
        tap.matches(bytes(m.read()), rb'"set" "seen" "x"')
    resp('CLIENT', 'PAUSE', 300, 'WRITE')
    started = time.monotonic()
    rows('GET', '/kv/seen', None, 200, b'x')
    rows('PUT', '/kv/seen', b'y', 200, b'')
    tap.check(time.monotonic() > started + 0.1, 'it was not paused')


@tap.test
def a_client_that_pipelines_and_closes_gets_what_it_asked_for():
    with web.Connection(S.http_port) as c:
        n = tap.pick(500, 5000)
        c.send(b''.join(b'PUT /kv/p%d HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx' % i for i in range(n)))
        c.socket.shutdown(1)
        for _ in range(n):
            tap.eq(c.answer().status, 200)
        tap.check(c.ends(), 'open')
    tap.eq(resp('GET', f'p{n - 1}'), b'x')


@tap.test
def keep_alive_as_each_version_wants_it():
    for version, field, stays in (('1.1', '', True), ('1.1', 'Connection: close\r\n', False), ('1.0', '', False),
                                  ('1.0', 'Connection: keep-alive\r\n', True)):
        with web.Connection(S.http_port) as c:
            c.send(f'GET /healthz HTTP/{version}\r\nHost: localhost\r\n{field}\r\n'.encode())
            a = c.answer()
            tap.eq(a.headers.get('connection'), {('1.1', True): None, ('1.0', True): 'keep-alive'}.get((version, stays), 'close'))
            if stays:
                tap.eq(c.request('GET', '/healthz').status, 200)
            else:
                tap.check(c.ends(), 'it stays')


@tap.test
def urllib_as_it_comes():
    base = f'http://127.0.0.1:{S.http_port}'

    def ask(method, path, data=None):
        try:
            with urllib.request.urlopen(urllib.request.Request(base + path, data, method=method), timeout=60) as a:
                return a.status, a.read()
        except urllib.error.HTTPError as e:
            return e.code, e.read()
    tap.eq(ask('PUT', '/kv/u', b'v' * 100000), (200, b''))
    tap.eq(ask('GET', '/kv/u'), (200, b'v' * 100000))
    tap.eq(ask('DELETE', '/kv/u'), (200, b''))
    tap.eq(ask('GET', '/kv/u'), (404, b'key not found\n'))


@tap.test
def wrk_as_it_comes():
    if not shutil.which('wrk'):
        raise tap.Skip('wrk is not installed')
    with tempfile.TemporaryDirectory() as d:
        with open(d + '/put.lua', 'w', encoding='ascii') as f:
            f.write('local n = 0\n'
                    'function request() n = (n + 1) % 100; '
                    'return wrk.format("PUT", "/kv/wrk:" .. n, nil, "value " .. n) end\n'
                    'function response(status, headers, body) if status ~= 200 or body ~= "" then error(status) end end\n')
        base = f'http://127.0.0.1:{S.http_port}'
        for args in (('-s', d + '/put.lua', base), (base + '/kv/wrk:7',), ('-H', 'Connection: close', base + '/get/wrk:7')):
            p = subprocess.run(['wrk', '-t2', '-c20', '-d1s', *args], capture_output=True, timeout=60, check=False)
            tap.eq((p.returncode, p.stderr), (0, b''))
            tap.matches(p.stdout, rb'[1-9]\d* requests in ')
            tap.check(b'Non-2xx' not in p.stdout and b'Socket errors' not in p.stdout, p.stdout)
    tap.eq([S.call('GET', f'wrk:{n}') for n in range(100)], [b'value %d' % n for n in range(100)])


@tap.test
def operations():
    tap.eq((C.request('GET', '/healthz').body, C.request('GET', '/readyz').body), (b'ok\n', b'ready\n'))
    tap.eq(C.request('HEAD', '/healthz').headers['content-length'], '3')
    tap.matches(C.request('GET', '/healthz').headers['date'], r'^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$')


@tap.test
def it_ends_cleanly_with_connections_open():
    with web.Connection(S.http_port) as idle, web.Connection(S.http_port) as half:
        idle.request('GET', '/healthz')
        half.send(b'PUT /kv/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nab')
        S.stop()
    S.close()


tap.main()
