//! One module's unwinding tables: `.eh_frame_hdr`, a sorted table of functions, and `.eh_frame`, their
//! call frame programs. Read from the file, not from the loaded module, which may be closed meanwhile.
//!
//! ```text
//! .eh_frame_hdr:  1 │ encodings 3 │ .eh_frame │ n │ (function start, its FDE) × n, sorted
//! .eh_frame:      CIE │ FDE │ FDE │ CIE │ FDE …     length 4 │ CIE: 0, FDE: distance back to its CIE │ …
//! ```

use super::bytes::Cursor;
use super::rule::{Common, Rule, rule_at};

/// A table and the bytes around it.
#[derive(Clone, Copy, Debug)]
pub struct FrameTable {
    /// The loaded part of the file that holds both sections.
    bytes: &'static [u8],
    /// Address of its first byte, in the file's own numbering.
    origin: u64,
    /// Address of `.eh_frame_hdr`.
    header: u64,
    /// Address of the first entry, and their number.
    entries: u64,
    n: usize,
}

/// Bytes of an entry: two signed distances from the header's start.
const ENTRY_BYTES: usize = 8;

/// The encoding of every linker's table: signed, four bytes, from the header's start.
const TABLE_ENCODING: u8 = 0x3b;

impl FrameTable {
    /// The table whose header is at address `header` of `bytes`, which start at `origin`.
    pub fn new(bytes: &'static [u8], origin: u64, header: u64) -> Option<Self> {
        let mut at = Cursor::new(bytes, origin, header)?;
        let version = at.u8()?;
        let (frames, count, table) = (at.u8()?, at.u8()?, at.u8()?);
        if version != 1 || table != TABLE_ENCODING {
            return None;
        }
        at.encoded(frames, header)?;
        let n = usize::try_from(at.encoded(count, header)?).ok()?;
        let entries = at.address();
        at.take(n.checked_mul(ENTRY_BYTES)?)?;
        Some(Self {
            bytes,
            origin,
            header,
            entries,
            n,
        })
    }

    fn at(&self, address: u64) -> Option<Cursor<'static>> {
        Cursor::new(self.bytes, self.origin, address)
    }

    /// Start of function `index`, and the address of its FDE.
    fn entry(&self, index: usize) -> Option<(u64, u64)> {
        let mut at = self.at(self.entries + (index * ENTRY_BYTES) as u64)?;
        let mut address = || {
            let distance = i64::from(at.u32()?.cast_signed());
            Some(self.header.wrapping_add_signed(distance))
        };
        Some((address()?, address()?))
    }

    /// How the function that holds `address` finds its caller.
    pub fn rule(&self, address: u64) -> Option<Rule> {
        let (mut low, mut high) = (0, self.n);
        while low < high {
            let middle = low.midpoint(high);
            if self.entry(middle)?.0 <= address {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let (_, description) = self.entry(low.checked_sub(1)?)?;
        self.rule_of(description, address)
    }

    /// The rule at `address` by the FDE at `description`.
    fn rule_of(&self, description: u64, address: u64) -> Option<Rule> {
        let mut fields = self.record(description)?;
        let here = fields.address();
        let distance = u64::from(fields.u32()?);
        let common = self.common(here.checked_sub(distance)?)?;
        let start = fields.encoded(common.encoding, 0)?;
        let len = fields.encoded(common.encoding & 0x0f, 0)?;
        if !(start..start.checked_add(len)?).contains(&address) {
            return None;
        }
        let augmentation = usize::try_from(fields.uleb()?).ok()?;
        fields.take(augmentation)?;
        rule_at(common, fields, start, address)
    }

    /// The record at `address`, behind its length and up to its end.
    fn record(&self, address: u64) -> Option<Cursor<'static>> {
        let mut at = self.at(address)?;
        let len = at.u32()?;
        // A longer length field stands in files of more than 4 GiB.
        (len != 0 && len != u32::MAX).then_some(())?;
        at.within(len as usize)
    }

    fn common(&self, address: u64) -> Option<Common<'static>> {
        let mut fields = self.record(address)?;
        let id = fields.u32()?;
        let version = fields.u8()?;
        if id != 0 || !matches!(version, 1 | 3) {
            return None;
        }
        let mut letters = [0u8; 8];
        let mut n_letters = 0;
        loop {
            match fields.u8()? {
                0 => break,
                letter => *letters.get_mut(n_letters)? = letter,
            }
            n_letters += 1;
        }
        let code_factor = fields.uleb()?;
        let data_factor = fields.sleb()?;
        if version == 1 {
            fields.u8()?;
        } else {
            fields.uleb()?;
        }
        // Every record has augmentation data, as gcc and LLVM make it.
        (letters[0] == b'z').then_some(())?;
        let len = usize::try_from(fields.uleb()?).ok()?;
        let mut data = fields.within(len)?;
        fields.take(len)?;
        let mut encoding = 0;
        for letter in &letters[1..n_letters] {
            match letter {
                b'R' => encoding = data.u8()?,
                b'P' => {
                    let how = data.u8()?;
                    // Where the personality lies is not asked; only its length matters.
                    data.encoded(how & 0x0f, 0)?;
                }
                b'L' => {
                    data.u8()?;
                }
                // A signal handler's return: its caller was interrupted, not calling.
                b'S' => return None,
                _ => {}
            }
        }
        Some(Common {
            code_factor,
            data_factor,
            encoding,
            first: fields,
        })
    }
}
