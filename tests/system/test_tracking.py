#!/usr/bin/python3
"""Client-side caching: a client that tracks hears of every change of what it has read, in the right order, whatever threads and
disk do. tests/system/test_node_clients.py has node-redis' own cache on it."""
import random
import socket
import threading
import time

import resp
import server
import tap

OK = resp.Simple(b'OK')


def tracker(s, *options, proto=3):
    c = s.connect()
    c.call('HELLO', str(proto))
    c.call('DEL', 'nothing')  # waits for all that was written: what is in flight when tracking begins counts as changed
    tap.eq(c.call('CLIENT', 'TRACKING', 'ON', *options), OK)
    return c


def invalid(c):
    """The keys of the next push, which must be an invalidation."""
    push = c.read()
    tap.check(isinstance(push, resp.Push) and push[0] == b'invalidate', f'{push!r}')
    return push[1]


@tap.test
def a_change_of_what_was_read_is_told_once():
    with server.Varved('--io-threads', 2) as s, s.connect() as w, tracker(s) as c:
        w.must('MSET', 'a', '1', 'b', '1')
        tap.eq((c.call('MGET', 'a', 'b'), c.call('HGETALL', 'h')), ([b'1', b'1'], resp.Map()))
        w.must('SET', 'other', '1')
        w.must('SET', 'a', '2')
        tap.eq(invalid(c), [b'a'])
        w.must('SET', 'a', '3')
        w.must('HSET', 'h', 'f', 'v')
        tap.eq(invalid(c), [b'h'])  # and a not again: it was not read since
        w.must('DEL', 'b')
        tap.eq(invalid(c), [b'b'])
        tap.check(c.silent(), 'more is told')
        for write in (('EXPIRE', 'e', '100'), ('RENAME', 'e', 'x'), ('SET', 'e', 'v', 'PX', '1'), ('PERSIST', 'e')):
            w.must('SET', 'e', 'v', 'PX', '100000')
            c.call('GET', 'e')
            w.must(*write)
            tap.eq(invalid(c), [b'e'], write)
        c.call('GET', 'e')
        w.must('FLUSHALL')
        tap.eq(invalid(c), None)
        tap.check(c.silent(), 'more is told')
        tap.eq(s.info()['tracking_clients'], '1')


@tap.test
def own_changes_follow_the_reply_and_noloop_leaves_them_out():
    with server.Varved() as s, tracker(s) as c:
        c.call('GET', 'a')
        c.send('SET', 'a', '1')
        tap.eq(c.read(), OK)
        tap.eq(invalid(c), [b'a'])
        c.call('GET', 'a')
        for command, reply in ((('MULTI',), OK), (('INCR', 'a'), resp.Simple(b'QUEUED')), (('INCR', 'b'), resp.Simple(b'QUEUED')), (('EXEC',), [2, 1])):
            c.send(*command)
            tap.eq(c.read(), reply)
        tap.eq(invalid(c), [b'a'])
        tap.eq(c.call('CLIENT', 'TRACKING', 'ON', 'NOLOOP'), OK)
        c.call('GET', 'a')
        c.call('SET', 'a', '5')
        tap.check(c.silent(), 'its own change is told')


@tap.test
def broadcasting_needs_no_reading():
    with server.Varved() as s, s.connect() as w, tracker(s, 'BCAST', 'PREFIX', 'user:', 'PREFIX', 'job:') as c, \
            tracker(s, 'BCAST') as all_of_it:
        w.must('SET', 'user:1', 'v')
        tap.eq((invalid(c), invalid(all_of_it)), ([b'user:1'], [b'user:1']))
        w.must('SET', 'x', 'v')
        tap.eq(invalid(all_of_it), [b'x'])
        w.must('MSET', 'job:1', 'v', 'user:2', 'v', 'y', 'v')
        got = sorted([invalid(c), invalid(c)])
        tap.eq((got, sorted(invalid(all_of_it))), ([[b'job:1'], [b'user:2']], [b'job:1', b'user:2', b'y']))
        error = c.call('CLIENT', 'TRACKING', 'ON', 'BCAST', 'PREFIX', 'user:1')
        tap.eq(error, resp.Error(b"ERR Prefix 'user:1' overlaps with an existing prefix 'user:'. Prefixes for a single client must "
                                 b'not overlap.'))
        tap.eq(c.call('CLIENT', 'TRACKINGINFO'),
               resp.Map([(b'flags', resp.Set([b'on', b'bcast'])), (b'redirect', 0), (b'prefixes', [b'user:', b'job:'])]))


@tap.test
def messages_go_elsewhere_when_told_to():
    with server.Varved('--io-threads', 2) as s, s.connect() as w, s.connect() as ear, s.connect() as c, s.connect() as ear3:
        there = ear.call('CLIENT', 'ID')
        tap.eq(ear.call('SUBSCRIBE', '__redis__:invalidate')[2], 1)
        tap.eq(c.call('CLIENT', 'TRACKING', 'ON', 'REDIRECT', '999999'),
               resp.Error(b'ERR The client ID you want redirect to does not exist'))
        tap.eq(c.call('CLIENT', 'TRACKING', 'ON', 'REDIRECT', str(there)), OK)
        tap.eq(c.call('CLIENT', 'GETREDIR'), there)
        c.call('GET', 'k')
        w.must('SET', 'k', '1')
        tap.eq(ear.read(), [b'message', b'__redis__:invalidate', [b'k']])
        ear3.call('HELLO', '3')
        tap.eq(c.call('CLIENT', 'TRACKING', 'ON', 'REDIRECT', str(ear3.call('CLIENT', 'ID'))), OK)
        c.call('GET', 'k')
        w.must('SET', 'k', '2')
        tap.eq(invalid(ear3), [b'k'])
        c.call('HELLO', '3')
        c.call('GET', 'k')
        ear3.close()
        time.sleep(0.2)
        w.must('SET', 'k', '3')
        tap.eq(list(c.read()), [b'tracking-redir-broken', c.call('CLIENT', 'GETREDIR')])
        tap.matches(c.call('CLIENT', 'INFO'), rb' flags=tR ')


@tap.test
def opting_in_and_out():
    with server.Varved() as s, s.connect() as w, tracker(s, 'OPTIN') as c, tracker(s, 'OPTOUT') as d:
        c.call('GET', 'a')
        tap.eq(c.call('CLIENT', 'CACHING', 'YES'), OK)
        c.call('GET', 'b')
        c.call('GET', 'c')
        tap.eq(c.call('CLIENT', 'CACHING', 'YES'), OK)
        for command in (('MULTI',), ('GET', 'd'), ('EXEC',), ('GET', 'e')):
            c.call(*command)
        tap.eq(d.call('CLIENT', 'CACHING', 'NO'), OK)
        d.call('GET', 'a')
        d.call('GET', 'b')
        for key in 'abcde':
            w.must('SET', key, 'v')
        tap.eq((invalid(c), invalid(c), invalid(d)), ([b'b'], [b'd'], [b'b']))
        tap.check(c.silent() and d.silent(), 'more is told')


@tap.test
def the_table_has_a_limit():
    with server.Varved('--tracking-table-max-keys', 100) as s, tracker(s) as c:
        for i in range(300):
            c.send('GET', f'k{i}')
        told = 0
        while told < 200:
            told += isinstance(c.read(), resp.Push)
        tap.eq((s.info()['tracking_total_keys'], s.info()['tracking_total_items']), ('100', '100'))
        c.call('RESET')
        tap.eq((s.info()['tracking_clients'], s.info()['tracking_total_keys']), ('0', '0'))


class Cache:
    """A client with a cache, as a library keeps it: a reply is kept unless an invalidation came behind it."""

    def __init__(self, s, options):
        self.c = s.connect()
        self.c.call('HELLO', '3')
        self.c.must('CLIENT', 'TRACKING', 'ON', *options)
        self.values, self.kept = {}, 0

    def take(self, reply, key=None):
        if isinstance(reply, resp.Push):
            for k in reply[1] if reply[1] is not None else list(self.values):
                self.values.pop(k, None)
            return False
        if key is not None:
            self.values[key] = reply
            self.kept += 1
        return True

    def read(self, wanted):
        for k in wanted:
            self.c.send('GET', k)
        for k in wanted:
            while not self.take(self.c.read(), k):
                pass

    def settle(self):
        """Everything that was on its way has come."""
        while not self.c.silent(0.3):
            self.take(self.c.read())


@tap.cases(('always', []), ('always', ['BCAST']), ('everysec', []), ('no', ['BCAST']))
def caches_equal_the_store_when_it_is_quiet(fsync, options):
    keys = [f'key:{i}'.encode() for i in range(40)]
    with server.Varved('--appendfsync', fsync, '--io-threads', 2, '--memtable-size', '1mb') as s:
        stop = threading.Event()

        def write(n):
            rng = random.Random(n)
            with s.connect() as c:
                while not stop.is_set():
                    some = rng.sample(keys, 3)
                    r = rng.random()
                    if r < 0.5:
                        c.pipeline([('INCR', k) for k in some])
                    elif r < 0.7:
                        c.pipeline([('MULTI',), *[('INCR', k) for k in some], ('EXEC',)])
                    elif r < 0.9:
                        c.pipeline([('SET', k, str(rng.randrange(1000)), 'PX', str(rng.randrange(1, 50))) for k in some])
                    elif r < 0.98:
                        c.call('DEL', *some)
                    else:
                        c.call('FLUSHDB')
        caches = [Cache(s, options) for _ in range(4)]

        def read(n):
            rng = random.Random(100 + n)
            while not stop.is_set():
                wanted = [k for k in rng.sample(keys, 5) if k not in caches[n].values]
                if wanted:
                    caches[n].read(wanted)
                elif not caches[n].c.silent(0):
                    caches[n].take(caches[n].c.read())
        threads = [threading.Thread(target=write, args=(n,)) for n in range(2)]
        threads += [threading.Thread(target=read, args=(n,)) for n in range(4)]
        for t in threads:
            t.start()
        time.sleep(tap.pick(2, 60))
        stop.set()
        for t in threads:
            t.join()
        time.sleep(0.5)  # what expires has expired
        for n, cache in enumerate(caches):
            cache.settle()
            stale = {k: (v, s.call('GET', k)) for k, v in cache.values.items() if v != s.call('GET', k)}
            tap.check(not stale, f'cache {n} keeps what is not so any more: {stale}')
            tap.check(cache.kept > 100, f'cache {n} was given {cache.kept} values only')
            cache.c.close()


@tap.test
def a_client_that_goes_leaves_nothing():
    with server.Varved() as s, s.connect() as w:
        for _ in range(50):
            with tracker(s) as c:
                c.call('GET', 'k')
            with tracker(s, 'BCAST') as c:
                c.sock.shutdown(socket.SHUT_RDWR)
        tap.until(lambda: s.info()['tracking_clients'] == '0', what='no clients')
        w.must('SET', 'k', 'v')
        tap.eq(s.info()['tracking_total_keys'], '0')


tap.main()
