//! Programs of allocator calls do what the naive oracle of `tests/oracle.rs` says, whatever the fuzzer makes
//! of them: by the global allocator, by heaps of their own, on one thread and on several.
//!
//! What fails is printed as a line for `REPLAY` in that file; what ends the process is, with
//! `PYMALLOC_FUZZ_SHOW=1 cargo +nightly fuzz run api_programs FILE`. `PYMALLOC_CONF=checks:on` guards every block.

use crate::{bytes, program, subjects};

/// Runs the program that `input` stands for.
///
/// # Panics
/// When the oracle says otherwise.
pub fn check(input: &[u8]) {
    let (kind, program) = bytes::decode(input);
    let line = || format!("    (\"{kind}\", \"{}\"),", program::text(&program));
    if std::env::var_os("PYMALLOC_FUZZ_SHOW").is_some() {
        eprintln!("{}", line());
    }
    if let Err(problem) = subjects::execute(kind, &program) {
        panic!("{problem}\n{}", line());
    }
}
