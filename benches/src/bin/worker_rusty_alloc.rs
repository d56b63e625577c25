//! The worker under `rusty_alloc_api::RustyAlloc`.

#[global_allocator]
static ALLOCATOR: rusty_alloc_api::RustyAlloc = rusty_alloc_api::RustyAlloc;

fn main() -> std::process::ExitCode {
    pymalloc_bench::worker::main("rusty_alloc")
}
