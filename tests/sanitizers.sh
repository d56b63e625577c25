#!/usr/bin/env bash
# The tests that judge behaviour, built with sanitizers, and the preload library under valgrind.
#
#   tests/sanitizers.sh [address] [thread] [valgrind]      default: all three
#
# Needs: a nightly toolchain with rust-src (rustup toolchain install nightly --component rust-src), valgrind.
# What it does not run: tests of resident memory, which sanitizers multiply; the purging thread under the
# thread sanitizer, which takes its bare clone for a fork and crashes.
set -euo pipefail
cd "$(dirname "$0")/.."
target=x86_64-unknown-linux-gnu

run_address() {
    # Leaks are looked for, too; debug assertions are on.
    RUSTFLAGS=-Zsanitizer=address cargo +nightly test --target $target --target-dir target/asan -p pymalloc \
        --lib --test oracle --test alignment --test misuse
    RUSTFLAGS=-Zsanitizer=address PYMALLOC_CONF=checks:on PYMALLOC_TEST_CONF=checks:on \
        cargo +nightly test --target $target --target-dir target/asan -p pymalloc --test oracle --test alignment
}

run_thread() {
    # std is built again: its own synchronisation must be seen.
    export PYMALLOC_CONF=purge_thread:off
    for conf in purge_thread:off purge_thread:off,checks:on; do
        RUSTFLAGS=-Zsanitizer=thread PYMALLOC_TEST_CONF=$conf cargo +nightly test -Zbuild-std --release \
            --target $target --target-dir target/tsan -p pymalloc --lib --test oracle
    done
}

run_valgrind() {
    cargo build --release --features preload -p pymalloc --target-dir target/preload
    library=$PWD/target/preload/release/libpymalloc.so
    # nouserintercepts: our malloc runs instead of valgrind's own. It knows nothing of our blocks; what it sees
    # are wild accesses, jumps on undefined values and bad arguments of system calls, in all that runs.
    for mode in PYMALLOC=pymalloc PYMALLOC_CONF=checks:on PYMALLOC=debug; do
        under_valgrind ls -l /
        under_valgrind sort tests/sanitizers.sh
        under_valgrind bash -c 'for n in {1..50}; do s+=$n; done; echo ${#s}'
        under_valgrind python3 -S -E -c 'print(sum(len(str(n) * 9) for n in range(3000)))'
    done
}

under_valgrind() {
    echo "valgrind: $mode $1"
    env "$mode" LD_PRELOAD="$library" valgrind -q --error-exitcode=9 \
        --soname-synonyms=somalloc=nouserintercepts "$(command -v "$1")" "${@:2}" >/dev/null
}

for what in "${@:-address thread valgrind}"; do
    for one in $what; do "run_$one"; done
done
echo "sanitizers: clean"
