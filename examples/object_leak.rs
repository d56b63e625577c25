//! Where was it made, and why is it still alive? A server whose sessions are closed and stay.
//!
//! ```text
//! cargo build --example object_leak --features objects,symbols
//! target/debug/examples/object_leak                        # asks itself, by tracemalloc and objgraph
//! pymalloc profile -o run.pmrec target/debug/examples/object_leak && pymalloc report leaks run.pmrec
//! ```

use pymalloc::impl_trace;
use pymalloc::object::Gc;
use pymalloc::observe::{objgraph, tracemalloc};
use std::cell::{Cell, RefCell};

#[global_allocator]
static GLOBAL: pymalloc::PyMalloc = pymalloc::PyMalloc;

struct Session {
    number: u32,
    open: Cell<bool>,
    server: Gc<Server>,
}

impl_trace!(struct Session { number, open, server });

#[derive(Default)]
struct Server {
    sessions: RefCell<Vec<Gc<Session>>>,
    /// Told of whatever happens: nobody takes a session off this list.
    listeners: RefCell<Vec<Gc<Session>>>,
}

impl_trace!(struct Server { sessions, listeners });

fn connect(server: &Gc<Server>, number: u32) -> Gc<Session> {
    let session = Gc::new(Session {
        number,
        open: Cell::new(true),
        server: server.clone(),
    }); // MADE
    server.sessions.borrow_mut().push(session.clone());
    server.listeners.borrow_mut().push(session.clone());
    session
}

fn close(session: &Gc<Session>) {
    session.open.set(false);
    let sessions = &session.server.sessions;
    sessions
        .borrow_mut()
        .retain(|other| !Gc::is(other, session));
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracemalloc::start(10)?;
    let server = Gc::new(Server::default());
    for number in 0..500 {
        close(&connect(&server, number));
    }
    pymalloc::gc::collect();
    println!("{} sessions live", objgraph::count("Session"));
    let session = objgraph::by_type("Session").swap_remove(7);
    let made = tracemalloc::get_object_traceback(&session).ok_or("an object that is not traced")?;
    for line in made.format(Some(2), true) {
        println!("{line}");
    }
    let chain = objgraph::find_root_chain(&session);
    let names = chain.iter().map(Gc::type_name).collect::<Vec<_>>();
    println!("{}", names.join(" -> "));
    // A server that serves to its end.
    std::mem::forget(server);
    Ok(())
}
