//! The worker under `tikv_jemallocator::Jemalloc`.

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    pymalloc_bench::worker::main("jemalloc")
}
