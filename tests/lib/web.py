"""HTTP for tests, byte by byte: what urllib and curl would not send, and answers as they came.

    with web.Connection(port) as c:
        c.send(b'GET /kv/a HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')
        answer = c.answer()             # .status, .headers (lower case, a list for repeated ones is joined by ', '), .body
        tap.check(c.ends(), 'still open')

    web.ask(port, 'PUT', '/kv/a', b'1', {'X-Y': 'z'})     # one request on a connection of its own
"""
import socket


class Answer:
    """Status, header fields, body of an answer; `head` is what came in front of the body."""

    def __init__(self, head):
        self.head = head
        lines = head.split(b'\r\n')
        version, status, self.reason = lines[0].decode().split(' ', 2)
        if version != 'HTTP/1.1':
            raise AssertionError(f'no answer: {lines[0]!r}')
        self.status = int(status)
        self.headers = {}
        for line in lines[1:]:
            name, value = line.decode('latin-1').split(':', 1)
            name = name.lower()
            value = value.strip()
            self.headers[name] = f'{self.headers[name]}, {value}' if name in self.headers else value
        self.body = b''

    def __repr__(self):
        return f'{self.status} {self.headers} {self.body[:200]!r}'


class Connection:
    """A connection to the HTTP port."""

    def __init__(self, port, timeout=60):
        self.socket = socket.create_connection(('127.0.0.1', port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pending = b''

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        """Send bytes."""
        self.socket.sendall(data)

    def _more(self):
        data = self.socket.recv(65536)
        if not data:
            raise EOFError(f'closed after {self.pending[:200]!r}')
        self.pending += data

    def _take(self, n):
        while len(self.pending) < n:
            self._more()
        data, self.pending = self.pending[:n], self.pending[n:]
        return data

    def answer(self, head_only=False):
        """The next answer. head_only: it was asked for with HEAD, so that no body follows."""
        while b'\r\n\r\n' not in self.pending:
            self._more()
        head, self.pending = self.pending.split(b'\r\n\r\n', 1)
        a = Answer(head)
        if not head_only and a.status >= 200 and a.status not in (204, 304):
            a.body = self._take(int(a.headers['content-length']))
        return a

    def ends(self):
        """Whether the server closes the connection, having said nothing more."""
        try:
            return not self.pending and self.socket.recv(1) == b''
        except ConnectionResetError:
            return False
        except TimeoutError:
            return False

    def request(self, method, path, body=None, headers=None):
        """One request and its answer."""
        lines = [f'{method} {path} HTTP/1.1', 'Host: localhost']
        lines += [f'{name}: {value}' for name, value in (headers or {}).items()]
        if body is not None:
            lines.append(f'Content-Length: {len(body)}')
        self.send('\r\n'.join(lines).encode('latin-1') + b'\r\n\r\n' + (body or b''))
        return self.answer(method == 'HEAD')


def ask(port, method, path, body=None, headers=None, timeout=60):
    """One request on a connection of its own."""
    with Connection(port, timeout) as c:
        return c.request(method, path, body, headers)
