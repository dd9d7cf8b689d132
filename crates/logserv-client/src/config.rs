//! What a session is told when it is made, and what it tells about itself: plain values, no behaviour.
//!
//! Not here: what is done with them; that is `session.rs` and `sender.rs`.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::launch::Launch;
use crate::limits;
use crate::personal::Personal;

/// Where the server listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// A Unix stream socket; a relative path is relative to this process's working directory.
    Unix(PathBuf),
    /// A TCP port of a host given by name or number.
    Tcp {
        /// Name, IPv4 or IPv6 address without brackets.
        host: String,
        /// Port.
        port: u16,
    },
    /// The user's own server on this host, started where there is none.
    Personal(Personal),
}

/// What happens to a record for which there is no space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum WhenFull {
    /// The call waits, at most `block_timeout`; then the record is dropped and counted.
    #[default]
    Block,
    /// The record is dropped and counted at once.
    DropNewest,
}

/// Renders one wire record with the formatter specification (JSON) given, or `None` where it cannot.
///
/// Called on the sender thread, and only for a server of 2013 that cannot take a formatter. Must not take the GIL.
pub type Render = Arc<dyn Fn(&[u8], &str) -> Option<String> + Send + Sync>;

/// Where the rings of local sessions are made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[doc(hidden)]
pub enum RingPlace {
    /// In the user's own directory.
    #[default]
    Usual,
    /// In a directory below this one, for tests.
    Below(PathBuf),
    /// Nowhere, for tests.
    Nowhere,
}

/// Everything a session needs to know; fixed for its life. Two sessions with equal address and file are two
/// producers: make one per process, address and server-side file, and share it.
#[derive(Clone)]
pub struct SessionConfig {
    /// Where the server listens.
    pub address: Address,
    /// Dotted name of the server-side class, such as `logging.handlers.RotatingFileHandler`.
    pub handler_class: String,
    /// The class's arguments, `filename` among them, spelled as in `logging.handlers`.
    pub arguments: Map<String, Value>,
    /// The level announced to a server of protocol 1.0, which applies it.
    pub level: i32,
    /// When the handler was constructed, in seconds since 1970: the newest configuration of a file wins.
    pub configured_at_s: f64,
    /// Bytes of encoded records held until the server has written them, in a ring where the server is on this host.
    pub capacity_bytes: usize,
    /// What happens when they are all in use.
    pub when_full: WhenFull,
    /// Longest wait of one call under [`WhenFull::Block`].
    pub block_timeout: Duration,
    /// Longest wait for one connection, and for each answer of its handshake.
    pub connect_timeout: Duration,
    /// Whether a record in the file tells of drops.
    pub announce_drops: bool,
    /// The name of this program, shown by `logserv status`.
    pub program: String,
    /// Renders records for servers that cannot; `None`: those get the bare message.
    pub render: Option<Render>,
    /// How the server of [`Address::Personal`] is started; `None`: somebody else does that.
    pub launch: Option<Arc<Launch>>,
    #[doc(hidden)]
    pub ring_place: RingPlace,
}

impl SessionConfig {
    /// The defaults of every setting, for this address, class and arguments.
    #[must_use]
    pub fn new(address: Address, handler_class: &str, arguments: Map<String, Value>) -> Self {
        Self {
            address,
            handler_class: handler_class.to_owned(),
            arguments,
            level: 0,
            configured_at_s: 0.0,
            capacity_bytes: limits::CAPACITY_BYTES_DEFAULT,
            when_full: WhenFull::Block,
            block_timeout: limits::BLOCK_TIMEOUT_DEFAULT,
            connect_timeout: limits::CONNECT_TIMEOUT_DEFAULT,
            announce_drops: true,
            program: String::new(),
            render: None,
            launch: None,
            ring_place: RingPlace::Usual,
        }
    }
}

impl fmt::Debug for SessionConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionConfig")
            .field("address", &self.address)
            .field("handler_class", &self.handler_class)
            .field("arguments", &self.arguments)
            .field("capacity_bytes", &self.capacity_bytes)
            .field("when_full", &self.when_full)
            .finish_non_exhaustive()
    }
}

/// Why a record was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// No space in the ring or queue, under `drop_newest` or after `block_timeout`.
    QueueFull,
    /// Longer than the wire allows; the maker of the record ought to have cut it.
    TooLong,
    /// Not one whole wire record: a defect of its maker.
    Malformed,
}

impl DropReason {
    /// All reasons, in the order of their declaration.
    pub const ALL: [DropReason; 3] = [DropReason::QueueFull, DropReason::TooLong, DropReason::Malformed];

    /// As it stands in the file and in statistics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            DropReason::QueueFull => "queue full",
            DropReason::TooLong => "record too long",
            DropReason::Malformed => "malformed record",
        }
    }
}

/// What became of a record given to [`Session::push`](crate::Session::push).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Push {
    /// It is in the ring and survives this process, or it is in the queue and will be sent.
    Stored,
    /// No space, and nothing was counted: call [`Session::wait_for_space`](crate::Session::wait_for_space) without
    /// any lock held and push again, whatever the answer. Only under [`WhenFull::Block`].
    Full,
    /// It is gone, counted, and will be told of.
    Dropped(DropReason),
}

/// The server has refused the session: what it expected and what it received, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What the server expected.
    pub expected: String,
    /// What it received instead.
    pub received: String,
    /// The file is held by another server of the same user, which listens there: `unix:` and an absolute path.
    pub held_at: Option<String>,
}

/// The protocol of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// That of 2013: no acknowledgements; a record counts as written once the kernel has it.
    One,
    /// Ours.
    Two,
}

impl Protocol {
    /// `"1.0"` or `"2.0"`.
    #[must_use]
    pub fn version(self) -> &'static str {
        match self {
            Protocol::One => "1.0",
            Protocol::Two => "2.0",
        }
    }
}

/// The numbers of a session in this process; they begin at 0 in a forked child.
///
/// Always `emitted + announced == written + pending_records + dropped`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Records given to `push`, except those answered with `Full`.
    pub emitted: u64,
    /// Records that the session made itself, to tell of drops.
    pub announced: u64,
    /// Records acknowledged as written (protocol 1.0: handed to the kernel).
    pub written: u64,
    /// Records dropped, all reasons together.
    pub dropped: u64,
    /// Records dropped by reason; reasons that never occurred are absent.
    pub dropped_by_reason: Vec<(DropReason, u64)>,
    /// Records in the ring or the queue, sent or not.
    pub pending_records: u64,
    /// Their bytes, in a ring with heads and padding.
    pub pending_bytes: u64,
    /// Records that were cut to fit a ring.
    pub cut: u64,
    /// Bytes of the ring that carries the records; `None`: there is none.
    pub ring_bytes: Option<u64>,
    /// Whether a server has welcomed us and the connection stands, as far as we know.
    pub connected: bool,
    /// The protocol of the present or the last connection.
    pub protocol: Option<Protocol>,
    /// Connections that came to be, the first one included.
    pub connections: u64,
    /// Refusals by servers.
    pub refusals: u64,
}
