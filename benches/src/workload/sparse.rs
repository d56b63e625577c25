//! What does an allocator cost a program that hardly allocates?
//!
//! An inlined fast path grows the loop it stands in: it takes registers and room in the instruction
//! cache even when it is not taken. These loops allocate so seldom that nothing else is measured.
//!
//! Where the compiler happens to place a loop makes a difference of its own, the same in every run and in
//! both of our columns: a few per cent here are not the allocator's.

use crate::worker::meter::Meter;
use crate::worker::rng::Rng;
use crate::worker::scratch::{Scratch, Zeroable};
use std::hint::black_box;

/// Rows of the table.
const ROWS: usize = 1 << 18;

/// A row, as a table of a database has it.
#[derive(Clone, Copy)]
struct Row {
    key: u32,
    group: u32,
    amount: u64,
    weight: u64,
    flags: u64,
}

// SAFETY: 1. Integers are valid for any bits. 2. They need no drop.
unsafe impl Zeroable for Row {}

/// Filter, aggregate, and clone the rare row that is selected.
pub fn scan(m: &mut Meter) -> Result<(), String> {
    let mut rng = Rng::new(17);
    let mut table = Scratch::<Row>::new(ROWS);
    for row in table.iter_mut() {
        *row = Row {
            key: rng.below(1000) as u32,
            group: rng.below(16) as u32,
            amount: rng.bits() >> 40,
            weight: rng.bits() >> 50,
            flags: rng.bits() >> 60,
        };
    }
    let passes = m.pick(80, 500);
    m.time(passes * ROWS as u64, || {
        let mut sums = [0u64; 16];
        for pass in 0..passes as u32 {
            let wanted = pass % 1000;
            let mut selected: Vec<Box<Row>> = Vec::new();
            for row in table.iter() {
                let sum = &mut sums[row.group as usize & 15];
                let scaled = row.amount.wrapping_mul(row.weight | 1);
                *sum = sum.wrapping_add(scaled >> (row.flags & 7));
                if row.key == wanted {
                    selected.push(Box::new(*row));
                }
            }
            black_box(selected);
        }
        black_box(sums)
    });
    m.live();
    Ok(())
}

/// What the loop of [`interpret`] executes.
#[derive(Clone, Copy)]
enum Code {
    Add(u8),
    Multiply(u8),
    Rotate(u8),
    Skip(u8),
    Load(u8),
    Store(u8),
    Box(u8),
}

/// A register of the interpreter: numbers as they are, and now and then boxed.
enum Value {
    Number(u64),
    Boxed(Box<u64>),
}

impl Value {
    fn number(&self) -> u64 {
        match self {
            Value::Number(n) => *n,
            Value::Boxed(n) => **n,
        }
    }
}

fn program(rng: &mut Rng) -> [Code; 400] {
    std::array::from_fn(|i| {
        let operand = rng.below(8) as u8;
        match rng.below(6) {
            _ if i == 200 => Code::Box(operand),
            0 => Code::Add(operand),
            1 => Code::Multiply(operand),
            2 => Code::Rotate(operand),
            3 => Code::Skip(operand),
            4 => Code::Load(operand),
            _ => Code::Store(operand),
        }
    })
}

/// A bytecode loop over eight registers.
pub fn interpret(m: &mut Meter) -> Result<(), String> {
    let code = program(&mut Rng::new(23));
    let rounds = m.pick(150_000, 1_000_000);
    m.time(rounds * code.len() as u64, || {
        let mut registers: [Value; 8] = std::array::from_fn(|i| Value::Number(i as u64));
        let mut accumulator = 1u64;
        for _ in 0..rounds {
            for code in black_box(&code) {
                match *code {
                    Code::Add(r) => {
                        accumulator = accumulator.wrapping_add(registers[r as usize].number())
                    }
                    Code::Multiply(r) => accumulator = accumulator.wrapping_mul(u64::from(r) | 1),
                    Code::Rotate(r) => accumulator = accumulator.rotate_left(u32::from(r)),
                    Code::Skip(r) => accumulator ^= u64::from(accumulator & 1 == u64::from(r & 1)),
                    Code::Load(r) => accumulator ^= registers[r as usize].number(),
                    Code::Store(r) => registers[r as usize] = Value::Number(accumulator),
                    Code::Box(r) => registers[r as usize] = Value::Boxed(Box::new(accumulator)),
                }
            }
        }
        black_box(accumulator)
    });
    m.live();
    Ok(())
}
