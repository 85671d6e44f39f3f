#!/usr/bin/python3
"""`appendfsync always`, seen from outside with strace: no byte that shows a write leaves the server before the system
call that made it durable has returned; neither the writer's own reply nor what another client reads.

Every value carries a number. The trace then holds, for each number: when it was read from the writer's socket, which
write of the log had it and when that was durable (pwritev2 with RWF_DSYNC returned, or a later fdatasync of the same
file), when the writer got its next reply, and when a reader's reply showed the value for the first time.
"""
import re
import tempfile
import threading

import os
import resp
import server
import tap

MARK = re.compile(rb'mark-(\d{6})-')
CALL = re.compile(rb'^(\d+)\s+(\w+)\((.*)$', re.S)
RESUMED = re.compile(rb'^(\d+)\s+<\.\.\. (\w+) resumed>(.*)$', re.S)
SENDING = {b'write', b'writev', b'sendto', b'sendmsg', b'send'}
READING = {b'read', b'readv', b'recvfrom', b'recvmsg'}
LOGGING = {b'pwrite64', b'pwritev', b'pwritev2', b'write', b'writev'}
SYNCING = {b'fdatasync', b'fsync'}


class Trace:
    """Positions (line numbers at which a call started or returned) by number."""

    def __init__(self, path):
        self.received = {}  # number: line at which the read that brought it returned
        self.durable = {}   # number: line at which its log write was durable
        self.sent = {}      # number: first line at which a write that shows it to a socket started
        self.replies = []   # (line started, fd)
        self.writer_fd = None
        pending, unsynced = {}, {}
        with open(path, 'rb') as f:
            for line_number, line in enumerate(f):
                resumed, call = RESUMED.match(line), CALL.match(line)
                if resumed:
                    tid, name, rest = resumed.groups()
                    start, arguments = pending.pop((tid, name), (line_number, b''))
                    self.returned(name, start, line_number, arguments + rest, unsynced)
                elif call:
                    tid, name, rest = call.groups()
                    self.started(name, line_number, rest)
                    if b'<unfinished ...>' in rest:
                        pending[tid, name] = (line_number, rest.split(b'<unfinished ...>')[0])
                    else:
                        self.returned(name, line_number, line_number, rest, unsynced)

    def started(self, name, line, rest):
        if name in SENDING and b'<TCP:' in rest[:80]:
            fd = rest.split(b'<')[0]
            self.replies.append((line, fd))
            for number in MARK.findall(rest):
                self.sent.setdefault(int(number), line)

    def returned(self, name, start, end, rest, unsynced):
        file = rest.split(b',')[0]
        if name in READING and b'<TCP:' in rest[:80]:
            for number in MARK.findall(rest):
                self.received.setdefault(int(number), end)
                self.writer_fd = rest.split(b'<')[0]
        elif name in LOGGING and b'/wal/' in file:
            for number in MARK.findall(rest):
                if b'RWF_DSYNC' in rest or b'RWF_SYNC' in rest:
                    self.durable.setdefault(int(number), end)
                else:
                    unsynced.setdefault(file, []).append((int(number), end))
        elif name in SYNCING and b'/wal/' in file:
            path = file.rstrip(b')')
            for key in [k for k in unsynced if k == path or k in file]:
                for number, written in unsynced.pop(key):
                    if written < start:
                        self.durable.setdefault(number, end)
                    else:
                        unsynced.setdefault(key, []).append((number, written))


@tap.test
def no_reply_shows_a_write_before_it_is_durable():
    if tap.SANITIZER:
        raise tap.Skip('the sanitizers do not work under strace')
    count = tap.pick(300, 3000)
    with tempfile.TemporaryDirectory() as scratch:
        path = os.path.join(scratch, 'trace')
        calls = ','.join(sorted(n.decode() for n in SENDING - {b'send'} | READING | LOGGING | SYNCING))
        with server.Varved('--appendfsync', 'always', '--io-threads', '2',
                           wrapper=['strace', '-f', '-yy', '-s', '1048576', '-o', path, '-e', 'trace=' + calls]) as s:
            done, seen = threading.Event(), [0]

            def watch():
                with s.connect() as c:
                    while not done.is_set():
                        if c.must('GET', 'k') is not None:
                            seen[0] += 1

            reader = threading.Thread(target=watch)
            reader.start()
            with s.connect() as c:
                for i in range(count):
                    c.must('SET', 'k', b'mark-%06d-' % i)
            done.set()
            reader.join()
            with open(f'/proc/{s.pid}/task/{s.pid}/children', encoding='ascii') as f:
                child = int(f.read().split()[0])
            os.kill(child, 15)
            tap.eq(s.reap(), 0, 'exit status')
        trace = Trace(path)
        tap.check(seen[0] > count // 10, 'the reader hardly read anything')
        tap.eq(sorted(trace.received), list(range(count)), 'values seen arriving')
        tap.eq(sorted(trace.durable), list(range(count)), 'values seen in the log')
        shown = 0
        replies = [line for line, fd in trace.replies if fd == trace.writer_fd]
        for i in range(count):
            tap.check(trace.received[i] < trace.durable[i], f'value {i} in the log before it arrived: the trace is misread')
            reply = next(line for line in replies if line > trace.received[i])
            tap.check(reply > trace.durable[i], f'the reply to write {i} left before it was durable (trace lines '
                      f'{reply} and {trace.durable[i]})')
            if i in trace.sent:
                shown += 1
                tap.check(trace.sent[i] > trace.durable[i], f'a reader was shown write {i} before it was durable')
        tap.check(shown > count // 20, f'only {shown} values were seen by the reader: the test shows little')
        tap.diag(f'{count} writes, {shown} of them shown to the other client')


if __name__ == '__main__':
    tap.main()
