//! Address space for one execution: eight slots of 1 MiB, the first of which holds small tables.
//!
//! | state | from | by |
//! |---|---|---|
//! | free | boot, `unmap`, the place `relocate` leaves | `reserve`, `map`, `relocate` onto it |
//! | reserved | `reserve` | `commit`, `unmap`, `relocate` onto it |
//! | committed | `commit`, `map`, `relocate` onto it | `purge`, `unmap`, `relocate` away |
//!
//! Where Linux would return an error or quietly ruin somebody's memory, this kernel panics. It hands out
//! the lowest free addresses, so that what was given back is given out again at once.
//!
//! Each slot has contents: one number, in a cell of loom's, that the kernel sets to zero and the models
//! write. Two accesses without order between them are a race, as they would be on the pages themselves.

use super::park::Bed;
use crate::obmalloc::size_class::POOL_BYTES;
use loom::cell::UnsafeCell;
use loom::sync::Mutex;
use std::alloc::Layout;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;

const SLOT_BYTES: usize = 1 << 20;
const SLOTS: usize = 8;
const WINDOW: Layout = match Layout::from_size_align(SLOTS * SLOT_BYTES, SLOTS * SLOT_BYTES) {
    Ok(layout) => layout,
    Err(_) => panic!("a power of two is an alignment"),
};

/// What the kernel knows of one slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Free,
    Reserved,
    Committed,
}

/// The address space of an execution and its sleepers.
pub(super) struct Machine {
    /// The kernel's own lock: its calls happen one after the other.
    kernel: Mutex<Kernel>,
    contents: [UnsafeCell<u64>; SLOTS],
    pub(super) beds: RefCell<BTreeMap<usize, Arc<Bed>>>,
    refused: Cell<Refused>,
}

/// Calls that fail from now on.
#[derive(Clone, Copy, Default)]
pub struct Refused {
    /// `purge`: the memory stays as it is.
    pub purge: bool,
    /// `grow`: the mapping stays as it is.
    pub grow: bool,
}

struct Kernel {
    slots: [State; SLOTS],
    /// Bytes of slot 0 handed out.
    tables: usize,
}

thread_local! {
    static MACHINE: RefCell<Option<Rc<Machine>>> = const { RefCell::new(None) };
    /// Real memory behind the slots; mapped once for each system thread, touched where models touch it.
    static BASE: NonNull<u8> = {
        // SAFETY: the layout is not empty.
        let base = NonNull::new(unsafe { std::alloc::alloc_zeroed(WINDOW) }).expect("8 MiB of address space");
        let _ = base.as_ptr().expose_provenance();
        base
    };
}

fn base() -> NonNull<u8> {
    BASE.with(|base| *base)
}

pub(super) fn machine() -> Rc<Machine> {
    MACHINE.with_borrow(|machine| machine.clone().expect("a model boots its machine"))
}

/// Starts an execution's machine.
pub fn boot() {
    let machine = Machine {
        kernel: Mutex::new(Kernel {
            slots: [State::Free; SLOTS],
            tables: 0,
        }),
        contents: std::array::from_fn(|_| UnsafeCell::new(0)),
        beds: RefCell::default(),
        refused: Cell::default(),
    };
    MACHINE.set(Some(Rc::new(machine)));
}

/// Ends it, while loom still counts its locks.
pub fn halt() {
    MACHINE.set(None);
}

/// Makes calls fail from now on.
pub fn refuse(refused: Refused) {
    machine().refused.set(refused);
}

/// The contents of one slot, for models.
pub struct Slot(usize);

/// The slot at `p`.
pub fn slot(p: NonNull<u8>) -> Slot {
    Slot(index(p.addr().get()))
}

impl Slot {
    /// Stores `value`.
    pub fn write(&self, value: u64) {
        // SAFETY: the closure ends before it returns; loom reports any other access meanwhile.
        machine().contents[self.0].with_mut(|p| unsafe { *p = value });
    }

    /// What was stored last; 0 for fresh memory.
    pub fn read(&self) -> u64 {
        // SAFETY: as `write`.
        machine().contents[self.0].with(|p| unsafe { *p })
    }
}

fn index(addr: usize) -> usize {
    let offset = addr - base().addr().get();
    assert!(offset < WINDOW.size(), "an address of this machine");
    offset / SLOT_BYTES
}

fn slots(start: NonNull<u8>, len: usize) -> std::ops::Range<usize> {
    let first = index(start.addr().get());
    assert!(
        start.addr().get().is_multiple_of(SLOT_BYTES),
        "a slot begins there"
    );
    first..first + len.div_ceil(SLOT_BYTES)
}

impl Kernel {
    /// The lowest free slots for `len` bytes, in `state` from now on.
    fn take(&mut self, len: usize, align: usize, state: State) -> Option<NonNull<u8>> {
        assert!(align <= SLOT_BYTES, "models align to arenas");
        let n = len.div_ceil(SLOT_BYTES);
        // Slot 0 holds the tables.
        let free = |first: &usize| {
            self.slots[*first..*first + n]
                .iter()
                .all(|s| *s == State::Free)
        };
        let first = (1..=SLOTS.checked_sub(n)?).find(free)?;
        self.slots[first..first + n].fill(state);
        // SAFETY: inside the window.
        Some(unsafe { base().add(first * SLOT_BYTES) })
    }

    fn change(&mut self, slots: std::ops::Range<usize>, from: &[State], to: State) {
        for slot in &mut self.slots[slots] {
            assert!(from.contains(slot), "{slot:?} cannot become {to:?}");
            *slot = to;
        }
    }
}

/// Makes slots zero: their contents, and the real bytes that models touch. An execution finds there what
/// the one before it left.
fn clear(slots: std::ops::Range<usize>) {
    /// Models use the first blocks of a pool only; a whole MiB would cost more than the rest of them.
    const TOUCHED: usize = 1024;
    for index in slots {
        for pool in (0..SLOT_BYTES).step_by(POOL_BYTES) {
            // The first pool holds an arena's headers.
            let touched = if pool == 0 { POOL_BYTES } else { TOUCHED };
            // SAFETY: inside the window, and committed for the caller.
            unsafe {
                let start = base().add(index * SLOT_BYTES + pool);
                start.write_bytes(0, touched);
            }
        }
        Slot(index).write(0);
    }
}

fn kernel<R>(call: impl FnOnce(&mut Kernel) -> R) -> R {
    call(&mut machine().kernel.lock().expect("no thread panicked here"))
}

/// Bytes of a page.
pub fn page_size() -> usize {
    4096
}

/// As the shipped `os::reserve`.
pub fn reserve(len: usize, align: usize) -> Option<NonNull<u8>> {
    kernel(|kernel| kernel.take(len, align, State::Reserved))
}

/// As the shipped `os::map`. Ranges aligned to less than a slot are tables and are never given back.
pub fn map(len: usize, align: usize) -> Option<NonNull<u8>> {
    kernel(|kernel| {
        if align < SLOT_BYTES {
            let start = kernel.tables.next_multiple_of(align);
            kernel.tables = start + len;
            assert!(kernel.tables <= SLOT_BYTES, "tables fit one slot");
            // SAFETY: inside slot 0.
            return Some(unsafe { base().add(start) });
        }
        let start = kernel.take(len, align, State::Committed)?;
        clear(slots(start, len));
        Some(start)
    })
}

/// As the shipped `os::commit`.
///
/// # Safety
/// None here: a wrong call panics.
pub unsafe fn commit(start: NonNull<u8>, len: usize) -> bool {
    kernel(|kernel| kernel.change(slots(start, len), &[State::Reserved], State::Committed));
    clear(slots(start, len));
    true
}

/// No model has fences.
///
/// # Safety
/// None here.
pub unsafe fn protect(_: NonNull<u8>, _: usize) -> bool {
    false
}

/// As the shipped `os::unmap`.
///
/// # Safety
/// None here: a wrong call panics.
pub unsafe fn unmap(start: NonNull<u8>, len: usize) -> bool {
    kernel(|kernel| {
        let slots = slots(start, len);
        if kernel.slots[slots.start] == State::Committed {
            clear(slots.clone());
        }
        kernel.change(slots, &[State::Reserved, State::Committed], State::Free);
    });
    true
}

/// A model's memory is all there.
///
/// # Safety
/// None beyond the types.
pub unsafe fn resident(_: NonNull<u8>, pages: &mut [u8]) -> bool {
    pages.fill(1);
    true
}

/// As the shipped `os::purge`. Takes no lock of the kernel's: nothing orders it but its caller.
///
/// # Safety
/// None here: a wrong call panics.
pub unsafe fn purge(start: NonNull<u8>, len: usize) -> bool {
    if machine().refused.get().purge {
        return false;
    }
    clear(slots(start, len));
    true
}

/// As the shipped `os::grow`, for lengths that take the same slots or, when shortening, fewer.
///
/// # Safety
/// None here: a wrong call panics.
pub unsafe fn grow(start: NonNull<u8>, old_len: usize, new_len: usize) -> bool {
    if machine().refused.get().grow {
        return false;
    }
    kernel(|kernel| {
        let (old, new) = (slots(start, old_len), slots(start, new_len));
        if new.end > old.end {
            return false;
        }
        kernel.change(new.end..old.end, &[State::Committed], State::Free);
        true
    })
}

/// As the shipped `os::relocate`.
///
/// # Safety
/// None here: a wrong call panics.
pub unsafe fn relocate(
    start: NonNull<u8>,
    old_len: usize,
    new_len: usize,
    target: NonNull<u8>,
) -> bool {
    kernel(|kernel| {
        let (old, new) = (slots(start, old_len), slots(target, new_len));
        clear(new.clone());
        for (from, to) in old.clone().zip(new.clone()) {
            Slot(to).write(Slot(from).read());
        }
        clear(old.clone());
        kernel.change(old, &[State::Committed], State::Free);
        kernel.change(new, &[State::Reserved], State::Committed);
    });
    true
}

/// As the shipped `os::label`.
///
/// # Safety
/// None.
pub unsafe fn label(_: NonNull<u8>, _: usize, _: &'static CStr) -> bool {
    true
}

/// Advice, which the model's memory does not take.
///
/// # Safety
/// None.
pub unsafe fn refuse_huge_pages(_: NonNull<u8>, _: usize) {}

/// As [`refuse_huge_pages`].
///
/// # Safety
/// None.
pub unsafe fn ask_for_huge_pages(_: NonNull<u8>, _: usize) {}

/// As [`refuse_huge_pages`].
///
/// # Safety
/// None.
pub unsafe fn fill_huge_page(start: NonNull<u8>, len: usize) {
    for k in 0..len / SLOT_BYTES {
        // SAFETY: inside the range; loom reports whoever else is there.
        slot(unsafe { start.add(k * SLOT_BYTES) }).write(0);
    }
}
