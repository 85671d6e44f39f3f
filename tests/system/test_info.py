"""What the server says of itself: INFO, SLOWLOG, LATENCY, MEMORY, and DEBUG, beside redis-server where the shape is
Redis'. Figures are compared with what the test itself did."""
import threading
import time

import resp
import server
import tap

OK = resp.Simple(b'OK')


def fields(c, *sections):
    """INFO as [(section, name, value)]."""
    out, section = [], None
    for line in c.call('INFO', *sections).decode().split('\r\n'):
        if line.startswith('# '):
            section = line[2:]
        elif line:
            name, value = line.split(':', 1)
            out.append((section, name, value))
    return out


def info(c, *sections):
    """INFO as a dict."""
    return {name: value for _, name, value in fields(c, *sections)}


@tap.test
def info_has_redis_fields_in_redis_order_and_ours_behind():
    with server.Varved() as v, server.Redis() as r, v.connect() as ours, r.connect() as theirs:
        for c in (ours, theirs):
            c.call('SET', 'k', 'v', 'EX', 100)
            c.call('INCR', 'k')
        mine, want = fields(ours, 'everything'), fields(theirs, 'everything')
        order = [s for n, (s, _, _) in enumerate(mine) if n == 0 or mine[n - 1][0] != s]
        tap.eq(order[-3:], ['Storage', 'Compaction', 'Execution'])
        for section in {s for s, _, _ in want}:
            names = [n for s, n, _ in want if s == section]
            got = [n for s, n, _ in mine if s == section and n in names]
            if section in ('Commandstats', 'Latencystats'):
                got, names = sorted(got), sorted(names)
            tap.eq(got, names, section)
        for section, name, value in mine:
            tap.check(section and name and '\r' not in value, f'{name}:{value}')


@tap.test
def sections_are_chosen_as_in_redis():
    with server.Varved() as v, server.Redis() as r, v.connect() as ours, r.connect() as theirs:
        own = {b'# Storage', b'# Compaction', b'# Execution'}
        for c in (ours, theirs):
            c.call('SET', 'k', 'v')
        for request in ((), ('all',), ('EVERYTHING',), ('default',), ('cpu',), ('CPU', 'server'), ('server', 'cpu'),
                        ('nothing',), ('nothing', 'cpu'), ('cpu', 'all'), ('cpu', 'default'), ('commandstats',), ('',)):
            heads = [[line for line in c.call('INFO', *request).split(b'\r\n') if line.startswith(b'#')]
                     for c in (ours, theirs)]
            tap.eq([h for h in heads[0] if h not in own], heads[1], repr(request))
        tap.eq(ours.call('INFO', 'storage').split(b'\r\n')[0], b'# Storage')
        ours.call('HELLO', '3')
        tap.eq(type(ours.call('INFO', 'cpu')), resp.Verbatim)


@tap.test
def counts_are_exact():
    with server.Varved() as s, s.connect() as c:
        c.call('CONFIG', 'RESETSTAT')
        before = info(c)
        for i in range(10):
            c.call('SET', f'k{i}', 'v')
        for i in range(20):
            c.call('GET', f'k{i}')
        c.call('INCR', 'k0')
        c.call('NOTHING')
        c.call('GET')
        after = info(c, 'everything')
        tap.eq(int(after['keyspace_hits']), 10)
        tap.eq(int(after['keyspace_misses']), 10)
        tap.check(after['cmdstat_set'].startswith('calls=10,'), after['cmdstat_set'])
        tap.check(after['cmdstat_get'].startswith('calls=20,'), after['cmdstat_get'])
        tap.check(after['cmdstat_get'].endswith('rejected_calls=1,failed_calls=0'), after['cmdstat_get'])
        tap.check(after['cmdstat_incr'].endswith('rejected_calls=0,failed_calls=1'), after['cmdstat_incr'])
        tap.eq(after['errorstat_ERR'], 'count=3')
        tap.eq(int(after['total_error_replies']), 3)
        tap.eq(int(after['total_commands_processed']) - int(before['total_commands_processed']), 10 + 20 + 1 + 1)
        tap.check('p50=' in after['latency_percentiles_usec_set'], after)
        tap.eq(after['db0'], 'keys=10,expires=0,avg_ttl=0')
        tap.eq(c.call('CONFIG', 'RESETSTAT'), OK)
        reset = info(c, 'everything')
        tap.eq((reset['keyspace_hits'], reset['total_error_replies']), ('0', '0'))
        tap.eq(reset['total_commands_processed'], '1')
        tap.check('cmdstat_set' not in reset and 'errorstat_ERR' not in reset, reset)
        tap.check('cmdstat_config|resetstat' in reset, 'the reset itself counts')


@tap.test
def clients_and_bytes_are_counted():
    with server.Varved() as s, s.connect() as c:
        tap.until(lambda: info(c)['connected_clients'] == '1', what='the connection of the start is gone')
        first = info(c)
        others = [s.connect() for _ in range(5)]
        for o in others:
            o.call('PING')
        second = info(c)
        tap.eq(int(second['connected_clients']) - int(first['connected_clients']), 5)
        tap.eq(int(second['total_connections_received']) - int(first['total_connections_received']), 5)
        for o in others:
            o.close()
        tap.until(lambda: info(c)['connected_clients'] == first['connected_clients'], what='clients gone')
        start = int(info(c)['total_net_input_bytes'])
        request = resp.encode('SET', 'k', 'x' * 10000)
        c.raw(request)
        tap.eq(int(info(c)['total_net_input_bytes']) - start, len(request) + len(resp.encode('INFO')))
        start = int(info(c)['total_net_output_bytes'])
        c.call('GET', 'k')
        reply = len(b'$10000\r\n') + 10002
        grown = int(info(c)['total_net_output_bytes']) - start
        tap.check(reply < grown < reply + 20000, f'{grown} bytes for a reply of {reply} and an INFO')


@tap.test
def the_process_is_described_truly():
    with server.Varved() as s, s.connect() as c:
        i = info(c, 'everything')
        tap.eq(int(i['process_id']), s.pid)
        tap.eq(int(i['tcp_port']), s.port)
        tap.eq(i['redis_mode'], 'standalone')
        tap.eq(i['server_name'], 'varve')
        tap.check(i['redis_version'].startswith('7.2.'), i['redis_version'])
        tap.eq(len(i['run_id']), 40)
        tap.check(abs(int(i['server_time_usec']) / 1e6 - time.time()) < 5, i['server_time_usec'])
        rss = s.status_field('VmRSS') * 1024
        tap.check(abs(int(i['used_memory_rss']) - rss) < rss / 4, f"{i['used_memory_rss']} {rss}")
        tap.check(0 < int(i['used_memory']) <= int(i['used_memory_peak']), i)
        cpu = float(i['used_cpu_sys']) + float(i['used_cpu_user'])
        tap.check(abs(cpu - s.cpu_seconds()) < 0.5, f'{cpu} {s.cpu_seconds()}')
        tap.eq(i['config_file'], '')
        tap.eq(i['storage_dir'], s.dir)
        tap.eq(i['storage_engine'], 'lsm')
        tap.check(int(i['uptime_in_seconds']) < 60, i['uptime_in_seconds'])


@tap.test
def keyspace_names_databases_that_have_keys():
    with server.Varved() as s, s.connect() as c:
        tap.eq(info(c, 'keyspace'), {})
        c.call('SELECT', 3)
        c.call('SET', 'a', 1)
        c.call('SET', 'b', 1, 'EX', 1000)
        c.call('SELECT', 15)
        c.call('SET', 'a', 1, 'PX', 100)
        i = info(c, 'keyspace')
        tap.eq(list(i), ['db3', 'db15'])
        tap.check(i['db3'].startswith('keys=2,expires=1,avg_ttl='), i['db3'])
        tap.until(lambda: 900000 < int(info(c)['db3'].rsplit('=', 1)[1]) <= 1000000, what='average TTL')
        tap.until(lambda: list(info(c, 'keyspace')) == ['db3'], 2, what='the last key of db15 expired')
        tap.eq(int(info(c)['expired_keys']), 1)


@tap.test
def rates_follow_the_load():
    with server.Varved('--appendfsync', 'no') as s, s.connect() as c, s.connect() as watcher:
        stop = threading.Event()

        def load():
            while not stop.is_set():
                c.pipeline([('GET', 'k')] * 100)

        t = threading.Thread(target=load)
        t.start()
        try:
            tap.until(lambda: int(info(watcher)['instantaneous_ops_per_sec']) > 1000, what='ops per second')
            tap.check(float(info(watcher)['instantaneous_input_kbps']) > 10, 'input rate')
        finally:
            stop.set()
            t.join()
        tap.until(lambda: int(info(watcher)['instantaneous_ops_per_sec']) < 1000, what='the rate falls')


@tap.test
def slowlog_entries_have_redis_shape():
    with server.Varved('--slowlog-log-slower-than', '0', '--slowlog-max-len', '5') as s, s.connect() as c:
        c.call('CLIENT', 'SETNAME', 'me')
        for i in range(10):
            c.call('SET', f'k{i}', 'v' * 200)
        tap.eq(c.call('SLOWLOG', 'LEN'), 5)
        entries = c.call('SLOWLOG', 'GET', '-1')
        tap.eq(len(entries), 5)
        tap.eq([e[0] for e in entries], sorted([e[0] for e in entries], reverse=True))
        ident, when, micros, argv, address, name = entries[2]
        tap.check(isinstance(ident, int) and abs(when - time.time()) < 60 and 0 <= micros < 10**7, entries[2])
        tap.eq(argv[:2], [b'SET', b'k9'] if argv[1] == b'k9' else [b'SET', b'k8'])
        tap.eq(argv[2], b'v' * 128 + b'... (72 more bytes)')
        tap.check(address.startswith(b'127.0.0.1:'), address)
        tap.eq(name, b'me')
        tap.eq(len(c.call('SLOWLOG', 'GET', '2')), 2)
        tap.eq(c.call('SLOWLOG', 'GET', '0'), [])
        c.call('CONFIG', 'SET', 'slowlog-log-slower-than', '-1')
        tap.eq(c.call('SLOWLOG', 'RESET'), OK)
        tap.eq(c.call('SLOWLOG', 'LEN'), 0)


@tap.test
def latency_samples_and_reports():
    with server.Varved('--enable-debug-command', 'yes') as s, s.connect() as c:
        tap.check(b'latency-monitor-threshold is 0' in c.call('LATENCY', 'DOCTOR'), 'DOCTOR says that it is off')
        c.call('CONFIG', 'SET', 'latency-monitor-threshold', '20')
        c.call('DEBUG', 'SLEEP', '0.03')
        c.call('DEBUG', 'SLEEP', '0.05')
        latest = c.call('LATENCY', 'LATEST')
        tap.eq([e[0] for e in latest], [b'command'])
        tap.check(20 <= latest[0][2] <= latest[0][3] and latest[0][3] >= 50, latest)
        history = c.call('LATENCY', 'HISTORY', 'command')
        tap.check(history and all(abs(t - time.time()) < 60 and ms >= 20 for t, ms in history), history)
        graph = c.call('LATENCY', 'GRAPH', 'command')
        tap.matches(graph, rb'^command - high \d+ ms, low \d+ ms \(all time high \d+ ms\)\n-{80}\n')
        tap.matches(c.call('LATENCY', 'DOCTOR'), rb'1\. command: \d times')
        tap.eq(c.call('LATENCY', 'RESET', 'nothing'), 0)
        tap.eq(c.call('LATENCY', 'RESET'), 1)
        tap.eq(c.call('LATENCY', 'LATEST'), [])


@tap.test
def latency_histogram_is_cumulative():
    with server.Varved() as s, s.connect() as c:
        c.call('CONFIG', 'RESETSTAT')
        for _ in range(100):
            c.call('SET', 'k', 'v')
        c.call('CLIENT', 'ID')
        name, entry = c.call('LATENCY', 'HISTOGRAM', 'set', 'nothing')
        tap.eq(name, b'set')
        tap.eq((entry[0], entry[1], entry[2]), (b'calls', 100, b'histogram_usec'))
        bounds, counts = entry[3][0::2], entry[3][1::2]
        tap.eq(bounds, sorted(set(bounds)))
        tap.eq(counts, sorted(set(counts)))
        tap.eq(counts[-1], 100)
        # Redis' bounds: powers of two of 1,024 ns, up to the end of the histogram's step there.
        steps = [1024 << i for i in range(35)]
        tap.check(set(bounds) <= {(v + v // 128 - 1) // 1000 for v in steps}, bounds)
        tap.eq(c.call('LATENCY', 'HISTOGRAM', 'client')[0], b'client|id')
        tap.eq(c.call('LATENCY', 'HISTOGRAM', 'client|id')[0], b'client|id')
        c.call('HELLO', '3')
        everything = c.call('LATENCY', 'HISTOGRAM')
        tap.eq(type(everything), resp.Map)
        tap.check(everything.get(b'set') is not None, everything)


@tap.test
def memory_is_described():
    with server.Varved() as v, server.Redis() as r, v.connect() as ours, r.connect() as theirs:
        names = [c.call('MEMORY', 'STATS')[0::2] for c in (ours, theirs)]
        tap.check(set(names[1]) - {n for n in names[1] if n.startswith(b'db.')} <= set(names[0]), names)
        ours.call('SET', 'small', 'v')
        ours.call('SET', 'large', 'v' * 100000)
        small, large = (ours.call('MEMORY', 'USAGE', k) for k in ('small', 'large'))
        tap.check(1 < small < 1000 and 100000 < large < 110000, f'{small} {large}')
        tap.eq(ours.call('MEMORY', 'USAGE', 'large', 'SAMPLES', '5'), large)
        tap.matches(ours.call('MEMORY', 'DOCTOR'), b'Nothing to report')
        tap.check(len(ours.call('MEMORY', 'MALLOC-STATS')) > 20, 'MALLOC-STATS')
        tap.eq(ours.call('MEMORY', 'PURGE'), OK)
        for container in ('CONFIG', 'MEMORY', 'LATENCY', 'SLOWLOG', 'MODULE', 'FUNCTION'):
            lines = ours.call(container, 'HELP')
            tap.matches(lines[0], f'^{container} <subcommand> '.encode())
            tap.eq(lines[-2], b'HELP' and resp.Simple(b'HELP'))


@tap.test
def debug_is_closed_unless_it_is_opened():
    with server.Varved() as s, s.connect() as c:
        tap.matches(c.call('DEBUG', 'SLEEP', '0'), b'^ERR DEBUG command not allowed')
    with server.Varved('--enable-debug-command', 'local') as s, s.connect() as c:
        tap.eq(c.call('DEBUG', 'SLEEP', '0'), OK)
    path = f'{server.tempfile.mkdtemp()}/s'
    with server.Varved('--enable-debug-command', 'local', '--unixsocket', path) as s:
        with resp.Connection(path=path) as c:
            tap.eq(c.call('DEBUG', 'SLEEP', '0'), OK)


@tap.test
def debug_sleep_holds_up_nobody_else():
    with server.Varved('--enable-debug-command', 'yes') as s, s.connect() as sleeper, s.connect() as c:
        start = time.monotonic()
        sleeper.send('DEBUG', 'SLEEP', '1')
        for _ in range(100):
            tap.eq(c.call('SET', 'k', 'v'), OK)
        tap.check(tap.SANITIZER or time.monotonic() - start < 1, 'others waited')
        tap.eq(sleeper.read(), OK)
        tap.check(time.monotonic() - start >= 1, 'it did not sleep')


@tap.test
def a_digest_names_the_data_and_survives_reload_and_restart():
    with server.Varved('--enable-debug-command', 'yes', '--memtable-size', '64kb') as s:
        with s.connect() as c:
            tap.eq(c.call('DEBUG', 'DIGEST'), resp.Simple(b'0' * 40))
            keys = [(f'k{i}', 'v' * (i % 300)) for i in range(2000)] + [('large', 'x' * 300000)]
            c.pipeline([('SET', *kv) for kv in keys])
            c.call('SELECT', 2)
            c.call('SET', 'k', 'v', 'EX', 1000)
            digest = c.call('DEBUG', 'DIGEST')
            tap.eq(len(digest), 40)
            tap.eq(c.call('DEBUG', 'RELOAD'), OK)
            tap.eq(c.call('DEBUG', 'DIGEST'), digest)
            tap.eq(c.call('DEBUG', 'LOADAOF'), OK)
            tap.eq(c.call('DEBUG', 'DIGEST'), digest)
            c.call('PERSIST', 'k')
            tap.check(c.call('DEBUG', 'DIGEST') != digest, 'an expiry is part of it')
            c.call('EXPIRE', 'k', 500)
            tap.eq(c.call('DEBUG', 'DIGEST'), digest)
        s.crash()
        with s.connect() as c:
            tap.eq(c.call('DEBUG', 'DIGEST'), digest)
            c.call('FLUSHDB')
            c.pipeline([('SET', *kv) for kv in reversed(keys)])
            tap.eq(c.call('DEBUG', 'DIGEST'), digest, 'the order of writes does not matter')
            c.call('SET', 'k1', 'w')
            tap.check(c.call('DEBUG', 'DIGEST') != digest, 'a value is part of it')
            one, two, none = c.call('DEBUG', 'DIGEST-VALUE', 'k2', 'k302', 'nokey')
            tap.check(one == c.call('DEBUG', 'DIGEST-VALUE', 'k302')[0] or one != two, 'values')
            tap.eq(none, b'0' * 40)


@tap.test
def expiry_can_be_stopped():
    with server.Varved('--enable-debug-command', 'yes') as s, s.connect() as c:
        tap.eq(c.call('DEBUG', 'SET-ACTIVE-EXPIRE', '0'), OK)
        time.sleep(0.1)
        c.call('SET', 'k', 'v', 'PX', 50)
        time.sleep(0.4)
        tap.eq(c.call('DBSIZE'), 1)
        tap.eq(c.call('GET', 'k'), None)
        tap.eq(c.call('DBSIZE'), 0, 'the read deleted it')
        tap.eq(int(info(c)['expired_keys']), 1)
        c.call('SET', 'k', 'v', 'PX', 50)
        time.sleep(0.4)
        tap.eq(c.call('DBSIZE'), 1)
        tap.eq(c.call('DEBUG', 'SET-ACTIVE-EXPIRE', '1'), OK)
        tap.until(lambda: c.call('DBSIZE') == 0, 2, what='the key is gone')


@tap.test
def debug_replies_of_every_type_are_those_of_redis():
    types = ['string', 'integer', 'double', 'bignum', 'null', 'array', 'set', 'map', 'attrib', 'push', 'verbatim', 'true',
             'false', 'nothing']
    with server.Varved('--enable-debug-command', 'yes') as v, server.Redis() as r:
        for version in ('2', '3'):
            with v.connect() as ours, r.connect() as theirs:
                for c in (ours, theirs):
                    c.call('HELLO', version)
                for kind in types:
                    replies = []
                    for c in (ours, theirs):
                        c.send_raw(resp.encode('DEBUG', 'PROTOCOL', kind) + resp.encode('ECHO', 'end'))
                        data = b''
                        while not data.endswith(b'$3\r\nend\r\n'):
                            data += c.sock.recv(65536)
                        replies.append(data)
                    tap.eq(replies[0], replies[1], f'{kind} in RESP{version}')
        with v.connect() as ours, r.connect() as theirs:
            for request in (('DEBUG', 'ERROR', 'FOO bar'), ('DEBUG', 'LOG', 'x'), ('DEBUG', 'SLEEP'),
                            ('DEBUG', 'QUICKLIST-PACKED-THRESHOLD', '100b'), ('DEBUG',)):
                tap.eq(ours.call(*request), theirs.call(*request), repr(request))


tap.main()
