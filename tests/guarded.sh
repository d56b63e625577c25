#!/usr/bin/env bash
# The test suite with every block guarded: by checks:on, and as CPython's debug hooks do.
#
#   tests/guarded.sh [checks] [debug]      default: both
#
# | not run | because |
# |---|---|
# | `memory_returns`, `soak`, `a_live_heap_costs_little`, `what_idle_threads_keep…` | they bound resident memory, of which guards and the quarantine are no part |
# | `metrics` | it looks for freed bytes in figures that count what waits in the quarantine |
# | `python_memory`, `reports` | they count pools and arenas, which guarded blocks have more of |
# | `sampled_tracing`, `tracing_storms` | where every block is guarded none is sampled (`Observers`) |
# | `a_kept_block_serves…`, `what_is_used_again…`, `a_longer_block_has…`, `a_longer_zeroed_block…`, `a_short_block_leaves…`, `a_freed_block_goes…`, `a_block_that_is_freed_and_taken…` | a guarded block waits in the quarantine before its memory serves another |
# | `scattered_waves…`, under debug | of blocks that wait in the order of their frees some are in each pool, and none comes free |
# | `a_thread_keeps_nothing…`, `one_block_of_each_length…`, `the_longest_block_is_kept…`, `beside_much_more…` | guarded blocks are in no list |
# | `a_block_that_doubles…` | guarded blocks lie in small pages, which fences divide |
# | `zeroing_takes_no_memory…` | a guarded block begins beside a page's boundary, and pages are what it counts |
# | `misuse`, `bad_input`, `misuse_table`, `debug_mode`, `sampling` | they set these modes themselves, for what is right in each |
# | `trust_table`, `exports`, `layers`, `launcher`, `profile`, `recording` | what they look at is the same in all modes, or they set the mode |
#
# A fork storm forks 60 times instead of 500: the blocks of eight threads are filled, looked at, and their stacks
# taken. Watchdogs bark eight times as late.
set -euo pipefail
export PYMALLOC_FORKS=${PYMALLOC_FORKS:-60} PYMALLOC_TEST_PATIENCE=${PYMALLOC_TEST_PATIENCE:-8}
cd "$(dirname "$0")/.."

tests=(--lib --test conformance --test oracle --test alignment --test exhaustion --test fork --test rust_heap
    --test object_memory --test objects --test gc_vectors --test gc_module --test gc_model
    --test python_kinds --test scheme --test tracemalloc --test tracemalloc_data --test preload_contract
    --test process_life --test budgets --test figures --test memory_limit --test neighbours --test object_exhaustion
    --test objgraph --test traced_objects --test scheme_soak --test serving --test serving_itself --test huge_blocks --test waves)
# Names, or parts of them, of what the table leaves out.
left_out=(--skip costs_little --skip what_idle_threads_keep --skip a_kept_block_serves --skip what_is_used_again
    --skip zeroing_takes_no_memory --skip a_longer_block_has
    --skip a_longer_zeroed_block --skip a_block_that_doubles --skip a_thread_keeps_nothing
    --skip one_block_of_each_length --skip the_longest_block_is_kept --skip beside_much_more --skip a_short_block_leaves
    --skip a_freed_block_goes --skip a_block_that_is_freed_and_taken)

run_checks() {
    PYMALLOC_CONF=checks:on PYMALLOC_TEST_CONF=checks:on suite
}

run_debug() {
    PYMALLOC=debug PYMALLOC_TEST_MODE=debug suite --skip scattered_waves
}

suite() {
    cargo test --release --features objects -p pymalloc --no-fail-fast "${tests[@]}" -- "${left_out[@]}" "$@"
}

for what in "${@:-checks debug}"; do
    for one in $what; do "run_$one"; done
done
echo "guarded: all pass"
