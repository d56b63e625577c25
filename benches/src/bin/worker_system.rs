//! The worker under `std::alloc::System`.

#[global_allocator]
static ALLOCATOR: std::alloc::System = std::alloc::System;

fn main() -> std::process::ExitCode {
    pymalloc_bench::worker::main("system")
}
