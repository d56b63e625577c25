//! Random numbers: the same sequence for every allocator, a few instructions each.

/// xorshift64*.
#[derive(Clone)]
pub struct Rng(u64);

impl Rng {
    /// A sequence of its own for every seed.
    pub fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// The next 64 bits.
    #[inline]
    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `bound`.
    #[inline]
    pub fn below(&mut self, bound: usize) -> usize {
        ((self.bits() >> 32).wrapping_mul(bound as u64) >> 32) as usize
    }

    /// A request as programs make them: mostly small, now and then up to 2 KiB. Bytes, at least 8.
    #[inline]
    pub fn request(&mut self) -> usize {
        let bits = self.bits();
        let size = match bits & 15 {
            0..=9 => 8 + (bits >> 32) % 57,
            10..=13 => 64 + (bits >> 32) % 193,
            14 => 256 + (bits >> 32) % 257,
            _ => 512 + (bits >> 32) % 1537,
        };
        size as usize
    }

    /// Puts `list` in random order.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            list.swap(i, self.below(i + 1));
        }
    }
}
