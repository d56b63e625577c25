//! The worker under `snmalloc_rs::SnMalloc`.

#[global_allocator]
static ALLOCATOR: snmalloc_rs::SnMalloc = snmalloc_rs::SnMalloc;

fn main() -> std::process::ExitCode {
    pymalloc_bench::worker::main("snmalloc")
}
