//! Documents: JSON trees with `serde_json`, Markdown with `pulldown-cmark`.

use std::fmt::Write as _;

use pulldown_cmark::{Options, Parser, html};
use serde_json::{Map, Value, json};

use crate::material::Random;

/// Builds a tree of some 10,000 values, prints and parses it, edits it in place and prints it again.
pub fn json() -> String {
    let mut random = Random::new(1);
    let built = Value::Array((0..900).map(|_| tree(&mut random, 4)).collect());
    let printed = built.to_string();
    let mut parsed: Value = serde_json::from_str(&printed).expect("what was printed parses");
    assert_eq!(parsed, built, "a tree survives printing and parsing");
    drop(built);
    edit(&mut parsed, &mut random);
    let error =
        serde_json::from_str::<Value>(&printed[..printed.len() - 1]).expect_err("it is cut");
    format!(
        "{}\n{error}",
        serde_json::to_string_pretty(&parsed).expect("a tree prints")
    )
}

fn tree(random: &mut Random, depth: usize) -> Value {
    match random.below(if depth == 0 { 5 } else { 9 }) {
        0 => Value::Null,
        1 => json!(random.below(2) == 0),
        2 => json!(random.number() as i64),
        3 => json!(random.below(1 << 20) as f64 / 1024.0),
        4 => json!(format!(
            "{}\n\"{}\"\u{1}",
            random.word(),
            random.sentence(6)
        )),
        5 | 6 => {
            let length = random.below(8);
            Value::Array((0..length).map(|_| tree(random, depth - 1)).collect())
        }
        _ => {
            let keys = random.below(8);
            let members =
                (0..keys).map(|key| (format!("{} {key}", random.word()), tree(random, depth - 1)));
            Value::Object(members.collect::<Map<_, _>>())
        }
    }
}

/// Drops some members, renames others, lengthens strings, reverses arrays.
fn edit(value: &mut Value, random: &mut Random) {
    match value {
        Value::String(text) => {
            for _ in 0..random.below(20) {
                text.push_str(random.word());
            }
        }
        Value::Array(items) => {
            items.iter_mut().for_each(|item| edit(item, random));
            items.reverse();
        }
        Value::Object(members) => {
            for (key, mut member) in std::mem::take(members) {
                if random.below(5) > 0 {
                    edit(&mut member, random);
                    members.insert(format!("{key}/{}", random.word()), member);
                }
            }
        }
        _ => {}
    }
}

/// Renders a long document with every extension to HTML, twice from the events of one parse.
pub fn markdown() -> String {
    let mut random = Random::new(2);
    let mut source = String::new();
    for section in 0..300 {
        write_section(&mut source, section, &mut random).expect("writing to a String cannot fail");
    }
    let events: Vec<_> = Parser::new_ext(&source, Options::all()).collect();
    let mut page = String::new();
    html::push_html(&mut page, events.clone().into_iter());
    let owned: Vec<_> = events
        .into_iter()
        .map(pulldown_cmark::Event::into_static)
        .collect();
    drop(source);
    let mut again = String::new();
    html::push_html(&mut again, owned.into_iter());
    assert_eq!(page, again, "owned events render as borrowed ones do");
    page
}

fn write_section(source: &mut String, section: usize, random: &mut Random) -> std::fmt::Result {
    writeln!(source, "# {section} {}\n", random.sentence(4))?;
    writeln!(
        source,
        "{} **{}** `{}` [^{section}]\n",
        random.sentence(30),
        random.word(),
        random.word()
    )?;
    for depth in 0..random.below(12) {
        writeln!(
            source,
            "{:1$}* [ ] {2} [link](http://x/{0} \"{3}\")",
            "",
            depth * 2,
            random.sentence(3),
            random.word()
        )?;
    }
    writeln!(source, "\n| {} | b |\n|--:|:-:|", random.word())?;
    for row in 0..random.below(10) {
        writeln!(
            source,
            "| {row} | ~~{}~~ <b>{}</b> &amp; |",
            random.word(),
            random.word()
        )?;
    }
    writeln!(
        source,
        "\n```rust\nfn f{section}() {{}} // {}\n```\n",
        random.sentence(12)
    )?;
    writeln!(
        source,
        "> {}\n>> {}\n",
        random.sentence(9),
        random.sentence(9)
    )?;
    writeln!(source, "[^{section}]: {}\n\n---\n", random.sentence(5))
}
