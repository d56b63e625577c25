//! CPython's own checks of its `gc` module, weak references and finalizers, ported one by one and named alike
//! (Lib/test/test_gc.py, test_weakref.py, test_finalization.py, 3.11). What they say about Python's kinds of
//! objects is said here about a node with a list of references.

mod callbacks;
mod finalizers;
mod gc_tests;
mod toggling;
mod weakrefs;
mod world;
