//! The state machine of a session: what to send next and when, what an answer changes, what a lost connection leaves.
//!
//! In: records, questions, answers, the time. Out: [`Step`]s. Pure: no lock, no clock, no I/O; `shared.rs` guards it,
//! `sender.rs` carries the steps out, over either protocol.

use std::time::{Duration, Instant, SystemTime};

use logserv_wire::limits::RECORD_LEN_MAX;
use logserv_wire::record::split_first;

use crate::carrier::Carrier;
use crate::config::{DropReason, Protocol, Push, Refusal, SessionConfig, Statistics, WhenFull};
use crate::cut;
use crate::drops::Drops;
use crate::limits::{LINGER_MAX, STALLED_TICK, URGENT_LEN};
use crate::pace::Pace;
use crate::questions::{Ask, Questions};
use crate::queue::{Batch, NeverSent};
use crate::sys;
use crate::trouble::Obstacle;

/// What the sender does next on an open connection.
#[derive(Debug)]
pub(crate) enum Step {
    /// Send these records.
    Send(Batch),
    /// Wake the ring's reader.
    Wake,
    /// Ask this question.
    Ask(u64, Ask),
    /// Wait for the server's answer, at most so long: records may come meanwhile, and wake nobody.
    AwaitAnswer(Duration),
    /// Nothing is outstanding. Wait so long; only a full batch or a hurry wakes the sender.
    Doze(Duration),
    /// Nothing is outstanding and nothing has been for a while. Wait until woken, or so long.
    Sleep(Option<Duration>),
    /// All is done and the session is being closed: say good-bye and end.
    Finish,
}

/// What the sender thread is doing, as far as those who may have to wake it need to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sender {
    /// There is none; the next record starts it.
    None,
    /// It works, or waits for the server.
    Awake,
    /// It naps, and is woken by a hurry only.
    Dozing,
    /// It sleeps, and is woken by anything.
    Asleep,
    /// It waits to connect again, and is woken by those who wait for the outcome.
    Retrying,
}

/// See the file's head.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) carrier: Carrier,
    pub(crate) sender: Sender,
    drops: Drops,
    announce_drops: bool,
    when_full: WhenFull,
    /// A call has waited in vain, and nothing has been written since.
    gave_up: bool,
    /// Calls waiting: for space, for an answer, for the end.
    pub(crate) waiters: u32,
    /// `close` was called, and no record has come since.
    pub(crate) is_closing: bool,
    /// The configuration has changed: this connection ends when it owes nothing, and the next one says so.
    pub(crate) reopens: bool,
    /// Somebody reads the ring and does not know the present configuration: the next connection does not wait for a record.
    pub(crate) tells_anew: bool,
    /// When to stop trying, where nobody holds the session any more.
    pub(crate) abandon_at: Option<Instant>,
    pub(crate) questions: Questions,
    pub(crate) pace: Pace,
    emitted: u64,
    announced: u64,
    ring_use: RingUse,
    is_connected: bool,
    /// Where nobody listens a server is started, and nothing is known yet against its coming.
    pub(crate) is_starting: bool,
    /// Nothing outlives this process: what is not written when it ends is lost.
    pub(crate) is_last: bool,
    /// Since when it is, or is not.
    connection_changed: Instant,
    protocol: Option<Protocol>,
    connections: u64,
    /// Attempts to find a server that have failed: nobody there, or refused.
    pub(crate) failures: u64,
    /// How many had when somebody last asked for the end.
    failures_at_close: u64,
    refusals: u64,
    refusal: Option<Refusal>,
    /// The last refusal reported, until a server welcomes us.
    standing_refusal: Option<Refusal>,
    /// Why the last attempt to send has failed, until one succeeds.
    pub(crate) obstacle: Option<Obstacle>,
    /// A line on stderr has told what the end of the process leaves unsent; records that come still later add none.
    pub(crate) told_unsent: bool,
}

impl State {
    pub(crate) fn new(config: &SessionConfig, now: Instant) -> Self {
        Self {
            carrier: Carrier::new(config.capacity_bytes),
            sender: Sender::None,
            drops: Drops::default(),
            announce_drops: config.announce_drops,
            when_full: config.when_full,
            gave_up: false,
            waiters: 0,
            is_closing: false,
            reopens: false,
            tells_anew: false,
            abandon_at: None,
            questions: Questions::default(),
            pace: Pace::new(now),
            emitted: 0,
            announced: 0,
            ring_use: RingUse::default(),
            is_connected: false,
            is_starting: config.launch.is_some(),
            is_last: config.launch.is_some() && sys::is_first_process(),
            connection_changed: now,
            protocol: None,
            connections: 0,
            failures: 0,
            failures_at_close: 0,
            refusals: 0,
            refusal: None,
            standing_refusal: None,
            obstacle: None,
            told_unsent: false,
        }
    }

    // ---- records in

    /// Takes a record, or says why not. `may_wait`: the caller can wait and push again.
    pub(crate) fn push(&mut self, record: &[u8], may_wait: bool) -> Push {
        if let Err(reason) = check(record) {
            return self.drop_record(record, reason);
        }
        let mut shorter = Vec::new();
        let longest = self.carrier.longest();
        let record = if record.len() > longest {
            cut::cut(record, longest, &mut shorter);
            &shorter
        } else {
            record
        };
        if self.drops.untold() > 0 {
            self.announce(record.len(), Instant::now(), SystemTime::now());
        }
        if !self.carrier.push(record) {
            if may_wait && self.when_full == WhenFull::Block && !self.gave_up {
                return Push::Full;
            }
            return self.drop_record(record, DropReason::QueueFull);
        }
        self.gave_up = false;
        self.is_closing = false;
        self.emitted += 1;
        if !shorter.is_empty() {
            self.carrier.count_cut();
        }
        Push::Stored
    }

    /// The newest handler's wishes: bytes of records to hold, and whether a record tells of drops.
    pub(crate) fn adopt(&mut self, capacity_bytes: usize, announce_drops: bool) {
        self.carrier.set_limit(capacity_bytes);
        self.announce_drops = announce_drops;
    }

    fn drop_record(&mut self, record: &[u8], reason: DropReason) -> Push {
        self.emitted += 1;
        self.drops.count(reason, record, SystemTime::now());
        Push::Dropped(reason)
    }

    /// Whether a record of this length fits; `None`: do not wait for it.
    pub(crate) fn has_space(&self, len: usize) -> Option<bool> {
        if self.carrier.fits(len.min(self.carrier.longest())) {
            Some(true)
        } else if self.gave_up {
            None
        } else {
            Some(false)
        }
    }

    /// A call has waited as long as it may.
    pub(crate) fn give_up(&mut self) {
        self.gave_up = true;
    }

    /// Queues the records that tell of drops, as far as they are due and leave `reserved` bytes.
    pub(crate) fn announce(&mut self, reserved: usize, now: Instant, wall: SystemTime) {
        if !self.announce_drops {
            return;
        }
        while let Some((reason, record)) = self.drops.record(now, wall) {
            if !self.carrier.fits(record.len() + reserved) || !self.carrier.push(&record) {
                return;
            }
            self.announced += 1;
            self.drops.told(reason, now);
        }
    }

    /// Records dropped so far.
    pub(crate) fn dropped(&self) -> u64 {
        DropReason::ALL
            .into_iter()
            .map(|reason| self.drops.total(reason))
            .sum()
    }

    /// Why they were dropped, in words.
    pub(crate) fn drop_reasons(&self) -> String {
        let reasons = DropReason::ALL
            .into_iter()
            .filter(|reason| self.drops.total(*reason) > 0);
        reasons.map(DropReason::name).collect::<Vec<_>>().join(", ")
    }

    /// How long until a record may tell of drops; `None`: there is nothing to tell.
    pub(crate) fn announcement_due_in(&self, now: Instant) -> Option<Duration> {
        self.drops.due_in(now).filter(|_| self.announce_drops)
    }

    // ---- questions

    // ---- what the server says

    /// The server knows this session up to `written_seq`. Returns whether that is further than we knew.
    ///
    /// # Errors
    /// [`NeverSent`]: it knows more or less of it than it should; begin a [new session](Self::renumber).
    pub(crate) fn welcomed(&mut self, written_seq: u64, now: Instant) -> Result<bool, NeverSent> {
        if written_seq < self.carrier.queued().acknowledged() {
            return Err(NeverSent);
        }
        let is_further = self.written_up_to(written_seq)?;
        self.connected(Protocol::Two, now);
        Ok(is_further)
    }

    /// The connection is open for records.
    pub(crate) fn connected(&mut self, protocol: Protocol, now: Instant) {
        self.carrier.queue().rewind();
        self.is_connected = true;
        self.tells_anew &= self.reopens; // what has changed since this connection began, the next one tells
        self.connection_changed = now;
        self.protocol = Some(protocol);
        self.connections += 1;
        self.standing_refusal = None;
        self.obstacle = None;
        self.pace.connected(now);
    }

    /// The records up to and including `seq` are in the file (protocol 1.0: with the kernel). Returns whether that
    /// changed anything.
    ///
    /// # Errors
    /// [`NeverSent`].
    pub(crate) fn written_up_to(&mut self, seq: u64) -> Result<bool, NeverSent> {
        let made_space = self.carrier.acknowledge(seq)?;
        if made_space {
            self.gave_up = false;
        }
        Ok(made_space)
    }

    /// The server refuses us. Returns whether this is news.
    pub(crate) fn refused(&mut self, refusal: Refusal) -> bool {
        self.refusals += 1;
        let is_news = self.standing_refusal.as_ref() != Some(&refusal);
        if is_news {
            self.standing_refusal = Some(refusal.clone());
            self.refusal = Some(refusal);
        }
        is_news
    }

    /// The refusal not yet reported.
    pub(crate) fn take_refusal(&mut self) -> Option<Refusal> {
        self.refusal.take()
    }

    /// A server could not be started, or not be spoken to: from now on there is none.
    pub(crate) fn stop_starting(&mut self, now: Instant) {
        if std::mem::take(&mut self.is_starting) {
            self.connection_changed = now;
        }
    }

    /// The connection is gone. Flushes will be asked again on the next; a rollover may have happened already.
    pub(crate) fn disconnected(&mut self, now: Instant) {
        self.reopens = false;
        if self.is_connected {
            self.is_connected = false;
            self.connection_changed = now;
        }
        self.ring_use = RingUse::default();
        self.carrier.queue().rewind();
        self.questions.disconnected();
    }

    /// A new session begins with what is left.
    pub(crate) fn renumber(&mut self) {
        let shift = self.carrier.queued().acknowledged();
        self.carrier.queue().renumber();
        self.questions.renumber(shift);
    }

    // ---- what to do

    /// Whether there is a reason to have a connection.
    pub(crate) fn needs_server(&self, now: Instant) -> bool {
        self.carrier.pending_records() > 0
            || self.questions.has_open()
            || self.tells_anew
            || self.announcement_due_in(now).is_some_and(|due| due.is_zero())
    }

    /// Whether a closing session has nothing left to do.
    pub(crate) fn is_finished(&self) -> bool {
        self.carrier.pending_records() == 0
            && !self.questions.has_open()
            && (self.drops.untold() == 0 || !self.announce_drops)
    }

    /// Whether somebody waits for what is not yet sent.
    pub(crate) fn is_urgent(&mut self) -> bool {
        if self.carrier.ring().is_some() {
            return self.questions.has_unsent() || self.reader_is_to_be_woken();
        }
        self.is_closing
            || self.waiters > 0
            || self.questions.has_unsent()
            || self.carrier.queued().waiting_len() >= URGENT_LEN
    }

    /// Whether the server owes us an answer.
    pub(crate) fn is_outstanding(&self) -> bool {
        self.carrier.queued().is_outstanding() || self.questions.is_outstanding()
    }

    /// What to do on an open connection whose last step is carried out.
    pub(crate) fn step(&mut self, now: Instant) -> Step {
        if self.announcement_due_in(now).is_some_and(|due| due.is_zero()) {
            self.announce(0, now, SystemTime::now());
        }
        if self.carrier.ring().is_some() && !self.is_attached() {
            self.reopens = true; // the ring is younger than the connection
        }
        let handed_out = self.carrier.last_handed_out();
        if self.carrier.ring().is_some() == self.is_attached()
            && let Some((token, ask)) = self.questions.next_due(handed_out)
        {
            self.pace.active(now);
            return Step::Ask(token, ask);
        }
        let is_outstanding = self.is_outstanding();
        if self.reopens {
            return if is_outstanding {
                Step::AwaitAnswer(LINGER_MAX)
            } else {
                Step::Finish
            };
        }
        if self.is_attached() {
            return self.ring_step(now);
        }
        let waiting_len = self.carrier.queued().waiting_len();
        if waiting_len > 0 {
            let pause = self.pace.pause(now);
            if (pause.is_zero() || self.is_urgent())
                && let Some(batch) = self.carrier.queue().next_batch()
            {
                self.pace.sent(batch.records().len(), now);
                return Step::Send(batch);
            }
            return if is_outstanding {
                Step::AwaitAnswer(pause)
            } else {
                Step::Doze(pause)
            };
        }
        let is_lively = self.pace.is_lively(now);
        if is_outstanding {
            return Step::AwaitAnswer(if is_lively { LINGER_MAX } else { STALLED_TICK });
        }
        if self.is_closing && self.is_finished() {
            return Step::Finish;
        }
        if is_lively {
            Step::Doze(LINGER_MAX)
        } else {
            Step::Sleep(self.announcement_due_in(now))
        }
    }

    // ---- what it is like

    /// Whether the present or the last connection spoke protocol 1.0.
    pub(crate) fn is_1_0(&self) -> bool {
        self.protocol == Some(Protocol::One)
    }

    /// Whether a server takes our records, and since when it does or does not.
    pub(crate) fn connection(&self) -> (bool, Instant) {
        (self.is_connected, self.connection_changed)
    }

    /// Records that were or will be written, counted since the session was made: never less than `written`.
    pub(crate) fn written_or_pending(&self) -> u64 {
        let (written, pending) = self.carrier.written_and_pending();
        written + pending
    }

    /// Records written since the session was made.
    pub(crate) fn written(&self) -> u64 {
        self.carrier.written_and_pending().0
    }

    pub(crate) fn statistics(&self) -> Statistics {
        let by_reason = DropReason::ALL
            .into_iter()
            .map(|reason| (reason, self.drops.total(reason)));
        let (written, pending_records) = self.carrier.written_and_pending();
        Statistics {
            emitted: self.emitted,
            announced: self.announced,
            written,
            dropped: self.dropped(),
            dropped_by_reason: by_reason.filter(|(_, count)| *count > 0).collect(),
            pending_records,
            pending_bytes: self.carrier.pending_len() as u64,
            cut: self.carrier.cut(),
            ring_bytes: self.carrier.ring().map(|ring| ring.capacity() as u64),
            connected: self.is_connected,
            protocol: self.protocol,
            connections: self.connections,
            refusals: self.refusals,
        }
    }
}

/// Whether the bytes are one whole record that the wire can carry.
fn check(record: &[u8]) -> Result<(), DropReason> {
    if record.len() > RECORD_LEN_MAX {
        return Err(DropReason::TooLong);
    }
    match split_first(record) {
        Ok((_, [])) => Ok(()),
        _ => Err(DropReason::Malformed),
    }
}

mod asking;
mod through_ring;
pub(crate) use asking::Verdict;
pub(crate) use through_ring::RingUse;

#[cfg(test)]
mod tests;
