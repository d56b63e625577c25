//! `pymalloc mem`: memory over time.
//!
//! ```text
//! program ─► /proc/PID/statm, by a thread, every interval ─► MEM lines
//!    └─────► with --blocks a recording ─► live bytes over time, marks ─► FUNC lines
//! ```

use crate::args::Mem;
use crate::child::{self, WatchError};
use crate::failure::Failure;
use crate::profile::picture;
use crate::profile::plot::{self, Curve, Span};
use crate::profile::usage::{self, Profile};
use crate::profile::why::ARENA_BYTES;
use crate::recording::format::MarkKind;
use crate::recording::read;
use crate::system::{self, Ended};
use crate::units::bytes;
use crate::{library, run, target};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant, SystemTime};

/// What a process had resident at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Sample {
    /// Seconds since 1970.
    time: f64,
    /// Bytes.
    resident: u64,
}

const MIB: f64 = (1 << 20) as f64;

/// Runs what was asked; the program's exit status.
pub fn mem(options: &Mem) -> Result<i32, Failure> {
    let program = &options.program;
    let target = target::resolve(&program.name)?;
    let library = library::find(options.lib.as_deref())?;
    let output = output(options);
    // What cannot be written is better known before the program runs.
    let plot = options.plot.as_deref();
    let plot = plot.map(|path| picture::kind(path).map(|kind| (path, kind)));
    let plot = plot.transpose()?;
    write(&output, b"")?;
    if let Some((path, _)) = plot {
        write(path, b"")?;
    }
    let mut command = run::command(program, &target, &library);
    let recording = options.blocks.then(|| beside(&output));
    if let Some(recording) = &recording {
        command.env("PYMALLOC_RECORD", recording);
        command.env("PYMALLOC_TRACE", "0");
    }
    let mask = system::block_signals();
    let (stop, stopped) = channel::<()>();
    let (interval, follow) = (options.interval, options.follow);
    let mut sampler = None;
    let started = |pid| {
        sampler = Some(std::thread::spawn(move || {
            samples(pid, follow, interval, &stopped)
        }))
    };
    let watched = child::watch_from(&mut command, &mask, started);
    drop(stop);
    let outcome = watched.map_err(|error| match error {
        WatchError::Start(error) => Failure::Start(target.file.clone(), error),
        WatchError::Wait(error) => Failure::Wait(error),
    })?;
    let samples = sampler
        .and_then(|thread| thread.join().ok())
        .unwrap_or_default();
    let profile = recording.as_deref().and_then(recorded);
    let data = dat(options, &samples, profile.as_ref());
    write(&output, data.as_bytes())?;
    if let Some((path, kind)) = plot {
        let title = format!("{}: memory over time", program.name.display());
        let svg = drawn(&title, &samples, profile.as_ref());
        let bytes = picture::file(kind, svg, |svg| plot::page(&title, svg))?;
        write(path, &bytes)?;
    }
    let most = samples
        .iter()
        .map(|sample| sample.resident)
        .max()
        .unwrap_or(0);
    let text = format!(
        "pymalloc: {}: {} samples, at most {} resident (the kernel saw {})\n",
        output.display(),
        samples.len(),
        bytes(most),
        bytes(outcome.usage.max_resident_bytes)
    );
    // The program has run; that the words find no reader does not change its status.
    let _ = io::stderr().lock().write_all(text.as_bytes());
    match outcome.ended {
        Ended::Status(status) => Ok(status),
        Ended::Signal(signal) => system::die_of(signal),
    }
}

fn output(options: &Mem) -> PathBuf {
    options.output.clone().unwrap_or_else(|| {
        let mut name = OsString::from(
            Path::new(&options.program.name)
                .file_name()
                .unwrap_or_default(),
        );
        name.push(".dat");
        name.into()
    })
}

/// The recording of `--blocks`; removed once it was read.
fn beside(output: &Path) -> PathBuf {
    let mut name = OsString::from(output);
    name.push(format!(".{}.pmrec", std::process::id()));
    std::path::absolute(&name).unwrap_or_else(|_| name.into())
}

fn recorded(path: &Path) -> Option<Profile> {
    let profile = read::seal(path).and_then(|()| usage::profile(path, 1)).ok();
    let _ = std::fs::remove_file(path);
    profile
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, bytes).map_err(|error| Failure::Write(path.to_owned(), error))
}

fn now() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

/// The time between two samples when none was asked for: a fiftieth of the time so far, so that short programs
/// have a curve, too, and a tenth of a second at most.
fn usual_interval(since: Duration) -> Duration {
    (since / 50).clamp(Duration::from_millis(1), Duration::from_millis(100))
}

/// Samples a process, and with `follow` those it started, until the channel's other end is gone.
fn samples(
    pid: u32,
    follow: bool,
    interval: Option<Duration>,
    stopped: &Receiver<()>,
) -> Vec<Sample> {
    let begin = Instant::now();
    let resident_bytes = |pid| match follow {
        true => system::resident_bytes_of_all(pid),
        false => system::resident_bytes(pid),
    };
    let mut samples = Vec::new();
    loop {
        if let Some(resident) = resident_bytes(pid).filter(|resident| *resident > 0) {
            let time = now();
            samples.push(Sample { time, resident });
        }
        let interval = interval.unwrap_or_else(|| usual_interval(begin.elapsed()));
        match stopped.recv_timeout(interval) {
            Err(RecvTimeoutError::Timeout) => {}
            _ => return samples,
        }
    }
}

/// A part of the program's life that it marked.
struct Marked {
    name: String,
    level: usize,
    /// Seconds since 1970 and bytes, at both ends.
    from: (f64, f64),
    to: (f64, f64),
}

/// What was marked with begin and end, by thread; what never ended is left out.
fn marked(profile: &Profile, samples: &[Sample]) -> Vec<Marked> {
    let start = profile.contents.header.start_unix_ms as f64 / 1000.0;
    let mut open: Vec<(u32, u32, f64)> = Vec::new();
    let mut found = Vec::new();
    for mark in &profile.usage.marks {
        let time = start + mark.moment.time_ms as f64 / 1000.0;
        match mark.kind {
            MarkKind::Point => {}
            MarkKind::Begin => open.push((mark.thread, mark.name, time)),
            MarkKind::End => {
                let is_it =
                    |entry: &(u32, u32, f64)| (entry.0, entry.1) == (mark.thread, mark.name);
                let Some(place) = open.iter().rposition(is_it) else {
                    continue;
                };
                let (thread, name, began) = open.remove(place);
                let names = &profile.contents.tables.marks;
                found.push(Marked {
                    name: names.get(name as usize).cloned().unwrap_or_default(),
                    level: open.iter().filter(|entry| entry.0 == thread).count(),
                    from: (began, resident_at(samples, began)),
                    to: (time, resident_at(samples, time)),
                });
            }
        }
    }
    found
}

/// Bytes resident at the sample before `time`, or at the first.
fn resident_at(samples: &[Sample], time: f64) -> f64 {
    let after = samples.partition_point(|sample| sample.time <= time);
    let sample = samples.get(after.saturating_sub(1));
    sample.map_or(0.0, |sample| sample.resident as f64)
}

/// The samples as mprof's data file.
fn dat(options: &Mem, samples: &[Sample], profile: Option<&Profile>) -> String {
    let words = std::iter::once(&options.program.name).chain(&options.program.args);
    let line: Vec<_> = words.map(|word| word.display().to_string()).collect();
    let mut text = format!("CMDLINE {}\n", line.join(" ").replace('\n', " "));
    for sample in samples {
        let _ = writeln!(
            text,
            "MEM {:.6} {:.4}",
            sample.resident as f64 / MIB,
            sample.time
        );
    }
    for part in profile
        .map(|profile| marked(profile, samples))
        .unwrap_or_default()
    {
        // mprof's fields are parted by spaces.
        let name = part.name.replace(char::is_whitespace, "_");
        let _ = writeln!(
            text,
            "FUNC {name} {:.4} {:.4} {:.4} {:.4} {}",
            part.from.1 / MIB,
            part.from.0,
            part.to.1 / MIB,
            part.to.0,
            part.level
        );
    }
    text
}

/// The picture, as SVG.
fn drawn(title: &str, samples: &[Sample], profile: Option<&Profile>) -> String {
    let start = samples.first().map_or(0.0, |sample| sample.time);
    let mut curves = vec![Curve {
        name: "resident",
        colour: "#1f77b4",
        points: samples
            .iter()
            .map(|sample| (sample.time - start, sample.resident as f64))
            .collect(),
    }];
    let mut spans = Vec::new();
    if let Some(profile) = profile {
        let offset = profile.contents.header.start_unix_ms as f64 / 1000.0 - start;
        let points = profile.usage.timeline.iter().map(|moment| {
            let time = offset + moment.time_ms as f64 / 1000.0;
            (time.max(0.0), moment.live.bytes as f64)
        });
        curves.push(Curve {
            name: "in live blocks",
            colour: "#d62728",
            points: points.collect(),
        });
        let points = profile.usage.timeline.iter().map(|moment| {
            let time = offset + moment.time_ms as f64 / 1000.0;
            (time.max(0.0), (moment.arenas * ARENA_BYTES) as f64)
        });
        curves.push(Curve {
            name: "arenas with a live block",
            colour: "#2ca02c",
            points: points.collect(),
        });
        spans = marked(profile, samples)
            .into_iter()
            .map(|part| Span {
                name: part.name,
                level: part.level,
                from: part.from.0 - start,
                to: part.to.0 - start,
            })
            .collect();
    }
    plot::svg(title, &curves, &spans)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_programs_are_sampled_more_often() {
        let after = |ms| usual_interval(Duration::from_millis(ms)).as_micros();
        assert_eq!([after(0), after(200), after(60_000)], [1000, 4000, 100_000]);
    }

    #[test]
    fn a_moment_between_samples_has_the_memory_of_the_one_before() {
        let sample = |time, resident| Sample { time, resident };
        let samples = [sample(1.0, 10), sample(2.0, 20)];
        let at = |time| resident_at(&samples, time);
        assert_eq!(
            [at(0.5), at(1.0), at(1.9), at(5.0)],
            [10.0, 10.0, 10.0, 20.0]
        );
        assert_eq!(resident_at(&[], 1.0), 0.0);
    }
}
