//! What does a Rust source file cost as a syntax tree: many small boxed nodes, vectors and strings?

use super::text;
use crate::worker::meter::Meter;
use std::hint::black_box;

pub fn run(m: &mut Meter) -> Result<(), String> {
    let source = text::rust(150);
    let parse = || syn::parse_file(source.as_str()).expect("the generated source is Rust");
    let n = m.pick(3, 24);
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
