"""Writers whose commands are compared with what a server has after it died, for the tests that end servers.

Each writer has a connection and keys of its own, and sends pipelines of SET, DEL, INCR, APPEND, MSET over a group of keys,
expiring and large values, changes of hashes, sets, sorted sets and lists, small and in pieces, and transactions of several of
these, which are there whole or not at all. It knows the state after each of its commands, and which of them have been
acknowledged. Afterwards its keys must be in the state after some command of its order that is not older than the last one
acknowledged: all of them at once, since each writer's commands were committed in order.

    states = [{} for _ in range(8)]
    crowd = writers.Crowd(s, rng, states)
    crowd.start()
    ...                                 # the server ends, however
    crowd.join()
    s.start()
    states = crowd.verify()
"""
import random
import re
import threading

import resp
import tap

GROUP = 5


class Writer(threading.Thread):
    """Sends commands until the server dies; `states` has the state after each command that may count."""

    def __init__(self, number, port, seed, state, refused=None):
        super().__init__()
        self.number, self.port, self.rng = number, port, random.Random(seed)
        self.refused = refused  # pattern of an error behind which no write is taken any more
        self.states = [dict(state)]  # after the last acknowledged command, then after each one in flight
        self.acknowledged = 0
        self.error = None

    def key(self, name):
        return b'w%d:%s' % (self.number, name)

    def step(self, state):
        """Requests that count as one, and the state behind them: a command, or a transaction, some of them large."""
        if self.rng.randrange(10):
            words, state = self.command(state)
            return [words], state
        requests = [[b'MULTI']]
        for _ in range(self.rng.choice([1, 2, 5, 20, 100])):
            words, state = self.command(state)
            requests.append(words)
        return requests + [[b'EXEC']], state

    def command(self, state):
        """A random command and the state behind it."""
        rng, state = self.rng, dict(state)
        if rng.randrange(3) == 0:
            return self.collection(state)
        kind = rng.randrange(100)
        key = self.key(b'k%d' % rng.randrange(200))
        if kind < 45:
            value = rng.randbytes(rng.choice([0, 3, 20, 100, 300, 1000]))
            state[key] = value
            return [b'SET', key, value], state
        if kind < 60:
            state.pop(key, None)
            return [b'DEL', key], state
        if kind < 75:
            counter = self.key(b'n%d' % rng.randrange(5))
            state[counter] = b'%d' % (int(state.get(counter, b'0')) + 1)
            return [b'INCR', counter], state
        if kind < 80:
            key = self.key(b'a%d' % rng.randrange(5))
            piece = rng.randbytes(rng.choice([1, 100, 3000]))
            if len(state.get(key, b'')) > 60000:
                state.pop(key)
                return [b'DEL', key], state
            state[key] = state.get(key, b'') + piece
            return [b'APPEND', key, piece], state
        if kind < 82:
            value = rng.randbytes(rng.choice([20000, 100000]))
            state[key] = value
            return [b'SET', key, value, b'EX', b'100000'], state
        value = rng.randbytes(rng.choice([8, 500]))
        group = [self.key(b'g%d' % i) for i in range(GROUP)]
        state.update((k, value) for k in group)
        return [b'MSET'] + [x for k in group for x in (k, value)], state

    def collection(self, state):
        """A change of a hash, set, sorted set or list, as `command` has it."""
        rng = self.rng
        kind = rng.choice('hszl')
        key = self.key(b'%s%d' % (kind.encode(), rng.randrange(3)))
        value = {'h': dict, 's': set, 'z': dict, 'l': list}[kind](state.get(key, ()))
        some = [b'm%d' % rng.randrange(400) for _ in range(rng.choice([1, 1, 2, 60]))]
        if rng.randrange(60) == 0:
            value.clear()
            words = [b'DEL', key]
        elif kind == 'l':
            words, value = self.list_change(key, value, some)
        elif rng.randrange(3) == 0:
            words = [{'h': b'HDEL', 's': b'SREM', 'z': b'ZREM'}[kind], key, *some]
            for member in some:
                if kind == 's':
                    value.discard(member)
                else:
                    value.pop(member, None)
        elif kind == 's':
            words = [b'SADD', key, *some]
            value.update(some)
        else:
            pairs = [(member, b'%d' % rng.randrange(1000)) for member in some]
            value.update(pairs)
            words = [b'HSET' if kind == 'h' else b'ZADD', key,
                     *(word for m, n in pairs for word in ((m, n) if kind == 'h' else (n, m)))]
        if value:
            state[key] = value
        else:
            state.pop(key, None)
        return words, state

    def list_change(self, key, value, some):
        what = self.rng.choice([b'RPUSH', b'RPUSH', b'LPUSH', b'LPOP', b'RPOP', b'LTRIM'])
        if what == b'RPUSH':
            return [what, key, *some], value + some
        if what == b'LPUSH':
            return [what, key, *some], some[::-1] + value
        if what == b'LPOP':
            return [what, key], value[1:]
        if what == b'RPOP':
            return [what, key], value[:-1]
        return [what, key, b'1', b'300'], value[1:301]

    def read_collections(self, c):
        found = {}
        for i in range(3):
            h, s, z, l = (self.key(b'%s%d' % (kind, i)) for kind in (b'h', b's', b'z', b'l'))
            pairs = c.must('HGETALL', h)
            found[h] = dict(zip(pairs[::2], pairs[1::2]))
            found[s] = set(c.must('SMEMBERS', s))
            pairs = c.must('ZRANGE', z, 0, -1, 'WITHSCORES')
            found[z] = dict(zip(pairs[::2], pairs[1::2]))
            tap.eq(c.must('ZCARD', z), len(found[z]))
            found[l] = c.must('LRANGE', l, 0, -1)
            tap.eq(c.must('LLEN', l), len(found[l]))
        return {key: value for key, value in found.items() if value}

    def run(self):
        try:
            with resp.Connection(port=self.port) as c:
                while True:
                    batch = []
                    for _ in range(self.rng.choice([1, 1, 4, 30])):
                        requests, state = self.step(self.states[-1])
                        batch.append(requests)
                        self.states.append(state)
                    c.send_raw(b''.join(resp.encode(*words) for requests in batch for words in requests))
                    for requests in batch:
                        for words in requests:
                            reply = c.read()
                            if self.refused and isinstance(reply, resp.Error) and re.match(self.refused, reply):
                                return
                            if isinstance(reply, resp.Error) or (words[0] == b'EXEC' and reply is None):
                                raise tap.Failed(f'{words[0]} was answered with {reply}')
                        self.acknowledged += 1
                        del self.states[0]
        except (OSError, resp.Closed):
            pass  # the kill
        except BaseException as error:
            self.error = error

    def verify(self, c):
        """Compare with what the server has now; returns the state it is in."""
        names = sorted({k for s in self.states for k in s} | {self.key(b'k%d' % i) for i in range(200)})
        found = {k: v for k, v in zip(names, c.must('MGET', *names)) if v is not None}
        found.update(self.read_collections(c))
        for state in self.states:
            if state == found:
                return found
        best = min(self.states, key=lambda s: sum(s.get(k) != found.get(k) for k in names))
        wrong = [k for k in names if best.get(k) != found.get(k)]
        raise tap.Failed(f'writer {self.number}: {self.acknowledged} acknowledged, {len(self.states) - 1} in flight; no state '
                         f'fits, the nearest differs in {len(wrong)} keys: {wrong[:5]}')


def count_by_scan(c):
    cursor, found = b'0', set()
    while True:
        cursor, part = c.must('SCAN', cursor, 'COUNT', 1000)
        found.update(part)
        if cursor == b'0':
            return len(found)


class Crowd:
    """A writer for each of `states`."""

    def __init__(self, s, rng, states, refused=None):
        self.server = s
        self.writers = [Writer(i, s.port, rng.random(), state, refused) for i, state in enumerate(states)]

    def start(self):
        """They are at work from now on."""
        for w in self.writers:
            w.start()

    def join(self):
        """After the server's end, also when they were never started: returns how many commands were acknowledged."""
        for w in self.writers:
            if w.ident:
                w.join()
        for w in self.writers:
            if w.error:
                raise w.error
        return sum(w.acknowledged for w in self.writers)

    def verify(self):
        """Compares with what the server has; returns the states they are in."""
        with self.server.connect() as c:
            states = [w.verify(c) for w in self.writers]
            size = c.must('DBSIZE')
            tap.eq(size, sum(len(x) for x in states), 'DBSIZE')
            tap.eq(count_by_scan(c), size, 'keys found by SCAN')
            return states
