//! Reading the fields of mapped files, never beyond their end.

/// A place in bytes whose first one has the address `origin` in the program's own numbering.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    origin: u64,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// At address `address` of `bytes`, which start at `origin`.
    pub fn new(bytes: &'a [u8], origin: u64, address: u64) -> Option<Self> {
        let at = usize::try_from(address.checked_sub(origin)?).ok()?;
        (at <= bytes.len()).then_some(Self { bytes, origin, at })
    }

    /// Its address.
    pub fn address(&self) -> u64 {
        self.origin + self.at as u64
    }

    /// Whether nothing follows.
    pub fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Takes `n` bytes.
    pub fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(n)?)?;
        self.at += n;
        Some(taken)
    }

    /// The same place, with an end `n` bytes on.
    pub fn within(self, n: usize) -> Option<Self> {
        let bytes = self.bytes.get(..self.at.checked_add(n)?)?;
        Some(Self { bytes, ..self })
    }

    /// Takes a byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    /// Takes a number of two bytes.
    pub fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.take(2)?.try_into().ok()?))
    }

    /// Takes a number of four bytes.
    pub fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    /// Takes a number of eight bytes.
    pub fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    /// Takes a number of seven bits a byte.
    pub fn uleb(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// As [`Cursor::uleb`], with a sign.
    pub fn sleb(&mut self) -> Option<i64> {
        let mut value = 0i64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            value |= i64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let unused = 57u32.saturating_sub(shift);
                return Some(value << unused >> unused);
            }
        }
        None
    }

    /// Takes an address in one of DWARF's encodings; `base` is what data-relative ones count from.
    pub fn encoded(&mut self, encoding: u8, base: u64) -> Option<u64> {
        let here = self.address();
        let value = match encoding & 0x0f {
            0 | 4 | 12 => self.u64()?,
            1 => self.uleb()?,
            9 => self.sleb()?.cast_unsigned(),
            2 => u64::from(self.u16()?),
            10 => i64::from(self.u16()?.cast_signed()).cast_unsigned(),
            3 => u64::from(self.u32()?),
            11 => i64::from(self.u32()?.cast_signed()).cast_unsigned(),
            _ => return None,
        };
        let from = match encoding & 0x70 {
            0x00 => 0,
            0x10 => here,
            0x30 => base,
            _ => return None,
        };
        (encoding & 0x80 == 0).then_some(from.wrapping_add(value))
    }
}
