//! Dictionaries and sets: order, size and answers after random operations.

use crate::cpython::{Random, compare};
use pymalloc::python::{Dict, Integer, KindError, List, Python, Set, Value};

/// A random key, and how Python writes it. Numbers of all kinds are equal when their values are.
fn key(python: &Python, random: &mut Random, with_texts: bool) -> (Value, String) {
    let n = random.below(60) as i64 - 10;
    let value = match random.below(if with_texts { 9 } else { 7 }) {
        0..3 => python.int(n),
        3 => python.int(&Integer::from(n) * &Integer::from(1i64 << 58)),
        4 => python.float(n as f64),
        5 => python.float(n as f64 / 8.0),
        6 => python.tuple(vec![python.int(n), python.tuple(vec![python.int(n / 3)])]),
        _ => python.str(&format!("k{n}")),
    };
    let text = value.to_string();
    (value, text)
}

#[test]
fn a_dict_has_the_order_size_and_answers_of_cpython() {
    for seed in 1..=4 {
        let python = Python::new();
        let (mut random, dict) = (Random(seed), Dict::new());
        let (mut program, mut ours) = (String::from("d = {}\n"), Vec::new());
        for _ in 0..1500 {
            let (key, text) = key(&python, &mut random, true);
            match random.below(40) {
                0 => {
                    dict.clear();
                    program.push_str("d.clear()\n");
                }
                1..12 => {
                    let removed = dict.remove(&key).unwrap().unwrap_or(python.none());
                    program.push_str(&format!("print(d.pop({text}, None))\n"));
                    ours.push(removed.to_string());
                }
                12..18 => {
                    let found = dict.get(&key).unwrap().unwrap_or(python.none());
                    program.push_str(&format!("print(d.get({text}))\n"));
                    ours.push(found.to_string());
                }
                n => {
                    Dict::insert(&dict, key, python.int(n as i64)).unwrap();
                    program.push_str(&format!("d[{text}] = {n}\n"));
                }
            }
            program.push_str("print(size(d), d)\n");
            let value = Value::Dict(dict.clone());
            ours.push(format!("{} {value}", value.getsizeof()));
        }
        compare(&program, &ours);
    }
}

#[test]
fn a_set_has_the_order_size_and_answers_of_cpython() {
    for seed in 1..=4 {
        let python = Python::new();
        let (mut random, set) = (Random(seed), Set::new());
        let (mut program, mut ours) = (String::from("s = set()\n"), Vec::new());
        for _ in 0..1500 {
            let (key, text) = key(&python, &mut random, false);
            match random.below(60) {
                0 => {
                    set.clear();
                    program.push_str("s.clear()\n");
                }
                1..20 => {
                    set.discard(&key).unwrap();
                    program.push_str(&format!("s.discard({text})\n"));
                }
                20..25 => {
                    let found = set.contains(&key).unwrap();
                    program.push_str(&format!("print({text} in s)\n"));
                    ours.push(python.bool(found).to_string());
                }
                _ => {
                    set.insert(key).unwrap();
                    program.push_str(&format!("s.add({text})\n"));
                }
            }
            program.push_str("print(size(s), s)\n");
            let value = Value::Set(set.clone());
            ours.push(format!("{} {value}", value.getsizeof()));
        }
        compare(&program, &ours);
    }
}

#[test]
fn a_large_set_grows_and_is_ordered_as_in_cpython() {
    let (python, set) = (Python::new(), Set::new());
    let mut ours = Vec::new();
    for n in 0..60_000u64 {
        let number = n.wrapping_mul(2_654_435_761) % 1_000_003;
        set.insert(python.int(number as i64)).unwrap();
        if n % 500 == 0 {
            ours.push(Value::Set(set.clone()).getsizeof().to_string());
        }
    }
    ours.push(Value::Set(set).to_string());
    compare(
        "s = set()\nfor n in range(60000):\n s.add(n * 2654435761 % 1000003)\n if n % 500 == 0: print(size(s))\n\
         print(s)\n",
        &ours,
    );
}

#[test]
fn what_may_change_is_no_key() {
    let python = Python::new();
    let list = python.list(vec![]);
    for (value, text) in [
        (list.clone(), "unhashable type: 'list'"),
        (python.dict(), "unhashable type: 'dict'"),
        (python.set(), "unhashable type: 'set'"),
        (python.tuple(vec![list]), "unhashable type: 'list'"),
    ] {
        let (dict, set) = (Dict::new(), Set::new());
        let errors = [
            Dict::insert(&dict, value.clone(), python.none()).unwrap_err(),
            set.insert(value.clone()).unwrap_err(),
            set.contains(&value).unwrap_err(),
            set.discard(&value).unwrap_err(),
            dict.get(&value).map(drop).unwrap_err(),
            dict.remove(&value).map(drop).unwrap_err(),
        ];
        assert!(
            errors.iter().all(|error| error.to_string() == text),
            "{errors:?}"
        );
        assert!(dict.is_empty() && set.is_empty());
    }
}

#[test]
fn nesting_ends_in_an_error_and_not_in_the_stack() {
    let python = Python::new();
    let nest = || {
        let mut tuple = python.tuple(vec![]);
        let mut list = python.list(vec![]);
        for _ in 0..100_000 {
            tuple = python.tuple(vec![tuple]);
            list = python.list(vec![list]);
        }
        (tuple, list)
    };
    let ((a, b), (c, d)) = (nest(), nest());
    assert_eq!(a.hash(), Err(KindError::TooDeep));
    assert_eq!(a.equals(&c), Err(KindError::TooDeep));
    assert_eq!(b.equals(&d), Err(KindError::TooDeep));
    assert!(b.to_string().contains("[...]"));
    let me = List::display(vec![]);
    me.append(Value::List(me.clone()));
    assert_eq!(Value::List(me.clone()).to_string(), "[[...]]");
    me.clear();
}
