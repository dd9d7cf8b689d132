//! Where the state of a file is kept: in memory, or on a disk where memory is full. Both outlive this process.
//!
//! In: the file's place. Out: its state, opened or made; the directories in which states may be.
//! Not here: what is in it (`ledger.rs`, `logserv_ring`).

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use logserv_disk::Location;
use logserv_ring::{Directory, DirectoryError, StateFile};
use rustix::fs::{AtFlags, StatxFlags};

use crate::limits::{CLOSED_STATES_MAX, SESSION_IDLE_AGE_MAX, STATE_FALLBACK};

/// Tells a file's place from all others while this machine is up: also from a later directory that has got the number of
/// one that was removed. Blocks: for a system call.
pub(crate) fn place_of(location: &Location) -> String {
    let key = location.key();
    let born = rustix::fs::statx(location.directory(), c"", AtFlags::EMPTY_PATH, StatxFlags::BTIME)
        .map(|stat| stat.stx_btime)
        .map_or((0, 0), |born| (born.tv_sec, born.tv_nsec));
    format!(
        "{}:{} {}.{:09}/{:?}",
        key.device, key.inode, born.0, born.1, key.name
    )
}

/// Held while a state is opened, and while unused ones are removed: one that is opened in between would be lost.
static GUARD: Mutex<()> = Mutex::new(());

fn guard() -> MutexGuard<'static, ()> {
    GUARD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The state of the file at `place`: where there is one already, else in memory, else on a disk. Call it under the file's
/// lock. Blocks: for some system calls.
pub(super) fn open(place: &str) -> Result<StateFile, String> {
    let _guard = guard();
    let open_in = |directory: Result<Directory, DirectoryError>| {
        let directory = directory.map_err(|error| error.to_string())?;
        StateFile::open(&directory, place).map_err(|error| error.to_string())
    };
    if let Some(directory) = directory_of(place) {
        return open_in(Ok(directory));
    }
    open_in(Directory::ensure()).or_else(|memory| {
        open_in(Directory::ensure_at(Path::new(STATE_FALLBACK))).map_err(|disk| format!("{memory}; {disk}"))
    })
}

/// Removes the state of the file at `place`.
pub(super) fn remove(state: StateFile, place: &str) {
    if let Some(directory) = directory_of(place) {
        state.remove(&directory);
    }
}

/// Removes the states of closed files that are of no use any more: whose sessions were used for the last time more than an
/// hour ago, and all but the newest [`CLOSED_STATES_MAX`]. Blocks: for some system calls a state.
pub(crate) fn trim() {
    let _guard = guard();
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let since_s = now_s.saturating_sub(SESSION_IDLE_AGE_MAX).as_secs();
    for directory in directories() {
        let mut unused: Vec<(u64, String)> = StateFile::all(&directory)
            .unwrap_or_default()
            .into_iter()
            .filter_map(|name| Some((StateFile::unused_since(&directory, &name)?, name)))
            .collect();
        unused.sort_unstable_by(|one, other| other.cmp(one));
        for (number, (last_use_s, name)) in unused.iter().enumerate() {
            let is_needless = number >= CLOSED_STATES_MAX || *last_use_s < since_s;
            // Another server may have opened it since.
            if is_needless && StateFile::unused_since(&directory, name) == Some(*last_use_s) {
                // One that stays is looked at the next time.
                let _ = StateFile::remove_unused(&directory, name);
            }
        }
    }
}

/// The directories in which this user's states may be.
pub(crate) fn directories() -> impl Iterator<Item = Directory> {
    let mine = rustix::process::geteuid().as_raw();
    let opened = [
        Directory::open(mine),
        Directory::open_at(Path::new(STATE_FALLBACK), mine),
    ];
    opened.into_iter().filter_map(|opened| opened.ok().flatten())
}

fn directory_of(place: &str) -> Option<Directory> {
    directories().find(|directory| StateFile::exists(directory, place))
}
