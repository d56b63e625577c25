//! Whole numbers of any size, hashes, and how values are written.

use crate::cpython::{Random, compare};
use pymalloc::python::{Integer, Python, Value};

/// A random number of up to 400 bits, in decimal; often near a power of two.
fn decimal(random: &mut Random) -> String {
    let mut number = Integer::from(random.below(3) as i64 - 1);
    for _ in 0..random.below(14) {
        let digit = match random.below(4) {
            0 => 0,
            1 => (1 << 30) - 1,
            _ => random.below(1 << 30),
        };
        number = &(&number * &Integer::from(1i64 << 30)) + &Integer::from(digit as i64);
    }
    if random.below(2) == 0 {
        number = -&number;
    }
    number.to_string()
}

#[test]
fn arithmetic_is_that_of_cpython() {
    let mut random = Random(5);
    let (mut program, mut ours) = (String::new(), Vec::new());
    for _ in 0..4000 {
        let (a, b) = (decimal(&mut random), decimal(&mut random));
        program.push_str(&format!(
            "a, b = {a}, {b}\nprint(a + b, a - b, a * b, a < b, a == b, hash(a), divmod(a, b) if b else None)\n"
        ));
        let (a, b): (Integer, Integer) = (a.parse().unwrap(), b.parse().unwrap());
        let quotient = match a.divide_floor(&b) {
            Some((quotient, remainder)) => format!("({quotient}, {remainder})"),
            None => "None".into(),
        };
        let bool = |bool| if bool { "True" } else { "False" };
        let (less, equal) = (bool(a < b), bool(a == b));
        let hash = a.hash();
        ours.push(format!(
            "{} {} {} {less} {equal} {hash} {quotient}",
            &a + &b,
            &a - &b,
            &a * &b
        ));
    }
    compare(&program, &ours);
}

#[test]
fn numbers_at_the_edge_of_a_word_are_that_of_cpython() {
    let edges = [
        0,
        1,
        -1,
        i64::MAX,
        i64::MIN,
        i64::MIN + 1,
        1 << 60,
        -(1 << 30),
    ];
    let (mut program, mut ours) = (String::new(), Vec::new());
    for a in edges {
        for b in edges {
            program.push_str(&format!(
                "a, b = {a}, {b}\nprint(a + b, a - b, a * b, -a, divmod(a, b) if b else None, size(a * b))\n"
            ));
            let (a, b) = (Integer::from(a), Integer::from(b));
            let quotient = match a.divide_floor(&b) {
                Some((quotient, remainder)) => format!("({quotient}, {remainder})"),
                None => "None".into(),
            };
            let product = &a * &b;
            let size = 24 + 4 * product.n_digits();
            ours.push(format!(
                "{} {} {product} {} {quotient} {size}",
                &a + &b,
                &a - &b,
                -&a
            ));
        }
    }
    compare(&program, &ours);
    for bad in ["", "-", "+", "1 ", "0x1", "١"] {
        let error = bad.parse::<Integer>().unwrap_err();
        assert_eq!(error.to_string(), "invalid literal for int() with base 10");
    }
}

/// Random floats: bit patterns, small fractions, whole numbers, powers of ten.
fn float(random: &mut Random) -> f64 {
    let number = match random.below(4) {
        0 => f64::from_bits(random.next()),
        1 => random.below(2000) as f64 / 16.0 - 50.0,
        2 => random.below(1 << 31) as f64 * 1e9,
        _ => 10f64.powi(random.below(40) as i32 - 20),
    };
    if number.is_nan() { 0.1 } else { number }
}

#[test]
fn hashes_equality_and_texts_are_that_of_cpython() {
    let python = Python::new();
    let mut random = Random(7);
    let (mut program, mut ours) = (String::from("inf = float('inf')\n"), Vec::new());
    let bool = |value| python.bool(value).to_string();
    for _ in 0..4000 {
        let number = float(&mut random);
        let value = python.float(number);
        let whole = Integer::from_whole(number).map_or(python.none(), |whole| python.int(whole));
        let tuple = python.tuple(vec![
            value.clone(),
            whole.clone(),
            python.bool(number > 0.0),
        ]);
        program.push_str(&format!(
            "x = {value}\nw = int(x) if abs(x) != inf and x == int(x) else None\nif w is None: print(x, hash(x))\n\
             else: print(x, hash(x), w, hash(w), x == w, float(w), hash((x, w, x > 0)))\n"
        ));
        ours.push(match &whole {
            Value::Int(int) => format!(
                "{value} {} {whole} {} {} {} {}",
                value.hash().unwrap(),
                whole.hash().unwrap(),
                bool(value.equals(&whole).unwrap()),
                python.float(int.value().to_f64()),
                tuple.hash().unwrap()
            ),
            _ => format!("{value} {}", value.hash().unwrap()),
        });
    }
    compare(&program, &ours);
}

#[test]
fn values_are_written_as_cpython_writes_them() {
    let python = Python::new();
    let texts = ["", "it's", "\"", "it's \"so\"", "a\\b\n\r\t\0\u{7f}é漢😀"];
    let (mut program, mut ours) = (String::new(), Vec::new());
    for text in texts {
        let bytes = python.bytes(text.as_bytes());
        let value = python.list(vec![
            python.str(text),
            python.tuple(vec![bytes]),
            python.dict(),
        ]);
        let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        program.push_str(&format!(
            "b = bytes.fromhex('{hex}')\nprint([b.decode(), (b,), {{}}])\n"
        ));
        ours.push(value.to_string());
    }
    compare(&program, &ours);
}
