//! The arenas as a picture: one square per arena, one cell per slot, coloured by what lives there.

use super::flamegraph::escaped;
use super::named::Named;
use super::table::percent;
use super::why::{Pinned, SLOT_BYTES, SLOTS, Slot};
use crate::units::{bytes, count};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Cells in a row of an arena.
const COLUMNS: usize = 8;
/// Units of a cell's side.
const CELL: usize = 9;
/// Units of an arena's side, with the gap to the next.
const SIDE: usize = COLUMNS * CELL + 8;
/// Arenas in a row.
const ACROSS: usize = 12;
/// Most arenas drawn: those with the least alive come first.
const MOST: usize = 600;
/// Units above the first row.
const TOP: usize = 84;

/// A page with the picture.
pub fn page(svg: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Arenas</title>\n\
         <style>body {{ margin: 1em; }}</style>\n</head>\n<body>\n{svg}</body>\n</html>\n"
    )
}

/// The picture, as SVG.
pub fn svg(pinned: &Pinned, named: &Named) -> String {
    let live =
        |slots: &BTreeMap<usize, Slot>| slots.values().map(|slot| slot.live.bytes).sum::<u64>();
    let mut arenas: Vec<_> = pinned.arenas.iter().collect();
    arenas.sort_by_key(|(address, slots)| (live(slots), **address));
    let drawn = arenas.len().min(MOST);
    let width = ACROSS * SIDE + 16;
    let height = TOP + drawn.div_ceil(ACROSS) * SIDE + 8;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    let n = pinned.arenas.len();
    let _ = writeln!(
        text,
        "<text x=\"8\" y=\"22\" font-size=\"16\">{} arenas, {} live in them</text>",
        count(n as u64),
        bytes(pinned.live.bytes)
    );
    let _ = writeln!(
        text,
        "<text x=\"8\" y=\"42\">one square: an arena of 1 MiB, the emptiest first{}; one cell: a slot of 16 KiB</text>",
        if drawn < n {
            format!(" ({drawn} shown)")
        } else {
            String::new()
        }
    );
    legend(&mut text);
    for (place, (address, slots)) in arenas.iter().take(drawn).enumerate() {
        let (x, y) = (8 + place % ACROSS * SIDE, TOP + place / ACROSS * SIDE);
        let _ = writeln!(text, "<g transform=\"translate({x},{y})\">");
        for index in 0..SLOTS {
            cell(&mut text, **address, index, slots.get(&index), named);
        }
        text.push_str("</g>\n");
    }
    text.push_str("</svg>\n");
    text
}

fn legend(text: &mut String) {
    let steps = [0.0, 2.0, 10.0, 30.0, 60.0, 100.0];
    let mut x = 8;
    for step in steps {
        let _ = writeln!(
            text,
            "<rect x=\"{x}\" y=\"56\" width=\"14\" height=\"14\" fill=\"{}\" stroke=\"#bbb\" stroke-width=\"0.5\"/>\
             <text x=\"{}\" y=\"68\">{step} %</text>",
            colour(step),
            x + 19
        );
        x += 74;
    }
}

fn cell(text: &mut String, arena: u64, index: usize, slot: Option<&Slot>, named: &Named) {
    let (x, y) = (index % COLUMNS * CELL, index / COLUMNS * CELL);
    let live = slot.map(|slot| slot.live).unwrap_or_default();
    let fill = percent(live.bytes, SLOT_BYTES);
    let _ = write!(
        text,
        "<rect x=\"{x}\" y=\"{y}\" width=\"{CELL}\" height=\"{CELL}\" fill=\"{}\" stroke=\"#bbb\" stroke-width=\"0.5\">",
        colour(fill)
    );
    if let Some(slot) = slot {
        let frame = named.frames.get(slot.site as usize);
        let place = frame.map_or_else(String::new, |frame| {
            let others = if slot.alone { "only " } else { "mostly " };
            format!(" {others}{} {}", frame.function, frame.place())
        });
        let _ = write!(
            text,
            "<title>{:#x}: {fill:.1} % live, {} blocks;{}</title>",
            arena + index as u64 * SLOT_BYTES,
            count(live.blocks),
            escaped(&place)
        );
    }
    text.push_str("</rect>\n");
}

/// White for nothing, red for a little that keeps much, over yellow to green for well used.
fn colour(fill: f64) -> String {
    if fill <= 0.0 {
        return "#ffffff".to_owned();
    }
    // A little is what the eye should find, so the scale is that of the square root.
    let hue = 120.0 * (fill / 100.0).clamp(0.0, 1.0).sqrt();
    format!("hsl({hue:.0},75%,50%)")
}
