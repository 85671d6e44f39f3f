#!/usr/bin/python3
"""kvctl check, dump and repair over the engines file and btree: each of their files damaged in every way. What can be read
stays, what was lost is said, and a server starts and agrees with itself afterwards. (Those of lsm: test_kvctl_offline.py.)"""
import glob
import json
import os
import random
import re
import shutil
import tempfile

import server
import tap
from directory import SMALL, contents, flip, kvctl, make, scan


class Made:
    """A directory of each engine, killed with a private table beside the rest; and one that was stopped, with all in its
    engine's files. What clients saw of it: its strings. Made once, copied often."""
    made = {}

    def __init__(self, engine):
        self.root = tempfile.TemporaryDirectory()
        self.killed, self.stopped = self.root.name + '/killed', self.root.name + '/stopped'
        self.keys = make(engine, self.killed)
        shutil.copytree(self.killed, self.stopped)
        with server.Varved('--engine', engine, *SMALL, dir=self.stopped) as s, s.connect() as c:
            c.must('SAVE')
            self.strings = strings(c)
            s.stop()

    @classmethod
    def of(cls, engine):
        if engine not in cls.made:
            cls.made[engine] = cls(engine)
        return cls.made[engine]


def strings(c):
    keys = [k for k in scan(c)[0] if re.match(rb'key:|expiring:|long:|last', k)]
    return dict(zip(keys, c.must('MGET', *keys)))


class Copy:
    """with Copy('file') as d: a copy of the stopped directory, or of the killed one."""

    def __init__(self, engine, killed=False):
        self.made, self.killed = Made.of(engine), killed

    def __enter__(self):
        self.root = tempfile.TemporaryDirectory()
        path = self.root.name + '/d'
        shutil.copytree(self.made.killed if self.killed else self.made.stopped, path)
        return path

    def __exit__(self, *_):
        self.root.cleanup()


def repaired(engine, d, *told, lost=None, change=True, revived=False):
    """Without --yes nothing changes and the same is told; with it, all holds afterwards. Returns what a server then has.
    lost: how many strings may be gone or other than before; revived: deleted ones may be there again."""
    before = contents(d)
    status, dry, err = kvctl('repair', d)
    tap.eq((status, err if 'log' not in err else ''), (0, ''), dry)
    tap.check(contents(d) == before, 'a repair without --yes changed something')
    status, out, err = kvctl('repair', '--yes', d)
    tap.eq(status, 0, out + err)
    for pattern in told:
        tap.matches(dry, pattern)
        tap.matches(out, pattern)
    tap.matches(dry, 'say --yes to do it' if change else 'nothing is to be done')
    tap.check(not os.path.exists(d + '/repairing'), 'a leftover')
    status, text, err = kvctl('check', d)
    tap.eq((status, err), (0, ''), text)
    tap.matches(kvctl('repair', d)[1], 'nothing is to be done')
    with server.Varved('--engine', engine, *SMALL, dir=d) as s, s.connect() as c:
        names = scan(c)[0]
        tap.eq(c.must('DBSIZE'), len(names))
        for key in names:
            kind = c.must('TYPE', key)
            if kind == b'hash':
                tap.eq(len(c.must('HGETALL', key)) // 2, c.must('HLEN', key))
            elif kind == b'set':
                tap.eq(len(c.must('SMEMBERS', key)), c.must('SCARD', key))
            elif kind == b'list':
                tap.eq(len(c.must('LRANGE', key, 0, -1)), c.must('LLEN', key))
            elif kind == b'zset':
                sound_zset(c, key)
        got, want = strings(c), Made.of(engine).strings
        tap.check(revived or not set(got) - set(want), 'there are keys that were not there')
        other = [k for k in want if got.get(k) != want[k]]
        tap.check(lost is None or len(other) <= lost, f'{len(other)} strings are gone or other: {other[:5]}')
        s.stop()
    return other


def sound_zset(c, key):
    """Members, scores and ranks tell the same."""
    got = c.must('ZRANGE', key, 0, -1, 'WITHSCORES')
    members, scores = got[::2], got[1::2]
    tap.eq(len(members), c.must('ZCARD', key))
    tap.eq(len(set(members)), len(members))
    tap.eq(c.must('ZMSCORE', key, *members), scores)
    cursor, seen = b'0', []
    while cursor != b'0' or not seen:
        cursor, part = c.must('ZSCAN', key, cursor, 'COUNT', 1000)
        seen += part[::2]
    tap.check(sorted(seen) == sorted(members), 'ZSCAN has other members than ZRANGE')
    for at in range(0, len(members), 97):
        tap.eq(c.must('ZRANK', key, members[at]), at)


def data_files(d):
    return sorted(glob.glob(d + '/data/*.dat'), key=os.path.getsize)


def cut(path, size):
    with open(path, 'r+b') as f:
        f.truncate(size)


def overwrite(path, offset, data):
    with open(path, 'r+b') as f:
        f.seek(offset)
        f.write(data)


# -- nothing is wrong

@tap.cases('file', 'btree')
def a_sound_directory_has_nothing_to_repair(engine):
    for killed in (False, True):
        with Copy(engine, killed) as d:
            tap.eq(repaired(engine, d, '0 lost', change=False), [])
            tap.check(not os.path.exists(d + '/lost'))


def anything(rng, n):
    """A command that changes the shape of collections in pieces."""
    l, z, h = f'list:{rng.randrange(6)}', f'zset:{rng.randrange(6)}', f'hash:{rng.randrange(4)}'
    return rng.choice((
        ('LPUSH', l, n), ('RPUSH', l, n, n), ('LPOP', l, rng.randrange(1, 5)), ('LINSERT', l, 'BEFORE', rng.randrange(6000), n),
        ('LREM', l, 0, rng.randrange(6000)), ('LSET', l, rng.randrange(100), n), ('LTRIM', l, rng.randrange(3), -1 - rng.randrange(3)),
        ('LMOVE', l, f'list:{rng.randrange(6)}', 'LEFT', 'RIGHT'), ('COPY', l, f'list:{rng.randrange(6)}', 'REPLACE'),
        ('ZADD', z, rng.randrange(500) - 250, f'm{rng.randrange(20000)}'), ('ZADD', z, '-0', f'm{rng.randrange(20000)}'),
        ('ZADD', z, 1, 'L' * 500 + str(n)), ('ZREM', z, f'm{rng.randrange(20000)}'), ('ZPOPMIN', z), ('ZPOPMAX', z, 3),
        ('ZRANK', z, f'm{rng.randrange(6000)}'), ('ZRANGE', z, 5000, 5010), ('ZINCRBY', z, 1, f'm{rng.randrange(6000)}'),
        ('ZREMRANGEBYRANK', z, 5, 7), ('RENAME', z, f'zset:{rng.randrange(6)}'), ('HSET', h, f'm{n % 900}', n),
        ('HDEL', h, f'm{rng.randrange(900)}'), ('HPEXPIRE', h, rng.randrange(1, 200), 'FIELDS', 1, f'm{rng.randrange(900)}')))


@tap.cases('lsm', 'file', 'btree')
def whatever_clients_do_check_finds_nothing(engine):
    rng = random.Random(9)
    with tempfile.TemporaryDirectory() as d:
        with server.Varved('--engine', engine, *SMALL, dir=d) as s, s.connect() as c:
            for k in range(4):
                c.must('RPUSH', f'list:{k}', *range(6000 if k % 2 else 300))
                c.must('ZADD', f'zset:{k}', *[x for i in range(6000 if k % 2 else 300) for x in (rng.randrange(500) - 250, f'm{i}')])
                c.must('HSET', f'hash:{k}', *[x for i in range(600) for x in (f'm{i}', 'v')])
            for n in range(tap.pick(4000, 50000)):
                c.call(*anything(rng, n))  # some are refused
            s.kill()
        tap.eq(kvctl('check', '-q', d), (0, '', ''))


# -- engine file

@tap.cases(('a flipped bit', lambda p: flip(p, os.path.getsize(p) // 2), 1),
           ('a flipped bit in a length', lambda p: flip(p, record_at(p, 5)[0] + 6), 2),
           ('a flipped bit in the first record', lambda p: flip(p, 20), 1),
           ('many', lambda p: [flip(p, at) for at in range(2000, os.path.getsize(p), 20000)], 100),
           ('zeros in the middle', lambda p: overwrite(p, 30000, bytes(8192)), 90),
           ('random bytes in the middle', lambda p: overwrite(p, 30000, random.Random(3).randbytes(8192)), 90),
           ('cut short', lambda p: cut(p, os.path.getsize(p) - 5000), 60),
           ('cut inside of a record', lambda p: cut(p, record_at(p, -1)[0] + 5), 1),
           ('longer than it was', lambda p: overwrite(p, os.path.getsize(p), b'x' * 100), 0))
def a_data_file_is_damaged(_, damage, lost):
    with Copy('file') as d:
        path = max((p for p in data_files(d) if 'key:' in kvctl('dump', p)[1]), key=os.path.getsize)
        damage(path)
        name = os.path.basename(path)
        status, _, err = kvctl('check', d)
        tap.eq(status, 2)
        tap.matches(err, re.escape(name))
        tap.eq(kvctl('dump', path)[0], 2)
        repaired('file', d, rf'{name}: \d+ bytes at \d+ places are lost', '1 without some of their records', lost=lost)
        tap.check(os.path.exists(f'{d}/lost/{name}'))


def record_at(path, n):
    return [int(o) for o in re.findall(r'^(\d+): (?:put|delete)', kvctl('dump', path)[1], re.M)][n:][:1]


@tap.test
def a_data_file_is_missing_or_has_nothing_left():
    with Copy('file') as d:
        gone, empty = data_files(d)[-2:]
        os.unlink(gone)
        cut(empty, 0)
        tap.matches(kvctl('check', d)[2], re.escape(os.path.basename(gone)) + '|' + re.escape(os.path.basename(empty)))
        repaired('file', d, re.escape(os.path.basename(gone)) + '.*lost', '2 lost')


@tap.test
def hint_files_are_made_anew():
    with Copy('file') as d:
        hints = sorted(glob.glob(d + '/data/*.hint'), key=os.path.getsize)[-4:]
        sound = [open(h, 'rb').read() for h in hints]
        os.unlink(hints[0])
        cut(hints[1], 100)
        flip(hints[2], 60)
        shutil.copy(hints[1], hints[3])
        for path in hints:
            tap.eq(kvctl('dump', path)[0], 2)
        tap.eq(repaired('file', d, '4 hint files made anew', lost=0), [])
        for path, data in zip(hints, sound):
            if os.path.exists(path):  # the server may have merged it since
                tap.check(open(path, 'rb').read() == data, 'another hint file than before')


@tap.test
def without_the_list_of_files_nothing_can_be_told():
    for damage in (lambda p: flip(p, 50), os.unlink, lambda p: cut(p, 40)):
        with Copy('file') as d:
            damage(d + '/FILES')
            before = contents(d)
            for command in ('repair', '--yes'), ('check',):
                status, _, err = kvctl(*(('repair', '--yes') if command[0] == 'repair' else command), d)
                tap.eq(status, 2)
                tap.check('FILES' in err or 'no engine' in err, err)
            tap.check({k: v for k, v in contents(d).items() if k in before} == before, 'something was changed')


# -- what the records of collections tell of each other

def pieces(d, subspace, what):
    """(file, offset, length) of the records of a subspace of elements whose line has this in it."""
    for path in data_files(d):
        lines = re.findall(r'^(\d+): (?:put (.*))?', kvctl('dump', path)[1], re.M)
        for (at, line), (end, _) in zip(lines, lines[1:]):
            if re.match(rf'E(?:\\x..|.){{14}}\\x0{subspace}', line) and what in line:
                yield path, int(at), int(end) - int(at)


@tap.cases(('members', 1, 'member:', 20), ('scores', 2, 'member:', 20), ('long elements', 3, 'element:', 15), ('blocks', 7, 'element:', 15),
           ('the counted tree', 5, '', None), ('one node of the counted tree', 5, 'member:', 1),
           ('all of them', '[12357]', ':', 50))
def pieces_of_collections_are_lost(_, subspace, what, most):
    with tempfile.TemporaryDirectory() as d:
        with server.Varved('--engine', 'file', *SMALL, dir=d) as s, s.connect() as c:
            for at in range(0, 6000, 1000):
                c.must('ZADD', 'zset', *[x for i in range(at, at + 1000) for x in (i / 4, f'member:{i}' + 'm' * (i % 3 * 300))])
                c.must('RPUSH', 'list', *[f'element:{i}' + 'e' * (200 * (i % 50 == 7)) for i in range(at, at + 1000)])
            c.must('ZADD', 'zset', '-0', 'member:minus')
            for i in range(3000, 3400, 20):  # segments
                c.must('LINSERT', 'list', 'BEFORE', f'element:{i}', f'element:new:{i}')
            tap.eq(c.must('ZRANK', 'zset', 'member:5001'), 5002)  # makes a counted tree
            before = c.must('LRANGE', 'list', 0, -1)
            c.must('SAVE')
            s.stop()
        found = list(pieces(d, subspace, what))
        tap.check(len(found) > (5 if (most or 0) > 1 else 0), f'only {len(found)}')
        lost = random.Random(5).sample(found, min(most or len(found), len(found)))
        for path, at, length in lost:
            flip(path, at + length - 1)
        status, out, err = kvctl('repair', '-y', d)
        tap.eq(status, 0, out + err)
        if subspace == 5:
            tap.matches(out, 'the sorted set .* is counted anew|the sorted set .* forgets')
        tap.eq(kvctl('check', '-q', d), (0, '', ''))
        with server.Varved('--engine', 'file', *SMALL, dir=d) as s, s.connect() as c:
            sound_zset(c, 'zset')
            tap.check(c.must('ZCARD', 'zset') >= 6001 - len(lost))
            tap.check(subspace != 2 or c.must('ZCARD', 'zset') == 6001, 'a member went with its score')
            if c.must('EXISTS', 'list'):
                after = c.must('LRANGE', 'list', 0, -1)
                tap.eq(len(after), len(before))
                tap.eq([i for i, (x, y) in enumerate(zip(before, after)) if x != y and y != b''], [])
                tap.check(after.count(b'') <= 16 * len(lost), after.count(b''))
                tap.check(subspace not in (3, 7) or b'' in after, 'nothing was lost')
                c.must('LINSERT', 'list', 'BEFORE', 'element:10', 'x')
                c.must('LTRIM', 'list', 100, -100)
                tap.eq(c.must('LLEN', 'list'), len(before) + 1 - 199)
            c.must('ZADD', 'zset', 1, 'another')
            c.must('ZREMRANGEBYRANK', 'zset', 0, 100)
            sound_zset(c, 'zset')
            s.stop()
        tap.eq(kvctl('check', '-q', d), (0, '', ''))


# -- private tables that only the log names

def private(engine, d):
    """The one of the 3 MB value, if it is not yet part of the engine."""
    listed, where = {'file': ('FILES', 'data/*.dat'), 'btree': (None, 'btree/*.dat'),
                     'lsm': (max(glob.glob(d + '/MANIFEST-*'), default=None), 'sst/*.sst')}[engine]
    listed = kvctl('dump', os.path.join(d, listed))[1] if listed else ''
    for path in glob.glob(f'{d}/{where}'):
        number = os.path.basename(path)[:-4]
        if os.path.getsize(path) > 3000000 and not re.search(rf'(?:file|table) {number} ', listed):
            return path
    return None


def unattached(engine, d):
    """A directory whose log names a private table that no boundary covers."""
    s = server.Varved('--engine', engine, '--appendfsync', 'always', dir=d)
    try:
        s.call('SET', 'before', 'v')
        s.call('SET', 'huge', random.Random(7).randbytes(3000000))
        s.call('SET', 'after', 'v')
        s.kill()
    finally:
        s.close()


def is_needed(path, d):
    """Not one that the engine has taken in and had no time to remove."""
    os.rename(path, d + '/away')
    status = kvctl('check', d)[0]
    os.rename(d + '/away', path)
    return status == 2


class Unattached:
    """A directory with a private table that no boundary covers: the server was killed before the engine took it in."""

    def __init__(self, engine):
        self.engine = engine

    def __enter__(self):
        for _ in range(30):
            self.root = tempfile.TemporaryDirectory()
            unattached(self.engine, self.root.name)
            path = private(self.engine, self.root.name)
            if path and is_needed(path, self.root.name):
                return self.root.name, path
            self.root.cleanup()
        raise tap.Failed('the engine was always quicker')

    def __exit__(self, *_):
        self.root.cleanup()


@tap.cases('file', 'btree', 'lsm')
def a_private_table_is_damaged(engine):
    with Unattached(engine) as (d, path):
        flip(path, 1500000)
        out = kvctl('repair', d)[1]
        tap.matches(out, rf'{os.path.basename(path)}: .* lost')
        status, out, err = kvctl('repair', '-y', d)
        tap.eq(status, 0, out + err)
        tap.eq(kvctl('check', d)[0], 0)
        with server.Varved('--engine', engine, dir=d) as s:
            value, want = s.call('GET', 'huge'), random.Random(7).randbytes(3000000)
            tap.eq(len(value), len(want))
            wrong = [i for i in range(0, len(want), 8192) if value[i:i + 8192] != want[i:i + 8192]]
            tap.check(1 <= len(wrong) <= 2, wrong)  # a block of lsm may have two
            tap.check(all(value[i:i + 8192] == bytes(8192) for i in wrong), 'not zeros')
            tap.eq(s.call('MGET', 'before', 'after'), [b'v', b'v'])


@tap.cases('file', 'btree', 'lsm')
def a_private_table_is_missing(engine):
    with Unattached(engine) as (d, path):
        os.unlink(path)
        tap.eq(kvctl('check', d)[0], 2)
        status, out, err = kvctl('repair', '-y', d)
        tap.eq(status, 0, out + err)
        tap.matches(err, 'table .* of the log names, cannot be opened .* left out')
        tap.eq(kvctl('check', d)[0], 0)
        with server.Varved('--engine', engine, dir=d) as s:
            tap.eq(s.call('MGET', 'before', 'after'), [b'v', b'v'])


# -- engine btree

def mdb(d):
    return d + '/btree/data.mdb'


def pages(d, kind):
    """Offsets of the tree's branches or leaves, the root first."""
    return [int(o) for o in re.findall(rf'^(\d+): page \d+, {kind}', kvctl('dump', mdb(d))[1], re.M)]


def root(d):
    return 4096 * int(re.search(r'in force: root (\d+)', kvctl('dump', mdb(d))[1]).group(1))


def leaf_with(d, what):
    """The page of the first such record, and where in it that is."""
    page = None
    for line in kvctl('dump', mdb(d))[1].splitlines():
        at = re.match(r'(\d+): page \d+, leaf', line)
        page = int(at.group(1)) if at else page
        if re.match(r'  ' + what, line):
            return page
    raise tap.Failed(f'no {what}')


def newest_meta(d):
    return 4096 * int(re.search(r'page ([01]), transaction \d+, in force', kvctl('dump', mdb(d))[1]).group(1))


def in_record(d):
    """A place inside of a value, in a leaf of keys: through the page's nodes, since old ones may lie beside them."""
    at = leaf_with(d, r'put M.*key:')
    with open(mdb(d), 'rb') as f:
        f.seek(at)
        page = f.read(4096)
    for i in range(16, int.from_bytes(page[12:14], 'little'), 2):
        node = int.from_bytes(page[i:i + 2], 'little')
        key = page[node + 8:node + 8 + int.from_bytes(page[node + 6:node + 8], 'little')]
        if b'key:' in key:
            return at + node + 8 + len(key) + 40
    raise tap.Failed('no such record')


def each_newest_meta(d):
    """The root in the meta that is in force leads nowhere."""
    overwrite(mdb(d), newest_meta(d) + 88 + 40, (999999).to_bytes(8, 'little'))


@tap.cases(('a flipped bit in a value', lambda d: flip(mdb(d), in_record(d)), r'1 records lost', 1),
           ('the number of a leaf', lambda d: flip(mdb(d), leaf_with(d, 'put M.*key:')), r'1 lost', 40),
           ('a leaf is zeros', lambda d: overwrite(mdb(d), leaf_with(d, 'put M.*key:'), bytes(4096)), r'1 lost', 40),
           ('a node points outside', lambda d: overwrite(mdb(d), leaf_with(d, 'put M.*key:') + 16, b'\xff\xff'),
            r'1 records lost', 1),
           ('a node of nonsense', lambda d: overwrite(mdb(d), leaf_with(d, 'put M.*key:') + 16, b'\x10\0'),
            r'1 records lost', 2),
           ('a branch is zeros', lambda d: overwrite(mdb(d), pages(d, 'branch')[-1], bytes(4096)),
            r'1 lost.* [1-9]\d* found again', 0),
           ('the root is zeros', lambda d: overwrite(mdb(d), root(d), bytes(4096)), r'found again', 200),
           ('a branch leads to itself', lambda d: overwrite(mdb(d), root(d) + 4090, b'\0' * 6), None, 0),
           ('the boundary', lambda d: flip(mdb(d), leaf_with(d, 'boundary') + boundary_in(d)), 'the boundary is lost', 0),
           ('the first leaf, with the boundary', lambda d: overwrite(mdb(d), leaf_with(d, 'boundary'), bytes(4096)),
            'the boundary is lost', 0),
           ('the first meta', lambda d: overwrite(mdb(d), 0, bytes(4096)), 'one of the two', None),
           ('the second meta', lambda d: overwrite(mdb(d), 4096, bytes(4096)), 'one of the two', None),
           ('the root that the meta names', each_newest_meta, 'no such page', None),
           ('cut to the half', lambda d: cut(mdb(d), os.path.getsize(mdb(d)) // 2 // 4096 * 4096),
            'the file ends|cannot be read', None),
           ('cut inside of a page', lambda d: cut(mdb(d), os.path.getsize(mdb(d)) - 1), None, None))
def a_tree_is_damaged(name, damage, told, lost):
    with Copy('btree') as d:
        damage(d)
        status, _, err = kvctl('check', d)
        if status == 0 and told is None:
            return  # it hit nothing that counts
        tap.eq(status, 2)
        tap.matches(err, r'data\.mdb')
        tap.eq(kvctl('dump', mdb(d))[0], 2)
        before = contents(d)['btree/data.mdb']
        status, out, err = kvctl('repair', d)
        tap.eq(status, 0, out + err)
        tap.matches(out, 'say --yes to do it')
        tap.check(contents(d)['btree/data.mdb'] == before, 'a repair without --yes changed something')
        status, out, err = kvctl('repair', '--yes', d)
        tap.eq(status, 0, out + err)
        if told:
            tap.matches(out, told)
        tap.eq(contents(d)['lost/data.mdb'], before)
        repaired('btree', d, change=False, lost=lost, revived=True)  # from pages that were free


def boundary_in(d):
    """Where in its leaf a byte of the boundary's value is."""
    at = leaf_with(d, 'boundary')
    with open(mdb(d), 'rb') as f:
        f.seek(at)
        return f.read(4096).index(b'\0boundary') + 9 + 12


@tap.test
def without_both_metas_nothing_can_be_told():
    with Copy('btree') as d:
        overwrite(mdb(d), 0, bytes(8192))
        before = contents(d)
        for command in ('check',), ('repair', '--yes'):
            status, _, err = kvctl(*command, d)
            tap.eq(status, 2)
            tap.matches(err, 'neither of its first two pages')
        tap.check(contents(d) == before)


@tap.cases('file', 'btree')
def an_interrupted_repair_leaves_nothing_to_trip_over(engine):
    with Copy(engine) as d:
        os.makedirs(d + '/repairing/btree')
        for name in ('000001.dat', 'btree/data.mdb', 'btree/000009.dat'):
            with open(f'{d}/repairing/{name}', 'wb') as f:
                f.write(b'half of it')
        flip(mdb(d) if engine == 'btree' else data_files(d)[-1], in_record(d) if engine == 'btree' else 300)
        tap.eq(kvctl('repair', '-y', d)[0], 0)
        tap.check(not os.path.exists(d + '/repairing'))
        tap.eq(kvctl('check', d)[0], 0)


@tap.test
def a_second_repair_keeps_what_the_first_kept():
    with Copy('btree') as d:
        for n in (1, 2):
            flip(mdb(d), in_record(d))
            tap.eq(kvctl('repair', '-y', d)[0], 0)
            tap.eq(len(glob.glob(d + '/lost/data.mdb*')), n)


@tap.test
def a_new_tree_gives_no_number_twice():
    with Copy('btree') as d:
        number = int(re.search(r'next number (\d+)', kvctl('dump', mdb(d))[1]).group(1))
        flip(mdb(d), in_record(d))
        tap.eq(kvctl('repair', '-y', d)[0], 0)
        tap.check(int(re.search(r'next number (\d+)', kvctl('dump', mdb(d))[1]).group(1)) >= number)


# -- dump

@tap.test
def dump_shows_all_records_of_data_files_hints_list_and_tree():
    with Copy('file') as d:
        listed = kvctl('dump', d + '/FILES')[1]
        numbers = re.findall(r'^  file (\d+) order \d+ (\d+) bytes', listed, re.M)
        tap.check(numbers, listed)
        for number, size in numbers:
            status, data, err = kvctl('dump', f'{d}/data/{number}.dat')
            tap.eq((status, err), (0, ''))
            tap.matches(data, rf'\A(?s:.*)\n{size}: the end, {len(re.findall("^[0-9]+: (?:put|delete) ", data, re.M))} ')
            status, hints, err = kvctl('dump', f'{d}/data/{number}.hint')
            tap.eq((status, err), (0, ''))
            places = r'^(\d+: (?:put|delete) [^ ,=]*)'
            tap.eq(re.findall(places, hints, re.M), re.findall(places, data, re.M))
    with Copy('btree') as d:
        status, out, err = kvctl('dump', mdb(d))
        tap.eq((status, err), (0, ''))
        checked = json.loads(kvctl('--json', 'check', d)[1])
        records = len(re.findall(r'^  put ', out, re.M))
        tap.matches(out, rf'\n{records + 1} records of {records + 1}$')
        tap.eq(records, checked['records'] + 1)  # and the database map
        tap.matches(out, r'  boundary \d+, next number \d+, format 1\n  state: log')
    for bad in ('/nonexistent/data.mdb', '/nonexistent/FILES', '/nonexistent/000001.dat', '/nonexistent/000001.hint',
                '000001.datum', '.dat', 'MANIFEST-', '-1.dat'):
        tap.eq(kvctl('dump', bad)[0], 2)


# -- anything at all

@tap.cases('file', 'btree')
def any_bytes_may_be_wrong(engine):
    """Nothing crashes or hangs; what was repaired holds."""
    rng = random.Random(11)
    for turn in range(tap.pick(12, 400)):
        with Copy(engine, killed=turn % 2 == 1) as d:
            files = [mdb(d)] if engine == 'btree' else data_files(d) + glob.glob(d + '/data/*.hint')
            for _ in range(rng.randrange(1, 30)):
                path = rng.choice(files)
                size = os.path.getsize(path)
                kind = rng.randrange(4)
                if kind == 0 or size < 2:
                    continue
                at = rng.randrange(size) // 4096 * 4096 if kind == 1 else rng.randrange(size)
                overwrite(path, at, rng.choice((rng.randbytes(1), bytes(16), b'\xff' * 8, rng.randbytes(rng.randrange(1, 4096)))))
            if rng.randrange(4) == 0:
                cut(files[0], rng.randrange(os.path.getsize(files[0]) + 1))
            for path in files:
                tap.check(kvctl('dump', path)[0] in (0, 2))
            tap.check(kvctl('check', d)[0] in (0, 2), f'turn {turn}')
            tap.check(kvctl('repair', d)[0] in (0, 2), f'turn {turn}')
            status, out, err = kvctl('repair', '-y', d)
            tap.check(status in (0, 2), f'turn {turn}: {out}{err}')
            if status == 0:
                status, out, err = kvctl('check', d)
                tap.eq(status, 0, f'turn {turn}: {out}{err}')
            else:
                tap.matches(err, r'neither of its first two|do not hold|boundary|database map')


tap.main()
