"""Sets."""
import commands

VIEW = {b'set': [b'SMEMBERS']}


UNORDERED = {name: commands.in_any_order for name in (b'SMEMBERS', b'SINTER', b'SUNION', b'SDIFF', b'SPOP')}
LIKE = {b'SRANDMEMBER': commands.same_shape, b'SSCAN': commands.part_of_scan(1)}
DIFFERENCES = [
    (rb'OBJECT ENCODING ', rb'\$9\r\nhashtable', rb'\$8\r\nlistpack',
     'since 7.2 small sets that are no intsets are listpacks (t_set.c, setTypeCreate)'),
]


def table(g):
    g.own('set')
    g.fragile += ('SPOP',)  # what is left is the same only if all went
    r = g.rng
    k = lambda: g.key('set')
    keys = lambda: [k() for _ in range(r.choice([1, 2, 2, 3, 5]))]
    number = lambda: b'%d' % r.choice([r.randrange(0, 40), r.randrange(-1000, 1000), g.integer()])
    # some keys see numbers alone, so that there are intsets
    member = lambda key: number() if key[-1:] in b'012' and r.random() < .97 else g.member()

    def members(name):
        key = k()
        n = r.choice([1, 1, 2, 5, r.randrange(1, 80)])
        return [name, key] + [member(key) for _ in range(n)]

    def one(name):
        key = k()
        return [name, key, member(key)]

    def move():
        a, b = k(), k()
        return ['SMOVE', a, b, member(a)]

    def card():
        some = keys()
        return ['SINTERCARD', r.choice([len(some)] * 6 + [0, 1, 9]), *some] + g.maybe([('LIMIT', r.choice([0, 1, 3, 50, -1]))], .4)

    return [
        (20, lambda: members('SADD')),
        (8, lambda: members('SREM')),
        (6, lambda: one('SISMEMBER')),
        (4, lambda: members('SMISMEMBER')),
        (5, lambda: ['SMEMBERS', k()]),
        (4, lambda: ['SCARD', k()]),
        (5, move),
        (1.5, lambda: ['SPOP', k(), r.choice([10**6, 10**6, 0, -1, 2**63 - 1])]),
        (3, lambda: ['SRANDMEMBER', k()] + g.maybe([(r.choice([0, 1, 3, 50, 1000, -1, -5, 2**63 - 1]),)], .7)),
        (6, lambda: [r.choice(['SINTER', 'SUNION', 'SDIFF'])] + keys()),
        (6, lambda: [r.choice(['SINTERSTORE', 'SUNIONSTORE', 'SDIFFSTORE']), k()] + keys()),
        (3, card),
        (2, lambda: ['SSCAN', k(), 0, 'COUNT', 10**6] + g.maybe([('MATCH', r.choice([b'*', b'm*', b'[0-9]', g.member()]))], .5)),
        (1, lambda: ['DEL', k()]),
    ]
