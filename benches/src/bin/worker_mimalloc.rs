//! The worker under `mimalloc::MiMalloc`, which must be version 3.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

unsafe extern "C" {
    safe fn mi_version() -> std::ffi::c_int;
}

fn main() -> std::process::ExitCode {
    // 30302 is 3.3.2.
    let version = mi_version();
    assert!(
        version / 10_000 == 3,
        "mimalloc 3 expected, linked is {version}"
    );
    pymalloc_bench::worker::main("mimalloc")
}
