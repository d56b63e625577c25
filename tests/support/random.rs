//! Random programs of allocator calls, run on two allocators that must agree.
//!
//! A program is data made from a seed: the same seed and length give the same program, and a shorter
//! length a prefix of it. A disagreement names both and the last calls before it.

use std::fmt;

use super::subject::Subject;

/// Calls between two comparisons of all statistics.
const STATISTICS_EVERY: usize = 1000;
/// Most blocks live at once, about: 400 bytes each, they fill some six arenas.
const LIVE: usize = 16_000;
/// Of this many calls one starts a new phase: another number of live blocks to approach, another
/// favourite size, another order of freeing.
const PHASE: usize = 8000;

/// One call. `which` counts live blocks, oldest slot first, modulo their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Malloc { size: usize },
    Calloc { total: usize },
    Realloc { which: usize, size: usize },
    Free { which: usize },
    RefuseArenas(bool),
}

/// SplitMix64 (public domain, Sebastiano Vigna).
pub struct Random(u64);

impl Random {
    /// The same numbers for the same seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// Which block a phase frees next.
#[derive(Clone, Copy)]
enum Order {
    /// One of the last ones made: a stack.
    Newest,
    /// Any.
    Any,
    /// Down from somewhere, in the order of making, so that whole pools and arenas empty.
    Run,
}

/// The program of `length` calls that `seed` stands for.
pub fn program(seed: u64, length: usize) -> Vec<Op> {
    let mut random = Random::new(seed);
    let mut ops = Vec::with_capacity(length);
    let (mut target, mut favourite, mut order, mut anchor) = (0, 0, Order::Any, 0_usize);
    let mut live = 0_usize;
    while ops.len() < length {
        if random.below(PHASE) == 0 || ops.is_empty() {
            // Every third phase empties the heap almost.
            target = if random.below(3) == 0 {
                random.below(100)
            } else {
                random.below(LIVE)
            };
            favourite = random.below(512);
            order = [Order::Newest, Order::Any, Order::Run][random.below(3)];
        }
        let size = match random.below(32) {
            0 => 0,
            1 => 500 + random.below(1000),
            2..8 => random.below(513),
            // Blocks of 256 to 512 bytes fill pools and arenas quickly.
            8..20 => 256 + favourite / 2,
            _ => favourite,
        };
        let which = match order {
            Order::Newest => live.saturating_sub(1 + random.below(8)),
            Order::Any => random.below(live.max(1)),
            Order::Run if random.below(200) == 0 => random.below(live.max(1)),
            Order::Run => anchor.saturating_sub(1) % live.max(1),
        };
        anchor = which;
        let grow = live < target;
        let op = match random.below(64) {
            0..4 => Op::Realloc { which, size },
            4..8 => Op::Calloc { total: size },
            8 if random.below(64) == 0 => Op::RefuseArenas(random.below(4) == 0),
            roll if live > 0 && roll < if grow { 20 } else { 56 } => Op::Free { which },
            _ => Op::Malloc { size },
        };
        match op {
            Op::Malloc { .. } | Op::Calloc { .. } => live += 1,
            Op::Realloc { .. } if live == 0 => live += 1,
            Op::Free { .. } => live -= 1,
            Op::Realloc { .. } | Op::RefuseArenas(_) => {}
        }
        ops.push(op);
    }
    ops
}

/// Where two allocators disagree.
pub struct Disagreement {
    pub seed: u64,
    /// Number of the call, from 1.
    pub call: usize,
    pub problem: String,
    /// The last calls, that one included.
    last: Vec<Op>,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            call,
            problem,
            last,
        } = self;
        write!(
            f,
            "program({seed:#x}, {call}): {problem}; last calls: {last:?}"
        )
    }
}

/// Runs the program on both, which must be new, and compares after each call where the block is and
/// what happened to arenas, and the statistics now and then.
///
/// # Errors
/// The first disagreement.
pub fn compare(
    seed: u64,
    length: usize,
    found: &mut dyn Subject,
    expected: &mut dyn Subject,
) -> Result<(), Disagreement> {
    let ops = program(seed, length);
    let mut live: Vec<(usize, usize)> = Vec::new();
    for (at, &op) in ops.iter().enumerate() {
        let outcome = step(op, &mut live, found, expected).and_then(|()| {
            let due = (at + 1).is_multiple_of(STATISTICS_EVERY) || at + 1 == ops.len();
            if due {
                compare_statistics(found, expected)
            } else {
                Ok(())
            }
        });
        if let Err(problem) = outcome {
            let last = ops[(at + 1).saturating_sub(8)..=at].to_vec();
            return Err(Disagreement {
                seed,
                call: at + 1,
                problem,
                last,
            });
        }
    }
    Ok(())
}

/// One call on both. `live` holds the addresses each of them gave.
fn step(
    op: Op,
    live: &mut Vec<(usize, usize)>,
    found: &mut dyn Subject,
    expected: &mut dyn Subject,
) -> Result<(), String> {
    let given = match op {
        Op::Malloc { size } => Some((found.malloc(size), expected.malloc(size))),
        Op::Calloc { total } => Some((found.calloc(total), expected.calloc(total))),
        Op::Realloc { which, size } => {
            let old = if live.is_empty() {
                (0, 0)
            } else {
                live.swap_remove(which % live.len())
            };
            Some((found.realloc(old.0, size), expected.realloc(old.1, size)))
        }
        Op::Free { which } => {
            let old = live.swap_remove(which % live.len());
            found.free(old.0);
            expected.free(old.1);
            None
        }
        Op::RefuseArenas(refuse) => {
            found.refuse_arenas(refuse);
            expected.refuse_arenas(refuse);
            None
        }
    };
    if let Some((addr, right)) = given {
        let (place, right_place) = (found.locate(addr), expected.locate(right));
        if (addr == 0, place) != (right == 0, right_place) {
            return Err(format!("{op:?} gave {place:x?}, expected {right_place:x?}"));
        }
        live.push((addr, right));
    }
    let (events, right) = (found.take_events(), expected.take_events());
    match events == right {
        true => Ok(()),
        false => Err(format!(
            "{op:?} did {events:?} to arenas, expected {right:?}"
        )),
    }
}

fn compare_statistics(found: &dyn Subject, expected: &dyn Subject) -> Result<(), String> {
    let differences = found.statistics().differences(&expected.statistics());
    match differences.is_empty() {
        true => Ok(()),
        false => Err(differences.join("; ")),
    }
}
