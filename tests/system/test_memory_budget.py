#!/usr/bin/python3
"""maxmemory: what the process takes, by the kernel's figures, stays within a tenth above the budget while data many times as
large is loaded, read, changed and merged, and nothing is refused; also after the budget has changed while the server runs."""
import random
import threading
import time

import resp
import server
import tap

MB = 1 << 20
NOT_WITH_SANITIZERS = 'the sanitizers have an allocator and shadows of their own'


class Watch:
    """The largest resident memory since reset(), in bytes, looked at fifty times a second."""

    def __init__(self, s):
        self._server, self.peak, self._stop, self._lock = s, 0, threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while not self._stop.wait(0.02):
            now = self._server.status_field('VmRSS') << 10
            with self._lock:
                self.peak = max(self.peak, now)

    def reset(self):
        time.sleep(0.05)  # what is being looked at now is of before
        with self._lock:
            self.peak = 0

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()


class Load:
    """Clients that write and read all types, values from 50 bytes to 900 kB, until stopped. Counts errors."""

    def __init__(self, s, clients=4):
        self._server, self._stop = s, threading.Event()
        self.errors, self.done = {}, 0
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(clients)]

    def _run(self, number):
        r = random.Random(number)
        block = r.randbytes(MB)
        with self._server.connect() as c:
            while not self._stop.is_set():
                replies = c.pipeline([self._command(r, block) for _ in range(64)])
                with self._lock:
                    self.done += len(replies)
                    for x in replies:
                        if isinstance(x, resp.Error):
                            self.errors[bytes(x)] = self.errors.get(bytes(x), 0) + 1

    @staticmethod
    def _command(r, block):
        def piece(size):
            at = r.randrange(MB - size)
            return block[at:at + size]
        kind, key = r.randrange(1000), f'k{r.randrange(400000)}'
        if kind < 400:
            return 'SET', key, piece(r.choice((50, 200, 1000)))
        if kind < 600:
            return 'GET', key
        if kind < 640:
            return 'DEL', key
        if kind < 740:
            fields = (x for _ in range(10) for x in (f'f{r.randrange(2000)}', piece(50)))
            return 'HSET', f'h{r.randrange(200)}', *fields
        if kind < 760:
            return 'HGETALL', f'h{r.randrange(200)}'
        if kind < 820:
            return 'ZADD', f'z{r.randrange(100)}', r.random(), f'm{r.randrange(5000)}'
        if kind < 850:
            return 'ZRANGE', f'z{r.randrange(100)}', 0, 100
        if kind < 880:
            return 'SADD', f's{r.randrange(100)}', *(f'm{r.randrange(100000)}' for _ in range(5))
        if kind < 930:
            return 'RPUSH', f'l{r.randrange(100)}', piece(200), piece(300)
        if kind < 950:
            return 'LRANGE', f'l{r.randrange(100)}', 0, 50
        if kind < 998:
            return 'SETEX', key, r.randrange(1, 20), piece(100)
        return 'SET', f'big{r.randrange(20)}', piece(r.choice((100000, 900000)))

    def __enter__(self):
        for t in self._threads:
            t.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for t in self._threads:
            t.join()


def within(watch, budget, share=1.1):
    tap.check(watch.peak <= share * budget * MB,
              f'{watch.peak / MB:.1f} MB resident of a budget of {budget} MB: {watch.peak / MB / budget * 100:.0f} %')


def varved(budget, *args):
    if tap.SANITIZER:
        raise tap.Skip(NOT_WITH_SANITIZERS)
    return server.Varved('--maxmemory', f'{budget}mb', '--appendfsync', 'everysec', '--io-threads', '2', *args)


@tap.test
def sixty_four_megabytes_are_enough_for_any_load():
    with varved(64) as s, Watch(s) as watch:
        with Load(s) as load:
            time.sleep(tap.pick(7, 90))
        tap.eq(load.errors, {})
        tap.check(load.done > 10000, load.done)
        tap.diag(f'{watch.peak / MB:.1f} of 64 MB; {load.done} commands')
        within(watch, 64)


@tap.test
def thirty_two_megabytes_are_nearly_enough():
    with varved(32) as s, Watch(s) as watch:
        with Load(s, 6) as load:
            time.sleep(tap.pick(7, 90))
        tap.check(all(e.startswith(b'OOM') for e in load.errors), load.errors)
        tap.diag(f'{watch.peak / MB:.1f} of 32 MB; {load.done} commands; {load.errors}')
        within(watch, 32, 1.25)


@tap.test
def collections_are_loaded_beside_each_other():
    members, width = tap.pick(60000, 1500000), 250
    with varved(64) as s, Watch(s) as watch:
        errors = []

        def fill(command):
            with s.connect() as c:
                for at in range(0, members, width * 16):
                    rows = []
                    for start in range(at, min(at + width * 16, members), width):
                        row = [command, command.lower()]
                        for i in range(start, start + width):
                            row += {'ZADD': [i * 7919 % members, f'member:{i:012}'], 'SADD': [f'member:{i:012}'],
                                    'HSET': [f'field:{i:012}', f'value:{i:050}'], 'RPUSH': [f'entry:{i:060}']}[command]
                        rows.append(row)
                    errors.extend(x for x in c.pipeline(rows) if isinstance(x, resp.Error))
        threads = [threading.Thread(target=fill, args=(x,)) for x in ('ZADD', 'SADD', 'HSET', 'RPUSH')]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        tap.eq(errors, [])
        tap.diag(f'{watch.peak / MB:.1f} of 64 MB')
        within(watch, 64)
        with s.connect() as c:
            tap.eq([c.must('ZCARD', 'zadd'), c.must('SCARD', 'sadd'), c.must('HLEN', 'hset'), c.must('LLEN', 'rpush')],
                   [members] * 4)


@tap.test
def the_budget_changes_while_the_server_runs():
    seconds = tap.pick(2, 30)
    with varved(1024) as s, s.connect() as c, Watch(s) as watch, Load(s) as load:
        time.sleep(2 * seconds)
        large = s.status_field('VmRSS') << 10
        c.must('CONFIG', 'SET', 'maxmemory', '112mb')  # what is as large as it began stays: the log's buffer
        tap.eq(c.must('CONFIG', 'GET', 'memtable-size'), [b'memtable-size', b'%d' % (7 * MB)])
        tap.until(lambda: s.status_field('VmRSS') << 10 <= 112 * MB, what='memory is given back')
        watch.reset()
        time.sleep(seconds)
        within(watch, 112)
        tap.eq(load.errors, {})
        c.must('CONFIG', 'SET', 'maxmemory', '1gb')
        tap.eq(c.must('CONFIG', 'GET', 'memtable-size'), [b'memtable-size', b'%d' % (64 * MB)])
        tap.until(lambda: s.status_field('VmRSS') << 10 > min(140 * MB, large), what='memory is used again', seconds=30)
        tap.eq(load.errors, {})


@tap.test
def a_budget_below_the_least_is_warned_of():
    if tap.SANITIZER:
        raise tap.Skip(NOT_WITH_SANITIZERS)
    words = 'below 32 MB'
    with server.Varved('--maxmemory', '64mb') as s, s.connect() as c:
        tap.check(words not in s.log_text(), 'warned without a reason')
        c.must('CONFIG', 'SET', 'maxmemory', '20mb')
        tap.until(lambda: words in s.log_text(), what='the warning')
    with server.Varved('--maxmemory', '20mb') as s, s.connect() as c:
        tap.check(words in s.log_text(), 'the warning at the start')
        c.must('SET', 'a', 'b')


tap.main()
