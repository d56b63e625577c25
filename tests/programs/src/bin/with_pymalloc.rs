//! The programs on `PyMalloc`.

use std::process::ExitCode;

#[global_allocator]
static GLOBAL: pymalloc::PyMalloc = pymalloc::PyMalloc;

fn main() -> ExitCode {
    pymalloc_programs::main()
}
