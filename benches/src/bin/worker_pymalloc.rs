//! The worker under `pymalloc::PyMalloc`.

#[global_allocator]
static ALLOCATOR: pymalloc::PyMalloc = pymalloc::PyMalloc;

fn main() -> std::process::ExitCode {
    pymalloc_bench::worker::main("pymalloc")
}
