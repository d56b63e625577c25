//! The samples of one run, in the form they are saved: everything the report needs, nothing computed.

use crate::execute;
use pymalloc_bench::outcome::Outcome;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// What was measured: in process, by preload, instructions of crates, instructions of preloaded
/// libraries, a recording replayed by either; collectors, whose samples are another type's. Also the beginning
/// of the file's name.
pub const KINDS: [&str; 7] = [
    "run",
    "preload",
    "instructions",
    "cinstructions",
    "replay",
    "creplay",
    "gc",
];

/// One run of the suite.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Session {
    /// One of [`KINDS`].
    pub kind: String,
    /// The command line, as a user would type it.
    pub command: String,
    /// Where it ran.
    pub machine: String,
    /// When it began, UTC.
    pub started: String,
    /// The allocators, in the order of the tables.
    pub columns: Vec<Column>,
    /// What could not be measured, and how to change that.
    pub left_out: Vec<String>,
    /// What else there is to say at the top of the report.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The workloads, in the order of the tables.
    pub rows: Vec<Row>,
    /// In the order they were taken.
    pub samples: Vec<Sample>,
}

/// An allocator.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its version, or the path of the library.
    pub version: String,
}

/// A workload.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// The heading it stands under; one geometric mean each.
    pub group: String,
    /// What one operation is.
    pub unit: String,
}

/// One process.
#[derive(Debug, Serialize, Deserialize)]
pub struct Sample {
    /// Name of the workload.
    pub row: String,
    /// Name of the allocator.
    pub column: String,
    /// Counted from 0.
    pub round: u32,
    /// What was measured, or why nothing was.
    pub result: Result<Outcome, String>,
}

impl Session {
    /// A figure of every sample of a workload under an allocator, in the order of the rounds.
    pub fn values(
        &self,
        row: &str,
        column: &str,
        figure: impl Fn(&Outcome) -> Option<f64>,
    ) -> Vec<f64> {
        self.outcomes(row, column).filter_map(figure).collect()
    }

    /// Every outcome of a workload under an allocator, in the order of the rounds.
    pub fn outcomes(&self, row: &str, column: &str) -> impl Iterator<Item = &Outcome> {
        let of = move |s: &&Sample| s.row == row && s.column == column;
        self.samples
            .iter()
            .filter(of)
            .filter_map(|s| s.result.as_ref().ok())
    }

    /// Why runs of a workload under an allocator gave nothing.
    pub fn failures(&self, row: &str, column: &str) -> impl Iterator<Item = &str> {
        let of = move |s: &&Sample| s.row == row && s.column == column;
        let samples = self.samples.iter().filter(of);
        samples.filter_map(|s| s.result.as_ref().err().map(String::as_str))
    }

    /// What a table says of them: that one hung, or that all failed.
    pub fn trouble(&self, row: &str, column: &str) -> Option<&'static str> {
        let mut failures = self.failures(row, column).peekable();
        let all_failed = failures.peek().is_some() && self.outcomes(row, column).next().is_none();
        match failures.any(execute::is_hang) {
            true => Some("hangs"),
            false => all_failed.then_some("failed"),
        }
    }

    /// The headings in the order of their first row.
    pub fn groups(&self) -> Vec<&str> {
        let mut groups: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !groups.contains(&row.group.as_str()) {
                groups.push(&row.group);
            }
        }
        groups
    }

    /// Reads a saved session.
    pub fn load(path: &Path) -> Result<Session, String> {
        let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        serde_json::from_str(&text)
            .map_err(|e| format!("{}: not saved samples: {e}", path.display()))
    }

    /// Writes it; a reader sees the old file or the new one.
    pub fn save(&self, path: &Path) -> Result<(), String> {
        let fail = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
        let text = serde_json::to_string(self).map_err(|e| fail(&e))?;
        let part = path.with_extension("part");
        fs::write(&part, text)
            .and_then(|()| fs::rename(&part, path))
            .map_err(|e| fail(&e))
    }

    /// Where a session that starts now is saved.
    pub fn new_path(&self) -> Result<PathBuf, String> {
        Ok(folder()?.join(format!("{}-{}.json", self.kind, self.started)))
    }
}

/// The workspace's root.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("benches/ lies in the workspace")
}

/// `target/bench`, made if need be.
pub fn folder() -> Result<PathBuf, String> {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace().join("target"), PathBuf::from);
    let folder = target.join("bench");
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    Ok(folder)
}

/// A folder in it for inputs that are made once.
pub fn inputs() -> Result<PathBuf, String> {
    let inputs = folder()?.join("inputs");
    fs::create_dir_all(&inputs).map_err(|e| format!("{}: {e}", inputs.display()))?;
    Ok(inputs)
}

/// The newest saved session of each kind.
pub fn newest() -> Result<Vec<PathBuf>, String> {
    let folder = folder()?;
    let entries = fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|e| e.file_name().into_string().ok())
        .collect();
    names.sort();
    let last = |kind: &&str| {
        let of_kind =
            |name: &&String| name.starts_with(&format!("{kind}-")) && name.ends_with(".json");
        names
            .iter()
            .rev()
            .find(of_kind)
            .map(|name| folder.join(name))
    };
    let files: Vec<PathBuf> = KINDS.iter().filter_map(last).collect();
    if files.is_empty() {
        return Err(format!(
            "no saved samples in {}; make some with `run` or `preload`",
            folder.display()
        ));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_session_reads_back_with_its_failures() {
        let sample = |round, result| Sample {
            row: "w".into(),
            column: "a".into(),
            round,
            result,
        };
        let session = Session {
            samples: vec![
                sample(
                    0,
                    Ok(Outcome {
                        ops: 2,
                        cpu_ns: 10,
                        ..Outcome::default()
                    }),
                ),
                sample(1, Err("no".into())),
            ],
            ..Session::default()
        };
        let path = std::env::temp_dir().join(format!("pymalloc-bench-{}.json", std::process::id()));
        session.save(&path).unwrap();
        let read = Session::load(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(read.values("w", "a", |o| Some(o.cpu_per_op())), [5.0]);
        assert_eq!(read.samples[1].result, Err("no".into()));
    }
}
