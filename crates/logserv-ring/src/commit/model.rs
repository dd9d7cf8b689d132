//! The protocol's own functions, run through every interleaving that the memory model allows (loom), and stopped at
//! every store.
//!
//! What the real consumer does through the kernel is here a relaxed load or store: less order than a system call gives.

use std::cell::Cell;
use std::convert::Infallible;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, fence};

use super::*;

/// Place of the model's one word of data.
const DATA: usize = 512;
const PLACES: [usize; 8] = [
    HEAD_CHECK_AT,
    HEAD_AT,
    RECORDS_AT,
    TAIL_AT,
    TAIL_CHECK_AT,
    CONSUMED_AT,
    SLEEPING_AT,
    DATA,
];

/// The words of a ring under loom.
struct Model([AtomicU64; PLACES.len()]);

impl Model {
    fn new() -> Arc<Self> {
        let words = PLACES.map(|at| {
            AtomicU64::new(if at == HEAD_CHECK_AT || at == TAIL_CHECK_AT {
                !0
            } else {
                0
            })
        });
        Arc::new(Self(words))
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        &self.0[PLACES.iter().position(|place| *place == at).unwrap()]
    }

    /// The head that a consumer sees.
    fn head(&self) -> Option<u64> {
        let Ok(line) = look(self);
        line.map(|line| line.head)
    }
}

impl Words for Model {
    fn load(&self, at: usize, order: Ordering) -> u64 {
        self.word(at).load(order)
    }

    fn store(&self, at: usize, value: u64, order: Ordering) {
        self.word(at).store(value, order);
    }

    fn fence(&self) {
        fence(Ordering::SeqCst);
    }
}

impl Look for Model {
    type Error = Infallible;

    fn line(&self) -> Result<Line, Infallible> {
        Ok(Line {
            head_check: self.load(HEAD_CHECK_AT, Ordering::Relaxed),
            head: self.load(HEAD_AT, Ordering::Relaxed),
            meta_len: 0,
        })
    }

    fn acquire(&self) {
        fence(Ordering::Acquire);
    }
}

fn every_interleaving(run: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(4); // switches of a running thread; more find nothing new and take minutes
    model.check(run);
}

#[test]
fn a_head_that_is_seen_means_that_its_record_is_seen() {
    every_interleaving(|| {
        let ring = Model::new();
        let producer = Arc::clone(&ring);
        let thread = loom::thread::spawn(move || {
            producer.store(DATA, 7, Ordering::Relaxed);
            commit(&*producer, 8, 1);
        });
        if let Some(head) = ring.head() {
            assert!(head == 0 || ring.load(DATA, Ordering::Relaxed) == 7);
        }
        thread.join().unwrap();
        assert_eq!(ring.head(), Some(8));
    });
}

#[test]
fn a_place_is_not_written_again_before_it_is_released() {
    every_interleaving(|| {
        let ring = Model::new();
        ring.store(DATA, 7, Ordering::Relaxed);
        commit(&*ring, 8, 1);
        let producer = Arc::clone(&ring);
        let thread = loom::thread::spawn(move || {
            if tail(&*producer).is_some_and(|(tail, _)| tail == 8) {
                producer.store(DATA, 9, Ordering::Relaxed);
                commit(&*producer, 16, 2);
            }
        });
        assert_eq!(ring.load(DATA, Ordering::Relaxed), 7);
        ring.store(TAIL_AT, 8, Ordering::Release);
        ring.store(TAIL_CHECK_AT, !8, Ordering::Release);
        ring.store(CONSUMED_AT, 1, Ordering::Release);
        thread.join().unwrap();
    });
}

#[test]
fn no_wake_up_is_lost() {
    every_interleaving(|| {
        let ring = Model::new();
        let producer = Arc::clone(&ring);
        let thread = loom::thread::spawn(move || {
            commit(&*producer, 8, 1);
            consumer_sleeps(&*producer)
        });
        ring.store(SLEEPING_AT, 1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let seen = ring.head() == Some(8);
        let woken = thread.join().unwrap();
        assert!(seen || woken, "the consumer sleeps, and nobody wakes it");
    });
}

#[test]
fn the_model_finds_a_missing_fence() {
    let found = std::panic::catch_unwind(|| {
        every_interleaving(|| {
            let ring = Model::new();
            let producer = Arc::clone(&ring);
            let thread = loom::thread::spawn(move || {
                commit(&*producer, 8, 1);
                producer.load(SLEEPING_AT, Ordering::Relaxed) != 0
            });
            ring.store(SLEEPING_AT, 1, Ordering::Relaxed);
            let seen = ring.head() == Some(8);
            assert!(thread.join().unwrap() || seen);
        });
    });
    assert!(found.is_err(), "a model that finds nothing proves nothing");
}

/// Words whose writer dies after some stores.
struct Mortal {
    words: [Cell<u64>; 512],
    stores_left: Cell<usize>,
}

impl Words for Mortal {
    fn load(&self, at: usize, _: Ordering) -> u64 {
        self.words[at].get()
    }

    fn store(&self, at: usize, value: u64, _: Ordering) {
        if let Some(left) = self.stores_left.get().checked_sub(1) {
            self.stores_left.set(left);
            self.words[at].set(value);
        }
    }

    fn fence(&self) {}
}

impl Look for Mortal {
    type Error = Infallible;

    fn line(&self) -> Result<Line, Infallible> {
        let word = |at: usize| self.words[at].get();
        Ok(Line {
            head_check: word(HEAD_CHECK_AT),
            head: word(HEAD_AT),
            meta_len: word(META_LEN_AT),
        })
    }
}

#[test]
fn a_death_at_any_store_of_a_commit_hides_nothing_and_shows_nothing_half() {
    let heads: Vec<u64> = (0..=6)
        .map(|stores_left| {
            let ring = Mortal {
                words: [const { Cell::new(0) }; 512],
                stores_left: Cell::new(stores_left),
            };
            ring.words[HEAD_CHECK_AT].set(!0);
            commit(&ring, 40, 1);
            commit(&ring, 64, 2);
            let Ok(line) = look(&ring);
            line.unwrap().head
        })
        .collect();
    assert_eq!(heads, [0, 0, 40, 40, 40, 64, 64]);
}
