//! The allocator gives every block the address CPython 3.11.7 gave it.
//!
//! Replays every recording of `tests/data`, and of the folder `PYMALLOC_TRACES` if that is set, and
//! compares each address, each arena event, each statistic at each checkpoint, and the final
//! `_debugmallocstats` text byte for byte. One line per file says what was compared.
//!
//! ```text
//! PYMALLOC_TRACES=/path/to/more cargo test --release --test conformance
//! ```

#[path = "../support/mod.rs"]
mod support;

mod driver;
mod mutations;
mod random;
mod reader;
mod shipped;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use support::model::Model;
use support::pymt::{ExcessRule, Recording};
use support::replay::{compare_report, replay};
use support::subject::Subject;

/// The recordings every checkout has.
const SHARED: [&str; 4] = ["startup_exit", "regex_tokenize", "frag_churn", "waves"];

/// The engine that ships, new and empty, under the CPython geometry, with arenas that lie as the
/// `excess_rule` says.
fn shipped(excess_rule: ExcessRule) -> impl Subject {
    shipped::Shipped::new(excess_rule)
}

#[test]
fn every_block_gets_the_address_cpython_gave_it() {
    let shared = shared_folder();
    let mut files: Vec<_> = SHARED
        .iter()
        .map(|name| shared.join(format!("{name}.pymt.gz")))
        .collect();
    if let Some(folder) = std::env::var_os("PYMALLOC_TRACES") {
        files.extend(recordings_in(Path::new(&folder)).expect("PYMALLOC_TRACES"));
    }
    let failures: Vec<_> = files
        .iter()
        .filter_map(|file| replay_file(file, shipped).err())
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {} files:\n{}",
        failures.len(),
        files.len(),
        failures.join("\n")
    );
}

#[test]
fn the_naive_model_gives_every_block_its_address_too() {
    for name in SHARED {
        let recording = open_shared(name);
        let mut model = Model::new(recording.excess_rule, None);
        replay(&recording, &mut model).unwrap_or_else(|divergence| panic!("{name}: {divergence}"));
        let expected =
            std::fs::read_to_string(shared_folder().join(format!("{name}.stats.txt"))).unwrap();
        compare_report(&recording, &model, &expected).unwrap();
    }
}

#[test]
fn a_traces_folder_without_recordings_is_refused() {
    for (folder, problem) in [
        ("", "set but empty"),
        ("/no/such/folder", "cannot list /no/such/folder"),
        (env!("CARGO_MANIFEST_DIR"), "no *.pymt.gz in "),
    ] {
        let error = recordings_in(Path::new(folder)).unwrap_err();
        assert!(error.contains(problem), "{error}");
    }
}

/// Replays one file into a new subject and writes its line; the line is also the error.
fn replay_file<S: Subject>(file: &Path, new: impl Fn(ExcessRule) -> S) -> Result<(), String> {
    let name = file
        .file_name()
        .expect("a recording has a name")
        .to_string_lossy();
    let name = name.trim_end_matches(".pymt.gz");
    let outcome = (|| {
        let recording = Recording::open(file).map_err(|error| error.to_string())?;
        let mut subject = new(recording.excess_rule);
        let compared =
            replay(&recording, &mut subject).map_err(|divergence| divergence.to_string())?;
        let report = file.with_file_name(format!("{name}.stats.txt"));
        if !report.exists() {
            return Ok(format!(
                "{compared}: identical ({name}.stats.txt is missing: report not compared)"
            ));
        }
        let expected = std::fs::read_to_string(&report).map_err(|error| error.to_string())?;
        compare_report(&recording, &subject, &expected)
            .map_err(|divergence| divergence.to_string())?;
        Ok(format!("{compared}: identical"))
    })();
    let (Ok(text) | Err(text)) = &outcome;
    let line = format!("{name}: {text}");
    // The harness captures print! and eprint! of tests that pass, but not writes to the stream itself.
    writeln!(std::io::stderr(), "{line}").expect("standard error is open");
    outcome.map(drop).map_err(|_: String| line)
}

/// Every `*.pymt.gz` of a folder, sorted; an error if there is none.
fn recordings_in(folder: &Path) -> Result<Vec<PathBuf>, String> {
    if folder.as_os_str().is_empty() {
        return Err("set but empty; name a folder with *.pymt.gz files, or unset it".to_owned());
    }
    let cannot = |error| format!("cannot list {}: {error}", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        if path.to_string_lossy().ends_with(".pymt.gz") {
            files.push(path);
        }
    }
    files.sort();
    match files.is_empty() {
        true => Err(format!("no *.pymt.gz in {}", folder.display())),
        false => Ok(files),
    }
}

fn shared_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// One of [`SHARED`].
fn open_shared(name: &str) -> Recording {
    let file = shared_folder().join(format!("{name}.pymt.gz"));
    Recording::open(&file).unwrap_or_else(|error| panic!("{name}: {error}"))
}
