#!/usr/bin/python3
"""tools/littleclusters: a node started by the flags of the LittleClusters challenge, used as its tester does."""
import http.client
import os
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import server  # noqa: E402
import tap  # noqa: E402

LAUNCHER = os.path.join(server.ROOT, 'tools', 'littleclusters')


class Node(server.Server):
    """A node by the launcher; `form` is how its flags are written."""
    program = LAUNCHER
    name = 'littleclusters'

    def __init__(self, *args, form='--port {} --working-dir {}', **more):
        self.form = form
        super().__init__(*args, env={'VARVED': server.VARVED}, **more)

    def command(self):
        return [LAUNCHER] + [w.format(*values) for w, values in self.words()] + self.args

    def words(self):
        values = iter((self.port, self.dir))
        return [(w, (next(values),) if '{}' in w else ()) for w in self.form.split(' ')]

    def wait_ready(self, seconds=server.START_SECONDS):
        def answers():
            if self.process.poll() is not None:
                status = self.reap()
                raise server.ServerError(f'it ended with status {status}:\n{self.log_text()}')
            try:
                return self.ask('GET', '/healthz')[0] == 200
            except OSError:
                return False
        tap.until(answers, seconds)

    def ask(self, method, path, body=None):
        c = http.client.HTTPConnection('127.0.0.1', self.port, timeout=30)
        try:
            c.request(method, path, body)
            r = c.getresponse()
            return r.status, r.read()
        finally:
            c.close()


@tap.cases('--port {} --working-dir {}', '--port={} --working-dir={}', '-port {} -working-dir {}')
def a_node_serves_http_and_keeps_what_it_acknowledged(form):
    with Node(form=form) as n:
        tap.eq(n.ask('PUT', '/kv/hello', b'world'), (200, b''))
        tap.eq(n.ask('GET', '/kv/hello'), (200, b'world'))
        tap.eq(n.ask('GET', '/kv/none'), (404, b'key not found\n'))
        n.kill()
        n.start()
        tap.eq(n.ask('GET', '/kv/hello'), (200, b'world'))
        tap.eq(n.ask('DELETE', '/clear')[0], 200)
        tap.eq(n.ask('GET', '/kv/hello')[0], 404)
        tap.eq(n.stop(signal.SIGINT), 0)
        tap.check(os.path.exists(n.dir + '/IDENTITY'), 'the data is not in the working directory')


@tap.test
def two_nodes_side_by_side_and_further_settings():
    with Node() as a, Node('--', '--appendfsync', 'everysec', '--port', server.free_port()) as b:
        a.ask('PUT', '/kv/k', b'a')
        b.ask('PUT', '/kv/k', b'b')
        tap.eq((a.ask('GET', '/kv/k')[1], b.ask('GET', '/kv/k')[1]), (b'a', b'b'))


@tap.test
def wrong_flags_and_peers_are_refused():
    def run(*args):
        with tempfile.TemporaryDirectory() as d:
            p = subprocess.run([LAUNCHER, *args], cwd=d, env={**os.environ, 'VARVED': server.VARVED}, timeout=60,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
            return p.returncode, p.stdout.decode()
    for args in ((), ('--port',), ('--port', 'x'), ('8001',), ('--port', '8001', '--bogus', '1')):
        status, out = run(*args)
        tap.eq(status, 2, args)
        tap.matches(out, 'usage')
    status, out = run('--port', str(server.free_port()), '--peers', ':8002,:8003')
    tap.check(status not in (0, 2), status)
    tap.matches(out, 'replication is not built yet')


tap.main()
