//! Rings of dead processes for servers that there are no more: a test's, a service's that has moved, a container's.
//!
//! In: the rings of this server's own user that are for another address. Out: those that are dead and older than
//! [`ABANDONED_AGE_MAX`] are removed, their records counted and said: a server that still listened there would have read
//! them, or have given them up by then. It is given [`ABANDONED_GRACE`] to show itself, for it may just have started.
//! Not here: rings for this server; those are `orphans.rs`.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use logserv_ring::{Consumer, Directory, RingName};

use super::orphans::{age_of, begin_age, count};
use crate::limits::{ABANDONED_AGE_MAX, ABANDONED_GRACE};

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Abandoned {
    /// Since when they are known.
    known: HashMap<RingName, Instant>,
}

impl Abandoned {
    /// Removes those whose time is over, and remembers the others that are old enough. Returns how many records were in
    /// them. Blocks: for a system call for each foreign ring, some more for an old one.
    pub(super) fn sweep(&mut self, directory: &Directory, is_own: impl Fn(u64) -> bool, now: Instant) -> u64 {
        let mut lost = 0;
        let mut still = HashMap::new();
        for name in directory.rings().unwrap_or_default() {
            if is_own(name.key) || !is_old(directory, &name) {
                continue;
            }
            let since = self.known.get(&name).copied().unwrap_or(now);
            if now.saturating_duration_since(since) < ABANDONED_GRACE {
                still.insert(name, since);
            } else {
                lost += remove(directory, &name);
            }
        }
        self.known = still;
        lost
    }

    /// When to look again because of those that are known; `None`: there are none.
    pub(super) fn due_in(&self, now: Instant) -> Option<Duration> {
        let since = self.known.values().min()?;
        Some((*since + ABANDONED_GRACE).saturating_duration_since(now))
    }
}

/// Whether a ring's producer is dead, and its file and its newest record are older than the limit.
fn is_old(directory: &Directory, name: &RingName) -> bool {
    let is_over = || age_of(directory, name, SystemTime::now()).is_some_and(|age| age > ABANDONED_AGE_MAX);
    // Whoever reads it keeps it, and counts as its producer.
    let is_dead =
        || Consumer::open(directory, name).is_ok_and(|consumer| consumer.producer_is_gone().unwrap_or(false));
    is_over() && is_dead() && {
        begin_age(directory, name);
        is_over()
    }
}

fn remove(directory: &Directory, name: &RingName) -> u64 {
    let lost = Consumer::open(directory, name).map_or(0, |mut consumer| count(&mut consumer));
    match directory.remove(name) {
        Ok(()) => lost,
        Err(_) => 0, // it stays, and so do its records
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use logserv_ring::Producer;
    use logserv_wire::record::{Record, RecordWriter};

    use super::*;

    const OWN: u64 = 1;
    const FOREIGN: u64 = 2;

    /// A directory of rings of its own.
    struct Place {
        _base: tempfile::TempDir,
        directory: Directory,
    }

    impl Place {
        fn new() -> Self {
            let base = tempfile::tempdir().unwrap();
            let directory = Directory::ensure_at(base.path()).unwrap();
            Self {
                _base: base,
                directory,
            }
        }

        /// A ring whose file is `file_age` old, and its one record `record_age`.
        fn ring(&self, key: u64, file_age: Duration, record_age: Duration) -> Producer {
            let mut producer = Producer::create(&self.directory, key, 4096).unwrap();
            let created = SystemTime::now() - record_age;
            let created = created
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap()
                .as_secs_f64();
            let mut bytes = Vec::new();
            let record = Record {
                created,
                ..Record::default()
            };
            RecordWriter::begin(&record, &mut bytes).finish();
            assert!(producer.push(&bytes));
            let path = self.directory.location().join(producer.name().to_string());
            let file = File::options().write(true).open(path).unwrap();
            file.set_modified(SystemTime::now() - file_age).unwrap();
            producer
        }

        fn has(&self, name: &RingName) -> bool {
            self.directory.rings().unwrap().contains(name)
        }
    }

    #[test]
    fn only_old_rings_of_dead_processes_for_other_servers_are_removed_and_not_at_once() {
        let place = Place::new();
        let (old, young) = (
            ABANDONED_AGE_MAX + Duration::from_secs(60),
            Duration::from_secs(60),
        );
        let made = [
            place.ring(FOREIGN, old, old),
            place.ring(FOREIGN, young, young),
            place.ring(FOREIGN, old, young), // it has logged until a minute ago
            place.ring(OWN, old, old),
        ];
        let names = made.each_ref().map(|producer| producer.name().clone());
        drop(made); // as deaths do
        let living = place.ring(FOREIGN, old, old);
        let read = place.ring(FOREIGN, old, old).name().clone();
        let reader = Consumer::open(&place.directory, &read).unwrap();

        let mut abandoned = Abandoned::default();
        let start = Instant::now();
        let mut sweep = |after| {
            let lost = abandoned.sweep(&place.directory, |key| key == OWN, start + after);
            (lost, abandoned.due_in(start + after))
        };
        assert_eq!(sweep(Duration::ZERO), (0, Some(ABANDONED_GRACE)));
        let moment = ABANDONED_GRACE - Duration::from_millis(1);
        assert_eq!(sweep(moment), (0, Some(Duration::from_millis(1))));
        assert!(names.iter().all(|name| place.has(name)));
        assert_eq!(sweep(ABANDONED_GRACE), (1, None));
        assert_eq!(
            names.each_ref().map(|name| place.has(name)),
            [false, true, true, true]
        );
        assert!(place.has(living.name()) && place.has(&read));
        drop(reader);
        assert_eq!(
            sweep(2 * ABANDONED_GRACE),
            (0, Some(ABANDONED_GRACE)),
            "counted from now"
        );
    }
}
