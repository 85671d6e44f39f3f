#!/usr/bin/python3
"""The test library itself, tried against redis-server: what later tests take for granted."""
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import resp  # noqa: E402
import server  # noqa: E402
import tap  # noqa: E402


@tap.test
def replies_of_resp2_become_python_values():
    with server.Redis() as s, s.connect() as c:
        tap.eq(c.call('SET', 'k', 'v'), resp.Simple(b'OK'))
        tap.eq(c.call('GET', 'k'), b'v')
        tap.eq(c.call('GET', 'none'), None)
        tap.eq(c.call('INCRBY', 'n', 7), 7)
        tap.eq(c.call('MGET', 'k', 'none'), [b'v', None])
        tap.eq(c.call('INCR', 'k'), resp.Error(b'ERR value is not an integer or out of range'))
        tap.eq(c.raw(b'ECHO hello\r\n'), b'$5\r\nhello\r\n')


@tap.test
def replies_of_resp3_become_python_values():
    with server.Redis() as s, s.connect() as c:
        tap.eq(c.call('HELLO', 3).get(b'proto'), 3)
        for kind, want in (('null', None), ('double', 3.141), ('true', True), ('verbatim', resp.Verbatim(b'This is a verbatim\nstring')),
                           ('set', resp.Set([0, 1, 2])), ('bignum', resp.BigNumber('1234567999999999999999999999999999999'))):
            tap.eq(c.call('DEBUG', 'PROTOCOL', kind), want, kind)
        tap.eq(c.call('DEBUG', 'PROTOCOL', 'map'), resp.Map([(0, False), (1, True), (2, False)]))
        tap.eq(c.call('DEBUG', 'PROTOCOL', 'attrib'), b'Some real reply following the attribute')
        tap.check(c.attribute is not None, 'the attribute is kept')


@tap.test
def a_reply_is_parsed_at_every_split():
    text = b'*3\r\n$5\r\nhello\r\n%1\r\n+a\r\n:1\r\n-ERR x\r\n'
    for cut in range(len(text)):
        try:
            resp.parse(text[:cut])
            raise tap.Failed(f'parsed at {cut}')
        except resp.Incomplete:
            pass
    tap.eq(resp.parse(text)[1], len(text))


@tap.test
def a_deep_pipeline_of_large_replies_does_not_block():
    with server.Redis() as s, s.connect() as c:
        c.call('SET', 'big', b'x' * 100000)
        replies = c.pipeline([('GET', 'big')] * 500 + [('SET', 'k', b'y' * 1000)] * 5000)
        tap.eq(len(replies), 5500)
        tap.eq(len(replies[499]), 100000)
        tap.eq(c.call('GET', 'k'), b'y' * 1000)


@tap.test
def a_server_is_killed_started_again_and_stopped():
    with server.Redis('--appendonly', 'yes', '--appendfsync', 'always') as s:
        first = s.pid
        tap.eq(s.call('SET', 'k', 'v'), resp.Simple(b'OK'))
        tap.eq(s.kill(), -signal.SIGKILL)
        s.start()
        tap.check(s.pid != first)
        tap.eq(s.call('GET', 'k'), b'v')
        tap.eq(s.info('server')['tcp_port'], str(s.port))
        tap.check(s.status_field('VmRSS') > 0 and s.cpu_seconds() >= 0)
        tap.eq(s.stop(), 0)
    tap.check(not os.path.exists(s.dir), 'its directory is removed')


@tap.test
def a_server_that_does_not_start_says_why():
    try:
        server.Redis('--no-such-setting', 'x').close()
    except server.ServerError as error:
        tap.check('no-such-setting' in str(error), str(error))
    else:
        raise tap.Failed('it started')


tap.main()
