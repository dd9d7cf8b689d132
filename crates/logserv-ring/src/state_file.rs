//! What a server remembers of one log file over its own death: what it is about to write, and whose records are written.
//!
//! In: the batch before each write, the settings, the sessions' progress. Out: the same, to the next server. A mapping
//! outlives the process: a store that was made is there, a kill tears none, so nothing here is synced or summed up.
//! The host's death ends it. One writer: whoever holds the log file's own lock. The file is in its owner's own directory
//! and trusted, unlike a ring. Not here: what is done about an intent that is found (`logserv-disk`).

pub(crate) mod layout;
mod sessions;
mod unused;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::boot::boot_id;
use crate::directory::{Directory, type_name};
use crate::error::StateError;
use crate::file::{self, MODE};
use crate::limits::{
    INTENT_BYTES_MAX, INTENT_DATA_STEP, INTENT_LINES_MAX, INTENT_MARKS_MAX, SETTINGS_BYTES_MAX,
    STATE_ATTEMPTS_MAX, STATE_PLACE_BYTES_MAX,
};
use crate::name::{RingName, hexadecimal, key_of};
use crate::sys::{Map, View};
use layout::{
    ACTIVE_AT, GENERATION_AT, INTENT_AT, INTENT_DATA_AT, IntentHead, MARK_LEN, PLACE_AT, PLACE_LEN_AT,
    Reader, SETTINGS_AT, SETTINGS_WORD_AT, STATE_BOOT_AT, STATE_MAGIC, STATE_MAGIC_AT, STATE_VERSION,
    STATE_VERSION_AT, mark_bytes,
};
use sessions::Sessions;

/// What a state file's name begins with; 16 hexadecimal digits follow.
const PREFIX: &str = "state-";
/// Bytes of the largest file: an intent is put behind the last one only where it does not fit before it.
const LEN_MAX: usize =
    INTENT_DATA_AT + 3 * (INTENT_BYTES_MAX + 4 * INTENT_LINES_MAX + MARK_LEN * INTENT_MARKS_MAX);

/// From where a record came.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// The ring `name` in the directory of the user `uid`.
    Ring {
        /// Whose directory.
        uid: u32,
        /// Which ring.
        name: RingName,
    },
    /// The session with this id, over a socket.
    Session([u8; 16]),
}

/// How far a source's records are in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Whose records.
    pub source: Source,
    /// A ring's position, or a session's sequence number.
    pub position: u64,
    /// The ring's records up to there.
    pub count: u64,
}

/// A write that was about to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// The device of the file.
    pub device: u64,
    /// The inode of the file.
    pub inode: u64,
    /// Where in the file the bytes begin.
    pub offset: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Where in `bytes` each line ends.
    pub ends: Vec<u32>,
    /// How far the sources are when all of it is written.
    pub marks: Vec<Mark>,
}

/// The state file of one log file, mapped.
#[derive(Debug)]
pub struct StateFile {
    name: String,
    file: OwnedFd,
    map: Map,
    len: usize,
    sessions: Sessions,
}

impl StateFile {
    /// The state of the log file at `place`, a text that is the same whenever the file is. Made if there is none; begun
    /// anew if it is another boot's, another version's or makes no sense. Call it under the log file's own lock.
    ///
    /// # Errors
    /// `NoSpace`; `TooLong`; `Refused` if the file there is none of ours; `Io`.
    pub fn open(directory: &Directory, place: &str) -> Result<Self, StateError> {
        require("the place's text", place.len(), STATE_PLACE_BYTES_MAX)?;
        let name = name_of(place);
        for _ in 0..STATE_ATTEMPTS_MAX {
            if let Some(found) = Self::take_over(directory, &name, place)? {
                return Ok(found);
            }
            match Self::make(directory, &name, place) {
                Err(StateError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made,
            }
        }
        Err(StateError::new(Errno::EXIST, "make", 0))
    }

    /// Whether there is one for the log file at `place`.
    #[must_use]
    pub fn exists(directory: &Directory, place: &str) -> bool {
        matches!(open_file(directory, &name_of(place)), Ok(Some(_)))
    }

    /// The file that is there, if it is of use; if it is not, it is removed.
    fn take_over(directory: &Directory, name: &str, place: &str) -> Result<Option<Self>, StateError> {
        let Some((file, len)) = open_file(directory, name)? else {
            return Ok(None);
        };
        let failed = |errno: Errno, doing: &'static str| StateError::new(errno, doing, len as u64);
        if (INTENT_DATA_AT..=LEN_MAX).contains(&len) {
            // It is allocated, unless somebody has punched holes into it.
            file::allocate(file.as_fd(), 0, len as u64).map_err(|errno| failed(errno, "allocate"))?;
            let map = Map::new(file.as_fd(), len).map_err(|errno| failed(errno, "map"))?;
            let sessions = map
                .view()
                .and_then(|view| begin_next(view, len, place).then(|| Sessions::load(view)));
            if let Some(sessions) = sessions {
                return Ok(Some(Self {
                    name: name.to_owned(),
                    file,
                    map,
                    len,
                    sessions,
                }));
            }
        }
        let removed = directory.remove_file(name);
        removed.map(|()| None).map_err(|source| StateError::Io {
            doing: "remove",
            source,
        })
    }

    fn make(directory: &Directory, name: &str, place: &str) -> Result<Self, StateError> {
        let len = INTENT_DATA_AT + INTENT_DATA_STEP;
        let failed = |(errno, doing): file::Failed| StateError::new(errno, doing, len as u64);
        let file = file::make(directory, len as u64).map_err(failed)?;
        let map = Map::new(file.as_fd(), len).map_err(|errno| failed((errno, "map")))?;
        let view = map.view().ok_or_else(|| failed((Errno::NOMEM, "map")))?;
        view.write(STATE_MAGIC_AT, &STATE_MAGIC);
        view.write(STATE_VERSION_AT, &STATE_VERSION.to_le_bytes());
        view.write(STATE_BOOT_AT, &boot_id());
        view.store(GENERATION_AT, 1, Ordering::Relaxed);
        view.store(PLACE_LEN_AT, place.len() as u64, Ordering::Relaxed);
        view.write(PLACE_AT, place.as_bytes());
        let sessions = Sessions::load(view);
        file::give_name(file.as_fd(), directory, name).map_err(failed)?;
        Ok(Self {
            name: name.to_owned(),
            file,
            map,
            len,
            sessions,
        })
    }

    /// Remembers the log file's settings: with them the next server can open it before anybody asks for it.
    ///
    /// # Errors
    /// `TooLong`; the settings are then as they were.
    pub fn set_settings(&mut self, json: &str) -> Result<(), StateError> {
        require("the settings", json.len(), SETTINGS_BYTES_MAX)?;
        let Some(view) = self.map.view() else {
            return Ok(());
        };
        let slot = 1 - (view.load(SETTINGS_WORD_AT, Ordering::Relaxed) >> 32 & 1);
        let [first, second] = SETTINGS_AT;
        view.write(if slot == 0 { first } else { second }, json.as_bytes());
        // Release: the text stands before the word that makes it count.
        view.store(
            SETTINGS_WORD_AT,
            slot << 32 | json.len() as u64,
            Ordering::Release,
        );
        Ok(())
    }

    /// The settings that were remembered; `None` if there were none, or empty ones.
    #[must_use]
    pub fn settings(&self) -> Option<String> {
        reader(self.map.view()?, self.len).settings()
    }

    /// The write that was declared and not cleared.
    #[must_use]
    pub fn declared(&self) -> Option<Declared> {
        reader(self.map.view()?, self.len).declared()
    }

    /// Declares a write: in the place of the last one, which stays declared until this one is complete. Blocks: never,
    /// but when it must grow.
    ///
    /// # Errors
    /// `NoSpace`, `TooLong`, `Io`; the last declaration then stays.
    pub fn declare(
        &mut self,
        device: u64,
        inode: u64,
        offset: u64,
        bytes: &[u8],
        ends: &[u32],
        marks: &[Mark],
    ) -> Result<(), StateError> {
        require("the bytes", bytes.len(), INTENT_BYTES_MAX)?;
        require("the lines", ends.len(), INTENT_LINES_MAX)?;
        require("the marks", marks.len(), INTENT_MARKS_MAX)?;
        let mut head = IntentHead {
            data_at: INTENT_DATA_AT,
            device,
            inode,
            offset,
            bytes: bytes.len(),
            lines: ends.len(),
            marks: marks.len(),
        };
        let mut slot = 0;
        if let Some((used_slot, used)) = self
            .map
            .view()
            .and_then(|view| reader(view, self.len).intent().ok()?)
        {
            slot = 1 - used_slot;
            if used.data_at - INTENT_DATA_AT < head.data_len() {
                head.data_at = used.data_at + used.data_len();
            }
        }
        self.grow_to(head.data_at + head.data_len())?;
        let (Some(view), Some(head_at)) = (self.map.view(), INTENT_AT.get(slot)) else {
            return Ok(());
        };
        view.write(head.data_at, bytes);
        write_ends(view, head.ends_at(), ends);
        for (index, mark) in marks.iter().enumerate() {
            view.write(head.marks_at() + MARK_LEN * index, &mark_bytes(mark));
        }
        view.write(*head_at, &head.to_bytes());
        // Release: everything stands before the word that declares it, for whoever maps the file after our death.
        view.store(ACTIVE_AT, 1 + slot as u64, Ordering::Release);
        Ok(())
    }

    /// Nothing is declared any more: everything is written.
    pub fn clear(&mut self) {
        if let Some(view) = self.map.view() {
            // Release: what the caller did before stands before this.
            view.store(ACTIVE_AT, 0, Ordering::Release);
        }
    }

    /// The sequence number that was remembered for a session.
    #[must_use]
    pub fn session(&self, id: &[u8; 16]) -> Option<u64> {
        self.sessions.get(self.map.view()?, id)
    }

    /// Remembers a session's sequence number. Of too many, the one unused for longest is forgotten.
    pub fn set_session(&mut self, id: [u8; 16], seq: u64, now_s: u64) {
        if let Some(view) = self.map.view() {
            self.sessions.set(view, id, seq, now_s);
        }
    }

    /// All sessions and their sequence numbers, in no order.
    #[must_use]
    pub fn sessions(&self) -> Vec<([u8; 16], u64)> {
        self.map
            .view()
            .map_or_else(Vec::new, |view| self.sessions.all(view))
    }

    /// Forgets a session.
    pub fn forget_session(&mut self, id: &[u8; 16]) {
        if let Some(view) = self.map.view() {
            self.sessions.forget(view, id);
        }
    }

    /// Removes the file: there is nothing left to remember.
    pub fn remove(self, directory: &Directory) {
        // One that stays is taken over, or begun anew, by the next server.
        let _ = directory.remove_file(&self.name);
    }

    /// The names of all state files in a directory.
    ///
    /// # Errors
    /// Those of listing the directory.
    pub fn all(directory: &Directory) -> io::Result<Vec<String>> {
        directory.names(|name| {
            let digits = name.strip_prefix(PREFIX)?;
            hexadecimal(digits, 16).ok().map(|_| name.to_owned())
        })
    }

    /// The place, the settings (empty if there are none) and whether a write is declared, of a state file that may be in
    /// use. `None` if it is none, or of another boot or version.
    #[must_use]
    pub fn peek(directory: &Directory, file_name: &str) -> Option<(String, String, bool)> {
        let (file, len) = open_file(directory, file_name).ok()??;
        let read = |at: usize, into: &mut [u8]| matches!(file::read(file.as_fd(), at as u64, into), Ok(true));
        let reader = Reader { len, read };
        if !reader.is_ours() {
            return None;
        }
        let declared = matches!(reader.intent(), Ok(Some(_)));
        Some((reader.place()?, reader.settings().unwrap_or_default(), declared))
    }

    /// Makes the file at least `len` bytes long: allocated first, then mapped.
    fn grow_to(&mut self, len: usize) -> Result<(), StateError> {
        if len <= self.len {
            return Ok(());
        }
        let len = len.next_multiple_of(INTENT_DATA_STEP);
        let failed = |errno: Errno, doing: &'static str| StateError::new(errno, doing, len as u64);
        file::allocate(self.file.as_fd(), self.len as u64, len as u64)
            .map_err(|errno| failed(errno, "grow"))?;
        self.map = Map::new(self.file.as_fd(), len).map_err(|errno| failed(errno, "map"))?;
        self.len = len;
        Ok(())
    }
}

/// Many at once: one by one, each of a batch's thousands would cost as much as the copy of a short line.
fn write_ends(view: View<'_>, at: usize, ends: &[u32]) {
    const AT_ONCE: usize = 256;
    let mut bytes = [0; 4 * AT_ONCE];
    for (index, part) in ends.chunks(AT_ONCE).enumerate() {
        for (place, end) in bytes.chunks_exact_mut(4).zip(part) {
            place.copy_from_slice(&end.to_le_bytes());
        }
        let filled = bytes.get(..4 * part.len()).unwrap_or_default();
        view.write(at + 4 * AT_ONCE * index, filled);
    }
}

fn name_of(place: &str) -> String {
    format!("{PREFIX}{:016x}", key_of(place))
}

/// Whether the file is of use for `place`; if so, the next generation begins.
fn begin_next(view: View<'_>, len: usize, place: &str) -> bool {
    let reader = reader(view, len);
    let useful = reader.is_ours() && reader.place().as_deref() == Some(place) && reader.intent().is_ok();
    if useful {
        let generation = view.load(GENERATION_AT, Ordering::Relaxed);
        view.store(GENERATION_AT, generation.wrapping_add(1), Ordering::Relaxed);
    }
    useful
}

fn reader(view: View<'_>, len: usize) -> Reader<impl Fn(usize, &mut [u8]) -> bool> {
    let read = move |at: usize, into: &mut [u8]| view.read(at, into);
    Reader { len, read }
}

/// The file `name` and its length, if it exists and is one that we may have made.
fn open_file(directory: &Directory, name: &str) -> Result<Option<(OwnedFd, usize)>, StateError> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let refused = |received: String| StateError::Refused {
        name: name.to_owned(),
        received,
    };
    let file = match rustix::fs::openat(directory, name, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Err(refused("a symbolic link".into())),
        Err(errno) => return Err(StateError::new(errno, "open", 0)),
    };
    let stat = rustix::fs::fstat(&file).map_err(|errno| StateError::new(errno, "look at", 0))?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    let mode = stat.st_mode & 0o7777;
    if kind != FileType::RegularFile {
        return Err(refused(type_name(kind).into()));
    }
    if stat.st_uid != directory.uid() || mode != MODE || stat.st_nlink > 1 {
        let received = format!("owner {}, mode {mode:04o}, {} names", stat.st_uid, stat.st_nlink);
        return Err(refused(received));
    }
    Ok(Some((file, usize::try_from(stat.st_size).unwrap_or(0))))
}

fn require(what: &'static str, received: usize, expected: usize) -> Result<(), StateError> {
    if received > expected {
        return Err(StateError::TooLong {
            what,
            expected,
            received,
        });
    }
    Ok(())
}
