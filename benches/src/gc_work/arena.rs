//! gc-arena: objects live inside an arena and are reached through `mutate` only.

use super::Sample;
use super::meter::{resident, time};
use super::workloads::Random;
use gc_arena::{Arena, Collect, Gc, Mutation, RefLock, Rootable};
use std::hint::black_box;

const MILLION: usize = 1 << 20;

#[derive(Collect)]
#[collect(no_drop)]
struct Node<'gc> {
    edges: [Option<Handle<'gc>>; 3],
    key: u64,
    more: u64,
}

type Handle<'gc> = Gc<'gc, RefLock<Node<'gc>>>;

#[derive(Collect)]
#[collect(no_drop)]
struct Root<'gc> {
    kept: Vec<Handle<'gc>>,
}

type World = Arena<Rootable![Root<'_>]>;

fn make<'gc>(mutation: &Mutation<'gc>, key: u64) -> Handle<'gc> {
    let node = Node {
        edges: [None; 3],
        key,
        more: key,
    };
    Gc::new(mutation, RefLock::new(node))
}

fn set<'gc>(mutation: &Mutation<'gc>, from: Handle<'gc>, slot: usize, to: Handle<'gc>) {
    from.borrow_mut(mutation).edges[slot] = Some(to);
}

fn tree<'gc>(mutation: &Mutation<'gc>, n: usize) -> Vec<Handle<'gc>> {
    let nodes: Vec<_> = (0..n).map(|key| make(mutation, key as u64)).collect();
    for index in 1..n {
        let parent = nodes[(index - 1) / 2];
        set(mutation, parent, (index - 1) % 2, nodes[index]);
        set(mutation, nodes[index], 2, parent);
    }
    nodes
}

fn random<'gc>(mutation: &Mutation<'gc>, n: usize) -> Vec<Handle<'gc>> {
    let nodes: Vec<_> = (0..n).map(|key| make(mutation, key as u64)).collect();
    let mut random = Random::new();
    let mut order: Vec<usize> = (0..n).collect();
    for at in (2..n).rev() {
        order.swap(at, 1 + random.below(at));
    }
    for pair in order.windows(2) {
        set(mutation, nodes[pair[0]], 0, nodes[pair[1]]);
    }
    for node in &nodes {
        set(mutation, *node, 1, nodes[random.below(n)]);
        set(mutation, *node, 2, nodes[random.below(n)]);
    }
    nodes
}

fn pairs(world: &mut World, n: usize) {
    world.mutate(|mutation, _| {
        for key in 0..n as u64 {
            let (a, b) = (make(mutation, key), make(mutation, key));
            set(mutation, a, 0, b);
            set(mutation, b, 0, a);
        }
    });
}

/// A world without nodes that collects only when told to.
fn world() -> World {
    let mut world = World::new(|_| Root { kept: Vec::new() });
    world.finish_cycle();
    world
}

fn live(n: usize, is_random: bool) -> Sample {
    let mut world = world();
    world.mutate_root(|mutation, root| {
        let build = if is_random { random } else { tree };
        root.kept.push(build(mutation, n)[0]);
    });
    world.finish_cycle();
    world.finish_cycle();
    assert_eq!(world.metrics().total_gc_count(), n, "all nodes are alive");
    let sample = time(n, || world.finish_cycle());
    std::mem::forget(world);
    sample
}

fn garbage(n: usize, is_random: bool) -> Sample {
    let mut world = world();
    world.mutate(|mutation, _| {
        let build = if is_random { random } else { tree };
        drop(build(mutation, n));
    });
    time(n, || world.finish_cycle())
}

fn young() -> Sample {
    let mut world = world();
    world.mutate_root(|mutation, root| root.kept.push(tree(mutation, MILLION)[0]));
    world.finish_cycle();
    let n = 2 << 20;
    let sample = time(2 * n, || {
        for _ in 0..n / 64 {
            pairs(&mut world, 64);
            world.collect_debt();
        }
    });
    std::mem::forget(world);
    sample
}

fn memory(collected: bool) -> Sample {
    let n = 2 * MILLION;
    let mut world = world();
    world.mutate_root(|_, root| root.kept.reserve(n));
    let before = resident();
    world.mutate_root(|mutation, root| {
        root.kept
            .extend((0..n as u64).map(|key| make(mutation, key)));
        for index in 1..n {
            set(
                mutation,
                root.kept[(index - 1) / 2],
                (index - 1) % 2,
                root.kept[index],
            );
        }
    });
    if collected {
        world.finish_cycle();
    }
    // The table of handles is not the nodes'.
    let value = (resident() - before) / n as f64 - 8.0 - 40.0;
    std::mem::forget(world);
    Sample {
        value,
        more: Vec::new(),
    }
}

/// Runs a row; `None` for one that makes no sense without counts.
pub fn run(workload: &str) -> Option<Sample> {
    Some(match workload {
        "b-alloc" => {
            let n = 20_000_000;
            let mut world = world();
            time(n, || {
                for _ in 0..n / 256 {
                    world.mutate(|mutation, _| {
                        (0..256).for_each(|key| {
                            black_box(make(mutation, key));
                        });
                    });
                    world.collect_debt();
                }
                world.finish_cycle();
            })
        }
        "d-pairs" => {
            let mut world = world();
            pairs(&mut world, MILLION);
            time(2 * MILLION, || world.finish_cycle())
        }
        "c-self" => {
            let mut world = world();
            world.mutate(|mutation, _| {
                for key in 0..MILLION as u64 {
                    let node = make(mutation, key);
                    set(mutation, node, 0, node);
                }
            });
            time(MILLION, || world.finish_cycle())
        }
        "e-tree" => garbage(MILLION, false),
        "f-tree-1m" => live(MILLION, false),
        "f-tree-4m" => live(4 * MILLION, false),
        "f-random-1m" => live(MILLION, true),
        "f-random-4m" => live(4 * MILLION, true),
        "f-untouched" => live(MILLION, false),
        "g-young" => young(),
        "h-random" => garbage(MILLION, true),
        "memory" => memory(false),
        "memory-collected" => memory(true),
        _ => return None,
    })
}

const _: fn(&Node<'_>) -> u64 = |node| node.key ^ node.more;
