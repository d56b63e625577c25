//! Pointers that are not live blocks: who owns the address, and what is said of it.

use super::{HUGE, MAP, OPTIONS, options};
use crate::obmalloc::address_map::{Owner, Slot};
use crate::obmalloc::heap::{class_around, double_free, freed_class, interior, not_a_block};
use crate::obmalloc::size_class::{ALIGNMENT, ARENA_BYTES};
use crate::os;
use core::ptr::NonNull;

/// Who owns the address, looking back from inside a large block.
pub(super) fn owner_around(p: NonNull<u8>) -> Owner {
    /// How far inside a huge block a wrong pointer is still recognised, in slots.
    const BACK: usize = 64;
    let addr = p.addr().get();
    // What is said of the address itself, if no block around it is live: address space that we gave up keeps
    // what was said of it, and may lie inside a mapping by now.
    let mut here = Owner::Nobody;
    for back in 0..BACK {
        let Some(slot) = addr.checked_sub(back * ARENA_BYTES) else {
            break;
        };
        match MAP.owner(slot) {
            // An arena that was: its addresses are still ours.
            Owner::Nobody if back == 0 && MAP.slot(slot).is_some_and(Slot::is_free) => {
                return Owner::Arena;
            }
            Owner::Nobody | Owner::Gone(_) => {}
            Owner::Freed(bytes) if back == 0 => here = Owner::Freed(bytes),
            Owner::Freed(_) => {}
            Owner::Huge(descriptor) => {
                let (base, len, _) = HUGE.describe(descriptor);
                let inside = addr.wrapping_sub(base) < len;
                return if inside {
                    Owner::Huge(descriptor)
                } else {
                    here
                };
            }
            arena if back == 0 => return arena,
            _ => break,
        }
    }
    here
}

/// Reports a pointer into our memory that is not a live block, and aborts.
#[cold]
pub(super) fn misuse(p: NonNull<u8>, owner: Owner) -> ! {
    let addr = p.addr().get();
    if !addr.is_multiple_of(ALIGNMENT) {
        os::fatal(format_args!(
            "free of {p:p}, which is not aligned to {ALIGNMENT} bytes"
        ));
    }
    match owner {
        Owner::Huge(descriptor) => {
            let (base, bytes, live) = HUGE.describe(descriptor);
            if base == addr && !live {
                os::fatal(format_args!("double free of {p:p} ({bytes} bytes)"));
            }
            os::fatal(format_args!(
                "free of {p:p}, which points inside a block ({bytes} bytes)"
            ))
        }
        Owner::Freed(bytes) if addr.is_multiple_of(ARENA_BYTES) => {
            os::fatal(format_args!("double free of {p:p} ({bytes} bytes)"))
        }
        Owner::PrivateArena => os::fatal(format_args!(
            "free of {p:p}, which belongs to a heap of its own"
        )),
        Owner::Arena => {
            if let Some(class) = class_around(&MAP, p) {
                interior(p, class);
            }
            if let Some(class) = freed_class(p) {
                double_free(p, class);
            }
            not_a_block(p)
        }
        _ => not_a_block(p),
    }
}

/// A free of what is not ours, as the options say.
#[cold]
pub(super) fn foreign(p: NonNull<u8>) {
    // Where a huge block of ours was, somebody else's may be now; but nobody's is where nothing is.
    if let Owner::Gone(bytes) = MAP.owner(p.addr().get())
        && !os::is_mapped(p)
    {
        os::fatal(format_args!("double free of {p:p} ({bytes} bytes)"));
    }
    super::stats::count_foreign(p);
    match OPTIONS.foreign() {
        options::Foreign::Leak => {}
        options::Foreign::Forward if super::next_malloc::free(p) => {}
        _ => os::fatal(format_args!("free of foreign pointer {p:p}")),
    }
}
