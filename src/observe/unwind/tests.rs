//! Walks against a naive one that remembers nothing.

use super::*;
use std::hint::black_box;

/// A walker and what one thread's walks leave.
struct Walker {
    unwinder: Unwinder,
    bounds: Bounds,
    trail: NonNull<Trail>,
}

impl Walker {
    fn new() -> Self {
        Self {
            unwinder: Unwinder::new().expect("memory"),
            bounds: Bounds::default(),
            trail: Trail::new().expect("memory"),
        }
    }

    fn trail(&mut self) -> &mut Trail {
        // SAFETY: this walker's own.
        unsafe { self.trail.as_mut() }
    }

    /// The caller's stack, innermost first.
    #[inline(never)]
    fn climb(&mut self, own: &Range<usize>, most: usize) -> Vec<usize> {
        let here = os::registers();
        // SAFETY: this walker's own.
        let trail = unsafe { self.trail.as_mut() };
        self.unwinder
            .climb(here, own, &mut self.bounds, trail, most);
        let found: Vec<usize> = trail
            .steps()
            .iter()
            .rev()
            .map(|step| step.program)
            .collect();
        assert_eq!(found, self.naive(here, own, most));
        found
    }

    /// As [`Unwinder::climb`], by steps alone.
    fn naive(&mut self, from: Registers, own: &Range<usize>, most: usize) -> Vec<usize> {
        let (mut at, mut inside) = (from, from.program);
        let mut frames = Vec::new();
        while frames.len() < most {
            let Some((caller, _)) = self.unwinder.caller(at, inside, self.bounds.high) else {
                break;
            };
            at = caller.at;
            inside = at.program - 1;
            if !frames.is_empty() || !own.contains(&at.program) {
                frames.push(at.program);
            }
        }
        frames
    }
}

#[inline(never)]
fn deep(n: usize, walker: &mut Walker, most: usize) -> Vec<usize> {
    if n == 0 {
        return walker.climb(&(0..0), most);
    }
    black_box(deep(n - 1, walker, most))
}

#[test]
fn a_recursion_is_seen_and_left_at_its_start() {
    let mut walker = Walker::new();
    let frames = deep(20, &mut walker, 64);
    // Twenty calls return to one place in `deep`; the last one's frame and the test's are others.
    let same = |frame: &usize| frames.iter().filter(|other| *other == frame).count();
    let recursive = frames.iter().map(same).max().unwrap_or(0);
    assert_eq!(recursive, 20, "of {}", frames.len());
    assert!(
        frames.len() > recursive + 3,
        "the test runner's frames, too"
    );
    assert!(walker.trail().is_whole());
    assert_eq!(deep(20, &mut walker, 5).len(), 5);
    assert!(!walker.trail().is_whole());
}

/// Functions that call each other, with frames of different sizes and registers in use.
#[inline(never)]
fn plain(seed: &mut u64, depth: usize, walker: &mut Walker, most: usize) -> u64 {
    let before = *seed;
    for _ in 0..next(seed) % 3 {
        if depth > 0 {
            match next(seed) % 3 {
                0 => plain(seed, depth - 1, walker, most),
                1 => wide(seed, depth - 1, walker, most),
                _ => twice(seed, depth - 1, walker, most),
            };
        }
        if next(seed).is_multiple_of(2) {
            walker.climb(&(0..0), most);
        }
    }
    before
}

#[inline(never)]
fn wide(seed: &mut u64, depth: usize, walker: &mut Walker, most: usize) -> u64 {
    let mut room = [0u64; 40];
    room.iter_mut().for_each(|word| *word = next(seed));
    let sum = plain(seed, depth, walker, most);
    black_box(&mut room)[depth % 40] ^ sum
}

#[inline(never)]
fn twice(seed: &mut u64, depth: usize, walker: &mut Walker, most: usize) -> u64 {
    let (a, b) = (next(seed), next(seed));
    let first = plain(seed, depth, walker, most);
    walker.climb(&(0..0), most);
    let second = wide(seed, depth, walker, most);
    a.wrapping_mul(first) ^ b.wrapping_mul(second)
}

fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    *seed >> 33
}

#[test]
fn a_trail_gives_what_a_walk_by_steps_gives() {
    // Limits below, around and above the depths.
    for most in [1, 2, 5, 9, 14, 20, 128, MOST_STEPS] {
        let mut walker = Walker::new();
        for start in 0..150 {
            let mut seed = start * 7919 + most as u64;
            twice(&mut seed, start as usize % 12, &mut walker, most);
        }
    }
}

#[test]
fn nodes_are_those_of_paths() {
    use std::collections::HashMap;
    let mut walker = Walker::new();
    let mut nodes: HashMap<(u32, usize), u32> = HashMap::new();
    let mut paths: HashMap<Vec<usize>, u32> = HashMap::new();
    for start in 0..200u64 {
        // Some walks end by their limit, and paths that begin elsewhere come between.
        let most = if start % 7 == 3 { 6 } else { 64 };
        let frames = deep(start as usize * 5 % 23, &mut walker, most);
        if !walker.trail().is_whole() {
            continue;
        }
        let node = walker.trail().node(|parent, steps, at| {
            let n = nodes.len() as u32 + 1;
            *nodes.entry((parent, steps[at].program)).or_insert(n)
        });
        assert_eq!(*paths.entry(frames).or_insert(node), node);
    }
    let mut distinct: Vec<_> = paths.values().collect();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), paths.len());
}

#[test]
fn a_known_way_out_gives_what_a_walk_by_steps_gives() {
    let mut walker = Walker::new();
    let own = walker.unwinder.range_of(os::registers().program);
    // All of this program is own, so what is left is the system's.
    let first = deep(3, &mut walker, 64);
    let outside: Vec<usize> = first
        .into_iter()
        .filter(|frame| !own.contains(frame))
        .collect();
    for n in [3, 3, 9, 3] {
        let found = deep_own(n, &mut walker, &own);
        assert_eq!(found, outside, "{n}");
    }
}

#[inline(never)]
fn deep_own(n: usize, walker: &mut Walker, own: &Range<usize>) -> Vec<usize> {
    if n == 0 {
        return walker.climb(own, 64);
    }
    black_box(deep_own(n - 1, walker, own))
}

#[test]
fn the_memory_behind_the_stack_is_never_read() {
    let mut walker = Walker::new();
    let mut here = os::registers();
    here.frame = usize::MAX - 7;
    here.program = 4096;
    let trail = walker.trail();
    // SAFETY: this walker's own.
    let trail = unsafe { NonNull::from(trail).as_mut() };
    walker
        .unwinder
        .climb(here, &(0..0), &mut walker.bounds, trail, 8);
    assert_eq!(trail.steps().len(), 0);
}
