//! What passes between `ingest` and `files`: requests to open a file, refusals, batches of records, formatters.
//!
//! Plain data. Not here: who makes them (`ingest`), who uses them up (`files`, `writer`).

use std::sync::Arc;

use logserv_format::Formatter;

use crate::progress::Progress;

/// Asks for a file in the name of a handler: what 2.0's Open, or 1.0's IDENTIFY and HANDLER, said.
#[derive(Debug, Clone)]
pub struct OpenRequest {
    /// The class on the server, e.g. `logging.handlers.RotatingFileHandler`.
    pub handler_class: String,
    /// Its arguments, `filename` among them, spelled as in `logging.handlers`.
    pub arguments: serde_json::Map<String, serde_json::Value>,
    /// When the handler was constructed, in seconds since 1970: the newest configuration of a file wins.
    /// For 1.0, which does not say: when the connection identified itself.
    pub configured_at_s: f64,
    /// Whether the client knows that no server has ever opened the file for this configuration (2.0: Open's `first`).
    /// Only then may `mode="w"` truncate. Protocol 1.0 cannot tell a reconnect: always `false`.
    pub first: bool,
    /// Who asks, for warnings and `logserv status`, e.g. `pid 4711 (app.py)` or `10.0.0.7:51234`.
    pub peer: String,
}

/// Why something was refused, in the words of 1.0's `ERROR EXPECTED <expected>, received <received>`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, received {received}")]
pub struct Refusal {
    /// What would have been accepted, with the option that would allow it where there is one.
    pub expected: String,
    /// What came.
    pub received: String,
    /// Whether the same request may succeed later without anybody changing it (a full disk: yes; a wrong name: no).
    pub retry: bool,
    /// Where the file's holder listens, `unix:/…`, if it is another server of this user.
    pub held_at: Option<String>,
}

impl Refusal {
    /// A refusal that stays one until the request, or the server's configuration, changes.
    pub fn lasting(expected: impl Into<String>, received: impl Into<String>) -> Self {
        Self {
            expected: expected.into(),
            received: received.into(),
            retry: false,
            held_at: None,
        }
    }

    /// A refusal that may heal by itself.
    pub fn passing(expected: impl Into<String>, received: impl Into<String>) -> Self {
        Self {
            expected: expected.into(),
            received: received.into(),
            retry: true,
            held_at: None,
        }
    }
}

/// Some records of one session, on their way to one file.
#[derive(Debug)]
pub struct Batch {
    /// Whole wire records, one behind the other.
    pub records: Vec<u8>,
    /// How many there are. Every one of them ends as written, filtered or dropped, even if its bytes are malformed.
    pub count: u32,
    /// The sequence number of the first; the last is `first_seq + count - 1`.
    pub first_seq: u64,
    /// The formatters that the records name, as announced when the batch was received.
    pub formatters: Arc<Formatters>,
    /// Records below this level are filtered: what a 1.0 client announced; `i32::MIN` where the client filters (2.0).
    pub level_min: i32,
    /// The session's name, where it may resume after this server has died.
    pub session: Option<[u8; 16]>,
    /// Advanced to the last sequence number once the records are in the file.
    pub progress: Arc<Progress>,
}

/// The formatters of one session: immutable, so that a batch keeps those it was sent with.
#[derive(Debug, Clone, Default)]
pub struct Formatters {
    default: Arc<Formatter>,
    /// In the order of their numbers. Most sessions have one: looking it up for each record must cost nothing.
    by_id: Vec<(u32, Arc<Formatter>)>,
}

impl Formatters {
    /// Only a formatter for id 0, instead of Python's default: `--socket-handler-format`.
    #[must_use]
    pub fn with_default(formatter: Arc<Formatter>) -> Self {
        Self {
            default: formatter,
            by_id: Vec::new(),
        }
    }

    /// These and one more, announced under `id`; an earlier one of that id is replaced.
    #[must_use]
    pub fn with(&self, id: u32, formatter: Arc<Formatter>) -> Self {
        let mut all = self.clone();
        match all.place(id) {
            _ if id == 0 => all.default = formatter,
            Ok(place) => {
                if let Some((_, known)) = all.by_id.get_mut(place) {
                    *known = formatter;
                }
            }
            Err(place) => all.by_id.insert(place, (id, formatter)),
        }
        all
    }

    /// The formatter that records name by `id`; 0 is the default. `None`: never announced.
    #[must_use]
    pub fn get(&self, id: u32) -> Option<&Arc<Formatter>> {
        if id == 0 {
            return Some(&self.default);
        }
        let place = self.place(id).ok()?;
        self.by_id.get(place).map(|(_, formatter)| formatter)
    }

    fn place(&self, id: u32) -> Result<usize, usize> {
        self.by_id.binary_search_by_key(&id, |(known, _)| *known)
    }

    /// How many were announced, to be held against [`FORMATTERS_MAX`](crate::limits::FORMATTERS_MAX) before adding.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether none was announced.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}
