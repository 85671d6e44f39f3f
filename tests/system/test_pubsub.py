#!/usr/bin/python3
"""Channels and keyspace events from several connections on several reactors.

The order of messages, which is the same for all; a publisher's own messages behind its replies; what was published after a
write is not heard before the write is shown; events in Redis' order; RESP2's restrictions and RESP3's pushes; the limits of
a subscriber that does not read.
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


OPTIONS = ('--io-threads', '2', '--appendfsync', 'everysec')


def messages(c, count):
    return [c.read() for _ in range(count)]


@tap.test
def subscriptions_and_their_counts():
    with server.Varved(*OPTIONS) as s, s.connect() as c, s.connect() as p:
        c.send('SUBSCRIBE', 'a', 'b', 'a')
        eq(messages(c, 3), [[b'subscribe', b'a', 1], [b'subscribe', b'b', 2], [b'subscribe', b'a', 2]])
        eq(c.call('PSUBSCRIBE', 'a*'), [b'psubscribe', b'a*', 3])
        eq(c.call('SSUBSCRIBE', 'a'), [b'ssubscribe', b'a', 1])
        eq(p.call('PUBLISH', 'a', 'x'), 2)
        eq(messages(c, 2), [[b'message', b'a', b'x'], [b'pmessage', b'a*', b'a', b'x']])
        eq(p.call('SPUBLISH', 'a', 'y'), 1)
        eq(c.read(), [b'smessage', b'a', b'y'])
        eq(p.call('PUBLISH', 'zzz', 'x'), 0)
        eq(sorted(p.call('PUBSUB', 'CHANNELS')), [b'a', b'b'])
        eq(p.call('PUBSUB', 'CHANNELS', 'b*'), [b'b'])
        eq(p.call('PUBSUB', 'NUMSUB', 'a', 'nobody'), [b'a', 1, b'nobody', 0])
        eq(p.call('PUBSUB', 'NUMPAT'), 1)
        eq(p.call('PUBSUB', 'SHARDCHANNELS'), [b'a'])
        eq(p.call('PUBSUB', 'SHARDNUMSUB', 'a'), [b'a', 1])
        info = s.info()
        eq([int(info[k]) for k in ('pubsub_channels', 'pubsub_patterns', 'pubsubshard_channels', 'pubsub_clients')], [2, 1, 1, 1])
        line = next(x for x in p.call('CLIENT', 'LIST', 'TYPE', 'pubsub').split(b'\n') if x)
        tap.check(b'flags=P' in line and b'sub=2 psub=1 ssub=1' in line, line)
        c.send('UNSUBSCRIBE')
        eq(sorted(m[1:] for m in messages(c, 2)), sorted([[b'a', 2], [b'b', 1]]))
        eq(c.call('PUNSUBSCRIBE', 'a*', ), [b'punsubscribe', b'a*', 0])
        eq(c.call('SUNSUBSCRIBE'), [b'sunsubscribe', b'a', 0])
        eq(c.call('UNSUBSCRIBE'), [b'unsubscribe', None, 0])
        eq(c.call('PING'), b'PONG')
        eq(p.call('PUBSUB', 'CHANNELS'), [])


@tap.test
def a_subscriber_of_resp2_may_say_little():
    with server.Varved(*OPTIONS) as s, s.connect() as c:
        c.must('SUBSCRIBE', 'a')
        eq(c.call('GET', 'x'), b"ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are "
                                   b'allowed in this context')
        eq(c.call('PING'), [b'pong', b''])
        eq(c.call('PING', 'x'), [b'pong', b'x'])
        eq(c.call('RESET'), b'RESET')
        eq(c.call('PING'), b'PONG')
        eq(s.call('PUBSUB', 'CHANNELS'), [])


@tap.test
def own_messages_follow_the_reply():
    with server.Varved(*OPTIONS, '--notify-keyspace-events', 'KEA') as s, s.connect() as c:
        c.must('HELLO', '3')
        c.send('SUBSCRIBE', 'a')
        eq(c.read(), [b'subscribe', b'a', 1])
        c.send('PSUBSCRIBE', '__key*')
        c.read()
        c.send('PUBLISH', 'a', 'x')
        eq([c.read(), c.read()], [1, [b'message', b'a', b'x']])
        c.send('SET', 'k', 'v')
        eq(c.read(), b'OK')
        eq([m[2:] for m in messages(c, 2)], [[b'__keyspace@0__:k', b'set'], [b'__keyevent@0__:set', b'k']])
        big = b'x' * 400000  # goes to the pool
        c.send('SET', 'k', big)
        eq(c.read(), b'OK')
        messages(c, 2)
        transaction = [('MULTI',), ('PUBLISH', 'a', '1'), ('SET', 'k', 'v'), ('PUBLISH', 'a', '2'), ('EXEC',)]
        c.send_raw(b''.join(resp.encode(*words) for words in transaction))
        eq(messages(c, 5)[4], [1, b'OK', 1])
        eq([m[-1] for m in messages(c, 4)], [b'1', b'set', b'k', b'2'])


@tap.test
def everybody_hears_one_order():
    with server.Varved(*OPTIONS) as s:
        listeners = [s.connect() for _ in range(6)]
        for c in listeners:
            c.must('SUBSCRIBE', 'a')
        count = tap.pick(300, 3000)

        def publish(name):
            with s.connect() as p:
                p.pipeline([('PUBLISH', 'a', f'{name}:{i}') for i in range(count)])
        threads = [threading.Thread(target=publish, args=(n,)) for n in 'xyz']
        for t in threads:
            t.start()
        heard = [[m[2] for m in messages(c, 3 * count)] for c in listeners]
        for t in threads:
            t.join()
        for h in heard[1:]:
            tap.check(h == heard[0], 'two subscribers heard different orders')
        for name in b'xyz':
            own = [m for m in heard[0] if m[0] == name]
            eq(own, [b'%c:%d' % (name, i) for i in range(count)], 'the order of one publisher')
        for c in listeners:
            c.close()


@tap.test
def what_is_published_after_a_write_is_heard_after_it():
    with server.Varved('--io-threads', '2', '--appendfsync', 'always') as s, s.connect() as p, s.connect() as c, s.connect() as r:
        c.must('SUBSCRIBE', 'a')
        for i in range(tap.pick(200, 2000)):
            p.send_raw(resp.encode('SET', 'k', i) + resp.encode('PUBLISH', 'a', i))
            eq(c.read()[2], b'%d' % i)
            tap.check(int(r.must('GET', 'k')) >= i, 'the message was there before the write')
            p.read(), p.read()


EVENTS = [
    (('SET', 'k', '1'), ['new:k', 'set:k']),
    (('SET', 'k', '1', 'EX', '100'), ['set:k', 'expire:k']),
    (('INCR', 'k'), ['incrby:k']),
    (('INCRBYFLOAT', 'k', '1.5'), ['incrbyfloat:k']),
    (('APPEND', 'k', 'x'), ['append:k']),
    (('SETRANGE', 'k', '1', 'y'), ['setrange:k']),
    (('SETBIT', 'k', '7', '0'), ['setbit:k']),
    (('GETSET', 'k', 'v'), ['set:k']),
    (('GETEX', 'k', 'EX', '100'), ['expire:k']),
    (('GETEX', 'k', 'PERSIST'), ['persist:k']),
    (('EXPIRE', 'k', '100'), ['expire:k']),
    (('PERSIST', 'k'), ['persist:k']),
    (('RENAME', 'k', 'l'), ['new:l', 'rename_from:k', 'rename_to:l']),
    (('COPY', 'l', 'k'), ['new:k', 'copy_to:k']),
    (('RENAME', 'k', 'l'), ['new:l', 'rename_from:k', 'rename_to:l']),
    (('MSET', 'a', '1', 'b', '2'), ['new:a', 'set:a', 'new:b', 'set:b']),
    (('DEL', 'a', 'b', 'c'), ['del:a', 'del:b']),
    (('GETDEL', 'l'), ['del:l']),
    (('GET', 'l'), ['keymiss:l']),
    (('GETDEL', 'l'), ['keymiss:l']),
    (('SETNX', 'n', '1'), ['new:n', 'set:n']),
    (('EXPIRE', 'n', '-1'), ['del:n']),
    (('BITOP', 'NOT', 'd', 'none'), ['keymiss:none']),
    (('BITFIELD', 'f', 'SET', 'u8', '0', '1'), ['new:f', 'setbit:f']),
    (('MOVE', 'f', '1'), ['new:f', 'move_from:f', 'move_to:f']),
]


def told(c):
    """Key events until now: a message of our own ends them."""
    out = []
    while True:
        m = c.read()
        if m[2] == b'end':
            return out
        out.append((m[2].split(b':', 1)[1] + b':' + m[3]).decode())


@tap.test
def events_are_those_of_redis():
    servers = [server.Varved(*OPTIONS), server.Redis()]
    for s in servers:
        with s, s.connect() as c, s.connect() as w:
            w.must('CONFIG', 'SET', 'notify-keyspace-events', 'EAmn')
            c.send('PSUBSCRIBE', '__keyevent*', 'end')
            messages(c, 2)
            for words, want in EVENTS:
                w.must(*words)
                w.must('PUBLISH', 'end', 'x')
                eq(told(c), want, f'{s.name}: {words}')


@tap.test
def expired_keys_are_told_soon():
    with server.Varved(*OPTIONS, '--notify-keyspace-events', 'Ex') as s, s.connect() as c, s.connect() as w:
        c.must('SUBSCRIBE', '__keyevent@0__:expired')
        w.must('SET', 'k', 'v', 'PX', '50')
        start = time.monotonic()
        eq(c.read(), [b'message', b'__keyevent@0__:expired', b'k'])
        tap.check(time.monotonic() - start < 10)
        eq(w.call('CONFIG', 'SET', 'notify-keyspace-events', 'KQ').code, b'ERR')
        for given, shown in (('KEA', b'AKE'), ('Elg', b'glE'), ('', b''), ('g$lshzxetdKE', b'AKE'), ('Km', b'Km')):
            w.must('CONFIG', 'SET', 'notify-keyspace-events', given)
            eq(w.must('CONFIG', 'GET', 'notify-keyspace-events')[1], shown)


@tap.test
def who_does_not_read_is_closed():
    with server.Varved(*OPTIONS, '--client-output-buffer-limit', 'pubsub', '1mb', '0', '0') as s, s.connect() as c, s.connect() as p:
        c.must('SUBSCRIBE', 'a')
        text = b'x' * 100000
        for _ in range(300):
            if p.must('PUBLISH', 'a', text) == 0:
                break
        else:
            raise tap.Failed('it is still there')
        eq(p.call('PUBSUB', 'NUMSUB', 'a'), [b'a', 0])


if __name__ == '__main__':
    tap.main()
