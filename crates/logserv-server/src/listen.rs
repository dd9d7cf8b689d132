//! Binds the sockets of a configuration, so that no client ever meets one that is bound and does not accept.
//!
//! In: `[listen]`. Out: [`Listeners`] that accept already, or an error that names the address and who holds it.
//! Blocks: for a few system calls; with `replace` until the running server has left. Call it before the runtime starts.
//! Not here: accepting (`run.rs`).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::ask;
use crate::config::{Listen, TcpAddress};
use crate::limits::{BACKLOG, LEAVE_TIMEOUT, RETRY_MIN};
use crate::rings::{self, Access};

mod holder;
mod unix;
pub use unix::UnixSocket;

/// Why a socket could not be bound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// No address at all.
    #[error("nothing to listen on: expected --unix PATH or --tcp HOST:PORT, received neither")]
    NoListener,
    /// A TCP address that others can reach.
    #[error(
        "{address} is reachable from other machines, and records travel in the clear: \
         expected a loopback address, or --allow-remote-plain"
    )]
    Remote {
        /// The address.
        address: String,
    },
    /// Another process listens there.
    #[error("{address} is held by {}; --replace takes a Unix socket over", holder_text(*.pid))]
    Held {
        /// The address.
        address: String,
        /// Its process, where it could be found.
        pid: Option<i32>,
    },
    /// The running server was asked to leave and is still there.
    #[error("{} holds {address} and has not left within {} s", holder_text(*.pid), LEAVE_TIMEOUT.as_secs())]
    Stays {
        /// The address.
        address: String,
        /// Its process.
        pid: Option<i32>,
    },
    /// The running server refused to leave.
    #[error("{address}: the running server does not leave: {why}")]
    Refused {
        /// The address.
        address: String,
        /// Its answer.
        why: String,
    },
    /// Something that is not a socket has the name.
    #[error("{} exists and is not a socket", .path.display())]
    NotASocket {
        /// The name.
        path: PathBuf,
    },
    /// Its directory is not one in which only its user can put a socket.
    #[error("{address}: {why}")]
    Directory {
        /// The address.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// Everything else.
    #[error("{address}: {cause}")]
    Io {
        /// The address.
        address: String,
        /// What the system said.
        cause: io::Error,
    },
}

impl BindError {
    /// Whether the command line is wrong (exit status 2), and not the state of the machine (1).
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::NoListener | Self::Remote { .. })
    }

    /// The system's error number, for a parent that raises the same error.
    #[must_use]
    pub fn errno(&self) -> i32 {
        let fallback = match self {
            Self::NoListener | Self::Remote { .. } => rustix::io::Errno::INVAL,
            Self::Held { .. } | Self::Stays { .. } | Self::Refused { .. } => rustix::io::Errno::ADDRINUSE,
            Self::NotASocket { .. } => rustix::io::Errno::EXIST,
            Self::Directory { .. } => rustix::io::Errno::ACCESS,
            Self::Io { cause, .. } => match cause.raw_os_error() {
                Some(errno) => return errno,
                None if cause.kind() == io::ErrorKind::InvalidInput => rustix::io::Errno::NAMETOOLONG,
                None => rustix::io::Errno::IO,
            },
        };
        fallback.raw_os_error()
    }
}

fn holder_text(pid: Option<i32>) -> String {
    pid.map_or_else(|| "another process".into(), |pid| format!("pid {pid}"))
}

/// Sockets that accept. Dropped without being served, they are closed and their names removed.
#[derive(Debug, Default)]
pub struct Listeners {
    pub(crate) unix: Vec<UnixSocket>,
    pub(crate) tcp: Vec<TcpListener>,
}

impl Listeners {
    /// Binds every address of `listen`. With `replace`, servers that hold one of its Unix sockets are first asked to
    /// drain and leave, and waited for.
    ///
    /// # Errors
    /// The first address that could not be bound; nothing is left bound then.
    pub fn bind(listen: &Listen, replace: bool) -> Result<Self, BindError> {
        if listen.unix.is_empty() && listen.tcp.is_empty() {
            return Err(BindError::NoListener);
        }
        let tcp = resolve_all(listen)?;
        let patience = if replace { LEAVE_TIMEOUT } else { Duration::ZERO };
        let deadline = Instant::now() + patience;
        for path in &listen.unix {
            let Some(pid) = unix::living_holder(path)? else {
                continue;
            };
            let address = unix::address(path);
            if !replace {
                return Err(BindError::Held { address, pid });
            }
            match ask::replace(path, deadline) {
                Ok(true) => {}
                Ok(false) => return Err(BindError::Stays { address, pid }),
                Err(error) => {
                    return Err(BindError::Refused {
                        address,
                        why: error.to_string(),
                    });
                }
            }
        }
        let mut listeners = Self::default();
        for (address, candidates) in tcp {
            listeners.tcp.extend(bind_tcp(&address, &candidates, deadline)?);
        }
        // Last: a Unix socket that can be reached says that the whole server can.
        for path in &listen.unix {
            listeners.unix.push(UnixSocket::bind(path, listen.unix_mode.0)?);
        }
        Ok(listeners)
    }

    /// The keys of the rings of clients that name one of the addresses, and which users could connect there.
    pub(crate) fn ring_addresses(&self) -> Vec<rings::Address> {
        let unix = self.unix.iter().map(|socket| rings::Address {
            key: logserv_ring::key_of(&logserv_ring::unix_address(socket.path())),
            access: std::fs::symlink_metadata(socket.path()).map_or(Access::Owner, |metadata| match metadata
                .mode()
            {
                mode if mode & 0o002 != 0 => Access::Everybody,
                mode if mode & 0o020 != 0 => Access::Group(metadata.gid()),
                _ => Access::Owner,
            }),
        });
        let tcp = self.tcp.iter().filter_map(|listener| listener.local_addr().ok());
        let tcp = tcp.filter_map(|address| {
            let ip = match address.ip() {
                IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
                ip if ip.is_loopback() => ip,
                _ => return None, // reached from elsewhere only, or through an address that rings do not know
            };
            Some(rings::Address {
                key: logserv_ring::key_of(&logserv_ring::tcp_address(ip, address.port())),
                access: Access::Everybody,
            })
        });
        unix.chain(tcp).collect()
    }

    /// The addresses, as clients name them: `unix:/run/…`, `tcp:127.0.0.1:9876` (with the port that was chosen).
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        let unix = self.unix.iter().map(|socket| unix::address(socket.path()));
        let tcp = self
            .tcp
            .iter()
            .filter_map(|listener| Some(format!("tcp:{}", listener.local_addr().ok()?)));
        unix.chain(tcp).collect()
    }
}

/// Whether somebody accepts on a Unix socket. Blocks: for a few system calls.
#[must_use]
pub fn is_served(path: &std::path::Path) -> bool {
    matches!(unix::living_holder(path), Ok(Some(_)))
}

/// Whether the addresses are known and allowed; binds nothing. Blocks: on resolving names.
///
/// # Errors
/// As [`Listeners::bind`], but for what is known by trying only.
pub fn check(listen: &Listen) -> Result<(), BindError> {
    resolve_all(listen).map(drop)
}

fn resolve_all(listen: &Listen) -> Result<Vec<(String, Vec<SocketAddr>)>, BindError> {
    listen
        .tcp
        .iter()
        .map(|address| resolve(address, listen))
        .collect()
}

fn resolve(address: &TcpAddress, listen: &Listen) -> Result<(String, Vec<SocketAddr>), BindError> {
    let name = address.to_string();
    let candidates: Vec<SocketAddr> = (address.host.as_str(), address.port)
        .to_socket_addrs()
        .map_err(|cause| BindError::Io {
            address: name.clone(),
            cause,
        })?
        .collect();
    if !listen.allow_remote_plain && candidates.iter().any(|one| !one.ip().is_loopback()) {
        return Err(BindError::Remote { address: name });
    }
    Ok((name, candidates))
}

/// Binds all addresses of a name (`localhost` is `127.0.0.1` and `::1`), those left out that the machine does not have.
fn bind_tcp(name: &str, candidates: &[SocketAddr], deadline: Instant) -> Result<Vec<TcpListener>, BindError> {
    let mut bound: Vec<TcpListener> = Vec::new();
    let mut missing = None;
    for candidate in candidates {
        let mut candidate = *candidate;
        if let (0, Some(Ok(first))) = (candidate.port(), bound.first().map(TcpListener::local_addr)) {
            candidate.set_port(first.port());
        }
        match bind_one(candidate, deadline) {
            Ok(listener) => bound.push(listener),
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::ADDRINUSE.raw_os_error()) => {
                let pid = holder::of_tcp(candidate);
                return Err(BindError::Held {
                    address: name.to_owned(),
                    pid,
                });
            }
            Err(error) => missing = Some(error),
        }
    }
    match missing {
        Some(cause) if bound.is_empty() => Err(BindError::Io {
            address: name.to_owned(),
            cause,
        }),
        _ => Ok(bound),
    }
}

fn bind_one(address: SocketAddr, deadline: Instant) -> io::Result<TcpListener> {
    loop {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        match socket.bind(&address.into()).and_then(|()| socket.listen(BACKLOG)) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                std::thread::sleep(RETRY_MIN);
            }
            result => return result.map(|()| socket.into()),
        }
    }
}
