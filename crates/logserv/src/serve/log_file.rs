//! The file of a personal server's own log: bounded, and never a reason to stop.
//!
//! In: lines. Out: `server.log`, at most [`LEN_MAX`] bytes, and the one before it, `server.log.1`. It is opened with the first
//! line, anew when it has vanished, and after an error with the next line; what could not be written is lost.
//! Not here: the queue before it (`own_log.rs`): a disk that hangs keeps its thread alone.

use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes of the file: some thousand lines, and with the one before it nothing that anybody would have to clean up.
const LEN_MAX: u64 = 1 << 20;

/// Directories and the file are their user's alone: they name files and programs.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// Where to log: the user's state directory, and where that cannot be used the socket's.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: Option<File>,
}

impl LogFile {
    /// Finds the place. `$XDG_STATE_HOME/logserv`, else `~/.local/state/logserv`, where it is this user's own (`sudo` may keep
    /// another's) and can be written; else beside the socket. `None`: nowhere.
    pub(super) fn find(socket: &Path) -> Option<Self> {
        let variable = |name: &str| {
            let value = std::env::var_os(name).map(PathBuf::from);
            value.filter(|path| path.is_absolute())
        };
        let state = variable("XDG_STATE_HOME")
            .or_else(|| variable("HOME").map(|home| home.join(".local/state")))
            .filter(|state| is_own(state))
            .map(|state| state.join("logserv"));
        let candidates = state.into_iter().chain(socket.parent().map(Path::to_owned));
        candidates
            .map(|directory| directory.join("server.log"))
            .find_map(|path| {
                let file = open(&path).ok()?;
                Some(Self {
                    path,
                    file: Some(file),
                })
            })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The open file, rotated if it is full.
    fn current(&mut self, len: usize) -> io::Result<&mut File> {
        let is_there = self.file.as_ref().and_then(|file| file.metadata().ok());
        let by_name = std::fs::symlink_metadata(&self.path).ok();
        let is_same = match (&is_there, &by_name) {
            (Some(there), Some(named)) => (there.dev(), there.ino()) == (named.dev(), named.ino()),
            _ => false,
        };
        if is_same && is_there.is_some_and(|there| there.len() + len as u64 > LEN_MAX) {
            std::fs::rename(&self.path, self.path.with_extension("log.1"))?;
            self.file = None;
        } else if !is_same {
            self.file = None;
        }
        match &mut self.file {
            Some(file) => Ok(file),
            none => Ok(none.insert(open(&self.path)?)),
        }
    }
}

impl Write for LogFile {
    /// Writes a whole line, or none of it that counts.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let written = self.current(line.len()).and_then(|file| file.write_all(line));
        if written.is_err() {
            self.file = None;
        }
        written.map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(directory)?;
    }
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let file = File::options()
        .append(true)
        .create(true)
        .mode(FILE_MODE)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_fifo() || kind.is_char_device() || !kind.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(file)
}

/// Whether the directory, or the nearest one above it that exists, is this user's.
fn is_own(directory: &Path) -> bool {
    let own = rustix::process::geteuid().as_raw();
    let nearest = directory.ancestors().find_map(|path| path.metadata().ok());
    nearest.is_some_and(|found| found.uid() == own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_full_files_are_kept_and_no_more_and_a_vanished_one_is_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("logserv/server.log");
        let mut log = LogFile {
            path: path.clone(),
            file: None,
        };
        let line = [&[b'x'; 999][..], b"\n"].concat();
        for _ in 0..4000 {
            log.write_all(&line).unwrap();
        }
        let names = std::fs::read_dir(path.parent().unwrap()).unwrap();
        let mut sizes: Vec<u64> = names
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .collect();
        sizes.sort_unstable();
        assert_eq!(sizes.len(), 2);
        assert!(
            sizes.iter().all(|size| *size > 0 && *size <= LEN_MAX),
            "{sizes:?}"
        );
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
        log.write_all(b"again\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"again\n");
    }

    #[test]
    fn what_is_no_file_is_not_written_and_the_next_line_tries_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.log");
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let mut log = LogFile {
            path: path.clone(),
            file: None,
        };
        assert!(log.write_all(b"lost\n").is_err());
        std::fs::remove_file(&path).unwrap();
        log.write_all(b"kept\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"kept\n");
    }
}
