//! What the graph says of types of Rust.

use pymalloc::impl_trace;
use pymalloc::object::{Erased, Finalize, Gc, Slot};
use pymalloc::observe::objgraph::{self, Census, Graph, Label, Names, View, describe, show_refs};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

struct Item {
    name: &'static str,
}
impl_trace!(leaf Item);

struct Place {
    here: Gc<Item>,
}
impl_trace!(struct Place { here });

struct Pair<A, B>(A, B);
impl_trace!(struct Pair<A, B>(left, right));

enum Shape {
    Empty,
    Fork { up: Gc<Item>, down: Gc<Item> },
}
impl_trace!(enum Shape { Empty, Fork { up, down } });

struct Shop {
    name: String,
    best: Gc<Item>,
    place: RefCell<Place>,
    all: RefCell<Vec<Gc<Item>>>,
    pair: Pair<Option<Gc<Item>>, u8>,
    shape: Shape,
}
impl_trace!(struct Shop { name, best, place, all, pair, shape });

/// Labels of the edges from an object, in the order they are drawn.
fn labels(object: &Gc<Erased>) -> Vec<String> {
    let drawing = show_refs(std::slice::from_ref(object));
    let edges = drawing.dot.lines().filter(|line| line.contains(" -> "));
    edges
        .map(|edge| {
            edge.split_once(" [")
                .map_or("", |(_, label)| label)
                .to_owned()
        })
        .collect()
}

#[test]
fn edges_are_labelled_with_the_fields_that_lead_to_the_object() {
    let item = || Gc::new(Item { name: "x" });
    let shop = Gc::new(Shop {
        name: "a".into(),
        best: item(),
        place: RefCell::new(Place { here: item() }),
        all: RefCell::new(vec![item(), item()]),
        pair: Pair(Some(item()), 1),
        shape: Shape::Fork {
            up: item(),
            down: item(),
        },
    });
    let fields = [
        "best",
        "place.here",
        "all",
        "all",
        "pair.left",
        "shape.up",
        "shape.down",
    ];
    let wanted = fields.map(|field| format!("label=\"{field}\",weight=2];"));
    assert_eq!(labels(&Gc::erased(&shop)), wanted);
    let empty = Gc::new(Pair(Shape::Empty, ()));
    assert_eq!(labels(&Gc::erase(empty)), [""; 0]);
    assert_eq!((shop.name.as_str(), shop.pair.1), ("a", 1));
}

#[test]
fn a_handle_in_two_fields_has_the_label_of_the_first() {
    let item = Gc::new(Item { name: "x" });
    let pair = Gc::new(Pair(item.clone(), item));
    let label = "label=\"left\",weight=2];";
    assert_eq!(labels(&Gc::erase(pair)), [label, label]);
}

#[test]
fn a_node_shows_type_and_identity_until_the_type_is_described() {
    let item = Gc::new(Item { name: "bread" });
    let roots = [Gc::erased(&item)];
    let id = Gc::id(&item);
    let node = |label: &str| format!("  o{id}[label=\"{label}\"];\n");
    let plain = node(&format!("Item\\n<Item object at {id:#x}>"));
    assert!(show_refs(&roots).dot.contains(&plain));
    let long = node(&format!(
        "{}\\n<Item object at {id:#x}>",
        std::any::type_name::<Item>()
    ));
    assert!(Graph::new().long_names().refs(&roots).dot.contains(&long));
    let view = View::<Item>::new().name("goods::Item");
    describe(view.repr(|item, out| write!(out, "{}", item.name)));
    assert!(show_refs(&roots).dot.contains(&node("Item\\nbread")));
    assert!(
        Graph::new()
            .long_names()
            .refs(&roots)
            .dot
            .contains(&node("goods::Item\\nbread"))
    );
    assert_eq!(Census::of(&roots).count("goods::Item"), 1);
    assert_eq!(Names::Long.of(&roots[0]), "goods::Item");
    // Of another thread's heap it says nothing.
    std::thread::spawn(|| {
        let item = Gc::erase(Gc::new(Item { name: "bread" }));
        assert_eq!(Names::Short.of(&item), "Item");
        assert!(!show_refs(&[item]).dot.contains("bread"));
    })
    .join()
    .unwrap();
}

#[derive(Debug)]
struct Point {
    #[allow(dead_code, reason = "shown by its Debug text")]
    x: u8,
}
impl_trace!(leaf Point);

#[test]
fn a_node_may_show_the_debug_text() {
    describe(View::<Point>::new().debug());
    let point = Gc::erase(Gc::new(Point { x: 7 }));
    assert!(show_refs(&[point]).dot.contains("Point\\nPoint { x: 7 }"));
}

#[test]
fn a_view_may_say_what_edges_are_called() {
    let item = Gc::new(Item { name: "x" });
    let place = Gc::erase(Gc::new(Place { here: item }));
    for (label, text) in [
        (
            Some(Label::attribute("own \"one\"")),
            "label=\"own \\\"one\\\"\",weight=10];",
        ),
        (Some(Label::name("one")), "label=\"one\",weight=2];"),
        (Some(Label::text("int\n1")), "label=\"int\\n1\"];"),
        (None, ""),
    ] {
        describe(View::<Place>::new().label(move |_, _| label.clone()));
        assert_eq!(labels(&place), [text]);
    }
}

struct Closing(Gc<Item>);
impl_trace!(struct Closing(item): finalize);

impl Finalize for Closing {
    fn finalize(this: &Gc<Self>) {
        assert_eq!(this.0.name, "x");
    }
}

#[test]
fn types_with_a_finalizer_have_the_red_circle() {
    let closing = Gc::erase(Gc::new(Closing(Gc::new(Item { name: "x" }))));
    let id = Gc::id(&closing);
    let dot = show_refs(&[closing]).dot;
    let circle = format!(
        "  o{id}->o{id}_has_a_del[color=red,style=dotted,len=0.25,weight=10];\n  \
         o{id}_has_a_del[label=\"__del__\",shape=doublecircle,height=0.25,color=red,\
         fillcolor=\"0,.5,1\",fontsize=6];\n"
    );
    assert!(dot.contains(&circle), "{dot}");
    assert_eq!(dot.matches("has_a_del").count(), 2, "the item has none");
}

#[test]
fn types_of_one_short_name_are_counted_together() {
    mod_a::keep(|a| {
        mod_b::keep(|b| {
            let objects = [a, b];
            assert_eq!(Census::of(&objects).count("Twin"), 2);
            let [one, two] = ["mod_a", "mod_b"].map(|name| {
                let long = Names::Long.of(&objects[usize::from(name == "mod_b")]);
                assert!(long.ends_with(&format!("::{name}::Twin")), "{long}");
                Census::of(&objects).count(&long)
            });
            assert_eq!((one, two), (1, 1));
        });
    });
}

macro_rules! twin {
    ($name:ident) => {
        mod $name {
            use pymalloc::object::{Erased, Gc};
            struct Twin;
            pymalloc::impl_trace!(leaf Twin);
            pub fn keep(f: impl FnOnce(Gc<Erased>)) {
                f(Gc::erase(Gc::new(Twin)));
            }
        }
    };
}
twin!(mod_a);
twin!(mod_b);

struct Node {
    next: Slot<Node>,
}
impl_trace!(struct Node { next });

#[test]
fn user_code_may_collect_and_make_objects() {
    let node = || {
        Gc::new(Node {
            next: Slot::empty(),
        })
    };
    let first = node();
    first.next.set(Some(node()));
    let first = Gc::erase(first);
    let made = Rc::new(Cell::new(0));
    let busy = |_: &Gc<Erased>| {
        drop(node());
        pymalloc::gc::collect();
        made.set(made.get() + 1);
        true
    };
    assert_eq!(Census::new().filter(busy).count("Node"), 2);
    let graph = Graph::new().filter(busy).highlight(busy).cull(|o| !busy(o));
    assert_eq!(graph.refs(std::slice::from_ref(&first)).n_nodes, 2);
    let chain = objgraph::find_ref_chain(&first, |o| busy(o) && !Gc::is(o, &first));
    assert_eq!(chain.len(), 2);
    assert!(made.get() > 7);
}

#[test]
fn views_die_with_the_threads_heap() {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        struct Says(std::sync::mpsc::Sender<&'static str>);
        impl Drop for Says {
            fn drop(&mut self) {
                self.0.send("dropped").unwrap();
            }
        }
        // The view holds an object of the heap, which would else keep both.
        let (says, item) = (Says(sender), Gc::new(Item { name: "x" }));
        describe(View::<Item>::new().repr(move |_, out| {
            let _ = &says;
            out.write_str(item.name)
        }));
    })
    .join()
    .unwrap();
    assert_eq!(receiver.recv(), Ok("dropped"));
}
