//! Files, lines and inlined calls for a profile that is served, with the feature `symbols`.
//!
//! The thread that answers may not allocate, and who reads debug information must: an ordinary thread does it.
//!
//! ```text
//! answers: draft ─► its place on the desk, asked ─► waits ─────────► goes on writing
//! pymalloc-names:                        └► reads, adds lines ─► idle ┘
//! ```
//!
//! | state | entered | left |
//! |---|---|---|
//! | nobody | the memory is new, or this is a child after fork; no thread to be had | `begin` |
//! | idle | `begin`; lines were added | a profile is asked for |
//! | asked | a profile is asked for | lines were added |
//!
//! * **I1** While asked, the draft on the desk is the naming thread's, and else nobody's.
//! * **I2** The desk lies in memory that the kernel wipes in a child after fork, which has no such thread.
//! * **I3** What the naming thread allocates is seen by no profile.
//!
//! Names are kept, what was read for them is not: a profile without new places reads nothing.

use super::super::debug_info::{Call, DebugInfo};
use super::draft::{Draft, Line};
use crate::global::slot;
use crate::os::{self, Futex};
use crate::sync::{AtomicPtr, AtomicU32, AtomicUsize, Ordering, Park};
use core::ptr::{NonNull, null_mut};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

const NOBODY: u32 = 0;
const IDLE: u32 = 1;
const ASKED: u32 = 2;

/// Most addresses whose names are kept.
const MOST: usize = 1 << 16;

/// Valid when all zero: then nobody sits there.
struct Desk {
    state: AtomicU32,
    /// The naming thread's number, written by itself.
    thread: AtomicUsize,
    /// See I1.
    draft: AtomicPtr<Draft>,
}

/// Starts the naming thread, unless there is one. Without one, profiles have no lines.
pub fn begin() {
    let Some(desk) = desk() else {
        return;
    };
    let exchanged = desk
        .state
        .compare_exchange(NOBODY, IDLE, Ordering::Relaxed, Ordering::Relaxed);
    if exchanged.is_err() {
        return;
    }
    let thread = std::thread::Builder::new().name("pymalloc-names".to_owned());
    if os::without_signals(|| thread.spawn(|| work(desk))).is_err() {
        desk.state.store(NOBODY, Ordering::Relaxed);
    }
}

/// Whether the calling thread is the naming thread (I3).
pub fn is_here() -> bool {
    kept().is_some_and(|desk| desk.thread.load(Ordering::Relaxed) == os::thread_id())
}

/// The draft with lines, as far as they are found.
pub fn named(mut draft: Draft) -> Draft {
    let Some(desk) = kept() else {
        return draft;
    };
    // Acquire: pairs with the Release of who was there last, who left the desk.
    if desk.state.load(Ordering::Acquire) != IDLE {
        return draft;
    }
    // Relaxed: published by the state.
    desk.draft.store(&raw mut draft, Ordering::Relaxed);
    // Release: publishes the draft.
    desk.state.store(ASKED, Ordering::Release);
    Futex::wake_one(&desk.state);
    // Acquire: pairs with the naming thread's Release, so that its lines are seen.
    while desk.state.load(Ordering::Acquire) == ASKED {
        Futex::wait(&desk.state, ASKED);
    }
    draft
}

/// The naming thread.
fn work(desk: &'static Desk) {
    desk.thread.store(os::thread_id(), Ordering::Relaxed);
    let mut names = Names::default();
    loop {
        // Acquire: pairs with the Release that asks.
        while desk.state.load(Ordering::Acquire) != ASKED {
            Futex::wait(&desk.state, IDLE);
        }
        // Relaxed: published by the state.
        let place = desk.draft.swap(null_mut(), Ordering::Relaxed);
        if let Some(mut draft) = NonNull::new(place) {
            // SAFETY: who asked waits and does not touch it (I1).
            let draft = unsafe { draft.as_mut() };
            // Whatever debug information says: who asked is not left waiting. Lines that were added are whole.
            let _ = catch_unwind(AssertUnwindSafe(|| names.add_to(draft)));
        }
        // Release: publishes the lines.
        desk.state.store(IDLE, Ordering::Release);
        Futex::wake_one(&desk.state);
    }
}

/// The desk's memory, made when it is first asked for.
fn desk() -> Option<&'static Desk> {
    if let Some(desk) = kept() {
        return Some(desk);
    }
    let page = os::page_size();
    let place = os::map(page, page)?;
    // SAFETY: a mapping of that length.
    if unsafe { os::wipe_on_fork(place, page) } && slot::keep(slot::Keeper::Names, place) {
        return kept();
    }
    // SAFETY: mapped just now, known to nobody.
    unsafe { os::unmap(place, page) };
    kept()
}

fn kept() -> Option<&'static Desk> {
    let place = slot::kept(slot::Keeper::Names)?;
    // SAFETY: only `desk` fills the slot, with memory that stays; all zero is a desk (its declaration says so).
    Some(unsafe { place.cast::<Desk>().as_ref() })
}

/// A code address in the numbering of its file.
type InFile = (Rc<[u8]>, u64);

/// What was found so far.
#[derive(Default)]
struct Names {
    known: HashMap<InFile, Rc<[Call]>>,
}

impl Names {
    /// Adds lines to a draft's locations.
    fn add_to(&mut self, draft: &mut Draft) {
        if self.known.len() > MOST {
            self.known.clear();
        }
        let mut debug_info = DebugInfo::default();
        let mut functions = HashMap::new();
        for mapping in 0..draft.mappings.as_slice().len() {
            let module = draft.mappings.as_slice()[mapping].module;
            let path: Rc<[u8]> = module.path().into();
            for index in 0..draft.locations.as_slice().len() {
                let location = draft.locations.as_slice()[index];
                if location.mapping as usize != mapping + 1 || !path.starts_with(b"/") {
                    continue;
                }
                let address = module.in_file(location.address);
                let known = self.known.entry((Rc::clone(&path), address));
                let calls = known.or_insert_with(|| debug_info.calls(&path, address).into());
                if !calls.is_empty() {
                    draft.mappings.as_mut_slice()[mapping].has_lines = true;
                    add_lines(draft, index, calls, &mut functions);
                }
            }
        }
    }
}

/// Numbers of functions by name and file.
type Functions = HashMap<(String, String), u64>;

fn add_lines(draft: &mut Draft, location: usize, calls: &[Call], functions: &mut Functions) {
    let first = draft.lines.as_slice().len();
    for call in calls {
        let key = (call.function.clone(), call.file.clone());
        let function = *functions.entry(key).or_insert_with(|| {
            let texts = [&call.function, &call.system_name, &call.file];
            let [name, system_name, file] = texts.map(|text| draft.out.text(text.as_bytes()));
            draft.out.function(name, system_name, file)
        });
        let number = call.line;
        draft.lines.push(Line { function, number });
    }
    if !draft.lines.is_cut() {
        let n_machinery = calls.iter().take_while(|call| call.is_machinery).count();
        draft.set_lines(location, first, n_machinery);
    }
}
