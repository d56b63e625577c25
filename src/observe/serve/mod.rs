//! The figures of this process over HTTP, answered by a thread that nobody notices.
//!
//! ```text
//! serve() ─► thread of its own: its files, its stack, no thread-local storage (os::spawn_apart)
//!              │ accept ─► request.rs ─► pages.rs ─► answer ─► accept …
//!              ▼                          ├ /metrics          metrics.rs
//!            socket: only this            └ /debug/pprof/heap heap_profile/, tracemalloc/served.rs
//!            thread has its number
//! ```
//!
//! | state | entered | left |
//! |---|---|---|
//! | blank | the memory is new, or this is a child after fork | `serve` |
//! | starting | `serve` | the thread listens, or cannot |
//! | serving | the thread listens | never: it ends with the process |
//! | failed | it cannot | `serve` |
//!
//! * **I1** The thread allocates nothing from any heap and calls the C library for nothing but system calls. It
//!   waits for no lock but those every thread takes, for as long as they do.
//! * **I2** The state lies in memory that the kernel wipes in a child after fork: a child does not serve. Nor has
//!   it the socket: descriptors of the thread are in no other's table.
//! * **I3** The socket in the file system is removed at exit by the process that made it, if it is still that one.

mod address;
mod pages;
mod request;

use super::heap_profile::{self, Sampling};
use super::mapped::Mapped;
use crate::global::slot;
use crate::os::{self, Connection, FileId, Futex, Listener, Lock};
use crate::sync::{AtomicBool, AtomicU32, Ordering, Park, SharedCell};
use address::Address;
use core::mem::MaybeUninit;
use core::net::SocketAddr;
use request::{Answer, Asked};

const STARTING: u32 = 1;
const SERVING: u32 = 2;
const FAILED: u32 = 3;

/// Why nothing is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServeError {
    /// It is neither a loopback address with a port nor `unix:` and a path of at most 96 bytes.
    Address,
    /// This process serves already.
    Twice,
    /// Somebody listens there.
    Taken,
    /// At the path is something else than a socket.
    NotASocket,
    /// The system refused, with this error number.
    Refused(i32),
    /// No samples can be taken: another sampler has another interval, every block is guarded, or memory is out.
    Samples,
}

impl ServeError {
    /// What an error number of the system means here.
    fn of(errno: i32) -> Self {
        match errno {
            os::ADDRESS_IN_USE => Self::Taken,
            os::FILE_EXISTS => Self::NotASocket,
            other => Self::Refused(other),
        }
    }
}

impl core::fmt::Display for ServeError {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.write_str(match self {
            Self::Address => {
                "not a loopback address such as 127.0.0.1:9123, nor unix:PATH; others are \
                 refused, since there is no access control"
            }
            Self::Twice => "this process serves already",
            Self::Taken => "somebody listens there",
            Self::NotASocket => "the path exists and is no socket",
            Self::Samples => "the samples of a heap profile cannot be taken",
            Self::Refused(number) => return write!(out, "the system refused it (error {number})"),
        })
    }
}

impl std::error::Error for ServeError {}

/// Serves this process's figures over HTTP until it ends: `/metrics` as OpenMetrics text, for Prometheus, and, while
/// [`tracemalloc`](super::tracemalloc) is at work, `/debug/pprof/heap` for pprof. The address is `127.0.0.1:PORT` or another loopback address (port 0: any free one), or `unix:PATH`.
///
/// The answering thread allocates nothing, has files of its own and keeps no process alive. A child after fork does
/// not serve, and may begin to. Returns the address with its port; `None` for a path.
///
/// # Errors
/// When nothing is served: see [`ServeError`].
///
/// ```
/// # #[global_allocator]
/// # static GLOBAL: pymalloc::PyMalloc = pymalloc::PyMalloc;
/// use std::io::{Read, Write};
///
/// let address = pymalloc::observe::serve("127.0.0.1:0")?.expect("an address with a port");
/// let mut client = std::net::TcpStream::connect(address)?;
/// client.write_all(b"GET /metrics HTTP/1.1\r\n\r\n")?;
/// let mut answer = String::new();
/// client.read_to_string(&mut answer)?;
/// assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("# EOF\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn serve(address: &str) -> Result<Option<SocketAddr>, ServeError> {
    let address = Address::parse(address.as_bytes()).ok_or(ServeError::Address)?;
    serve_at(address, None)
}

/// As [`serve`], and keeps a heap profile for `/debug/pprof/heap`: of one block for every `bytes` that are allocated on
/// average (512 KiB is usual in production, 0 keeps every block), with stacks of at most `frames` calls, 64 at most.
/// Beside it, `/debug/pprof/heap?source=tracemalloc` still asks for what is traced; a comment in each profile names its
/// source.
///
/// Functions have their names. Files and lines pprof finds by itself, where it can read the program's files; with the
/// feature `symbols` the profile has them, inlined calls included, and a thread named `pymalloc-names` finds them.
///
/// # Errors
/// As [`serve`].
pub fn serve_sampled(
    address: &str,
    frames: usize,
    bytes: u64,
) -> Result<Option<SocketAddr>, ServeError> {
    let address = Address::parse(address.as_bytes()).ok_or(ServeError::Address)?;
    serve_at(address, Some(Sampling { frames, bytes }))
}

fn serve_at(
    address: Address,
    sampling: Option<Sampling>,
) -> Result<Option<SocketAddr>, ServeError> {
    let found = begin(&Config { address, sampling })?;
    Ok(match found {
        Address::Loopback(address) => Some(address),
        Address::Unix(_) => None,
    })
}

/// What to serve.
#[derive(Clone)]
pub struct Config {
    /// Where.
    pub address: Address,
    /// Which heap profile, if any.
    pub sampling: Option<Sampling>,
}

impl Config {
    /// That of another process.
    fn of_process(&self, pid: u32) -> Self {
        Self {
            address: self.address.of_process(pid),
            ..self.clone()
        }
    }
}

/// Valid when all zero: then it is blank and its lock free.
struct Server {
    lock: Lock,
    state: AtomicU32,
    /// The port, or `errno` of the failure.
    outcome: AtomicU32,
    /// Written when `state` begins to be starting, by who sets it, under `lock`; only read after that.
    config: SharedCell<MaybeUninit<Config>>,
    /// The socket in the file system, once it serves there. Written by the thread before it serves.
    socket: SharedCell<MaybeUninit<Option<Socket>>>,
}

/// A socket that is to be removed.
#[derive(Clone)]
struct Socket {
    path: os::Text<1024>,
    id: FileId,
}

/// What survives a fork.
struct Place {
    server: &'static Server,
    /// Whether children begin to serve. Published after `config`.
    follows: AtomicBool,
    config: SharedCell<MaybeUninit<Config>>,
}

/// Begins to serve, and waits until that is done. Returns the address with its port.
///
/// # Errors
/// As [`serve`].
pub fn begin(config: &Config) -> Result<Address, ServeError> {
    let place = place().ok_or(ServeError::Refused(os::NO_MEMORY))?;
    let server = place.server;
    {
        let _locked = server.lock.lock();
        // Acquire: pairs with the thread's Release.
        if matches!(server.state.load(Ordering::Acquire), STARTING | SERVING) {
            return Err(ServeError::Twice);
        }
        // SAFETY: the lock is held, and no thread serves.
        unsafe {
            server.config.with_mut(|cell| {
                cell.write(config.clone());
            });
        }
        // Release: publishes the configuration to the thread.
        server.state.store(STARTING, Ordering::Release);
    }
    let samples = config.sampling.is_none_or(heap_profile::start);
    if !samples {
        server.state.store(FAILED, Ordering::Relaxed);
        return Err(ServeError::Samples);
    }
    if !os::spawn_apart(run) {
        let error = os::errno().cast_unsigned();
        server.outcome.store(error, Ordering::Relaxed);
        server.state.store(FAILED, Ordering::Relaxed);
    }
    while server.state.load(Ordering::Acquire) == STARTING {
        Futex::wait(&server.state, STARTING);
    }
    // Relaxed: published by the state.
    let outcome = server.outcome.load(Ordering::Relaxed);
    if server.state.load(Ordering::Acquire) == FAILED {
        if config.sampling.is_some() {
            heap_profile::stop();
        }
        return Err(ServeError::of(outcome.cast_signed()));
    }
    heap_profile::lines::begin();
    let mut found = config.address.clone();
    found.set_port(outcome as u16);
    Ok(found)
}

/// The kept memory, made when it is first asked for.
fn place() -> Option<&'static Place> {
    if let Some(place) = kept() {
        return Some(place);
    }
    let page = os::page_size();
    let map = |len: usize| os::map(len.next_multiple_of(page), page);
    let wiped_len = size_of::<Server>().next_multiple_of(page);
    let wiped = map(wiped_len)?;
    let place = map(size_of::<Place>())?.cast::<Place>();
    // SAFETY: both mapped just now and never given back; all zero is a server (its declaration says so).
    unsafe {
        if !os::wipe_on_fork(wiped, wiped_len) {
            return None;
        }
        place.write(Place {
            server: wiped.cast::<Server>().as_ref(),
            follows: AtomicBool::new(false),
            config: SharedCell::new(MaybeUninit::uninit()),
        });
    }
    if slot::keep(slot::Keeper::Server, place.cast()) {
        os::at_exit(process_ends);
        os::on_fork(nothing, nothing, child);
    }
    kept()
}

fn kept() -> Option<&'static Place> {
    let place = slot::kept(slot::Keeper::Server)?;
    // SAFETY: only `place` fills the slot, with memory that stays.
    Some(unsafe { place.cast::<Place>().as_ref() })
}

/// Lets children serve as `config` says.
#[cfg_attr(
    not(feature = "preload"),
    allow(dead_code, reason = "a program's own children ask for themselves")
)]
fn follow(config: &Config) {
    if let Some(place) = place() {
        // SAFETY: called once, before there is another thread, and read only after the flag is set.
        unsafe {
            place.config.with_mut(|cell| {
                cell.write(config.clone());
            });
        }
        // Release: publishes the configuration.
        place.follows.store(true, Ordering::Release);
    }
}

unsafe extern "C" fn nothing() {}

/// In a child after fork, behind the allocator's own hook.
unsafe extern "C" fn child() {
    let Some(place) = kept().filter(|place| place.follows.load(Ordering::Acquire)) else {
        return;
    };
    // SAFETY: written before the flag was set, and never again; no other thread exists.
    let config = unsafe { place.config.with_mut(|cell| cell.assume_init_ref().clone()) };
    tell(begin(&config.of_process(os::pid())));
}

/// Says where, or why not.
fn tell(outcome: Result<Address, ServeError>) {
    match outcome {
        Ok(address) => os::say(format_args!("serving at {address}")),
        Err(error) => os::say(format_args!("nothing is served: {error}")),
    }
}

/// Removes the socket (I3).
extern "C" fn process_ends() {
    let Some(server) = kept().map(|place| place.server) else {
        return;
    };
    // Acquire: pairs with the thread's Release, behind which nobody writes.
    if server.state.load(Ordering::Acquire) != SERVING {
        return;
    }
    // SAFETY: written before the state was set.
    let socket = unsafe {
        server
            .socket
            .with_mut(|cell| cell.assume_init_ref().clone())
    };
    if let Some(socket) = socket
        && let Some(path) = socket.path.as_c_str()
        && os::place_of_socket(path) == Some(socket.id)
    {
        os::remove_file(path);
    }
}

/// The thread.
extern "C" fn run(_: *mut core::ffi::c_void) -> i32 {
    os::name_thread(c"pymalloc-serve");
    os::close_files();
    let Some(server) = kept().map(|place| place.server) else {
        return 0;
    };
    // SAFETY: written before the state was set, and whoever set it only waits.
    let config = unsafe {
        server
            .config
            .with_mut(|cell| cell.assume_init_ref().clone())
    };
    let (listener, outcome, state) = match listen(&config.address) {
        Ok((listener, port, socket)) => {
            // SAFETY: read only once the state is serving.
            unsafe {
                server.socket.with_mut(|cell| {
                    cell.write(socket);
                });
            }
            (Some(listener), u32::from(port), SERVING)
        }
        Err(error) => (None, error.cast_unsigned(), FAILED),
    };
    server.outcome.store(outcome, Ordering::Relaxed);
    // Release: publishes the outcome and the socket.
    server.state.store(state, Ordering::Release);
    Futex::wake_one(&server.state);
    let Some(listener) = listener else {
        return 0;
    };
    loop {
        match listener.accept() {
            Some(client) => answer(&client),
            // What the system refuses once it may refuse again.
            None => os::nap_ms(100),
        }
    }
}

/// Listens; with the port and the socket in the file system. Else `errno`.
fn listen(address: &Address) -> Result<(Listener, u16, Option<Socket>), i32> {
    match address {
        Address::Loopback(address) => {
            let (listener, port) = Listener::at_address(*address)?;
            Ok((listener, port, None))
        }
        Address::Unix(text) => {
            let path = text.as_c_str().ok_or(os::NAME_TOO_LONG)?;
            let listener = Listener::at_path(path)?;
            let mut whole = os::Text::new();
            if !text.as_bytes().starts_with(b"/") {
                let mut folder = [0; 768];
                let len = os::working_folder(&mut folder);
                whole.write_bytes(&folder[..len]);
                whole.write_bytes(b"/");
            }
            whole.write_bytes(text.as_bytes());
            let socket = os::place_of_socket(path).map(|id| Socket { path: whole, id });
            Ok((listener, 0, socket))
        }
    }
}

/// Answers one client.
fn answer(client: &Connection) {
    const TEXT: &str = "text/plain; charset=utf-8";
    let mut body = Mapped::default();
    let mut refuse = |status, text: &str| {
        body.extend(text.as_bytes());
        Answer {
            status,
            kind: TEXT,
            head_only: false,
        }
    };
    let answer = match request::read(client) {
        Asked::Nothing => return,
        Asked::Page { page, head_only } => {
            let (status, kind) = pages::write(page, &mut body);
            Answer {
                status,
                kind,
                head_only,
            }
        }
        Asked::NoSuchPage => refuse("404 Not Found", "no such page\n"),
        Asked::NoSuchSource => refuse(
            "400 Bad Request",
            "source is one of samples and tracemalloc\n",
        ),
        Asked::OtherMethod => refuse("405 Method Not Allowed", "only GET and HEAD\n"),
        Asked::Nonsense => refuse("400 Bad Request", "not a request of HTTP/1\n"),
        Asked::TooLong => refuse("431 Request Header Fields Too Large", "too long a head\n"),
    };
    request::send(client, &answer, &body);
}

#[cfg(feature = "preload")]
pub use environment::serve_as_asked;
#[cfg(feature = "preload")]
#[path = "environment.rs"]
mod environment;
