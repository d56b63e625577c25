//! Finding what keeps memory: a server whose sessions do not go.
//!
//! ```text
//! cargo run --release --features objects --example objgraph [PICTURE.svg]
//! ```
//!
//! Prints tables, and draws why a session that was closed is alive, if a file is named (with Graphviz's `dot`).

use pymalloc::impl_trace;
use pymalloc::object::{Gc, Slot, Weak};
use pymalloc::observe::objgraph::{self, Drawing, Graph, Names, Retained, SortBy, View};
use std::cell::RefCell;
use std::fmt::Write;

/// One user's session.
struct Session {
    user: String,
    history: RefCell<Vec<u8>>,
    server: RefCell<Weak<Server>>,
}
impl_trace!(struct Session { user, history, server });

/// Called for every message.
struct Listener {
    session: Gc<Session>,
}
impl_trace!(struct Listener { session });

/// Who is to be told.
struct Hub {
    listeners: RefCell<Vec<Gc<Listener>>>,
}
impl_trace!(struct Hub { listeners });

/// Everything.
struct Server {
    sessions: RefCell<Vec<Gc<Session>>>,
    hub: Gc<Hub>,
    last: Slot<Session>,
}
impl_trace!(struct Server { sessions, hub, last });

impl Server {
    fn open(this: &Gc<Self>, user: String) {
        let session = Gc::new(Session {
            user,
            history: RefCell::new(vec![0; 10_000]),
            server: RefCell::new(Weak::from(this)),
        });
        let listener = Gc::new(Listener {
            session: session.clone(),
        });
        this.hub.listeners.borrow_mut().push(listener);
        this.last.set(Some(session.clone()));
        this.sessions.borrow_mut().push(session);
    }

    /// The mistake: listeners stay.
    fn close_all(&self) {
        self.sessions.borrow_mut().clear();
    }
}

#[allow(dead_code)] // the test includes this file
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut text = String::new();
    let drawing = story(&mut text)?;
    print!("{text}");
    match std::env::args_os().nth(1) {
        Some(picture) => println!("{}", drawing.save(picture)?),
        None => print!("\n{}", drawing.dot),
    }
    Ok(())
}

/// Opens sessions, closes them, and looks for what is left.
pub fn story(text: &mut String) -> Result<Drawing, Box<dyn std::error::Error>> {
    let hub = Gc::new(Hub {
        listeners: RefCell::default(),
    });
    let server = Gc::new(Server {
        sessions: RefCell::default(),
        hub,
        last: Slot::empty(),
    });
    let view = View::<Session>::new();
    objgraph::describe(view.repr(|session, out| write!(out, "of {}", session.user)));
    objgraph::get_new_ids(Some(0), SortBy::Deltas, text)?;
    for user in ["ada", "bob", "eve"] {
        Server::open(&server, user.to_owned());
    }
    server.close_all();

    objgraph::get_new_ids(None, SortBy::Deltas, text)?;
    writeln!(text, "\nWhat goes with the objects of each type:")?;
    Retained::compute(Names::Short, &[]).show_by_type(None, text)?;

    // Of all sessions, one that is closed: why does it live?
    let closed = objgraph::by_type("Session").into_iter().find(|object| {
        let session = object.downcast_ref::<Session>();
        session.is_some_and(|session| session.user == "ada" && !session.history.borrow().is_empty())
    });
    let closed = closed.ok_or("no session is left")?;
    let chain = objgraph::find_root_chain(&closed);
    let names = chain.iter().map(|object| Names::Short.of(object));
    let way = names.collect::<Vec<_>>().join(" -> ");
    writeln!(text, "\nada's session is closed, and alive through {way}")?;
    Ok(Graph::new()
        .max_depth(4)
        .highlight(|object| Gc::is(object, &closed))
        .extra_info(|object| format!("{} bytes", Gc::size_of(object)))
        .refs(&[Gc::erased(&server)]))
}
