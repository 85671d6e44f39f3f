#!/bin/sh
# The documents of the settings that are committed are those that the declarations make, and the manual pages are well
# formed. `make settings-docs` brings them up to date.
set -u
src=${VARVE_SRCDIR:-.}
doc=${VARVE_BUILDDIR:-build}/tools/settings_doc
number=0
echo 1..5

point() { # NAME: the last command decides
    if [ "$?" = 0 ]; then result=ok; else result='not ok'; fi
    number=$((number + 1))
    echo "$result $number - $1"
}

for pair in conf:conf/varved.conf man:docs/man/varved.conf.5 table:docs/settings.md; do
    "$doc" "${pair%%:*}" | diff -u "$src/${pair#*:}" - >differences.txt 2>&1
    status=$?
    sed 's/^/# /' differences.txt | head -20
    (exit "$status")
    point "${pair#*:} is current"
done
rm -f differences.txt

for page in varved.1 varved.conf.5; do
    if command -v man >/dev/null; then
        complaints=$(LC_ALL=C.UTF-8 MANROFFSEQ='' MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 -Z "$src/docs/man/$page" 2>&1 >/dev/null)
        [ -z "$complaints" ] || echo "# $complaints"
        [ -z "$complaints" ]
        point "$page is well formed"
    else
        number=$((number + 1))
        echo "ok $number - $page is well formed # SKIP there is no man"
    fi
done
