#!/usr/bin/python3
"""What the READMEs of the stores that this server replaces tell their users to type, typed as it stands there (but for the port)."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import server  # noqa: E402
import tap  # noqa: E402


def type_in(line, port, metrics=0):
    """A line of a README in a shell; what it prints."""
    line = line.replace('localhost:8080', f'localhost:{port}').replace('localhost:2112', f'localhost:{metrics}')
    done = subprocess.run(line.replace('curl ', 'curl -sS '), shell=True, capture_output=True, timeout=60, check=False)
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
