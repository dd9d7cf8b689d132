//! How far each producer's records of one file have got, kept so that it survives this server.
//!
//! In: what is about to be written, and that it was. Out: rings' tails moved, sessions' progress, and a state file that
//! says at every instant which write may be half-done. The disk's side of it is `logserv_disk::Journal`, the memory's
//! `logserv_ring::StateFile`. The order is what makes a kill harmless: declare, write, move tails and sequence numbers,
//! clear; after a death the next writer compares the file with what was declared, completes it, and goes on from there.
//! Not here: comparing and completing (`logserv-disk`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use logserv_disk::{Declared, Journal, Mark, SyncPolicy};
use logserv_ring::{self as ring, Consumer, Directory, Publisher, RingName, Source, StateFile};

use super::state;
use crate::progress::Progress;

/// A file's ledger, shared by its writer, its journal and those who open sessions.
#[derive(Debug, Clone)]
pub(crate) struct Ledger(Arc<Mutex<Content>>);

#[derive(Debug, Default)]
struct Content {
    /// Where the file is: tells its state from others'.
    place: String,
    state: Option<StateFile>,
    /// Marks of a write that the last writer may not have finished.
    unfinished: Vec<ring::Mark>,
    producers: Vec<Producer>,
    /// Number of a session's producer, by the address of its progress.
    sessions: HashMap<usize, u32>,
    /// Sessions whose records are written and who have not been told: with the commit that did it, once it is known.
    untold: Vec<Untold>,
    /// Sessions that are told only when their records are durable, or were told and not yet of that.
    unsynced: Vec<Untold>,
    /// It was said that writes cannot be declared.
    has_warned: bool,
}

/// A session that has got as far as `seq` with the commit of that number.
#[derive(Debug)]
struct Untold {
    progress: Arc<Progress>,
    seq: u64,
    commits: u64,
    /// It has been told that its records are written.
    is_told: bool,
}

/// Whose records they are.
#[derive(Debug)]
enum Producer {
    Free,
    Ring {
        uid: u32,
        name: RingName,
        publisher: Publisher,
    },
    Session {
        /// `None`: a protocol without acknowledgements, whose peers never resume.
        id: Option<[u8; 16]>,
        progress: Arc<Progress>,
    },
}

/// Producers beyond which those of ended sessions are given up before another one is entered.
const PRODUCERS_TIDY: usize = 64;

/// Sessions that wait to be told of a sync, beyond which all but the newest of each are forgotten.
const UNSYNCED_TIDY: usize = 4096;

impl Ledger {
    /// For the file at `place`. Opens nothing yet.
    pub(crate) fn new(place: String) -> Self {
        Self(Arc::new(Mutex::new(Content {
            place,
            ..Content::default()
        })))
    }

    /// The side that the disk speaks to.
    pub(crate) fn journal(&self) -> Box<dyn Journal> {
        Box::new(Account(self.clone()))
    }

    /// Remembers how the file is opened, for a server that finds it half-written.
    pub(crate) fn set_settings(&self, json: &str) {
        if let Some(state) = &mut self.content().state
            && let Err(error) = state.set_settings(json)
        {
            tracing::debug!("settings are not remembered: {error}");
        }
    }

    /// How far the records of a session had got when this server, or the one before it, last wrote of it.
    pub(crate) fn known_seq(&self, id: &[u8; 16]) -> Option<u64> {
        self.content().state.as_ref()?.session(id)
    }

    /// The client will not come back.
    pub(crate) fn forget_session(&self, id: &[u8; 16]) {
        if let Some(state) = &mut self.content().state {
            state.forget_session(id);
        }
    }

    /// Up to where a ring's records are written, where it could not be told that itself.
    pub(crate) fn known_position(&self, name: &RingName) -> Option<u64> {
        self.content().state.as_ref()?.session(&place_of(name))
    }

    /// The ring has been told.
    pub(super) fn forget_position(&self, name: &RingName) {
        if let Some(state) = &mut self.content().state {
            state.forget_session(&place_of(name));
        }
    }

    /// Enters a ring; returns its number for [`Mark`]s.
    pub(super) fn add_ring(&self, uid: u32, name: RingName, publisher: Publisher) -> u32 {
        let producer = Producer::Ring { uid, name, publisher };
        self.content().enter(producer)
    }

    /// Gives a ring's number back, all of whose records are written.
    pub(super) fn remove(&self, number: u32) {
        let mut content = self.content();
        let content = &mut *content;
        if let Some(producer) = content.producers.get_mut(number as usize) {
            if let (Producer::Ring { name, .. }, Some(state)) = (&*producer, &mut content.state) {
                state.forget_session(&place_of(name));
            }
            *producer = Producer::Free;
        }
    }

    /// The number of the session whose progress this is.
    pub(super) fn session(&self, id: Option<[u8; 16]>, progress: &Arc<Progress>) -> u32 {
        let mut content = self.content();
        let address = Arc::as_ptr(progress).addr();
        if let Some(number) = content.sessions.get(&address) {
            return *number; // the ledger holds the progress: no other one can have its address
        }
        let progress = Arc::clone(progress);
        let number = content.enter(Producer::Session { id, progress });
        content.sessions.insert(address, number);
        number
    }

    /// What is untold was written by this commit and those before it. Where every batch is synced, its sessions are told when
    /// it is; where some are, at once, and again then. Returns whether anybody is concerned.
    pub(super) fn committed(&self, commits: u64, policy: SyncPolicy) -> bool {
        let mut content = self.content();
        let mut untold = std::mem::take(&mut content.untold);
        let is_any = !untold.is_empty();
        for each in &mut untold {
            each.commits = commits;
            if policy != SyncPolicy::Always {
                each.progress.advance(each.seq);
                each.is_told = true;
            }
        }
        if policy != SyncPolicy::Never {
            content.unsynced.append(&mut untold);
        }
        if content.unsynced.len() > UNSYNCED_TIDY {
            content.tidy_unsynced();
        }
        is_any
    }

    /// Tells the sessions how far they have got, once their records are counted.
    pub(super) fn tell(&self) {
        for each in std::mem::take(&mut self.content().untold) {
            each.progress.advance(each.seq);
        }
    }

    /// Commits up to `synced` are durable, but for those up to `lost`, which never will be: an acknowledgement says which.
    pub(super) fn synced(&self, synced: u64, lost: u64) {
        for each in self
            .content()
            .unsynced
            .extract_if(.., |each| each.commits <= synced)
        {
            if each.commits > lost {
                each.progress.advance_synced(each.seq);
            }
            each.progress.advance(each.seq);
        }
    }

    /// The file is closed in order, its lock not yet given back: what nobody will ask for is removed.
    pub(super) fn close(&self) {
        let mut content = self.content();
        let Some(state) = content.state.take() else { return };
        if state.declared().is_none() && state.sessions().is_empty() {
            state::remove(state, &content.place);
        } else {
            drop(state); // no longer in use
            state::trim();
        }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    fn enter(&mut self, producer: Producer) -> u32 {
        if self.producers.len() >= PRODUCERS_TIDY {
            self.tidy();
        }
        let free = self
            .producers
            .iter()
            .position(|each| matches!(each, Producer::Free));
        let place = free.unwrap_or(self.producers.len());
        match self.producers.get_mut(place) {
            Some(slot) => *slot = producer,
            None => self.producers.push(producer),
        }
        u32::try_from(place).unwrap_or(u32::MAX)
    }

    /// Of each session that knows its records to be written, only the newest matters.
    fn tidy_unsynced(&mut self) {
        let mut newest = HashMap::new();
        for each in &self.unsynced {
            newest.insert(Arc::as_ptr(&each.progress).addr(), each.seq);
        }
        self.unsynced.retain(|each| {
            !each.is_told || newest.get(&Arc::as_ptr(&each.progress).addr()) == Some(&each.seq)
        });
    }

    /// Gives up sessions that nobody else knows any more.
    fn tidy(&mut self) {
        for producer in &mut self.producers {
            if let Producer::Session { progress, .. } = producer
                && Arc::strong_count(progress) == 1
            {
                self.sessions.remove(&Arc::as_ptr(progress).addr());
                *producer = Producer::Free;
            }
        }
    }

    /// The marks as they stand in the state file.
    fn outward(&self, marks: &[Mark]) -> Vec<ring::Mark> {
        let outward = |mark: &Mark| {
            let source = match self.producers.get(mark.source as usize)? {
                Producer::Ring { uid, name, .. } => Source::Ring {
                    uid: *uid,
                    name: name.clone(),
                },
                Producer::Session { id, .. } => Source::Session((*id)?),
                Producer::Free => return None,
            };
            Some(ring::Mark {
                source,
                position: mark.position,
                count: mark.count,
            })
        };
        marks.iter().filter_map(outward).collect()
    }

    fn advance(&mut self, mark: &Mark, now_s: u64) {
        match self.producers.get(mark.source as usize) {
            Some(Producer::Ring { publisher, name, .. }) => {
                if let Err(error) = publisher.publish(mark.position, mark.count) {
                    tracing::warn!("cannot give space back to the ring {name}: {error}");
                    if let Some(state) = &mut self.state {
                        state.set_session(place_of(name), mark.position, now_s);
                    }
                }
            }
            Some(Producer::Session { id, progress }) => {
                if let (Some(id), Some(state)) = (id, &mut self.state) {
                    state.set_session(*id, mark.position, now_s);
                }
                self.untold.push(Untold {
                    progress: Arc::clone(progress),
                    seq: mark.position,
                    commits: 0,
                    is_told: false,
                });
            }
            Some(Producer::Free) | None => {}
        }
    }

    /// Moves the producers of a write that a former writer declared, now that it is whole.
    fn finish(&mut self, now_s: u64) {
        for mark in std::mem::take(&mut self.unfinished) {
            match mark.source {
                Source::Ring { uid, name } => {
                    let is_published = match consumer_of(uid, &name) {
                        Some(consumer) if consumer.tail() < mark.position => consumer
                            .publisher()
                            .publish(mark.position, mark.count)
                            .inspect_err(|error| {
                                tracing::warn!("cannot give space back to the ring {name}: {error}");
                            })
                            .is_ok(),
                        Some(_) => true,
                        // Gone: then it had been emptied, for nobody else removes one. Or it was passed to the last
                        // writer, and will be to us: what lies before this is not to be read again.
                        None => false,
                    };
                    if !is_published && let Some(state) = &mut self.state {
                        state.set_session(place_of(&name), mark.position, now_s);
                    }
                }
                Source::Session(id) => {
                    if let Some(state) = &mut self.state {
                        state.set_session(id, mark.position, now_s);
                    }
                }
            }
        }
    }

    /// Opens the state, once the file is locked: nobody else has it then.
    fn open(&mut self) -> Option<Declared> {
        match state::open(&self.place) {
            Ok(state) => {
                let declared = state.declared();
                self.state = Some(state);
                let declared = declared?;
                self.unfinished = declared.marks;
                Some(Declared {
                    device: declared.device,
                    inode: declared.inode,
                    offset: declared.offset,
                    bytes: declared.bytes,
                    ends: declared.ends,
                })
            }
            Err(error) => {
                self.warn(&error);
                None
            }
        }
    }

    fn declare(
        &mut self,
        device: u64,
        inode: u64,
        offset: u64,
        bytes: &[u8],
        ends: &[u32],
        marks: &[ring::Mark],
    ) {
        let Some(state) = &mut self.state else { return };
        if let Err(error) = state.declare(device, inode, offset, bytes, ends, marks) {
            // What stands there is another write: it must not be taken for this one.
            state.clear();
            self.warn(&error.to_string());
        }
    }

    fn warn(&mut self, error: &str) {
        if !std::mem::replace(&mut self.has_warned, true) {
            let what = "a kill of this server in the middle of a write may tear or double lines of it";
            tracing::warn!("{}: {what}: no memory for its state: {error}", self.place);
        }
    }
}

/// The ledger as the disk knows it.
#[derive(Debug)]
struct Account(Ledger);

impl Journal for Account {
    fn recovered(&mut self) -> Option<Declared> {
        self.0.content().open()
    }

    fn declare(&mut self, device: u64, inode: u64, offset: u64, bytes: &[u8], ends: &[u32], marks: &[Mark]) {
        let mut content = self.0.content();
        let marks = content.outward(marks);
        content.declare(device, inode, offset, bytes, ends, &marks);
    }

    fn redeclare(&mut self, device: u64, inode: u64, offset: u64, bytes: &[u8], ends: &[u32]) {
        let mut content = self.0.content();
        let marks = content.unfinished.clone();
        content.declare(device, inode, offset, bytes, ends, &marks);
    }

    fn written(&mut self, marks: &[Mark]) {
        let now_s = now_s();
        let mut content = self.0.content();
        content.finish(now_s);
        for mark in marks {
            content.advance(mark, now_s);
        }
        if let Some(state) = &mut content.state {
            state.clear();
        }
    }
}

/// Where a ring's position stands among the sessions: not under its id itself, for a client may name its session alike.
fn place_of(name: &RingName) -> [u8; 16] {
    name.id.0.map(|byte| !byte)
}

/// The ring, if its name leads to it.
fn consumer_of(uid: u32, name: &RingName) -> Option<Consumer> {
    let directory = Directory::open(uid).ok().flatten()?;
    Consumer::open(&directory, name).ok()
}

fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
