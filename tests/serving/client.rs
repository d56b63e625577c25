//! What asks a program that serves.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A connection to a place.
pub enum Client {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Client {
    /// Connects; `None` when nobody listens there.
    pub fn to(place: &str) -> Option<Self> {
        let patience = Some(Duration::from_secs(20));
        if let Some(path) = place.strip_prefix("unix:") {
            let stream = UnixStream::connect(path).ok()?;
            stream.set_read_timeout(patience).expect("set");
            return Some(Self::Unix(stream));
        }
        let address = place.strip_prefix("http://").unwrap_or(place);
        let address = address.strip_suffix("/metrics").unwrap_or(address);
        let stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(patience).expect("set");
        Some(Self::Tcp(stream))
    }

    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Unix(stream) => stream.write_all(bytes),
        }
    }

    /// All that comes until the end.
    pub fn rest(mut self) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match &mut self {
            Self::Tcp(stream) => stream.read_to_end(&mut bytes)?,
            Self::Unix(stream) => stream.read_to_end(&mut bytes)?,
        };
        Ok(bytes)
    }
}

/// Head and body of the answer to `METHOD PATH`.
pub fn asked(place: &str, line: &str) -> (String, Vec<u8>) {
    let mut client = Client::to(place).unwrap_or_else(|| panic!("nobody at {place}"));
    let request = format!("{line} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n");
    client.send(request.as_bytes()).expect("sent");
    let answer = client.rest().expect("an answer");
    let end = answer.windows(4).position(|part| part == b"\r\n\r\n");
    let end = end.expect("a head");
    let head = String::from_utf8(answer[..end].to_vec()).expect("text");
    let len = format!("Content-Length: {}", answer.len() - end - 4);
    assert!(line.starts_with("HEAD") || head.contains(&len), "{head}");
    (head, answer[end + 4..].to_vec())
}

/// The metrics page.
pub fn metrics(place: &str) -> String {
    let (head, body) = asked(place, "GET /metrics");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let text = String::from_utf8(body).expect("text");
    assert!(text.ends_with("# EOF\n"), "{text}");
    text
}

/// The value of a metric, its labels included in the name.
pub fn metric(text: &str, name: &str) -> u64 {
    let start = format!("pymalloc_{name} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&start));
    value.expect("the metric").parse().expect("a number")
}
