//! The descriptor of a sealed ring, kept to be passed to every server that asks for it.
//!
//! Another thread may close every descriptor at any time and open files of its own, as programs that become daemons do:
//! the file remembers device and inode, and a number that has become another file's is neither passed nor closed.
//! Not here: the message that it goes with (`socket.rs`).

use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};

use super::fork::Descriptor;
use super::socket::{Identity, close, identity};

/// A descriptor that may be passed, as long as it is what it was. Closes nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Passed {
    descriptor: i32,
    identity: Identity,
}

impl Passed {
    /// Its number, if it is still its own.
    pub(super) fn descriptor(&self) -> Option<i32> {
        (identity(self.descriptor) == Some(self.identity)).then_some(self.descriptor)
    }
}

/// See the file's head. Closed when dropped, if it is still ours, and in every forked child.
#[derive(Debug)]
pub(crate) struct Kept {
    file: Passed,
    /// Where a forked child finds it. Dropped behind the closing.
    _place: Descriptor,
}

impl Kept {
    /// Keeps the descriptor.
    ///
    /// # Errors
    /// It has been closed by somebody else meanwhile.
    pub(crate) fn new(file: OwnedFd) -> io::Result<Self> {
        let Some(identity) = identity(file.as_raw_fd()) else {
            let error = io::Error::last_os_error();
            let _ = file.into_raw_fd(); // closing it would be an error, and perhaps somebody else's loss
            return Err(error);
        };
        let descriptor = file.into_raw_fd();
        let place = Descriptor::claim();
        place.set(descriptor, identity);
        let file = Passed { descriptor, identity };
        Ok(Self { file, _place: place })
    }

    /// What can be passed; `None`: the application has closed it.
    pub(crate) fn to_pass(&self) -> Option<Passed> {
        self.file.descriptor().map(|_| self.file)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(descriptor) = self.file.descriptor() {
            close(descriptor);
        }
    }
}
