#!/usr/bin/python3
"""/metrics: what promtool says of it, that it tells the truth, and that scraping disturbs nobody."""
import os
import re
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import server  # noqa: E402
import tap  # noqa: E402
import web  # noqa: E402

SAMPLE = re.compile(r'^([a-z_][a-z0-9_]*)(?:\{(.*)\})? (-?[0-9.e+-]+|\+Inf|NaN)$')


def scrape(port):
    """({(name, labels): value}, {name: type}, text), each line checked."""
    a = web.ask(port, 'GET', '/metrics')
    tap.eq(a.status, 200)
    tap.eq(a.headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8')
    text = a.body.decode()
    samples, types, helps = {}, {}, set()
    for line in text.splitlines():
        if line.startswith('# HELP '):
            helps.add(line.split(' ')[2])
        elif line.startswith('# TYPE '):
            _, _, name, kind = line.split(' ')
            tap.check(name not in types, f'{name} is declared twice')
            types[name] = kind
        else:
            m = SAMPLE.match(line)
            tap.check(m, f'no sample: {line}')
            key = (m.group(1), m.group(2) or '')
            tap.check(key not in samples, f'{key} is there twice')
            samples[key] = float(m.group(3))
            family = re.sub(r'_(bucket|sum|count)$', '', m.group(1)) if m.group(1) not in types else m.group(1)
            tap.check(family in types and family in helps, f'{m.group(1)} has no HELP or TYPE')
    return samples, types, text


def used(s):
    with s.connect() as c:
        for i in range(100):
            c.call('SET', f'k{i}', 'v' * 100)
            c.call('GET', f'k{i}')
        c.call('GET', 'missing')
        c.call('SET', 'e', 'v', 'EX', 1000)
        c.call('INCR', 'k1')
        c.call('NOSUCH')
        c.call('DEL', 'k1', 'k2')
    time.sleep(0.3)  # figures are as old as the last tick


@tap.test
def promtool_has_nothing_to_say():
    with server.Varved('--appendfsync', 'no', http=True) as s:
        used(s)
        _, types, text = scrape(s.http_port)
        done = subprocess.run(['promtool', 'check', 'metrics'], input=text.encode(), capture_output=True, check=False)
        tap.eq((done.returncode, done.stdout, done.stderr), (0, b'', b''))
        tap.check(len(types) > 90, f'{len(types)} metrics only')
        with open(os.path.join(server.ROOT, 'docs', 'metrics.md'), encoding='utf-8') as f:
            listed = dict(re.findall(r'^\| `(\w+)` \| (\w+) \|', f.read(), re.M))
        tap.eq(types, listed)


@tap.test
def figures_are_those_of_info():
    with server.Varved('--appendfsync', 'always', http=True) as s:
        used(s)
        m, _, _ = scrape(s.http_port)
        info = s.info()
        with open(os.path.join(server.ROOT, 'docs', 'metrics.md'), encoding='utf-8') as f:
            shared = re.findall(r'^\| `(\w+)` \| \w+ \| `(\w+)` \|', f.read(), re.M)
        tap.check(len(shared) > 40, f'{len(shared)} shared')
        for name, field in shared:
            tap.check(field in info, f'INFO has no {field}')
            if name not in ('varve_views', 'varve_log_segments'):
                tap.eq(m[name, ''], float(info[field]), name)
        tap.eq(m['varve_keys', 'db="0"'], 99.0)
        tap.eq(m['varve_keys_with_expiry', 'db="0"'], 1.0)
        tap.eq((m['varve_keyspace_hits_total', ''], m['varve_keyspace_misses_total', '']), (100.0, 1.0))
        tap.eq(m['varve_errors_total', 'code="ERR"'], 2.0)
        tap.eq(m['varve_command_failures_total', 'command="incr"'], 1.0)
        tap.eq(m['varve_durability_lag_commits', ''], 0.0)
        tap.eq(m['varve_writable', ''], 1.0)
        tap.check(m['varve_connections', 'protocol="http"'] >= 0 and m['varve_connections_accepted_total', 'protocol="http"'] >= 0,
                  'connections')
        tap.check(100 < m['varve_uptime_seconds', ''] * 1000 < 600000, 'uptime')
        tap.check(m['varve_memory_used_bytes', ''] > 1e6, 'memory')


@tap.test
def the_predecessors_names_are_kept():
    with server.Varved('--appendfsync', 'no', http=True) as s:
        used(s)
        m, types, _ = scrape(s.http_port)
        tap.eq(m['kvstore_operations_total', 'op="put"'], 101.0)
        tap.eq(m['kvstore_operations_total', 'op="get"'], 101.0)
        tap.eq(m['kvstore_operations_total', 'op="delete"'], 1.0)
        tap.check(m['kvstore_memtable_size_bytes', ''] > 0, 'kvstore_memtable_size_bytes')
        tap.eq(m['kvstore_sstable_count', ''], 0.0)
        tap.eq((types['kvstore_sstable_count'], types['kvstore_memtable_size_bytes']), ('untyped', 'gauge'))


@tap.test
def histograms_hold_together():
    with server.Varved('--appendfsync', 'no', http=True) as s:
        used(s)
        m, _, _ = scrape(s.http_port)
        for command, calls in (('set', 101), ('get', 101), ('del', 1)):
            name = 'varve_command_duration_seconds'
            buckets = [(float(re.search(r'le="([^"]+)"', labels).group(1)), v) for (n, labels), v in m.items()
                       if n == name + '_bucket' and f'command="{command}"' in labels]
            tap.eq(buckets, sorted(buckets))
            tap.eq([v for _, v in buckets], sorted(v for _, v in buckets))
            tap.eq((buckets[-1][1], m[name + '_count', f'command="{command}"']), (float(calls), float(calls)))
            tap.check(m[name + '_sum', f'command="{command}"'] > 0, 'sum')


@tap.test
def metrics_addr_has_metrics_and_nothing_else():
    port = server.free_port()
    with server.Varved('--appendfsync', 'no', '--metrics-addr', f':{port}') as s:
        tap.eq(scrape(port)[0]['kvstore_sstable_count', ''], 0.0)
        tap.eq(web.ask(port, 'GET', '/healthz').status, 200)
        for method, path in (('PUT', '/kv/a'), ('GET', '/kv/a'), ('DELETE', '/clear'), ('POST', '/'), ('GET', '/openapi.json')):
            tap.eq(web.ask(port, method, path, b'x' if method != 'GET' else None).status, 404, path)
        tap.eq(s.call('DBSIZE'), 0)


@tap.test
def scraping_under_load():
    with server.Varved('--appendfsync', 'no', http=True) as s:
        stop = threading.Event()

        def load():
            with s.connect() as c:
                while not stop.is_set():
                    c.pipeline([('SET', f'k{i}', 'v') for i in range(100)])
        t = threading.Thread(target=load)
        t.start()
        last = 0
        for _ in range(tap.pick(20, 200)):
            m, _, _ = scrape(s.http_port)
            now = m['varve_command_duration_seconds_count', 'command="set"'] if (
                'varve_command_duration_seconds_count', 'command="set"') in m else 0
            tap.check(now >= last, 'a counter went back')
            last = now
        stop.set()
        t.join()
        tap.check(last > 0, 'no load')


tap.main()
