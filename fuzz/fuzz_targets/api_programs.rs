//! Programs of allocator calls do what the naive oracle of `tests/oracle.rs` says, whatever the fuzzer makes
//! of them: by the global allocator, by heaps of their own, on one thread and on several.
//!
//! What fails is printed as a line for `REPLAY` in that file; what ends the process is, with
//! `PYMALLOC_FUZZ_SHOW=1 cargo +nightly fuzz run api_programs FILE`. `PYMALLOC_CONF=checks:on` guards every block.

#![no_main]
#![allow(dead_code, reason = "the tests use the rest of these files")]

#[path = "../../tests/oracle/bytes.rs"]
mod bytes;
#[path = "../../tests/oracle/program.rs"]
mod program;
#[path = "../../tests/support/rng.rs"]
mod rng;
#[path = "../../tests/oracle/run.rs"]
mod run;
#[path = "../../tests/oracle/subjects.rs"]
mod subjects;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let (kind, program) = bytes::decode(input);
    let line = || format!("    (\"{kind}\", \"{}\"),", program::text(&program));
    if std::env::var_os("PYMALLOC_FUZZ_SHOW").is_some() {
        eprintln!("{}", line());
    }
    if let Err(problem) = subjects::execute(kind, &program) {
        panic!("{problem}\n{}", line());
    }
});
