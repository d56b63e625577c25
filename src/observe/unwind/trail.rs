//! The stack that a thread's last walk found, kept so that the next one steps only over what is new.
//!
//! ```text
//! steps   │ … │ main │ run │ parse │ make │ … │      outermost first
//!         bottom^                     ^ top - 1: the innermost frame
//! next walk:  main   run   parse   copy              copy is new: stepped over by rules, put in make's place;
//!                           ^ the same place and return address as before: from here on two words a frame
//!                             are compared with what they were
//! ```
//!
//! A frame's caller follows from its instruction, its stack pointer and, by some rules, its frame pointer, and from
//! the words on the stack that the rule names. Where all of these are what they were, so is the caller. What is
//! between the innermost frame and the first one that is met again is walked as ever.
//!
//! A walk has a limit; steps beyond it stay on the trail, unlooked at, for when the functions inside of them have
//! returned. Then they are compared as any other.
//!
//! * **I1** Steps lie above each other: their stack pointers fall from `bottom` to `top`.
//! * **I2** Two neighbours were found by one walk, the outer one as the caller of the inner one.
//! * **I3** The steps from `outermost` to `top` are what the last walk found. `ends` says that the step at `bottom` has no
//!   caller.
//! * **I4** The node of a step, if it is not 0, is that of the path from `bottom` up to it; then `ends` is true, and the
//!   steps outside of it have nodes, too.

use super::super::recording::format::MOST_FRAMES;
use crate::os;
use core::ptr::NonNull;

/// Most frames of a walk.
pub const MOST_STEPS: usize = 512;

/// Room for steps: twice as many, so that they seldom move.
const ROOM: usize = 2 * MOST_STEPS;

const _: () = assert!(MOST_FRAMES <= MOST_STEPS);

/// What a frame's caller is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Needs {
    /// The stack pointer.
    Stack,
    /// The frame pointer.
    Frame,
    /// More than this module compares.
    More,
}

/// A frame, as its callee returns to it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Step {
    /// The stack pointer. The word below it is the return address.
    pub(super) stack: usize,
    /// The return address.
    pub program: usize,
    /// The frame pointer register, when the caller was looked for last.
    pub(super) frame: usize,
    /// Where on the stack its callee had saved that; 0 if it did not.
    pub(super) saved: usize,
    /// See I4.
    node: u32,
    pub(super) needs: Needs,
}

impl Step {
    pub(super) const fn new(stack: usize, program: usize, frame: usize, saved: usize) -> Self {
        Self {
            stack,
            program,
            frame,
            saved,
            node: 0,
            needs: Needs::More,
        }
    }
}

/// See the module.
pub struct Trail {
    bottom: usize,
    outermost: usize,
    top: usize,
    ends: bool,
    /// What the steps were found with.
    pub(super) epoch: u32,
    pub(super) high: usize,
    /// A number for the whole of it, which goes when anything changes; 0 for none.
    pub number: usize,
    steps: [Step; ROOM],
}

/// How far a comparison came.
pub(super) enum Reached {
    /// All of the trail is as it was.
    End,
    /// The caller of this step is another one, or was never found. It is taken off the trail, with those inside it.
    Step(Step),
}

impl Trail {
    /// An empty one, in a mapping of its own. `None` when memory is out.
    pub fn new() -> Option<NonNull<Self>> {
        // All zero is a trail without steps: `Needs::Stack` is 0.
        Some(os::map(Self::len_mapped(), os::page_size())?.cast())
    }

    fn len_mapped() -> usize {
        size_of::<Self>().next_multiple_of(os::page_size())
    }

    /// Gives the mapping back.
    ///
    /// # Safety
    /// Made by [`Self::new`], and not used any more.
    pub unsafe fn drop(trail: NonNull<Self>) {
        // SAFETY: the caller's.
        unsafe { os::unmap(trail.cast(), Self::len_mapped()) };
    }

    /// What the last walk found, outermost first.
    pub fn steps(&self) -> &[Step] {
        &self.steps[self.outermost..self.top]
    }

    /// Whether the last walk came to the end of the stack.
    pub fn is_whole(&self) -> bool {
        self.ends && self.outermost == self.bottom
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        (self.bottom, self.outermost, self.top) = (0, 0, 0);
        (self.number, self.ends) = (0, false);
    }

    /// Whether the frame at `stack` that is returned to at `program` was met by the last walk. Frames inside of it
    /// are forgotten.
    #[inline]
    pub(super) fn meets(&mut self, stack: usize, program: usize) -> bool {
        while self.top > self.bottom && self.steps[self.top - 1].stack < stack {
            self.top -= 1;
            self.number = 0;
        }
        self.top > self.bottom && {
            let step = &self.steps[self.top - 1];
            step.stack == stack && step.program == program
        }
    }

    /// Compares with the stack from the innermost step on, which was just met as `met`, for at most `most` steps, that
    /// one included; for none, nothing is asked. Steps that are taken off go to `inner`, innermost first.
    #[inline]
    pub(super) fn compare(&mut self, met: &Step, most: usize, inner: &mut Inner) -> Reached {
        self.steps[self.top - 1].saved = met.saved;
        let last = self.bottom.max(self.top.saturating_sub(most));
        let steps = &mut self.steps[last..self.top];
        let Some((mut step, mut outside)) = steps.split_last_mut() else {
            return Reached::End;
        };
        let mut frame = met.frame;
        // The frame pointer of the last step stays the one that its caller was found with.
        while let Some((caller, rest)) = outside.split_last_mut() {
            let same_frame = core::mem::replace(&mut step.frame, frame) == frame;
            let usable = step.needs == Needs::Stack || (step.needs == Needs::Frame && same_frame);
            // SAFETY: both words were read by the walk that made the step. They lie above the stack pointer of a frame
            // that this walk has met, below the end of the same mapping, and are aligned.
            let is_same = usable && unsafe { os::stack_word(caller.stack - 8) } == caller.program;
            if !is_same {
                let at = last + rest.len() + 1;
                return Reached::Step(self.take_off(at, inner));
            }
            if caller.saved != 0 {
                // SAFETY: as above.
                frame = unsafe { os::stack_word(caller.saved) };
            }
            (step, outside) = (caller, rest);
        }
        if !self.ends && self.top - last < most {
            self.steps[last].frame = frame;
            return Reached::Step(self.take_off(last, inner));
        }
        Reached::End
    }

    /// Takes the steps from `at` inwards off, to `inner`; the outermost of them.
    #[cold]
    fn take_off(&mut self, at: usize, inner: &mut Inner) -> Step {
        for step in self.steps[at..self.top].iter().rev() {
            inner.push(Step { node: 0, ..*step });
        }
        self.top = at;
        self.number = 0;
        self.steps[at]
    }

    /// Forgets all that is left: `inner` has all there is. `ends` as in I3.
    pub(super) fn replaced(&mut self, ends: bool) {
        self.clear();
        self.ends = ends;
    }

    /// Puts the new steps on top; the walk was for `most`.
    #[inline]
    pub(super) fn extend(&mut self, inner: &Inner, most: usize) {
        if inner.n > 0 {
            self.number = 0;
            if self.top + inner.n > ROOM {
                self.make_room();
            }
            let places = self.steps[self.top..].iter_mut();
            for (to, from) in places.zip(inner.steps().iter().rev()) {
                *to = *from;
            }
            self.top += inner.n;
        }
        self.outermost = self.bottom.max(self.top.saturating_sub(most));
    }

    /// Moves the steps to the front, without the outermost ones if there are many.
    #[cold]
    fn make_room(&mut self) {
        let first = self.bottom.max(self.top.saturating_sub(ROOM - MOST_STEPS));
        if first > self.bottom {
            self.ends = false;
            let kept = &mut self.steps[first..self.top];
            kept.iter_mut().for_each(|step| step.node = 0);
        }
        self.steps.copy_within(first..self.top, 0);
        (self.bottom, self.top) = (0, self.top - first);
    }

    /// The node of the innermost step. `child` finds that of the step at an index below a node, 0 being the root; 0 if
    /// it cannot. Only for a whole trail, since other ones begin in the middle.
    pub fn node(&mut self, mut child: impl FnMut(u32, &[Step], usize) -> u32) -> u32 {
        let steps = &mut self.steps[self.bottom..self.top];
        let unknown = steps.iter().rev().take_while(|step| step.node == 0);
        for at in steps.len() - unknown.count()..steps.len() {
            let parent = if at == 0 { 0 } else { steps[at - 1].node };
            let node = child(parent, steps, at);
            if node == 0 {
                return 0;
            }
            steps[at].node = node;
        }
        steps.last().map_or(0, |step| step.node)
    }
}

/// Steps that a walk met anew, innermost first.
pub(super) struct Inner {
    steps: [Step; MOST_STEPS],
    pub n: usize,
}

impl Inner {
    pub fn steps(&self) -> &[Step] {
        &self.steps[..self.n]
    }

    /// Says what the caller of the last step was found by.
    #[inline]
    pub fn set_needs_of_last(&mut self, needs: Needs) {
        if let Some(last) = self.n.checked_sub(1).and_then(|at| self.steps.get_mut(at)) {
            last.needs = needs;
        }
    }

    /// Adds one; false when there is no room.
    #[inline]
    pub fn push(&mut self, step: Step) -> bool {
        let Some(place) = self.steps.get_mut(self.n) else {
            return false;
        };
        *place = step;
        self.n += 1;
        true
    }
}
