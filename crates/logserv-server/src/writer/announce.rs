//! Drops, told in the file: `dropped N records (reason) between T1 and T2`, at most once per second and reason.
//!
//! In: the file's tallies. Out: messages that are due, or when the next one is. Times are UTC, as our client writes them.

use std::time::Instant;

use logserv_format::{Formatter, Specification, TimeCache};
use logserv_wire::record::Record;

use crate::counters::{ByReason, DropReason};
use crate::file_state::FileState;
use crate::limits::ANNOUNCE_EVERY;

#[derive(Debug)]
pub(super) struct Announcer {
    is_on: bool,
    told: ByReason<Option<Instant>>,
    /// Renders a time; none if its own format should not compile, which a test rules out.
    stamp: Option<Formatter>,
    times: TimeCache,
}

impl Announcer {
    pub(super) fn new(is_on: bool) -> Self {
        let specification = Specification {
            fmt: Some("%(asctime)s.%(msecs)03dZ".into()),
            datefmt: Some("%Y-%m-%dT%H:%M:%S".into()),
            utc: true,
            ..Specification::default()
        };
        let stamp = Formatter::compile(&specification).ok();
        Self {
            is_on,
            told: ByReason::default(),
            stamp,
            times: TimeCache::default(),
        }
    }

    /// When the next message is due; `None`: there is nothing to tell.
    pub(super) fn due(&self, state: &FileState) -> Option<Instant> {
        if !state.has_untold() {
            return None;
        }
        let untold = state.untold_reasons().filter(|_| self.is_on);
        untold
            .map(|reason| {
                self.told
                    .of(reason)
                    .map_or_else(Instant::now, |at| at + ANNOUNCE_EVERY)
            })
            .min()
    }

    /// Lets everything be told at once: the server leaves.
    pub(super) fn hurry(&mut self) {
        self.told = ByReason::default();
    }

    /// The next message that is due.
    pub(super) fn next(&mut self, state: &FileState) -> Option<String> {
        if !state.has_untold() {
            return None;
        }
        let now = Instant::now();
        let is_due = |reason: &DropReason| self.told.of(*reason).is_none_or(|at| now >= at + ANNOUNCE_EVERY);
        let reason = state
            .untold_reasons()
            .find(|reason| self.is_on && is_due(reason))?;
        *self.told.of_mut(reason) = Some(now);
        let tally = state.take_tally(reason);
        let (first, last) = (self.stamp(tally.first_s), self.stamp(tally.last_s));
        Some(format!(
            "dropped {} records ({}) between {first} and {last}",
            tally.count,
            reason.name()
        ))
    }

    fn stamp(&mut self, time_s: f64) -> String {
        let record = Record {
            created: time_s,
            msecs: (time_s.fract() * 1000.0).floor(),
            ..Record::default()
        };
        let mut text = String::new();
        let rendered = self
            .stamp
            .as_ref()
            .is_some_and(|stamp| stamp.render(&record, &mut self.times, &mut text).is_ok());
        if rendered { text } else { format!("{time_s:.3}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_told_once_per_second_and_reason_and_none_is_left_out() {
        let state = FileState::new("/x".into());
        let mut announcer = Announcer::new(true);
        assert!(announcer.due(&state).is_none());
        state.note_drop(DropReason::TooLong, 2);
        state.note_drop(DropReason::TooLong, 3);
        state.note_drop(DropReason::Malformed, 1);
        let mut told = vec![announcer.next(&state).unwrap(), announcer.next(&state).unwrap()];
        told.sort();
        assert!(
            told[0].starts_with("dropped 1 records (malformed) between 2"),
            "{told:?}"
        );
        assert!(
            told[1].starts_with("dropped 5 records (too long) between 2") && told[1].ends_with('Z'),
            "{told:?}"
        );
        state.note_drop(DropReason::TooLong, 4);
        assert_eq!(announcer.next(&state), None);
        assert!(announcer.due(&state).is_some_and(|at| at > Instant::now()));
        announcer.hurry();
        assert!(
            announcer
                .next(&state)
                .is_some_and(|message| message.starts_with("dropped 4 "))
        );
        assert_eq!(announcer.next(&state), None);
    }

    #[test]
    fn switched_off_it_says_nothing() {
        let state = FileState::new("/x".into());
        let mut announcer = Announcer::new(false);
        state.note_drop(DropReason::TooLong, 2);
        assert_eq!((announcer.due(&state), announcer.next(&state)), (None, None));
    }
}
