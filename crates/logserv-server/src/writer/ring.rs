//! One ring as its file's writer reads it: what was seen in it, read from it and given out, and whether it still lives.
//!
//! In: the time. Out: its next record and that record's key. Every byte is the client's word: the ring's consumer has
//! checked the lengths, `writer.rs` decodes each record as one from a socket.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use logserv_format::Formatter;
use logserv_ring::{Consumer, Directory, Entry, META_FORMATTER, RingError};

use super::merge::Head;
use crate::ingest::compile_lenient;
use crate::limits::{
    FORMATTERS_MAX, LIVELY, RING_CHECK_EVERY, RING_KEPT_LEN, RING_READ_LEN, UNSURE_RING_KEPT,
    WATCHED_READ_LEN,
};
use crate::pipeline::Formatters;
use crate::rings::Attached;

/// Where `created` stands in a record (PROTOCOL.md).
const CREATED_AT: std::ops::Range<usize> = 16..24;
/// Where the formatter's number stands.
const FORMATTER_AT: std::ops::Range<usize> = 8..12;

/// Whether there is a reason to go on reading.
#[derive(Debug)]
pub(super) enum Vitality {
    Lives,
    /// Its producer is dead and all its records are written.
    Dead,
    /// Nothing is left in it, nobody has spoken for it for long, and nobody knows whether its producer lives.
    Unsure,
    /// It is no sound ring any more; what came before is written.
    Broken(RingError),
}

/// A record that was given out.
#[derive(Debug)]
pub(super) struct Record<'r> {
    pub(super) bytes: &'r [u8],
    /// The one that it names, if it was announced.
    pub(super) formatter: Option<&'r Arc<Formatter>>,
}

#[derive(Debug)]
pub(super) struct Ring {
    attached: Attached,
    pub(super) source: u32,
    formatters: Formatters,
    /// Records read, and how many of them are given out.
    entries: Vec<Entry>,
    given: usize,
    bytes: Vec<u8>,
    /// Position behind the last record given out.
    given_end: u64,
    /// Key of the newest record given out.
    key: f64,
    /// How far the ring was filled at past looks: position and time, oldest first.
    seen: VecDeque<(u64, Instant)>,
    /// Known end of its records, and the part of them that waits no longer.
    end: u64,
    ripe_end: u64,
    /// Records given out, since the ring was made.
    count: u64,
    lively_at: Instant,
    is_asleep: bool,
    checked_at: Instant,
    /// Since when no connection speaks for it.
    alone_since: Option<Instant>,
    is_orphan: bool,
    broken: Option<RingError>,
}

impl Ring {
    pub(super) fn new(attached: Attached, source: u32, consumed: u64, now: Instant) -> Self {
        let start = attached.consumer.position();
        Self {
            attached,
            source,
            formatters: Formatters::default(),
            entries: Vec::new(),
            given: 0,
            bytes: Vec::new(),
            given_end: start,
            key: f64::NEG_INFINITY,
            seen: VecDeque::new(),
            end: start,
            ripe_end: start,
            count: consumed,
            lively_at: now,
            is_asleep: false,
            checked_at: now,
            alone_since: None,
            is_orphan: false,
            broken: None,
        }
    }

    pub(super) fn name(&self) -> String {
        self.attached.state.name.to_string()
    }

    pub(super) fn is_awake(&self) -> bool {
        !self.is_asleep && self.broken.is_none()
    }

    pub(super) fn is_connected(&self) -> bool {
        self.attached.state.is_connected()
    }

    /// Bytes that are known to wait here.
    pub(super) fn waiting_len(&self) -> u64 {
        self.end.saturating_sub(self.given_end)
    }

    /// Since when the oldest record that is not ripe has been seen.
    pub(super) fn held_since(&self) -> Option<Instant> {
        self.seen.front().map(|(_, since)| *since)
    }

    /// Looks for new records; returns their bytes.
    pub(super) fn look(&mut self, now: Instant) -> u64 {
        if self.broken.is_some() {
            return 0;
        }
        if self.is_asleep {
            if !self.attached.state.take_woken() {
                return 0;
            }
            self.is_asleep = false;
            self.lively_at = now;
            self.stay_awake();
        }
        let new = match self.attached.consumer.poll() {
            Ok(unread) => {
                let end = self.attached.consumer.position() + unread;
                let new = end.saturating_sub(self.end);
                self.end = end;
                new
            }
            Err(error) => {
                self.broken = Some(error);
                0
            }
        };
        if new > 0 {
            self.lively_at = now;
            self.seen.push_back((self.end, now));
        }
        new
    }

    /// What was seen at `until` or before waits no longer; neither does anything in a ring that is half full, or dead.
    pub(super) fn ripen(&mut self, until: Option<Instant>) {
        if self.is_orphan || self.waiting_len() * 2 >= self.attached.consumer.capacity() {
            self.ripe_end = self.end;
            self.seen.clear();
        }
        while let Some((end, at)) = self.seen.front()
            && until.is_some_and(|until| *at <= until)
        {
            self.ripe_end = *end;
            self.seen.pop_front();
        }
    }

    /// The next record's key, and whether it is ripe. Reads on where nothing is read.
    pub(super) fn head(&mut self, number: usize) -> Option<Head> {
        if self.given == self.entries.len() {
            self.read();
        }
        let entry = self.entries.get(self.given)?;
        let created = self
            .bytes
            .get(entry.start..entry.start + entry.len)
            .and_then(|record| record.get(CREATED_AT))
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(f64::NAN, f64::from_le_bytes);
        // A ring's own order always wins; what is no time does not move it.
        let key = if created > self.key && created < f64::INFINITY {
            created
        } else {
            self.key
        };
        Some(Head {
            key,
            is_ripe: entry.end <= self.ripe_end,
            ring: number,
        })
    }

    fn read(&mut self) {
        if self.broken.is_some() || self.end <= self.attached.consumer.position() {
            return;
        }
        self.bytes.clear();
        if self.bytes.capacity() > RING_KEPT_LEN {
            self.bytes = Vec::new();
        }
        self.entries.clear();
        self.given = 0;
        let consumer = &mut self.attached.consumer;
        let len = if consumer.is_watched() {
            WATCHED_READ_LEN
        } else {
            RING_READ_LEN
        };
        let read = consumer.read(len, &mut self.entries, &mut self.bytes);
        // What was whole before the fault is written.
        if let Err(error) = read {
            self.broken = Some(error);
        }
    }

    /// Gives the head out, whose key is `key`: the position behind it, how many records lie before that, and its bytes in the ring.
    pub(super) fn take(&mut self, key: f64) -> Option<(u64, u64, u64)> {
        let end = self.entries.get(self.given)?.end;
        let len = end.saturating_sub(self.given_end);
        self.given += 1;
        self.given_end = end;
        self.key = key;
        self.count += 1;
        Some((end, self.count, len))
    }

    /// The record given out last.
    pub(super) fn taken(&mut self) -> Option<Record<'_>> {
        let entry = *self.entries.get(self.given.checked_sub(1)?)?;
        let range = entry.start..entry.start + entry.len;
        let id = self
            .bytes
            .get(range.clone())
            .and_then(|record| record.get(FORMATTER_AT))
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u32::from_le_bytes);
        if self.formatters.get(id).is_none() {
            self.learn_formatters();
        }
        Some(Record {
            bytes: self.bytes.get(range)?,
            formatter: self.formatters.get(id),
        })
    }

    /// Takes in the formatters that its producer has announced. One that does not compile stays unknown.
    fn learn_formatters(&mut self) {
        for (kind, bytes) in self.attached.consumer.meta().unwrap_or_default() {
            let Some((id, json)) = bytes.split_at_checked(4).filter(|_| kind == META_FORMATTER) else {
                continue;
            };
            let id = id.try_into().map_or(0, u32::from_le_bytes);
            let formatter = std::str::from_utf8(json)
                .ok()
                .and_then(|json| compile_lenient(json).ok());
            if let Some(formatter) = formatter
                && id != 0
                && self.formatters.len() < FORMATTERS_MAX
            {
                self.formatters = self.formatters.with(id, formatter);
            }
        }
    }

    /// See [`Vitality`]. Puts the ring to sleep where nothing has come for a while.
    pub(super) fn vitality(&mut self, now: Instant) -> Vitality {
        if self.given < self.entries.len() {
            return Vitality::Lives;
        }
        if let Some(error) = self.broken.take() {
            return Vitality::Broken(error);
        }
        if self.waiting_len() > 0 {
            return Vitality::Lives;
        }
        let is_suspected = self.attached.state.take_suspected();
        if self.is_connected() || is_suspected {
            self.alone_since = None;
        }
        if !self.is_connected() {
            let alone_since = *self.alone_since.get_or_insert(now);
            if (is_suspected || now - self.checked_at >= RING_CHECK_EVERY)
                && let Some(vitality) = self.check(now, now - alone_since)
            {
                return vitality;
            }
        }
        if !self.is_asleep && now - self.lively_at >= LIVELY {
            self.fall_asleep(now);
        }
        Vitality::Lives
    }

    /// Whether its producer is dead; `None`: it is not, for all we know. `alone`: how long nobody has spoken for it.
    fn check(&mut self, now: Instant, alone: Duration) -> Option<Vitality> {
        self.checked_at = now;
        if self.is_orphan {
            return Some(Vitality::Dead);
        }
        match self.attached.consumer.producer_is_gone() {
            // It lives, and nobody is there to say that we shall wake.
            Ok(false) if self.is_asleep && self.look_again(now) => self.stay_awake(),
            // Only what comes after this look can be the last.
            Ok(is_gone) => self.is_orphan = is_gone,
            Err(_) if alone >= UNSURE_RING_KEPT && !self.look_again(now) && self.attached.state.let_go() => {
                return Some(Vitality::Unsure);
            }
            Err(_) => {}
        }
        self.is_orphan.then(|| {
            if self.look_again(now) {
                Vitality::Lives
            } else {
                Vitality::Dead
            }
        })
    }

    /// Asks to be woken, then looks once more: whoever has not seen the wish has been seen by this look.
    fn fall_asleep(&mut self, now: Instant) {
        match self.attached.consumer.set_sleeping(true) {
            Ok(()) if self.look_again(now) => self.stay_awake(),
            Ok(()) => {
                self.is_asleep = true;
                // A thousand rings that were busy once must not keep their buffers.
                self.bytes = Vec::new();
                self.entries = Vec::new();
                self.given = 0;
            }
            Err(error) => self.broken = Some(error),
        }
    }

    fn stay_awake(&mut self) {
        if let Err(error) = self.attached.consumer.set_sleeping(false) {
            self.broken = Some(error);
        }
    }

    fn look_again(&mut self, now: Instant) -> bool {
        let was_asleep = std::mem::take(&mut self.is_asleep);
        let found = self.look(now) > 0;
        self.is_asleep = was_asleep && !found;
        found
    }

    /// Removes its file: nothing more will come out of it. One that was passed may lie where we cannot reach it.
    pub(super) fn remove(&self) {
        let state = &self.attached.state;
        if let Ok(Some(directory)) = Directory::open(state.uid)
            && let Err(error) = directory.remove(&state.name)
            && !state.is_passed
        {
            tracing::warn!("cannot remove the ring {}: {error}", state.name);
        }
    }
}

/// Reads on to `position`, up to which a former server has written the records and could not say so in the ring. Returns how many
/// they were.
///
/// # Errors
/// The ring is no sound one; the next look finds that out again.
pub(super) fn skip(consumer: &mut Consumer, position: u64) -> Result<u64, RingError> {
    let (mut entries, mut bytes) = (Vec::new(), Vec::new());
    let mut count = 0;
    while consumer.position() < position {
        let left = usize::try_from(position - consumer.position()).unwrap_or(RING_READ_LEN);
        consumer.read(left.min(RING_READ_LEN), &mut entries, &mut bytes)?;
        if entries.is_empty() {
            break;
        }
        count += entries.len() as u64;
        entries.clear();
        bytes.clear();
    }
    Ok(count)
}
