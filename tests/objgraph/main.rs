//! The object graph: what objgraph 3.7 prints and draws for the same objects of Python's, byte for byte, as
//! `tests/data/objgraph/record.py` recorded it; and what Rust's types, files, roots and retained bytes add.

mod chains;
mod counting;
mod drawing;
#[path = "../../examples/objgraph.rs"]
mod example;
mod pictures;
mod recorded;
mod retained;
#[path = "../support/rng.rs"]
mod rng;
mod rust_types;
