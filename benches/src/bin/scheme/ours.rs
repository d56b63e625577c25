//! On pymalloc's handles, as in the example itself.

#[macro_use]
#[path = "../../../../examples/scheme/memory.rs"]
mod memory;
#[path = "../../../../examples/scheme/interpreter/mod.rs"]
pub mod interpreter;
