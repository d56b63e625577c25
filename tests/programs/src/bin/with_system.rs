//! The programs on the system's allocator: the truth the others are compared with.

use std::process::ExitCode;

#[global_allocator]
static GLOBAL: std::alloc::System = std::alloc::System;

fn main() -> ExitCode {
    pymalloc_programs::main()
}
