"""Positions."""
import itertools

PLACES = [(13.361389, 38.115556), (15.087269, 37.502669), (0, 0), (180, 85.05112878), (-180, -85.05112878), (179.999, 1), (-179.999, 1),
          (2.35, 48.85), (-122.4, 37.8), (12.75, 85), (12.75, -84.9)]


def table(g):
    r = g.rng
    steps = itertools.cycle(range(1, 40000))

    def key():
        """geo2 and geo3 are only stored to: what has distances for scores has many at one place."""
        return g.key('any') if r.random() < .05 else r.choice([b'geo', b'geo1'])

    def member():
        return b'g%d' % r.randrange(300)

    def point():
        if r.random() < .04:
            return r.choice([(181, 0), (0, 86), ('x', 1), (1, 'nan'), (-181.5, 85.1)])
        if r.random() < .3:
            return r.choice(PLACES)
        if r.random() < .5:
            x, y = r.choice(PLACES[:8])
            return (max(-180, min(180, x + r.uniform(-1, 1))), max(-85, min(85, y + r.uniform(-1, 1))))
        return (r.uniform(-180, 180), r.uniform(-85.05, 85.05))

    def own_point():
        """For GEOADD: never the same twice, for what lies at the same distance has no order where only some are returned."""
        x, y = point()
        if not isinstance(x, (int, float)) or not isinstance(y, (int, float)) or abs(x) > 180 or abs(y) > 85.06:
            return (x, y)
        near = 6e-6 * next(steps)  # a cell of the geohash is 5.4e-6 degrees wide
        return (x - near if x > 0 else x + near, y - near if y > 0 else y + near)

    def unit():
        return r.choice(['m', 'km', 'ft', 'mi', 'KM'] * 5 + ['x'])

    def length():
        return r.choice([r.uniform(0, 10), r.uniform(0, 500), r.uniform(0, 30000), 100, 5000, 0] * 5 + [-1, 'x'])

    def options(store):
        return g.maybe([(r.choice(['ASC', 'DESC']),), ('COUNT', r.choice([1, 2, 5, 100, 0]), *r.choice([(), (), ('ANY',)])),
                        (('STOREDIST',) if store else ('WITHDIST',)), *([] if store else [('WITHHASH',), ('WITHCOORD',)])], .3)

    def shape():
        centre = ['FROMMEMBER', member()] if r.random() < .5 else ['FROMLONLAT', *point()]
        by = ['BYRADIUS', length(), unit()] if r.random() < .5 else ['BYBOX', length(), length(), unit()]
        return centre + by if r.random() < .95 else r.choice([centre, by, centre + centre + by, by + by])

    def old_options(read_only):
        o = g.maybe([(r.choice(['ASC', 'DESC']),), ('COUNT', r.choice([1, 2, 5, 100, 0]), *r.choice([(), (), ('ANY',)])),
                     ('WITHDIST',), ('WITHHASH',), ('WITHCOORD',)], .25)
        if r.random() < .3:
            o = [x for x in o if not str(x).startswith('WITH')] if r.random() < .9 else o
            o += [r.choice(['STORE', 'STOREDIST']), r.choice([b'geo2', b'geo3'])]
        return o

    def old(name):
        at = [member()] if 'MEMBER' in name else [*point()]
        return [name, key(), *at, length(), unit()] + old_options(name.endswith('_RO'))

    return [
        (12, lambda: ['GEOADD', key()] + g.maybe([('NX',), ('XX',), ('CH',)], .1) +
         [x for _ in range(r.choice([1, 2, 10])) for x in (*own_point(), member())]),
        (5, lambda: ['GEODIST', key(), member(), member()] + r.choice([[], [unit()]])),
        (4, lambda: ['GEOHASH', key()] + [member() for _ in range(r.randrange(0, 4))]),
        (4, lambda: ['GEOPOS', key()] + [member() for _ in range(r.randrange(0, 4))]),
        (12, lambda: ['GEOSEARCH', key()] + shape() + options(False)),
        (5, lambda: ['GEOSEARCHSTORE', r.choice([b'geo2', b'geo3']), key()] + shape() + options(True)),
        (10, lambda: old(r.choice(['GEORADIUS', 'GEORADIUS_RO', 'GEORADIUSBYMEMBER', 'GEORADIUSBYMEMBER_RO']))),
        (3, lambda: ['ZREM', key(), member(), member()]),
        (2, lambda: ['ZRANGE', r.choice([b'geo2', b'geo3']), 0, -1]),
        (1, lambda: ['DEL', r.choice([b'geo2', b'geo3'])]),
        (.2, lambda: ['DEL', key()]),
    ]
