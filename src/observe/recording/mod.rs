//! The recording of a run: every allocation call, in order, in a file. `record` writes it without stacks,
//! `profile` with; `report`, `why`, `live` and the benches' `replay` read it.
//!
//! Three programs compile this folder: the allocator library, which writes, and the launcher and the
//! benches, which read and include it by `#[path]` because they must not link the library. So it names
//! nothing outside itself; `format` and `encode` need only `core` and never allocate.
//!
//! # The file
//!
//! ```text
//! ┌────────┬───────┬───────┬─ ─ ─┬───────┐      ┌───────┬───────┬─ ─ ┐
//! │ header │ log 0 │ log 2 │     │ log 0 │      │ log 0 │ log 2 │    │  NAME.tail, while the process
//! │ 64 B   │   0   │   0   │     │   1   │      │   2   │   1   │    │  lives or after it was killed
//! └────────┴───────┴───────┴─ ─ ─┴───────┘      └───────┴───────┴─ ─ ┘
//!    chunk:  magic 4 │ length 4 │ number 4 │ log 4 │ checksum 8 │ payload: events
//! ```
//!
//! Threads write into logs, each cut into chunks, which stand in the file as they were filled. Numbers of fixed width
//! are little-endian. A *varint* is the number's bits in one to eight bytes, lowest first, behind a mark: as many zero
//! bits as there are more bytes, and a one; nine bytes are a zero byte and the number. *Zigzag* maps 0, -1, 1, -2 … to
//! 0, 1, 2, 3 … Addresses are in units of 16 bytes, the alignment of every block.
//!
//! Every event begins with a varint whose low three bits are its kind and whose other bits are its value:
//!
//! | kind | value | then |
//! |---|---|---|
//! | 0 alloc | size | address, stack |
//! | 1 alloc zeroed | size | address, stack |
//! | 2 alloc aligned | size | one byte: log2 of the alignment, plus 128 if zeroed; address, stack |
//! | 3 free | zigzag distance · 2 + base | |
//! | 4 resize | new size | zigzag distance · 2 + base of the old block, zigzag distance from it to the new; stack |
//! | 5 ticket | distance from the last one in this chunk | the events that follow are of this ticket |
//! | 6 stack | frames `n` | varint: the node they hang from, 0 for the root; `n` zigzag distances, outermost first, each from the frame outside it (from 0 at the root) |
//! | 7 other | sub-kind | length of the body; the body |
//!
//! *Address* is the zigzag distance from the address allocated last in this chunk. *Base* 0 is the same
//! address, base 1 the address freed last in this chunk; the writer takes the nearer. At the start of a
//! chunk both are 0, the thread is 0, and so is the last ticket, though what comes is still of the ticket before. Stacks
//! are paths in one tree for each log, from its root, the outermost frame first; each frame that event 6 defines is a
//! node, numbered from 1 in their order. *Stack* is a varint, present if the header's flag says so: the node of the
//! innermost frame, 0 for no stack. A frame is the address its call returns to.
//!
//! | sub-kind | body |
//! |---|---|
//! | 0 time | milliseconds since the start, varint |
//! | 1 module | start, end, file offset as varints; path |
//! | 2 program | path of the executable |
//! | 3 argument | one word of the command line |
//! | 4 mark | one byte: 0 point, 1 begin, 2 end; name |
//! | 5 end | one byte: why ([`format::Ending`]); events written, varint |
//! | 6 thread | number, from 0: the events that follow are this thread's |
//!
//! A reader skips sub-kinds that it does not know.
//!
//! A recording may hold a sample of the blocks (`sample_bytes` of its header): then each stands for
//! 1 / (1 - e^(-n / sample_bytes)) blocks of its kind, `n` being the bytes of its size class, or of the block above
//! the largest class.
//!
//! * **I1** The chunks of a log are numbered from 0 without a gap, and each whole one has its checksum; a recording is
//!   readable up to its last whole chunk.
//! * **I2** `NAME.tail` has a place of [`format::CHUNK_BYTES`] for each log's next chunk. It belongs to the recording if
//!   its number is the number of the log's whole chunks. Its events up to `length` are whole; it has no checksum.
//! * **I3** Tickets rise in each log, and no two logs have the same. In the order of their tickets, events stand as they
//!   can have happened: a block's alloc comes before its free, and its free before any alloc of the same address. The
//!   free of a block that was allocated before the recording began may stand there, too; a reader ignores it. What has
//!   a ticket above that of the end came too late.
//! * **I4** A log defines a stack or module before its first event that refers to it. A module replaces what the log
//!   knew of its addresses for all nodes that it defines later.
//!
//! A file that was cut lacks up to a chunk of each log, in the middle of what others did: then a free may be missing
//! whose address another thread allocates again, or an alloc that another thread frees.

pub mod decode;
pub mod encode;
pub mod format;
pub mod last;
mod merge;
pub mod read;
pub mod tables;
pub mod weight;
