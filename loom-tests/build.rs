//! Builds this package, and no other, for loom.

fn main() {
    println!("cargo::rustc-cfg=loom");
}
