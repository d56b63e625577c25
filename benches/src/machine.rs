//! The line that says where a report was made.

use std::fs;
use std::process::Command;

/// CPU, memory, kernel, C library, compiler, huge pages, and how busy the machine was.
pub fn line() -> String {
    let cpus = std::thread::available_parallelism().map_or(1, |n| n.get());
    let memory =
        field("/proc/meminfo", "MemTotal").and_then(|v| v.split(' ').next()?.parse::<u64>().ok());
    let parts = [
        field("/proc/cpuinfo", "model name").map(|model| format!("{model} × {cpus}")),
        memory.map(|kib| format!("{:.0} GiB", kib as f64 / f64::from(1 << 20))),
        read("/proc/sys/kernel/osrelease").map(|release| format!("Linux {release}")),
        said("ldd", "--version").and_then(|l| Some(format!("glibc {}", l.rsplit(' ').next()?))),
        said("rustc", "--version"),
        said("gcc", "--version"),
        read("/sys/kernel/mm/transparent_hugepage/enabled")
            .map(|thp| format!("THP {}", chosen(&thp))),
        read("/proc/loadavg")
            .and_then(|l| Some(format!("load {} at the start", l.split(' ').next()?))),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

/// The time now, as `20260131-235959` in UTC.
pub fn stamp() -> String {
    let seconds = std::time::UNIX_EPOCH.elapsed().map_or(0, |d| d.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days as i64);
    format!(
        "{year:04}{month:02}{day:02}-{:02}{:02}{:02}",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

/// Year, month and day of a number of days since 1970-01-01 (Howard Hinnant's `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let mp = (5 * day_of_year + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (
        year_of_era + era * 400 + i64::from(month <= 2),
        month,
        day_of_year - (153 * mp + 2) / 5 + 1,
    )
}

fn read(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

/// The value after `key:` in a file of such lines.
fn field(path: &str, key: &str) -> Option<String> {
    let text = read(path)?;
    let (_, value) = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(k, _)| k.trim() == key)?;
    Some(value.trim().to_owned())
}

/// The first line a program prints.
fn said(program: &str, arg: &str) -> Option<String> {
    let output = Command::new(program).arg(arg).output().ok()?;
    Some(
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .next()?
            .to_owned(),
    )
}

/// The word in brackets.
fn chosen(options: &str) -> &str {
    options
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'))
        .map_or(options, |(word, _)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(19_782), (2024, 2, 29));
        assert_eq!(civil(20_453), (2025, 12, 31));
    }

    #[test]
    fn the_word_in_brackets_is_chosen() {
        assert_eq!(chosen("always [madvise] never"), "madvise");
    }
}
