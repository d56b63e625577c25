//! What allocators bear, side by side: load, memory that runs out, misuse, and what comes back of memory that is
//! freed. Prints the table of the README, where the others are installed:
//!
//! `cargo test --release --test trust_table -- --nocapture --include-ignored`
//!
//! It takes a quarter of an hour; `PYMALLOC_TRUST_ARMS=jemalloc,mimalloc` keeps to the allocators whose names begin so.

#[path = "c/harness.rs"]
mod harness;
#[path = "support/preload.rs"]
mod support;
#[path = "misuse_table/tally.rs"]
#[allow(dead_code, reason = "the table of misuse alone uses the rest")]
mod tally;

use harness::{Run, build, cases, run};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tally::{Arm, Outcome, Tally};

/// Seconds a case may take: a hang of an allocator that knows nothing of forks is part of the answer.
const SECONDS: u64 = 120;
/// The harness's own limit, behind that.
const LIMIT: Duration = Duration::from_secs(SECONDS + 10);

/// Address space beyond what a program has when it starts, in MiB.
const LIMITS: [usize; 10] = [4, 8, 12, 16, 24, 32, 48, 64, 80, 96];

/// Cases that are run nowhere but on our library: they are no question to the others.
const OURS: [&str; 2] = [
    "a_handler_forks_among_threads",
    "handlers_fork_in_several_threads_at_once",
];

/// One case of a program on an allocator.
fn one(arm: &Arm, program: &Path, case: &str, settings: &[(&str, &str)]) -> Run {
    let mut command = Command::new("timeout");
    command.args(["-k", "1", &SECONDS.to_string(), "env"]);
    for variable in ["LD_PRELOAD", "PYMALLOC", "PYMALLOC_CONF", "TEST_ARM"] {
        command.env_remove(variable);
    }
    if let Some(library) = &arm.library {
        command.arg(format!("LD_PRELOAD={}", library.display()));
        let is_ours = *library == harness::library();
        command.arg(format!(
            "TEST_ARM={}",
            if is_ours { "preload" } else { "peer" }
        ));
    }
    for (name, value) in arm.options.iter().chain(settings) {
        command.arg(format!("{name}={value}"));
    }
    command.arg(program).arg(case);
    run(command, LIMIT)
}

fn held(run: &Run, case: &str) -> bool {
    run.status.success() && run.stdout.lines().any(|line| line == format!("ok {case}"))
}

/// Threads that come, go, fork, are cancelled and interrupted, all the time allocating, at full size: 20,000
/// short threads, 2,000 live ones, 500 forks among eight. The cases that failed, and the number of all.
fn load(arm: &Arm) -> (Vec<String>, usize) {
    let (mut failed, mut n) = (Vec::new(), 0);
    for source in ["life_threads", "life_fork", "life_signals"] {
        let program = build(source, &["cases.c", &format!("{source}.c")], &[]);
        for case in cases(&program) {
            if OURS.contains(&case.as_str()) {
                continue;
            }
            n += 1;
            if !held(&one(arm, &program, &case, &[]), &case) {
                failed.push(case);
            }
        }
    }
    (failed, n)
}

/// At how many limits of its address space a program gets null and ENOMEM, keeps what it has and goes on.
fn memory_out(arm: &Arm) -> usize {
    let (program, case) = (trust(), "memory_runs_out");
    let borne = |mib: &&usize| {
        let mib = mib.to_string();
        held(&one(arm, &program, case, &[("TRUST_MIB", &mib)]), case)
    };
    LIMITS.iter().filter(borne).count()
}

fn trust() -> std::path::PathBuf {
    build("trust", &["cases.c", "trust.c"], &[])
}

/// MiB resident: at most; when all but every 1000th block is freed; a second and a half later; when all are.
fn fragments(arm: &Arm) -> Option<[f64; 4]> {
    let run = one(arm, &trust(), "all_but_every_1000th_is_freed", &[]);
    let line = run
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("KiB "))?;
    let kib: Vec<f64> = line
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    let mib = |at: usize| Some(kib.get(at)?.min(1e9) / 1024.0);
    Some([mib(0)?, mib(1)?, mib(2)?, mib(3)?])
}

#[test]
fn our_library_bears_memory_that_runs_out() {
    let arm = Arm::ours("pymalloc", &[]);
    assert_eq!(memory_out(&arm), LIMITS.len());
}

#[test]
fn our_library_gives_back_what_lies_between_every_1000th_block() {
    let found = fragments(&Arm::ours("pymalloc", &[]));
    let [most, _, later, end] = found.expect("figures");
    println!("{most:.0} MiB, {later:.0} with every 1000th block, {end:.0} with none");
    // A pool of 16 KiB stays for each kept block, 1,000 in all, and what a list holds back.
    assert!(later < most / 4.0 && end < most / 8.0, "{found:?}");
}

#[test]
#[ignore = "prints the README's table; other allocators need not be installed, and some of them hang"]
fn table_of_all_allocators() {
    println!(
        "| allocator | load held | memory out borne | misuse caught | damage | MiB at most | but every 1000th freed | 1.5 s later | all freed |\n\
         |---|---|---|---|---|---|---|---|---|"
    );
    let wanted = std::env::var("PYMALLOC_TRUST_ARMS").unwrap_or_default();
    for arm in tally::all() {
        if !wanted.split(',').any(|name| arm.name.starts_with(name)) {
            continue;
        }
        if arm.library.as_ref().is_some_and(|path| !path.exists()) {
            println!("| {} | not installed |", arm.name);
            continue;
        }
        let (failed, n) = load(&arm);
        let misuse = Tally::of(&arm);
        let fragments = fragments(&arm).map_or("fails | | |".to_owned(), |figures| {
            figures.map(|mib| format!("{mib:.0}")).join(" | ")
        });
        println!(
            "| {} | {} of {n} | {} of {} | {} of 116 | {} | {fragments} |",
            arm.name,
            n - failed.len(),
            memory_out(&arm),
            LIMITS.len(),
            misuse.count(Outcome::Caught),
            misuse.count(Outcome::Damage),
        );
        if !failed.is_empty() {
            println!("<!-- {} fails {} -->", arm.name, failed.join(", "));
        }
    }
}
