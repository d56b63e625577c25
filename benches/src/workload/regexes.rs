//! What does compiling regular expressions cost: syntax trees, automata, caches of a search?

use super::text;
use crate::worker::meter::Meter;
use regex::Regex;
use std::hint::black_box;

const PATTERNS: &[&str] = &[
    r"^\s*(?P<key>[a-z_][a-z0-9_.-]*)\s*[:=]\s*(?P<value>.*?)\s*$",
    r"(?i)\b(arena|pool|block|heap)s?\b\s+(of|in|to)\s+\w{2,20}",
    r"\b\d{1,3}(?:\.\d{1,3}){3}\b",
    r"[[:alpha:]]+ing\b|\p{Lu}\p{Ll}+",
    r"([a-z]+)-([a-z]+)-(\d+)",
    r"(?x) (?:\d{4})-(?:0[1-9]|1[0-2])-(?:[0-2]\d|3[01]) (?:T\d\d:\d\d)?",
    r"(a|b|c|d){2,12}e{1,8}f?",
    r"https?://[\w.-]+(?:/[\w./?&=%-]*)?",
];

pub fn run(m: &mut Meter) -> Result<(), String> {
    let haystack = text::markdown(20);
    let compile = |pattern: &&str| {
        let regex = Regex::new(pattern).expect("the patterns are regular expressions");
        black_box(regex.find_iter(haystack.as_str()).take(20).count());
        regex
    };
    let rounds = m.pick(15, 240);
    m.time(rounds * PATTERNS.len() as u64, || {
        for _ in 0..rounds {
            black_box(PATTERNS.iter().map(compile).collect::<Vec<_>>());
        }
    });
    let live: Vec<_> = PATTERNS.iter().map(compile).collect();
    m.live();
    drop(live);
    Ok(())
}
