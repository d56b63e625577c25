//! What does a scripting engine cost: a script compiled, then run over maps, arrays, strings and closures?

use crate::worker::meter::Meter;
use rhai::{Engine, INT};

const SCRIPT: &str = r#"
fn person(i) { #{ name: "person " + i, age: i % 90, tags: ["a" + i % 7, "b" + i % 11] } }
let people = [];
for i in 0..400 { people.push(person(i)); }
let by_tag = #{};
for p in people {
    for tag in p.tags {
        if !(tag in by_tag) { by_tag[tag] = []; }
        by_tag[tag].push(p.name);
    }
}
let text = "";
for tag in by_tag.keys() { text += tag + ":" + by_tag[tag].len() + ";"; }
let old = people.filter(|p| p.age > 60).map(|p| p.name.to_upper());
let n = 0;
for name in old { n += name.len(); }
n + text.len()
"#;

pub fn run(m: &mut Meter) -> Result<(), String> {
    let engine = Engine::new();
    let once = || -> INT {
        let ast = engine.compile(SCRIPT).expect("the script compiles");
        engine.eval_ast(&ast).expect("the script runs")
    };
    let want = once();
    let n = m.pick(60, 240);
    m.time(n, || {
        for _ in 0..n {
            assert_eq!(once(), want);
        }
    });
    m.live();
    Ok(())
}
