//! Python's `tracemalloc`, for Rust programs: which lines made the blocks that live now.
//!
//! ```
//! use pymalloc::observe::tracemalloc::{self, KeyType};
//! # #[global_allocator]
//! # static GLOBAL: pymalloc::PyMalloc = pymalloc::PyMalloc;
//!
//! tracemalloc::start(25)?;
//! let words: Vec<String> = (0..1000).map(|n| format!("word {n}")).collect();
//! let snapshot = tracemalloc::take_snapshot()?;
//! for statistic in snapshot.statistics(KeyType::Lineno, false)?.iter().take(3) {
//!     println!("{statistic}");
//! }
//! let (current, peak) = tracemalloc::get_traced_memory();
//! assert!(current > 10_000 && peak >= current);
//! tracemalloc::stop();
//! # drop(words);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The meanings are CPython 3.11's, down to the order of statistics and the text of sizes. What differs, and why:
//!
//! * Domain 0 is this allocator. Other allocators of the program call [`track`] and [`untrack`] with a domain
//!   of their own.
//! * A frame is a call with a line, inlined ones included. In front, calls inside this crate and Rust's own
//!   libraries are left out, as Python leaves out C's. Lines need the feature `symbols` and debug
//!   information (`debug = "line-tables-only"` is enough); without, a frame is a file and an address.
//! * Tracing that begins is exact at once for the calling thread and new ones; other threads' blocks are seen
//!   once those in their lists are used up.
//! * Objects of the object library are blocks of domain 0, as CPython's are, of the size of value and header; where one
//!   was made says `get_object_traceback`.
//! * A block whose record finds no memory ends the process, as any allocation of Rust's collections does.

mod file;
mod filter;
mod frame;
mod names;
pub(super) mod served;
mod snapshot;
mod statistics;
mod tracer;

pub use file::LoadError;
pub use filter::{AnyFilter, DomainFilter, Filter};
pub use frame::{Frame, Repr, Traceback};
pub use snapshot::{Snapshot, Trace};
pub use statistics::{KeyType, Statistic, StatisticDiff, StatisticsError, format_size};

use crate::sync::Arc;
use names::Names;
use std::collections::HashSet;
use std::fmt;
use tracer::{Blocks, Record, Stack, State, with_state};

/// Most frames of a traceback.
pub const MAX_NFRAME: usize = 65_535;

/// Why a function of this module did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TraceError {
    /// The number of frames is 0 or more than [`MAX_NFRAME`].
    Frames,
    /// Nothing is traced.
    NotTracing,
    /// There are too many observers of allocations already.
    Observers,
}

impl fmt::Display for TraceError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Frames => "the number of frames must be in range [1; 65535]",
            Self::NotTracing => {
                "the tracemalloc module must be tracing memory allocations to take a snapshot"
            }
            Self::Observers => "too many observers of memory allocations",
        })
    }
}

impl std::error::Error for TraceError {}

/// Begins to trace every block, with tracebacks of at most `nframe` frames. While tracing, it does nothing: the
/// limit stays.
///
/// # Errors
/// Nothing was begun.
pub fn start(nframe: usize) -> Result<(), TraceError> {
    start_sampled(nframe, 0)
}

/// As [`start`], but sees only one block for every `bytes` that are allocated, on average: cheap enough for production.
/// Sizes and counts are what the seen blocks stand for, right on average. 0 sees every block.
///
/// # Errors
/// As [`start`]; also where another sampler of the process has another `bytes`.
pub fn start_sampled(nframe: usize, bytes: u64) -> Result<(), TraceError> {
    if !(1..=MAX_NFRAME).contains(&nframe) {
        return Err(TraceError::Frames);
    }
    tracer::start(nframe, bytes)
        .then_some(())
        .ok_or(TraceError::Observers)
}

/// Stops tracing and forgets all blocks.
pub fn stop() {
    tracer::stop();
}

/// Whether blocks are traced.
pub fn is_tracing() -> bool {
    with_state(|state| state.is_tracing)
}

/// Most frames of a traceback, as given to the last [`start`]; 1 before it.
pub fn get_traceback_limit() -> usize {
    with_state(|state| state.limit)
}

/// Bytes of all traced blocks, now and at most; 0 and 0 when nothing is traced.
pub fn get_traced_memory() -> (u64, u64) {
    with_state(|state| (state.current, state.peak))
}

/// The most becomes what it is now.
pub fn reset_peak() {
    with_state(|state| state.peak = state.current);
}

/// Forgets all blocks so far, and goes on tracing.
pub fn clear_traces() {
    with_state(State::clear);
}

/// Bytes of the tracer's own tables.
pub fn get_tracemalloc_memory() -> usize {
    with_state(|state| state.own_bytes())
}

/// Where the live block at `p` was made; `None` if it is not traced.
pub fn get_block_traceback<T: ?Sized>(p: *const T) -> Option<Traceback> {
    let address = p.cast::<u8>().addr();
    let (stack, limit, calls) = with_state(|state| {
        let record = *state.traces.get(&0)?.get(&address)?;
        let stack = state.stacks[record.stack].clone();
        let calls = state.calls(&stack);
        Some((stack, state.limit, calls))
    })?;
    Some(traceback(&mut Names::default(), &stack, &calls, limit))
}

/// Where a live object was made; `None` if it is not traced.
///
/// ```
/// # #[global_allocator]
/// # static GLOBAL: pymalloc::PyMalloc = pymalloc::PyMalloc;
/// use pymalloc::object::{Gc, Slot};
/// use pymalloc::observe::{objgraph, tracemalloc};
///
/// struct Session { next: Slot<Session> }
/// pymalloc::impl_trace!(struct Session { next });
///
/// tracemalloc::start(10)?;
/// let session = Gc::new(Session { next: Slot::empty() });
/// let found = objgraph::at(Gc::id(&session)).expect("it lives");
/// let made = tracemalloc::get_object_traceback(&found).expect("it is traced");
/// println!("{made}"); // with the feature `symbols`: src/main.rs:8
/// # tracemalloc::stop();
/// # Ok::<(), tracemalloc::TraceError>(())
/// ```
#[cfg(feature = "objects")]
pub fn get_object_traceback<T: ?Sized>(object: &crate::object::Gc<T>) -> Option<Traceback> {
    get_block_traceback(object.pointer().as_ptr())
}

/// Traces a block of another allocator, in the place of one at the same address. The traceback is the caller's.
///
/// # Errors
/// [`TraceError::NotTracing`].
pub fn track(domain: u32, address: usize, size: usize) -> Result<(), TraceError> {
    while_tracing(|state| state.add(domain, address, size as u64, 1))
}

/// Forgets a block of another allocator; one that is not traced is nothing.
///
/// # Errors
/// [`TraceError::NotTracing`].
pub fn untrack(domain: u32, address: usize) -> Result<(), TraceError> {
    while_tracing(|state| state.remove(domain, address))
}

/// All traced blocks.
///
/// # Errors
/// [`TraceError::NotTracing`].
pub fn take_snapshot() -> Result<Snapshot, TraceError> {
    let (records, stacks, limit) = while_tracing(copied)?;
    let mut names = Names::default();
    // Equal tracebacks are one object, also those of different stacks.
    let mut same: HashSet<Arc<Traceback>> = HashSet::new();
    let tracebacks: Vec<Arc<Traceback>> = stacks
        .iter()
        .map(|(stack, calls)| {
            let made = Arc::new(traceback(&mut names, stack, calls, limit));
            if let Some(known) = same.get(&made) {
                return Arc::clone(known);
            }
            same.insert(Arc::clone(&made));
            made
        })
        .collect();
    let trace = |(domain, record): (u32, Record)| Trace {
        domain,
        size: record.size,
        count: record.count,
        traceback: Arc::clone(&tracebacks[record.stack]),
    };
    let traces = records.into_iter().map(trace).collect();
    Ok(Snapshot::new(traces, limit))
}

/// What a snapshot is made from, outside the lock.
type Copied = (Vec<(u32, Record)>, Vec<(Stack, Vec<tracer::InFile>)>, usize);

fn copied(state: &mut State) -> Copied {
    let of_domain = |(domain, blocks): (&u32, &Blocks)| {
        let domain = *domain;
        let records = blocks.values().map(move |record| (domain, *record));
        records.collect::<Vec<_>>()
    };
    let records = state.traces.iter().flat_map(of_domain).collect();
    let stacks = state.stacks.clone().into_iter();
    let stacks = stacks.map(|stack| {
        let calls = state.calls(&stack);
        (stack, calls)
    });
    (records, stacks.collect(), state.limit)
}

fn while_tracing<R>(f: impl FnOnce(&mut State) -> R) -> Result<R, TraceError> {
    with_state(|state| match state.is_tracing {
        true => Ok(f(state)),
        false => Err(TraceError::NotTracing),
    })
}

fn traceback(
    names: &mut Names,
    stack: &Stack,
    calls: &[tracer::InFile],
    limit: usize,
) -> Traceback {
    let (frames, skipped) = names.frames(calls, limit);
    let total = stack.total.saturating_sub(skipped).max(frames.len());
    Traceback::new(frames, Some(total.min(MAX_NFRAME)))
}
