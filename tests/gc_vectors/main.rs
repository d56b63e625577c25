//! Programs recorded from CPython's collector, replayed: every result, every event and the members of every
//! generation are equal.
//!
//! Within a phase CPython goes through its lists and we go through addresses, so events of one step are
//! compared as sets, and generations without order. One thing depends on that order visibly: an object that
//! another's finalizer drops to zero, and that resurrects itself, lands in generation 0 or in the older one by
//! who ran first. A program in which only such objects differ, and only in generation, is counted as
//! order-dependent; anything else fails, and so does more than 2 % of them.
//!
//! `PYMALLOC_VECTORS` names a folder with further recordings, `gc_vectors*.jsonl.gz`. `record.py` makes more: the
//! second test performs new programs in CPython 3.11 and here, as many as `PYMALLOC_GC_PROGRAMS` says, from the seed
//! `PYMALLOC_GC_SEED` on.

mod world;

use flate2::read::GzDecoder;
use pymalloc::gc;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::Command;
use world::World;

/// How a program went.
#[derive(PartialEq)]
enum Verdict {
    Equal,
    OrderDependent,
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

/// Performs one operation; its result, if it has one.
fn perform(world: &mut World, op: &[Value]) -> Option<Value> {
    let args: Vec<u64> = op[1..].iter().map(number).collect();
    match (op[0].as_str().expect("a name"), args.as_slice()) {
        ("new", [id, kind]) => world.new_node(*id, *kind),
        ("edge", [from, to]) => world.edge(*from, *to),
        ("unedge", [from]) => world.unedge(*from),
        ("drop", [id]) => world.drop_root(*id),
        ("wr", [node, tag]) => world.weak_outside(*node, *tag),
        ("wrin", [owner, node, tag]) => world.weak_inside(*owner, *node, *tag),
        ("wdrop", [tag]) => world.drop_weak(*tag),
        ("probe", []) => return Some(world.probe().into()),
        ("resdrop", []) => world.drop_survivors(),
        ("collect", [generation]) => {
            let found = gc::collect_generation(*generation as i32).expect("a generation");
            return Some(found.into());
        }
        other => panic!("unknown operation {other:?}"),
    }
    None
}

fn sorted(mut events: Vec<String>) -> Vec<String> {
    events.sort();
    events
}

/// Callbacks before the first finalizer: the first phase of a collection that runs user code.
fn first_phase(events: &[String]) -> Vec<String> {
    let callbacks = events.iter().take_while(|event| event.starts_with("cb"));
    sorted(callbacks.cloned().collect())
}

fn expected_events(step: &Value) -> Vec<String> {
    let events = step["ev"].as_array().map_or(&[][..], Vec::as_slice);
    events
        .iter()
        .map(|event| event.as_str().expect("an event").to_owned())
        .collect()
}

/// Compares generations; what differs must be self-resurrected nodes.
fn compare_generations(world: &World, step: &Value, seen: &[String]) -> Result<Verdict, String> {
    let Some(expected) = step["gens"].as_array() else {
        return Ok(Verdict::Equal);
    };
    let ours = world.generations();
    let mut verdict = Verdict::Equal;
    let (mut all_ours, mut all_theirs) = (Vec::<u64>::new(), Vec::<u64>::new());
    for (ours, theirs) in ours.iter().zip(expected) {
        let mut theirs: Vec<u64> = theirs
            .as_array()
            .expect("a list")
            .iter()
            .map(number)
            .collect();
        theirs.sort_unstable();
        let differs = |id: &&u64| ours.contains(id) != theirs.contains(id);
        for id in ours.iter().chain(&theirs).filter(differs) {
            if !world.resurrected(*id, seen) {
                return Err(format!("{id} differs: ours {ours:?}, CPython's {theirs:?}"));
            }
            verdict = Verdict::OrderDependent;
        }
        all_ours.extend(ours);
        all_theirs.extend(theirs);
    }
    all_ours.sort_unstable();
    all_theirs.sort_unstable();
    if all_ours != all_theirs {
        return Err(format!(
            "tracked: ours {all_ours:?}, CPython's {all_theirs:?}"
        ));
    }
    Ok(verdict)
}

fn run(program: &Value) -> Result<Verdict, String> {
    let mut world = World::default();
    let verdict = run_in(&mut world, program);
    world.end();
    verdict
}

fn run_in(world: &mut World, program: &Value) -> Result<Verdict, String> {
    let mut verdict = Verdict::Equal;
    let mut seen = Vec::new();
    for (index, step) in program["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .enumerate()
    {
        let at = |what: String| {
            format!(
                "seed {}, step {index}, {}: {what}",
                program["seed"], step["op"]
            )
        };
        let op = step["op"].as_array().expect("an operation");
        let result = perform(world, op);
        let events = world.outside.events.take();
        let theirs = expected_events(step);
        if result.as_ref() != step.get("ret") {
            return Err(at(format!(
                "returned {result:?}, CPython {:?}",
                step.get("ret")
            )));
        }
        if op[0] == "collect" && first_phase(&events) != first_phase(&theirs) {
            return Err(at(format!("phases {events:?}, CPython {theirs:?}")));
        }
        seen.extend(events.clone());
        if sorted(events.clone()) != sorted(theirs.clone()) {
            return Err(at(format!("events {events:?}, CPython {theirs:?}")));
        }
        if compare_generations(world, step, &seen).map_err(at)? == Verdict::OrderDependent {
            verdict = Verdict::OrderDependent;
        }
    }
    Ok(verdict)
}

fn replay(name: &str, recording: impl Read) {
    let lines = BufReader::new(recording).lines();
    let (mut n, mut n_order) = (0, 0);
    let mut failures = Vec::new();
    for line in lines {
        let program = serde_json::from_str(&line.expect("text")).expect("JSON");
        n += 1;
        match run(&program) {
            Ok(Verdict::Equal) => {}
            Ok(Verdict::OrderDependent) => n_order += 1,
            Err(failure) => failures.push(failure),
        }
        let left = gc::get_objects(None).expect("all generations");
        assert!(
            left.is_empty(),
            "seed {} leaves {} objects",
            program["seed"],
            left.len()
        );
    }
    println!("{name}: {n} programs compared, {n_order} order-dependent");
    let shown = failures
        .iter()
        .take(5)
        .cloned()
        .collect::<Vec<_>>()
        .join("\n");
    assert!(
        failures.is_empty(),
        "{} programs differ:\n{shown}",
        failures.len()
    );
    assert!(
        n >= 1 && n_order * 50 <= n.max(50),
        "{n_order} of {n} depend on order"
    );
}

fn recordings() -> Vec<PathBuf> {
    let shipped = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/gc_vectors.jsonl.gz"
    );
    let mut paths = vec![PathBuf::from(shipped)];
    if let Some(folder) = std::env::var_os("PYMALLOC_VECTORS") {
        let entries = std::fs::read_dir(&folder).expect("the folder PYMALLOC_VECTORS names");
        let mut more: Vec<_> = entries
            .map(|entry| entry.expect("an entry").path())
            .collect();
        let is_recording = |path: &PathBuf| {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            name.starts_with("gc_vectors") && name.ends_with(".jsonl.gz")
        };
        more.retain(is_recording);
        more.sort();
        assert!(!more.is_empty(), "no gc_vectors*.jsonl.gz in {folder:?}");
        paths.extend(more);
    }
    paths
}

#[test]
fn recorded_programs_give_cpythons_results() {
    gc::disable();
    for path in recordings() {
        let name = path.file_name().expect("a file").display().to_string();
        let file = File::open(path).expect("the recording");
        replay(&name, GzDecoder::new(file));
    }
}

/// A number from the environment.
fn asked(variable: &str, default: u32) -> u32 {
    std::env::var(variable).map_or(default, |text| text.parse().expect(variable))
}

#[test]
fn programs_made_now_give_cpythons_results() {
    gc::disable();
    let seed = asked("PYMALLOC_GC_SEED", 1_000_000);
    let n = asked("PYMALLOC_GC_PROGRAMS", 400);
    let recorder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gc_vectors/record.py");
    let output = Command::new("python3.11")
        .args(["-I", recorder, &seed.to_string(), &n.to_string()])
        .output()
        .expect("python3.11 is there");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(output.stdout.lines().count(), n as usize);
    replay(&format!("from seed {seed}"), output.stdout.as_slice());
}
