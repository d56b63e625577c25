//! The bytes of chunks into events and tables.

use super::format::{ADDRESS_SHIFT, Ending, MarkKind, kind, other, take_varint, unzigzag};

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A block was given out.
    Alloc {
        /// Where it starts.
        address: u64,
        /// Bytes asked for.
        size: u64,
        /// Alignment asked for; 16 when nothing was asked.
        align: u64,
        /// Whether it was asked to be zero.
        zeroed: bool,
        /// Number of the stack, 0 for none.
        stack: u32,
    },
    /// A block was given back; perhaps one from before the recording.
    Free {
        /// Where it started.
        address: u64,
    },
    /// A block changed its size, and perhaps its place.
    Resize {
        /// Where it was.
        old: u64,
        /// Where it is.
        new: u64,
        /// Bytes asked for.
        size: u64,
        /// Number of the stack, 0 for none.
        stack: u32,
    },
    /// The program said something.
    Mark {
        /// What kind of thing.
        kind: MarkKind,
        /// Index into [`Tables::marks`].
        name: u32,
    },
}

/// An event, who made it and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Number of the thread, from 0 in the order of their first events.
    pub thread: u32,
    /// Milliseconds since the start, to some milliseconds.
    pub time_ms: u64,
    /// What happened.
    pub event: Event,
}

/// Executable memory and the file behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// First address.
    pub start: u64,
    /// First address behind it.
    pub end: u64,
    /// Where in the file `start` stands, in bytes.
    pub file_offset: u64,
    /// The file; empty for memory without one.
    pub path: Vec<u8>,
    /// Nodes with greater numbers use it (I4).
    pub after_node: u32,
}

/// A frame and the one outside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Node {
    parent: u32,
    frame: u64,
}

/// What events refer to.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// Node `n` is at `n - 1`.
    nodes: Vec<Node>,
    /// Modules in the order of their definition.
    pub modules: Vec<Module>,
    /// Path of the executable.
    pub program: Vec<u8>,
    /// The command line.
    pub arguments: Vec<Vec<u8>>,
    /// Names of marks.
    pub marks: Vec<String>,
}

impl Tables {
    /// Number of nodes; stacks are numbered from 1 to it.
    pub fn n_nodes(&self) -> u32 {
        self.nodes.len() as u32
    }

    /// Frames of a stack, innermost first, each with the number of its node: addresses to which calls return.
    /// None for stack 0.
    pub fn stack(&self, number: u32) -> impl Iterator<Item = (u32, u64)> {
        let node = |number: u32| {
            let index = (number as usize).checked_sub(1)?;
            self.nodes.get(index).map(|node| (number, *node))
        };
        // A parent is defined before its child, so the way ends.
        std::iter::successors(node(number), move |(_, inner)| node(inner.parent))
            .map(|(number, node)| (number, node.frame))
    }

    /// The module that held `address` when node `number` was defined, and its place among all.
    pub fn module_of(&self, address: u64, number: u32) -> Option<(usize, &Module)> {
        let holds = |(_, module): &(usize, &Module)| {
            module.after_node < number && (module.start..module.end).contains(&address)
        };
        self.modules.iter().enumerate().rev().find(holds)
    }

    fn mark(&mut self, name: &[u8]) -> u32 {
        let name = String::from_utf8_lossy(name);
        let known = self.marks.iter().position(|mark| *mark == name);
        known.unwrap_or_else(|| {
            self.marks.push(name.into_owned());
            self.marks.len() - 1
        }) as u32
    }
}

/// A chunk's payload that no writer makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

/// Reads chunks in order; a chunk may come in parts, each with what came before.
#[derive(Debug)]
pub struct Decoder {
    has_stacks: bool,
    /// Chunk being read, and how far.
    number: u32,
    at: usize,
    last_alloc: i64,
    last_free: i64,
    thread: u32,
    time_ms: u64,
    events: u64,
    ending: Option<Ending>,
    tables: Tables,
}

impl Decoder {
    /// At the start of a recording.
    pub fn new(has_stacks: bool) -> Self {
        Self {
            has_stacks,
            number: 0,
            at: 0,
            last_alloc: 0,
            last_free: 0,
            thread: 0,
            time_ms: 0,
            events: 0,
            ending: None,
            tables: Tables::default(),
        }
    }

    /// What was defined so far.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// The tables alone.
    pub fn into_tables(self) -> Tables {
        self.tables
    }

    /// Why the recording ended, if it did.
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// Events read so far; definitions do not count.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Milliseconds from the start to what was read last.
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// Number of the chunk that comes next, or of which more may come.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Reads what is new in `payload`, the beginning of the current chunk or all of it.
    ///
    /// # Errors
    /// When the bytes are no events; what stood before was read.
    pub fn part(&mut self, payload: &[u8], sink: &mut impl FnMut(&Step)) -> Result<(), Corrupt> {
        while let Some(mut rest) = payload.get(self.at..).filter(|rest| !rest.is_empty()) {
            let before = rest.len();
            self.event(&mut rest, sink).ok_or(Corrupt)?;
            self.at += before - rest.len();
        }
        Ok(())
    }

    /// The current chunk is whole and read: what comes is the next.
    pub fn next_chunk(&mut self) {
        self.number += 1;
        self.at = 0;
        (self.last_alloc, self.last_free, self.thread) = (0, 0, 0);
    }

    fn event(&mut self, bytes: &mut &[u8], sink: &mut impl FnMut(&Step)) -> Option<()> {
        let head = take_varint(bytes)?;
        let value = head >> 3;
        let event = match head & 7 {
            kind::ALLOC => self.alloc(bytes, value, 16, false)?,
            kind::ALLOC_ZEROED => self.alloc(bytes, value, 16, true)?,
            kind::ALLOC_ALIGNED => {
                let (how, rest) = bytes.split_first()?;
                *bytes = rest;
                let align = 1u64.checked_shl(u32::from(how & 0x7f))?;
                self.alloc(bytes, value, align, how & 0x80 != 0)?
            }
            kind::FREE => Event::Free {
                address: self.freed(value)?,
            },
            kind::RESIZE => {
                let place = take_varint(bytes)?;
                let old = self.freed(place)?;
                self.last_alloc = self.last_free.checked_add(unzigzag(take_varint(bytes)?))?;
                Event::Resize {
                    old,
                    new: address(self.last_alloc)?,
                    size: value,
                    stack: self.stack_number(bytes)?,
                }
            }
            kind::THREAD => {
                self.thread = u32::try_from(value).ok()?;
                return Some(());
            }
            kind::STACK => return self.stack(bytes, usize::try_from(value).ok()?),
            _ => match self.other(bytes, value)? {
                Some(event) => event,
                None => return Some(()),
            },
        };
        self.events += 1;
        sink(&Step {
            thread: self.thread,
            time_ms: self.time_ms,
            event,
        });
        Some(())
    }

    fn alloc(&mut self, bytes: &mut &[u8], size: u64, align: u64, zeroed: bool) -> Option<Event> {
        self.last_alloc = self.last_alloc.checked_add(unzigzag(take_varint(bytes)?))?;
        Some(Event::Alloc {
            address: address(self.last_alloc)?,
            size,
            align,
            zeroed,
            stack: self.stack_number(bytes)?,
        })
    }

    /// The address of a free: distance and base.
    fn freed(&mut self, place: u64) -> Option<u64> {
        let base = match place & 1 {
            0 => self.last_alloc,
            _ => self.last_free,
        };
        self.last_free = base.checked_add(unzigzag(place >> 1))?;
        address(self.last_free)
    }

    fn stack_number(&self, bytes: &mut &[u8]) -> Option<u32> {
        if !self.has_stacks {
            return Some(0);
        }
        let number = u32::try_from(take_varint(bytes)?).ok()?;
        (number <= self.tables.n_nodes()).then_some(number)
    }

    fn stack(&mut self, bytes: &mut &[u8], n: usize) -> Option<()> {
        let mut parent = u32::try_from(take_varint(bytes)?).ok()?;
        let mut outside = match parent {
            0 => 0,
            _ => self.tables.nodes.get(parent as usize - 1)?.frame,
        };
        for _ in 0..n {
            outside = outside.wrapping_add_signed(unzigzag(take_varint(bytes)?));
            let frame = outside;
            self.tables.nodes.push(Node { parent, frame });
            parent = self.tables.n_nodes();
        }
        Some(())
    }

    /// The inner option is empty for what is no event.
    #[allow(clippy::option_option, reason = "what fails and what is none differ")]
    fn other(&mut self, bytes: &mut &[u8], sub_kind: u64) -> Option<Option<Event>> {
        let len = usize::try_from(take_varint(bytes)?).ok()?;
        let mut body = bytes.get(..len)?;
        *bytes = &bytes[len..];
        match sub_kind {
            other::TIME => self.time_ms = take_varint(&mut body)?,
            other::MODULE => {
                let module = Module {
                    start: take_varint(&mut body)?,
                    end: take_varint(&mut body)?,
                    file_offset: take_varint(&mut body)?,
                    path: body.to_vec(),
                    after_node: self.tables.n_nodes(),
                };
                self.tables.modules.push(module);
            }
            other::PROGRAM => self.tables.program = body.to_vec(),
            other::ARGUMENT => self.tables.arguments.push(body.to_vec()),
            other::MARK => {
                let (how, name) = body.split_first()?;
                let kind = match how {
                    0 => MarkKind::Point,
                    1 => MarkKind::Begin,
                    _ => MarkKind::End,
                };
                let name = self.tables.mark(name);
                return Some(Some(Event::Mark { kind, name }));
            }
            other::END => self.ending = Some(Ending::from_number(*body.first()?)?),
            // I know nothing of it: written by a later version of the same format.
            _ => {}
        }
        Some(None)
    }
}

/// An address from units; `None` for one that no process has.
fn address(units: i64) -> Option<u64> {
    let units = u64::try_from(units).ok()?;
    units.checked_mul(1 << ADDRESS_SHIFT)
}
