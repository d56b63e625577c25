//! Values as Python's `repr` writes them.

use super::value::{DEEPEST, Value};
use core::fmt;

impl fmt::Display for Value {
    /// Python's `repr`; containers inside themselves as `[...]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(self, f, &mut Vec::new())
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Writes a value; `open` are the ids of the containers it is in.
fn show(value: &Value, f: &mut fmt::Formatter<'_>, open: &mut Vec<usize>) -> fmt::Result {
    match value {
        Value::None(_) => f.write_str("None"),
        Value::Bool(bool) => f.write_str(if bool.is_true() { "True" } else { "False" }),
        Value::Int(int) => write!(f, "{}", int.value()),
        Value::Float(float) => f.write_str(&float_text(float.value())),
        Value::Str(text) => show_text(text.as_str(), f),
        Value::Bytes(bytes) => show_bytes(bytes.as_bytes(), f),
        Value::Instance(instance) => {
            write!(
                f,
                "<{} object at {:#x}>",
                instance.class().name(),
                value.id()
            )
        }
        _ if open.contains(&value.id()) || open.len() > DEEPEST => f.write_str(match value {
            Value::Tuple(_) => "(...)",
            Value::List(_) => "[...]",
            Value::Set(_) => "set(...)",
            _ => "{...}",
        }),
        _ => {
            open.push(value.id());
            show_container(value, f, open)?;
            open.pop();
            Ok(())
        }
    }
}

fn show_container(value: &Value, f: &mut fmt::Formatter<'_>, open: &mut Vec<usize>) -> fmt::Result {
    match value {
        Value::Tuple(tuple) => {
            let end = if tuple.items().len() == 1 { ",)" } else { ")" };
            show_items("(", tuple.items(), end, f, open)
        }
        Value::List(list) => show_items("[", &list.to_vec(), "]", f, open),
        Value::Set(set) if set.is_empty() => f.write_str("set()"),
        Value::Set(set) => show_items("{", &set.to_vec(), "}", f, open),
        Value::Dict(dict) => {
            f.write_str("{")?;
            for (n, (key, value)) in dict.to_vec().iter().enumerate() {
                f.write_str(if n > 0 { ", " } else { "" })?;
                show(key, f, open)?;
                f.write_str(": ")?;
                show(value, f, open)?;
            }
            f.write_str("}")
        }
        other => show(other, f, open),
    }
}

fn show_items(
    start: &str,
    items: &[Value],
    end: &str,
    f: &mut fmt::Formatter<'_>,
    open: &mut Vec<usize>,
) -> fmt::Result {
    f.write_str(start)?;
    for (n, item) in items.iter().enumerate() {
        f.write_str(if n > 0 { ", " } else { "" })?;
        show(item, f, open)?;
    }
    f.write_str(end)
}

/// Single quotes, unless only they are in the text.
fn quote_for(has_single: bool, has_double: bool) -> char {
    if has_single && !has_double { '"' } else { '\'' }
}

fn show_text(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let quote = quote_for(text.contains('\''), text.contains('"'));
    write!(f, "{quote}")?;
    for c in text.chars() {
        match c {
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '\\' => f.write_str("\\\\")?,
            c if c == quote => write!(f, "\\{c}")?,
            c if c.is_control() => write!(f, "\\x{:02x}", c as u32)?,
            c => write!(f, "{c}")?,
        }
    }
    write!(f, "{quote}")
}

fn show_bytes(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let quote = quote_for(bytes.contains(&b'\''), bytes.contains(&b'"'));
    write!(f, "b{quote}")?;
    for byte in bytes {
        match *byte {
            b'\n' => f.write_str("\\n")?,
            b'\r' => f.write_str("\\r")?,
            b'\t' => f.write_str("\\t")?,
            b'\\' => f.write_str("\\\\")?,
            c if char::from(c) == quote => write!(f, "\\{quote}")?,
            c @ 0x20..0x7f => write!(f, "{}", char::from(c))?,
            c => write!(f, "\\x{c:02x}")?,
        }
    }
    write!(f, "{quote}")
}

/// CPython's `float.__repr__`: the shortest digits that give the number back, with an exponent below 1e-4 and
/// from 1e16 on.
fn float_text(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.into();
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').expect("the format has an exponent");
    let exponent: i32 = exponent.parse().expect("the exponent is a number");
    match exponent {
        -4..16 => format!("{value:?}"),
        _ => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
    }
}
