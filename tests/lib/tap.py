"""Test points for Python tests, printed as TAP.

    import tap

    @tap.test
    def a_key_that_expired_is_gone_for_every_command():
        with server.Varved() as s, s.connect() as c:
            tap.eq(c.call('SET', 'k', 'v', 'PX', 10), b'OK')
            tap.check(c.call('GET', 'k') is None, 'GET still answers')

    tap.main()

A function marked with @tap.test is one test point, in the order of the file; it passes when it returns. A failed check
raises tap.Failed and ends that point; any other exception is a failure too, printed with its traceback. Raise tap.Skip(why)
to skip. `tap.main()` runs them all, or those whose name contains an argument of the command line, prints the plan and
exits with 1 when one failed.

`tap.LONG` says whether this is `make check-long`; tap.pick(short, long) chooses a count by it. `tap.SANITIZER` is 'asan',
'tsan' or '': a sanitized server is slow, so choose counts by it. Time limits are multiplied by `tap.PATIENCE`, which is 1, more
with a sanitizer, and what VARVE_TEST_PATIENCE says; until() does so itself.
"""
import os
import sys
import time
import traceback

LONG = bool(os.environ.get('VARVE_TEST_LONG'))
SANITIZER = os.environ.get('VARVE_SANITIZER', '')
PATIENCE = float(os.environ.get('VARVE_TEST_PATIENCE') or (6 if SANITIZER else 1))


class Failed(AssertionError):
    """A check did not hold."""


class Skip(Exception):
    """This point cannot be tried here; its text says why."""


_tests = []


def test(function):
    """Mark a function as a test point. Its docstring, else its name, is the point's description."""
    _tests.append((function.__name__.replace('_', ' '), function, ()))
    return function


def cases(*rows):
    """Like @test, once for each row: the function is called with the row's values, the first of which names the case."""
    def mark(function):
        for row in rows:
            row = row if isinstance(row, tuple) else (row,)
            name = row[0] if isinstance(row[0], str) else _short(row[0])
            _tests.append((f'{function.__name__.replace("_", " ")}: {name}', function, row))
        return function
    return mark


def pick(short, long):
    """The count for this run."""
    return long if LONG else short


def diag(text):
    """Print a comment."""
    for line in str(text).splitlines() or ['']:
        print(f'# {line}', flush=True)


def _short(value, limit=200):
    text = repr(value)
    return text if len(text) <= limit else f'{text[:limit]}... ({len(text)} characters)'


def check(condition, why='not true'):
    """Fail unless condition."""
    if not condition:
        raise Failed(why)


def eq(got, want, what=''):
    """Fail unless got == want, types included (so that b'1' is not 1 and an error is not a string)."""
    if got != want or (type(got) is not type(want) and not (got is want)):
        raise Failed(f'{what + ": " if what else ""}got {type(got).__name__} {_short(got)}, '
                     f'want {type(want).__name__} {_short(want)}')


def matches(got, pattern):
    """Fail unless the regular expression (bytes or str, as got is) is found in got."""
    import re
    if got is None or not re.search(pattern, got):
        raise Failed(f'got {_short(got)}, want a match of {pattern!r}')


def until(condition, seconds=10, step=0.01, what='condition'):
    """Wait until condition() is true and return its value; fail after `seconds` (times PATIENCE)."""
    seconds *= PATIENCE
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f'{what} did not hold within {seconds} s')
        time.sleep(step)


def main():
    """Run the tests, print TAP, exit."""
    wanted = sys.argv[1:]
    chosen = [t for t in _tests if not wanted or any(w in t[0] or w in t[0].replace(' ', '_') for w in wanted)]
    print(f'1..{len(chosen)}', flush=True)
    failed = 0
    for number, (name, function, args) in enumerate(chosen, 1):
        name = name.replace('#', '\\#').replace('\n', ' ')
        start = time.monotonic()
        try:
            function(*args)
        except Skip as why:
            print(f'ok {number} - {name} # SKIP {why}', flush=True)
            continue
        except BaseException as error:  # SystemExit of a library must not end the whole program quietly
            failed += 1
            print(f'not ok {number} - {name}', flush=True)
            if isinstance(error, Failed):
                frame = traceback.extract_tb(error.__traceback__)
                own = [f for f in frame if os.path.basename(f.filename) != 'tap.py']
                for f in own:
                    diag(f'{f.filename}:{f.lineno}: {f.line}')
                diag(f'  {error}')
            else:
                diag(traceback.format_exc())
            if isinstance(error, KeyboardInterrupt):
                break
            continue
        print(f'ok {number} - {name}', flush=True)
        seconds = time.monotonic() - start
        if seconds > 5:
            diag(f'{seconds:.1f} s')
    sys.exit(1 if failed else 0)
