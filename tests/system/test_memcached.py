#!/usr/bin/python3
"""The memcached binary protocol (tcp-addr): what frames do, seen from RESP as well; frames that are none; real clients."""
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import server  # noqa: E402
import tap  # noqa: E402

GET, SET, ADD, REPLACE, DELETE, INCR, DECR, QUIT, FLUSH, GETQ, NOOP, VERSION, GETK, GETKQ, APPEND, PREPEND, STAT = range(17)
SETQ, ADDQ, REPLACEQ, DELETEQ, INCRQ, DECRQ, QUITQ, FLUSHQ, APPENDQ, PREPENDQ = range(0x11, 0x1b)
TOUCH, GAT, GATQ, SASL_LIST, SASL_AUTH, SASL_STEP, GATK, GATKQ = 0x1c, 0x1d, 0x1e, 0x20, 0x21, 0x22, 0x23, 0x24
OK, NOT_FOUND, EXISTS, TOO_LARGE, INVALID, NOT_STORED, NOT_A_NUMBER = range(7)
AUTH_ERROR, UNKNOWN, NOT_SUPPORTED = 0x20, 0x81, 0x83


def frame(op, key=b'', extras=b'', value=b'', opaque=0, cas=0, magic=0x80, data_type=0, key_len=None, extras_len=None,
          body_len=None):
    return struct.pack('>BBHBBHIIQ', magic, op, len(key) if key_len is None else key_len,
                       len(extras) if extras_len is None else extras_len, data_type, 0,
                       len(key) + len(extras) + len(value) if body_len is None else body_len, opaque,
                       cas) + extras + key + value


class Answer:
    def __init__(self, head, body):
        self.magic, self.op, k, e, _, self.status, _, self.opaque, self.cas = struct.unpack('>BBHBBHIIQ', head)
        self.extras, self.key, self.value = body[:e], body[e:e + k], body[e + k:]

    @property
    def flags(self):
        return struct.unpack('>I', self.extras)[0]


class Client:
    def __init__(self, port, timeout=60):
        self.s = socket.create_connection(('127.0.0.1', port), timeout)
        self.data = b''

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.s.close()

    def send(self, data):
        self.s.sendall(data)

    def take(self, n):
        while len(self.data) < n:
            more = self.s.recv(1 << 20)
            if not more:
                raise EOFError
            self.data += more
        out, self.data = self.data[:n], self.data[n:]
        return out

    def read(self):
        head = self.take(24)
        tap.eq(head[0], 0x81)
        return Answer(head, self.take(struct.unpack('>I', head[8:12])[0]))

    def call(self, op, key=b'', extras=b'', value=b'', **more):
        self.send(frame(op, key, extras, value, **more))
        a = self.read()
        tap.eq(a.op, op)
        return a

    def set(self, key, value, flags=0, expiry=0, op=SET, cas=0):
        return self.call(op, key, struct.pack('>II', flags, expiry), value, cas=cas)

    def count(self, op, key, delta, initial=0, expiry=0xffffffff, cas=0):
        return self.call(op, key, struct.pack('>QQI', delta, initial, expiry), cas=cas)

    def closed(self):
        self.s.settimeout(20)
        try:
            return self.s.recv(1) == b''
        except ConnectionResetError:
            return True


class Memcached(server.Varved):
    """A server with a memcached port; appendfsync no unless said otherwise."""
    def __init__(self, *args, fsync='no', **more):
        self.mc_port = server.free_port()
        super().__init__('--tcp-addr', f'127.0.0.1:{self.mc_port}', '--appendfsync', fsync, *args, **more)

    def client(self):
        return Client(self.mc_port)


@tap.test
def strings_have_flags_expiry_and_cas_and_are_the_same_over_resp():
    with Memcached() as s, s.client() as m, s.connect() as c:
        a = m.set(b'k', b'v\r\n\0', flags=0xdeadbeef)
        tap.check(a.status == OK and a.cas != 0, a.status)
        b = m.call(GET, b'k', opaque=99)
        tap.eq((b.status, b.value, b.flags, b.cas, b.key, b.opaque), (OK, b'v\r\n\0', 0xdeadbeef, a.cas, b'', 99))
        tap.eq(m.call(GETK, b'k').key, b'k')
        tap.eq(c.call('GET', 'k'), b'v\r\n\0')
        c.call('SET', 'k', 'from resp')  # a SET over RESP has no flags
        b = m.call(GET, b'k')
        tap.eq((b.value, b.flags), (b'from resp', 0))
        tap.check(b.cas != a.cas)
        m.set(b'e', b'x', expiry=100)
        tap.check(95 <= c.call('TTL', 'e') <= 100)
        m.set(b'e', b'x', expiry=int(time.time()) + 5000)  # above 30 days it is a moment
        tap.check(4900 <= c.call('TTL', 'e') <= 5001)
        m.set(b'e', b'x', flags=7)
        tap.eq(c.call('TTL', 'e'), -1)
        tap.eq(m.set(b'e', b'x', expiry=31 * 86400).status, OK)  # 1970: gone at once
        tap.eq(c.call('EXISTS', 'e'), 0)
        m.set(b'f', b'x', flags=7)
        c.call('EXPIRE', 'f', 50)
        c.call('APPEND', 'f', 'y')
        b = m.call(GET, b'f')
        tap.eq((b.value, b.flags), (b'xy', 7))
        c.call('RENAME', 'f', 'g')
        tap.eq(m.call(GET, b'g').flags, 7)


@tap.test
def cas_is_a_hash_that_survives_restarts():
    with Memcached(fsync='always') as s:
        with s.client() as m:
            a = m.set(b'k', b'v', flags=5)
            long = m.set(b'long', b'x' * 100_000, flags=1)
        s.kill()
        s.start()
        with s.client() as m:
            tap.eq(m.call(GET, b'k').cas, a.cas)
            tap.eq(m.call(GET, b'k').flags, 5)
            tap.eq(m.call(GET, b'long').cas, long.cas)
            tap.eq(m.set(b'k', b'w', cas=a.cas).status, OK)
            tap.eq(m.set(b'k', b'v', cas=a.cas).status, EXISTS)
            back = m.set(b'k', b'v', flags=5)
            tap.eq(back.cas, a.cas)
            tap.check(m.set(b'k', b'v', flags=6).cas != a.cas)
            tap.eq(m.set(b'none', b'v', cas=1).status, NOT_FOUND)
            tap.eq(m.call(DELETE, b'k', cas=1).status, EXISTS)
            tap.eq(m.call(APPEND, b'k', value=b'x', cas=1).status, EXISTS)
            tap.eq(m.call(DELETE, b'none', cas=1).status, NOT_FOUND)


@tap.test
def add_replace_delete_append_prepend():
    with Memcached() as s, s.client() as m:
        tap.eq(m.set(b'k', b'v', op=REPLACE).status, NOT_FOUND)
        tap.eq(m.set(b'k', b'v', op=ADD, flags=3, expiry=500).status, OK)
        tap.eq(m.set(b'k', b'w', op=ADD).status, EXISTS)
        tap.eq(m.call(APPEND, b'k', value=b'>').status, OK)
        a = m.call(PREPEND, b'k', value=b'<')
        b = m.call(GET, b'k')
        tap.eq((b.value, b.flags, b.cas), (b'<v>', 3, a.cas))
        tap.check(s.call('TTL', 'k') > 400)
        tap.eq(m.set(b'k', b'w', op=REPLACE).status, OK)
        tap.eq(m.call(GET, b'k').flags, 0)
        tap.eq(m.call(APPEND, b'none', value=b'x').status, NOT_STORED)
        tap.eq(m.call(PREPEND, b'none', value=b'x').status, NOT_STORED)
        tap.eq(m.call(DELETE, b'k').status, OK)
        tap.eq(m.call(DELETE, b'k').status, NOT_FOUND)
        miss = m.call(GET, b'k')
        tap.eq((miss.status, miss.value), (NOT_FOUND, b'Not found'))
        miss = m.call(GETK, b'k')
        tap.eq((miss.status, miss.key, miss.value), (NOT_FOUND, b'k', b''))
        big = b'x' * 50_000
        m.set(b'big', big)
        m.call(PREPEND, b'big', value=b'1')
        m.call(APPEND, b'big', value=b'2')
        tap.eq(m.call(GET, b'big').value, b'1' + big + b'2')


@tap.test
def counters():
    with Memcached() as s, s.client() as m:
        number = lambda a: struct.unpack('>Q', a.value)[0]  # noqa: E731
        tap.eq(m.count(INCR, b'n', 1).status, NOT_FOUND)
        tap.eq(number(m.count(INCR, b'n', 1, initial=10, expiry=0)), 10)
        tap.eq(number(m.count(INCR, b'n', 5)), 15)
        tap.eq(number(m.count(DECR, b'n', 6)), 9)
        tap.eq(number(m.count(DECR, b'n', 10)), 0)
        tap.eq(s.call('INCR', 'n'), 1)
        m.set(b'n', b'18446744073709551615', flags=9)
        tap.eq(number(m.count(INCR, b'n', 2)), 1)
        tap.eq(m.call(GET, b'n').flags, 9)
        m.count(INCR, b'x', 1, initial=2**64 - 1, expiry=300)
        tap.eq(m.call(GET, b'x').value, b'18446744073709551615')
        tap.check(s.call('TTL', 'x') > 200)
        for bad in (b'', b'x', b'-1', b'1.5', b'18446744073709551616', b'9' * 1000):
            m.set(b'n', bad)
            tap.eq(m.count(INCR, b'n', 1).status, NOT_A_NUMBER, bad[:30])
        m.set(b'n', b'5')
        a = m.call(GET, b'n')
        tap.eq(m.count(INCR, b'n', 1, cas=a.cas + 1).status, EXISTS)
        tap.eq(m.count(INCR, b'n', 1, cas=a.cas).cas, m.call(GET, b'n').cas)


@tap.test
def touch_and_get_and_touch():
    with Memcached() as s, s.client() as m:
        m.set(b'k', b'v', flags=4)
        tap.eq(m.call(TOUCH, b'k', struct.pack('>I', 100)).status, OK)
        tap.check(s.call('TTL', 'k') > 90)
        a = m.call(GATK, b'k', struct.pack('>I', 1000))
        tap.eq((a.value, a.flags, a.key), (b'v', 4, b'k'))
        tap.check(s.call('TTL', 'k') > 900)
        tap.eq(m.call(GAT, b'k', struct.pack('>I', 0)).value, b'v')
        tap.eq(s.call('TTL', 'k'), -1)
        tap.eq(m.call(TOUCH, b'none', struct.pack('>I', 1)).status, NOT_FOUND)
        tap.eq(m.call(GAT, b'none', struct.pack('>I', 1)).status, NOT_FOUND)
        tap.eq(m.call(TOUCH, b'k', struct.pack('>I', 40 * 86400)).status, OK)  # long past
        tap.eq(m.call(GET, b'k').status, NOT_FOUND)


@tap.test
def quiet_requests_say_only_what_is_not_expected():
    with Memcached() as s, s.client() as m:
        flags = bytes(8)
        m.send(b''.join([
            frame(SETQ, b'a', flags, b'1'), frame(ADDQ, b'b', flags, b'2'), frame(REPLACEQ, b'a', flags, b'11'),
            frame(APPENDQ, b'a', value=b'2'), frame(PREPENDQ, b'a', value=b'0'), frame(GETQ, b'none', opaque=1),
            frame(INCRQ, b'n', struct.pack('>QQI', 1, 1, 0)), frame(DELETEQ, b'b'), frame(GETKQ, b'a', opaque=2),
            frame(ADDQ, b'a', flags, b'x', opaque=3), frame(REPLACEQ, b'none', flags, b'x', opaque=4),
            frame(DELETEQ, b'none', opaque=5), frame(GETKQ, b'none'), frame(GATQ, b'none', bytes(4)),
            frame(GATKQ, b'n', struct.pack('>I', 0), opaque=6), frame(NOOP, opaque=7)]))
        got = [m.read() for _ in range(6)]
        tap.eq([(a.opaque, a.status) for a in got],
               [(2, OK), (3, EXISTS), (4, NOT_FOUND), (5, NOT_FOUND), (6, OK), (7, OK)])
        tap.eq((got[0].key, got[0].value), (b'a', b'0112'))
        tap.eq((got[4].key, got[4].value), (b'n', b'1'))
        m.send(frame(FLUSHQ) + frame(NOOP, opaque=8))
        tap.eq(m.read().opaque, 8)
        tap.eq(s.call('DBSIZE'), 0)
        m.send(frame(NOOP) + frame(QUITQ) + frame(NOOP))
        m.read()
        tap.check(m.closed())
    with Memcached() as s, s.client() as m:
        tap.eq(m.call(QUIT).status, OK)
        tap.check(m.closed())


@tap.test
def flush_at_once_and_later():
    with Memcached() as s, s.client() as m:
        s.call('SELECT', 1)
        with s.connect() as c:
            c.call('SELECT', 1)
            c.call('SET', 'other', 'database')
        m.set(b'k', b'v')
        tap.eq(m.call(FLUSH).status, OK)
        tap.eq(m.call(GET, b'k').status, NOT_FOUND)
        m.set(b'k', b'v')
        tap.eq(m.call(FLUSH, extras=struct.pack('>I', 2)).status, OK)
        tap.eq(m.call(GET, b'k').status, OK)
        tap.until(lambda: m.call(GET, b'k').status == NOT_FOUND, 30, 0.1)
        m.set(b'k', b'v')
        time.sleep(1.5)
        tap.eq(m.call(GET, b'k').status, OK)  # once
        with s.connect() as c:
            c.call('SELECT', 1)
            tap.eq(c.call('DBSIZE'), 1)


@tap.test
def version_statistics_and_unknown_opcodes():
    with Memcached() as s, s.client() as m:
        tap.matches(m.call(VERSION).value, rb'^1\.6\.\d+-varve-')
        m.set(b'k', b'v')
        m.send(frame(STAT))
        stats = {}
        while True:
            a = m.read()
            if not a.key:
                break
            stats[a.key] = a.value
        tap.eq(stats[b'curr_items'], b'1')
        tap.eq(int(stats[b'pid']), s.pid)
        tap.eq(m.call(STAT, b'nonsense').status, NOT_FOUND)
        for op in (0x1b, 0x1f, 0x30, 0x77, 0xff):
            a = m.call(op, b'k', b'eeee', b'v', opaque=op)
            tap.eq((a.status, a.opaque), (UNKNOWN, op))
        tap.eq(m.call(NOOP).status, OK)
        tap.eq(m.call(SASL_LIST).status, UNKNOWN)  # no password: nothing to authenticate for


@tap.test
def a_key_of_another_type():
    with Memcached() as s, s.client() as m, s.connect() as c:
        if c.call('COMMAND', 'INFO', 'rpush')[0] is None:
            raise tap.Skip('there are only strings')
        c.must('RPUSH', 'l', 'a')
        for op, extras, value in ((GET, b'', b''), (APPEND, b'', b'x'), (TOUCH, bytes(4), b'')):
            tap.eq(m.call(op, b'l', extras, value).status, NOT_SUPPORTED)
        tap.eq(m.count(INCR, b'l', 1).status, NOT_A_NUMBER)
        tap.eq(m.set(b'l', b'v').status, OK)


@tap.test
def a_password_is_given_by_sasl_plain():
    with Memcached('--requirepass', 'sec ret') as s:
        def auth(m, value, mechanism=b'PLAIN'):
            return m.call(SASL_AUTH, mechanism, value=value)
        for request in (frame(GET, b'k'), frame(NOOP), frame(SET, b'k', bytes(8), b'v'), frame(0x77), frame(STAT)):
            with s.client() as m:
                m.send(request + frame(NOOP))
                tap.eq(m.read().status, AUTH_ERROR)
                tap.check(m.closed())
        with s.client() as m:
            tap.eq(m.call(SASL_LIST).value, b'PLAIN')
            tap.eq(m.call(VERSION).status, OK)
            tap.eq(auth(m, b'\0default\0wrong').status, AUTH_ERROR)
            tap.eq(auth(m, b'\0somebody\0sec ret').status, AUTH_ERROR)
            tap.eq(auth(m, b'sec ret').status, AUTH_ERROR)
            tap.eq(auth(m, b'').status, AUTH_ERROR)
            tap.eq(auth(m, b'\0default\0sec ret', b'CRAM-MD5').status, AUTH_ERROR)
            tap.eq(m.call(SASL_STEP, b'PLAIN', value=b'x').status, AUTH_ERROR)
            tap.eq(auth(m, b'\0' + b'u' * 2000 + b'\0p').status, TOO_LARGE)
            tap.eq(auth(m, b'\0default\0sec ret').status, OK)
            tap.eq(m.set(b'k', b'v').status, OK)
        with s.client() as m:
            tap.eq(auth(m, b'who\0\0sec ret').status, OK)
            tap.eq(m.call(GET, b'k').value, b'v')


@tap.cases(
    ('text protocol', b'get k\r\n', None),
    ('http', b'GET / HTTP/1.1\r\nHost: x\r\n\r\n', None),
    ('a response', frame(GET, b'k', magic=0x81), None),
    ('key longer than the body', frame(GET, b'k', key_len=2), INVALID),
    ('extras longer than the body', frame(SET, b'k', extras_len=200), INVALID),
    ('both', frame(SET, b'kkkk', bytes(8), key_len=65535, extras_len=255), INVALID),
)
def what_cannot_be_understood_closes_the_connection(name, data, status):
    with Memcached() as s:
        with s.client() as m:
            m.send(frame(NOOP) + data + frame(NOOP))
            tap.eq(m.read().op, NOOP)  # what came before it is answered
            if status is not None:
                tap.eq(m.read().status, status)
            tap.check(m.closed())
        with s.client() as m:
            tap.eq(m.call(NOOP).status, OK)


@tap.test
def what_can_be_passed_over_is_refused_and_the_connection_goes_on():
    with Memcached('--proto-max-bulk-len', '1mb') as s, s.client() as m:
        for data, status in ((frame(GET), INVALID), (frame(GET, b'k' * 251), INVALID), (frame(GET, b'k', b'e'), INVALID),
                             (frame(SET, b'k', bytes(4), b'v'), INVALID), (frame(SET, b'k', value=b'v' * 20), INVALID),
                             (frame(NOOP, value=b'v'), INVALID), (frame(GET, b'k', data_type=1), INVALID),
                             (frame(INCR, b'k', bytes(19)), INVALID), (frame(DELETE, b'k', value=b'v'), INVALID),
                             (frame(QUIT, b'k'), INVALID), (frame(GET, b'k' * 65535), INVALID),
                             (frame(SET, b'k', bytes(8), bytes((1 << 20) + 1)), TOO_LARGE),
                             (frame(SETQ, b'k', bytes(8), bytes(3 << 20)), TOO_LARGE)):
            m.send(data + frame(NOOP))
            tap.eq(m.read().status, status)
            tap.eq(m.read().status, OK)
        tap.eq(m.set(b'k', bytes(1 << 20)).status, OK)
        tap.eq(m.call(APPEND, b'k', value=b'x').status, TOO_LARGE)
        m.send(frame(SET, b'k', bytes(8), body_len=0xffffffff))  # 4 GB are on their way
        tap.eq(m.read().status, TOO_LARGE)
        m.send(bytes(10_000_000))
        tap.eq(s.client().call(NOOP).status, OK)


@tap.test
def frames_may_come_in_any_pieces():
    with Memcached() as s, s.client() as m:
        m.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data = frame(SET, b'key', bytes(8), b'value') + frame(GETK, b'key') + frame(NOOP)
        for cut in range(1, len(data), tap.pick(7, 1)):
            m.send(data[:cut])
            time.sleep(0.001)
            m.send(data[cut:])
            tap.eq([m.read().status for _ in range(3)], [OK] * 3)
        for byte in data:
            m.send(bytes([byte]))
        tap.eq(m.read().op, SET)
        tap.eq(m.read().value, b'value')


@tap.test
def long_values_and_long_pipelines():
    with Memcached() as s, s.client() as m:
        value = random.Random(1).randbytes(tap.pick(20_000_000, 300_000_000))
        tap.eq(m.set(b'long', value, flags=77).status, OK)
        a = m.call(GETK, b'long')
        tap.check(a.value == value and a.flags == 77 and a.key == b'long', 'a long value came back differently')
        tap.eq(s.call('STRLEN', 'long'), len(value))
        n = 5000
        m.send(b''.join(frame(SETQ, b'k%d' % i, bytes(8), b'v%d' % i) for i in range(n)) + frame(NOOP))
        tap.eq(m.read().op, NOOP)
        m.send(b''.join(frame(GETKQ, b'k%d' % (i * 2)) for i in range(n)) + frame(NOOP))
        got = []
        while (a := m.read()).op != NOOP:
            got.append((a.key, a.value))
        tap.eq(got, [(b'k%d' % i, b'v%d' % i) for i in range(0, n, 2)])


@tap.test
def cold_keys_do_not_change_the_order_of_answers():
    with Memcached('--memtable-size', '4mb', '--cache-size', '1mb', fsync='everysec') as s, s.connect() as c:
        rng = random.Random(3)
        values = {b'k%d' % i: rng.randbytes(500) for i in range(40000)}
        c.pipeline([('SET', k, v) for k, v in values.items()])
        s.restart()
        with s.client() as m:
            keys = rng.sample(sorted(values), 3000)
            m.send(b''.join(frame(GET, k, opaque=i) for i, k in enumerate(keys)))
            for i, k in enumerate(keys):
                a = m.read()
                tap.check(a.opaque == i and a.value == values[k], k)


@tap.test
def nothing_acknowledged_is_lost():
    with Memcached(fsync='always') as s:
        with s.client() as m:
            done = 0
            m.send(b''.join(frame(SET, b'k%d' % i, bytes(8), b'v') for i in range(20000)))
            while done < 5000:
                tap.eq(m.read().status, OK)
                done += 1
            s.kill()
        s.start()
        tap.check(s.call('DBSIZE') >= done)


@tap.test
def random_frames_leave_the_server_well():
    rng = random.Random(int(os.environ.get('SEED', '11')))
    with Memcached() as s:
        for _ in range(tap.pick(300, 5000)):
            with s.client() as m:
                data = b''
                for _ in range(rng.randrange(1, 8)):
                    f = bytearray(frame(rng.choice([*range(0x28), rng.randrange(256)]), rng.randbytes(rng.randrange(0, 5)),
                                        rng.randbytes(rng.choice([0, 0, 4, 8, 20])), rng.randbytes(rng.randrange(0, 10))))
                    for _ in range(rng.choice([0, 0, 0, 1, 3])):
                        f[rng.randrange(len(f))] = rng.randrange(256)
                    data += f
                try:
                    m.send(data)
                    m.s.shutdown(socket.SHUT_WR)
                    while m.s.recv(65536):
                        pass
                except ConnectionError:
                    pass
        with s.client() as m:
            tap.eq(m.call(NOOP).status, OK)


def tool(name):
    path = shutil.which(name)
    if not path:
        raise tap.Skip(f'{name} is not installed (libmemcached-tools)')
    return path


def run(*args):
    p = subprocess.run(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=200,
                       check=False)
    return p.returncode, p.stdout


@tap.test
def memccapable_passes_whole():
    with Memcached() as s:
        status, out = run(tool('memccapable'), '-h', '127.0.0.1', '-p', str(s.mc_port), '-b')
        tap.diag(out.decode())
        tap.eq(status, 0)
        tap.eq(out.count(b'[pass]'), 27)
        tap.matches(out, b'All tests passed')


@tap.test
def libmemcached_s_tools_work():
    with Memcached() as s, tempfile.TemporaryDirectory() as d:
        servers = f'--servers=127.0.0.1:{s.mc_port}'
        path = d + '/photo.jpg'
        with open(path, 'wb') as f:
            f.write(random.Random(2).randbytes(700_000))
        status, out = run(tool('memccp'), '--binary', servers, path)
        tap.eq(status, 0, out)
        status, out = run(tool('memccat'), '--binary', servers, f'--file={d}/back', 'photo.jpg')
        tap.eq(status, 0, out)
        tap.check(open(path, 'rb').read() == open(d + '/back', 'rb').read(), 'another file came back')
        status, out = run(tool('memcstat'), '--binary', servers)
        tap.eq(status, 0, out)
        tap.matches(out, rb'curr_items: 1')
        tap.eq(run(tool('memcexist'), '--binary', servers, 'photo.jpg')[0], 0)
        tap.eq(run(tool('memctouch'), '--binary', servers, '--expire=100', 'photo.jpg')[0], 0)
        tap.check(s.call('TTL', 'photo.jpg') > 90)
        tap.eq(run(tool('memcrm'), '--binary', servers, 'photo.jpg')[0], 0)
        status, out = run(tool('memcslap'), '--binary', servers, '--concurrency=4', '--execute-number=500', '--test=set')
        tap.eq(status, 0, out)
        tap.check(s.call('DBSIZE') > 0)
        tap.eq(run(tool('memcflush'), '--binary', servers)[0], 0)
        tap.eq(s.call('DBSIZE'), 0)


tap.main()
