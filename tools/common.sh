# What tools/run, tools/test and .ci/run share: packages, configuring, building, counting. Sourced by /bin/sh with $top
# set to the root of the tree; needs nothing that a bare Debian does not have.

say() { printf '%s\n' "== $*" >&2; }
die() { printf '%s\n' "${0##*/}: $*" >&2; exit 1; }

# build_depends [all]: the packages of debian/control's Build-Depends, one a line; without "all" those that a build
# needs and the tests alone do not (<!nocheck>).
build_depends() {
    awk -v all="${1:-}" '
        /^#/ { next }
        /^[^ \t]/ { on = 0 }
        sub(/^Build-Depends:/, "") { on = 1 }
        on { list = list " " $0 }
        END {
            n = split(list, entry, ",")
            for (i = 1; i <= n; i++) {
                if (entry[i] ~ /<!nocheck>/ && all != "all") continue
                split(entry[i], word, " ")
                if (word[1] != "") print word[1]
            }
        }' "$top/debian/control"
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "packages are missing and installing them needs root or sudo: $*"
    fi
}

# install_missing [all]: apt-get what dpkg does not have. With all there, nothing is asked of the network.
install_missing() {
    missing=
    for package in $(build_depends "$@"); do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    say "installing$missing"
    as_root apt-get update -q >&2 || die "apt-get update failed"
    # shellcheck disable=SC2086
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing >&2 ||
        die "apt-get install failed"
}

# configure_tree DIR ARGUMENTS...: DIR is configured with these arguments. Configured again only when they, the
# compiler or the installed libraries have changed.
configure_tree() {
    dir=$1
    shift
    if [ ! -x "$top/configure" ] || [ -n "$(find "$top/configure.ac" -newer "$top/configure")" ]; then
        say "autoreconf"
        (cd "$top" && autoreconf -i) >&2 || die "autoreconf failed"
    fi
    mkdir -p "$dir" || die "cannot make $dir"
    # shellcheck disable=SC2046
    key="$top $* $(dpkg-query -W $(build_depends all) 2>/dev/null | cksum)"
    if [ ! -f "$dir/Makefile" ] || [ "$(cat "$dir/.configured" 2>/dev/null)" != "$key" ]; then
        say "configuring $dir: $*"
        (cd "$dir" && "$top/configure" -q "$@") >"$dir/configure.out" 2>&1 || {
            cat "$dir/configure.out" >&2
            die "configure failed"
        }
        printf '%s\n' "$key" >"$dir/.configured"
    fi
}

jobs() { nproc 2>/dev/null || echo 2; }

# build_tree DIR: make.
build_tree() {
    say "building in $1"
    make -s -C "$1" -j"$(jobs)" >&2
}

# run_checks DIR TARGET JOBS: `make TARGET` with its output in DIR/check.out; what did not pass is printed. Sets status.
run_checks() {
    status=0
    { make -s -k -C "$1" -j"$3" "$2" 2>&1 || echo 1 >"$1/.check-failed"; } >"$1/check.out"
    grep -E '^(FAIL|ERROR|XPASS|SKIP):|\*\*\*|: (error|warning):' "$1/check.out"
    [ ! -f "$1/.check-failed" ] || { status=1; rm "$1/.check-failed"; }
}

# why DIR: of each program that failed the end of what it printed, what the server logged last, and then what the checks said.
why() {
    for trs in $(grep -lE '^:recheck: yes' $(find "$1" -name '*.trs')); do
        say "${trs%.trs}"
        grep -vE '^(ok|PASS:|#)' "${trs%.trs}.log" | tail -n 20
        grep -E '^(not ok|#|Bail out!)' "${trs%.trs}.log" | grep -B 20 -A 3 -E '^(not ok|# +[^ ]+:[0-9]+:|Bail out!)' | tail -n 60
    done
}

# check_tree DIR: builds and runs the tests of a configured tree, prints what did not pass, and adds the test points to
# $passed and $failed. What does not build, or ends before its tests have run, is a failure. Tests run side by side; a
# program that fails so is run once more alone, since a deadline missed on a busy machine says nothing of the server.
# That it was repeated is said, with what the first run printed.
check_tree() {
    dir=$1
    build_tree "$dir" || {
        failed=$((failed + 1))
        return 1
    }
    say "testing in $dir"
    find "$dir" -name '*.trs' -delete
    run_checks "$dir" "${CHECK_TARGET:-check}" "$(jobs)"
    if [ "$status" -ne 0 ] && [ -f "$dir/test-suite.log" ]; then
        why "$dir"
        say "once more, alone: $(grep -lE '^:recheck: yes' $(find "$dir" -name '*.trs') | sed "s|^$dir/||; s|\.trs$||" | tr '\n' ' ')"
        run_checks "$dir" recheck 1
    fi
    all=$(find "$dir" -name '*.trs' -exec cat {} +)
    good=$(printf '%s\n' "$all" | grep -cE '^:test-result: (PASS|XFAIL)')
    bad=$(printf '%s\n' "$all" | grep -cE '^:test-result: (FAIL|XPASS|ERROR)')
    skipped=$(printf '%s\n' "$all" | grep -c '^:test-result: SKIP')
    if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
        bad=1
        tail -n 30 "$dir/check.out"
    fi
    if [ "$bad" -ne 0 ] && [ -f "$dir/test-suite.log" ]; then
        why "$dir"
    fi
    passed=$((passed + good))
    failed=$((failed + bad))
    say "$dir: $good passed, $bad failed, $skipped skipped"
    [ "$bad" -eq 0 ]
}
