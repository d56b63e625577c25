//! CPython's own checks of its `gc` module, weak references and finalizers, ported one by one and named alike
//! (Lib/test/test_gc.py, test_weakref.py, test_finalization.py, 3.11). What they say about Python's kinds of
//! objects is said here about a node with a list of references.
//!
//! Not ported, because there is nothing here it could say anything about: proxies (a handle is not the value,
//! so nothing can stand for it), `WeakMethod`, `weakref.finalize` and the weak dictionaries' own methods (there
//! are no such types), keyword arguments and `__init__` of a weak reference, ordering of weak references
//! (none), hash and equality by referent (`ptr_eq` is what there is), `refcount_errors` (no safe program can
//! make a count too small), `legacy_resurrect` (a `Drop` cannot resurrect), `tuple_untrack_counts` (of a build
//! without a lock), `warnings_fini` and the text of `ResourceWarning` (no interpreter).

mod callbacks;
mod classes;
mod finalizers;
mod gc_tests;
mod toggling;
mod weak_more;
mod weakrefs;
mod world;
