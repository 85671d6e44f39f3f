"""HyperLogLogs: strings, so that the bytes are compared with the other strings'. PFCOUNT is asked for several keys, even
when damage takes one away: of a single one Redis writes what it counted into the value, varved does not."""


def table(g):
    g.own('hll', 8)
    r = g.rng
    k = lambda: g.key('hll')
    element = lambda: b'%d' % r.randrange(5000) if r.random() < .8 else g.value()

    def add():
        return ['PFADD', k()] + [element() for _ in range(r.choice([0, 1, 2, 10, r.randrange(1, 300)]))]

    def count():
        first = k()
        return ['PFCOUNT', first] + [k() for _ in range(r.randrange(0, 3))] + [first, first]

    return [
        (6, add),
        (3, count),
        (2, lambda: ['PFMERGE', k()] + [k() for _ in range(r.randrange(0, 3))]),
        (0.5, lambda: ['DEL', k()]),
    ]
