#!/usr/bin/python3
"""MULTI, EXEC, WATCH from several connections on several reactors: what a single client of Redis' own tests cannot show.

Commands about connections and the server inside of a transaction, in their places among the others; watched keys changed by
others, by their expiry, by FLUSHDB and SWAPDB; a counter that many clients change by WATCH; transactions that are long,
cold, large; what a client leaves behind when it goes.
"""
import threading
import time

import resp
import server
import tap

def plain(value):
    """Replies without their kinds: a status line, an error and a bulk string are bytes, a push is a list."""
    if isinstance(value, bytes):
        return bytes(value)
    if isinstance(value, list) and not isinstance(value, resp.Map):
        return [plain(v) for v in value]
    return value


def eq(got, want, what=''):
    tap.eq(plain(got), want, what)


OPTIONS = ('--io-threads', '2', '--enable-debug-command', 'yes', '--appendfsync', 'everysec')


def queued(c, *commands):
    """MULTI, these, EXEC; returns EXEC's reply."""
    replies = c.pipeline([('MULTI',), *commands, ('EXEC',)])
    eq(replies[0], b'OK')
    eq(replies[1:-1], [b'QUEUED'] * len(commands))
    return replies[-1]


@tap.test
def commands_about_the_server_keep_their_places():
    with server.Varved(*OPTIONS) as s, s.connect() as c, s.connect() as other:
        me = c.call('CLIENT', 'ID')
        him = other.call('CLIENT', 'ID')
        reply = queued(c, ('SET', 'a', '1'), ('CLIENT', 'ID'), ('INCR', 'a'), ('CLIENT', 'LIST'), ('CONFIG', 'SET', 'maxclients', '5000'),
                       ('GET', 'a'), ('CLIENT', 'KILL', 'ID', him), ('INFO', 'clients'), ('CONFIG', 'GET', 'maxclients'),
                       ('SELECT', '3'), ('SET', 'b', '1'), ('CLIENT', 'KILL', 'ID', '99999'), ('PING',))
        eq(len(reply), 13)
        eq(reply[:3], [b'OK', me, 2])
        tap.check(b'id=%d' % me in reply[3] and b'id=%d' % him in reply[3], reply[3])
        eq(reply[4:7], [b'OK', b'2', 1])
        tap.check(b'connected_clients' in reply[7], reply[7])
        eq(reply[8], [b'maxclients', b'5000'])
        eq(reply[9:], [b'OK', b'OK', 0, b'PONG'])
        tap.check(other.closed_by_server())
        eq(c.call('GET', 'b'), b'1')
        eq(c.call('SELECT', '0'), b'OK')
        eq(c.call('EXISTS', 'b'), 0)
        # pipelined, and what follows is not out of step
        replies = c.pipeline([('MULTI',), ('CLIENT', 'GETNAME'), ('CLIENT', 'LIST'), ('EXEC',), ('PING',)])
        eq(replies[3][0], None)
        eq(replies[4], b'PONG')


@tap.test
def only_commands_about_the_server():
    with server.Varved(*OPTIONS) as s, s.connect() as c:
        eq(queued(c), [])
        eq(queued(c, ('PING',), ('CLIENT', 'SETNAME', 'x'), ('CLIENT', 'GETNAME')), [b'PONG', b'OK', b'x'])
        reply = queued(c, ('HELLO', '3'), ('CONFIG', 'GET', 'port'), ('GET', 'nothing'))
        tap.check(isinstance(reply[0], resp.Map) and isinstance(reply[1], resp.Map), reply)
        eq(reply[2], None)


@tap.test
def refused_commands_abort():
    with server.Varved(*OPTIONS) as s, s.connect() as c:
        for wrong in (('NOSUCH',), ('GET',), ('CONFIG', 'NOSUCH'), ('SET', 'a')):
            eq(c.call('MULTI'), b'OK')
            tap.check(isinstance(c.call(*wrong), resp.Error))
            eq(c.call('SET', 'a', '1'), b'QUEUED')
            eq(c.call('EXEC'), b'EXECABORT Transaction discarded because of previous errors.')
        eq(c.call('EXISTS', 'a'), 0)
        eq(c.call('EXEC'), b'ERR EXEC without MULTI')
        eq(c.call('DISCARD'), b'ERR DISCARD without MULTI')
        # an error while it runs does not undo the others
        eq(queued(c, ('SET', 'a', 'x'), ('INCR', 'a'), ('SET', 'b', '1')),
               [b'OK', b'ERR value is not an integer or out of range', b'OK'])


@tap.test
def watched_keys_and_what_changes_them():
    with server.Varved(*OPTIONS) as s, s.connect() as c, s.connect() as other:
        def broken_by(*commands, watch=('k',)):
            eq(c.call('WATCH', *watch), b'OK')
            for words in commands:
                other.must(*words)
            return queued(c, ('PING',)) is None
        c.must('SET', 'k', '1')
        tap.check(broken_by(('SET', 'k', '1')))
        tap.check(broken_by(('EXPIRE', 'k', '100')))
        tap.check(not broken_by(('GET', 'k')))
        tap.check(not broken_by(('SET', 'other', '1')))
        tap.check(not broken_by(('SELECT', '1'), ('SET', 'k', '1'), ('SELECT', '0')))
        tap.check(broken_by(('FLUSHDB',)))
        tap.check(not broken_by(('SET', 'x', '1'), ('FLUSHALL',)), 'a key that did not exist')
        c.must('SET', 'k', '1')
        tap.check(broken_by(('SWAPDB', '0', '1')))  # k existed here
        tap.check(broken_by(('SWAPDB', '0', '1')))  # it exists there
        c.must('DEL', 'k')
        tap.check(not broken_by(('SWAPDB', '0', '5')), 'nowhere')
        c.must('SET', 'k', '1', 'PX', '30')
        eq(c.call('WATCH', 'k'), b'OK')
        time.sleep(0.3)
        eq(queued(c, ('PING',)), None, 'the key has expired')
        c.must('DEBUG', 'SET-ACTIVE-EXPIRE', '0')
        c.must('SET', 'k', '1', 'PX', '1')
        time.sleep(0.02)
        tap.check(not broken_by(('DEL', 'k')), 'it had expired before')
        c.must('DEBUG', 'SET-ACTIVE-EXPIRE', '1')
        # UNWATCH, DISCARD and an EXEC that was aborted all forget
        for forget in (['UNWATCH'], ['MULTI', 'DISCARD'], ['MULTI', 'NOSUCH', 'EXEC']):
            c.must('WATCH', 'k')
            other.must('SET', 'k', '2')
            for word in forget:
                c.call(word)
            eq(queued(c, ('PING',)), [b'PONG'], str(forget))
        c.must('WATCH', 'k')
        c.must('SET', 'k', '3')
        eq(queued(c, ('PING',)), None, 'its own change counts')


@tap.test
def a_counter_that_many_change_by_watch():
    with server.Varved('--io-threads', '2', '--appendfsync', 'always') as s:
        done = []

        def work():
            count = 0
            with s.connect() as c:
                while count < tap.pick(20, 200):
                    c.must('WATCH', 'n')
                    value = int(c.must('GET', 'n') or 0)
                    c.must('MULTI')
                    c.must('SET', 'n', value + 1)
                    c.must('INCR', 'm')
                    count += c.must('EXEC') is not None
            done.append(count)
        threads = [threading.Thread(target=work) for _ in range(6)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        eq(len(done), 6)
        eq(s.call('GET', 'n'), b'%d' % sum(done))
        eq(s.call('GET', 'm'), b'%d' % sum(done))


@tap.test
def long_and_large_transactions():
    with server.Varved(*OPTIONS) as s, s.connect() as c:
        many = queued(c, *[('SET', f'key:{i}', f'{i}') for i in range(5000)])
        eq(len(many), 5000)
        eq(c.call('DBSIZE'), 5000)
        big = b'x' * 700000
        eq(queued(c, ('SET', 'big1', big), ('SET', 'big2', big), ('STRLEN', 'big1'), ('SET', 'big3', big)),
               [b'OK', b'OK', 700000, b'OK'])
        eq(queued(c, ('GET', 'big1'), ('GET', 'big3'), ('KEYS', 'big*'))[:2], [big, big])
        eq(queued(c, ('FLUSHALL',), ('DBSIZE',), ('SET', 'a', '1'), ('DBSIZE',)), [b'OK', 0, b'OK', 1])
        eq(int(s.info()['exec_slow_mode'] if 'exec_slow_mode' in s.info() else 0), 0)


@tap.cases(('log files', '--log-segment-size'), ('log buffer', '--log-buffer-size'))
def transactions_larger_than_a_small(_, setting):
    with server.Varved(*OPTIONS, setting, '64kb') as s, s.connect() as c:
        for turn, size in enumerate((30000, 60000, 65536, 100000, 300000, 900000, 2000000), 1):
            value = b'v' * (size // 2)
            eq(queued(c, ('SET', 'a', value), ('SET', 'b', value), ('INCR', 'n')), [b'OK', b'OK', turn])
            eq(c.must('MSET', 'c', value, 'd', value, 'e', 'small'), b'OK')
            eq(c.must('MGET', 'a', 'b', 'c', 'd'), [value] * 4)
            members = [b'%d' % i for i in range(size // 20)]
            eq(queued(c, ('DEL', 's'), ('SADD', 's', *members), ('HSET', 'h', *[x for m in members for x in (m, m)]))[1], len(members))
            eq((c.must('SCARD', 's'), c.must('HGET', 'h', members[-1])), (len(members), members[-1]))
        s.crash()
        eq(s.call('STRLEN', 'a'), 1000000)


@tap.test
def what_client_list_tells_and_what_goes_with_the_client():
    with server.Varved(*OPTIONS) as s, s.connect() as c, s.connect() as other:
        c.must('WATCH', 'a', 'b')
        c.must('MULTI')
        c.must('SET', 'a', '1')
        line = next(x for x in other.must('CLIENT', 'LIST').split(b'\n') if b'multi=1 ' in x)
        tap.check(b'flags=x' in line, line)
        eq(c.call('RESET'), b'RESET')
        tap.check(b'multi=1 ' not in other.must('CLIENT', 'LIST'))
        for _ in range(50):
            with s.connect() as gone:
                gone.must('WATCH', 'a', 'b', 'c')
                gone.must('MULTI')
                gone.must('SET', 'a', 'x' * 1000)
        eq(other.must('SET', 'a', '2'), b'OK')
        eq(queued(other, ('GET', 'a')), [b'2'])


if __name__ == '__main__':
    tap.main()
