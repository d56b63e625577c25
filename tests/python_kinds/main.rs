//! Python's built-in kinds beside CPython 3.11: the same programs run in both, and what they say is equal.
//!
//! The interpreter is `python3.11`; without it these tests fail.

mod cpython;
mod destruction;
mod identity;
mod numbers;
mod sizes;
mod tables;
