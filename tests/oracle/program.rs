//! Programs of allocator calls as data: made from a seed, written as text, made smaller.

use crate::rng::Rng;
use std::fmt;

/// What one call does. `which` counts the thread's live blocks, modulo their number; with none the call
/// does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Alloc {
        size: usize,
        align: usize,
    },
    AllocZeroed {
        size: usize,
        align: usize,
    },
    Free {
        which: usize,
    },
    Realloc {
        which: usize,
        size: usize,
    },
    /// Hands a block over to another thread, which owns it from then on.
    Pass {
        which: usize,
        to: usize,
    },
    /// Gives memory back (`collect`, or for a heap: drops it and begins another).
    Collect,
    /// Compares the statistics with what the program holds.
    Check,
}

/// A call and the thread that makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    pub thread: usize,
    pub call: Call,
}

/// Threads of a program with several.
pub const THREADS: usize = 4;
/// Largest size, in bytes.
pub const LARGEST: usize = 8 << 20;
/// Blocks a thread approaches.
const LIVE: usize = 400;

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.thread > 0 {
            write!(f, "{} ", self.thread)?;
        }
        match self.call {
            Call::Alloc { size, align } => write!(f, "a {size} {align}"),
            Call::AllocZeroed { size, align } => write!(f, "z {size} {align}"),
            Call::Free { which } => write!(f, "f {which}"),
            Call::Realloc { which, size } => write!(f, "r {which} {size}"),
            Call::Pass { which, to } => write!(f, "p {which} {to}"),
            Call::Collect => write!(f, "c"),
            Call::Check => write!(f, "s"),
        }
    }
}

/// A program as one line of text: calls separated by `;`.
pub fn text(program: &[Op]) -> String {
    let ops: Vec<String> = program.iter().map(Op::to_string).collect();
    ops.join("; ")
}

/// The program a text stands for.
pub fn parse(text: &str) -> Vec<Op> {
    let ops = text.split(';').map(str::trim).filter(|op| !op.is_empty());
    ops.map(|op| one(op).unwrap_or_else(|| panic!("not a call: {op}")))
        .collect()
}

fn one(text: &str) -> Option<Op> {
    let (thread, rest) = match text.split_once(' ') {
        Some((first, rest)) if first.parse::<usize>().is_ok() => (first.parse().ok()?, rest),
        _ => (0, text),
    };
    let mut words = rest.split_whitespace();
    let name = words.next()?;
    let numbers: Vec<usize> = words.map_while(|word| word.parse().ok()).collect();
    let call = match (name, numbers.as_slice()) {
        ("a", &[size, align]) => Call::Alloc { size, align },
        ("z", &[size, align]) => Call::AllocZeroed { size, align },
        ("f", &[which]) => Call::Free { which },
        ("r", &[which, size]) => Call::Realloc { which, size },
        ("p", &[which, to]) => Call::Pass { which, to },
        ("c", &[]) => Call::Collect,
        ("s", &[]) => Call::Check,
        _ => return None,
    };
    Some(Op { thread, call })
}

/// The program of `length` calls that `seed` stands for, made by `threads` threads, which hand blocks over
/// to each other if they may.
pub fn generate(seed: u64, length: usize, threads: usize, may_pass: bool) -> Vec<Op> {
    let mut random = Rng::new(seed);
    // Each thread has a mood: how many blocks to approach, and a favourite size.
    let mut moods = [(LIVE, 64); THREADS];
    let mut live = [0usize; THREADS];
    let op = |_| {
        let thread = random.below(threads);
        if random.one_in(300) {
            let target = if random.one_in(3) {
                0
            } else {
                random.below(LIVE)
            };
            moods[thread] = (target, size(&mut random));
        }
        let (target, favourite) = moods[thread];
        let size = if random.one_in(3) {
            favourite.min(100_000)
        } else {
            size(&mut random)
        };
        let align = align(&mut random);
        let which = match random.below(3) {
            0 => live[thread].saturating_sub(1 + random.below(4)),
            _ => random.below(LIVE),
        };
        let frees = if live[thread] < target { 25 } else { 60 };
        let call = match random.below(100) {
            0 if random.one_in(4) => Call::Collect,
            1 => Call::Check,
            2..15 => Call::Realloc { which, size },
            15..20 if may_pass => Call::Pass {
                which,
                to: random.below(threads),
            },
            roll if live[thread] > 0 && roll < 20 + frees => Call::Free { which },
            roll if roll % 4 == 0 => Call::AllocZeroed { size, align },
            _ => Call::Alloc { size, align },
        };
        match call {
            Call::Alloc { .. } | Call::AllocZeroed { .. } => live[thread] += 1,
            Call::Free { .. } => live[thread] = live[thread].saturating_sub(1),
            Call::Pass { to, .. } if live[thread] > 0 => {
                live[thread] -= 1;
                live[to] += 1;
            }
            _ => {}
        }
        Op { thread, call }
    };
    (0..length).map(op).collect()
}

/// 1 byte to 8 MiB, mostly small, mostly at an edge of a class or a tier.
fn size(random: &mut Rng) -> usize {
    let edge = match random.below(16) {
        0..6 => 16 * (1 + random.below(32)),
        // The medium classes: eight to a doubling.
        6..11 => (9 + random.below(8)) << (6 + random.below(9)),
        11 => 4096 * (1 + random.below(100)),
        12 if random.one_in(4) => (1 << 20) * (1 + random.below(8)),
        13 if random.one_in(4) => return random.size(LARGEST),
        _ => return random.size(100_000),
    };
    (edge + random.below(3)).saturating_sub(1).clamp(1, LARGEST)
}

fn align(random: &mut Rng) -> usize {
    match random.below(8) {
        0..5 => 1 << random.below(5),
        5 | 6 => 1 << random.below(13),
        _ => 1 << random.below(22),
    }
}

/// The smallest program found by leaving out calls for which `fails` still holds. Asks at most `most`
/// times.
pub fn shrink(program: &[Op], most: usize, mut fails: impl FnMut(&[Op]) -> bool) -> Vec<Op> {
    let mut best = program.to_vec();
    let mut asked = 0;
    let mut chunk = best.len().div_ceil(2);
    while chunk > 0 {
        let mut at = 0;
        let mut smaller = false;
        while at < best.len() && asked < most {
            let mut candidate = best.clone();
            candidate.drain(at..(at + chunk).min(best.len()));
            asked += 1;
            if fails(&candidate) {
                best = candidate;
                smaller = true;
            } else {
                at += chunk;
            }
        }
        if asked >= most {
            break;
        }
        if !smaller || chunk > 1 {
            chunk /= 2;
        }
    }
    best
}
