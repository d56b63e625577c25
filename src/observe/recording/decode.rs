//! The bytes of chunks into events and tables.

use super::format::{ADDRESS_SHIFT, Ending, MarkKind, kind, other, take_varint, unzigzag};
use super::tables::Tables;

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

/// A chunk's payload that no writer makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

/// What a log says next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// Something happened.
    Event(Step),
    /// A definition, a ticket, a thread.
    Other,
    /// So many milliseconds have passed since the start.
    Time(u64),
    /// The recording ends.
    End {
        /// Why.
        why: Ending,
        /// Events that its writer counted.
        events: u64,
    },
}

/// Reads the chunks of one log in order; a chunk may come in parts, each with what came before.
#[derive(Debug)]
pub struct Decoder {
    has_stacks: bool,
    /// Chunk being read, and how far.
    number: u32,
    at: usize,
    last_alloc: i64,
    last_free: i64,
    /// As this chunk counts, 0 at its start.
    last_ticket: u64,
    /// Of what comes next: never falls.
    ticket: u64,
    thread: u32,
    time_ms: u64,
    /// The numbers in [`Tables`] of the nodes and modules that the log defined.
    nodes: Vec<u32>,
    modules: Vec<u32>,
}

impl Decoder {
    /// At the start of a log.
    pub fn new(has_stacks: bool) -> Self {
        Self {
            has_stacks,
            number: 0,
            at: 0,
            last_alloc: 0,
            last_free: 0,
            last_ticket: 0,
            ticket: 0,
            thread: 0,
            time_ms: 0,
            nodes: Vec::new(),
            modules: Vec::new(),
        }
    }

    /// Number of the chunk that comes next, or of which more may come.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Bytes read of its payload.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The ticket of what comes next, as far as it was read.
    pub fn ticket(&self) -> u64 {
        self.ticket
    }

    /// The current chunk is whole and read: what comes is the next.
    pub fn next_chunk(&mut self) {
        self.number += 1;
        self.at = 0;
        (self.last_alloc, self.last_free, self.thread) = (0, 0, 0);
        self.last_ticket = 0;
    }

    /// Reads tickets that stand next in `payload`.
    pub fn settle(&mut self, payload: &[u8]) {
        while let Some(mut rest) = payload.get(self.at..) {
            match take_varint(&mut rest) {
                Some(head) if head & 7 == kind::TICKET => {
                    if self.set_ticket(head >> 3).is_none() {
                        return;
                    }
                    self.at = payload.len() - rest.len();
                }
                _ => return,
            }
        }
    }

    /// Reads what comes next in `payload`, the beginning of the current chunk or all of it. `None` at its end.
    ///
    /// # Errors
    /// When the bytes are no events; what stood before was read.
    pub fn next(&mut self, payload: &[u8], tables: &mut Tables) -> Result<Option<Item>, Corrupt> {
        let Some(mut rest) = payload.get(self.at..).filter(|rest| !rest.is_empty()) else {
            return Ok(None);
        };
        let item = self.item(&mut rest, tables).ok_or(Corrupt)?;
        self.at = payload.len() - rest.len();
        Ok(Some(item))
    }

    fn item(&mut self, bytes: &mut &[u8], tables: &mut Tables) -> Option<Item> {
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
            kind::TICKET => {
                self.set_ticket(value)?;
                return Some(Item::Other);
            }
            kind::STACK => {
                self.stack(bytes, usize::try_from(value).ok()?, tables)?;
                return Some(Item::Other);
            }
            _ => return self.other(bytes, value, tables),
        };
        Some(self.step(event))
    }

    fn step(&self, event: Event) -> Item {
        Item::Event(Step {
            thread: self.thread,
            time_ms: self.time_ms,
            event,
        })
    }

    fn set_ticket(&mut self, distance: u64) -> Option<()> {
        self.last_ticket = self.last_ticket.checked_add(distance)?;
        self.ticket = self.ticket.max(self.last_ticket);
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
        let number = usize::try_from(take_varint(bytes)?).ok()?;
        self.node(number)
    }

    /// The number in the tables of the node that this log numbers `number`; 0 for 0.
    fn node(&self, number: usize) -> Option<u32> {
        match number.checked_sub(1) {
            Some(index) => self.nodes.get(index).copied(),
            None => Some(0),
        }
    }

    fn stack(&mut self, bytes: &mut &[u8], n: usize, tables: &mut Tables) -> Option<()> {
        let mut parent = self.node(usize::try_from(take_varint(bytes)?).ok()?)?;
        let mut outside = tables.frame(parent);
        for _ in 0..n {
            outside = outside.wrapping_add_signed(unzigzag(take_varint(bytes)?));
            parent = tables.node(parent, outside, &self.modules);
            self.nodes.push(parent);
        }
        Some(())
    }

    fn other(&mut self, bytes: &mut &[u8], sub_kind: u64, tables: &mut Tables) -> Option<Item> {
        let len = usize::try_from(take_varint(bytes)?).ok()?;
        let mut body = bytes.get(..len)?;
        *bytes = &bytes[len..];
        match sub_kind {
            other::TIME => {
                self.time_ms = take_varint(&mut body)?;
                return Some(Item::Time(self.time_ms));
            }
            other::MODULE => {
                let mut field = || take_varint(&mut body);
                let (start, end, file_offset) = (field()?, field()?, field()?);
                let path = body.to_vec();
                self.modules
                    .push(tables.module(start, end, file_offset, path));
            }
            other::PROGRAM => tables.program = body.to_vec(),
            other::ARGUMENT => tables.arguments.push(body.to_vec()),
            other::MARK => {
                let (how, name) = body.split_first()?;
                let kind = match how {
                    0 => MarkKind::Point,
                    1 => MarkKind::Begin,
                    _ => MarkKind::End,
                };
                let name = tables.mark(name);
                return Some(self.step(Event::Mark { kind, name }));
            }
            other::END => {
                let (why, mut rest) = body.split_first()?;
                return Some(Item::End {
                    why: Ending::from_number(*why)?,
                    events: take_varint(&mut rest)?,
                });
            }
            other::THREAD => self.thread = u32::try_from(take_varint(&mut body)?).ok()?,
            // I know nothing of it: written by a later version of the same format.
            _ => {}
        }
        Some(Item::Other)
    }
}

/// An address from units; `None` for one that no process has.
fn address(units: i64) -> Option<u64> {
    let units = u64::try_from(units).ok()?;
    units.checked_mul(1 << ADDRESS_SHIFT)
}
