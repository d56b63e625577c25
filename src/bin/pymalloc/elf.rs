//! The few fields of an ELF file that decide whether the loader preloads into it.
//!
//! ```text
//! ELF header ─ class, byte order, type, machine
//!   ├─ e_phoff ─▶ program headers ─ PT_INTERP ─▶ path of the loader
//!   └─ e_shoff ─▶ section headers ─ SHT_DYNSYM ─▶ symbols ─ sh_link ─▶ their names
//! ```
//!
//! Fields of a 64-bit little-endian file are read where the ELF specification (System V ABI, chapter 4)
//! puts them; of any other file only the header is looked at. Offsets come from the file, so each is checked
//! against its length before anything is read or allocated.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// `EM_*` of the machine this launcher, and the library built with it, run on.
const NATIVE_MACHINE: u16 = if cfg!(target_arch = "aarch64") {
    183
} else {
    62
};

/// Bytes of the ELF header.
const HEADER_BYTES: usize = 64;
/// Bytes of one program header.
const PROGRAM_HEADER_BYTES: usize = 56;
/// Bytes of one section header.
const SECTION_HEADER_BYTES: usize = 64;
/// Bytes of one symbol.
const SYMBOL_BYTES: usize = 24;
/// Type: executable at a fixed address.
const ET_EXEC: u16 = 2;
/// Type: shared library, or executable that may lie anywhere.
const ET_DYN: u16 = 3;
/// Program header: part of the file that is loaded.
const PT_LOAD: u32 = 1;
/// Program header: path of the loader.
const PT_INTERP: u32 = 3;
/// Section: symbols the loader sees.
const SHT_DYNSYM: u32 = 11;

/// An open ELF file.
pub struct Elf {
    /// Open for reading.
    file: File,
    /// Its length, the bound of every offset.
    file_bytes: u64,
    /// The whole ELF header.
    header: [u8; HEADER_BYTES],
}

impl Elf {
    /// Opens `path` if it is an ELF file; `Ok(None)` if it is something else.
    ///
    /// # Errors
    /// What the system says when the file cannot be opened or read.
    pub fn open(path: &Path) -> io::Result<Option<Elf>> {
        let file = File::open(path)?;
        let file_bytes = file.metadata()?.len();
        let mut header = [0; HEADER_BYTES];
        match file.read_exact_at(&mut header, 0) {
            Ok(()) if header.starts_with(b"\x7fELF") => {}
            Ok(()) => return Ok(None),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        Ok(Some(Elf {
            file,
            file_bytes,
            header,
        }))
    }

    /// True when it was linked to be run or loaded (an object file or a core dump was not).
    pub fn is_loadable(&self) -> bool {
        matches!(half(&self.header, 16), ET_EXEC | ET_DYN)
    }

    /// True for a shared library, and for a position-independent executable.
    pub fn is_shared(&self) -> bool {
        half(&self.header, 16) == ET_DYN
    }

    /// What this file was built for, if that is not what we were built for.
    pub fn foreign_machine(&self) -> Option<String> {
        let machine = match (self.header[5], &self.header[18..20]) {
            (2, bytes) => u16::from_be_bytes([bytes[0], bytes[1]]),
            (_, bytes) => u16::from_le_bytes([bytes[0], bytes[1]]),
        };
        match (self.header[4], self.header[5]) {
            (2, 1) if machine == NATIVE_MACHINE => None,
            (1, _) => Some(format!("{} (32-bit)", machine_name(machine))),
            _ => Some(machine_name(machine)),
        }
    }

    /// The loader this executable asks for; `None` when it asks for none, being statically linked.
    ///
    /// # Errors
    /// The file is damaged or cannot be read.
    pub fn interpreter(&self) -> io::Result<Option<PathBuf>> {
        let count = usize::from(half(&self.header, 56));
        let table = self.read(quad(&self.header, 32), count * PROGRAM_HEADER_BYTES)?;
        let mut entries = table.chunks_exact(PROGRAM_HEADER_BYTES);
        let Some(entry) = entries.find(|entry| word(entry, 0) == PT_INTERP) else {
            return Ok(None);
        };
        let length = usize::try_from(quad(entry, 32)).map_err(|_| damaged())?;
        let mut path = self.read(quad(entry, 8), length)?;
        path.truncate(path.iter().position(|byte| *byte == 0).unwrap_or(length));
        Ok(Some(std::ffi::OsString::from_vec(path).into()))
    }

    /// The segments that are loaded: offset and bytes in the file, and the address the file names for them.
    ///
    /// # Errors
    /// The file is damaged or cannot be read.
    pub fn loaded_segments(&self) -> io::Result<Vec<(u64, u64, u64)>> {
        let count = usize::from(half(&self.header, 56));
        let table = self.read(quad(&self.header, 32), count * PROGRAM_HEADER_BYTES)?;
        let entries = table.chunks_exact(PROGRAM_HEADER_BYTES);
        let loaded = entries.filter(|entry| word(entry, 0) == PT_LOAD);
        Ok(loaded
            .map(|entry| (quad(entry, 8), quad(entry, 32), quad(entry, 16)))
            .collect())
    }

    /// True when the file exports every one of `names`. A file whose section table was stripped exports
    /// nothing by this test; linkers and `strip` keep it.
    ///
    /// # Errors
    /// The file is damaged or cannot be read.
    pub fn exports(&self, names: &[&str]) -> io::Result<bool> {
        let count = usize::from(half(&self.header, 60));
        let table = self.read(quad(&self.header, 40), count * SECTION_HEADER_BYTES)?;
        let sections: Vec<&[u8]> = table.chunks_exact(SECTION_HEADER_BYTES).collect();
        let Some(dynsym) = sections
            .iter()
            .find(|section| word(section, 4) == SHT_DYNSYM)
        else {
            return Ok(false);
        };
        let strings = sections
            .get(word(dynsym, 40) as usize)
            .ok_or_else(damaged)?;
        let strings = self.section(strings)?;
        let symbols = self.section(dynsym)?;
        Ok(names.iter().all(|name| {
            let mut symbols = symbols.chunks_exact(SYMBOL_BYTES);
            // Section 0 marks a name that is imported.
            symbols.any(|symbol| {
                half(symbol, 6) != 0 && names_it(&strings, word(symbol, 0) as usize, name)
            })
        }))
    }

    /// A section's bytes.
    fn section(&self, header: &[u8]) -> io::Result<Vec<u8>> {
        let length = usize::try_from(quad(header, 32)).map_err(|_| damaged())?;
        self.read(quad(header, 24), length)
    }

    /// `length` bytes at `offset`, if the file has them.
    fn read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let end = offset.checked_add(length as u64).ok_or_else(damaged)?;
        if end > self.file_bytes {
            return Err(damaged());
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }
}

/// True when the string table holds exactly `name` at `start`.
fn names_it(strings: &[u8], start: usize, name: &str) -> bool {
    let rest = strings.get(start..).unwrap_or_default();
    rest.strip_prefix(name.as_bytes())
        .is_some_and(|rest| rest.first() == Some(&0))
}

/// The name people use for an `EM_*` number.
fn machine_name(machine: u16) -> String {
    let name = match machine {
        3 => "x86",
        8 => "mips",
        20 => "powerpc",
        21 => "powerpc64",
        22 => "s390x",
        40 => "arm",
        62 => "x86-64",
        183 => "aarch64",
        243 => "riscv",
        258 => "loongarch",
        other => return format!("machine {other}"),
    };
    name.to_owned()
}

/// The name of the machine we were built for.
pub fn native_machine() -> String {
    machine_name(NATIVE_MACHINE)
}

/// An offset or a length leads out of the file.
fn damaged() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "damaged ELF file")
}

/// 16 bits at `at`. The fields read lie inside tables whose entries have a fixed size.
fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// 32 bits at `at`.
fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from(half(bytes, at)) | u32::from(half(bytes, at + 2)) << 16
}

/// 64 bits at `at`.
fn quad(bytes: &[u8], at: usize) -> u64 {
    u64::from(word(bytes, at)) | u64::from(word(bytes, at + 4)) << 32
}
