//! Built-in procedures.

use super::super::memory::{Ref, same};
use super::{Pair, Result, SchemeError, Value, cons, list};

/// Their names; a procedure's number is its place here.
pub const NAMES: [&str; 17] = [
    "+",
    "-",
    "*",
    "quotient",
    "remainder",
    "=",
    "<",
    "eq?",
    "cons",
    "car",
    "cdr",
    "set-car!",
    "set-cdr!",
    "null?",
    "pair?",
    "not",
    "list",
];

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

/// What a built-in procedure returns.
pub fn primitive(name: &str, mut arguments: Vec<Value>) -> Result {
    let fold = |arguments: &[Value], start: i64, next: fn(i64, i64) -> Option<i64>| {
        let mut sum = start;
        for argument in arguments {
            sum = next(sum, int(argument)?).ok_or(SchemeError::Arithmetic)?;
        }
        Ok(Value::Int(sum))
    };
    match (name, &arguments[..]) {
        ("+", all) => fold(all, 0, i64::checked_add),
        ("*", all) => fold(all, 1, i64::checked_mul),
        ("-", [one]) => fold(&[one.clone()], 0, i64::checked_sub),
        ("-", [first, rest @ ..]) => fold(rest, int(first)?, i64::checked_sub),
        ("quotient", [a, b]) => fold(&[b.clone()], int(a)?, i64::checked_div),
        ("remainder", [a, b]) => fold(&[b.clone()], int(a)?, i64::checked_rem),
        ("=", [a, b]) => Ok(Value::Bool(int(a)? == int(b)?)),
        ("<", [a, b]) => Ok(Value::Bool(int(a)? < int(b)?)),
        ("eq?", [a, b]) => Ok(Value::Bool(is_same(a, b))),
        ("cons", [_, _]) => {
            let rest = arguments.pop().unwrap_or(Value::Nil);
            Ok(cons(arguments.pop().unwrap_or(Value::Nil), rest))
        }
        ("car", [of]) => Ok(pair(of)?.first.borrow().clone()),
        ("cdr", [of]) => Ok(pair(of)?.rest.borrow().clone()),
        ("set-car!", [of, value]) => {
            drop(pair(of)?.first.replace(value.clone()));
            Ok(Value::Nothing)
        }
        ("set-cdr!", [of, value]) => {
            drop(pair(of)?.rest.replace(value.clone()));
            Ok(Value::Nothing)
        }
        ("null?", [of]) => Ok(Value::Bool(matches!(of, Value::Nil))),
        ("pair?", [of]) => Ok(Value::Bool(matches!(of, Value::Pair(_)))),
        ("not", [of]) => Ok(Value::Bool(matches!(of, Value::Bool(false)))),
        ("list", _) => Ok(list(arguments)),
        _ => Err(SchemeError::Arguments(arguments.len())),
    }
}
