#!/usr/bin/python3
"""SAVE, BGSAVE, LASTSAVE and BGREWRITEAOF: a checkpoint is a consistent cut, made beside writers; a server starts on it,
`kvctl check` finds nothing wrong with it, and whatever comes in between, none is there that is not whole.
"""
import os
import random
import shutil
import subprocess
import tempfile
import threading
import time

import resp
import server
import tap

OK = resp.Simple(b'OK')
KVCTL = os.environ.get('KVCTL') or os.path.join(os.path.dirname(server.VARVED), 'kvctl')
SMALL = ('--memtable-size', '1mb', '--table-size', '262144', '--log-segment-size', '1mb', '--io-threads', '2',
         '--maxmemory', '256mb')


def checkpoints(s):
    """Paths, oldest first."""
    base = os.path.join(s.dir, 'checkpoints')
    names = sorted(os.listdir(base)) if os.path.isdir(base) else []
    return [os.path.join(base, n) for n in names]


def kvctl_check(path):
    p = subprocess.run([KVCTL, 'check', path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300, check=False)
    tap.eq(p.returncode, 0, p.stdout.decode())


def persistence(s):
    return s.info('persistence')


def saved(s):
    """The background save has ended."""
    tap.until(lambda: persistence(s)['rdb_bgsave_in_progress'] == '0', 60 * tap.PATIENCE, what='the end of BGSAVE')
    return persistence(s)


class Writer(threading.Thread):
    """One transaction after another: a pair of counters, a key of its own for each, sometimes a large value."""

    def __init__(self, s, number):
        super().__init__()
        self.s, self.number = s, number
        self.acknowledged = 0
        self.longest = 0.0
        self.stop = False
        self.error = None

    def run(self):
        try:
            with self.s.connect() as c:
                while not self.stop:
                    n, w = self.acknowledged + 1, self.number
                    began = time.monotonic()
                    if n % 2:
                        c.must('MSET', f'a:{w}', n, f'b:{w}', n, f'k:{w}:{n}', b'v' * (n % 300))
                    else:
                        replies = c.pipeline([('MULTI',), ('SET', f'a:{w}', n), ('RPUSH', f'l:{w}', n),
                                              ('SET', f'k:{w}:{n}', b'v' * (3000000 if n % 400 == 0 else n % 300)),
                                              ('SET', f'b:{w}', n), ('EXEC',)])
                        tap.check(isinstance(replies[-1], list), str(replies[-1]))
                    self.longest = max(self.longest, time.monotonic() - began)
                    self.acknowledged = n
        except Exception as e:  # pylint: disable=broad-except
            self.error = e


def check_cut(path, before, after):
    """A server on the checkpoint has, for each writer, exactly its first n transactions, for an n between the two."""
    with server.Varved(*SMALL, dir=path) as s, s.connect() as c:
        keys = 0
        for w, (least, most) in enumerate(zip(before, after)):
            a, b = c.must('MGET', f'a:{w}', f'b:{w}')
            n = int(a or 0)
            tap.check(a == b, f'writer {w}: torn: {a} and {b}')
            tap.check(least <= n <= most + 1, f'writer {w}: {n} is not between {least} and {most}')
            tap.eq(c.must('LLEN', f'l:{w}'), n // 2)
            for at in range(1, n + 1, 500):
                names = [f'k:{w}:{i}' for i in range(at, min(at + 500, n + 1))]
                tap.eq(c.must('EXISTS', *names), len(names))
            tap.eq(c.must('EXISTS', f'k:{w}:{n + 1}', f'k:{w}:{n + 2}'), 0)
            keys += (n + 2 if n else 0) + (n >= 2)
        tap.eq(c.must('DBSIZE'), keys)
        c.must('SET', 'more', 'x')
    kvctl_check(path)


def cut_under_load(mode):
    with server.Varved(*SMALL, '--appendfsync', mode, '--checkpoint-keep', '100') as s:
        writers = [Writer(s, w) for w in range(4)]
        for w in writers:
            w.start()
        cuts = []
        for _ in range(tap.pick(4, 40)):
            time.sleep(random.uniform(0.1, 0.6))
            before = [w.acknowledged for w in writers]
            tap.eq(s.call('BGSAVE'), resp.Simple(b'Background saving started'))
            info = saved(s)
            tap.eq(info['rdb_last_bgsave_status'], 'ok')
            cuts.append((before, [w.acknowledged for w in writers]))
        for w in writers:
            w.stop = True
        for w in writers:
            w.join()
            tap.check(w.error is None, str(w.error))
        tap.diag(f'{mode}: {sum(w.acknowledged for w in writers)} transactions, the longest took '
                 f'{max(w.longest for w in writers) * 1000:.0f} ms')
        made = checkpoints(s)
        tap.eq(len(made), len(cuts))
        for path, (before, after) in zip(made, cuts):
            kvctl_check(path)
            check_cut(path, before, after)
        s.stop()
        kvctl_check(s.dir)


@tap.test
def a_checkpoint_under_load_is_a_consistent_cut():
    cut_under_load('everysec')


@tap.test
def so_it_is_when_every_write_is_synced():
    cut_under_load('always')


@tap.test
def replies_are_those_of_redis():
    commands = [('SAVE',), ('BGSAVE', 'x'), ('BGSAVE', 'SCHEDULE', 'x'), ('SAVE', 'x'), ('LASTSAVE', 'x'),
                ('BGREWRITEAOF', 'x'), ('MULTI',), ('SAVE',), ('LASTSAVE', 'x'), ('EXEC',)]
    settled = ('rdb_bgsave_in_progress', 'aof_rewrite_in_progress')
    with server.Varved(*SMALL, '--appendfsync', 'no') as ours, server.Redis() as theirs:
        with ours.connect() as o, theirs.connect() as t:
            for words in commands:
                tap.eq(o.call(*words), t.call(*words), ' '.join(words))
            for s, c in ((ours, o), (theirs, t)):
                c.must('SET', 'k', 'v')
                for words, reply in ((('BGSAVE',), b'Background saving started'),
                                     (('BGREWRITEAOF',), b'Background append only file rewriting started'),
                                     (('BGSAVE', 'SCHEDULE'), b'Background saving started')):
                    tap.eq(c.call(*words), resp.Simple(reply), s.name)
                    tap.until(lambda s=s: all(persistence(s)[f] == '0' for f in settled), 60 * tap.PATIENCE)
                tap.check(abs(c.call('LASTSAVE') - time.time()) < 60 * tap.PATIENCE, s.name)
                info = persistence(s)
                tap.eq([info[f] for f in ('rdb_last_bgsave_status', 'rdb_saves', 'rdb_current_bgsave_time_sec',
                                          'rdb_changes_since_last_save', 'aof_last_bgrewrite_status', 'aof_rewrites')],
                       ['ok', '3', '-1', '0', 'ok', '1'], s.name)
                tap.check(0 <= int(info['rdb_last_bgsave_time_sec']) < 60 * tap.PATIENCE, s.name)
                c.must('MSET', 'a', '1', 'b', '2')
                tap.eq(persistence(s)['rdb_changes_since_last_save'], '2', s.name)
            names = ('save', 'bgsave', 'lastsave', 'bgrewriteaof')
            for x, y in zip(o.must('COMMAND', 'INFO', *names), t.must('COMMAND', 'INFO', *names)):
                tap.eq(x[:2], y[:2])
                tap.eq(sorted(x[2]), sorted(y[2]), str(x[0]))
                tap.eq(sorted(x[6]), sorted(y[6]), str(x[0]))


@tap.test
def one_at_a_time_and_the_newest_are_kept():
    with server.Varved(*SMALL, '--appendfsync', 'no') as s, s.connect() as c:
        started = c.must('LASTSAVE')
        tap.check(abs(started - time.time()) < 60 * tap.PATIENCE)
        refused = 0
        for i in range(5):
            c.must('SET', 'n', i)
            replies = c.pipeline([('BGSAVE',), ('BGSAVE',), ('SAVE',)])
            tap.eq(replies[0], resp.Simple(b'Background saving started'))
            refused += replies[1] == resp.Error(b'ERR Background save already in progress')
            saved(s)
            tap.eq(len(checkpoints(s)), 1)
        tap.check(refused > 0)
        c.must('CONFIG', 'SET', 'checkpoint-keep', '3')
        for i in range(5, 10):
            c.must('SET', 'n', i)
            c.must('SAVE')
        made = checkpoints(s)
        tap.eq(len(made), 3)
        tap.eq(s.info('storage')['checkpoint_last'], made[-1])
        tap.check(c.must('LASTSAVE') >= started)
        for path, n in zip(made, (b'7', b'8', b'9')):
            with server.Varved(*SMALL, dir=path) as copy:
                tap.eq(copy.call('GET', 'n'), n)
                tap.eq(copy.call('SET', 'n', 'other'), OK)
        tap.eq(c.must('GET', 'n'), b'9')
        with open(os.path.join(s.dir, 'checkpoints', 'notes'), 'w', encoding='ascii') as f:
            f.write('not ours')
        c.must('SAVE')
        tap.check(os.path.exists(f.name))


@tap.test
def a_copy_of_one_replaces_a_lost_directory():
    with server.Varved(*SMALL) as s, s.connect() as c:
        for i in range(2000):
            c.send('SET', f'k{i}', i)
        for _ in range(2000):
            c.read()
        c.must('SAVE')
        keep = tempfile.mkdtemp(prefix='varve-backup-')
        try:
            subprocess.run(['cp', '-a', checkpoints(s)[-1] + '/.', keep], check=True)
            c.must('FLUSHALL')
            s.kill()
            shutil.rmtree(s.dir)
            subprocess.run(['cp', '-a', keep, s.dir], check=True)
            s.start()
            tap.eq(s.call('DBSIZE'), 2000)
            tap.eq(s.call('GET', 'k1999'), b'1999')
        finally:
            shutil.rmtree(keep)


@tap.test
def one_elsewhere_is_copied():
    if os.stat('/dev/shm').st_dev == os.stat(tempfile.gettempdir()).st_dev:
        raise tap.Skip('there is one file system only')
    base = tempfile.mkdtemp(prefix='varve-', dir='/dev/shm')
    try:
        with server.Varved(*SMALL, '--appendfsync', 'no', '--checkpoint-dir', base + '/far') as s, s.connect() as c:
            for i in range(30):
                c.must('SET', f'k{i}', b'x' * 100000)
            c.must('SAVE')
            kvctl_check(base + '/far/checkpoint-000001')
            with server.Varved(*SMALL, dir=base + '/far/checkpoint-000001') as copy:
                tap.eq(copy.call('DBSIZE'), 30)
    finally:
        shutil.rmtree(base)


@tap.test
def killed_meanwhile_it_leaves_none_that_is_not_whole():
    with server.Varved(*SMALL, '--appendfsync', 'everysec', '--checkpoint-keep', '2') as s:
        interrupted = 0
        for i in range(tap.pick(15, 300)):
            with s.connect() as c:
                c.must('MSET', 'a', i, 'b', i, f'k{i}', b'x' * 200000)
                c.send('BGSAVE')
                time.sleep(random.uniform(0, 0.06))
            s.kill()
            for path in checkpoints(s):
                if path.endswith('.tmp'):
                    interrupted += 1
                else:
                    kvctl_check(path)
            s.start()
            tap.check(not any(p.endswith('.tmp') for p in checkpoints(s)), 'what was interrupted is still there')
            tap.eq(s.call('GET', 'b'), b'%d' % i)
        tap.diag(f'{interrupted} were interrupted')
        tap.eq(s.call('SAVE'), OK)
        kvctl_check(checkpoints(s)[-1])


@tap.test
def a_stop_does_not_wait_for_it():
    with server.Varved(*SMALL, '--appendfsync', 'no') as s:
        for _ in range(5):
            with s.connect() as c:
                for i in range(40):
                    c.must('SET', f'k{random.randrange(1000)}', b'x' * 100000)
                c.must('BGREWRITEAOF')
                c.must('BGSAVE')
            s.stop()
            for path in checkpoints(s):
                tap.check(not path.endswith('.tmp'), path)
                kvctl_check(path)
            s.start()


@tap.test
def without_files_there_is_nothing_to_save():
    with server.Varved('--engine', 'memory') as s:
        for command in ('SAVE', 'BGSAVE'):
            tap.matches(s.call(command), b'^ERR .*memory.*nothing')
        tap.eq(s.call('BGREWRITEAOF'), resp.Simple(b'Background append only file rewriting started'))


if __name__ == '__main__':
    tap.main()
