//! Where a connection without batches of its own gathers records for its file: one batch per chunk of the stream.
//!
//! In: pickles, one at a time. Out: [`Batch`]es of about [`BATCH_LEN_TARGET`] bytes, submitted.
//! Not here: when a chunk ends (`text.rs`), what a pickle means (`logserv_wire::pickle`).

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use logserv_format::Formatter;
use logserv_wire::limits::BATCH_LEN_TARGET;
use logserv_wire::pickle::{Conversion, Converted, PickleError, Unpickler};

use super::memory::{Lease, Share, Size};
use crate::counters::DropReason;
use crate::files::FileRef;
use crate::limits::BUFFER_FREE_LEN;
use crate::pipeline::{Batch, Formatters};
use crate::progress::Progress;

thread_local! {
    /// Pickles are read without waiting in between, so that a thread needs one reader and a connection none.
    static UNPICKLER: RefCell<Unpickler> = RefCell::default();
}

/// The formatter that a FORMAT announces: each batch has its own table, so one number is enough.
const ANNOUNCED: u32 = 1;

/// Records on their way from one 1.0 or `SocketHandler` connection to its file.
#[derive(Debug)]
pub(super) struct Draft {
    file: FileRef,
    formatters: Arc<Formatters>,
    formatter: u32,
    level_min: i32,
    records: Vec<u8>,
    count: u32,
    next_seq: u64,
    /// Who says QUIT is told by the connection's end; the protocol has no acknowledgements.
    progress: Arc<Progress>,
    share: Share,
    /// The right to more than `BUFFER_FREE_LEN` bytes of records.
    lease: Option<Lease>,
}

impl Draft {
    /// An empty draft for `file`; records below `level_min` are filtered by the file's writer.
    pub(super) fn new(file: FileRef, formatters: Arc<Formatters>, level_min: i32, share: Share) -> Self {
        Self {
            file,
            formatters,
            formatter: 0,
            level_min,
            records: Vec::new(),
            count: 0,
            next_seq: 1,
            progress: Arc::new(Progress::new(0)),
            share,
            lease: None,
        }
    }

    /// What the connections of its file share.
    pub(super) fn share(&self) -> Share {
        self.share.clone()
    }

    /// Whether it holds nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Takes in one record; submits when the batch is large. Drops: what is no pickle of a record, counted.
    pub(super) async fn take(&mut self, pickle: &[u8]) -> Result<Converted, PickleError> {
        let before = self.records.len();
        let converted = self
            .convert(pickle)
            .inspect_err(|_| self.file.discard(DropReason::Malformed, 1))?;
        if !self.may_hold() {
            // What may not be held while we wait for the file is given back, and made again later.
            self.records.truncate(before);
            self.records.shrink_to(BUFFER_FREE_LEN);
            self.submit().await;
            self.convert(pickle)?;
            if !self.may_hold() {
                self.records = Vec::new();
                self.lease = Some(self.share.lease(Size::Draft).await);
                self.convert(pickle)?;
            }
        }
        self.count += 1;
        if self.records.len() >= BATCH_LEN_TARGET {
            self.submit().await;
        }
        Ok(converted)
    }

    /// Hands everything taken to the file's writer. Waits while its queue is full, and drops, counted, where the file
    /// cannot be written for longer than such peers expect to wait.
    pub(super) async fn submit(&mut self) {
        if self.is_empty() {
            return;
        }
        let batch = Batch {
            records: std::mem::take(&mut self.records),
            count: self.count,
            first_seq: self.next_seq,
            formatters: Arc::clone(&self.formatters),
            level_min: self.level_min,
            session: None,
            progress: Arc::clone(&self.progress),
        };
        self.next_seq += u64::from(self.count);
        self.count = 0;
        self.file.submit_or_drop(batch).await;
        self.lease = None;
    }

    /// Waits until everything submitted is written: for ever, where a part of it was dropped. Cancellation-safe.
    pub(super) async fn written(&self) {
        let mut written = self.progress.written();
        while written.saturating_add(1) < self.next_seq {
            written = self.progress.changed(written).await;
        }
    }

    /// Renders what is taken from now on with `formatter`.
    pub(super) async fn set_formatter(&mut self, formatter: Arc<Formatter>) {
        self.submit().await;
        self.formatters = Arc::new(self.formatters.with(ANNOUNCED, formatter));
        self.formatter = ANNOUNCED;
    }

    /// Counts records that were skipped.
    pub(super) fn discard(&self, reason: DropReason) {
        self.file.discard(reason, 1);
    }

    fn may_hold(&mut self) -> bool {
        if self.records.len() > BUFFER_FREE_LEN && self.lease.is_none() {
            self.lease = self.share.try_lease(Size::Draft);
        }
        self.records.len() <= BUFFER_FREE_LEN || self.lease.is_some()
    }

    fn convert(&mut self, pickle: &[u8]) -> Result<Converted, PickleError> {
        if self.records.capacity() == 0 {
            self.records
                .reserve(BUFFER_FREE_LEN.min(pickle.len().saturating_mul(2)));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let conversion = Conversion {
            formatter: self.formatter,
            default_created_s: now.as_secs_f64(),
            ..Conversion::default()
        };
        UNPICKLER.with_borrow_mut(|unpickler| unpickler.to_record(pickle, &conversion, &mut self.records))
    }
}
