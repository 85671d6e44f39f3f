#!/bin/sh
# The list of metrics that is committed is the one that the declarations make. `make metrics-docs` brings it up to date.
set -u
echo 1..1
if differences=$("${VARVE_BUILDDIR:-build}/tools/metrics_doc" | diff -u "${VARVE_SRCDIR:-.}/docs/metrics.md" - 2>&1); then
    echo "ok 1 - docs/metrics.md is current"
else
    printf '%s\n' "$differences" | sed 's/^/# /' | head -20
    echo "not ok 1 - docs/metrics.md is current"
fi
