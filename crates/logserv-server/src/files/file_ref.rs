//! What connections do with an open file: submit, flush, rotate, discard.
//!
//! In: batches and questions. Out: commands in the file's queue, in order; records counted as received.
//! Waiting is where back-pressure comes from: whoever waits here reads nothing more from its peer.

use std::sync::Arc;

use logserv_ring::RingName;
use logserv_wire::frame::Level;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::timeout;

use super::entry::{Entry, Share};
use crate::counters::DropReason;
use crate::limits::{COMMAND_LEN, UNWRITABLE_PATIENCE, UNWRITABLE_ROUNDS};
use crate::pipeline::Batch;
use crate::queue::{Command, Queue};
use crate::rings::Attached;

/// A share in an open file. While one exists the file counts as held: keep it as long as a connection uses the file.
#[derive(Debug, Clone)]
pub struct FileRef {
    share: Arc<Share>,
}

impl FileRef {
    pub(super) fn new(share: Share) -> Self {
        Self {
            share: Arc::new(share),
        }
    }

    /// Hands a batch to the file's writer and counts its records as received.
    ///
    /// Waits while the file's queue is over its byte budget, for as long as that takes: back-pressure to this connection
    /// only. Cancelled while it waits: nothing was taken or counted. Drops: never, but where the server has to leave
    /// while the file cannot be written. Batches are written in the order of submission. `false`: the file's writer has
    /// left, and took nothing.
    pub async fn submit(&self, batch: Batch) -> bool {
        let permit = self.entry().queue.reserve(len_of(&batch)).await;
        self.append(batch, permit)
    }

    /// The same for a protocol without acknowledgements, whose peers do not expect to wait: a `SocketHandler` blocks its
    /// program for a second at each record, and loses it then. While the file cannot be written this waits at most
    /// [`UNWRITABLE_PATIENCE`]; then its batch, and all others until there is space, are dropped, counted, and told in
    /// the file as soon as it can be written.
    pub async fn submit_or_drop(&self, batch: Batch) {
        let state = &self.entry().state;
        let permit = match self.entry().queue.try_reserve(len_of(&batch)) {
            None if !state.is_dropping() => self.reserve_patiently(len_of(&batch)).await,
            at_once => at_once,
        };
        state.set_dropping(permit.is_none());
        if permit.is_some() {
            self.append(batch, permit);
        } else {
            self.discard(DropReason::Unwritable, u64::from(batch.count));
        }
    }

    async fn reserve_patiently(&self, len: usize) -> Option<OwnedSemaphorePermit> {
        let reserve = self.entry().queue.reserve(len);
        tokio::pin!(reserve);
        for _ in 0..UNWRITABLE_ROUNDS {
            if let Ok(permit) = timeout(UNWRITABLE_PATIENCE, &mut reserve).await {
                return permit;
            }
            if self.trouble().is_some() {
                break;
            }
        }
        None
    }

    fn append(&self, batch: Batch, permit: Option<OwnedSemaphorePermit>) -> bool {
        let entry = self.entry();
        let count = u64::from(batch.count);
        let taken = permit.is_some_and(|permit| {
            entry.queue.append(Command::Batch(batch), permit, || {
                entry.counters.received.add(count);
                entry.state.received.add(count);
            })
        });
        if !taken {
            entry.counters.discard(DropReason::Shutdown, count);
        }
        taken
    }

    /// Waits until everything submitted before, by anyone, is at `level`. `false`: the server leaves and it is not, or
    /// the disk refused to sync. It waits as long as the file cannot be written: the caller sets the limit.
    pub async fn flush(&self, level: Level) -> bool {
        if level == Level::Received {
            return true;
        }
        self.ask(|reply| Command::Flush(level, reply)).await
    }

    /// Rotates the file once, after everything submitted before. `false`: it could not be.
    pub async fn rollover(&self) -> bool {
        self.ask(Command::Rollover).await
    }

    async fn ask(&self, command: impl FnOnce(oneshot::Sender<bool>) -> Command) -> bool {
        let (reply, answer) = oneshot::channel();
        let queue = &self.entry().queue;
        let asked = queue
            .reserve(COMMAND_LEN)
            .await
            .is_some_and(|permit| queue.append(command(reply), permit, || {}));
        asked && answer.await.unwrap_or(false)
    }

    /// Counts records of this file as received and dropped, and has the writer tell so in the file
    /// (`dropped N records (reason) between T1 and T2`).
    pub fn discard(&self, reason: DropReason, count: u64) {
        let entry = self.entry();
        entry.counters.discard(reason, count);
        entry.state.received.add(count);
        entry.state.dropped.add(count);
        entry.state.note_drop(reason, count);
        entry.queue.poke();
    }

    /// Where the file is, for messages.
    #[must_use]
    pub fn path(&self) -> &str {
        self.entry().path()
    }

    /// What keeps the file from being written now; `None`: nothing.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.entry().state.trouble()
    }

    /// How far a session's records had got when this server, or the one before it, last wrote of it. `None`: nobody knows.
    #[must_use]
    pub fn known_seq(&self, session: &[u8; 16]) -> Option<u64> {
        self.entry().ledger.known_seq(session)
    }

    /// Up to where a ring's records are written, where the ring itself does not say so.
    pub(crate) fn known_position(&self, ring: &RingName) -> Option<u64> {
        self.entry().ledger.known_position(ring)
    }

    /// The session is over, and everything of it is written.
    pub(crate) fn forget_session(&self, session: &[u8; 16]) {
        self.entry().ledger.forget_session(session);
    }

    /// Has the writer read a ring from now on. `false`: it has left.
    pub(crate) async fn attach(&self, ring: Attached) -> bool {
        let queue = &self.entry().queue;
        match queue.reserve(COMMAND_LEN).await {
            Some(permit) => queue.append(Command::Attach(Box::new(ring)), permit, || {}),
            None => false,
        }
    }

    /// Its writer's queue: tells files apart.
    pub(crate) fn queue(&self) -> &Arc<Queue> {
        &self.entry().queue
    }

    fn entry(&self) -> &Entry {
        &self.share.entry
    }
}

fn len_of(batch: &Batch) -> usize {
    batch.records.len().max(COMMAND_LEN)
}
