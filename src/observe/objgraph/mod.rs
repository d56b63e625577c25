//! The graph of objects, as `objgraph` shows it for Python: how many there are of which type, what is new, who
//! refers to whom, drawn; and how much of the heap each object holds.
//!
//! ```
//! use pymalloc::{impl_trace, object::{Gc, Slot}, observe::objgraph};
//! struct Session { user: String, last: Slot<Session> }
//! impl_trace!(struct Session { user, last });
//!
//! let first = Gc::new(Session { user: "ada".into(), last: Slot::empty() });
//! let second = Gc::new(Session { user: "bob".into(), last: Slot::new(first) });
//! assert_eq!(objgraph::count("Session"), 2);
//!
//! // What keeps the first one alive?
//! let lost = objgraph::by_type("Session").into_iter().find(|object| {
//!     object.downcast_ref::<Session>().is_some_and(|session| session.user == "ada")
//! });
//! let chain = objgraph::find_root_chain(&lost.expect("it lives"));
//! assert!(Gc::is(&chain[0], &second)); // `second`, which this function holds
//!
//! let drawing = objgraph::show_refs(&[Gc::erased(&second)]);
//! assert!(drawing.dot.contains("label=\"last\""));
//! // drawing.save("sessions.svg")? lets Graphviz make a picture of it.
//! # second.last.take();
//! ```
//!
//! | file | what |
//! |---|---|
//! | `names`, `view`, `python` | what objects are called, what is written into nodes and at edges |
//! | `census`, `growth` | counting; what came since the last time |
//! | `search` | chains of references, objects by identity |
//! | `graph`, `present` | drawing; files and pictures |
//! | `links`, `retained` | the whole heap by number; roots, dominators, retained bytes |
//!
//! Functions have objgraph's names and defaults; what is optional there is a method here:
//!
//! | objgraph | here |
//! |---|---|
//! | `count`, `by_type`, `typestats`, `most_common_types`, `get_leaking_objects` with `objects`, `filter`, `shortnames` | [`Census::of`], [`Census::filter`], [`Census::long_names`] |
//! | `growth(peak_stats=…)` | a [`Growth`] of one's own |
//! | `get_new_ids(skip_update=True)`, `shortnames` | [`last_new_ids`]; a [`NewIds`] of one's own |
//! | `find_ref_chain`, `find_backref_chain` with `max_depth`, `extra_ignore` | [`Search`] |
//! | `show_refs`, `show_backrefs`, `show_chain` with `max_depth`, `too_many`, `filter`, `highlight`, … | [`Graph`] |
//! | `show_chain(backrefs=False)` | [`Graph::chain_forwards`] |
//! | `filename=` | [`Drawing::save`]; without one, [`Drawing::view`] |
//! | `output=` | [`Drawing::dot`] |
//! | `__repr__` of a class | [`View::repr`], given to [`describe`] |
//! | `is_proper_module` | [`is_module`]; [`Roots`] for what the program holds |
//!
//! All of them are about the calling thread's heap, and those that look at
//! "all objects" see what the collector tracks: no texts, numbers and other leaves, except where those are
//! reached by a reference. Texts and graphs are those of objgraph 3.7 on CPython 3.11, to the byte. What
//! differs, and why:
//!
//! * Types of Rust have no `repr`: nodes say `<Node object at 0x…>` until [`describe`] tells more. Edges from
//!   them are labelled with the names of fields that [`impl_trace!`](crate::impl_trace) knows, like attributes.
//! * A file name *and* an output cannot be given, so that mistake needs no error: drawing gives a [`Drawing`],
//!   which has the text and can be saved.
//! * Nothing is printed; [`Saved`] has the lines as its `Display` text.
//! * Reference counts at nodes are true. objgraph takes its own four references off, which since CPython 3.11 are
//!   three, and so says one too few there.
//! * Where the order of objects matters it is that of addresses, as everywhere in [`gc`]: equal counts
//!   may come in another order than in CPython, and so may those who refer to an object.
//! * No module keeps everything alive here: [`Roots`] are what the program holds, and [`View::module`] makes
//!   roots of a program's own.

mod census;
mod graph;
mod growth;
mod links;
mod names;
mod present;
mod python;
mod retained;
mod search;
mod view;

pub use census::Census;
pub use graph::Graph;
pub use growth::{Grown, Growth, Ids, NewIds, NewIdsRow, SortBy};
pub use names::Names;
pub use present::{Drawing, Picture, Saved};
pub use retained::{Holding, Retained, Roots};
pub use search::{Search, at, at_addrs};
pub use view::{Label, View};

use crate::gc;
use crate::object::{Erased, Gc, Trace};
use core::any::TypeId;
use core::cell::RefCell;
use core::fmt::{self, Write};
use std::collections::HashMap;
use std::rc::Rc;

/// A question about objects.
type Predicate<'a> = Box<dyn Fn(&Gc<Erased>) -> bool + 'a>;

/// What is kept about the thread's heap between calls.
#[derive(Default)]
struct State {
    views: RefCell<HashMap<TypeId, Rc<dyn view::AnyView>>>,
    growth: RefCell<Growth>,
    new_ids: RefCell<NewIds>,
}

/// Says how objects with a value of type T are shown, in the thread's heap, from now on.
///
/// ```
/// use pymalloc::{impl_trace, object::Gc, observe::objgraph::{self, View}};
/// struct Point { x: f32, y: f32 }
/// impl_trace!(leaf Point);
///
/// objgraph::describe(View::<Point>::new().repr(|point, out| write!(out, "{} | {}", point.x, point.y)));
/// let drawing = objgraph::show_refs(&[Gc::erase(Gc::new(Point { x: 1.5, y: 2.0 }))]);
/// assert!(drawing.dot.contains(r#"[label="Point\n1.5 | 2"]"#));
/// ```
pub fn describe<T: Trace>(view: View<T>) {
    view::set(view);
}

/// How many tracked objects have a type of this name: [`Census::count`] of all.
pub fn count(type_name: &str) -> usize {
    Census::new().count(type_name)
}

/// How many tracked objects there are of each type: [`Census::typestats`] of all.
pub fn typestats() -> HashMap<String, usize> {
    Census::new().typestats()
}

/// The types with the most objects: [`Census::most_common_types`] of all, by default of `Some(10)`.
pub fn most_common_types(limit: Option<usize>) -> Vec<(String, usize)> {
    Census::new().most_common_types(limit)
}

/// Writes the types with the most objects as a table: [`Census::show_most_common_types`] of all.
///
/// # Errors
/// Those of `out`.
pub fn show_most_common_types(limit: Option<usize>, out: &mut dyn Write) -> fmt::Result {
    Census::new().show_most_common_types(limit, out)
}

/// The types with more objects than at any earlier call of this function or [`show_growth`] in this thread:
/// [`Growth::update`].
pub fn growth(limit: Option<usize>) -> Vec<Grown> {
    let state = gc::notes::<State>();
    let mut growth = state.growth.take();
    let grown = growth.update(&Census::new(), limit);
    state.growth.replace(growth);
    grown
}

/// Writes [`growth`] as a table; nothing if nothing grew.
///
/// # Errors
/// Those of `out`.
pub fn show_growth(limit: Option<usize>, out: &mut dyn Write) -> fmt::Result {
    growth::write_table(&growth(limit), out)
}

/// Writes a table of the types whose objects changed in number, and returns the identities of the objects that
/// were not there at the last call in this thread. The table has at most `limit` rows; none for 0. See [`NewIds`].
///
/// # Errors
/// Those of `out`.
pub fn get_new_ids(
    limit: Option<usize>,
    sort_by: SortBy,
    out: &mut dyn Write,
) -> Result<Ids, fmt::Error> {
    let state = gc::notes::<State>();
    let mut new_ids = state.new_ids.take();
    new_ids.update();
    let written = new_ids.show(limit, sort_by, out);
    let ids = new_ids.last().clone();
    state.new_ids.replace(new_ids);
    written.map(|()| ids)
}

/// What the last call of [`get_new_ids`] in this thread returned, without looking again.
pub fn last_new_ids() -> Ids {
    gc::notes::<State>().new_ids.borrow().last().clone()
}

/// Collects, and returns the tracked objects that no tracked object refers to: [`Census::leaking`] of all.
pub fn get_leaking_objects() -> Vec<Gc<Erased>> {
    Census::new().leaking()
}

/// The tracked objects with a type of this name: [`Census::by_type`] of all.
pub fn by_type(type_name: &str) -> Vec<Gc<Erased>> {
    Census::new().by_type(type_name)
}

/// A shortest chain of references from `object` to what `predicate` accepts; `[object]` if there is none of at
/// most 20 references. [`Search`] has the limits.
pub fn find_ref_chain(
    object: &Gc<Erased>,
    predicate: impl Fn(&Gc<Erased>) -> bool,
) -> Vec<Gc<Erased>> {
    Search::new().refs(object, predicate)
}

/// A shortest chain of references from what `predicate` accepts to `object`; `[object]` if there is none of at
/// most 20 references.
pub fn find_backref_chain(
    object: &Gc<Erased>,
    predicate: impl Fn(&Gc<Erased>) -> bool,
) -> Vec<Gc<Erased>> {
    Search::new().backrefs(object, predicate)
}

/// A shortest chain of references to `object` from an object that the program holds: why it is alive. The
/// handle given here does not count; other handles to it that the caller has do.
pub fn find_root_chain(object: &Gc<Erased>) -> Vec<Gc<Erased>> {
    let roots = Roots::find(core::slice::from_ref(object));
    find_backref_chain(object, |object| roots.contains(object))
}

/// Draws what `objects` refer to: [`Graph::refs`] with the defaults.
pub fn show_refs(objects: &[Gc<Erased>]) -> Drawing {
    Graph::new().refs(objects)
}

/// Draws what refers to `objects`: [`Graph::backrefs`] with the defaults.
pub fn show_backrefs(objects: &[Gc<Erased>]) -> Drawing {
    Graph::new().backrefs(objects)
}

/// Draws a chain that was found: [`Graph::chain`] with the defaults.
pub fn show_chain(chain: &[Gc<Erased>]) -> Drawing {
    Graph::new().chain(&[chain])
}

/// objgraph's `is_proper_module`: whether the object is a root by its type's [`View::module`].
pub fn is_module(object: &Gc<Erased>) -> bool {
    view::is_module(object)
}
