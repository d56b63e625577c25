//! `pymalloc serve`: the figures of a program over HTTP. One that it starts serves itself, by the library; those of
//! a growing recording are served here, one request at a time.

use crate::args::{Listen, Serve};
use crate::failure::Failure;
use crate::follow::Watched;
use crate::profile::pprof;
use crate::profile::usage::Sum;
use crate::recording::format::{Header, HeaderError};
use crate::{library, run, system, target};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::time::Duration;

/// Most bytes of a request's head that are read.
const HEAD_BYTES: u64 = 16 * 1024;

/// A client that is slower is left.
const PATIENCE: Duration = Duration::from_secs(5);

/// Becomes the program, or serves a recording until it is killed.
pub fn serve(options: &Serve) -> Result<i32, Failure> {
    if is_recording(options) {
        serve_recording(options)
    } else {
        become_program(options)
    }
}

/// Whether a recording is named, and no program.
fn is_recording(options: &Serve) -> bool {
    let path = Path::new(&options.program.name);
    let begins_as_one = || {
        let mut bytes = Vec::new();
        let file = File::open(path).map(|file| file.take(64));
        let read = file.and_then(|mut file| file.read_to_end(&mut bytes));
        read.is_ok() && !matches!(Header::parse(&bytes), Err(HeaderError::Foreign))
    };
    let is_named_so = path.extension().is_some_and(|ending| ending == "pmrec");
    options.program.args.is_empty() && (is_named_so || begins_as_one())
}

/// Runs the program in the place of this process; returns only to say why it cannot.
fn become_program(options: &Serve) -> Result<i32, Failure> {
    let target = target::resolve(&options.program.name)?;
    let library = library::find(options.lib.as_deref())?;
    let mut command = run::command(&options.program, &target, &library);
    let address = match &options.listen {
        Listen::Tcp(address) => address.to_string(),
        Listen::Unix(path) => format!("unix:{}", path.display()),
    };
    command.env("PYMALLOC", format!("serve:{address}"));
    match options.sample {
        Some(bytes) => command.env("PYMALLOC_SERVE_SAMPLE", bytes.to_string()),
        None => command.env_remove("PYMALLOC_SERVE_SAMPLE"),
    };
    command.env("PYMALLOC_TRACE", options.frames.to_string());
    if options.follow {
        command.env("PYMALLOC_SERVE_FOLLOW", "1");
    }
    system::inherit_signals(&mut command, None);
    Err(Failure::Start(target.file, command.exec()))
}

fn serve_recording(options: &Serve) -> Result<i32, Failure> {
    let mut watched = Watched::open(Path::new(&options.program.name))?;
    match &options.listen {
        Listen::Tcp(address) => {
            let listener = TcpListener::bind(address).map_err(Failure::Listen)?;
            let bound = listener.local_addr().map_err(Failure::Listen)?;
            say(&format!("http://{bound}/metrics"));
            for stream in listener.incoming().flatten() {
                let _ = stream.set_read_timeout(Some(PATIENCE));
                let _ = stream.set_write_timeout(Some(PATIENCE));
                answer(&mut watched, &stream)?;
            }
        }
        Listen::Unix(path) => {
            let listener = UnixListener::bind(path).map_err(Failure::Listen)?;
            say(&format!("unix:{}", path.display()));
            for stream in listener.incoming().flatten() {
                let _ = stream.set_read_timeout(Some(PATIENCE));
                let _ = stream.set_write_timeout(Some(PATIENCE));
                answer(&mut watched, &stream)?;
            }
        }
    }
    Ok(0)
}

/// Says where, for whoever waits for it.
fn say(place: &str) {
    let _ = writeln!(io::stderr().lock(), "pymalloc: serving at {place}");
}

/// Answers one request. Only a recording that cannot be read is a failure; a client that goes is none.
fn answer<S>(watched: &mut Watched, stream: &S) -> Result<(), Failure>
where
    for<'a> &'a S: Read + Write,
{
    let Some((method, path)) = request(stream) else {
        return Ok(());
    };
    let (status, kind, body) = response(watched, &method, &path)?;
    let mut out = stream;
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let _ = out.write_all(head.as_bytes()).and_then(|()| {
        if method == "HEAD" {
            Ok(())
        } else {
            out.write_all(&body)
        }
    });
    Ok(())
}

/// Method and path, without what follows a `?`.
fn request<S>(stream: &S) -> Option<(String, String)>
where
    for<'a> &'a S: Read + Write,
{
    let mut lines = BufReader::new(stream.take(HEAD_BYTES));
    let mut first = String::new();
    lines.read_line(&mut first).ok()?;
    let mut words = first.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?);
    let path = target.split('?').next().unwrap_or(target).to_owned();
    // The rest of the head, so that the client is not reset while it writes.
    let mut line = String::new();
    while lines.read_line(&mut line).ok()? > 0 && line.trim() != "" {
        line.clear();
    }
    Some((method, path))
}

type Response = (&'static str, &'static str, Vec<u8>);

fn response(watched: &mut Watched, method: &str, path: &str) -> Result<Response, Failure> {
    const TEXT: &str = "text/plain; charset=utf-8";
    if !matches!(method, "GET" | "HEAD") {
        let body = b"only GET and HEAD\n".to_vec();
        return Ok(("405 Method Not Allowed", TEXT, body));
    }
    Ok(match path {
        "/metrics" => {
            watched.poll()?;
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ("200 OK", kind, metrics(watched).into_bytes())
        }
        "/debug/pprof/heap" => {
            watched.poll()?;
            let named = watched.named();
            let start = watched.follower.header().start_unix_ms;
            let duration = watched.follower.merged().time_ms();
            let period = watched.follower.header().sample_bytes;
            let body = pprof::pprof(&named, start, duration, period).map_err(Failure::Output)?;
            ("200 OK", "application/octet-stream", body)
        }
        "/" => (
            "200 OK",
            "text/html; charset=utf-8",
            b"<!DOCTYPE html><title>pymalloc</title><a href=\"/metrics\">metrics</a> \
              <a href=\"/debug/pprof/heap\">heap profile</a>\n"
                .to_vec(),
        ),
        _ => ("404 Not Found", TEXT, b"no such page\n".to_vec()),
    })
}

/// A figure: its name, kind, meaning and value.
type Row = (&'static str, &'static str, &'static str, u64);

fn gauge(name: &'static str, help: &'static str, value: u64) -> Row {
    (name, "gauge", help, value)
}

fn counter(name: &'static str, help: &'static str, value: u64) -> Row {
    (name, "counter", help, value)
}

fn rows(watched: &Watched) -> [Row; 9] {
    let usage = &watched.usage;
    let mut made = Sum::default();
    usage
        .threads
        .iter()
        .for_each(|thread| made.add_all(thread.made));
    let freed: u64 = usage.threads.iter().map(|thread| thread.freed).sum();
    // 0 after its end.
    let resident = watched.resident_bytes().unwrap_or(0);
    [
        gauge("live_bytes", "Asked for in live blocks.", usage.live.bytes),
        gauge("live_blocks", "Live blocks.", usage.live.blocks),
        gauge("peak_bytes", "The most that lived.", usage.peak.live.bytes),
        counter("allocated_bytes", "Ever asked for.", made.bytes),
        counter("allocations", "Blocks made.", made.blocks),
        counter("frees", "Blocks given back.", freed),
        counter("resizes", "Resizes.", usage.resizes),
        gauge("threads", "Ever seen.", usage.threads.len() as u64),
        gauge("resident_bytes", "Of the process.", resident),
    ]
}

/// The figures as OpenMetrics text.
fn metrics(watched: &Watched) -> String {
    let pid = watched.follower.header().pid;
    let mut text = String::new();
    for (name, kind, help, value) in rows(watched) {
        let _ = writeln!(text, "# TYPE pymalloc_{name} {kind}");
        if name.ends_with("_bytes") {
            let _ = writeln!(text, "# UNIT pymalloc_{name} bytes");
        }
        let _ = writeln!(text, "# HELP pymalloc_{name} {help}");
        let total = if kind == "counter" { "_total" } else { "" };
        let _ = writeln!(text, "pymalloc_{name}{total}{{pid=\"{pid}\"}} {value}");
    }
    text.push_str("# EOF\n");
    text
}
