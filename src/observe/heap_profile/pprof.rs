//! The profile as pprof reads it (`profile.proto`, gzipped), with Go's sums: made and live, in blocks and bytes.
//!
//! Under the lock only numbers are copied ([`Draft`]); files are read for names after it. Functions have the names of
//! their files' symbol tables, or, with the feature `symbols`, of the debug information, with lines and inlined calls.
//! Mappings without lines say that they have none, so that pprof looks itself where it finds the files, which build
//! ids name.
//!
//! Calls in front that are an allocator's or a language's machinery are left out, as far as names tell them.

use super::super::mapped::Mapped;
use super::super::profile_proto::{
    Sink, bytes, function, label, line, location, mapping, number, profile, sample, value_type,
    varint,
};
use super::draft::{Draft, Line, Location, Stack};
use super::gzip;
use super::names::{Elf, Wanted, is_machinery};
use crate::os;

/// The first texts: the empty one, names and units.
const TEXTS: [&str; 9] = [
    "",
    "alloc_objects",
    "alloc_space",
    "inuse_objects",
    "inuse_space",
    "count",
    "bytes",
    "space",
    "domain",
];

/// What a sample counts: name and unit by number in [`TEXTS`].
const TYPES: [(u64, u64); 4] = [(1, 5), (2, 6), (3, 5), (4, 6)];

/// See [`TEXTS`].
const INUSE_SPACE: u64 = 4;
const PERIOD_TYPE: (u64, u64) = (7, 6);
const DOMAIN: u64 = 8;

impl Sink for Mapped<u8> {
    fn add(&mut self, bytes: &[u8]) {
        self.extend(bytes);
    }
}

/// What is encoded so far.
pub struct Encoded {
    message: Mapped<u8>,
    /// The inner message being made, and one in it.
    inner: Mapped<u8>,
    innermost: Mapped<u8>,
    texts: u64,
    functions: u64,
}

impl Default for Encoded {
    fn default() -> Self {
        let mut encoded = Self {
            message: Mapped::default(),
            inner: Mapped::default(),
            innermost: Mapped::default(),
            texts: 0,
            functions: 0,
        };
        for text in TEXTS {
            encoded.text(text.as_bytes());
        }
        encoded
    }
}

impl Encoded {
    /// Whether nothing was lost for want of memory.
    fn is_whole(&self) -> bool {
        !(self.message.is_cut() || self.inner.is_cut() || self.innermost.is_cut())
    }

    /// Adds a text; its number.
    pub fn text(&mut self, text: &[u8]) -> u64 {
        bytes(&mut self.message, profile::STRING, text);
        self.texts += 1;
        self.texts - 1
    }

    /// Adds a function; its number.
    pub fn function(&mut self, name: u64, system_name: u64, file: u64) -> u64 {
        self.functions += 1;
        let id = self.functions;
        self.numbers(&[
            (function::ID, id),
            (function::NAME, name),
            (function::SYSTEM_NAME, system_name),
            (function::FILE, file),
        ]);
        self.end(profile::FUNCTION);
        id
    }

    /// Begins the inner message with these numbers.
    fn numbers(&mut self, fields: &[(u64, u64)]) {
        self.inner.clear();
        for (field, value) in fields {
            number(&mut self.inner, *field, *value);
        }
    }

    /// Puts the inner message into the whole.
    fn end(&mut self, field: u64) {
        bytes(&mut self.message, field, self.inner.as_slice());
    }

    /// Puts numbers one after another into the inner message.
    fn packed(&mut self, field: u64, values: impl Iterator<Item = u64>) {
        self.innermost.clear();
        values.for_each(|value| varint(&mut self.innermost, value));
        bytes(&mut self.inner, field, self.innermost.as_slice());
    }

    fn value_type(&mut self, field: u64, (kind, unit): (u64, u64)) {
        self.numbers(&[(value_type::KIND, kind), (value_type::UNIT, unit)]);
        self.end(field);
    }

    fn stack(&mut self, calls: impl Iterator<Item = u64>, stack: &Stack, first_type: usize) {
        self.inner.clear();
        self.packed(sample::LOCATIONS, calls);
        self.packed(sample::VALUES, stack.sums[first_type..].iter().copied());
        if stack.domain != 0 {
            self.innermost.clear();
            number(&mut self.innermost, label::KEY, DOMAIN);
            number(&mut self.innermost, label::NUMBER, stack.domain.into());
            bytes(&mut self.inner, sample::LABEL, self.innermost.as_slice());
        }
        self.end(profile::SAMPLE);
    }

    fn location(&mut self, id: u64, call: &Location, lines: &[Line]) {
        self.numbers(&[
            (location::ID, id),
            (location::MAPPING, call.mapping.into()),
            (location::ADDRESS, call.address as u64),
        ]);
        for one in lines {
            self.innermost.clear();
            number(&mut self.innermost, line::FUNCTION, one.function);
            number(&mut self.innermost, line::NUMBER, one.number.into());
            bytes(&mut self.inner, location::LINE, self.innermost.as_slice());
        }
        self.end(profile::LOCATION);
    }
}

impl Draft {
    /// Adds names where there are none, and writes all of it, gzipped. False when memory is out.
    pub fn finish(mut self, out: &mut Mapped<u8>) -> bool {
        let mut wanted = Mapped::default();
        for index in 0..self.mappings.as_slice().len() {
            self.finish_mapping(index, &mut wanted);
        }
        self.write_head();
        // A location that found no memory has no place here.
        self.is_whole()
            && self.write_stacks()
            && self.out.is_whole()
            && !wanted.is_cut()
            && gzip::write(self.out.message.as_slice(), out)
    }

    /// Names what is not named of a mapping's locations, and writes it.
    fn finish_mapping(&mut self, index: usize, wanted: &mut Mapped<Wanted>) {
        let mapped = self.mappings.as_slice()[index];
        let module = mapped.module;
        let elf = Elf::open(module.path());
        self.want(index as u32 + 1, wanted);
        if let Some(elf) = &elf
            && !wanted.as_slice().is_empty()
        {
            elf.functions(wanted.as_mut_slice(), |name, named| self.name(name, named));
        }
        let build_id = elf.as_ref().and_then(Elf::build_id);
        let path = self.out.text(module.path());
        let build_id = build_id.map_or(0, |id| self.out.text(id.as_bytes()));
        self.out.numbers(&[
            (mapping::ID, index as u64 + 1),
            (mapping::START, module.start as u64),
            (mapping::LIMIT, module.end as u64),
            (mapping::OFFSET, module.file_offset as u64),
            (mapping::FILE, path),
            (mapping::BUILD_ID, build_id),
        ]);
        for has in mapping::HAS {
            number(&mut self.out.inner, has, mapped.has_lines.into());
        }
        self.out.end(profile::MAPPING);
    }

    /// The locations of a mapping without a name, by their addresses as its file counts them.
    fn want(&self, mapping: u32, wanted: &mut Mapped<Wanted>) {
        wanted.clear();
        let module = self.mappings.as_slice()[mapping as usize - 1].module;
        for (index, call) in self.locations.as_slice().iter().enumerate() {
            if call.mapping == mapping && call.n_lines == 0 {
                let address = module.in_file(call.address);
                wanted.push(Wanted {
                    address,
                    index: index as u32,
                    is_named: false,
                });
            }
        }
        wanted
            .as_mut_slice()
            .sort_unstable_by_key(|one| one.address);
    }

    /// Notes a function at the locations in it.
    fn name(&mut self, name: &[u8], named: &[Wanted]) {
        let text = self.out.text(name);
        let function = self.out.function(text, text, 0);
        let n_machinery = usize::from(is_machinery(name));
        for one in named {
            let first = self.lines.as_slice().len();
            let number = 0;
            if self.lines.push(Line { function, number }) {
                self.set_lines(one.index as usize, first, n_machinery);
            }
        }
    }

    fn write_head(&mut self) {
        let (out, origin) = (&mut self.out, &self.origin);
        for kind in &TYPES[first_type(origin.counts_made)..] {
            out.value_type(profile::SAMPLE_TYPE, *kind);
        }
        out.value_type(profile::PERIOD_TYPE, PERIOD_TYPE);
        let comment = out.text(origin.comment.as_bytes());
        const NANOS: u64 = 1_000_000;
        let duration_ms = os::now_ms().saturating_sub(origin.start_ms);
        let fields = [
            // Go's profiles of every block say 1.
            (profile::PERIOD, origin.period.max(1)),
            (profile::DEFAULT_SAMPLE_TYPE, INUSE_SPACE),
            (profile::COMMENT, comment),
            (profile::TIME_NANOS, origin.start_unix_ms * NANOS),
            (profile::DURATION_NANOS, duration_ms * NANOS),
        ];
        for (field, value) in fields {
            number(&mut out.message, field, value);
        }
    }

    /// Writes the stacks, and the locations they need. False when memory is out.
    fn write_stacks(&mut self) -> bool {
        let (out, all) = (&mut self.out, self.locations.as_slice());
        let first_type = first_type(self.origin.counts_made);
        // Numbers above all others are those of locations without their machinery.
        let above = all.len() as u64;
        let mut shortened = Mapped::default();
        for stack in self.stacks.as_slice() {
            let calls = &self.calls.as_slice()[stack.first..][..stack.n];
            let (own, is_shortened) = own_calls(calls, all, self.origin.frames);
            let ids = own.iter().enumerate().map(|(place, number)| {
                u64::from(*number) + if place == 0 && is_shortened { above } else { 0 }
            });
            out.stack(ids, stack, first_type);
            if let Some(number) = own.first().filter(|_| is_shortened) {
                shortened.push(*number);
            }
        }
        let lines = |call: &Location| &self.lines.as_slice()[call.first_line..][..call.n_lines];
        for (id, call) in (1..).zip(all) {
            out.location(id, call, lines(call));
        }
        shortened.as_mut_slice().sort_unstable();
        let mut last = 0;
        for number in shortened.as_slice() {
            if *number != last {
                let call = &all[*number as usize - 1];
                let id = u64::from(*number) + above;
                out.location(id, call, &lines(call)[call.n_machinery..]);
            }
            last = *number;
        }
        !shortened.is_cut()
    }
}

/// The calls of a stack without the machinery in front, `most` at most, and whether the first of them still has some
/// of it, inlined.
fn own_calls<'a>(calls: &'a [u32], locations: &[Location], most: usize) -> (&'a [u32], bool) {
    let lines = |number: &u32| {
        let call = &locations[*number as usize - 1];
        (call.n_machinery, call.n_lines)
    };
    let is_machinery = |number: &&u32| {
        let (n_machinery, n_lines) = lines(number);
        n_lines > 0 && n_machinery == n_lines
    };
    let n_left_out = calls.iter().take_while(is_machinery).count();
    let own = &calls[n_left_out..];
    let Some(first) = own.first() else {
        // A stack of machinery only is better than none.
        return (calls, false);
    };
    let is_shortened = lines(first).0 > 0;
    // Where names tell nothing apart, nothing is left out.
    let is_told = n_left_out > 0 || is_shortened;
    let most = if is_told && most > 0 { most } else { own.len() };
    (&own[..most.min(own.len())], is_shortened)
}

/// The first of [`TYPES`] that is written.
fn first_type(counts_made: bool) -> usize {
    if counts_made { 0 } else { 2 }
}
