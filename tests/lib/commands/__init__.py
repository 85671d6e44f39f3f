"""Random commands for the differential test, one module a data type.

A module of this package has

    table(g)      a list of (weight, function that makes a command); g is a Gen
    VIEW          optional: {type as TYPE names it: command that shows all of a key, without the key, which comes second}, for
                  comparing whole databases
    UNORDERED     optional: {COMMAND: function of a parsed reply}: replies are compared after it, where Redis leaves their
                  order open
    LIKE          optional: {COMMAND: function of command, parsed reply of Redis, ours}: whether a reply that depends on chance
                  or time is as good
    DIFFERENCES   optional: [(pattern of the command, reply of redis-server 7.0, ours, why)], for what 7.2 changed

and stands in MODULES. Keys are shared by all types; a module asks for keys of its own type, and now and then gets one of
another.
"""
import importlib
import itertools

import resp

MODULES = [
    'strings',
    'keys',
    'lists',
    'hash',
    'hyperloglog',
    'set',
    'zset',
    'geo',
    'sort',
]

I64 = [0, 1, -1, 2, 10, 255, 256, 65535, 2**31 - 1, -2**31, 2**32, 2**53, 2**63 - 1, -2**63, 2**63 - 2, -2**63 + 1]
JUNK = [b'', b' ', b'x', b'1.5', b'-', b'+1', b'01', b'1e5', b' 1', b'9223372036854775808', b'-9223372036854775809',
        b'nan', b'inf', b'0x10', b'\x00', b'NX', b'XX', b'KEEPTTL', b'1\r\n', b'99999999999999999999', b'-0']
DATABASES = 16
FAR = 4102444800  # 2100


def part_of_scan(width):
    """*SCAN with a COUNT that covers everything: elements of `width` words in any order, and not all if that took too long."""
    def same(command, want, got):
        if not isinstance(want, list) or not isinstance(got, list):
            return False
        if command[2] != b'0':  # elsewhere it starts at another place than Redis
            return True
        theirs, ours = ({tuple(words[i:i + width]) for i in range(0, len(words), width)} for _, words in (want, got))
        return ours <= theirs and (got[0] != b'0' or ours == theirs)
    return same


def spoils_a_sketch(command):
    """Does it write into the bytes of a HyperLogLog? What PFADD makes of a spoilt one is nobody's contract."""
    return command[0].upper() in (b'SETRANGE', b'SETBIT', b'APPEND', b'BITFIELD', b'BITOP') and \
        any(word.startswith(b'hll') for word in command[1:])


class Gen:
    """Random commands. `private`: nothing that reaches beyond the selected database."""

    def __init__(self, rng, private=False, only=None):
        self.rng = rng
        self.private = private
        self.keyset = {'string': [b'k%d' % i for i in range(60)] + [b'{tag}%d' % i for i in range(10)] +
                       [b'', b'\x00', b'\xff\xfe', b'a b', b'long' * 100, b'L' * 448, b'L' * 449, b'L' * 480, b'L' * 481,
                        b'M' * 2000, b'N' * 2000, b'M' * 1999 + b'x', b'*', b'[k]', b'k?']}
        self.fragile = ()  # beginnings of words (as str): commands that have one are left as they are
        table = [entry for name in (only or MODULES) for entry in module(name).table(self)]
        self.makers = [make for _, make in table]
        self.sums = list(itertools.accumulate(weight for weight, _ in table))

    def own(self, kind, count=12):
        """Declares keys of a type; called by table()."""
        self.keyset[kind] = [b'%s%d' % (kind.encode(), i) for i in range(count)]

    def key(self, kind='string'):
        """A key that most often has this type, if any."""
        r = self.rng
        if kind != 'any' and r.random() < 0.93:
            return r.choice(self.keyset[kind])
        return r.choice(self.keyset[r.choice(list(self.keyset))])

    def keys(self, lo, hi, kind='string'):
        return [self.key(kind) for _ in range(self.rng.randrange(lo, hi))]

    def integer(self):
        r = self.rng
        return r.choice([r.randrange(-5, 20), r.choice(I64), r.randrange(-2**63, 2**63)])

    def number(self):
        r = self.rng
        return repr(r.choice([0.0, 1.5, -2.25, 3.0e3, 1e17, 5e-5, r.uniform(-1e6, 1e6)])).encode()

    def value(self):
        r = self.rng
        kind = r.randrange(100)
        if kind < 30:
            return b'%d' % self.integer()
        if kind < 40:
            return self.number()
        if kind < 80:
            return r.randbytes(r.randrange(0, 120))
        if kind < 90:
            return bytes(r.choice(b'abc') for _ in range(r.randrange(0, 60)))
        if kind < 97:
            return r.randbytes(r.choice([43, 44, 45, 1000, 4095, 4096, 4097, 5000]))
        return r.randbytes(r.choice([16383, 16384, 16385, 20000, 32768, 50000]))

    def member(self):
        """A field or member: one of few, so that they meet; sometimes long."""
        r = self.rng
        kind = r.randrange(100)
        if kind < 45:
            return b'%d' % r.randrange(-3, 60)
        if kind < 90:
            return b'm%d' % r.randrange(120)
        if kind < 94:
            return b'%d' % self.integer()
        if kind < 98:
            return r.choice([b'', b'\x00', b'-0', b'01', b'+1', b'a b', b'x' * 63, b'x' * 64, b'x' * 65, b'1.0', b'1e3'])
        return r.choice([b'y' * 447, b'y' * 448, b'y' * 449, b'y' * 448 + b'z', b'y' * 1500, b'y' * 1499 + b'z'])

    def short(self):
        """A value, most often short."""
        r = self.rng
        return b'v%d' % r.randrange(1000) if r.random() < .6 else self.value()

    def maybe(self, words, chance=0.3):
        """Each word (a tuple) with some chance, in random order."""
        chosen = [w for w in words if self.rng.random() < chance]
        self.rng.shuffle(chosen)
        return [x for w in chosen for x in w]

    def case(self, word):
        return word.upper() if self.rng.random() < 0.7 else word.lower()

    def ttl(self, unit):
        """A relative time to live in seconds (unit 1) or ms (unit 1000), far from both ends."""
        r = self.rng
        return r.choice([r.randrange(1000, 100000) * unit] * 12 + [0, -1, -1000, 2**62, -2**62, 2**63 - 1, 9223372036854775])

    def at(self, unit):
        r = self.rng
        return r.choice([(FAR + r.randrange(100000)) * unit] * 12 + [0, -1, 2**62, 2**63 - 1])

    def at_or_past(self, unit):
        """For EXPIREAT, which deletes at once; SET with a past time leaves a due key, counted until somebody meets it."""
        return self.rng.choice([self.at(unit)] * 9 + [1, 1000])

    def position(self):
        r = self.rng
        return r.choice([r.randrange(-10, 10), r.randrange(-200, 200), r.choice([0, -1]), r.randrange(-60000, 60000), self.integer()])

    def command(self):
        r = self.rng
        words = r.choices(self.makers, cum_weights=self.sums)[0]()
        if r.random() < 0.03 and not any(isinstance(w, str) and w.startswith(self.fragile) for w in words):  # damage it
            what = r.randrange(4)
            if what == 0 and len(words) > 1:
                words.pop()
            elif what == 1:
                words.append(r.choice(JUNK))
            elif what == 2 and len(words) > 1:
                words[r.randrange(1, len(words))] = r.choice(JUNK)
            else:
                words.append(self.key('any'))
        words[0] = self.case(words[0]) if isinstance(words[0], str) else words[0]
        command = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        return self.command() if spoils_a_sketch(command) else command


def module(name):
    return importlib.import_module('commands.' + name)


def merged(what):
    """The union of a dict, or the chain of a list, that modules have."""
    found = [getattr(module(name), what) for name in MODULES if hasattr(module(name), what)]
    if found and isinstance(found[0], list):
        return [x for part in found for x in part]
    return {k: v for part in found for k, v in part.items()}


def in_any_order(reply):
    return sorted(reply, key=repr) if isinstance(reply, list) else reply


def pairs_in_any_order(reply):
    """A flat list of pairs (RESP2) or a map (RESP3)."""
    if isinstance(reply, resp.Map):
        return sorted(reply, key=repr)
    if isinstance(reply, list):
        return sorted(zip(reply[::2], reply[1::2]), key=repr)
    return reply


def same_shape(command, want, got):
    """For replies drawn at random: as many, of the same kind."""
    if isinstance(want, list):
        return isinstance(got, list) and len(want) == len(got) and all(same_shape(command, a, b) for a, b in zip(want, got))
    return type(want) is type(got) and (isinstance(want, bytes) or want == got)
