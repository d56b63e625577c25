//! What holds for any input: each check takes bytes and panics when a promise is broken.
//!
//! ```text
//! fuzz/fuzz_targets/NAME.rs   libFuzzer makes inputs      ──► programs, options, recording
//! fuzz/corpus/NAME/           inputs that were worth it   ──► the same, by tests/ of this package
//! ```
//!
//! The files under test are the shipped ones, named here as they name each other.
#![allow(
    dead_code,
    unused_imports,
    missing_docs,
    reason = "whole files of the library and its tests, of which a check uses a part"
)]

#[path = "../../../src/sync/mod.rs"]
mod sync;

#[path = "../../../src/os/mod.rs"]
mod os;

#[path = "../../../src/obmalloc/mod.rs"]
mod obmalloc;

#[path = "../../../src/global/options.rs"]
mod options;

#[path = "../../../src/observe/recording/mod.rs"]
mod recording;

#[path = "../../oracle/bytes.rs"]
mod bytes;

#[path = "../../oracle/program.rs"]
mod program;

#[path = "../../support/rng.rs"]
mod rng;

#[path = "../../oracle/run.rs"]
mod run;

#[path = "../../oracle/subjects.rs"]
mod subjects;

mod options_check;
mod programs_check;
mod recording_check;

pub use options_check::check as options;
pub use programs_check::check as programs;
pub use recording_check::check as recording;

use std::path::Path;

/// Runs `check` on every input that is kept for the fuzz target `name`. How many there are.
///
/// # Panics
/// When one breaks a promise: then its file is on standard error.
pub fn corpus(name: &str, check: impl Fn(&[u8])) -> usize {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let files = std::fs::read_dir(corpus.join(name)).expect("the corpus is in the repository");
    let mut n = 0;
    for file in files {
        let path = file.expect("a folder that can be read").path();
        let input = std::fs::read(&path).expect("a file that can be read");
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&input)));
        if let Err(problem) = checked {
            eprintln!("the input is {}", path.display());
            std::panic::resume_unwind(problem);
        }
        n += 1;
    }
    n
}
