//! What a file says of its code: the names of functions and the file's build id. Read piece by piece, without a
//! mapping and without an allocation.

use crate::os::{File, Text};
use core::ffi::CStr;
use core::fmt::Write;

/// Bytes of a symbol in ELF's table.
const SYMBOL_BYTES: usize = 24;

/// Symbols read at once.
const SYMBOLS: usize = 512;

/// Most bytes of a name; what is longer is cut.
const NAME_BYTES: usize = 512;

/// An address that wants a name.
#[derive(Clone, Copy)]
pub struct Wanted {
    /// As the file counts.
    pub address: u64,
    /// Whose it is.
    pub index: u32,
    /// Whether it has one.
    pub is_named: bool,
}

/// An ELF file of 64 bits.
pub struct Elf {
    file: File,
    header: [u8; 64],
}

/// A section: what it holds, where, and which other section belongs to it.
#[derive(Clone, Copy)]
struct Section {
    kind: u32,
    offset: u64,
    len: u64,
    link: u32,
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + 8)?;
    bytes.try_into().ok().map(u64::from_le_bytes)
}

fn half(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    bytes.try_into().ok().map(u32::from_le_bytes)
}

/// Whether a function, by its name in a symbol table, may stand between an allocator and the line that somebody wrote:
/// it belongs to this crate or to Rust's own libraries, or is C++'s `new`.
pub fn is_machinery(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 4] = [b"__rust_", b"__rustc", b"_Znw", b"_Zna"];
    const CRATES: [&[u8]; 4] = [b"5alloc", b"8pymalloc", b"4core", b"3std"];
    // How the older spelling begins `<alloc::… as …>`.
    const BRACKETS: [&[u8]; 4] = [
        b"$LT$alloc..",
        b"$LT$pymalloc..",
        b"$LT$core..",
        b"$LT$std..",
    ];
    let begins = |text: &[u8], starts: &[&[u8]]| starts.iter().any(|start| text.starts_with(start));
    if let Some(path) = name.strip_prefix(b"_ZN") {
        let digits = path.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let first = &path[digits..];
        let first = first.strip_prefix(b"_").unwrap_or(first);
        return begins(path, &CRATES) || begins(first, &BRACKETS);
    }
    if let Some(path) = name.strip_prefix(b"_R") {
        return first_crate(path).is_some_and(|path| begins(path, &CRATES));
    }
    begins(name, &NAMES)
}

/// From the first crate of a path in Rust's newer spelling on: `Cs` and a hash and `_` come before it.
fn first_crate(path: &[u8]) -> Option<&[u8]> {
    let starts = (0..path.len()).filter(|at| path[*at..].starts_with(b"Cs"));
    let named = |at: usize| {
        let hash = &path[at + 2..];
        let len = hash
            .iter()
            .take_while(|byte| byte.is_ascii_alphanumeric())
            .count();
        let rest = hash.get(len..)?.strip_prefix(b"_")?;
        rest.first().is_some_and(u8::is_ascii_digit).then_some(rest)
    };
    starts.filter_map(named).next()
}

impl Elf {
    /// The file at `path`; `None` if it is not such a file.
    pub fn open(path: &[u8]) -> Option<Self> {
        let mut text = Text::<512>::new();
        text.write_bytes(path);
        let file = File::open(text.as_c_str().filter(|_| path.starts_with(b"/"))?)?;
        let mut header = [0; 64];
        let is_elf = file.read_at(&mut header, 0) && header.starts_with(b"\x7fELF\x02\x01");
        is_elf.then_some(Self { file, header })
    }

    fn section(&self, index: u32) -> Option<Section> {
        let n = u16::from_le_bytes(self.header[60..62].try_into().ok()?);
        let mut bytes = [0; 64];
        let place = word(&self.header, 40)?.checked_add(64 * u64::from(index))?;
        (index < n.into() && self.file.read_at(&mut bytes, place)).then_some(())?;
        Some(Section {
            kind: half(&bytes, 4)?,
            offset: word(&bytes, 24)?,
            len: word(&bytes, 32)?,
            link: half(&bytes, 40)?,
        })
    }

    /// The table with the most symbols, and its names.
    fn symbols(&self) -> Option<(Section, Section)> {
        const ALL: u32 = 2;
        const EXPORTED: u32 = 11;
        let find = |kind| {
            (0..)
                .map_while(|index| self.section(index))
                .find(|section| section.kind == kind)
        };
        let table = find(ALL).or_else(|| find(EXPORTED))?;
        Some((table, self.section(table.link)?))
    }

    /// Calls `f` with the name of each function that holds some of the `wanted`, which are sorted by address, and
    /// with those.
    pub fn functions(&self, wanted: &mut [Wanted], mut f: impl FnMut(&[u8], &[Wanted])) {
        let Some((table, names)) = self.symbols() else {
            return;
        };
        let mut bytes = [0; SYMBOLS * SYMBOL_BYTES];
        let mut place = table.offset;
        let end = table.offset.saturating_add(table.len);
        while place < end {
            let len = bytes.len().min((end - place) as usize);
            if !self.file.read_at(&mut bytes[..len], place) {
                return;
            }
            place += len as u64;
            for symbol in bytes[..len].chunks_exact(SYMBOL_BYTES) {
                self.function(symbol, names, wanted, &mut f);
            }
        }
    }

    /// Looks at one symbol.
    fn function(
        &self,
        symbol: &[u8],
        names: Section,
        wanted: &mut [Wanted],
        f: &mut impl FnMut(&[u8], &[Wanted]),
    ) {
        const FUNCTION: u8 = 2;
        let fields = (half(symbol, 0), word(symbol, 8), word(symbol, 16));
        let (Some(name), Some(start), Some(len)) = fields else {
            return;
        };
        if symbol[4] & 15 != FUNCTION {
            return;
        }
        let end = start.saturating_add(len);
        let first = wanted.partition_point(|one| one.address < start);
        let last = wanted.partition_point(|one| one.address < end);
        // Functions have several names; the first one counts.
        if first >= last || wanted[first].is_named {
            return;
        }
        let mut text = [0; NAME_BYTES];
        let place = names.offset.saturating_add(name.into());
        let most = names
            .len
            .saturating_sub(name.into())
            .min(NAME_BYTES as u64 - 1);
        if !self.file.read_at(&mut text[..most as usize], place) {
            return;
        }
        if let Ok(text) = CStr::from_bytes_until_nul(&text)
            && !text.is_empty()
        {
            f(text.to_bytes(), &wanted[first..last]);
            for one in &mut wanted[first..last] {
                one.is_named = true;
            }
        }
    }

    /// The build id in hexadecimal digits, if the file has one.
    pub fn build_id(&self) -> Option<Text<64>> {
        const NOTES: u32 = 7;
        const BUILD_ID: u32 = 3;
        let sections = (0..).map_while(|index| self.section(index));
        sections
            .filter(|section| section.kind == NOTES)
            .find_map(|section| {
                let mut note = [0; 36];
                let len = (section.len as usize).min(note.len());
                let read = self.file.read_at(&mut note[..len], section.offset);
                let is_one = read && half(&note, 8)? == BUILD_ID && note[12..16] == *b"GNU\0";
                let id = note.get(16..16 + half(&note, 4)? as usize)?;
                is_one.then(|| {
                    let mut text = Text::new();
                    for byte in id {
                        let _ = write!(text, "{byte:02x}");
                    }
                    text
                })
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    fn a_function_with_a_name() -> usize {
        std::hint::black_box(a_function_with_a_name as fn() -> usize as usize)
    }

    #[test]
    fn this_program_says_what_its_functions_are_called() {
        use super::super::super::unwind::Unwinder;
        use crate::os;
        let mut unwinder = Unwinder::new().expect("memory");
        // Fills the list of modules.
        unwinder.range_of(os::registers().program);
        let address = a_function_with_a_name();
        let module = *unwinder.module_of(address).expect("this program");
        let elf = Elf::open(module.path()).expect("an ELF file");
        let wanted = |address: usize, index| Wanted {
            address: module.in_file(address),
            index,
            is_named: false,
        };
        // One past all code, which no function holds.
        let mut all = [wanted(address, 7), wanted(usize::MAX / 2, 8)];
        let mut found = Vec::new();
        elf.functions(&mut all, |name, named| {
            let numbers: Vec<_> = named.iter().map(|one| one.index).collect();
            found.push((String::from_utf8_lossy(name).into_owned(), numbers));
        });
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].0.contains("a_function_with_a_name") && found[0].1 == [7]);
        assert!(Elf::open(b"/etc/passwd").is_none() && Elf::open(b"no/path").is_none());
    }

    #[test]
    fn the_machinery_is_told_by_its_crate() {
        for name in [
            "_ZN5alloc7raw_vec19RawVec$LT$T$C$A$GT$8grow_one17h0123456789abcdefE",
            "_ZN72_$LT$alloc..vec..Vec$LT$T$GT$$u20$as$u20$core..clone..Clone$GT$5clone17h01E",
            "_ZN8pymalloc6global4slow10alloc_slow17h0123456789abcdefE",
            "_RNvMs0_NtCslNYArtu3iFV_5alloc7raw_vecINtB5_6RawVechE8grow_oneCs4X4t9plMPHF_9addr2line",
            "_RNCNvMs_NtCsgEmfK2I1SDS_4core4cell0B5_",
            "__rust_alloc",
            "_Znwm",
        ] {
            assert!(is_machinery(name.as_bytes()), "{name}");
        }
        for name in [
            "main",
            "_ZN5serve9leak_here17h0123456789abcdefE",
            "_ZN47_$LT$mine..Thing$u20$as$u20$alloc..string..ToString$GT$9to_string17h01E",
            "_RNvCs4X4t9plMPHF_5serve9leak_here",
            "_RNvXCs4X4t9plMPHF_5serveNtB2_5ThingNtNtCslNYArtu3iFV_5alloc6string8ToString9to_string",
            "allocate",
            "_R",
            "",
        ] {
            assert!(!is_machinery(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn a_build_id_is_what_the_linker_wrote() {
        let path = std::env::temp_dir().join(format!("build-id-{}", std::process::id()));
        let status = std::process::Command::new("gcc")
            .args([
                "-shared",
                "-Wl,--build-id=0x0123456789abcdef",
                "-x",
                "c",
                "/dev/null",
                "-o",
            ])
            .arg(&path)
            .status();
        assert!(status.expect("gcc").success());
        let elf = Elf::open(path.as_os_str().as_encoded_bytes()).expect("an ELF file");
        let id = elf.build_id().expect("an id");
        assert_eq!(id.as_bytes(), b"0123456789abcdef");
        std::fs::remove_file(&path).expect("removed");
    }
}
