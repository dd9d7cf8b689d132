//! A non-blocking stream socket that knows whether its descriptor is still its own.
//!
//! Code that turns a process into a daemon closes every descriptor and opens files, which then have our numbers. A
//! socket therefore remembers device and inode, is asked [`Socket::is_ours`] before it is used after a pause, and forgets a
//! number that has become somebody else's without closing it.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::passing::Passed;
use crate::limits::{KEEPALIVE_IDLE, TCP_USER_TIMEOUT};

/// What tells one open socket from any other file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

/// Device and inode of a descriptor; `None` if it is closed.
pub(super) fn identity(descriptor: i32) -> Option<Identity> {
    let mut stat = mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: fstat writes the whole structure when it returns 0, and is read only then.
    let stat = unsafe {
        if libc::fstat(descriptor, stat.as_mut_ptr()) != 0 {
            return None;
        }
        stat.assume_init()
    };
    #[allow(
        clippy::unnecessary_cast,
        reason = "the fields' widths differ between architectures"
    )]
    Some(Identity {
        device: stat.st_dev,
        inode: stat.st_ino,
    })
}

/// Closes a descriptor number.
pub(super) fn close(descriptor: i32) {
    // SAFETY: closing a number has no effect on memory; the callers have made sure that it is ours.
    unsafe { libc::close(descriptor) };
}

/// A connected, non-blocking stream socket; closed when dropped, if it is still ours.
#[derive(Debug)]
pub(crate) struct Socket {
    descriptor: i32,
    identity: Identity,
}

impl Socket {
    /// A new socket; `family` is `AF_UNIX`, `AF_INET` or `AF_INET6`.
    fn open(family: i32) -> io::Result<Self> {
        let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: no pointers.
        let descriptor = unsafe { libc::socket(family, kind, 0) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        let Some(identity) = identity(descriptor) else {
            return Err(io::Error::last_os_error());
        };
        Ok(Self { descriptor, identity })
    }

    /// Connects to a Unix socket; `opened` hears of the descriptor before it connects.
    ///
    /// # Errors
    /// Those of `connect(2)`; `InvalidInput` for a path that is too long; `WouldBlock` while the server's queue of
    /// connections is full. Blocks: never.
    pub(crate) fn connect_unix(path: &Path, opened: impl FnOnce(i32, Identity)) -> io::Result<Self> {
        // SAFETY: all zeros is a valid sockaddr_un.
        let mut address: libc::sockaddr_un = unsafe { mem::zeroed() };
        let bytes = path.as_os_str().as_bytes();
        let len_max = address.sun_path.len() - 1;
        if bytes.len() > len_max || bytes.is_empty() {
            let why = format!(
                "path of the socket: expected 1 to {len_max} bytes, received {}",
                bytes.len()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        address.sun_family = libc::AF_UNIX as libc::sa_family_t;
        for (place, byte) in address.sun_path.iter_mut().zip(bytes) {
            *place = *byte as libc::c_char;
        }
        let socket = Self::open(libc::AF_UNIX)?;
        opened(socket.descriptor, socket.identity);
        socket.connect_to((&raw const address).cast(), mem::size_of::<libc::sockaddr_un>())?;
        Ok(socket)
    }

    /// Connects to a TCP address within `timeout`; `opened` hears of the descriptor before it connects.
    ///
    /// # Errors
    /// Those of `connect(2)`; `TimedOut`. Blocks: for `timeout` at most.
    pub(crate) fn connect_tcp(
        address: &SocketAddr,
        timeout: Duration,
        opened: impl FnOnce(i32, Identity),
    ) -> io::Result<Self> {
        let socket = Self::open(if address.is_ipv4() {
            libc::AF_INET
        } else {
            libc::AF_INET6
        })?;
        opened(socket.descriptor, socket.identity);
        socket.set_options();
        let started = match address {
            SocketAddr::V4(v4) => {
                // SAFETY: all zeros is a valid sockaddr_in.
                let mut raw: libc::sockaddr_in = unsafe { mem::zeroed() };
                raw.sin_family = libc::AF_INET as libc::sa_family_t;
                raw.sin_port = v4.port().to_be();
                raw.sin_addr.s_addr = u32::from(*v4.ip()).to_be();
                socket.connect_to((&raw const raw).cast(), mem::size_of::<libc::sockaddr_in>())
            }
            SocketAddr::V6(v6) => {
                // SAFETY: all zeros is a valid sockaddr_in6.
                let mut raw: libc::sockaddr_in6 = unsafe { mem::zeroed() };
                raw.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                raw.sin6_port = v6.port().to_be();
                raw.sin6_addr.s6_addr = v6.ip().octets();
                raw.sin6_scope_id = v6.scope_id();
                socket.connect_to((&raw const raw).cast(), mem::size_of::<libc::sockaddr_in6>())
            }
        };
        match started {
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            other => return other.map(|()| socket),
        }
        if !socket.wait(true, timeout)? {
            return Err(io::ErrorKind::TimedOut.into());
        }
        socket.pending_error().map(|()| socket)
    }

    fn connect_to(&self, address: *const libc::sockaddr, len: usize) -> io::Result<()> {
        let len = libc::socklen_t::try_from(len).unwrap_or(0);
        // SAFETY: both callers pass a structure that lives through the call, and its size.
        match unsafe { libc::connect(self.descriptor, address, len) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn pending_error(&self) -> io::Result<()> {
        let mut code: libc::c_int = 0;
        let mut len = mem::size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: pointer and length describe `code`.
        let result = unsafe {
            libc::getsockopt(
                self.descriptor,
                libc::SOL_SOCKET,
                libc::SO_ERROR,
                (&raw mut code).cast(),
                &raw mut len,
            )
        };
        match (result, code) {
            (0, 0) => Ok(()),
            (0, code) => Err(io::Error::from_raw_os_error(code)),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// No delay, keep-alive, and an end of waiting for confirmations. A kernel that refuses one costs only that.
    fn set_options(&self) {
        let user_timeout_ms = i32::try_from(TCP_USER_TIMEOUT.as_millis()).unwrap_or(i32::MAX);
        let idle_s = i32::try_from(KEEPALIVE_IDLE.as_secs()).unwrap_or(i32::MAX);
        for (level, option, value) in [
            (libc::IPPROTO_TCP, libc::TCP_NODELAY, 1),
            (libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1),
            (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, idle_s),
            (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, user_timeout_ms),
        ] {
            let len = mem::size_of::<libc::c_int>() as libc::socklen_t;
            // SAFETY: pointer and length describe `value`.
            unsafe { libc::setsockopt(self.descriptor, level, option, (&raw const value).cast(), len) };
        }
    }

    /// Whether the descriptor still is the socket that was opened. One system call of some 200 ns.
    pub(crate) fn is_ours(&self) -> bool {
        identity(self.descriptor) == Some(self.identity)
    }

    /// Sends what the kernel takes now. `Ok(0)`: nothing at present.
    ///
    /// # Errors
    /// Those of `send(2)`. Blocks: never. Raises no SIGPIPE.
    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
        // SAFETY: pointer and length describe `bytes`.
        let len = unsafe { libc::send(self.descriptor, bytes.as_ptr().cast(), bytes.len(), flags) };
        or_would_block(len).map(|len| len.unwrap_or(0))
    }

    /// Sends what the kernel takes now, and `file` with the first byte of it. `Ok(0)`: nothing at present, the file neither.
    ///
    /// # Errors
    /// Those of `sendmsg(2)`; `EBADF` where the file's number has become another file's. Blocks: never. Raises no SIGPIPE.
    pub(crate) fn send_with(&self, bytes: &[u8], file: &Passed) -> io::Result<usize> {
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
        let descriptor = file
            .descriptor()
            .ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))?;
        let mut part = libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        };
        let descriptor_len = mem::size_of::<libc::c_int>() as libc::c_uint;
        // Of u64, to lie as a control message must. One descriptor takes 24 bytes.
        let mut control = [0_u64; 4];
        // SAFETY: only computes. All zeros is a valid msghdr.
        let (space, len, mut message) = unsafe {
            let message: libc::msghdr = mem::zeroed();
            (
                libc::CMSG_SPACE(descriptor_len),
                libc::CMSG_LEN(descriptor_len),
                message,
            )
        };
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = space as _;
        // SAFETY: `control` is aligned for a header, longer than `space`, and lives to the end of this function: the header
        // and the number behind it lie within. The kernel reads `bytes` through `part` and writes to neither.
        let sent = unsafe {
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            if header.is_null() {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = len as _;
            libc::CMSG_DATA(header)
                .cast::<libc::c_int>()
                .write_unaligned(descriptor);
            libc::sendmsg(self.descriptor, &raw const message, flags)
        };
        or_would_block(sent).map(|len| len.unwrap_or(0))
    }

    /// Receives what is there: `Ok(None)` nothing now, `Ok(Some(0))` the peer has ended.
    ///
    /// # Errors
    /// Those of `recv(2)`. Blocks: never.
    pub(crate) fn receive(&self, into: &mut [u8]) -> io::Result<Option<usize>> {
        // SAFETY: pointer and length describe `into`.
        let len = unsafe {
            libc::recv(
                self.descriptor,
                into.as_mut_ptr().cast(),
                into.len(),
                libc::MSG_DONTWAIT,
            )
        };
        or_would_block(len)
    }

    /// Waits until something can be read, or (`to_write`) written, or the time is over. Returns whether it can. Blocks:
    /// for `timeout`.
    ///
    /// # Errors
    /// Those of `poll(2)`.
    pub(crate) fn wait(&self, to_write: bool, timeout: Duration) -> io::Result<bool> {
        let until = Instant::now() + timeout;
        let events = if to_write {
            libc::POLLIN | libc::POLLOUT
        } else {
            libc::POLLIN
        };
        loop {
            let mut poll = libc::pollfd {
                fd: self.descriptor,
                events,
                revents: 0,
            };
            let left = until.saturating_duration_since(Instant::now());
            let left_ms = i32::try_from(left.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
            // SAFETY: one valid pollfd.
            if unsafe { libc::poll(&raw mut poll, 1, left_ms) } >= 0 {
                return Ok(poll.revents != 0);
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }
}

fn or_would_block(len: isize) -> io::Result<Option<usize>> {
    if let Ok(len) = usize::try_from(len) {
        return Ok(Some(len));
    }
    let error = io::Error::last_os_error();
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
        _ => Err(error),
    }
}

impl Socket {
    /// Closes it, if it is still ours; afterwards every call fails with `EBADF`.
    pub(crate) fn close(&mut self) {
        if self.descriptor >= 0 && self.is_ours() {
            close(self.descriptor);
        }
        self.descriptor = -1;
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.close();
    }
}
