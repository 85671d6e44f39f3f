"""SORT, and values in serialised form."""
import commands
import rdb


def _options(command):
    """BY's pattern, if any, and the words that are options for certain."""
    words = [w.upper() for w in command]
    at = words.index(b'BY') if b'BY' in words[2:] else None
    return (command[at + 1] if at and at + 1 < len(command) else None), set(words[2:])


def _sort(command, want, got):
    """Without an order a set's elements come as they lie. Texts that are equal come in any order, and to strcoll, by which
    Redis compares what is not stored, a text ends at its first zero byte."""
    by, words = _options(command)
    if b'STORE' in words or not isinstance(want, list) or not isinstance(got, list):
        return False
    if b'ALPHA' not in words and (by is None or b'*' in by):
        return False
    if by is None and b'GET' not in words:
        cut = lambda reply: [x.split(b'\0')[0] for x in reply]
        return cut(want) == cut(got)
    if b'LIMIT' in words:
        return len(want) == len(got)
    return sorted(want, key=repr) == sorted(got, key=repr)


def _dump(command, want, got):
    """What is in it is for RESTORE to say: that of each server is restored by the other in test_dump.py."""
    return isinstance(want, bytes) and isinstance(got, bytes)


DIFFERENCES = [
    (rb'OBJECT ENCODING ', rb'\$8\r\nskiplist', rb'\$8\r\nlistpack',
     'SORT makes a skiplist of the sorted set it reads (sort.c, sortCommandGeneric); here a read changes nothing'),
    (rb'SORT(_RO)? ', rb"-ERR One or more scores can't be converted", rb'\*',
     'Redis looks at errno after strtod, where it may be left of a command before (sort.c, sortCommandGeneric)'),
]
LIKE = {b'SORT': _sort, b'SORT_RO': _sort, b'DUMP': _dump}


def table(g):
    r = g.rng
    kinds = ['list', 'set', 'zset']
    k = lambda: g.key(r.choice(kinds) if r.random() < .95 else 'any')
    pattern = lambda: r.choice([b'k*', b'hash*->m1', b'hash*->1', b'{tag}*', b'*', b'*->', b'->*', b'k*->', b'k*1', b'none*', b'#', b'*->m2'])

    def sort(read_only=False):
        by = g.maybe([('BY', r.choice([b'nosort', b'', pattern(), pattern()]))], .4)
        alpha = ['ALPHA'] if r.random() < .7 else []
        # not by numbers: see DIFFERENCES; nor where texts may be equal
        certain = alpha and not by or by and b'*' not in by[1]
        store = ['STORE', k()] if not read_only and certain and r.random() < .4 else []
        rest = g.maybe([('LIMIT', r.choice([0, 1, 5, -1, r.randrange(-5, 80)]), r.choice([0, 1, 10, -1, 1000, g.integer()]))], .3)
        rest += g.maybe([('ASC',), ('DESC',)], .3)
        for _ in range(r.choice([0, 0, 0, 1, 2, 3])):
            rest += ['GET', pattern()]
        return by + alpha + rest + store

    def payload():
        n = r.choice([1, 1, 2, 5, 20, 130])
        words = list({g.member() for _ in range(n)})
        numbers = sorted({r.randrange(-40, 300) for _ in range(n)})
        scores = sorted((float(s), w, s) for w in words for s in [r.choice([b'1', b'-2.5', b'300', b'inf'])])
        pairs = [x for _, w, s in scores for x in (w, s)]  # in the order that sorted sets have in one string
        kind, body = r.choice([
            (rdb.STRING, rdb.string(words[0])),
            (rdb.STRING, rdb.integer(r.randrange(-128, 128), r.choice([1, 2, 4]))),
            (rdb.LIST, rdb.strings(words)),
            (rdb.LIST_ZIPLIST, rdb.string(rdb.ziplist(words))),
            (rdb.LIST_QUICKLIST, rdb.length(2) + rdb.string(rdb.ziplist(words)) + rdb.string(rdb.ziplist(words))),
            (rdb.LIST_QUICKLIST_2, rdb.length(1) + rdb.length(2) + rdb.string(rdb.listpack(words))),
            (rdb.SET, rdb.strings(words)),
            (rdb.SET_INTSET, rdb.string(rdb.intset(numbers, r.choice([2, 4, 8])))),
            (rdb.HASH, rdb.length(len(words)) + b''.join(rdb.string(x) for x in pairs)),
            (rdb.HASH_ZIPLIST, rdb.string(rdb.ziplist(pairs))),
            (rdb.HASH_LISTPACK, rdb.string(rdb.listpack(pairs))),
            (rdb.ZSET, rdb.length(len(words)) + b''.join(rdb.string(w) + rdb.score(s) for _, w, s in scores)),
            (rdb.ZSET_LISTPACK, rdb.string(rdb.listpack(pairs))),
            (rdb.ZSET_ZIPLIST, rdb.string(rdb.ziplist(pairs))),
        ])
        data = rdb.payload(kind, body, r.choice([6, 9, 10, 10]))
        return data if r.random() < .9 else data[:-1] + bytes([data[-1] ^ 1])

    ttl = lambda: r.choice([0, 0, 0, 0, r.randrange(10**6, 10**9), -1])  # 7.0 adds what is too large to a time in the past
    any_key = lambda: g.key(r.choice(kinds + ['hash', 'string']))
    return [
        (8, lambda: ['SORT', k()] + sort()),
        (3, lambda: ['SORT_RO', k()] + sort(True)),
        (1, lambda: ['SORT_RO', k(), 'STORE', k()]),
        (3, lambda: ['DUMP', any_key()]),
        (6, lambda: ['RESTORE', any_key(), ttl(), payload()] + g.maybe([('REPLACE',)], .8)),
        (1, lambda: ['RESTORE', any_key(), g.at(1000), payload(), 'ABSTTL'] + g.maybe([('REPLACE',), ('IDLETIME', 5), ('FREQ', 5)], .5)),
        (1, lambda: ['WAIT', r.choice([0, 0, -1]), 0]),
    ]
