//! A small Scheme: integers, symbols, pairs, closures; definitions inside procedures, proper tail calls.
//!
//! ```text
//! text ──read──► pairs ──compile──► Code ──run──► Value
//!
//! Frame | values | parent |──► Frame … ──► none          a procedure's variables, by position
//!           └──► Closure ──► Frame                        defined inside: a cycle as soon as it has a name
//! ```
//!
//! A variable's place is known when a procedure is compiled: how many frames up, and which value there. Each
//! call makes a frame. A closure that is defined inside a procedure is in the frame it refers to, so that every
//! such call leaves a cycle behind: what counting alone never frees.

mod compile;
mod primitives;

use super::memory::{Leaf, Ref, new};
use compile::{Code, Lambda, SPECIAL};
use primitives::PRIMITIVES;
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

/// Calls inside each other that are no tail calls.
const DEEPEST: usize = 10_000;
/// Items of a list that are printed.
const MOST_SHOWN: usize = 200;

traced! {
    /// A value. The kind takes a whole word: beside a byte of it, rustc copies the rest in pieces that the
    /// processor cannot forward from the stores before.
    #[derive(Clone)]
    #[repr(u64)]
    pub enum Value {
        /// The empty list.
        Nil,
        /// What a definition is worth.
        Nothing,
        Bool(bool),
        Int(i64),
        Symbol(usize),
        Pair(Ref<Pair>),
        Closure(Ref<Closure>),
        Primitive(usize),
    }
    enum Value { Nil, Nothing, Bool(bool), Int(int), Symbol(symbol), Pair(pair), Closure(closure), Primitive(number) }
}

traced! {
    /// Two values that can be replaced.
    pub struct Pair {
        first: RefCell<Value>,
        rest: RefCell<Value>,
    }
    struct Pair { first, rest }
}

traced! {
    /// A procedure with the frame it was made in.
    pub struct Closure {
        lambda: Leaf<Lambda>,
        parent: Option<Ref<Frame>>,
    }
    struct Closure { lambda, parent }
}

traced! {
    /// The variables of one call.
    pub struct Frame {
        values: RefCell<Vec<Value>>,
        parent: Option<Ref<Frame>>,
    }
    struct Frame { values, parent }
}

/// Why a program stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemeError {
    Syntax(&'static str),
    Unbound(String),
    NotAProcedure,
    Arguments(usize),
    WrongType(&'static str),
    Arithmetic,
    TooDeep,
}

impl fmt::Display for SchemeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(what) => write!(f, "bad syntax: {what}"),
            Self::Unbound(name) => write!(f, "unbound variable: {name}"),
            Self::NotAProcedure => f.write_str("call of what is no procedure"),
            Self::Arguments(given) => write!(f, "wrong number of arguments: {given}"),
            Self::WrongType(wanted) => write!(f, "not of the type wanted: {wanted}"),
            Self::Arithmetic => f.write_str("number too large, or division by 0"),
            Self::TooDeep => f.write_str("calls are nested too deeply"),
        }
    }
}

impl std::error::Error for SchemeError {}

type Result<T = Value> = std::result::Result<T, SchemeError>;

/// An interpreter: its symbols and global variables.
pub struct Scheme {
    symbols: Vec<Rc<str>>,
    globals: RefCell<Vec<Option<Value>>>,
}

fn cons(first: Value, rest: Value) -> Value {
    let (first, rest) = (RefCell::new(first), RefCell::new(rest));
    Value::Pair(new(Pair { first, rest }))
}

fn list(items: Vec<Value>) -> Value {
    items
        .into_iter()
        .rev()
        .fold(Value::Nil, |rest, first| cons(first, rest))
}

/// The items of a proper list.
fn items(list: &Value) -> Result<Vec<Value>> {
    let (mut found, mut rest) = (Vec::new(), list.clone());
    while let Value::Pair(pair) = rest {
        found.push(pair.first.borrow().clone());
        rest = pair.rest.borrow().clone();
    }
    match rest {
        Value::Nil => Ok(found),
        _ => Err(SchemeError::Syntax("a list was wanted")),
    }
}

impl Default for Scheme {
    fn default() -> Self {
        let mut scheme = Self {
            symbols: Vec::new(),
            globals: RefCell::default(),
        };
        for name in SPECIAL {
            scheme.symbol(name);
        }
        for (number, (name, _)) in PRIMITIVES.iter().enumerate() {
            let symbol = scheme.symbol(name);
            scheme.globals.borrow_mut()[symbol] = Some(Value::Primitive(number));
        }
        scheme
    }
}

impl Scheme {
    /// Reads and runs a program; the value of its last expression.
    pub fn run(&mut self, text: &str) -> Result {
        let text = text
            .replace('(', " ( ")
            .replace(')', " ) ")
            .replace('\'', " ' ");
        let mut tokens = text.split_whitespace();
        let mut last = Value::Nothing;
        while let Some(token) = tokens.next() {
            let expression = self.read(token, &mut tokens, 0)?;
            let code = self.compile(&expression, &mut Vec::new())?;
            last = self.evaluate(&code, &None, 0)?;
        }
        Ok(last)
    }

    /// A value as text.
    pub fn show(&self, value: &Value) -> String {
        match value {
            Value::Nil => "()".into(),
            Value::Nothing => String::new(),
            Value::Bool(true) => "#t".into(),
            Value::Bool(false) => "#f".into(),
            Value::Int(int) => int.to_string(),
            Value::Symbol(symbol) => self.symbols[*symbol].to_string(),
            Value::Closure(_) | Value::Primitive(_) => "#<procedure>".into(),
            Value::Pair(_) => {
                let mut text = String::new();
                self.show_list(value.clone(), &mut text, &mut MOST_SHOWN.clone());
                text
            }
        }
    }

    /// Writes a list, which may be in itself: at most `left` items.
    fn show_list(&self, mut rest: Value, text: &mut String, left: &mut usize) {
        text.push('(');
        while let Value::Pair(pair) = rest {
            if *left == 0 {
                text.push_str("...)");
                return;
            }
            *left -= 1;
            match &*pair.first.borrow() {
                inner @ Value::Pair(_) => self.show_list(inner.clone(), text, left),
                other => text.push_str(&self.show(other)),
            }
            rest = pair.rest.borrow().clone();
            if matches!(rest, Value::Pair(_)) {
                text.push(' ');
            }
        }
        if !matches!(rest, Value::Nil) {
            text.push_str(&format!(" . {}", self.show(&rest)));
        }
        text.push(')');
    }

    fn symbol(&mut self, name: &str) -> usize {
        let known = self.symbols.iter().position(|symbol| **symbol == *name);
        known.unwrap_or_else(|| {
            self.symbols.push(name.into());
            self.globals.borrow_mut().push(None);
            self.symbols.len() - 1
        })
    }

    /// Runs code in a frame. What is called last takes no room on the stack.
    fn evaluate(&self, code: &Code, frame: &Option<Ref<Frame>>, depth: usize) -> Result {
        if depth > DEEPEST {
            return Err(SchemeError::TooDeep);
        }
        let mut outcome = self.step(code, frame, depth)?;
        loop {
            outcome = match outcome {
                Outcome::Done(value) => return Ok(value),
                Outcome::Enter(lambda, frame) => self.step(&lambda.body, &Some(frame), depth)?,
            }
        }
    }

    /// Runs code up to its value or its last call.
    fn step(&self, mut code: &Code, frame: &Option<Ref<Frame>>, depth: usize) -> Result<Outcome> {
        let run = |code: &Code| self.evaluate(code, frame, depth + 1);
        loop {
            let value = match code {
                Code::Constant(value) => value.clone(),
                Code::Local { up, at } => frame_up(frame, *up).values.borrow()[*at].clone(),
                Code::Global(symbol) => self.global(*symbol)?,
                Code::SetLocal { up, at, value } => {
                    let value = run(value)?;
                    // The old value dies when nothing is borrowed.
                    drop(
                        frame_up(frame, *up)
                            .values
                            .borrow_mut()
                            .get_mut(*at)
                            .map(|place| std::mem::replace(place, value)),
                    );
                    Value::Nothing
                }
                Code::SetGlobal(symbol, value) => {
                    let value = run(value)?;
                    drop(self.globals.borrow_mut()[*symbol].replace(value));
                    Value::Nothing
                }
                Code::If(parts) => {
                    let is_false = matches!(run(&parts[0])?, Value::Bool(false));
                    code = &parts[1 + usize::from(is_false)];
                    continue;
                }
                Code::And(all) | Code::Or(all) | Code::Sequence(all) => {
                    let Some((last, first)) = all.split_last() else {
                        return Ok(Outcome::Done(match code {
                            Code::Sequence(_) => Value::Nothing,
                            _ => Value::Bool(matches!(code, Code::And(_))),
                        }));
                    };
                    for one in first {
                        let value = run(one)?;
                        let is_false = matches!(value, Value::Bool(false));
                        match code {
                            Code::And(_) if is_false => return Ok(Outcome::Done(value)),
                            Code::Or(_) if !is_false => return Ok(Outcome::Done(value)),
                            _ => {}
                        }
                    }
                    code = last;
                    continue;
                }
                Code::Lambda(lambda) => {
                    let (lambda, parent) = (lambda.clone(), frame.clone());
                    Value::Closure(new(Closure { lambda, parent }))
                }
                Code::Call(parts) => return self.call(parts, frame, depth),
            };
            return Ok(Outcome::Done(value));
        }
    }

    fn call(&self, parts: &[Code], frame: &Option<Ref<Frame>>, depth: usize) -> Result<Outcome> {
        let procedure = self.evaluate(&parts[0], frame, depth + 1)?;
        let (n, mut few) = (parts.len() - 1, [const { Value::Nil }; 3]);
        if let Value::Primitive(number) = procedure
            && n <= few.len()
        {
            for (place, part) in few.iter_mut().zip(&parts[1..]) {
                *place = self.evaluate(part, frame, depth + 1)?;
            }
            return Ok(Outcome::Done(PRIMITIVES[number].1(&few[..n])?));
        }
        let room = match &procedure {
            Value::Closure(closure) => closure.lambda.n_variables,
            _ => n,
        };
        let mut values = Vec::with_capacity(room);
        for part in &parts[1..] {
            values.push(self.evaluate(part, frame, depth + 1)?);
        }
        match procedure {
            Value::Primitive(number) => Ok(Outcome::Done(PRIMITIVES[number].1(&values)?)),
            Value::Closure(closure) if closure.lambda.n_parameters == n => {
                values.resize(room, Value::Nothing);
                let (values, parent) = (RefCell::new(values), closure.parent.clone());
                Ok(Outcome::Enter(
                    closure.lambda.clone(),
                    new(Frame { values, parent }),
                ))
            }
            Value::Closure(_) => Err(SchemeError::Arguments(n)),
            _ => Err(SchemeError::NotAProcedure),
        }
    }

    fn global(&self, symbol: usize) -> Result {
        let value = self.globals.borrow()[symbol].clone();
        value.ok_or_else(|| SchemeError::Unbound(self.symbols[symbol].to_string()))
    }
}

/// Where running code ends.
enum Outcome {
    Done(Value),
    /// In a call of this procedure, with its frame.
    Enter(Leaf<Lambda>, Ref<Frame>),
}

fn frame_up(frame: &Option<Ref<Frame>>, up: usize) -> &Frame {
    let mut frame = frame;
    for _ in 0..up {
        frame = &frame_of(frame).parent;
    }
    frame_of(frame)
}

fn frame_of(frame: &Option<Ref<Frame>>) -> &Ref<Frame> {
    frame
        .as_ref()
        .expect("code has as many frames around it as it was compiled with")
}
