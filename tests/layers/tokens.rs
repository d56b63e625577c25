//! Just enough of Rust's grammar to read paths and items: comments, strings and tests are left out.

/// What a rule looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An identifier, keyword or number.
    Word(String),
    /// `::`.
    Separator,
    /// Any other sign.
    Sign(char),
    /// A string or character literal, whatever it says.
    Literal,
}

/// One token and the line it stands on, from 1.
#[derive(Clone, Debug)]
pub struct Token {
    pub kind: Kind,
    pub line: usize,
}

impl Token {
    /// Whether this is the word `text`.
    pub fn is(&self, text: &str) -> bool {
        matches!(&self.kind, Kind::Word(word) if word == text)
    }

    /// Whether this is the sign `sign`.
    pub fn sign(&self, sign: char) -> bool {
        self.kind == Kind::Sign(sign)
    }

    /// Its text, if it is a word.
    pub fn word(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }
}

/// The tokens of `text`, items under `#[cfg(test)]` left out.
pub fn read(text: &str) -> Vec<Token> {
    without_tests(&scan(text))
}

fn scan(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < chars.len() {
        let start = at;
        let (kind, end) = one(&chars, at);
        at = end.max(start + 1);
        tokens.extend(kind.map(|kind| Token { kind, line }));
        line += chars[start..at.min(chars.len())]
            .iter()
            .filter(|&&c| c == '\n')
            .count();
    }
    tokens
}

/// The token at `at`, if it is one that counts, and where the next begins.
fn one(chars: &[char], at: usize) -> (Option<Kind>, usize) {
    let next = |offset: usize| chars.get(at + offset).copied().unwrap_or('\0');
    match chars[at] {
        '/' if next(1) == '/' => (None, find(chars, at, |c| c == '\n')),
        '/' if next(1) == '*' => (None, end_of_comment(chars, at)),
        '"' => (Some(Kind::Literal), end_of_string(chars, at + 1)),
        '\'' if next(1) == '\\' || next(2) == '\'' => {
            // One character, or an escape: the closing quote is the next that is not escaped.
            let from = if next(1) == '\\' { at + 3 } else { at + 2 };
            (Some(Kind::Literal), find(chars, from, |c| c == '\'') + 1)
        }
        '\'' => (None, find(chars, at + 1, |c| !is_word(c))),
        ':' if next(1) == ':' => (Some(Kind::Separator), at + 2),
        c if is_word(c) => {
            let end = find(chars, at, |c| !is_word(c));
            let word: String = chars[at..end].iter().collect();
            let opens = chars.get(end).copied().unwrap_or('\0');
            match word.as_str() {
                "b" | "c" if opens == '"' => (Some(Kind::Literal), end_of_string(chars, end + 1)),
                "r" | "br" | "cr" if opens == '"' || opens == '#' => raw_string(chars, end, word),
                _ => (Some(Kind::Word(word)), end),
            }
        }
        c if c.is_whitespace() => (None, at + 1),
        c => (Some(Kind::Sign(c)), at + 1),
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn find(chars: &[char], from: usize, stop: impl Fn(char) -> bool) -> usize {
    (from..chars.len())
        .find(|&at| stop(chars[at]))
        .unwrap_or(chars.len())
}

fn end_of_comment(chars: &[char], from: usize) -> usize {
    let mut depth = 0;
    let mut at = from;
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn end_of_string(chars: &[char], from: usize) -> usize {
    let mut at = from;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// What follows `r`: a raw string, or `#` after a word that happens to be called so (`r#type`).
fn raw_string(chars: &[char], from: usize, word: String) -> (Option<Kind>, usize) {
    let open = find(chars, from, |c| c != '#');
    if chars.get(open) != Some(&'"') {
        return (Some(Kind::Word(word)), from);
    }
    let hashes = open - from;
    let closes = |at: &usize| {
        chars[*at] == '"'
            && chars[at + 1..]
                .iter()
                .take(hashes)
                .filter(|&&c| c == '#')
                .count()
                == hashes
    };
    let end = (open + 1..chars.len()).find(closes);
    (
        Some(Kind::Literal),
        end.map_or(chars.len(), |at| at + 1 + hashes),
    )
}

/// Leaves out each item marked `#[cfg(test)]` or `#[test]`, to its closing brace or semicolon.
fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match marks_test(&tokens[at..]) {
            Some(length) => at = end_of_item(tokens, at + length),
            None => {
                kept.push(tokens[at].clone());
                at += 1;
            }
        }
    }
    kept
}

/// Length of the attribute, if one for tests stands first.
fn marks_test(tokens: &[Token]) -> Option<usize> {
    let shape: &[&str] = &["#", "[", "cfg", "(", "test", ")", "]"];
    let short: &[&str] = &["#", "[", "test", "]"];
    [shape, short].into_iter().find_map(|shape| {
        let same = tokens.len() >= shape.len()
            && shape.iter().zip(tokens).all(|(text, token)| {
                token.is(text) || token.sign(text.chars().next().unwrap_or(' '))
            });
        same.then_some(shape.len())
    })
}

fn end_of_item(tokens: &[Token], from: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match token.kind {
            Kind::Sign('{' | '(' | '[') => depth += 1,
            Kind::Sign('}') if depth == 1 => return at + 1,
            Kind::Sign('}' | ')' | ']') => depth -= 1,
            Kind::Sign(';') if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// A path as written, `{…}` taken apart, and the line it begins on.
#[derive(Clone, Debug)]
pub struct Path {
    pub words: Vec<String>,
    pub line: usize,
    /// The inline modules it stands in.
    pub inside: Vec<String>,
}

/// All paths with at least one `::`, groups taken apart, and lone words after `use`.
pub fn paths(tokens: &[Token]) -> Vec<Path> {
    let mut found = Vec::new();
    // Open braces: the name of the module that each opens, if it opens one.
    let mut braces: Vec<Option<String>> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let token = &tokens[at];
        if token.sign('{') {
            let opens = at >= 2 && tokens[at - 2].is("mod");
            braces.push(
                opens
                    .then(|| tokens[at - 1].word().map(str::to_owned))
                    .flatten(),
            );
        } else if token.sign('}') {
            braces.pop();
        }
        let begins = token.word().is_some()
            && (at == 0 || tokens[at - 1].kind != Kind::Separator)
            && (separates(tokens, at + 1) || (at > 0 && tokens[at - 1].is("use")));
        if !begins {
            at += 1;
            continue;
        }
        let inside: Vec<String> = braces.iter().flatten().cloned().collect();
        let mut words = Vec::new();
        at = expand(tokens, at, &mut words, &mut |words, line| {
            found.push(Path {
                words: words.to_vec(),
                line,
                inside: inside.clone(),
            });
        });
    }
    found
}

fn separates(tokens: &[Token], at: usize) -> bool {
    tokens
        .get(at)
        .is_some_and(|token| token.kind == Kind::Separator)
}

/// Reads one path or group from `at`; calls `emit` for each complete path. Where it ends.
fn expand(
    tokens: &[Token],
    mut at: usize,
    words: &mut Vec<String>,
    emit: &mut impl FnMut(&[String], usize),
) -> usize {
    let depth = words.len();
    let line = tokens[at].line;
    while let Some(word) = tokens.get(at).and_then(Token::word) {
        words.push(word.to_owned());
        at += 1;
        if !separates(tokens, at) {
            emit(words, line);
            words.truncate(depth);
            return at;
        }
        at += 1;
    }
    if tokens.get(at).is_some_and(|token| token.sign('{')) {
        at += 1;
        while at < tokens.len() && !tokens[at].sign('}') {
            match tokens[at].kind {
                Kind::Word(_) | Kind::Sign('{') => at = expand(tokens, at, words, emit),
                _ => at += 1,
            }
        }
        at += 1;
    } else {
        // `path::*` or `path::<T>`.
        emit(words, line);
    }
    words.truncate(depth);
    at
}
