//! Which traces are looked at.

use super::frame::{Frame, Traceback};

/// Keeps or drops traces by the file, line and domain they were made in.
///
/// Read the pattern with [`Filter::filename_pattern`]; the rest are fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Whether what matches is kept; otherwise it is dropped.
    pub inclusive: bool,
    filename_pattern: String,
    /// The line; `None` for any. 0 is a line of its own: that of frames whose line is not known.
    pub lineno: Option<u32>,
    /// Whether any frame may match; otherwise the most recent one must.
    pub all_frames: bool,
    /// The domain; `None` for any.
    pub domain: Option<u32>,
}

/// Keeps or drops traces by their domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DomainFilter {
    /// Whether what matches is kept; otherwise it is dropped.
    pub inclusive: bool,
    domain: u32,
}

/// One of the two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnyFilter {
    /// By place.
    Place(Filter),
    /// By domain.
    Domain(DomainFilter),
}

impl From<Filter> for AnyFilter {
    fn from(filter: Filter) -> Self {
        Self::Place(filter)
    }
}

impl From<DomainFilter> for AnyFilter {
    fn from(filter: DomainFilter) -> Self {
        Self::Domain(filter)
    }
}

impl AnyFilter {
    /// Whether what matches is kept.
    pub fn is_inclusive(&self) -> bool {
        match self {
            Self::Place(filter) => filter.inclusive,
            Self::Domain(filter) => filter.inclusive,
        }
    }

    pub(super) fn passes(&self, domain: u32, traceback: &Traceback) -> bool {
        match self {
            Self::Place(filter) => filter.matches(domain, traceback),
            Self::Domain(filter) => filter.matches(domain),
        }
    }
}

impl DomainFilter {
    /// A filter.
    pub fn new(inclusive: bool, domain: u32) -> Self {
        Self { inclusive, domain }
    }

    /// The domain.
    pub fn domain(&self) -> u32 {
        self.domain
    }

    fn matches(&self, domain: u32) -> bool {
        (domain == self.domain) == self.inclusive
    }
}

impl Filter {
    /// A filter for files whose name matches a shell's pattern, any line, the most recent frame, any domain.
    pub fn new(inclusive: bool, filename_pattern: &str) -> Self {
        Self {
            inclusive,
            filename_pattern: normalized(filename_pattern),
            lineno: None,
            all_frames: false,
            domain: None,
        }
    }

    /// For one line.
    pub fn with_lineno(self, lineno: u32) -> Self {
        let lineno = Some(lineno);
        Self { lineno, ..self }
    }

    /// For all frames of a traceback.
    pub fn with_all_frames(self) -> Self {
        Self {
            all_frames: true,
            ..self
        }
    }

    /// For one domain.
    pub fn with_domain(self, domain: u32) -> Self {
        let domain = Some(domain);
        Self { domain, ..self }
    }

    /// The pattern.
    pub fn filename_pattern(&self) -> &str {
        &self.filename_pattern
    }

    fn is_at(&self, frame: &Frame) -> bool {
        matches_pattern(&normalized(&frame.filename), &self.filename_pattern)
            && self.lineno.is_none_or(|lineno| lineno == frame.lineno)
    }

    /// Whether a frame passes.
    pub fn matches_frame(&self, filename: &str, lineno: u32) -> bool {
        self.is_at(&Frame::new(filename, lineno)) == self.inclusive
    }

    /// Whether a traceback passes.
    pub fn matches_traceback(&self, traceback: &Traceback) -> bool {
        if self.all_frames {
            let any = traceback.frames().iter().any(|frame| self.is_at(frame));
            return any == self.inclusive;
        }
        let recent = traceback.most_recent();
        recent.is_some_and(|frame| self.is_at(frame)) == self.inclusive
    }

    fn matches(&self, domain: u32, traceback: &Traceback) -> bool {
        let result = self.matches_traceback(traceback);
        match self.domain {
            None => result,
            Some(own) if self.inclusive => result && own == domain,
            Some(own) => result || own != domain,
        }
    }
}

/// A compiled Python file stands for its source.
fn normalized(filename: &str) -> String {
    match filename.strip_suffix(".pyc") {
        Some(stem) => format!("{stem}.py"),
        None => filename.to_owned(),
    }
}

/// A shell's pattern as Python's `fnmatchcase` reads it: `*`, `?`, `[set]`, `[!set]`; all of the name.
fn matches_pattern(name: &str, pattern: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    let pattern: Vec<char> = pattern.chars().collect();
    let (mut at, mut place) = (0, 0);
    // Where the last star stands, and how much of the name it has taken.
    let mut star: Option<(usize, usize)> = None;
    loop {
        if place < pattern.len() && pattern[place] == '*' {
            star = Some((place, at));
            place += 1;
            continue;
        }
        if at == name.len() && place == pattern.len() {
            return true;
        }
        let next = (at < name.len())
            .then(|| one(name[at], &pattern[place..]))
            .flatten();
        match (next, star) {
            (Some(len), _) => {
                at += 1;
                place += len;
            }
            (None, Some((start, taken))) if taken < name.len() => {
                star = Some((start, taken + 1));
                (at, place) = (taken + 1, start + 1);
            }
            _ => return false,
        }
    }
}

/// The length of the pattern's first element if it matches the letter.
fn one(letter: char, pattern: &[char]) -> Option<usize> {
    match *pattern.first()? {
        '?' => Some(1),
        '[' => {
            let Some((negated, set, len)) = set(pattern) else {
                return (letter == '[').then_some(1);
            };
            (in_set(letter, set) != negated).then_some(len)
        }
        own => (own == letter).then_some(1),
    }
}

/// The letters between the brackets; `None` when the bracket is not closed. A `]` may come first.
fn set(pattern: &[char]) -> Option<(bool, &[char], usize)> {
    let negated = pattern.get(1) == Some(&'!');
    let start = 1 + usize::from(negated);
    let first = start + usize::from(pattern.get(start) == Some(&']'));
    let end = first
        + pattern
            .get(first..)?
            .iter()
            .position(|letter| *letter == ']')?;
    Some((negated, &pattern[start..end], end + 1))
}

fn in_set(letter: char, set: &[char]) -> bool {
    let mut at = 0;
    while at < set.len() {
        if at + 2 < set.len() && set[at + 1] == '-' {
            if (set[at]..=set[at + 2]).contains(&letter) {
                return true;
            }
            at += 3;
        } else {
            if set[at] == letter {
                return true;
            }
            at += 1;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_pythons() {
        let cases = [
            ("abc", "abc", true),
            ("abc", "ab", false),
            ("ab", "abc", false),
            ("", "", true),
            ("a", "", false),
            ("", "*", true),
            ("abc", "*", true),
            ("abc", "a*c", true),
            ("abbc", "a*c", true),
            ("abdcx", "a*c*e", false),
            ("abcddceX", "a*c*e", false),
            ("abcddce", "a*c*e", true),
            ("aXbXc", "a*b*c", true),
            ("a.py", "?.py", true),
            ("x1", "x[0-9]", true),
            ("xa", "x[!0-9]", true),
            ("x]", "x[]]", true),
            ("x[", "x[", true),
            ("A", "a", false),
            ("a/b", "a*b", true),
        ];
        for (name, pattern, expected) in cases {
            assert_eq!(matches_pattern(name, pattern), expected, "{name} {pattern}");
        }
    }
}
