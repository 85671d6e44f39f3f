#!/usr/bin/python3
"""DUMP and RESTORE, both ways with redis-server: every type, every form in which Redis serialises it, from one element to
thousands; what older versions wrote; options and errors; and payloads that are damaged although their checksum is right.
"""
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import rdb  # noqa: E402
import resp  # noqa: E402
import server  # noqa: E402
import tap  # noqa: E402

OK = resp.Simple(b'OK')
BAD = resp.Error(b'ERR Bad data format')
WRONG = resp.Error(b'ERR DUMP payload version or checksum are wrong')

# How Redis is told to keep a value in its large form although it is small.
LARGE = ['--hash-max-listpack-entries', '0', '--zset-max-listpack-entries', '0', '--set-max-intset-entries', '0',
         '--list-max-listpack-size', '2']


def value(c, key):
    """A key's type and all of its value, in an order of its own."""
    kind = c.must('TYPE', key)
    if kind == b'string':
        return kind, c.must('GET', key)
    if kind == b'list':
        return kind, c.must('LRANGE', key, 0, -1)
    if kind == b'set':
        return kind, sorted(c.must('SMEMBERS', key))
    if kind == b'hash':
        flat = c.must('HGETALL', key)
        return kind, sorted(zip(flat[::2], flat[1::2]))
    if kind == b'zset':
        flat = c.must('ZRANGE', key, 0, -1, 'WITHSCORES')
        return kind, [(m, float(score)) for m, score in zip(flat[::2], flat[1::2])]  # 7.0 has other digits than 7.2
    return kind, None


def word(rng, i):
    """A string of one of the kinds that are serialised each in its own way."""
    kind = rng.randrange(10)
    if kind < 3:
        return b'%d' % rng.choice([i, -i, 100 * i, 40000 + i, -(2**31) + i, 2**31 + i, 2**63 - 1 - i])
    if kind < 5:
        return b'word-%d' % i
    if kind < 6:
        return b'%d:' % i + rng.randbytes(rng.randrange(0, 70))
    if kind < 7:
        return b'%d:' % i + b'abcabc' * rng.randrange(1, 60)
    if kind < 8:
        return b'0%d' % i
    return b'%d-' % i + bytes(rng.choice(b'xyz') for _ in range(rng.choice([10, 62, 63, 64, 65, 126, 300])))


def fill(c, rng, sizes):
    """Keys of all types and these sizes; returns their names."""
    keys = []

    def many(name, command, words, step=1):
        keys.append(name)
        for i in range(0, len(words), 1000 * step):
            c.must(command, name, *words[i:i + 1000 * step])

    for i, text in enumerate([b'', b'0', b'127', b'-128', b'128', b'-32768', b'32767', b'32768', b'-2147483648', b'2147483648',
                              b'9223372036854775807', b'007', b'-0', b' 1', b'abc', b'a' * 20, b'a' * 21, b'ab' * 4000, b'\x00\xff',
                              rng.randbytes(63), rng.randbytes(64), rng.randbytes(16383), rng.randbytes(16384), rng.randbytes(70000),
                              b'0123456789' * 200000]):
        keys.append(b'string%d' % i)
        c.must('SET', keys[-1], text)
    c.must('SETRANGE', 'sparse', 100000, 'x')
    c.must('SETBIT', 'bits', 70000, 1)
    c.must('PFADD', 'hll', *range(3000))
    keys += [b'sparse', b'bits', b'hll']
    for n in sizes:
        words = [word(rng, i) for i in range(n)]
        many(b'list%d' % n, 'RPUSH', words)
        many(b'numbers%d' % n, 'SADD', [b'%d' % (i * rng.choice([1, 300, 70000, 2**33])) for i in range(n)])
        many(b'set%d' % n, 'SADD', words)
        many(b'hash%d' % n, 'HSET', [x for w in words for x in (w, word(rng, 7))], 2)
        many(b'zset%d' % n, 'ZADD', [x for w in words for x in (rng.choice([b'%d' % rng.randrange(-9, 9), b'1.5', b'-inf', b'inf',
                                                                            b'3e-7', b'1e300', b'%.17g' % rng.random()]), w)], 2)
    c.must('RPUSH', 'long', b'L' * 20000, b'short', b'', b'M' * 9000)
    c.must('HSET', 'longfield', b'f' * 2000, b'v' * 100000, b'', b'')
    c.must('ZADD', 'longmember', 1, b'm' * 3000, 2, b'')
    return keys + [b'long', b'longfield', b'longmember']


def move(source, target, keys):
    for key in keys:
        want, ttl = value(source, key), source.must('PEXPIRETIME', key)
        bytes_ = source.must('DUMP', key)
        tap.eq(target.call('RESTORE', key, 0, bytes_, 'REPLACE'), OK, str(key))
        tap.eq(value(target, key), want, str(key))
        tap.eq(ttl, target.must('PEXPIRETIME', key), str(key))


SIZES = [1, 2, 5, 30, 100, 128, 129, 513, 3000]


@tap.cases(('as it is made', []), ('in large forms', LARGE))
def what_redis_dumps_is_restored(_, options):
    rng = random.Random(1)
    with server.Redis(*options) as reference, server.Varved() as ours, reference.connect() as a, ours.connect() as b:
        keys = fill(a, rng, SIZES)
        move(a, b, keys)
        ours.crash()
        with ours.connect() as again:
            for key in keys:
                tap.eq(value(again, key), value(a, key), str(key))


@tap.cases(('engine lsm', ['--memtable-size', '262144', '--table-size', '65536']), ('engine memory', ['--engine', 'memory']))
def what_is_dumped_here_redis_restores_and_so_do_we(_, options):
    rng = random.Random(2)
    with server.Redis() as reference, server.Varved(*options) as ours, reference.connect() as a, ours.connect() as b:
        keys = fill(b, rng, SIZES)
        move(b, a, keys)
        for key in keys:  # and in place; the encoding is the same as before
            encoding, want = b.must('OBJECT', 'ENCODING', key), value(b, key)
            tap.eq(b.call('RESTORE', 'copy', 0, b.must('DUMP', key), 'REPLACE'), OK, str(key))
            tap.eq(value(b, 'copy'), want, str(key))
            if not key.startswith((b'sparse', b'bits', b'hll', b'zset100', b'zset128')):  # those were touched in place
                tap.eq(b.must('OBJECT', 'ENCODING', 'copy'), encoding, str(key))
        short = [k for k in keys if k.startswith(b'string') and b.must('STRLEN', k) <= 20]
        for key in short:
            tap.eq(b.must('DUMP', key), a.must('DUMP', key), str(key))


OLD = {
    'a string': (rdb.STRING, rdb.string(b'hello')),
    'integers of all sizes': (rdb.LIST, rdb.length(4) + rdb.integer(-7, 1) + rdb.integer(-300, 2) + rdb.integer(70000, 4) +
                              rdb.integer(-2**31, 4)),
    'a compressed string': (rdb.STRING, rdb.lzf(b'\x01ab\xe0\x10\x01\x01yz', 2 + 25 + 2)),
    'a list of strings': (rdb.LIST, rdb.strings([b'a', b'', b'b' * 70])),
    'a list as ziplist': (rdb.LIST_ZIPLIST, rdb.string(rdb.ziplist([b'a', b'12', b'13', b'-1', b'128', b'-32769', b'8388608', b'-2147483649',
                                                                    b'x' * 63, b'x' * 64, b'y' * 260, b'after', b'z' * 20000]))),
    'a list of ziplists': (rdb.LIST_QUICKLIST, rdb.length(3) + rdb.string(rdb.ziplist([b'a', b'1'])) + rdb.string(rdb.ziplist([])) +
                           rdb.string(rdb.ziplist([b'b']))),
    'a list of listpacks and plain nodes': (rdb.LIST_QUICKLIST_2, rdb.length(3) + rdb.length(2) + rdb.string(rdb.listpack([b'a', b'-5', b'4096'])) +
                                            rdb.length(1) + rdb.string(b'P' * 9000) + rdb.length(2) +
                                            rdb.string(rdb.listpack([b'b' * 64, b'c' * 4096, b'-8388609', b'2147483648']))),
    'a set of strings': (rdb.SET, rdb.strings([b'a', b'b', b''])),
    'a set of numbers': (rdb.SET, rdb.strings([b'5', b'-1', b'300'])),
    'an intset of 2 bytes': (rdb.SET_INTSET, rdb.string(rdb.intset([-32768, 0, 5], 2))),
    'an intset of 4 bytes': (rdb.SET_INTSET, rdb.string(rdb.intset([-2**31, 7], 4))),
    'an intset of 8 bytes': (rdb.SET_INTSET, rdb.string(rdb.intset([-2**63, 2**63 - 1], 8))),
    'a sorted set with scores as text': (rdb.ZSET, rdb.length(4) + b''.join(rdb.string(m) + rdb.score(s) for m, s in [
        (b'a', b'1.5'), (b'b', b'inf'), (b'c', b'-inf'), (b'd', b'-3')])),
    'a sorted set as ziplist': (rdb.ZSET_ZIPLIST, rdb.string(rdb.ziplist([b'a', b'1', b'b', b'2.5', b'7', b'300']))),
    'a sorted set as listpack': (rdb.ZSET_LISTPACK, rdb.string(rdb.listpack([b'a', b'-1', b'b', b'2.5']))),
    'a hash of strings': (rdb.HASH, rdb.length(2) + b''.join(rdb.string(x) for x in [b'f', b'v', b'', b'2'])),
    'a hash as zipmap': (rdb.HASH_ZIPMAP, rdb.string(rdb.zipmap([(b'f', b'v'), (b'', b''), (b'g' * 253, b'w' * 300)], 3))),
    'a hash as ziplist': (rdb.HASH_ZIPLIST, rdb.string(rdb.ziplist([b'f', b'v', b'1', b'2']))),
    'a hash as listpack': (rdb.HASH_LISTPACK, rdb.string(rdb.listpack([b'f', b'v', b'1', b'2']))),
}


@tap.test
def every_form_that_was_ever_written_is_read_as_redis_reads_it():
    with server.Redis() as reference, server.Varved() as ours, reference.connect() as a, ours.connect() as b:
        for name, (kind, body) in OLD.items():
            for version in (1, 6, 9, 10):
                data = rdb.payload(kind, body, version)
                tap.eq(a.call('RESTORE', 'k', 0, data, 'REPLACE'), OK, f'the reference, {name}')
                tap.eq(b.call('RESTORE', 'k', 0, data, 'REPLACE'), OK, name)
                tap.eq(value(b, 'k'), value(a, 'k'), name)
        # 7.2's own
        data = rdb.payload(rdb.SET_LISTPACK, rdb.string(rdb.listpack([b'a', b'5', b'x' * 100])), 11)
        tap.eq(b.call('RESTORE', 'k', 0, data, 'REPLACE'), OK)
        tap.eq(value(b, 'k'), (b'set', [b'5', b'a', b'x' * 100]))
        tap.eq(b.must('OBJECT', 'ENCODING', 'k'), b'listpack')
        tap.eq(b.call('RESTORE', 'k', 0, rdb.payload(rdb.STRING, rdb.string(b's'), 11), 'REPLACE'), OK)
        tap.eq(b.call('RESTORE', 'k', 0, rdb.payload(rdb.STRING, rdb.string(b's'), 12), 'REPLACE'), WRONG)


BROKEN = {
    'nothing': (rdb.STRING, b''),
    'a string that is too short': (rdb.STRING, b'\x05abc'),
    'a length of 64 bits': (rdb.STRING, b'\x81' + b'\xff' * 8 + b'abc'),
    'an unknown length': (rdb.STRING, b'\x82' + b'\x00' * 8),
    'an unknown encoding': (rdb.STRING, b'\xc4abc'),
    'compression that says more': (rdb.STRING, rdb.lzf(b'\x01ab', 3)),
    'compression that reaches back too far': (rdb.STRING, rdb.lzf(b'\x00a\x20\x05', 4)),
    'compression to a terabyte': (rdb.STRING, rdb.lzf(b'\x00a', 2**40)),
    'an empty list': (rdb.LIST, b'\x00'),
    'a list of 2^60': (rdb.LIST, b'\x81\x10' + b'\x00' * 7 + b'\x01a'),
    'a member twice': (rdb.SET, rdb.strings([b'a', b'b', b'a'])),
    'a number twice': (rdb.SET, rdb.strings([b'1', b'2', b'1'])),
    'a field twice': (rdb.HASH, rdb.length(2) + rdb.string(b'f') * 4),
    'a field without a value': (rdb.HASH_LISTPACK, rdb.string(rdb.listpack([b'f', b'v', b'g']))),
    'a score that is none': (rdb.ZSET_2, rdb.length(1) + rdb.string(b'm') + b'\x00\x00\x00\x00\x00\x00\xf8\x7f'),
    'the text of a score that is none': (rdb.ZSET, rdb.length(1) + rdb.string(b'm') + rdb.score(b'nan')),
    'an empty ziplist': (rdb.LIST_ZIPLIST, rdb.string(rdb.ziplist([]))),
    'an empty intset': (rdb.SET_INTSET, rdb.string(rdb.intset([], 2))),
    'an intset out of order': (rdb.SET_INTSET, rdb.string(rdb.intset([5, 3], 2))),
    'only empty nodes': (rdb.LIST_QUICKLIST, rdb.length(1) + rdb.string(rdb.ziplist([]))),
    'a node of another kind': (rdb.LIST_QUICKLIST_2, rdb.length(1) + rdb.length(3) + rdb.string(b'x')),
    'a module': (6, b'\x00' * 20),
    'a stream cut off': (15, b'\x01'),
    'a type of no version': (8, b'\x00' * 20),
    'an opcode': (251, b'\x00' * 20),
}

# What Redis reads on into version and checksum.
INTO_CHECKSUM = ['nothing', 'a string that is too short']


@tap.test
def bytes_that_are_no_value_are_refused_and_nothing_is_written():
    with server.Redis('--sanitize-dump-payload', 'yes') as reference, server.Varved() as ours, \
            reference.connect() as a, ours.connect() as b:
        for c in (a, b):
            c.must('SET', 'there', 'before')
        for name, (kind, body) in BROKEN.items():
            data = rdb.payload(kind, body)
            for key in ('k', 'there'):
                if name not in INTO_CHECKSUM:
                    tap.eq(a.call('RESTORE', key, 0, data, 'REPLACE'), BAD, f'the reference, {name}')
                tap.eq(b.call('RESTORE', key, 0, data, 'REPLACE'), BAD, name)
        tap.eq([b.must('EXISTS', 'k'), b.must('GET', 'there')], [0, b'before'])
        good = rdb.payload(rdb.STRING, rdb.string(b'v'))
        for data in [b'', b'x', good[:-1], good[:-9], good[:2] + b'w' + good[3:], good + b'x', rdb.payload(rdb.STRING, rdb.string(b'v'), 13),
                     rdb.payload(rdb.STRING, rdb.string(b'v'), 256)]:
            tap.eq(b.call('RESTORE', 'k', 0, data), WRONG, str(data))
            tap.eq(a.call('RESTORE', 'k', 0, data), WRONG, str(data))


@tap.test
def damaged_payloads_never_do_more_than_be_refused():
    rng = random.Random(3)
    bodies = [bytes([kind]) + body for kind, body in OLD.values() if len(body) < 1500]
    bodies += [bytes([rdb.HASH_METADATA]) + b'\x00' * 6 + b'\x00\x01' + b'\x01' + rdb.length(5) + rdb.string(b'f') * 2,
               bytes([rdb.HASH_LISTPACK_EX]) + b'\x00' * 8 + rdb.string(rdb.listpack([b'f', b'v', b'0']))]
    with server.Varved() as ours, ours.connect() as c:
        taken = 0
        for body in bodies:
            for _ in range(tap.pick(60, 3000)):
                data = bytearray(body)
                for _ in range(rng.choice([1, 1, 2, 5])):
                    at = rng.randrange(len(data))
                    what = rng.randrange(4)
                    if what == 0:
                        data[at] = rng.choice([0, 1, 127, 128, 254, 255, rng.randrange(256)])
                    elif what == 1:
                        del data[at:at + rng.randrange(1, 9)]
                    elif what == 2:
                        data[at:at] = rng.randbytes(rng.randrange(1, 5))
                    else:
                        data[at] ^= 1 << rng.randrange(8)
                    data = data or bytearray(b'\x00')
                reply = c.call('RESTORE', 'k', 0, rdb.seal(bytes(data), 12 if data[0] in (24, 25) else 10), 'REPLACE')
                tap.check(reply in (OK, BAD, WRONG), str(reply))
                if reply == OK:
                    taken += 1
                    want = value(c, 'k')
                    if want[0] != b'none':  # fields whose time has passed
                        tap.eq(c.call('RESTORE', 'again', 0, c.must('DUMP', 'k'), 'REPLACE'), OK, str(bytes(data)))
                        tap.eq(value(c, 'again'), want, str(bytes(data)))
        tap.check(taken > 0, 'none was taken: nothing was tried')


@tap.test
def options_and_errors_are_redis_own():
    good = rdb.payload(rdb.STRING, rdb.string(b'v'))
    far = 4102444800000
    commands = [
        ['RESTORE', 'k', 0, good], ['GET', 'k'], ['TTL', 'k'], ['RESTORE', 'k', 0, good], ['RESTORE', 'k', 0, good, 'replace'],
        ['RESTORE', 'k', 'x', 'bad'], ['RESTORE', 'n', 'x', 'bad'], ['RESTORE', 'n', -1, 'bad'], ['RESTORE', 'n', -1, good],
        ['RESTORE', 'n', 0, 'bad'], ['RESTORE', 'n', 0, good, 'NO'], ['RESTORE', 'n', 0, good, 'IDLETIME'], ['RESTORE', 'n', 0, good, 'FREQ'],
        ['RESTORE', 'n', 0, good, 'IDLETIME', 'x'], ['RESTORE', 'n', 0, good, 'IDLETIME', -1], ['RESTORE', 'n', 0, good, 'FREQ', -1],
        ['RESTORE', 'n', 0, good, 'FREQ', 256], ['RESTORE', 'n', 0, good, 'FREQ', 'x'], ['RESTORE', 'n', 0, good, 'FREQ', 1, 'IDLETIME', 1],
        ['RESTORE', 'n', 0, good, 'IDLETIME', 1, 'FREQ', 1], ['EXISTS', 'n'], ['RESTORE', 'n', 0, good, 'FREQ', 255], ['DEL', 'n'],
        ['RESTORE', 'n', far, good, 'ABSTTL'], ['PEXPIRETIME', 'n'], ['RESTORE', 'n', 1000, good, 'ABSTTL', 'REPLACE'], ['EXISTS', 'n'],
        ['RESTORE', 'n', 1000, good, 'ABSTTL'], ['EXISTS', 'n'], ['DBSIZE'], ['RPUSH', 'l', 'a'], ['RESTORE', 'l', 0, good, 'REPLACE'],
        ['GET', 'l'], ['DUMP', 'none'], ['DUMP'], ['RESTORE', 'k', 0], ['RESTORE-ASKING', 'asked', 0, good], ['GET', 'asked'],
        ['SET', 'e', 'x', 'PX', 100000], ['RESTORE', 'e', 0, good, 'REPLACE'], ['PTTL', 'e'],
    ]
    with server.Redis() as reference, server.Varved() as ours, reference.connect() as a, ours.connect() as b:
        for command in commands:
            tap.eq(b.raw(resp.encode(*command)), a.raw(resp.encode(*command)), str(command))
        tap.eq(b.call('RESTORE', 't', 50000, good), OK)
        tap.check(49000 < b.call('PTTL', 't') <= 50000)
        tap.eq(b.call('RESTORE', 't', 2**63 - 1, good, 'REPLACE'), OK)
        tap.eq(b.call('RESTORE', 'idle', 0, good, 'IDLETIME', 1000), OK)
        for look in ('TTL', 'TYPE', 'EXISTS', 'OBJECT ENCODING'):  # these are no use of it
            b.call(*look.split(), 'idle')
            tap.check(1000 <= b.call('OBJECT', 'IDLETIME', 'idle') <= 1010, look)
        tap.eq(b.call('GET', 'idle'), b'v')
        tap.check(b.call('OBJECT', 'IDLETIME', 'idle') < 10, 'used')


@tap.test
def events_are_those_of_redis():
    good, bad = rdb.payload(rdb.LIST, rdb.strings([b'a'])), b'x'
    with server.Redis() as reference, server.Varved() as ours:
        seen = []
        for s in (reference, ours):
            with s.connect() as c, s.connect() as listener:
                c.must('CONFIG', 'SET', 'notify-keyspace-events', 'EAn')
                listener.call('PSUBSCRIBE', '__keyevent@0__:*')
                for command in [('RESTORE', 'k', 0, good), ('RESTORE', 'k', 0, good, 'REPLACE'), ('RESTORE', 'k', 5, good, 'ABSTTL', 'REPLACE'),
                                ('RESTORE', 'k', 5, good, 'ABSTTL'), ('RESTORE', 'k', 0, bad), ('SORT', 'none', 'STORE', 'k'),
                                ('RPUSH', 'l', 2, 1), ('SORT', 'l', 'STORE', 'k'), ('SORT', 'l', 'STORE', 'k'), ('SORT', 'none', 'STORE', 'k'),
                                ('SET', 'end', 1)]:
                    c.call(*command)
                events = []
                while not events or events[-1] != (b'__keyevent@0__:set', b'end'):
                    message = listener.read()
                    events.append((message[2], message[3]))
                seen.append(events)
        tap.eq(seen[1], seen[0])


@tap.test
def fields_keep_their_expiry():
    with server.Redis() as reference, server.Varved() as ours, reference.connect() as a, ours.connect() as c:
        for n in (3, 1000):
            c.must('DEL', 'h')
            c.must('HSET', 'h', *[x for i in range(n) for x in (b'f%d' % i, b'v%d' % i)])
            c.must('HPEXPIREAT', 'h', 4102444800000, 'FIELDS', 1, 'f0')
            c.must('HPEXPIREAT', 'h', 4102444800000 + 10**9, 'FIELDS', 1, 'f1')
            data = c.must('DUMP', 'h')
            tap.eq(a.call('RESTORE', 'h', 0, data, 'REPLACE'), WRONG)  # it would make them live for ever
            tap.eq(c.call('RESTORE', 'g', 0, data, 'REPLACE'), OK)
            tap.eq(value(c, 'g'), value(c, 'h'))
            tap.eq(c.must('HPEXPIRETIME', 'g', 'FIELDS', 3, 'f0', 'f1', 'f2'), [4102444800000, 4102444800000 + 10**9, -1])
            c.must('HPERSIST', 'h', 'FIELDS', 2, 'f0', 'f1')
            move(c, a, [b'h'])
        # as Redis 7.4 writes it
        soon = int(time.time() * 1000) + 60000
        first = soon.to_bytes(8, 'little')
        pairs = [(b'a', b'1', soon), (b'b', b'2', 0), (b'gone', b'3', 1)]
        table = rdb.payload(rdb.HASH_METADATA, first + rdb.length(2) + b''.join(
            rdb.length(at - soon + 1 if at else 0) + rdb.string(f) + rdb.string(v) for f, v, at in pairs[:2]), 12)
        packed = rdb.payload(rdb.HASH_LISTPACK_EX, first + rdb.string(rdb.listpack(
            [x for f, v, at in pairs for x in (f, v, b'%d' % at)])), 12)
        for data in (table, packed):
            tap.eq(c.call('RESTORE', 'h', 0, data, 'REPLACE'), OK)
            tap.eq(value(c, 'h'), (b'hash', [(b'a', b'1'), (b'b', b'2')]))
            tap.eq(c.must('HPEXPIRETIME', 'h', 'FIELDS', 3, 'a', 'b', 'gone'), [soon, -1, -2])
        gone = rdb.payload(rdb.HASH_LISTPACK_EX, first + rdb.string(rdb.listpack([b'f', b'v', b'1'])), 12)
        tap.eq(c.call('RESTORE', 'h', 0, gone, 'REPLACE'), OK)
        tap.eq([c.must('EXISTS', 'h'), c.call('RESTORE', 'h', 0, gone), c.must('EXISTS', 'h')], [0, OK, 0])


@tap.test
def a_transaction_sees_what_it_restored():
    rng = random.Random(5)
    with server.Redis() as reference, server.Varved() as ours, reference.connect() as a, ours.connect() as b:
        for n in (40, 3000, 20000):
            words = [b'%d-' % i + bytes(rng.choice(b'xyz') for _ in range(rng.choice([3, 20, 127, 128, 129]))) for i in range(n)]
            a.must('DEL', 'list', 'set', 'hash', 'zset')
            for i in range(0, n, 1000):
                part = words[i:i + 1000]
                a.must('RPUSH', 'list', *part)
                a.must('SADD', 'set', *part)
                a.must('HSET', 'hash', *[x for w in part for x in (w, w[::-1])])
                a.must('ZADD', 'zset', *[x for w in part for x in (b'%.17g' % (rng.random() * 10**rng.randrange(12)), w)])
            dumps = {key: a.must('DUMP', key) for key in ('list', 'set', 'hash', 'zset')}
            some, new = rng.sample(words, 20), b'new'
            script = [('RESTORE', key, 0, dump, 'REPLACE') for key, dump in dumps.items()]
            script += [('LINDEX', 'list', i) for i in (0, 15, 16, n // 2, -1)] + [('LPUSH', 'list', *some), ('RPUSH', 'list', *some),
                       ('LRANGE', 'list', 0, 40), ('LRANGE', 'list', -40, -1), ('LPOP', 'list', 30), ('RPOP', 'list', 3), ('LLEN', 'list')]
            script += [('SMISMEMBER', 'set', *some, new), ('SREM', 'set', some[0]), ('SADD', 'set', some[0], some[1], new), ('SCARD', 'set')]
            script += [('HMGET', 'hash', *some, new), ('HDEL', 'hash', some[0], new), ('HSET', 'hash', some[1], 'v', new, 'v'), ('HLEN', 'hash')]
            script += [('ZADD', 'zset', 7, some[1], 8, new), ('ZRANK', 'zset', some[2]), ('ZCARD', 'zset')]
            script += [('RESTORE', key, 0, dump, 'REPLACE') for key, dump in dumps.items() if n == 3000]  # over what it wrote
            for c in (a, b):
                c.must('MULTI')
                for command in script:
                    c.must(*command)
            tap.eq(b.must('EXEC'), a.must('EXEC'), str(n))
            for key in dumps:
                tap.eq(value(b, key), value(a, key), f'{key} of {n}')
        ours.crash()
        with ours.connect() as again:
            for key in dumps:
                tap.eq(value(again, key), value(a, key), f'{key} after a crash')


@tap.test
def one_name_twice_among_thousands_is_found():
    names = [b'member %d' % i for i in range(5001)] + [b'long' * 200 + b'%d' % i for i in range(50)]
    with server.Varved() as ours, ours.connect() as c:
        for first, second in [(0, 1), (0, 5050), (2500, 2501), (5049, 5050)]:
            twins = list(names)
            twins[second] = twins[first]
            for all_, answer in ((names, OK), (twins, BAD)):
                strings = [rdb.string(x) for x in all_]
                tap.eq(c.call('RESTORE', 's', 0, rdb.payload(rdb.SET, rdb.strings(all_)), 'REPLACE'), answer)
                tap.eq(c.call('RESTORE', 'h', 0, rdb.payload(rdb.HASH, rdb.length(len(all_)) + b''.join(x + x for x in strings)),
                              'REPLACE'), answer)
                tap.eq(c.call('RESTORE', 'z', 0, rdb.payload(rdb.ZSET, rdb.length(len(all_)) + b''.join(
                    x + rdb.score(b'%d' % i) for i, x in enumerate(strings))), 'REPLACE'), answer)
            tap.eq([c.must('SCARD', 's'), c.must('HLEN', 'h'), c.must('ZCARD', 'z')], [len(names)] * 3)


if __name__ == '__main__':
    tap.main()
