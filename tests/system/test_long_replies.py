#!/usr/bin/python3
"""Replies of many elements are read while the client takes them: what a collection had when the command ran, byte for byte as
Redis says it, in as little memory as the server was given, however slowly it is read.
"""
import random
import socket
import threading
import time

import resp
import server
import tap

OPTIONS = ('--appendfsync', 'no', '--io-threads', '2')
COUNT = tap.pick(30000, 300000)  # of elements; each reply is some megabytes
PAD = b'.' * 40


def fill(c, count, value=b'value' + PAD):
    for i in range(0, count, 1000):
        part = range(i, min(i + 1000, count))
        c.pipeline([('HSET', 'h', *[x for k in part for x in (b'field%d' % k, b'%s%d' % (value, k))]),
                    ('SADD', 's', *[b'%smember%d' % (PAD, k) for k in part]),
                    ('SADD', 'other', *[b'%smember%d' % (PAD, k * 3) for k in part]),
                    ('RPUSH', 'l', *[b'%selement%d' % (PAD, k) for k in part]),
                    ('ZADD', 'z', *[x for k in part for x in (b'%d.5' % k, b'%smember%d' % (PAD, k))]),
                    ('ZADD', 'same', *[x for k in part for x in (b'1', b'%smember%07d' % (PAD, k))])])
    c.must('SADD', 'few', 'alone', *[b'%smember%d' % (PAD, k) for k in range(0, count, count // 9)])
    c.must('SADD', 'numbers', *range(100))
    # members that are the same for longer than a key of the engine, but for their ends
    c.must('SADD', 'long', *[b'L' * n + b'%d' % k for n in (300, 400, 500, 1000) for k in range(200)])
    c.must('SADD', 'longer', *[b'L' * n + b'%d' % k for n in (400, 500, 2000) for k in range(100, 600)])


ORDERED = [('LRANGE', 'l', 0, -1), ('LRANGE', 'l', 17, -18), ('ZRANGE', 'z', 0, -1), ('ZRANGE', 'z', 5, -7, 'REV', 'WITHSCORES'),
           ('ZRANGE', 'z', '(3', '+inf', 'BYSCORE', 'WITHSCORES'), ('ZREVRANGEBYSCORE', 'z', '+inf', '7', 'LIMIT', '3', str(COUNT - 50)),
           ('ZRANGEBYSCORE', 'z', '-inf', '+inf', 'WITHSCORES'), ('ZRANGEBYLEX', 'same', b'(%smember0000004' % PAD, '+'),
           ('ZREVRANGE', 'z', 0, -1, 'WITHSCORES'), ('ZRANGE', 'same', '+', '-', 'BYLEX', 'REV', 'LIMIT', '10', '-1'),
           ('ZRANGE', 'z', 10, 12), ('LRANGE', 'l', 5, 1), ('ZRANGE', 'z', '(5', '(5', 'BYSCORE')]
SETS = [('SUNION', 's', 'other'), ('SUNION', 'few', 's', 'none', 'numbers'), ('SUNION', 's', 's'), ('SUNION', 's'), ('SINTER', 's'),
        ('SINTER', 's', 'other'), ('SINTER', 'other', 's', 's'), ('SINTER', 's', 'few'), ('SINTER', 's', 'none'), ('SDIFF', 'few', 's'),
        ('SDIFF', 's', 'other'), ('SDIFF', 's', 'few', 'none', 'numbers'), ('SDIFF', 'other', 's', 'few'), ('SDIFF', 's', 'other', 's'),
        ('SDIFF', 's', 'none'), ('SUNION', 'long', 'longer'), ('SINTER', 'longer', 'long'), ('SDIFF', 'longer', 'long'),
        ('SUNION', 'long', 'longer', 's', 'few')]
UNORDERED = [('HGETALL', 'h'), ('HKEYS', 'h'), ('HVALS', 'h'), ('SMEMBERS', 's')]


def same(command, want, got):
    tap.eq(got[:1], want[:1], str(command))
    if command in ORDERED:
        tap.check(got == want, f'{command}: {len(got)} bytes, not {len(want)}, or others')
        return
    a, b = resp.parse(want)[0], resp.parse(got)[0]
    if command[0] == 'HGETALL' and not isinstance(a, resp.Map):
        a, b = list(zip(a[::2], a[1::2])), list(zip(b[::2], b[1::2]))
    tap.check(type(a) is type(b) and sorted(a) == sorted(b), f'{command} has other elements')


@tap.cases('lsm', 'memory', 'file', 'btree')
def the_same_as_redis_says(engine):
    with server.Redis() as reference, server.Varved(*OPTIONS, '--engine', engine) as s:
        with reference.connect() as a, s.connect() as b:
            for c in (a, b):
                fill(c, COUNT)
            for protocol in (2, 3):
                for c in (a, b):
                    c.must('HELLO', protocol)
                for command in ORDERED + UNORDERED + (SETS if protocol == 3 else SETS[:1]):
                    same(command, a.raw(resp.encode(*command)), b.raw(resp.encode(*command)))
            for command in SETS if engine == 'lsm' else SETS[:1]:
                stored = (command[0] + 'STORE', 'out') + command[1:]
                tap.eq(b.must(*stored), a.must(*stored), str(stored))
                same(command, a.raw(resp.encode('SMEMBERS', 'out')), b.raw(resp.encode('SMEMBERS', 'out')))
            for command in (('SINTERCARD', 2, 's', 'other'), ('SINTERCARD', 3, 'other', 's', 's', 'LIMIT', 777), ('SINTERCARD', 2, 's', 'few')):
                tap.eq(b.must(*command), a.must(*command), str(command))
            # between others of a pipeline, in a transaction, and where nobody wants to hear it
            commands = [('PING',), ('SMEMBERS', 's'), ('SET', 'x', '1'), ('LRANGE', 'l', 0, -1), ('LRANGE', 'l', 0, -1),
                        ('GET', 'x'), ('MULTI',), ('LRANGE', 'l', 0, -1), ('ECHO', 'in'), ('EXEC',), ('ECHO', 'behind'),
                        ('CLIENT', 'REPLY', 'SKIP'), ('LRANGE', 'l', 0, -1), ('ECHO', 'at last')]
            data = b''.join(resp.encode(*k) for k in commands)
            want, got = a.pipeline_raw(data, len(commands) - 2), b.pipeline_raw(data, len(commands) - 2)
            tap.eq(sorted(got[1]), sorted(want[1]))
            tap.check(got[2:] == want[2:], [str(x)[:60] for x in got])


@tap.test
def what_was_there_when_the_command_ran():
    with server.Varved(*OPTIONS) as s, s.connect() as c, s.connect() as slow:
        fill(c, COUNT)
        slow.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        slow.send('HGETALL', 'h')
        slow.send('LRANGE', 'l', 0, -1)
        slow.buffer += slow.sock.recv(1000)  # it has begun
        c.must('HSET', 'h', 'new', 'x')
        c.pipeline([('HSET', 'h', b'field%d' % i, 'changed') for i in range(0, COUNT, 50)])
        c.must('DEL', 'h')
        for i in range(0, COUNT, 1000):
            c.must('RPUSH', 'h', i)
        got = slow.read()
        tap.eq(len(got), 2 * COUNT)
        tap.check(dict(zip(got[::2], got[1::2])) == {b'field%d' % i: b'value%s%d' % (PAD, i) for i in range(COUNT)})
        tap.check(slow.read() == [b'%selement%d' % (PAD, i) for i in range(COUNT)])
        tap.eq(bytes(slow.call('PING')), b'PONG')


@tap.test
def sets_of_that_moment():
    with server.Varved(*OPTIONS) as s, s.connect() as c:
        fill(c, COUNT)
        one, other = [{b'%smember%d' % (PAD, i * n) for i in range(COUNT)} for n in (1, 3)]
        waiting = []
        for command, want in ((('SUNION', 'other', 's'), one | other), (('SDIFF', 's', 'other'), one - other), (('SDIFF', 's', 'few'), None)):
            slow = s.connect()
            slow.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            slow.send(*command)
            slow.buffer += slow.sock.recv(1000)
            waiting.append((slow, want))
        few = set(c.must('SMEMBERS', 'few'))
        for i in range(0, COUNT, 1000):
            c.must('SREM', 's', *[b'%smember%d' % (PAD, k) for k in range(i, i + 1000, 2)])
            c.must('SADD', 'other', *[b'new%d' % k for k in range(i, i + 1000, 3)])
        c.must('DEL', 'few')
        c.must('SUNIONSTORE', 'other', 's', 'numbers')
        for slow, want in waiting:
            with slow:
                tap.check(sorted(slow.read()) == sorted(one - few if want is None else want), 'other members')
                tap.eq(bytes(slow.call('PING')), b'PONG')


@tap.test
def keys_of_that_moment():
    with server.Varved(*OPTIONS) as s, s.connect() as c, s.connect() as slow:
        count = COUNT * 2
        for i in range(0, count, 1000):
            c.must('MSET', *[x for k in range(i, i + 1000) for x in (b'%skey%d' % (PAD, k), b'')])
        c.must('PEXPIRE', PAD + b'key7', 600)
        slow.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        slow.send('KEYS', '*')
        slow.send('KEYS', PAD + b'key*5')
        slow.buffer += slow.sock.recv(1000)
        c.must('SWAPDB', 0, 1)
        c.must('MSET', *[x for k in range(1000) for x in (b'other%d' % k, b'')])
        time.sleep(0.7)
        tap.check(sorted(slow.read()) == sorted(b'%skey%d' % (PAD, i) for i in range(count)), 'other keys')
        tap.eq(slow.read(), [])  # it came after SWAPDB
        with s.connect() as x:
            x.must('SELECT', 1)
            tap.check(sorted(x.must('KEYS', PAD + b'key*5')) == sorted(b'%skey%d' % (PAD, i) for i in range(5, count, 10)))
            x.must('MULTI')
            x.must('KEYS', '*')
            tap.eq(len(x.must('EXEC')[0]), count - 1)


@tap.test
def fields_that_have_expired_are_not_among_them():
    with server.Varved(*OPTIONS, '--enable-debug-command', 'yes') as s, s.connect() as c:
        fill(c, COUNT)
        c.must('DEBUG', 'SET-ACTIVE-EXPIRE', '0')
        gone = [b'field%d' % i for i in range(0, COUNT, 3)]
        for i in range(0, len(gone), 1000):
            part = gone[i:i + 1000]
            c.must('HPEXPIRE', 'h', 1, 'FIELDS', len(part), *part)
        time.sleep(0.05)
        got = c.must('HGETALL', 'h')
        tap.check(dict(zip(got[::2], got[1::2])) == {b'field%d' % i: b'value%s%d' % (PAD, i) for i in range(COUNT) if i % 3})


@tap.test
def clients_that_go_away_leave_nothing_behind():
    with server.Varved(*OPTIONS) as s, s.connect() as c:
        fill(c, COUNT)
        rng = random.Random(1)
        for i in range(30):
            with s.connect() as x:
                x.send(*rng.choice(ORDERED[:10] + UNORDERED))
                me = None
                if i % 3 == 0:
                    time.sleep(rng.random() / 20)
                elif i % 3 == 1:
                    x.sock.recv(rng.randrange(1, 300000))
                else:
                    me = next(line for line in c.must('CLIENT', 'LIST').split(b'\n') if b'cmd=client' not in line)
                    c.must('CLIENT', 'KILL', 'ID', me.split()[0][3:])
        tap.until(lambda: c.must('INFO', 'clients').split(b'connected_clients:')[1].startswith(b'1\r'), what='one client is left')
        tap.eq(len(c.must('SMEMBERS', 's')), COUNT)
        s.stop()  # fails when a run or a view is still held


def read_slowly(clients):
    """One after the other, some of the bytes that have come, until each has a whole reply; returns their sizes."""
    sizes, left = [0] * len(clients), list(range(len(clients)))
    counts = [None] * len(clients)
    rest = [b''] * len(clients)
    while left:
        for i in list(left):
            data = clients[i].sock.recv(1 << 16)
            tap.check(data, 'closed')
            sizes[i] += len(data)
            lines = (rest[i] + data).split(b'\r\n')
            rest[i] = lines.pop()
            if counts[i] is None:
                counts[i] = 2 * int(lines.pop(0)[1:])  # lines: each element is a length and its bytes
            counts[i] -= len(lines)
            if counts[i] == 0:
                left.remove(i)
        time.sleep(0.0005)
    return sizes


@tap.test
def slow_clients_fit_into_the_budget():
    """maxmemory and a tenth is all that the process takes, though each reply is a good part of it."""
    budget = 64
    with server.Varved(*OPTIONS) as s:
        with s.connect() as c:
            fill(c, COUNT * 10)
        s.restart('--maxmemory', f'{budget}mb')
        stop, worst = threading.Event(), [0]

        def watch():
            while not stop.is_set():
                worst[0] = max(worst[0], s.status_field('VmRSS') / 1024)
                time.sleep(0.02)
        watching = threading.Thread(target=watch)
        commands = [('HGETALL', 'h'), ('LRANGE', 'l', 0, -1), ('ZRANGE', 'z', 0, -1, 'WITHSCORES'), ('SUNION', 's', 'other')]
        clients = [s.connect() for _ in commands]
        watching.start()
        for x, command in zip(clients, commands):
            x.send(*command)
        sizes = read_slowly(clients)
        stop.set()
        watching.join()
        tap.diag(f'replies of {[n >> 20 for n in sizes]} MB, {worst[0]:.0f} MB resident')
        for x in clients:
            tap.eq(bytes(x.call('PING')), b'PONG')
            x.close()
        if not tap.SANITIZER:
            tap.check(worst[0] <= budget * 1.1, f'{worst[0]:.0f} MB of {budget}')


tap.main()
