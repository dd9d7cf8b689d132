//! State files that are of no use any more, and their removal.
//!
//! In: the name of one. Out: since when it is unused. One that a living server has mapped is in use, and so is one that
//! holds a write: whoever finishes it needs it.

use std::io;
use std::os::fd::AsFd;

use super::layout::{Reader, SESSION_LEN, SESSIONS_AT};
use super::{StateFile, open_file};
use crate::directory::Directory;
use crate::file;
use crate::limits::STATE_SESSIONS_MAX;
use crate::sys::{Lease, try_lease};

/// Where an entry's last use stands.
const LAST_USE: usize = 24;

impl StateFile {
    /// When a session of the state was last used, in seconds since 1970; 0 where there is none, or it is of another boot.
    /// `None`: a server uses the state, or it holds a write, or is none of ours. Blocks: never.
    #[must_use]
    pub fn unused_since(directory: &Directory, file_name: &str) -> Option<u64> {
        let (file, len) = open_file(directory, file_name).ok()??;
        if !matches!(try_lease(file.as_fd()), Lease::Granted) {
            return None;
        }
        let read = |at: usize, into: &mut [u8]| matches!(file::read(file.as_fd(), at as u64, into), Ok(true));
        let reader = Reader { len, read };
        if !reader.is_ours() {
            return Some(0);
        }
        if !matches!(reader.intent(), Ok(None)) {
            return None;
        }
        let mut table = vec![0; STATE_SESSIONS_MAX * SESSION_LEN];
        read(SESSIONS_AT, &mut table);
        let last_use = |entry: &[u8]| {
            let bytes = entry.get(LAST_USE..)?.first_chunk()?;
            Some(u64::from_le_bytes(*bytes))
        };
        Some(
            table
                .chunks_exact(SESSION_LEN)
                .filter_map(last_use)
                .max()
                .unwrap_or(0),
        )
    }

    /// Removes a state that was found [unused](Self::unused_since). Whoever opens it at this moment begins another one.
    ///
    /// # Errors
    /// Those of `unlink(2)`.
    pub fn remove_unused(directory: &Directory, file_name: &str) -> io::Result<()> {
        directory.remove_file(file_name)
    }
}
