"""Strings and bits."""
VIEW = {b'string': [b'GET']}


def table(g):
    r, k, v = g.rng, g.key, g.value

    def bit_offset():
        return r.choice([r.randrange(0, 64), r.randrange(0, 2000), r.randrange(0, 200000), -1, 2**32,
                         2**32 - 1 if r.random() < 0.0005 else 7])

    def bitfield_ops(read_only):
        ops = []
        for _ in range(r.randrange(0, 5)):
            kind = g.case(r.choice(['GET'] if read_only else ['GET', 'SET', 'INCRBY', 'OVERFLOW']))
            bits = r.choice(['u', 'i']) + str(r.choice([1, 2, 5, 8, 16, 31, 32, 62, 63, 64, 65, 0]))
            offset = r.choice([str(r.randrange(0, 300)), '#%d' % r.randrange(0, 30), str(r.choice([-1, 10**4]))])
            if kind.upper() == 'OVERFLOW':
                ops += [kind, g.case(r.choice(['WRAP', 'SAT', 'FAIL', 'FAIL', 'what']))]
            elif kind.upper() == 'GET':
                ops += [kind, bits, offset]
            else:
                ops += [kind, bits, offset, g.integer()]
        return ops

    def set_options():
        return g.maybe([('NX',), ('XX',), ('GET',), ('KEEPTTL',)], 0.15) + g.maybe(
            [('EX', g.ttl(1)), ('PX', g.ttl(1000)), ('EXAT', g.at(1)), ('PXAT', g.at(1000))], 0.1)

    return [
        (30, lambda: ['SET', k(), v()] + set_options()),
        (20, lambda: ['GET', k()]),
        (5, lambda: ['GETSET', k(), v()]),
        (5, lambda: ['GETEX', k()] + g.maybe([('EX', g.ttl(1)), ('PX', g.ttl(1000)), ('EXAT', g.at(1)),
                                              ('PXAT', g.at(1000)), ('PERSIST',)], 0.2)),
        (4, lambda: ['GETDEL', k()]),
        (5, lambda: ['SETNX', k(), v()]),
        (3, lambda: ['SETEX', k(), g.ttl(1), v()]),
        (3, lambda: ['PSETEX', k(), g.ttl(1000), v()]),
        (4, lambda: ['MSET'] + [x for _ in range(r.randrange(1, 6)) for x in (k(), v())]),
        (4, lambda: ['MSETNX'] + [x for _ in range(r.randrange(1, 4)) for x in (k(), v())]),
        (5, lambda: ['MGET'] + g.keys(1, 8)),
        (10, lambda: ['APPEND', k(), v()]),
        (4, lambda: ['STRLEN', k()]),
        (8, lambda: ['SETRANGE', k(), r.choice([r.randrange(0, 100), r.randrange(0, 60000), -1, 2**29, 2**63 - 1]), v()]),
        (8, lambda: ['GETRANGE', k(), g.position(), g.position()]),
        (2, lambda: ['SUBSTR', k(), g.position(), g.position()]),
        (6, lambda: [r.choice(['INCR', 'DECR']), k()]),
        (6, lambda: [r.choice(['INCRBY', 'DECRBY']), k(), g.integer()]),
        (4, lambda: ['INCRBYFLOAT', k(), r.choice([b'1.5', b'-3', b'1e3', b'0.1', b'1e400', b'inf', v()])]),
        (0.3, lambda: ['LCS', k(), k()] + g.maybe([('LEN',), ('IDX',), ('MINMATCHLEN', r.randrange(-1, 6)), ('WITHMATCHLEN',)])
         if r.random() < 0.5 else ['STRLEN', k()]),
        (8, lambda: ['SETBIT', k(), bit_offset(), r.choice([0, 1, 1, 2])]),
        (5, lambda: ['GETBIT', k(), bit_offset()]),
        (5, lambda: ['BITCOUNT', k()] + ([g.position(), g.position()] if r.random() < .7 else []) +
         g.maybe([(r.choice(['BIT', 'BYTE', 'bit']),)], .4)),
        (5, lambda: ['BITPOS', k(), r.choice([0, 1, 1, 2])] + [g.position() for _ in range(r.randrange(0, 3))] +
         g.maybe([(r.choice(['BIT', 'BYTE']),)], .3)),
        (4, lambda: ['BITOP', g.case(r.choice(['AND', 'OR', 'XOR', 'NOT', 'NAND'])), k()] + g.keys(1, 4)),
        (6, lambda: ['BITFIELD', k()] + bitfield_ops(False)),
        (3, lambda: ['BITFIELD_RO', k()] + bitfield_ops(True)),
    ]
