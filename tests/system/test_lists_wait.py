#!/usr/bin/python3
"""Commands that wait for elements of lists: who is served what, with which reply, and what ends the waiting with an error."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import resp  # noqa: E402
import server  # noqa: E402
import tap  # noqa: E402

WRONG_TYPE = b'-WRONGTYPE Operation against a key holding the wrong kind of value\r\n'


def blocked(s, n):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if b'blocked_clients:%d\r\n' % n in s.call('INFO', 'clients') + b'\r\n':
            return
        time.sleep(0.005)
    raise tap.Failed(f'never {n} blocked clients')


def waiting(s, *command):
    """A connection that waits."""
    c = s.connect()
    c.send_raw(resp.encode(*command))
    blocked(s, 1)
    return c


@tap.test
def whoever_waits_gets_what_is_pushed():
    with server.Varved() as s:
        for command, push, reply, rest in [
            (('BLPOP', 'no', 'l', '0'), ('RPUSH', 'l', 'a', 'b'), b'*2\r\n$1\r\nl\r\n$1\r\na\r\n', [b'b']),
            (('BRPOP', 'l', '0'), ('RPUSH', 'l', 'a', 'b'), b'*2\r\n$1\r\nl\r\n$1\r\nb\r\n', [b'a']),
            (('BLMPOP', '0', '2', 'no', 'l', 'RIGHT', 'COUNT', '2'), ('RPUSH', 'l', 'a', 'b', 'c'),
             b'*2\r\n$1\r\nl\r\n*2\r\n$1\r\nc\r\n$1\r\nb\r\n', [b'a']),
            (('BLMOVE', 'l', 'l', 'RIGHT', 'LEFT', '0'), ('RPUSH', 'l', 'a', 'b'), b'$1\r\nb\r\n', [b'b', b'a']),
            (('BRPOPLPUSH', 'l', 'other', '0'), ('LPUSH', 'l', 'a'), b'$1\r\na\r\n', []),
        ]:
            s.call('FLUSHALL')
            with waiting(s, *command) as c:
                s.call(*push)
                tap.eq(c.read_raw(), reply, command)
                tap.eq(s.call('LRANGE', 'l', 0, -1), rest, command)
        tap.eq(s.call('LRANGE', 'other', 0, -1), [b'a'])


@tap.test
def a_key_of_another_type_ends_no_waiting_but_is_an_error_before_one_with_elements():
    with server.Varved() as s:
        with waiting(s, 'BLPOP', 'a', 'b', '0') as c:
            s.call('SET', 'a', 'x')
            blocked(s, 1)
            s.call('DEL', 'a')
            s.call('RPUSH', 'a', '1')
            tap.eq(c.read_raw(), b'*2\r\n$1\r\na\r\n$1\r\n1\r\n')
        with waiting(s, 'BLPOP', 'a', 'b', '0') as c:
            s.call('SET', 'a', 'x')
            s.call('RPUSH', 'b', '1')
            tap.eq(c.read_raw(), WRONG_TYPE)
        with waiting(s, 'BLMOVE', 'from', 'to', 'LEFT', 'LEFT', '0') as c:
            s.call('SET', 'to', 'x')
            s.call('RPUSH', 'from', '1')
            tap.eq(c.read_raw(), WRONG_TYPE)
            tap.eq(s.call('LRANGE', 'from', 0, -1), [b'1'])


@tap.test
def a_timeout_answers_a_null_array_and_a_transaction_does_not_wait():
    with server.Varved() as s, s.connect() as c:
        for command in (('BLPOP', 'no', '0.01'), ('BLMOVE', 'no', 'b', 'LEFT', 'LEFT', '0.01'), ('BRPOPLPUSH', 'no', 'b', '0.01'),
                        ('BLMPOP', '0.01', '1', 'no', 'LEFT')):
            tap.eq(c.raw(resp.encode(*command)), b'*-1\r\n', command)
        got = c.pipeline([('MULTI',), ('BLPOP', 'no', '0'), ('BLMOVE', 'no', 'b', 'LEFT', 'LEFT', '0'), ('EXEC',)], raw=True)
        tap.eq(got[-1], b'*2\r\n*-1\r\n$-1\r\n')
        for timeout, error in (('x', b'-ERR timeout is not a float or out of range\r\n'), ('-1', b'-ERR timeout is negative\r\n'),
                               ('inf', b'-ERR timeout is out of range\r\n'), ('1e17', b'-ERR timeout is out of range\r\n')):
            tap.eq(c.raw(resp.encode('BLPOP', 'no', timeout)), error, timeout)


if __name__ == '__main__':
    tap.main()
