#!/usr/bin/env bash
# The tests that judge behaviour, built with sanitizers, and the preload library under valgrind.
#
#   tests/sanitizers.sh [address] [objects] [thread] [valgrind] [miri]      default: all but miri
#
# Needs: a nightly toolchain with rust-src (rustup toolchain install nightly --component rust-src), valgrind;
# miri its component.
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

run_objects() {
    # With debug assertions off, as the library ships: what safe programs broke other collectors with. What
    # values own comes from the sanitizer's allocator, so a look at a dead one shows. Objects lie in mappings of
    # ours, where the leak checker does not look for what they own.
    ASAN_OPTIONS=detect_leaks=0 RUSTFLAGS=-Zsanitizer=address cargo +nightly test --release --target $target \
        --target-dir target/asan -p pymalloc --features objects --test objects --test gc_module --test gc_model \
        --test gc_vectors --test object_exhaustion --test python_kinds
}

run_miri() {
    # The layers of objects and the collector; std gives their memory. Left out: what starts processes, and
    # what only repeats for long. Heaps of the test harness's own threads are not taken apart.
    export MIRIFLAGS="-Zmiri-disable-isolation -Zmiri-ignore-leaks" PYMALLOC_GC_PROGRAMS=2
    miri="cargo +nightly miri test --target-dir target/miri -p pymalloc --features objects"
    $miri --test objects -- --skip depth_is_no_limit --skip a_million --skip garbage_made_inside
    $miri --test gc_model -- --skip large_graphs
    $miri --test gc_module -- --skip garbage_at_shutdown --skip gc_debug_stats --skip two_hundred \
        --skip dropped_cycles --skip indirect_calls --skip threshold_zero --skip incremental_gc --skip len_race \
        --skip trashcan --skip del
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

for what in "${@:-address objects thread valgrind}"; do
    for one in $what; do "run_$one"; done
done
echo "sanitizers: clean"
