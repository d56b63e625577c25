//! Panics in finalizers and callbacks: reported, and ignored (CPython: `sys.unraisablehook`).

use super::heap::Heap;
use super::type_info::TypeInfo;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Where a panic came from that nobody can catch.
#[derive(Debug)]
#[non_exhaustive]
pub struct Unraisable {
    /// What was running, in CPython's words.
    pub context: String,
    /// What the panic carried.
    pub payload: Box<dyn Any + Send>,
}

/// Called with each such panic, on the thread it happened on.
pub type UnraisableHook = fn(&Unraisable);

/// What runs.
#[derive(Clone, Copy)]
pub enum Context {
    /// A finalizer of this type.
    Finalizer(&'static TypeInfo),
    /// A callback of a weak reference.
    WeakCallback,
    /// The drop of a value of this type.
    Drop(&'static TypeInfo),
    /// A callback of a collection.
    CollectorCallback,
}

impl Context {
    fn text(self) -> String {
        match self {
            Self::Finalizer(info) => format!("finalizer of {}", (info.name)()),
            Self::WeakCallback => "weak reference callback".to_owned(),
            Self::Drop(info) => format!("drop of {}", (info.name)()),
            Self::CollectorCallback => "gc callback".to_owned(),
        }
    }
}

/// Runs user code; a panic in it goes to the hook and no further.
pub fn guarded<R>(heap: &Heap, context: Context, run: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => Some(result),
        Err(payload) => {
            report(heap, context, payload);
            None
        }
    }
}

#[cold]
fn report(heap: &Heap, context: Context, payload: Box<dyn Any + Send>) {
    let context = context.text();
    let unraisable = Unraisable { context, payload };
    let hook = heap.hook.get().unwrap_or(print);
    // A hook that panics is not called again for it.
    let _ = catch_unwind(AssertUnwindSafe(|| hook(&unraisable)));
}

/// The hook until another one is set: one line on standard error.
fn print(unraisable: &Unraisable) {
    let text = unraisable
        .payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| {
            unraisable
                .payload
                .downcast_ref::<String>()
                .map(String::as_str)
        })
        .unwrap_or("a panic");
    eprintln!("panic ignored in {}: {text}", unraisable.context);
}
