"""Servers for tests: varved, and redis-server as the reference.

    with server.Varved('--appendfsync', 'everysec') as s:
        with s.connect() as c:
            c.call('SET', 'k', 'v')
        s.kill()                  # SIGKILL
        s.start()                 # again, on the same data directory and port
        s.stop()                  # SIGTERM; fails unless the exit status is 0

A server runs on a free loopback port, with its data in a temporary directory that is removed at the end, and answers
PING before start() returns. It dies with the thread that started it, however that ends: start servers on the main
thread. When a test fails, or the server ended by itself, its log is printed. VARVED names the program (default:
build/varved), so a test can also be run by hand:

    VARVED=/path/to/varved python3 tests/system/test_x.py
"""
import atexit
import ctypes
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import resp
import tap

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VARVED = os.environ.get('VARVED') or os.path.join(ROOT, 'build', 'varved')
# The engine of servers that are not given one: a whole test runs over another engine that way (test_engines.py).
ENGINE = os.environ.get('VARVE_ENGINE') or ''
# redis-server is redis-check-rdb under another name: one program that looks at its argv[0]. Debian ships it in
# redis-tools, so the reference needs no package that installs a daemon.
REDIS = os.environ.get('REDIS_SERVER') or '/usr/bin/redis-check-rdb'
# Loaded machines are slow; a start or a reply that takes this long is a failure.
START_SECONDS = 60 * tap.PATIENCE
STOP_SECONDS = 60 * tap.PATIENCE
REPLY_SECONDS = 60 * tap.PATIENCE

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class ServerError(AssertionError):
    """The server did not start, ended by itself, or ended with the wrong status."""


def free_port():
    """A port of 127.0.0.1 that nobody listens on now, below the range that outgoing connections take theirs from."""
    for _ in range(1000):
        port = random.SystemRandom().randrange(10000, 32000)
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(('127.0.0.1', port))
                return port
            except OSError:
                continue
    raise ServerError('no free port')


def _die_with_parent():
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Server:
    """A server process; see the module. Use Varved or Redis.

    args       further arguments of the program
    dir        data directory; by default a temporary one, removed by close()
    port       by default a free one
    env        variables to add to the environment
    wrapper    command to put in front, e.g. ['strace', '-f', '-o', path]; `pid` is then the wrapper's
    wait       False: start() returns at once
    """
    program = None
    name = 'server'

    def __init__(self, *args, dir=None, port=None, env=None, wrapper=(), wait=True, start=True):
        self.args = [str(a) for a in args]
        self.own_dir = dir is None
        self.dir = dir or tempfile.mkdtemp(prefix=f'{self.name}-')
        self.log_path = tempfile.mktemp(prefix=f'{self.name}-log-')
        self.fixed_port = port is not None
        self.port = port or free_port()
        self.env = env or {}
        self.wrapper = list(wrapper)
        self.wait = wait
        self.process = None
        self.status = None  # exit status of the last run (negative: signal)
        atexit.register(self._last_resort)
        if start:
            try:
                self.start()
            except BaseException:
                self.close()
                raise

    def command(self):
        """The command line."""
        raise NotImplementedError

    # -- life

    def start(self, *extra):
        """Start, on the same directory and port as before; `extra` arguments count for this run only."""
        assert self.process is None, 'it runs already'
        for attempt in range(5):
            with open(self.log_path, 'ab') as log:
                self.log_start = log.tell()
                command = self.wrapper + self.command() + [str(a) for a in extra]
                self.process = subprocess.Popen(command, executable=None if self.wrapper else self.program,
                                                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                env={**os.environ, **self.env}, preexec_fn=_die_with_parent)
            self.status = None
            if not self.wait:
                return self
            try:
                self.wait_ready()
                return self
            except ServerError:
                if self.process is not None or self.fixed_port or b'ddress already in use' not in self.log():
                    raise
                self.port = free_port()  # somebody was faster
        raise ServerError('no port could be had')

    def wait_ready(self, seconds=START_SECONDS):
        """Wait until PING is answered (with anything but LOADING)."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                status = self.reap()
                raise ServerError(f'{self.name} ended with status {status} while starting:\n{self.log_text()}')
            try:
                with self.connect(timeout=5) as c:
                    if not c.call('PING').startswith(b'LOADING'):
                        return
            except OSError:
                pass
            time.sleep(0.01)
        raise ServerError(f'{self.name} is not ready after {seconds} s:\n{self.log_text()}')

    @property
    def pid(self):
        """Process id of what was started."""
        return self.process.pid

    def running(self):
        """Whether the process is alive."""
        return self.process is not None and self.process.poll() is None

    def send_signal(self, number):
        """Send a signal."""
        self.process.send_signal(number)

    def reap(self, seconds=STOP_SECONDS):
        """Wait for the end; returns the exit status."""
        try:
            self.status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            self.process = None
            raise ServerError(f'{self.name} did not end within {seconds} s:\n{self.log_text()}') from None
        self.process = None
        return self.status

    def kill(self):
        """SIGKILL, as a crash."""
        self.send_signal(signal.SIGKILL)
        return self.reap()

    def stop(self, number=signal.SIGTERM, expect=0):
        """End it cleanly; fails unless the exit status is `expect` (None: any)."""
        self.send_signal(number)
        status = self.reap()
        if expect is not None and status != expect:
            raise ServerError(f'{self.name} ended with status {status}, not {expect}:\n{self.log_text()}')
        return status

    def restart(self, *extra):
        """stop() and start()."""
        self.stop()
        return self.start(*extra)

    def crash(self, *extra):
        """kill() and start()."""
        self.kill()
        return self.start(*extra)

    def close(self):
        """End it however it is, remove what belongs to it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        if self.own_dir:
            shutil.rmtree(self.dir, ignore_errors=True)
        if os.path.exists(self.log_path):
            os.unlink(self.log_path)
        atexit.unregister(self._last_resort)

    def _last_resort(self):
        try:
            self.close()
        except OSError:
            pass

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        died = self.process is not None and self.process.poll() is not None
        if kind is not None or died:
            print(''.join(f'# {self.name}: {line}\n' for line in self.log_text().splitlines()), end='', flush=True)
        try:
            if kind is None and died:
                raise ServerError(f'{self.name} ended by itself with status {self.process.returncode}')
            if kind is None and self.process is not None:
                self.stop()
        finally:
            self.close()

    # -- looking at it

    def connect(self, timeout=REPLY_SECONDS):
        """A new resp.Connection."""
        return resp.Connection(port=self.port, timeout=timeout)

    def call(self, *args):
        """One command over a connection of its own."""
        with self.connect() as c:
            return c.call(*args)

    def info(self, section='everything'):
        """INFO as a dict of strings."""
        text = self.call('INFO', section).decode()
        return dict(line.split(':', 1) for line in text.split('\r\n') if ':' in line and not line.startswith('#'))

    def log(self, whole=False):
        """What the current (or last) run wrote to stdout and stderr; `whole`: all runs."""
        with open(self.log_path, 'rb') as f:
            f.seek(0 if whole else self.log_start)
            return f.read()

    def log_text(self, limit=8000):
        """The end of the log as text."""
        return self.log()[-limit:].decode(errors='replace')

    def status_field(self, name):
        """A field of /proc/PID/status, e.g. 'VmRSS' (kB as int) or 'Threads'."""
        with open(f'/proc/{self.pid}/status', encoding='ascii', errors='replace') as f:
            for line in f:
                if line.startswith(name + ':'):
                    word = line.split()[1]
                    return int(word) if word.isdigit() else word
        raise KeyError(name)

    def cpu_seconds(self):
        """User and system time so far."""
        with open(f'/proc/{self.pid}/stat', encoding='ascii', errors='replace') as f:
            fields = f.read().rsplit(')', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


class Varved(Server):
    """Our server. Settings as arguments: Varved('--io-threads', 2). It has no HTTP, so that servers of tests that run side
    by side do not meet at its default port, unless http=True: then `http_port` is another free port."""
    program = VARVED
    name = 'varved'

    def __init__(self, *args, http=False, **more):
        self.http_port = free_port() if http else 0
        super().__init__(*args, **more)

    def command(self):
        http = f'127.0.0.1:{self.http_port}' if self.http_port else ''
        engine = ['--engine', ENGINE] if ENGINE and '--engine' not in self.args else []
        return [self.program, '--port', str(self.port), '--dir', self.dir, '--http-addr', http] + engine + self.args


class Redis(Server):
    """redis-server, without persistence: the reference peer."""
    program = REDIS
    name = 'redis-server'

    def command(self):
        if self.wrapper:  # it would set argv[0] itself
            raise ServerError('the reference runs without a wrapper')
        return ['redis-server', '--port', str(self.port), '--dir', self.dir, '--save', '', '--appendonly', 'no',
                '--enable-debug-command', 'yes'] + self.args


if __name__ == '__main__':
    sys.exit(__doc__)
