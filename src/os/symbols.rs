//! What is at a code address: for a report of a process that is about to end.
//!
//! The object and the offset in it come from `/proc/self/maps`. Function, file and line come from
//! `addr2line`, if it is installed: started by a bare fork and given some seconds, because nothing of this
//! process can be trusted any more, its memory least of all. Nothing here allocates or takes a lock.

use super::text::Text;
use core::ffi::{CStr, c_char};
use core::fmt::Write;

/// Most addresses in one question.
pub const MOST: usize = 32;

/// What is known of one address.
pub struct Symbol {
    /// Path of the object it lies in; empty if it lies in none.
    pub object: Text<256>,
    /// Offset of the call in the object, as its symbol table counts.
    pub offset: usize,
    /// Name of the function; empty if nobody knows.
    pub function: Text<192>,
    /// `file:line`; empty if nobody knows.
    pub place: Text<256>,
}

impl Symbol {
    const UNKNOWN: Self = Self {
        object: Text::new(),
        offset: 0,
        function: Text::new(),
        place: Text::new(),
    };
}

/// Calls `f` with what is at each of the first [`MOST`] return addresses.
pub fn symbols(addresses: &[usize], mut f: impl FnMut(&Symbol)) {
    let mut all = [const { Symbol::UNKNOWN }; MOST];
    let n = addresses.len().min(MOST);
    for (symbol, address) in all.iter_mut().zip(addresses) {
        // The call is before the address it returns to.
        locate(address.wrapping_sub(1), symbol);
    }
    for first in 0..n {
        let is_new = |symbol: &Symbol| symbol.function.as_bytes().is_empty();
        if !all[first].object.as_bytes().is_empty() && is_new(&all[first]) {
            name_all_of(first, &mut all[..n]);
        }
    }
    all[..n].iter().for_each(&mut f);
}

/// Finds the object at `address`.
fn locate(address: usize, symbol: &mut Symbol) {
    let mut search = Search::new(address);
    lines_of(c"/proc/self/maps", |line| search.goes_on(line));
    if let Some((object, header)) = search.found() {
        symbol.offset = if is_position_independent(header) {
            address - header
        } else {
            address
        };
        symbol.object = object;
    }
}

/// The search for the object at an address, line by line of `/proc/self/maps`:
///
/// ```text
/// 7f00000000-7f00001000 r--p 00000000 fe:00 123  /lib/an object        its header
/// 7f00001000-7f00003000 rw-p 00000000 00:00 0                          what it has zeroed, of no file
/// 7f00004000-7f00005000 ---p 00003000 fe:00 123  /lib/an object        no more than a gap
/// 7f00005000-7f00006000 r-xp 00004000 fe:00 123  /lib/an object        code, which may come after all that
/// ```
struct Search {
    address: usize,
    /// The file of the last lines that had one, and where its header is, if it can be read.
    object: Text<256>,
    header: Option<usize>,
    found: bool,
}

impl Search {
    fn new(address: usize) -> Self {
        Self {
            address,
            object: Text::new(),
            header: None,
            found: false,
        }
    }

    /// Takes a line; false when it is the one.
    fn goes_on(&mut self, line: &[u8]) -> bool {
        let mut words = line
            .split(|byte| *byte == b' ')
            .filter(|word| !word.is_empty());
        let (Some(range), Some(rights), Some(offset)) = (words.next(), words.next(), words.next())
        else {
            return true;
        };
        let path = words.nth(2).unwrap_or(b"");
        let mut ends = range.split(|byte| *byte == b'-').map(hexadecimal);
        let (start, end) = (ends.next().unwrap_or(0), ends.next().unwrap_or(0));
        let is_here = (start..end).contains(&self.address);
        if path.is_empty() {
            return !is_here;
        }
        if self.object.as_bytes() != path {
            self.object = Text::new();
            self.object.write_bytes(path);
            self.header = None;
        }
        if hexadecimal(offset) == 0 && rights.first() == Some(&b'r') {
            self.header = Some(start);
        }
        self.found = is_here;
        !is_here
    }

    /// The object and the address of its header.
    fn found(self) -> Option<(Text<256>, usize)> {
        let is_file = self.found && self.object.as_bytes().first() == Some(&b'/');
        self.header
            .filter(|_| is_file)
            .map(|header| (self.object, header))
    }
}

/// Whether the ELF image whose header is there counts addresses from its beginning.
fn is_position_independent(header: usize) -> bool {
    const ET_EXEC: u16 = 2;
    const TYPE: usize = 16;
    let header = core::ptr::with_exposed_provenance::<u8>(header);
    // SAFETY: the beginning of a mapped object, and readable.
    unsafe { header.add(TYPE).cast::<u16>().read() != ET_EXEC }
}

fn hexadecimal(text: &[u8]) -> usize {
    text.iter()
        .map_while(|byte| (*byte as char).to_digit(16))
        .fold(0, |value, digit| value << 4 | digit as usize)
}

/// Calls `f` on each line of a file until it returns false; lines beyond 512 bytes are cut.
fn lines_of(path: &CStr, mut f: impl FnMut(&[u8]) -> bool) {
    // SAFETY: plain system calls on a descriptor of our own.
    unsafe {
        let file = libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        if file >= 0 {
            lines_from(file, 0, &mut f);
            libc::close(file);
        }
    }
}

/// As [`lines_of`], from a descriptor; waits at most `ms` milliseconds for each part, if not 0.
fn lines_from(file: i32, ms: i32, f: &mut impl FnMut(&[u8]) -> bool) {
    let mut line = Text::<512>::new();
    let mut buffer = [0u8; 1024];
    loop {
        let mut poll = libc::pollfd {
            fd: file,
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one valid entry.
        if ms > 0 && unsafe { libc::poll(&mut poll, 1, ms) } <= 0 {
            return;
        }
        // SAFETY: the buffer is ours.
        let n = unsafe { libc::read(file, buffer.as_mut_ptr().cast(), buffer.len()) };
        if n <= 0 {
            return;
        }
        for byte in &buffer[..n as usize] {
            if *byte == b'\n' {
                if !f(line.as_bytes()) {
                    return;
                }
                line = Text::new();
            } else {
                let _ = line.write_char(if byte.is_ascii() { *byte as char } else { '?' });
            }
        }
    }
}

/// Asks `addr2line` for all addresses of the object of `all[first]`.
fn name_all_of(first: usize, all: &mut [Symbol]) {
    /// What it may take for its next line, in milliseconds.
    const PATIENCE: i32 = 5000;
    let mut object = Text::<257>::new();
    let _ = object.write_str(core::str::from_utf8(all[first].object.as_bytes()).unwrap_or(""));
    let _ = object.write_char('\0');
    let same = |symbol: &Symbol, object: &Text<257>| {
        object.as_bytes().strip_suffix(b"\0") == Some(symbol.object.as_bytes())
    };
    let mut numbers = [const { Text::<24>::new() }; MOST];
    let mut which = [0; MOST];
    let mut n = 0;
    for (index, symbol) in all.iter().enumerate() {
        if same(symbol, &object) {
            let _ = write!(numbers[n], "{:#x}\0", symbol.offset);
            which[n] = index;
            n += 1;
        }
    }
    let mut arguments: [*const c_char; MOST + 5] = [core::ptr::null(); MOST + 5];
    arguments[..4].copy_from_slice(&[
        c"addr2line".as_ptr(),
        c"-Cf".as_ptr(),
        c"-e".as_ptr(),
        object.as_bytes().as_ptr().cast(),
    ]);
    for (argument, number) in arguments[4..].iter_mut().zip(&numbers[..n]) {
        *argument = number.as_bytes().as_ptr().cast();
    }
    let mut k = 0;
    output_of(&arguments, PATIENCE, &mut |line: &[u8]| {
        let text = core::str::from_utf8(line).unwrap_or("");
        let symbol = &mut all[which[(k / 2).min(n - 1)]];
        let known = !text.starts_with("??");
        if k % 2 == 0 {
            let _ = symbol.function.write_str(if known { text } else { "?" });
        } else if known && !text.ends_with(":?") && !text.ends_with(":0") {
            let end = text.find(" (disc").unwrap_or(text.len());
            let _ = symbol.place.write_str(&text[..end]);
        }
        k += 1;
        k < 2 * n
    });
}

/// Runs `addr2line` and calls `f` on the lines it writes.
fn output_of(arguments: &[*const c_char], ms: i32, f: &mut impl FnMut(&[u8]) -> bool) {
    if super::is_privileged() {
        return;
    }
    let mut ends = [0; 2];
    // SAFETY: plain system calls. The child is a bare fork: it runs no handler, and calls nothing but the
    // system until it is another program; the arguments live on this stack, which it has a copy of.
    unsafe {
        if libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) != 0 {
            return;
        }
        let child = libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) as i32;
        if child == 0 {
            libc::dup2(ends[1], 1);
            let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
            libc::dup2(null, 0);
            libc::dup2(null, 2);
            let nothing = [core::ptr::null::<c_char>()];
            libc::execve(
                c"/usr/bin/addr2line".as_ptr(),
                arguments.as_ptr(),
                nothing.as_ptr(),
            );
            libc::_exit(127);
        }
        libc::close(ends[1]);
        if child > 0 {
            lines_from(ends[0], ms, f);
            libc::kill(child, libc::SIGKILL);
            libc::waitpid(child, core::ptr::null_mut(), 0);
        }
        libc::close(ends[0]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    fn a_place_to_be_found(addresses: &mut [usize]) -> usize {
        super::super::return_addresses(addresses).min(addresses.len())
    }

    #[test]
    fn a_return_address_of_this_test_is_found_in_this_program() {
        let mut addresses = [0; 8];
        let n = core::hint::black_box(a_place_to_be_found(&mut addresses));
        let program = std::env::current_exe().unwrap();
        let mut names = String::new();
        let mut in_program = 0;
        symbols(&addresses[..n], |symbol| {
            in_program +=
                usize::from(symbol.object.as_bytes() == program.as_os_str().as_encoded_bytes());
            names += core::str::from_utf8(symbol.function.as_bytes()).unwrap();
        });
        assert!(in_program >= 1, "{in_program} of {n}");
        assert!(names.contains("a_place_to_be_found"), "{names}");
    }

    /// As the linker's postprocessors leave it: code behind what is zeroed, which is of no file.
    #[test]
    fn an_object_goes_on_behind_what_has_no_file() {
        let maps = "1000-2000 r--p 00000000 fe:00 7 /lib/other\n\
                    10000-20000 r--p 00000000 fe:00 9 /lib/object\n\
                    20000-21000 rw-p 00010000 fe:00 9 /lib/object\n\
                    21000-2b000 rw-p 00000000 00:00 0 \n\
                    2b000-30000 ---p 0001b000 fe:00 9 /lib/object\n\
                    30000-40000 r-xp 00020000 fe:00 9 /lib/object\n\
                    50000-60000 r-xp 00020000 fe:00 7 /lib/other\n\
                    60000-61000 rw-p 00000000 00:00 0 \n";
        let found = |address| {
            let mut search = Search::new(address);
            maps.lines().all(|line| search.goes_on(line.as_bytes()));
            let (object, header) = search.found()?;
            Some((String::from_utf8(object.as_bytes().to_vec()).ok()?, header))
        };
        let object = Some(("/lib/object".to_owned(), 0x10000));
        assert_eq!(found(0x10010), object);
        assert_eq!(found(0x35678), object);
        assert_eq!(found(0x21010), None, "of no file");
        assert_eq!(found(0x41000), None, "nothing");
        assert_eq!(found(0x50010), None, "its header is not known");
        assert_eq!(found(0x60010), None, "of no file, behind everything");
    }

    #[test]
    fn an_address_outside_every_object_has_no_symbol() {
        let here = 0u8;
        symbols(&[(&raw const here).addr(), 1], |symbol| {
            assert!(symbol.object.as_bytes().is_empty() && symbol.function.as_bytes().is_empty());
        });
    }
}
