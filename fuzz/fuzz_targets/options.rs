//! libFuzzer's inputs for the check of `tests/fuzzed/src/options_check.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| pymalloc_fuzzed::options(input));
