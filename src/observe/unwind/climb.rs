//! The walk itself: out of our own code by a known way, over what is new by rules, then along the trail.

use super::trail::{Inner, MOST_STEPS, Needs, Reached, Step, Trail};
use super::ways::Way;
use super::{Bounds, Exit, Unwinder};
use crate::os::Registers;
use core::ops::Range;

impl Unwinder {
    /// The return address of the first function outside of `own`, beginning with that of the function at `from`.
    /// `None` if there is none.
    #[inline(always)]
    pub fn nearest(
        &mut self,
        from: Registers,
        own: &Range<usize>,
        bounds: &mut Bounds,
    ) -> Option<usize> {
        if !self.find_bounds(from.stack, bounds) {
            return None;
        }
        Some(self.leave(from, own, bounds.high)?.at.program)
    }

    /// Makes `trail` the return addresses of the functions outside of `own`, `most` of them or as many as there are.
    #[inline]
    pub fn climb(
        &mut self,
        from: Registers,
        own: &Range<usize>,
        bounds: &mut Bounds,
        trail: &mut Trail,
        most: usize,
    ) {
        let first = match self.find_bounds(from.stack, bounds) {
            true => self.leave(from, own, bounds.high),
            false => None,
        };
        self.climb_on(first, bounds, trail, most);
    }

    /// As [`Self::climb`], from a function on that is outside already.
    #[inline]
    pub fn climb_from(
        &mut self,
        caller: Registers,
        bounds: &mut Bounds,
        trail: &mut Trail,
        most: usize,
    ) {
        let first = self.find_bounds(caller.stack, bounds).then_some(Exit {
            at: caller,
            saved: 0,
        });
        self.climb_on(first, bounds, trail, most);
    }

    #[inline(always)]
    fn climb_on(&mut self, first: Option<Exit>, bounds: &Bounds, trail: &mut Trail, most: usize) {
        if trail.epoch != self.epoch || trail.high != bounds.high {
            (trail.epoch, trail.high) = (self.epoch, bounds.high);
            trail.clear();
        }
        let Some(first) = first else {
            return trail.clear();
        };
        // SAFETY: mapped for this; zero is none; and used by this call only, since walks come one at a time.
        let inner = unsafe { self.inner.as_mut() };
        inner.n = 0;
        self.follow(&first, trail, most, inner);
        trail.extend(inner, most);
    }

    /// From the first frame on, until one is met that was met before, or all are known.
    #[inline]
    fn follow(&mut self, first: &Exit, trail: &mut Trail, most: usize, inner: &mut Inner) {
        // Where nothing is met, some steps beyond the limit, for when inner functions have returned.
        let reach = (2 * most).min(MOST_STEPS);
        let mut step = step_of(first);
        loop {
            if trail.meets(step.stack, step.program) {
                match trail.compare(&step, most.saturating_sub(inner.n), inner) {
                    Reached::End => return,
                    Reached::Step(last) => step = last,
                }
            } else if !inner.push(step) {
                return trail.replaced(false);
            }
            if inner.n >= reach {
                return trail.replaced(false);
            }
            let at = Registers {
                program: step.program,
                stack: step.stack,
                frame: step.frame,
            };
            // Behind a call, so that the call itself is before it.
            let found = self.caller(at, step.program - 1, trail.high);
            let Some((caller, needs)) = found else {
                return trail.replaced(true);
            };
            inner.set_needs_of_last(needs);
            step = step_of(&caller);
        }
    }

    /// The first function outside of `own`.
    #[inline(always)]
    fn leave(&mut self, from: Registers, own: &Range<usize>, high: usize) -> Option<Exit> {
        match self.ways.exit(from, own, high) {
            Some(exit) => Some(exit),
            None => self.leave_slow(from.program, from.stack, from.frame, own, high),
        }
    }

    /// One by one, as in `Ways::other_exit`.
    #[cold]
    #[inline(never)]
    fn leave_slow(
        &mut self,
        program: usize,
        stack: usize,
        frame: usize,
        own: &Range<usize>,
        high: usize,
    ) -> Option<Exit> {
        let from = Registers {
            program,
            stack,
            frame,
        };
        let mut way = Way::new(from.program);
        let mut is_fixed = true;
        // The first place is an instruction; the others are behind a call.
        let (mut at, mut inside) = (from, from.program);
        loop {
            let (caller, needs) = self.caller(at, inside, high)?;
            let distance = caller.at.stack - 8 - from.stack;
            is_fixed &= needs == Needs::Stack;
            if caller.saved != 0 {
                way.saved = Some(caller.saved - from.stack);
            }
            if !own.contains(&caller.at.program) {
                way.out = distance;
                if is_fixed && way.saved.is_none_or(|saved| saved <= distance) {
                    self.ways.add(way);
                }
                let saved = way.saved.map_or(0, |distance| from.stack + distance);
                return Some(Exit {
                    at: caller.at,
                    saved,
                });
            }
            is_fixed &= way.add(distance, caller.at.program);
            (at, inside) = (caller.at, caller.at.program - 1);
        }
    }
}

#[inline]
fn step_of(exit: &Exit) -> Step {
    let at = exit.at;
    Step::new(at.stack, at.program, at.frame, exit.saved)
}
