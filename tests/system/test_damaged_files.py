#!/usr/bin/python3
"""Data directories that are not as the server left them: files empty, cut, missing, flipped, of another version, replaced by
a directory, not to be opened. The answer is always one of two: the server refuses to start, with status 1 and a message
that names the file, or it serves, and then every reply is right or an error. Data that is wrong, or silently missing,
is a failure, and so is a crash. The one thing that may be missing is what the promises leave open: commits at the end of a
log of which nothing else on the disk knows.

Keys are numbered in the order of their commits and their values follow from the number, so any reply can be judged.
"""
import ctypes
import glob
import hashlib
import os
import random
import shutil
import struct
import tempfile

import resp
import server
import tap

IN_TABLES = 1500   # keys 0 to this: in tables and manifest when the directory was left
IN_LOG = 400       # the keys behind them: in the log alone
SETTINGS = ('--appendfsync', 'always', '--enable-debug-command', 'yes', '--memtable-size', '1mb', '--table-size', '65536',
            '--log-segment-size', '2mb', '--io-threads', '1')
SEED = int(os.environ.get('DAMAGE_SEED') or random.SystemRandom().randrange(2**32))
KINDS = ['killed'] if tap.SANITIZER and not tap.LONG else ['killed', 'ended']  # a start takes long there
DAMAGED = b'^ERR (the data of this command is damaged|input/output error)'


def key(n):
    return b'key:%06d' % n


def value(n):
    word = hashlib.sha256(b'%d' % n).hexdigest().encode()
    return word * (1 + n % 7) if n % 200 else word * 400  # 25,600 bytes: in pieces


def write(c, first, end):
    """One commit a key, in order."""
    replies = c.pipeline([('SET', key(n), value(n)) for n in range(first, end)])
    tap.check(all(r == b'OK' for r in replies), 'a write is refused')


_templates = {}


def template(kind):
    """A directory as it lies after SIGKILL ('killed') or after an orderly end ('ended'): made once, copied by damaged()."""
    if kind not in _templates:
        path = tempfile.mkdtemp(prefix=f'template-{kind}-')
        with server.Varved(*SETTINGS, dir=path) as s:
            with s.connect() as c:
                write(c, 0, IN_TABLES)
                c.must('DEBUG', 'RELOAD')  # all of it is in tables now
                for first in range(IN_TABLES, IN_TABLES + IN_LOG, 20):  # each durable before the next is written
                    write(c, first, first + 20)
            if kind == 'killed':
                s.kill()
            else:
                s.stop()
        _templates[kind] = path
    return _templates[kind]


class Damaged:
    """A copy of a template, to be damaged and then opened."""

    def __init__(self, kind):
        self.dir = tempfile.mkdtemp(prefix='damaged-')
        shutil.copytree(template(kind), self.dir, dirs_exist_ok=True)
        os.chmod(self.dir, 0o700)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.dir, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.dir, name)

    def open(self, *args, wrapper=()):
        """Start the server on it and judge what it does: 'refused' or 'served'; and what the log says."""
        s = server.Varved(*SETTINGS, *args, dir=self.dir, wrapper=wrapper, wait=False)
        try:
            try:
                s.wait_ready()
            except server.ServerError:
                log = s.log()
                tap.check(s.status is not None, 'it neither serves nor ends')
                tap.eq(s.status, 1, f'status, after: {log[-400:]!r}; status')
                tap.matches(log, b'(?i)cannot start')
                return 'refused', log
            judge(s)
            log = s.log()
            s.stop(expect=None)  # damage met on the way may make it end with another status, but not with a signal
            tap.check(s.status in (0, 1), f'it ended with status {s.status}')
            return 'served', log
        finally:
            s.close()


def judge(s):
    """Every reply is right or an error; what is missing is the end of the log and nothing else."""
    total = IN_TABLES + IN_LOG
    with s.connect() as c:
        replies = c.pipeline([('GET', key(n)) for n in range(total)])
        known = len(replies)
        while known and replies[known - 1] is None:
            known -= 1
        tap.check(known >= IN_TABLES, f'keys from {known} on are missing, of which {IN_TABLES} were in tables')
        for n in range(known):
            if isinstance(replies[n], resp.Error):
                tap.matches(replies[n], DAMAGED)
            else:
                tap.check(replies[n] == value(n), f'key {n} of {known} is {str(replies[n])[:60]!r}')
        if not any(isinstance(r, resp.Error) for r in replies):
            tap.eq(c.call('DBSIZE'), known)
        tap.eq(c.call('PING'), resp.Simple(b'PONG'))
        reply = c.call('SET', 'another', 'one')  # which may be refused, with a reason
        tap.check(reply == b'OK' or isinstance(reply, resp.Error), repr(reply))


def files(kind):
    """The files of a template, but for LOCK, which is empty, and the reserve, which holds nothing."""
    root = template(kind)
    found = [os.path.relpath(os.path.join(folder, name), root) for folder, _, names in os.walk(root) for name in names]
    return sorted(f for f in found if f not in ('LOCK', 'reserve'))


def sample(kind):
    """One file of each sort, in make check: the first table, and all others."""
    tables = [f for f in files(kind) if f.startswith('sst')]
    return [f for f in files(kind) if not f.startswith('sst')] + tables[:tap.pick(1, len(tables))]


def begun(kind, name):
    """Whether the file has anything to lose: a log that was only prepared has not."""
    if not name.startswith('wal'):
        return True
    with open(os.path.join(template(kind), name), 'rb') as f:
        return any(f.read(64))


def counted(results):
    tap.diag(', '.join(f'{n} {what}' for what, n in sorted(results.items())))


@tap.cases('killed', 'ended')
def an_undamaged_copy_is_served_whole(kind):
    with Damaged(kind) as d:
        tap.eq(d.open()[0], 'served')
        s = server.Varved(*SETTINGS, dir=d.dir)
        tap.eq(s.call('DBSIZE'), IN_TABLES + IN_LOG + 1)
        s.close()


@tap.cases(*tap.pick(['killed'], ['killed', 'ended']))
def a_missing_file_is_noticed(kind):
    for name in sample(kind):
        with Damaged(kind) as d:
            os.unlink(d.path(name))
            what, log = d.open()
            if begun(kind, name):
                tap.check(what == 'refused', f'without {name} it is {what}')
                # its name, or what should have led to it
                tap.matches(log, os.path.basename(name).encode() + b'|CURRENT|IDENTITY|wal')


@tap.cases(*tap.pick(['ended'], ['killed', 'ended']))
def an_empty_file_is_noticed(kind):
    for name in sample(kind):
        with Damaged(kind) as d:
            with open(d.path(name), 'wb'):
                pass
            what, log = d.open()
            if begun(kind, name):
                tap.check(what == 'refused', f'with {name} empty it is {what}')
                tap.matches(log, os.path.basename(name).encode() + b'|wal')


def lengths(size, rng):
    """Where to cut: one byte from the end and by chance; in check-long everywhere, if that is not too much."""
    if tap.LONG:
        return range(size) if size <= 600 else sorted(rng.sample(range(size), 600))
    return sorted({size - 1} | {rng.randrange(1, size) for _ in range(0 if tap.SANITIZER else 2)})


@tap.cases(*KINDS)
def a_file_cut_anywhere_is_refused_or_harmless(kind):
    rng = random.Random(SEED)
    tap.diag(f'seed {SEED}')
    results = {}
    for name in sample(kind):
        whole = os.path.getsize(os.path.join(template(kind), name))
        used = whole
        if name.startswith('wal'):  # cut where there is something
            with open(os.path.join(template(kind), name), 'rb') as f:
                used = len(f.read().rstrip(b'\0'))
            if used == 0:
                continue
        for length in lengths(used, rng):
            with Damaged(kind) as d:
                os.truncate(d.path(name), length)
                try:
                    what, log = d.open()
                except tap.Failed as error:
                    raise tap.Failed(f'{name} cut to {length} of {whole}: {error}') from None
                results[what] = results.get(what, 0) + 1
                if what == 'refused':
                    tap.matches(log, os.path.basename(name).encode() + b'|wal')
    counted(results)


@tap.cases(*KINDS)
def a_flipped_bit_is_refused_or_harmless(kind):
    rng = random.Random(SEED + 1)
    tap.diag(f'seed {SEED}')
    results = {}
    for name in sample(kind):
        with open(os.path.join(template(kind), name), 'rb') as f:
            data = f.read()
        used = len(data.rstrip(b'\0'))
        if used == 0:
            continue
        for _ in range(tap.pick(1 if tap.SANITIZER else 2, 400)):
            at, bit = rng.randrange(used), rng.randrange(8)
            with Damaged(kind) as d:
                with open(d.path(name), 'r+b') as f:
                    f.seek(at)
                    f.write(bytes([data[at] ^ 1 << bit]))
                try:
                    what, _ = d.open()
                except tap.Failed as error:
                    raise tap.Failed(f'{name}, bit {bit} of byte {at}: {error}') from None
                results[what] = results.get(what, 0) + 1
    counted(results)


@tap.test
def tables_damaged_in_many_places_never_answer_wrongly():
    rng = random.Random(SEED + 2)
    tap.diag(f'seed {SEED}')
    for _ in range(tap.pick(3, 100)):
        with Damaged('ended') as d:
            for path in glob.glob(d.path('sst/*.sst')):
                size = os.path.getsize(path)
                with open(path, 'r+b') as f:
                    for _ in range(rng.randrange(1, 6)):
                        f.seek(rng.randrange(size * 7 // 8))  # the blocks, so that it is met when it is read
                        f.write(rng.randbytes(rng.choice([1, 8, 512])))
            d.open()


@tap.test
def damage_that_is_met_in_a_read_is_an_error_with_its_place():
    with Damaged('ended') as d:
        for path in glob.glob(d.path('sst/*.sst')):
            with open(path, 'r+b') as f:
                if b'databases' not in f.read():  # without that one there is no start
                    f.seek(0)
                    f.write(b'\xff' * 64)  # in the first block
        s = server.Varved(*SETTINGS, dir=d.dir)
        try:
            with s.connect() as c:
                replies = c.pipeline([('GET', key(n)) for n in range(IN_TABLES)])
                errors = [r for r in replies if isinstance(r, resp.Error)]
                tap.check(0 < len(errors) < IN_TABLES, f'{len(errors)} errors')
                for r in errors:
                    tap.matches(r, DAMAGED)
                tap.check(all(r == value(n) for n, r in enumerate(replies) if not isinstance(r, resp.Error)), 'a reply is wrong')
                for command in (('SCAN', '0', 'COUNT', '100000'), ('KEYS', '*')):  # never a part as if it were all
                    tap.matches(c.call(*command), DAMAGED)
                tap.eq(c.call('PING'), resp.Simple(b'PONG'))
            tap.matches(s.log(), rb'table \d+: block at offset 0 ')
        finally:
            s.close()


@tap.test
def a_directory_in_place_of_a_file_is_refused():
    for name in sample('ended') + ['LOCK']:
        with Damaged('ended') as d:
            os.unlink(d.path(name))
            os.mkdir(d.path(name))
            what, log = d.open()
            if begun('ended', name) or name == 'LOCK':
                tap.check(what == 'refused', f'with a directory {name} it is {what}')
                tap.matches(log, os.path.basename(name).encode() + b'|wal')


@tap.test
def a_file_in_place_of_a_directory_is_refused():
    for name in ('sst', 'wal'):
        with Damaged('ended') as d:
            shutil.rmtree(d.path(name))
            with open(d.path(name), 'wb'):
                pass
            what, log = d.open()
            tap.eq(what, 'refused', name)
            tap.matches(log, name.encode())
    with tempfile.NamedTemporaryFile() as f:
        s = server.Varved(dir=f.name, wait=False)
        tap.eq(s.reap(), 1)
        tap.matches(s.log(), os.path.basename(f.name).encode())
        s.close()


def without_privileges():
    """What to put in front of a server so that permissions count for it, though the tests may run as root."""
    if os.getuid() != 0:
        return ()
    if shutil.which('setpriv') is None:
        raise tap.Skip('no setpriv')
    return ('setpriv', '--bounding-set', '-dac_override,-dac_read_search', '--inh-caps', '-dac_override,-dac_read_search')


@tap.test
def what_may_not_be_opened_is_refused():
    wrapper = without_privileges()
    for name in sample('ended') + ['LOCK', 'sst', 'wal', '.']:
        with Damaged('ended') as d:
            mode = os.stat(d.path(name)).st_mode
            os.chmod(d.path(name), 0)
            what, log = d.open(wrapper=wrapper)
            os.chmod(d.path(name), mode)
            if begun('ended', name) if os.path.isfile(d.path(name)) else True:
                tap.check(what == 'refused', f'with {name} closed it is {what}')
                tap.matches(log, b'(?i)permission denied')
            if not tap.SANITIZER:  # and nothing was broken by the attempt
                tap.eq(d.open()[0], 'served', f'after {name} was closed')


@tap.test
def a_directory_that_cannot_be_written_is_refused():
    wrapper = without_privileges()
    for name in ('.', 'wal'):
        with Damaged('ended') as d:
            os.chmod(d.path(name), 0o500)
            what, log = d.open(wrapper=wrapper)
            os.chmod(d.path(name), 0o700)
            tap.eq(what, 'refused', name)
            tap.matches(log, b'(?i)permission denied')
            tap.eq(d.open()[0], 'served')


@tap.test
def two_servers_never_share_a_directory():
    folder = tempfile.mkdtemp(prefix='shared-')
    with server.Varved('--appendfsync', 'always', dir=folder) as s:
        link = tempfile.mktemp(prefix='link-')
        os.symlink(folder, link)
        for path in (folder, folder + '/.', link):  # by whatever name
            second = server.Varved(dir=path, wait=False)
            tap.eq(second.reap(), 1)
            tap.matches(second.log(), b'(?i)in use')
            second.close()
        os.unlink(link)
        tap.eq(s.call('SET', 'k', 'v'), resp.Simple(b'OK'))
        # of many that start at once on a free one, one gets it
        s.kill()
        rivals = [server.Varved('--appendfsync', 'always', dir=folder, wait=False) for _ in range(4)]
        tap.until(lambda: sum(r.running() for r in rivals) <= 1, seconds=60, what='all but one ended')
        alive = [r for r in rivals if r.running()]
        tap.eq(len(alive), 1)
        alive[0].wait_ready()
        tap.eq(alive[0].call('GET', 'k'), b'v')
        for r in rivals:
            r.close()
        s.start()
        tap.eq(s.call('GET', 'k'), b'v')
    shutil.rmtree(folder)


@tap.test
def foreign_files_are_left_alone():
    with Damaged('ended') as d:
        strangers = ['notes.txt', 'sst/notes.txt', 'wal/x', 'MANIFEST', 'sst/1.sst.bak', 'core']
        for name in strangers:
            with open(d.path(name), 'wb') as f:
                f.write(b'not yours')
        tap.eq(d.open()[0], 'served')
        for name in strangers:
            with open(d.path(name), 'rb') as f:
                tap.eq(f.read(), b'not yours', name)


# ---- other versions: bytes that are right in everything but their version

def checksum(data, salt):
    """docs/formats.md, Checksums."""
    try:
        xxhash = ctypes.CDLL('libxxhash.so.0')
    except OSError:
        raise tap.Skip('no libxxhash') from None
    xxhash.XXH3_64bits.restype = ctypes.c_uint64
    xxhash.XXH3_64bits.argtypes = (ctypes.c_char_p, ctypes.c_size_t)
    return (xxhash.XXH3_64bits(bytes(data), len(data)) ^ mix(salt)) & 0xffffffff


def mix(x):
    """The finaliser of splitmix64."""
    x &= 2**64 - 1
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9 % 2**64
    x = (x ^ x >> 27) * 0x94d049bb133111eb % 2**64
    return x ^ x >> 31


GOLDEN = 0x9e3779b97f4a7c15


def reseal_text(path, old, new):
    """IDENTITY: a line of it, and the checksum behind all."""
    with open(path, 'rb') as f:
        lines = f.read().splitlines(keepends=True)
    body = b''.join(lines[:-1])
    tap.eq(lines[-1], b'checksum %08x\n' % checksum(body, 0x7661727665), 'the checksum as this test computes it')
    tap.check(old in body, f'no {old}')
    body = body.replace(old, new)
    with open(path, 'wb') as f:
        f.write(body + b'checksum %08x\n' % checksum(body, 0x7661727665))


@tap.test
def an_unknown_version_of_the_directory_is_refused():
    for old, new in ((b'format 1', b'format 2'), (b'format 1', b'format 0'), (b'engine lsm', b'engine btree')):
        with Damaged('ended') as d:
            reseal_text(d.path('IDENTITY'), old, new)
            what, log = d.open()
            tap.eq(what, 'refused', new.decode())
            tap.matches(log, b'(?i)version|format|engine')


@tap.test
def an_unknown_version_of_a_table_is_refused():
    with Damaged('ended') as d:
        path = sorted(glob.glob(d.path('sst/*.sst')))[0]
        with open(path, 'rb') as f:
            data = bytearray(f.read())
        at = len(data) - 64
        number = int(os.path.basename(path).split('.')[0])
        tap.eq(bytes(data[at:at + 8]), b'VARVESST')
        tap.eq(struct.unpack_from('<I', data, at + 60)[0], checksum(data[at:at + 60], number * GOLDEN + at),
               'the checksum as this test computes it')
        struct.pack_into('<I', data, at + 8, 3)
        struct.pack_into('<I', data, at + 60, checksum(data[at:at + 60], number * GOLDEN + at))
        with open(path, 'wb') as f:
            f.write(data)
        what, log = d.open()
        tap.eq(what, 'refused')
        tap.matches(log, os.path.basename(path).encode())
        tap.matches(log, b'(?i)version')


@tap.test
def an_unknown_version_of_the_log_is_refused():
    with Damaged('killed') as d:
        logs = [f for f in sorted(glob.glob(d.path('wal/*.log'))) if begun('killed', os.path.relpath(f, d.dir))]
        with open(logs[-1], 'rb') as f:
            data = bytearray(f.read())
        number = int(os.path.basename(logs[-1]).split('.')[0])
        salt = mix(number * GOLDEN)
        tap.eq(struct.unpack_from('<I', data, 4)[0], checksum(data[64:120], salt), 'the checksum as this test computes it')
        struct.pack_into('<I', data, 64, 3)
        struct.pack_into('<I', data, 4, checksum(data[64:120], salt))
        struct.pack_into('<I', data, 0, checksum(data[4:64], salt))
        with open(logs[-1], 'wb') as f:
            f.write(data)
        what, log = d.open()
        tap.eq(what, 'refused')
        tap.matches(log, b'%012d' % number)
        tap.matches(log, b'version 3')


@tap.test
def an_unknown_version_of_the_manifest_is_refused():
    with Damaged('ended') as d:
        path = sorted(glob.glob(d.path('MANIFEST-*')))[-1]
        with open(path, 'rb') as f:
            data = bytearray(f.read())
        number = int(path.rsplit('-', 1)[1])
        salt = (number << 32) + 0x6d616e6966657374
        length = struct.unpack_from('<I', data, 0)[0]
        tap.eq(struct.unpack_from('<I', data, 8)[0], checksum(data[12:12 + length], salt), 'the checksum as this test computes it')
        tap.eq(bytes(data[12:15]), b'\x01\x01\x01')  # version: tag, length, 1
        data[14] = 2
        struct.pack_into('<I', data, 8, checksum(data[12:12 + length], salt))
        with open(path, 'wb') as f:
            f.write(data)
        what, log = d.open()
        tap.eq(what, 'refused')
        tap.matches(log, os.path.basename(path).encode())
        tap.matches(log, b'(?i)version')


# ---- the modes of recovery, from outside

@tap.cases('point-in-time', 'salvage')
def damage_in_the_log_is_passed_only_when_asked(mode):
    with Damaged('killed') as d:
        logs = [f for f in sorted(glob.glob(d.path('wal/*.log'))) if begun('killed', os.path.relpath(f, d.dir))]
        place = None
        with open(logs[-1], 'r+b') as f:
            data = f.read()
            place = data.index(key(IN_TABLES + IN_LOG // 2))
            f.seek(place)
            f.write(b'?')
        what, log = d.open()
        tap.eq(what, 'refused')
        tap.matches(log, os.path.basename(logs[-1]).encode())
        s = server.Varved(*SETTINGS, '--recovery', mode, dir=d.dir)
        with s.connect() as c:
            replies = c.pipeline([('GET', key(n)) for n in range(IN_TABLES + IN_LOG)])
            there = [n for n, r in enumerate(replies) if r is not None]
            tap.check(all(replies[n] == value(n) for n in there), 'a reply is wrong')
            cut = IN_TABLES + IN_LOG // 2
            first = next(n for n, r in enumerate(replies) if r is None)
            tap.check(IN_TABLES <= first <= cut, f'key {first} is missing, the damage is in {cut}')
            if mode == 'point-in-time':
                tap.eq(there, list(range(first)))
            else:
                tap.check(replies[-1] is not None or first > there[-1], 'nothing behind the damage is there')
            tap.eq(c.call('DBSIZE'), len(there))
        s.stop()
        s.start()  # and without being asked again
        tap.eq(s.call('DBSIZE'), len(there))
        s.close()


if __name__ == '__main__':
    tap.main()
