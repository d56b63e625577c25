//! The C and C++ contract of malloc, kept by the preload library; the same programs on glibc are the
//! control, and pass-through mode keeps glibc's.

#[path = "c/harness.rs"]
mod harness;
#[path = "support/preload.rs"]
mod support;

use harness::{Arm, LIMIT, build, cases, command, library, run};
use std::path::{Path, PathBuf};

fn contract() -> PathBuf {
    let sources = [
        "cases.c",
        "contract_size.c",
        "contract_align.c",
        "contract_zero_errno.c",
        "contract_realloc.c",
        "contract_libc.c",
        "contract_random.c",
    ];
    build("contract", &sources, &[])
}

fn contract_cxx() -> PathBuf {
    build("contract_cxx", &["cases.c", "contract_cxx.cpp"], &[])
}

/// Every case in a process of its own, so that one failure hides no other.
fn every_case(program: &Path, arm: Arm, environment: &[(&str, &str)]) {
    let mut failures = Vec::new();
    for case in cases(program) {
        let mut command = command(arm, program);
        command.arg(&case).envs(environment.iter().copied());
        let run = run(command, LIMIT);
        if !run.status.success() || !run.stdout.ends_with(&format!("ok {case}\n")) {
            failures.push(format!(
                "{case}: {}\n{}{}",
                run.status, run.stdout, run.stderr
            ));
        }
    }
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    assert!(
        failures.is_empty(),
        "{name} on {arm:?} {environment:?}:\n{}",
        failures.join("\n")
    );
}

#[test]
fn the_c_contract_tests_pass_on_glibc() {
    every_case(
        &contract(),
        Arm::Glibc,
        &[("CONTRACT_OPERATIONS", "200000")],
    );
}

#[test]
fn the_c_contract_is_kept() {
    every_case(&contract(), Arm::Preload, &[]);
}

/// No pointer that libc makes with its own malloc reaches our free: it would be foreign.
#[test]
fn what_libc_hands_out_is_never_foreign() {
    for case in cases(&contract())
        .iter()
        .filter(|case| case.contains("libc"))
    {
        let mut command = command(Arm::Preload, &contract());
        command.arg(case).env("PYMALLOC_CONF", "foreign:abort");
        run(command, LIMIT).succeeded(case);
    }
}

#[test]
fn the_c_contract_is_kept_when_passing_through() {
    every_case(
        &contract(),
        Arm::PassThrough,
        &[("CONTRACT_OPERATIONS", "50000")],
    );
}

/// Cases that follow one another in one process meet each other's recycled memory.
#[test]
fn the_c_contract_is_kept_by_one_process_in_a_row() {
    let mut command = command(Arm::Preload, &contract());
    command.env("CONTRACT_OPERATIONS", "100000");
    run(command, LIMIT).succeeded("all cases in a row");
}

#[test]
fn the_cxx_contract_tests_pass_on_glibc() {
    every_case(&contract_cxx(), Arm::Glibc, &[]);
}

#[test]
fn the_cxx_contract_is_kept() {
    every_case(&contract_cxx(), Arm::Preload, &[]);
}

#[test]
fn the_cxx_contract_is_kept_when_passing_through() {
    every_case(&contract_cxx(), Arm::PassThrough, &[]);
}

/// The random oracle under a seed that nobody chose; it is printed with a failure.
fn refusals() -> PathBuf {
    build(
        "refusals",
        &["cases.c", "refusals.cpp"],
        // What is preloaded finds the program's own mmap.
        &["-rdynamic"],
    )
}

#[test]
fn what_the_system_refuses_is_borne_by_every_name() {
    // The control shows that the program is sound; nothing is refused there.
    every_case(&refusals(), Arm::Glibc, &[]);
    every_case(&refusals(), Arm::Preload, &[]);
}

#[test]
fn a_random_seed_finds_nothing() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seed = now
        .expect("the clock is past 1970")
        .subsec_nanos()
        .to_string();
    let mut command = command(Arm::Preload, &contract());
    command
        .env("CONTRACT_SEED", &seed)
        .env("CONTRACT_OPERATIONS", "200000");
    command.args([
        "random_operations_of_one_thread",
        "random_operations_of_four_threads_that_free_for_each_other",
    ]);
    run(command, LIMIT).succeeded(&format!("CONTRACT_SEED={seed}"));
}

/// The kernel maps file pages around the one that is touched, 64 KiB at a time, and they count as the program's. What
/// every program runs lies side by side (`src/shim/layout.ld`): a function that strays costs 64 KiB. What the loader
/// reads once is let go of. A linker that takes no layouts leaves all of it where it is, some of it resident.
#[test]
fn only_what_programs_run_and_read_of_the_library_is_resident() {
    let mut command = command(
        Arm::Preload,
        &build("text_resident", &["text_resident.c"], &["-pthread"]),
    );
    command.env_remove("PYMALLOC").env_remove("PYMALLOC_CONF");
    let said = run(command, LIMIT).succeeded("text_resident").stdout;
    let kib: Vec<u32> = said
        .split_whitespace()
        .map(|kib| kib.parse().expect("KiB"))
        .collect();
    let file = std::fs::read(library()).expect("the library");
    let is_laid_out = file.windows(14).any(|name| name == b".text.pymalloc");
    let most = if is_laid_out { [200, 100] } else { [500, 300] };
    assert!(
        kib.len() == 2 && (1..=most[0]).contains(&kib[0]) && (1..=most[1]).contains(&kib[1]),
        "resident of our code, and of what is only read: {kib:?} KiB, at most {most:?}"
    );
}

/// Programs that did not ask for the library are small, many of them: what they have lies in small pages, but for blocks
/// from 4 MiB on, and for a heap of one thread from 24 MiB on.
#[test]
fn what_is_large_lies_in_huge_pages() {
    let setting = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
    let mut command = command(Arm::Preload, &build("huge_pages", &["huge_pages.c"], &[]));
    command.env_remove("PYMALLOC").env_remove("PYMALLOC_CONF");
    let said = run(command, LIMIT).succeeded("huge_pages").stdout;
    let kib: Vec<u32> = said.lines().map(|kib| kib.parse().expect("KiB")).collect();
    let [none, at_3, at_6, at_20, at_32] = kib[..] else {
        panic!("{said}");
    };
    // Where the machine has all in small pages, or in huge ones, it is not ours to say.
    if setting.is_ok_and(|text| text.contains("[madvise]")) {
        assert_eq!((none, at_3), (0, 0), "{said}");
        assert!(
            at_6 >= 4096 && at_20 == at_6 && at_32 >= at_6 + 4096,
            "{said}"
        );
    }
}
