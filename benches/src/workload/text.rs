//! Inputs of the crate workloads, generated: the same bytes everywhere, no file to ship or fetch.

use crate::worker::rng::Rng;
use crate::worker::scratch::Text;
use std::fmt::Write;

const WORDS: &[&str] = &[
    "arena",
    "pool",
    "block",
    "heap",
    "thread",
    "size",
    "class",
    "page",
    "purge",
    "drain",
    "chain",
    "memory",
    "of",
    "the",
    "and",
    "a",
    "in",
    "to",
    "is",
    "allocator",
    "returns",
    "system",
    "program",
    "measure",
    "faster",
    "slower",
];

/// Room for the largest input, bytes; only what is written is used.
const ROOM: usize = 16 << 20;

/// A text that `fill` writes.
fn text(seed: u64, mut fill: impl FnMut(&mut Text, &mut Rng) -> std::fmt::Result) -> Text {
    let mut text = Text::new(ROOM);
    fill(&mut text, &mut Rng::new(seed)).expect("generated inputs fit their room");
    text
}

fn words(to: &mut Text, rng: &mut Rng, n: usize) -> std::fmt::Result {
    for i in 0..n {
        let gap = if i == 0 { "" } else { " " };
        write!(to, "{gap}{}", WORDS[rng.below(WORDS.len())])?;
    }
    Ok(())
}

/// A JSON document of `n` nested records.
pub fn json(n: usize) -> Text {
    text(1, |to, rng| {
        to.write_str("[")?;
        for i in 0..n {
            let gap = if i == 0 { "" } else { "," };
            write!(
                to,
                "{gap}{{\"id\":{i},\"score\":{}.{},\"name\":\"",
                rng.below(1000),
                rng.below(1000)
            )?;
            words(to, rng, 3)?;
            to.write_str("\",\"tags\":[")?;
            for t in 0..rng.below(6) {
                let gap = if t == 0 { "" } else { "," };
                write!(to, "{gap}\"{}\"", WORDS[rng.below(WORDS.len())])?;
            }
            write!(
                to,
                "],\"place\":{{\"x\":{},\"y\":{},\"open\":true,\"note\":\"",
                rng.below(90),
                rng.below(180)
            )?;
            words(to, rng, 8)?;
            to.write_str("\",\"next\":null}}")?;
        }
        to.write_str("]")
    })
}

/// Rust source with `n` structs, their methods, enums and tests of generic code.
pub fn rust(n: usize) -> Text {
    text(2, |to, rng| {
        for i in 0..n {
            write!(to, "/// ")?;
            words(to, rng, 9)?;
            write!(
                to,
                "\n#[derive(Clone, Debug)]\npub struct S{i}<'a, T: Clone + 'a> where T: Send {{\n    pub first: Option<&'a T>,\n    \
                 pub list: Vec<Box<dyn Fn(u32, &str) -> Result<T, String> + 'a>>,\n    n: [u8; {}],\n}}\n\
                 impl<'a, T: Clone + Send> S{i}<'a, T> {{\n    pub fn step(&mut self, by: usize) -> Option<u64> {{\n",
                rng.below(64)
            )?;
            for line in 0..4 + rng.below(8) {
                writeln!(
                    to,
                    "        let v{line} = match by.checked_mul({0}) {{ Some(x) if x > {1} => x + self.n.iter().map(|b| *b as usize).sum::<usize>(), Some(x) => x - {1}, None => return None }};",
                    rng.below(100),
                    rng.below(50)
                )?;
            }
            write!(
                to,
                "        for (i, f) in self.list.iter().enumerate() {{ if let Ok(t) = f(i as u32, \"{0}\") {{ self.first = None; drop(t); }} }}\n        \
                 Some(v0 as u64)\n    }}\n}}\nenum E{i} {{ {0}(u32), B {{ x: f64, y: f64 }}, C }}\n",
                "Word"
            )?;
        }
        Ok(())
    })
}

/// A Markdown document of `n` sections.
pub fn markdown(n: usize) -> Text {
    text(3, |to, rng| {
        for i in 0..n {
            writeln!(to, "{} Section {i}\n", "#".repeat(1 + i % 4))?;
            words(to, rng, 30)?;
            to.write_str(" *")?;
            words(to, rng, 3)?;
            to.write_str("* and **")?;
            words(to, rng, 3)?;
            write!(
                to,
                "** with `code {i}` and [a link](https://example.org/{i} \"title\").\n\n"
            )?;
            for item in 0..3 + rng.below(4) {
                write!(to, "{}. item ", item + 1)?;
                words(to, rng, 6)?;
                to.write_str("\n   - nested ~~struck~~ ")?;
                words(to, rng, 4)?;
                to.write_str("\n")?;
            }
            write!(
                to,
                "\n| a | b | c |\n|---|:-:|--:|\n| {i} | `x` | *y* |\n| 1 | 2 | 3 |\n\n> quoted "
            )?;
            words(to, rng, 12)?;
            write!(to, "\n\n```rust\nfn f{i}() -> u32 {{ {i} }}\n```\n\n")?;
        }
        Ok(())
    })
}

/// An HTML page of `n` articles.
pub fn html(n: usize) -> Text {
    text(4, |to, rng| {
        to.write_str(
            "<!DOCTYPE html><html><head><title>Bench</title><meta charset=utf-8></head><body>",
        )?;
        for i in 0..n {
            write!(
                to,
                "<article id=\"a{i}\" class=\"card c{} wide\" data-n='{i}'><h2>",
                rng.below(9)
            )?;
            words(to, rng, 4)?;
            to.write_str("</h2><p>")?;
            words(to, rng, 20)?;
            write!(
                to,
                " <a href=\"/p/{i}?x=1&amp;y=2\">more</a> &mdash; <b>bold <i>both</b> italic</i>"
            )?;
            to.write_str("<ul>")?;
            for item in 0..3 + rng.below(4) {
                write!(to, "<li class=i{item}><span>{item}</span> ")?;
                words(to, rng, 4)?;
            }
            to.write_str("</ul><table><tr><td>1<td>2<tr><td>3<td>4</table></article>")?;
        }
        to.write_str("</body></html>")
    })
}

/// `n` words with numbers, for keys.
pub fn key(i: u64) -> String {
    format!(
        "{}-{}-{i}",
        WORDS[(i % WORDS.len() as u64) as usize],
        WORDS[(i / 7 % WORDS.len() as u64) as usize]
    )
}
