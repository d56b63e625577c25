//! What we know of a guarded block, at its beginning.
//!
//! | state | the block | left by |
//! |---|---|---|
//! | live | the user's | the free that turns it into dead: one of two racing ones |
//! | dead | in the quarantine, its bytes 0xDD | leaving the quarantine |
//! | gone | its heap's, free | being made again |
//! | none of them | somebody wrote here, or it was never handed out | |
//!
//! The states are words mixed with the block's address and a secret, so that stray bytes are none of them. The
//! other fields are covered by a checksum. The first two words belong to whoever links the free block.

use super::layout::{BEHIND_BYTES, HEAD_BYTES, TAG_BYTES};
use super::pages::Frame;
use crate::os;
use crate::sync::{AtomicUsize, Ordering};
use core::ptr::NonNull;
use static_assertions::const_assert;

/// State of a block, from its tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum State {
    Live = 0x1177,
    Dead = 0x2266,
    Gone = 0x3355,
}

/// The tag.
#[repr(C, align(16))]
pub struct Tag {
    links: [usize; 2],
    state: AtomicUsize,
    facts: Facts,
    check: usize,
    /// The checksum again, inverted: the last word, so that no byte in front of the user's is free to change.
    check_again: usize,
}

/// What is known of the block.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Facts {
    /// Bytes asked for.
    pub n: usize,
    /// Where the user's bytes begin.
    pub offset: usize,
    /// Number of the call that made it.
    pub serial: u64,
    /// Where it was made and freed.
    pub made: u32,
    pub freed: u32,
    /// Alignment asked for, as a power of two.
    pub align_log: u8,
    /// The API that made it.
    pub api: u8,
    /// Which pages around it are inaccessible, as a [`Frame`].
    pub frame: u8,
}

const_assert!(size_of::<Tag>() == TAG_BYTES);

static SECRET: AtomicUsize = AtomicUsize::new(0);

/// A number nobody outside can guess, the same for the life of the process; not 0.
pub fn secret() -> usize {
    // Relaxed: whoever writes it writes the same.
    match SECRET.load(Ordering::Relaxed) {
        0 => {
            let secret = os::secret() | 1;
            SECRET.store(secret, Ordering::Relaxed);
            secret
        }
        secret => secret,
    }
}

impl Facts {
    fn words(&self) -> [usize; 5] {
        let small = usize::from(self.align_log)
            | usize::from(self.api) << 8
            | usize::from(self.frame) << 16;
        let stacks = self.made as usize | (self.freed as usize) << 32;
        [self.n, self.offset, self.serial as usize, stacks, small]
    }

    /// Which pages around it are inaccessible.
    pub fn frame(&self) -> Frame {
        match self.frame {
            0 => Frame::None,
            1 => Frame::Behind,
            _ => Frame::Between,
        }
    }

    /// Alignment asked for.
    pub fn align(&self) -> usize {
        1 << (self.align_log % 64)
    }
}

/// A guarded block, by its first byte.
#[derive(Clone, Copy)]
pub struct Guarded(NonNull<Tag>);

impl Guarded {
    /// The block at `base`.
    ///
    /// # Safety
    /// `base` begins a block of ours with room for a tag.
    pub unsafe fn at(base: NonNull<u8>) -> Self {
        Self(base.cast())
    }

    /// Its first byte.
    pub fn base(self) -> NonNull<u8> {
        self.0.cast()
    }

    fn tag(self) -> *mut Tag {
        self.0.as_ptr()
    }

    fn seal(self, word: usize) -> usize {
        (secret() ^ self.0.addr().get()).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ word
    }

    fn check_of(self, facts: &Facts) -> usize {
        let mix = |sum: usize, word: usize| {
            (sum ^ word)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(31)
        };
        facts.words().into_iter().fold(self.seal(0), mix)
    }

    fn word(self) -> &'static AtomicUsize {
        // SAFETY: in the block's tag, which stays mapped as long as anybody asks.
        unsafe { &(*self.tag()).state }
    }

    /// Its state; `None` when it has none.
    pub fn state(self) -> Option<State> {
        // Acquire: pairs with `set_state` and `change`, so that the facts are seen.
        let word = self.word().load(Ordering::Acquire);
        [State::Live, State::Dead, State::Gone]
            .into_iter()
            .find(|state| self.seal(*state as usize) == word)
    }

    /// Puts it into a state. For its owner.
    pub fn set_state(self, state: State) {
        // Release: publishes the facts, also to a second free that no hand-over orders.
        self.word()
            .store(self.seal(state as usize), Ordering::Release);
    }

    /// Takes away the state that an earlier block may have left here. For its owner.
    pub fn forget(self) {
        self.word().store(0, Ordering::Relaxed);
    }

    /// Turns live into dead; false for all but the first who asks.
    pub fn kill(self) -> bool {
        let (live, dead) = (
            self.seal(State::Live as usize),
            self.seal(State::Dead as usize),
        );
        self.word()
            .compare_exchange(live, dead, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// What is known; `None` if somebody wrote over it.
    pub fn facts(self) -> Option<Facts> {
        // SAFETY: in the block; a report may race with the owner, and then reads figures that do not add up.
        let (facts, check, again) = unsafe {
            let tag = self.tag();
            (
                (&raw const (*tag).facts).read(),
                (*tag).check,
                (*tag).check_again,
            )
        };
        (self.check_of(&facts) == check && check == !again).then_some(facts)
    }

    /// Writes what is known. For its owner.
    pub fn set_facts(self, facts: &Facts) {
        let check = self.check_of(facts);
        // SAFETY: the owner's.
        unsafe {
            (&raw mut (*self.tag()).facts).write(*facts);
            (*self.tag()).check = check;
            (*self.tag()).check_again = !check;
        }
    }

    /// The user's bytes.
    pub fn user(self, facts: &Facts) -> NonNull<u8> {
        // SAFETY: inside the block.
        unsafe { self.base().add(facts.offset) }
    }

    /// What is filled when the block dies: the user's bytes, and what is in front of and behind them if it is not
    /// inaccessible. Where it begins and its length.
    pub fn body(self, facts: &Facts) -> (NonNull<u8>, usize) {
        let user = self.user(facts);
        if facts.frame() == Frame::Between {
            return (user, facts.n);
        }
        // SAFETY: inside the block.
        let head = unsafe { user.sub(HEAD_BYTES) };
        (head, HEAD_BYTES + facts.n + BEHIND_BYTES)
    }
}
