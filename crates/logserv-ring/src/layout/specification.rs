//! `LAYOUT.md` against the code: every row of its tables is a constant, and every constant has its row.

use super::*;
use crate::limits::{SETTINGS_BYTES_MAX, STATE_PLACE_BYTES_MAX, STATE_SESSIONS_MAX};
use crate::state_file::layout::*;

const TEXT: &str = include_str!("../../LAYOUT.md");

/// Name, place, bytes (0: to the end of the file).
const RING: [(&str, usize, usize); 17] = [
    ("MAGIC", MAGIC_AT, MAGIC.len()),
    ("VERSION", VERSION_AT, 4),
    ("CAPACITY", CAPACITY_AT, 8),
    ("META_CAPACITY", META_CAPACITY_AT, 8),
    ("ID", ID_AT, 16),
    ("BOOT", BOOT_AT, 16),
    ("HEAD_CHECK", HEAD_CHECK_AT, 8),
    ("HEAD", HEAD_AT, 8),
    ("RECORDS", RECORDS_AT, 8),
    ("META_LEN", META_LEN_AT, 8),
    ("PROOF", PROOF_AT, 16),
    ("TAIL", TAIL_AT, 8),
    ("TAIL_CHECK", TAIL_CHECK_AT, 8),
    ("CONSUMED", CONSUMED_AT, 8),
    ("SLEEPING", SLEEPING_AT, 8),
    ("META", META_AT, META_CAPACITY),
    ("DATA", DATA_AT, 0),
];

const STATE: [(&str, usize, usize); 14] = [
    ("STATE_MAGIC", STATE_MAGIC_AT, STATE_MAGIC.len()),
    ("STATE_VERSION", STATE_VERSION_AT, 4),
    ("STATE_BOOT", STATE_BOOT_AT, 16),
    ("GENERATION", GENERATION_AT, 8),
    ("PLACE_LEN", PLACE_LEN_AT, 8),
    ("SETTINGS_WORD", SETTINGS_WORD_AT, 8),
    ("ACTIVE", ACTIVE_AT, 8),
    ("INTENT_0", INTENT_AT[0], INTENT_HEAD_LEN),
    ("INTENT_1", INTENT_AT[1], INTENT_HEAD_LEN),
    ("PLACE", PLACE_AT, STATE_PLACE_BYTES_MAX),
    ("SETTINGS_0", SETTINGS_AT[0], SETTINGS_BYTES_MAX),
    ("SETTINGS_1", SETTINGS_AT[1], SETTINGS_BYTES_MAX),
    ("SESSIONS", SESSIONS_AT, STATE_SESSIONS_MAX * SESSION_LEN),
    ("INTENT_DATA", INTENT_DATA_AT, 0),
];

#[test]
fn the_tables_of_the_text_are_those_of_the_code() {
    let rows = TEXT.lines().filter_map(|line| {
        let mut cells = line
            .strip_prefix("| ")?
            .split('|')
            .map(|cell| cell.trim().trim_matches('`'));
        let at: usize = cells.next()?.parse().ok()?;
        let len = cells.next()?.parse().unwrap_or(0);
        Some((cells.next()?, at, len))
    });
    let expected: Vec<_> = RING.into_iter().chain(STATE).collect();
    assert_eq!(rows.collect::<Vec<_>>(), expected);
}

#[test]
fn no_two_fields_overlap_and_the_two_sides_share_no_cache_line() {
    for fields in [&RING[..], &STATE[..]] {
        for pair in fields.windows(2) {
            assert!(pair[0].1 + pair[0].2 <= pair[1].1, "{pair:?}");
        }
    }
    let lines = [HEAD_CHECK_AT, META_LEN_AT, TAIL_AT, SLEEPING_AT].map(|at| at / 128);
    assert_eq!(lines, [1, 1, 2, 2]);
}

#[test]
fn the_check_of_the_text_is_that_of_the_code() {
    for constant in ["0x6c6f677365727600", "0x9e3779b97f4a7c15", ", 40)", ">> 32"] {
        assert!(TEXT.contains(constant), "{constant}");
    }
    let as_written = |position: u64, length: u32| {
        let x = position ^ u64::from(length).rotate_left(40) ^ 0x6c6f_6773_6572_7600;
        let x = x.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((x ^ (x >> 32)) & 0xffff_ffff) as u32
    };
    for (position, length) in [(0, 0), (8, 1), (1 << 40, 1 << 20), (!7, u32::MAX)] {
        assert_eq!(check(position, length), as_written(position, length));
    }
}
