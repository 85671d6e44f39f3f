#!/usr/bin/python3
"""SORT and SORT_RO against redis-server, on lists, sets and sorted sets from none to thousands of elements; and what they cost
others: nobody waits for a long one, and one of which little is wanted takes little memory.
"""
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import resp  # noqa: E402
import server  # noqa: E402
import tap  # noqa: E402

SIZES = [0, 1, 2, 7, 130, 3000]


def fill(c, rng):
    """Elements of three kinds in each type, and keys that they lead to."""
    for size in SIZES[1:]:
        numbers = rng.sample(range(-2 * size, 3 * size), size)
        for name, elements in (('n', numbers), ('f', [f'{x * 0.75}' for x in numbers]), ('w', [f'w{x:07}' for x in numbers])):
            for i in range(0, size, 1000):
                part = elements[i:i + 1000]
                c.must('RPUSH', f'list:{name}{size}', *part)
                c.must('SADD', f'set:{name}{size}', *part)
                c.must('ZADD', f'zset:{name}{size}', *[x for e in part for x in (rng.randrange(50), e)])
    many = [(f'weight_{x}', (x * 7919) % 10007) for x in range(-6000, 9000, 2)]
    for i in range(0, len(many), 1000):
        c.must('MSET', *[x for pair in many[i:i + 1000] for x in pair])
        for key, value in many[i:i + 1000:50]:
            c.must('HSET', key.replace('weight_', 'object_'), 'weight', value, 'name', f'name of {value}', '', 'empty')
    c.must('SET', 'weight_#', 'odd')


def request(rng):
    """A request whose answer is certain: no set without an order, no texts that may be equal."""
    kind, name, size = rng.choice(['list', 'set', 'zset']), rng.choice('nfw'), rng.choice(SIZES)
    words, alpha, unordered = [], name == 'w' or rng.random() < .3, False
    by = rng.choice([None, None, 'weight_*', 'object_*->weight', 'nosort', 'object_*->missing', 'weight_#'])
    if by in ('nosort', 'weight_#'):
        unordered = True
    elif by:
        alpha = False  # missing ones are equal; numbers are told apart by their texts then
    if unordered and kind == 'set':
        by = unordered = None
    if by:
        words += ['BY', by]
    if alpha or (name == 'w' and not by and not unordered):
        words.append('ALPHA')
    if rng.random() < .5:
        words += ['LIMIT', rng.choice([0, 1, 10, -3, 100000, size // 2]), rng.choice([0, 1, 10, -1, 100000, size // 3])]
    if rng.random() < .4:
        words.append(rng.choice(['DESC', 'ASC', 'desc']))
    for _ in range(rng.choice([0, 0, 1, 3])):
        words += ['GET', rng.choice(['#', 'weight_*', 'object_*->name', 'object_*->', 'object_*', 'nothing', '*', 'list:*'])]
    return [f'{kind}:{name}{size}'] + words


@tap.test
def replies_are_those_of_redis():
    rng = random.Random(5)
    with server.Redis() as reference, server.Varved('--memtable-size', '262144', '--table-size', '65536') as ours, \
            reference.connect() as a, ours.connect() as b:
        fill(a, random.Random(4))
        fill(b, random.Random(4))
        for _ in range(tap.pick(1500, 20000)):
            words = request(rng)
            for command in (['SORT'] + words, ['SORT_RO'] + words):
                tap.eq(b.raw(resp.encode(*command)), a.raw(resp.encode(*command)), ' '.join(map(str, command)))
            command = ['SORT'] + words + ['STORE', 'out']
            if rng.random() < .5:
                command += ['STORE', rng.choice(['out2', words[0]])] if rng.random() < .2 else []
                for c in (a, b):
                    c.must('COPY', words[0], 'kept', 'REPLACE') if c.must('EXISTS', words[0]) else c.must('DEL', 'kept')
                tap.eq(b.raw(resp.encode(*command)), a.raw(resp.encode(*command)), ' '.join(map(str, command)))
                tap.eq(b.call('LRANGE', command[-1], 0, -1), a.call('LRANGE', command[-1], 0, -1), ' '.join(map(str, command)))
                for c in (a, b):  # it may have been its own destination
                    c.must('COPY', 'kept', words[0], 'REPLACE') if c.must('EXISTS', 'kept') else c.must('DEL', words[0])


@tap.test
def errors_and_odd_requests_are_those_of_redis():
    with server.Redis() as reference, server.Varved() as ours, reference.connect() as a, ours.connect() as b:
        for c in (a, b):
            c.must('RPUSH', 'l', 3, 1, 2)
            c.must('RPUSH', 'words', 'b', 'a')
            c.must('RPUSH', 'odd', '', ' 5', '0x10', '1e2', 'inf', '-inf', '+7')
            c.must('SADD', 'set', 5, -1, 300)
            c.must('HSET', 'h', 'f', 'v')
            c.must('SET', 's', 'v')
            c.must('RPUSH', 'out', 'before')
        for command in [
                ['SORT'], ['SORT', 'l', 'WHAT'], ['SORT', 'l', 'BY'], ['SORT', 'l', 'GET'], ['SORT', 'l', 'LIMIT', 1], ['SORT', 'l', 'LIMIT', 'x', 1],
                ['SORT', 'l', 'LIMIT', 1, '9223372036854775808'], ['SORT', 'l', 'STORE'], ['SORT_RO', 'l', 'STORE', 'out'], ['SORT', 's'],
                ['SORT', 'h', 'BY', 'nosort'], ['SORT', 'words'], ['SORT', 'words', 'STORE', 'out'], ['LRANGE', 'out', 0, -1], ['SORT', 'odd'],
                ['SORT', 'none'], ['SORT', 'none', 'STORE', 'out'], ['EXISTS', 'out'], ['SORT', 'l', 'BY', 'h->*'], ['SORT', 'l', 'BY', 'words*'],
                ['SORT', 'l', 'GET', 'h->f'], ['SORT', 'l', 'DESC', 'ASC'], ['SORT', 'l', 'LIMIT', 1, 1, 'LIMIT', 0, 2], ['SORT', 'l', 'BY', 'no', 'BY', '*'],
                ['SORT', 'set', 'BY', 'nosort', 'STORE', 'out'], ['LRANGE', 'out', 0, -1], ['SORT', 'set', 'BY', 'nosort'],
                ['SORT', 'set', 'BY', 'nosort', 'LIMIT', 1, 1], ['SORT', 'l', 'BY', '', 'GET', ''], ['SORT', 'l', 'STORE', 'l'], ['LRANGE', 'l', 0, -1],
                ['SORT', 'l', 'GET', 'none*', 'STORE', 'out'], ['LRANGE', 'out', 0, -1], ['COMMAND', 'GETKEYS', 'SORT', 'l', 'BY', 'store', 'STORE', 'x'],
                ['COMMAND', 'GETKEYSANDFLAGS', 'SORT', 'l', 'LIMIT', 0, 'STORE', 'STORE', 'x', 'STORE', 'y'], ['COMMAND', 'GETKEYS', 'SORT_RO', 'l'],
                ['COMMAND', 'GETKEYS', 'MIGRATE', 'h', 'p', 'k', 0, 1], ['COMMAND', 'GETKEYS', 'MIGRATE', 'h', 'p', 'k', 0, 1, 'KEYS', 'a'], ['COMMAND', 'GETKEYS', 'MIGRATE', 'h', 'p', '', 0, 1, 'AUTH', 'KEYS', 'KEYS', 'a', 'b']]:
            tap.eq(b.raw(resp.encode(*command)), a.raw(resp.encode(*command)), str(command))
        b.must('MULTI')
        for command in (['SORT', 'l'], ['SORT', 'l', 'DESC', 'STORE', 'out'], ['SORT_RO', 'out']):
            tap.eq(b.must(*command), resp.Simple(b'QUEUED'))
        tap.eq(b.must('EXEC'), [[b'1', b'2', b'3'], 3, [b'1', b'2', b'3']])


def load(c, key, n):
    for i in range(0, n, 5000):
        c.must('RPUSH', key, *[(x * 7919) % n for x in range(i, min(i + 5000, n))])


@tap.test
def nobody_waits_for_a_long_one_and_what_is_not_wanted_takes_no_memory():
    n = tap.pick(200000, 3000000) // (8 if tap.SANITIZER else 1)
    with server.Varved('--appendfsync', 'everysec', '--maxmemory', '256mb') as s, s.connect() as c, s.connect() as other:
        load(c, 'l', n)
        tap.eq(c.must('SORT', 'l', 'LIMIT', 0, 3), [b'0', b'1', b'2'])
        if not tap.SANITIZER:  # with one, freed memory stays for a while
            before = s.status_field('VmHWM')
            for _ in range(3):
                tap.eq(c.must('SORT', 'l', 'DESC', 'LIMIT', 1, 2), [b'%d' % (n - 2), b'%d' % (n - 3)])
            tap.check(s.status_field('VmHWM') - before < 20000, f'{s.status_field("VmHWM") - before} kB for two elements')
        over, worst = threading.Event(), []

        def ask():
            while not over.is_set():
                start = time.monotonic()
                other.must('SET', 'k', 'v')
                other.must('GET', 'k')
                worst.append(time.monotonic() - start)

        asking = threading.Thread(target=ask)
        asking.start()
        for _ in range(3):
            tap.eq(len(c.must('SORT', 'l')), n)
            tap.eq(c.must('SORT', 'l', 'STORE', 'out'), n)
            tap.eq(len(c.must('SORT', 'l', 'BY', 'k*', 'LIMIT', 0, 10)), 10)
        over.set()
        asking.join()
        worst.sort()
        p99 = worst[int(len(worst) * .99)]
        tap.diag(f'beside SORT of {n}: {len(worst)} pairs of SET and GET, p50 {worst[len(worst) // 2] * 1000:.2f} ms, p99 {p99 * 1000:.2f} ms, '
                 f'at most {worst[-1] * 1000:.1f} ms')
        tap.check(p99 < .1 * tap.PATIENCE, f'p99 is {p99} s')


@tap.test
def cold_keys_are_waited_for_by_nobody_else():
    """BY and GET lead to keys that are on disk alone."""
    with server.Varved('--appendfsync', 'everysec', '--memtable-size', '262144', '--cache-size', '1mb', '--io-threads', '1') as s, \
            s.connect() as c, s.connect() as other:
        n = 3000
        for i in range(n):
            c.send('SET', f'w_{i}', f'{(i * 7919) % n}')
            c.send('SET', f'pad_{i}', os.urandom(2000))
        for i in range(2 * n):
            c.read()
        c.must('RPUSH', 'l', *range(n))
        s.restart()
        with s.connect() as again, s.connect() as witness:
            away = int(s.info()['away_reads'])
            again.send('SORT', 'l', 'BY', 'w_*', 'GET', '#')
            start = time.monotonic()
            tap.eq(witness.must('PING'), resp.Simple(b'PONG'))
            tap.check(time.monotonic() - start < 5 * tap.PATIENCE, 'PING waited')
            got = again.read()
            tap.eq([(int(x) * 7919) % n for x in got], list(range(n)))
            tap.check(int(s.info()['away_reads']) > away, 'it ran on the reactor')


if __name__ == '__main__':
    tap.main()
