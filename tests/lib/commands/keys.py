"""Keys of any type, databases, and what is no command."""
import commands

UNORDERED = {b'KEYS': commands.in_any_order}


def _near(tolerance):
    # The two get a command minutes apart when one before it moved half a gigabyte (SETBIT at the end of what can be).
    return lambda command, want, got: (isinstance(want, int) and isinstance(got, int) and want > 0 and got > 0 and
                                       abs(want - got) <= tolerance)


def _object(command, want, got):
    """REFCOUNT says which small numbers Redis shares in memory."""
    return len(command) > 1 and command[1].upper() == b'REFCOUNT' and type(want) is type(got) is int


LIKE = {
    b'TTL': _near(600), b'PTTL': _near(600000), b'EXPIRETIME': _near(600), b'PEXPIRETIME': _near(600000),
    b'RANDOMKEY': lambda command, want, got: (want is None) == (got is None),
    b'OBJECT': _object,
}


def table(g):
    r, v = g.rng, g.value
    k = lambda: g.key('string' if r.random() < .5 else 'any')
    keys = lambda lo, hi: [k() for _ in range(r.randrange(lo, hi))]
    conditions = [('NX',), ('XX',), ('GT',), ('LT',)]
    found = [
        (6, lambda: [r.choice(['DEL', 'UNLINK'])] + keys(1, 4)),
        (5, lambda: ['EXISTS'] + keys(1, 5)),
        (3, lambda: ['TYPE', k()]),
        (3, lambda: ['TOUCH'] + keys(1, 4)),
        (4, lambda: ['RENAME', k(), k()]),
        (4, lambda: ['RENAMENX', k(), k()]),
        (4, lambda: ['COPY', k(), k()] + g.maybe([('REPLACE',)] + ([] if g.private else [('DB', r.randrange(0, 18))]))),
        (3, lambda: ['OBJECT', g.case(r.choice(['ENCODING', 'REFCOUNT'])), k()]),
        (1, lambda: ['OBJECT', 'FREQ', k()]),
        (3, lambda: ['DBSIZE']),
        (2, lambda: ['KEYS', r.choice([b'*', b'k*', b'k?', b'[kL]*', b'\\*', b'*1', b'{tag}*', b'nothing', k()])]),
        (1, lambda: ['RANDOMKEY']),
        (6, lambda: ['EXPIRE', k(), g.ttl(1)] + g.maybe(conditions, 0.15)),
        (4, lambda: ['PEXPIRE', k(), g.ttl(1000)] + g.maybe(conditions, 0.15)),
        (6, lambda: ['EXPIREAT', k(), g.at_or_past(1)] + g.maybe(conditions, 0.15)),
        (4, lambda: ['PEXPIREAT', k(), g.at_or_past(1000)] + g.maybe(conditions, 0.15)),
        (6, lambda: [r.choice(['TTL', 'PTTL', 'EXPIRETIME', 'PEXPIRETIME']), k()]),
        (4, lambda: ['PERSIST', k()]),
        (1, lambda: ['PING'] + g.maybe([(v(),)], .5)),
        (1, lambda: ['ECHO', v()]),
        (0.3, lambda: ['FLUSHDB'] + g.maybe([('ASYNC',), ('SYNC',)])),
        (0.5, lambda: [r.choice(['NOSUCH', 'get\r\n', 'OBJECT', 'CONFIG', 'CLIENT'])] + keys(0, 3)),
    ]
    if not g.private:
        found += [
            (5, lambda: ['SELECT', r.choice([r.randrange(0, 4), r.randrange(0, commands.DATABASES), -1, 16])]),
            (4, lambda: ['MOVE', k(), r.choice([r.randrange(0, 4), 16])]),
            (1, lambda: ['SWAPDB', r.randrange(0, 5), r.choice([r.randrange(0, 5), 16])]),
            (0.15, lambda: ['FLUSHALL'] + g.maybe([('ASYNC',), ('SYNC',)])),
        ]
    return found
