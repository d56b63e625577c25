//! Programs that run, found and interpreted as a shell would; programs that are refused.

use crate::fixture::{
    executable, file, folder, gcc, patched, permit, pymalloc, refuses, run, text,
};
use std::path::{Path, PathBuf};

/// Runs the file and returns what it printed.
#[track_caller]
fn prints(program: &Path, words: &[&str]) -> String {
    let output = run(false, program, words).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).to_owned()
}

/// The launcher refuses to run the file.
#[track_caller]
fn refused(program: &Path, status: i32, problem: &str) {
    for stats in [false, true] {
        let message = format!("{}: {problem}", program.display());
        refuses(&mut run(stats, program, &[]), status, &message);
    }
}

#[test]
fn a_program_that_is_not_there_is_127() {
    refused(Path::new("no-such-program"), 127, "no such program in PATH");
    refused(Path::new(""), 127, "no such program in PATH");
    refused(Path::new("./no-such-program"), 127, "no such program");
    refused(&file("probe/below-a-file"), 127, "no such program");
}

#[test]
fn what_cannot_be_executed_is_126() {
    refused(folder(), 126, "is a directory");
    let text_file = executable("text", b"echo\n");
    permit(&text_file, 0o644);
    refused(&text_file, 126, "not executable");
    refused(Path::new("/dev/null"), 126, "not executable");
    permit(&file("object"), 0o755);
    refused(&file("object"), 126, "neither an executable nor a script");
    refused(
        &executable("junk", b"\x00\x01\x02\n"),
        126,
        "neither an executable nor a script",
    );
    let mut by_path = pymalloc(&["run", "text"]);
    let message = format!("{}: not executable", text_file.display());
    refuses(by_path.env("PATH", folder()), 126, &message);
}

#[test]
fn the_path_is_searched_as_a_shell_searches_it() {
    let (first, second) = (folder().join("path1"), folder().join("path2"));
    for place in [&first, &second] {
        std::fs::create_dir_all(place).unwrap();
    }
    executable("path1/tool", b"#!/bin/sh\necho hidden\n");
    permit(&first.join("tool"), 0o644);
    executable("path2/tool", b"#!/bin/sh\necho found\n");
    let path = std::env::join_paths([&PathBuf::from("/no/such"), &first, &second]).unwrap();
    let output = pymalloc(&["run", "tool"])
        .env("PATH", path)
        .output()
        .unwrap();
    assert_eq!(text(&output.stdout), "found\n", "{}", text(&output.stderr));
    // An empty element is the current folder.
    let output = pymalloc(&["run", "tool"])
        .env("PATH", ":/bin")
        .current_dir(&second)
        .output();
    assert_eq!(text(&output.unwrap().stdout), "found\n");
    let output = pymalloc(&["run", "sh", "-c", "echo default"])
        .env_remove("PATH")
        .output();
    assert_eq!(text(&output.unwrap().stdout), "default\n");
}

#[test]
fn a_static_executable_is_refused() {
    let problem = "statically linked, so no loader would preload libpymalloc.so";
    refused(&file("static"), 1, problem);
    gcc(folder(), "static_pie", "probe.c", &["-static-pie", "-fPIE"]);
    refused(&file("static_pie"), 1, problem);
}

#[test]
fn an_executable_for_another_machine_is_refused() {
    for (name, bytes, machine) in [
        ("x86", vec![(4, 1), (18, 3)], "x86 (32-bit)"),
        ("x32", vec![(4, 1)], "x86-64 (32-bit)"),
        ("aarch64", vec![(18, 183)], "aarch64"),
        ("s390x", vec![(5, 2), (18, 0), (19, 22)], "s390x"),
        ("other", vec![(18, 0xff), (19, 0x7f)], "machine 32767"),
    ] {
        let ours = if cfg!(target_arch = "aarch64") {
            "aarch64"
        } else {
            "x86-64"
        };
        let problem = format!(
            "built for {machine}, so the loader would ignore libpymalloc.so, built for {ours}"
        );
        refused(&patched(name, "probe", &bytes), 1, &problem);
    }
}

#[test]
fn an_executable_with_another_loader_is_refused() {
    let missing = "-Wl,--dynamic-linker=/no/such/ld.so";
    gcc(folder(), "no_loader", "probe.c", &[missing]);
    refused(
        &file("no_loader"),
        127,
        "its loader /no/such/ld.so does not exist",
    );
    let musl = file("ld-musl-x86_64.so.1");
    std::fs::write(&musl, "").unwrap();
    let option = format!("-Wl,--dynamic-linker={}", musl.display());
    gcc(folder(), "musl", "probe.c", &[&option]);
    let output = run(false, &file("musl"), &[]).output().unwrap();
    let expected = format!(
        "pymalloc: {}: uses the loader {}, libpymalloc.so was built for /lib64/ld-linux-x86-64.so.2\n",
        file("musl").display(),
        musl.display()
    );
    assert_eq!(text(&output.stderr), expected);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn an_executable_that_gains_privileges_is_refused() {
    let problem =
        |how| format!("runs with privileges ({how}), so the loader would ignore LD_PRELOAD");
    // SAFETY: getuid takes nothing and cannot fail.
    if unsafe { libc::getuid() } != 0 {
        // Only root can make such a file; every system has one that root made.
        let su = ["/usr/bin/su", "/bin/su", "/usr/bin/passwd"];
        let su = su
            .map(Path::new)
            .into_iter()
            .find(|su| su.exists())
            .expect("a setuid program");
        return refused(su, 1, &problem("setuid"));
    }
    let probe = std::fs::read(file("probe")).unwrap();
    let setuid = executable("setuid", &probe);
    std::os::unix::fs::chown(&setuid, Some(1), None).unwrap();
    permit(&setuid, 0o4755);
    refused(&setuid, 1, &problem("setuid"));
    let setgid = executable("setgid", &probe);
    std::os::unix::fs::chown(&setgid, None, Some(1)).unwrap();
    permit(&setgid, 0o2755);
    refused(&setgid, 1, &problem("setgid"));
    // Bits that change nothing are no reason: one's own user, or mandatory locking.
    let own = executable("setuid_own", &probe);
    permit(&own, 0o4755);
    assert_eq!(prints(&own, &["exit"]), "");
    permit(&setgid, 0o2745);
    assert_eq!(prints(&setgid, &["exit"]), "");
}

#[test]
fn scripts_run_by_their_interpreter() {
    let preloaded = "echo $0 $1 $LD_PRELOAD\n";
    let library = file("library.so");
    for (name, first) in [
        ("script", "#!/bin/sh\n"),
        ("script_option", "#! /bin/sh -e\n"),
        ("script_env", "#!/usr/bin/env sh\n"),
        ("script_env_split", "#!/usr/bin/env -S A=1 sh -e\n"),
        ("script_without", "# no interpreter\n"),
    ] {
        let script = executable(name, format!("{first}{preloaded}").as_bytes());
        let expected = format!("{} word {}\n", script.display(), library.display());
        assert_eq!(prints(&script, &["word"]), expected, "{name}");
    }
    assert_eq!(prints(&executable("empty", b""), &[]), "");
}

#[test]
fn a_script_is_refused_for_its_interpreter() {
    let script =
        |name: &str, interpreter: &str| executable(name, format!("#!{interpreter}\n").as_bytes());
    let own = |interpreter: &Path| format!("its interpreter {}: ", interpreter.display());
    let missing = "its interpreter /no/such/interpreter: no such program";
    refused(&script("bad_missing", "/no/such/interpreter"), 127, missing);
    let problem = "its interpreter no-such-name: no such program in PATH";
    refused(
        &script("bad_env", "/usr/bin/env no-such-name"),
        127,
        problem,
    );
    let static_one = file("static");
    let problem = "statically linked, so no loader would preload libpymalloc.so";
    let problem = format!("{}{problem}", own(&static_one));
    refused(
        &script("bad_static", &static_one.display().to_string()),
        1,
        &problem,
    );
    let folder = folder();
    let problem = format!("{}is a directory", own(folder));
    refused(
        &script("bad_folder", &folder.display().to_string()),
        126,
        &problem,
    );
}

#[test]
fn interpreters_are_followed_as_deep_as_the_kernel_follows_them() {
    executable("deep1", b"#!/bin/sh\necho deep\n");
    for level in 2..=6 {
        let below = file(&format!("deep{}", level - 1));
        executable(
            &format!("deep{level}"),
            format!("#!{}\n", below.display()).as_bytes(),
        );
    }
    let deepest = std::process::Command::new(file("deep5")).output().unwrap();
    assert_eq!(text(&deepest.stdout), "deep\n");
    assert!(std::process::Command::new(file("deep6")).output().is_err());
    assert_eq!(prints(&file("deep5"), &[]), "deep\n");
    let problem = "more than 5 interpreters follow each other";
    let problem = format!("its interpreter /bin/sh: {problem}");
    refused(&file("deep6"), 126, &problem);
}
