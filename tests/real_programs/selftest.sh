#!/usr/bin/env bash
# Does run.sh find what it must? Runs it with an honest library and with faulty ones (selftest.c), about a minute.
set -u -o pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
at=$(mktemp -d) || exit 2
trap 'rm -rf "$at"' EXIT
bad=0

# expect FAULT STATUS PATTERN ARGS…: run.sh under the library of that fault ends so and says so.
expect() {
    local fault=$1 status=$2 pattern=$3 got=0
    shift 3
    gcc -O1 -w -fno-builtin -shared -fPIC -D"$fault" -o "$at/libtest.so" "$here/selftest.c" || exit 2
    "$here/run.sh" --lib "$at/libtest.so" "$@" >"$at/out" 2>&1 || got=$?
    if [ "$got" = "$status" ] && grep -qE -- "$pattern" "$at/out"; then
        echo "ok $fault"
    else
        echo "FAILED $fault: ended with $got, wanted $status and /$pattern/"
        sed 's/^/    /' "$at/out"
        bad=1
    fi
}

cd / || exit 2
every=$("$here/run.sh" --list | wc -l)
expect HONEST 0 '^2 passed, 0 failed$' --only lua bash_forks
expect EMPTY 1 "^0 passed, $every failed$"
expect EMPTY 1 '^FAILED lua: the library is not in charge' --only lua
expect PASSIVE 1 '^FAILED lua: the library is not in charge: .* passive' --only lua
expect IDLE 1 '^FAILED lua: the library is not in charge: .* malloc-in:libc' --only lua
export RP_TIMEOUT=30
expect FORGETS 1 '^FAILED lua: stdout differs$' --only lua
expect CRASHES 1 '^FAILED lua: exit 0 without the library, exit 134 with it$' --only lua
export RP_TIMEOUT=8
expect HANGS 1 'timeout after 8 s with it$' --only lua
grep -qE '#[0-9]+ .* realloc ' "$at/out" || { echo "FAILED HANGS: no stacks"; bad=1; }
[ -z "$(pgrep -x lua5.4)" ] || { echo "FAILED HANGS: lua still runs"; bad=1; }
exit "$bad"
