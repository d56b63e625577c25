//! gzip (RFC 1952) without an allocation: the format that pprof's readers want, in blocks that are stored as they
//! are. A heap profile is some hundred kilobytes, and it goes no farther than this machine.

use super::super::mapped::Mapped;

/// Most bytes of a stored block (RFC 1951, 3.2.4).
const BLOCK_BYTES: usize = 0xFFFF;

/// Adds `bytes`, wrapped, to `out`. False when there is no memory.
pub fn write(bytes: &[u8], out: &mut Mapped<u8>) -> bool {
    // No name, no time, no flags; of an unknown system.
    const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut whole = out.extend(&HEAD);
    let mut rest = bytes;
    loop {
        let (block, after) = rest.split_at(rest.len().min(BLOCK_BYTES));
        let len = block.len() as u16;
        whole &= out.push(u8::from(after.is_empty()))
            && out.extend(&len.to_le_bytes())
            && out.extend(&(!len).to_le_bytes())
            && out.extend(block);
        if after.is_empty() {
            break;
        }
        rest = after;
    }
    whole
        && out.extend(&checksum(bytes).to_le_bytes())
        && out.extend(&(bytes.len() as u32).to_le_bytes())
}

/// CRC-32 (RFC 1952, section 8).
fn checksum(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    let step = |sum: u32, byte: &u8| TABLE[(sum as u8 ^ byte) as usize] ^ sum >> 8;
    !bytes.iter().fold(!0, step)
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let mut value = n as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 {
                0xedb8_8320 ^ value >> 1
            } else {
                value >> 1
            };
            bit += 1;
        }
        table[n] = value;
        n += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_reader_of_gzip_finds_the_same_bytes() {
        for len in [0, 1, 1000, BLOCK_BYTES, BLOCK_BYTES + 1, 200_000] {
            let bytes: Vec<u8> = (0..len).map(|n| (n * n / 7) as u8).collect();
            let mut out = Mapped::default();
            assert!(write(&bytes, &mut out));
            let mut found = Vec::new();
            // Checks the sum and the length, too.
            flate2::read::GzDecoder::new(out.as_slice())
                .read_to_end(&mut found)
                .expect("gzip");
            assert!(found == bytes, "{len}");
        }
    }
}
