//! `sys.getsizeof`.

use crate::cpython::{Random, compare};
use pymalloc::python::{Class, Dict, Instance, Integer, List, Python, Set, Value};

#[test]
fn sizes_are_those_measured_on_3_11() {
    let python = Python::new();
    let integer = |text: &str| python.int(text.parse::<Integer>().unwrap());
    let numbers = |n: i64| (0..n).map(|n| python.int(n)).collect::<Vec<_>>();
    let dict = |key: Value| {
        let dict = Dict::new();
        Dict::insert(&dict, key, python.int(1)).unwrap();
        Value::Dict(dict)
    };
    let set = |n| {
        let set = Set::new();
        for key in numbers(n) {
            set.insert(key).unwrap();
        }
        Value::Set(set)
    };
    let known = [
        (python.none(), 16),
        (python.bool(true), 28),
        (python.bool(false), 28),
        (python.int(0), 28),
        (python.int(-1), 28),
        (python.int((1i64 << 30) - 1), 28),
        (python.int(1i64 << 30), 32),
        (python.int((1i64 << 60) - 1), 32),
        (python.int(1i64 << 60), 36),
        (integer("1237940039285380274899124224"), 40), // 2^90
        (integer(&format!("1{}", "0".repeat(100))), 72),
        (python.float(1.0), 24),
        (python.bytes(b""), 33),
        (python.bytes(b"a"), 34),
        (python.bytes(b"abc"), 36),
        (python.str(""), 49),
        (python.str("a"), 50),
        (python.str("abc"), 52),
        (python.str("é"), 74),
        (python.str("éa"), 75),
        (python.str(&"é".repeat(10)), 83),
        (python.str("\u{100}"), 76),
        (python.str(&"\u{100}".repeat(10)), 94),
        (python.str("\u{10000}"), 80),
        (python.str(&"\u{10000}".repeat(10)), 116),
        (python.tuple(vec![]), 40),
        (python.tuple(numbers(1)), 48),
        (python.tuple(numbers(3)), 64),
        (python.tuple(numbers(10)), 120),
        (python.list(vec![]), 56),
        (python.list(numbers(1)), 64),
        (python.list(numbers(2)), 72),
        (Value::List(List::from_sized(numbers(3))), 88),
        (Value::List(List::from_sized(numbers(10))), 136),
        (python.dict(), 64),
        (dict(python.str("a")), 184),
        (dict(python.int(1)), 224),
        (python.set(), 216),
        (set(5), 728),
        (set(100), 8408),
        (python.instance(&Class::new("A")), 56),
    ];
    for (value, bytes) in known {
        assert_eq!(value.getsizeof(), bytes, "{value}");
    }
}

#[test]
fn a_list_has_room_as_in_cpython_after_every_operation() {
    let python = Python::new();
    let (mut program, mut ours) = (String::from("l = []\n"), Vec::new());
    let (mut random, list) = (Random(11), List::display(vec![]));
    let mut room = |program: &mut String, list: &List| {
        program.push_str("print(len(l), (size(l) - 56) // 8)\n");
        ours.push(format!("{} {}", list.len(), list.allocated()));
    };
    for step in 0..3000 {
        let n = random.below(40);
        let ints = || (0..n).map(|n| python.int(n as i64)).collect::<Vec<_>>();
        match random.below(if step % 500 < 250 { 14 } else { 20 }) {
            0..7 => {
                program.push_str("l.append(0)\n");
                list.append(python.int(0));
            }
            7..9 => {
                program.push_str(&format!("l.insert({n}, 0)\n"));
                list.insert(n as usize, python.int(0));
            }
            9..11 => {
                program.push_str(&format!("l.extend(tuple(range({n})))\n"));
                list.extend(ints());
            }
            11 => {
                program.push_str(&format!("del l[{n}:{}]\n", n + n / 2));
                list.delete(n as usize, (n + n / 2) as usize);
            }
            12 if step % 7 == 0 => {
                program.push_str("l.clear()\n");
                list.clear();
            }
            _ => {
                program.push_str("if l: l.pop()\n");
                list.pop();
            }
        }
        room(&mut program, &list);
    }
    for n in 0..40i64 {
        let ints = || (0..n).map(|n| python.int(n)).collect::<Vec<_>>();
        let makers: [(&str, _); 3] = [
            (
                &format!("l = list(tuple(range({n})))\n"),
                List::from_sized(ints()),
            ),
            (
                &format!("l = list(i for i in range({n}))\n"),
                List::from_unsized(ints()),
            ),
            (&format!("l = [0] * {n}\n"), List::display(ints())),
        ];
        for (statement, list) in makers {
            program.push_str(statement);
            room(&mut program, &list);
        }
    }
    compare(&program, &ours);
}

#[test]
fn a_dict_grows_at_the_sizes_of_cpython() {
    let python = Python::new();
    let (of_ints, of_texts, mixed) = (Dict::new(), Dict::new(), Dict::new());
    let mut ours = Vec::new();
    for n in 0..3000i64 {
        let text = python.str(&format!("k{n}"));
        Dict::insert(&of_ints, python.int(n), python.none()).unwrap();
        Dict::insert(&of_texts, text.clone(), python.none()).unwrap();
        // Texts only at first; a number makes the table wider.
        let key = if n % 1000 == 5 { python.int(n) } else { text };
        if n % 1000 == 0 {
            mixed.clear();
        }
        Dict::insert(&mixed, key, python.none()).unwrap();
        let size = |dict: &_| Value::Dict(Clone::clone(dict)).getsizeof();
        ours.push(format!(
            "{} {} {}",
            size(&of_ints),
            size(&of_texts),
            size(&mixed)
        ));
    }
    compare(
        "a, b, c = {}, {}, {}\nfor n in range(3000):\n a[n] = b[f'k{n}'] = None\n if n % 1000 == 0: c.clear()\n \
         c[n if n % 1000 == 5 else f'k{n}'] = None\n print(size(a), size(b), size(c))\n",
        &ours,
    );
}

/// A table that is full of holes is made again for the pairs that are left: 16 places from one pair on, not the
/// 8 that "at least three places a pair" would give one or two of them, and 8 for none.
#[test]
fn a_rebuild_for_one_or_two_pairs_has_sixteen_places() {
    let python = Python::new();
    let mut ours = Vec::new();
    for left in 0..5 {
        let dict = Dict::new();
        for n in 0..5 {
            Dict::insert(&dict, python.int(n), python.none()).unwrap();
        }
        for n in 0..5 - left {
            dict.remove(&python.int(n)).unwrap();
        }
        Dict::insert(&dict, python.int(99), python.none()).unwrap();
        ours.push(Value::Dict(dict).getsizeof().to_string());
    }
    assert_eq!(ours, ["224", "352", "352", "352", "352"]);
    compare(
        "for left in range(5):\n d = dict.fromkeys(range(5))\n for n in range(5 - left): del d[n]\n d[99] = None\n \
         print(size(d))\n",
        &ours,
    );
}

#[test]
fn texts_ints_and_tuples_have_the_sizes_of_cpython() {
    let python = Python::new();
    let mut ours = Vec::new();
    let mut power = Integer::from(1);
    for n in 0..300usize {
        let negative = python.int(-&power);
        let texts = ["a", "é", "Ā", "𐀀"].map(|c| python.str(&c.repeat(n)).getsizeof());
        let bytes = python.bytes(&vec![b'x'; n]).getsizeof();
        let tuple = python.tuple(vec![python.none(); n]).getsizeof();
        let int = python.int(power.clone()).getsizeof();
        ours.push(format!(
            "{int} {} {texts:?} {bytes} {tuple}",
            negative.getsizeof()
        ));
        power = &power * &Integer::from(2);
    }
    compare(
        "for n in range(300):\n print(size(1 << n), size(-(1 << n)), [size(c * n) for c in 'aéĀ𐀀'], \
         size(b'x' * n), size((None,) * n))\n",
        &ours,
    );
}

#[test]
fn an_instance_does_not_count_its_attributes() {
    let python = Python::new();
    let instance = Instance::new(&Class::new("A"));
    let mut ours = Vec::new();
    for n in 0..40i64 {
        instance.set(&python.intern(&format!("a{n}")), python.int(n));
        ours.push(Value::Instance(instance.clone()).getsizeof().to_string());
    }
    compare(
        "class A: pass\na = A()\nfor n in range(40):\n setattr(a, f'a{n}', n)\n print(size(a))\n",
        &ours,
    );
}
