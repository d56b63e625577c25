//! What `gc` measured, in the form it is saved.

use super::KIND;
use crate::stats::Summary;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// One process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The row.
    pub workload: String,
    /// The column.
    pub contender: String,
    /// Nanoseconds of CPU per object, bytes, or microseconds.
    pub value: Option<f64>,
    /// More figures, by name.
    #[serde(default)]
    pub more: Vec<(String, f64)>,
    /// Why there is no value.
    #[serde(default)]
    pub why: Option<String>,
}

/// One run, or a part of one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Samples {
    /// [`KIND`].
    pub kind: String,
    /// What was asked for.
    pub command: String,
    /// Where it ran.
    pub machine: String,
    /// When it began, UTC.
    pub started: String,
    /// In the order they were taken.
    pub taken: Vec<Sample>,
}

impl Samples {
    fn of<'a>(&'a self, workload: &str, contender: &str) -> impl Iterator<Item = &'a Sample> {
        let is_of = |sample: &&Sample| sample.workload == workload && sample.contender == contender;
        self.taken
            .iter()
            .filter(is_of)
            .collect::<Vec<_>>()
            .into_iter()
    }

    /// Median and spread of a contender's samples of a workload.
    pub fn summary(&self, workload: &str, contender: &str) -> Option<Summary> {
        let values: Vec<_> = self
            .of(workload, contender)
            .filter_map(|s| s.value)
            .collect();
        Summary::of(&values)
    }

    /// The median.
    pub fn median(&self, workload: &str, contender: &str) -> Option<f64> {
        Some(self.summary(workload, contender)?.median)
    }

    /// Why a contender has no value for a workload, if it was asked.
    pub fn why(&self, workload: &str, contender: &str) -> Option<&str> {
        self.of(workload, contender).find_map(|s| s.why.as_deref())
    }

    /// Whether a contender was asked for a workload and did not do it.
    pub fn failed(&self, workload: &str, contender: &str) -> bool {
        self.why(workload, contender).is_some()
    }

    /// The medians of the figures beside the value, in the order they came.
    pub fn more(&self, workload: &str, contender: &str) -> Vec<(String, f64)> {
        let mut names: Vec<&str> = Vec::new();
        let all = || self.of(workload, contender).flat_map(|s| &s.more);
        for (name, _) in all() {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        let median = |name: &str| {
            let values: Vec<_> = all().filter(|more| more.0 == name).map(|m| m.1).collect();
            Summary::of(&values).map(|summary| (name.to_owned(), summary.median))
        };
        names.into_iter().filter_map(median).collect()
    }

    /// Several parts as one.
    pub fn merge(parts: &[Samples]) -> Samples {
        let mut all = Samples::default();
        for part in parts {
            all.taken.extend(part.taken.iter().cloned());
        }
        all
    }

    /// Reads a saved file.
    ///
    /// # Errors
    /// When it cannot be read, or is something else.
    pub fn load(path: &Path) -> Result<Samples, String> {
        let fail = |why: String| format!("{}: {why}", path.display());
        let text = fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
        let read: Samples =
            serde_json::from_str(&text).map_err(|e| fail(format!("not saved samples: {e}")))?;
        if read.kind == KIND {
            Ok(read)
        } else {
            Err(fail(format!("samples of `{}`, not of `{KIND}`", read.kind)))
        }
    }

    /// Writes it; a reader sees the old file or the new one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), String> {
        let fail = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = serde_json::to_string(self).map_err(|error| fail(&error))?;
        let part = path.with_extension("part");
        fs::write(&part, text)
            .and_then(|()| fs::rename(&part, path))
            .map_err(|error| fail(&error))
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Samples by workload and contender.
    pub fn samples(all: &[(&str, &str, f64)]) -> Samples {
        let taken = all.iter().map(|(workload, contender, value)| Sample {
            workload: (*workload).into(),
            contender: (*contender).into(),
            value: Some(*value),
            ..Sample::default()
        });
        Samples {
            kind: KIND.into(),
            taken: taken.collect(),
            ..Samples::default()
        }
    }

    #[test]
    fn parts_of_a_run_are_saved_read_back_and_merged() {
        let mut first = samples(&[("a", "x", 1.0), ("a", "x", 5.0)]);
        first.taken[0].more = vec![("pauses".into(), 7.0)];
        let mut second = samples(&[("a", "x", 2.0)]);
        second.taken.push(Sample {
            workload: "a".into(),
            contender: "y".into(),
            why: Some("cannot".into()),
            ..Sample::default()
        });
        let path = std::env::temp_dir().join(format!("gc-{}.json", std::process::id()));
        first.save(&path).unwrap();
        let read = Samples::load(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(read, first);
        let all = Samples::merge(&[read, second]);
        assert_eq!(all.median("a", "x"), Some(2.0));
        assert_eq!(all.more("a", "x"), [("pauses".to_owned(), 7.0)]);
        assert!(all.failed("a", "y") && !all.failed("a", "x"));
        assert_eq!(all.median("a", "y"), None);
    }
}
