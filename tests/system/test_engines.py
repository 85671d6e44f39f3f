#!/usr/bin/python3
"""The engines beside lsm: the main tests of a whole server over each of them, kvctl check on their directories, and
kvctl convert from each to the next, with nothing that a client could notice.

Other tests run over another engine by VARVE_ENGINE (tests/lib/server.py); here it is done for those that ask most of one.
"""
import glob
import json
import os
import pty
import random
import shutil
import signal
import subprocess
import sys
import tempfile

import server
import tap
from directory import KVCTL, SMALL, contents, flip, kvctl, make, scan

HERE = os.path.dirname(os.path.abspath(__file__))
KEPT = ('lsm', 'btree', 'file')


# -- whole tests

@tap.cases(('btree: kill -9', 'btree', '../crash/test_kill.py', 'any_settings'),
           ('file: kill -9', 'file', '../crash/test_kill.py', 'any_settings'),
           ('btree: as redis answers', 'btree', 'test_differential.py', None),
           ('file: as redis answers', 'file', 'test_differential.py', None),
           ('memory: as redis answers', 'memory', 'test_differential.py', None),
           ('btree: a full disk', 'btree', 'test_full_disk.py', None),
           ('file: a full disk', 'file', 'test_full_disk.py', None),
           ('btree: the process', 'btree', 'test_process.py', None),
           ('file: the process', 'file', 'test_process.py', None),
           ('btree: checkpoints', 'btree', 'test_checkpoints.py', 'consistent'),
           ('file: checkpoints', 'file', 'test_checkpoints.py', 'consistent'))
def another_test_holds(_, engine, script, part):
    command = [sys.executable, os.path.join(HERE, script)] + ([part] if part else [])
    count = str(tap.pick(8000, 1000000))
    p = subprocess.run(command, env={**os.environ, 'VARVE_ENGINE': engine, 'DIFFERENTIAL_COMMANDS': count,
                                         'KILL_CYCLES': str(tap.pick(15, 200))},
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    text = p.stdout.decode(errors='replace')
    tap.check(p.returncode == 0, text[-4000:])
    tap.check('\nok ' in '\n' + text, text[-4000:])


# -- data of all kinds

def seen(engine, folder, going_on=None):
    """What clients see: every key's value and expiry, the order in which SCAN goes, the counts. going_on: what was seen
    elsewhere, of which a SCAN that began there is continued here."""
    with server.Varved('--engine', engine, *SMALL, dir=folder) as s, s.connect() as c:
        order, first = scan(c, b'0')
        if going_on:
            cursor, count = going_on['first']
            tap.check(scan(c, cursor)[0] == going_on['order'][count:], 'a cursor leads elsewhere')
        exported = kvctl('-p', s.port, 'export')[1].splitlines()
        out = {'order': order, 'first': first, 'keys': sorted(exported), 'size': c.must('DBSIZE'),
               'keyspace': [l for l in s.call('INFO', 'keyspace').split(b'\r\n') if l.startswith(b'db')]}
        # what is new gets ids that were never given: nothing old may come up in it
        for i in range(50):
            c.must('RPUSH', f'fresh:{i}', *range(200))
            tap.eq(c.must('LLEN', f'fresh:{i}'), 200)
        c.must('DEL', *[f'fresh:{i}' for i in range(50)])
        s.stop()
    for line in out['keyspace']:
        tap.check(b'keys=' in line, line)
    out['keyspace'] = [line.split(b',avg_ttl')[0] for line in out['keyspace']]  # which goes by
    return out


@tap.cases(*KEPT)
def check_of_a_killed_server_s_directory_finds_all_well_and_changes_nothing(engine):
    with tempfile.TemporaryDirectory() as d:
        keys = make(engine, d)
        before = contents(d)
        status, out, err = kvctl('check', d)
        tap.eq((status, err), (0, ''), out)
        tap.matches(out, r'everything holds')
        got = json.loads(kvctl('--json', 'check', d)[1])
        tap.eq((got['engine'], got['keys'], got['problems']), (engine, keys, 0))
        tap.check(contents(d) == before, 'the directory was changed')


@tap.cases('btree', 'file')
def check_names_what_is_damaged(engine):
    with tempfile.TemporaryDirectory() as d:
        make(engine, d)
        with server.Varved('--engine', engine, *SMALL, dir=d) as s:  # so that all is in the engine's files
            s.stop()
        if engine == 'file':
            path = max(glob.glob(d + '/data/*.dat'), key=os.path.getsize)
            flip(path, os.path.getsize(path) // 2)
        else:
            path = d + '/btree/data.mdb'
            with open(path, 'rb') as f:
                data = f.read()
            value = random.Random(5)
            for _ in range(14000):  # values are random bytes that are made the same way again
                value.randrange(6000), value.randbytes(100)
            places = []
            while not places:
                value.randrange(6000)
                at = data.find(value.randbytes(100)[:60])
                while at >= 0:
                    places.append(at)
                    at = data.find(data[at:at + 60], at + 1)
            for at in places:
                flip(path, at + 5)
        status, out, err = kvctl('check', d)
        tap.eq(status, 2, out + err)
        tap.matches(err, os.path.basename(path).replace('.', r'\.'))


@tap.test
def another_engine_s_directory_is_refused_with_the_way_out():
    with tempfile.TemporaryDirectory() as d:
        make('btree', d)
        s = server.Varved('--engine', 'file', dir=d, wait=False)
        try:
            s.process.wait(60)
            tap.eq(s.process.returncode, 1)
            tap.matches(s.log().decode(), rf'belongs to engine btree, not file: .*kvctl convert {d} --to file DIR2')
        finally:
            s.process = None
            s.close()


@tap.test
def convert_goes_round_through_all_engines_and_nothing_is_other_than_before():
    with tempfile.TemporaryDirectory() as folder:
        here = folder + '/lsm'
        make('lsm', here)
        with server.Varved('--engine', 'lsm', *SMALL, dir=here) as s:
            s.stop()
        want, last = None, 'lsm'
        for engine in ('btree', 'file', 'lsm', 'file', 'btree', 'lsm'):
            there = f'{folder}/{engine}-of-{os.path.basename(here)}'
            before = contents(here)
            status, out, err = kvctl('convert', here, '--to', engine, there)
            tap.eq((status, err), (0, ''), out)
            tap.matches(out, rf'engine {engine}: \d+ records of .*\(engine {last}\), copied and verified')
            tap.check(contents(here) == before, 'the source was changed')
            tap.check(not os.path.exists(there + '.converting'), 'a leftover')
            want = want or seen('lsm', here)
            got = seen(engine, there, want)
            for what in ('order', 'keys', 'size', 'keyspace'):
                tap.check(got[what] == want[what], f'{last} to {engine}: {what} differ')
            tap.eq(kvctl('check', '-q', there), (0, '', ''))
            here, last = there, engine


@tap.test
def convert_refuses_what_it_cannot_do():
    with tempfile.TemporaryDirectory() as folder:
        here, there = folder + '/a', folder + '/b'
        make('file', here)
        for args, why in (((here, there), '--to'), ((here, '--to', 'memory', there), 'no engine'),
                          ((here, '--to', 'none', there), 'no engine'), ((here, '--to', 'lsm', here), 'there already'),
                          ((folder, '--to', 'lsm', there), 'IDENTITY')):
            status, out, err = kvctl('convert', *args)
            tap.eq((status, out), (2, ''), args)
            tap.matches(err, why)
            tap.check(not os.path.exists(there), args)
        os.mkdir(there + '.converting')
        with open(there + '.converting/letter', 'wb') as f:
            f.write(b'mine')
        tap.matches(kvctl('convert', here, '--to', 'lsm', there)[2], 'no conversion')
        tap.eq(os.listdir(there + '.converting'), ['letter'])
        shutil.rmtree(there + '.converting')
        with server.Varved('--engine', 'file', *SMALL, dir=here):
            status, _, err = kvctl('convert', here, '--to', 'lsm', there)
            tap.eq(status, 2)
            tap.matches(err, 'in use|lock')
        data = max(glob.glob(here + '/data/*.dat'), key=os.path.getsize)
        flip(data, os.path.getsize(data) // 2)
        status, _, err = kvctl('convert', here, '--to', 'lsm', there)
        tap.eq(status, 2)
        tap.check(not os.path.exists(there), 'a damaged source made a directory')
        tap.check(not os.path.exists(there + '.converting'), 'a leftover')


def larger(folder):
    """A directory whose conversion takes a moment."""
    with server.Varved('--engine', 'file', '--appendfsync', 'no', dir=folder) as s, s.connect() as c:
        for i in range(0, tap.pick(200000, 1000000), 1000):
            c.pipeline([('SET', f'key:{n}', b'v' * 100) for n in range(i, i + 1000)])
        s.stop()


def begin_convert(here, there):
    """A conversion in its middle."""
    p = subprocess.Popen([KVCTL, 'convert', here, '--to', 'btree', there], stdin=subprocess.DEVNULL,
                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    tap.until(lambda: glob.glob(there + '.converting/wal/*.log') or p.poll() is not None, what='a beginning')
    tap.eq(p.poll(), None)
    return p


@tap.test
def convert_that_is_interrupted_leaves_nothing_or_what_the_next_one_removes():
    with tempfile.TemporaryDirectory() as folder:
        here, there = folder + '/a', folder + '/b'
        larger(here)
        before = contents(here)
        for number in (signal.SIGINT, signal.SIGTERM):
            p = begin_convert(here, there)
            p.send_signal(number)
            tap.matches(p.communicate(timeout=60)[1], rb'interrupted: there is no copy')
            tap.eq(p.returncode, 2)
            tap.eq(os.listdir(folder), ['a'])
        p = begin_convert(here, there)
        status, _, err = kvctl('convert', here, '--to', 'lsm', there)  # beside it
        tap.eq(status, 2)
        tap.matches(err, 'another conversion is at work|in use')
        tap.eq(p.poll(), None)
        p.kill()
        p.communicate(timeout=60)
        tap.eq(sorted(os.listdir(folder)), ['a', 'b.converting'])
        status, out, err = kvctl('convert', here, '--to', 'lsm', there)
        tap.eq(status, 0, err)
        tap.matches(err, r'b\.converting, which an interrupted conversion had left, is removed')
        tap.eq(sorted(os.listdir(folder)), ['a', 'b'])
        tap.eq(kvctl('check', '-q', there), (0, '', ''))
        tap.check(contents(here) == before, 'the source was changed')


@tap.test
def convert_shows_progress_on_a_terminal_alone():
    with tempfile.TemporaryDirectory() as folder:
        make('lsm', folder + '/a')
        mine, its = pty.openpty()
        p = subprocess.Popen([KVCTL, 'convert', folder + '/a', '--to', 'file', folder + '/b'], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=its)
        os.close(its)
        shown = b''
        try:
            while True:
                piece = os.read(mine, 4096)
                if not piece:
                    break
                shown += piece
        except OSError:
            pass
        p.stdout.read()
        tap.eq(p.wait(60), 0)
        os.close(mine)
        tap.matches(shown, rb'100%.*records')


if __name__ == '__main__':
    tap.main()
