//! Built-in procedures.

use super::super::memory::{Ref, same};
use super::{Pair, Result, SchemeError, Value, cons, list};

/// A built-in procedure, of its arguments.
pub type Primitive = fn(&[Value]) -> Result;

/// All of them by name; a procedure's number is its place here.
pub const PRIMITIVES: [(&str, Primitive); 17] = [
    ("+", |all| fold(all, 0, i64::checked_add)),
    ("*", |all| fold(all, 1, i64::checked_mul)),
    ("-", |all| match all {
        [one] => fold(std::slice::from_ref(one), 0, i64::checked_sub),
        [first, rest @ ..] => fold(rest, int(first)?, i64::checked_sub),
        [] => Err(SchemeError::Arguments(0)),
    }),
    ("quotient", |all| {
        let [a, b] = exactly(all)?;
        fold(std::slice::from_ref(b), int(a)?, i64::checked_div)
    }),
    ("remainder", |all| {
        let [a, b] = exactly(all)?;
        fold(std::slice::from_ref(b), int(a)?, i64::checked_rem)
    }),
    ("=", |all| {
        let [a, b] = exactly(all)?;
        Ok(Value::Bool(int(a)? == int(b)?))
    }),
    ("<", |all| {
        let [a, b] = exactly(all)?;
        Ok(Value::Bool(int(a)? < int(b)?))
    }),
    ("eq?", |all| {
        let [a, b] = exactly(all)?;
        Ok(Value::Bool(is_same(a, b)))
    }),
    ("cons", |all| {
        let [first, rest] = exactly(all)?;
        Ok(cons(first.clone(), rest.clone()))
    }),
    ("car", |all| {
        let [of] = exactly(all)?;
        Ok(pair(of)?.first.borrow().clone())
    }),
    ("cdr", |all| {
        let [of] = exactly(all)?;
        Ok(pair(of)?.rest.borrow().clone())
    }),
    ("set-car!", |all| {
        let [of, value] = exactly(all)?;
        drop(pair(of)?.first.replace(value.clone()));
        Ok(Value::Nothing)
    }),
    ("set-cdr!", |all| {
        let [of, value] = exactly(all)?;
        drop(pair(of)?.rest.replace(value.clone()));
        Ok(Value::Nothing)
    }),
    ("null?", |all| {
        let [of] = exactly(all)?;
        Ok(Value::Bool(matches!(of, Value::Nil)))
    }),
    ("pair?", |all| {
        let [of] = exactly(all)?;
        Ok(Value::Bool(matches!(of, Value::Pair(_))))
    }),
    ("not", |all| {
        let [of] = exactly(all)?;
        Ok(Value::Bool(matches!(of, Value::Bool(false))))
    }),
    ("list", |all| Ok(list(all.to_vec()))),
];

/// So many arguments.
fn exactly<const N: usize>(all: &[Value]) -> Result<&[Value; N]> {
    all.try_into()
        .map_err(|_| SchemeError::Arguments(all.len()))
}

fn fold(all: &[Value], start: i64, next: fn(i64, i64) -> Option<i64>) -> Result {
    let mut sum = start;
    for argument in all {
        sum = next(sum, int(argument)?).ok_or(SchemeError::Arithmetic)?;
    }
    Ok(Value::Int(sum))
}

fn int(value: &Value) -> Result<i64> {
    match value {
        Value::Int(int) => Ok(*int),
        _ => Err(SchemeError::WrongType("an integer")),
    }
}

fn pair(value: &Value) -> Result<&Ref<Pair>> {
    match value {
        Value::Pair(pair) => Ok(pair),
        _ => Err(SchemeError::WrongType("a pair")),
    }
}

/// Whether both are the same number, symbol or object.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Nil, Value::Nil) | (Value::Nothing, Value::Nothing) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(a), Value::Int(b)) => a == b,
        (Value::Symbol(a), Value::Symbol(b)) | (Value::Primitive(a), Value::Primitive(b)) => a == b,
        (Value::Pair(a), Value::Pair(b)) => same(a, b),
        (Value::Closure(a), Value::Closure(b)) => same(a, b),
        _ => false,
    }
}
