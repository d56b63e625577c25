//! One request of HTTP and its answer: no more of the protocol than two pages need.
//!
//! A client has [`PATIENCE_MS`] for all of its request, whose head is at most [`HEAD_BYTES`] long. Each connection
//! carries one request.

use super::super::mapped::Mapped;
use crate::os::{self, Connection};
use core::fmt::Write;

/// Most bytes of a request's head.
const HEAD_BYTES: usize = 8 * 1024;

/// Time of a client, for its request and again for its answer.
const PATIENCE_MS: u64 = 2000;

/// Most bytes that are read of what a client goes on to send.
const DRAINED_BYTES: usize = 64 * 1024;

/// Bytes that are sent at once: between two looks at the clock.
const PART_BYTES: usize = 16 * 1024;

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A page: which one, and whether only its head is wanted.
    Page {
        /// Which.
        page: Page,
        /// `HEAD`.
        head_only: bool,
    },
    /// Another page than there are.
    NoSuchPage,
    /// A heap profile from another source than there are.
    NoSuchSource,
    /// Another method than `GET` and `HEAD`.
    OtherMethod,
    /// No request of HTTP.
    Nonsense,
    /// Too long a head.
    TooLong,
    /// Nothing, or not in time.
    Nothing,
}

/// The pages there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// `/`: what there is.
    Index,
    /// `/metrics`.
    Metrics,
    /// `/debug/pprof/heap`.
    HeapProfile(Source),
}

/// Where a heap profile comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// What there is: samples first.
    Any,
    /// `?source=samples`.
    Samples,
    /// `?source=tracemalloc`.
    Tracemalloc,
}

/// Reads a request.
pub fn read(client: &Connection) -> Asked {
    let mut head = [0; HEAD_BYTES];
    let mut len = 0;
    let end = os::now_ms() + PATIENCE_MS;
    loop {
        let left = end.saturating_sub(os::now_ms());
        if left == 0 {
            return Asked::Nothing;
        }
        client.set_patience(left);
        let n = client.read(&mut head[len..]);
        if n == 0 {
            return if len == 0 {
                Asked::Nothing
            } else {
                Asked::Nonsense
            };
        }
        len += n;
        if is_whole(&head[..len]) {
            return parse(&head[..len]);
        }
        // What cannot begin a request is not waited for.
        if !is_method(&head[..len.min(8)]) {
            return Asked::Nonsense;
        }
        if len == HEAD_BYTES {
            return Asked::TooLong;
        }
    }
}

/// Whether the head is there.
fn is_whole(head: &[u8]) -> bool {
    head.windows(4).any(|end| end == b"\r\n\r\n") || head.windows(2).any(|end| end == b"\n\n")
}

/// Whether it may be the beginning of a request: capitals, up to a blank.
fn is_method(start: &[u8]) -> bool {
    let word = start.split(|byte| *byte == b' ').next().unwrap_or(start);
    !word.is_empty() && word.iter().all(u8::is_ascii_uppercase)
}

/// Understands a whole head.
fn parse(head: &[u8]) -> Asked {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or(head);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Asked::Nonsense;
    };
    if !is_method(method) || !version.starts_with(b"HTTP/1.") || !target.starts_with(b"/") {
        return Asked::Nonsense;
    }
    let head_only = match method {
        b"GET" => false,
        b"HEAD" => true,
        _ => return Asked::OtherMethod,
    };
    let mut parts = target.splitn(2, |byte| *byte == b'?');
    let (path, query) = (parts.next().unwrap_or(target), parts.next().unwrap_or(b""));
    let page = match path {
        b"/" => Page::Index,
        b"/metrics" => Page::Metrics,
        b"/debug/pprof/heap" => match source(query) {
            Some(source) => Page::HeapProfile(source),
            None => return Asked::NoSuchSource,
        },
        _ => return Asked::NoSuchPage,
    };
    Asked::Page { page, head_only }
}

/// The source that a query names, if it is one; whatever else it says is for other servers.
fn source(query: &[u8]) -> Option<Source> {
    let mut words = query.split(|byte| *byte == b'&');
    match words.find_map(|word| word.strip_prefix(b"source=")) {
        None => Some(Source::Any),
        Some(b"samples") => Some(Source::Samples),
        Some(b"tracemalloc") => Some(Source::Tracemalloc),
        Some(_) => None,
    }
}

/// An answer's status, kind and further lines of its head.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// Number and reason.
    pub status: &'static str,
    /// What the body is.
    pub kind: &'static str,
    /// Whether the body is left out.
    pub head_only: bool,
}

/// Sends an answer and ends the connection.
pub fn send(client: &Connection, answer: &Answer, body: &Mapped<u8>) {
    let body = body.as_slice();
    let mut head = os::Text::<512>::new();
    let Answer { status, kind, .. } = answer;
    let allowed = if status.starts_with("405") {
        "Allow: GET, HEAD\r\n"
    } else {
        ""
    };
    let len = body.len();
    let _ = write!(
        head,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len}\r\n{allowed}\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    );
    client.set_patience(PATIENCE_MS);
    let end = os::now_ms() + PATIENCE_MS;
    let body = if answer.head_only { &[] } else { body };
    let mut parts = core::iter::once(head.as_bytes()).chain(body.chunks(PART_BYTES));
    if !parts.all(|part| os::now_ms() < end && client.write_all(part)) {
        return;
    }
    // A client that is still writing would lose the answer if the connection closed under it.
    client.finish();
    client.set_patience(PATIENCE_MS / 10);
    let end = os::now_ms() + PATIENCE_MS / 10;
    let (mut rest, mut drained) = ([0; 1024], 0);
    while drained < DRAINED_BYTES && os::now_ms() < end {
        match client.read(&mut rest) {
            0 => break,
            n => drained += n,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_methods_and_three_pages_are_understood() {
        let page = |page, head_only| Asked::Page { page, head_only };
        let asked = |line: &str| parse(format!("{line}\r\nHost: x\r\n\r\n").as_bytes());
        assert_eq!(asked("GET /metrics HTTP/1.1"), page(Page::Metrics, false));
        assert_eq!(
            asked("HEAD /metrics?x=y HTTP/1.0"),
            page(Page::Metrics, true)
        );
        assert_eq!(
            asked("GET /debug/pprof/heap?seconds=1 HTTP/1.1"),
            page(Page::HeapProfile(Source::Any), false)
        );
        let profile = |query: &str| asked(&format!("GET /debug/pprof/heap?{query} HTTP/1.1"));
        for (query, source) in [
            ("", Source::Any),
            ("debug=0&source=samples", Source::Samples),
            ("source=tracemalloc", Source::Tracemalloc),
        ] {
            assert_eq!(profile(query), page(Page::HeapProfile(source), false));
        }
        assert_eq!(profile("source=else"), Asked::NoSuchSource);
        assert_eq!(asked("GET / HTTP/1.1"), page(Page::Index, false));
        assert_eq!(asked("GET /metrics/ HTTP/1.1"), Asked::NoSuchPage);
        assert_eq!(asked("GET /../etc/passwd HTTP/1.1"), Asked::NoSuchPage);
        assert_eq!(asked("POST /metrics HTTP/1.1"), Asked::OtherMethod);
        for nonsense in [
            "",
            "GET",
            "GET /metrics",
            "GET  /metrics HTTP/1.1",
            "get / HTTP/1.1",
            "GET / HTTP/2",
            "GET x HTTP/1.1",
            "\0\0\0",
        ] {
            assert_eq!(asked(nonsense), Asked::Nonsense, "{nonsense}");
        }
    }

    #[test]
    fn a_head_ends_with_an_empty_line() {
        assert!(is_whole(b"GET / HTTP/1.1\r\n\r\n") && is_whole(b"GET / HTTP/1.1\n\nrest"));
        assert!(!is_whole(b"GET / HTTP/1.1\r\nHost: x\r\n"));
        assert!(
            is_method(b"GE")
                && is_method(b"GET /")
                && !is_method(b"\x16\x03\x01")
                && !is_method(b" ")
        );
    }
}
