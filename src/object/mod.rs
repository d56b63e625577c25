//! L5: Python's objects in Rust: counted handles, weak references, finalizers, and what a collector needs.
//!
//! ```text
//! Gc<T> ──► value, with count, flags and type in the eight bytes before it
//!   │          in a pool of its type (16 KiB), in an arena (1 MiB) that begins with the collector's tables
//!   └ the last handle goes: finalizer, weak references, value, slot: at once, as in CPython
//! ```
//!
//! What to use for what:
//!
//! | in a type that [`impl_trace!`](crate::impl_trace) names the fields of | |
//! |---|---|
//! | `Gc<T>`, `Option<Gc<T>>`, `Vec<Gc<T>>`, maps and tuples of them | references that are set once, when the value is made |
//! | [`Slot<T>`](Slot) | one reference that changes: no borrow flag, no lock |
//! | `RefCell<Vec<Gc<T>>>`, `Cell`, … | anything else that changes: the standard cells, as with `Rc` |
//! | [`Weak<T>`](Weak) | a reference that keeps nothing alive; it may call back when the object dies |
//! | `Rc<T>`, closures | leaves: a `Gc` inside them counts as held by the program, so a cycle through one leaks |
//!
//! [`Gc::new`] makes objects of the calling thread; they stay there. Nothing has to be registered, and cycles go by
//! themselves, or at once by [`gc::collect`](crate::gc::collect). What lives, and why, shows
//! [`observe::objgraph`](crate::observe::objgraph).
//!
//! Cycles are found by the layer above, [`gc`](crate::gc). This one knows no generation but the bit an object
//! has in the tables.
//!
//! | file | what |
//! |---|---|
//! | `header` | count, flags, type; the raw handle |
//! | `arena`, `pool`, `heap`, `supply` | where objects lie; the tables; a thread's heap and its memory |
//! | `type_info` | a type as the heap sees it: sizes and compiled passes |
//! | `trace`, `std_impls` | which handles a value owns |
//! | `passes`, `tracking` | counting, marking, releasing; generations |
//! | `handle`, `tail`, `slot`, `weak`, `size` | what users hold |
//! | `release`, `unraisable` | how an object dies; panics nobody can catch |
//! | `watched` | who is told of objects, and how, while somebody watches |
//!
//! # Why safe code stays sound
//!
//! * A value is dropped only when no handle to it is left, or when all that are left are owned by a set that
//!   dies as a whole. Within such a set a handle only counts, and no user code can follow one: traced types
//!   have no `Drop` of their own, and the `Drop` of a leaf field reaches only what was counted as used from
//!   outside, which is never in the set.
//! * Finalizers run before anything is dropped; afterwards the set is counted again. Weak references to the
//!   set are cleared before any user code runs, and again before values are dropped.
//! * `Trace` reports too few handles at worst (a `RefCell` borrowed mutably): then something is kept.
//! * A collection runs only where an object is made or a function of [`gc`](crate::gc) is called: never
//!   while a `Cell` is being changed.

mod arena;
pub(crate) mod handle;
pub(crate) mod header;
pub(crate) mod heap;
pub(crate) mod passes;
pub(crate) mod pool;
mod release;
mod size;
mod slot;
mod std_impls;
mod supply;
pub(crate) mod tail;
mod trace;
mod tracking;
pub(crate) mod type_info;
pub(crate) mod unraisable;
pub(crate) mod watched;
pub(crate) mod weak;

pub(crate) use arena::{Arena, WORD};
pub use handle::{Erased, Gc, OutOfMemory};
pub use header::Raw;
pub(crate) use release::TEARING;
pub use slot::Slot;
pub use tail::Tail;
pub use trace::{Finalize, Trace, TrustedDrop, Visitor};
#[doc(hidden)]
pub use trace::{field_drops_handles_only, field_is_cyclic, require_trusted_drop};
pub use tracking::Generation;
pub use unraisable::{Unraisable, UnraisableHook};
pub use weak::{Weak, WeakCallback, weak_count};
