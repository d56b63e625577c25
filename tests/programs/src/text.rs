//! Text: patterns compiled and matched by `regex`, an index of words in std's ordered maps.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use regex::{Captures, Regex, RegexSet};

use crate::material::Random;

/// Patterns with classes, counted repetition, captures and alternatives.
const PATTERNS: [&str; 8] = [
    r"\b\w+ation\b",
    r"(?i)(?P<first>[a-z]+)\s+(?P<second>[a-z]+)",
    r"\p{Greek}+|\p{Cyrillic}+|\p{Han}{1,3}",
    r"(\w)(\w)?(\w)?(\w)?(\w)?",
    r"(?:pool|arena|block|class)(?: (?:of|the|a)){1,3}",
    r"[^\s\p{ASCII}]+",
    r"(?x) ^ (\S+) \s+ (\S+) # the first two words",
    r"\S{9,14}",
];

/// Compiles each pattern, finds, captures, splits and replaces with it.
pub fn regexes() -> String {
    let mut random = Random::new(4);
    let lines: Vec<_> = (0..60).map(|_| random.sentence(14)).collect();
    let text = lines.join("\n");
    let mut output = String::new();
    for pattern in PATTERNS {
        let regex = Regex::new(pattern).expect("the pattern compiles");
        let found: Vec<String> = regex
            .find_iter(&text)
            .map(|found| found.as_str().to_owned())
            .collect();
        let captures: Vec<_> = lines
            .iter()
            .filter_map(|line| regex.captures(line))
            .collect();
        let groups = captures
            .iter()
            .flat_map(Captures::iter)
            .flatten()
            .map(|group| group.end())
            .sum::<usize>();
        let parts: Vec<_> = regex.split(&text).map(str::to_owned).collect();
        let longer = regex.replace_all(&text, |found: &Captures<'_>| format!("<{}>", &found[0]));
        write!(
            output,
            "{pattern}: {groups} {} {} {longer}",
            found.join(","),
            parts.len()
        )
        .expect("writing to a String cannot fail");
    }
    let set = RegexSet::new(PATTERNS).expect("the patterns compile");
    let error = Regex::new(&format!("({}", PATTERNS[0])).expect_err("a parenthesis is open");
    writeln!(
        output,
        "{:?} {error}",
        lines
            .iter()
            .map(|line| set.matches(line).len())
            .collect::<Vec<_>>()
    )
    .expect("writing to a String cannot fail");
    output
}

/// Enters, finds and deletes documents in an index from word pairs to documents.
pub fn index() -> String {
    let mut random = Random::new(5);
    let mut index: BTreeMap<String, BTreeSet<Box<str>>> = BTreeMap::new();
    let mut documents: Vec<(Box<str>, String)> = Vec::new();
    let pairs = |text: &str| {
        let words: Vec<_> = text.split(' ').collect();
        words
            .windows(2)
            .map(|pair| pair.join(" "))
            .collect::<Vec<_>>()
    };
    let mut output = String::new();
    for number in 0..5000 {
        let document = (
            format!("document {number}").into_boxed_str(),
            random.sentence(12),
        );
        for pair in pairs(&document.1) {
            index.entry(pair).or_default().insert(document.0.clone());
        }
        documents.push(document);
        if random.below(2) == 0 {
            let (name, text) = documents.swap_remove(random.below(documents.len()));
            for pair in pairs(&text) {
                if let Some(holders) = index.get_mut(&pair) {
                    holders.remove(&name);
                    if holders.is_empty() {
                        index.remove(&pair);
                    }
                }
            }
        }
        if number % 100 == 0 {
            let tail = index.split_off("m");
            writeln!(output, "{number}: {} {}", index.len(), tail.len())
                .expect("writing to a String cannot fail");
            index.extend(tail);
        }
    }
    writeln!(output, "{index:?}").expect("writing to a String cannot fail");
    output
}
