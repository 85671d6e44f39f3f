"""When the log cannot be written any more: nobody is told of a write that may be lost, the server says why, and ends with
an error under `always`, or goes on reading under `everysec`. strace makes the writes of the log fail.
"""
import os
import shutil
import threading
import time

import resp
import server
import tap


def failing(*args, error, when, **kw):
    """A server whose log writes fail from the `when`-th of a thread on. strace is the process that is started. Segments
    are small, so that preparing them takes fewer calls than that and it is a commit that fails."""
    if shutil.which('strace') is None:
        raise tap.Skip('no strace')
    wrapper = ['strace', '-f', '-qq', '-o', '/dev/null', '-e', 'trace=pwritev2,pwritev,pwrite64,fdatasync,fsync',
               '-e', f'inject=pwritev2,pwritev,pwrite64,fdatasync,fsync:error={error}:when={when}+']
    return server.Varved('--log-segment-size', '2mb', *args, wrapper=wrapper, **kw)


def kill_both(s):
    """strace and the server under it, which would else end in its own time and hold its directory until then."""
    with open(f'/proc/{s.pid}/task/{s.pid}/children', encoding='ascii') as f:
        children = [int(word) for word in f.read().split()]
    s.kill()
    for child in children:
        try:
            os.kill(child, 9)
        except ProcessLookupError:
            pass
        tap.until(lambda pid=child: not os.path.exists(f'/proc/{pid}/fd/0'), what='the server is gone')


@tap.cases('EIO', 'ENOSPC')
def under_always_nothing_unwritten_is_acknowledged_and_the_server_ends(error):
    if tap.SANITIZER:
        raise tap.Skip('the sanitizer writes with the same calls')
    # later than the files that are made ready at the start, in some 300 calls
    with failing('--appendfsync', 'always', '--io-threads', 2, error=error, when=1200) as s:
        acknowledged = [[] for _ in range(4)]

        def write(n):
            try:
                with s.connect() as c:
                    for i in range(100000):
                        if c.call('SET', f'k{n}-{i}', i) == resp.Simple(b'OK'):
                            acknowledged[n].append(i)
                        else:
                            time.sleep(0.001)
                            if i > 3000:
                                return
            except OSError:
                pass
        threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        if error == 'EIO':
            tap.eq(s.reap(), 1)
            last = s.log().rstrip().splitlines()[-1]
            tap.matches(last, b'(?i)ended: writes can no longer be made durable')
        elif s.running():
            kill_both(s)
        else:
            s.reap()
        s.wrapper = []
        s.start()
        with s.connect() as c:
            tap.check(sum(map(len, acknowledged)) > 0, 'nothing was acknowledged: the test shows nothing')
            for n in range(4):
                for i in acknowledged[n]:
                    tap.eq(c.call('GET', f'k{n}-{i}'), b'%d' % i)


@tap.test
def under_everysec_reads_go_on_and_writes_are_refused():
    if tap.SANITIZER:
        raise tap.Skip('the sanitizer writes with the same calls')
    with failing('--appendfsync', 'everysec', error='EIO', when=300) as s, s.connect() as c:
        seen = None
        for i in range(5000):
            try:
                reply = c.call('SET', 'k', b'%d' % i * 2000)  # more than a page: not stored, but written
            except OSError:
                c.close()
                c = s.connect()
                continue
            if isinstance(reply, resp.Error):
                seen = reply
                break
        tap.check(seen is not None, 'no write was refused')
        tap.matches(seen, b'^(MISCONF|READONLY) ')
        with s.connect() as d:
            tap.check(d.call('GET', 'k') is not None, 'reads end too')
            tap.eq(d.call('PING'), resp.Simple(b'PONG'))
        tap.until(lambda: b'writes are refused' in s.log().lower(), what='the log says so')
        with s.connect() as d:
            d.send('SHUTDOWN')
            tap.check(d.closed_by_server())
        tap.check(s.reap() != 0, 'the end is called clean')


if __name__ == '__main__':
    tap.main()
