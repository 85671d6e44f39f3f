#!/usr/bin/python3
"""Clients that wait for keys, on several reactors: order of arrival, what ends the waiting, chains of BLMOVE with clients that
close at random. Nothing is lost or told twice, and nobody waits at a list that has elements.
"""
import random
import threading
import time

import resp
import server
import tap

OPTIONS = ('--io-threads', '2', '--appendfsync', 'everysec')


def blocked(s):
    return int(s.info()['blocked_clients'])


def wait_until(holds, what):
    end = time.monotonic() + 60
    while not holds():
        if time.monotonic() > end:
            raise tap.Failed(what)
        time.sleep(0.01)


@tap.test
def who_came_first_is_served_first():
    with server.Varved(*OPTIONS) as s, s.connect() as c:
        waiting = [s.connect() for _ in range(6)]
        for i, w in enumerate(waiting):
            w.send('BLPOP', 'k', 'other', '0')
            wait_until(lambda n=i: blocked(s) == n + 1, 'it does not wait')
        c.must('RPUSH', 'm', '0', '1', '2')
        c.must('RENAME', 'm', 'k')
        c.pipeline([('MULTI',), ('RPUSH', 'k', 'x'), ('LPOP', 'k'), ('RPUSH', 'k', '3'), ('RPUSH', 'k', '4'), ('EXEC',)])
        c.must('RPUSH', 'other', '5')
        tap.eq([w.read()[1] for w in waiting], [b'%d' % i for i in range(6)])
        tap.eq(blocked(s), 0)
        for w in waiting:
            w.close()


@tap.test
def what_ends_the_waiting():
    with server.Varved(*OPTIONS) as s, s.connect() as c, s.connect() as w:
        start = time.monotonic()
        tap.eq(w.call('BLPOP', 'k', '0.05'), None)
        tap.check(time.monotonic() - start >= 0.05)
        me = w.must('CLIENT', 'ID')
        for reason, want in (('TIMEOUT', None), ('ERROR', b'UNBLOCKED client unblocked via CLIENT UNBLOCK')):
            w.send('BLPOP', 'k', '0')
            wait_until(lambda: blocked(s) == 1, 'it does not wait')
            tap.eq(c.must('CLIENT', 'UNBLOCK', me, reason), 1)
            reply = w.read()
            tap.eq(reply if reply is None else bytes(reply), want)
            tap.eq(c.must('CLIENT', 'UNBLOCK', me), 0)
        w.send_raw(resp.encode('BLPOP', 'k', '0') + resp.encode('ECHO', 'behind'))
        wait_until(lambda: blocked(s) == 1, 'it does not wait')
        tap.check(b'flags=b' in c.must('CLIENT', 'LIST', 'ID', me))
        tap.check(w.silent(0.05))
        c.must('RPUSH', 'k', '1')
        tap.eq([w.read(), w.read()], [[b'k', b'1'], b'behind'])
        w.send('BLPOP', 'k', '0')
        wait_until(lambda: blocked(s) == 1, 'it does not wait')
        tap.eq(c.must('CLIENT', 'KILL', 'ID', me), 1)
        for _ in range(20):
            with s.connect() as gone:
                gone.send('BLPOP', 'k', '0')  # and closes, before or after it waits
        wait_until(lambda: (blocked(s), s.info()['connected_clients']) == (0, '2'), 'clients that are gone wait')
        tap.eq(c.must('RPUSH', 'k', '1'), 1)
        tap.eq(c.must('LLEN', 'k'), 1)


@tap.test
def chains_with_clients_that_close():
    with server.Varved(*OPTIONS) as s, s.connect() as c:
        count, got, stop = tap.pick(150, 3000), [], threading.Event()

        def move(source, target):
            while not stop.is_set():
                with s.connect() as m:
                    for _ in range(random.randrange(1, 20)):
                        m.must('BLMOVE', source, target, 'LEFT', 'RIGHT', 0.2)
                    m.send('BLMOVE', source, target, 'LEFT', 'RIGHT', 0)
                    time.sleep(random.random() * 0.02)

        def take():
            with s.connect() as t:
                while not stop.is_set():
                    reply = t.must('BLPOP', 'q3', 0.2)
                    if reply is not None:
                        got.append(reply[1])
        threads = [threading.Thread(target=move, args=a) for a in [('q1', 'q2'), ('q2', 'q3')] * 2]
        threads += [threading.Thread(target=take) for _ in range(2)]
        for t in threads:
            t.start()
        for n in range(count):
            c.must('RPUSH', 'q1', n)
        try:
            wait_until(lambda: len(got) >= count, 'elements are stuck')
        finally:
            stop.set()
            for t in threads:
                t.join()
        tap.eq(sorted(map(int, got)), list(range(count)))
        tap.eq([c.must('EXISTS', q) for q in ('q1', 'q2', 'q3')], [0, 0, 0])
        wait_until(lambda: blocked(s) == 0, 'clients that are gone wait')


@tap.test
def who_was_served_stands_in_the_slow_log_behind_what_woke_it():
    """As in Redis: with the time it took to run, not to wait."""
    def check(s):
        def lines():
            return [(line[2], b' '.join(line[3])) for line in reversed(c.must('SLOWLOG', 'GET', '-1'))]

        def names():
            found = [text for _, text in lines()]
            c.must('SLOWLOG', 'RESET')
            return [text for text in found if not text.startswith((b'SLOWLOG', b'INFO', b'CONFIG'))]

        def waits(*command):
            w.send(*command)
            time.sleep(0.2)

        with s.connect() as c, s.connect() as w:
            me = w.must('CLIENT', 'ID')
            c.must('CONFIG', 'SET', 'slowlog-log-slower-than', '0')
            c.must('SLOWLOG', 'RESET')
            waits('BLPOP', 'k', '0')
            c.must('RPUSH', 'k', 'v')
            w.read()
            served = next(us for us, text in lines() if text == b'BLPOP k 0')
            tap.check(served < 150000, f'{served} us')
            tap.eq(names(), [b'RPUSH k v', b'BLPOP k 0'])
            waits('BLMOVE', 'k', 'l', 'LEFT', 'LEFT', '0')
            c.pipeline([('MULTI',), ('RPUSH', 'k', 'v'), ('SLOWLOG', 'RESET'), ('SET', 'x', '1'), ('EXEC',)])
            w.read()
            tap.eq(names()[-1], b'BLMOVE k l LEFT LEFT 0')
            waits('BZPOPMIN', 'z', '0')
            c.must('CLIENT', 'UNBLOCK', me, 'ERROR')
            w.read()
            found = names()
            tap.eq(len(found), 2, found)  # 7.0 has lost its arguments by then
            c.must('CONFIG', 'SET', 'slowlog-log-slower-than', '100000')
            waits('BLPOP', 'k', '0')
            c.must('RPUSH', 'k', 'v')
            w.read()
            tap.eq(names(), [])

    with server.Redis() as s:
        check(s)
    for engine in ('lsm', 'memory'):
        with server.Varved(*OPTIONS, '--engine', engine) as s:
            check(s)


@tap.test
def what_came_due_during_a_pause_is_counted_when_it_is_read():
    def check(s):
        def expired():
            return int(s.info()['expired_keys'])

        with s.connect() as c, s.connect() as other:
            before = expired()
            c.pipeline([('MULTI',), ('SET', 'a', '1', 'PX', '10'), ('SET', 'b', '1', 'PX', '10'),
                        ('CLIENT', 'PAUSE', '50000', 'WRITE'), ('EXEC',)])
            wait_until(lambda: other.must('GET', 'a') is None and other.must('GET', 'b') is None, 'they do not expire')
            time.sleep(0.2)
            tap.eq([other.must('GET', 'a'), other.must('EXISTS', 'b')], [None, 0])
            tap.eq(expired(), before)
            other.pipeline([('CLIENT', 'UNPAUSE'), ('GET', 'a'), ('GET', 'b')])
            tap.eq(expired(), before + 2)

    with server.Redis() as s:
        check(s)
    with server.Varved(*OPTIONS) as s:
        check(s)


if __name__ == '__main__':
    tap.main()
