#!/usr/bin/env bash
# The test suite built with sanitizers, and the preload library under valgrind.
#
#   tests/sanitizers.sh [address] [objects] [leak] [thread] [valgrind] [miri]      default: all but miri
#
# Needs: a nightly toolchain with rust-src (rustup toolchain install nightly --component rust-src), valgrind;
# miri its component.
# Every step also looks for undefined arithmetic: debug assertions and overflow checks are on but under `thread`.
#
# | test | not run under | because |
# |---|---|---|
# | those of C programs and the launcher (`tests/c`) | all but valgrind | a sanitizer brings its own malloc, which a preloaded malloc replaces, or the reverse; valgrind takes the library as it ships |
# | `memory_returns`, `soak`, `a_live_heap_costs_little`, `a_dropped_heap_leaves_an_idle_process_small` | all | they measure resident memory, which shadow memory multiplies |
# | `fork` | address, thread | a fork copies the page tables of some gigabytes of shadow, and the runtime promises nothing in the child of a process with threads |
# | `exhaustion` | address, thread | its own mmap and pthread_create stand where the sanitizer's interceptors do |
# | `trace_lines`, `serving_lines` | all | they build programs of their own, by cargo |
# | `objects`, `gc_*`, `python_*`, `scheme`, `conformance`: leaks only | leak | what an object owns is named by memory from mmap, where the leak sanitizer looks for no pointers |
# | objects and collector | thread | a heap of objects is one thread's; nothing is shared |
# | `at_no_instruction_is_a_lock_taken…` | thread | it has a signal at each instruction, those of the sanitizer among them |
# | the purging thread | thread | the sanitizer takes its bare clone for a fork, and crashes |
#
# Calls cost three to thirty times as much: watchdogs bark twenty times as late (`PYMALLOC_TEST_PATIENCE`), and random
# tests are fewer where the table says so; `PYMALLOC_TEST_FEWER=1 PYMALLOC_GC_PROGRAMS=400 tests/sanitizers.sh` has all.
#
# | under | repetitions of `oracle` | programs of the collector |
# |---|---|---|
# | address, objects, leak | half | 100 of 400 |
# | thread | a quarter | |
set -euo pipefail
cd "$(dirname "$0")/.."
export PYMALLOC_TEST_PATIENCE=${PYMALLOC_TEST_PATIENCE:-20} PYMALLOC_GC_PROGRAMS=${PYMALLOC_GC_PROGRAMS:-100}
target=x86_64-unknown-linux-gnu
export RUST_BACKTRACE=0

# Allocator tests, all of whose pointers the leak sanitizer can see.
allocator=(--lib --test oracle --test alignment --test misuse --test metrics --test tracemalloc --test tracemalloc_data)
# Tests of values that live in mapped memory.
objects=(--test conformance --test rust_heap --test object_memory --test objects --test gc_vectors --test gc_module
    --test gc_model --test python_kinds --test scheme)

# sanitized SANITIZER CARGO-ARGUMENTS…: runs tests built with it.
sanitized() {
    local fewer=2
    [[ $1 != thread ]] || fewer=4
    PYMALLOC_TEST_FEWER=${PYMALLOC_TEST_FEWER:-$fewer} RUSTFLAGS=-Zsanitizer=$1 cargo +nightly test --target $target --target-dir target/sanitize-$1 -p pymalloc \
        --features objects "${@:2}"
}

run_address() {
    sanitized address "${allocator[@]}"
    ASAN_OPTIONS=detect_leaks=0 sanitized address "${objects[@]}" -- --skip costs_little --skip an_idle_process
    PYMALLOC_CONF=checks:on PYMALLOC_TEST_CONF=checks:on sanitized address --test oracle --test alignment
}

run_leak() {
    sanitized leak "${allocator[@]}"
}

run_objects() {
    # With debug assertions off, as the library ships, and with them, which compare each pool's count with its
    # bits: what safe programs broke other collectors with. What values own comes from the sanitizer's allocator,
    # so a look at a dead one shows. Objects lie in mappings of ours, where the leak checker does not look for
    # what they own.
    for profile in release dev; do
        ASAN_OPTIONS=detect_leaks=0 sanitized address --profile $profile --test objects --test gc_module \
            --test gc_model --test gc_vectors --test object_exhaustion --test python_kinds
    done
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
        PYMALLOC_TEST_CONF=$conf sanitized thread -Zbuild-std --release --lib --test oracle --test alignment \
            --test tracemalloc -- --skip at_no_instruction
    done
    unset PYMALLOC_CONF
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

for what in "${@:-address objects leak thread valgrind}"; do
    for one in $what; do "run_$one"; done
done
echo "sanitizers: clean"
