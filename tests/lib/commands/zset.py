"""Sorted sets."""
import commands

LONG = b'p' * 440
MEMBERS = [b'm%d' % i for i in range(40)] + [b'', b'a', b'A', b'b\x00', b'\xff', b'12', b'-3', b'x' * 64, b'x' * 65, LONG, LONG + b'8' * 8,
                                             LONG + b'9' * 9, LONG + b'b' * 60, LONG + b'a' * 60, LONG + b'c' * 2000]
SCORES = ['0', '-0', '1', '2', '3', '-1', '1.5', '0.1', '-0.25', '1e5', '1e17', '123456789012345678', '3.3e-7', 'inf', '-inf', '+inf', '1e308',
          '0x10', '5e-324']


def same_number(want, got):
    """Redis 7.0 shows a score with 17 digits, 7.2 the shortest way."""
    try:
        value = float(want)
        return float(got) == value and want == b'%.17g' % value
    except ValueError:
        return False


def same(command, want, got):
    """The same but for the digits of scores."""
    if isinstance(want, list) and isinstance(got, list):
        return len(want) == len(got) and all(same(command, a, b) for a, b in zip(want, got))
    if isinstance(want, bytes) and isinstance(got, bytes):
        return want == got or same_number(want, got)
    return type(want) is type(got) and want == got


def as_many(command, want, got):
    """ZRANDMEMBER."""
    return type(want) is type(got) and (not isinstance(want, list) or len(want) == len(got))


def same_scan(command, want, got):
    """ZSCAN with a COUNT that covers everything: pairs in any order, and not all of them if that took too long."""
    if not isinstance(want, list) or not isinstance(got, list):
        return False
    if command[2] != b'0':  # elsewhere it starts at another place than Redis
        return True
    theirs, ours = (dict(zip(reply[1][::2], reply[1][1::2])) for reply in (want, got))
    return (got[0] != b'0' or len(theirs) == len(ours)) and all(k in theirs and same(command, theirs[k], v) for k, v in ours.items())


VIEW = {b'zset': [b'ZRANGE', b'0', b'-1', b'WITHSCORES']}
LIKE = {name: same for name in b"""ZADD ZINCRBY ZSCORE ZMSCORE ZRANK ZREVRANK ZRANGE ZREVRANGE ZRANGEBYSCORE ZREVRANGEBYSCORE ZPOPMIN ZPOPMAX
    ZMPOP ZUNION ZINTER ZDIFF BZPOPMIN BZPOPMAX BZMPOP""".split()}
LIKE[b'ZRANDMEMBER'] = as_many
LIKE[b'ZSCAN'] = same_scan
DIFFERENCES = [
    (rb'Z(REV)?RANK ', rb'-ERR wrong number of arguments', rb'-ERR syntax|-WRONGTYPE|[*_]', 'WITHSCORE came with 7.2 (t_zset.c)'),
]


def table(g):
    g.own('zset', 8)
    g.fragile += ('zlex', 'zmix')
    r = g.rng

    def key():
        return r.choice([b'zbig', b'zbig', g.key('any')]) if r.random() < .15 else g.key('zset')

    def lex_key():
        """Sets whose scores are equal (zlex...), or which stay small (zmix...): else ranges of members are unspecified."""
        return r.choice(['zlex0', 'zlex1', 'zlex2', 'zmix0', 'zmix1', 'zmissing'])

    def lex_add():
        k = lex_key()
        if k.startswith('zmix'):
            return ['ZADD', k] + [x for _ in range(3) for x in (r.choice(SCORES), b'm%d' % r.randrange(12))]
        return ['ZADD', k] + [x for _ in range(r.choice([1, 3, 30])) for x in ('-3', member())]

    def member():
        return r.choice(MEMBERS) if r.random() < .8 else b'n%d' % r.randrange(400)

    def score():
        return r.choice([r.choice(SCORES), str(r.randrange(-10, 30)), repr(r.uniform(-100, 100))] * 10 + [g.value()])

    def bound():
        text = r.choice([score(), 'x', '-inf', 'inf', '1', '2', ' 3', ''])
        return text if isinstance(text, bytes) else r.choice(['', '(']) + text

    def text_bound():
        return r.choice([b'-', b'+', b'[' + member(), b'(' + member(), b'[' + member(), b'(' + member(), b'', b'm', b'+x'])

    def pairs(n):
        return [x for _ in range(n) for x in (score(), member())]

    def limit():
        return g.maybe([('LIMIT', r.choice([0, 0, 1, 2, 5, -1, 1000]), r.choice([-1, 0, 1, 3, 10, 1000]))], .3)

    def scores():
        return g.maybe([('WITHSCORES',)], .5)

    def keys():
        n = r.randrange(1, 4)
        return [n if r.random() < .97 else r.choice([0, -1, n + 1, 'x'])] + [key() for _ in range(n)]

    def position():
        return r.choice([0, 0, -1, r.randrange(-10, 10), r.randrange(-300, 300)])

    def zrange(first, store):
        kind = r.choice([[], ['BYSCORE'], ['BYLEX']])
        if kind == ['BYLEX']:
            first[-1] = lex_key()
        a, b = (bound(), bound()) if kind == ['BYSCORE'] else (text_bound(), text_bound()) if kind else (position(), position())
        if r.random() < .03:
            a = r.choice(['x', ''])
        options = g.maybe([tuple(kind), ('REV',)], .5 if not kind else .9) + (limit() if kind or r.random() < .05 else [])
        return first + [a, b] + options + ([] if store else scores())

    def weights(n):
        return g.maybe([('WEIGHTS', *[r.choice([score(), 1, 2, 0, -1]) for _ in range(n)]),
                        ('AGGREGATE', r.choice(['SUM', 'MIN', 'MAX', 'min', 'x']))], .3)

    def combine(name, store):
        k = keys()
        words = [name] + ([key()] if store else []) + k
        if 'DIFF' not in name or r.random() < .05:
            words += weights(len(k) - 1)
        return words + ([] if store and r.random() < .95 else scores())

    def zadd(n):
        return ['ZADD', key()] + g.maybe([('NX',), ('XX',), ('GT',), ('LT',), ('CH',)], .12) + pairs(n)

    def popped():
        return r.choice([[], [], [r.choice([0, 1, 2, 5, 100, -1, 'x'])]])

    def mpop():
        return keys() + [r.choice(['MIN', 'MAX', 'max', 'x'] if r.random() < .2 else ['MIN', 'MAX'])] + \
            g.maybe([('COUNT', r.choice([1, 2, 3, 1000, 0, 'x']))], .4)

    return [
        (30, lambda: zadd(r.choice([1, 1, 2, 3, 10]))),
        (2, lambda: ['ZADD', b'zbig'] + pairs(r.choice([20, 60]))),
        (4, lambda: ['ZADD', key(), *g.maybe([('NX',), ('XX',), ('GT',), ('LT',)], .15), 'INCR'] + pairs(r.choice([1] * 9 + [2]))),
        (8, lambda: ['ZINCRBY', key(), score(), member()]),
        (8, lambda: ['ZREM', r.choice([key, lex_key])()] + [member() for _ in range(r.choice([1, 2, 5]))]),
        (6, lambda: ['ZSCORE', key(), member()]),
        (4, lambda: ['ZMSCORE', key()] + [member() for _ in range(r.randrange(1, 5))]),
        (4, lambda: ['ZCARD', key()]),
        (8, lambda: [r.choice(['ZRANK', 'ZREVRANK']), key(), member()]),
        (14, lambda: zrange(['ZRANGE', key()], False)),
        (6, lambda: zrange(['ZRANGESTORE', key(), key()], True)),
        (3, lambda: ['ZREVRANGE', key(), position(), position()] + scores()),
        (6, lambda: [r.choice(['ZRANGEBYSCORE', 'ZREVRANGEBYSCORE']), key(), bound(), bound()] + scores() + limit()),
        (6, lambda: lex_add()),
        (6, lambda: [r.choice(['ZRANGEBYLEX', 'ZREVRANGEBYLEX']), lex_key(), text_bound(), text_bound()] + limit()),
        (5, lambda: ['ZCOUNT', key(), bound(), bound()]),
        (5, lambda: ['ZLEXCOUNT', lex_key(), text_bound(), text_bound()]),
        (2, lambda: ['ZREMRANGEBYRANK', key(), position(), position()]),
        (2, lambda: ['ZREMRANGEBYSCORE', key(), bound(), bound()]),
        (2, lambda: ['ZREMRANGEBYLEX', lex_key(), text_bound(), text_bound()]),
        (6, lambda: [r.choice(['ZPOPMIN', 'ZPOPMAX']), key()] + popped()),
        (3, lambda: ['ZMPOP'] + mpop()),
        (4, lambda: ['ZRANDMEMBER', key()] + r.choice([[], [r.choice([0, 1, 3, 1000, -3, 'x'])] + scores()])),
        (8, lambda: combine(r.choice(['ZUNION', 'ZINTER', 'ZDIFF']), False)),
        (6, lambda: combine(r.choice(['ZUNIONSTORE', 'ZINTERSTORE', 'ZDIFFSTORE']), True)),
        (3, lambda: ['ZINTERCARD'] + keys() + g.maybe([('LIMIT', r.choice([0, 1, 2, 100, -1, 'x']))], .4)),
        (3, lambda: ['ZSCAN', key(), 0, 'COUNT', 100000] + g.maybe([('MATCH', r.choice(['m*', '*1', 'x*']))])),
        (2, lambda: ['OBJECT', 'ENCODING', key()]),
        (1, lambda: ['DEL', key()]),
    ]
