//! The profile as pprof reads it (`profile.proto`, gzipped), with Go's four sums: made and live, in blocks and bytes.
//!
//! Under the lock only numbers are copied ([`Draft`]); files are read for names after it. Functions have the names of
//! their files' symbol tables. Mappings say that they are not symbolised, so that pprof looks for lines itself
//! where it finds the files, which build ids name.

use super::super::mapped::Mapped;
use super::super::unwind::Module;
use super::Session;
use super::gzip;
use super::names::{Elf, Wanted};
use super::table::Table;
use crate::os;

/// Field numbers of `profile.proto`.
mod field {
    pub const SAMPLE_TYPE: u64 = 1;
    pub const SAMPLE: u64 = 2;
    pub const MAPPING: u64 = 3;
    pub const LOCATION: u64 = 4;
    pub const FUNCTION: u64 = 5;
    pub const STRING: u64 = 6;
    pub const TIME_NANOS: u64 = 9;
    pub const DURATION_NANOS: u64 = 10;
    pub const PERIOD_TYPE: u64 = 11;
    pub const PERIOD: u64 = 12;
    pub const DEFAULT_SAMPLE_TYPE: u64 = 14;
}

/// The first texts: the empty one, names and units.
const TEXTS: [&str; 8] = [
    "",
    "alloc_objects",
    "alloc_space",
    "inuse_objects",
    "inuse_space",
    "count",
    "bytes",
    "space",
];

/// What a sample counts: name and unit by number in [`TEXTS`].
const TYPES: [(u64, u64); 4] = [(1, 5), (2, 6), (3, 5), (4, 6)];

/// A call.
#[derive(Clone, Copy)]
struct Location {
    address: usize,
    /// Number of its mapping, from 1; 0 for none.
    mapping: u32,
    /// Number of its function, from 1; 0 while it has no name.
    function: u64,
}

/// What is written, before names are looked for.
#[derive(Default)]
pub struct Draft {
    message: Mapped<u8>,
    /// The inner message being made.
    inner: Mapped<u8>,
    locations: Mapped<Location>,
    mappings: Mapped<Module>,
    texts: u64,
    functions: u64,
}

fn varint(out: &mut Mapped<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A number; protobuf leaves out 0.
fn number(out: &mut Mapped<u8>, field: u64, value: u64) {
    if value != 0 {
        varint(out, field << 3);
        varint(out, value);
    }
}

/// Bytes: a text or an inner message.
fn bytes(out: &mut Mapped<u8>, field: u64, value: &[u8]) {
    const LENGTH: u64 = 2;
    varint(out, field << 3 | LENGTH);
    varint(out, value.len() as u64);
    out.extend(value);
}

impl Draft {
    /// Copies what `session` knows.
    pub fn of(session: &mut Session) -> Self {
        let mut draft = Self::default();
        for text in TEXTS {
            draft.text(text.as_bytes());
        }
        for (kind, unit) in TYPES {
            draft.value_type(field::SAMPLE_TYPE, kind, unit);
        }
        draft.value_type(field::PERIOD_TYPE, 7, 6);
        // Go's profiles of every block say 1.
        number(
            &mut draft.message,
            field::PERIOD,
            session.sampling.bytes.max(1),
        );
        number(&mut draft.message, field::DEFAULT_SAMPLE_TYPE, 4);
        const NANOS: u64 = 1_000_000;
        let message = &mut draft.message;
        number(message, field::TIME_NANOS, session.start_unix_ms * NANOS);
        let duration_ms = os::now_ms().saturating_sub(session.start_ms);
        number(message, field::DURATION_NANOS, duration_ms * NANOS);
        draft.samples(session);
        draft
    }

    /// Whether nothing was lost for want of memory.
    fn is_whole(&self) -> bool {
        !(self.message.is_cut()
            || self.inner.is_cut()
            || self.locations.is_cut()
            || self.mappings.is_cut())
    }

    fn value_type(&mut self, field: u64, kind: u64, unit: u64) {
        self.inner.clear();
        number(&mut self.inner, 1, kind);
        number(&mut self.inner, 2, unit);
        bytes(&mut self.message, field, self.inner.as_slice());
    }

    fn text(&mut self, text: &[u8]) -> u64 {
        bytes(&mut self.message, field::STRING, text);
        self.texts += 1;
        self.texts - 1
    }

    fn samples(&mut self, session: &mut Session) {
        let (mut known, mut maps) = (Table::default(), Table::default());
        let mut packed = Mapped::default();
        for (place, frames) in session.places.all() {
            packed.clear();
            for frame in frames {
                // The call is before the address it returns to.
                let address = frame - 1;
                let id = known.get(address as u64).unwrap_or_else(|| {
                    let mapping = session
                        .unwinder
                        .module_of(address)
                        .map_or(0, |module| self.mapping(module, &mut maps));
                    self.locations.push(Location {
                        address,
                        mapping,
                        function: 0,
                    });
                    let id = self.locations.as_slice().len() as u64;
                    known.insert(address as u64, id);
                    id
                });
                varint(&mut packed, id);
            }
            self.inner.clear();
            bytes(&mut self.inner, 1, packed.as_slice());
            packed.clear();
            let sums = [
                place.made_count,
                place.made_bytes,
                place.live_count,
                place.live_bytes,
            ];
            for sum in sums {
                varint(&mut packed, sum);
            }
            bytes(&mut self.inner, 2, packed.as_slice());
            bytes(&mut self.message, field::SAMPLE, self.inner.as_slice());
        }
    }

    fn mapping(&mut self, module: &Module, maps: &mut Table<u32>) -> u32 {
        let key = module.start as u64;
        maps.get(key).unwrap_or_else(|| {
            self.mappings.push(*module);
            let number = self.mappings.as_slice().len() as u32;
            maps.insert(key, number);
            number
        })
    }

    /// Adds names, mappings and locations, and writes all of it, gzipped. False when memory is out.
    pub fn finish(mut self, out: &mut Mapped<u8>) -> bool {
        let mut wanted = Mapped::default();
        for index in 0..self.mappings.as_slice().len() {
            let module = self.mappings.as_slice()[index];
            let elf = Elf::open(module.path());
            wanted.clear();
            self.want(index as u32 + 1, &module, &mut wanted);
            if let Some(elf) = &elf {
                elf.functions(wanted.as_mut_slice(), |name, named| {
                    self.function(name, named);
                });
            }
            let build_id = elf.as_ref().and_then(Elf::build_id);
            self.write_mapping(index as u64 + 1, &module, build_id.as_ref());
        }
        self.write_locations();
        self.is_whole() && gzip::write(self.message.as_slice(), out)
    }

    /// The locations of a mapping, by their addresses as its file counts them.
    fn want(&self, number: u32, module: &Module, wanted: &mut Mapped<Wanted>) {
        for (index, location) in self.locations.as_slice().iter().enumerate() {
            if location.mapping == number {
                let address = module.in_file(location.address);
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

    /// Writes a function, and notes it at the locations in it.
    fn function(&mut self, name: &[u8], named: &[Wanted]) {
        self.functions += 1;
        let text = self.text(name);
        self.inner.clear();
        for (field, value) in [(1, self.functions), (2, text), (3, text)] {
            number(&mut self.inner, field, value);
        }
        bytes(&mut self.message, field::FUNCTION, self.inner.as_slice());
        for one in named {
            self.locations.as_mut_slice()[one.index as usize].function = self.functions;
        }
    }

    fn write_mapping(&mut self, id: u64, module: &Module, build_id: Option<&os::Text<64>>) {
        let path = self.text(module.path());
        let build_id = build_id.map_or(0, |id| self.text(id.as_bytes()));
        self.inner.clear();
        let fields = [
            (1, id),
            (2, module.start as u64),
            (3, module.end as u64),
            (4, module.file_offset as u64),
            (5, path),
            (6, build_id),
        ];
        for (field, value) in fields {
            number(&mut self.inner, field, value);
        }
        bytes(&mut self.message, field::MAPPING, self.inner.as_slice());
    }

    fn write_locations(&mut self) {
        let mut line = Mapped::default();
        for (id, location) in (1..).zip(self.locations.as_slice()) {
            self.inner.clear();
            number(&mut self.inner, 1, id);
            number(&mut self.inner, 2, location.mapping.into());
            number(&mut self.inner, 3, location.address as u64);
            if location.function != 0 {
                line.clear();
                number(&mut line, 1, location.function);
                bytes(&mut self.inner, 4, line.as_slice());
            }
            bytes(&mut self.message, field::LOCATION, self.inner.as_slice());
        }
    }
}
