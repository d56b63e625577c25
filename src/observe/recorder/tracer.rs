//! What a log of a recording with stacks has beside one without: who called, by number.

use super::super::unwind::{Bounds, Trail, Unwinder};
use super::stacks::Stacks;
use crate::os;
use core::ops::Range;
use core::ptr::NonNull;

/// Modules that a log remembers to have named; a power of two.
const TOLD: usize = 1024;

/// See the module.
pub struct Tracer {
    pub unwinder: Unwinder,
    pub stacks: Stacks,
    /// The range of this library's code; empty when it is part of the program.
    pub own: Range<usize>,
    /// Frames to keep.
    pub frames: usize,
    /// Where the stack of the thread lies that was walked last.
    pub bounds: Bounds,
    /// What that walk found.
    trail: Option<NonNull<Trail>>,
    /// Serial numbers of modules that the log names, by their last bits.
    told: NonNull<[u32; TOLD]>,
}

impl Tracer {
    /// The first one. `None` when memory is out.
    pub fn new(frames: usize) -> Option<Self> {
        let mut unwinder = Unwinder::new()?;
        let own = match cfg!(feature = "preload") {
            true => unwinder.range_of(os::registers().program),
            false => 0..0,
        };
        Self::of(unwinder, own, frames)
    }

    /// One for another log. `None` when memory is out.
    pub fn beside(&self) -> Option<Self> {
        Self::of(self.unwinder.beside()?, self.own.clone(), self.frames)
    }

    fn of(unwinder: Unwinder, own: Range<usize>, frames: usize) -> Option<Self> {
        let page = os::page_size();
        Some(Self {
            unwinder,
            stacks: Stacks::new()?,
            own,
            frames,
            bounds: Bounds::default(),
            trail: None,
            told: os::map((TOLD * size_of::<u32>()).next_multiple_of(page), page)?.cast(),
        })
    }

    /// Another thread is to be walked.
    pub fn forget_thread(&mut self) {
        self.bounds = Bounds::default();
    }

    /// The trail, made if there is none. `None` when memory is out.
    #[inline]
    pub fn trail(&mut self) -> Option<NonNull<Trail>> {
        if self.trail.is_none() {
            self.trail = os::keep_errno(Trail::new);
        }
        self.trail
    }

    /// Whether the module with that serial number is to be named: it was not, as far as is remembered.
    pub fn is_untold(&mut self, serial: u32) -> bool {
        // SAFETY: mapped for this, and used by this call only.
        let told = unsafe { self.told.as_mut() };
        let place = &mut told[serial as usize % TOLD];
        core::mem::replace(place, serial) != serial
    }
}
