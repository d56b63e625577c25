//! [`View`]: what a program tells the graph about its own types. And what is said of each object.

use super::{Names, State, python};
use crate::gc;
use crate::object::{Erased, Gc, Trace};
use core::any::TypeId;
use core::fmt::{self, Write};
use core::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

/// Characters of a repr that are shown.
pub const SHORT_REPR: usize = 40;

/// The text at an edge, and how much the edge is drawn short and straight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    pub(super) text: String,
    pub(super) weight: Option<u32>,
}

impl Label {
    /// For what belongs to the object itself, like Python's `__dict__`: weight 10.
    pub fn attribute(text: impl Into<String>) -> Self {
        let (text, weight) = (text.into(), Some(10));
        Self { text, weight }
    }

    /// For what has a name in the object, like a field: weight 2.
    pub fn name(text: impl Into<String>) -> Self {
        let (text, weight) = (text.into(), Some(2));
        Self { text, weight }
    }

    /// For anything else.
    pub fn text(text: impl Into<String>) -> Self {
        let (text, weight) = (text.into(), None);
        Self { text, weight }
    }
}

type ReprOf<T> = Box<dyn Fn(&Gc<T>, &mut dyn Write) -> fmt::Result>;
type LabelOf<T> = Box<dyn Fn(&Gc<T>, &Gc<Erased>) -> Option<Label>>;

/// How objects with a value of type T are shown: see [`describe`](super::describe).
pub struct View<T: Trace> {
    name: Option<String>,
    is_module: bool,
    repr: Option<ReprOf<T>>,
    label: Option<LabelOf<T>>,
    of: PhantomData<fn(&T)>,
}

impl<T: Trace> Default for View<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Trace> View<T> {
    /// The view of a type nobody described: the type's name, `<Node object at 0x…>`, and the names of fields.
    pub const fn new() -> Self {
        Self {
            name: None,
            is_module: false,
            repr: None,
            label: None,
            of: PhantomData,
        }
    }

    /// The type's name; the short name is what follows the last `::` or dot.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// What is written into a node, of which the first 40 characters are shown. Where it fails or panics, the
    /// node says `(unrepresentable)`.
    pub fn repr(mut self, repr: impl Fn(&Gc<T>, &mut dyn Write) -> fmt::Result + 'static) -> Self {
        self.repr = Some(Box::new(repr));
        self
    }

    /// Nodes show the value's `Debug` text.
    pub fn debug(self) -> Self
    where
        T: fmt::Debug,
    {
        self.repr(|object, out| write!(out, "{object:?}"))
    }

    /// The label of the edge to an object that this one refers to.
    pub fn label(mut self, label: impl Fn(&Gc<T>, &Gc<Erased>) -> Option<Label> + 'static) -> Self {
        self.label = Some(Box::new(label));
        self
    }

    /// The objects are roots, as modules are in Python: they are green, and graphs of what refers to an object
    /// end at them.
    pub const fn module(mut self) -> Self {
        self.is_module = true;
        self
    }
}

/// A view without its type.
pub(super) trait AnyView {
    fn name(&self) -> Option<&str>;
    fn is_module(&self) -> bool;
    fn repr(&self, object: &Gc<Erased>) -> Option<Result<String, fmt::Error>>;
    fn label(&self, source: &Gc<Erased>, target: &Gc<Erased>) -> Option<Option<Label>>;
}

impl<T: Trace> AnyView for View<T> {
    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn is_module(&self) -> bool {
        self.is_module
    }

    fn repr(&self, object: &Gc<Erased>) -> Option<Result<String, fmt::Error>> {
        let repr = self.repr.as_ref()?;
        let object = object.clone().downcast::<T>().ok()?;
        Some(cut(SHORT_REPR, |out| repr(&object, out)))
    }

    fn label(&self, source: &Gc<Erased>, target: &Gc<Erased>) -> Option<Option<Label>> {
        let label = self.label.as_ref()?;
        let source = source.clone().downcast::<T>().ok()?;
        Some(label(&source, target))
    }
}

/// Sets the view of a type in the thread's heap.
pub fn set<T: Trace>(view: View<T>) {
    let state = gc::notes::<State>();
    let old = state
        .views
        .borrow_mut()
        .insert(TypeId::of::<T>(), Rc::new(view));
    // Its closures may own handles.
    drop(old);
}

fn of(object: &Gc<Erased>) -> Option<Rc<dyn AnyView>> {
    let state = gc::notes::<State>();
    let views = state.views.borrow();
    match views.is_empty() {
        true => None,
        false => views.get(&(object.info().type_id)()).cloned(),
    }
}

/// The name a view gives to the object's type.
pub fn type_name(object: &Gc<Erased>) -> Option<String> {
    of(object)?.name().map(str::to_owned)
}

/// Whether a view says that the object is a root.
pub fn is_module(object: &Gc<Erased>) -> bool {
    of(object).is_some_and(|view| view.is_module())
}

/// Whether something runs before objects of its kind die.
pub fn has_finalizer(object: &Gc<Erased>) -> bool {
    let has_one = object.info().finalize.is_some();
    python::has_finalizer(object).unwrap_or(has_one)
}

/// The second line of a node.
pub fn short_repr(object: &Gc<Erased>) -> String {
    let viewed = || of(object).and_then(|view| view.repr(object));
    match catch_unwind(AssertUnwindSafe(viewed)) {
        Ok(Some(Ok(repr))) => return repr,
        Ok(Some(Err(_))) | Err(_) => return "(unrepresentable)".to_owned(),
        Ok(None) => {}
    }
    python::repr(object).unwrap_or_else(|| {
        let name = Names::Short.of(object);
        let repr = format!("<{name} object at {:#x}>", Gc::id(object));
        repr.chars().take(SHORT_REPR).collect()
    })
}

/// The label of the edge from `source` to `target`.
pub fn label(source: &Gc<Erased>, target: &Gc<Erased>, names: Names) -> Option<Label> {
    if let Some(label) = of(source).and_then(|view| view.label(source, target)) {
        return label;
    }
    if python::is_python(source) {
        return python::label(source, target, names);
    }
    let mut path = None;
    gc::for_each_named_referent(source, |fields, found| {
        if path.is_none() && Gc::is(found, target) && !fields.is_empty() {
            path = Some(fields.join("."));
        }
    });
    path.map(Label::name)
}

/// A text that takes so many characters and then ends the writing.
pub struct Cut {
    text: String,
    left: usize,
}

impl Write for Cut {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if self.left == 0 {
                return Err(fmt::Error);
            }
            self.left -= 1;
            self.text.push(c);
        }
        Ok(())
    }
}

/// The first `n` characters of what `write` writes.
pub fn cut(n: usize, write: impl FnOnce(&mut Cut) -> fmt::Result) -> Result<String, fmt::Error> {
    let text = String::new();
    let mut out = Cut { text, left: n };
    match write(&mut out) {
        // Full: that is why it ended.
        Err(_) if out.left > 0 => Err(fmt::Error),
        _ => Ok(out.text),
    }
}
