//! Programs as bytes, for a fuzzer to change: any bytes are a program, and any program can be written.
//!
//! | bytes | what |
//! |---|---|
//! | first | the kind of run, see [`KINDS`] |
//! | head of a call | bits 0–2 the call, bits 3–4 the thread, bits 5–6 whom a block is passed to |
//! | size | one byte `n`, three bytes `v`, lowest first: `2^n` and the lowest `n` bits of `v` more |
//! | alignment | one byte: its logarithm |
//! | which | two bytes, lowest first |
//!
//! A size of each power of two is as likely as of the next. Bytes that end inside a call end the program
//! before it.

use crate::program::{Call, LARGEST, Op, THREADS};
use crate::subjects::KINDS;

/// Alignments have logarithms below this.
const ALIGNMENTS: u8 = 22;

/// The kind of run and the program that bytes stand for.
pub fn decode(mut bytes: &[u8]) -> (&'static str, Vec<Op>) {
    let kind = KINDS[usize::from(take(&mut bytes).unwrap_or(0)) % KINDS.len()];
    let ops = std::iter::from_fn(|| one(&mut bytes, kind));
    (kind, ops.collect())
}

/// The bytes of a program of few enough blocks; [`decode`] gives it back.
pub fn encode(kind: &str, program: &[Op]) -> Vec<u8> {
    let index = KINDS.iter().position(|known| *known == kind);
    let mut bytes = vec![index.expect("one of the kinds") as u8];
    program.iter().for_each(|op| write(&mut bytes, op));
    bytes
}

fn take(bytes: &mut &[u8]) -> Option<u8> {
    let (first, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(*first)
}

fn take_size(bytes: &mut &[u8]) -> Option<usize> {
    let log = u32::from(take(bytes)?) % (LARGEST.ilog2() + 1);
    let mut more = 0;
    for shift in [0, 8, 16] {
        more |= usize::from(take(bytes)?) << shift;
    }
    Some(((1 << log) + more % (1 << log)).min(LARGEST))
}

fn take_which(bytes: &mut &[u8]) -> Option<usize> {
    Some(usize::from(take(bytes)?) | usize::from(take(bytes)?) << 8)
}

fn one(bytes: &mut &[u8], kind: &str) -> Option<Op> {
    let head = take(bytes)?;
    let thread = usize::from(head >> 3) % THREADS;
    let call = match head & 7 {
        0 | 1 => {
            let align = 1 << (take(bytes)? % ALIGNMENTS);
            let size = take_size(bytes)?;
            match head & 7 {
                0 => Call::Alloc { size, align },
                _ => Call::AllocZeroed { size, align },
            }
        }
        2 | 7 => Call::Free {
            which: take_which(bytes)?,
        },
        3 => Call::Realloc {
            which: take_which(bytes)?,
            size: take_size(bytes)?,
        },
        4 => {
            let which = take_which(bytes)?;
            let to = usize::from(head >> 5) % THREADS;
            // A block of a heap of its own dies with it, and where one thread runs nobody takes it.
            match kind {
                "threads" => Call::Pass { which, to },
                _ => Call::Free { which },
            }
        }
        5 => Call::Collect,
        _ => Call::Check,
    };
    let thread = if kind.contains("threads") { thread } else { 0 };
    Some(Op { thread, call })
}

fn write(bytes: &mut Vec<u8>, op: &Op) {
    let (call, to) = match op.call {
        Call::Alloc { .. } => (0, 0),
        Call::AllocZeroed { .. } => (1, 0),
        Call::Free { .. } => (2, 0),
        Call::Realloc { .. } => (3, 0),
        Call::Pass { to, .. } => (4, to as u8),
        Call::Collect => (5, 0),
        Call::Check => (6, 0),
    };
    bytes.push(call | (op.thread as u8) << 3 | to << 5);
    match op.call {
        Call::Alloc { size, align } | Call::AllocZeroed { size, align } => {
            bytes.push(align.ilog2() as u8);
            write_size(bytes, size);
        }
        Call::Realloc { which, size } => {
            bytes.extend(&which.to_le_bytes()[..2]);
            write_size(bytes, size);
        }
        Call::Free { which } | Call::Pass { which, .. } => {
            bytes.extend(&which.to_le_bytes()[..2]);
        }
        Call::Collect | Call::Check => {}
    }
}

fn write_size(bytes: &mut Vec<u8>, size: usize) {
    let log = size.ilog2();
    bytes.push(log as u8);
    bytes.extend(&(size - (1 << log)).to_le_bytes()[..3]);
}
