"""Connections as clients see them, however they behave: what is asked for is answered, in order, once; who does not
take replies, sends nonsense, comes in thousands or leaves without a word harms nobody else and costs bounded memory.
"""
import os
import socket
import struct
import threading
import time

import resp
import server
import tap

THREADS = (1, 2, 4)
OK = resp.Simple(b'OK')
PONG = resp.Simple(b'PONG')


def linger_reset(c):
    """Close with a reset instead of a goodbye."""
    c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    c.close()


# ---- pipelines

@tap.cases(*THREADS)
def pipelines_of_any_depth_are_answered_in_order(threads):
    with server.Varved('--io-threads', threads, '--appendfsync', 'everysec') as s:
        connections = [s.connect() for _ in range(threads * 3)]
        for depth in (1, 2, 15, 16, 17, 63, 64, 65, 1000, tap.pick(20000, 300000)):
            for n, c in enumerate(connections):
                commands = []
                for i in range(depth // 2 + 1):
                    commands += [('SET', f'k{n}', f'{i}'), ('GET', f'k{n}')]
                replies = c.pipeline(commands)
                for i in range(depth // 2 + 1):
                    tap.eq(replies[2 * i], OK)
                    tap.eq(replies[2 * i + 1], b'%d' % i)
        for c in connections:
            c.close()


@tap.test
def a_pipeline_under_always_keeps_its_order():
    with server.Varved('--appendfsync', 'always', '--io-threads', 2) as s:
        with s.connect() as a, s.connect() as b:
            for c, key in ((a, 'x'), (b, 'y')):
                replies = c.pipeline([('INCR', key) if i % 3 else ('GET', key) for i in range(5000)])
                count = 0
                for i, r in enumerate(replies):
                    if i % 3:
                        count += 1
                        tap.eq(r, count)
                    else:
                        tap.eq(r, b'%d' % count if count else None)


@tap.test
def one_byte_at_a_time_is_enough():
    with server.Varved() as s, s.connect() as slow, s.connect() as other:
        data = resp.encode('SET', 'key', 'a value\r\nof two lines') + b'GET key\r\n' + resp.encode('PING', 'x')
        for i in range(len(data)):
            slow.send_raw(data[i:i + 1])
            if i % 10 == 0:
                tap.eq(other.call('PING'), PONG)
        tap.eq(slow.read(), OK)
        tap.eq(slow.read(), b'a value\r\nof two lines')
        tap.eq(slow.read(), b'x')


@tap.test
def every_split_position_gives_the_same_replies():
    with server.Varved('--appendfsync', 'everysec') as s:
        data = (resp.encode('SET', 'k', 'v' * 10) + b'GET k\r\n' + resp.encode('ECHO', '\r\n') + b'*0\r\n\r\n' +
                resp.encode('GET', 'missing') + b'PING "a b"\r\n' + resp.encode('DEL', 'k'))
        want = b'+OK\r\n$10\r\nvvvvvvvvvv\r\n$2\r\n\r\n\r\n$-1\r\n$3\r\na b\r\n:1\r\n'
        for cut in range(1, len(data)):
            with s.connect() as c:
                c.send_raw(data[:cut])
                if cut % 5 == 0:
                    time.sleep(0.001)
                c.send_raw(data[cut:])
                got = b''.join(c.read_raw() for _ in range(6))
                tap.eq(got, want, f'cut at {cut}')


@tap.test
def long_values_travel_in_both_directions():
    with server.Varved('--appendfsync', 'everysec') as s, s.connect() as c:
        for size in (16383, 16384, 16385, 32768, 32769, 65536, 1 << 20, (5 << 20) + 3, tap.pick(64, 500) << 20):
            value = os.urandom(1024) * (size // 1024) + b'x' * (size % 1024)
            tap.eq(c.call('SET', 'k', value), OK)
            tap.eq(c.call('STRLEN', 'k'), size)
            got = c.call('GET', 'k')
            tap.check(got == value, f'{size} bytes came back as {len(got)} other bytes')
        # two of them in one pipeline, with small ones around
        tap.eq(c.call('SET', 'a', b'a' * 3000000), OK)
        replies = c.pipeline([('GET', 'a'), ('PING',), ('MGET', 'a', 'none', 'a'), ('ECHO', 'end')])
        tap.check(replies[0] == b'a' * 3000000 and replies[1] == PONG and replies[3] == b'end', 'order')
        tap.check(replies[2] == [b'a' * 3000000, None, b'a' * 3000000], 'MGET')


@tap.test
def an_endless_pipeline_does_not_starve_others():
    with server.Varved('--io-threads', 1, '--appendfsync', 'everysec') as s:
        stop = threading.Event()
        greedy = s.connect()

        def flood():
            batch = [('SET', 'k', 'v' * 50)] * 5000
            while not stop.is_set():
                greedy.pipeline(batch)
        thread = threading.Thread(target=flood)
        thread.start()
        try:
            with s.connect() as c:
                worst = 0
                for _ in range(300):
                    start = time.monotonic()
                    tap.eq(c.call('PING'), PONG)
                    worst = max(worst, time.monotonic() - start)
                tap.check(worst < tap.PATIENCE, f'a PING took {worst:.3f} s')
        finally:
            stop.set()
            thread.join()
            greedy.close()


# ---- who does not read

@tap.test
def who_does_not_read_is_not_read_from():
    # 64 MB are an eighth of maxmemory: the budget of unread replies
    with server.Varved('--maxmemory', '512mb', '--appendfsync', 'everysec', '--io-threads', 2) as s:
        with s.connect() as c:
            c.must('SET', 'big', b'x' * 15000)
            before = s.status_field('VmRSS')
            lazy = []
            for _ in range(20):
                d = s.connect()
                d.sock.setblocking(False)
                lazy.append(d)
            one = resp.encode('GET', 'big') * 1000
            sent = 0
            end = time.monotonic() + 3
            while time.monotonic() < end:
                for d in lazy:
                    try:
                        sent += d.sock.send(one)
                    except BlockingIOError:
                        pass
                tap.eq(c.call('PING'), PONG)
            grown = s.status_field('VmRSS') - before
            asked = sent // len(resp.encode('GET', 'big')) * 15000
            tap.check(asked > (100 << 20 if tap.SANITIZER else 1 << 30), f'only {asked >> 20} MB asked for: the test shows nothing')
            tap.check(tap.SANITIZER or grown < 200 << 10, f'{grown >> 10} MB more in memory for {asked >> 20} MB asked for')
            # and who begins to read after all gets everything
            d = lazy[0]
            d.sock.setblocking(True)
            for _ in range(2000):
                tap.check(d.read() == b'x' * 15000)
            for d in lazy:
                d.close()
            tap.until(lambda: s.info('clients')['connected_clients'] == '2', what='they are gone')


@tap.test
def who_pipelines_before_reading_is_served():
    with server.Varved('--appendfsync', 'everysec') as s, s.connect() as c:
        c.must('SET', 'k', b'v' * 100)
        count = 300000
        c.send_raw(resp.encode('GET', 'k') * count)  # 33 MB of replies, none read meanwhile
        for _ in range(count):
            tap.check(c.read() == b'v' * 100)


@tap.test
def the_output_limit_cuts():
    with server.Varved('--client-output-buffer-limit', 'normal 1mb 0 0', '--appendfsync', 'everysec') as s:
        with s.connect() as c, s.connect() as lazy:
            c.must('SET', 'k', b'x' * 10000)
            lazy.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            try:
                lazy.send_raw(resp.encode('GET', 'k') * 3000)
            except OSError:
                pass
            tap.until(lambda: c.call('CLIENT', 'LIST').count(b'\n') == 1, what='the lazy client is gone')
            tap.matches(s.log(), b'client-output-buffer-limit')


@tap.test
def the_soft_output_limit_cuts_after_its_time():
    with server.Varved('--client-output-buffer-limit', 'normal 0 100kb 1', '--appendfsync', 'everysec') as s:
        with s.connect() as c, s.connect() as lazy:
            c.must('SET', 'k', b'x' * 10000)
            lazy.send_raw(resp.encode('GET', 'k') * 2000)
            time.sleep(0.3)
            tap.eq(c.call('CLIENT', 'LIST').count(b'\n'), 2)
            tap.until(lambda: c.call('CLIENT', 'LIST').count(b'\n') == 1, what='the lazy client is gone')


@tap.test
def the_query_buffer_limit_cuts():
    with server.Varved('--client-query-buffer-limit', '1mb', '--appendfsync', 'everysec') as s:
        with s.connect() as c, s.connect() as big:
            try:
                big.send_raw(b'*2\r\n$3\r\nGET\r\n$100000000\r\n' + b'x' * 3000000)
                tap.check(big.closed_by_server(), 'it is still served')
            except OSError:
                pass
            tap.eq(c.call('PING'), PONG)


@tap.test
def announced_sizes_cost_nothing():
    with server.Varved('--appendfsync', 'everysec') as s:
        with s.connect() as c:
            before = s.status_field('VmRSS')
            many = [s.connect() for _ in range(100)]
            for d in many:
                d.send_raw(b'*2\r\n$3\r\nSET\r\n$536870912\r\nabc')
            time.sleep(0.2)
            tap.eq(c.call('PING'), PONG)
            grown = s.status_field('VmRSS') - before
            tap.check(tap.SANITIZER or grown < 20 << 10, f'{grown} kB for announcements')
            for d in many:
                d.close()


@tap.test
def long_replies_that_nobody_reads_cost_little():
    with server.Varved('--appendfsync', 'everysec', '--io-threads', 2, '--maxmemory', '1gb') as s:
        with s.connect() as c:
            size = 60 << 20
            value = os.urandom(1 << 20) * 60
            tap.eq(c.call('SET', 'k', value), OK)
            tap.eq(c.call('SET', 'other', value[::-1]), OK)
            before = s.status_field('VmRSS')
            lazy = [s.connect() for _ in range(40)]
            for d in lazy:
                d.send_raw(resp.encode('GET', 'k') * 3 + resp.encode('MGET', 'k', 'none', 'k') + resp.encode('PING'))
            for _ in range(10):
                time.sleep(0.1)
                tap.eq(c.call('PING'), PONG)
            grown = s.status_field('VmRSS') - before
            tap.check(tap.SANITIZER or grown < 100 << 10, f'{grown >> 10} MB more in memory')
            # what they get is the value of the moment they asked in, whatever has become of the key
            tap.eq(c.call('SETRANGE', 'k', 1000, b'changed'), size)
            tap.eq(c.call('DEL', 'k'), 1)
            d = lazy[0]
            tap.check(d.read() == value, 'the first reply')
            for d in lazy[1:]:
                linger_reset(d)
            tap.until(lambda: s_info(c)['connected_clients'] == '2', what='they are gone')
            lazy[0].close()


@tap.test
def who_stops_in_a_long_reply_is_cut_after_a_minute():
    if not tap.LONG:
        raise tap.Skip('takes a minute')
    with server.Varved('--appendfsync', 'everysec') as s, s.connect() as c, s.connect() as d:
        tap.eq(c.call('SET', 'k', b'x' * (60 << 20)), OK)
        d.send('GET', 'k')
        time.sleep(55)
        tap.eq(s_info(c)['connected_clients'], '2')
        tap.until(lambda: s_info(c)['connected_clients'] == '1', seconds=20, what='it is gone')


# ---- coming and going

@tap.test
def ten_thousand_idle_connections_cost_at_most_4_kb_each():
    import resource
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 10500:
        raise tap.Skip(f'no more than {hard} files may be open')
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20000), hard))
    count = 10000
    with server.Varved('--maxclients', 10100, '--tcp-backlog', 4096) as s:
        with s.connect() as c:
            c.must('SET', 'k', 'v')
            warm = [s.connect() for _ in range(50)]
            for d in warm:
                d.call('PING')
            before = s.status_field('VmRSS')
            idle = []
            for _ in range(count):
                idle.append(s.connect())
            for d in idle:  # each has been used once, then idles
                d.send('GET', 'k')
            for d in idle:
                tap.eq(d.read(), b'v')
            each = (s.status_field('VmRSS') - before) * 1024 / count
            tap.diag(f'{each:.0f} bytes each')
            tap.check(tap.SANITIZER or each <= 4096, f'{each:.0f} bytes each')
            tap.eq(s.info('clients')['connected_clients'], str(count + 52))
            start = time.monotonic()
            for _ in range(100):
                tap.eq(c.call('PING'), PONG)
            tap.check(time.monotonic() - start < 2 * tap.PATIENCE, 'slow beside them')
            for d in idle + warm:
                d.close()
            tap.until(lambda: s.info('clients')['connected_clients'] == '2', what='they are gone')


@tap.cases(1, 2, 4)
def storms_of_connections_leave_nothing_behind(threads):
    with server.Varved('--io-threads', threads, '--appendfsync', 'everysec') as s:
        files = len(os.listdir(f'/proc/{s.pid}/fd'))

        def storm(seed):
            for i in range(tap.pick(150, 3000)):
                c = s.connect()
                kind = (i + seed) % 6
                if kind == 0:
                    tap.eq(c.call('PING'), PONG)
                elif kind == 1:
                    c.send_raw(b'*3\r\n$3\r\nSET\r\n$1')
                elif kind == 2:
                    c.send_raw(resp.encode('INCR', 'n') * 50)
                elif kind == 3:
                    c.send_raw(resp.encode('GET', 'n') * 500)
                    linger_reset(c)
                elif kind == 4:
                    tap.eq(c.call('QUIT'), OK)
                c.close()
        failures = []

        def run(seed):
            try:
                storm(seed)
            except Exception as error:  # pylint: disable=broad-except
                failures.append(error)
        all_threads = [threading.Thread(target=run, args=(i,)) for i in range(8)]
        for t in all_threads:
            t.start()
        for t in all_threads:
            t.join()
        tap.eq(failures, [])
        tap.until(lambda: s.info('clients')['connected_clients'] == '1', what='all are gone')
        tap.until(lambda: len(os.listdir(f'/proc/{s.pid}/fd')) <= files + 2, what='their descriptors are closed')


@tap.test
def what_was_asked_before_a_half_close_is_answered():
    for fsync in ('always', 'everysec'):
        with server.Varved('--appendfsync', fsync) as s:
            for count in (1, 3, 200):
                with s.connect() as c:
                    c.send_raw(resp.encode('INCR', 'n') * count)
                    c.sock.shutdown(socket.SHUT_WR)
                    for _ in range(count):
                        tap.check(isinstance(c.read(), int))
                    tap.check(c.closed_by_server(), 'it stays open')
            tap.eq(s.call('GET', 'n'), b'204')


@tap.test
def a_half_close_while_choked_loses_nothing():
    # the budget of unread replies is 8 MB, the replies are 60
    with server.Varved('--maxmemory', '64mb', '--appendfsync', 'everysec') as s, s.connect() as other:
        other.must('SET', 'k', b'v' * 10000)
        with s.connect() as c:
            count = 6000
            sender = threading.Thread(target=lambda: (c.send_raw(resp.encode('GET', 'k') * count),
                                                      c.sock.shutdown(socket.SHUT_WR)))
            sender.start()
            time.sleep(0.5)
            for _ in range(count):
                tap.check(c.read() == b'v' * 10000)
            sender.join()
            tap.check(c.closed_by_server(), 'it stays open')
        tap.eq(other.call('PING'), PONG)


@tap.test
def garbage_harms_nobody_else():
    rng = __import__('random').Random(7)
    with server.Varved('--appendfsync', 'everysec') as s, s.connect() as c:
        pieces = [b'*', b'$', b'\r\n', b'3', b'-1', b'SET', b'GET k', b'"', b"'", b'\\x', b'\0', b'99999999999', b'PING', b' ', b'*2',
                  b'$3', b'\n', os.urandom(20)]
        for i in range(tap.pick(300, 5000)):
            with s.connect() as d:
                data = b''.join(rng.choice(pieces) for _ in range(rng.randrange(1, 60)))
                data = data.replace(b'SHUTDOWN', b'')
                try:
                    d.send_raw(data)
                    if i % 3 == 0:
                        linger_reset(d)
                except OSError:
                    pass
            if i % 20 == 0:
                tap.eq(c.call('PING'), PONG)
        tap.until(lambda: s_info(c)['connected_clients'] == '1', what='they are gone')


@tap.test
def maxclients_turns_away_with_a_sentence():
    with server.Varved('--maxclients', 5, '--appendfsync', 'everysec') as s:
        inside = [s.connect()]
        tap.until(lambda: s_info(inside[0])['connected_clients'] == '1', what='the connection of the start is gone')
        inside += [s.connect() for _ in range(4)]
        for c in inside:
            tap.eq(c.call('PING'), PONG)
        for _ in range(3):
            with s.connect() as c:
                tap.eq(c.read(), resp.Error(b'ERR max number of clients reached'))
                tap.check(c.closed_by_server())
        tap.eq(inside[0].call('CONFIG', 'SET', 'maxclients', 6), OK)
        with s.connect() as c:
            tap.eq(c.call('PING'), PONG)
        for c in inside[1:]:
            c.close()
        c = inside[0]
        tap.until(lambda: s_info(c)['connected_clients'] == '1', what='room again')
        tap.eq(s_info(c, 'stats')['rejected_connections'], '3')
        with s.connect() as d:
            tap.eq(d.call('PING'), PONG)
        c.close()


def s_info(c, section='clients'):
    """INFO over an existing connection."""
    text = c.call('INFO', section).decode()
    return dict(line.split(':', 1) for line in text.split('\r\n') if ':' in line)


@tap.test
def without_descriptors_new_clients_are_refused_and_old_ones_served():
    import resource
    with server.Varved('--appendfsync', 'everysec') as s, s.connect() as c:
        used = len(os.listdir(f'/proc/{s.pid}/fd'))
        resource.prlimit(s.pid, resource.RLIMIT_NOFILE, (used + 8, used + 8))
        refused = 0
        kept = []
        for _ in range(30):
            d = s.connect()
            try:
                answer = d.call('PING')
            except OSError:
                answer = None
            if answer == PONG:
                kept.append(d)
            else:
                refused += 1
                tap.check(answer is None or answer.startswith(b'ERR max number of clients'), repr(answer))
            tap.eq(c.call('PING'), PONG)
        tap.check(refused >= 20, f'{refused} refused')
        for d in kept:
            d.close()

        def served_again():
            with s.connect() as d:
                try:
                    return d.call('PING') == PONG
                except OSError:
                    return False
        tap.until(served_again, what='new clients are let in again')


@tap.test
def idle_clients_are_closed_after_timeout():
    with server.Varved('--timeout', 1, '--appendfsync', 'everysec') as s:
        with s.connect() as idle, s.connect() as busy:
            start = time.monotonic()
            while time.monotonic() - start < 3.5:
                tap.eq(busy.call('PING'), PONG)
                time.sleep(0.1)
            tap.check(idle.closed_by_server(1), 'it is still there')
            tap.eq(busy.call('CONFIG', 'SET', 'timeout', 0), OK)


# ---- addresses

@tap.test
def a_unix_socket_serves_with_its_permissions():
    import tempfile
    folder = tempfile.mkdtemp(prefix='varve-unix-')
    path = os.path.join(folder, 'varved.sock')
    with server.Varved('--unixsocket', path, '--unixsocketperm', '770', '--appendfsync', 'everysec') as s:
        tap.eq(os.stat(path).st_mode & 0o777, 0o770)
        with resp.Connection(path=path) as c:
            tap.eq(c.call('SET', 'k', 'v'), OK)
            tap.eq(c.pipeline([('GET', 'k')] * 1000), [b'v'] * 1000)
            line = c.call('CLIENT', 'INFO')
            tap.matches(line, b'addr=' + path.encode()[:60] + b':0 ')  # no more of it is shown
            tap.matches(line, b'flags=U ')
            value = b'y' * 5000000
            tap.eq(c.call('SET', 'big', value), OK)
            tap.check(c.call('GET', 'big') == value)
        s.crash()
        with resp.Connection(path=path) as c:  # the file left behind is no obstacle
            tap.eq(c.call('GET', 'k'), b'v')
    tap.check(not os.path.exists(path), 'the socket is left behind')
    os.rmdir(folder)


@tap.test
def several_addresses_and_ipv6():
    with server.Varved('--bind', '127.0.0.1 127.0.0.2 -::1', '--appendfsync', 'everysec') as s:
        for host in ('127.0.0.1', '127.0.0.2'):
            with resp.Connection(s.port, host=host) as c:
                tap.eq(c.call('PING'), PONG)
                tap.matches(c.call('CLIENT', 'INFO'), f'laddr={host}:{s.port} '.encode())
        try:
            c = resp.Connection(s.port, host='::1')
        except OSError:
            return
        with c:
            tap.eq(c.call('PING'), PONG)
            tap.matches(c.call('CLIENT', 'INFO'), rb'laddr=\[::1\]:')


@tap.test
def an_address_in_use_refuses_to_start_and_says_so():
    with server.Varved('--appendfsync', 'everysec') as s:
        second = server.Varved(port=s.port, wait=False)
        try:
            tap.eq(second.reap(), 1)
            tap.matches(second.log_text(), '(?i)address already in use')
        finally:
            second.close()


@tap.test
def protected_mode_lets_only_this_machine_in():
    own = [line.split()[1].split('/')[0] for line in os.popen('ip -4 -o addr 2>/dev/null | sed "s/.*inet/inet/"')
           if ' 127.' not in line]
    if not own:
        raise tap.Skip('no address but loopback')
    with server.Varved('--bind', f'127.0.0.1 {own[0]}', '--appendfsync', 'everysec') as s:
        with resp.Connection(s.port, host=own[0]) as c:
            tap.matches(c.read(), b'^DENIED ')
            tap.check(c.closed_by_server())
        with s.connect() as c:
            tap.eq(c.call('CONFIG', 'SET', 'requirepass', 'secret'), OK)
            with resp.Connection(s.port, host=own[0]) as d:
                tap.eq(d.call('PING'), resp.Error(b'NOAUTH Authentication required.'))
                tap.eq(d.call('AUTH', 'secret'), OK)


# ---- ending

@tap.test
def shutdown_ends_the_process_with_status_0():
    for arguments in ((), ('NOSAVE',), ('SAVE',), ('NOW', 'FORCE')):
        with server.Varved('--appendfsync', 'everysec') as s:
            with s.connect() as c, s.connect() as other:
                c.must('SET', 'k', 'v')
                tap.eq(c.call('SHUTDOWN', 'ABORT'), resp.Error(b'ERR No shutdown in progress.'))
                tap.check(isinstance(c.call('SHUTDOWN', 'SAVE', 'NOSAVE'), resp.Error))
                c.send('SHUTDOWN', *arguments)
                tap.check(c.closed_by_server() and other.closed_by_server())
            tap.eq(s.reap(), 0)
            s.start()
            tap.eq(s.call('GET', 'k'), b'v')


@tap.test
def a_second_signal_ends_at_once():
    # ThreadSanitizer calls threads leaked that such an end does not wait for
    env = {'TSAN_OPTIONS': os.environ.get('TSAN_OPTIONS', '') + ':report_thread_leaks=0'}
    with server.Varved('--appendfsync', 'everysec', env=env) as s:
        c = s.connect()
        c.must('SET', 'k', b'x' * 1000000)
        c.send_raw(resp.encode('GET', 'k') * 100)  # replies nobody takes: the end waits for them a while
        time.sleep(0.3)
        s.send_signal(15)
        time.sleep(0.3)
        start = time.monotonic()
        if s.running():
            s.send_signal(15)
            s.reap()
            tap.check(time.monotonic() - start < 3 * tap.PATIENCE, 'it took its time')
        else:
            s.reap()
        c.close()


if __name__ == '__main__':
    tap.main()
