//! The worker of `pymalloc-bench gc`: collectors on the system's allocator, ours on its own arenas.

fn main() -> std::process::ExitCode {
    pymalloc_bench::gc_work::main()
}
