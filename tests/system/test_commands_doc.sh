#!/bin/sh
# The reference of the commands that is committed is the one that the declarations make. `make commands-docs` brings it
# up to date.
set -u
echo 1..1
if differences=$("${VARVE_BUILDDIR:-build}/tools/commands_doc" | diff -u "${VARVE_SRCDIR:-.}/docs/commands.md" - 2>&1); then
    echo "ok 1 - docs/commands.md is current"
else
    printf '%s\n' "$differences" | sed 's/^/# /' | head -20
    echo "not ok 1 - docs/commands.md is current"
fi
