#!/usr/bin/python3
"""A file system that is shut down under the server, as by a power failure or a disk that has gone: with `appendfsync always`
nothing acknowledged is lost, no batch is torn, DBSIZE is exact (tests/lib/writers.py is the model).

ext4 and xfs are made in a file and mounted by a loop device, in a mount namespace of this test's own. At a random moment the
file system is told to stop, with or without writing its own journal first: from then on every write, sync and read of it
fails. It is mounted again, which replays its journal, and the server is started on it, sometimes to meet the same while it
recovers. Where there is no root, no loop device or no such file system, the test is skipped.

SHUTDOWN_SEED repeats a run's draws.
"""
import fcntl
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time

import server
import tap
import writers

WRITERS = 6
GOING_DOWN = 0x8004587d  # EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN
FLUSHED, JOURNAL_WRITTEN, AT_ONCE = 0, 1, 2
MEGABYTES = 400
SMALL = ('--memtable-size', '512kb', '--table-size', '256kb', '--log-segment-size', '2mb', '--disk-reserve', '1mb')
# what writers may be told once the disk is gone
REFUSED = rb'(MISCONF|READONLY|ERR .*(input/output|read-only|Read-only|failed)|IOERR|EXECABORT)'


def own_namespace():
    """Runs this script again where its mounts are nobody else's."""
    if os.environ.get('VARVE_OWN_MOUNTS') or os.getuid() != 0 or shutil.which('unshare') is None:
        return
    if subprocess.run(['unshare', '-m', 'true'], stderr=subprocess.DEVNULL, check=False).returncode == 0:
        os.environ['VARVE_OWN_MOUNTS'] = '1'
        os.execvp('unshare', ['unshare', '-m', sys.executable, *sys.argv])


def quiet(*command):
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)


class Disk:
    """A file system in a file."""

    def __init__(self, kind):
        if os.getuid() != 0:
            raise tap.Skip('only root may mount a loop device')
        if not os.environ.get('VARVE_OWN_MOUNTS'):
            raise tap.Skip('no mount namespace of its own')
        if shutil.which(f'mkfs.{kind}') is None:
            raise tap.Skip(f'no mkfs.{kind}')
        self.kind = kind
        self.folder = tempfile.mkdtemp(prefix='disk-')
        self.image, self.path = self.folder + '/image', self.folder + '/mounted'
        os.mkdir(self.path)
        self.mounted = False
        with open(self.image, 'wb') as f:
            f.truncate(MEGABYTES << 20)
        made = quiet(f'mkfs.{kind}', '-q', self.image)
        why = made.stdout.decode(errors='replace').strip()
        if made.returncode == 0:
            why = self.try_mount()
        if why:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise tap.Skip(f'{kind} cannot be mounted here: {why[-200:]}')

    def try_mount(self):
        done = quiet('mount', '-t', self.kind, '-o', 'loop', self.image, self.path)
        self.mounted = done.returncode == 0
        return '' if self.mounted else done.stdout.decode(errors='replace').strip() or 'mount failed'

    def shut_down(self, how):
        fd = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, GOING_DOWN, struct.pack('I', how))
        finally:
            os.close(fd)

    def unmount(self):
        tap.until(lambda: quiet('umount', self.path).returncode == 0, what='it can be unmounted')
        self.mounted = False

    def again(self):
        """Mounts it anew; its journal is replayed."""
        self.unmount()
        why = self.try_mount()
        tap.check(not why, why)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.mounted:
            quiet('umount', '-l', self.path)
        shutil.rmtree(self.folder, ignore_errors=True)


class Run:
    def __init__(self, disk, rng, s):
        self.disk, self.rng, self.server = disk, rng, s
        self.states = [{} for _ in range(WRITERS)]
        self.acknowledged = self.ended = 0

    def stop_disk(self):
        self.disk.shut_down(self.rng.choice([AT_ONCE, AT_ONCE, JOURNAL_WRITTEN, FLUSHED]))

    def end_server(self):
        if self.server.process:
            if self.server.running():
                self.server.send_signal(9)
            self.server.reap()

    def while_it_starts(self):
        s = self.server
        s.wait = False
        s.start()
        time.sleep(self.rng.uniform(0, 0.1))
        self.stop_disk()
        time.sleep(self.rng.uniform(0, 0.05))
        self.end_server()
        self.disk.again()

    def one(self):
        s, rng = self.server, self.rng
        while rng.random() < 0.2:
            self.while_it_starts()
        s.wait = True
        s.start()
        crowd = writers.Crowd(s, rng, self.states, REFUSED)
        crowd.start()
        time.sleep(rng.uniform(0.02, 0.4))
        self.stop_disk()
        # under `always` it ends by itself, as soon as it has something to write; LMDB's map may end it before
        deadline = time.monotonic() + 5 * tap.PATIENCE
        while s.running() and time.monotonic() < deadline:
            time.sleep(0.01)
        self.ended += not s.running()
        told = s.log_text()
        self.end_server()
        self.acknowledged += crowd.join()
        self.disk.again()
        s.start()
        self.states = crowd.verify()
        if rng.random() < 0.5:
            s.stop()
        self.end_server()
        return told


@tap.cases(*[(f'{kind}, {engine}', kind, engine, short, long)
             for engine, short, long in (('lsm', 18, 300), ('file', 6, 100), ('btree', 6, 100)) for kind in ('ext4', 'xfs')])
def what_was_acknowledged_is_there(_, kind, engine, short, long):
    seed = int(os.environ.get('SHUTDOWN_SEED') or random.SystemRandom().randrange(2**32))
    tap.diag(f'seed {seed}')
    with Disk(kind) as disk:
        s = server.Varved('--engine', engine, '--appendfsync', 'always', *SMALL, dir=disk.path + '/data', start=False)
        run = Run(disk, random.Random(seed), s)
        count = tap.pick(short, long)
        try:
            for cycle in range(count):
                try:
                    told = run.one()
                except BaseException:
                    tap.diag(f'cycle {cycle}')
                    tap.diag(s.log_text())
                    raise
        finally:
            s.close()
        tap.diag(f'{count} cycles, {run.acknowledged} commands acknowledged, {run.ended} times the server ended by itself')
        tap.check(run.acknowledged > count * 20, 'the writers got hardly anything acknowledged: the test shows nothing')
        if engine != 'btree':
            tap.eq(run.ended, count, 'times that the server ended by itself')
            tap.matches(told, '(?i)ended: writes can no longer be made durable')


if __name__ == '__main__':
    own_namespace()
    tap.main()
