//! Which lines hold the memory: a program that asks `tracemalloc` about itself.
//!
//! `cargo run --example trace_lines --features symbols`

use pymalloc::observe::tracemalloc::{self, Filter, KeyType};
use std::collections::HashMap;

#[global_allocator]
static GLOBAL: pymalloc::PyMalloc = pymalloc::PyMalloc;

fn words(n: usize) -> Vec<String> {
    (0..n)
        .map(|n| format!("a word of some length, {n}")) // WORDS
        .collect()
}

fn index(words: &[String]) -> HashMap<usize, Box<[u8; 300]>> {
    let keys = 0..words.len() / 10;
    keys.map(|n| (n, Box::new([n as u8; 300]))).collect() // BOXES
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracemalloc::start(10)?;
    let words = words(10_000);
    let first = tracemalloc::take_snapshot()?;
    let index = index(&words);
    let second = tracemalloc::take_snapshot()?;
    println!("what lives");
    for statistic in second.statistics(KeyType::Lineno, false)?.iter().take(3) {
        println!("{statistic}");
    }
    println!("what came");
    for diff in second
        .compare_to(&first, KeyType::Lineno, false)?
        .iter()
        .take(2)
    {
        println!("{diff}");
    }
    let here = second.filter_traces(&[Filter::new(true, "*trace_lines.rs").into()]);
    println!(
        "{} of {} blocks are from this file",
        here.traces.len(),
        second.traces.len()
    );
    let traceback = tracemalloc::get_block_traceback(&raw const *index[&7]);
    for line in traceback
        .ok_or("a block that is not traced")?
        .format(Some(2), true)
    {
        println!("{line}");
    }
    Ok(())
}
