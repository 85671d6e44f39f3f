#!/usr/bin/python3
"""The same random commands to redis-server and to varved: the same bytes must come back.

Several connections, half of them RESP3. Most batches are pipelines of one connection at a time over shared keys, SWAPDB, MOVE
and FLUSHALL among them; in between all connections send at once, each in a database of its own, so that the reactors
run side by side and the answers are still determined. varved runs with a memtable so small that it flushes and
compacts all the time.

Replies are compared byte for byte, but for what depends on the clock (TTL and the like: equal within a tolerance) or has no order (KEYS, SCAN:
equal as sets; RANDOMKEY: some key that is there). Where Redis 7.2, the level spoken here, differs from the 7.0 that
Debian has as reference, the pair stands in DIFFERENCES with its source.

The seed is printed; DIFFERENTIAL_SEED repeats a run, DIFFERENTIAL_COMMANDS sets its length.
"""
import os
import random
import re
import sys
import time

import resp
import server
import tap

# (command pattern, reply of redis-server 7.0, reply of varved, why)
DIFFERENCES = []

I64 = [0, 1, -1, 2, 10, 255, 256, 65535, 2**31 - 1, -2**31, 2**32, 2**53, 2**63 - 1, -2**63, 2**63 - 2, -2**63 + 1]
JUNK = [b'', b' ', b'x', b'1.5', b'-', b'+1', b'01', b'1e5', b' 1', b'9223372036854775808', b'-9223372036854775809',
        b'nan', b'inf', b'0x10', b'\x00', b'NX', b'XX', b'KEEPTTL', b'1\r\n', b'99999999999999999999', b'-0']
DATABASES = 16
FAR = 4102444800  # 2100


class Gen:
    """Random commands. `private`: nothing that reaches beyond the selected database."""

    def __init__(self, rng, private=False):
        self.rng = rng
        self.private = private
        self.keyset = [b'k%d' % i for i in range(60)] + [b'{tag}%d' % i for i in range(10)] + \
                      [b'', b'\x00', b'\xff\xfe', b'a b', b'long' * 100, b'L' * 448, b'L' * 449, b'L' * 480, b'L' * 481,
                       b'M' * 2000, b'N' * 2000, b'M' * 1999 + b'x', b'*', b'[k]', b'k?']

    def key(self):
        return self.rng.choice(self.keyset)

    def integer(self):
        r = self.rng
        return r.choice([r.randrange(-5, 20), r.choice(I64), r.randrange(-2**63, 2**63)])

    def value(self):
        r = self.rng
        kind = r.randrange(100)
        if kind < 30:
            return b'%d' % self.integer()
        if kind < 40:
            return repr(r.choice([0.0, 1.5, -2.25, 3.0e3, 1e17, 5e-5, r.uniform(-1e6, 1e6)])).encode()
        if kind < 80:
            return r.randbytes(r.randrange(0, 120))
        if kind < 90:
            return bytes(r.choice(b'abc') for _ in range(r.randrange(0, 60)))
        if kind < 97:
            return r.randbytes(r.choice([43, 44, 45, 1000, 4095, 4096, 4097, 5000]))
        return r.randbytes(r.choice([16383, 16384, 16385, 20000, 32768, 50000]))

    def maybe(self, words, chance=0.3):
        """Each word (a tuple) with some chance, in random order."""
        chosen = [w for w in words if self.rng.random() < chance]
        self.rng.shuffle(chosen)
        return [x for w in chosen for x in w]

    def case(self, word):
        return word.upper() if self.rng.random() < 0.7 else word.lower()

    def ttl(self, unit):
        """A relative time to live in seconds (unit 1) or ms (unit 1000), far from both ends."""
        r = self.rng
        return r.choice([r.randrange(1000, 100000) * unit] * 12 + [0, -1, -1000, 2**62, -2**62, 2**63 - 1, 9223372036854775])

    def at(self, unit):
        r = self.rng
        return r.choice([(FAR + r.randrange(100000)) * unit] * 12 + [0, -1, 2**62, 2**63 - 1])

    def at_or_past(self, unit):
        """For EXPIREAT, which deletes at once; SET with a past time leaves a due key, counted until somebody meets it."""
        return self.rng.choice([self.at(unit)] * 9 + [1, 1000])

    def bit_offset(self):
        r = self.rng
        return r.choice([r.randrange(0, 64), r.randrange(0, 2000), r.randrange(0, 200000), -1, 2**32, 2**32 - 1 if r.random() < 0.01 else 7])

    def position(self):
        r = self.rng
        return r.choice([r.randrange(-10, 10), r.randrange(-200, 200), r.choice([0, -1]), r.randrange(-60000, 60000), self.integer()])

    def bitfield_ops(self, read_only):
        r = self.rng
        ops = []
        for _ in range(r.randrange(0, 5)):
            kind = self.case(r.choice(['GET'] if read_only else ['GET', 'SET', 'INCRBY', 'OVERFLOW']))
            bits = r.choice(['u', 'i']) + str(r.choice([1, 2, 5, 8, 16, 31, 32, 62, 63, 64, 65, 0]))
            offset = r.choice([str(r.randrange(0, 300)), '#%d' % r.randrange(0, 30), str(r.choice([-1, 10**4]))])
            if kind.upper() == 'OVERFLOW':
                ops += [kind, self.case(r.choice(['WRAP', 'SAT', 'FAIL', 'FAIL', 'what']))]
            elif kind.upper() == 'GET':
                ops += [kind, bits, offset]
            else:
                ops += [kind, bits, offset, self.integer()]
        return ops

    def set_options(self):
        return self.maybe([('NX',), ('XX',), ('GET',), ('KEEPTTL',)], 0.15) + self.maybe(
            [('EX', self.ttl(1)), ('PX', self.ttl(1000)), ('EXAT', self.at(1)), ('PXAT', self.at(1000))], 0.1)

    def command(self):
        r, k, v = self.rng, self.key, self.value
        keys = lambda lo, hi: [k() for _ in range(r.randrange(lo, hi))]
        table = [
            (30, lambda: ['SET', k(), v()] + self.set_options()),
            (20, lambda: ['GET', k()]),
            (5, lambda: ['GETSET', k(), v()]),
            (5, lambda: ['GETEX', k()] + self.maybe([('EX', self.ttl(1)), ('PX', self.ttl(1000)), ('EXAT', self.at(1)),
                                                     ('PXAT', self.at(1000)), ('PERSIST',)], 0.2)),
            (4, lambda: ['GETDEL', k()]),
            (5, lambda: ['SETNX', k(), v()]),
            (3, lambda: ['SETEX', k(), self.ttl(1), v()]),
            (3, lambda: ['PSETEX', k(), self.ttl(1000), v()]),
            (4, lambda: ['MSET'] + [x for _ in range(r.randrange(1, 6)) for x in (k(), v())]),
            (4, lambda: ['MSETNX'] + [x for _ in range(r.randrange(1, 4)) for x in (k(), v())]),
            (5, lambda: ['MGET'] + keys(1, 8)),
            (10, lambda: ['APPEND', k(), v()]),
            (4, lambda: ['STRLEN', k()]),
            (8, lambda: ['SETRANGE', k(), r.choice([r.randrange(0, 100), r.randrange(0, 60000), -1, 2**29, 2**63 - 1]), v()]),
            (8, lambda: ['GETRANGE', k(), self.position(), self.position()]),
            (2, lambda: ['SUBSTR', k(), self.position(), self.position()]),
            (6, lambda: [r.choice(['INCR', 'DECR']), k()]),
            (6, lambda: [r.choice(['INCRBY', 'DECRBY']), k(), self.integer()]),
            (4, lambda: ['INCRBYFLOAT', k(), r.choice([b'1.5', b'-3', b'1e3', b'0.1', b'1e400', b'inf', v()])]),
            (0.3, lambda: ['LCS', k(), k()] + self.maybe([('LEN',), ('IDX',), ('MINMATCHLEN', r.randrange(-1, 6)), ('WITHMATCHLEN',)])
             if r.random() < 0.5 else ['STRLEN', k()]),
            (6, lambda: [r.choice(['DEL', 'UNLINK'])] + keys(1, 4)),
            (5, lambda: ['EXISTS'] + keys(1, 5)),
            (3, lambda: ['TYPE', k()]),
            (3, lambda: ['TOUCH'] + keys(1, 4)),
            (4, lambda: ['RENAME', k(), k()]),
            (4, lambda: ['RENAMENX', k(), k()]),
            (4, lambda: ['COPY', k(), k()] + self.maybe([('REPLACE',)] + ([] if self.private else [('DB', r.randrange(0, 18))]))),
            (3, lambda: ['OBJECT', self.case(r.choice(['ENCODING', 'REFCOUNT'])), k()]),
            (1, lambda: ['OBJECT', 'FREQ', k()]),
            (3, lambda: ['DBSIZE']),
            (2, lambda: ['KEYS', r.choice([b'*', b'k*', b'k?', b'[kL]*', b'\\*', b'*1', b'{tag}*', b'nothing', k()])]),
            (1, lambda: ['RANDOMKEY']),
            (6, lambda: ['EXPIRE', k(), self.ttl(1)] + self.maybe([('NX',), ('XX',), ('GT',), ('LT',)], 0.15)),
            (4, lambda: ['PEXPIRE', k(), self.ttl(1000)] + self.maybe([('NX',), ('XX',), ('GT',), ('LT',)], 0.15)),
            (6, lambda: ['EXPIREAT', k(), self.at_or_past(1)] + self.maybe([('NX',), ('XX',), ('GT',), ('LT',)], 0.15)),
            (4, lambda: ['PEXPIREAT', k(), self.at_or_past(1000)] + self.maybe([('NX',), ('XX',), ('GT',), ('LT',)], 0.15)),
            (6, lambda: [r.choice(['TTL', 'PTTL', 'EXPIRETIME', 'PEXPIRETIME']), k()]),
            (4, lambda: ['PERSIST', k()]),
            (8, lambda: ['SETBIT', k(), self.bit_offset(), r.choice([0, 1, 1, 2])]),
            (5, lambda: ['GETBIT', k(), self.bit_offset()]),
            (5, lambda: ['BITCOUNT', k()] + ([self.position(), self.position()] if r.random() < .7 else []) +
             self.maybe([(r.choice(['BIT', 'BYTE', 'bit']),)], .4)),
            (5, lambda: ['BITPOS', k(), r.choice([0, 1, 1, 2])] + [self.position() for _ in range(r.randrange(0, 3))] +
             self.maybe([(r.choice(['BIT', 'BYTE']),)], .3)),
            (4, lambda: ['BITOP', self.case(r.choice(['AND', 'OR', 'XOR', 'NOT', 'NAND'])), k()] + keys(1, 4)),
            (6, lambda: ['BITFIELD', k()] + self.bitfield_ops(False)),
            (3, lambda: ['BITFIELD_RO', k()] + self.bitfield_ops(True)),
            (1, lambda: ['PING'] + self.maybe([(v(),)], .5)),
            (1, lambda: ['ECHO', v()]),
            (0.3, lambda: ['FLUSHDB'] + self.maybe([('ASYNC',), ('SYNC',)])),
            (0.5, lambda: [r.choice(['NOSUCH', 'get\r\n', 'OBJECT', 'CONFIG', 'CLIENT'])] + keys(0, 3)),
        ]
        if not self.private:
            table += [
                (5, lambda: ['SELECT', r.choice([r.randrange(0, 4), r.randrange(0, DATABASES), -1, 16])]),
                (4, lambda: ['MOVE', k(), r.choice([r.randrange(0, 4), 16])]),
                (1, lambda: ['SWAPDB', r.randrange(0, 5), r.choice([r.randrange(0, 5), 16])]),
                (0.15, lambda: ['FLUSHALL'] + self.maybe([('ASYNC',), ('SYNC',)])),
            ]
        if not hasattr(self, 'weights'):
            self.weights = [w for w, _ in table]
            self.indices = range(len(table))
        words = table[r.choices(self.indices, self.weights)[0]][1]()
        if r.random() < 0.03:  # damage it
            what = r.randrange(4)
            if what == 0 and len(words) > 1:
                words.pop()
            elif what == 1:
                words.append(r.choice(JUNK))
            elif what == 2 and len(words) > 1:
                words[r.randrange(1, len(words))] = r.choice(JUNK)
            else:
                words.append(self.key())
        words[0] = self.case(words[0]) if isinstance(words[0], str) else words[0]
        return [w if isinstance(w, bytes) else str(w).encode() for w in words]


def tolerance(command):
    """How far two integers may lie apart, in the unit of the reply; None: not at all."""
    return {b'TTL': 60, b'PTTL': 60000, b'EXPIRETIME': 60, b'PEXPIRETIME': 60000}.get(command[0].upper())


def equal(command, want, got):
    """Whether the raw replies agree."""
    if want == got:
        return True
    name = command[0].upper()
    near = tolerance(command)
    if near is not None and want[:1] == b':' == got[:1]:
        a, b = int(want[1:]), int(got[1:])
        return a > 0 and b > 0 and abs(a - b) <= near
    if name == b'KEYS' and want[:1] == b'*' == got[:1]:
        return sorted(resp.parse(want)[0]) == sorted(resp.parse(got)[0])
    if name == b'OBJECT' and len(command) > 1 and command[1].upper() == b'REFCOUNT':
        # says which small numbers Redis shares in memory
        return want[:1] == b':' == got[:1]
    if name == b'RANDOMKEY' and want[:1] == b'$' == got[:1]:
        return (want[:3] == b'$-1') == (got[:3] == b'$-1')
    for pattern, theirs, ours, _ in DIFFERENCES:
        if re.match(pattern, b' '.join(command), re.I) and re.match(theirs, want) and re.match(ours, got):
            return True
    return False


def short(data, limit=160):
    text = repr(data)
    return text if len(text) <= limit else f'{text[:limit]}... ({len(data)} bytes)'


def show_history(history, keys):
    """The last commands that have one of these arguments."""
    tap.diag('the last commands on these keys:')
    for command in [c for c in history if set(c[1:]) & set(keys)][-12:]:
        tap.diag('  ' + ' '.join(short(w, 60) for w in command))


class Pair:
    """A connection to each."""

    def __init__(self, reference, ours, resp3, history):
        self.reference, self.ours = reference.connect(), ours.connect()
        self.history = history
        self.name = f'connection {reference.port}'
        if resp3:
            self.reference.call('HELLO', 3)
            self.ours.call('HELLO', 3)

    def both(self, commands):
        want = self.reference.pipeline(commands, raw=True)
        got = self.ours.pipeline(commands, raw=True)
        self.compare(commands, want, got)

    def compare(self, commands, want, got):
        for command, a, b in zip(commands, want, got):
            self.history.append(command)
            if not equal(command, a, b):
                show_history(self.history, command[1:])
                raise tap.Failed(f'{" ".join(short(w, 80) for w in command)}: redis-server {short(a)}, varved {short(b)}')
        del self.history[:-40000]


def full_scan(c, *options):
    cursor, found = b'0', []
    while True:
        cursor, part = c.must('SCAN', cursor, *options)
        found += part
        if cursor == b'0':
            return set(found)


def compare_databases(reference, ours, pairs):
    """Every key of every database: value, time to live, and the sets that SCAN returns."""
    with reference.connect() as a, ours.connect() as b:
        for db in range(DATABASES):
            a.must('SELECT', db)
            b.must('SELECT', db)
            keys = sorted(a.must('KEYS', '*'))
            tap.eq(sorted(b.must('KEYS', '*')), keys, f'KEYS of database {db}')
            for options in ([], ['COUNT', 3], ['MATCH', 'k*', 'COUNT', 100], ['TYPE', 'string'], ['TYPE', 'list']):
                tap.eq(full_scan(b, *options), full_scan(a, *options), f'SCAN {options} of database {db}')
            tap.eq(b.must('DBSIZE'), a.must('DBSIZE'), f'DBSIZE of database {db}')
            for key in keys:
                for command in ([b'GET', key], [b'PEXPIRETIME', key], [b'OBJECT', b'ENCODING', key]):
                    x, y = a.raw(resp.encode(*command)), b.raw(resp.encode(*command))
                    if not equal(command, x, y):
                        for history in {id(p.history): p.history for p in pairs}.values():
                            show_history(history, [key])
                        raise tap.Failed(f'database {db}: {short(command)}: redis-server {short(x)}, varved {short(y)}')


def expire_some(rng, pair):
    """Keys that live for some milliseconds, then are missing for everybody, counts included."""
    keys = [b'soon%d' % i for i in range(20)]
    commands = [[b'SET', k, b'v', b'PX', b'%d' % rng.randrange(1, 40)] for k in keys[:10]]
    commands += [[b'SET', k, b'v'] for k in keys[10:]] + [[b'PEXPIRE', k, b'%d' % rng.randrange(1, 40)] for k in keys[10:]]
    pair.both(commands)
    time.sleep(0.25)
    end = time.monotonic() + 20  # who deletes later than that is wrong, busy machine or not
    while pair.reference.call('DBSIZE') != pair.ours.call('DBSIZE') and time.monotonic() < end:
        time.sleep(0.02)
    for k in keys:
        pair.both([[rng.choice([b'GET', b'TYPE', b'TTL', b'EXISTS', b'DEL', b'PERSIST']), k]])
    pair.both([[b'DBSIZE']])


def run(total, seed, *options):
    rng = random.Random(seed)
    tap.diag(f'seed {seed}, {total} commands')
    with server.Redis() as reference, server.Varved(*options) as ours:
        history = []
        shared = [Pair(reference, ours, i % 2 == 1, history) for i in range(4)]
        private = [Pair(reference, ours, i % 2 == 0, []) for i in range(4)]
        everywhere, at_home = Gen(rng), Gen(rng, private=True)
        for i, pair in enumerate(private):
            pair.both([[b'SELECT', b'%d' % (DATABASES - 1 - i)]])
        done = last = 0
        while done < total:
            if rng.random() < 0.7:
                pair = rng.choice(shared)
                commands = [everywhere.command() for _ in range(rng.choice([1, 5, 60, 200]))]
                pair.both(commands)
                done += len(commands)
            else:
                for i, pair in enumerate(private):  # databases may have been swapped: nobody else is at work now
                    pair.both([[b'SELECT', b'%d' % (DATABASES - 1 - i)]])
                batches = [[at_home.command() for _ in range(100)] for _ in private]
                for pair, commands in zip(private, batches):
                    pair.ours.send_raw(b''.join(resp.encode(*c) for c in commands))
                for pair, commands in zip(private, batches):
                    got = [pair.ours.read_raw() for _ in commands]
                    pair.compare(commands, pair.reference.pipeline(commands, raw=True), got)
                    done += len(commands)
            if done - last > 5000:
                last = done
                expire_some(rng, rng.choice(shared))
                compare_databases(reference, ours, shared + private)
        compare_databases(reference, ours, shared + private)
        ours.crash()
        compare_databases(reference, ours, shared + private)


COUNT = int(os.environ.get('DIFFERENTIAL_COMMANDS') or tap.pick(20000, 1000000))
SEED = int(os.environ.get('DIFFERENTIAL_SEED') or random.SystemRandom().randrange(2**32))
SMALL = ['--memtable-size', '262144', '--table-size', '65536', '--io-threads', '2']


@tap.test
def random_commands_get_the_same_replies_as_from_redis():
    run(COUNT, SEED, '--appendfsync', 'everysec', *SMALL)


if __name__ == '__main__':
    tap.main()
