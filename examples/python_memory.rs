//! How Python manages memory, shown with Python's objects in Rust: statement, and what comes of it.
//!
//! ```text
//! cargo run --release --features objects --example python_memory
//! ```
//!
//! A line `label => value` says what CPython 3.11 says, too: `tests/python_memory.rs` runs it beside this. A line
//! `label: value` is about this library or this process.

use pymalloc::gc;
use pymalloc::object::{Erased, Gc, Weak};
use pymalloc::observe::{self, Region, objgraph, tracemalloc};
use pymalloc::python::{Class, Dict, Instance, Integer, List, Python, Set, Value};
use std::cell::{Cell, RefCell};
use std::fmt::{self, Write};
use std::rc::Rc;

#[global_allocator]
static GLOBAL: pymalloc::PyMalloc = pymalloc::PyMalloc;

#[allow(dead_code)] // the test includes this file
fn main() {
    let mut out = String::new();
    show(&mut out).expect("a string can be written to");
    print!("{out}");
}

/// The kinds, a class whose instances are counted when they die, and where facts go.
struct Tour<'a> {
    out: &'a mut String,
    python: Python,
    class: Gc<Class>,
    dead: Rc<Cell<usize>>,
}

/// Everything, in the document's order.
pub fn show(out: &mut String) -> fmt::Result {
    let dead = Rc::new(Cell::new(0));
    let count = dead.clone();
    let class = Class::with_finalizer("D", move |_| count.set(count.get() + 1));
    let python = Python::new();
    let mut tour = Tour {
        out,
        python,
        class,
        dead,
    };
    tour.everything_is_an_object()?;
    tour.names_are_references()?;
    tour.layers_of_memory()?;
    tour.memory_grows()?;
    tour.rebinding_and_changing()?;
    tour.memory_falls_at_count_zero()?;
    tour.cycles()?;
    tour.counts_and_shared_ints()?;
    tour.tools()?;
    tour.traced_memory()?;
    tour.memory_profile()?;
    tour.object_graph()?;
    tour.life_of_an_object()?;
    tour.advice()
}

impl Tour<'_> {
    fn title(&mut self, title: &str) -> fmt::Result {
        writeln!(self.out, "\n{title}")
    }

    /// What CPython says as well.
    fn fact(&mut self, label: &str, value: impl fmt::Display) -> fmt::Result {
        writeln!(self.out, "    {label} => {value}")
    }

    /// What holds here.
    fn note(&mut self, label: &str, value: impl fmt::Display) -> fmt::Result {
        writeln!(self.out, "    {label}: {value}")
    }

    fn bool(&self, value: bool) -> Value {
        self.python.bool(value)
    }

    fn ints(&self, ints: &[i64]) -> Value {
        self.python
            .list(ints.iter().map(|n| self.python.int(*n)).collect())
    }

    /// An instance whose death is counted.
    fn counted(&self) -> Gc<Instance> {
        Instance::new(&self.class)
    }

    fn everything_is_an_object(&mut self) -> fmt::Result {
        self.title("1.1 Everything is an object: a header with count and type, and data")?;
        let python = &self.python;
        let (one, text) = (python.int(1000), Value::Str(python.intern("text")));
        let dict = Dict::new();
        Dict::insert(&dict, text.clone(), one.clone()).expect("a text is a key");
        let set = Set::new();
        set.insert(one.clone()).expect("an int is a key");
        let values = [
            python.none(),
            python.bool(true),
            python.int(7),
            python.float(1.5),
            text.clone(),
            python.bytes(b"bytes"),
            python.tuple(vec![one.clone(), text.clone()]),
            python.list(vec![one, text]),
            Value::Dict(dict),
            Value::Set(set),
            Value::Instance(self.counted()),
        ];
        for value in values {
            let kind = value.kind();
            self.fact(
                &format!("an object of kind {kind}, bytes"),
                value.getsizeof(),
            )?;
            let references = match value.is_immortal() {
                true => "immortal".to_owned(),
                false => format!("{} references", value.getrefcount() - 1),
            };
            self.note(&format!("  at {:#x}", value.id()), references)?;
        }
        Ok(())
    }

    fn names_are_references(&mut self) -> fmt::Result {
        self.title("1.2 A name holds no value: it refers to an object; several may refer to one")?;
        let a = List::display(vec![]);
        a.extend([1, 2, 3].map(|n| self.python.int(n)));
        let mut b = Value::List(a.clone());
        let same = self.bool(b.is(&Value::List(a.clone())));
        self.fact("b = a; b is a", same)?;
        a.append(self.python.int(4));
        self.fact("a.append(4); b", &b)?;
        b = self.ints(&[0]);
        self.note("b = [0]; b", &b)?;
        self.fact("b = [0]; a", Value::List(a))
    }

    fn layers_of_memory(&mut self) -> fmt::Result {
        self.title(
            "1.3, 2, 5 System, allocator, pools: up to 512 bytes from pools, above from elsewhere",
        )?;
        for size in [480, 600] {
            let before = pooled_bytes();
            let blocks: Vec<_> = (0..10_000)
                .map(|_| vec![0u8; size].into_boxed_slice())
                .collect();
            let thousands = (pooled_bytes() - before) as f64 / size as f64 / 1000.0;
            let label = format!("thousands of blocks from pools for 10000 objects of {size} bytes");
            self.fact(&label, thousands.round())?;
            drop(blocks);
        }
        let stats = GLOBAL.stats();
        self.note("arenas of 1 MiB got from the system", stats.arenas_total)?;
        self.note("bytes from the system now", stats.mapped_bytes)
    }

    fn memory_grows(&mut self) -> fmt::Result {
        self.title("3.1 A new object takes memory: by its kind, and by what is in it")?;
        let large = "1".to_owned() + &"0".repeat(100);
        for text in ["0", "1", "1073741824", "1152921504606846976", &large] {
            let integer: Integer = text.parse().expect("digits");
            let shown = if text.len() > 99 { "10**100" } else { text };
            let size = self.python.int(integer).getsizeof();
            self.fact(&format!("getsizeof({shown})"), size)?;
        }
        let a = List::display(vec![]);
        let mut sizes = Vec::new();
        for n in 0..20 {
            a.append(self.python.int(n));
            sizes.push(Value::List(a.clone()).getsizeof());
        }
        self.fact("getsizeof after each append", format!("{sizes:?}"))
    }

    fn rebinding_and_changing(&mut self) -> fmt::Result {
        self.title("3.2 Assigning makes a name refer to another object; changing an object leaves it where it is")?;
        let mut x = self.ints(&[1, 2, 3]);
        let id1 = x.id();
        x = self.ints(&[4, 5]);
        let same = self.bool(id1 == x.id());
        self.fact("x = [4, 5]; id1 == id2", same)?;
        let list = List::display(vec![self.python.int(1), self.python.int(2)]);
        let id1 = Gc::id(&list);
        list.append(self.python.int(3));
        let same = self.bool(id1 == Gc::id(&list));
        self.fact("lst.append(3); id1 == id2", same)
    }

    fn memory_falls_at_count_zero(&mut self) -> fmt::Result {
        self.title("3.3 The last reference goes: the object is freed at once")?;
        let a = self.ints(&[1, 2, 3]);
        self.fact("a = [1, 2, 3]; such lists", self.lists_of_one_two_three())?;
        let b = a.clone();
        drop(a);
        self.fact("del a; getrefcount(b)", b.getrefcount())?;
        drop(b);
        self.fact("del b; such lists", self.lists_of_one_two_three())?;
        self.dead.set(0);
        let a = self.counted();
        let b = a.clone();
        drop(a);
        self.fact("del a; finalizers that ran", self.dead.get())?;
        drop(b);
        self.fact("del b; finalizers that ran", self.dead.get())
    }

    /// Lists among the collector's objects that are `[1, 2, 3]`.
    fn lists_of_one_two_three(&self) -> usize {
        let wanted = self.ints(&[1, 2, 3]);
        let id = wanted.id();
        let objects = gc::get_objects(None).expect("all generations exist");
        let lists = objects.into_iter().filter(|object| Gc::id(object) != id);
        let lists = lists.filter_map(|object| object.downcast::<List>().ok());
        lists
            .filter(|list| Value::List(list.clone()).equals(&wanted) == Ok(true))
            .count()
    }

    fn cycles(&mut self) -> fmt::Result {
        self.title(
            "3.4 Objects that refer to each other: counting cannot free them, the collector does",
        )?;
        let (other, me) = (self.python.intern("other"), self.python.intern("me"));
        gc::collect();
        gc::disable();
        self.dead.set(0);
        let (a, b) = (self.counted(), self.counted());
        a.set(&other, Value::Instance(b.clone()));
        b.set(&other, Value::Instance(a.clone()));
        drop((a, b));
        self.fact(
            "a cycle, no name left; finalizers that ran",
            self.dead.get(),
        )?;
        self.fact("gc.collect()", gc::collect())?;
        self.fact("finalizers that ran by then", self.dead.get())?;
        let a = List::display(vec![]);
        a.append(Value::List(a.clone()));
        drop(a);
        self.fact("a list in itself; gc.collect()", gc::collect())?;
        gc::enable();
        self.dead.set(0);
        for _ in 0..5000 {
            let a = self.counted();
            a.set(&me, Value::Instance(a.clone()));
        }
        let some = self.bool(self.dead.get() > 0);
        self.fact("5000 cycles; some were collected without a call", some)?;
        gc::collect();
        self.fact("after gc.collect(), all", self.dead.get())
    }

    fn counts_and_shared_ints(&mut self) -> fmt::Result {
        self.title("4 Example 1: getrefcount (one more, for its own argument)")?;
        let a = self.ints(&[1, 2, 3]);
        self.fact("a = [1, 2, 3]; getrefcount(a)", a.getrefcount())?;
        let b = a.clone();
        self.fact("b = a; getrefcount(a)", a.getrefcount())?;
        drop(b);
        self.fact("del b; getrefcount(a)", a.getrefcount())?;
        let count = |argument: Value| argument.getrefcount();
        self.fact("as a function's argument; getrefcount(a)", count(a.clone()))?;
        let holder = self.python.list(vec![a.clone(), a.clone()]);
        self.fact("twice in a list; getrefcount(a)", a.getrefcount())?;
        drop(holder);
        self.fact("del holder; getrefcount(a)", a.getrefcount())?;
        self.title("4 Example 2: small ints are shared")?;
        for n in [100, 1000] {
            let (a, b) = (self.python.int(n), self.python.int(n));
            let same = self.bool(a.id() == b.id());
            self.fact(&format!("a = {n}; b = {n}; id(a) == id(b)"), same)?;
        }
        let shared = |n: &i64| self.python.int(*n).is(&self.python.int(*n));
        let shared: Vec<_> = (-20..300).filter(shared).collect();
        self.fact(
            "shared ints",
            format!("[{}, {}]", shared[0], shared[shared.len() - 1]),
        )?;
        self.title("5 A freed place is the next one that is used")?;
        let id = Gc::id(&self.counted());
        let same = self.bool(Gc::id(&self.counted()) == id);
        self.fact("a freed place is used again at once", same)
    }

    fn tools(&mut self) -> fmt::Result {
        self.title("6 Tools: getsizeof, the gc module, the allocator's report")?;
        self.fact("gc.isenabled()", self.bool(gc::is_enabled()))?;
        gc::disable();
        self.fact("gc.disable(); gc.isenabled()", self.bool(gc::is_enabled()))?;
        gc::enable();
        self.fact("gc.get_threshold()", format!("{:?}", gc::get_threshold()))?;
        let python = &self.python;
        let text = Value::Str(python.intern("text"));
        let leaf = python.list(vec![python.int(1000)]);
        let holder = python.list(vec![leaf.clone(), text.clone()]);
        let other = Dict::new();
        Dict::insert(&other, text.clone(), leaf.clone()).expect("a text is a key");
        let referents = gc::get_referents(&[&holder.erased()]);
        let shown: Vec<_> = referents
            .into_iter()
            .map(|object| match object.downcast::<List>() {
                Ok(list) => Value::List(list).to_string(),
                Err(_) => text.to_string(),
            })
            .collect();
        let referrers = gc::get_referrers(&[&leaf.erased()]);
        let refers = |value: &Value| referrers.iter().any(|object| Gc::id(object) == value.id());
        let both = self.bool(refers(&holder) && refers(&Value::Dict(other.clone())));
        self.fact(
            "gc.get_referents(holder)",
            format!("[{}]", shown.join(", ")),
        )?;
        self.fact("holder and other refer to leaf", both)?;
        let tracked = [&leaf, &text].map(|value| self.bool(value.is_tracked()).to_string());
        let label = "gc.is_tracked(leaf), gc.is_tracked(texts)";
        self.fact(label, format!("({})", tracked.join(", ")))?;
        let collected: u64 = gc::get_stats().iter().map(|stats| stats.collected).sum();
        self.note("objects collected so far", collected)?;
        let mut report = String::new();
        GLOBAL.debug_malloc_stats(&mut report)?;
        for line in report
            .lines()
            .filter(|line| line.contains("bytes in allocated blocks"))
        {
            self.note("from the report", line)?;
        }
        Ok(())
    }

    fn traced_memory(&mut self) -> fmt::Result {
        self.title("6 tracemalloc: which lines made what lives")?;
        let before = tracemalloc::is_tracing();
        tracemalloc::start(1).expect("one frame is allowed");
        let first = tracemalloc::take_snapshot().expect("it is tracing");
        let blocks: Vec<_> = (0..100)
            .map(|_| vec![0u8; 10_000].into_boxed_slice())
            .collect();
        let while_tracing = tracemalloc::is_tracing();
        let second = tracemalloc::take_snapshot().expect("it is tracing");
        let (current, peak) = tracemalloc::get_traced_memory();
        drop(blocks);
        let third = tracemalloc::take_snapshot().expect("it is tracing");
        let key = tracemalloc::KeyType::Lineno;
        let made = second.compare_to(&first, key, false).expect("lines");
        let gone = third.compare_to(&second, key, false).expect("lines");
        tracemalloc::stop();
        let tracing = [before, while_tracing, tracemalloc::is_tracing()];
        let tracing = tracing.map(|tracing| self.bool(tracing).to_string());
        let tracing = format!("({})", tracing.join(", "));
        self.fact("is_tracing() before, while, after", tracing)?;
        let megabytes = |bytes: i64| format!("{:.1}", bytes as f64 / 1e6);
        let label = "100 of 10000 bytes; megabytes more from one line";
        self.fact(label, megabytes(made[0].size_diff))?;
        self.fact("the same, in blocks", made[0].count_diff / 100 * 100)?;
        self.fact(
            "deleted; megabytes more from one line",
            megabytes(gone[0].size_diff),
        )?;
        let grew = self.bool(current <= peak && current >= 1_000_000);
        self.fact(
            "get_traced_memory() had at least a megabyte, the peak more",
            grew,
        )?;
        let after = tracemalloc::get_traced_memory();
        self.fact("stop(); get_traced_memory()", format!("{after:?}"))?;
        self.note("the line, in tracemalloc's words", &made[0])
    }

    fn memory_profile(&mut self) -> fmt::Result {
        self.title("6 Memory profile: how much the process has, line by line")?;
        const BYTES: usize = 32 << 20;
        // What lies free goes back now, and not while this is measured.
        GLOBAL.collect();
        let region = Region::new();
        let start = resident_mib();
        let big = vec![1u8; BYTES];
        let with = resident_mib();
        drop(big);
        GLOBAL.collect();
        let without = resident_mib();
        self.fact("big = 32 MiB; MiB more", whole(with - start))?;
        self.fact(
            "del big; MiB more than at the start",
            whole(without - start),
        )?;
        let counts = region.counts();
        self.note("Region: allocated", format!("{:?}", counts.allocated))?;
        self.note("Region: live", format!("{:?}", counts.live))?;
        self.note("Region: at most, bytes", counts.peak_bytes)
    }

    fn object_graph(&mut self) -> fmt::Result {
        self.title("6 objgraph: who refers to whom")?;
        gc::collect();
        let mut peaks = objgraph::Growth::new();
        let is_counted = |object: &Gc<Erased>| object.downcast_ref::<Instance>().is_some();
        let counted = || objgraph::Census::new().filter(is_counted);
        peaks.update(&counted(), None);
        let leaked: Vec<_> = (0..3).map(|_| self.counted()).collect();
        let held = leaked.iter().cloned().map(Value::Instance);
        let names = Dict::new();
        let name = self.python.str("leaked");
        Dict::insert(&names, name, self.python.list(held.collect())).expect("a text is a key");
        let cache = self.python.list(vec![Value::Dict(names)]).erased();
        self.fact("count('D')", objgraph::count("D"))?;
        let mut growth = String::new();
        peaks.show(&counted(), None, &mut growth)?;
        self.fact("show_growth()", growth.trim_end())?;
        let last = Gc::erased(&leaked[2]);
        drop(leaked);
        let to_last = objgraph::find_backref_chain(&last, |object| Gc::is(object, &cache));
        self.fact("find_backref_chain(one, cache)", kinds(to_last))?;
        let to_one = objgraph::find_ref_chain(&cache, is_counted);
        self.fact("find_ref_chain(cache, one)", kinds(to_one))?;
        let again = objgraph::at(Gc::id(&last)).is_some_and(|found| Gc::is(&found, &last));
        self.fact("at(id(one)) is one", self.bool(again))?;
        drop(last);
        let drawing = objgraph::Graph::new()
            .refcounts()
            .refs(std::slice::from_ref(&cache));
        self.note("show_refs(cache), nodes", drawing.n_nodes)?;
        for line in drawing.dot.lines() {
            writeln!(self.out, "      {line}")?;
        }
        let retained = objgraph::Retained::compute(objgraph::Names::Short, &[]);
        let held = retained.of(&cache).unwrap_or(0);
        self.note("bytes that go with the cache", held)
    }

    fn life_of_an_object(&mut self) -> fmt::Result {
        self.title("7 Made, referred to, let go, freed: one object's life")?;
        self.dead.set(0);
        let a = self.counted();
        let mut counts = vec![Gc::getrefcount(&a)];
        let mut names = vec![a];
        for _ in 0..2 {
            names.push(names[0].clone());
            counts.push(Gc::getrefcount(&names[0]));
        }
        while let Some(name) = names.pop() {
            drop(name);
            counts.extend(names.first().map(Gc::getrefcount));
        }
        self.fact("getrefcount, name by name", format!("{counts:?}"))?;
        self.fact("no name left; finalizers that ran", self.dead.get())
    }

    fn advice(&mut self) -> fmt::Result {
        self.title("8 Fewer cycles, fewer copies")?;
        self.dead.set(0);
        let child_name = self.python.intern("child");
        let (parent, child) = (self.counted(), self.counted());
        parent.set(&child_name, Value::Instance(child.clone()));
        let back: RefCell<Weak<Instance>> = RefCell::new(Weak::from(&parent));
        drop((parent, child));
        self.note("the weak reference back is alive", back.borrow().is_alive())?;
        self.fact(
            "a weak reference back; finalizers that ran",
            self.dead.get(),
        )?;
        self.fact("nothing for gc.collect()", gc::collect())?;
        let sum: i64 = (0..1000).sum();
        self.fact("sum(n for n in range(1000)), no list made", sum)?;
        let big = List::from_sized((0..1000i64).map(|n| self.python.int(n)).collect::<Vec<_>>());
        let copy = self.python.list(big.to_vec());
        self.fact("getsizeof(list(range(1000)))", Value::List(big).getsizeof())?;
        self.fact("a copy is another object of", copy.getsizeof())
    }
}

/// MiB of memory the process has.
fn resident_mib() -> f64 {
    observe::resident_bytes().expect("/proc says so") as f64 / f64::from(1 << 20)
}

/// Rounded to multiples of what is made: other memory comes and goes, too, and the kernel's count of resident pages is
/// some huge pages too high at times.
fn whole(mib: f64) -> i64 {
    (mib / 32.0).round() as i64 * 32
}

/// Names of the objects' types.
fn kinds(chain: Vec<Gc<Erased>>) -> String {
    let names = chain.iter().map(|object| objgraph::Names::Short.of(object));
    names.collect::<Vec<_>>().join(" -> ")
}

/// Bytes of blocks of at most 512 bytes that are out of their pools.
fn pooled_bytes() -> u64 {
    let classes = GLOBAL.stats().classes;
    let small = classes.iter().filter(|class| class.block_bytes <= 512);
    small
        .map(|class| class.block_bytes as u64 * class.in_use)
        .sum()
}
