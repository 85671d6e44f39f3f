#!/usr/bin/python3
"""A server with nothing to do uses next to no processor, whatever has happened before."""
import socket
import struct
import time

import resp
import server
import tap


def idle_share(s, seconds=2.0):
    """Processor time over wall time while nobody asks for anything."""
    time.sleep(0.2)
    before = s.cpu_seconds()
    time.sleep(seconds)
    return (s.cpu_seconds() - before) / seconds


@tap.cases('always', 'everysec')
def clients_that_vanish_before_their_reply_leave_no_work(fsync):
    with server.Varved('--appendfsync', fsync, '--io-threads', 2) as s:
        worst = 0
        for i in range(12):
            for delay in (0, 0.00005, 0.0001, 0.0002):  # the last one may go while its reply waits for the disk
                c = s.connect()
                c.call('PING')
                c.send_raw(resp.encode('SET', 'k', 'v'))
                time.sleep(delay * (i % 3))
                if i % 2:
                    c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
                c.close()
            worst = max(worst, idle_share(s, 0.3))
        tap.check(worst < 0.2 or tap.SANITIZER and worst < 0.5, f'{worst:.2f} of a core is used by an idle server')


@tap.test
def a_fresh_server_rests():
    with server.Varved() as s:
        share = idle_share(s)
        tap.check(share < 0.05 or tap.SANITIZER and share < 0.2, f'{share:.2f} of a core is used by an idle server')


if __name__ == '__main__':
    tap.main()
