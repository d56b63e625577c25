//! Builds the worker binaries, one per allocator, with fat LTO.

use crate::session::workspace;
use pymalloc_bench::catalogue::{ALLOCATORS, Allocator};
use serde_json::Value;
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Why an allocator cannot be built here, and what to do about it; `None` when it can.
pub fn obstacle(allocator: &Allocator) -> Option<String> {
    let lacks = |tool: &str| {
        Command::new(tool)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_err()
    };
    let (tool, package) = match allocator.name {
        "snmalloc" if lacks("cmake") => ("cmake", "cmake"),
        "snmalloc" if lacks("c++") => ("c++", "g++"),
        "jemalloc" if lacks("make") => ("make", "make"),
        "mimalloc" | "snmalloc" | "jemalloc" if lacks("cc") => ("cc", "gcc"),
        _ => return None,
    };
    Some(format!(
        "{} needs `{tool}` to build (Debian: apt install {package})",
        allocator.name
    ))
}

/// Builds the workers and says where they are.
pub fn build(allocators: &[&Allocator]) -> Result<HashMap<&'static str, PathBuf>, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let names: Vec<&str> = allocators.iter().map(|a| a.name).collect();
    eprintln!(
        "building workers with fat LTO: {} (the first time takes minutes)",
        names.join(", ")
    );
    let build = |features: &str| {
        let mut command = Command::new(&cargo);
        command.current_dir(workspace()).args([
            "build",
            "--profile",
            "fat",
            "-p",
            "pymalloc-bench",
        ]);
        command.args([
            "--message-format",
            "json-render-diagnostics",
            "--features",
            features,
        ]);
        for name in &names {
            command.arg("--bin").arg(format!("worker-{name}"));
        }
        command
            .stderr(Stdio::inherit())
            .output()
            .map_err(|e| format!("cargo: {e}"))
    };
    // The same features whatever was chosen: with others cargo would link every worker anew.
    let possible: Vec<&str> = ALLOCATORS
        .iter()
        .filter(|a| obstacle(a).is_none())
        .map(|a| a.name)
        .collect();
    let mut output = build(&possible.join(","))?;
    if !output.status.success() && possible.len() > names.len() {
        output = build(&names.join(","))?;
    }
    if !output.status.success() {
        return Err("the workers do not build; `--peers` leaves out the ones that fail".into());
    }
    let messages: Vec<Value> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let executable = |name: &str| {
        let target = format!("worker-{name}");
        let of_target =
            |m: &&Value| m["target"]["name"] == target.as_str() && m["executable"].is_string();
        messages
            .iter()
            .find(of_target)
            .and_then(|m| m["executable"].as_str())
            .map(PathBuf::from)
    };
    allocators
        .iter()
        .map(|a| {
            Ok((
                a.name,
                executable(a.name).ok_or_else(|| format!("cargo built no worker-{}", a.name))?,
            ))
        })
        .collect()
}

/// The workers built before.
pub fn built(allocators: &[&Allocator]) -> Result<HashMap<&'static str, PathBuf>, String> {
    let folder = crate::session::folder()?.join("../fat");
    let one = |a: &&Allocator| {
        let path = folder.join(format!("worker-{}", a.name));
        if path.exists() {
            Ok((a.name, path))
        } else {
            Err(format!(
                "{} is not built; leave out --no-build",
                path.display()
            ))
        }
    };
    allocators.iter().map(one).collect()
}

/// The version `Cargo.lock` pins, or the C library's for the system allocator.
pub fn version(allocator: &Allocator) -> String {
    match allocator.crate_name {
        Some(name) => format!("{name} {}", locked_version(name)),
        None => "the C library's".into(),
    }
}

/// The version of a package that `Cargo.lock` pins.
pub fn locked_version(name: &str) -> String {
    let lock = std::fs::read_to_string(workspace().join("Cargo.lock")).unwrap_or_default();
    locked(&lock, name)
        .unwrap_or("of unknown version")
        .to_owned()
}

/// The version of a package in the text of a `Cargo.lock`.
fn locked<'a>(lock: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
    // Build metadata after a `+` is a commit.
    rest.split(['"', '+']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_from_the_lock_file() {
        let lock = "[[package]]\nname = \"ab\"\nversion = \"1.2.3\"\n\n[[package]]\nname = \"b\"\nversion = \"4\"\n";
        assert_eq!(
            (locked(lock, "ab"), locked(lock, "b"), locked(lock, "c")),
            (Some("1.2.3"), Some("4"), None)
        );
    }
}
