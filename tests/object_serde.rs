//! Handles and Python's values are written and read by serde, as their values.

use pymalloc::object::{Gc, Slot};
use pymalloc::python::{Dict, List, Python, Value};
use pymalloc::{gc, impl_trace};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Node {
    name: String,
    next: Slot<Node>,
    others: Vec<Gc<u32>>,
    row: Gc<[u8]>,
}
impl_trace!(struct Node { name, next, others, row });

fn node(name: &str, next: Option<Gc<Node>>) -> Gc<Node> {
    Gc::new(Node {
        name: name.into(),
        next: next.into(),
        others: vec![Gc::new(1), Gc::new(2)],
        row: vec![7, 8].into(),
    })
}

#[test]
fn a_handle_is_written_as_its_value_and_read_as_a_new_object() {
    let list = node("a", Some(node("b", None)));
    let text = serde_json::to_string(&list).unwrap();
    assert_eq!(
        text,
        r#"{"name":"a","next":{"name":"b","next":null,"others":[1,2],"row":[7,8]},"others":[1,2],"row":[7,8]}"#
    );
    let read: Gc<Node> = serde_json::from_str(&text).unwrap();
    assert!(!Gc::is(&read, &list));
    assert_eq!(read.next.get().unwrap().name, "b");
    assert_eq!(serde_json::to_string(&read).unwrap(), text);
    assert!(Gc::is_tracked(&read));
}

#[test]
fn an_object_may_be_written_twice_but_not_inside_itself() {
    let shared = Gc::new(5_u32);
    let pair = [shared.clone(), shared];
    assert_eq!(serde_json::to_string(&pair).unwrap(), "[5,5]");
    let ring = node("a", None);
    ring.next.set(Some(node("b", Some(ring.clone()))));
    let error = serde_json::to_string(&ring).unwrap_err();
    assert_eq!(
        error.to_string(),
        "an object that leads to itself cannot be written"
    );
    // And written once more after it is broken.
    ring.next.take();
    assert!(serde_json::to_string(&ring).is_ok());
    gc::collect();
}

#[test]
fn what_is_no_value_is_an_error() {
    assert!(serde_json::from_str::<Gc<Node>>(r#"{"name":1}"#).is_err());
    assert!(serde_json::from_str::<Gc<[u8]>>("[300]").is_err());
}

#[test]
fn pythons_values_are_written_as_json_dumps_writes_them() {
    let python = Python::new();
    let Value::Dict(dict) = python.dict() else {
        unreachable!("made as one");
    };
    let big = "1180591620717411303424"
        .parse::<pymalloc::python::Integer>()
        .unwrap();
    let items = vec![
        python.none(),
        python.bool(true),
        python.int(-3),
        python.int(big),
        python.float(1.5),
        python.tuple(vec![python.str("é"), python.list(vec![])]),
    ];
    Dict::insert(&dict, python.str("row"), python.list(items)).unwrap();
    Dict::insert(&dict, python.str("none"), python.dict()).unwrap();
    assert_eq!(
        serde_json::to_string(&Value::Dict(dict)).unwrap(),
        r#"{"row":[null,true,-3,"1180591620717411303424",1.5,["é",[]]],"none":{}}"#
    );
}

#[test]
fn a_list_in_itself_is_an_error_as_in_python() {
    let python = Python::new();
    let list = List::display(vec![]);
    list.append(Value::List(list.clone()));
    assert!(serde_json::to_string(&Value::List(list.clone())).is_err());
    list.clear();
    assert_eq!(serde_json::to_string(&Value::List(list)).unwrap(), "[]");
    drop(python);
}
