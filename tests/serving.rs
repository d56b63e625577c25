//! Programs that serve their figures themselves, by the preload library.

#[path = "serving/client.rs"]
mod client;
#[path = "serving/pprof.rs"]
mod pprof;
#[path = "serving/program.rs"]
mod program;
#[path = "support/preload.rs"]
mod support;

use client::{Client, asked, metric, metrics};
use pprof::Profile;
use program::{Program, file, launched, preloaded, source};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::process::Command;
use std::time::{Duration, Instant};

/// The line of the C program that leaks.
fn leak_line() -> usize {
    let text = std::fs::read_to_string(source()).expect("a source");
    let line = text.lines().position(|line| line.ends_with("/* LEAK */"));
    line.expect("the comment") + 1
}

#[test]
fn the_figures_of_a_running_program_are_served() {
    let mut program = Program::start(launched(&["--listen", "127.0.0.1:0"]).arg("3000"));
    let place = program.place().to_owned();
    assert!(place.starts_with("http://127.0.0.1:"), "{place}");
    let text = metrics(&place);
    assert!(metric(&text, "block_bytes") >= 3_000_000, "{text}");
    assert!(metric(&text, "resident_bytes") >= 3_000_000, "{text}");
    assert!(
        metric(&text, "class_blocks{block_bytes=\"1024\"}") >= 3000,
        "{text}"
    );
    assert!(
        metric(&text, "heap_block_bytes{heap=\"0\"}") >= 3_000_000,
        "{text}"
    );
    assert!(
        metric(&text, "arena_used_bytes{rank=\"1\"}") > 900_000,
        "{text}"
    );
    let pid = program.pid();
    let info = format!("pymalloc_heap_info{{heap=\"0\",thread=\"{pid}\",name=\"waits\"}} 1\n");
    assert!(text.contains(&info), "{text}");
    let (head, body) = asked(&place, "HEAD /metrics");
    assert!(head.contains("application/openmetrics-text; version=1.0.0") && body.is_empty());
    assert!(asked(&place, "GET /").0.starts_with("HTTP/1.1 200 "));
    let mut plain = Program::start(&mut preloaded("pymalloc"));
    let files = plain.told("files");
    assert_eq!(program.told("files"), files, "it has no descriptor of it");
    program.end();
    assert!(Client::to(&place).is_none(), "it ended with the program");
}

#[test]
fn a_heap_profile_finds_a_leak_to_its_line() {
    // Every block, so that the sums are exact.
    let words = ["--listen", "127.0.0.1:0", "--sample", "0"];
    let program = Program::start(launched(&words).arg("3000"));
    let (head, body) = asked(program.place(), "GET /debug/pprof/heap");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let profile = Profile::read(&body);
    let type_of = |name: &str, unit: &str| (name.to_owned(), unit.to_owned());
    let expected = [
        type_of("alloc_objects", "count"),
        type_of("alloc_space", "bytes"),
        type_of("inuse_objects", "count"),
        type_of("inuse_space", "bytes"),
    ];
    assert_eq!(profile.types, expected);
    assert_eq!(profile.sum("inuse_space", "leak_here"), 3_000_000);
    assert_eq!(
        profile.sum("inuse_objects", "main"),
        3000 + profile_of_main(&profile)
    );
    let leak = profile
        .samples
        .iter()
        .find(|sample| sample.calls[0].function == "leak_here");
    let call = &leak.expect("the leak").calls[0];
    // As pprof does it: the file, and the place in it.
    let output = Command::new("addr2line")
        .arg("-e")
        .arg(&call.file)
        .arg(format!("{:#x}", call.offset))
        .output()
        .expect("addr2line");
    let line = String::from_utf8(output.stdout).expect("text");
    let expected = format!("{}:{}", source().display(), leak_line());
    assert!(line.starts_with(&expected), "{line} {call:?}");
    assert!(call.build_id.len() >= 16, "{call:?}");
}

/// Blocks that `main` made by way of others than `leak_here`: the buffers of `stdio`.
fn profile_of_main(profile: &Profile) -> u64 {
    let others = profile.samples.iter().filter(|sample| {
        let calls = |name: &str| sample.calls.iter().any(|call| call.function == name);
        calls("main") && !calls("leak_here")
    });
    others.map(|sample| sample.values[2]).sum()
}

#[test]
fn a_sampled_profile_stands_for_all_blocks() {
    let words = ["--listen", "127.0.0.1:0", "--sample", "16K"];
    let program = Program::start(launched(&words).arg("20000"));
    let (_, body) = asked(program.place(), "GET /debug/pprof/heap");
    let profile = Profile::read(&body);
    assert_eq!(profile.period, 16 * 1024);
    let found = profile.sum("inuse_space", "leak_here");
    // 1,220 samples: three parts in a hundred are one standard deviation.
    assert!((17_000_000..23_000_000).contains(&found), "{found}");
}

#[test]
fn without_samples_the_profile_says_so() {
    let program = Program::start(&mut launched(&["--listen", "127.0.0.1:0", "--no-profile"]));
    let (head, body) = asked(program.place(), "GET /debug/pprof/heap");
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    let text = String::from_utf8(body).expect("text");
    assert!(
        text.contains("PYMALLOC_SERVE_SAMPLE") && text.ends_with('\n'),
        "{text}"
    );
}

#[test]
fn answering_takes_nothing_from_the_heap() {
    let mut program = Program::start(launched(&["--listen", "127.0.0.1:0"]).arg("10"));
    // From here on it waits, with all its buffers.
    program.told("files");
    let place = program.place();
    let without_resident = |text: &str| -> String {
        let lines = text.lines().filter(|line| !line.contains("resident"));
        lines.collect::<Vec<_>>().join("\n")
    };
    let before = metrics(place);
    for _ in 0..50 {
        metrics(place);
        asked(place, "GET /debug/pprof/heap");
        asked(place, "GET /nothing");
    }
    let after = metrics(place);
    assert_eq!(without_resident(&before), without_resident(&after));
    let grown = metric(&after, "resident_bytes").saturating_sub(metric(&before, "resident_bytes"));
    assert!(grown < 1 << 20, "{grown} bytes more are resident");
}

#[test]
fn garbage_and_slow_clients_do_no_harm() {
    let program = Program::start(&mut launched(&["--listen", "127.0.0.1:0"]));
    let place = program.place();
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(20_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(5000));
    let cases: [(&[u8], &str); 8] = [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "400"),
        (b"hello\r\n\r\n", "400"),
        (b"GET /metrics\r\n\r\n", "400"),
        (b"GET http://example.com/ HTTP/1.1\r\n\r\n", "400"),
        (
            b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
            "405",
        ),
        (b"GET /etc/passwd HTTP/1.1\r\n\r\n", "404"),
        (long.as_bytes(), "431"),
        (many.as_bytes(), "431"),
    ];
    for (request, status) in cases {
        let mut client = Client::to(place).expect("listens");
        client.send(request).expect("sent");
        let answer = client.rest().expect("an answer");
        let expected = format!("HTTP/1.1 {status} ");
        assert!(
            answer.starts_with(expected.as_bytes()),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    // One that says nothing, one that goes, one that never ends.
    let silent = Client::to(place).expect("listens");
    drop(Client::to(place).expect("listens"));
    let mut slow = Client::to(place).expect("listens");
    slow.send(b"GET / HTTP/1.1\r\n").expect("sent");
    let begin = Instant::now();
    metrics(place);
    assert!(
        begin.elapsed() < Duration::from_secs(10),
        "{:?}",
        begin.elapsed()
    );
    drop((silent, slow));
    // Many at once.
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..20).for_each(|_| drop(metrics(place))));
        }
    });
}

#[test]
fn a_program_that_closes_all_descriptors_still_serves() {
    let mut program = Program::start(&mut launched(&["--listen", "127.0.0.1:0"]));
    assert_eq!(program.told("close"), "3");
    metrics(program.place());
}

#[test]
fn a_child_neither_serves_nor_keeps_the_address() {
    let mut program = Program::start(&mut launched(&["--listen", "127.0.0.1:0"]));
    let place = program.place().to_owned();
    let child: i32 = program.told("fork").parse().expect("a number");
    metrics(&place);
    program.kill();
    assert!(Client::to(&place).is_none(), "the child serves");
    // The address is free again.
    let address = place
        .trim_start_matches("http://")
        .trim_end_matches("/metrics");
    let again = Program::start(&mut launched(&["--listen", address]));
    assert_eq!(again.place(), place);
    // SAFETY: a child of a program of ours, which sleeps.
    unsafe { libc::kill(child, libc::SIGKILL) };
}

#[test]
fn a_child_serves_when_asked() {
    let socket = file("follow");
    let listen = format!("unix:{}", socket.display());
    let mut program = Program::start(launched(&["--listen", &listen, "--follow"]).arg("3000"));
    let child: i32 = program.told("fork").parse().expect("a number");
    let beside = format!("{listen}.{child}");
    let begin = Instant::now();
    while Client::to(&beside).is_none() {
        assert!(
            begin.elapsed() < Duration::from_secs(10),
            "the child does not serve"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    let text = metrics(&beside);
    assert!(text.contains(&format!("thread=\"{child}\"")), "{text}");
    assert!(metric(&text, "block_bytes") >= 3_000_000, "{text}");
    assert!(metrics(&listen).contains(&format!("thread=\"{}\"", program.pid())));
    let (head, _) = asked(&beside, "GET /debug/pprof/heap");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    // SAFETY: a child of a program of ours, which sleeps.
    unsafe { libc::kill(child, libc::SIGKILL) };
    program.end();
    assert!(!socket.exists(), "it is removed at the end");
}

#[test]
fn programs_that_it_starts_find_the_address_taken_and_say_nothing() {
    let mut program = Program::start(&mut launched(&["--listen", "127.0.0.1:0"]));
    assert_eq!(program.told("run"), "run");
    let mut command = preloaded(&format!("serve:unix:{}", file("taken").display()));
    let mut first = Program::start(&mut command);
    assert_eq!(first.told("run"), "run");
    let said = std::fs::read_to_string(format!("/proc/{}/fd/2", first.pid())).expect("text");
    assert_eq!(said.lines().count(), 1, "{said}");
    // Somebody else is told.
    let second = Program::start(&mut command);
    assert_eq!(
        second.said,
        "pymalloc: nothing is served: somebody listens there\n"
    );
}

#[test]
fn a_socket_is_this_users_and_removed_at_exit() {
    let path = file("socket");
    let mode = format!("serve:unix:{}", path.display());
    let place = format!("unix:{}", path.display());
    let program = Program::start(&mut preloaded(&mode));
    assert_eq!(program.place(), place);
    let rights = std::fs::metadata(&path)
        .expect("there")
        .permissions()
        .mode();
    assert_eq!(rights & 0o777, 0o600);
    metrics(&place);
    program.end();
    assert!(!path.exists(), "removed");
    // One that was left by a kill gives way; it was given as the program's folder sees it.
    let relative = || {
        let mut command = preloaded("serve:unix:socket");
        command.current_dir(path.parent().expect("a folder"));
        command
    };
    Program::start(&mut relative()).kill();
    assert!(path.exists());
    let mut program = Program::start(&mut relative());
    metrics(&place);
    assert_eq!(program.told("folder"), "0");
    program.end();
    assert!(!path.exists(), "removed from another folder");
    // Another file does not give way.
    std::fs::write(&path, "mine").expect("written");
    let program = Program::start(&mut preloaded(&mode));
    assert_eq!(
        program.said,
        "pymalloc: nothing is served: the path exists and is no socket\n"
    );
    program.end();
    assert!(
        !std::fs::metadata(&path)
            .expect("there")
            .file_type()
            .is_socket()
    );
    assert_eq!(std::fs::read(&path).expect("there"), b"mine");
}

#[test]
fn other_addresses_are_refused_in_one_line() {
    let long = format!("unix:/{}", "x".repeat(120));
    for address in [
        "0.0.0.0:0",
        "192.168.1.1:80",
        "localhost:80",
        "[::]:80",
        "",
        "unix:",
        &long,
    ] {
        let program = Program::start(&mut preloaded(&format!("serve:{address}")));
        let expected = "pymalloc: nothing is served: not a loopback address such as 127.0.0.1:9123, \
                        nor unix:PATH; others are refused, since there is no access control\n";
        assert_eq!(program.said, expected, "{address}");
        program.end();
    }
    let program = Program::start(&mut preloaded("serve:unix:/no/such/folder"));
    assert_eq!(
        program.said,
        "pymalloc: nothing is served: the system refused it (error 2)\n"
    );
    let output = launched(&["--listen", "0.0.0.0:80"])
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        text.contains("'--listen' needs a loopback ADDRESS:PORT or unix:PATH"),
        "{text}"
    );
}

#[test]
fn it_keeps_no_process_alive() {
    let mut program = Program::start(&mut launched(&["--listen", "127.0.0.1:0"]));
    let place = program.place().to_owned();
    metrics(&place);
    program.tell("end threads");
    program.ends();
}

#[test]
fn neither_forks_nor_dlopen_hang_beside_it() {
    let words = ["--listen", "127.0.0.1:0", "--sample", "4K"];
    let mut program = Program::start(&mut launched(&words));
    let place = program.place().to_owned();
    program.tell("storm");
    let calm = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (place, calm) = (&place, &calm);
        for page in ["GET /metrics", "GET /debug/pprof/heap"] {
            scope.spawn(move || {
                while !calm.load(std::sync::atomic::Ordering::Relaxed) {
                    assert!(asked(place, page).0.starts_with("HTTP/1.1 200 OK"));
                }
            });
        }
        let said = program.told("nothing");
        calm.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(said, "calm");
    });
    let (_, body) = asked(&place, "GET /debug/pprof/heap");
    let profile = Profile::read(&body);
    // What the threads held is gone again.
    assert!(profile.sum("alloc_space", "allocate") > 1 << 20);
    assert_eq!(profile.sum("inuse_space", "allocate"), 0);
    program.end();
}

#[test]
fn python_serves_as_well() {
    let script = "x = [bytes(967) for i in range(3000)]; print('ready', flush=True); input()";
    let mut command = Command::new(support::launcher());
    command.args([
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--sample",
        "8K",
        "python3",
        "-c",
        script,
    ]);
    command.env("PYMALLOC_LIB", support::preload_library());
    command.env("PYTHONMALLOC", "malloc");
    let program = Program::start(&mut command);
    assert!(metric(&metrics(program.place()), "block_bytes") >= 3_000_000);
    let (_, body) = asked(program.place(), "GET /debug/pprof/heap");
    let profile = Profile::read(&body);
    // By what it is called in the interpreter at hand.
    let makes_bytes = |name: &str| name == "bytes_new" || name.contains("PyBytes_From");
    let of_bytes = profile.samples.iter().filter(|sample| {
        let mut calls = sample.calls.iter();
        calls.any(|call| makes_bytes(&call.function))
    });
    let found: u64 = of_bytes.map(|sample| sample.values[3]).sum();
    assert!((2_000_000..4_800_000).contains(&found), "{found}");
}
