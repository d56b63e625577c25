//! CPython, and random numbers for the programs both run.

use std::io::Write as _;
use std::process::{Command, Stdio};

/// What CPython 3.11 prints for a program.
pub fn run(program: &str) -> String {
    let prelude = "import sys, gc\nfrom sys import getsizeof as size, getrefcount\n";
    let mut child = Command::new("python3.11")
        .args(["-I", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3.11 is there");
    // It reads the whole program before it prints anything.
    let mut stdin = child.stdin.take().unwrap();
    stdin
        .write_all(format!("{prelude}{program}").as_bytes())
        .unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Fails unless CPython prints these lines for a program.
pub fn compare(program: &str, ours: &[String]) {
    let theirs = run(program);
    let theirs: Vec<_> = theirs.lines().collect();
    for (n, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        // The program's own lines up to there, were each to print one.
        let shown: Vec<_> = program.lines().skip(n.saturating_sub(2)).take(5).collect();
        assert_eq!(ours, theirs, "line {n}, perhaps of {shown:#?}");
    }
    assert_eq!(ours.len(), theirs.len(), "lines");
}

/// xorshift64*: a program is known by its seed.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 33) % n
    }
}
