//! The rings of one file, as its writer reads them: when each is looked at, and whose record comes next.
//!
//! In: rings attached to the file, the time. Out: records one by one, merged by time (`merge.rs`), each with the position
//! behind it. A ring is polled while it is lively, every [`POLL_MIN`] to [`POLL_MAX`]; one that has been still for
//! [`LIVELY`] is put to sleep, and its producer wakes us. A record waits at most [`MERGE_WINDOW`] for earlier ones of
//! other rings; not at all where there is one ring only.
//! Not here: rendering and writing (`writer.rs`); moving a ring's tail once its records are written (`journal.rs`).

use std::time::{Duration, Instant};

use logserv_ring::{Publisher, RingError};

use super::ledger::Ledger;
use super::merge::Merge;
use super::ring::{self, Ring, Vitality};
use crate::limits::{MERGE_WINDOW, POLL_MAX, POLL_MIN, RING_BUSY_LEN, RING_CHECK_EVERY};
use crate::rings::Attached;

/// See the file's head.
#[derive(Debug)]
pub(super) struct Rings {
    all: Vec<Ring>,
    merge: Merge,
    /// The ring whose record was given out last; its next head is not in `merge`.
    current: Option<usize>,
    pause: Duration,
    /// Bytes that are known to wait in all of them.
    waiting_len: u64,
    wants: Wants,
    ledger: Ledger,
}

/// For what the rings are to be looked at again, as of the last [`tidy`](Rings::tidy): with a thousand of them, going through all
/// costs as much as writing what is new.
#[derive(Debug, Default)]
struct Wants {
    /// One of them is awake.
    is_lively: bool,
    /// Since when the oldest record that is not ripe has been seen.
    held_since: Option<Instant>,
    /// Nobody speaks for one of them.
    is_unsure: bool,
}

/// What a record came with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    pub(super) ring: usize,
    pub(super) source: u32,
    /// Position behind it, in bytes, and how many of its ring's records lie before that.
    pub(super) position: u64,
    pub(super) count: u64,
}

/// Rings that are read no more.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// Why, of those that ended for a fault.
    pub(super) faults: Vec<(String, RingError)>,
}

impl Rings {
    pub(super) fn new(ledger: Ledger) -> Self {
        Self {
            all: Vec::new(),
            merge: Merge::default(),
            current: None,
            pause: POLL_MIN,
            waiting_len: 0,
            wants: Wants::default(),
            ledger,
        }
    }

    /// Reads one more ring from now on, from where a former server, or we, have got.
    pub(super) fn add(&mut self, mut attached: Attached, now: Instant) {
        attached.consumer.watch();
        let publisher: Publisher = attached.consumer.publisher();
        let mut consumed = publisher.consumed().unwrap_or_default();
        let (uid, name) = (attached.state.uid, attached.state.name.clone());
        if let Some(position) = self.ledger.known_position(&name)
            && position > attached.consumer.tail()
        {
            match ring::skip(&mut attached.consumer, position) {
                Ok(count) => consumed += count,
                Err(error) => tracing::debug!("the ring {name} ends before {position}: {error}"),
            }
            if publisher.publish(attached.consumer.position(), consumed).is_ok() {
                self.ledger.forget_position(&name);
            }
        }
        let source = self.ledger.add_ring(uid, name, publisher);
        self.all.push(Ring::new(attached, source, consumed, now));
        self.wants.is_lively = true;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Bytes read and not given out, and bytes known to lie in the rings.
    pub(super) fn waiting_len(&self) -> u64 {
        self.waiting_len
    }

    /// Looks into every ring that is awake, and notes what is ripe. `hurry`: everything is.
    pub(super) fn look(&mut self, now: Instant, hurry: bool) {
        let hurry = hurry || self.all.len() == 1;
        self.merge.clear();
        self.current = None;
        let ripe_before = now.checked_sub(MERGE_WINDOW);
        let mut is_busy = false;
        self.waiting_len = 0;
        for (number, ring) in self.all.iter_mut().enumerate() {
            let new = ring.look(now);
            is_busy |= new >= RING_BUSY_LEN;
            self.waiting_len += ring.waiting_len();
            ring.ripen(if hurry { Some(now) } else { ripe_before });
            if let Some(head) = ring.head(number) {
                self.merge.put(head);
            }
        }
        self.pause = if is_busy {
            (self.pause / 2).max(POLL_MIN)
        } else {
            (self.pause * 2).min(POLL_MAX)
        };
    }

    /// The next record to be written; its bytes are [`record`](Self::record)'s. `None`: none is ripe.
    pub(super) fn next(&mut self) -> Option<Taken> {
        let following = self
            .current
            .take()
            .and_then(|number| self.all.get_mut(number)?.head(number));
        let head = match following {
            Some(head) => self.merge.exchange(head)?,
            None => self.merge.next()?,
        };
        self.current = Some(head.ring);
        let ring = self.all.get_mut(head.ring)?;
        let (position, count, len) = ring.take(head.key)?;
        self.waiting_len = self.waiting_len.saturating_sub(len);
        Some(Taken {
            ring: head.ring,
            source: ring.source,
            position,
            count,
        })
    }

    /// The bytes of the record that [`next`](Self::next) gave out last, and the formatters of its ring.
    pub(super) fn record(&mut self, taken: &Taken) -> Option<super::ring::Record<'_>> {
        self.all.get_mut(taken.ring)?.taken()
    }

    /// When to look again; `None`: not until somebody pokes the queue.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let lively = self.wants.is_lively.then(|| now + self.pause);
        let held = self.wants.held_since.map(|since| since + MERGE_WINDOW);
        let unsure = self.wants.is_unsure.then(|| now + RING_CHECK_EVERY);
        [lively, held, unsure].into_iter().flatten().min()
    }

    /// Puts still rings to sleep, lets go of those whose producers are dead, or may be, and whose records are all written, and
    /// of those that are no sound rings any more. Call it when nothing that was given out is unwritten.
    pub(super) fn tidy(&mut self, now: Instant) -> Ended {
        let mut ended = Ended::default();
        let ledger = &self.ledger;
        let mut wants = Wants::default();
        self.all.retain_mut(|ring| match ring.vitality(now) {
            Vitality::Lives => {
                wants.is_lively |= ring.is_awake();
                wants.held_since = [wants.held_since, ring.held_since()].into_iter().flatten().min();
                wants.is_unsure |= !ring.is_connected();
                true
            }
            Vitality::Dead => {
                ring.remove();
                ledger.remove(ring.source);
                false
            }
            Vitality::Unsure => {
                ledger.remove(ring.source);
                false
            }
            Vitality::Broken(error) => {
                // What could not be read for want of something is still there; its client, told of this end, attaches it again.
                if matches!(error, RingError::Corrupt { .. }) {
                    ring.remove();
                }
                ledger.remove(ring.source);
                ended.faults.push((ring.name(), error));
                false
            }
        });
        self.wants = wants;
        ended
    }
}
