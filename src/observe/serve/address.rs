//! Where to serve: a loopback address and port, or a socket in the file system. Nowhere else, because there is no
//! access control.

use crate::os;
use core::fmt::{self, Write};
use core::net::SocketAddr;

/// What introduces a path.
const UNIX: &str = "unix:";

/// Most bytes of a path, so that one with a process's number still fits into the system's structure of 108.
const PATH_BYTES: usize = 96;

/// A path that ends in a nul.
pub type PathText = os::Text<108>;

/// Where to listen.
#[derive(Clone)]
pub enum Address {
    /// A loopback address.
    Loopback(SocketAddr),
    /// A socket in the file system.
    Unix(PathText),
}

impl Address {
    /// Reads `127.0.0.1:9123`, `[::1]:9123` or `unix:PATH`. `None` for anything else.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if let Some(path) = text.strip_prefix(UNIX.as_bytes()) {
            if path.is_empty() || path.len() > PATH_BYTES || path.contains(&0) {
                return None;
            }
            let mut place = PathText::new();
            place.write_bytes(path);
            return Some(Self::Unix(place));
        }
        let address: SocketAddr = core::str::from_utf8(text).ok()?.parse().ok()?;
        address
            .ip()
            .is_loopback()
            .then_some(Self::Loopback(address))
    }

    /// Notes the port that was found; a path has none.
    pub fn set_port(&mut self, port: u16) {
        if let Self::Loopback(address) = self {
            address.set_port(port);
        }
    }

    /// That of another process, which cannot have this one: any free port, or a path with its number.
    pub fn of_process(&self, pid: u32) -> Self {
        let mut other = self.clone();
        match &mut other {
            Self::Loopback(address) => address.set_port(0),
            Self::Unix(path) => {
                // There is room: see `PATH_BYTES`.
                let _ = write!(path, ".{pid}");
            }
        }
        other
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback(address) => write!(out, "http://{address}/metrics"),
            Self::Unix(path) => {
                let path = core::str::from_utf8(path.as_bytes()).unwrap_or("?");
                write!(out, "{UNIX}{path}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Option<String> {
        Address::parse(text.as_bytes()).map(|address| address.to_string())
    }

    #[test]
    fn only_loopback_addresses_and_paths_are_taken() {
        let http = |place: &str| Some(format!("http://{place}/metrics"));
        for good in ["127.0.0.1:9123", "127.1.2.3:0", "[::1]:80"] {
            assert_eq!(shown(good), http(good));
        }
        assert_eq!(shown("unix:/run/x"), Some("unix:/run/x".into()));
        let long = format!("unix:/{}", "x".repeat(PATH_BYTES));
        let others = [
            "0.0.0.0:80",
            "10.1.2.3:80",
            "[::]:80",
            "localhost:80",
            "127.0.0.1",
            "127.0.0.1:99999",
            "unix:",
            "",
            &long,
        ];
        for bad in others {
            assert_eq!(shown(bad), None, "{bad}");
        }
    }

    #[test]
    fn another_process_listens_beside_it() {
        let of = |text: &str| {
            let address = Address::parse(text.as_bytes()).expect("an address");
            address.of_process(4711).to_string()
        };
        assert_eq!(of("unix:/run/x"), "unix:/run/x.4711");
        assert_eq!(of("127.0.0.1:80"), "http://127.0.0.1:0/metrics");
    }
}
