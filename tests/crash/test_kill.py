#!/usr/bin/python3
"""SIGKILL under load: nothing acknowledged is lost, no batch is torn, DBSIZE is exact, with settings that are drawn anew for
each start (tests/lib/writers.py is the model). The server is killed at a random moment, or by strace when it is about to do a
certain system call for the n-th time (POINTS), and sometimes again while it recovers.

KILL_SEED repeats a run's draws, KILL_CYCLES says how many there are, VARVE_ENGINE chooses the engine.
"""
import os
import random
import shutil
import subprocess
import time

import server
import tap
import writers

WRITERS = 8
# System calls at which the server is killed, when a thread comes to one for the n-th time, and the largest n: files for tables,
# manifest and log come to be, get their names, are filled, made durable, read, and go.
POINTS = {
    'a file is made or opened': ('openat', 60),
    'a file gets its name': ('rename,renameat,renameat2', 12),
    'a file is removed': ('unlink,unlinkat', 12),
    'something is synced': ('fsync,fdatasync,sync_file_range,msync', 60),
    'something is written': ('pwrite64,pwritev,pwritev2', 400),
    'space is given to a file, or taken': ('fallocate,ftruncate', 40),
    'a file is closed': ('close', 60),
    'something is read': ('pread64,preadv,preadv2', 200),
}


def draw_settings(rng):
    """Settings for one start; a data directory goes from any of them to any other."""
    choices = {
        'appendfsync': ['always', 'always', 'everysec', 'no'],
        'memtable-size': ['256kb', '512kb', '1mb', '8mb', '0'],
        'memtables-max': ['2', '3', '6'],
        'table-size': ['64kb', '256kb', '16mb'],
        'block-size': ['512', '4kb', '32kb'],
        'base-level-size': ['0', '128kb', '4mb'],
        'compression-per-level': ['none', 'none', 'none lz4', 'lz4 zstd', 'none zstd:1'],
        'cache-size': ['0', '64kb', '1mb'],
        'maxmemory': ['0', '256mb'],
        'max-open-tables': ['0', '16'],
        'compaction-threads': ['1', '2', '4'],
        'pool-threads': ['2', '4', '16'],
        'io-threads': ['1', '2', '4'],
        'log-segment-size': ['256kb', '2mb', '64mb'],
        'log-buffer-size': ['256kb', '1mb', '16mb'],
        'replay-time': ['10', '200', '5000'],
        'disk-reserve': ['0', '1mb'],
    }
    return [word for name, values in choices.items() for word in ('--' + name, rng.choice(values))]


def may_trace():
    """strace works here, and the server under it."""
    return (not tap.SANITIZER and shutil.which('strace') is not None and
            subprocess.run(['strace', '-f', '-o', '/dev/null', '-e', 'trace=openat', 'true'],
                           stderr=subprocess.DEVNULL, check=False).returncode == 0)


def end(s):
    """SIGKILL for the server, also when it is strace that was started."""
    children = []
    if s.wrapper and s.process:
        try:
            with open(f'/proc/{s.pid}/task/{s.pid}/children', encoding='ascii') as f:
                children = [int(word) for word in f.read().split()]
        except FileNotFoundError:
            pass
    for pid in children:
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            pass
    if s.process:
        if not children:
            s.send_signal(9)
        s.reap()
    s.wrapper = []


class Run:
    """Cycles over one data directory."""

    def __init__(self, rng, options):
        self.rng, self.options = rng, options
        self.points = options is None and may_trace()
        self.states = [{} for _ in range(WRITERS)]
        self.cycle = self.acknowledged = 0
        self.struck = {}

    def start(self, s, wait, points=0.0):
        """Starts it, with that chance to be killed at a point; returns the point's name, or None."""
        name = None
        if self.points and self.rng.random() < points:
            name = self.rng.choice(sorted(POINTS))
            calls, most = POINTS[name]
            s.wrapper = ['strace', '-f', '-qq', '-o', '/dev/null', '-e', 'trace=' + calls, '-e',
                         f'inject={calls}:signal=KILL:when={int(most ** self.rng.random())}']
        s.args = draw_settings(self.rng) if self.options is None else list(self.options)
        if os.environ.get('KILL_VERBOSE'):
            tap.diag(f'cycle {self.cycle}: {name}: {" ".join(s.args)}')
        s.wait = wait
        s.start()
        return name

    def load(self, s, crowd):
        """Writers at work, until the server is killed."""
        try:
            s.wait_ready()
        except server.ServerError:
            if s.status not in (-9, 137):
                raise
            return  # at its point, before it was ready
        crowd.start()
        deadline = time.monotonic() + self.rng.uniform(0.02, 0.5)
        while time.monotonic() < deadline and s.running():
            time.sleep(0.005)

    def one(self, s):
        self.cycle += 1
        while self.rng.random() < 0.25:  # killed while it recovers
            self.start(s, wait=False)
            time.sleep(self.rng.uniform(0, 0.15))
            end(s)
        name = self.start(s, wait=False, points=0.4)
        crowd = writers.Crowd(s, self.rng, self.states)
        self.load(s, crowd)
        if name and not s.running():
            self.struck[name] = self.struck.get(name, 0) + 1
        end(s)
        self.acknowledged += crowd.join()
        self.start(s, wait=True)
        self.states = crowd.verify()
        end(s)


def cycles(count, options=None):
    """That many, on one data directory; with these settings, without named points, or with settings that are drawn."""
    seed = int(os.environ.get('KILL_SEED') or random.SystemRandom().randrange(2**32))
    tap.diag(f'seed {seed}')
    run = Run(random.Random(seed), options)
    with server.Varved(start=False) as s:
        for _ in range(count):
            run.one(s)
    tap.diag(f'{count} cycles, {run.acknowledged} commands acknowledged')
    for name, times in sorted(run.struck.items()):
        tap.diag(f'killed when {name}: {times}')
    tap.check(run.acknowledged > count * 50, 'the writers got hardly anything acknowledged: the test shows nothing')


@tap.test
def what_was_acknowledged_survives_sigkill_with_any_settings():
    cycles(int(os.environ.get('KILL_CYCLES') or tap.pick(80, 4600)))


@tap.test
def and_with_a_memtable_that_flushes_all_the_time():
    cycles(tap.pick(10, 400), ('--appendfsync', 'always', '--memtable-size', '262144', '--table-size', '65536',
                               '--io-threads', '2'))


if __name__ == '__main__':
    tap.main()
