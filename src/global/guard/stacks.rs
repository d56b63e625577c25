//! Stacks by number: many blocks are made at few places, so each stack is kept once.
//!
//! ```text
//! table[hash % SLOTS] -> word offset of a record in `words`: | n | address × n |
//! ```
//!
//! Readers and writers take no lock. Invariants:
//! * I1 a record is whole before its number is stored in the table, and never changes.
//! * I2 number 0 is "unknown": no memory, no room, or a walk that was not possible.

use crate::os;
use crate::sync::{AtomicPtr, AtomicU32, Ordering};
use core::ptr::{NonNull, null_mut};

/// Entries of the table; three quarters are used at most.
const SLOTS: usize = 1 << 16;
/// Words for records: 16 MiB of address space, touched as they are written.
const WORDS: usize = 2 << 20;

struct Depot {
    table: [AtomicU32; SLOTS],
    /// Words used; the first stays unused, so that no record has number 0.
    used: AtomicU32,
    n_records: AtomicU32,
    words: [usize; WORDS],
}

static DEPOT: AtomicPtr<Depot> = AtomicPtr::new(null_mut());

fn depot() -> Option<NonNull<Depot>> {
    // Acquire: pairs with the publication below, so that the zeros are seen.
    if let Some(depot) = NonNull::new(DEPOT.load(Ordering::Acquire)) {
        return Some(depot);
    }
    let len = size_of::<Depot>().next_multiple_of(os::page_size());
    let made = os::map(len, os::page_size())?;
    let published = DEPOT.compare_exchange(
        null_mut(),
        made.as_ptr().cast(),
        Ordering::Release,
        Ordering::Acquire,
    );
    match published {
        Ok(_) => Some(made.cast()),
        Err(other) => {
            // SAFETY: mapped just now, known to nobody.
            unsafe { os::unmap(made, len) };
            NonNull::new(other)
        }
    }
}

fn hash_of(stack: &[usize]) -> usize {
    let mix = |hash: usize, word: &usize| {
        (hash ^ word)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29)
    };
    stack.iter().fold(stack.len(), mix)
}

/// The number of a stack; 0 when there is no room left.
pub fn number_of(stack: &[usize]) -> u32 {
    let Some(depot) = depot().filter(|_| !stack.is_empty()) else {
        return 0;
    };
    let hash = hash_of(stack);
    // SAFETY: mapped for ever; zeros are an empty depot. Only its atomics are referred to.
    let (table, n_records) = unsafe { (&(*depot.as_ptr()).table, &(*depot.as_ptr()).n_records) };
    let mut written = 0;
    for probe in 0..SLOTS {
        let entry = &table[(hash >> 16).wrapping_add(probe) % SLOTS];
        // Acquire: pairs with the Release below (I1).
        let mut number = entry.load(Ordering::Acquire);
        if number == 0 {
            if n_records.load(Ordering::Relaxed) as usize > SLOTS / 4 * 3 {
                return 0;
            }
            if written == 0 {
                written = write(depot, stack);
            }
            if written == 0 {
                return 0;
            }
            // Release: publishes the record.
            match entry.compare_exchange(0, written, Ordering::Release, Ordering::Acquire) {
                Ok(_) => {
                    n_records.fetch_add(1, Ordering::Relaxed);
                    return written;
                }
                Err(other) => number = other,
            }
        }
        if stack_of(number) == stack {
            return number;
        }
    }
    0
}

/// Writes a record; 0 when there is no room.
fn write(depot: NonNull<Depot>, stack: &[usize]) -> u32 {
    let depot = depot.as_ptr();
    let len = stack.len() as u32 + 1;
    // SAFETY: mapped for ever.
    let used = unsafe { &(*depot).used };
    if used.load(Ordering::Relaxed) + len >= WORDS as u32 {
        return 0;
    }
    let start = used.fetch_add(len, Ordering::Relaxed) + 1;
    if start + len > WORDS as u32 {
        return 0;
    }
    // SAFETY: these words are this call's alone until it publishes them.
    unsafe {
        let words = (&raw mut (*depot).words)
            .cast::<usize>()
            .add(start as usize);
        words.write(stack.len());
        words
            .add(1)
            .copy_from_nonoverlapping(stack.as_ptr(), stack.len());
    }
    start
}

/// The stack of a number; empty for one that is none.
pub fn stack_of(number: u32) -> &'static [usize] {
    let depot = DEPOT.load(Ordering::Acquire);
    if depot.is_null() || number == 0 || number as usize >= WORDS {
        return &[];
    }
    // SAFETY: a record is whole and never changes (I1); a number that is none, from a block that somebody
    // overwrote, is cut to the depot.
    unsafe {
        let words = (&raw const (*depot).words)
            .cast::<usize>()
            .add(number as usize);
        let len = words
            .read()
            .min(WORDS - 1 - number as usize)
            .min(os::MOST_SYMBOLS);
        core::slice::from_raw_parts(words.add(1), len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stack_has_one_number_whichever_thread_asks() {
        let stacks: Vec<Vec<usize>> = (1..500usize)
            .map(|n| (0..n % 20 + 1).map(|k| n * 1000 + k).collect())
            .collect();
        let numbers = |_| {
            stacks
                .iter()
                .map(|stack| number_of(stack))
                .collect::<Vec<_>>()
        };
        let all: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|n| scope.spawn(move || numbers(n))).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert!(all.iter().all(|numbers| *numbers == all[0]));
        for (stack, number) in stacks.iter().zip(&all[0]) {
            assert_ne!(*number, 0);
            assert_eq!(stack_of(*number), stack);
        }
    }

    #[test]
    fn what_is_no_number_has_no_stack() {
        assert!(number_of(&[]) == 0 && stack_of(0).is_empty());
        assert!(stack_of(u32::MAX).is_empty());
    }
}
