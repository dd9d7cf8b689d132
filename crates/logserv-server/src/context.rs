//! What every connection is given: the files, the sessions, the counters, and word of the shutdown.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;

use crate::admin::Admin;
use crate::counters::Counters;
use crate::files::Files;
use crate::ingest::Sessions;
use crate::rings::Rings;

/// What the connections of one server share.
#[derive(Debug)]
pub struct Context {
    /// The files and their writers.
    pub files: Files,
    /// The sessions of protocol 2.0, over all connections.
    pub sessions: Arc<Sessions>,
    /// The rings that are read.
    pub(crate) rings: Arc<Rings>,
    /// The numbers that `logserv status` shows.
    pub counters: Arc<Counters>,
    /// Answers the operator's commands.
    pub admin: Admin,
    /// Turns to [`Phase::Draining`] when the server shall leave. A connection then takes in what its peer has already
    /// sent (1.0, `SocketHandler`) or stops reading (2.0, which resends), acknowledges what gets written, and ends.
    /// Connections that have not ended when the drain's time is up are cut.
    pub phase: watch::Receiver<Phase>,
}

/// Where the server is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// It serves.
    #[default]
    Serving,
    /// It takes in what is on its way, writes it, and leaves.
    Draining,
}

/// Who is at the other end of a connection, as the kernel says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A process on this machine.
    Unix {
        /// Its effective user.
        uid: u32,
        /// Its process, where the kernel tells.
        pid: Option<i32>,
    },
    /// A TCP peer, on this machine or elsewhere.
    Tcp {
        /// Its address.
        address: SocketAddr,
    },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix { uid, pid: Some(pid) } => write!(f, "pid {pid} (uid {uid})"),
            Self::Unix { uid, pid: None } => write!(f, "uid {uid}"),
            Self::Tcp { address } => write!(f, "{address}"),
        }
    }
}
