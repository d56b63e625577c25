//! `replay FILE`: a recording made by `pymalloc record`, replayed under every allocator of the report.
//!
//! ```text
//! pymalloc record PROG…  →  PROG.pmrec  →  calls by thread (script)  →  worker-NAME replay
//!                                                                    LD_PRELOAD=… worker-system replay
//! ```

use crate::cli::{Part, ReplayArgs, RunArgs};
use crate::order::{self, Place};
use crate::patience::Patience;
use crate::recording::decode::{Event, Step};
use crate::recording::read::{self, End};
use crate::run::{command_line, progress};
use crate::session::{self, Row, Sample, Session};
use crate::{execute, in_process, machine, preload, report};
use pymalloc_bench::catalogue::OURS;
use pymalloc_bench::outcome::Outcome;
use pymalloc_bench::script::Script;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A column: a worker, and the library that serves its `malloc` unless its allocator is linked in.
struct Column {
    column: session::Column,
    worker: PathBuf,
    library: Option<PathBuf>,
}

/// Converts; then measures, saves and reports, with the crates first, then with the preload libraries.
///
/// # Errors
/// When the file is no recording, holds no call, or a worker cannot be built.
pub fn run(args: &ReplayArgs) -> Result<(), String> {
    let run_args = args.run_args();
    in_process::check_peers(&run_args, &preload::library::names(&args.so))?;
    let inputs = session::inputs()?;
    let calls = inputs.join(format!("replay-{}.calls", std::process::id()));
    let notes = convert(&args.file, &calls)?;
    let result = measure_all(args, &run_args, &inputs, &calls, &notes);
    // It can be made again, and may be large.
    std::fs::remove_file(&calls).map_err(|e| format!("{}: {e}", calls.display()))?;
    result
}

fn measure_all(
    args: &ReplayArgs,
    run_args: &RunArgs,
    inputs: &Path,
    calls: &Path,
    notes: &[String],
) -> Result<(), String> {
    if run_args.has(Part::InProcess) {
        let (contestants, left_out) = in_process::contestants(run_args)?;
        let columns = contestants.into_iter().map(|c| Column {
            column: c.column,
            worker: c.worker,
            library: None,
        });
        let title = "Recording, allocators in process";
        measure_part(
            args,
            "replay",
            title,
            columns.collect(),
            calls,
            notes,
            left_out,
        )?;
    }
    if run_args.has(Part::Preload) {
        let worker = in_process::worker_of_the_system(run_args)?;
        let mut left_out = Vec::new();
        let libraries = preload::library::find(run_args, inputs, &mut left_out)?;
        let libraries = run_args.common.peers(libraries, |l| &l.name);
        let columns = libraries.iter().map(|l| Column {
            column: preload::column(l),
            worker: worker.clone(),
            library: l.path.clone(),
        });
        let title = "Recording, allocators preloaded";
        measure_part(
            args,
            "creplay",
            title,
            columns.collect(),
            calls,
            notes,
            left_out,
        )?;
    }
    Ok(())
}

fn measure_part(
    args: &ReplayArgs,
    kind: &str,
    title: &str,
    columns: Vec<Column>,
    calls: &Path,
    notes: &[String],
    left_out: Vec<String>,
) -> Result<(), String> {
    let stem = args.file.file_stem().unwrap_or_default();
    let name = stem.to_string_lossy().into_owned();
    let mut session = Session {
        kind: kind.into(),
        command: command_line(),
        machine: machine::line(),
        started: machine::stamp(),
        columns: columns.iter().map(|c| c.column.clone()).collect(),
        left_out,
        notes: notes.to_vec(),
        rows: vec![Row {
            name: name.clone(),
            group: title.into(),
            unit: "call".into(),
        }],
        samples: Vec::new(),
    };
    let path = session.new_path()?;
    let mut patience = Patience::of_run(false, 3600);
    let started = Instant::now();
    let ours = columns.iter().position(|c| c.column.name == OURS);
    for round in 0..args.rounds {
        let order = order::columns(columns.len(), ours.unwrap_or(0), Place { row: 0, round });
        for (turn, column) in order.map(|i| &columns[i]).enumerate() {
            progress(started, round, args.rounds, turn, columns.len(), &name);
            let allocator = &column.column.name;
            let result = patience.run(&name, allocator, |limit| {
                measure(column, calls, limit, round == 0)
            });
            session.samples.extend(result.map(|result| Sample {
                row: name.clone(),
                column: allocator.clone(),
                round,
                result,
            }));
        }
        session.save(&path)?;
    }
    eprintln!("\rmeasured for {} s{:40}", started.elapsed().as_secs(), "");
    report::print(&session, &path)
}

fn measure(
    column: &Column,
    calls: &Path,
    limit: Duration,
    watched: bool,
) -> Result<Outcome, String> {
    let mut command = Command::new(&column.worker);
    command.args(["replay", "--settle", "--inputs"]).arg(calls);
    execute::without_tuning(&mut command);
    if let Some(library) = &column.library {
        command.env("LD_PRELOAD", library);
    }
    execute::outcome(&mut command, limit, watched)
}

/// Makes the file of calls; gives what there is to say about the recording.
fn convert(recording: &Path, calls: &Path) -> Result<Vec<String>, String> {
    let fail = |what: &dyn std::fmt::Display| format!("{}: {what}", recording.display());
    let mut script = Script::new();
    let contents = read::read(recording, |step| add(&mut script, step)).map_err(|e| fail(&e))?;
    if script.n_calls() == 0 {
        return Err(fail(&"the recording holds no call that can be replayed"));
    }
    let words = contents.tables.arguments.iter();
    let program: Vec<_> = words.map(|w| String::from_utf8_lossy(w)).collect();
    let mut notes = vec![format!(
        "Recorded: `{}`, {:.1} s, {} events; replayed: {} calls in {} threads, at most {:.1} MiB asked for at a time.",
        program.join(" "),
        contents.duration_ms as f64 / 1000.0,
        contents.events,
        script.n_calls(),
        script.n_threads(),
        script.most_bytes() as f64 / f64::from(1 << 20),
    )];
    match contents.end {
        End::Whole(_) => {}
        End::Open => {
            notes.push("The recording has no end: the program was killed, or still runs.".into())
        }
        other => notes.push(format!(
            "The recording is not whole ({other:?}); it is replayed as far as it goes."
        )),
    }
    script
        .write(calls)
        .map_err(|e| format!("{}: {e}", calls.display()))?;
    Ok(notes)
}

fn add(script: &mut Script, step: &Step) {
    match step.event {
        Event::Alloc {
            address,
            size,
            align,
            zeroed,
            ..
        } => script.alloc(step.thread, address, size, align, zeroed),
        Event::Free { address } => script.free(step.thread, address),
        Event::Resize { old, new, size, .. } => script.resize(step.thread, old, new, size),
        Event::Mark { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::encode::{Alloc, Chunk};
    use crate::recording::format::{CHUNK_BYTES, Ending, Header};

    /// A recording of two threads; without its end when it is `cut`.
    fn recording(cut: bool) -> Vec<u8> {
        let header = Header {
            has_stacks: false,
            pid: 1,
            parent: 0,
            start_unix_ms: 0,
            max_frames: 0,
            page_bytes: 4096,
            sample_bytes: 0,
        };
        let mut memory = Box::new([0; CHUNK_BYTES]);
        let mut chunk = Chunk::new(&mut memory, 0, false);
        chunk.program(b"/bin/prog");
        chunk.argument(b"prog");
        chunk.argument(b"--fast");
        let block = Alloc {
            address: 0x10_000,
            size: 3 << 20,
            align: 64,
            zeroed: true,
        };
        chunk.alloc(0, &block, 0);
        chunk.resize(1, 0x10_000, 0x20_000, 1 << 20, 0);
        chunk.free(0, 0x20_000);
        chunk.free(0, 0x30_000);
        chunk.time(2_500);
        if !cut {
            chunk.end(Ending::Exit, 4);
        }
        let mut file = header.to_bytes().to_vec();
        file.extend_from_slice(chunk.close());
        file
    }

    fn converted(name: &str, file: &[u8]) -> Result<Vec<String>, String> {
        let stem = format!("pymalloc-bench-{name}-{}", std::process::id());
        let [from, to] =
            ["pmrec", "calls"].map(|end| std::env::temp_dir().join(format!("{stem}.{end}")));
        std::fs::write(&from, file).unwrap();
        let notes = convert(&from, &to);
        std::fs::remove_file(&from).unwrap();
        if notes.is_ok() {
            std::fs::remove_file(&to).unwrap();
        }
        notes
    }

    #[test]
    fn the_report_says_what_was_recorded() {
        let notes = converted("whole", &recording(false)).unwrap();
        assert_eq!(notes.len(), 1, "{notes:?}");
        for part in ["`prog --fast`", "2.5 s", "3 calls in 2 threads", "3.0 MiB"] {
            assert!(notes[0].contains(part), "{part}: {}", notes[0]);
        }
    }

    #[test]
    fn a_recording_without_its_end_is_replayed_and_said_to_be_one() {
        let notes = converted("open", &recording(true)).unwrap();
        assert!(notes[1].contains("has no end"), "{notes:?}");
        let whole = recording(false);
        let notes = converted(
            "foreign",
            b"GIF89a, and more bytes than a header has, to be sure of it: 64",
        );
        assert!(notes.unwrap_err().contains("not a pymalloc recording"));
        let empty = converted("empty", &whole[..64]).unwrap_err();
        assert!(empty.contains("holds no call"), "{empty}");
    }
}
