#!/usr/bin/python3
"""MIGRATE to redis-server, from it, and between two of ours: values, errors, what happens to keys meanwhile; WAIT and WAITAOF.
"""
import os
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import resp  # noqa: E402
import server  # noqa: E402
import tap  # noqa: E402

OK = resp.Simple(b'OK')
HOST = '127.0.0.1'


def fill(c):
    c.must('SET', 's', 'text')
    c.must('SET', 'n', 12345)
    c.must('SET', 'big', b'x' * 3000000)
    c.must('RPUSH', 'l', *range(300))
    c.must('SADD', 'set', *range(300), 'word')
    c.must('HSET', 'h', *[x for i in range(300) for x in (f'f{i}', i)])
    c.must('ZADD', 'z', *[x for i in range(300) for x in (i / 4, f'm{i}')])
    return ['s', 'n', 'big', 'l', 'set', 'h', 'z']


def values(c):
    pairs = lambda flat: sorted(zip(flat[::2], flat[1::2]))
    return [c.must('GET', 's'), c.must('GET', 'n'), c.must('GET', 'big'), c.must('LRANGE', 'l', 0, -1), sorted(c.must('SMEMBERS', 'set')),
            pairs(c.must('HGETALL', 'h')), [float(x) for x in c.must('ZRANGE', 'z', 0, -1, 'WITHSCORES')[1::2]]]


@tap.cases(('here to redis', server.Varved, server.Redis), ('redis to here', server.Redis, server.Varved),
           ('here to here', server.Varved, server.Varved))
def keys_move(_, source, target):
    with source() as a, target() as b, a.connect() as from_, b.connect() as to:
        keys = fill(from_)
        want = values(from_)
        for key in keys[:3]:  # one by one
            tap.eq(from_.call('MIGRATE', HOST, b.port, key, 0, 5000), OK, key)
        tap.eq(from_.call('MIGRATE', HOST, b.port, '', 0, 5000, 'REPLACE', 'KEYS', 'missing', *keys[3:], 'l'), OK)
        tap.eq(values(to), want)
        tap.eq([from_.must('DBSIZE'), to.must('DBSIZE')], [0, 7])
        # and back, as copies, to another database, with a time to live
        to.must('PEXPIRE', 's', 100000)
        tap.eq(to.call('MIGRATE', HOST, a.port, '', 3, 5000, 'COPY', 'KEYS', *keys), OK)
        tap.eq([from_.must('DBSIZE'), to.must('DBSIZE')], [0, 7])
        from_.must('SELECT', 3)
        tap.eq(values(from_), want)
        tap.check(90000 < from_.must('PTTL', 's') <= 100000)
        tap.eq(from_.must('PTTL', 'n'), -1)


def error(c, *command):
    return c.raw(resp.encode('MIGRATE', *command))


@tap.test
def errors_are_those_of_redis():
    with server.Redis('--requirepass', 'secret') as target, server.Redis() as reference, server.Varved() as ours:
        closed = server.free_port()
        with socket.create_server((HOST, 0)) as mute, target.connect() as t:
            silent = mute.getsockname()[1]
            t.must('AUTH', 'secret')
            t.must('SET', 'taken', 1)
            rows = [
                (HOST, target.port, 'missing', 0, 1000), (HOST, target.port, '', 0, 1000, 'KEYS'), (HOST, target.port, '', 0, 1000, 'KEYS', 'm1', 'm2'),
                (HOST, target.port, 'k', 0, 1000, 'KEYS', 'k'), (HOST, target.port, 'k', 0, 1000, 'NO'), (HOST, target.port, 'k', 0, 1000, 'AUTH'),
                (HOST, target.port, 'k', 0, 1000, 'AUTH2', 'u'), (HOST, target.port, 'k', 'x', 1000), (HOST, target.port, 'k', 0, 'x'),
                (HOST, target.port, 'k', 0, 1000), (HOST, target.port, 'k', 0, 1000, 'AUTH', 'wrong'),
                (HOST, target.port, 'k', 99, 1000, 'AUTH', 'secret'),
                (HOST, target.port, 'k', 0, 1000, 'AUTH2', 'nobody', 'secret'), (HOST, closed, 'k', 0, 300), ('no.such.host.invalid', 1, 'k', 0, 300),
                (HOST, silent, 'k', 0, 200), (HOST, silent, 'k', 0, 200, 'COPY'), (HOST, target.port), (HOST, target.port, 'k', 0),
                (HOST, target.port, 'taken', 0, 1000, 'AUTH', 'secret'), (HOST, target.port, '', 0, 1000, 'AUTH', 'secret', 'KEYS', 'taken', 'other'),
            ]
            with reference.connect() as a, ours.connect() as b:
                for c in (a, b):
                    for key in ('k', 'taken', 'other'):
                        c.must('SET', key, 'mine')
                for row in rows:
                    t.must('DEL', 'other')
                    want = error(a, *row)
                    t.must('DEL', 'other')
                    tap.eq(error(b, *row), want, str(row))
                    tap.eq(sorted(b.must('KEYS', '*')), sorted(a.must('KEYS', '*')), str(row))
                tap.eq(t.must('GET', 'taken'), b'1')
                tap.eq(b.call('MIGRATE', HOST, target.port, 'taken', 0, 1000, 'REPLACE', 'AUTH2', 'default', 'secret'), OK)
                tap.eq([t.must('GET', 'taken'), b.must('EXISTS', 'taken')], [b'mine', 0])
                tap.eq(b.must('MULTI'), OK)
                tap.check(b.call('MIGRATE', HOST, target.port, 'k', 0, 1000).startswith(b'ERR '))
                tap.check(b.call('EXEC').startswith(b'EXECABORT'))
        secret = b'wrong'
        tap.check(not any(secret in word for entry in ours.call('SLOWLOG', 'GET', -1) for word in entry[3]), 'the slow log has the password')


class Slow(threading.Thread):
    """A target that takes what comes and answers +OK to everything when it is told to."""

    def __init__(self, requests):
        super().__init__(daemon=True)
        self.listener = socket.create_server((HOST, 0))
        self.port = self.listener.getsockname()[1]
        self.requests, self.arrived, self.answer = requests, threading.Event(), threading.Event()
        self.start()

    def run(self):
        s, _ = self.listener.accept()
        data = b''
        while data.count(b'RESTORE') < self.requests or not data.endswith(b'\r\n'):
            data += s.recv(65536)
        self.arrived.set()
        self.answer.wait()
        s.sendall(b'+OK\r\n' * (self.requests + 1))
        s.recv(1)
        s.close()


@tap.test
def nobody_writes_a_key_that_is_on_its_way_and_nobody_else_waits():
    with server.Varved() as s, s.connect() as c, s.connect() as writer, s.connect() as other:
        c.must('SET', 'k', 'before')
        target = Slow(1)
        c.send('MIGRATE', HOST, target.port, 'k', 0, 60000)
        tap.check(target.arrived.wait(30), 'nothing was sent')
        writer.send('APPEND', 'k', '+after')
        start = time.monotonic()
        tap.eq(other.must('GET', 'k'), b'before')
        for i in range(100):
            other.must('SET', f'o{i}', i)
        tap.check(time.monotonic() - start < 5 * tap.PATIENCE, 'others waited')
        tap.check(writer.silent(0.2), 'it was written meanwhile')
        target.answer.set()
        tap.eq(c.read(), OK)
        tap.eq(writer.read(), 6)  # a new key
        tap.eq(other.must('GET', 'k'), b'+after')
        # a database that is emptied or exchanged meanwhile: the key that is there now was not sent
        for command, left in ((('FLUSHDB',), None), (('SWAPDB', 0, 1), b'another')):
            other.must('FLUSHALL')
            other.must('SET', 'k', 'before')
            other.must('SELECT', 1)
            other.must('SET', 'k', 'another')
            other.must('SELECT', 0)
            target = Slow(1)
            c.send('MIGRATE', HOST, target.port, 'k', 0, 60000)
            tap.check(target.arrived.wait(30), 'nothing was sent')
            other.must(*command)
            target.answer.set()
            tap.eq(c.read(), OK)
            tap.eq(other.must('GET', 'k'), left)
        tap.eq(s.info()['slow_mode'], '0')


@tap.test
def a_server_that_is_told_to_end_does_not_wait_for_a_target():
    with server.Varved() as s, s.connect() as c:
        c.must('SET', 'k', 'v')
        target = Slow(1)
        c.send('MIGRATE', HOST, target.port, 'k', 0, 600000)
        tap.check(target.arrived.wait(30), 'nothing was sent')
        start = time.monotonic()
        s.stop()
        tap.check(time.monotonic() - start < 20 * tap.PATIENCE, 'it waited')
        target.answer.set()
        s.start()
        tap.eq(s.call('GET', 'k'), b'v')


# ---- WAIT and WAITAOF

@tap.test
def wait_and_waitaof_answer_as_a_server_without_replicas():
    with server.Redis() as reference, server.Varved('--appendfsync', 'everysec') as ours, \
            reference.connect() as a, ours.connect() as b:
        for command in [('WAIT', 0, 0), ('WAIT', -1, 0), ('WAIT', 'x', 0), ('WAIT', 0, 'x'), ('WAIT', 0, -1), ('WAIT', 0),
                        ('WAIT', 1, 50), ('WAIT', 2**40, 50)]:
            want = a.raw(resp.encode(*command))
            start = time.monotonic()
            tap.eq(b.raw(resp.encode(*command)), want, str(command))
            tap.check(command[2:] != (50,) or time.monotonic() - start >= 0.049, 'it did not wait')
        for c in (a, b):
            tap.eq([c.must('MULTI'), c.must('WAIT', 5, 0), c.must('EXEC')], [OK, b'QUEUED', [0]])
        tap.eq([b.must('MULTI'), b.must('SET', 'q', 1), b.must('WAITAOF', 1, 5, 0)], [OK, b'QUEUED', b'QUEUED'])
        reply = b.must('EXEC')
        tap.check(reply[1] in ([0, 0], [1, 0]), str(reply))
        for command, want in [(('WAITAOF', 0, 0, 0), None), (('WAITAOF', 2, 0, 0), b'ERR value is out of range, value must between 0 and 1'),
                              (('WAITAOF', -1, 0, 0), b'ERR value is out of range, value must between 0 and 1'),
                              (('WAITAOF', 1, -1, 0), b'ERR value is out of range, must be positive'),
                              (('WAITAOF', 1, 0, -1), b'ERR timeout is negative'), (('WAITAOF', 1, 0, 'x'), b'ERR timeout is not an integer or out of range')]:
            reply = b.call(*command)
            tap.check(reply == want if want else reply[1] == 0, f'{command}: {reply}')
        start = time.monotonic()
        b.must('SET', 'k', 1)
        tap.eq(b.must('WAITAOF', 1, 1, 150), [1, 0])
        tap.check(time.monotonic() - start >= 0.149, 'it did not wait')


@tap.test
def who_waits_can_be_unblocked_and_is_counted():
    with server.Varved() as s, s.connect() as c, s.connect() as other:
        identity = c.must('CLIENT', 'ID')
        for reason, want in (('TIMEOUT', 0), ('ERROR', resp.Error(b'UNBLOCKED client unblocked via CLIENT UNBLOCK'))):
            c.send('WAIT', 1, 0)
            end = time.monotonic() + 30
            while s.info('clients')['blocked_clients'] != '1':
                tap.check(time.monotonic() < end, 'it is not blocked')
                time.sleep(0.01)
            tap.eq(other.must('CLIENT', 'UNBLOCK', identity, reason), 1)
            tap.eq(c.read(), want)
        c.send('WAIT', 1, 0)


@tap.cases(('everysec',), ('no',), ('always',))
def waitaof_means_that_it_is_on_disk(mode):
    with server.Varved('--appendfsync', mode) as s, s.connect() as c:
        for i in range(20):
            c.must('SET', f'k{i}', i)
            tap.eq(c.must('WAITAOF', 1, 0, 0), [1, 0])
            tap.check(int(s.info()['sequence_durable']) > i, 'it is not')


if __name__ == '__main__':
    tap.main()
