"""Lists: mostly small ones, some that grow to a few thousand elements."""
VIEW = {b'list': [b'LRANGE', 0, -1]}
DIFFERENCES = [
    (rb'OBJECT ENCODING ', rb'\$9\r\nquicklist', rb'\$8\r\nlistpack',
     '7.2 keeps small lists in a listpack: t_list.c, listTypeTryConversion'),
    (rb'(BLPOP|BRPOP|BLMPOP|BLMOVE|BRPOPLPUSH) ', rb'-ERR timeout is negative', rb'-ERR timeout is out of range',
     '7.2 looks for a timeout that is too large before it converts it: timeout.c, getTimeoutFromObjectOrReply'),
    (rb'LPOS .* RANK -9223372036854775808', rb'', rb'-ERR value is out of range, value must between -9223372036854775807',
     '7.2 refuses what it cannot negate: t_list.c, lposCommand'),
]


def table(g):
    g.own('list', 10)
    r = g.rng
    k = lambda: g.key('list')
    end = lambda: g.case(r.choice(['LEFT', 'RIGHT']))
    # one of few, so that searches find some
    v = lambda: r.choice([b'%d' % r.randrange(10), b'%d' % r.randrange(10), b'e%d' % r.randrange(40), g.short()])
    many = lambda: [v() for _ in range(r.choice([1, 1, 2, 3, r.randrange(1, 30), r.randrange(1, 300)]))]
    index = lambda: r.choice([r.randrange(-5, 5), r.randrange(-200, 200), r.randrange(-3000, 3000), g.integer()])
    count = lambda: r.choice([0, 1, 2, 3, r.randrange(-5, 50), r.randrange(0, 600), g.integer()])
    g.fragile += ('BL', 'BR', 'BZ')  # another timeout may be for ever
    timeout = lambda: r.choice(['0.001', '0.002', '1e-3', '-1', 'x', 'nan', 'inf', '1e300', '0x', b'0.001 '])

    def lpos():
        return ['LPOS', k(), v()] + g.maybe([(g.case('RANK'), r.choice([1, -1, 2, -3, 0, count()])), (g.case('COUNT'), count()),
                                             (g.case('MAXLEN'), count())])

    def mpop(*first):
        n = r.randrange(1, 4)
        return list(first) + [r.choice([n] * 9 + [0, n + 1])] + [k() for _ in range(n)] + [end()] + \
            g.maybe([(g.case('COUNT'), r.choice([1, 2, r.randrange(1, 100), count()]))], .5)

    return [
        (12, lambda: ['RPUSH', k()] + many()),
        (12, lambda: ['LPUSH', k()] + many()),
        (4, lambda: [r.choice(['LPUSHX', 'RPUSHX']), k()] + many()),
        (10, lambda: [r.choice(['LPOP', 'RPOP']), k()]),
        (5, lambda: [r.choice(['LPOP', 'RPOP']), k(), count()]),
        (3, lambda: ['LLEN', k()]),
        (8, lambda: ['LRANGE', k(), index(), index()]),
        (8, lambda: ['LINDEX', k(), index()]),
        (8, lambda: ['LSET', k(), index(), v()]),
        (8, lambda: ['LINSERT', k(), g.case(r.choice(['BEFORE', 'AFTER'])), v(), v()]),
        (8, lambda: ['LREM', k(), r.choice([0, 1, -1, 2, -2, r.randrange(-40, 40), g.integer()]), v()]),
        (3, lambda: ['LTRIM', k()] + r.choice([[0, r.randrange(0, 2000)], [r.randrange(-2000, 0), -1], [r.randrange(0, 20), -r.randrange(1, 20)],
                                              [index(), index()]])),
        (6, lpos),
        (6, lambda: ['LMOVE', k(), k(), end(), end()]),
        (3, lambda: ['RPOPLPUSH', k(), k()]),
        (4, lambda: mpop('LMPOP')),
        (.5, lambda: [r.choice(['BLPOP', 'BRPOP'])] + [k() for _ in range(r.randrange(1, 4))] + [timeout()]),
        (.3, lambda: mpop('BLMPOP', timeout())),
        (.3, lambda: ['BLMOVE', k(), k(), end(), end(), timeout()]),
        (.3, lambda: ['BRPOPLPUSH', k(), k(), timeout()]),
        (2, lambda: ['OBJECT', 'ENCODING', k()]),
        (.3, lambda: ['DEL', k()]),
        (.5, lambda: ['COPY', k(), k(), 'REPLACE']),
        (.5, lambda: ['RENAME', k(), k()]),
    ]
