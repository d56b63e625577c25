//! Preload libraries of peers that no package has, made from the sources cargo has fetched already.

use crate::session::{folder, workspace};
use crate::workers;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Columns made here.
pub const MADE: [&str; 2] = ["mimalloc3", "rusty_alloc"];

/// Makes the library of one of [`MADE`], or finds it from an earlier run.
///
/// # Errors
/// Says what is missing; the column is left out then.
pub fn make(name: &str, build: bool) -> Result<PathBuf, String> {
    let folder = folder()?.join("peers");
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    if name == "rusty_alloc" {
        let library = folder.join("release/librusty_alloc_preload.so");
        if build {
            build_rusty_alloc(&folder)?;
        }
        return existing(name, library);
    }
    // Another version of the crate is another file.
    let version = workers::locked_version("libmimalloc-sys");
    let library = folder.join(format!("libmimalloc3-sys-{version}.so"));
    if build && !library.exists() {
        eprintln!("building {}", library.display());
        compile_mimalloc(&library)?;
    }
    existing(name, library)
}

fn existing(name: &str, library: PathBuf) -> Result<PathBuf, String> {
    if library.exists() {
        Ok(library)
    } else {
        Err(format!("{name}: {} is not built", library.display()))
    }
}

/// The version 3 that the crate `libmimalloc-sys` brings, with the options of its own release build.
fn compile_mimalloc(library: &Path) -> Result<(), String> {
    let source = manifest_folder("libmimalloc-sys")?.join("c_src/mimalloc/v3");
    let mut gcc = Command::new("gcc");
    gcc.args(["-O3", "-DNDEBUG", "-DMI_DEBUG=0", "-DMI_BUILD_RELEASE"])
        .args([
            "-DMI_SHARED_LIB",
            "-DMI_SHARED_LIB_EXPORT",
            "-DMI_MALLOC_OVERRIDE",
        ])
        .args([
            "-fPIC",
            "-shared",
            "-fvisibility=hidden",
            "-fno-builtin-malloc",
        ])
        .args(["-ftls-model=initial-exec", "-pthread", "-w"])
        .arg("-I")
        .arg(source.join("include"))
        .arg(source.join("src/static.c"))
        .arg("-o")
        .arg(library);
    run(&mut gcc, "mimalloc3")
}

/// Where cargo has put a package.
fn manifest_folder(package: &str) -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(workspace())
        .args([
            "metadata",
            "--format-version",
            "1",
            "--features",
            "mimalloc",
        ])
        .args(["--manifest-path", "benches/Cargo.toml"])
        .stderr(Stdio::null())
        .output()
        .map_err(|e| format!("cargo: {e}"))?;
    let metadata: Value =
        serde_json::from_slice(&output.stdout).map_err(|e| format!("cargo metadata: {e}"))?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let manifest = packages
        .filter(|p| p["name"] == package)
        .find_map(|p| Some(Path::new(p["manifest_path"].as_str()?).parent()?.to_owned()));
    manifest.ok_or_else(|| format!("cargo knows no package {package}"))
}

/// The crate's own functions under their C names. Thread-local variables as in every other preload
/// library here: stable Rust has no option for it, so this one build is allowed the unstable one.
fn build_rusty_alloc(folder: &Path) -> Result<(), String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(workspace())
        .args(["build", "--release", "--quiet"])
        .args(["--manifest-path", "benches/peers/rusty_alloc/Cargo.toml"])
        .arg("--target-dir")
        .arg(folder)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Ztls-model=initial-exec");
    run(&mut command, "rusty_alloc")
}

fn run(command: &mut Command, name: &str) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|e| format!("{name}: {}: {e}", command.get_program().to_string_lossy()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let error = said.lines().find(|line| line.contains("error"));
    Err(format!(
        "{name} does not build as a preload library: {}",
        error.unwrap_or("no message")
    ))
}
