//! A place for one file: a directory that is held open, and a name in it.
//!
//! In: what `roots.rs` found. Out: the identity of the place, and the directory's descriptor through which every later
//! operation on the file and its rotated files goes. The path is kept for messages, and to notice that the directory has
//! been replaced; it is never used to reach a file.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{PathError, PathErrorKind, errno_text, shown};
use crate::fs::from_kernel;
use crate::roots::Roots;

/// What makes two names the same place: the directory's device and inode, and the name in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileKey {
    /// Device of the directory.
    pub device: u64,
    /// Inode of the directory.
    pub inode: u64,
    /// Name in the directory.
    pub name: OsString,
}

/// A place where a file may be. Cloning shares the directory's descriptor.
#[derive(Debug, Clone)]
pub struct Location {
    roots: Roots,
    filename: String,
    directory: Arc<OwnedFd>,
    key: FileKey,
    path: PathBuf,
}

impl Location {
    pub(crate) fn new(
        roots: Roots,
        filename: &str,
        directory: OwnedFd,
        name: OsString,
        path: PathBuf,
    ) -> Result<Self, PathError> {
        let stat = rustix::fs::fstat(&directory)
            .map(|stat| from_kernel(&stat))
            .map_err(|errno| PathError {
                kind: PathErrorKind::Io,
                expected: format!("a directory for {}", path.display()),
                received: format!("{}: {}", shown(filename), errno_text(errno)),
            })?;
        let key = FileKey {
            device: stat.device,
            inode: stat.inode,
            name,
        };
        Ok(Self {
            roots,
            filename: filename.to_owned(),
            directory: Arc::new(directory),
            key,
            path,
        })
    }

    /// The identity of the place.
    #[must_use]
    pub fn key(&self) -> &FileKey {
        &self.key
    }

    /// The path beneath its canonical root, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The name in the directory.
    #[must_use]
    pub fn name(&self) -> &OsStr {
        &self.key.name
    }

    /// The name as the client gave it.
    #[must_use]
    pub fn filename(&self) -> &str {
        &self.filename
    }

    /// Device and inode of the file that the name leads to, links followed; none if there is none. Blocks: on the disk.
    #[must_use]
    pub fn identity(&self) -> Option<(u64, u64)> {
        let stat = rustix::fs::statat(&self.directory, self.name(), rustix::fs::AtFlags::empty()).ok()?;
        let stat = from_kernel(&stat);
        Some((stat.device, stat.inode))
    }

    /// The directory, held open.
    #[must_use]
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    pub(crate) fn directory_handle(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.directory)
    }

    pub(crate) fn restricted(&self) -> bool {
        self.roots.is_restricted()
    }

    pub(crate) fn in_use(&self) -> &InUse {
        self.roots.in_use()
    }

    /// Looks the name up again, by the same rules: somebody may have put another directory in its place.
    pub(crate) fn again(&self) -> Result<Self, PathError> {
        self.roots.locate(&self.filename)
    }
}

/// The active files of this process, by device and inode. A file that is being written is in nobody's chain, whatever
/// its name looks like.
#[derive(Debug, Clone, Default)]
pub(crate) struct InUse(Arc<Mutex<HashSet<(u64, u64)>>>);

impl InUse {
    /// Enters a file; false if it is there already.
    pub fn enter(&self, device: u64, inode: u64) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert((device, inode))
    }

    pub fn leave(&self, device: u64, inode: u64) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&(device, inode));
    }

    pub fn contains(&self, device: u64, inode: u64) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&(device, inode))
    }
}
