#!/usr/bin/python3
"""HTTP requests that are not: each is sent as raw bytes, gets its status and a closed connection, and the server serves on.
What follows such a request on the same connection is never executed, which is what smuggling would need."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import server  # noqa: E402
import tap  # noqa: E402
import web  # noqa: E402

S = server.Varved('--appendfsync', 'no', '--http-max-body', '1mb', '--http-header-timeout', '2', '--http-body-timeout', '2',
                  '--http-idle-timeout', '4', http=True)
PORT = S.http_port
SMUGGLED = b'PUT /kv/smuggled HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx'


def get(lines=b'', path=b'/kv/a', version=b'HTTP/1.1', host=b'Host: localhost\r\n'):
    return b'GET ' + path + b' ' + version + b'\r\n' + host + lines + b'\r\n'


def put(lines=b'', body=b''):
    return b'PUT /kv/a HTTP/1.1\r\nHost: localhost\r\n' + lines + b'\r\n' + body


def chunked(body):
    return put(b'Transfer-Encoding: chunked\r\n', body)


CASES = [
    ('Content-Length twice, different', 400, put(b'Content-Length: 1\r\nContent-Length: 2\r\n', b'xy')),
    ('Content-Length twice, the same', 400, put(b'Content-Length: 1\r\nContent-Length: 1\r\n', b'x')),
    ('Content-Length as a list', 400, put(b'Content-Length: 1, 1\r\n', b'x')),
    ('Content-Length with a plus', 400, put(b'Content-Length: +1\r\n', b'x')),
    ('Content-Length below zero', 400, put(b'Content-Length: -1\r\n', b'x')),
    ('Content-Length in hexadecimal', 400, put(b'Content-Length: 0x1\r\n', b'x')),
    ('Content-Length of nothing', 400, put(b'Content-Length:\r\n', b'x')),
    ('Content-Length with a space within', 400, put(b'Content-Length: 1 1\r\n', b'x')),
    ('Content-Length above 2^64', 400, put(b'Content-Length: 18446744073709551617\r\n', b'x')),
    ('Content-Length and Transfer-Encoding', 400, put(b'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', b'0\r\n\r\n')),
    ('Transfer-Encoding and Content-Length', 400, put(b'Transfer-Encoding: chunked\r\nContent-Length: 5\r\n', b'0\r\n\r\n')),
    ('Transfer-Encoding xchunked', 400, put(b'Transfer-Encoding: xchunked\r\n', b'0\r\n\r\n')),
    ('Transfer-Encoding chunked, identity', 400, put(b'Transfer-Encoding: chunked, identity\r\n', b'0\r\n\r\n')),
    ('Transfer-Encoding identity', 400, put(b'Transfer-Encoding: identity\r\n', b'')),
    ('Transfer-Encoding gzip, chunked', 400, put(b'Transfer-Encoding: gzip, chunked\r\n', b'0\r\n\r\n')),
    ('Transfer-Encoding twice', 400, put(b'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n', b'0\r\n\r\n')),
    ('Transfer-Encoding with a space before the colon', 400, put(b'Transfer-Encoding : chunked\r\n', b'0\r\n\r\n')),
    ('Transfer-Encoding with a vertical tab', 400, put(b'Transfer-Encoding: \x0bchunked\r\n', b'0\r\n\r\n')),
    ('Transfer-Encoding in HTTP/1.0', 400, b'PUT /kv/a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'),
    ('chunk size 0x5', 400, chunked(b'0x5\r\nhello\r\n0\r\n\r\n')),
    ('chunk size with a sign', 400, chunked(b'+5\r\nhello\r\n0\r\n\r\n')),
    ('chunk size with a space', 400, chunked(b'5 \r\nhello\r\n0\r\n\r\n')),
    ('chunk size empty', 400, chunked(b'\r\nhello\r\n0\r\n\r\n')),
    ('chunk size above 2^64', 400, chunked(b'10000000000000005\r\nhello\r\n0\r\n\r\n')),
    ('chunk longer than its size', 400, chunked(b'4\r\nhello\r\n0\r\n\r\n')),
    ('chunk size ended by LF', 400, chunked(b'5\nhello\r\n0\r\n\r\n')),
    ('chunk ended by LF', 400, chunked(b'5\r\nhello\n0\r\n\r\n')),
    ('chunk size ended by CR and a byte', 400, chunked(b'5\rXhello\r\n0\r\n\r\n')),
    ('bare LF behind the request line', 400, b'GET /kv/a HTTP/1.1\nHost: localhost\r\n\r\n'),
    ('bare LF behind a header', 400, b'GET /kv/a HTTP/1.1\r\nHost: localhost\n\r\n'),
    ('bare LF at the end', 400, b'GET /kv/a HTTP/1.1\r\nHost: localhost\r\n\n'),
    ('bare LFs only', 400, b'GET /kv/a HTTP/1.1\nHost: localhost\n\n'),
    ('CR within a line', 400, get(b'X: a\rb\r\n')),
    ('CR CR LF', 400, b'GET /kv/a HTTP/1.1\r\nHost: localhost\r\r\n\r\n'),
    ('folded header', 400, get(b'X: a\r\n b\r\n')),
    ('folded header with a tab', 400, get(b'X: a\r\n\tb\r\n')),
    ('folded header first', 400, b'GET /kv/a HTTP/1.1\r\n Host: localhost\r\n\r\n'),
    ('NUL in a value', 400, get(b'X: a\0b\r\n')),
    ('NUL in a name', 400, get(b'X\0Y: a\r\n')),
    ('NUL in the target', 400, get(path=b'/kv/a\0b')),
    ('escape character in a value', 400, get(b'X: a\x1bb\r\n')),
    ('DEL in a value', 400, get(b'X: a\x7fb\r\n')),
    ('header without colon', 400, get(b'Nothing\r\n')),
    ('header without name', 400, get(b': a\r\n')),
    ('space before the colon', 400, get(b'X : a\r\n')),
    ('space in a name', 400, get(b'X Y: a\r\n')),
    ('bytes above 127 in a name', 400, get(b'X\xe4: a\r\n')),
    ('no Host', 400, get(host=b'')),
    ('Host twice', 400, get(b'Host: localhost\r\n')),
    ('Host twice, different', 400, get(b'Host: example.org\r\n')),
    ('Host empty', 400, get(host=b'Host:\r\n')),
    ('Host with a user', 400, get(host=b'Host: a@localhost\r\n')),
    ('Host with a path', 400, get(host=b'Host: localhost/x\r\n')),
    ('two hosts in one', 400, get(host=b'Host: localhost, example.org\r\n')),
    ('no target', 400, b'GET HTTP/1.1\r\nHost: localhost\r\n\r\n'),
    ('no version', 400, b'GET /kv/a\r\nHost: localhost\r\n\r\n'),
    ('two spaces behind the method', 400, b'GET  /kv/a HTTP/1.1\r\nHost: localhost\r\n\r\n'),
    ('tab for a space', 400, b'GET\t/kv/a\tHTTP/1.1\r\nHost: localhost\r\n\r\n'),
    ('space first', 400, b' GET /kv/a HTTP/1.1\r\nHost: localhost\r\n\r\n'),
    ('a target that is none', 400, get(path=b'kv/a')),
    ('a fragment', 400, get(path=b'/kv/a#b')),
    ('raw bytes above 127 in the target', 400, get(path='/kv/ä'.encode())),
    ('HTTP/2.0', 505, get(version=b'HTTP/2.0')),
    ('HTTP/1.2', 505, get(version=b'HTTP/1.2')),
    ('HTTP/0.9', 505, get(version=b'HTTP/0.9')),
    ('HTTP/1.10', 400, get(version=b'HTTP/1.10')),
    ('http/1.1', 400, get(version=b'http/1.1')),
    ("HTTP/2's preface", 505, b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
    ('TLS', 400, b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n'),
    ('RESP', 400, b'*1\r\n$4\r\nPING\r\n'),
    ('a request line of 8193 bytes', 414, get(path=b'/kv/' + b'a' * (8193 - 17))),
    ('a request line without end', 414, b'GET /' + b'a' * 9000),
    ('101 header lines', 431, get(b''.join(b'X-%d: y\r\n' % i for i in range(100)))),
    ('headers of 16385 bytes', 431, get(b'X: ' + b'a' * 16384 + b'\r\n')),
    ('a header without end', 431, b'GET / HTTP/1.1\r\nHost: localhost\r\nX: ' + b'a' * 17000),
    ('unknown expectation', 417, put(b'Expect: 200-ok\r\nContent-Length: 1\r\n', b'x')),
    ('Authorization twice', 400, get(b'Authorization: Bearer a\r\nAuthorization: Bearer b\r\n')),
]


@tap.cases(*CASES)
def refused(_, status, data):
    before = S.call('DBSIZE')
    with web.Connection(PORT) as c:
        c.send(data + (SMUGGLED if data.endswith(b'\n') else b''))
        answer = c.answer()
        tap.eq(answer.status, status)
        tap.eq(answer.headers.get('connection'), 'close')
        tap.check(c.ends(), 'the connection stays open')
    tap.eq(S.call('DBSIZE'), before)
    tap.eq(S.call('EXISTS', 'smuggled'), 0)


@tap.cases(
    ('a request line of 8192 bytes', get(path=b'/kv/' + b'a' * (8192 - 17))),
    ('100 header lines', get(b''.join(b'X-%d: y\r\n' % i for i in range(99)))),
    ('an empty line before', b'\r\n' + get()),
    ('tabs and bytes above 127 in a value', get(b'X: \t\xc3\xa4 \t\r\n')),
    ('an absolute target', get(path=b'http://localhost/kv/a')),
    ('HTTP/1.0 without Host', b'GET /kv/a HTTP/1.0\r\n\r\n'),
)
def understood(_, data):
    with web.Connection(PORT) as c:
        c.send(data)
        tap.eq(c.answer().status, 404)


@tap.test
def every_way_to_cut_a_pipeline_gives_the_same_answers():
    data = (put(b'Content-Length: 5\r\n', b'hello') + get() + chunked(b'2;a=b\r\nwo\r\n3\r\nrld\r\n0\r\nT: x\r\n\r\n') + get() +
            b'HEAD /v1/kv/a HTTP/1.1\r\nHost: localhost\r\n\r\n' + get(b'Connection: close\r\n'))
    want = [(200, b''), (200, b'hello'), (200, b''), (200, b'world'), (200, b''), (200, b'world')]
    step = tap.pick(7, 1)
    for cut in list(range(1, len(data), step)) + [0]:
        with web.Connection(PORT) as c:
            for part in ([data[:cut], data[cut:]] if cut else [data[i:i + 1] for i in range(len(data))]):
                c.send(part)
                if cut:
                    time.sleep(0.001)
            got = [c.answer(head_only=i == 4) for i in range(6)]
            tap.eq([(a.status, a.body) for a in got], want, f'cut at {cut}')
            tap.check(c.ends(), 'open after Connection: close')


@tap.test
def a_body_above_the_limit_is_refused_before_it_is_sent():
    with web.Connection(PORT) as c:
        c.send(put(b'Content-Length: 1048577\r\nExpect: 100-continue\r\n'))
        answer = c.answer()
        tap.eq((answer.status, answer.body), (413, b'value too large\n'))
        tap.check(c.ends(), 'open')
    with web.Connection(PORT) as c:  # one that sends it all the same still sees the answer
        c.send(put(b'Content-Length: 1048577\r\n', b'x' * 1048577))
        tap.eq(c.answer().status, 413)
    with web.Connection(PORT) as c:
        c.send(chunked(b'100000\r\n' + b'x' * 1048576 + b'\r\n1\r\nx\r\n0\r\n\r\n'))
        answer = c.answer()
        tap.eq((answer.status, answer.body), (413, b'value too large\n'))
    tap.eq(web.ask(PORT, 'PUT', '/kv/large', b'x' * 1048576).status, 200)
    tap.eq(S.call('STRLEN', 'large'), 1048576)
    answer = web.ask(PORT, 'PUT', '/v1/kv/large', b'x' * 1048577)
    tap.eq((answer.status, answer.headers['content-type']), (413, 'application/problem+json'))


@tap.test
def chunks_of_nothing_but_framing_are_refused():
    with web.Connection(PORT) as c:
        c.send(put(b'Transfer-Encoding: chunked\r\n'))
        try:
            for _ in range(40):
                c.send(b'1;' + b'x' * 4000 + b'\r\na\r\n')
        except OSError:
            pass
        tap.eq(c.answer().status, 431)


@tap.test
def continue_is_said_when_the_body_is_wanted():
    with web.Connection(PORT) as c:
        c.send(put(b'Content-Length: 5\r\nExpect: 100-continue\r\n'))
        tap.eq(c.answer().status, 100)
        c.send(b'hello' + get())
        tap.eq(c.answer().status, 200)
        tap.eq(c.answer().body, b'hello')
        c.send(put(b'Content-Length: 5\r\nExpect: 100-continue\r\n', b'again') + get())  # nobody waits for it
        tap.eq((c.answer().status, c.answer().body), (200, b'again'))


@tap.test
def slow_senders_are_cut_off_at_the_deadline():
    started = time.monotonic()
    with web.Connection(PORT) as head, web.Connection(PORT) as body, web.Connection(PORT) as idle:
        head.send(b'GET /kv/a HTTP/1.1\r\n')
        body.send(put(b'Content-Length: 1000\r\n', b'x'))
        idle.request('GET', '/healthz')
        for c, data in ((head, b'X'), (body, b'x')):
            c.socket.settimeout(0.1)
            ended = None
            while time.monotonic() < started + 30 and ended is None:  # a byte at a time buys nothing
                try:
                    c.send(data)
                    ended = c.answer()
                except TimeoutError:
                    pass
            tap.check(ended is not None, 'never cut off')
            tap.eq(ended.status, 408)
        idle.socket.settimeout(30)
        tap.check(idle.ends(), 'an idle connection stays')
        tap.check(time.monotonic() > started + 3, 'an idle connection was closed too early')


@tap.test
def the_resp_port_closes_on_http_and_this_one_on_resp():
    with web.Connection(S.port) as c:
        c.send(b'POST / HTTP/1.1\r\nHost: localhost\r\n\r\n')
        tap.check(c.ends(), 'the RESP port answers a browser')
    with web.Connection(PORT) as c:
        c.send(b'*1\r\n$4\r\nPING\r\n')
        tap.eq(c.answer().status, 400)


@tap.test
def it_still_serves():
    tap.eq(web.ask(PORT, 'GET', '/healthz').status, 200)
    tap.eq(S.call('DBSIZE'), 2)
    S.stop()
    S.close()


tap.main()
