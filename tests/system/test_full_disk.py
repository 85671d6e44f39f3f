#!/usr/bin/python3
"""A disk that is full and later has room again: writes are refused with a reason, reads go on, nothing acknowledged is
lost, and writes go on by themselves. The disk is a tmpfs with a size, in a mount namespace of this test's own.
"""
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import resp
import server
import tap

OK = resp.Simple(b'OK')
SMALL = ('--memtable-size', '1mb', '--table-size', '262144', '--log-segment-size', '1mb', '--io-threads', '2',
         '--maxmemory', '256mb')
REFUSED = b'^MISCONF No space left'


def own_namespace():
    """Runs this script again where it may mount."""
    if os.environ.get('VARVE_OWN_MOUNTS') or shutil.which('unshare') is None:
        return
    flags = ['-m'] if os.getuid() == 0 else ['-Urm']
    if subprocess.run(['unshare', *flags, 'true'], stderr=subprocess.DEVNULL, check=False).returncode == 0:
        os.environ['VARVE_OWN_MOUNTS'] = '1'
        os.execvp('unshare', ['unshare', *flags, sys.executable, *sys.argv])


class Disk:
    """A tmpfs."""

    def __init__(self, megabytes):
        if not os.environ.get('VARVE_OWN_MOUNTS'):
            raise tap.Skip('may not mount')
        self.path = tempfile.mkdtemp(prefix='disk-')
        if subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={megabytes}m,mode=700', 'tmpfs', self.path],
                          stderr=subprocess.DEVNULL, check=False).returncode != 0:
            os.rmdir(self.path)
            raise tap.Skip('may not mount')

    def resize(self, megabytes):
        subprocess.run(['mount', '-o', f'remount,size={megabytes}m', self.path], check=True)

    def fill(self):
        """Takes all that is left, as somebody else's file would."""
        with open(os.path.join(self.path, 'filler'), 'ab') as f:
            for size in (1 << 20, 4096):
                try:
                    while True:
                        os.write(f.fileno(), b'\1' * size)
                except OSError:
                    pass

    def drain(self):
        os.unlink(os.path.join(self.path, 'filler'))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run(['umount', '-l', self.path], check=False)
        os.rmdir(self.path)


class Model:
    """What was acknowledged."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.keys = {}
        self.next = 0

    def write(self, c, size):
        """A new key; the reply. Refused: it must not be there."""
        key, value = b'k%d' % self.next, self.rng.randbytes(size)
        self.next += 1
        reply = c.call('SET', key, value)
        if reply == OK:
            self.keys[key] = value
        else:
            tap.matches(reply, REFUSED)
        return reply

    def until_refused(self, c, size):
        end = time.monotonic() + 60 * tap.PATIENCE
        while self.write(c, size) == OK:
            tap.check(time.monotonic() < end, 'the disk never was full: the test shows nothing')

    def check(self, c):
        """Everything that was acknowledged, and nothing else."""
        names = list(self.keys)
        for at in range(0, len(names), 200):
            part = names[at:at + 200]
            for name, got in zip(part, c.pipeline([('GET', n) for n in part])):
                tap.check(got == self.keys[name], f'{name} is {str(got)[:60]}')
        tap.eq(c.call('DBSIZE'), len(self.keys))


def goes_on(c, model, size):
    """Writes are taken again, without any help."""
    end = time.monotonic() + 20 * tap.PATIENCE
    while model.write(c, size) != OK:
        tap.check(time.monotonic() < end, 'writes do not go on')
        time.sleep(0.05)


@tap.cases('always', 'everysec')
def a_full_disk_refuses_writes_until_it_grows(fsync):
    with Disk(16) as disk, server.Varved('--appendfsync', fsync, *SMALL, dir=os.path.join(disk.path, 'data')) as s, s.connect() as c:
        model = Model(1)
        model.until_refused(c, 20000)
        tap.check(len(model.keys) > 100, f'{len(model.keys)} keys')
        for size in (10, 20000, 100000, 3000000):  # of every kind
            for _ in range(3):
                model.write(c, size)
        model.until_refused(c, 20000)  # a compaction may have made some room
        model.check(c)  # reads go on
        with s.connect() as other:
            tap.eq(other.call('PING'), resp.Simple(b'PONG'))
            tap.eq(len(other.call('KEYS', '*')), len(model.keys))
        # deleting is refused or done, never half done
        victim = next(iter(model.keys))
        reply = c.call('DEL', victim)
        if reply == 1:
            del model.keys[victim]
        else:
            tap.matches(reply, REFUSED)
        model.check(c)
        pid = s.pid
        disk.resize(64)
        goes_on(c, model, 20000)
        for size in (10, 20000, 100000, 3000000):
            goes_on(c, model, size)
        model.check(c)
        tap.eq(s.pid, pid)
        tap.eq(s.info('persistence')['aof_last_write_status'], 'ok')
        s.crash()
        with s.connect() as d:
            model.check(d)
            goes_on(d, model, 1000)
            model.check(d)


@tap.test
def a_disk_that_fills_and_empties_many_times():
    with Disk(40) as disk, server.Varved('--appendfsync', 'always', *SMALL, dir=os.path.join(disk.path, 'data')) as s:
        with s.connect() as c:
            model = Model(2)
            for turn in range(tap.pick(4, 40)):
                for _ in range(20):
                    goes_on(c, model, 5000)
                disk.fill()
                model.until_refused(c, 20000 if turn % 2 else 500)
                model.check(c)
                disk.drain()
                goes_on(c, model, 5000)
                # so that it never is really full
                for key in list(model.keys)[:200]:
                    tap.eq(c.call('DEL', key), 1)
                    del model.keys[key]
                model.check(c)
        s.crash()
        with s.connect() as c:
            model.check(c)


@tap.test
def a_checkpoint_that_has_no_room_leaves_nothing():
    with Disk(32) as disk, server.Varved('--appendfsync', 'no', *SMALL, dir=os.path.join(disk.path, 'data')) as s:
        model, base = Model(4), os.path.join(s.dir, 'checkpoints')
        with s.connect() as c:
            for _ in range(100):
                tap.eq(model.write(c, 20000), OK)
            tap.eq(c.call('SAVE'), OK)
            tap.eq(model.write(c, 20000), OK)
            failed = 0
            for _ in range(20):  # a compaction may give room for it just now
                disk.fill()
                reply = c.call('SAVE')
                tap.eq(s.info('persistence')['rdb_last_bgsave_status'], 'ok' if reply == OK else 'err')
                if reply != OK:
                    tap.matches(reply, b'(?i)^ERR .*no space')
                    failed += 1
                    tap.eq(len(os.listdir(base)), 1, os.listdir(base))
            tap.check(failed > 0, 'the disk never was full')
            model.check(c)
            disk.drain()
            goes_on(c, model, 20000)
            tap.until(lambda: c.call('SAVE') == OK, 20 * tap.PATIENCE)
            tap.eq(len(os.listdir(base)), 1)
            model.check(c)
        with server.Varved(*SMALL, dir=os.path.join(base, os.listdir(base)[0])) as copy, copy.connect() as c:
            model.check(c)


@tap.test
def killed_on_a_full_disk_it_recovers_when_there_is_room():
    with Disk(24) as disk:
        s = server.Varved('--appendfsync', 'always', *SMALL, dir=os.path.join(disk.path, 'data'))
        try:
            model = Model(3)
            with s.connect() as c:
                for _ in range(100):
                    tap.eq(model.write(c, 20000), OK)
                disk.fill()
                model.until_refused(c, 20000)
            for _ in range(2):
                s.kill()
                s.wait = False
                s.start()
                try:
                    s.wait_ready()
                except server.ServerError:  # it says why, and what it needs
                    tap.eq(s.status, 1)
                    tap.matches(s.log(), b'(?i)cannot start.*no space')
                    s.process = None
                    break
                with s.connect() as c:
                    model.check(c)
                    model.until_refused(c, 20000)
            disk.drain()
            disk.resize(64)  # replaying needs room for tables, beside the logs that are there
            if not s.running():
                s.start()
                s.wait_ready()
            with s.connect() as c:
                model.check(c)
                goes_on(c, model, 20000)
                model.check(c)
        finally:
            s.close()


@tap.test
def many_writers_on_a_filling_disk_lose_nothing():
    with Disk(24) as disk, server.Varved('--appendfsync', 'always', *SMALL, dir=os.path.join(disk.path, 'data')) as s:
        taken = [{} for _ in range(6)]
        refused = [0] * 6
        stop = threading.Event()
        failures = []

        def write(n):
            rng = random.Random(n)
            try:
                with s.connect() as c:
                    i = 0
                    while not stop.is_set():
                        batch = [(b'w%d:%d' % (n, i + j), rng.randbytes(rng.choice([10, 1000, 20000]))) for j in range(8)]
                        i += 8
                        replies = c.pipeline([('SET', *pair) for pair in batch])
                        for (key, value), reply in zip(batch, replies):
                            if reply == OK:
                                taken[n][key] = value
                            else:
                                tap.matches(reply, REFUSED)
                                refused[n] += 1
                                time.sleep(0.002)
            except BaseException as error:  # pylint: disable=broad-except
                failures.append(error)
        threads = [threading.Thread(target=write, args=(n,)) for n in range(6)]
        for t in threads:
            t.start()
        try:
            tap.until(lambda: failures or all(refused), seconds=60, what='everybody was refused')
            before = sum(map(len, taken))
            disk.resize(400)
            tap.until(lambda: failures or sum(map(len, taken)) > before + 100, seconds=30, what='writes go on')
        finally:
            stop.set()
            for t in threads:
                t.join()
        tap.eq(failures, [])
        s.crash()
        with s.connect() as c:
            model = Model(0)
            for part in taken:
                model.keys.update(part)
            model.check(c)


@tap.test
def without_any_room_it_does_not_start_and_says_so():
    with Disk(1) as disk:
        disk.fill()
        s = server.Varved('--appendfsync', 'always', *SMALL, dir=os.path.join(disk.path, 'data'), wait=False)
        try:
            tap.eq(s.reap(), 1)
            tap.matches(s.log(), b'(?i)no space')
            disk.resize(64)
            s.wait = True
            s.start()
            tap.eq(s.call('SET', 'k', 'v'), OK)
        finally:
            s.close()


if __name__ == '__main__':
    own_namespace()
    tap.main()
