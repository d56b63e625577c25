//! Graphs over many pools and two types, built in four orders, whose nodes own nothing but handles: such sets
//! die without being read again when they refer to nothing outside. After each collection the objects there
//! are, and the number of handles to each, are the model's.

use crate::rng::Rng;
use pymalloc::gc;
use pymalloc::impl_trace;
use pymalloc::object::{Erased, Gc, Slot};
use std::collections::{BTreeMap, BTreeSet};

const NODES: usize = 6000;
const ATOMS: usize = 7;
/// Ends of references: a node, or an atom.
type End = Option<usize>;

struct Small {
    ends: [Slot<Erased>; 3],
}
impl_trace!(struct Small { ends });

struct Large {
    ends: [Slot<Erased>; 3],
    more: [u64; 20],
}
impl_trace!(struct Large { ends, more });

/// How a graph is made.
#[derive(Clone, Copy, Debug)]
enum Order {
    FromTheTop,
    FromTheBottom,
    Shuffled,
    Random,
}

struct World {
    random: Rng,
    /// Ids of nodes by number; of all that were made.
    ids: Vec<usize>,
    ends: Vec<[End; 3]>,
    roots: BTreeMap<usize, Gc<Erased>>,
    atoms: Vec<Gc<Erased>>,
}

fn slot(node: &Gc<Erased>, at: usize) -> &Slot<Erased> {
    match (node.downcast_ref::<Small>(), node.downcast_ref::<Large>()) {
        (Some(small), _) => &small.ends[at],
        (_, Some(large)) => {
            assert_eq!(large.more, [7; 20], "a live value");
            &large.ends[at]
        }
        _ => unreachable!("two types"),
    }
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            random: Rng::new(seed),
            ids: Vec::new(),
            ends: Vec::new(),
            roots: BTreeMap::new(),
            // Tracked and untracked, and one that is immortal.
            atoms: (0..ATOMS as u64)
                .map(|number| match number {
                    0 => Gc::erase(Gc::new_immortal(number)),
                    1..4 => Gc::erase(Gc::new(number)),
                    _ => Gc::erase(Gc::new(Small {
                        ends: Default::default(),
                    })),
                })
                .collect(),
        }
    }

    fn below(&mut self, n: usize) -> usize {
        self.random.below(n)
    }

    fn make(&mut self) -> usize {
        let ends = Default::default();
        let node = if self.below(2) == 0 {
            Gc::erase(Gc::new(Small { ends }))
        } else {
            let more = [7; 20];
            Gc::erase(Gc::new(Large { ends, more }))
        };
        let number = self.ids.len();
        self.ids.push(Gc::id(&node));
        self.ends.push([None; 3]);
        self.roots.insert(number, node);
        number
    }

    fn link(&mut self, from: usize, at: usize, to: End) {
        let handle = to.map(|to| match to.checked_sub(NODES * 100) {
            Some(atom) => self.atoms[atom].clone(),
            None => self.roots[&to].clone(),
        });
        slot(&self.roots[&from], at).set(handle);
        self.ends[from][at] = to;
    }

    /// Nodes in a tree with parents, or with random ends, some of them atoms.
    fn grow(&mut self, n: usize, order: Order, with_atoms: bool) {
        let mut nodes: Vec<_> = (0..n).map(|_| self.make()).collect();
        match order {
            Order::FromTheTop | Order::Random => {}
            Order::FromTheBottom => nodes.reverse(),
            Order::Shuffled => {
                for at in (1..n).rev() {
                    let other = self.below(at + 1);
                    nodes.swap(at, other);
                }
            }
        }
        for index in 1..n {
            if matches!(order, Order::Random) {
                for at in 0..3 {
                    let to = nodes[self.below(n)];
                    self.link(nodes[index], at, Some(to));
                }
            } else {
                let parent = nodes[(index - 1) / 2];
                self.link(parent, (index - 1) % 2, Some(nodes[index]));
                self.link(nodes[index], 2, Some(parent));
            }
            if self.below(100) == 0 {
                let older = *self.roots.keys().next().expect("the new ones are roots");
                let at = self.below(3);
                self.link(nodes[index], at, Some(older));
                self.link(older, at, Some(nodes[index]));
            }
            if with_atoms && self.below(50) == 0 {
                let atom = NODES * 100 + self.below(ATOMS);
                let at = self.below(3);
                self.link(nodes[index], at, Some(atom));
            }
        }
    }

    fn alive(&self) -> BTreeSet<usize> {
        let mut seen: BTreeSet<usize> = self.roots.keys().copied().collect();
        let mut left: Vec<usize> = seen.iter().copied().collect();
        while let Some(node) = left.pop() {
            let ends = self.ends[node].iter().flatten();
            for end in ends.filter(|end| **end < NODES * 100) {
                if seen.insert(*end) {
                    left.push(*end);
                }
            }
        }
        seen
    }

    /// Compares what there is with the model. Dead nodes leave the model.
    fn check(&mut self, seed: u64) {
        let alive = self.alive();
        let number_of: BTreeMap<usize, usize> =
            alive.iter().map(|node| (self.ids[*node], *node)).collect();
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        for node in &alive {
            for end in self.ends[*node].iter().flatten() {
                *counts.entry(*end).or_default() += 1;
            }
        }
        let count_of = |end: usize| counts.get(&end).copied().unwrap_or(0);
        let objects = gc::get_objects(None).expect("all");
        let atoms: Vec<_> = self.atoms.iter().map(Gc::id).collect();
        let mut seen = BTreeSet::new();
        for object in &objects {
            if atoms.contains(&Gc::id(object)) {
                continue;
            }
            let node = number_of.get(&Gc::id(object)).copied();
            let node = node.unwrap_or_else(|| panic!("seed {seed}: a dead object is there"));
            assert!(seen.insert(node));
            let handles = 1 + usize::from(self.roots.contains_key(&node)) + count_of(node);
            assert_eq!(
                Gc::strong_count(object),
                handles,
                "seed {seed}: node {node}"
            );
            (0..3).for_each(|at| {
                assert_eq!(slot(object, at).is_empty(), self.ends[node][at].is_none())
            });
        }
        assert_eq!(seen, alive, "seed {seed}");
        drop(objects);
        for (number, atom) in self.atoms.iter().enumerate().skip(1) {
            let handles = 1 + count_of(NODES * 100 + number);
            assert_eq!(
                Gc::strong_count(atom),
                handles,
                "seed {seed}: atom {number}"
            );
        }
    }

    /// Forgets most roots, or all but some.
    fn let_go(&mut self) {
        let share = [1, 2, 20, 1000, usize::MAX][self.below(5)];
        let all: Vec<_> = self.roots.keys().copied().collect();
        for (nth, node) in all.into_iter().enumerate() {
            if nth > 0 && nth % share != 0 || share == 1 {
                self.roots.remove(&node);
            }
        }
    }
}

#[test]
fn large_graphs_are_collected_as_the_model_says() {
    std::thread::spawn(|| {
        gc::disable();
        for seed in 1..=24 {
            let mut world = World::new(seed);
            let with_atoms = seed % 2 == 0;
            for round in 0..5 {
                let order = [
                    Order::FromTheTop,
                    Order::FromTheBottom,
                    Order::Shuffled,
                    Order::Random,
                ][world.below(4)];
                let n = 1 + world.below(NODES / 5);
                world.grow(n, order, with_atoms);
                if world.below(3) == 0 {
                    gc::collect();
                    world.check(seed);
                }
                world.let_go();
                if round == 4 {
                    world.roots.clear();
                }
                // What is older than generation 1 may live on; a full collection finds it.
                gc::collect_generation(world.below(2) as i32).expect("a generation");
                gc::collect();
                world.check(seed);
            }
            assert_eq!(gc::get_objects(None).expect("all").len(), ATOMS - 4);
        }
    })
    .join()
    .expect("the test itself");
}
