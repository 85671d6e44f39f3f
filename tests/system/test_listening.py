#!/usr/bin/python3
"""CONFIG SET bind and port: other sockets while the server runs, as redis-server does it, and none lost when it cannot be."""
import socket
import threading

import resp
import server
import tap


def open_at(port, host='127.0.0.1'):
    """'PONG', or why not."""
    try:
        with resp.Connection(port=port, host=host) as c:
            return bytes(c.must('PING'))
    except OSError as why:
        return type(why).__name__


def steps(s, p, taken):
    """Commands, and who answers where afterwards: what is told."""
    with s.connect() as c:
        def change(*pairs):
            reply = c.call('CONFIG', 'SET', *pairs)
            port = int(c.must('CONFIG', 'GET', 'port')[1])
            at = {'first': s.port, 'second': p, 'taken': taken}
            return (type(reply), bytes(reply), c.must('CONFIG', 'GET', 'bind')[1], [name for name, n in at.items() if n == port],
                    [(name, host, open_at(n, host)) for name, n in at.items() if name != 'taken'
                     for host in ('127.0.0.1', '127.0.0.2')], bytes(c.call('PING')))
        return [change('port', p),
                change('bind', '127.0.0.1 127.0.0.2'),
                change('bind', '127.0.0.2'),
                change('port', taken),
                change('bind', '10.250.1.1'),
                change('bind', '127.0.0.1 10.250.1.1'),
                change('bind', '127.0.0.1 -10.250.1.1'),
                change('bind', '*', 'port', s.port),
                change('bind', '127.0.0.2', 'port', p, 'maxclients', 'abc'),
                change('bind', '127.0.0.2', 'port', p),
                change('port', '0'),
                change('port', p),
                change('bind', '127.0.0.1', 'port', s.port)]


@tap.test
def the_same_as_redis():
    told = []
    with socket.socket() as blocker:
        blocker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        blocker.bind(('0.0.0.0', 0))
        blocker.listen()
        for make in (server.Redis, lambda: server.Varved('--io-threads', '2', '--bind', '127.0.0.1')):
            with make() as s:
                with s.connect() as c:
                    c.must('CONFIG', 'SET', 'bind', '127.0.0.1')
                told.append(steps(s, server.free_port(), blocker.getsockname()[1]))
    tap.eq(len(told[0]), len(told[1]))
    for number, (theirs, ours) in enumerate(zip(*told)):
        tap.eq(ours, theirs, f'step {number}')


@tap.test
def those_who_connect_meanwhile_are_served():
    with server.Varved('--io-threads', '2', '--appendfsync', 'no') as s, s.connect() as c:
        stop, failed, served = threading.Event(), [], [0]
        ports = [s.port, server.free_port()]

        def knock():
            while not stop.is_set():
                answers = {open_at(port) for port in ports}
                served[0] += b'PONG' in answers
                failed.extend(a for a in answers if a not in (b'PONG', 'ConnectionRefusedError', 'ConnectionResetError', 'Closed'))
        threads = [threading.Thread(target=knock) for _ in range(3)]
        for t in threads:
            t.start()
        for i in range(tap.pick(100, 1000)):
            c.must('CONFIG', 'SET', 'port', ports[(i + 1) % 2])
            tap.eq(open_at(ports[(i + 1) % 2]), b'PONG')
        stop.set()
        for t in threads:
            t.join()
        tap.eq(failed, [])
        tap.check(served[0] > 0)
        tap.eq(int(s.info()['tcp_port']), int(c.must('CONFIG', 'GET', 'port')[1]))
        s.fixed_port = False
        s.stop()


tap.main()
