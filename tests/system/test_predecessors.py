#!/usr/bin/python3
"""What the READMEs of the stores that this server replaces tell their users to type, typed as it stands there (but for the port);
and what else their users had, row by row. LittleClusters' own flags: test_littleclusters.py."""
import os
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import server  # noqa: E402
import tap  # noqa: E402


KVCTL_DIR = os.path.dirname(os.path.abspath(server.VARVED))


def type_in(line, port, metrics=0, resp=0):
    """A line of a README in a shell; what it prints."""
    line = line.replace('localhost:8080', f'localhost:{port}').replace('localhost:2112', f'localhost:{metrics}')
    env = {**os.environ, 'PATH': KVCTL_DIR + ':' + os.environ['PATH'], 'KVCTL_URL': f'redis://127.0.0.1:{resp}'}
    done = subprocess.run(line.replace('curl ', 'curl -sS '), shell=True, stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=60, check=False, env=env)
    tap.eq((done.returncode, done.stderr), (0, b''), line)
    return done.stdout


@tap.test
def store():
    with server.Varved(http=True) as s:
        p = s.http_port
        tap.eq(type_in('curl -X POST http://localhost:8080/set/name -H "Content-Type: application/json" -d \'{"value": "daniel"}\'', p), b'')
        tap.eq(type_in('curl http://localhost:8080/get/name', p), b'{"value":"daniel"}\n')
        tap.eq(s.call('GET', 'name'), b'daniel')
        tap.eq(type_in('curl -X DELETE http://localhost:8080/delete/name', p), b'')
        tap.eq(type_in('curl http://localhost:8080/get/name', p), b'key not found\n')
        tap.eq(type_in('curl -X POST http://localhost:8080/set/name -d "daniel"', p), b'invalid body\n')


class Configured(server.Varved):
    """A server with a configuration file."""

    def __init__(self, path):
        self.path = path
        super().__init__(http=True)

    def command(self):
        words = super().command()
        return words[:1] + [self.path] + words[1:]


@tap.cases('lsm', 'btree', 'file', 'memory')
def store_another_engine_by_one_line(engine):
    with tempfile.TemporaryDirectory() as d:
        with open(d + '/store.conf', 'w', encoding='ascii') as f:
            f.write(f'engine {engine}\n')
        with Configured(d + '/store.conf') as s:
            p = s.http_port
            tap.eq(s.call('CONFIG', 'GET', 'engine'), [b'engine', engine.encode()])
            type_in('curl -X POST http://localhost:8080/set/name -H "Content-Type: application/json" -d \'{"value": "daniel"}\'', p)
            tap.eq(type_in('curl http://localhost:8080/get/name', p), b'{"value":"daniel"}\n')
            s.crash()  # replayed at the start, where the engine keeps anything
            kept = type_in('curl http://localhost:8080/get/name', p)
            tap.eq(kept, b'key not found\n' if engine == 'memory' else b'{"value":"daniel"}\n')


@tap.test
def kv_store():
    metrics = server.free_port()
    with server.Varved('-metrics-addr', f':{metrics}', http=True) as s:
        p = s.http_port
        tap.eq(type_in('curl -X PUT http://localhost:8080/user123 -d \'{"value": "Saurab", "ttl": 3600}\'', p), b'')
        tap.eq(type_in('curl http://localhost:8080/user123', p), b'{"key":"user123","value":"Saurab","ttl":3600}')
        tap.eq(type_in('curl -X DELETE http://localhost:8080/user123', p), b'')
        text = type_in('curl http://localhost:2112/metrics', p, metrics)
        for name in (b'kvstore_memtable_size_bytes ', b'kvstore_sstable_count ', b'kvstore_operations_total{op="put"} ',
                     b'kvstore_operations_total{op="get"} ', b'kvstore_operations_total{op="delete"} '):
            tap.check(b'\n' + name in text, f'no {name}')


@tap.test
def kv_store_kvctl():
    with server.Varved() as s:
        tap.eq(type_in('kvctl put mykey myvalue', 0, resp=s.port), b'OK\n')
        tap.eq(type_in('kvctl get mykey', 0, resp=s.port), b'myvalue')
        tap.eq(s.call('GET', 'mykey'), b'myvalue')
        tap.eq(type_in('kvctl delete mykey', 0, resp=s.port), b'1\n')
        tap.eq(type_in('kvctl get mykey 2>&1 || echo $?', 0, resp=s.port), b'kvctl: there is no key mykey\n1\n')


@tap.cases('-', '--')
def kv_store_flags(dash):
    """Every flag of that store, with one dash or two; those of replication are known and say so."""
    tcp, metrics, web = server.free_port(), server.free_port(), server.free_port()
    with tempfile.TemporaryDirectory() as d:
        flags = [('data-dir', d), ('max-mem-size', '4194304'), ('http-addr', f':{web}'), ('tcp-addr', f':{tcp}'),
                 ('metrics-addr', f':{metrics}')]
        with server.Varved(*[w for name, value in flags for w in (dash + name, value)], dir=d) as s:
            tap.eq(s.call('CONFIG', 'GET', 'memtable-size'), [b'memtable-size', b'4194304'])
            tap.eq(type_in('curl -X PUT http://localhost:8080/user123 -d \'{"value": "Saurab", "ttl": 3600}\'', web), b'')
            tap.matches(type_in('curl http://localhost:2112/metrics', web, metrics), rb'kvstore_operations_total')
            with open(f'/proc/{s.pid}/net/tcp', encoding='ascii') as f:
                tap.check(f'00000000:{tcp:04X} 00000000:0000 0A' in f.read(), 'the TCP protocol is not served on every interface')
            s.call('SET', 'k', 'v')
            s.stop()
        tap.check(os.path.exists(d + '/IDENTITY'), '-data-dir is not where the data is')
        for flag in ('node-id n1', 'replication-addr :7000', 'peers localhost:7001,localhost:7002', 'quorum-size 2'):
            done = subprocess.run([server.VARVED, '--port', '0', '--dir', d, *(dash + flag).split()], capture_output=True, timeout=60,
                                  check=False)
            tap.eq(done.returncode, 1, flag)
            tap.matches(done.stdout + done.stderr, flag.split()[0].encode() + rb"': replication is not built yet")


@tap.test
def kv_store_keys_with_a_time_to_live_go_by_themselves():
    with server.Varved(http=True) as s:
        type_in('curl -X PUT http://localhost:8080/user123 -d \'{"value": "Saurab", "ttl": 1}\'', s.http_port)
        tap.eq(s.call('DBSIZE'), 1)
        tap.until(lambda: s.call('DBSIZE') == 0)
        tap.eq(type_in('curl -o /dev/null -w "%{http_code}" http://localhost:8080/user123', s.http_port), b'404')
        tap.until(lambda: b'\nexpired_keys:1\r' in s.call('INFO', 'stats'))


@tap.cases(signal.SIGTERM, signal.SIGINT)
def all_graceful_shutdown(number):
    with server.Varved('--appendfsync', 'no', http=True) as s:
        for i in range(50):
            type_in(f'curl -X PUT -d "world" http://localhost:8080/kv/hello{i}', s.http_port)
        s.stop(number)  # which expects status 0
        s.start()
        tap.eq(s.call('DBSIZE'), 50)


@tap.test
def littleclusters_what_is_refused():
    with server.Varved('--http-max-body', '1024', http=True) as s:
        p, code = s.http_port, ' -w "%{http_code}"'
        tap.eq(type_in('curl -X PUT -d "x" "http://localhost:8080/kv/a%20b"' + code, p), b'key contains invalid characters\n400')
        tap.eq(type_in('curl "http://localhost:8080/kv/%C3%A9"' + code, p), b'key contains invalid characters\n400')
        tap.eq(type_in('curl -X DELETE "http://localhost:8080/kv/a,b"' + code, p), b'key contains invalid characters\n400')
        tap.eq(type_in('curl -X PUT -d "x" http://localhost:8080/kv/A-z:0_9.b' + code, p), b'200')
        tap.eq(type_in('head -c 1025 /dev/zero | tr "\\0" x | curl -X PUT --data-binary @- http://localhost:8080/kv/k' + code, p),
               b'value too large\n413')
        for line in ('curl -X POST -d x http://localhost:8080/kv/k', 'curl -X PATCH -d x http://localhost:8080/kv/k',
                     'curl http://localhost:8080/clear', 'curl -X PUT -d x http://localhost:8080/clear'):
            tap.eq(type_in(line + code, p), b'method not allowed\n405', line)
            tap.matches(type_in(line + ' -D - -o /dev/null', p), rb'\r\nAllow: ')
        for line in ('curl', 'curl -X PUT -d x', 'curl -X DELETE'):
            tap.eq(type_in(f'{line} http://localhost:8080/kv/' + code, p), b'key cannot be empty\n400')


@tap.test
def littleclusters_and_occam():
    with server.Varved(http=True) as s:
        p = s.http_port
        tap.eq(type_in('curl -X PUT -d "world" http://localhost:8080/kv/hello', p), b'')
        tap.eq(type_in('curl http://localhost:8080/kv/hello', p), b'world')
        s.crash()
        tap.eq(type_in('curl http://localhost:8080/kv/hello', p), b'world')
        tap.eq(type_in('curl -X DELETE http://localhost:8080/kv/hello', p), b'')
        tap.eq(type_in('curl -w "%{http_code}" http://localhost:8080/kv/hello', p), b'key not found\n404')
        tap.eq(type_in('curl -X PUT -d "" http://localhost:8080/kv/hello', p), b'value cannot be empty\n')
        tap.eq(type_in('curl -X PUT -d "x" http://localhost:8080/kv/', p), b'key cannot be empty\n')
        tap.eq(type_in('curl -X DELETE http://localhost:8080/clear', p), b'')
        s.stop()  # SIGTERM: everything acknowledged is on disk, status 0


@tap.test
def node_fetch():
    if subprocess.run(['sh', '-c', 'command -v node'], stdout=subprocess.DEVNULL, check=False).returncode:
        raise tap.Skip('no node')
    with server.Varved(http=True) as s:
        script = '''
            const u = 'http://127.0.0.1:PORT';
            const check = (a, b) => { if (a !== b) { console.error(`got ${a}, want ${b}`); process.exit(1); } };
            (async () => {
              check((await fetch(u + '/v1/kv/a%2Fb', {method: 'PUT', body: 'x', headers: {'content-type': 'a/b'}})).status, 201);
              const r = await fetch(u + '/v1/kv/a%2Fb');
              check(r.headers.get('content-type'), 'a/b');
              check(await r.text(), 'x');
              check((await fetch(u + '/v1/kv/a%2Fb', {headers: {'if-none-match': r.headers.get('etag')}})).status, 304);
              const p = await fetch(u + '/pipeline', {method: 'POST', body: JSON.stringify([['SET', 'k', 1], ['INCR', 'k']])});
              check(JSON.stringify(await p.json()), '[{"result":"OK"},{"result":2}]');
              check((await fetch(u + '/kv/nope')).status, 404);
            })().catch((e) => { console.error(e); process.exit(1); });
        '''.replace('PORT', str(s.http_port))
        done = subprocess.run(['node', '-e', script], capture_output=True, timeout=120, check=False)
        tap.eq((done.returncode, done.stderr), (0, b''))


tap.main()
