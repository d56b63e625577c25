#!/usr/bin/env bash
# What only root can arrange: privileged programs, and a kernel that allows few mappings. It puts back what it
# changes, also when it is interrupted.
#
#   tests/as_root.sh [privileged] [mappings]      default: both
#
# | part | arranges | looks |
# |---|---|---|
# | privileged | a Rust program that is set-user-ID to another user | options, reports and files of the environment are ignored; the same program without the bit obeys them |
# | mappings | `vm.max_map_count` is 2000 | the tests of exhaustion that use mappings up; programs under the library, with guards that want two mappings for each block |
set -euo pipefail
cd "$(dirname "$0")/.."
((EUID == 0)) || { echo "as_root: wants root" >&2; exit 2; }
work=$(mktemp -d)
limit=/proc/sys/vm/max_map_count
before=$(<$limit)
clean_up() {
    echo "$before" >$limit
    rm -rf "$work"
}
trap clean_up EXIT INT TERM

fail() {
    echo "as_root: $1" >&2
    exit 1
}

# obeys PROGRAM: whether it does what the environment says.
obeys() {
    rm -f "$work/open/stats"
    env PYMALLOC=nonsense PYMALLOC_CONF=nonsense:1 PYMALLOCSTATS=1 PYMALLOC_STATS_FILE="$work/open/stats" \
        "$1" >"$work/out" 2>"$work/err" || fail "$1 ends with status $?"
    local n=0
    grep -q 'unknown mode' "$work/err" && n=$((n + 1))
    grep -q 'unknown key' "$work/err" && n=$((n + 1))
    grep -q '# arenas allocated total' "$work/err" && n=$((n + 1))
    [[ -s $work/open/stats ]] && n=$((n + 1))
    echo $n
}

run_privileged() {
    cargo build --release -p pymalloc --example box_pair
    install -d -m 0755 "$work"
    install -d -m 0777 "$work/open"
    install -m 0755 target/release/examples/box_pair "$work/plain"
    install -o nobody -m 4755 target/release/examples/box_pair "$work/setuid"
    (($(obeys "$work/plain") == 4)) || fail "the plain program ignores the environment: $(<"$work/err")"
    (($(obeys "$work/setuid") == 0)) || fail "the privileged program obeys the environment: $(<"$work/err")"
    [[ ! -s $work/err ]] || fail "the privileged program says: $(<"$work/err")"
    echo "privileged: four wishes of the environment are obeyed without the bit, and none with it"
}

# Makes 3,000 buffers of 300 KB, frees every second one and makes as many again.
buffers='
kept = [bytearray([n % 256]) * 300_000 for n in range(3000)]
kept[::2] = [None] * 1500
kept[::2] = [bytearray([n % 256]) * 300_000 for n in range(0, 3000, 2)]
assert all(kept[n][0] == kept[n][-1] == n % 256 for n in range(3000))
print("whole")'

run_mappings() {
    cargo build --release --features preload -p pymalloc --target-dir target/preload
    cargo test --release -p pymalloc --features objects --no-run --test exhaustion
    echo 2000 >$limit
    cargo test --release -p pymalloc --features objects --test exhaustion -- mappings every_kth
    for mode in PYMALLOC=pymalloc PYMALLOC_CONF=checks:on PYMALLOC=debug PYMALLOC_CONF=sample:10; do
        said=$(env "$mode" PYTHONMALLOC=malloc LD_PRELOAD="$PWD/target/preload/release/libpymalloc.so" \
            python3 -c "$buffers") || fail "python3 under $mode ends with status $?"
        [[ $said == whole ]] || fail "python3 under $mode says $said"
        echo "mappings: 3,000 large buffers under $mode are whole"
    done
    echo "$before" >$limit
}

for what in "${@:-privileged mappings}"; do
    for one in $what; do "run_$one"; done
done
echo "as_root: all pass"
