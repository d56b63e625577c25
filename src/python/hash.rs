//! CPython's hashes, which decide the order of a set: numbers that are equal hash alike, whatever their kind.

use super::error::KindError;
use super::integer::HASH_MODULUS;
use super::value::Value;
use core::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::collections::hash_map::DefaultHasher;

/// Bits of the modulus.
const HASH_BITS: u32 = 61;
/// What CPython hashes an infinity to (Include/pyhash.h: `_PyHASH_INF`).
const HASH_INFINITY: i64 = 314_159;

/// The hash of a value.
pub fn hash_at(value: &Value, depth: usize) -> Result<i64, KindError> {
    if depth > super::value::DEEPEST {
        return Err(KindError::TooDeep);
    }
    Ok(match value {
        Value::Bool(bool) => i64::from(bool.is_true()),
        Value::Int(int) => int.value().hash(),
        Value::Float(float) if float.value().is_nan() => of_address(value.id()),
        Value::Float(float) => of_float(float.value()),
        Value::Str(text) => of_bytes(text.as_str().as_bytes()),
        Value::Bytes(bytes) => of_bytes(bytes.as_bytes()),
        Value::Tuple(tuple) => of_tuple(tuple.items(), depth)?,
        Value::None(_) | Value::Instance(_) => of_address(value.id()),
        Value::List(_) | Value::Dict(_) | Value::Set(_) => {
            return Err(KindError::Unhashable(value.kind()));
        }
    })
}

/// CPython, Python/pyhash.c: `_Py_HashPointer`: the four lowest bits say little.
fn of_address(address: usize) -> i64 {
    (address as u64).rotate_right(4) as i64
}

/// Texts and bytes; CPython takes a key at random for each process, so their order means nothing there either.
fn of_bytes(bytes: &[u8]) -> i64 {
    let mut hasher = BuildHasherDefault::<DefaultHasher>::default().build_hasher();
    hasher.write(bytes);
    not_minus_one(hasher.finish() as i64)
}

/// -1 stands for an error in CPython, so nothing hashes to it.
fn not_minus_one(hash: i64) -> i64 {
    if hash == -1 { -2 } else { hash }
}

/// CPython, Python/pyhash.c: `_Py_HashDouble`: the number modulo 2^61 − 1, with 2^-1 as 2^60.
fn of_float(value: f64) -> i64 {
    if value.is_infinite() {
        return HASH_INFINITY * value.signum() as i64;
    }
    // value = ± mantissa · 2^exponent, both whole.
    let bits = value.to_bits();
    let (fraction, power) = (bits & ((1 << 52) - 1), (bits >> 52) & 0x7ff);
    let mantissa = if power == 0 {
        fraction
    } else {
        fraction | (1 << 52)
    };
    let exponent = power.max(1) as i64 - 1075;
    let turn = exponent.rem_euclid(i64::from(HASH_BITS)) as u32;
    // Below 2^61, where multiplying by a power of two is turning the 61 bits.
    let hash = if turn == 0 {
        mantissa
    } else {
        ((mantissa << turn) & HASH_MODULUS) | (mantissa >> (HASH_BITS - turn))
    };
    let hash = (hash % HASH_MODULUS) as i64;
    not_minus_one(if value < 0.0 { -hash } else { hash })
}

/// CPython, Objects/tupleobject.c 3.11: `tuplehash`, which is xxHash with another end.
fn of_tuple(items: &[Value], depth: usize) -> Result<i64, KindError> {
    const PRIME_1: u64 = 11_400_714_785_074_694_791;
    const PRIME_2: u64 = 14_029_467_366_897_019_727;
    const PRIME_5: u64 = 2_870_177_450_012_600_261;
    let mut sum = PRIME_5;
    for item in items {
        let lane = hash_at(item, depth + 1)? as u64;
        sum = sum.wrapping_add(lane.wrapping_mul(PRIME_2));
        sum = sum.rotate_left(31).wrapping_mul(PRIME_1);
    }
    sum = sum.wrapping_add(items.len() as u64 ^ (PRIME_5 ^ 3_527_539));
    Ok(if sum == u64::MAX {
        1_546_275_796
    } else {
        sum as i64
    })
}
