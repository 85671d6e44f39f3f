#!/usr/bin/python3
"""Debian's redis-cli and redis-benchmark, as their users start them: every mode that needs only what is built, without a
warning or an error."""
import re
import subprocess
import time

import server
import tap


def run(*words, stdin=None, timeout=120, status=0):
    """Run a program; returns its output (both streams), fails on another exit status."""
    done = subprocess.run([str(w) for w in words], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=timeout, check=False)
    text = done.stdout.decode(errors='replace')
    tap.eq(done.returncode, status, f'exit status of {" ".join(map(str, words))}; it said {text[-1000:]}')
    return text


def for_seconds(seconds, *words):
    """Run a program that never ends by itself and stop it by SIGINT; returns its output."""
    process = subprocess.Popen(['stdbuf', '-o0'] + [str(w) for w in words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
    time.sleep(seconds)
    process.send_signal(2)
    return process.communicate(timeout=20)[0].decode(errors='replace')


def clean(text):
    """Fail when a tool complains."""
    for line in text.splitlines():
        tap.check(not re.search(r'warning|error|\bERR\b|could not|unknown', line, re.I), f'it said: {line}')
    return text


def fill(s, count=3000):
    with s.connect() as c:
        c.pipeline([['SET', f'key:{i}', 'v' * (i % 50)] for i in range(count)])
        c.must('SET', 'big', 'x' * 100000)
        c.must('SET', 'soon', 'v', 'EX', 1000)


@tap.cases((1, 1), (1, 16), (1, 64), (50, 1), (50, 16), (50, 64), (1000, 1), (1000, 16), (1000, 64))
def redis_benchmark_runs_without_a_warning(clients, pipeline):
    requests = tap.pick(5000, 100000) * (1 if clients == 1 and pipeline == 1 else 4)
    with server.Varved() as s:
        text = run('redis-benchmark', '-p', s.port, '-t', 'ping,set,get,incr,mset', '-c', clients, '-P', pipeline, '-n',
                   requests, '-r', 10000, '-q', timeout=600)
        clean(text)
        for name in ('PING_INLINE', 'PING_MBULK', 'SET', 'GET', 'INCR', 'MSET'):
            tap.matches(text, name + r'.*requests per second')


@tap.cases(1, 16)
def redis_benchmark_runs_its_whole_default_set(pipeline):
    with server.Varved() as s:
        text = clean(run('redis-benchmark', '-p', s.port, '-n', tap.pick(4000, 100000), '-P', pipeline, '-q', timeout=600))
        for name in ('PING_INLINE', 'PING_MBULK', 'SET', 'GET', 'INCR', 'LPUSH', 'RPUSH', 'LPOP', 'RPOP', 'SADD', 'HSET', 'SPOP', 'ZADD',
                     'ZPOPMIN', 'LRANGE_100', 'LRANGE_300', 'LRANGE_500', 'LRANGE_600', 'MSET'):
            tap.matches(text, name + r'\b.*requests per second')


@tap.test
def redis_benchmark_with_threads_csv_and_resp3():
    with server.Varved('--io-threads', 2) as s:
        for more in (['--threads', 2], ['--csv'], ['-3'], ['-d', 20000], ['-n', 2000, 'EXPIRE', 'k', 100]):
            clean(run('redis-benchmark', '-p', s.port, '-n', 10000, '-P', 8, *([] if 'EXPIRE' in more else ['-t', 'set,get']), *more))


@tap.test
def redis_cli_runs_commands():
    with server.Varved() as s:
        cli = lambda *words, **more: run('redis-cli', '-p', s.port, *words, **more)
        tap.eq(cli('SET', 'k', 'v'), 'OK\n')
        tap.eq(cli('GET', 'k'), 'v\n')
        tap.eq(cli('--no-raw', 'GET', 'k'), '"v"\n')
        tap.eq(cli('-3', '--no-raw', 'GET', 'none'), '(nil)\n')
        tap.eq(cli('-n', 3, 'DBSIZE'), '0\n')
        tap.eq(cli('--csv', 'MGET', 'k', 'none'), '"v",NULL\n')
        tap.eq(cli('--json', 'MGET', 'k', 'none'), '["v",null]\n')
        tap.eq(cli('-x', 'SET', 'stdin', stdin=b'from standard input'), 'OK\n')
        tap.eq(cli('GET', 'stdin'), 'from standard input\n')
        tap.eq(cli('-r', 3, '-i', 0.01, 'INCR', 'n'), '1\n2\n3\n')
        tap.eq(cli(stdin=b'SET a 1\nGET a\nSELECT 2\nDBSIZE\n'), 'OK\n1\nOK\n0\n')
        tap.matches(cli('-e', 'NOSUCH', status=1), 'ERR unknown command')
        tap.matches(cli('COMMAND', 'DOCS', 'get'), 'summary')
        tap.matches(cli('INFO', 'server'), 'server_name:varve')


@tap.test
def redis_cli_with_a_password():
    with server.Varved(start=False) as s:
        s.args += ['--requirepass', 'secret']
        s.start()
        tap.matches(run('redis-cli', '-p', s.port, 'GET', 'k'), 'NOAUTH')
        tap.eq(run('redis-cli', '-p', s.port, '-a', 'secret', '--no-auth-warning', 'PING'), 'PONG\n')
        tap.eq(run('redis-cli', '-p', s.port, '--user', 'default', '--pass', 'secret', '--no-auth-warning', 'PING'), 'PONG\n')


@tap.test
def redis_cli_scans():
    with server.Varved() as s:
        fill(s)
        text = run('redis-cli', '-p', s.port, '--scan')
        tap.eq(len(set(text.split())), 3002)
        tap.eq(len(run('redis-cli', '-p', s.port, '--scan', '--pattern', 'key:1*').split()), 1111)
        text = clean(run('redis-cli', '-p', s.port, '--bigkeys'))
        tap.matches(text, r'Biggest string found .*"big".* has 100000 bytes')
        tap.matches(text, r'3002 strings with')
        text = clean(run('redis-cli', '-p', s.port, '--memkeys'))
        tap.matches(text, r'Biggest string found .*"big"')
        text = run('redis-cli', '-p', s.port, '--hotkeys', status=1)
        tap.matches(text, 'LFU')  # as with a Redis whose policy is not LFU


@tap.test
def redis_cli_watches():
    with server.Varved() as s:
        fill(s, 100)
        tap.matches(clean(for_seconds(1.5, 'redis-cli', '-p', s.port, '--latency')), r'\d')
        clean(for_seconds(1.5, 'redis-cli', '-p', s.port, '--latency-history', '-i', 1))
        clean(for_seconds(1.5, 'redis-cli', '-p', s.port, '--latency-dist', '-i', 1))
        tap.matches(clean(for_seconds(2.5, 'redis-cli', '-p', s.port, '--stat')), r'102 +\d')
        clean(run('redis-cli', '-p', s.port, '--intrinsic-latency', 1))


@tap.test
def redis_cli_monitor_shows_commands():
    with server.Varved() as s:
        process = subprocess.Popen(['redis-cli', '-p', str(s.port), 'MONITOR'], stdout=subprocess.PIPE)
        tap.eq(process.stdout.readline(), b'OK\n')
        with s.connect() as c:
            c.must('SELECT', 3)
            c.must('SET', 'a key', 'v\n"')
        first = process.stdout.readline().decode()
        line = process.stdout.readline().decode()
        process.kill()
        process.communicate()
        tap.matches(first, r'^\d+\.\d{6} \[3 127\.0\.0\.1:\d+\] "SELECT" "3"$')
        tap.matches(line, r'^\d+\.\d{6} \[3 127\.0\.0\.1:\d+\] "SET" "a key" "v\\n\\""$')


@tap.test
def redis_cli_pipe_loads():
    with server.Varved() as s:
        data = b''.join(b'SET p%d %d\r\n' % (i, i) for i in range(20000))
        text = run('redis-cli', '-p', s.port, '--pipe', stdin=data)
        tap.matches(text, 'errors: 0, replies: 20000')
        tap.eq(s.call('DBSIZE'), 20000)


if __name__ == '__main__':
    tap.main()
