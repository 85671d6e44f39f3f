"""The process around the server: arguments, pidfile, readiness, thread names, how it ends.
"""
import os
import re
import socket
import subprocess
import tempfile

import resp
import server
import tap


def run(*args):
    """Runs varved to its end: (status, output)."""
    p = subprocess.run([server.VARVED, *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
    return p.returncode, p.stdout.decode()


@tap.test
def version_help_and_check():
    status, text = run('--version')
    tap.eq(status, 0)
    tap.matches(text, r'^varved \d+\.\d+\.\d+\n$')
    status, text = run('--help')
    tap.eq(status, 0)
    tap.matches(text, '--appendfsync')
    tap.eq(run('--check-config')[0], 0)
    status, text = run('--no-such-setting', 'x')
    tap.eq(status, 1)
    tap.matches(text, 'no-such-setting')


@tap.test
def a_directory_in_use_is_refused():
    with server.Varved('--appendfsync', 'everysec') as s:
        second = server.Varved(dir=s.dir, wait=False)
        try:
            tap.eq(second.reap(), 1)
            tap.matches(second.log_text(), '(?i)cannot start: .*(in use|lock)')
        finally:
            second.close()
        tap.eq(s.call('PING'), resp.Simple(b'PONG'))


@tap.test
def the_pidfile_is_there_while_it_runs():
    path = tempfile.mktemp(prefix='varve-pid-')
    with server.Varved('--pidfile', path, '--appendfsync', 'everysec') as s:
        with open(path, encoding='ascii') as f:
            tap.eq(f.read(), f'{s.pid}\n')
        s.stop()
        tap.check(not os.path.exists(path), 'it is left behind')


@tap.test
def systemd_is_told_when_it_is_ready_and_when_it_stops():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        path = tempfile.mktemp(prefix='varve-notify-')
        notify.bind(path)
        notify.settimeout(10)
        with server.Varved('--appendfsync', 'everysec', env={'NOTIFY_SOCKET': path}) as s:
            tap.matches(notify.recv(1000), b'READY=1')
            s.stop()
            tap.matches(notify.recv(1000), b'STOPPING=1')
        os.unlink(path)


@tap.test
def threads_have_names():
    with server.Varved('--io-threads', 3, '--appendfsync', 'everysec') as s:
        def names():
            found = []
            for task in os.listdir(f'/proc/{s.pid}/task'):
                with open(f'/proc/{s.pid}/task/{task}/comm', encoding='ascii') as f:
                    found.append(f.read().strip())
            return found
        # each gives itself its name when it begins
        tap.until(lambda: {'reactor-0', 'reactor-1', 'reactor-2'} <= set(names()), what='reactors have names')
        tap.until(lambda: tap.SANITIZER or names().count('varved') == 1, what='only the main thread is called varved')


@tap.cases(15, 2)
def a_signal_ends_it_with_all_replies_sent(number):
    with server.Varved('--appendfsync', 'always', '--io-threads', 2) as s:
        connections = [s.connect() for _ in range(10)]
        for n, c in enumerate(connections):
            c.send_raw(resp.encode('INCR', f'k{n}') * 100)
        counts = [c.read() for c in connections]  # it is at it
        s.send_signal(number)
        for n, c in enumerate(connections):
            try:
                while True:
                    value = c.read()
                    tap.eq(value, counts[n] + 1)
                    counts[n] = value
            except OSError:
                pass
        tap.eq(s.reap(), 0)
        tap.matches(s.log(), b'ended cleanly')
        s.start()
        for n in range(10):
            tap.check(int(s.call('GET', f'k{n}')) >= counts[n], 'an acknowledged write is lost')


@tap.test
def data_files_are_private():
    with server.Varved('--appendfsync', 'everysec') as s:
        s.call('SET', 'k', 'v')
        for folder, folders, files in os.walk(s.dir):
            for name in folders:
                tap.eq(os.stat(os.path.join(folder, name)).st_mode & 0o777, 0o700, name)
            for name in files:
                tap.eq(os.stat(os.path.join(folder, name)).st_mode & 0o777, 0o600, name)


@tap.test
def the_log_is_text_or_json():
    for form, pattern in (('text', rb'^\d{4}-\d\d-\d\dT.* notice: '), ('json', rb'^\{.*"level":"notice".*\}$')):
        path = tempfile.mktemp(prefix='varve-log-')
        with server.Varved('--log-format', form, '--logfile', path, '--appendfsync', 'everysec') as s:
            s.stop()
        with open(path, 'rb') as f:
            lines = f.read().splitlines()
        os.unlink(path)
        tap.check(len(lines) >= 3, repr(lines))
        for line in lines:
            tap.check(re.search(pattern, line), repr(line))


if __name__ == '__main__':
    tap.main()
