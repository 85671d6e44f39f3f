#!/usr/bin/python3
"""compression-per-level: what it makes of tables, when it is set and while the server runs; and that everything can be read,
whatever mixture of forms the tables are left in.
"""
import os
import subprocess
import tempfile

import server
import tap

KVCTL = os.path.join(os.path.dirname(server.VARVED), 'kvctl')
SMALL = ('--engine', 'lsm', '--appendfsync', 'no', '--memtable-size', '256kb', '--table-size', '128kb', '--log-segment-size',
         '1mb', '--log-buffer-size', '64kb')


def value(i, generation):
    """About two hundred bytes, most of which a compressor finds again."""
    return (b'{"id":%d,"name":"user %d","generation":%d,"tags":["a","b","c"],"comment":"%x"}' % (i, i, generation, i * 7919)) * 2


def fill(c, generation, count=6000):
    for at in range(0, count, 500):
        c.must('MSET', *[x for i in range(at, at + 500) for x in (f'key:{i:06}', value(i, generation))])


def all_there(c, generation, count=6000):
    for at in range(0, count, 500):
        got = c.must('MGET', *[f'key:{i:06}' for i in range(at, at + 500)])
        tap.eq(got, [value(i, generation) for i in range(at, at + 500)])


def compact(c):
    c.must('BGREWRITEAOF')
    tap.until(lambda: b'aof_rewrite_in_progress:0' in c.must('INFO', 'persistence'), 60, what='the compaction')


def levels(c):
    """For each level that has tables: (bytes, bytes of keys and values)."""
    found = {}
    for line in c.must('INFO', 'compaction').decode().splitlines():
        if line.startswith('level'):
            name, rest = line.split(':')
            fields = dict(x.split('=') for x in rest.split(','))
            if int(fields['files']):
                found[int(name[5:])] = (int(fields['bytes']), int(fields['data_bytes']))
    return found


def ratio(c):
    each = levels(c).values()
    return sum(data for _, data in each) / sum(size for size, _ in each)


def filled(*options):
    """The ratio that a server with these options has after a fill and a compaction, all of it having been read."""
    with server.Varved(*SMALL, *options) as s:
        with s.connect() as c:
            fill(c, 1)
            compact(c)
            all_there(c, 1)
            found = ratio(c)
        s.crash()
        with s.connect() as c:
            all_there(c, 1)
        s.stop()
        done = subprocess.run([KVCTL, 'check', s.dir], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=120, check=False)
        tap.eq((done.returncode, b'everything holds' in done.stdout), (0, True), done.stdout)
        return found


@tap.test
def each_form_is_smaller_than_the_one_before():
    none, lz4, zstd, best = (filled('--compression-per-level', how) for how in ('none', 'lz4', 'zstd:1', 'zstd:15'))
    print(f'# none {none:.2f}, lz4 {lz4:.2f}, zstd:1 {zstd:.2f}, zstd:15 {best:.2f}')
    tap.check(none < 1.2 and lz4 > 1.5 * none and zstd > 1.1 * lz4 and best > zstd, (none, lz4, zstd, best))


@tap.test
def each_level_has_its_own():
    with server.Varved(*SMALL, '--compression-per-level', 'none zstd') as s, s.connect() as c:
        fill(c, 1)
        compact(c)
        fill(c, 2, 1000)
        found = levels(c)
        size, data = found[max(found)]
        tap.check(data > 2 * size, found)
        if 0 in found:
            size, data = found[0]
            tap.check(data < 1.3 * size, found)
        all_there(c, 2, 1000)


@tap.test
def it_is_set_while_the_server_runs():
    with server.Varved(*SMALL) as s, s.connect() as c:
        tap.eq(c.must('CONFIG', 'GET', 'compression-per-level'), [b'compression-per-level', b'none'])
        fill(c, 1)
        compact(c)
        before = ratio(c)
        c.must('CONFIG', 'SET', 'compression-per-level', 'LZ4 zstd:5')
        tap.eq(c.must('CONFIG', 'GET', 'compression-per-level'), [b'compression-per-level', b'lz4 zstd:5'])
        tap.check(abs(ratio(c) - before) < 0.1, 'tables keep their form until they are written anew')
        all_there(c, 1)
        fill(c, 2)
        compact(c)
        tap.check(ratio(c) > 2 * before, (before, ratio(c)))
        all_there(c, 2)
        c.must('CONFIG', 'SET', 'compression-per-level', 'none')
        fill(c, 3)
        compact(c)
        tap.check(ratio(c) < 1.2, ratio(c))
        all_there(c, 3)


@tap.test
def what_it_does_not_know_is_refused():
    with server.Varved(*SMALL) as s, s.connect() as c:
        for wrong in ('', 'gzip', 'zstd:', 'zstd:0', 'zstd:20', 'lz4:1', 'none ' * 8 + 'lz4'):
            reply = c.call('CONFIG', 'SET', 'compression-per-level', wrong)
            tap.check('ERR CONFIG SET failed' in str(reply), f'{wrong!r}: {reply}')
        tap.eq(c.must('CONFIG', 'GET', 'compression-per-level')[1], b'none')


@tap.test
def the_old_name_is_told_the_new_one():
    with tempfile.NamedTemporaryFile('w', suffix='.conf') as f:
        f.write('lz4-from-level 1\n')
        f.flush()
        done = subprocess.run([server.VARVED, f.name], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=20, check=False)
        tap.check(done.returncode != 0 and b'compression-per-level "none lz4"' in done.stdout, done.stdout)


if __name__ == '__main__':
    tap.main()
