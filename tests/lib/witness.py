"""Another client beside what a test does: how long its requests take, in processes of their own.

    with witness.Witness(s.port) as w:
        c.must('SUNION', 'a', 'b')
    tap.check(w.p99() < 10, w)      # of GET and SET alike, in milliseconds

On each processor a sleeper notes when it woke up late, for then the machine had no time, and not the server. A request that such
a moment touches does not count.
"""
import bisect
import json
import os
import socket
import subprocess
import sys
import time

import resp

SLEEP = .001
LATE = .005  # seconds; a sleeper that wakes up so much later was kept from it


def _helper(*args):
    return subprocess.Popen([sys.executable, os.path.abspath(__file__), *[str(a) for a in args]], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE)


def _end(process):
    """What the helper has noted: pairs of times."""
    out, _ = process.communicate()
    return [tuple(pair) for pair in json.loads(out)]


class Sleepers:
    """Moments in which the machine had no time."""

    def __enter__(self):
        self.processes = [_helper('sleep', cpu) for cpu in sorted(os.sched_getaffinity(0))[:8]]
        for p in self.processes:
            p.stdout.readline()
        return self

    def __exit__(self, *_):
        self.late = sorted(pair for p in self.processes for pair in _end(p))
        self.until = []  # for each, the latest end so far
        for _, end in self.late:
            self.until.append(max(end, self.until[-1] if self.until else end))

    def touch(self, start, end):
        """Whether one of them lies between these times (time.monotonic())."""
        i = bisect.bisect_right(self.late, (end, end))
        return i > 0 and self.until[i - 1] >= start


class Witness:
    """A client that sends GET and SET in turn."""

    def __init__(self, port):
        self.port = port
        self.took = []  # milliseconds, sorted; of those that count
        self.left_out = 0

    def __enter__(self):
        self.sleepers = Sleepers().__enter__()
        self.process = _helper('ask', self.port)
        self.process.stdout.readline()
        return self

    def __exit__(self, *_):
        asked = _end(self.process)
        self.sleepers.__exit__()
        self.took = sorted(1000 * (end - start) for start, end in asked if not self.sleepers.touch(start, end))
        self.left_out = len(asked) - len(self.took)

    def quantile(self, q):
        """Milliseconds that so large a part of the requests did not take."""
        return self.took[min(len(self.took) - 1, int(len(self.took) * q))] if self.took else 0

    def p99(self):
        """The same for 99 of 100."""
        return self.quantile(.99)

    def __str__(self):
        return (f'{len(self.took)} requests, p50 {self.quantile(.5):.2f} ms, p99 {self.p99():.2f} ms, at most {self.quantile(1):.1f} ms; '
                f'{self.left_out} left out')


# ---- the helpers ----

def _asked_to_end():
    try:
        return os.read(0, 1) == b''
    except BlockingIOError:
        return False


def _sleep(cpu):
    os.sched_setaffinity(0, {cpu})
    late = []
    while not _asked_to_end():
        start = time.monotonic()
        time.sleep(SLEEP)
        end = time.monotonic()
        if end - start > SLEEP + LATE:
            late.append((start, end))
    return late


def _ask(port):
    asked = []
    requests = (resp.encode('GET', 'witness'), resp.encode('SET', 'witness', 'x' * 100))
    with socket.create_connection(('127.0.0.1', port)) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while not _asked_to_end():
            start = time.monotonic()
            s.sendall(requests[len(asked) % 2])
            if not s.recv(4096):
                break
            asked.append((start, time.monotonic()))
            time.sleep(SLEEP)
    return asked


def _main(what, arg):
    os.set_blocking(0, False)
    print(flush=True)
    print(json.dumps({'sleep': _sleep, 'ask': _ask}[what](int(arg))))


if __name__ == '__main__':
    _main(*sys.argv[1:])
