#!/bin/sh
# The man page and the completions of kvctl that are committed are the ones its table makes (`make kvctl-docs`), and the
# shells take them.
set -u
kvctl=${VARVE_BUILDDIR:-build}/kvctl
source=${VARVE_SRCDIR:-.}
completion=$source/tools/kvctl/completion
echo 1..6
n=0
point() { # point STATUS DESCRIPTION
    n=$((n + 1))
    if [ "$1" = 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; fi
}
same() { # same WHAT FILE
    differences=$("$kvctl" --generate "$1" | diff -u "$2" - 2>&1)
    status=$?
    [ "$status" = 0 ] || printf '%s\n' "$differences" | sed 's/^/# /' | head -20
    point "$status" "$(basename "$2") is current"
}
same man "$source/docs/man/kvctl.1"
same bash "$completion/kvctl"
same zsh "$completion/_kvctl"
same fish "$completion/kvctl.fish"

# bash completes subcommands, and options of a subcommand behind global options with arguments.
got=$(bash -c '. "$1"
    COMP_WORDS=(kvctl -p 1 exp); COMP_CWORD=3; _kvctl; printf "%s " "${COMPREPLY[@]}"
    COMP_WORDS=(kvctl --port 1 export --f); COMP_CWORD=4; _kvctl; printf "%s " "${COMPREPLY[@]}"
    COMP_WORDS=(kvctl bogus --f); COMP_CWORD=2; COMPREPLY=(); _kvctl; printf "%s" "${COMPREPLY[@]}"' - "$completion/kvctl")
[ "$got" = "expire export --format " ]
status=$?
[ "$status" = 0 ] || echo "# bash completes: $got"
point "$status" "bash completes"

status=0
said=
for shell in zsh fish; do
    file=_kvctl
    [ $shell = zsh ] || file=kvctl.fish
    if command -v $shell >/dev/null 2>&1; then
        $shell -n "$completion/$file" || status=1
    else
        said="$said $shell"
    fi
done
if [ "$said" = " zsh fish" ]; then
    n=$((n + 1)); echo "ok $n - zsh and fish read theirs # SKIP neither is installed"
else
    point "$status" "zsh and fish read theirs, where they are installed"
fi
