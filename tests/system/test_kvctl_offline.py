#!/usr/bin/python3
"""kvctl check, repair and dump: data directories without a server, sound, damaged and salvaged."""
import glob
import json
import os
import random
import re
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import server  # noqa: E402
import tap  # noqa: E402
from directory import contents, flip, kvctl, scan  # noqa: E402

SMALL = ('--appendfsync', 'everysec', '--memtable-size', '4mb', '--table-size', '1mb', '--base-level-size', '4mb',
         '--log-segment-size', '16mb')


class Made:
    """A data directory with tables, log and all kinds of records; copies of it are cheap. Made once."""
    folder = None
    keys = 0
    collections = False

    @classmethod
    def copy(cls, to):
        if cls.folder is None:
            cls.make()
        shutil.copytree(cls.folder.name, to, dirs_exist_ok=True)
        return to

    @classmethod
    def make(cls):
        cls.folder = tempfile.TemporaryDirectory()
        rng = random.Random(5)
        with server.Varved(*SMALL, dir=cls.folder.name) as s, s.connect() as c:
            for _ in range(3):
                for _ in range(15):
                    c.pipeline([('SET', f'key:{rng.randrange(40000)}', rng.randbytes(100)) for _ in range(1000)])
                c.pipeline([('SET', f'expiring:{i}', 'v', 'EX', rng.randrange(10000, 20000)) for i in range(500)])
                c.pipeline([('SET', f'long:{i}', rng.randbytes(40000)) for i in range(5)])
            for i in range(5):
                if c.call('COMMAND', 'INFO', 'hset')[0] is not None:
                    cls.collections = True
                    c.call('HSET', f'hash:{i}', *[x for n in range(800) for x in (f'field:{n}', rng.randbytes(20))])
                if c.call('COMMAND', 'INFO', 'sadd')[0] is not None:
                    c.call('SADD', f'set:{i}', *[rng.randbytes(30) for n in range(800)])
            c.call('DEL', 'long:1')
            c.call('SET', b'L' * 900, 'a long name')
            c.call('SELECT', 2)
            c.pipeline([('SET', f'flushed:{i}', 'v', 'EX', 100) for i in range(500)])
            c.call('FLUSHDB')
            c.call('SET', 'other', 'database')
            c.call('SELECT', 0)
            cls.keys = c.call('DBSIZE') + 1
            c.call('CONFIG', 'SET', 'appendfsync', 'always')
            for key in ('first', 'next', 'last'):  # each is in a group of its own that knows the one before to be durable
                c.must('SET', key, 'v')
                cls.keys += 1
            s.kill()


def with_copy(function):
    def go(*args):
        with tempfile.TemporaryDirectory() as d:
            function(Made.copy(d), *args)
    go.__name__ = function.__name__
    go.__doc__ = function.__doc__
    return go


@tap.test
@with_copy
def check_of_a_killed_server_s_directory_finds_all_well_and_changes_nothing(d):
    before = contents(d)
    status, out, err = kvctl('check', d)
    tap.eq((status, err), (0, ''), out)
    tap.matches(out, r'everything holds')
    tap.matches(out, rf' {Made.keys} keys')
    got = json.loads(kvctl('--json', 'check', d)[1])
    tap.eq((got['keys'], got['problems'], got['engine']), (Made.keys, 0, server.ENGINE or 'lsm'))
    tap.check(got['tables'] > 3 and got['replayed_commits'] > 0, got)
    tap.eq(kvctl('check', '--quiet', d), (0, '', ''))
    tap.check(contents(d) == before, 'the directory was changed')


@tap.test
@with_copy
def a_directory_in_use_or_none_at_all_is_refused(d):
    with server.Varved(dir=d):
        for command in ('check', 'repair'):
            status, _, err = kvctl(command, d)
            tap.eq(status, 2)
            tap.matches(err, 'in use|lock')
    for bad in ('/nonexistent', '/tmp', __file__):
        status, _, err = kvctl('check', bad)
        tap.eq(status, 2)
        tap.matches(err, 'IDENTITY|cannot read')


def weak_place(log):
    """The place of a byte that was durable, by the log's own words, and that recovery needs: in the last group but one."""
    groups = re.findall(r'^(\d+): group', kvctl('dump', log)[1], re.M)
    return int(groups[-2]) + 26


def tables(d):
    """The tables that count, by size: a server that was killed may have left others."""
    manifest = kvctl('dump', max(glob.glob(d + '/MANIFEST-*')))[1]
    return sorted((f'{d}/sst/{n}.sst' for n in re.findall(r'^  table (\d+) ', manifest, re.M)), key=os.path.getsize)


def last_log(d):
    """The newest log that was begun; those behind it are only made ready."""
    return [path for path in sorted(glob.glob(d + '/wal/*.log')) if kvctl('dump', path)[0] == 0][-1]


@tap.test
@with_copy
def every_kind_of_damage_is_found_and_named(d):
    table = tables(d)[-1]
    log = last_log(d)
    manifest = glob.glob(d + '/MANIFEST-*')[0]
    for path, offset in ((table, 5000), (table, os.path.getsize(table) - 20), (table, os.path.getsize(table) // 2),
                         (log, weak_place(log)), (manifest, 20), (d + '/IDENTITY', 60), (d + '/CURRENT', 3)):
        flip(path, offset)
        status, _, err = kvctl('check', d)
        tap.eq(status, 2, f'{path} at {offset}')
        tap.check(os.path.basename(path).split('.')[0] in err, f'{path} at {offset}: {err}')
        flip(path, offset)
    os.rename(table, table + '.away')
    tap.matches(kvctl('check', d)[2], os.path.basename(table))
    os.rename(table + '.away', table)
    tap.eq(kvctl('check', d)[0], 0)


@tap.test
@with_copy
def repair_keeps_what_can_be_read_of_a_damaged_table(d):
    table = tables(d)[-1]
    with server.Varved(dir=d) as s, s.connect() as c:
        before = {k: c.call('GET', k) for k in scan(c)[0]}
        s.stop()
    table = tables(d)[-1]
    flip(table, 6000)
    flip(table, 40000)
    unchanged = contents(d)
    status, out, _ = kvctl('repair', d)
    tap.eq(status, 0, out)
    tap.matches(out, r'nothing was changed: say --yes')
    tap.check(contents(d) == unchanged, 'a repair without --yes changed something')
    status, out, err = kvctl('repair', '--yes', d)
    tap.eq(status, 0, err)
    tap.matches(out, rf'{os.path.basename(table)}: 2 of \d+ blocks are lost')
    tap.check(os.path.exists(f'{d}/lost/{os.path.basename(table)}'))
    tap.eq(kvctl('check', d)[0], 0)
    with server.Varved(dir=d) as s, s.connect() as c:
        after = {k: c.call('GET', k) for k in scan(c)[0]}
        lost = set(before) - set(after)
        tap.check(0 < len(lost) < 300, f'{len(lost)} keys are gone')
        tap.check(not set(after) - set(before), 'there are keys that were not there')
        # what lay below the lost blocks may show again; nothing else may differ
        tap.check(sum(before[k] != v for k, v in after.items()) < 300)
        tap.eq(c.call('DBSIZE'), len(after))


@tap.test
@with_copy
def repair_without_a_table_and_with_a_damaged_log(d):
    os.unlink(tables(d)[-1])
    log = last_log(d)
    flip(log, weak_place(log))
    status, out, err = kvctl('repair', '-y', d)
    tap.eq(status, 0, err)
    tap.matches(out, 'lost')
    tap.matches(err, 'is damaged at offset')
    status, out, err = kvctl('check', d)
    tap.eq(status, 0, out + err)
    with server.Varved(dir=d) as s:
        tap.eq(s.call('GET', 'last'), b'v')  # behind the damage
        tap.eq(s.call('DBSIZE'), len(scan(s.connect())[0]))


@tap.test
@with_copy
def repair_counts_the_members_of_collections_anew(d):
    if not Made.collections:
        raise tap.Skip('there are only strings')
    elements = [t for t in tables(d) if ' region E' in kvctl('dump', t)[1].split(',')[0]]
    if not elements:
        raise tap.Skip('no table of elements')
    for t in elements:
        for offset in range(2000, os.path.getsize(t) - 2000, 30000):
            flip(t, offset)
    status, out, err = kvctl('repair', '-y', d)
    tap.eq(status, 0, out + err)
    tap.eq(kvctl('check', d)[0], 0)
    with server.Varved(dir=d) as s, s.connect() as c:
        for key in scan(c)[0]:
            kind = c.call('TYPE', key)
            if kind == b'hash':
                tap.eq(len(c.call('HGETALL', key)) // 2, c.call('HLEN', key))
            if kind == b'set':
                tap.eq(len(c.call('SMEMBERS', key)), c.call('SCARD', key))


@tap.test
@with_copy
def repair_of_a_sound_directory_has_nothing_to_do(d):
    status, out, err = kvctl('repair', d)
    tap.eq((status, err), (0, ''))
    tap.matches(out, 'nothing is to be done')
    tap.eq(kvctl('repair', '--yes', d)[0], 0)
    tap.check(not os.path.exists(d + '/lost'))
    tap.matches(kvctl('check', d)[1], rf' {Made.keys} keys')


@tap.test
@with_copy
def repair_says_what_it_cannot_do(d):
    flip(glob.glob(d + '/MANIFEST-*')[0], 20)
    status, _, err = kvctl('repair', '--yes', d)
    tap.eq(status, 2)
    tap.matches(err, 'MANIFEST')


@tap.test
@with_copy
def dump_shows_tables_logs_and_manifests(d):
    log = last_log(d)
    status, out, err = kvctl('dump', log)
    tap.eq((status, err), (0, ''))
    tap.matches(out, r'^log \d{12} format 2')
    tap.matches(out, r'put M.*last = \\x01')
    table = tables(d)[-1]
    status, out, err = kvctl('dump', table)
    tap.eq((status, err), (0, ''))
    records = int(re.search(r'(\d+) records', out).group(1))
    tap.eq(len(re.findall(r'^  (?:put|delete) ', out, re.M)), records)
    status, out, err = kvctl('dump', glob.glob(d + '/MANIFEST-*')[0])
    tap.eq((status, err), (0, ''))
    named = re.findall(r'^  table (\d+) ', out, re.M)
    tap.check(named and all(os.path.exists(f'{d}/sst/{n}.sst') for n in named), named)
    flip(table, 5000)
    status, _, err = kvctl('dump', table)
    tap.eq(status, 2)
    tap.matches(err, 'offset')
    for bad in (d + '/IDENTITY', d + '/sst/999999.sst', d + '/wal/000000099999.log'):
        tap.eq(kvctl('dump', bad)[0], 2)
    other = os.path.join(d, 'sst', '777777.sst')
    shutil.copy(tables(d)[0], other)  # the number belongs to the bytes
    tap.eq(kvctl('dump', other)[0], 2)


tap.main()
