//! Faults: accesses to inaccessible memory, on their way to end the process.

use core::ffi::c_void;

/// What is to be said of a fault.
pub trait Fault {
    /// Called in a signal handler with the address that was accessed: it may write to standard error.
    fn at(addr: usize);
}

extern "C" fn handle<F: Fault>(number: i32, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel's own structure; a fault's has an address.
    F::at(unsafe { (*info).si_addr() }.addr());
    // SAFETY: resets the handler; the access is repeated, and ends the process as it would have.
    unsafe { libc::signal(number, libc::SIG_DFL) };
}

/// Lets `F` speak before a fault ends the process, unless the program handles faults itself. One that begins to
/// do so later replaces ours.
pub fn on_fault<F: Fault>() {
    // SAFETY: valid structures; the handler stays mapped.
    unsafe {
        let mut before = core::mem::zeroed::<libc::sigaction>();
        let mut ours = core::mem::zeroed::<libc::sigaction>();
        let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut c_void) = handle::<F>;
        ours.sa_sigaction = handler as libc::sighandler_t;
        ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        let none = core::ptr::null_mut();
        if libc::sigaction(libc::SIGSEGV, core::ptr::null(), &mut before) == 0
            && before.sa_sigaction == libc::SIG_DFL
        {
            libc::sigaction(libc::SIGSEGV, &ours, none);
        }
    }
}
