#!/usr/bin/python3
"""Real data through a real client: more than a million records from dictionaries, loaded with `redis-cli --pipe`, read
back and compared after SIGKILL and restart.

The records are the words of Debian's wamerican-insane and wbritish-insane: a key "american:WORD" or "british:WORD", in UTF-8
with accents, and as value the word's place in the file with the word before it."""
import os
import subprocess
import tempfile

import resp
import server
import tap

DICTIONARIES = {'american': '/usr/share/dict/american-english-insane', 'british': '/usr/share/dict/british-english-insane'}


def records():
    """(key, value) of every line."""
    for name, path in DICTIONARIES.items():
        before = b''
        with open(path, 'rb') as f:
            for number, line in enumerate(f):
                word = line.rstrip(b'\n')
                yield name.encode() + b':' + word, b'%d after %s' % (number, before)
                before = word


def verify(s, wanted):
    with s.connect() as c:
        tap.eq(c.must('DBSIZE'), len(wanted), 'DBSIZE')
        keys = list(wanted)
        for i in range(0, len(keys), 1000):
            part = keys[i:i + 1000]
            for key, got in zip(part, c.must('MGET', *part)):
                if got != wanted[key]:
                    raise tap.Failed(f'{key}: {got} instead of {wanted[key]}')
        tap.check(c.must('GET', 'american:no-such-word') is None, 'a missing key has a value')


@tap.test
def a_million_words_through_redis_cli_pipe_survive_sigkill():
    missing = [p for p in DICTIONARIES.values() if not os.path.exists(p)]
    tap.check(not missing, f'{missing} missing: install wamerican-insane and wbritish-insane')
    wanted = dict(records())
    tap.check(len(wanted) > 1_000_000, f'only {len(wanted)} records')
    with tempfile.TemporaryFile() as commands, server.Varved() as s:
        for key, value in wanted.items():
            commands.write(resp.encode('SET', key, value))
        commands.seek(0)
        loaded = subprocess.run(['redis-cli', '-p', str(s.port), '--pipe'], stdin=commands, capture_output=True, check=False)
        out = loaded.stdout.decode() + loaded.stderr.decode()
        tap.eq(loaded.returncode, 0, out)
        tap.check(f'errors: 0, replies: {len(wanted)}' in out, out)
        s.kill()
        s.start()
        verify(s, wanted)
        s.restart()
        verify(s, wanted)


if __name__ == '__main__':
    tap.main()
