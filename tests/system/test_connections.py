"""Commands about connections, and what a client must not send: replies, error texts and what happens to the connection
are Redis 7.2's.
"""
import time

import resp
import server
import tap

OK = resp.Simple(b'OK')
PONG = resp.Simple(b'PONG')
E = resp.Error


def varved(*args):
    """A server that answers writes quickly."""
    return server.Varved('--appendfsync', 'everysec', *args)


# ---- the protocol

@tap.test
def malformed_requests_get_their_error_and_a_closed_connection():
    cases = [
        (b'*x\r\n', b'invalid multibulk length'),
        (b'*03\r\n', b'invalid multibulk length'),
        (b'*2147483648\r\n', b'invalid multibulk length'),
        (b'*9223372036854775807\r\n', b'invalid multibulk length'),
        (b'*1\r\n$-5\r\n', b'invalid bulk length'),
        (b'*1\r\n$x\r\n', b'invalid bulk length'),
        (b'*1\r\n$536870913\r\n', b'invalid bulk length'),
        (b'*1\r\n$4294967296\r\n', b'invalid bulk length'),
        (b'*1\r\n+5\r\n', b"expected '$', got '+'"),
        (b'*2\r\n$3\r\nGET\r\nx\r\n', b"expected '$', got 'x'"),
        (b'SET "a\r\n', b'unbalanced quotes in request'),
        (b'x' * 65537, b'too big inline request'),
        (b'\0' + b'x' * 65537, b'too big inline request'),
        (b'*' + b'1' * 65537, b'too big mbulk count string'),
        (b'*1\r\n$' + b'1' * 65537, b'too big bulk count string'),
    ]
    with varved() as s:
        for data, text in cases:
            for before in (b'', resp.encode('PING') * 3):
                with s.connect() as c:
                    c.send_raw(before + data)
                    if before:
                        tap.eq([c.read(), c.read(), c.read()], [PONG, PONG, PONG])
                    tap.eq(c.read(), E(b'ERR Protocol error: ' + text))
                    tap.check(c.closed_by_server(), 'it stays open')
        tap.eq(s.call('PING'), PONG)


@tap.test
def empty_requests_are_passed_over():
    with varved() as s, s.connect() as c:
        c.send_raw(b'\r\n*0\r\n*-1\r\n*-10\r\n\r\n\n  \r\n*1\r\n$4\r\nPING\r\n')
        tap.eq(c.read(), PONG)
        tap.check(c.silent())
        tap.eq(c.call(''), E(b"ERR unknown command '', with args beginning with: "))


@tap.test
def another_protocol_is_closed_at_once():
    with varved() as s:
        for data in (b'POST / HTTP/1.1\r\nContent-Length: 12\r\n\r\nFLUSHALL\r\n\r\n', b'GET / HTTP/1.1\r\nHost: x\r\n\r\nSET a b\r\n',
                     b'host: x\r\nSET a b\r\n', resp.encode('POST', 'x') + resp.encode('SET', 'a', 'b')):
            with s.connect() as c:
                c.send_raw(data)
                tap.check(c.closed_by_server(), repr(data))
        tap.eq(s.call('EXISTS', 'a'), 0)
        tap.matches(s.log(), b'SECURITY ATTACK')


@tap.test
def error_texts_carry_no_line_ends():
    with varved() as s, s.connect() as c:
        for name in ('a\r\nb', 'x\r', '\n'):
            raw = c.raw(resp.encode(name, 'y\r\n+OK'))
            tap.check(raw.count(b'\r\n') == 1 and raw.count(b'\n') == 1, repr(raw))
        tap.eq(c.call('PING'), PONG)


@tap.test
def unknown_commands_and_wrong_counts():
    with varved() as s, s.connect() as c:
        tap.eq(c.call('NOSUCH', 'a', 'b'), E(b"ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' "))
        tap.eq(c.call('GET'), E(b"ERR wrong number of arguments for 'get' command"))
        tap.eq(c.call('PING', 'a', 'b'), E(b"ERR wrong number of arguments for 'ping' command"))
        tap.eq(c.call('CLIENT'), E(b"ERR wrong number of arguments for 'client' command"))
        tap.eq(c.call('CLIENT', 'NOPE'), E(b"ERR unknown subcommand 'NOPE'. Try CLIENT HELP."))
        tap.eq(c.call('CLIENT', 'SETNAME'), E(b"ERR wrong number of arguments for 'client|setname' command"))


# ---- before AUTH

@tap.test
def without_the_password_there_is_little_to_have():
    with varved('--requirepass', 'secret') as s:
        for data, text in ((b'*11\r\n', b'unauthenticated multibulk length'), (b'*1000000\r\n', b'unauthenticated multibulk length'),
                           (b'*2\r\n$16385\r\n', b'unauthenticated bulk length'),
                           (b'*2\r\n$536870912\r\n', b'unauthenticated bulk length')):
            with s.connect() as c:
                tap.eq(c.call('GET', 'k'), E(b'NOAUTH Authentication required.'))
                c.send_raw(data)
                tap.eq(c.read(), E(b'ERR Protocol error: ' + text))
                tap.check(c.closed_by_server())
        with s.connect() as c:
            for command in (('PING',), ('SET', 'a', 'b'), ('CONFIG', 'GET', '*'), ('CLIENT', 'LIST'), ('SHUTDOWN',), ('ECHO', 'x')):
                tap.eq(c.call(*command), E(b'NOAUTH Authentication required.'), command)
            tap.eq(c.call('NOSUCH'), E(b"ERR unknown command 'NOSUCH', with args beginning with: "))
            tap.eq(c.call('AUTH', 'wrong'), E(b'WRONGPASS invalid username-password pair or user is disabled.'))
            tap.eq(c.call('AUTH', 'nobody', 'secret'), E(b'WRONGPASS invalid username-password pair or user is disabled.'))
            tap.eq(c.call('AUTH', 'secretsecret'), E(b'WRONGPASS invalid username-password pair or user is disabled.'))
            tap.eq(c.call('AUTH', ''), E(b'WRONGPASS invalid username-password pair or user is disabled.'))
            tap.matches(c.call('HELLO', '3'), b'^NOAUTH HELLO must be called')
            tap.matches(c.call('HELLO', '3', 'AUTH', 'default', 'wrong'), b'^WRONGPASS')
            tap.eq(c.call('PING'), E(b'NOAUTH Authentication required.'))
            # once in, the same bytes are read under other limits
            c.send_raw(resp.encode('AUTH', 'secret') + resp.encode('DEL', *['k'] * 20) + resp.encode('ECHO', 'x' * 20000))
            tap.eq([c.read(), c.read(), c.read()], [OK, 0, b'x' * 20000])
            tap.eq(c.call('RESET'), resp.Simple(b'RESET'))
            tap.eq(c.call('PING'), E(b'NOAUTH Authentication required.'))
            tap.eq(c.call('AUTH', 'default', 'secret'), OK)
            tap.eq(c.call('PING'), PONG)
        with s.connect() as c:
            reply = c.call('HELLO', 3, 'AUTH', 'default', 'secret', 'SETNAME', 'me')
            tap.eq(reply.get(b'proto'), 3)
            tap.eq(c.call('CLIENT', 'GETNAME'), b'me')


@tap.test
def unread_refusals_do_not_pile_up():
    with varved('--requirepass', 'secret', '--maxmemory', '512mb') as s:
        c = s.connect()
        for _ in range(5):  # threads touch their memory after the start
            before = s.status_field('VmRSS')
            time.sleep(0.3)
            if s.status_field('VmRSS') <= before:
                break
        c.sock.setblocking(False)
        data = resp.encode('GET', 'k') * 5000
        end = time.monotonic() + 2
        while time.monotonic() < end:
            try:
                c.sock.send(data)
            except BlockingIOError:
                time.sleep(0.001)
            except ConnectionError:
                break
        grown = s.status_field('VmRSS') - before
        tap.check(tap.SANITIZER or grown < 16 << 10, f'{grown} kB of refusals are kept')
        c.close()


@tap.test
def a_password_set_later_concerns_new_connections():
    with varved() as s, s.connect() as c:
        tap.matches(c.call('AUTH', 'x'), b'^ERR AUTH <password> called without any password configured')
        tap.eq(c.call('AUTH', 'default', 'whatever'), OK)
        tap.eq(c.call('AUTH', 'a', 'b', 'c'), E(b'ERR syntax error'))
        tap.eq(c.call('CONFIG', 'SET', 'requirepass', 'p'), OK)
        tap.eq(c.call('PING'), PONG)
        with s.connect() as d:
            tap.eq(d.call('PING'), E(b'NOAUTH Authentication required.'))
            tap.eq(d.call('QUIT'), OK)
            tap.check(d.closed_by_server())
        tap.eq(c.call('CONFIG', 'SET', 'requirepass', ''), OK)
        with s.connect() as d:
            tap.eq(d.call('PING'), PONG)


# ---- HELLO, RESP3

@tap.test
def hello_chooses_the_protocol():
    with varved() as s, s.connect() as c:
        tap.eq(c.call('HELLO', 'x'), E(b'ERR Protocol version is not an integer or out of range'))
        tap.eq(c.call('HELLO', 1), E(b'NOPROTO unsupported protocol version'))
        tap.eq(c.call('HELLO', 4), E(b'NOPROTO unsupported protocol version'))
        tap.eq(c.call('HELLO', 3, 'FOO'), E(b"ERR Syntax error in HELLO option 'FOO'"))
        tap.eq(c.call('HELLO', 3, 'AUTH', 'default'), E(b"ERR Syntax error in HELLO option 'AUTH'"))
        tap.eq(c.call('HELLO', 3, 'SETNAME', 'a b'),
               E(b'ERR Client names cannot contain spaces, newlines or special characters.'))
        tap.eq(type(c.call('HELLO')), list)
        three = c.call('HELLO', 3)
        tap.eq(type(three), resp.Map)
        tap.eq([k for k, _ in three], [b'server', b'version', b'proto', b'id', b'mode', b'role', b'modules'])
        tap.eq(three.get(b'mode'), b'standalone')
        tap.eq(c.raw(resp.encode('GET', 'missing')), b'_\r\n')
        tap.eq(type(c.call('CLIENT', 'INFO')), resp.Verbatim)
        tap.eq(type(c.call('HELLO')), resp.Map)
        tap.eq(type(c.call('HELLO', 2)), list)
        tap.eq(c.raw(resp.encode('GET', 'missing')), b'$-1\r\n')


# ---- PING, ECHO, SELECT, QUIT, RESET

@tap.test
def small_commands():
    with varved() as s, s.connect() as c:
        tap.eq(c.call('PING'), PONG)
        tap.eq(c.call('ping', 'hi\r\n'), b'hi\r\n')
        tap.eq(c.call('ECHO', ''), b'')
        tap.eq(c.call('SELECT', 'a'), E(b'ERR value is not an integer or out of range'))
        tap.eq(c.call('SELECT', '16'), E(b'ERR DB index is out of range'))
        tap.eq(c.call('SELECT', '-1'), E(b'ERR DB index is out of range'))
        tap.eq(c.call('SELECT', '99999999999'), E(b'ERR value is out of range, value must between -2147483648 and 2147483647'))
        tap.eq(c.call('SELECT', '9'), OK)
        tap.eq(c.call('SET', 'in9', 'x'), OK)
        tap.eq(c.call('RESET'), resp.Simple(b'RESET'))
        tap.eq(c.call('GET', 'in9'), None)
        seconds, micros = (int(x) for x in c.call('TIME'))
        tap.check(abs(seconds - time.time()) < 5 and 0 <= micros < 1000000, 'TIME')
        tap.matches(c.call('LOLWUT'), rb'speaks Redis ver\. 7\.2')
        tap.eq(len(c.call('LOLWUT', 'VERSION', 5, 3)) > 50, True)
        c.send_raw(resp.encode('QUIT') + resp.encode('SET', 'after', 'quit'))
        tap.eq(c.read(), OK)
        tap.check(c.closed_by_server())
        tap.eq(s.call('EXISTS', 'after'), 0)


# ---- CLIENT

def clients(c):
    """CLIENT LIST as dicts."""
    return [dict(f.split('=', 1) for f in line.split(' ')) for line in c.call('CLIENT', 'LIST').decode().splitlines()]


@tap.cases(1, 2, 4)
def client_list_knows_everybody(threads):
    with varved('--io-threads', threads) as s:
        many = [s.connect() for _ in range(20)]
        for n, c in enumerate(many):
            tap.eq(c.call('CLIENT', 'SETNAME', f'n{n}'), OK)
            tap.eq(c.call('SELECT', n % 16), OK)
        rows = clients(many[0])
        tap.eq([r['name'] for r in rows], [f'n{n}' for n in range(20)])
        tap.eq([r['db'] for r in rows], [str(n % 16) for n in range(20)])
        tap.eq([r['cmd'] for r in rows], ['client|list'] + ['select'] * 19)
        ids = [int(r['id']) for r in rows]
        tap.eq(ids, sorted(ids))
        for c, r in zip(many, rows):
            tap.eq(c.call('CLIENT', 'ID'), int(r['id']))
            host, port = c.sock.getsockname()
            tap.eq(r['addr'], f'{host}:{port}')
            tap.eq(r['laddr'], f'127.0.0.1:{s.port}')
        want = b' '.join(k.encode() for k in 'id addr laddr fd name age idle flags db sub psub ssub multi qbuf qbuf-free argv-mem '
                         'multi-mem rbs rbp obl oll omem tot-mem events cmd user redir resp lib-name lib-ver'.split())
        line = many[3].call('CLIENT', 'INFO')
        tap.eq(b' '.join(f.split(b'=')[0] for f in line.rstrip(b'\n').split(b' ')), want)
        some = many[5].call('CLIENT', 'LIST', 'ID', ids[2], ids[7], 99999).decode().splitlines()
        tap.eq(len(some), 2)
        tap.eq(many[5].call('CLIENT', 'LIST', 'TYPE', 'normal').count(b'\n'), 20)
        for kind in ('master', 'replica', 'slave', 'pubsub'):
            tap.eq(many[5].call('CLIENT', 'LIST', 'TYPE', kind), b'')
        for c in many:
            c.close()


@tap.test
def client_errors():
    with varved() as s, s.connect() as c:
        for command, text in (
                ('LIST foo', b'ERR syntax error'), ('LIST TYPE foo', b"ERR Unknown client type 'foo'"),
                ('LIST ID x', b'ERR Invalid client ID'), ('LIST ID 0', b'ERR Invalid client ID'), ('LIST ID', b'ERR syntax error'),
                ('KILL 1.2.3.4:5', b'ERR No such client'), ('KILL ID 0', b'ERR client-id should be greater than 0'),
                ('KILL ID x', b'ERR client-id should be greater than 0'), ('KILL TYPE foo', b"ERR Unknown client type 'foo'"),
                ('KILL USER nob', b"ERR No such user 'nob'"), ('KILL ADDR 1 SKIPME maybe', b'ERR syntax error'),
                ('KILL ADDR 1 FOO', b'ERR syntax error'), ('KILL FOO 1', b'ERR syntax error'),
                ('REPLY foo', b'ERR syntax error'), ('NO-EVICT x', b'ERR syntax error'), ('NO-TOUCH x', b'ERR syntax error'),
                ('PAUSE x', b'ERR timeout is not an integer or out of range'), ('PAUSE -1', b'ERR timeout is negative'),
                ('PAUSE 1 foo', b'ERR CLIENT PAUSE mode must be WRITE or ALL'),
                ('SETNAME a\nb', b'ERR Client names cannot contain spaces, newlines or special characters.'),
                ('SETINFO LIB-NAME a\nb', b'ERR LIB-NAME cannot contain spaces, newlines or special characters.'),
                ('SETINFO foo bar', b"ERR Unrecognized option 'foo'")):
            tap.eq(c.call('CLIENT', *command.split(' ')), E(text), command)
        caching = b'ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled'
        for command, text in (
                ('TRACKING maybe', b'ERR syntax error'), ('TRACKING ON FOO', b'ERR syntax error'), ('CACHING YES', caching),
                ('CACHING maybe', caching),
                ('TRACKING ON PREFIX a', b'ERR PREFIX option requires BCAST mode to be enabled'),
                ('TRACKING ON BCAST OPTIN', b'ERR OPTIN and OPTOUT are not compatible with BCAST'),
                ('TRACKING ON OPTIN OPTOUT', b"ERR You can't specify both OPTIN mode and OPTOUT mode"),
                ('TRACKING ON REDIRECT 0', b'ERR The client ID you want redirect to does not exist'),
                ('TRACKING ON REDIRECT x', b'ERR value is not an integer or out of range')):
            tap.eq(c.call('CLIENT', *command.split(' ')), E(text), command)
        tap.eq(c.call('CLIENT', 'GETREDIR'), -1)
        tap.eq(c.call('CLIENT', 'GETNAME'), None)
        tap.eq(c.call('CLIENT', 'SETNAME', 'x'), OK)
        tap.eq(c.call('CLIENT', 'SETNAME', ''), OK)
        tap.eq(c.call('CLIENT', 'GETNAME'), None)
        tap.eq(c.call('CLIENT', 'SETINFO', 'lib-name', 'redis-py'), OK)
        tap.eq(c.call('CLIENT', 'SETINFO', 'LIB-VER', '1.2'), OK)
        tap.matches(c.call('CLIENT', 'INFO'), b'lib-name=redis-py lib-ver=1.2\n$')
        tap.eq(c.call('CLIENT', 'NO-EVICT', 'on'), OK)
        tap.eq(c.call('CLIENT', 'NO-TOUCH', 'ON'), OK)
        tap.matches(c.call('CLIENT', 'INFO'), b' flags=eT ')
        tap.matches(b'\n'.join(c.call('CLIENT', 'HELP')), b'^CLIENT <subcommand>')


@tap.cases(1, 2, 4)
def client_kill_closes_whom_it_names(threads):
    with varved('--io-threads', threads) as s:
        c = s.connect()
        others = [s.connect() for _ in range(8)]
        ids = [d.call('CLIENT', 'ID') for d in others]
        tap.eq(c.call('CLIENT', 'KILL', 'ID', ids[0]), 1)
        tap.check(others[0].closed_by_server())
        host, port = others[1].sock.getsockname()
        tap.eq(c.call('CLIENT', 'KILL', f'{host}:{port}'), OK)
        tap.check(others[1].closed_by_server())
        host, port = others[2].sock.getsockname()
        tap.eq(c.call('CLIENT', 'KILL', 'ADDR', f'{host}:{port}', 'TYPE', 'normal', 'USER', 'default'), 1)
        tap.check(others[2].closed_by_server())
        tap.eq(c.call('CLIENT', 'KILL', 'TYPE', 'pubsub'), 0)
        tap.eq(c.call('CLIENT', 'KILL', 'LADDR', '127.0.0.1:1'), 0)
        tap.eq(c.call('CLIENT', 'KILL', 'LADDR', f'127.0.0.1:{s.port}'), 5)
        for d in others[3:]:
            tap.check(d.closed_by_server())
        tap.eq(c.call('PING'), PONG)
        tap.eq(c.call('CLIENT', 'KILL', 'ID', c.call('CLIENT', 'ID')), 0)
        c.send_raw(resp.encode('CLIENT', 'KILL', 'ID', c.call('CLIENT', 'ID'), 'SKIPME', 'no') + resp.encode('SET', 'a', 'b'))
        tap.eq(c.read(), 1)
        tap.check(c.closed_by_server())
        tap.eq(s.call('EXISTS', 'a'), 0)


@tap.test
def client_reply_off_skip_on():
    with varved() as s, s.connect() as c:
        c.send_raw(resp.encode('CLIENT', 'REPLY', 'OFF') + resp.encode('SET', 'a', 1) + resp.encode('NOSUCH') +
                   resp.encode('CLIENT', 'LIST') + resp.encode('GET', 'a'))
        tap.check(c.silent(0.2), 'it talks')
        tap.eq(c.call('CLIENT', 'REPLY', 'ON'), OK)
        tap.eq(c.call('GET', 'a'), b'1')
        c.send_raw(resp.encode('CLIENT', 'REPLY', 'SKIP') + resp.encode('SET', 'a', 2) + resp.encode('GET', 'a'))
        tap.eq(c.read(), b'2')
        c.send_raw(resp.encode('CLIENT', 'REPLY', 'SKIP') + resp.encode('CLIENT', 'LIST') + resp.encode('PING'))
        tap.eq(c.read(), PONG)
        c.send_raw(resp.encode('CLIENT', 'REPLY', 'SKIP') + resp.encode('CLIENT', 'REPLY', 'ON') + resp.encode('PING'))
        tap.eq(c.read(), OK)
        tap.eq(c.read(), PONG)


@tap.test
def client_pause_makes_wait():
    with varved('--io-threads', 2) as s:
        with s.connect() as c, s.connect() as a, s.connect() as b:
            tap.eq(c.call('CLIENT', 'PAUSE', 100000, 'WRITE'), OK)
            a.send('SET', 'k', 'v')
            tap.eq(b.call('GET', 'k'), None)
            tap.check(a.silent(0.2), 'the write went through')
            tap.eq(b.call('CLIENT', 'UNPAUSE'), OK)
            tap.eq(a.read(), OK)
            start = time.monotonic()
            tap.eq(c.call('CLIENT', 'PAUSE', 400), OK)
            for d in (a, b):
                d.send('GET', 'k')
            tap.eq([a.read(), b.read()], [b'v', b'v'])
            took = time.monotonic() - start
            tap.check(0.35 < took < 3 * tap.PATIENCE, f'{took:.2f} s')


# ---- MONITOR

@tap.cases(1, 2)
def monitor_shows_what_is_executed(threads):
    with varved('--io-threads', threads) as s:
        with s.connect() as m, s.connect() as c:
            tap.eq(m.call('MONITOR'), OK)
            c.call('SELECT', 3)
            c.call('SET', 'k', 'a "b"\r\n\x00\xff'.encode('latin1'))
            c.call('NOSUCH')
            c.call('AUTH', 'default', 'password')
            c.call('GET', 'k')
            host, port = c.sock.getsockname()
            lines = [m.read() for _ in range(3)]
            for line in lines:
                tap.matches(line, rb'^\d+\.\d{6} \[\d+ 127\.0\.0\.1:%d\] "' % port)
            tap.matches(lines[0], rb'"SELECT" "3"$')
            tap.matches(lines[1], rb'\[3 .*\] "SET" "k" "a \\"b\\"\\r\\n\\x00\\xff"$')
            tap.matches(lines[2], rb'"GET" "k"$')
            tap.matches(c.call('CLIENT', 'LIST'), b'flags=O ')
            m.send('RESET')
            tap.until(lambda: m.read() == resp.Simple(b'RESET'), what='RESET ends it')
            c.call('GET', 'k')
            tap.check(m.silent(0.1), 'it goes on')
            tap.eq(m.call('PING'), PONG)


@tap.test
def monitors_see_one_order():
    with varved('--io-threads', 4) as s:
        watchers = [s.connect() for _ in range(4)]
        for m in watchers:
            tap.eq(m.call('MONITOR'), OK)
        writers = [s.connect() for _ in range(4)]
        count = 200
        for i in range(count):
            for n, w in enumerate(writers):
                w.send('SET', f'k{n}', i)
        for w in writers:
            for _ in range(count):
                tap.eq(w.read(), OK)
        seen = [[m.read().split(b'] ')[1] for _ in range(4 * count)] for m in watchers]
        for other in seen[1:]:
            tap.check(other == seen[0], 'two monitors saw different orders')


if __name__ == '__main__':
    tap.main()
