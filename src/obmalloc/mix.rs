//! Bits that look random.

/// Bits each of which depends on all of `bits`: the end of SplitMix64 (public domain, Sebastiano Vigna).
pub fn mix(bits: u64) -> u64 {
    let z = (bits ^ bits >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ z >> 31
}

/// What SplitMix64 adds between two numbers.
pub const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
