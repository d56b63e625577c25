//! The executable memory of this process and the files behind it, from `/proc/self/maps`.
//!
//! The loader would know, but asking it takes its lock, and another thread may hold that while it waits for
//! memory. The kernel's list needs no lock of this process.
//!
//! * **I1** Entries are sorted by address and disjoint.
//! * **I2** An entry stays while the list shows the same range of the same file; else it is made anew.

use super::frame_table::FrameTable;
use crate::os::{self, File};
use core::ffi::CStr;
use core::ops::Range;
use core::ptr::NonNull;

/// Most ranges that are remembered.
const MOST: usize = 1024;

/// Most bytes of a path.
const PATH_BYTES: usize = 512;

/// One range of executable memory.
#[derive(Clone, Copy, Debug)]
pub struct Module {
    /// First address.
    pub start: usize,
    /// First address behind it.
    pub end: usize,
    /// Where in the file it starts, in bytes.
    pub file_offset: usize,
    /// What is added to an address of the file's numbering.
    bias: usize,
    /// Device and number of the file, as text reads them.
    file: (u64, u64),
    table: Option<FrameTable>,
    path: [u8; PATH_BYTES],
    path_len: usize,
    /// Tells it from all others that were ever listed; from 1.
    pub serial: u32,
    /// Whether the list still shows it.
    seen: bool,
}

impl Module {
    /// The file's path; empty for memory without a file.
    pub fn path(&self) -> &[u8] {
        &self.path[..self.path_len]
    }

    /// An address as the file counts.
    pub fn in_file(&self, address: usize) -> u64 {
        address.wrapping_sub(self.bias) as u64
    }

    /// The unwinding table, and the address in its numbering.
    pub fn table(&self, address: usize) -> Option<(&FrameTable, u64)> {
        Some((self.table.as_ref()?, self.in_file(address)))
    }
}

/// What is known of the process's memory.
pub struct Modules {
    entries: NonNull<[Module; MOST]>,
    n: usize,
    /// Ranges that were ever listed.
    listed: u32,
    /// Whether a range went away since [`Modules::lost_any`] was asked.
    lost: bool,
    /// Where the list is read to.
    line: NonNull<[u8; LINE_BYTES]>,
}

const LINE_BYTES: usize = 8192;

/// A line of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line<'a> {
    start: usize,
    end: usize,
    executable: bool,
    offset: usize,
    file: (u64, u64),
    path: &'a [u8],
}

impl Modules {
    /// Knows nothing yet. `None` when memory is out.
    pub fn new() -> Option<Self> {
        let page = os::page_size();
        let map = |len: usize| os::map(len.next_multiple_of(page), page);
        Some(Self {
            entries: map(size_of::<[Module; MOST]>())?.cast(),
            n: 0,
            listed: 0,
            lost: false,
            line: map(LINE_BYTES)?.cast(),
        })
    }

    /// The known ranges.
    pub fn known(&mut self) -> &mut [Module] {
        // SAFETY: mapped for this; the first `n` were written.
        unsafe { core::slice::from_raw_parts_mut(self.entries.as_ptr().cast(), self.n) }
    }

    /// The range that holds `address`.
    pub fn find(&mut self, address: usize) -> Option<&mut Module> {
        let known = self.known();
        let after = known.partition_point(|module| module.start <= address);
        let module = &mut known[after.checked_sub(1)?];
        (address < module.end).then_some(module)
    }

    /// Whether a range went away since this was asked last.
    pub fn lost_any(&mut self) -> bool {
        core::mem::take(&mut self.lost)
    }

    /// Reads the list again. Returns the mapping that holds `stack`, if there is one.
    pub fn refresh(&mut self, stack: usize) -> Option<Range<usize>> {
        let file = File::open(c"/proc/self/maps")?;
        // SAFETY: mapped for this, and used by this call only.
        let buffer = unsafe { self.line.as_mut() };
        for module in self.known() {
            module.seen = false;
        }
        let mut found = None;
        let (mut filled, mut ended) = (0, false);
        while !ended || filled > 0 {
            let n = file.read(&mut buffer[filled..]);
            ended = n == 0;
            filled += n;
            let mut start = 0;
            while let Some(len) = buffer[start..filled].iter().position(|byte| *byte == b'\n') {
                if let Some(line) = parse(&buffer[start..start + len]) {
                    if (line.start..line.end).contains(&stack) {
                        found = Some(line.start..line.end);
                    }
                    self.note(&line);
                }
                start += len + 1;
            }
            buffer.copy_within(start..filled, 0);
            filled -= start;
            if n == 0 || filled == buffer.len() {
                break;
            }
        }
        self.forget();
        found
    }

    /// Keeps what a line says (I2).
    fn note(&mut self, line: &Line<'_>) {
        if !line.executable {
            return;
        }
        let known = self.known();
        let at = known.partition_point(|module| module.start < line.start);
        if let Some(module) = known.get_mut(at)
            && (module.start, module.end) == (line.start, line.end)
            && module.file == line.file
            && module.file_offset == line.offset
        {
            module.seen = true;
            return;
        }
        if self.n == MOST {
            return;
        }
        self.n += 1;
        let known = self.known();
        let last = known.len() - 1;
        known.copy_within(at..last, at + 1);
        known[at] = load(line);
        self.listed += 1;
        self.known()[at].serial = self.listed;
    }

    /// Drops what the list showed no more.
    fn forget(&mut self) {
        let known = self.known();
        let mut kept = 0;
        for at in 0..known.len() {
            if known[at].seen {
                known[kept] = known[at];
                kept += 1;
            }
        }
        self.lost |= kept < self.n;
        self.n = kept;
    }
}

/// Reads a line such as `55d0-55f0 r-xp 00002000 fe:01 1234   /bin/cat`.
fn parse(line: &[u8]) -> Option<Line<'_>> {
    let mut words = line.splitn(6, |byte| *byte == b' ');
    let (range, rights) = (words.next()?, words.next()?);
    let (offset, device, number) = (words.next()?, words.next()?, words.next()?);
    let dash = range.iter().position(|byte| *byte == b'-')?;
    let device_number = device
        .iter()
        .filter(|byte| **byte != b':')
        .try_fold(0, |sum, byte| Some(sum << 4 | hex_digit(*byte)?))?;
    let path = words.next().unwrap_or(b"").trim_ascii_start();
    Some(Line {
        start: hex(&range[..dash])?,
        end: hex(&range[dash + 1..])?,
        executable: rights.get(2) == Some(&b'x'),
        offset: hex(offset)?,
        file: (
            device_number,
            core::str::from_utf8(number).ok()?.parse().ok()?,
        ),
        path,
    })
}

fn hex_digit(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}

fn hex(text: &[u8]) -> Option<usize> {
    let digits = text.iter().map(|byte| hex_digit(*byte));
    let value = digits
        .into_iter()
        .try_fold(0, |sum, digit| Some(sum << 4 | digit?))?;
    usize::try_from(value).ok()
}

/// A range with its file's table, if the file has one that can be read.
fn load(line: &Line<'_>) -> Module {
    let mut module = Module {
        start: line.start,
        end: line.end,
        file_offset: line.offset,
        bias: 0,
        file: line.file,
        table: None,
        path: [0; PATH_BYTES],
        path_len: 0,
        serial: 0,
        seen: true,
    };
    // One byte stays 0: the end of the text for the system.
    if line.path.len() < PATH_BYTES {
        module.path[..line.path.len()].copy_from_slice(line.path);
        module.path_len = line.path.len();
    }
    if module.path().starts_with(b"/")
        && let Ok(path) = CStr::from_bytes_until_nul(&module.path)
        && let Some(file) = File::open(path)
        && let Some((bias, table)) = read_table(&file, &module)
    {
        module.bias = bias;
        module.table = Some(table);
    }
    module
}

/// ELF's program header.
#[derive(Clone, Copy, Debug)]
struct Segment {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    file_len: u64,
}

/// The distance from the file's numbering to this module's addresses, and the table.
fn read_table(file: &File, module: &Module) -> Option<(usize, FrameTable)> {
    const LOAD: u32 = 1;
    const EXECUTE: u32 = 1;
    const FRAME_HEADER: u32 = 0x6474_e550;
    let mut header = [0; 64];
    (file.read_at(&mut header, 0) && header.starts_with(b"\x7fELF\x02\x01")).then_some(())?;
    let offset = u64::from_le_bytes(header[32..40].try_into().ok()?);
    let n = u16::from_le_bytes(header[56..58].try_into().ok()?);
    let segment = |index: u16| read_segment(file, offset + 56 * u64::from(index));
    let segments = || (0..n).filter_map(segment);
    let holds = |segment: &Segment, offset: u64| {
        segment.kind == LOAD
            && (segment.offset..segment.offset + segment.file_len).contains(&offset)
    };
    let (len, _) = file.status()?;
    let first = module.file_offset as u64;
    let last = first + (module.end - module.start) as u64;
    // The kernel maps whole pages, so the range may begin before the segment does.
    let code = segments().find(|segment| {
        let is_code = segment.kind == LOAD && segment.flags & EXECUTE != 0;
        is_code && segment.offset < last && first < segment.offset + segment.file_len
    })?;
    // Wrapping: a module may lie below the addresses its file names.
    let bias = (module.start as u64)
        .wrapping_sub(code.address)
        .wrapping_sub(first.wrapping_sub(code.offset));
    let frames = segments().find(|segment| segment.kind == FRAME_HEADER)?;
    let around = segments().find(|segment| holds(segment, frames.offset))?;
    let page = os::page_size() as u64;
    let first = around.offset & !(page - 1);
    let last = (around.offset + around.file_len).min(len);
    let bytes = file.map_to_read(first, usize::try_from(last.checked_sub(first)?).ok()?)?;
    let origin = around.address.wrapping_sub(around.offset - first);
    let table = FrameTable::new(bytes, origin, frames.address)?;
    Some((bias as usize, table))
}

fn read_segment(file: &File, offset: u64) -> Option<Segment> {
    let mut bytes = [0; 56];
    file.read_at(&mut bytes, offset).then_some(())?;
    let word = |at: usize| bytes[at..at + 8].try_into().ok().map(u64::from_le_bytes);
    Some(Segment {
        kind: u32::from_le_bytes(bytes[..4].try_into().ok()?),
        flags: u32::from_le_bytes(bytes[4..8].try_into().ok()?),
        offset: word(8)?,
        address: word(16)?,
        file_len: word(32)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let line = b"7f00-7f10 r-xp 00002000 fe:01 1234                 /a path/with spaces";
        let expected = Line {
            start: 0x7f00,
            end: 0x7f10,
            executable: true,
            offset: 0x2000,
            file: (0xfe01, 1234),
            path: b"/a path/with spaces",
        };
        assert_eq!(parse(line), Some(expected));
        let anonymous = parse(b"7f00-7f10 rw-p 00000000 00:00 0 ").expect("a line");
        assert_eq!((anonymous.executable, anonymous.path), (false, &b""[..]));
        assert_eq!(parse(b"nonsense"), None);
    }

    #[test]
    fn this_function_is_found_with_a_rule() {
        let mut modules = Modules::new().expect("memory");
        let here = os::registers();
        let stack = modules.refresh(here.stack).expect("this stack");
        assert!(stack.contains(&here.stack));
        let module = modules.find(here.program).expect("this program");
        assert!(module.path().starts_with(b"/"));
        let (table, address) = module.table(here.program).expect("a table");
        assert!(table.rule(address).is_some());
        let n = modules.known().len();
        modules.refresh(here.stack);
        assert_eq!(modules.known().len(), n, "nothing changed");
        let sorted = modules.known().is_sorted_by_key(|module| module.start);
        assert!(sorted, "I1");
    }
}
