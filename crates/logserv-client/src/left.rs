//! Rings that dead processes of this user have left for the same server, which has not come for them, or cannot remove them.
//!
//! In: the directory, the server's key. Out: whether there is room for one more; the memory of those that are empty. A cron job whose server is gone for good
//! must not fill the memory of its host: beyond [`LEFT_RINGS_MAX`] rings, or the [`LEFT_SHARE`]th part of the memory, no more are made, and the
//! records go the way they go where there is no memory. Nothing is ever given up here that a server might still come for.
//! Not here: what a server does with them; that is its own affair, and it looks first of all.

use logserv_ring::{Consumer, Directory, RingName, Space};

use crate::limits::{LEFT_RINGS_LOOKED_AT_MAX, LEFT_RINGS_MAX, LEFT_SHARE, SWEPT_RINGS_MAX};

/// Whether another ring may be made. System calls: two, and one for the directory's pages; some five for each ring only
/// where there are very many, or much of the memory is in use.
pub(crate) fn is_room(directory: &Directory, key: u64) -> bool {
    is_room_in(directory, key, directory.space())
}

fn is_room_in(directory: &Directory, key: u64, space: Option<Space>) -> bool {
    let len_max = space.map_or(u64::MAX, |space| space.total / LEFT_SHARE);
    let used = space.map_or(0, |space| space.total.saturating_sub(space.free));
    let rings = directory.rings().unwrap_or_default();
    let mut rings: Vec<RingName> = rings.into_iter().filter(|name| name.key == key).collect();
    if rings.len() < LEFT_RINGS_MAX && used < len_max {
        return true;
    }
    rings.truncate(LEFT_RINGS_LOOKED_AT_MAX);
    let (mut left, mut left_len) = (0, 0);
    for name in &rings {
        match left_empty(directory, name) {
            Some(true) if directory.remove(name).is_ok() => {}
            Some(_) => {
                left += 1;
                left_len += len_of(directory, name);
            }
            None => {}
        }
    }
    left < LEFT_RINGS_MAX && left_len < len_max
}

/// Bytes of a ring's file.
fn len_of(directory: &Directory, name: &RingName) -> u64 {
    let path = directory.location().join(name.to_string());
    path.symlink_metadata().map_or(0, |metadata| metadata.len())
}

/// Removes those in which nothing is left: a server that was passed them could not.
pub(crate) fn sweep(directory: &Directory, key: u64) {
    let rings = directory.rings().unwrap_or_default();
    for name in rings.iter().filter(|name| name.key == key).take(SWEPT_RINGS_MAX) {
        if left_empty(directory, name) == Some(true) {
            // Somebody else has removed it, at worst.
            let _ = directory.remove(name);
        }
    }
}

/// Whether nothing is in a ring that nobody has open or mapped any more; `None`: somebody has, or it is no ring.
fn left_empty(directory: &Directory, name: &RingName) -> Option<bool> {
    let mut consumer = Consumer::open(directory, name).ok()?;
    // In this order: what its producer has committed before its death is seen by the look behind it.
    let is_left = consumer.producer_is_gone().unwrap_or(false);
    is_left.then(|| consumer.poll().is_ok_and(|len| len == 0))
}

#[cfg(test)]
mod tests {
    use logserv_ring::Producer;

    use super::*;

    /// A directory of rings of its own.
    struct Place(std::path::PathBuf, Directory);

    impl Place {
        fn new(name: &str) -> Self {
            let base = std::env::temp_dir().join(format!("logserv-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&base).unwrap();
            let directory = Directory::ensure_at(&base).unwrap();
            Self(base, directory)
        }

        fn ring(&self, key: u64, record: &[u8]) -> Producer {
            let mut producer = Producer::create(&self.1, key, 4096).unwrap();
            assert!(record.is_empty() || producer.push(record));
            producer
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_sweep_removes_what_dead_processes_have_left_empty_and_nothing_else() {
        let place = Place::new("swept");
        let mut rings = vec![
            place.ring(1, b""),
            place.ring(1, b"left"),
            place.ring(1, b""),
            place.ring(1, b""),
            place.ring(2, b""),
        ];
        let names: Vec<RingName> = rings.iter().map(|ring| ring.name().clone()).collect();
        let is_there = |number: usize| place.1.rings().unwrap().contains(&names[number]);
        let reader = Consumer::open(&place.1, &names[3]).unwrap();
        rings.truncate(1); // as the others' deaths do
        sweep(&place.1, 1);
        assert_eq!([0, 1, 2, 3, 4].map(is_there), [true, true, false, true, true]);
        drop(reader);
        sweep(&place.1, 1);
        assert!(!is_there(3), "nobody reads it any more");
    }

    #[test]
    fn rings_that_nobody_came_for_are_bounded_and_those_of_the_living_do_not_count() {
        let place = Place::new("left");
        let (directory, make) = (&place.1, |key| place.ring(key, b"left"));
        let living: Vec<Producer> = (0..LEFT_RINGS_MAX).map(|_| make(1)).collect();
        assert!(is_room(directory, 1));
        (0..LEFT_RINGS_MAX - 1).for_each(|_| drop(make(1)));
        assert!(is_room(directory, 1));
        drop(make(1));
        assert!(!is_room(directory, 1));
        assert!(is_room(directory, 2), "another server's");
        drop(living);
    }

    #[test]
    fn rings_that_nobody_came_for_leave_three_quarters_of_a_small_memory_to_others() {
        let place = Place::new("share");
        let (directory, make) = (&place.1, |key| place.ring(key, b"left"));
        let len = len_of(directory, make(1).name());
        // Four such rings are a quarter, and those of the living have taken all of it.
        let space = Space {
            total: 4 * 4 * len,
            free: 0,
        };
        let living = make(1);
        (1..3).for_each(|_| drop(make(1)));
        assert!(is_room_in(directory, 1, Some(space)));
        drop(make(1));
        assert!(!is_room_in(directory, 1, Some(space)));
        assert!(is_room_in(directory, 1, None), "a memory without a limit");
        let free = space.total;
        assert!(
            is_room_in(directory, 1, Some(Space { free, ..space })),
            "not even looked at"
        );
        assert!(is_room_in(directory, 2, Some(space)), "another server's");
        drop(living);
    }
}
