//! A Rust program that serves its own figures.

#[path = "support/child.rs"]
mod child;
#[path = "serving/client.rs"]
mod client;
#[path = "serving/pprof.rs"]
mod pprof;

use client::{Client, asked, metric, metrics};
use pprof::Profile;
use pymalloc::observe::{self, ServeError};

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
        let served = observe::serve_sampled(&beside, 8, 1 << 16).is_ok();
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
