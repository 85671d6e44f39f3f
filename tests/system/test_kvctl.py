#!/usr/bin/python3
"""kvctl from outside: every subcommand that talks to a server, what it prints and its exit status."""
import hashlib
import json
import os
import pty
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import server  # noqa: E402
import tap  # noqa: E402

KVCTL = os.path.join(os.path.dirname(server.VARVED), 'kvctl')
FAST = ('--appendfsync', 'no')


class Result:
    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err


def clean_env(env=None):
    """The environment without what kvctl would look at."""
    out = {k: v for k, v in os.environ.items() if k not in ('KVCTL_URL', 'REDISCLI_AUTH')}
    return {**out, **(env or {})}


def kvctl(s, *args, stdin=b'', env=None):
    """Runs kvctl against a server (None: with no address)."""
    where = ['-p', str(s.port)] if s else []
    p = subprocess.run([KVCTL, *where, *[a if isinstance(a, bytes) else str(a) for a in args]], input=stdin,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_env(env), timeout=240)
    return Result(p.returncode, p.stdout, p.stderr)


def expect(r, status, out=None, err=None):
    if r.status != status:
        raise tap.Failed(f'status {r.status}, not {status}: {r.out!r} {r.err!r}')
    if out is not None:
        tap.eq(r.out, out)
    if err is not None:
        tap.matches(r.err, err)


@tap.test
def values_go_byte_for_byte_from_argument_file_and_stdin_to_stdout():
    with server.Varved(*FAST) as s, tempfile.NamedTemporaryFile() as f:
        every = bytes(range(256)) * 300
        f.write(every)
        f.flush()
        expect(kvctl(s, 'put', 'mykey', 'myvalue'), 0, b'OK\n')
        expect(kvctl(s, 'get', 'mykey'), 0, b'myvalue', b'^$')
        expect(kvctl(s, 'put', 'k', '--file', f.name), 0)
        expect(kvctl(s, 'get', 'k'), 0, every)
        expect(kvctl(s, 'put', 'k2', stdin=every), 0)
        expect(kvctl(s, 'get', 'k2'), 0, every)
        expect(kvctl(s, 'put', 'k3', '-', stdin=b''), 0)
        expect(kvctl(s, 'get', 'k3'), 0, b'')
        expect(kvctl(s, 'put', b'\xff\n', '--', '-v'), 0)
        expect(kvctl(s, 'get', b'\xff\n'), 0, b'-v')
        expect(kvctl(s, 'put', 'k', 'v', '--file', f.name), 2, b'', b'two values')
        expect(kvctl(s, 'put', 'k', '--file', '/nonexistent'), 2, b'', b'cannot open')


@tap.test
def what_is_not_found_is_status_1():
    with server.Varved(*FAST) as s:
        for args in (('get', 'k'), ('ttl', 'k'), ('type', 'k'), ('expire', 'k', '5'), ('expire', 'k', 'never'),
                     ('delete', 'k'), ('exists', 'k'), ('scan',), ('put', '--xx', 'k', 'v'), ('GETDEL', 'k')):
            tap.diag(args)
            expect(kvctl(s, *args), 1)
        expect(kvctl(s, 'get', 'k'), 1, b'', b'no key k')
        expect(kvctl(s, '--json', 'get', 'k'), 1, b'null\n')
        expect(kvctl(s, 'put', 'k', 'v'), 0)
        expect(kvctl(s, 'put', '--nx', 'k', 'w'), 1, b'', b'not stored')
        expect(kvctl(s, 'get', 'k'), 0, b'v')


@tap.test
def the_small_subcommands():
    with server.Varved(*FAST) as s:
        expect(kvctl(s, 'incr', 'n'), 0, b'1\n')
        expect(kvctl(s, 'incr', 'n', '-11'), 0, b'-10\n')
        expect(kvctl(s, 'put', 'k', 'v', '--ttl', '100.5'), 0)
        ms = int(kvctl(s, 'ttl', '--ms', 'k').out)
        tap.check(90000 < ms <= 100500, ms)
        expect(kvctl(s, 'put', 'k', 'w', '--keep-ttl'), 0)
        tap.check(int(kvctl(s, 'ttl', 'k').out) > 0)
        expect(kvctl(s, 'expire', 'k', 'never'), 0, b'1\n')
        expect(kvctl(s, 'expire', 'k', 'never'), 0, b'1\n')  # it is there, and never expires
        expect(kvctl(s, 'ttl', 'k'), 0, b'-1\n')
        expect(kvctl(s, 'expire', '--ms', 'k', '50000'), 0, b'1\n')
        expect(kvctl(s, 'expire', 'k', 'soon'), 2, b'', b'no number')
        expect(kvctl(s, 'type', 'k'), 0, b'string\n')
        expect(kvctl(s, 'exists', 'k', 'n', 'x'), 0, b'2\n')
        expect(kvctl(s, 'count'), 0, b'2\n')
        expect(kvctl(s, 'count', 'n*'), 0, b'1\n')
        expect(kvctl(s, 'delete', 'k', 'x'), 0, b'1\n')
        expect(kvctl(s, 'scan'), 0, b'n\n')
        expect(kvctl(s, 'flush'), 2, b'', b'--yes')
        expect(kvctl(s, 'count'), 0, b'1\n')
        expect(kvctl(s, 'flush', '--yes'), 0, b'OK\n')
        expect(kvctl(s, 'count'), 0, b'0\n')
        expect(kvctl(s, 'ping'), 0)
        tap.matches(kvctl(s, 'version').out, rb'^kvctl \S+\nserver varve \S+, as Redis 7\.2')


@tap.test
def scan_lists_every_key_once():
    with server.Varved(*FAST) as s, s.connect() as c:
        names = {b'key:%d' % i for i in range(5000)} | {b'a b', b'x\ny'}
        c.pipeline([('SET', n, 'v') for n in names])
        r = kvctl(s, 'scan', '--null')
        got = r.out.split(b'\0')[:-1]
        tap.eq(len(got), len(names))
        tap.eq(set(got), names)
        tap.eq(len(kvctl(s, 'scan', 'key:1*').out.splitlines()), sum(n.startswith(b'key:1') for n in names))
        tap.eq(len(kvctl(s, 'scan', '--limit', 7).out.split()), 7)
        lines = kvctl(s, '--json', 'scan', 'x*').out
        tap.eq(lines, b'"x\\ny"\n')


@tap.test
def anything_else_is_a_redis_command():
    with server.Varved(*FAST) as s:
        expect(kvctl(s, 'set', 'k', 'v'), 0, b'OK\n')
        expect(kvctl(s, 'strlen', 'k'), 0, b'1\n')
        expect(kvctl(s, 'mget', 'k', 'none', 'k'), 0, b'v\n\nv\n')
        expect(kvctl(s, '--json', 'MGET', 'k', 'none'), 0, b'["v",null]\n')
        expect(kvctl(s, 'getrange', 'k', '0', '-1'), 0, b'v\n')
        expect(kvctl(s, 'nonsense', 'a'), 2, b'', b'unknown command')
        r = kvctl(s, '--json', 'nonsense', 'a')
        tap.check(r.status == 2 and json.loads(r.out)['error'].startswith('ERR unknown'), r.out)
        expect(kvctl(s, 'incr', 'k'), 2, b'', b'not an integer')
        expect(kvctl(s, 'MONITOR'), 2, b'', b'redis-cli')
        tap.matches(kvctl(s, 'INFO', 'server').out, b'varve_version')


@tap.test
def connections_passwords_and_databases():
    with server.Varved(*FAST, '--requirepass', 'p@ss word') as s:
        expect(kvctl(s, 'ping'), 2, b'', b'NOAUTH')
        expect(kvctl(s, '-a', 'wrong', 'ping'), 2, b'', b'WRONGPASS')
        expect(kvctl(s, '-a', 'p@ss word', 'ping'), 0)
        expect(kvctl(s, '--user', 'default', '-a', 'p@ss word', 'ping'), 0)
        auth = {'REDISCLI_AUTH': 'p@ss word'}
        expect(kvctl(s, '-n', '3', 'put', 'k', 'three', env=auth), 0)
        expect(kvctl(s, 'get', 'k', env=auth), 1)
        expect(kvctl(s, '-n', '99', 'get', 'k', env=auth), 2, b'', b'out of range')
        url = {'KVCTL_URL': f'redis://:p%40ss%20word@127.0.0.1:{s.port}/3'}
        expect(kvctl(None, 'get', 'k', env=url), 0, b'three')
        url = {'KVCTL_URL': f'redis://default:p%40ss%20word@localhost:{s.port}'}
        expect(kvctl(None, '-n', '3', 'get', 'k', env=url), 0, b'three')
    expect(kvctl(None, '-p', server.free_port(), 'ping'), 3, b'', b'cannot connect')
    expect(kvctl(None, 'ping', env={'KVCTL_URL': 'http://x'}), 2, b'', b'KVCTL_URL')
    expect(kvctl(None, '-s', '/nonexistent', 'ping'), 3, b'', b'cannot connect')
    expect(kvctl(None, '-h', 'no-such-host.invalid', 'ping'), 3)
    r = kvctl(None, '-p', server.free_port(), 'version')
    tap.check(r.status == 3 and r.out.startswith(b'kvctl '), r.out)


@tap.test
def a_unix_socket():
    with tempfile.TemporaryDirectory() as d, server.Varved(*FAST, '--unixsocket', d + '/sock'):
        expect(kvctl(None, '-s', d + '/sock', 'put', 'k', 'v'), 0)
        expect(kvctl(None, 'get', 'k', env={'KVCTL_URL': f'unix://{d}/sock'}), 0, b'v')


@tap.test
def wrong_usage_is_status_2_and_help_is_status_0():
    for args in ((), ('-x',), ('-p', '0', 'ping'), ('-p',), ('-n', 'x', 'ping')):
        expect(kvctl(None, *args), 2)
    for args in (('get',), ('get', 'a', 'b'), ('put',), ('scan', '--bogus'), ('scan', '--limit'), ('put', 'k', 'v', '--nx=1'),
                 ('completion', 'tcsh')):
        expect(kvctl(None, *args), 2, b'')
    r = kvctl(None, '--help')
    expect(r, 0)
    tap.matches(r.out, b'Exit status: 0 found or done, 1 not found, 2 error, 3 cannot connect')
    table = open(os.path.join(server.ROOT, 'tools/kvctl/subcommands.def'), encoding='utf-8').read()
    names = re.findall(r'SUBCOMMAND\("(\w+)"', table)
    tap.check(len(names) > 20)
    for name in names:
        tap.check(f'  {name} '.encode() in r.out, f'--help does not list {name}')
        expect(kvctl(None, name, '--help'), 0)
    tap.matches(kvctl(None, '--version').out, rb'^kvctl \d')
    with open('/dev/full', 'w') as full:
        p = subprocess.run([KVCTL, '--help'], stdout=full, stderr=subprocess.PIPE, check=False)
        tap.eq(p.returncode, 2)


@tap.test
def info_and_stats():
    with server.Varved(*FAST) as s:
        kvctl(s, 'put', 'k', 'v')
        kvctl(s, 'get', 'k')
        text = kvctl(s, 'info').out.decode()
        for word in ('varve', 'up ', 'Memory', 'Keys', 'Disk', 'Stalls', 'hit ratio', '100.0%', 'write latch held'):
            tap.check(word in text, f'{word} is not in {text}')
        fields = json.loads(kvctl(s, '--json', 'info').out)
        tap.eq(fields['tcp_port'], str(s.port))
        lines = kvctl(s, 'stats', '--interval', '0.05', '--count', 2).out.splitlines()
        tap.eq(len(lines), 3)
        tap.matches(lines[0], b'^time +keys +commands/s')
        line = json.loads(kvctl(s, '--json', 'stats', '-i', '0.05', '-c', '1').out)
        tap.eq(line['keys'], 1)
        expect(kvctl(s, 'stats', '--interval', 'x'), 2)


@tap.test
def bench_measures_and_leaves_nothing():
    with server.Varved(*FAST) as s:
        kvctl(s, 'put', 'mine', 'v')
        r = kvctl(s, '--json', 'bench', '-r', 2000, '-c', 5, '-k', 100, '-P', 4)
        expect(r, 0)
        got = [json.loads(line) for line in r.out.splitlines()]
        tap.eq([g['test'] for g in got], ['SET', 'GET'])
        for g in got:
            tap.eq(g['requests'], 2000)
            tap.check(0 < g['p50_ms'] <= g['p99_ms'] <= g['max_ms'] * 1.07, g)
        expect(kvctl(s, 'count'), 0, b'1\n')
        tap.matches(kvctl(s, 'bench', '-r', 100, '-t', 'get').out, b'p99.9')
        expect(kvctl(s, 'bench', '-t', 'xyz'), 2)


# ---- import and export


def value_of(c, key):
    """A key's whole state, whatever its type."""
    kind = c.call('TYPE', key)
    read = {b'string': ('GET', key), b'list': ('LRANGE', key, 0, -1), b'set': ('SMEMBERS', key),
            b'zset': ('ZRANGE', key, 0, -1, 'WITHSCORES'), b'hash': ('HGETALL', key)}[kind]
    value = c.call(*read)
    if kind == b'set':
        value = sorted(value)
    if kind == b'hash':
        times = [None] * (len(value) // 2)
        if knows(c, 'hpexpiretime'):
            times = c.must('HPEXPIRETIME', key, 'FIELDS', len(value) // 2, *value[::2])
        value = sorted(zip(value[::2], value[1::2], times))
    return kind, value, c.call('PEXPIRETIME', key)


def all_keys(c):
    cursor, keys = b'0', []
    while True:
        cursor, more = c.call('SCAN', cursor, 'COUNT', 1000)
        keys += more
        if cursor == b'0':
            return sorted(keys)


def state(c):
    return {k: value_of(c, k) for k in all_keys(c)}


def knows(c, name):
    return c.call('COMMAND', 'INFO', name)[0] is not None


def fill(c, seed):
    """Keys of every type the server has, with bytes of all kinds."""
    rng = random.Random(seed)
    texts = [b'', b'plain', bytes(range(256)), 'é\u2028\U0001f600'.encode(), b'\xed\xa0\x80', b'"\\\n\t\x7f', b'-1', b'3.0',
             rng.randbytes(3000)]
    for i, t in enumerate(texts):
        c.must('SET', b'string:%d:' % i + t[:100], t)
    c.must('SET', 'expiring', 'x', 'PX', 10_000_000)
    c.must('SET', 'long', rng.randbytes(200_000), 'EX', 5000)
    c.must('SET', b'K' * 700, 'long key')
    many = [rng.randbytes(rng.randrange(1, 20)) for _ in range(1500)] + texts
    if knows(c, 'rpush'):
        c.must('RPUSH', 'list', *many)
        c.must('RPUSH', 'list:small', 'a', '', 'a')
    if knows(c, 'sadd'):
        c.must('SADD', 'set', *many)
        c.must('SADD', 'set:ints', *range(100))
        c.must('EXPIRE', 'set', 4000)
    if knows(c, 'hset'):
        c.must('HSET', 'hash', *many[:1500])
        c.must('HSET', 'hash:small', 'f', 'v', '', '')
        if knows(c, 'hpexpire'):
            c.must('HSET', 'hash:passing', *many[:1500])
            fields = c.must('HKEYS', 'hash:passing')
            for i, field in enumerate(fields[::3]):
                c.must('HPEXPIRE', 'hash:passing', 9_000_000 + i // 7, 'FIELDS', 1, field)
            c.must('HSET', 'hash:gone', 'stays', 'v', 'goes', 'v')
            c.must('HPEXPIRE', 'hash:gone', 20, 'FIELDS', 1, 'goes')
            tap.until(lambda: c.must('HLEN', 'hash:gone') == 1)
    if knows(c, 'zadd'):
        c.must('ZADD', 'zset', *[x for m in set(many) for x in (rng.uniform(-1e9, 1e9), m)])
        c.must('ZADD', 'zset:small', 'inf', 'i', '-inf', 'j', '0.1', 'k', '1e300', 'l')
        c.must('PEXPIRE', 'zset:small', 9_000_000)


@tap.cases('json', 'resp')
def export_and_import_bring_every_key_back_byte_for_byte(form):
    def go(target):
        with target.connect() as c, tempfile.TemporaryDirectory() as d:
            fill(c, 7)
            before = state(c)
            expect(kvctl(target, 'export', '--format', form, d + '/f'), 0, b'', b'%d keys exported' % len(before))
            tap.eq(os.listdir(d), ['f'])
            tap.eq(os.stat(d + '/f').st_mode & 0o777, 0o600)
            c.must('FLUSHALL')
            c.must('SET', 'expiring', 'something else')
            expect(kvctl(target, 'import', d + '/f'), 0, b'', b'%d keys imported' % len(before))
            tap.eq(os.listdir(d), ['f'])
            tap.check(state(c) == before, 'the keys are not what they were')
            # through pipes, without a progress bar
            r = kvctl(target, 'export', '-f', form)
            tap.check(b'\r' not in r.err and b'\033' not in r.err, r.err)
            c.must('FLUSHALL')
            r = kvctl(target, 'import', '-', stdin=r.out)
            expect(r, 0)
            tap.check(b'\r' not in r.err, r.err)
            tap.check(state(c) == before, 'the keys are not what they were, through a pipe')
    with server.Varved(*FAST) as s:
        go(s)
    with server.Redis() as s:  # has all the types
        go(s)


@tap.test
def what_cannot_be_exported_is_said():
    with server.Redis() as s:
        s.call('XADD', 'stream', '*', 'a', 'b')
        s.call('SET', 'k', 'v')
        r = kvctl(s, 'export')
        expect(r, 2, b'{"key":"k","type":"string","value":"v"}\n', b'keys were left out')
    with server.Varved(*FAST) as s:
        expect(kvctl(s, 'export', '/nonexistent/f'), 2)
        expect(kvctl(s, 'export', '--format', 'xml'), 2)


@tap.cases(
    ('no json', b'hello\n', b'line 1'),
    ('second line', b'{"key":"k","type":"string","value":"v"}\n\n{"key":1}\n', b'line 3'),
    ('unknown type', b'{"key":"k","type":"tree","value":"v"}', b'type'),
    ('no value', b'{"key":"k","type":"string"}', b'missing'),
    ('twice', b'{"key":"k","key":"k","type":"string","value":"v"}', b'twice'),
    ('half a surrogate', b'{"key":"\\ud800","type":"string","value":"v"}', b'surrogate'),
    ('raw bytes', b'{"key":"\xff","type":"string","value":"v"}', b'UTF-8'),
    ('base64', b'{"key":{"base64":"A"},"type":"string","value":"v"}', b'base64'),
    ('past expiry', b'{"key":"k","type":"string","expires_at_ms":0,"value":"v"}', b'expires_at_ms'),
    ('field expiry', b'{"key":"k","type":"hash","value":[["f","v",0]]}', b'time'),
    ('set expiry', b'{"key":"k","type":"zset","value":[["f","1",5]]}', b'expected'),
    ('append to a string', b'{"key":"k","type":"string","append":true,"value":"v"}', b'appended'),
    ('append is no word', b'{"key":"k","type":"set","append":tru,"value":["v"]}', b'true'),
    ('cut', b'{"key":"k","type":"string","value":"v', b'end'),
    ('resp cut', b'*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nab', b'RESP'),
    ('resp length', b'*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$99999999999\r\nab', b'RESP'),
    ('resp count', b'*0\r\n', b'RESP'),
    ('a command that fails', b'*2\r\n$6\r\nNOSUCH\r\n$1\r\nk\r\n', b'unknown command'),
)
def a_damaged_file_is_an_error_that_says_where(name, text, why):
    with server.Varved(*FAST) as s:
        r = kvctl(s, 'import', stdin=text)
        expect(r, 2, b'', why)
        if name == 'second line':
            expect(kvctl(s, 'get', 'k'), 0, b'v')


@tap.cases('json', 'resp')
def an_interrupted_import_goes_on_where_it_was(form):
    count = tap.pick(60000, 1000000)
    with server.Varved(*FAST) as s, tempfile.TemporaryDirectory() as d:
        path = d + '/f'
        with open(path, 'wb') as f:
            for i in range(count):
                if form == 'json':
                    f.write(b'{"key":"k%d","type":"string","value":"value %d"}\n' % (i, i))
                else:
                    k, v = b'k%d' % i, b'value %d' % i
                    f.write(b'*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n' % (len(k), k, len(v), v))
        p = subprocess.Popen([KVCTL, '-p', str(s.port), 'import', path], stderr=subprocess.PIPE, env=clean_env())
        with s.connect() as c:
            tap.until(lambda: c.call('DBSIZE') > 3000, 60)
        p.send_signal(signal.SIGINT)
        err = p.communicate(timeout=60)[1]
        if p.returncode == 0:
            raise tap.Skip('it was done before it could be interrupted')
        tap.eq(p.returncode, 2)
        tap.matches(err, b'--resume')
        text = open(path + '.progress').read()
        offset = int(re.search(r'offset (\d+)', text).group(1))
        tap.check(offset > 0, text)
        done = s.call('DBSIZE')
        s.call('FLUSHALL')  # what was in is not sent again
        r = kvctl(s, 'import', '--resume', path)
        expect(r, 0, b'', b'%d keys imported' % count)
        left = s.call('DBSIZE')
        tap.check(count - done <= left < count, f'{done} were in, {left} came afterwards, of {count}')
        tap.check(not os.path.exists(path + '.progress'))
        expect(kvctl(s, 'import', '--resume', path), 2, b'', b'cannot resume')
        expect(kvctl(s, 'import', '--resume', '-'), 2, b'', b'standard input')
        with open(path + '.progress', 'w') as f:
            f.write(text)
        os.utime(path, (1, 1))
        expect(kvctl(s, 'import', '--resume', path), 2, b'', b'has changed')


@tap.test
def an_import_whose_server_dies_goes_on_as_well():
    count = tap.pick(100000, 1000000)
    with server.Varved() as s, tempfile.TemporaryDirectory() as d:  # appendfsync always: what was answered stays
        path = d + '/f'
        with open(path, 'w') as f:
            for i in range(count):
                f.write('{"key":"k%d","type":"string","value":"v"}\n' % i)
        p = subprocess.Popen([KVCTL, '-p', str(s.port), 'import', path], stderr=subprocess.PIPE, env=clean_env())
        with s.connect() as c:
            tap.until(lambda: c.call('DBSIZE') > 3000, 60)
        s.kill()
        err = p.communicate(timeout=60)[1]
        tap.eq(p.returncode, 2)
        tap.matches(err, b'--resume')
        s.start()
        expect(kvctl(s, 'import', '--resume', path), 0)
        tap.eq(s.call('DBSIZE'), count)


def measured(s, *args):
    """kvctl: the seconds it took and the most memory it had, in MB, as far as looking at it every now and then tells."""
    began, most = time.monotonic(), 0
    p = subprocess.Popen([KVCTL, '-p', str(s.port), *map(str, args)], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                         env=clean_env())
    while p.poll() is None:
        try:
            with open(f'/proc/{p.pid}/status') as f:
                seen = re.search(r'VmHWM:\s+(\d+)', f.read())
            most = max(most, int(seen.group(1)) / 1024 if seen else 0)
        except OSError:
            pass
        time.sleep(0.005)
    tap.eq(p.returncode, 0, p.stderr.read().decode(errors='replace'))
    p.stderr.close()
    return time.monotonic() - began, most


def mixed(c, count, seed=3):
    """So many keys: strings more than half, of the other types a tenth each, some of them expiring."""
    rng = random.Random(seed)
    for at in range(0, count, 1000):
        batch = []
        for i in range(at, min(at + 1000, count)):
            kind, key = i % 10, f'key:{i}'
            if kind < 6:
                batch.append(('SET', key, rng.randbytes(100), *(('EX', 100000) if kind == 0 else ())))
            elif kind == 6:
                batch.append(('HSET', key, *[x for j in range(5) for x in (f'f{j}', rng.randbytes(10))]))
            elif kind == 7:
                batch.append(('RPUSH', key, *[rng.randbytes(10) for _ in range(5)]))
            elif kind == 8:
                batch.append(('SADD', key, *[rng.randbytes(10) for _ in range(5)]))
            else:
                batch.append(('ZADD', key, *[x for _ in range(5) for x in (rng.random(), rng.randbytes(10))]))
        c.pipeline(batch)


def digest(path):
    """Of a file's lines, in whatever order."""
    with open(path, 'rb') as f:
        return hashlib.sha256(b''.join(sorted(hashlib.sha256(line).digest() for line in f))).hexdigest()


@tap.test
def many_keys_of_all_types_come_back_byte_for_byte_in_little_memory():
    count = tap.pick(30000, 1000000)
    with server.Varved(*FAST) as s, server.Varved(*FAST) as other, tempfile.TemporaryDirectory() as d:
        with s.connect() as c:
            mixed(c, count)
        for what, run in (('export', (s, 'export', d + '/a')), ('import', (other, 'import', d + '/a')),
                          ('export of that', (other, 'export', d + '/b'))):
            seconds, megabytes = measured(*run)
            tap.diag(f'{what} of {count} keys: {seconds:.1f} s, {megabytes:.0f} MB')
            tap.check(tap.SANITIZER or megabytes < 32, f'{what} took {megabytes:.0f} MB')
        tap.eq(s.call('DBSIZE'), other.call('DBSIZE'))
        tap.eq(digest(d + '/a'), digest(d + '/b'))


LARGE = ('hash', 'set', 'zset', 'list')


def fill_large(c, count):
    for at in range(0, count, 1000):
        n = range(at, min(at + 1000, count))
        c.must('HSET', 'hash', *[x for i in n for x in (f'field:{i}', b'v\0%d' % i)])
        c.must('SADD', 'set', *[b'member\xff:%d' % i for i in n])
        c.must('ZADD', 'zset', *[x for i in n for x in (i * 0.1, f'member:{i}')])
        c.must('RPUSH', 'list', *[f'element:{i % 1000}' for i in n])
    c.must('PEXPIRE', 'set', 80_000_000)
    if knows(c, 'hpexpire'):
        c.must('HPEXPIRE', 'hash', 90_000_000, 'FIELDS', 2, 'field:1', f'field:{count - 1}')


@tap.cases('json', 'resp')
def a_collection_of_any_size_goes_in_parts_and_little_memory(form):
    count = tap.pick(70000, 3000000)
    with server.Varved(*FAST) as s, server.Varved(*FAST) as other, tempfile.TemporaryDirectory() as d:
        path = d + '/f'
        with s.connect() as c, other.connect() as o:
            fill_large(c, count)
            for what, run in (('export', (s, 'export', '-f', form, path)), ('import', (other, 'import', path))):
                seconds, megabytes = measured(*run)
                tap.diag(f'{what} of {len(LARGE)} collections of {count}: {seconds:.1f} s, {megabytes:.0f} MB')
                tap.check(tap.SANITIZER or megabytes < 64, f'{what} took {megabytes:.0f} MB')
            tap.eq(o.must('DBSIZE'), len(LARGE))
            if form == 'json':
                with open(path, 'rb') as f:
                    lines = [line[:100] for line in f]
                tap.check(sum(b'"append":true' in line for line in lines) >= 4 * (count // 8192 - 1), len(lines))
                tap.eq(sum(b'"append":true' not in line for line in lines), len(LARGE))
            tap.eq([o.must(n, k) for n, k in zip(('HLEN', 'SCARD', 'ZCARD', 'LLEN'), LARGE)], [count] * 4)
            for target, name in ((s, 'before'), (other, 'after')):
                measured(target, 'export', f'{d}/{name}')
            tap.eq(content(d + '/before'), content(d + '/after'))


def content(path):
    """What an export in parts says of each key: sums over its elements, which a list has in order, and when it expires."""
    sums = {}
    with open(path, 'rb') as f:
        for line in f:
            v = json.loads(line)
            total = sums.get(v['key'], (None, 0))[1]
            for e in v['value']:
                text = json.dumps(e).encode()
                total = zlib.crc32(text, total) if v['type'] == 'list' else total + zlib.crc32(text)
            sums[v['key']] = v.get('expires_at_ms'), total
    return sums


@tap.test
def a_large_list_that_changes_while_it_is_read_is_said():
    with server.Varved(*FAST) as s, tempfile.TemporaryDirectory() as d:
        with s.connect() as c:
            for at in range(0, 400000, 1000):
                c.must('RPUSH', 'list', *range(at, at + 1000))
        stop = threading.Event()

        def push():
            with s.connect() as c:
                while not stop.is_set():
                    c.must('LPUSH', 'list', 'x')
        t = threading.Thread(target=push)
        t.start()
        try:
            r = kvctl(s, 'export', d + '/f')
        finally:
            stop.set()
            t.join()
        expect(r, 2, b'', b'a list of \\d+ elements changed while it was read')
        tap.check(os.path.exists(d + '/f'))


def remembered(path):
    """What an import has written down of how far it is."""
    try:
        with open(path + '.progress', encoding='ascii') as f:
            return f.read()
    except FileNotFoundError:
        return ''


@tap.cases('json', 'resp')
def an_import_that_is_killed_goes_on_and_no_list_has_elements_twice(form):
    count = tap.pick(300000 if form == 'json' else 350000, 1000000)
    with server.Varved(*FAST) as s, server.Varved(*FAST) as other, tempfile.TemporaryDirectory() as d:
        path = d + '/f'
        with s.connect() as c:
            mixed(c, count)
            for name in 'abcd':
                for at in range(0, 80000, 2000):
                    c.must('RPUSH', 'list:' + name, *range(at, at + 2000))
        expect(kvctl(s, 'export', '-f', form, path), 0)
        kills = 0
        args = ['import', path]
        while True:
            p = subprocess.Popen([KVCTL, '-p', str(other.port), *args], stderr=subprocess.PIPE, env=clean_env())
            before = remembered(path)
            tap.until(lambda: p.poll() is not None or remembered(path) not in ('', before), 120)
            if p.poll() is None and kills < 3:
                time.sleep(0.05 * kills)
                p.kill()
                kills += 1
            err = p.communicate(timeout=240)[1]
            if p.returncode == 0:
                break
            tap.eq(p.returncode, -9, err.decode(errors='replace'))
            if not remembered(path):  # it was killed behind its last key
                break
            args = ['import', '--resume', path]
        if kills == 0:
            raise tap.Skip('it was done before it could be killed')
        tap.eq(other.call('DBSIZE'), count + 4)
        expect(kvctl(other, 'export', '-f', form, d + '/g'), 0)
        if form == 'json':
            tap.eq(digest(path), digest(d + '/g'))
        for name in 'abcd':
            tap.eq(other.call('LRANGE', 'list:' + name, 0, -1), [b'%d' % i for i in range(80000)])


def on_terminal(*args):
    """What a program writes to a terminal, all of it, and its status."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(KVCTL, [KVCTL, *map(str, args)], clean_env())
    out = b''
    while True:
        try:
            more = os.read(fd, 65536)
        except OSError:
            break
        if not more:
            break
        out += more
    os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), out


@tap.test
def on_a_terminal_there_is_a_progress_bar_with_rate_and_time_left():
    with server.Varved() as s, tempfile.TemporaryDirectory() as d:
        path = d + '/f'
        with open(path, 'w') as f:
            for i in range(tap.pick(100000, 1000000)):
                f.write('{"key":"k%d","type":"string","value":"v"}\n' % i)
        status, out = on_terminal('-p', s.port, 'import', path)
        tap.eq(status, 0)
        tap.matches(out, rb'\[#*\.*\] +\d+%  \S+ keys  \S+/s')
        tap.matches(out, rb'100%')
        status, out = on_terminal('-p', s.port, 'export', d + '/g')
        tap.eq(status, 0)
        tap.matches(out, rb'\[#*\.*\] +\d+%')
        status, out = on_terminal('-p', s.port, 'export', '--quiet', d + '/h')
        tap.eq((status, out), (0, b''))
        # answers for the eye
        status, out = on_terminal('-p', s.port, 'mget', 'k1', 'none')
        tap.eq(out, b'1) "v"\r\n2) (nil)\r\n')
        tap.eq(on_terminal('-p', s.port, 'get', 'k1'), (0, b'v\r\n'))


tap.main()
