//! What the integration tests share: the preload library, built once per test binary.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Where the nested build leaves the preload library and the launcher.
pub fn preload_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/preload/release")
}

/// The preload library, built from the sources as they are.
///
/// # Panics
/// If the build fails.
pub fn preload_library() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            let status = Command::new(env!("CARGO"))
                .args([
                    "build",
                    "--release",
                    "--package",
                    "pymalloc",
                    "--features",
                    "preload",
                    "--target-dir",
                    "target/preload",
                ])
                .current_dir(env!("CARGO_MANIFEST_DIR"))
                .env_remove("LD_PRELOAD")
                .status()
                .expect("cargo can be started");
            assert!(status.success(), "the preload library does not build");
            preload_dir().join("libpymalloc.so")
        })
        .clone()
}
