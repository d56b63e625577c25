//! A program that runs while it is looked at: `live` and `serve`.

use crate::fixture::{file, pymalloc};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

/// A recorded program that waits for its stdin to close, once it holds 3,000 blocks of 1,000 bytes.
struct Waiting {
    launcher: Child,
    stdin: Option<ChildStdin>,
    path: PathBuf,
}

impl Waiting {
    fn start(name: &str) -> Self {
        let path = file(name);
        let script = "x = [bytes(967) for i in range(3000)]; print('ready', flush=True); input()";
        let mut launcher = pymalloc(&["profile", "-o"])
            .arg(&path)
            .args(["--", "python3", "-c", script])
            .env("PYTHONMALLOC", "malloc")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("runs");
        let mut line = String::new();
        let stdout = launcher.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n");
        let stdin = launcher.stdin.take();
        Self {
            launcher,
            stdin,
            path,
        }
    }

    /// Lets the program end.
    fn end(&mut self) {
        if let Some(mut stdin) = self.stdin.take() {
            let _ = stdin.write_all(b"\n");
        }
        let _ = self.launcher.wait();
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.end();
    }
}

fn printed(command: &mut Command) -> String {
    let output = command.output().expect("runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn live_shows_a_program_that_runs() {
    let mut program = Waiting::start("live.pmrec");
    let page = printed(pymalloc(&["live", "--once"]).arg(&program.path));
    assert!(
        page.contains(" resident\n") && page.contains("live "),
        "{page}"
    );
    assert!(
        page.contains("PyBytes_FromSize"),
        "the greatest place: {page}"
    );
    assert!(!page.contains('\x1b'), "once: {page}");
    program.end();
    // Ends with the recording, by itself.
    let page = printed(pymalloc(&["live", "--interval", "0.05"]).arg(&program.path));
    assert!(
        page.starts_with("\x1b[H\x1b[2J") && page.contains("; ended\n"),
        "{page}"
    );
}

/// A server; killed when dropped.
struct Server {
    process: Child,
    place: String,
}

impl Server {
    fn start(listen: &str, recording: &Path) -> Self {
        let mut process = pymalloc(&["serve", "--listen", listen])
            .arg(recording)
            .stderr(Stdio::piped())
            .spawn()
            .expect("runs");
        let mut line = String::new();
        let stderr = process.stderr.take().expect("piped");
        BufReader::new(stderr).read_line(&mut line).expect("a line");
        let place = line.strip_prefix("pymalloc: serving at ").expect("a place");
        let place = place.trim_end().to_owned();
        Self { process, place }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Head and body of the answer to a request.
fn asked(mut stream: impl Read + Write, line: &str) -> (String, Vec<u8>) {
    let request = format!("{line} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    let end = answer
        .windows(4)
        .position(|part| part == b"\r\n\r\n")
        .expect("a head");
    let head = String::from_utf8(answer[..end].to_vec()).expect("text");
    (head, answer[end + 4..].to_vec())
}

/// The value of a metric.
fn metric(text: &str, name: &str) -> u64 {
    let start = format!("pymalloc_{name}{{");
    let line = text
        .lines()
        .find(|line| line.starts_with(&start))
        .expect("the metric");
    let (_, value) = line.rsplit_once(' ').expect("a value");
    value.parse().expect("a number")
}

#[test]
fn metrics_and_heap_profiles_are_served_while_the_program_runs() {
    let program = Waiting::start("serve.pmrec");
    let server = Server::start("127.0.0.1:0", &program.path);
    let address = server
        .place
        .strip_prefix("http://")
        .and_then(|rest| rest.strip_suffix("/metrics"));
    let address = address.expect("an address");
    let connect = || TcpStream::connect(address).expect("listens");
    let (head, body) = asked(connect(), "GET /metrics");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(
        head.contains("application/openmetrics-text; version=1.0.0"),
        "{head}"
    );
    let text = String::from_utf8(body).expect("text");
    assert!(text.ends_with("# EOF\n"), "{text}");
    assert!(metric(&text, "live_bytes") >= 3_000_000, "{text}");
    assert!(
        metric(&text, "allocations_total") >= metric(&text, "live_blocks"),
        "{text}"
    );
    assert!(metric(&text, "resident_bytes") > 3_000_000, "{text}");
    let (head, body) = asked(connect(), "GET /debug/pprof/heap?seconds=1");
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\n") && body.starts_with(&[0x1f, 0x8b]),
        "{head}"
    );
    let (head, body) = asked(connect(), "HEAD /metrics");
    assert!(
        head.starts_with("HTTP/1.1 200 OK") && body.is_empty(),
        "{head}"
    );
    assert!(
        asked(connect(), "GET /etc/passwd")
            .0
            .starts_with("HTTP/1.1 404 ")
    );
    assert!(
        asked(connect(), "POST /metrics")
            .0
            .starts_with("HTTP/1.1 405 ")
    );
    // A client that says nothing sensible, or nothing, does not end it.
    let _ = connect().write_all(b"\r\n");
    drop(connect());
    assert!(asked(connect(), "GET /").0.starts_with("HTTP/1.1 200 OK"));
}

#[test]
fn a_unix_socket_serves_as_well() {
    let program = Waiting::start("unix.pmrec");
    let socket = file("socket");
    let _ = std::fs::remove_file(&socket);
    let _server = Server::start(&format!("unix:{}", socket.display()), &program.path);
    let stream = UnixStream::connect(&socket).expect("listens");
    let (head, body) = asked(stream, "GET /metrics");
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    assert!(String::from_utf8(body).is_ok_and(|text| text.contains("pymalloc_threads{")));
}

#[test]
fn places_that_others_reach_are_refused() {
    let output = pymalloc(&["serve", "--listen", "0.0.0.0:0", "x"])
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("needs a loopback ADDRESS:PORT or unix:PATH"),
        "{said}"
    );
}

#[test]
fn memory_over_time_adds_up_what_the_program_starts() {
    let most = |options: &[&str]| {
        let data = file("follow.dat");
        // The shell waits for a child that holds 40 MB.
        let script = "python3 -c 'x = bytes([1]) * 40_000_000; import time; time.sleep(0.5)'; true";
        let output = pymalloc(&["mem", "--interval", "0.02", "-o"])
            .arg(&data)
            .args(options)
            .args(["sh", "-c", script])
            .output()
            .expect("runs");
        assert!(output.status.success(), "{output:?}");
        let text = std::fs::read_to_string(&data).expect("written");
        let samples = text.lines().filter_map(|line| line.strip_prefix("MEM "));
        let numbers = samples.map(|line| line.split(' ').next().and_then(|word| word.parse().ok()));
        numbers.flatten().fold(0.0, f64::max)
    };
    assert!(most(&[]) < 20.0);
    assert!(most(&["--follow"]) > 35.0);
}
