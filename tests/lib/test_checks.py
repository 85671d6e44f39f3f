#!/usr/bin/python3
"""The checks of the sources find what they are there to find: each is run on a small tree with one thing wrong."""
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import server  # noqa: E402
import tap  # noqa: E402

LAYERS = '''src/low 0 xxhash.h
src/side 1
src/beside 1
src/high 2
tests 9
system stdio.h sys/*.h
'''
GOOD = {
    'src/LAYERS': LAYERS,
    'Makefile.am': 'EXTRA_DIST = src/LAYERS tools\ninclude src/room.am\n',
    'src/room.am': 'lib_a_SOURCES = %D%/low/a.h %D%/low/a.c %D%/side/b.h %D%/high/c.c\n',
    'src/low/a.h': '#include <stdio.h>\n',
    'src/low/a.c': '#include "low/a.h"\n\n#include <sys/uio.h>\n#include <xxhash.h>\n',
    'src/side/b.h': '#include "low/a.h"\n',
    'src/high/c.c': '#include "low/a.h"\n#include "side/b.h"\n/* #include "nonsense.h" */\n',
}


def run(tool, changes):
    """Run tools/TOOL on the good tree with changes; returns (exit status, output)."""
    tree = tempfile.mkdtemp()
    try:
        for path, text in {**GOOD, **changes}.items():
            if text is not None:
                os.makedirs(os.path.join(tree, os.path.dirname(path)), exist_ok=True)
                with open(os.path.join(tree, path), 'w', encoding='utf-8') as f:
                    f.write(text)
        os.makedirs(os.path.join(tree, 'tools'))
        os.makedirs(os.path.join(tree, 'tests'))
        shutil.copy(os.path.join(server.ROOT, 'tools', tool), os.path.join(tree, 'tools'))
        shutil.copy(os.path.join(server.ROOT, '.clang-format'), tree)
        done = subprocess.run([os.path.join(tree, 'tools', tool)], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr
    finally:
        shutil.rmtree(tree)


@tap.cases('check-layers', 'check-dist', 'check-format', 'check-headers')
def a_good_tree_passes(tool):
    status, output = run(tool, {})
    tap.check(status == 0 and 'not ok' not in output, output)


@tap.cases(
    ('an include of a higher floor', 'src/low/a.c', '#include "side/b.h"\n', 'src/low (floor 0) includes "side/b.h"'),
    ('an include of a neighbour', 'src/beside/d.c', '#include "side/b.h"\n', 'src/beside (floor 1) includes'),
    ('a third-party header', 'src/side/e.c', '\n#include <xxhash.h>\n', 'src/side/e.c:2: src/side may not include <xxhash.h>'),
    ('a circle', 'src/low/a.h', '#include "low/z.h"\n', 'src/low/a.h -> src/low/z.h -> src/low/a.h'),
    ('a header that is not there', 'src/low/a.c', '#include "low/none.h"\n', '"low/none.h" is no file'),
    ('an include by a bare name', 'src/low/a.c', '#include "a.h"\n', '"a.h" is no file'),
    ('a folder without a floor', 'src/new/f.c', '\n', 'src/new/f.c: its folder is no module'),
)
def check_layers_finds(what, path, text, expected):
    changes = {path: text}
    if what == 'a circle':
        changes['src/low/z.h'] = '#include "low/a.h"\n'
    status, output = run('check-layers', changes)
    tap.check(status == 1 and expected in output, output)


@tap.test
def check_dist_finds_a_file_that_no_room_names():
    status, output = run('check-dist', {'src/low/new.h': ''})
    tap.check(status == 1 and 'src/low/new.h' in output, output)


@tap.test
def check_headers_finds_a_header_that_needs_another():
    _, output = run('check-headers', {'src/low/needs.h': 'FILE *f(void);\n'})
    tap.check('not ok' in output and 'src/low/needs.h' in output, output)


@tap.test
def check_format_finds_what_clang_format_would_change():
    status, output = run('check-format', {'src/low/ugly.c': 'int  x;\n'})
    tap.check(status == 1 and 'src/low/ugly.c:1' in output, output)


tap.main()
