#!/usr/bin/python3
"""Input that is wrong, extreme or meant to harm: each gets a clear error, and the server serves on. What Redis answers
too is compared with redis-server, byte for byte.
"""
import random
import socket
import threading
import time

import resp
import server
import tap

OK = resp.Simple(b'OK')
PONG = resp.Simple(b'PONG')
NUMBERS = [b'0', b'-0', b'-1', b'-2', b'-10', b'', b' ', b' 1', b'1 ', b'+1', b'01', b'00', b'1.0', b'1e1', b'0x1', b'x', b'-', b'--1',
           b'2147483647', b'2147483648', b'-2147483648', b'-2147483649', b'4294967295', b'4294967296', b'4294967297',
           b'9223372036854775807', b'9223372036854775808', b'-9223372036854775808', b'-9223372036854775809',
           b'18446744073709551615', b'18446744073709551616', b'1' * 100]


def varved(*args):
    return server.Varved('--appendfsync', 'everysec', '--io-threads', '2', *args)


def everything(s, data):
    """What comes back for these bytes until the server closes, after the client has closed its side."""
    with s.connect() as c:
        got = b''
        try:
            c.send_raw(data)
            c.sock.shutdown(socket.SHUT_WR)
            while True:
                piece = c.sock.recv(65536)
                if not piece:
                    return got
                got += piece
        except ConnectionError:  # closed with our bytes unread
            return got


def short(data):
    return repr(data) if len(data) < 120 else f'{data[:80]!r}... ({len(data)} bytes)'


@tap.test
def whatever_a_request_begins_with_the_answer_is_that_of_redis():
    # NUL is left out: there Redis stops to look for the line's end, and waits
    ping = resp.encode('PING', 'behind')
    cases = [b'*%s\r\n' % n for n in NUMBERS]
    cases += [b'*1\r\n$%s\r\n' % n for n in NUMBERS if n != b'0']
    cases += [b'*2\r\n$4\r\nECHO\r\n$%s\r\n' % n for n in NUMBERS]
    cases += [b'*1\r\n%s5\r\nabcde\r\n' % sign for sign in (b'+', b'-', b':', b'*', b'%', b'_', b'\r\n', b'\n')]
    cases += [b'*0\r\n', b'*-1\r\n', b'\r\n', b'\n', b'\r\n\r\n', b'   \r\n', b'*1\r\n$0\r\n\r\n', b'*3\r\n$3\r\nSET\r\n$0\r\n\r\n$0\r\n\r\n',
              b'*1\r\n$4\r\nPINGxx', b'*1\n$4\nPING\n', b'PING\n', b'PING "a\\x00b"\r\n', b"PING 'a\\'b'\r\n",
              b'PING "a"b\r\n', b'PING "\r\n', b"PING '\r\n", b'"" x\r\n', b'\xff\xfe\r\n', b'PING ' + b'x' * 60000 + b'\r\n',
              b'x' * 65536, b'x' * 70000 + b'\r\n', b'*' + b'1' * 70000, b'*1\r\n$' + b'1' * 70000, b'*1\r\n' + b'$' * 70000,
              b'GET' + b' k' * 20000 + b'\r\n', resp.encode('ECHO', 'a\r\nb'), resp.encode('a\r\nb', 'c\r\n+OK'),
              resp.encode(*['x' * 200] * 50)]
    with varved() as s, server.Redis() as reference:
        for data in cases:
            for before, behind in ((b'', ping), (ping * 3, b''), (ping, ping * 3)):
                want, got = everything(reference, before + data + behind), everything(s, before + data + behind)
                tap.check(want == got, f'{short(before + data + behind)}: redis-server {short(want)}, varved {short(got)}')
        tap.eq(s.call('PING'), PONG)


@tap.test
def extreme_offsets_counts_and_numbers_get_redis_answers():
    far = [b'0', b'-1', b'4294967295', b'4294967296', b'4294967297', b'536870911', b'536870912', b'536870913', b'2147483648', b'8589934592',
           b'9223372036854775807', b'-9223372036854775808', b'9223372036854775808', b'nan', b'', b'1.0', b' 1', b'1e3']
    commands = [('SET', 'k', 'abc'), ('SET', 'n', '10')]
    for n in far:
        if n not in (b'4294967295', b'536870911', b'2147483648'):  # these would be half a gigabyte in Redis
            commands += [('SETBIT', 'k', n, '1'), ('SETRANGE', 'k', n, 'x')]
            commands += [('BITFIELD', 'k', 'SET', 'u8', n, '1'), ('BITFIELD', 'k', 'INCRBY', 'i64', b'#' + n, '1')]
            if n == b'-9223372036854775808':
                commands.pop()  # where Redis 7.0 multiplies beyond its numbers
            commands += [('STRLEN', 'k'), ('SET', 'k', 'abc')]
        commands += [('GETBIT', 'k', n), ('GETRANGE', 'k', n, '-1'), ('GETRANGE', 'k', '0', n), ('SUBSTR', 'k', n, n), ('SETRANGE', 'none', n, ''),
                     ('BITFIELD', 'k', 'GET', 'u8', n), ('BITFIELD_RO', 'k', 'GET', 'i64', b'#%d' % len(n)), ('BITCOUNT', 'k', n, n),
                     ('BITCOUNT', 'k', '0', n, 'BIT'), ('BITPOS', 'k', '1', n), ('BITPOS', 'k', '0', n, n, 'BIT'), ('BITPOS', 'k', n)]
        commands += [('SCAN', '0', 'COUNT', n), ('SCAN', n, 'COUNT', '100000'), ('LCS', 'k', 'n', 'IDX', 'MINMATCHLEN', n)]
        commands += [('SELECT', n), ('SELECT', '0'), ('SWAPDB', '0', n), ('MOVE', 'none', n), ('COPY', 'k', 'none', 'DB', n), ('SELECT', '0')]
        commands += [('INCRBY', 'n', n), ('SET', 'n', '10'), ('DECRBY', 'n', n), ('SET', 'n', '10'), ('INCRBYFLOAT', 'n', n), ('SET', 'n', '10')]
        for expire in ('EXPIRE', 'PEXPIRE', 'EXPIREAT', 'PEXPIREAT'):
            commands += [('SET', 'e', 'v'), (expire, 'e', n), ('EXISTS', 'e')]
        for option in ('EX', 'PX', 'EXAT', 'PXAT'):
            commands += [('SET', 'e', 'v', option, n), ('GETEX', 'e', option, n)]
        commands += [('SETEX', 'e', n, 'v'), ('PSETEX', 'e', n, 'v')]
    for limit in ('9223372036854775807', '-9223372036854775808'):
        commands += [('SET', 'n', limit), ('INCR', 'n'), ('DECR', 'n'), ('INCRBY', 'n', '1'), ('DECRBY', 'n', '1'), ('INCRBY', 'n', limit),
                     ('DECRBY', 'n', limit), ('INCRBYFLOAT', 'n', '1'), ('GET', 'n')]
    for text in ('nan', 'inf', '-inf', '+inf', 'infinity', '1e5000', '-1e5000', '1e-5000', '0x10', '1e308', '', ' 1', '1 ', '1,5', '١'):
        commands += [('SET', 'f', '1'), ('INCRBYFLOAT', 'f', text), ('SET', 'f', text), ('INCRBYFLOAT', 'f', '1'), ('INCR', 'f')]
    commands += [('SET', 'f', '1e4930'), ('INCRBYFLOAT', 'f', '1e4930'), ('SET', 'v', '9' * 5000), ('INCRBYFLOAT', 'v', '1'), ('INCR', 'v')]
    for kind in ('u0', 'u64', 'i65', 'i0', 'u-1', 'x8', 'u', 'i9223372036854775808', 'u8 ', 'U8', ''):
        commands += [('BITFIELD', 'k', 'GET', kind, '0')]
    with varved() as s, server.Redis() as reference:
        with s.connect() as ours, reference.connect() as theirs:
            for command in commands:
                want, got = theirs.raw(resp.encode(*command)), ours.raw(resp.encode(*command))
                if command[0] == 'SCAN' and want[:1] == got[:1] == b'*':
                    want, got = sorted(resp.parse(want)[0][1]), sorted(resp.parse(got)[0][1])
                    if command[1] != '0':
                        continue  # a cursor of nobody's
                tap.check(want == got, f'{command}: redis-server {want!r}, varved {got!r}')


@tap.test
def times_far_beyond_2038_hold():
    with varved() as s, s.connect() as c:
        for ms in (2147483647999, 2147483648000, 4294967296000, 253402300799999, 2**55):
            tap.eq(c.call('SET', 'k', 'v', 'PXAT', ms), OK)
            tap.eq(c.call('PEXPIRETIME', 'k'), ms)
            tap.eq(c.call('EXPIRETIME', 'k'), (ms + 500) // 1000)
            tap.check(abs(c.call('PTTL', 'k') - (ms - time.time() * 1000)) < 60000, 'PTTL')
            tap.eq(c.call('GET', 'k'), b'v')
        s.crash()
        with s.connect() as d:
            tap.eq(d.call('PEXPIRETIME', 'k'), 2**55)


@tap.test
def patterns_cannot_stop_the_server():
    with varved() as s, s.connect() as c, s.connect() as other:
        keys = [b'a' * 1000, b'a' * 1000 + b'b', b'[' * 500, b'*' * 500, b'x']
        for k in keys:
            c.must('SET', k, 'v')
        used = s.cpu_seconds()
        patterns = [(b'a*' * 50 + b'b', [keys[1]]), (b'*a' * 50 + b'*b', [keys[1]]), (b'a*' * 500 + b'c', []),
                    (b'*' * 100000, keys), (b'*' * 100000 + b'x', [b'x']), (b'[' * 100000, []), (b'?*' * 5000, []),
                    (b'\\' * 100000, []), (b'[a-' * 30000, []), (b'[^' * 30000, [b'x']), (b'*[a]' * 300 + b'b', [keys[1]])]
        for pattern, want in patterns:
            tap.eq(sorted(c.must('KEYS', pattern)), sorted(want), short(pattern))
            tap.eq(sorted(c.must('SCAN', '0', 'MATCH', pattern, 'COUNT', '1000')[1]), sorted(want), short(pattern))
            tap.eq(other.call('PING'), PONG)
        used = s.cpu_seconds() - used
        tap.check(used < 3 * tap.PATIENCE, f'{used:.2f} s of processor time')


@tap.test
def clients_that_send_a_byte_now_and_then_get_their_replies():
    pause, size = tap.pick((0.02, 10), (1, 60))
    with varved() as s, s.connect() as other:
        slow = [s.connect() for _ in range(100)]
        requests = [resp.encode('SET', f'k{i}', 'v' * size) + resp.encode('GET', f'k{i}') + b'PING\r\n' for i in range(100)]
        for at in range(max(map(len, requests))):
            for c, data in zip(slow, requests):
                c.send_raw(data[at:at + 1])
            tap.eq(other.call('PING'), PONG)
            time.sleep(pause)
        for c in slow:
            tap.eq([c.read(), c.read(), c.read()], [OK, b'v' * size, PONG])
            c.close()


@tap.test
def requests_of_all_clients_together_have_a_budget():
    # a quarter of 256 MB; each of 60 clients announces 512 MB and sends what it can of it
    with varved('--maxmemory', '256mb') as s, s.connect() as modest:
        stop = threading.Event()
        counts = {'sent': 0, 'closed': 0}

        def greedy():
            piece = b'x' * 65536
            while not stop.is_set():
                try:
                    with s.connect() as c:
                        c.send_raw(b'*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\n')
                        for _ in range(512):  # 32 MB
                            if stop.is_set():
                                break
                            c.send_raw(piece)
                            counts['sent'] += len(piece)
                        stop.wait(0.2)
                except OSError:
                    counts['closed'] += 1
                    stop.wait(0.05)
        before = s.status_field('VmRSS')
        threads = [threading.Thread(target=greedy) for _ in range(60)]
        for t in threads:
            t.start()
        worst = done = 0
        end = time.monotonic() + tap.pick(3, 60) * tap.PATIENCE
        try:
            while time.monotonic() < end:
                value = random.randbytes(200000)
                reply = modest.call('SET', 'mine', value)
                if reply == OK:  # it may be refused while memory is short, but never cut
                    done += 1
                    tap.check(modest.call('GET', 'mine') == value)
                else:
                    tap.matches(reply, b'^OOM ')
                worst = max(worst, s.status_field('VmRSS') - before)
        finally:
            stop.set()
            for t in threads:
                t.join()
        tap.diag(f'{counts["sent"] >> 20} MB sent, {counts["closed"]} connections closed, {worst >> 10} MB more at most')
        tap.check(counts['sent'] > 256 << 20, 'they sent too little: the test shows nothing')
        tap.check(counts['closed'] > 0, 'nobody was closed')
        tap.check(tap.SANITIZER or worst < 250 << 10, f'{worst >> 10} MB more in memory')
        tap.check(done > 0, 'who asks for little got nothing')
        tap.matches(s.log(), b'(?i)client 127.0.0.1 closed: .*all clients together')
        tap.until(lambda: s.info('clients')['connected_clients'] == '2', what='they are gone')
        tap.eq(modest.call('SET', 'k', 'v'), OK)


@tap.test
def one_value_of_half_the_memory_is_refused_or_taken_whole():
    with varved('--maxmemory', '128mb') as s, s.connect() as c:
        for size in (10 << 20, 31 << 20):
            value = random.randbytes(1 << 20) * (size >> 20)
            reply = c.call('SET', 'k', value)
            tap.check(reply == OK or reply.startswith(b'OOM'), repr(reply)[:100])
            if reply == OK:
                tap.check(c.call('GET', 'k') == value)
        with s.connect() as d:
            try:
                d.send_raw(b'*3\r\n$3\r\nSET\r\n$1\r\nz\r\n$134217728\r\n')
                for _ in range(128):
                    d.send_raw(b'z' * (1 << 20))
                d.send_raw(b'\r\n')
                tap.check(isinstance(d.read(), resp.Error))
            except OSError:
                pass  # closed: the log says why
        tap.eq(c.call('PING'), PONG)
        tap.eq(c.call('EXISTS', 'z'), 0)


if __name__ == '__main__':
    tap.main()
