//! Parking: a list that gives a few blocks more and then seems empty, so that the next request takes the slow
//! path, at no cost to the ones before it.
//!
//! ```text
//!            bottom                       ^take            bottom              ^take
//! not parked   0  │ a │ b │ c │ d │ e │ f        parked     c  │ a │ b │ 0 │ d │ e │ f     three more: f, e, d
//! ```
//!
//! The entry that ends the list early is null, and its block waits where the bottom's null stood: no pop comes
//! so far down. `parked` is how far above the bottom that entry is; 0 while there is none. Every other
//! operation of a list but `pop` and `push` wants it unparked.

use super::{Entry, List};

impl List {
    /// Lets `n` more blocks be taken before the list seems empty. `n` is below the number of blocks on the stack,
    /// and the list is not parked.
    pub fn park(&self, n: usize) {
        let (stack, _) = self.parts();
        debug_assert!(n < stack.len() && self.parked.get() == 0);
        let above = stack.len() - n;
        self.swap_with_bottom(above);
        self.parked.set(above as u16);
    }

    /// Undoes [`Self::park`]. True when all blocks that it let be taken were.
    pub fn unpark(&self) -> bool {
        let above = usize::from(self.parked.replace(0));
        if above == 0 {
            return false;
        }
        let place = self.swap_with_bottom(above);
        self.take.get() == place
    }

    fn swap_with_bottom(&self, above: usize) -> *mut Entry {
        let bottom = self.bottom();
        // SAFETY: an entry of the stack, which has as many above its bottom.
        unsafe {
            let place = bottom.add(above);
            core::ptr::swap(place, bottom);
            place
        }
    }

    /// Number of blocks on the stack.
    pub fn n_to_take(&self) -> usize {
        self.parts().0.len()
    }

    /// Blocks that were freed since the buffer was moved last.
    pub fn put(&self) -> &[Entry] {
        self.parts().1
    }
}
