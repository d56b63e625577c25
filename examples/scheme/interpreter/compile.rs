//! From text to pairs, and from pairs to code in which each variable has its place.

use super::super::memory::Leaf;
use super::{DEEPEST, Result, Scheme, SchemeError, Value, items, list};

/// A compiled procedure.
pub struct Lambda {
    pub n_parameters: usize,
    /// Parameters and what is defined inside.
    pub n_variables: usize,
    pub body: Code,
}

/// A compiled expression.
pub enum Code {
    Constant(Value),
    Local {
        up: usize,
        at: usize,
    },
    Global(usize),
    SetLocal {
        up: usize,
        at: usize,
        value: Box<Code>,
    },
    SetGlobal(usize, Box<Code>),
    If(Box<[Code; 3]>),
    /// Until one is false.
    And(Vec<Code>),
    /// Until one is not false.
    Or(Vec<Code>),
    Sequence(Vec<Code>),
    Lambda(Leaf<Lambda>),
    Call(Vec<Code>),
}

/// Names of the variables of the frames around an expression, the innermost last.
type Scope = Vec<Vec<usize>>;

/// Their symbols are the first ones.
pub const SPECIAL: [&str; 10] = [
    "quote", "if", "define", "set!", "lambda", "let", "begin", "cond", "and", "or",
];

impl Scheme {
    pub(super) fn read<'a>(
        &mut self,
        token: &str,
        rest: &mut impl Iterator<Item = &'a str>,
        depth: usize,
    ) -> Result {
        const OPEN: SchemeError = SchemeError::Syntax("the text ends inside a list");
        if depth > DEEPEST / 10 {
            return Err(SchemeError::TooDeep);
        }
        match token {
            "(" => {
                let mut found = Vec::new();
                loop {
                    match rest.next().ok_or(OPEN)? {
                        ")" => return Ok(list(found)),
                        token => found.push(self.read(token, rest, depth + 1)?),
                    }
                }
            }
            ")" => Err(SchemeError::Syntax("nothing to close")),
            "'" => {
                let quoted = self.read(rest.next().ok_or(OPEN)?, rest, depth + 1)?;
                Ok(list(vec![Value::Symbol(self.symbol("quote")), quoted]))
            }
            "#t" => Ok(Value::Bool(true)),
            "#f" => Ok(Value::Bool(false)),
            word => Ok(match word.parse() {
                Ok(int) => Value::Int(int),
                Err(_) => Value::Symbol(self.symbol(word)),
            }),
        }
    }

    fn compile_all(&mut self, all: &[Value], scope: &mut Scope) -> Result<Vec<Code>> {
        all.iter().map(|one| self.compile(one, scope)).collect()
    }

    pub(super) fn compile(&mut self, expression: &Value, scope: &mut Scope) -> Result<Code> {
        let place = |symbol: usize, scope: &Scope| {
            scope.iter().rev().enumerate().find_map(|(up, names)| {
                let at = names.iter().rposition(|name| *name == symbol)?;
                Some((up, at))
            })
        };
        let parts = match expression {
            Value::Pair(_) => items(expression)?,
            Value::Symbol(symbol) => {
                return Ok(match place(*symbol, scope) {
                    Some((up, at)) => Code::Local { up, at },
                    None => Code::Global(*symbol),
                });
            }
            Value::Nil => return Err(SchemeError::Syntax("an empty call")),
            other => return Ok(Code::Constant(other.clone())),
        };
        let special = match &parts[0] {
            Value::Symbol(symbol) if place(*symbol, scope).is_none() => SPECIAL.get(*symbol),
            _ => None,
        };
        match (special.copied(), &parts[1..]) {
            (None, _) => Ok(Code::Call(self.compile_all(&parts, scope)?)),
            (Some("quote"), [quoted]) => Ok(Code::Constant(quoted.clone())),
            (Some("begin"), all) => Ok(Code::Sequence(self.compile_all(all, scope)?)),
            (Some("and"), all) => Ok(Code::And(self.compile_all(all, scope)?)),
            (Some("or"), all) => Ok(Code::Or(self.compile_all(all, scope)?)),
            (Some("if"), [condition, then]) => self.branch(condition, then, None, scope),
            (Some("if"), [condition, then, otherwise]) => {
                self.branch(condition, then, Some(otherwise), scope)
            }
            (Some("lambda"), [parameters, body @ ..]) => {
                let parameters = items(parameters)?;
                Ok(Code::Lambda(self.lambda(&parameters, body, scope)?))
            }
            (Some("define"), [target @ Value::Pair(_), body @ ..]) => {
                let names = items(target)?;
                let lambda = Code::Lambda(self.lambda(&names[1..], body, scope)?);
                self.assign(&names[0], lambda, scope)
            }
            (Some("define" | "set!"), [target, value]) => {
                let value = self.compile(value, scope)?;
                self.assign(target, value, scope)
            }
            (Some("let"), [bindings, body @ ..]) => {
                let (mut names, mut call) = (Vec::new(), Vec::new());
                for binding in items(bindings)? {
                    match &items(&binding)?[..] {
                        [name, value] => {
                            names.push(name.clone());
                            call.push(self.compile(value, scope)?);
                        }
                        _ => return Err(SchemeError::Syntax("let")),
                    }
                }
                call.insert(0, Code::Lambda(self.lambda(&names, body, scope)?));
                Ok(Code::Call(call))
            }
            (Some("cond"), clauses) => self.clauses(clauses, scope),
            _ => Err(SchemeError::Syntax("a special form with other parts")),
        }
    }

    fn branch(
        &mut self,
        condition: &Value,
        then: &Value,
        other: Option<&Value>,
        scope: &mut Scope,
    ) -> Result<Code> {
        let other = match other {
            Some(other) => self.compile(other, scope)?,
            None => Code::Constant(Value::Nothing),
        };
        Ok(Code::If(Box::new([
            self.compile(condition, scope)?,
            self.compile(then, scope)?,
            other,
        ])))
    }

    fn clauses(&mut self, clauses: &[Value], scope: &mut Scope) -> Result<Code> {
        let mut code = Code::Constant(Value::Nothing);
        for clause in clauses.iter().rev() {
            let parts = items(clause)?;
            let (condition, body) = parts.split_first().ok_or(SchemeError::Syntax("cond"))?;
            let body = Code::Sequence(self.compile_all(body, scope)?);
            let condition = match condition {
                Value::Symbol(symbol) if *self.symbols[*symbol] == *"else" => {
                    Code::Constant(Value::Bool(true))
                }
                condition => self.compile(condition, scope)?,
            };
            code = Code::If(Box::new([condition, body, code]));
        }
        Ok(code)
    }

    /// Sets a variable that is there, or a global one.
    fn assign(&mut self, target: &Value, value: Code, scope: &Scope) -> Result<Code> {
        let Value::Symbol(symbol) = target else {
            return Err(SchemeError::Syntax("a name was wanted"));
        };
        let value = Box::new(value);
        for (up, names) in scope.iter().rev().enumerate() {
            if let Some(at) = names.iter().rposition(|name| name == symbol) {
                return Ok(Code::SetLocal { up, at, value });
            }
        }
        Ok(Code::SetGlobal(*symbol, value))
    }

    fn lambda(
        &mut self,
        parameters: &[Value],
        body: &[Value],
        scope: &mut Scope,
    ) -> Result<Leaf<Lambda>> {
        let mut names = Vec::new();
        let mut add = |name: &Value| match name {
            Value::Symbol(symbol) => {
                names.push(*symbol);
                Ok(())
            }
            _ => Err(SchemeError::Syntax("a name was wanted")),
        };
        parameters.iter().try_for_each(&mut add)?;
        // What the body defines has its place in the frame from the start.
        for expression in body.iter().filter(|part| matches!(part, Value::Pair(_))) {
            if let [Value::Symbol(word), target, ..] = &items(expression)?[..]
                && *self.symbols[*word] == *"define"
            {
                match target {
                    Value::Pair(pair) => add(&pair.first.borrow())?,
                    name => add(name)?,
                }
            }
        }
        let n_variables = names.len();
        scope.push(names);
        let body = self.compile_all(body, scope);
        scope.pop();
        Ok(Leaf::new(Lambda {
            n_parameters: parameters.len(),
            n_variables,
            body: Code::Sequence(body?),
        }))
    }
}
