//! `report flamegraph`, and folded stacks: one line per stack, the calls parted by semicolons, then a number.

use super::named::Named;
use super::table::title;
use super::usage::{Measure, Sum};
use std::collections::BTreeMap;
use std::io;

/// Folded stacks, as Brendan Gregg's tools and all after them read them. The number is bytes.
pub fn folded(named: &Named, measure: Measure) -> String {
    let mut lines = BTreeMap::new();
    for stack in &named.stacks {
        let sum = stack.uses.of(measure);
        if sum == Sum::default() {
            continue;
        }
        let calls = stack.frames.iter().map(|number| {
            // A semicolon parts calls, and only that.
            named.frame(*number).function.replace(';', ":")
        });
        *lines
            .entry(calls.collect::<Vec<_>>().join(";"))
            .or_insert(0) += sum.bytes;
    }
    let text = lines
        .iter()
        .map(|(calls, bytes)| format!("{calls} {bytes}\n"));
    text.collect()
}

/// The flame graph as an SVG that can be searched and zoomed.
///
/// # Errors
/// When there is nothing to draw.
pub fn svg(named: &Named, measure: Measure, name: &str) -> io::Result<String> {
    let folded = folded(named, measure);
    let mut options = inferno::flamegraph::Options::default();
    options.title = format!("{name}: {}", title(measure));
    options.count_name = "bytes".to_owned();
    options.colors =
        inferno::flamegraph::color::Palette::Basic(inferno::flamegraph::color::BasicPalette::Mem);
    let mut drawn = Vec::new();
    let made = inferno::flamegraph::from_lines(&mut options, folded.lines(), &mut drawn);
    made.map_err(io::Error::other)?;
    Ok(String::from_utf8_lossy(&drawn).into_owned())
}

/// One page with the flame graph, which needs nothing else.
pub fn page(drawn: &str, measure: Measure, name: &str) -> String {
    // The page holds the picture itself: what stands before the element belongs to a file of its own.
    let start = drawn.find("<svg").unwrap_or(0);
    let title = escaped(&format!("{name}: {}", title(measure)));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n\
         <style>body {{ margin: 0; background: #eee; }} svg {{ display: block; width: 100%; }}</style>\n\
         </head>\n<body>\n{}\n</body>\n</html>\n",
        &drawn[start..]
    )
}

/// Text for HTML and SVG.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}
