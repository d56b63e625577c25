//! The rows.

use super::Sample;
use super::graph::Graph;
use super::meter::{resident, time};
use std::hint::black_box;

/// Name and question of each row.
pub const WORKLOADS: [(&str, &str); 16] = [
    ("a-clone", "clone and drop a handle"),
    ("b-alloc", "allocate and drop a node"),
    ("c-self", "collect 1 M garbage self-cycles"),
    ("d-pairs", "collect 1 M garbage 2-cycles"),
    ("e-tree", "collect a garbage tree of depth 20 with parents"),
    ("f-tree-1m", "full collection, 1 M live nodes, tree"),
    ("f-tree-4m", "full collection, 4 M live nodes, tree"),
    (
        "f-random-1m",
        "full collection, 1 M live nodes, random graph",
    ),
    (
        "f-random-4m",
        "full collection, 4 M live nodes, random graph",
    ),
    (
        "f-untouched",
        "full collection, 1 M old nodes untouched since the last one",
    ),
    (
        "g-young",
        "make and free young 2-cycles beside 1 M old nodes",
    ),
    (
        "h-random",
        "collect 1 M garbage nodes with 3 M random references",
    ),
    (
        "memory",
        "bytes per live node over its 40, before a collection",
    ),
    ("memory-collected", "the same, and what a collection adds"),
    (
        "pauses-1m",
        "pauses of automatic collections beside 1 M live nodes",
    ),
    (
        "pauses-4m",
        "pauses of automatic collections beside 4 M live nodes",
    ),
];

const MILLION: usize = 1 << 20;

/// A small generator: the same numbers for everyone.
pub struct Random(u64);

impl Random {
    /// Starts it.
    pub fn new() -> Self {
        Self(0x853c_49e6_748f_ea9b)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

/// A tree of `n` nodes; references 0 and 1 lead to children, and 2 to the parent if wanted.
fn tree<G: Graph>(n: usize, with_parents: bool) -> G::Handle {
    let nodes: Vec<_> = (0..n).map(|key| G::make(key as u64)).collect();
    for index in 1..n {
        let parent = &nodes[(index - 1) / 2];
        G::set(parent, (index - 1) % 2, Some(nodes[index].clone()));
        if with_parents {
            G::set(&nodes[index], 2, Some(parent.clone()));
        }
    }
    nodes[0].clone()
}

/// `n` nodes, all reachable from the first, each with references to two random ones.
fn random<G: Graph>(n: usize) -> G::Handle {
    let nodes: Vec<_> = (0..n).map(|key| G::make(key as u64)).collect();
    let mut random = Random::new();
    // A random order, so that the chain that keeps all of them alive jumps, too.
    let mut order: Vec<usize> = (0..n).collect();
    for at in (2..n).rev() {
        order.swap(at, 1 + random.below(at));
    }
    for pair in order.windows(2) {
        G::set(&nodes[pair[0]], 0, Some(nodes[pair[1]].clone()));
    }
    for node in &nodes {
        G::set(node, 1, Some(nodes[random.below(n)].clone()));
        G::set(node, 2, Some(nodes[random.below(n)].clone()));
    }
    nodes[0].clone()
}

fn pairs<G: Graph>(n: usize) {
    for key in 0..n as u64 {
        let (a, b) = (G::make(key), G::make(key));
        G::set(&a, 0, Some(b.clone()));
        G::set(&b, 0, Some(a));
    }
}

fn collect_live<G: Graph>(n: usize, root: G::Handle) -> Sample {
    G::collect();
    // A change in the old generation, so that it must be looked at.
    G::set(&root, 2, Some(root.clone()));
    drop(root.clone());
    let sample = time(n, G::collect);
    black_box(G::key(&root));
    std::mem::forget(root);
    sample
}

fn untouched<G: Graph>(n: usize) -> Sample {
    let root = tree::<G>(n, true);
    G::collect();
    G::collect();
    let sample = time(n, G::collect);
    std::mem::forget(root);
    sample
}

fn young<G: Graph>() -> Sample {
    let root = tree::<G>(MILLION, true);
    G::collect();
    G::automatic(true);
    let n = 2 << 20;
    let sample = time(2 * n, || {
        for round in 0..16 {
            pairs::<G>(n / 16);
            if !G::AUTOMATIC {
                G::collect();
            }
            black_box(round);
        }
    });
    std::mem::forget(root);
    sample
}

fn memory<G: Graph>(collected: bool) -> Sample {
    let n = 2 * MILLION;
    let mut nodes = Vec::with_capacity(n);
    // The table's own pages are no part of it.
    nodes.resize_with(n, || black_box(None));
    let before = resident();
    for (key, node) in nodes.iter_mut().enumerate() {
        *node = Some(G::make(key as u64));
    }
    for index in 1..n {
        let (Some(parent), child) = (&nodes[(index - 1) / 2], &nodes[index]) else {
            continue;
        };
        G::set(parent, (index - 1) % 2, child.clone());
    }
    if collected {
        G::collect();
    }
    let value = (resident() - before) / n as f64 - 40.0;
    std::mem::forget(nodes);
    Sample {
        value,
        more: Vec::new(),
    }
}

/// Runs a row; `None` when the contender cannot do it.
pub fn run<G: Graph>(workload: &str) -> Option<Sample> {
    G::automatic(false);
    let needs_collector = !matches!(workload, "a-clone" | "b-alloc" | "memory" | "g-young");
    if needs_collector && !G::COLLECTS {
        return None;
    }
    Some(match workload {
        "a-clone" => {
            let node = G::make(1);
            let n = 50_000_000;
            time(n, || {
                (0..n).for_each(|_| drop(black_box(black_box(&node).clone())))
            })
        }
        "b-alloc" => {
            let n = 20_000_000;
            time(n, || {
                (0..n as u64).for_each(|key| drop(black_box(G::make(key))))
            })
        }
        "c-self" => {
            for key in 0..MILLION as u64 {
                let node = G::make(key);
                G::set(&node, 0, Some(node.clone()));
            }
            time(MILLION, G::collect)
        }
        "d-pairs" => {
            pairs::<G>(MILLION);
            time(2 * MILLION, G::collect)
        }
        "e-tree" => {
            drop(tree::<G>(MILLION, true));
            time(MILLION, G::collect)
        }
        "f-tree-1m" => collect_live::<G>(MILLION, tree::<G>(MILLION, true)),
        "f-tree-4m" => collect_live::<G>(4 * MILLION, tree::<G>(4 * MILLION, true)),
        "f-random-1m" => collect_live::<G>(MILLION, random::<G>(MILLION)),
        "f-random-4m" => collect_live::<G>(4 * MILLION, random::<G>(4 * MILLION)),
        "f-untouched" => untouched::<G>(MILLION),
        "g-young" => young::<G>(),
        "h-random" => {
            drop(random::<G>(MILLION));
            time(MILLION, G::collect)
        }
        "memory" => memory::<G>(false),
        "memory-collected" => memory::<G>(true),
        _ => return None,
    })
}
