//! A cell whose contents a lock guards.

use super::const_unless_loom;

/// Memory that several threads reach, one at a time.
///
/// Access goes through closures so that loom sees where each access begins and ends and reports two
/// that overlap.
pub struct SharedCell<T>(
    #[cfg(not(loom))] core::cell::UnsafeCell<T>,
    #[cfg(loom)] loom::cell::UnsafeCell<T>,
);

// SAFETY: every access is unsafe and its caller promises exclusion.
unsafe impl<T: Send> Sync for SharedCell<T> {}

impl<T> SharedCell<T> {
    const_unless_loom! {
        /// A cell holding `value`.
        pub fn new(value: T) -> Self {
            #[cfg(not(loom))]
            return Self(core::cell::UnsafeCell::new(value));
            #[cfg(loom)]
            return Self(loom::cell::UnsafeCell::new(value));
        }
    }

    /// Runs `f` on the contents.
    ///
    /// # Safety
    /// 1. No other thread accesses the cell until `f` returns (in practice: the caller holds its lock).
    /// 2. `f` does not reach the same cell again.
    #[inline]
    pub unsafe fn with_mut<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        #[cfg(not(loom))]
        // SAFETY: exclusive by duties 1 and 2.
        return f(unsafe { &mut *self.0.get() });
        #[cfg(loom)]
        // SAFETY: exclusive by duties 1 and 2; loom checks it.
        return self.0.with_mut(|p| f(unsafe { &mut *p }));
    }
}
