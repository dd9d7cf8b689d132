//! The writer's way with rings: record by record from the ring that is next, through the formatter, into the file.
//!
//! In: the file's rings. Out: lines taken and committed; each ring's tail follows when they are written.
//! Not here: which ring is next (`rings.rs`), what a position means to the disk (`ledger.rs`).

use std::time::Instant;

use logserv_disk::Mark;
use logserv_wire::record::Record;

use super::rings::Taken;
use super::{GaveUp, Writer};
use crate::counters::DropReason;
use crate::limits::GROUP_LEN;

impl Writer {
    /// Writes what is ripe in the rings, or (`hurry`) everything that was in them when this began.
    pub(super) fn drain_rings(&mut self, hurry: bool) -> Result<(), GaveUp> {
        if self.rings.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        self.rings.look(now, hurry);
        self.state.set_ring_len(self.rings.waiting_len());
        let mut is_any = false;
        while let Some(taken) = self.rings.next() {
            is_any = true;
            self.take_from_ring(&taken)?;
            if self.group.len >= GROUP_LEN {
                self.commit()?;
            }
        }
        if is_any {
            self.commit()?;
            self.state.set_ring_len(self.rings.waiting_len());
        }
        for (name, error) in self.rings.tidy(now).faults {
            self.counters.broken_rings.add(1);
            tracing::warn!("{}: the ring {name} is read no more: {error}", self.state.path);
        }
        Ok(())
    }

    fn take_from_ring(&mut self, taken: &Taken) -> Result<(), GaveUp> {
        let mark = Mark {
            source: taken.source,
            position: taken.position,
            count: taken.count,
        };
        let mut record = Record::default();
        let made = match self.rings.record(taken) {
            Some(one) if record.decode_into(one.bytes).is_ok() => {
                self.lines.render(&record, one.formatter);
                Some((record.created, record.level_no))
            }
            _ => None,
        };
        match made {
            Some((created_s, level_no)) => {
                self.append(created_s, mark)?;
                self.group.level_max = self.group.level_max.max(level_no);
                self.group.records += 1;
                self.group.from_rings += 1;
            }
            None => {
                self.counters.received.add(1);
                self.state.received.add(1);
                self.drop_records(DropReason::Malformed, 1);
                self.file.pass(mark);
            }
        }
        Ok(())
    }
}
