//! The queue against a model that remembers every record.

use logserv_wire::record::Record;

use super::*;

fn record(n: u64) -> Vec<u8> {
    let text = "x".repeat(usize::try_from(n % 97).unwrap());
    let mut bytes = Vec::new();
    Record {
        thread: Some(n),
        message: Some(&text),
        ..Record::default()
    }
    .encode(&mut bytes);
    bytes
}

fn numbers(batch: &Batch) -> Vec<u64> {
    let mut rest = batch.records();
    let mut numbers = Vec::new();
    while !rest.is_empty() {
        let (record, behind) = Record::decode(rest).unwrap();
        numbers.push(record.thread.unwrap());
        rest = behind;
    }
    assert_eq!(numbers.len(), batch.count as usize);
    numbers
}

#[test]
fn batches_number_their_records_without_a_gap_whatever_is_acknowledged_in_between() {
    // A small generator of our own: the seed is in the failure's name, and no dependency is needed.
    for seed in 1..60_u64 {
        let mut random = seed;
        let mut next = |below: u64| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        let mut queue = Queue::new(1 << 20);
        let (mut pushed, mut seen, mut highest) = (0_u64, 0_u64, 0_u64);
        for _ in 0..300 {
            match next(10) {
                0..=4 => {
                    pushed += 1;
                    queue.push(&record(pushed));
                }
                5 => queue.seal(),
                6 | 7 => {
                    if let Some(batch) = queue.next_batch() {
                        assert_eq!(batch.first_seq, seen + 1, "seed {seed}");
                        let expected: Vec<_> =
                            (batch.first_seq..batch.first_seq + u64::from(batch.count)).collect();
                        assert_eq!(numbers(&batch), expected, "seed {seed}");
                        seen += u64::from(batch.count);
                        highest = highest.max(seen);
                    }
                }
                8 => {
                    let acknowledged = queue.acknowledged();
                    let seq = acknowledged + next(seen - acknowledged + 1);
                    queue.acknowledge(seq).unwrap();
                    assert_eq!(queue.acknowledged(), seq, "seed {seed}");
                    assert_eq!(queue.pending_records(), pushed - seq, "seed {seed}");
                }
                _ => {
                    queue.rewind();
                    seen = queue.acknowledged();
                }
            }
            assert_eq!(queue.last_handed_out(), seen, "seed {seed}");
            let len: usize = (queue.acknowledged() + 1..=pushed).map(|n| record(n).len()).sum();
            assert_eq!(queue.pending_len(), len, "seed {seed}");
        }
    }
}

#[test]
fn a_number_that_was_never_given_is_refused() {
    let mut queue = Queue::new(1000);
    queue.push(&record(1));
    assert_eq!(queue.acknowledge(1), Err(NeverSent), "it is not even in a batch");
    let _ = queue.next_batch().unwrap();
    assert_eq!(queue.acknowledge(2), Err(NeverSent));
    assert_eq!(queue.acknowledge(1), Ok(true));
    assert_eq!(
        queue.acknowledge(0),
        Ok(false),
        "an old acknowledgement changes nothing"
    );
}

#[test]
fn renumbering_begins_at_one_with_the_first_record_left() {
    let mut queue = Queue::new(1 << 20);
    for n in 1..=5 {
        queue.push(&record(n));
    }
    let _ = queue.next_batch();
    queue.acknowledge(3).unwrap();
    queue.renumber();
    let batch = queue.next_batch().unwrap();
    assert_eq!((batch.first_seq, numbers(&batch)), (1, vec![4, 5]));
    queue.acknowledge(2).unwrap();
    assert_eq!(queue.pending_len(), 0);
}

#[test]
fn a_record_over_the_capacity_fits_an_empty_queue_only() {
    let mut queue = Queue::new(100);
    assert!(queue.fits(1000));
    queue.push(&record(1));
    assert!(!queue.fits(1000));
    assert!(queue.fits(100 - record(1).len()));
    assert!(!queue.fits(101 - record(1).len()));
}

#[test]
fn a_chunk_is_closed_before_it_exceeds_a_batch() {
    let mut queue = Queue::new(10 << 20);
    let mut pushed = 0;
    while queue.pending_len() < 3 * BATCH_LEN_TARGET {
        pushed += 1;
        queue.push(&record(pushed));
    }
    let mut count = 0;
    while let Some(batch) = queue.next_batch() {
        assert!(batch.records().len() <= BATCH_LEN_TARGET);
        count += u64::from(batch.count);
    }
    assert_eq!(count, pushed);
}
