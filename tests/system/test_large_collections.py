#!/usr/bin/python3
"""Collections far larger than memory: loaded, gone through whole and by SCAN, deleted; the server stays within its budget and a
tenth, and another client's requests under 10 ms.
"""
import re
import threading
import time

import resp
import server
import tap
import witness

COUNT = tap.pick(200000, 10000000)  # elements
BUDGET = tap.pick(64, 256)          # MB
STEP = 2000
LIMIT_MS = 10


def numbers(i):
    return range(i, min(i + STEP, COUNT))


# name: a command that loads some, that which shows all, that which goes through, parts of a reply an element
KINDS = {
    'hash': (lambda i: ('HSET', 'big', *[x for k in numbers(i) for x in (b'field:%08d' % k, b'value of %d' % k)]),
             ('HGETALL', 'big'), 'HSCAN', 2, 'HLEN', 'DEL'),
    'list': (lambda i: ('RPUSH', 'big', *[b'element:%d' % k for k in numbers(i)]), ('LRANGE', 'big', 0, -1), None, 1, 'LLEN', 'PEXPIRE'),
    'set': (lambda i: ('SADD', 'big', *[b'member:%08d' % k for k in numbers(i)]), ('SMEMBERS', 'big'), 'SSCAN', 1, 'SCARD', 'FLUSHDB'),
    'zset': (lambda i: ('ZADD', 'big', *[x for k in numbers(i) for x in (k * 7919 % COUNT, b'member:%08d' % k)]),
             ('ZRANGE', 'big', 0, -1, 'WITHSCORES'), 'ZSCAN', 2, 'ZCARD', 'UNLINK'),
}


class Memory(threading.Thread):
    """The most that the server has resident, sampled."""

    def __init__(self, s):
        super().__init__(daemon=True)
        self.s, self.worst, self.over = s, 0, threading.Event()
        self.start()

    def run(self):
        while not self.over.wait(.02):
            self.worst = max(self.worst, self.s.status_field('VmRSS') / 1024)

    def end(self):
        """In MB."""
        self.over.set()
        self.join()
        return self.worst


def lines(c, *command):
    """Sends it; returns the first bytes of the reply and the number of its lines, none of which is looked at."""
    end = resp.encode('the end')[4:]  # as the reply to ECHO
    c.send_raw(resp.encode(*command) + resp.encode('ECHO', 'the end'))
    head, tail, count = b'', b'', -2
    while not tail.endswith(end):
        data = c.sock.recv(1 << 20)
        tap.check(data, f'{command}: closed')
        count += data.count(b'\n')
        head = head if len(head) > 100 else head + data[:200]
        tail = (tail + data)[-len(end):]
    return head, count


def gone_through(c, scan):
    """How many parts all replies of HSCAN and its like have together."""
    cursor, parts = b'0', 0
    while True:
        head, _ = lines(c, scan, 'big', cursor, 'COUNT', 20000)
        cursor, n = re.match(rb'\*2\r\n\$\d+\r\n(\d+)\r\n\*(\d+)\r\n', head).groups()
        parts += int(n)
        if cursor == b'0':
            return parts


def removed(s, c, how):
    """Deletes it by that command; the time does not count where the machine had none."""
    command = {'PEXPIRE': ('PEXPIRE', 'big', 1), 'FLUSHDB': ('FLUSHDB',)}.get(how, (how, 'big'))
    with witness.Sleepers() as sleepers:
        start = time.monotonic()
        c.must(*command)
        end = time.monotonic()
    tap.until(lambda: c.must('DBSIZE') == 0, what=f'{how} leaves nothing')
    if not sleepers.touch(start, end):
        tap.check(end - start < LIMIT_MS / 1000 * tap.PATIENCE, f'{how} took {end - start:.3f} s')
    return end - start


@tap.cases('hash', 'list', 'set', 'zset')
def it_loads_is_gone_through_and_goes_within_the_budget(kind):
    load, whole, scan, parts, length, delete = KINDS[kind]
    with server.Varved('--appendfsync', 'everysec', '--maxmemory', f'{BUDGET}mb', '--io-threads', '2') as s, s.connect() as c:
        memory, start = Memory(s), time.monotonic()
        for i in range(0, COUNT, STEP):
            c.must(*load(i))
        loaded = time.monotonic()
        tap.eq(c.must(length, 'big'), COUNT)
        with witness.Witness(s.port) as w:
            for _ in range(tap.pick(5, 1)):
                head, n = lines(c, *whole)
                tap.check(head.startswith(b'*%d\r\n' % (COUNT * parts)), head[:30])
                tap.eq(n, 1 + 2 * COUNT * parts)
            shown = time.monotonic()
            if scan:
                tap.eq(gone_through(c, scan), COUNT * parts)
        scanned = time.monotonic()
        c.must('DEL', 'witness')
        took, worst = removed(s, c, delete), memory.end()
        tap.diag(f'{COUNT}: loaded in {loaded - start:.1f} s, shown in {shown - loaded:.1f} s, scanned in {scanned - shown:.1f} s, '
                 f'{delete} {took * 1000:.1f} ms; {worst:.0f} MB of {BUDGET}; beside it {w}')
        if tap.SANITIZER:
            return
        tap.check(worst <= BUDGET * 1.1, f'{worst:.0f} MB of {BUDGET}')
        tap.check(w.p99() < LIMIT_MS * tap.PATIENCE, str(w))


tap.main()
