"""Hashes."""
import commands

VIEW = {b'hash': [b'HGETALL']}


UNORDERED = {
    b'HGETALL': commands.pairs_in_any_order,
    b'HKEYS': commands.in_any_order,
    b'HVALS': commands.in_any_order,
}
LIKE = {b'HRANDFIELD': commands.same_shape, b'HSCAN': commands.part_of_scan(2)}


def table(g):
    g.own('hash')
    r, v, f = g.rng, g.short, g.member
    k = lambda: g.key('hash')

    def pairs():
        n = r.choice([1, 1, 1, 2, 3, 5, r.randrange(1, 60)])
        return [x for _ in range(n) for x in (f(), v())]

    fields = lambda: [f() for _ in range(r.choice([1, 1, 2, 4, r.randrange(1, 40)]))]
    by = lambda: r.choice([b'1.5', b'-3', b'1e3', b'0.1', b'1e400', b'inf', b'nan', g.number(), v()])
    return [
        (20, lambda: ['HSET', k()] + pairs()),
        (4, lambda: ['HMSET', k()] + pairs()),
        (5, lambda: ['HSETNX', k(), f(), v()]),
        (10, lambda: ['HGET', k(), f()]),
        (5, lambda: ['HMGET', k()] + fields()),
        (4, lambda: ['HGETALL', k()]),
        (2, lambda: [r.choice(['HKEYS', 'HVALS']), k()]),
        (4, lambda: ['HLEN', k()]),
        (3, lambda: ['HSTRLEN', k(), f()]),
        (3, lambda: ['HEXISTS', k(), f()]),
        (8, lambda: ['HDEL', k()] + fields()),
        (4, lambda: ['HINCRBY', k(), f(), g.integer()]),
        (4, lambda: ['HINCRBYFLOAT', k(), f(), by()]),
        (3, lambda: ['HRANDFIELD', k()] + g.maybe([(r.choice([0, 1, 3, 50, 1000, -1, -5, 2**63 - 1]),)], .7) +
         g.maybe([('WITHVALUES',)], .3)),
        (2, lambda: ['HSCAN', k(), 0, 'COUNT', 10**6] + g.maybe([('MATCH', r.choice([b'*', b'm*', b'[0-9]', f()]))], .5)),
        (1, lambda: ['HSCAN', k(), r.choice([b'x', b'-', b'1x'])]),
        (1, lambda: ['DEL', k()]),
    ]
