"""Settings of a running server: CONFIG GET, SET, REWRITE, the sample file, includes, flags, standard input, and what is
refused at the start. The list of settings comes from the server itself (settings_doc's table), so a new one is tested
without being named here."""
import os
import re
import subprocess
import tempfile

import resp
import server
import tap

ROOT = server.ROOT
OK = resp.Simple(b'OK')


class Declared:
    """A row of docs/settings.md."""

    def __init__(self, names, allowed, default, automatic, runtime):
        self.name, self.alias = (names + [None])[:2]
        self.allowed, self.default, self.automatic, self.runtime = allowed, default, automatic, runtime

    def bounds(self):
        """(smallest, largest or None) of a number, or None."""
        size = r'(-?\d+)(kb|mb|gb)?'
        m = re.match(rf'(?:an integer|a memory size)(?: from {size} to {size}|, at least {size})?$', self.allowed)
        if not m:
            return None
        value = [int(n) * {None: 1, 'kb': 1 << 10, 'mb': 1 << 20, 'gb': 1 << 30}[u] if n else None
                 for n, u in zip(m.groups()[0::2], m.groups()[1::2])]
        return (value[0] if value[0] is not None else value[2] or 0, value[1])


def declared():
    """All settings, by the committed table."""
    rows = []
    with open(os.path.join(ROOT, 'docs/settings.md'), encoding='utf-8') as f:
        for line in f:
            m = re.match(r'\| ((?:`[^`]+`(?:, )?)+) \| (.*?) \| `(.*?)`( \(automatic\))? \| (yes)? \|', line)
            if m:
                rows.append(Declared(re.findall(r'`([^`]+)`', m.group(1)), m.group(2), m.group(3), bool(m.group(4)),
                                     bool(m.group(5))))
    tap.check(len(rows) > 100, f'only {len(rows)} settings found in docs/settings.md')
    return rows


def plain(text):
    """A value as CONFIG GET shows it, of the form a file has."""
    m = re.fullmatch(r'(\d+)(kb|mb|gb)', text)
    if m:
        return str(int(m.group(1)) << {'kb': 10, 'mb': 20, 'gb': 30}[m.group(2)])
    return text[1:-1] if text.startswith('"') else text


def config(c, name):
    """The value of one setting."""
    pairs = c.call('CONFIG', 'GET', name)
    tap.eq(len(pairs), 2, f'CONFIG GET {name}')
    return pairs[1].decode()


def started(*args, stdin=None, **kwargs):
    """Runs varved until it ends; returns (status, output)."""
    p = subprocess.run([server.VARVED, *map(str, args)], input=stdin, stdin=subprocess.DEVNULL if stdin is None else None,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False, **kwargs)
    return p.returncode, p.stdout.decode(errors='replace')


class FileServer(server.Varved):
    """varved with a configuration file before its flags."""
    file = None

    def command(self):
        return [self.program, self.file, '--port', str(self.port), '--dir', self.dir] + self.args


def file_server(text, *args):
    folder = tempfile.mkdtemp(prefix='varve-conf-')
    path = os.path.join(folder, 'varved.conf')
    with open(path, 'w', encoding='utf-8') as f:
        f.write(text)
    s = FileServer(*args, start=False)
    s.file = path
    return s, path


@tap.test
def every_setting_has_its_default_and_is_shown_under_both_names():
    with server.Varved() as s, s.connect() as c:
        everything = c.call('CONFIG', 'GET', '*')
        shown = dict(zip(everything[0::2], everything[1::2]))
        wanted = set()
        for d in declared():
            wanted |= {d.name.encode()} | ({d.alias.encode()} if d.alias else set())
            if d.name in ('port', 'dir', 'http-addr') or d.automatic:
                continue
            tap.eq(shown[d.name.encode()].decode(), plain(d.default), d.name)
            if d.alias:
                tap.eq(shown[d.alias.encode()], shown[d.name.encode()], d.alias)
        tap.eq(set(shown), wanted)
        tap.check(int(shown[b'maxmemory']) > 1 << 20, 'maxmemory is decided at the start')


@tap.test
def every_setting_takes_the_value_it_has():
    with server.Varved() as s, s.connect() as c:
        for d in declared():
            value = config(c, d.name)
            tap.eq(c.call('CONFIG', 'SET', d.name, value), OK, d.name)
            tap.eq(config(c, d.name), value, d.name)


@tap.test
def numbers_are_taken_at_their_bounds_and_refused_outside():
    with server.Varved() as s, s.connect() as c:
        for d in declared():
            if d.bounds() is None:
                continue
            low, high = d.bounds()
            before = config(c, d.name)
            for value in (low, high):
                if value is None or value == 0 and d.automatic or d.name in ('maxclients', 'port'):
                    continue
                answer = c.call('CONFIG', 'SET', d.name, value)
                if d.runtime:
                    tap.eq(answer, OK, f'{d.name} {value}')
                    tap.eq(config(c, d.name), str(value), d.name)
                elif str(value) != before:
                    tap.matches(answer, rb"CONFIG SET failed \(possibly related to argument '.*'\) - "
                                        rb"can't set immutable config")
            for value in (low - 1, high + 1 if high is not None else 1 << 63, 'x', ''):
                answer = c.call('CONFIG', 'SET', d.name, value)
                tap.check(isinstance(answer, resp.Error), f'{d.name} takes {value}')
            if d.runtime:
                tap.eq(c.call('CONFIG', 'SET', d.name, before), OK, d.name)


@tap.test
def words_are_taken_and_others_refused():
    with server.Varved() as s, s.connect() as c:
        for d in declared():
            if d.allowed == 'yes or no':
                choices = ['yes', 'no']
            elif re.fullmatch(r'[a-z0-9-]+(, [a-z0-9-]+)*', d.allowed) and d.allowed not in ('text', 'words'):
                choices = d.allowed.split(', ')
            else:
                continue
            before = config(c, d.name)
            tap.matches(c.call('CONFIG', 'SET', d.name, 'nonsense'), rb'CONFIG SET failed')
            for choice in choices:
                answer = c.call('CONFIG', 'SET', d.name, choice.upper())
                if d.runtime or choice == before:
                    tap.eq(answer, OK, f'{d.name} {choice}')
                    tap.eq(config(c, d.name), choice)
                else:
                    tap.matches(answer, rb'immutable')
            c.call('CONFIG', 'SET', d.name, before)


@tap.test
def what_is_not_built_is_refused():
    with server.Varved() as s, s.connect() as c:
        for name, value in [('maxmemory-policy', 'allkeys-lru'), ('activedefrag', 'yes'),
                            ('min-replicas-to-write', '1')]:
            tap.matches(c.call('CONFIG', 'SET', name, value), rb'not built yet')
    for flag, value in [('cluster-enabled', 'yes'), ('replicaof', '127.0.0.1 1'), ('tls-port', '1'),
                        ('aclfile', 'x'), ('daemonize', 'yes'), ('node-id', '1'), ('peers', 'a'),
                        ('replication-addr', ':1'), ('quorum-size', '2')]:
        status, output = started(f'-{flag}', value)
        tap.eq(status, 1, flag)
        tap.matches(output, 'not built yet')


@tap.test
def config_answers_errors_as_redis_does():
    requests = [
        ('CONFIG',), ('CONFIG', 'GET'), ('CONFIG', 'SET', 'timeout'), ('CONFIG', 'SET', 'a', 'b', 'c'),
        ('CONFIG', 'SET', 'nothing', '1'), ('CONFIG', 'SET', 'timeout', '1', 'nothing', '1'),
        ('CONFIG', 'SET', 'timeout', 'x'), ('CONFIG', 'SET', 'timeout', '-1'), ('CONFIG', 'SET', 'timeout', ''),
        ('CONFIG', 'SET', 'timeout', '1', 'timeout', '2'), ('CONFIG', 'SET', 'databases', '3'),
        ('CONFIG', 'SET', 'appendonly', 'maybe'), ('CONFIG', 'SET', 'maxmemory', 'x'),
        ('CONFIG', 'SET', 'maxmemory', '-1'), ('CONFIG', 'SET', 'save', 'x'), ('CONFIG', 'SET', 'save', '1'),
        ('CONFIG', 'SET', 'client-output-buffer-limit', 'x'),
        ('CONFIG', 'SET', 'client-output-buffer-limit', 'x 1 2 3'),
        ('CONFIG', 'SET', 'client-output-buffer-limit', 'normal 1 x 3'),
        ('CONFIG', 'SET', 'latency-tracking-info-percentiles', 'x'),
        ('CONFIG', 'SET', 'latency-tracking-info-percentiles', '101'),
        ('CONFIG', 'SET', 'proto-max-bulk-len', '1'), ('CONFIG', 'REWRITE'), ('CONFIG', 'nothing'),
        ('CONFIG', 'GET', 'timeout'), ('CONFIG', 'GET', 'nothing*'), ('CONFIG', 'GET', 'hash-max-*-value', 'hash-max-*'),
        ('CONFIG', 'SET', 'client-output-buffer-limit', 'pubsub 1mb 2k 3 normal 0 0 0'),
        ('CONFIG', 'GET', 'client-output-buffer-limit'), ('CONFIG', 'SET', 'save', '60 1 3600 2'),
        ('CONFIG', 'GET', 'save'), ('CONFIG', 'SET', 'save', ''), ('CONFIG', 'GET', 'save'),
        ('CONFIG', 'SET', 'maxmemory', '100mb', 'timeout', '3'), ('CONFIG', 'GET', 'maxmemory', 'timeout'),
        ('CONFIG', 'SET', 'latency-tracking-info-percentiles', '0.5 50.0'),
        ('CONFIG', 'GET', 'latency-tracking-info-percentiles'),
        ('SLOWLOG', 'GET', '-2'), ('SLOWLOG', 'GET', 'x'), ('SLOWLOG', 'GET', '1', '2'), ('SLOWLOG', 'nothing'),
        ('LATENCY', 'GRAPH', 'x'), ('LATENCY', 'HISTORY', 'x'), ('LATENCY', 'LATEST'), ('LATENCY', 'RESET', 'a', 'b'),
        ('LATENCY', 'HISTOGRAM', 'nothing'), ('MEMORY', 'USAGE', 'nokey'), ('MEMORY', 'USAGE', 'nokey', 'SAMPLES'),
        ('MEMORY', 'USAGE', 'nokey', 'SAMPLES', '-1'), ('MEMORY', 'USAGE', 'nokey', 'SAMPLES', 'x'),
        ('MEMORY', 'PURGE'), ('MODULE', 'LIST'), ('DEBUG', 'nothing'), ('DEBUG', 'OBJECT', 'nokey'),
        ('FUNCTION', 'FLUSH', 'x'), ('FUNCTION', 'FLUSH'), ('FUNCTION', 'LIST'), ('INFO', 'nothing'),
        ('CLUSTER', 'INFO'), ('CLUSTER',), ('READONLY',), ('READWRITE',), ('ROLE',), ('ROLE', 'x'),
    ]
    with server.Varved('--enable-debug-command', 'yes') as v, server.Redis() as r:
        with v.connect() as ours, r.connect() as theirs:
            for request in requests:
                got, want = ours.call(*request), theirs.call(*request)
                if isinstance(got, list) and request[:2] == ('CONFIG', 'GET'):
                    got = sorted(zip(got[0::2], got[1::2]))
                    want = sorted(zip(want[0::2], want[1::2]))
                tap.eq(got, want, repr(request))


@tap.test
def config_get_is_a_map_in_resp3():
    with server.Varved() as s, s.connect() as c:
        c.call('HELLO', '3')
        reply = c.call('CONFIG', 'GET', 'timeout')
        tap.eq(type(reply), resp.Map)
        tap.eq(list(reply), [(b'timeout', b'0')])


@tap.test
def the_sample_file_starts_as_it_is_and_with_every_line_live():
    path = os.path.join(ROOT, 'conf/varved.conf')
    status, output = started(path, '--check-config')
    tap.eq((status, output), (0, 'the configuration is good\n'))
    with open(path, encoding='utf-8') as f:
        lines = f.read().splitlines()
    live = [line[1:] for line in lines if re.match(r'#[a-z]', line)]
    tap.check(len(live) > 100, f'{len(live)} live lines')
    at = live.index('http-addr 127.0.0.1:8080')
    live[at] = f'http-addr 127.0.0.1:{server.free_port()}'  # somebody else may have that one
    s, _ = file_server('\n'.join(live) + '\n')
    with s:
        s.start()
        with s.connect() as c:
            tap.eq(c.call('SET', 'k', 'v'), OK)


@tap.test
def rewriting_keeps_the_file_and_a_start_with_it_finds_the_same():
    s, path = file_server('# my server\ntimeout 5\n\ninclude %s\n# the end\n' % '/nothing/*.conf', '--hz', '11',
                          '--memtable-size', '8mb', '--cache-size', '20mb', '--log-buffer-size', '4mb')
    with s:
        s.start()
        with s.connect() as c:
            tap.eq(c.call('CONFIG', 'SET', 'timeout', '6', 'maxmemory', '200mb', 'save', '60 1'), OK)
            tap.eq(c.call('CONFIG', 'REWRITE'), OK)
            before = dict(zip(*[iter(c.call('CONFIG', 'GET', '*'))] * 2))
        with open(path, encoding='utf-8') as f:
            text = f.read()
        tap.check(text.startswith('# my server\ntimeout 6\n\ninclude /nothing/*.conf\n# the end\n'), text)
        for line in ('maxmemory 200mb', 'save 60 1', 'hz 11', f'port {s.port}'):
            tap.check(f'\n{line}\n' in text, f'{line} is not in:\n{text}')
        s.stop()
        s.args = []
        s.start()
        with s.connect() as c:
            tap.eq(dict(zip(*[iter(c.call('CONFIG', 'GET', '*'))] * 2)), before)
            tap.eq(c.call('CONFIG', 'REWRITE'), OK)
        with open(path, encoding='utf-8') as f:
            tap.eq(f.read(), text, 'a second time changes nothing')


@tap.test
def standard_input_and_includes_are_read():
    with tempfile.TemporaryDirectory() as folder:
        with open(f'{folder}/one.conf', 'w', encoding='utf-8') as f:
            f.write('timeout 77\n')
        status, output = started('-', '--check-config', stdin=f'include {folder}/*.conf\nhz 5\n'.encode())
        tap.eq((status, output), (0, 'the configuration is good\n'))
        status, output = started('--check-config', '-', stdin=b'hz 5\nhz x\n')
        tap.eq(status, 1)
        tap.matches(output, "standard input:2: hz 'x'")


@tap.test
def what_is_wrong_stops_the_start_with_its_place():
    s, path = file_server('timeout 5\nmaxmemroy 1gb\n')
    s.close()
    status, output = started(path)
    tap.eq(status, 1)
    tap.matches(output, re.escape(f"{path}:2: unknown setting 'maxmemroy'; did you mean 'maxmemory'?"))
    for args, text in [
            (('--port', '70000'), r"port '70000': .* between 0 and 65535 .*allowed: an integer from 0 to 65535"),
            (('--appendfsync', 'maybe'), 'always, everysec, no'),
            (('--engine', 'memory', '--appendfsync', 'always'), 'refused'),
            (('--cache-size', '10gb', '--maxmemory', '1gb'), 'must not be above maxmemory'),
            (('/nothing.conf',), "cannot open '/nothing.conf'")]:
        status, output = started(*args)
        tap.eq(status, 1, repr(args))
        tap.matches(output, text)


@tap.test
def help_is_complete_and_names_what_has_no_effect():
    status, output = started('--help')
    tap.eq(status, 0)
    for d in declared():
        tap.check(d.name in output, d.name)
        tap.check(not d.alias or d.alias in output, d.alias)
    for name in ('data-dir', 'max-mem-size', 'node-id', 'without effect'):
        tap.check(name in output, name)
    for flag in ('-h', '-help', '--help'):
        tap.eq(started(flag), (0, output))
    tap.matches(started('--version')[1], r'^varved \d')


@tap.test
def a_change_takes_effect():
    with server.Varved('--slowlog-log-slower-than', '-1') as s, s.connect() as c:
        tap.eq(c.call('CONFIG', 'SET', 'requirepass', 'secret'), OK)
        with s.connect() as other:
            tap.matches(other.call('GET', 'k'), b'NOAUTH')
            tap.eq(other.call('AUTH', 'secret'), OK)
        tap.eq(c.call('CONFIG', 'SET', 'requirepass', ''), OK)
        tap.eq(c.call('CONFIG', 'SET', 'slowlog-log-slower-than', '0', 'masterauth', 'hidden'), OK)
        c.call('PING')
        c.call('CONFIG', 'SET', 'masterauth', 'hidden', 'slowlog-log-slower-than', '-1')
        entries = c.call('SLOWLOG', 'GET', '-1')
        tap.check([b'PING'] in [e[3] for e in entries], entries)
        tap.check(b'hidden' not in repr(entries).encode(), entries)
        tap.eq(c.call('CONFIG', 'SET', 'maxmemory', '1'), OK)
        tap.matches(c.call('SET', 'k', 'v'), b'OOM command not allowed')
        tap.eq(c.call('GET', 'k'), None)
        tap.eq(c.call('CONFIG', 'SET', 'maxmemory', '0'), OK)
        tap.eq(c.call('SET', 'k', 'v'), OK)
        for mode in ('no', 'everysec', 'always'):
            tap.eq(c.call('CONFIG', 'SET', 'appendfsync', mode), OK)
            tap.eq(c.call('SET', 'k', mode), OK)
        tap.eq(c.call('GET', 'k'), b'always')


tap.main()
