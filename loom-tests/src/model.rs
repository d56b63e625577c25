//! Runs a model.

use crate::os;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Thread switches one execution may have: far more than any model needs, so that only a livelock ends here.
const MAX_BRANCHES: usize = 50_000;

/// Explores `body` in every execution with at most `preemptions` preemptions, or in every execution at
/// all, and prints what that took. `LOOM_MAX_PREEMPTIONS` overrides the bound.
///
/// # Panics
/// When an execution panics, deadlocks or races; and when there was only one, since such a model shows
/// nothing.
pub fn explore(name: &str, preemptions: Option<usize>, body: impl Fn() + Sync + Send + 'static) {
    let started = Instant::now();
    let executions = Arc::new(AtomicUsize::new(0));
    let counter = executions.clone();
    let mut builder = loom::model::Builder::new();
    builder.max_branches = MAX_BRANCHES;
    builder.preemption_bound = builder.preemption_bound.or(preemptions);
    let bound = builder
        .preemption_bound
        .map_or("any number of".to_owned(), |bound| format!("up to {bound}"));
    builder.check(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        os::boot();
        body();
        os::halt();
    });
    let executions = executions.load(Ordering::Relaxed);
    let seconds = started.elapsed().as_secs_f64();
    println!("{name}: {executions} executions, {bound} preemptions, {seconds:.1} s");
    assert!(executions > 1, "{name}: nothing was interleaved");
}

/// A value that all threads of one execution may keep references to, as they keep references to statics.
/// Dropped by the model's first thread after it joined the others.
pub struct Static<T: 'static>(*mut T);

impl<T> Static<T> {
    /// Puts `value` where it stays.
    pub fn new(value: T) -> Self {
        Self(Box::into_raw(Box::new(value)))
    }

    /// The value, for as long as the execution lasts.
    pub fn get(&self) -> &'static T {
        // SAFETY: dropped only after every thread that got the reference was joined.
        unsafe { &*self.0 }
    }
}

impl<T> Deref for Static<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.get()
    }
}

impl<T> Drop for Static<T> {
    fn drop(&mut self) {
        // SAFETY: from `Box::into_raw`. A failing execution leaks instead: its threads still run.
        if !std::thread::panicking() {
            drop(unsafe { Box::from_raw(self.0) });
        }
    }
}
