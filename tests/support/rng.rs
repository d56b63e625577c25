//! Random numbers by hand: the same for the same seed, on every machine.

#![allow(dead_code, reason = "each test binary uses the part it needs")]

/// SplitMix64 (public domain, Sebastiano Vigna).
#[derive(Clone)]
pub struct Rng(u64);

impl Rng {
    /// The same numbers for the same seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// True once in `n`.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of `choices`.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// A size from 1 byte to `most`, every power of two as likely as the next.
    pub fn size(&mut self, most: usize) -> usize {
        let log = self.below(most.ilog2() as usize + 1);
        let low = 1 << log;
        (low + self.below(low)).min(most)
    }
}

/// The seed of this run: `PYMALLOC_SEED` (decimal or 0x…), else a new one each time. Prints it.
pub fn seed(what: &str) -> u64 {
    let given = std::env::var("PYMALLOC_SEED").ok().map(|text| {
        let number = match text.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16),
            None => text.parse(),
        };
        number.expect("PYMALLOC_SEED is a number")
    });
    let seed = given.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(1, |time| time.as_nanos() as u64 % 1_000_000_007)
    });
    println!("{what}: PYMALLOC_SEED={seed}");
    seed
}
