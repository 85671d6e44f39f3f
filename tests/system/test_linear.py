#!/usr/bin/python3
"""Clients on several reactors of a real server see one order of all commands and transactions.

Histories of some clients over four keys, single commands, MULTI with EXEC over several keys, and WATCH among them, are searched
for an order that fits what every client was told and when (the search is that of tests/lib/linear.h, which does the same over
the executor alone, with many more histories and with failures).
"""
import random
import select

import resp
import server
import tap

KEYS = 4


class Op:
    """What was asked, what was answered, and the moments of both."""

    def __init__(self, kind, key, value):
        self.kind, self.key, self.value = kind, key, value
        self.called = self.replied = self.first = self.result = None

    def apply(self, reg):
        """The registers afterwards, or None when the answer would have been another."""
        reg, other, old = list(reg), (self.key + 1) % KEYS, reg[self.key]
        if self.kind in ('GET', 'MGET', 'LOOK'):
            return reg if self.result == (old if self.kind == 'GET' else reg) else None
        if self.kind == 'SET':
            reg[self.key] = self.value
        elif self.kind == 'MSET':
            reg = [self.value] * KEYS
        elif self.kind == 'INCR':
            reg[self.key] = (old or 0) + 1
            return reg if self.result == reg[self.key] else None
        elif self.kind == 'DEL':
            reg[self.key] = None
            return reg if self.result == (old is not None) else None
        elif self.kind == 'EXEC':
            reg[self.key] = (old or 0) + 1
            reg[other] = self.value
            return reg if self.first == reg[self.key] and self.result == reg else None
        elif self.kind == 'CAS' and self.result:
            if old != self.first:
                return None
            reg[self.key] = reg[other] = self.value
        return reg

    def __repr__(self):
        return f'[{self.called}..{self.replied}] {self.kind} {self.key} {self.value} -> {self.first} {self.result}'


def linear(ops):
    """Whether there is an order (Wing and Gong, with Lowe's memory of what was tried)."""
    seen, stack = set(), [(frozenset(), (None,) * KEYS)]
    while stack:
        done, reg = stack.pop()
        left = [i for i in range(len(ops)) if i not in done]
        if not left:
            return True
        earliest = min(ops[i].replied for i in left)
        for i in left:
            after = ops[i].apply(reg) if ops[i].called < earliest else None
            if after is not None and (state := (done | {i}, tuple(after))) not in seen:
                seen.add(state)
                stack.append(state)
    return False


class Client:
    """One operation at a time; those of several steps (CAS) begin to take effect with the last."""

    def __init__(self, s, rng, group):
        self.c, self.rng, self.op, self.steps = s.connect(), rng, None, []
        self.keys = [f'{group}:k{i}' for i in range(KEYS)]

    def begin(self, clock):
        """Sends the first step of an operation."""
        r, k = self.rng, self.keys
        op = self.op = Op(r.choice(['GET', 'SET', 'INCR', 'INCR', 'DEL', 'MGET', 'MSET', 'EXEC', 'EXEC', 'EXEC', 'LOOK', 'CAS', 'CAS']),
                          r.randrange(KEYS), r.randrange(100, 100000))
        own, other = k[op.key], k[(op.key + 1) % KEYS]
        alone = {'GET': ['GET', own], 'SET': ['SET', own, op.value], 'INCR': ['INCR', own], 'DEL': ['DEL', own],
                 'MGET': ['MGET', *k], 'MSET': ['MSET', *[x for key in k for x in (key, op.value)]]}
        within = {'EXEC': [['INCR', own], ['SET', other, op.value], ['MGET', *k]], 'LOOK': [['MGET', *k]] * 2,
                  'CAS': [['MSET', own, op.value, other, op.value]]}
        if op.kind in alone:
            self.steps = [[alone[op.kind]]]
        else:
            self.steps = [[['MULTI'], *within[op.kind], ['EXEC']]]
            if op.kind == 'CAS':
                self.steps.insert(0, [['WATCH', own], ['GET', own]])
        self.send(clock)

    def send(self, clock):
        self.waits = len(self.steps[0])
        self.replies = []
        self.op.called = next(clock)
        self.c.send_raw(b''.join(resp.encode(*command) for command in self.steps.pop(0)))

    def receive(self, clock):
        """Reads what has come; the operation when it is over."""
        while len(self.replies) < self.waits:
            self.replies.append(self.c.read())
            if isinstance(self.replies[-1], resp.Error):
                raise tap.Failed(f'{self.op}: {self.replies[-1]}')
            if len(self.replies) < self.waits and self.c.start == len(self.c.buffer):
                return None
        number = lambda x: None if x is None else int(x)
        last = self.replies[-1]
        if self.steps:
            self.op.first = number(last)
            self.send(clock)
            return None
        op, self.op = self.op, None
        if op.kind in ('MGET', 'LOOK', 'EXEC'):
            if op.kind == 'LOOK':
                tap.eq(last[0], last[1])
            if op.kind == 'EXEC':
                op.first = last[0]
            op.result = [number(x) for x in (last if op.kind == 'MGET' else last[-1])]
        else:
            op.result = last is not None if op.kind == 'CAS' else number(last) if op.kind in ('GET', 'INCR', 'DEL') else None
        op.replied = next(clock)
        return op


def history(s, rng, group, clients, each):
    clock = iter(range(10**9))
    everyone = [Client(s, rng, group) for _ in range(clients)]
    left, ops = {x: each for x in everyone}, []
    for x in everyone:
        x.begin(clock)
    busy = {x.c.sock: x for x in everyone}
    while busy:
        for sock in select.select(list(busy), [], [], 60)[0]:
            x = busy[sock]
            op = x.receive(clock)
            if op is None:
                continue
            ops.append(op)
            left[x] -= 1
            if left[x]:
                x.begin(clock)
            else:
                del busy[sock]
    for x in everyone:
        x.c.close()
    return ops


@tap.cases(('always', 'lsm'), ('everysec', 'lsm'), ('everysec', 'btree'), ('no', 'memory'))
def all_clients_see_one_order(fsync, engine):
    seed = random.SystemRandom().randrange(2**32)
    tap.diag(f'seed {seed}')
    rng = random.Random(seed)
    with server.Varved('--io-threads', '4', '--appendfsync', fsync, '--engine', engine, '--memtable-size', '1mb') as s:
        for group in range(tap.pick(60, 2000)):
            ops = history(s, rng, group, clients=8, each=6)
            if not linear(ops):
                for op in ops:
                    tap.diag(op)
                raise tap.Failed('there is no such order')


@tap.test
def the_search_finds_what_is_wrong():
    def ops(*rows):
        out = []
        for kind, key, value, first, result, called, replied in rows:
            op = Op(kind, key, value)
            op.first, op.result, op.called, op.replied = first, result, called, replied
            out.append(op)
        return out
    tap.check(linear(ops(('EXEC', 0, 5, 1, [1, 5, None, None], 1, 9), ('LOOK', 0, 0, None, [None] * 4, 2, 8))))
    tap.check(not linear(ops(('EXEC', 0, 5, 1, [1, 5, None, None], 1, 9), ('LOOK', 0, 0, None, [1, None, None, None], 2, 8))))
    tap.check(not linear(ops(('CAS', 0, 5, None, True, 1, 9), ('CAS', 0, 6, None, True, 2, 8))))
    tap.check(not linear(ops(('SET', 0, 5, None, None, 1, 2), ('GET', 0, 0, None, None, 3, 4))))


tap.main()
