#!/usr/bin/python3
"""What operators look at: Debian's Prometheus and redis_exporter read the server, the rules and the dashboard of conf/ find
what they ask for, /readyz tells what the server is doing."""
import json
import os
import re
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import server
import tap
import web

RULES = os.path.join(server.ROOT, 'conf', 'prometheus-rules.yml')
DASHBOARD = os.path.join(server.ROOT, 'conf', 'grafana-dashboard.json')


class Program(server.Server):
    """A program that listens to HTTP on `port` and is there when it answers at `path`."""
    path = '/'

    def stop(self, number=15, expect=None):
        return super().stop(number, expect)

    def get(self, path):
        with urllib.request.urlopen(f'http://127.0.0.1:{self.port}{path}', timeout=60) as answer:
            return answer.read().decode()

    def wait_ready(self, seconds=server.START_SECONDS):
        def ready():
            if self.process.poll() is not None:
                raise server.ServerError(f'{self.name} ended:\n{self.log_text()}')
            try:
                return self.get(self.path) or True
            except OSError:
                return False
        tap.until(ready, seconds, step=0.05, what=f'{self.name}')


class Exporter(Program):
    """redis_exporter, of a server."""
    program = '/usr/bin/prometheus-redis-exporter'
    name = 'exporter'

    def command(self):
        return [self.program, '-redis.addr', f'redis://127.0.0.1:{self.args[0]}', '-web.listen-address', f'127.0.0.1:{self.port}']

    def names(self):
        return set(re.findall(r'^(redis_\w+)[ {]', self.get('/metrics'), re.M))


class Prometheus(Program):
    """Prometheus, which reads these targets every second: {job: port}."""
    program = '/usr/bin/prometheus'
    name = 'prometheus'
    path = '/-/ready'

    def __init__(self, targets):
        self.targets = targets
        super().__init__()

    def command(self):
        config = {'global': {'scrape_interval': '1s', 'scrape_timeout': '1s', 'evaluation_interval': '1s'}, 'rule_files': [RULES],
                  'scrape_configs': [{'job_name': job, 'static_configs': [{'targets': [f'127.0.0.1:{port}']}]}
                                     for job, port in self.targets.items()]}
        path = os.path.join(self.dir, 'prometheus.yml')
        with open(path, 'w', encoding='utf-8') as f:
            json.dump(config, f)  # JSON is YAML, too
        return [self.program, '--config.file', path, '--storage.tsdb.path', os.path.join(self.dir, 'data'),
                '--web.listen-address', f'127.0.0.1:{self.port}', '--log.level', 'warn']

    def api(self, path, **query):
        answer = json.loads(self.get(f'/api/v1/{path}?{urllib.parse.urlencode(query)}'))
        tap.eq(answer['status'], 'success')
        return answer['data']

    def values(self, query):
        """The values of a query that are numbers."""
        try:
            result = self.api('query', query=query)['result']
        except urllib.error.HTTPError as error:
            raise tap.Failed(f'{query}: {error.read().decode()}') from None
        return [float(r['value'][1]) for r in result if r['value'][1] != 'NaN']


def fill(s, keys=3000):
    """Something of everything: types, tables on disk, expiry, errors, hits and misses."""
    with s.connect() as c:
        for part in range(4):
            c.pipeline([('SET', f'k{part}:{i}', f'{i}' * 100) for i in range(keys)])
        c.pipeline([('DEL', f'k0:{i}') for i in range(0, keys, 2)])
        c.pipeline([('SET', f'e{i}', 'v', 'PX', '300') for i in range(100)])
        for command in (('HSET', 'h', 'f', 'v'), ('RPUSH', 'l', 'a'), ('SADD', 's', 'a'), ('ZADD', 'z', '1', 'a')):
            c.must(*command)


class Load:
    """Traffic until the end of the block."""

    def __init__(self, s, keys=3000):
        self.s, self.keys = s, keys
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        n = 0
        with self.s.connect() as c:
            while not self.stop.wait(0.02):
                n += 1
                at = n * 7919
                c.pipeline([('GET', f'k{i % 5}:{(at + i * 31) % self.keys}') for i in range(50)])
                c.pipeline([('SET', f'new{(at + i) % 10000}', 'v' * 200) for i in range(20)])
                c.pipeline([('INCR', 'l'), ('NOSUCH',), ('SET', 'e', 'v', 'PX', '50'), ('ZADD', 'z', str(n), f'm{n % 100}')])
                if self.s.http_port:
                    web.ask(self.s.http_port, 'GET', '/kv/l')

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


@tap.test
def the_exporter_finds_what_it_finds_on_redis():
    with server.Varved() as s, server.Redis() as r:
        for one in (s, r):
            with one.connect() as c:
                c.must('SET', 'k', 'v', 'EX', '100')
                c.call('NOSUCH')
        with Exporter(r.port) as of_redis:
            there = of_redis.names()
        with Exporter(s.port) as of_varved:
            here = of_varved.names()
            text = of_varved.get('/metrics')
        tap.diag(f'{len(here & there)} of {len(there)}; not here: {sorted(there - here)}')
        tap.check(len(there) >= 120, f'the exporter finds {len(there)} names on Redis')
        tap.check(len(here & there) >= 120, f'{len(here & there)} of {len(there)}; not here: {sorted(there - here)}')
        for line in ('redis_up 1', 'redis_exporter_last_scrape_error{err=""} 0', 'redis_db_keys{db="db0"} 1',
                     'redis_db_keys_expiring{db="db0"} 1'):
            tap.check(line in text.splitlines(), f'no line {line}')


@tap.test
def promtool_accepts_the_rules():
    done = subprocess.run(['promtool', 'check', 'rules', RULES], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    tap.check(done.returncode == 0 and 'SUCCESS' in done.stdout, done.stdout)


# alert, series and their values from minute 0 on, minute of the look, whether it fires
ALARMS = [
    ('VarveDown', {'up{job="varve-1"}': '1 1 0x10'}, 3, True),
    ('VarveDown', {'up{job="varve-1"}': '1 1 0 1x10'}, 3, False),
    ('VarveDown', {'up{job="else"}': '0x10'}, 5, False),
    ('VarveReadOnly', {'varve_writable': '1 1 0x10'}, 2, True),
    ('VarveReadOnly', {'varve_writable': '1x10'}, 2, False),
    ('VarveNothingReachesTheDisk', {'varve_durability_lag_commits': '0 5+5x20', 'varve_log_syncs_total': '7x20'}, 8, True),
    ('VarveNothingReachesTheDisk', {'varve_durability_lag_commits': '0 5+5x20', 'varve_log_syncs_total': '7+1x20'}, 8, False),
    ('VarveSlowDisk', {'varve_log_sync_seconds_total': '0+12x30', 'varve_log_syncs_total': '0+60x30'}, 15, True),
    ('VarveSlowDisk', {'varve_log_sync_seconds_total': '0+1x30', 'varve_log_syncs_total': '0+60x30'}, 15, False),
    ('VarveWritersStall', {'varve_commit_waits_total': '0+20x30'}, 15, True),
    ('VarveWritersStall', {'varve_commit_waits_total': '3x30'}, 15, False),
    ('VarveCompactionFallsBehind', {'varve_compaction_pending_bytes': '0+1000000000x120'}, 90, True),
    ('VarveCompactionFallsBehind', {'varve_compaction_pending_bytes': '90000000000-100000000x120'}, 90, False),
    ('VarveMemoryNearItsLimit', {'varve_memory_used_bytes': '98x60', 'varve_memory_limit_bytes': '100x60'}, 20, True),
    ('VarveMemoryNearItsLimit', {'varve_memory_used_bytes': '90x60', 'varve_memory_limit_bytes': '100x60'}, 20, False),
    ('VarveConnectionsNearTheirLimit', {'varve_connections{protocol="resp"}': '95x60', 'varve_connections_limit': '100x60'}, 20, True),
    ('VarveConnectionsNearTheirLimit', {'varve_connections{protocol="resp"}': '85x60', 'varve_connections_limit': '100x60'}, 20, False),
    ('VarveConnectionsRejected', {'varve_connections_rejected_total{protocol="resp"}': '0 0 4x9'}, 4, True),
    ('VarveConnectionsRejected', {'varve_connections_rejected_total{protocol="resp"}': '4x20'}, 4, False),
    ('VarveCommandsFail', {'varve_command_failures_total': '0+10x60', 'varve_command_duration_seconds_count': '0+100x60'}, 30, True),
    ('VarveCommandsFail', {'varve_command_failures_total': '0+1x60', 'varve_command_duration_seconds_count': '0+100x60'}, 30, False),
    ('VarveCommandsSlow', {'varve_command_duration_seconds_bucket{le="0.1"}': '0+50x60',
                           'varve_command_duration_seconds_bucket{le="+Inf"}': '0+100x60',
                           'varve_command_duration_seconds_bucket{le="1"}': '0+100x60'}, 30, True),
    ('VarveRestarted', {'varve_uptime_seconds': '30+60x20'}, 1, True),
    ('VarveRestarted', {'varve_uptime_seconds': '30+60x20'}, 5, False),
    ('VarveLogWasTorn', {'varve_recovery_torn_bytes': '17x20'}, 1, True),
    ('VarveLogWasTorn', {'varve_recovery_torn_bytes': '0x20'}, 1, False),
]


@tap.test
def alerts_fire_when_they_should_and_not_otherwise():
    groups = []
    for alert, series, minute, fires in ALARMS:
        # A group tests one look; that the alert fires is that ALERTS has it.
        groups.append({
            'interval': '1m',
            'input_series': [{'series': name, 'values': values} for name, values in series.items()],
            'promql_expr_test': [{'expr': f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})', 'eval_time': f'{minute}m',
                                  'exp_samples': [{'labels': '{}', 'value': 1}] if fires else []}]})
    with open(RULES, encoding='utf-8') as f:
        there = set(re.findall(r'- alert: (\w+)', f.read()))
    tap.eq({a for a, _, _, fires in ALARMS if fires}, there)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'test.yml')
        with open(path, 'w', encoding='utf-8') as f:
            json.dump({'rule_files': [RULES], 'evaluation_interval': '1m', 'tests': groups}, f)
        done = subprocess.run(['promtool', 'test', 'rules', path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False)
        tap.check(done.returncode == 0, done.stdout[-3000:])


def queries():
    """(title of the panel, query) of the dashboard, with its variables filled in."""
    with open(DASHBOARD, encoding='utf-8') as f:
        board = json.load(f)
    variables = {v['name'] for v in board['templating']['list']}
    tap.eq(variables, {'datasource', 'instance'})
    ids = [p['id'] for p in board['panels']]
    tap.eq(len(set(ids)), len(ids))
    for panel in board['panels']:
        if panel['type'] == 'row':
            continue
        tap.check(panel['targets'], panel['title'])
        for target in panel['targets']:
            text = target['expr'].replace('$__rate_interval', '5s').replace('$instance', '.*')
            tap.check('$' not in text, text)
            yield panel['title'], text


@tap.test
def prometheus_reads_the_server_and_every_query_of_the_dashboard_has_data():
    with server.Varved('--memtable-size', '1mb', '--cache-size', '1mb', http=True) as s:
        fill(s)
        with Exporter(s.port) as e, Prometheus({'varve': s.http_port, 'redis-exporter': e.port}) as p, Load(s):
            tap.until(lambda: p.values('count_over_time(up{job="varve"}[1m]) >= 8'), 60, step=0.5, what='eight scrapes')
            tap.eq((p.values('up{job="varve"}'), p.values('up{job="redis-exporter"}'), p.values('redis_up')), ([1.0], [1.0], [1.0]))
            asked = list(queries())
            tap.check(len(asked) > 60, f'{len(asked)} queries')
            missing = {(title, q) for title, q in asked if not p.values(q)}
            if missing:  # a figure that is not a number for a moment
                time.sleep(3)
                missing = {(title, q) for title, q in missing if not p.values(q)}
            tap.check(not missing, f'no data: {sorted(missing)}')
            names = p.api('label/__name__/values')
            tap.check(len([n for n in names if n.startswith('varve_')]) > 90, 'names')
            groups = p.api('rules')['groups']
            tap.eq([r['name'] for g in groups for r in g['rules'] if r['health'] != 'ok'], [])
            for rule in (r for g in groups for r in g['rules'] if r['type'] == 'recording'):
                tap.check(p.values(rule['name']), f'{rule["name"]} has no value')
            firing = {a['labels']['alertname'] for a in p.api('alerts')['alerts'] if a['state'] == 'firing'}
            tap.eq(firing - {'VarveRestarted'}, set())
            meta = p.api('metadata', metric='varve_commands_total')
            tap.eq(meta['varve_commands_total'][0]['type'], 'counter')


def thread_cpu(s, name):
    """CPU seconds of the server's threads with that name, to the nanosecond."""
    total = 0
    for task in os.listdir(f'/proc/{s.pid}/task'):
        with open(f'/proc/{s.pid}/task/{task}/comm', encoding='ascii') as f:
            if f.read().strip() != name:
                continue
        with open(f'/proc/{s.pid}/task/{task}/schedstat', encoding='ascii') as f:
            total += int(f.read().split()[0])
    return total / 1e9


@tap.test
def a_scrape_costs_less_than_a_hundredth_of_a_core_for_each_second():
    with server.Varved(http=True) as s:
        fill(s)
        count = 100
        with Load(s), web.Connection(s.http_port) as c:
            # Load asks for one thing over HTTP 50 times a second, which counts as ours.
            before = thread_cpu(s, 'http-0')
            for _ in range(count):
                tap.eq(c.request('GET', '/metrics').status, 200)
            each = (thread_cpu(s, 'http-0') - before) / count
        tap.diag(f'a scrape takes {each * 1000:.2f} ms of CPU')
        tap.check(each < 0.01 * (10 if tap.SANITIZER else 1), f'{each * 1000:.2f} ms of CPU')


@tap.test
def not_ready_while_the_log_is_replayed():
    options = ('--appendfsync', 'no', '--memtable-size', '512mb', '--maxmemory', '4gb', '--replay-time', 600000)
    with server.Varved(*options, http=True) as s:
        count = 1000 if tap.SANITIZER else 12000
        with s.connect() as c:
            for part in range(100):
                c.pipeline([('SET', f'{part}:{i}', 'v' * 100) for i in range(count)])
        s.kill()
        s.wait = False
        s.start()
        port = s.http_port
        tap.until(lambda: _connects(port), 30, step=0.001, what='listening')
        with web.Connection(port) as waits, web.Connection(port) as idle, web.Connection(port) as slow:
            waits.send(b'GET /kv/99:5 HTTP/1.1\r\nHost: localhost\r\n\r\n')
            slow.send(b'GET /rea')
            first = web.ask(port, 'GET', '/readyz')
            tap.eq((first.status, first.body), (503, b'recovering: the log is being read\n'))
            tap.eq((first.headers['connection'], first.headers['content-type']), ('close', 'text/plain; charset=utf-8'))
            tap.check('date' in first.headers, 'no Date')
            a = web.ask(port, 'GET', '/healthz')
            tap.eq((a.status, a.body), (200, b'ok\n'))
            a = web.ask(port, 'HEAD', '/readyz')
            tap.eq((a.status, a.body, a.headers['content-length']), (503, b'', '34'))
            with web.Connection(port) as bad:
                bad.send(b'GET /readyz HTTP/1.1\r\nHost: localhost\r\nHost: y\r\n\r\n')
                tap.eq(bad.answer().status, 400)
            slow.send(b'dyz HTTP/1.1\r\nHost: localhost\r\n\r\n')
            tap.eq(slow.answer().status, 503)
            tap.check(slow.ends(), 'still open')
            tap.check(b'serves port' not in s.log(), 'the replay was over before all was asked')
            # Who asked for more waited, and is answered by the server itself; so is who had not asked yet.
            a = waits.answer()
            tap.eq((a.status, a.body), (200, b'v' * 100))
            tap.eq(waits.request('GET', '/readyz').status, 200)
            tap.eq((idle.request('GET', '/readyz').body, idle.request('PUT', '/kv/x', b'1').status), (b'ready\n', 200))
        s.wait_ready()
        tap.check(int(s.info()['recovered_commits']) > 0, 'nothing was replayed')


def _connects(port):
    try:
        with web.Connection(port):
            return True
    except OSError:
        return False


@tap.test
def not_ready_while_it_shuts_down():
    with server.Varved('--appendfsync', 'no', http=True) as s:
        value = b'v' * (40 << 20)
        s.call('SET', 'large', value)
        tap.eq(web.ask(s.http_port, 'GET', '/readyz').status, 200)
        with s.connect() as c:
            c.send('GET', 'large')  # not taken yet: the server waits for it before it ends
            time.sleep(0.3)
            s.send_signal(15)
            tap.until(lambda: b'shutting down' in s.log(), what='shutting down')
            a = tap.until(lambda: _asks_when_stopping(s.http_port), 3, what='503')
            tap.eq(a.body, b'stopping: the server is shutting down\n')
            tap.eq(web.ask(s.http_port, 'GET', '/healthz').status, 200)
            tap.eq(web.ask(s.http_port, 'PUT', '/kv/late', b'x').status, 503)
            tap.eq(c.read(), value)
        tap.eq(s.reap(), 0)
        tap.check(not _connects(s.http_port), 'it still listens')
        s.start()
        tap.eq(s.call('EXISTS', 'late', 'large'), 1)


def _asks_when_stopping(port):
    try:
        a = web.ask(port, 'GET', '/readyz')
        return a if a.status == 503 else None
    except (OSError, EOFError):
        return None


tap.main()
