#!/usr/bin/env bash
# about: cargo build --offline of a small generated crate, and its program; rustc brings a jemalloc of its own
# needs: cargo=cargo rustc=rustc cc=gcc
# proves: cargo rp_crate .*gcc.*
# own-malloc: rustc
# timeout: 240
# order: 20
. "$RP_DIR/case.sh"

mkdir -p crate/src
cp "$RP_DIR/inputs/crate_main.rs" crate/src/main.rs
# Chains of 30 types: deriving reaches the compiler's recursion limit in longer ones.
awk -v count="$(pick 40 400)" 'BEGIN {
    for (n = 0; n < count; n++) {
        printf "#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]\npub struct T%d { pub a: Vec<u%d>, pub b: Option<Box<T%d>>, pub c: String }\n", n, n % 2 ? 16 : 64, n - (n % 30 != 0)
        printf "pub fn f%d(n: usize) -> T%d { T%d { a: (0..n as u%d).map(|i| i * %d).collect(), b: %s, c: format!(\"{n}-{}\", %d) } }\n", n, n, n, n % 2 ? 16 : 64, n % 7, n % 30 ? "Some(Box::new(f" n - 1 "(n / 2)))" : "None", n
    }
    printf "pub fn last(n: usize) -> String { format!(\"{:?}\", f%d(n)) }\n", count - 1
}' >crate/src/generated.rs
cat >crate/Cargo.toml <<'TOML'
[package]
name = "rp_crate"
version = "0.1.0"
edition = "2021"

[profile.release]
codegen-units = 2
opt-level = 1
TOML
cd crate
cargo build -q --offline --release 2>&1
sum target/release/rp_crate
./target/release/rp_crate
touch src/main.rs
cargo check -q --offline 2>&1
echo "== errors"
echo 'fn broken() -> u8 { "text" }' >>src/main.rs
if cargo check -q --offline 2>errors; then die "a broken crate passed"; fi
sum errors
