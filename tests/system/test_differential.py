#!/usr/bin/python3
"""The same random commands to redis-server and to varved: the same bytes must come back.

Several connections, half of them RESP3. Most batches are pipelines of one connection at a time over shared keys, SWAPDB, MOVE
and FLUSHALL among them, rows of them in MULTI and EXEC with watched keys; in between all connections send at once, each in a database of its own, so that the reactors
run side by side and the answers are still determined. varved runs with a memtable so small that it flushes and
compacts all the time.

The commands come from tests/lib/commands, one module a data type. Replies are compared byte for byte, but for what depends
on the clock (TTL and the like: equal within a tolerance), on chance (RANDOMKEY, HRANDFIELD), or has no order (KEYS, SCAN,
SMEMBERS: equal as sets). Where Redis 7.2, the level spoken here, differs from the 7.0 that Debian has as reference, the
pair stands in DIFFERENCES of the module, with its source.

The seed is printed; DIFFERENTIAL_SEED repeats a run, DIFFERENTIAL_COMMANDS sets its length.
"""
import os
import random
import re
import sys
import time

import commands
import resp
import server
import tap

UNORDERED = commands.merged('UNORDERED')
LIKE = commands.merged('LIKE')
DIFFERENCES = commands.merged('DIFFERENCES')
VIEW = commands.merged('VIEW')
DATABASES = commands.DATABASES
Gen = commands.Gen


def equal(command, want, got):
    """Whether the raw replies agree."""
    if want == got:
        return True
    name = command[0].upper()
    if want[:1] != b'-' != got[:1] and (name in UNORDERED or name in LIKE):
        a, b = resp.parse(want)[0], resp.parse(got)[0]
        if name in UNORDERED and want[:1] == got[:1] and UNORDERED[name](a) == UNORDERED[name](b):
            return True
        if name in LIKE and LIKE[name](command, a, b):
            return True
    for pattern, theirs, ours, _ in DIFFERENCES:
        if re.match(pattern, b' '.join(command), re.I) and re.match(theirs, want) and re.match(ours, got):
            return True
    return False


def short(data, limit=160):
    text = repr(data)
    return text if len(text) <= limit else f'{text[:limit]}... ({len(data)} bytes)'


def show_history(history, keys):
    """The last commands that have one of these arguments."""
    tap.diag('the last commands on these keys:')
    for command in [c for c in history if set(c[1:]) & set(keys)][-12:]:
        tap.diag('  ' + ' '.join(short(w, 60) for w in command))


def elements(data):
    """The raw replies in an array."""
    at, found = data.index(b'\r\n') + 2, []
    while at < len(data):
        _, end = resp.parse(data, at)
        found.append(data[at:end])
        at = end
    return found


def with_transactions(rng, gen, commands):
    """Some rows of the commands between MULTI and EXEC, of which some watch keys that commands before them may change."""
    out, at = [], 0
    while at < len(commands):
        n = rng.choice([1, 2, 5, 20])
        row, at = commands[at:at + n], at + n
        if any(re.match(pattern, b' '.join(c), re.I) for c in row for pattern, *_ in DIFFERENCES):
            out += row  # what one of the two refuses would make it refuse everything
            continue
        if rng.random() < 0.85:
            out += row
            continue
        if rng.random() < 0.4:
            keys = gen.keys(1, 4, 'any')
            out += [[b'WATCH'] + keys]
            row, between = row[len(row) // 2:], row[:len(row) // 2]
            out += between + ([[b'UNWATCH']] if rng.random() < 0.1 else [])
        out += [[b'MULTI']] + row + [[rng.choice([b'EXEC'] * 9 + [b'DISCARD'])]]
    return out


class Pair:
    """A connection to each."""

    def __init__(self, reference, ours, resp3, history):
        self.reference, self.ours = reference.connect(), ours.connect()
        self.history = history
        self.queue = None  # commands since MULTI
        self.name = f'connection {reference.port}'
        if resp3:
            self.reference.call('HELLO', 3)
            self.ours.call('HELLO', 3)

    def both(self, commands):
        want = self.reference.pipeline(commands, raw=True)
        got = self.ours.pipeline(commands, raw=True)
        self.compare(commands, want, got)

    def compare(self, commands, want, got):
        for command, a, b in zip(commands, want, got):
            self.history.append(command)
            name = command[0].upper()
            if self.queue is not None and name == b'EXEC' and a[:1] == b[:1] == b'*' and a != b:
                theirs, ours = elements(a), elements(b)
                tap.eq(len(ours), len(theirs), 'EXEC')
                for queued, x, y in zip(self.queue, theirs, ours):
                    self.compare_one(queued, x, y, 'in MULTI: ')
            else:
                self.compare_one(command, a, b)
            if name == b'MULTI' and a == b'+OK\r\n':
                self.queue = []
            elif self.queue is not None and a == b'+QUEUED\r\n':
                self.queue.append(command)
            elif name in (b'EXEC', b'DISCARD') and len(command) == 1:
                self.queue = None
        del self.history[:-40000]

    def compare_one(self, command, want, got, where=''):
        if not equal(command, want, got):
            show_history(self.history, command[1:])
            raise tap.Failed(f'{where}{" ".join(short(w, 80) for w in command)}: redis-server {short(want)}, '
                             f'varved {short(got)}')


def full_scan(c, *options):
    cursor, found = b'0', []
    while True:
        cursor, part = c.must('SCAN', cursor, *options)
        found += part
        if cursor == b'0':
            return set(found)


def compare_databases(reference, ours, pairs):
    """Every key of every database: value, time to live, and the sets that SCAN returns."""
    with reference.connect() as a, ours.connect() as b:
        for db in range(DATABASES):
            a.must('SELECT', db)
            b.must('SELECT', db)
            keys = sorted(a.must('KEYS', '*'))
            tap.eq(sorted(b.must('KEYS', '*')), keys, f'KEYS of database {db}')
            for options in ([], ['COUNT', 3], ['MATCH', 'k*', 'COUNT', 100], ['TYPE', 'string'], ['TYPE', 'list'],
                            ['TYPE', 'set', 'COUNT', 50]):
                tap.eq(full_scan(b, *options), full_scan(a, *options), f'SCAN {options} of database {db}')
            tap.eq(b.must('DBSIZE'), a.must('DBSIZE'), f'DBSIZE of database {db}')
            for key in keys:
                kind = a.must('TYPE', key)
                shown = [VIEW[kind][:1] + [key] + VIEW[kind][1:]] if kind in VIEW else []
                for command in shown + [[b'TYPE', key], [b'PEXPIRETIME', key], [b'OBJECT', b'ENCODING', key]]:
                    x, y = a.raw(resp.encode(*command)), b.raw(resp.encode(*command))
                    if not equal(command, x, y):
                        for history in {id(p.history): p.history for p in pairs}.values():
                            show_history(history, [key])
                        raise tap.Failed(f'database {db}: {short(command)}: redis-server {short(x)}, varved {short(y)}')


def expire_some(rng, pair):
    """Keys that live for some milliseconds, then are missing for everybody, counts included."""
    keys = [b'soon%d' % i for i in range(20)]
    commands = [[b'SET', k, b'v', b'PX', b'%d' % rng.randrange(1, 40)] for k in keys[:10]]
    commands += [[b'SET', k, b'v'] for k in keys[10:]] + [[b'PEXPIRE', k, b'%d' % rng.randrange(1, 40)] for k in keys[10:]]
    pair.both(commands)
    time.sleep(0.25)
    end = time.monotonic() + 20  # who deletes later than that is wrong, busy machine or not
    while pair.reference.call('DBSIZE') != pair.ours.call('DBSIZE') and time.monotonic() < end:
        time.sleep(0.02)
    for k in keys:
        pair.both([[rng.choice([b'GET', b'TYPE', b'TTL', b'EXISTS', b'DEL', b'PERSIST']), k]])
    pair.both([[b'DBSIZE']])


def run(total, seed, *options):
    rng = random.Random(seed)
    tap.diag(f'seed {seed}, {total} commands')
    with server.Redis() as reference, server.Varved(*options) as ours:
        history = []
        shared = [Pair(reference, ours, i % 2 == 1, history) for i in range(4)]
        private = [Pair(reference, ours, i % 2 == 0, []) for i in range(4)]
        everywhere, at_home = Gen(rng), Gen(rng, private=True)
        for i, pair in enumerate(private):
            pair.both([[b'SELECT', b'%d' % (DATABASES - 1 - i)]])
        done = last = 0
        while done < total:
            if rng.random() < 0.7:
                pair = rng.choice(shared)
                commands = [everywhere.command() for _ in range(rng.choice([1, 5, 60, 200]))]
                commands = with_transactions(rng, everywhere, commands)
                pair.both(commands)
                done += len(commands)
            else:
                for i, pair in enumerate(private):  # databases may have been swapped: nobody else is at work now
                    pair.both([[b'SELECT', b'%d' % (DATABASES - 1 - i)]])
                batches = [with_transactions(rng, at_home, [at_home.command() for _ in range(100)]) for _ in private]
                for pair, commands in zip(private, batches):
                    pair.ours.send_raw(b''.join(resp.encode(*c) for c in commands))
                for pair, commands in zip(private, batches):
                    got = [pair.ours.read_raw() for _ in commands]
                    pair.compare(commands, pair.reference.pipeline(commands, raw=True), got)
                    done += len(commands)
            if done - last > 5000:
                last = done
                expire_some(rng, rng.choice(shared))
                compare_databases(reference, ours, shared + private)
        compare_databases(reference, ours, shared + private)
        if server.ENGINE != 'memory':
            ours.crash()
            compare_databases(reference, ours, shared + private)


COUNT = int(os.environ.get('DIFFERENTIAL_COMMANDS') or tap.pick(50000, 2000000))
SEED = int(os.environ.get('DIFFERENTIAL_SEED') or random.SystemRandom().randrange(2**32))
SMALL = ['--memtable-size', '262144', '--table-size', '65536', '--io-threads', '2']


@tap.test
def random_commands_get_the_same_replies_as_from_redis():
    run(COUNT, SEED, '--appendfsync', 'everysec', *SMALL)


if __name__ == '__main__':
    tap.main()
