//! One Unix socket's life in the file system: bound under a temporary name, renamed when it accepts, removed at the end.
//!
//! Two servers that start at the same time are kept apart by a lock on the directory, held for a few system calls.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::sync::Notify;

use super::BindError;
use crate::limits::BACKLOG;

/// How long the directory's lock is waited for. Anybody who can read a shared directory could keep it: then we go on
/// without, and only the race of two starts is left.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// A bound Unix socket; its name is removed when this is dropped, if it still is ours.
#[derive(Debug)]
pub struct UnixSocket {
    listener: Option<UnixListener>,
    path: PathBuf,
    /// Device and inode of the name, to know it again.
    identity: (u64, u64),
    mode: u32,
    retire: Arc<Notify>,
}

impl UnixSocket {
    /// Binds `path` with permissions `mode`. A stale socket is replaced.
    pub(super) fn bind(path: &Path, mode: u32) -> Result<Self, BindError> {
        let io_error = |cause| BindError::Io {
            address: address(path),
            cause,
        };
        // The temporary name is shorter: nobody could connect to a name that does not fit an address.
        SockAddr::unix(path).map_err(io_error)?;
        // Absolute, so that it can be removed whatever the working directory is then.
        let path = std::path::absolute(path).map_err(io_error)?;
        let _lock = lock_directory(&path);
        if let Some(pid) = living_holder(&path)? {
            return Err(BindError::Held {
                address: address(&path),
                pid,
            });
        }
        let temporary = path.with_file_name(format!(".{:x}", std::process::id()));
        let bound = bind_temporary(&temporary, mode).and_then(|listener| {
            std::fs::rename(&temporary, &path)?;
            let metadata = std::fs::symlink_metadata(&path)?;
            Ok((listener, (metadata.dev(), metadata.ino())))
        });
        match bound {
            Ok((listener, identity)) => Ok(Self {
                listener: Some(listener),
                path,
                identity,
                mode,
                retire: Arc::default(),
            }),
            Err(cause) => {
                let _ = std::fs::remove_file(&temporary);
                Err(BindError::Io {
                    address: address(&path),
                    cause,
                })
            }
        }
    }

    /// Its name, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The listener, the first time.
    pub(crate) fn take(&mut self) -> Option<UnixListener> {
        self.listener.take()
    }

    /// Removes the name, if it still is ours: nobody finds it any more, those who have connected are still served.
    pub(crate) fn unpublish(&self) {
        let _lock = lock_directory(&self.path);
        if self.is_published() {
            let _ = std::fs::remove_file(&self.path);
        }
    }

    /// Whether clients still find it by its name.
    pub(crate) fn is_published(&self) -> bool {
        std::fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.identity)
    }

    /// Tells its acceptor, once, that nobody will come any more.
    pub(crate) fn retire(&self) -> Arc<Notify> {
        Arc::clone(&self.retire)
    }

    /// A new socket of that name, which has vanished; its directory is made where it is missing. Blocks: for a few system
    /// calls.
    pub(crate) fn bind_again(&self) -> Result<Self, BindError> {
        logserv_ring::make_personal_directory(&self.path).map_err(|error| BindError::Directory {
            address: address(&self.path),
            why: error.to_string(),
        })?;
        Self::bind(&self.path, self.mode)
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        self.unpublish();
    }
}

/// The address in messages.
pub(super) fn address(path: &Path) -> String {
    format!("unix:{}", path.display())
}

/// Whether somebody accepts on `path`, and who: `None` nobody, `Some(None)` somebody that cannot be named.
pub(super) fn living_holder(path: &Path) -> Result<Option<Option<i32>>, BindError> {
    let io_error = |cause| BindError::Io {
        address: address(path),
        cause,
    };
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => {}
        Ok(_) => {
            return Err(BindError::NotASocket {
                path: path.to_owned(),
            });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(error)),
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(io_error)?;
    // Not blocking: a holder whose backlog is full would keep us here.
    socket.set_nonblocking(true).map_err(io_error)?;
    match socket.connect(&SockAddr::unix(path).map_err(io_error)?) {
        Ok(()) => {
            let pid = rustix::net::sockopt::socket_peercred(&socket).map(|peer| peer.pid.as_raw_pid());
            Ok(Some(pid.ok().filter(|pid| *pid > 0)))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Some(None)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(io_error(error)),
    }
}

fn bind_temporary(path: &Path, mode: u32) -> io::Result<UnixListener> {
    // Left by a process of our number that was killed in between.
    let _ = std::fs::remove_file(path);
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // Before `listen`: nobody gets in under the wider permissions of a fresh socket.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn lock_directory(path: &Path) -> Option<File> {
    let directory = File::open(path.parent()?).ok()?;
    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Some(directory),
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_a_living_one_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let socket = UnixSocket::bind(&path, 0o640).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o640
        );
        let me = i32::try_from(std::process::id()).unwrap();
        match UnixSocket::bind(&path, 0o600).unwrap_err() {
            BindError::Held { pid, .. } => assert_eq!(pid, Some(me)),
            other => panic!("{other}"),
        }
        drop(socket);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_name_that_no_client_could_connect_to_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s".repeat(100));
        let error = UnixSocket::bind(&path, 0o600).unwrap_err();
        assert_eq!(
            error.errno(),
            rustix::io::Errno::NAMETOOLONG.raw_os_error(),
            "{error}"
        );
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn another_servers_socket_is_not_removed_and_a_file_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s.sock");
        let socket = UnixSocket::bind(&path, 0o600).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "precious").unwrap();
        drop(socket);
        assert!(matches!(
            UnixSocket::bind(&path, 0o600),
            Err(BindError::NotASocket { .. })
        ));
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }
}
