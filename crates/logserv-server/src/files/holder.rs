//! Where the server listens that holds a file: told to a client that is refused, so that it goes there.
//!
//! In: our own listeners, for our own states; of a file that is held, its place and the holder's pid. Out: a Unix socket's
//! address. It comes from the states of files, which lie in a directory that only this user can write to: another user
//! cannot send our clients anywhere. Not here: who holds a file (`logserv_disk`), what the client does (`logserv-client`).

use logserv_ring::StateFile;
use serde::{Deserialize, Serialize};

use crate::writer::state;

/// A server, as the states of its files name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    pid: u32,
    /// A Unix socket: `unix:` and its absolute path.
    listens_at: String,
    /// The path says nothing in another one.
    mount_namespace: Option<u64>,
}

/// What is read of a state's settings.
#[derive(Debug, Deserialize)]
struct Settings {
    holder: Option<Holder>,
}

impl Holder {
    /// Whether the other one listened where we do.
    pub(super) fn is_at_the_socket_of(&self, other: &Self) -> bool {
        (&self.listens_at, self.mount_namespace) == (&other.listens_at, other.mount_namespace)
    }

    fn held(self, own: Option<&Self>) -> Held {
        let is_gone = || {
            let path = self.listens_at.strip_prefix("unix:").unwrap_or_default();
            std::fs::symlink_metadata(path).is_err()
        };
        if own.is_some_and(|own| own.is_at_the_socket_of(&self)) || is_gone() {
            Held::Leaving
        } else {
            Held::At(self.listens_at)
        }
    }

    /// This process, if one of `addresses` is a Unix socket's.
    pub(crate) fn new(addresses: &[String]) -> Option<Self> {
        Some(Self {
            pid: std::process::id(),
            listens_at: addresses
                .iter()
                .find(|address| address.starts_with("unix:/"))?
                .clone(),
            mount_namespace: logserv_ring::mount_namespace(),
        })
    }
}

/// What is known of the server that holds a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Held {
    /// Clients can go there.
    At(String),
    /// Its socket is ours now, or is gone: it is about to leave.
    Leaving,
    /// Nothing: it is another user's, of another mount namespace, listens on TCP only, or is this one.
    Unknown,
}

/// The holder of the file at `place`, by whichever name; `pid` is the holder's, where the kernel tells. `own`: who we are.
/// Blocks: for some system calls for each state of this user.
pub(crate) fn look(place: &str, pid: Option<u32>, own: Option<&Holder>) -> Held {
    let here = logserv_ring::mount_namespace();
    let mut by_pid = Held::Unknown;
    for directory in state::directories() {
        for name in StateFile::all(&directory).unwrap_or_default() {
            let Some((of, settings, _)) = StateFile::peek(&directory, &name) else {
                continue;
            };
            let settings: Option<Settings> = serde_json::from_str(&settings).ok();
            let Some(holder) = settings.and_then(|settings| settings.holder) else {
                continue;
            };
            // A state outlives its server: then it names one that is gone.
            let is_possible = pid.is_none_or(|pid| pid == holder.pid);
            if !is_possible || holder.mount_namespace != here || holder.pid == std::process::id() {
                continue;
            }
            if of == place {
                return holder.held(own);
            }
            if pid.is_some() {
                by_pid = holder.held(own);
            }
        }
    }
    by_pid
}
