//! What several integration tests need: the preload library and the launcher.
//!
//! `cargo test` builds this package without the feature `preload`, and its `libpymalloc.so` exports
//! nothing. So the pair under test is built once more, with the feature, into a target folder of its own:
//! the two builds then never overwrite each other's library, which has the same name in both.

#![allow(dead_code, reason = "each test binary uses the part it needs")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The target folder of the build with `preload`. The first call builds; test binaries that run at the same
/// time wait for each other at cargo's own lock.
///
/// # Panics
/// When cargo fails; its output is in the test's.
pub fn preload_dir() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(build).clone()
}

/// The library with the malloc family.
pub fn preload_library() -> PathBuf {
    preload_dir().join("release/libpymalloc.so")
}

/// The command `pymalloc`.
pub fn launcher() -> PathBuf {
    preload_dir().join("release/pymalloc")
}

fn build() -> PathBuf {
    // Cargo puts the folder for integration tests' files into the target folder.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("a target folder");
    let dir = target.join("preload");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args([
            "build",
            "--release",
            "--package",
            "pymalloc",
            "--features",
            "preload",
        ])
        .arg("--target-dir")
        .arg(&dir)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        // Another triple would put the results one folder deeper.
        .env_remove("CARGO_BUILD_TARGET")
        .status();
    assert!(
        built.is_ok_and(|status| status.success()),
        "cargo build --features preload failed"
    );
    dir
}
