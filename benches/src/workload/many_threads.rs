//! What does a live thread with a few small blocks keep resident, beyond its stack?
//!
//! Threads are made by `pthread_create` with small stacks that are touched before the first look, so
//! that what lies between the two looks is what their first blocks cost: thread-local tables, lists,
//! pools of their own.

use super::block;
use crate::worker::meter::Meter;
use crate::worker::proc;
use std::ffi::c_void;
use std::sync::Barrier;

/// Threads alive at once.
const THREADS: usize = 2_000;
/// Sizes of each thread's blocks.
const SIZES: [usize; 8] = [16, 24, 32, 48, 64, 100, 200, 400];
/// Bytes of a stack; touched from its top down to [`TOUCHED`].
const STACK: usize = 256 << 10;
/// Bytes of each stack that are touched before the first look.
const TOUCHED: usize = 32 << 10;

/// Where all threads and the main thread meet: started, first look over, blocks made, second look over.
struct Meetings([Barrier; 4]);

#[inline(never)]
fn touch_stack() {
    let mut room = [0u8; TOUCHED];
    for at in (0..TOUCHED).step_by(1024) {
        // SAFETY: inside the array; volatile, so that every write happens.
        unsafe { room.as_mut_ptr().add(at).write_volatile(1) };
    }
    std::hint::black_box(&mut room);
}

extern "C" fn live(meetings: *mut c_void) -> *mut c_void {
    // SAFETY: the main thread keeps the meetings until it has joined every thread.
    let Meetings([started, look, made, end]) = unsafe { &*meetings.cast::<Meetings>() };
    touch_stack();
    started.wait();
    look.wait();
    let blocks = SIZES.map(block::alloc);
    made.wait();
    end.wait();
    for block in blocks {
        // SAFETY: made above.
        unsafe { block::free(block) };
    }
    std::ptr::null_mut()
}

/// Starts one thread with a stack of [`STACK`] bytes.
fn start(meetings: &Meetings) -> Result<libc::pthread_t, String> {
    let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    let mut thread = std::mem::MaybeUninit::<libc::pthread_t>::uninit();
    // SAFETY: the attributes are initialised first; `live` takes what the last argument points at.
    let error = unsafe {
        libc::pthread_attr_init(attributes.as_mut_ptr());
        libc::pthread_attr_setstacksize(attributes.as_mut_ptr(), STACK);
        let argument = (&raw const *meetings).cast_mut().cast::<c_void>();
        libc::pthread_create(thread.as_mut_ptr(), attributes.as_ptr(), live, argument)
    };
    if error == 0 {
        // SAFETY: pthread_create has filled it in.
        return Ok(unsafe { thread.assume_init() });
    }
    Err(format!(
        "pthread_create: {}",
        std::io::Error::from_raw_os_error(error)
    ))
}

pub fn run(m: &mut Meter) -> Result<(), String> {
    let meetings = Meetings([(); 4].map(|()| Barrier::new(THREADS + 1)));
    let mut threads = Vec::with_capacity(THREADS);
    for _ in 0..THREADS {
        match start(&meetings) {
            Ok(thread) => threads.push(thread),
            // Those that have started wait for the rest, which will not come.
            Err(error) => {
                eprintln!("thread {}: {error}", threads.len());
                std::process::exit(2);
            }
        }
    }
    let Meetings([started, look, made, end]) = &meetings;
    started.wait();
    let before = proc::rss_kib();
    look.wait();
    made.wait();
    let after = proc::rss_kib();
    m.live();
    m.thread_bytes(after.saturating_sub(before) as f64 * 1024.0 / THREADS as f64);
    end.wait();
    for thread in threads {
        // SAFETY: a thread started above and joined once.
        unsafe { libc::pthread_join(thread, std::ptr::null_mut()) };
    }
    Ok(())
}
