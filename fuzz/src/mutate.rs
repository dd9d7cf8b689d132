//! Random numbers from a seed, and what can be done to bytes with them.
//!
//! In: a seed and an iteration; the same two give the same numbers on every machine. Out: [`Random`], mutated bytes.
//! Not here: the grammar of a format; that is `targets/`.

use std::time::{SystemTime, UNIX_EPOCH};

/// Numbers that decoders are known to stumble over, as bytes of a length field.
const INTERESTING: [u64; 16] = [
    0,
    1,
    2,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x7fff,
    0x8000,
    0xffff,
    0x10000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 62,
    u64::MAX,
];

/// Longest input in bytes, but for a rare long one.
const INPUT_LEN_MAX: usize = 64 << 10;

/// A generator of random numbers (`SplitMix64`): small, and the same everywhere.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

/// A seed for a run that was given none: the time, so that every run tries something else.
pub fn seed_of_today() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(1, |since| since.as_secs())
}

impl Random {
    /// The numbers of one iteration.
    pub fn new(seed: u64, iteration: u64) -> Self {
        let mut random = Self {
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ iteration,
        };
        random.next();
        random
    }

    /// Any number.
    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`; 0 where `limit` is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        let limit = limit as u64;
        usize::try_from(self.next().checked_rem(limit).unwrap_or_default()).unwrap_or_default()
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    /// One of `choices`.
    pub fn choose<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        let index = self.below(choices.len());
        choices[index]
    }

    /// A number that decoders are known to stumble over, or any.
    pub fn interesting(&mut self) -> u64 {
        if self.one_in(4) {
            self.next()
        } else {
            INTERESTING[self.below(INTERESTING.len())]
        }
    }

    /// A few random bytes.
    pub fn bytes(&mut self, len_max: usize) -> Vec<u8> {
        let len = self.below(len_max + 1);
        (0..len).map(|_| self.byte()).collect()
    }

    /// A short text, seldom plain.
    pub fn text(&mut self) -> String {
        const PARTS: [&str; 14] = [
            "",
            "a",
            "message",
            "zoë",
            "\u{1f389}",
            "%s",
            "{0}",
            "$x",
            "\n",
            "\0",
            "x y",
            "'\"\\",
            "e\u{301}",
            "\u{202e}",
        ];
        (0..self.below(4)).map(|_| self.choose(&PARTS)).collect()
    }
}

/// Changes `bytes` in a few places; `others` are inputs to take pieces from.
pub fn mutate(random: &mut Random, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
    for _ in 0..=random.below(8) {
        mutate_once(random, bytes, others);
    }
    let len_max = if random.one_in(1000) {
        16 * INPUT_LEN_MAX
    } else {
        INPUT_LEN_MAX
    };
    bytes.truncate(len_max);
}

fn mutate_once(random: &mut Random, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
    let at = random.below(bytes.len() + 1);
    let end = (at + 1 + random.below(32)).min(bytes.len());
    let range = at.min(end)..end;
    match random.below(10) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(range)),
        2 => {
            let piece = random.bytes(16);
            bytes.splice(at..at, piece);
        }
        3 => {
            // The same piece many times over: depth, counts and quadratic time come from repetition.
            let piece = bytes.get(range).unwrap_or_default().to_vec();
            let times = 1usize << random.below(12);
            let room = INPUT_LEN_MAX.saturating_sub(bytes.len()) / piece.len().max(1);
            bytes.splice(at..at, piece.repeat(times.min(room)));
        }
        4 => {
            let other = others
                .get(random.below(others.len()))
                .map_or(&[][..], Vec::as_slice);
            let from = random.below(other.len() + 1);
            let to = (from + random.below(256)).min(other.len());
            bytes.splice(at..at, other.get(from..to).unwrap_or_default().to_vec());
        }
        5 | 6 => {
            let number = random.interesting();
            let width = 1 << random.below(4);
            let field = if random.one_in(2) {
                number.to_le_bytes()
            } else {
                number.swap_bytes().to_le_bytes()
            };
            let field = if random.one_in(2) {
                &field[..width]
            } else {
                &field[8 - width..]
            };
            for (place, byte) in bytes.iter_mut().skip(at).zip(field) {
                *place = *byte;
            }
        }
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = if random.one_in(2) {
                    *byte ^ (1 << random.below(8))
                } else {
                    random.byte()
                };
            }
        }
    }
}
