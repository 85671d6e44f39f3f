#!/usr/bin/python3
"""maxmemory-clients: who takes most is closed when all clients together take too much, as in redis-server."""
import time

import resp
import server
import tap

MB = 1 << 20


def evicted(c):
    return int(next(line.split(b':')[1] for line in c.must('INFO', 'stats').split(b'\r\n') if line.startswith(b'evicted_clients:')))


def closed(c):
    return c.closed_by_server(0.3)


def half_a_request(c, size):
    """Keeps that much with the server: an argument that never ends."""
    try:
        c.send_raw(b'*2\r\n$4\r\nECHO\r\n$%d\r\n' % (size + 10) + b'x' * size)
    except ConnectionError:
        pass  # closed already


def both(function):
    def redis():
        with server.Redis() as s, s.connect() as c:
            function(s, c)

    def varved():
        with server.Varved('--io-threads', '3', '--appendfsync', 'no') as s, s.connect() as c:
            function(s, c)
    for target in (redis, varved):
        target.__name__ = f'{function.__name__} {target.__name__}'
        tap.test(target)


@both
def the_largest_is_closed_and_the_others_stay(s, c):
    c.must('CONFIG', 'SET', 'maxmemory-clients', 20 * MB)
    clients = [s.connect() for _ in range(6)]
    for x in clients:
        half_a_request(x, MB)
    time.sleep(0.3)
    tap.eq([closed(x) for x in clients], [False] * 6)
    big = s.connect()
    half_a_request(big, 15 * MB)
    tap.check(closed(big), 'the largest stays')
    tap.eq([closed(x) for x in clients], [False] * 6)
    tap.eq(evicted(c), 1)
    for x in clients + [big]:
        x.close()


@both
def a_lower_limit_counts_at_once(s, c):
    clients = [s.connect() for _ in range(5)]
    for i, x in enumerate(clients):
        half_a_request(x, MB * (i + 1))
    time.sleep(0.3)
    c.must('CONFIG', 'SET', 'maxmemory-clients', 9 * MB)  # of 15, and what buffers have in reserve
    tap.until(lambda: evicted(c) >= 1)
    time.sleep(0.3)
    gone = [closed(x) for x in clients]
    tap.check(gone[4] and gone == sorted(gone) and not gone[0], gone)
    for x in clients:
        x.close()


@both
def who_may_not_be_closed_is_not(s, c):
    c.must('CONFIG', 'SET', 'maxmemory-clients', 20 * MB)
    c.must('CLIENT', 'NO-EVICT', 'ON')
    safe, other = s.connect(), s.connect()
    safe.must('CLIENT', 'NO-EVICT', 'ON')
    half_a_request(safe, 8 * MB)
    half_a_request(other, MB)
    time.sleep(0.3)
    tap.eq([closed(safe), closed(other)], [False, False])
    big = s.connect()
    half_a_request(big, 15 * MB)
    tap.eq([closed(big), closed(safe), closed(other)], [True, False, False])
    c.must('CONFIG', 'SET', 'maxmemory-clients', 6 * MB)  # what it takes counts all the same
    tap.eq([closed(other), closed(safe)], [True, False])
    for x in (safe, other, big):
        x.close()


@both
def replies_that_are_not_taken_count(s, c):
    c.must('CONFIG', 'SET', 'maxmemory-clients', 10 * MB)
    c.must('SET', 'value', b'x' * 100000)
    slow = s.connect()
    slow.send_raw(resp.encode('GET', 'value') * 400)
    tap.until(lambda: evicted(c) == 1, what='it is closed')
    tap.eq(bytes(c.must('PING')), b'PONG')
    slow.close()


@both
def what_is_queued_in_a_transaction_counts(s, c):
    c.must('CONFIG', 'SET', 'maxmemory-clients', 4 * MB)
    x = s.connect()
    x.must('MULTI')
    try:
        for _ in range(60):
            x.call('SET', 'k', b'v' * 100000)
        raise tap.Failed('it goes on')
    except (resp.Closed, ConnectionError):
        pass
    tap.eq(evicted(c), 1)
    x.close()


SAID = []  # redis-server is asked first


@both
def values_of_the_setting(s, c):
    said = []
    for value in ('100mb', '5%', '0%', '100%', '101%', '-1', '-5%', '%', 'x', '1.5%', '0'):
        reply = c.call('CONFIG', 'SET', 'maxmemory-clients', value)
        said.append((value, bytes(reply), c.must('CONFIG', 'GET', 'maxmemory-clients')[1]))
    SAID.append(said)
    for ours, theirs in zip(said, SAID[0]):
        tap.eq(ours, theirs)


@tap.test
def a_percentage_is_of_maxmemory():
    with server.Varved('--io-threads', '2', '--appendfsync', 'no', '--maxmemory', '256mb', '--maxmemory-clients', '5%') as s:
        with s.connect() as c:
            tap.eq(c.must('CONFIG', 'GET', 'maxmemory-clients')[1], b'5%')
            a, b = s.connect(), s.connect()
            half_a_request(a, 5 * MB)
            time.sleep(0.2)
            tap.check(not closed(a))
            half_a_request(b, 8 * MB)
            tap.check(closed(b) and not closed(a))
            c.must('CONFIG', 'SET', 'maxmemory', '400mb')
            b = s.connect()
            half_a_request(b, 6 * MB)
            tap.eq([closed(a), closed(b)], [False, False])


tap.main()
