"""HyperLogLogs: strings, so that the bytes are compared with the other strings'."""


def table(g):
    g.own('hll', 8)
    r = g.rng
    k = lambda: g.key('hll')
    element = lambda: b'%d' % r.randrange(5000) if r.random() < .8 else g.value()

    def add():
        return ['PFADD', k()] + [element() for _ in range(r.choice([0, 1, 2, 10, r.randrange(1, 300)]))]

    return [
        (6, add),
        (3, lambda: ['PFCOUNT'] + [k() for _ in range(r.randrange(1, 4))]),
        (2, lambda: ['PFMERGE', k()] + [k() for _ in range(r.randrange(0, 3))]),
        (0.5, lambda: ['DEL', k()]),
    ]
