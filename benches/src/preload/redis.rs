//! The load of the redis row: commands over the server's socket, the same every time, and its end.
//!
//! The server is the measured program; this runs in a process of its own beside it, without the library.

use std::io::{BufWriter, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// `pymalloc-bench load-redis N` in the server's folder.
pub const COMMAND: &str = "load-redis";
/// The server's socket, in its folder.
pub const SOCKET: &str = "redis.sock";
/// Commands sent before their answers are read.
const PIPELINE: u64 = 100;

/// Sends `N` commands and ends the server.
pub fn main(mut args: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    let n = args.next().and_then(|n| n.to_str()?.parse().ok());
    let Some(n) = n else {
        eprintln!("usage: {COMMAND} N");
        return ExitCode::from(2);
    };
    match load(n) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{SOCKET}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn connect() -> std::io::Result<UnixStream> {
    let started = Instant::now();
    loop {
        match UnixStream::connect(SOCKET) {
            Err(_) if started.elapsed() < Duration::from_secs(20) => {
                std::thread::sleep(Duration::from_millis(2));
            }
            other => return other,
        }
    }
}

/// One command in redis' own protocol.
fn send(to: &mut impl Write, words: &[&[u8]]) -> std::io::Result<()> {
    write!(to, "*{}\r\n", words.len())?;
    for word in words {
        write!(to, "${}\r\n", word.len())?;
        to.write_all(word)?;
        to.write_all(b"\r\n")?;
    }
    Ok(())
}

/// The command number `i`: strings that grow, hashes, lists, sets with scores; a tenth is deleted again.
fn command(i: u64, to: &mut impl Write, text: &[u8]) -> std::io::Result<()> {
    let random = (i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let key = format!("key:{}", (random >> 20) % 20_000);
    let kind = (random >> 40) % 10;
    let size = [3, 20, 60, 200, 900][(random >> 50) as usize % 5];
    let value = &text[(random >> 55) as usize..][..size];
    let number = format!("{}", random % 1000);
    let key = |prefix: &str| format!("{prefix}{key}").into_bytes();
    match kind {
        0..=2 => send(to, &[b"SET", &key("s"), value]),
        3 => send(to, &[b"APPEND", &key("s"), value]),
        4 | 5 => send(to, &[b"HSET", &key("h"), number.as_bytes(), value]),
        6 => send(to, &[b"RPUSH", &key("l"), value]),
        7 => send(to, &[b"LPOP", &key("l")]),
        8 => send(to, &[b"ZADD", &key("z"), number.as_bytes(), value]),
        _ => send(to, &[b"DEL", &key("s"), &key("h"), &key("z")]),
    }
}

fn load(n: u64) -> std::io::Result<()> {
    let socket = connect()?;
    let mut answers = socket.try_clone()?;
    let mut to = BufWriter::new(socket);
    let text: Vec<u8> = (0..2048u32).map(|i| b'a' + (i * i % 26) as u8).collect();
    let mut buffer = vec![0; 64 << 10];
    for start in (0..n).step_by(PIPELINE as usize) {
        for i in start..(start + PIPELINE).min(n) {
            command(i, &mut to, &text)?;
        }
        // PING answers last; its answer is like no other.
        send(&mut to, &[b"ECHO", b"end-of-pipeline"])?;
        to.flush()?;
        wait_for(b"end-of-pipeline\r\n", &mut answers, &mut buffer)?;
    }
    send(&mut to, &[b"SHUTDOWN", b"NOSAVE"])?;
    to.flush()
}

/// Reads answers until they end in `end`.
fn wait_for(end: &[u8], answers: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<()> {
    let mut last: Vec<u8> = Vec::new();
    loop {
        let n = answers.read(buffer)?;
        if n == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        last.extend_from_slice(&buffer[n.saturating_sub(end.len())..n]);
        if last.ends_with(end) {
            return Ok(());
        }
        last.drain(..last.len().saturating_sub(end.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_written_in_redis_own_protocol() {
        let mut out = Vec::new();
        send(&mut out, &[b"SET", b"k", b"value"]).unwrap();
        assert_eq!(out, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n");
    }

    #[test]
    fn an_end_is_found_across_two_reads() {
        let mut answers = (&b"+OK\r\nen"[..]).chain(&b"d\r\n"[..]);
        let mut buffer = [0; 16];
        wait_for(b"end\r\n", &mut answers, &mut buffer).unwrap();
        assert!(wait_for(b"end\r\n", &mut &b"x"[..], &mut buffer).is_err());
    }
}
