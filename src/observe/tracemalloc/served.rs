//! What is traced, as a heap profile that is served.
//!
//! The thread that asks allocates nothing and has no storage of its own: under the lock, sums are added up in mapped
//! memory, once for each domain. Threads that allocate wait for as long, some milliseconds for a million blocks.

use super::super::heap_profile::{Draft, Origin, comment};
use super::super::mapped::Mapped;
use super::tracer::{self, Blocks, State};

/// Blocks and bytes that live.
type Sum = (u64, u64);

/// A profile of the traced blocks; `None` when nothing is traced.
pub(in super::super) fn draft() -> Option<Draft> {
    tracer::with_existing(|state| state.is_tracing.then(|| drawn(state)))?
}

/// Whether blocks are traced, asked without an allocation.
pub(in super::super) fn is_tracing() -> bool {
    tracer::with_existing(|state| state.is_tracing).unwrap_or(false)
}

fn drawn(state: &mut State) -> Draft {
    let mut draft = Draft::new(Origin {
        comment: comment("tracemalloc", state.sample_bytes),
        counts_made: false,
        period: state.sample_bytes,
        start_unix_ms: state.start_unix_ms,
        start_ms: state.start_ms,
        frames: state.limit,
    });
    let Some((unwinder, _)) = &mut state.walker else {
        // Nothing was seen yet.
        return draft;
    };
    for (domain, blocks) in &state.traces {
        let sums = sums(blocks, state.stacks.len());
        for ((count, bytes), stack) in sums.as_slice().iter().zip(&state.stacks) {
            if *count > 0 {
                draft.add(&stack.frames, *domain, [0, 0, *count, *bytes], unwinder);
            }
        }
        draft.note_cut(sums.is_cut());
    }
    draft
}

/// What lives, by the number of the stack.
fn sums(blocks: &Blocks, n_stacks: usize) -> Mapped<Sum> {
    let mut sums = Mapped::default();
    (0..n_stacks).all(|_| sums.push((0, 0)));
    for record in blocks.values() {
        if let Some((count, bytes)) = sums.as_mut_slice().get_mut(record.stack) {
            *count += record.count;
            *bytes += record.size;
        }
    }
    sums
}
