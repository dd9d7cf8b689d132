//! Where the user's own server listens, as one process sees it.
//!
//! In: two variables of the environment, read once, for the environment may be changed by another thread at any time. Out: the
//! socket's path, found anew for each connection: the process may become another user, and a runtime directory may vanish.
//! Not here: the rule itself (`logserv-ring`), and starting the server (`launch.rs`).

use std::ffi::OsString;
use std::path::PathBuf;

use logserv_ring::personal_socket_of;

/// What the place of the personal server depends on besides the process's user and mount namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Personal {
    socket: Option<OsString>,
    runtime: Option<OsString>,
}

impl Personal {
    /// From the values of `LOGSERV_SOCKET` and `XDG_RUNTIME_DIR`. A relative path is that of the present working directory.
    #[must_use]
    pub fn new(socket: Option<OsString>, runtime: Option<OsString>) -> Self {
        let absolute = |path: OsString| std::path::absolute(&path).map_or(path, PathBuf::into_os_string);
        Self {
            socket: socket.filter(|path| !path.is_empty()).map(absolute),
            runtime,
        }
    }

    /// The socket's path now. Blocks: for a few system calls.
    ///
    /// # Errors
    /// There is no place for it, in words for the user.
    pub fn path(&self) -> Result<PathBuf, String> {
        personal_socket_of(self.socket.clone(), self.runtime.clone()).map_err(|error| error.to_string())
    }
}
