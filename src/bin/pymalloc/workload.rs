//! The demonstration's workload: what programs do all day, by several threads, the same every time.
//!
//! Each thread works through rounds: text is taken apart and put together, a map gains and loses entries,
//! a tree is built and dropped, a vector grows, and a parcel of strings goes to the next thread, which frees
//! it. Part of each lives to the end, so that short-lived blocks lie between long-lived ones. The result
//! depends on what was computed only, never on the order in which threads ran.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::mpsc::{Receiver, Sender, channel};

/// For the report.
pub const DESCRIPTION: &str = "4 threads; strings, maps, trees and vectors, short-lived between long-lived, some freed by another thread";

/// A thread hands its parcels to the next, the last to the first.
const THREADS: u64 = 4;
/// About a second's work under glibc on two cores.
const ROUNDS: u64 = 60;

/// Strings that one thread made and another drops.
type Parcel = Vec<String>;

/// `std`'s map without its random seed.
type Map = HashMap<String, Vec<u32>, BuildHasherDefault<DefaultHasher>>;

/// Runs it; a checksum of everything it computed.
pub fn run() -> u64 {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| channel()).unzip();
    let mut senders: Vec<Sender<Parcel>> = senders;
    // Thread i sends to thread i + 1.
    senders.rotate_left(1);
    let ends = senders.into_iter().zip(receivers).zip(1..);
    let threads: Vec<_> = ends
        .map(|((to, from), seed)| std::thread::spawn(move || Worker::new(seed).work(&to, &from)))
        .collect();
    let sums = threads
        .into_iter()
        .map(|thread| thread.join().expect("a worker does not panic"));
    sums.fold(0, u64::wrapping_add)
}

/// One thread's state.
struct Worker {
    /// State of the random numbers; never 0.
    random: u64,
    /// The checksum so far.
    sum: u64,
    /// From a word to what came with it.
    map: Map,
    /// Ordered, of short strings.
    index: BTreeMap<u64, String>,
    /// Those that live to the end.
    kept_trees: Vec<Tree>,
}

impl Worker {
    /// Threads differ by their seed, which is not 0.
    fn new(seed: u64) -> Worker {
        Worker {
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15),
            sum: 0,
            map: Map::default(),
            index: BTreeMap::new(),
            kept_trees: Vec::new(),
        }
    }

    /// All rounds; the checksum.
    fn work(mut self, to: &Sender<Parcel>, from: &Receiver<Parcel>) -> u64 {
        for round in 0..ROUNDS {
            let parcel = self.text();
            self.change_map(&parcel);
            self.change_index(round);
            self.trees(round);
            self.grow();
            // Each sends as many as it takes, and sends first: nobody waits for ever, and the parcels
            // under way stay few. An end that hung up means that its thread panicked; `run` will say so.
            let _ = to.send(parcel);
            drop(from.recv());
        }
        let values = self.map.values().flatten().map(|value| u64::from(*value));
        let lengths = self.index.values().map(|text| text.len() as u64);
        let kept = self.kept_trees.iter().map(Tree::sum);
        values
            .chain(lengths)
            .chain(kept)
            .fold(self.sum, u64::wrapping_add)
    }

    /// A sentence, its words, and some of them in capitals: the parcel.
    fn text(&mut self) -> Parcel {
        let mut parcel = Vec::new();
        for _ in 0..400 {
            let numbers: Vec<String> = (0..12)
                .map(|_| format!("{:x}", self.next() >> 40))
                .collect();
            let sentence = numbers.join(" ");
            let words = sentence.split(' ').filter(|word| word.len() % 2 == 0);
            parcel.extend(words.map(str::to_uppercase));
            self.add(sentence.len() as u64);
        }
        parcel
    }

    /// Adds every word; halves the map when it is large.
    fn change_map(&mut self, parcel: &Parcel) {
        for word in parcel {
            let value = self.next() as u32;
            self.map.entry(word.clone()).or_default().push(value);
        }
        if self.map.len() > 40_000 {
            self.map.retain(|_, values| values[0].is_multiple_of(2));
        }
    }

    /// Short strings under numbers, in order, that come and go.
    fn change_index(&mut self, round: u64) {
        for _ in 0..2_000 {
            let key = self.next() % 20_000;
            if key.is_multiple_of(3) {
                self.index.remove(&key);
            } else {
                self.index
                    .insert(key, "x".repeat((key % 120) as usize + round as usize));
            }
        }
        self.add(self.index.len() as u64);
    }

    /// Trees of three sizes; some are kept.
    fn trees(&mut self, round: u64) {
        for depth in [4, 8, 13] {
            let tree = Tree::new(depth, self.next());
            self.add(tree.sum());
            if depth == 8 || round.is_multiple_of(16) {
                self.kept_trees.push(tree);
            }
        }
    }

    /// Vectors that start small and are pushed to, as parsers and writers do.
    fn grow(&mut self) {
        for length in [10, 1_000, 20_000, 200_000] {
            let mut values: Vec<u64> = Vec::new();
            for value in 0..length {
                values.push(value ^ self.sum);
            }
            self.add(values.iter().fold(0, |a, b| a ^ b));
        }
    }

    /// Takes a value into the checksum, whose order then matters.
    fn add(&mut self, value: u64) {
        self.sum = self.sum.rotate_left(5).wrapping_add(value);
    }

    /// Marsaglia's xorshift.
    fn next(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

/// A binary tree, one block for each node.
struct Tree {
    /// The node's own.
    value: u64,
    /// None in a leaf.
    children: Option<[Box<Tree>; 2]>,
}

impl Tree {
    /// A full tree of `2^(depth + 1) - 1` nodes.
    fn new(depth: u32, value: u64) -> Tree {
        let child = |side| Box::new(Tree::new(depth - 1, value.wrapping_mul(31) + side));
        Tree {
            value,
            children: (depth > 0).then(|| [child(0), child(1)]),
        }
    }

    /// Of all values.
    fn sum(&self) -> u64 {
        let children = self.children.iter().flatten();
        children
            .map(|child| child.sum())
            .fold(self.value, u64::wrapping_add)
    }
}
