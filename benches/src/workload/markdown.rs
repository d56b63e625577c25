//! What does Markdown to HTML cost: few, mid-sized, growing buffers and short-lived events?

use super::text;
use crate::worker::meter::Meter;
use pulldown_cmark::{Options, Parser, html};
use std::hint::black_box;

pub fn run(m: &mut Meter) -> Result<(), String> {
    let source = text::markdown(400);
    let render = || {
        let mut page = String::new();
        html::push_html(&mut page, Parser::new_ext(source.as_str(), Options::all()));
        page
    };
    let n = m.pick(20, 80);
    m.time(n, || {
        for _ in 0..n {
            // As a server does that keeps events until the page is complete.
            let events: Vec<_> = Parser::new_ext(source.as_str(), Options::all()).collect();
            black_box((events, render()));
        }
    });
    let live = render();
    m.live();
    drop(live);
    Ok(())
}
