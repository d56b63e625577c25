//! The worker under `stoolap_jemalloc::Jemalloc`.

#[global_allocator]
static ALLOCATOR: stoolap_jemalloc::Jemalloc = stoolap_jemalloc::Jemalloc::new();

fn main() -> std::process::ExitCode {
    pymalloc_bench::worker::main("stoolap")
}
