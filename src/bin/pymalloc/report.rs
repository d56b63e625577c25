//! Text for people: what a program used.

use crate::child::Outcome;
use crate::stats_file::Absent;
use crate::summary::Summary;
use crate::system::Ended;
use crate::units::bytes;
use std::ffi::OsStr;
use std::fmt::Write;

/// What `pymalloc run --stats` prints after the program.
pub fn program(
    name: &OsStr,
    outcome: &Outcome,
    summary: &Result<Summary, Absent>,
    own_malloc: bool,
) -> String {
    let mut text = String::new();
    let usage = &outcome.usage;
    line(
        &mut text,
        format_args!(
            "pymalloc: {} (process {}) {}",
            name.display(),
            outcome.pid,
            ended(outcome.ended)
        ),
    );
    line(
        &mut text,
        format_args!(
            "  time {:.3} s, CPU {:.3} s user and {:.3} s system, peak RSS {} (waited-for children included)",
            outcome.wall.as_secs_f64(),
            usage.user.as_secs_f64(),
            usage.system.as_secs_f64(),
            bytes(usage.max_resident_bytes)
        ),
    );
    match summary {
        Ok(summary) => {
            if own_malloc {
                line(&mut text, format_args!("  note: {OWN_MALLOC}"));
            }
            text.push_str(&tables(summary));
        }
        Err(absent) => line(
            &mut text,
            format_args!("  no summary: {}", why(absent, outcome.ended, own_malloc)),
        ),
    }
    text
}

/// The summary's two tables.
pub fn tables(summary: &Summary) -> String {
    let mut text = String::new();
    let n = |count: u64| count.to_string();
    let none = String::new;
    let rows = [
        ("", "at exit".into(), "peak".into(), "in total".into()),
        (
            "mapped",
            bytes(summary.mapped_bytes),
            bytes(summary.mapped_peak_bytes),
            none(),
        ),
        (
            "in blocks",
            bytes(summary.block_bytes),
            bytes(summary.block_peak_bytes),
            none(),
        ),
        (
            "in huge blocks",
            bytes(summary.huge_bytes),
            bytes(summary.huge_peak_bytes),
            none(),
        ),
        (
            "huge blocks",
            n(summary.huge_now),
            none(),
            n(summary.huge_total),
        ),
        (
            "arenas",
            n(summary.arenas_now),
            n(summary.arenas_peak),
            n(summary.arenas_total),
        ),
        (
            "arenas reclaimed",
            none(),
            none(),
            n(summary.arenas_reclaimed),
        ),
        (
            "threads",
            n(summary.threads_now),
            n(summary.threads_peak),
            n(summary.threads_total),
        ),
        ("heaps", none(), none(), n(summary.heaps)),
        ("purged", none(), none(), bytes(summary.purged_bytes)),
        ("foreign frees", none(), none(), n(summary.foreign_frees)),
    ];
    for (name, now, peak, total) in rows {
        line(
            &mut text,
            format_args!("  {name:<17} {now:>12} {peak:>12} {total:>12}"),
        );
    }
    classes(&mut text, summary);
    text
}

/// One line for each size class that has pools.
fn classes(text: &mut String, summary: &Summary) {
    line(
        text,
        format_args!(
            "  {:>5} {:>11} {:>8} {:>10} {:>10} {:>12}",
            "class", "block bytes", "pools", "in use", "available", "bytes in use"
        ),
    );
    for (index, class) in summary.classes.iter().enumerate() {
        if class.pools > 0 {
            let in_use = class.in_use.saturating_mul(u64::from(class.block_bytes));
            line(
                text,
                format_args!(
                    "  {index:>5} {:>11} {:>8} {:>10} {:>10} {:>12}",
                    class.block_bytes,
                    class.pools,
                    class.in_use,
                    class.available,
                    bytes(in_use)
                ),
            );
        }
    }
}

/// Said of an executable that exports a malloc.
const OWN_MALLOC: &str = "the program has its own malloc, so ours passed every call on to it";

/// Why there is no summary, as far as the launcher can know.
fn why(absent: &Absent, ended: Ended, own_malloc: bool) -> String {
    match (absent, ended) {
        (Absent::Unreadable(_) | Absent::Broken(_), _) => absent.to_string(),
        (_, _) if own_malloc => OWN_MALLOC.into(),
        (_, _) if std::env::var_os("PYMALLOC").is_some_and(|mode| mode == "malloc") => {
            "PYMALLOC=malloc makes our malloc pass every call on to the next".into()
        }
        (_, Ended::Signal(signal)) => {
            format!("{} ended the program before it could write one", signal_name(signal))
        }
        (Absent::OtherProcess(pid), _) => {
            format!("process {pid}, which the program started, wrote one, but the program did not (_exit?)")
        }
        (Absent::NotWritten, _) => "the program wrote none: it ended by _exit, executed a program that ignores LD_PRELOAD, brings its own malloc, or changed its user or root".into(),
    }
}

/// How a program ended.
fn ended(ended: Ended) -> String {
    match ended {
        Ended::Status(status) => format!("ended with status {status}"),
        Ended::Signal(signal) => format!("was killed by {}", signal_name(signal)),
    }
}

/// A signal as people call it.
fn signal_name(signal: i32) -> String {
    let name = match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGSYS => "SIGSYS",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

/// Adds a line, without the spaces an empty last column leaves. A `String` refuses nothing.
fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    let _ = writeln!(text, "{}", line.to_string().trim_end());
}
