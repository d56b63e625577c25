//! A Rust program that serves its own figures.

#[path = "support/child.rs"]
mod child;
#[path = "serving/client.rs"]
mod client;
#[path = "serving/pprof.rs"]
mod pprof;

use client::{Client, asked, metric, metrics};
use pprof::Profile;
use pymalloc::observe::{self, ServeError, tracemalloc};

#[global_allocator]
static GLOBAL: pymalloc::PyMalloc = pymalloc::PyMalloc;

#[inline(never)]
fn leak_here() {
    // LEAK
    std::mem::forget(std::hint::black_box(vec![1u8; 2000]));
}

/// The place of a port, as the launcher writes it.
fn place_of(address: &str) -> String {
    let address = observe::serve_sampled(address, 32, 0).expect("serves");
    format!("http://{}/metrics", address.expect("a port"))
}

#[test]
fn a_program_serves_its_figures_and_its_leak() {
    const TEST: &str = "a_program_serves_its_figures_and_its_leak";
    if child::part().is_none() {
        return child::succeeds(TEST, "serve");
    }
    child::watchdog(60);
    let place = place_of("127.0.0.1:0");
    let before = metric(&metrics(&place), "block_bytes");
    let threads = (0..3).map(|_| std::thread::spawn(|| (0..1000).for_each(|_| leak_here())));
    let threads: Vec<_> = threads.collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().expect("no panic"));
    let text = metrics(&place);
    assert!(metric(&text, "block_bytes") >= before + 6_000_000, "{text}");
    assert!(metric(&text, "heaps") >= 2, "{text}");
    let (head, body) = asked(&place, "GET /debug/pprof/heap");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let profile = Profile::read(&body);
    let leaks = profile.samples.iter().filter(|sample| {
        let mut calls = sample.calls.iter();
        calls.any(|call| call.function.contains("leak_here"))
    });
    assert_eq!(leaks.map(|sample| sample.values[3]).sum::<u64>(), 6_000_000);
    assert_eq!(observe::serve("127.0.0.1:0"), Err(ServeError::Twice));
}

/// What the traced blocks made in `leak_here` amount to, by their bytes, which come last.
fn leaked(profile: &Profile) -> u64 {
    let at_leak = |sample: &&pprof::Sample| sample.calls[0].function.contains("leak_here");
    let leaks = profile.samples.iter().filter(at_leak);
    leaks.filter_map(|sample| sample.values.last()).sum()
}

#[test]
fn what_is_traced_is_a_heap_profile() {
    const TEST: &str = "what_is_traced_is_a_heap_profile";
    if child::part().is_none() {
        return child::succeeds(TEST, "traced");
    }
    child::watchdog(60);
    let address = observe::serve("127.0.0.1:0").expect("serves");
    let place = format!("http://{}/metrics", address.expect("a port"));
    let page = |query: &str| asked(&place, &format!("GET /debug/pprof/heap{query}"));
    for query in ["", "?source=tracemalloc", "?source=samples"] {
        let (head, body) = page(query);
        assert!(head.starts_with("HTTP/1.1 503 "), "{query}: {head}");
        let text = String::from_utf8(body).expect("text");
        assert!(
            text.contains("serve_sampled()") && text.contains("tracemalloc::start()"),
            "{text}"
        );
    }
    leak_here();
    tracemalloc::start(4).expect("traces");
    (0..1000).for_each(|_| leak_here());
    tracemalloc::track(5, 4096, 777).expect("tracing");
    let (head, body) = page("");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let profile = Profile::read(&body);
    let type_of = |name: &str, unit: &str| (name.to_owned(), unit.to_owned());
    let expected = [
        type_of("inuse_objects", "count"),
        type_of("inuse_space", "bytes"),
    ];
    assert_eq!(profile.types, expected);
    assert_eq!(profile.period, 1);
    assert_eq!(profile.comment, "pymalloc, tracemalloc: every block");
    // The innermost call is the program's: the allocator's and the library's own are left out.
    assert_eq!(leaked(&profile), 2_000_000);
    let in_domain = profile.samples.iter().filter(|sample| sample.domain == 5);
    let in_domain: Vec<_> = in_domain.map(|sample| sample.values.clone()).collect();
    assert_eq!(in_domain, [[1, 777]]);
    // As many calls as were asked for, where the allocator's are told apart.
    let longest = profile.samples.iter().map(|sample| sample.calls.len());
    assert_eq!(longest.max(), Some(4));
    let text = String::from_utf8(page("?source=samples").1).expect("text");
    assert!(
        text.contains("/debug/pprof/heap?source=tracemalloc"),
        "{text}"
    );
    assert!(page("?source=else").0.starts_with("HTTP/1.1 400 "));
    // The figures are tracemalloc's own.
    let (current, _) = tracemalloc::get_traced_memory();
    let sum: u64 = profile.samples.iter().map(|sample| sample.values[1]).sum();
    assert!(sum.abs_diff(current) < 100_000, "{sum} of {current}");
    tracemalloc::stop();
    assert!(page("").0.starts_with("HTTP/1.1 503 "));
}

#[test]
fn samples_come_first_where_both_are_kept() {
    const TEST: &str = "samples_come_first_where_both_are_kept";
    if child::part().is_none() {
        return child::succeeds(TEST, "both");
    }
    child::watchdog(60);
    let place = place_of("127.0.0.1:0");
    tracemalloc::start_sampled(8, 0).expect("traces");
    (0..100).for_each(|_| leak_here());
    let profile = |query: &str| {
        let (head, body) = asked(&place, &format!("GET /debug/pprof/heap{query}"));
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        Profile::read(&body)
    };
    for query in ["", "?source=samples", "?source=tracemalloc"] {
        let found = profile(query);
        assert_eq!(leaked(&found), 200_000, "{query}");
        assert_eq!(
            found.comment.contains("tracemalloc"),
            query.ends_with("tracemalloc")
        );
        assert_eq!(
            found.types.len(),
            if found.comment.contains("tracemalloc") {
                2
            } else {
                4
            }
        );
    }
    tracemalloc::stop();
    let (_, body) = asked(&place, "GET /debug/pprof/heap?source=tracemalloc");
    let text = String::from_utf8(body).expect("text");
    assert!(text.contains("?source=samples"), "{text}");
}

#[test]
fn asking_for_traces_beside_threads_forks_and_restarts_does_not_hang() {
    const TEST: &str = "asking_for_traces_beside_threads_forks_and_restarts_does_not_hang";
    if child::part().is_none() {
        return child::succeeds(TEST, "storm");
    }
    child::watchdog(100);
    let address = observe::serve("127.0.0.1:0").expect("serves");
    let place = format!("http://{}/metrics", address.expect("a port"));
    tracemalloc::start(16).expect("traces");
    let end = std::time::Instant::now() + std::time::Duration::from_secs(3);
    let is_over = || std::time::Instant::now() > end;
    let n_profiles = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over() {
                let words: Vec<String> = (0..500).map(|n| format!("{n}")).collect();
                drop(std::hint::black_box(words));
            }
        });
        scope.spawn(|| {
            while !is_over() {
                tracemalloc::stop();
                tracemalloc::start(16).expect("traces");
                tracemalloc::take_snapshot().expect("tracing");
            }
        });
        scope.spawn(|| {
            while !is_over() {
                // SAFETY: the child allocates from this allocator and ends.
                unsafe {
                    let child = libc::fork();
                    if child == 0 {
                        drop(std::hint::black_box(vec![1u8; 100]));
                        libc::_exit(0);
                    }
                    let mut status = 0;
                    libc::waitpid(child, &mut status, 0);
                    assert_eq!(status, 0);
                }
            }
        });
        let mut n_profiles = 0;
        while !is_over() {
            let (head, body) = asked(&place, "GET /debug/pprof/heap");
            if head.starts_with("HTTP/1.1 200 OK") {
                Profile::read(&body);
                n_profiles += 1;
            }
        }
        n_profiles
    });
    assert!(n_profiles > 2, "{n_profiles}");
}

#[test]
fn a_child_may_begin_to_serve() {
    const TEST: &str = "a_child_may_begin_to_serve";
    if child::part().is_none() {
        return child::succeeds(TEST, "fork");
    }
    child::watchdog(60);
    let socket = std::env::temp_dir().join(format!("pm-itself-{}", std::process::id()));
    let beside = format!("unix:{}.child", socket.display());
    let address = format!("unix:{}", socket.display());
    assert_eq!(observe::serve(&address), Ok(None));
    let (head, _) = asked(&address, "GET /debug/pprof/heap");
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    // SAFETY: the child makes system calls and allocates from this allocator only.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let sampled = observe::serve_sampled(&beside, 8, 1 << 16);
        // Where every block is guarded none is sampled; that is said, and no reason not to serve all.
        let served = match child::is_guarded() {
            false => sampled.is_ok(),
            true if sampled != Err(ServeError::Samples) => false,
            true => observe::serve_sampled(&beside, 8, 0).is_ok(),
        };
        // Until it is asked, or a minute is over.
        for _ in 0..if served { 600 } else { 0 } {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        // SAFETY: ends the child without the parent's hooks.
        unsafe { libc::_exit(1) };
    }
    let begin = std::time::Instant::now();
    while Client::to(&beside).is_none() && begin.elapsed().as_secs() < 10 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(metrics(&beside).contains(&format!("thread=\"{child}\"")));
    let (head, _) = asked(&beside, "GET /debug/pprof/heap");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    // SAFETY: a child of ours.
    unsafe { libc::kill(child, libc::SIGKILL) };
    metrics(&address);
    let _ = std::fs::remove_file(&beside["unix:".len()..]);
}

#[test]
fn what_cannot_be_served_is_said() {
    for address in ["0.0.0.0:0", "example.com:80", "unix:", "9123"] {
        assert_eq!(
            observe::serve(address),
            Err(ServeError::Address),
            "{address}"
        );
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let taken = listener.local_addr().expect("an address").to_string();
    assert_eq!(observe::serve(&taken), Err(ServeError::Taken));
    let file = std::env::temp_dir().join(format!("pm-file-{}", std::process::id()));
    std::fs::write(&file, "x").expect("written");
    let path = format!("unix:{}", file.display());
    assert_eq!(observe::serve(&path), Err(ServeError::NotASocket));
    std::fs::remove_file(&file).expect("removed");
    let error = observe::serve("unix:/no/such/folder/x").expect_err("no folder");
    assert_eq!(error.to_string(), "the system refused it (error 2)");
}
