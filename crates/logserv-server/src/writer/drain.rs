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
        self.rings.look(Instant::now(), hurry);
        self.state.set_ring_len(self.rings.waiting_len());
        while let Some(taken) = self.rings.next() {
            self.take_from_ring(&taken)?;
            if self.group.len >= GROUP_LEN {
                self.commit()?;
            }
        }
        self.commit()?;
        self.state.set_ring_len(self.rings.waiting_len());
        for (name, error) in self.rings.tidy(Instant::now()).faults {
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
        let made = match self.rings.record(taken) {
            Some(one) => match Record::decode(one.bytes) {
                Ok((record, [])) => {
                    self.lines.render(&record, one.formatters);
                    Some((record.created, record.level_no))
                }
                Ok(_) | Err(_) => None,
            },
            None => None,
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
