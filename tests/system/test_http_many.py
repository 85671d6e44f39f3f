#!/usr/bin/python3
"""Many HTTP connections at once: each sends one PUT at the same moment, every one is answered with 200, and after a kill -9 every
one of them is there. Then the limits: clients above maxclients, storms of connecting and leaving, clients that take nothing."""
import os
import resource
import select
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import server  # noqa: E402
import tap  # noqa: E402
import web  # noqa: E402


def connect_all(port, count):
    out = []
    for _ in range(count):
        s = socket.create_connection(('127.0.0.1', port), timeout=120)
        s.setblocking(False)
        out.append(s)
    return out


def exchange(sockets, requests, answered, seconds):
    """Sends requests[i] on sockets[i], all at once; answered(i, bytes) says whether that is all of an answer."""
    poll, index, got = select.epoll(), {}, [b''] * len(sockets)
    for i, s in enumerate(sockets):
        index[s.fileno()] = i
        poll.register(s.fileno(), select.EPOLLIN)
    start = time.monotonic()
    for s, r in zip(sockets, requests):
        tap.eq(s.send(r), len(r))
    left = len(sockets)
    while left and time.monotonic() < start + seconds:
        for fd, _ in poll.poll(1):
            i = index[fd]
            data = sockets[i].recv(65536)
            tap.check(data, f'connection {i} was closed after {got[i]!r}')
            got[i] += data
            if answered(i, got[i]):
                poll.unregister(fd)
                left -= 1
    tap.eq(left, 0, 'connections without an answer')
    return got, time.monotonic() - start


def files_allowed(count):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    want = count + 200
    if hard != resource.RLIM_INFINITY and hard < want:
        raise tap.Skip(f'the limit of open files is {hard}')
    if soft < want:
        resource.setrlimit(resource.RLIMIT_NOFILE, (want, hard))


@tap.test
def a_put_on_each_of_thousands_of_connections_survives_kill_9():
    count = tap.pick(1000, 10000)
    files_allowed(count)
    with server.Varved('--appendfsync', 'always', http=True) as s:
        sockets = connect_all(s.http_port, count)
        puts = [b'PUT /kv/key:%d HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\nvalue-%d' %
                (i, len(b'value-%d' % i), i) for i in range(count)]
        got, seconds = exchange(sockets, puts, lambda _, b: b.endswith(b'\r\n\r\n'), 60)
        s.kill()
        for answer in got:
            tap.check(answer.startswith(b'HTTP/1.1 200 OK\r\n'), repr(answer[:200]))
        tap.diag(f'{count} answers in {seconds:.2f} s')
        tap.check(seconds < (60 if tap.SANITIZER else 5), f'{count} answers took {seconds:.1f} s')
        for c in sockets:
            c.close()
        s.start()
        with s.connect() as c:
            tap.eq(c.call('DBSIZE'), count)
            tap.eq(c.call('MGET', *[f'key:{i}' for i in range(count)]), [b'value-%d' % i for i in range(count)])


@tap.test
def who_comes_above_the_limit_is_told():
    with server.Varved('--appendfsync', 'no', '--maxclients', '50', http=True) as s:
        sockets = connect_all(s.http_port, 50)
        healthz = b'GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n'
        exchange(sockets, [healthz] * 50, lambda _, b: b.endswith(b'ok\n'), 60)
        with web.Connection(s.http_port) as c:
            a = c.answer()
            tap.eq((a.status, a.body), (503, b'too many clients\n'))
            tap.check(c.ends(), 'open')
        tap.eq(s.call('PING') == b'PONG', True)  # the limit is one for each protocol
        for c in sockets:
            c.close()
        tap.until(lambda: s.call('INFO', 'clients').find(b'connected_clients:1\r') > 0, what='connections are given up')
        tap.eq(web.ask(s.http_port, 'GET', '/healthz').status, 200)


@tap.test
def storms_of_connecting_and_leaving():
    with server.Varved('--appendfsync', 'no', http=True) as s:
        def held():
            return s.status_field('Threads') + len(os.listdir(f'/proc/{s.pid}/fd'))
        few = held() + 20  # the server opens some files of its own now and then
        for i in range(tap.pick(300, 5000)):
            with socket.create_connection(('127.0.0.1', s.http_port), timeout=60) as c:
                if i % 3 == 0:
                    c.sendall(b'PUT /kv/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nab'[:20 + i % 60])
                elif i % 3 == 1:
                    c.sendall(b'GET /kv/a HTTP/1.1\r\nHost: localhost\r\n\r\n' * 10)
                    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
        tap.until(lambda: held() < few, 30, what='all is given back')
        tap.eq(web.ask(s.http_port, 'GET', '/healthz').status, 200)


@tap.test
def a_client_that_takes_nothing_costs_little():
    with server.Varved('--appendfsync', 'no', http=True) as s:
        s.call('SET', 'k', 'x' * 1_000_000)
        with web.Connection(s.http_port) as c:
            c.socket.setblocking(False)
            request = b'GET /kv/k HTTP/1.1\r\nHost: localhost\r\n\r\n' * 100
            sent, end = 0, time.monotonic() + tap.pick(2, 10)
            while time.monotonic() < end:
                try:
                    sent += c.socket.send(request)
                except BlockingIOError:
                    time.sleep(0.05)
            tap.check(int(s.info('memory')['used_memory']) < 100_000_000, 'its answers pile up')
        tap.eq(web.ask(s.http_port, 'GET', '/healthz').status, 200)


tap.main()
