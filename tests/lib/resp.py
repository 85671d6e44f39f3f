"""A Redis client at the level of the socket, with code of its own: what a library would hide stays visible.

    c = resp.Connection(port=6379)
    c.call('SET', 'k', 'v')            -> b'OK'            (a resp.Simple)
    c.call('INCR', 'k')                -> resp.Error(b'ERR value is not an integer or out of range')
    c.pipeline([('GET', 'k')] * 1000)  -> list of replies, of any depth, without a deadlock
    c.raw(b'PING\\r\\n')                  -> the bytes of one reply, untouched

Replies become: bulk string -> bytes, nil (of all kinds) -> None, integer -> int, array -> list, +text -> Simple,
-text -> Error (returned, not raised; must() raises it). RESP3: map -> Map (a list of pairs, in order), set -> Set (a
list), push -> Push (a list), double -> float, boolean -> bool, big number -> BigNumber, verbatim string -> Verbatim.
An attribute in front of a reply is kept in the connection's `attribute`. Pushes are replies like any other to read();
call() sets them aside in `pushes`.
"""
import select
import socket


class Simple(bytes):
    """A +status line."""

    def __eq__(self, other):
        return bytes.__eq__(self, other)

    __hash__ = bytes.__hash__


class Error(bytes):
    """A -error line (or a !blob error), without its sign."""

    @property
    def code(self):
        """The first word: b'ERR', b'WRONGTYPE', ..."""
        return self.split(b' ')[0]


class Map(list):
    """Pairs (key, value) of a RESP3 map, in order."""

    def get(self, key):
        """The value of a key, or None."""
        return next((v for k, v in self if k == key), None)


class Set(list):
    """A RESP3 set, in the order sent."""


class Push(list):
    """A RESP3 push message."""


class BigNumber(int):
    """A RESP3 big number."""


class Verbatim(bytes):
    """A RESP3 verbatim string, without its format prefix (kept in .format)."""
    format = b'txt'


class ReplyError(Exception):
    """Raised by must() for an error reply; args[0] is the Error."""


class Closed(ConnectionError):
    """The server closed the connection. `unread` holds the bytes of an unfinished reply."""

    def __init__(self, unread=b''):
        super().__init__(f'connection closed by the server, unfinished reply {unread[:80]!r}')
        self.unread = unread


class Incomplete(Exception):
    """parse() needs more bytes."""


def encode(*args):
    """A command as RESP: bytes, str (UTF-8), int or float arguments."""
    parts = [b'*%d\r\n' % len(args)]
    for a in args:
        if isinstance(a, str):
            a = a.encode()
        elif not isinstance(a, (bytes, bytearray, memoryview)):
            a = repr(a).encode()
        parts.append(b'$%d\r\n' % len(a))
        parts.append(bytes(a))
        parts.append(b'\r\n')
    return b''.join(parts)


def parse(data, pos=0):
    """Parse one reply of `data` from `pos`: (value, position behind it). Raises Incomplete, or ValueError on nonsense."""
    end = data.find(b'\r\n', pos)
    if end < 0:
        raise Incomplete
    kind, line, pos = bytes(data[pos:pos + 1]), bytes(data[pos + 1:end]), end + 2
    if kind == b'$' or kind == b'=' or kind == b'!':
        length = int(line)
        if length < 0:
            return None, pos
        if len(data) < pos + length + 2:
            raise Incomplete
        if data[pos + length:pos + length + 2] != b'\r\n':
            raise ValueError(f'bulk string of {length} bytes is not followed by CRLF')
        body, pos = bytes(data[pos:pos + length]), pos + length + 2
        if kind == b'!':
            return Error(body), pos
        if kind == b'=':
            value = Verbatim(body[4:])
            value.format = body[:3]
            return value, pos
        return body, pos
    if kind == b'+':
        return Simple(line), pos
    if kind == b'-':
        return Error(line), pos
    if kind == b':':
        return int(line), pos
    if kind == b'_':
        return None, pos
    if kind == b'#':
        if line not in (b't', b'f'):
            raise ValueError(f'boolean {line!r}')
        return line == b't', pos
    if kind == b',':
        return float(line), pos
    if kind == b'(':
        return BigNumber(line), pos
    if kind in (b'*', b'~', b'>'):
        count = int(line)
        if count < 0:
            return None, pos
        items = {b'*': list, b'~': Set, b'>': Push}[kind]()
        for _ in range(count):
            value, pos = parse(data, pos)
            items.append(value)
        return items, pos
    if kind == b'%' or kind == b'|':
        pairs = Map()
        for _ in range(int(line)):
            key, pos = parse(data, pos)
            value, pos = parse(data, pos)
            pairs.append((key, value))
        return (pairs if kind == b'%' else _Attribute(pairs)), pos
    raise ValueError(f'a reply cannot begin with {kind + line[:40]!r}')


class _Attribute(Map):
    """An attribute: belongs to the reply behind it."""


class Connection:
    """One connection to a server on a TCP port or a Unix socket."""

    def __init__(self, port=None, host='127.0.0.1', path=None, timeout=60):
        if path is not None:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(timeout)
            self.sock.connect(path)
        else:
            self.sock = socket.create_connection((host, port), timeout=timeout)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.timeout = timeout
        self.buffer = bytearray()
        self.start = 0  # of what is not yet parsed
        self.pushes = []
        self.attribute = None

    # -- sending

    def send(self, *args):
        """Send one command."""
        self.sock.sendall(encode(*args))

    def send_raw(self, data):
        """Send bytes as they are."""
        self.sock.sendall(data)

    # -- receiving

    def _fill(self):
        data = self.sock.recv(1 << 18)
        if not data:
            raise Closed(bytes(self.buffer[self.start:]))
        if self.start > 1 << 20:
            del self.buffer[:self.start]
            self.start = 0
        self.buffer += data

    def _next(self):
        """Parse one reply of the buffer; returns (value, raw bytes)."""
        begin = self.start
        value, self.start = parse(self.buffer, begin)
        raw = bytes(self.buffer[begin:self.start])
        if self.start == len(self.buffer):
            self.buffer.clear()
            self.start = 0
        return value, raw

    def _read(self):
        # A reply of many pieces is not parsed again for each of them: after a failure wait for twice as much, as long
        # as more keeps coming.
        need = 1
        while True:
            have = len(self.buffer) - self.start
            if have and (have >= need or not self._more(0)):
                try:
                    return self._next()
                except Incomplete:
                    need = 2 * have
            try:
                self._fill()
            except Closed as end:
                try:
                    return self._next()  # what came before the end may be all of it
                except Incomplete:
                    raise end from None

    def _more(self, seconds):
        return bool(select.select([self.sock], [], [], seconds)[0])

    def read(self):
        """Read one reply, a push included. Raises Closed at the end, socket.timeout when nothing comes."""
        while True:
            value, _ = self._read()
            if not isinstance(value, _Attribute):
                return value
            self.attribute = value

    def read_raw(self):
        """Read one reply and return its bytes as they came."""
        return self._read()[1]

    def read_reply(self):
        """Read one reply that is not a push; pushes on the way go to self.pushes."""
        while True:
            value = self.read()
            if not isinstance(value, Push):
                return value
            self.pushes.append(value)

    def closed_by_server(self, seconds=10):
        """Read and drop what comes until the server closes the connection: True, or False after `seconds` of silence."""
        self.sock.settimeout(seconds)
        try:
            while self.sock.recv(1 << 16):
                pass
            return True
        except ConnectionError:
            return True
        except socket.timeout:
            return False
        finally:
            self.sock.settimeout(self.timeout)

    def silent(self, seconds=0.1):
        """True when nothing comes for that long."""
        return self.start == len(self.buffer) and not self._more(seconds)

    # -- both

    def call(self, *args):
        """Send a command and return its reply; an error reply is returned as Error."""
        self.send(*args)
        return self.read_reply()

    def must(self, *args):
        """Like call(), but an error reply is raised as ReplyError."""
        value = self.call(*args)
        if isinstance(value, Error):
            raise ReplyError(value, args)
        return value

    def raw(self, data):
        """Send bytes as they are and return the bytes of one reply."""
        self.send_raw(data)
        return self.read_raw()

    def pipeline(self, commands, raw=False):
        """Send all commands while reading the replies, so that no depth blocks; returns the replies in order."""
        return self.pipeline_raw(b''.join(encode(*c) for c in commands), len(commands), raw)

    def pipeline_raw(self, data, count, raw=False):
        """Send bytes and read `count` replies meanwhile."""
        out, view, replies = 0, memoryview(data), []
        self.sock.setblocking(False)
        try:
            while len(replies) < count:
                try:
                    while len(replies) < count:
                        value, got = self._next()
                        if isinstance(value, Push) and not raw:
                            self.pushes.append(value)
                        elif not isinstance(value, _Attribute):
                            replies.append(got if raw else value)
                    break
                except Incomplete:
                    pass
                readable, writable, _ = select.select([self.sock], [self.sock] if out < len(view) else [], [], self.timeout)
                if not readable and not writable:
                    raise socket.timeout(f'{len(replies)} of {count} replies came')
                if writable:
                    out += self.sock.send(view[out:out + (1 << 18)])
                if readable:
                    self._fill()
        finally:
            self.sock.settimeout(self.timeout)
        if out < len(view):
            self.sock.sendall(view[out:])
        return replies

    def close(self):
        """Close the socket."""
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
