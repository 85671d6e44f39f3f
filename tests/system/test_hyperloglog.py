#!/usr/bin/python3
"""PFCOUNT keeps what it counted in the value, as Redis does: a command that Redis calls a read, and that writes now and then.

Each point is tried with redis-server and with varved: what others see of it (WATCH, the bytes, a paused server, the number of
changes) is the same, and a count that is valid writes nothing.
"""
import server
import tap

OPTIONS = ('--appendfsync', 'everysec')


def valid(c, key):
    """Whether the count in the value's head is."""
    return not c.must('GET', key)[15] & 0x80


def changes(c):
    return int(next(line.split(b':')[1] for line in c.must('INFO', 'persistence').split(b'\r\n')
                    if line.startswith(b'rdb_changes_since_last_save:')))


def fill(c, key, count=1000):
    c.must('PFADD', key, *range(count))
    tap.check(not valid(c, key), 'PFADD left a valid count')


def both(function):
    def varved():
        with server.Varved(*OPTIONS) as s, s.connect() as c, s.connect() as other:
            function(s, c, other)

    def redis():
        with server.Redis() as s, s.connect() as c, s.connect() as other:
            function(s, c, other)
    for target in (redis, varved):
        target.__name__ = f'{function.__name__} {target.__name__}'
        tap.test(target)


@both
def the_count_is_kept_and_is_a_change(s, c, other):
    fill(c, 'h')
    before = changes(c)
    count = c.must('PFCOUNT', 'h')
    tap.check(abs(count - 1000) < 50, count)
    tap.eq(int.from_bytes(c.must('GET', 'h')[8:16], 'little'), count)
    tap.eq(changes(c), before + 1)
    for _ in range(5):
        tap.eq(c.must('PFCOUNT', 'h'), count)
    tap.eq(c.must('PFCOUNT', 'h', 'h'), count)
    tap.eq(changes(c), before + 1)
    c.must('PFADD', 'h', 1)  # known already: the count stays
    tap.check(valid(c, 'h'))
    c.must('PFADD', 'h', *range(1000, 2000))
    tap.check(not valid(c, 'h'))
    c.must('PFCOUNT', 'h', 'nothing')  # of several: never kept
    tap.check(not valid(c, 'h'))
    tap.eq(c.must('PFCOUNT', 'nothing'), 0)
    tap.eq(c.must('EXISTS', 'nothing'), 0)


@both
def time_to_live_and_encoding_stay(s, c, other):
    fill(c, 'h')
    c.must('EXPIRE', 'h', 1000)
    c.must('PFCOUNT', 'h')
    tap.check(valid(c, 'h') and 990 < c.must('TTL', 'h') <= 1000)
    tap.eq(bytes(c.must('OBJECT', 'ENCODING', 'h')), b'raw')


@both
def watched_keys_are_touched_by_a_count_that_was_kept_only(s, c, other):
    fill(c, 'h')
    for want in (None, [b'PONG']):
        other.must('WATCH', 'h')
        c.must('PFCOUNT', 'h')
        other.must('MULTI')
        other.must('PING')
        tap.eq(other.must('EXEC') and [b'PONG'], want)


@both
def within_a_transaction(s, c, other):
    fill(c, 'h')
    c.must('MULTI')
    c.must('PFCOUNT', 'h')
    c.must('GET', 'h')
    c.must('PFCOUNT', 'h')
    a, value, b = c.must('EXEC')
    tap.eq(a, b)
    tap.eq(int.from_bytes(value[8:16], 'little'), a)
    tap.check(valid(c, 'h'))


@both
def while_writers_are_paused_it_waits(s, c, other):
    fill(c, 'h')
    other.must('CLIENT', 'PAUSE', 60000, 'WRITE')
    c.send('PFCOUNT', 'h')
    tap.check(c.silent(0.3))
    other.must('CLIENT', 'UNPAUSE')
    tap.check(abs(c.read() - 1000) < 50)


@both
def what_is_no_hyperloglog_is_refused_and_left_alone(s, c, other):
    c.must('SET', 's', 'HYLL' + 'x' * 20)
    c.must('RPUSH', 'l', 1)
    fill(c, 'damaged', 3)
    c.must('SETRANGE', 'damaged', 16, b'\xff' * 40)
    before = changes(c)
    tap.check(c.call('PFCOUNT', 's').startswith(b'WRONGTYPE Key is not a valid HyperLogLog'))
    tap.check(c.call('PFCOUNT', 'l').startswith(b'WRONGTYPE Operation'))
    tap.check(c.call('PFCOUNT', 'damaged').startswith(b'INVALIDOBJ'))
    tap.eq(changes(c), before)


@tap.test
def cold_ones_are_kept_too_and_survive_a_crash():
    with server.Varved('--appendfsync', 'always', '--memtable-size', '262144', '--cache-size', '1mb') as s:
        with s.connect() as c:
            for i in range(200):
                c.must('PFADD', f'h{i}', *range(i * 7, i * 7 + 3000))
        s.restart()
        with s.connect() as c:
            counts = c.pipeline([('PFCOUNT', f'h{i}') for i in range(200)])
            tap.check(all(abs(n - 3000) < 150 for n in counts), counts)
        s.crash()
        with s.connect() as c:
            tap.check(all(valid(c, f'h{i}') for i in range(200)))
            before = changes(c)
            tap.eq(c.pipeline([('PFCOUNT', f'h{i}') for i in range(200)]), counts)
            tap.eq(changes(c), before)


tap.main()
