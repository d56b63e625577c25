//! The command lines of `pymalloc live` and `pymalloc serve`.

use super::record::{bytes, value};
use super::{Command, Program, UsageError, next, spelled};
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
usage: pymalloc serve --listen ADDRESS [OPTIONS] [--] PROGRAM ARGS...
       pymalloc serve --listen ADDRESS FILE

Runs PROGRAM with libpymalloc.so preloaded, which serves its figures over HTTP;
or serves those of a program that is being recorded into FILE by 'pymalloc
profile' or 'pymalloc record'. A name alone is a FILE if it ends in .pmrec or
is a recording.

  /metrics           OpenMetrics text, for Prometheus
  /debug/pprof/heap  a heap profile, for pprof and continuous profilers

  --listen ADDRESS   a loopback address and port such as 127.0.0.1:9123 (port 0:
                     any free one, which is said), or unix:PATH. Others are
                     refused: there is no access control

and of a PROGRAM:
  --sample BYTES     the heap profile knows one block for every so many bytes
                     that are allocated; otherwise 512K; 0: every block
  --frames N         calls kept of each stack, 1 to 64; otherwise 32
  --no-profile       keep none
  --follow           processes it starts serve, too: at any free port, or at
                     PATH.PID
  --lib PATH         the library, as for 'run'
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
    /// `--lib`.
    pub lib: Option<PathBuf>,
    /// `--sample`; `None` for no heap profile.
    pub sample: Option<u64>,
    /// `--frames`.
    pub frames: u32,
    /// `--follow`.
    pub follow: bool,
    /// PROGRAM and ARGS, or FILE alone.
    pub program: Program,
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
    let (mut listen, mut lib, mut follow) = (None, None, false);
    let (mut sample, mut frames) = (Some(512 << 10), 32);
    let mut program = None;
    while let Some(arg) = next(parser)? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::ServeHelp),
            Arg::Long("listen") => {
                let (option, accepted) = ("--listen", "a loopback ADDRESS:PORT or unix:PATH");
                let text = value(parser, option, accepted)?;
                let place = text.to_str().and_then(listen_at);
                listen = Some(place.ok_or(UsageError::BadValue { option, accepted })?);
            }
            Arg::Long("lib") => {
                let path = parser.value().map_err(|_| UsageError::NoLibPath)?;
                lib = Some(path.into());
            }
            Arg::Long("sample") => sample = Some(bytes(parser, "--sample")?),
            Arg::Long("no-profile") => sample = None,
            Arg::Long("follow") => follow = true,
            Arg::Long("frames") => {
                let (option, accepted) = ("--frames", "a number from 1 to 64");
                let text = value(parser, option, accepted)?;
                let number = text.to_str().and_then(|text| text.parse().ok());
                let bad = UsageError::BadValue { option, accepted };
                frames = number.filter(|n| (1..=64).contains(n)).ok_or(bad)?;
            }
            Arg::Value(name) => {
                // Fails only in the middle of an option's letters, which a value ends.
                let args = parser.raw_args().map(Iterator::collect).unwrap_or_default();
                program = Some(Program { name, args });
                break;
            }
            option => {
                let option = spelled(option);
                return Err(UsageError::UnknownOptionOf { option, command });
            }
        }
    }
    let missing = |what| UsageError::Missing { command, what };
    Ok(Command::Serve(Serve {
        listen: listen.ok_or(missing("--listen ADDRESS"))?,
        lib,
        sample,
        frames,
        follow,
        program: program.ok_or(missing("a PROGRAM or one FILE"))?,
    }))
}

fn listen_at(text: &str) -> Option<Listen> {
    if let Some(path) = text.strip_prefix("unix:") {
        // The library takes no longer one.
        let fits = (1..=96).contains(&path.len());
        return fits.then(|| Listen::Unix(path.into()));
    }
    let address: SocketAddr = text.parse().ok()?;
    address.ip().is_loopback().then_some(Listen::Tcp(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_the_program_is_its_own() {
        use super::super::parse;
        let line = "pymalloc serve --listen unix:/x --sample 1M --follow ls --sample -o y";
        let parsed = parse(line.split(' ').map(Into::into));
        let expected = Serve {
            listen: Listen::Unix("/x".into()),
            lib: None,
            sample: Some(1 << 20),
            frames: 32,
            follow: true,
            program: Program {
                name: "ls".into(),
                args: vec!["--sample".into(), "-o".into(), "y".into()],
            },
        };
        assert_eq!(parsed, Ok(Command::Serve(expected)));
        let bad = |line: &str| {
            let parsed = parse(line.split(' ').map(Into::into));
            parsed.expect_err("a mistake").to_string()
        };
        assert_eq!(bad("pymalloc serve ls"), "serve needs --listen ADDRESS");
        assert_eq!(
            bad("pymalloc serve --listen 127.0.0.1:1"),
            "serve needs a PROGRAM or one FILE"
        );
        assert_eq!(
            bad("pymalloc serve --listen 0.0.0.0:1 ls"),
            "option '--listen' needs a loopback ADDRESS:PORT or unix:PATH"
        );
    }

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
