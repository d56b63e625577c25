//! Sockets, for the one thread that answers requests: see [`super::spawn_apart`]. All by bare system calls, which
//! neither allocate nor look at what a thread of the C library has.

use super::FileId;
use core::ffi::{CStr, c_long};
use core::net::SocketAddr;

/// Connections that may wait while one is answered.
const WAITING: i32 = 16;

/// A socket that clients connect to.
pub struct Listener(i32);

/// A client.
pub struct Connection(i32);

impl Drop for Listener {
    fn drop(&mut self) {
        close(self.0);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        close(self.0);
    }
}

fn close(file: i32) {
    // SAFETY: our own descriptor, closed once.
    unsafe { libc::syscall(libc::SYS_close, file) };
}

/// The outcome of a call that gives a number of 0 or more; else `errno`.
fn checked(result: c_long) -> Result<i32, i32> {
    if result < 0 {
        Err(super::errno())
    } else {
        Ok(result as i32)
    }
}

fn socket(family: i32) -> Result<i32, i32> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    // SAFETY: numbers only.
    checked(unsafe { libc::syscall(libc::SYS_socket, family, kind, 0) })
}

/// Binds `file` to an address of C's and listens.
fn listen<T>(file: i32, address: &T) -> Result<Listener, i32> {
    let listener = Listener(file);
    let len = size_of::<T>();
    // SAFETY: the address is as long as said.
    checked(unsafe { libc::syscall(libc::SYS_bind, file, core::ptr::from_ref(address), len) })?;
    // SAFETY: numbers only.
    checked(unsafe { libc::syscall(libc::SYS_listen, file, WAITING) })?;
    Ok(listener)
}

/// The C library's form of a path. `None` if it is too long.
fn unix_address(path: &CStr) -> Option<libc::sockaddr_un> {
    // SAFETY: plain data of the stated type.
    let mut address = unsafe { core::mem::zeroed::<libc::sockaddr_un>() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let bytes = path.to_bytes_with_nul();
    let places = address.sun_path.get_mut(..bytes.len())?;
    for (to, from) in places.iter_mut().zip(bytes) {
        *to = from.cast_signed();
    }
    Some(address)
}

impl Listener {
    /// Listens at an address of the network. With it the port, for who asked for any (0).
    ///
    /// # Errors
    /// `errno`.
    pub fn at_address(address: SocketAddr) -> Result<(Self, u16), i32> {
        let file = socket(match address {
            SocketAddr::V4(_) => libc::AF_INET,
            SocketAddr::V6(_) => libc::AF_INET6,
        })?;
        let on = 1i32;
        // Connections of a program that ended a moment ago do not keep the port.
        // SAFETY: the option is as long as said.
        unsafe {
            libc::syscall(
                libc::SYS_setsockopt,
                file,
                libc::SOL_SOCKET,
                libc::SO_REUSEADDR,
                &raw const on,
                size_of::<i32>(),
            )
        };
        let listener = match address {
            SocketAddr::V4(address) => {
                // SAFETY: plain data of the stated type.
                let mut place = unsafe { core::mem::zeroed::<libc::sockaddr_in>() };
                place.sin_family = libc::AF_INET as libc::sa_family_t;
                place.sin_port = address.port().to_be();
                place.sin_addr.s_addr = u32::from_ne_bytes(address.ip().octets());
                listen(file, &place)
            }
            SocketAddr::V6(address) => {
                // SAFETY: plain data of the stated type.
                let mut place = unsafe { core::mem::zeroed::<libc::sockaddr_in6>() };
                place.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                place.sin6_port = address.port().to_be();
                place.sin6_addr.s6_addr = address.ip().octets();
                listen(file, &place)
            }
        }?;
        let port = listener.port();
        Ok((listener, port))
    }

    /// The port it is bound to.
    fn port(&self) -> u16 {
        // In both families the port is the second half word.
        let mut place = [0u16; 64];
        let mut len = size_of_val(&place) as u32;
        // SAFETY: the place is as long as said.
        unsafe {
            libc::syscall(
                libc::SYS_getsockname,
                self.0,
                place.as_mut_ptr(),
                &raw mut len,
            )
        };
        u16::from_be(place[1])
    }

    /// Listens at a socket in the file system that only this user may use. One that nobody listens at any more is
    /// replaced; another file is not.
    ///
    /// # Errors
    /// `errno`: `EADDRINUSE` when somebody listens there, `EEXIST` when it is no socket.
    pub fn at_path(path: &CStr) -> Result<Self, i32> {
        let address = unix_address(path).ok_or(libc::ENAMETOOLONG)?;
        match bind_at(&address) {
            Err(libc::EADDRINUSE) => {}
            other => return other,
        }
        place_of_socket(path).ok_or(libc::EEXIST)?;
        let probe = Connection(socket(libc::AF_UNIX)?);
        let len = size_of_val(&address);
        // SAFETY: the address is as long as said.
        let answer =
            checked(unsafe { libc::syscall(libc::SYS_connect, probe.0, &raw const address, len) });
        if answer != Err(libc::ECONNREFUSED) {
            return Err(libc::EADDRINUSE);
        }
        super::remove_file(path);
        bind_at(&address)
    }

    /// The next client; `None` when the system refuses.
    pub fn accept(&self) -> Option<Connection> {
        let flags = libc::SOCK_CLOEXEC;
        // SAFETY: no address is asked for.
        let file = unsafe { libc::syscall(libc::SYS_accept4, self.0, 0usize, 0usize, flags) };
        checked(file).ok().map(Connection)
    }
}

fn bind_at(address: &libc::sockaddr_un) -> Result<Listener, i32> {
    let file = socket(libc::AF_UNIX)?;
    // The file that `bind` makes has the socket's rights.
    // SAFETY: numbers only.
    unsafe { libc::syscall(libc::SYS_fchmod, file, 0o600) };
    listen(file, address)
}

/// Which file the socket at `path` is; `None` when there is no socket.
pub fn place_of_socket(path: &CStr) -> Option<FileId> {
    // SAFETY: plain data of the stated type.
    let mut status = unsafe { core::mem::zeroed::<libc::stat>() };
    // SAFETY: the path ends in a nul, and the place is valid.
    let found = unsafe { libc::lstat(path.as_ptr(), &mut status) } == 0;
    (found && status.st_mode & libc::S_IFMT == libc::S_IFSOCK).then(|| FileId::of(&status))
}

impl Connection {
    /// Lets no single read or write wait longer.
    pub fn set_patience(&self, ms: u64) {
        let limit = libc::timeval {
            tv_sec: (ms / 1000) as libc::time_t,
            tv_usec: (ms % 1000 * 1000) as libc::suseconds_t,
        };
        for option in [libc::SO_RCVTIMEO, libc::SO_SNDTIMEO] {
            // SAFETY: the option is as long as said.
            unsafe {
                libc::syscall(
                    libc::SYS_setsockopt,
                    self.0,
                    libc::SOL_SOCKET,
                    option,
                    &raw const limit,
                    size_of::<libc::timeval>(),
                )
            };
        }
    }

    /// Reads what there is. 0 at the end, on failure, and when it takes too long.
    pub fn read(&self, bytes: &mut [u8]) -> usize {
        // SAFETY: the buffer is as long as said.
        let n = unsafe { libc::syscall(libc::SYS_read, self.0, bytes.as_mut_ptr(), bytes.len()) };
        usize::try_from(n).unwrap_or(0)
    }

    /// Writes all of `bytes`. False when that failed or took too long.
    pub fn write_all(&self, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        while !rest.is_empty() {
            // SAFETY: the buffer is as long as said; no address is given.
            let n = unsafe {
                libc::syscall(
                    libc::SYS_sendto,
                    self.0,
                    rest.as_ptr(),
                    rest.len(),
                    libc::MSG_NOSIGNAL,
                    0usize,
                    0usize,
                )
            };
            match usize::try_from(n) {
                Ok(n) if n > 0 => rest = &rest[n..],
                _ => return false,
            }
        }
        true
    }

    /// Says that nothing more comes from here.
    pub fn finish(&self) {
        // SAFETY: numbers only.
        unsafe { libc::syscall(libc::SYS_shutdown, self.0, libc::SHUT_WR) };
    }
}
