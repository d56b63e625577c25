//! What does an HTML page cost as a reference-counted tree with attributes and text buffers?

use super::text;
use crate::worker::meter::Meter;
use html5ever::tendril::TendrilSink;
use markup5ever_rcdom::RcDom;
use std::hint::black_box;

pub fn run(m: &mut Meter) -> Result<(), String> {
    let source = text::html(500);
    let parse =
        || html5ever::parse_document(RcDom::default(), Default::default()).one(source.as_str());
    let n = m.pick(15, 60);
    m.time(n, || {
        for _ in 0..n {
            black_box(parse());
        }
    });
    let live = parse();
    m.live();
    drop(live);
    Ok(())
}
