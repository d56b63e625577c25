//! What do linked structures cost? The binary-trees program of the benchmarks game: one long-lived
//! tree of depth 18, and many short-lived ones of all depths, each built, walked and dropped.

use crate::worker::meter::Meter;
use std::hint::black_box;

const DEPTH: u32 = 18;

struct Node {
    children: Option<(Box<Node>, Box<Node>)>,
}

impl Node {
    fn build(depth: u32) -> Box<Node> {
        let children = (depth > 0).then(|| (Node::build(depth - 1), Node::build(depth - 1)));
        Box::new(Node { children })
    }

    fn count(&self) -> u64 {
        self.children
            .as_ref()
            .map_or(1, |(left, right)| 1 + left.count() + right.count())
    }
}

pub fn run(m: &mut Meter) -> Result<(), String> {
    let nodes = |depth: u32| (2u64 << depth) - 1;
    let per_depth = m.pick(1 << 18, 1 << 22);
    let long_lived = m.time(nodes(DEPTH), || Node::build(DEPTH));
    for depth in (4..=DEPTH).step_by(2) {
        let trees = per_depth >> depth;
        m.time(trees * nodes(depth), || {
            for _ in 0..trees {
                black_box(Node::build(depth).count());
            }
        });
    }
    m.live();
    m.time(0, || drop(long_lived));
    Ok(())
}
