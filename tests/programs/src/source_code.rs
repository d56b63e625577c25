//! Source code: Rust parsed by `syn` and quoted back, scripts run by `rhai`.

use std::fmt::Write as _;

use quote::ToTokens as _;

use crate::material::Random;

/// Source files of this repository, besides a generated one.
const OWN_FILES: [&str; 4] = [
    include_str!("source_code.rs"),
    include_str!("threads.rs"),
    include_str!("../../support/model.rs"),
    include_str!("../../support/pymt.rs"),
];

/// Parses source files into syntax trees, edits them, quotes them back to text, and parses that.
pub fn parse_and_quote() -> String {
    let generated = generated_source();
    let mut output = String::new();
    for source in OWN_FILES.into_iter().chain([generated.as_str()]) {
        let mut file = syn::parse_file(source).expect("the source parses");
        let quoted = file.to_token_stream().to_string();
        let again = syn::parse_file(&quoted).expect("what was quoted parses");
        assert_eq!(
            again.to_token_stream().to_string(),
            quoted,
            "quoting is stable"
        );
        // A program that owns parts of a tree beyond the tree: every other item, last one first.
        let kept: Vec<_> = file.items.drain(..).rev().step_by(2).collect();
        drop(file);
        for item in &kept {
            writeln!(output, "{}", item.to_token_stream())
                .expect("writing to a String cannot fail");
        }
    }
    let cut = generated
        .trim_end()
        .strip_suffix('}')
        .expect("the source ends with an item");
    let error = syn::parse_file(cut)
        .map(drop)
        .expect_err("a brace is missing");
    output.push_str(&error.to_string());
    output
}

fn generated_source() -> String {
    let mut random = Random::new(3);
    let mut source = String::from("//! Generated.\n");
    for i in 0..60 {
        let (a, b, c) = (random.below(1000), random.below(1000), random.sentence(8));
        write!(
            source,
            r#"
            /// {c}
            #[derive(Clone, Debug)]
            pub struct S{i}<'a, T: Iterator<Item = &'a str> + Send> where T: Clone {{
                pub field: Option<Vec<(T, [u8; {a}])>>, other: &'a dyn Fn(&str) -> Result<T, ()>,
            }}
            impl<'a, T: Iterator<Item = &'a str> + Send + Clone> S{i}<'a, T> {{
                const LIMIT: usize = {a} * {b} + 1 << 3;
                pub async fn method(&mut self, n: usize) -> impl Iterator<Item = String> + use<'a, T> {{
                    let text = "{c}\n";
                    if let Some(ref mut pairs) = self.field && n < Self::LIMIT {{
                        for (t, _) in pairs.iter_mut().filter(|(_, bytes)| bytes[n] as usize != {b}) {{
                            *t = match (self.other)(text) {{ Ok(t) => t, Err(()) => return vec![].into_iter() }};
                        }}
                    }}
                    unsafe {{ core::ptr::null::<u8>().add(n * {b}) }};
                    vec![format!("{{n:>1$}} {{}}", text, {a}), String::new()].into_iter()
                }}
            }}
            "#
        )
        .expect("writing to a String cannot fail");
    }
    source
}

/// Scripts, each with what it returns as text.
const SCRIPTS: [&str; 4] = [
    r#"
        let sieve = []; sieve.pad(2000, true); let primes = [];
        for i in 2..2000 {
            if sieve[i] {
                primes.push(i);
                let j = i * i;
                while j < 2000 { sieve[j] = false; j += i; }
            }
        }
        `${primes.len()} primes, sum ${primes.reduce(|sum, p| sum + p, 0)}`
    "#,
    r#"
        let words = "the ring of the pool of the arena carves a block of the class".split(" ");
        let counts = #{};
        for round in 0..60 {
            for word in words {
                let key = word + (round % 7);
                counts[key] = if key in counts { counts[key] + 1 } else { 1 };
            }
        }
        let text = "";
        for key in counts.keys() { text += key + "=" + counts[key] + ";"; }
        text
    "#,
    r#"
        fn make(depth) {
            if depth == 0 { return #{ leaf: "x".to_upper(), children: [] }; }
            #{ leaf: "n" + depth, children: [make(depth - 1), make(depth - 1)] }
        }
        fn show(node) {
            let text = "(" + node.leaf;
            for child in node.children { text += show(child); }
            text + ")"
        }
        show(make(7))
    "#,
    r#"
        let numbers = []; let x = 12345;
        for i in 0..1500 { x = (x * 1103515 + 12345) % 1000003; numbers.push(x); }
        numbers.sort(|a, b| a - b);
        let adders = numbers.extract(0, 50).map(|n| |m| n + m);
        let total = 0; for adder in adders { total += adder.call(1); }
        let text = ""; for n in numbers.filter(|n| n % 3 == 0) { text += n.to_string() + ","; }
        text + total
    "#,
];

/// Compiles each script and runs it three times in one engine.
pub fn scripts() -> String {
    let mut engine = rhai::Engine::new();
    engine.set_max_expr_depths(0, 0);
    // The default is 8 in debug builds, 64 in release builds.
    engine.set_max_call_levels(12);
    let mut output = String::new();
    for script in SCRIPTS {
        let ast = engine.compile(script).expect("the script compiles");
        for _ in 0..3 {
            output += &engine.eval_ast::<String>(&ast).expect("the script runs");
        }
        let error = engine.compile(&script[..script.len() / 2]).map(drop);
        writeln!(output, "\n{error:?}").expect("writing to a String cannot fail");
    }
    output
}
