"""Data directories for tests of what works on them without a server: filling one, comparing, damaging.

    keys = directory.make('file', folder)      # killed, with files, log and all kinds of records
    status, out, err = directory.kvctl('check', folder)
    directory.flip(path, offset)
"""
import hashlib
import os
import random
import subprocess

import server

KVCTL = os.path.join(os.path.dirname(server.VARVED), 'kvctl')
SMALL = ('--appendfsync', 'everysec', '--memtable-size', '1mb', '--table-size', '256kb', '--log-segment-size', '8mb')


def kvctl(*args):
    p = subprocess.run([KVCTL, *map(str, args)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, timeout=240, check=False)
    return p.returncode, p.stdout.decode(errors='replace'), p.stderr.decode(errors='replace')


def contents(folder):
    """Every file's bytes, hashed; not LMDB's table of readers, which is no data."""
    found = {}
    for at, _, names in os.walk(folder):
        for name in names:
            if name != 'lock.mdb':
                with open(os.path.join(at, name), 'rb') as f:
                    found[os.path.relpath(os.path.join(at, name), folder)] = hashlib.sha256(f.read()).hexdigest()
    return found


def flip(path, offset):
    with open(path, 'r+b') as f:
        f.seek(offset)
        byte = f.read(1)[0]
        f.seek(offset)
        f.write(bytes([byte ^ 0x10]))


def fill(c, rng):
    for _ in range(15):
        c.pipeline([('SET', f'key:{rng.randrange(6000)}', rng.randbytes(100)) for _ in range(1000)])
    c.pipeline([('SET', f'expiring:{i}', 'v', 'EX', rng.randrange(10000, 20000)) for i in range(500)])
    c.pipeline([('SET', f'long:{i}', rng.randbytes(40000)) for i in range(60)])  # private tables when they come together
    for i in range(5):
        c.must('HSET', f'hash:{i}', *[x for n in range(800) for x in (f'field:{n}', rng.randbytes(20))])
        c.must('SADD', f'set:{i}', *[rng.randbytes(30) for n in range(800)])
        c.must('ZADD', f'zset:{i}', *[x for n in range(800) for x in (rng.randrange(1000), f'member:{n}')])
        c.must('RPUSH', f'list:{i}', *[rng.randbytes(30) for n in range(800)])
    c.must('SET', 'huge', rng.randbytes(3000000))  # a private table
    c.must('DEL', 'long:1', 'hash:1', 'zset:2')
    c.must('SET', b'L' * 900, 'a long name')
    c.must('SELECT', 2)
    c.pipeline([('SET', f'flushed:{i}', 'v') for i in range(500)])
    c.must('FLUSHDB')
    c.must('SET', 'other', 'database')
    c.must('SELECT', 0)


def make(engine, folder):
    with server.Varved('--engine', engine, *SMALL, dir=folder) as s, s.connect() as c:
        fill(c, random.Random(5))
        c.must('CONFIG', 'SET', 'appendfsync', 'always')
        c.must('SET', 'last', 'v')
        keys = c.must('DBSIZE') + 1
        s.kill()
    return keys


def scan(c, cursor=b'0'):
    """The keys from a cursor on, and the cursor behind the first of the calls."""
    order, first = [], None
    while True:
        cursor, part = c.must('SCAN', cursor, 'COUNT', 500)
        order += part
        first = first or (cursor, len(part))
        if cursor == b'0':
            return order, first
