//! One file's thread: filter, format, sink.
//!
//! In: batches of wire records from the queue, and records in rings (`drain.rs`). Out: lines in the file, and how far each
//! producer's records have got, once they are written (`ledger.rs`). Batches that wait together are written with one
//! commit. A file that cannot be written keeps this thread, and with it the queue, the connections that feed it and its
//! rings, waiting; it is tried again until it heals. Nobody else waits, and nothing is dropped, until the server has to
//! leave; what is in a ring then stays there.
//! Not here: who may open which file (`files.rs`), rotation (`logserv-disk`), rendering (`logserv-format`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use logserv_disk::{FileSettings, LogFile, Mark, WriteError};
use logserv_wire::frame::Level;
use logserv_wire::record::{self, Record};
use tokio::sync::OwnedSemaphorePermit;

use crate::counters::{Counters, DropReason};
use crate::file_state::FileState;
use crate::limits::{GROUP_LEN, RETRY_MAX, RETRY_MIN, WARN_EVERY};
use crate::pipeline::Batch;
use crate::queue::{Command, Next, Queue, Queued, Wake};

mod announce;
pub(crate) mod compress;
mod drain;
mod ledger;
mod lines;
mod merge;
mod render;
mod ring;
mod rings;
pub(crate) mod state;
mod sync;
use announce::Announcer;
use compress::{Compressor, Places};
pub(crate) use ledger::Ledger;
use lines::Lines;
use rings::Rings;
use sync::Syncer;

/// The mark of lines that are no client's.
const NOBODY: Mark = Mark {
    source: u32::MAX,
    position: 0,
    count: 0,
};

/// The drain's time is up while the file cannot be written.
struct GaveUp;

/// The thread's own state.
#[derive(Debug)]
pub(crate) struct Writer {
    file: LogFile,
    queue: Arc<Queue>,
    state: Arc<FileState>,
    counters: Arc<Counters>,
    lines: Lines,
    announcer: Announcer,
    ledger: Ledger,
    rings: Rings,
    syncer: Syncer,
    compressor: Compressor,
    group: Group,
    trouble: Option<Trouble>,
}

/// What has been taken into the file and is not committed yet.
#[derive(Debug, Default)]
struct Group {
    records: u64,
    /// Those of them that came from rings: they count as received when they are written, for until then they are safe where
    /// they are.
    from_rings: u64,
    len: usize,
    /// The highest level among them.
    level_max: i32,
    permits: Vec<OwnedSemaphorePermit>,
}

/// A file that could not be written, since when.
#[derive(Debug)]
struct Trouble {
    since: Instant,
    pause: Duration,
    warned: Instant,
}

impl Writer {
    pub(crate) fn new(
        file: LogFile,
        queue: Arc<Queue>,
        state: Arc<FileState>,
        counters: Arc<Counters>,
        ledger: Ledger,
        places: &Places,
        announce_drops: bool,
    ) -> Self {
        Self {
            lines: Lines::new(file.settings(), &state, &counters),
            file,
            announcer: Announcer::new(announce_drops),
            rings: Rings::new(ledger.clone()),
            syncer: Syncer::new(&queue, &state, &ledger),
            compressor: Compressor::new(&queue, &state, places),
            queue,
            ledger,
            state,
            counters,
            group: Group::default(),
            trouble: None,
        }
    }

    /// Writes until the queue says to leave. Blocks; run it on a thread of its own.
    pub(crate) fn run(mut self) {
        let mut result = self.serve();
        if result.is_err() && self.file.commit().is_ok() {
            // It has healed in the last moment: what was taken is written after all.
            result = self.commit().and(result);
        }
        // What counts as lost is sent again: it must not be written as well, when the file is closed.
        self.file.abandon();
        self.ledger.tell();
        self.ledger.close();
        let lost = self.state.pending();
        if result.is_err() && lost > 0 {
            self.state.dropped.add(lost);
            self.counters.drop_received(DropReason::Shutdown, lost);
            tracing::error!(
                "{}: leaving with {lost} records unwritten; clients of protocol 2.0 keep theirs and send them again",
                self.state.path
            );
        }
    }

    fn serve(&mut self) -> Result<(), GaveUp> {
        let mut now = Instant::now();
        loop {
            let due = [
                self.announcer.due(&self.state),
                self.rings.due(now),
                self.syncer.due(),
                self.compressor.due(&self.file, now),
            ];
            match self.queue.next(due.into_iter().flatten().min()) {
                Next::Command(queued) => self.obey(queued)?,
                Next::Reopen => self.reopen(),
                Next::Reconfigure(settings) => self.reconfigure(settings)?,
                Next::Timeout => {}
                Next::Leave => break,
            }
            self.drain_rings(false)?;
            self.announce()?;
            // Once for all that follows, up to the next wait: it is asked for at every look.
            now = Instant::now();
            self.syncer.turn(&mut self.file, now);
            self.compressor.turn(&mut self.file, now);
        }
        self.drain_rings(true)?;
        self.announcer.hurry();
        self.announce()?;
        let policy = self.file.settings().sync;
        self.syncer.finish(policy, &mut self.file);
        self.ledger.tell();
        // Commands are left only when the drain's time was up.
        if self.queue.try_next().is_some() {
            Err(GaveUp)
        } else {
            Ok(())
        }
    }

    fn obey(&mut self, queued: Queued) -> Result<(), GaveUp> {
        let mut next = Some(queued);
        // What waits behind is taken along, so that many small batches cost one write.
        while let Some(Queued { command, permit }) = next.take() {
            match command {
                Command::Batch(batch) => {
                    self.take(&batch)?;
                    self.group.permits.push(permit);
                    if self.group.len < GROUP_LEN {
                        next = self.queue.try_next();
                    }
                }
                Command::Flush(level, reply) => {
                    self.drain_rings(true)?;
                    self.commit()?;
                    if level < Level::Synced {
                        let _ = reply.send(true);
                    } else {
                        self.syncer.ask(self.file.commits(), reply, Instant::now());
                    }
                }
                Command::Attach(ring) => self.rings.add(*ring, Instant::now()),
                Command::Rollover(reply) => {
                    self.drain_rings(true)?;
                    self.commit()?;
                    let result = self.file.rollover();
                    if let Err(error) = &result {
                        tracing::warn!("cannot rotate {}: {error}", self.state.path);
                    }
                    let _ = reply.send(result.is_ok());
                }
            }
        }
        self.commit()
    }

    /// Takes a batch into the file's pending lines. Every record ends as written, filtered or dropped.
    fn take(&mut self, batch: &Batch) -> Result<(), GaveUp> {
        let source = self.ledger.session(batch.session, &batch.progress);
        let last_seq = (batch.first_seq + u64::from(batch.count)).saturating_sub(1);
        let mut rest = batch.records.as_slice();
        for taken in 0..u64::from(batch.count) {
            let mark = Mark {
                source,
                position: batch.first_seq + taken,
                count: 0,
            };
            let Ok((bytes, behind)) = record::split_first(rest) else {
                // Without a length there is no next record either.
                self.drop_records(DropReason::Malformed, u64::from(batch.count) - taken);
                break;
            };
            rest = behind;
            match Record::decode(bytes) {
                Ok((record, _)) if record.level_no < batch.level_min => {
                    self.state.filtered.add(1);
                    self.counters.filtered.add(1);
                    self.file.pass(mark);
                }
                Ok((record, _)) => {
                    self.lines.render(&record, batch.formatters.get(record.formatter));
                    self.append(record.created, mark)?;
                    self.group.level_max = self.group.level_max.max(record.level_no);
                    self.group.records += 1;
                }
                Err(_) => {
                    self.drop_records(DropReason::Malformed, 1);
                    self.file.pass(mark);
                }
            }
        }
        self.file.pass(Mark {
            source,
            position: last_seq,
            count: 0,
        });
        Ok(())
    }

    /// Takes the line at hand into the file.
    fn append(&mut self, created_s: f64, mark: Mark) -> Result<(), GaveUp> {
        while let Err(error) = self.file.append(self.lines.line(), created_s, mark) {
            self.suffer(&error)?;
        }
        self.group.len += self.lines.line().len();
        Ok(())
    }

    /// Writes what was taken, and tells those whose records they are.
    fn commit(&mut self) -> Result<(), GaveUp> {
        while let Err(error) = self.file.commit() {
            self.suffer(&error)?;
        }
        self.heal();
        self.lines.end_batch();
        self.state.set_file(self.file.status(), self.file.key());
        let group = std::mem::take(&mut self.group);
        self.state.received.add(group.from_rings);
        self.counters.received.add(group.from_rings);
        self.state.written.add(group.records);
        self.state.bytes.add(group.len as u64);
        self.counters.written.add(group.records);
        let policy = self.file.settings().sync;
        // Also where none of the records gave a line: what is told of them speaks of those before them, too.
        if self.ledger.committed(self.file.commits(), policy) || group.len > 0 {
            self.syncer.committed(policy, group.level_max, Instant::now());
        }
        Ok(())
    }

    /// Waits until the file is worth another try.
    fn suffer(&mut self, error: &WriteError) -> Result<(), GaveUp> {
        let now = Instant::now();
        self.state.set_trouble(error);
        let trouble = self.trouble.get_or_insert_with(|| {
            tracing::warn!("{error}; its records wait and are tried again");
            Trouble {
                since: now,
                pause: RETRY_MIN,
                warned: now,
            }
        });
        if now - trouble.warned > WARN_EVERY {
            trouble.warned = now;
            tracing::warn!("still, since {} s: {error}", (now - trouble.since).as_secs());
        }
        let pause = trouble.pause;
        trouble.pause = (pause * 2).min(RETRY_MAX);
        match self.queue.pause(pause) {
            Wake::Retry => Ok(()),
            Wake::Reopen => {
                self.reopen();
                Ok(())
            }
            Wake::GiveUp => Err(GaveUp),
        }
    }

    fn heal(&mut self) {
        if let Some(trouble) = self.trouble.take() {
            self.state.clear_trouble();
            let seconds = trouble.since.elapsed().as_secs_f64();
            tracing::info!("{} can be written again, after {seconds:.1} s", self.state.path);
        }
    }

    fn reopen(&mut self) {
        if let Err(error) = self.file.reopen() {
            tracing::warn!("cannot reopen: {error}");
        }
        self.state.set_file(self.file.status(), self.file.key());
    }

    fn reconfigure(&mut self, settings: FileSettings) -> Result<(), GaveUp> {
        self.commit()?;
        self.lines.reconfigure(&settings);
        self.file.reconfigure(settings);
        Ok(())
    }

    fn drop_records(&mut self, reason: DropReason, count: u64) {
        self.state.dropped.add(count);
        self.counters.drop_received(reason, count);
        self.state.note_drop(reason, count);
    }

    /// Tells of drops in the file itself. These records are the server's own: received by nobody, counted nowhere.
    fn announce(&mut self) -> Result<(), GaveUp> {
        while let Some(message) = self.announcer.next(&self.state) {
            let created_s = self.lines.render_own(&message);
            self.append(created_s, NOBODY)?;
            self.commit()?;
        }
        Ok(())
    }
}
