"""Programs on Node.js for tests, with the packages that tests/node/package-lock.json pins.

    node.run('ioredis.mjs', 'blocking_commands', port)    # a scenario of tests/node/ioredis.mjs; fails when it throws
    node.scenarios('ioredis.mjs')                         # the names of all

The packages are installed by `npm ci` into the build tree, once for each version of the lock file; tests that run side by
side wait for each other there. Without node or npm, or where the registry cannot be reached, the test point is skipped and
says why; with CI in the environment that is a failure.
"""
import fcntl
import hashlib
import os
import re
import shutil
import subprocess

import server
import tap

SOURCE = os.path.join(server.ROOT, 'tests', 'node')
FOLDER = os.path.join(os.environ.get('VARVE_BUILDDIR') or os.path.dirname(os.path.abspath(server.VARVED)), 'node')
# What npm says when nobody answers, as opposed to a lock file or a package that is wrong.
NOT_REACHED = re.compile(r'\b(EAI_AGAIN|ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET_TIMEOUT|'
                         r'ENOTCACHED)\b')


def _not_here(why):
    if os.environ.get('CI'):
        raise tap.Failed(f'{why}, and CI is set')
    raise tap.Skip(why)


def _digest():
    h = hashlib.sha256()
    for name in ('package.json', 'package-lock.json'):
        with open(os.path.join(SOURCE, name), 'rb') as f:
            h.update(f.read())
    return h.hexdigest()


def _read(path):
    try:
        with open(path, encoding='utf-8') as f:
            return f.read()
    except FileNotFoundError:
        return None


def _write(path, text):
    with open(path, 'w', encoding='utf-8') as f:
        f.write(text)


def folder():
    """The folder of the build tree that has the packages and the scripts."""
    for program in ('node', 'npm'):
        if not shutil.which(program):
            _not_here(f'no {program}')
    os.makedirs(FOLDER, exist_ok=True)
    with open(os.path.join(FOLDER, 'lock'), 'w', encoding='utf-8') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = os.path.join(FOLDER, 'installed')
        if _read(stamp) != _digest():
            for name in ('package.json', 'package-lock.json', '.npmrc'):
                shutil.copyfile(os.path.join(SOURCE, name), os.path.join(FOLDER, name))
            done = subprocess.run(['npm', 'ci', '--ignore-scripts', '--no-audit', '--no-fund', '--fetch-retries=1'], cwd=FOLDER,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
            if done.returncode:
                reason = NOT_REACHED.search(done.stdout)
                if reason:
                    _not_here(f'npm reaches no registry: {reason.group(1)}')
                raise tap.Failed(f'npm ci: {done.stdout[-2000:]}')
            _write(stamp, _digest())
        for name in os.listdir(SOURCE):
            if name.endswith('.mjs'):  # only what changed, so that nobody reads half a script
                text = _read(os.path.join(SOURCE, name))
                if _read(os.path.join(FOLDER, name)) != text:
                    _write(os.path.join(FOLDER, name), text)
    return FOLDER


def program(*words, stdin=None, seconds=90):
    """Run node with these words in that folder; returns (status, output)."""
    done = subprocess.run(['node', *map(str, words)], cwd=folder(), input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=seconds * tap.PATIENCE, check=False, env={**os.environ, 'PATIENCE': str(tap.PATIENCE)})
    return done.returncode, done.stdout.decode(errors='replace')


def scenarios(script):
    """What a script of tests/node exports, in its order."""
    return re.findall(r'^export async function (\w+)', _read(os.path.join(SOURCE, script)), re.M)


def run(script, scenario, *addresses):
    """Run one of them; fails unless it returns."""
    status, output = program('run.mjs', script, scenario, *addresses)
    tap.check(status == 0, f'{script}, {scenario}: {output[-3000:]}')
