//! What the tests share: a directory of rings of their own, records whose number and wholeness can be seen.
#![allow(dead_code, reason = "each test program uses its own part")]
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::path::Path;

use logserv_ring::{Consumer, Directory, Producer, RingError};

/// A base directory like `/dev/shm`, in it if possible, that is deleted at the end.
pub struct Place {
    base: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        let base = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self { base: base.unwrap() }
    }

    pub fn base(&self) -> &Path {
        self.base.path()
    }

    pub fn directory(&self) -> Directory {
        Directory::ensure_at(self.base()).unwrap()
    }

    pub fn producer(&self, capacity: usize) -> Producer {
        Producer::create(&self.directory(), 0xfeed, capacity).unwrap()
    }

    pub fn consumer(&self, producer: &Producer) -> Consumer {
        Consumer::open(&self.directory(), producer.name()).unwrap()
    }
}

/// A small generator of numbers, the same for the same seed.
pub struct Dice(pub u64);

impl Dice {
    /// Below `end`.
    pub fn roll(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Record number `number`: its number, then bytes and a length that follow from it.
pub fn record(number: u64) -> Vec<u8> {
    let mut dice = Dice(number);
    let len = dice.roll(200) as usize;
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.extend((0..len).map(|_| dice.roll(256) as u8));
    bytes
}

/// The records of one call of `read`.
pub fn read_some(consumer: &mut Consumer, max: usize) -> Result<Vec<Vec<u8>>, RingError> {
    let (mut entries, mut bytes) = (Vec::new(), vec![0xee; 5]);
    consumer.read(max, &mut entries, &mut bytes)?;
    assert!(bytes.starts_with(&[0xee; 5]), "what was there stays");
    assert!(entries.last().is_none_or(|last| last.end == consumer.position()));
    Ok(entries
        .iter()
        .map(|entry| bytes[entry.start..entry.start + entry.len].to_vec())
        .collect())
}

/// All records that are there.
pub fn drain(consumer: &mut Consumer) -> Result<Vec<Vec<u8>>, RingError> {
    let mut all = Vec::new();
    while consumer.poll()? > 0 {
        all.extend(read_some(consumer, 1000)?);
    }
    Ok(all)
}
