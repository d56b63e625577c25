//! The command lines of `pymalloc live` and `pymalloc serve`.

use super::record::value;
use super::{Command, UsageError, next, spelled};
use lexopt::Arg;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// `pymalloc live --help`.
pub const LIVE_HELP: &str = "\
usage: pymalloc live [OPTIONS] FILE

Shows, again and again, where the memory of a program is that is being recorded
into FILE by 'pymalloc profile' or 'pymalloc record'; ends with it.

  --interval SECONDS between two looks; otherwise 1
  --limit N          places shown; otherwise 15
  --once             look once, and do not clear the screen
  --help             this text
";

/// `pymalloc serve --help`.
pub const SERVE_HELP: &str = "\
usage: pymalloc serve --listen ADDRESS FILE

Serves the figures of a program that is being recorded into FILE by
'pymalloc profile' or 'pymalloc record', over HTTP:

  /metrics           OpenMetrics text, for Prometheus
  /debug/pprof/heap  a heap profile, for pprof and continuous profilers

  --listen ADDRESS   a loopback address and port such as 127.0.0.1:9123 (port 0:
                     any free one), or unix:PATH. Others are refused: there is
                     no access control
  --help             this text
";

/// `pymalloc live`.
#[derive(Debug, PartialEq)]
pub struct Live {
    /// `--interval`.
    pub interval: Duration,
    /// `--limit`.
    pub limit: usize,
    /// `--once`.
    pub once: bool,
    /// The recording.
    pub file: PathBuf,
}

/// Where to listen.
#[derive(Debug, PartialEq)]
pub enum Listen {
    /// A loopback address.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

/// `pymalloc serve`.
#[derive(Debug, PartialEq)]
pub struct Serve {
    /// `--listen`.
    pub listen: Listen,
    /// The recording.
    pub file: PathBuf,
}

/// Reads what follows `live`.
pub fn parse_live(parser: &mut lexopt::Parser) -> Result<Command, UsageError> {
    let command = "live";
    let (mut interval, mut limit, mut once) = (Duration::from_secs(1), 15, false);
    let mut file = None;
    while let Some(arg) = next(parser)? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::LiveHelp),
            Arg::Long("interval") => {
                let (option, accepted) = ("--interval", "a number of seconds from 0.01");
                let text = value(parser, option, accepted)?;
                let seconds = text.to_str().and_then(|text| text.parse::<f64>().ok());
                let seconds = seconds.filter(|seconds| (0.01..1e6).contains(seconds));
                let bad = UsageError::BadValue { option, accepted };
                interval = Duration::from_secs_f64(seconds.ok_or(bad)?);
            }
            Arg::Long("limit") => {
                let (option, accepted) = ("--limit", "a number from 1");
                let text = value(parser, option, accepted)?;
                let number = text.to_str().and_then(|text| text.parse().ok());
                let bad = UsageError::BadValue { option, accepted };
                limit = number.filter(|n| *n > 0).ok_or(bad)?;
            }
            Arg::Long("once") => once = true,
            Arg::Value(word) if file.is_none() => file = Some(word.into()),
            option => {
                let option = spelled(option);
                return Err(UsageError::UnknownOptionOf { option, command });
            }
        }
    }
    let what = "one FILE";
    Ok(Command::Live(Live {
        interval,
        limit,
        once,
        file: file.ok_or(UsageError::Missing { command, what })?,
    }))
}

/// Reads what follows `serve`.
pub fn parse_serve(parser: &mut lexopt::Parser) -> Result<Command, UsageError> {
    let command = "serve";
    let (mut listen, mut file) = (None, None);
    while let Some(arg) = next(parser)? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::ServeHelp),
            Arg::Long("listen") => {
                let (option, accepted) = ("--listen", "a loopback ADDRESS:PORT or unix:PATH");
                let text = value(parser, option, accepted)?;
                let place = text.to_str().and_then(listen_at);
                listen = Some(place.ok_or(UsageError::BadValue { option, accepted })?);
            }
            Arg::Value(word) if file.is_none() => file = Some(word.into()),
            option => {
                let option = spelled(option);
                return Err(UsageError::UnknownOptionOf { option, command });
            }
        }
    }
    let missing = |what| UsageError::Missing { command, what };
    Ok(Command::Serve(Serve {
        listen: listen.ok_or(missing("--listen ADDRESS"))?,
        file: file.ok_or(missing("one FILE"))?,
    }))
}

fn listen_at(text: &str) -> Option<Listen> {
    if let Some(path) = text.strip_prefix("unix:") {
        return (!path.is_empty()).then(|| Listen::Unix(path.into()));
    }
    let address: SocketAddr = text.parse().ok()?;
    address.ip().is_loopback().then_some(Listen::Tcp(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_are_listened_at() {
        assert!(matches!(listen_at("127.0.0.1:0"), Some(Listen::Tcp(_))));
        assert!(matches!(listen_at("[::1]:80"), Some(Listen::Tcp(_))));
        assert_eq!(
            listen_at("unix:/run/x"),
            Some(Listen::Unix("/run/x".into()))
        );
        for other in ["0.0.0.0:80", "10.1.2.3:80", "localhost", "unix:", ""] {
            assert_eq!(listen_at(other), None, "{other}");
        }
    }
}
