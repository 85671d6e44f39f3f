#!/usr/bin/python3
"""Golden directories: data directories that earlier builds made, kept in tests/golden, which every later build must open and
find whole. Each archive NAME.tar.xz holds the directory of a server that was killed, with a checkpoint in it: part of the data
is in the engine's files, and that the checkpoint has, part is in the log alone. What they hold is written down here, type by
type.

When a format gets a new version, add archives and let the old ones be (the number only tells them apart; format-2 has the log's
second):

    VARVED=build/varved PYTHONPATH=tests/lib python3 tests/system/test_golden.py --make format-3 [KIND...]
"""
import glob
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile

import resp
import server
import tap

FOLDER = os.path.join(server.ROOT, 'tests', 'golden')
KVCTL = os.path.join(os.path.dirname(server.VARVED), 'kvctl')
# A name of an archive is format-VERSION-KIND.
KINDS = {
    'lsm': ('--engine', 'lsm'),
    'lsm-lz4': ('--engine', 'lsm', '--compression-per-level', 'none lz4', '--block-size', '2kb'),
    'lsm-zstd': ('--engine', 'lsm', '--compression-per-level', 'zstd', '--block-size', '2kb'),
    'btree': ('--engine', 'btree'),
    'file': ('--engine', 'file'),
}
SMALL = ('--appendfsync', 'always', '--memtable-size', '256kb', '--table-size', '128kb', '--log-segment-size', '128kb',
         '--log-buffer-size', '64kb', '--disk-reserve', '64kb', '--checkpoint-keep', '1')
FAR = 7258118400000  # the year 2200


def text(*words, size=20):
    """Bytes that these words decide, and that compress."""
    return (hashlib.sha256(repr(words).encode()).hexdigest()[:12].encode() * (size // 12 + 1))[:size]


def part_one():
    """Commands whose effect is in the engine's files: (database, words)."""
    for i in range(400):
        yield 0, ('SET', f'string:{i}', text('s', i, size=i % 97))
    yield 0, ('SET', b'binary\x00\xff\r\nname', bytes(range(256)))
    yield 0, ('SET', 'empty', b'')
    yield 0, ('SET', 'large', text('large', size=300000))
    yield 0, ('SETBIT', 'bits', 70000, 1)
    yield 0, ('SET', 'number', '-9223372036854775808')
    yield 0, ('SET', 'expiring', 'v', 'PXAT', FAR)
    for i in range(0, 700, 50):
        yield 0, ('HSET', 'hash:large', *[x for n in range(i, i + 50) for x in (f'field:{n}', text('h', n))])
        yield 0, ('SADD', 'set:large', *[text('m', n) for n in range(i, i + 50)])
        yield 0, ('ZADD', 'zset:large', *[x for n in range(i, i + 50) for x in (n * 0.5 - 300, f'member:{n}')])
        yield 0, ('RPUSH', 'list:large', *[text('l', n, size=60) for n in range(i, i + 50)])
    yield 0, ('HSET', 'hash:small', 'a', '1', 'b', '')
    yield 0, ('HSET', 'hash:expiring', 'a', '1', 'b', '2')
    yield 0, ('HPEXPIREAT', 'hash:expiring', FAR, 'FIELDS', 1, 'b')
    yield 0, ('SADD', 'set:ints', *range(-50, 50))
    yield 0, ('ZADD', 'zset:ends', '-inf', 'low', 'inf', 'high', '0.1', 'between')
    yield 0, ('GEOADD', 'geo', '13.361389', '38.115556', 'Palermo', '15.087269', '37.502669', 'Catania')
    yield 0, ('PFADD', 'hll', *range(2000))
    yield 0, ('PFADD', 'hll:sparse', 'a', 'b')
    yield 0, ('RPUSH', 'list:small', 'a', '', 'c')
    for i in range(300):
        yield 3, ('SET', f'flushed:{i}', text('f', i))
    yield 9, ('SET', 'other', 'database')


def part_two():
    """Commands whose effect the log alone has."""
    yield 3, ('FLUSHDB',)
    yield 3, ('SET', 'after', 'flush')
    yield 0, ('DEL', *[f'string:{i}' for i in range(0, 400, 3)])
    yield 0, ('SET', 'string:1', 'overwritten')
    yield 0, ('APPEND', 'large', 'more')
    yield 0, ('HDEL', 'hash:large', *[f'field:{n}' for n in range(0, 700, 4)])
    yield 0, ('SREM', 'set:large', *[text('m', n) for n in range(0, 700, 5)])
    yield 0, ('ZINCRBY', 'zset:large', '1e17', 'member:7')
    yield 0, ('LPUSH', 'list:large', 'front')
    yield 0, ('LTRIM', 'list:large', 0, 500)
    yield 0, ('PEXPIREAT', 'set:ints', FAR + 1)
    yield 0, ('INCR', 'counter')
    yield 0, ('SET', 'large:2', text('again', size=200000))


def same(got, want, what):
    tap.check(got == want, f'{what}: {str(got)[:80]} instead of {str(want)[:80]}')


def look(c):
    """All that must be there, and nothing else."""
    want = {}
    for i in range(400):
        if i % 3:
            want[f'string:{i}'] = text('s', i, size=i % 97)
    want.update({'string:1': b'overwritten', b'binary\x00\xff\r\nname': bytes(range(256)), 'empty': b'',
                 'large': text('large', size=300000) + b'more', 'number': b'-9223372036854775808', 'expiring': b'v',
                 'counter': b'1', 'large:2': text('again', size=200000), 'bits': bytes(8750) + b'\x80'})
    names = list(want)
    for name, got in zip(names, c.must('MGET', *names)):
        same(got, want[name], name)
    pairs = c.must('HGETALL', 'hash:large')
    same(dict(zip(pairs[::2], pairs[1::2])), {b'field:%d' % n: text('h', n) for n in range(700) if n % 4}, 'hash:large')
    pairs = c.must('HGETALL', 'hash:small')
    same(dict(zip(pairs[::2], pairs[1::2])), {b'a': b'1', b'b': b''}, 'hash:small')
    same(c.must('HPEXPIRETIME', 'hash:expiring', 'FIELDS', 2, 'a', 'b'), [-1, FAR], 'hash:expiring')
    same(set(c.must('SMEMBERS', 'set:large')), {text('m', n) for n in range(700) if n % 5}, 'set:large')
    same(set(c.must('SMEMBERS', 'set:ints')), {b'%d' % n for n in range(-50, 50)}, 'set:ints')
    members = c.must('ZRANGE', 'zset:large', 0, -1, 'WITHSCORES')
    scores = sorted((n * 0.5 - 300 + (1e17 if n == 7 else 0), b'member:%d' % n) for n in range(700))
    same([(float(s), m) for m, s in zip(members[::2], members[1::2])], scores, 'zset:large')
    same(c.must('ZRANGE', 'zset:ends', 0, -1, 'WITHSCORES'), [b'low', b'-inf', b'between', b'0.1', b'high', b'inf'], 'zset:ends')
    same(c.must('GEODIST', 'geo', 'Palermo', 'Catania', 'km'), b'166.2742', 'geo')
    same((c.must('PFCOUNT', 'hll'), c.must('PFCOUNT', 'hll:sparse')), (2007, 2), 'hll')  # Redis' own estimate
    same(c.must('LRANGE', 'list:large', 0, -1), [b'front'] + [text('l', n, size=60) for n in range(500)], 'list:large')
    same(c.must('LRANGE', 'list:small', 0, -1), [b'a', b'', b'c'], 'list:small')
    same([c.must('PEXPIRETIME', k) for k in ('expiring', 'set:ints', 'empty')], [FAR, FAR + 1, -1], 'expiry')
    names += ['hash:large', 'hash:small', 'hash:expiring', 'set:large', 'set:ints', 'zset:large', 'zset:ends', 'geo', 'hll',
              'hll:sparse', 'list:large', 'list:small']
    same(set(c.must('KEYS', '*')), {n if isinstance(n, bytes) else n.encode() for n in names}, 'keys')
    same(c.must('DBSIZE'), len(names), 'DBSIZE')
    for number, keys in ((3, {b'after': b'flush'}), (9, {b'other': b'database'}), (1, {})):
        c.must('SELECT', number)
        same(c.must('DBSIZE'), len(keys), f'DBSIZE of database {number}')
        same({k: c.must('GET', k) for k in c.must('KEYS', '*')}, keys, f'database {number}')
    c.must('SELECT', 0)


def send(c, commands):
    for database, words in commands:
        c.must('SELECT', database)
        c.must(*words)
    c.must('SELECT', 0)


def make(version, kinds):
    for kind in kinds or KINDS:
        options = KINDS[kind]
        with tempfile.TemporaryDirectory() as scratch:
            folder = os.path.join(scratch, 'data')
            with server.Varved(*options, *SMALL, dir=folder) as s:
                with s.connect() as c:
                    send(c, part_one())
                    c.must('SAVE')
                    send(c, part_two())
                    look(c)
                s.kill()
            path = os.path.join(FOLDER, f'{version}-{kind}.tar.xz')
            with tarfile.open(path, 'w:xz', preset=9) as tar:
                def plain(info):
                    info.uid = info.gid = info.mtime = 0
                    info.uname = info.gname = ''
                    return info
                tar.add(folder, 'data', filter=plain)
            print(path, os.path.getsize(path))


ARCHIVES = sorted(glob.glob(os.path.join(FOLDER, '*.tar.xz')))


@tap.test
def there_is_one_of_each_kind():
    found = {os.path.basename(a)[:-len('.tar.xz')].split('-', 2)[2] for a in ARCHIVES}
    tap.eq(found, set(KINDS))


@tap.cases(*[(os.path.basename(a), a) for a in ARCHIVES])
def opens_and_is_whole(name, archive):
    options = KINDS[name[:-len('.tar.xz')].split('-', 2)[2]]
    with tempfile.TemporaryDirectory() as scratch:
        with tarfile.open(archive) as tar:
            tar.extractall(scratch)
        folder = os.path.join(scratch, 'data')
        done = subprocess.run([KVCTL, 'check', folder], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=240, check=False)
        tap.eq((done.returncode, b'everything holds' in done.stdout), (0, True), done.stdout)
        checkpoint = os.path.join(scratch, 'checkpoint')
        os.rename(os.path.join(folder, 'checkpoints', 'checkpoint-000001'), checkpoint)
        for where, missing in ((folder, ()), (checkpoint, part_two())):
            with server.Varved(*options[:2], *SMALL, dir=where) as s:
                with s.connect() as c:
                    send(c, missing)
                    look(c)
                    for i in range(3000):  # enough for flushes and compactions with what is old
                        c.must('SET', f'new:{i}', text('n', i, size=200))
                    tap.eq(c.call('BGREWRITEAOF'), resp.Simple(b'Background append only file rewriting started'))
                    c.must('DEL', *[f'new:{i}' for i in range(3000)])
                    look(c)
                s.crash()
                with s.connect() as c:
                    look(c)
                s.stop()
                s.start()
                with s.connect() as c:
                    look(c)


if __name__ == '__main__':
    if sys.argv[1:2] == ['--make']:
        make(sys.argv[2], sys.argv[3:])
    else:
        tap.main()
