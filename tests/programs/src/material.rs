//! Input that is the same in every run, and the digest of output.

/// SplitMix64 (public domain, Sebastiano Vigna): the same numbers for the same seed.
pub struct Random(u64);

/// Words to make text of: short and long, some beyond ASCII.
const WORDS: [&str; 24] = [
    "a",
    "of",
    "the",
    "pool",
    "arena",
    "block",
    "class",
    "ring",
    "größe",
    "naïve",
    "地址",
    "память",
    "thread",
    "allocator",
    "fragmentation",
    "e\u{301}tage",
    "λόγος",
    "interpreter",
    "address",
    "used",
    "empty",
    "full",
    "carve",
    "🦀",
];

impl Random {
    /// The stream of numbers that `seed` stands for.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.number() % bound as u64) as usize
    }

    /// A word of prose.
    pub fn word(&mut self) -> &'static str {
        WORDS[self.below(WORDS.len())]
    }

    /// That many words, spaces between them.
    pub fn sentence(&mut self, words: usize) -> String {
        (0..words)
            .map(|_| self.word())
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// FNV-1a, 64 bits.
pub fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}
