//! What every byte of a state file means. The text is `LAYOUT.md`; a test compares the two.
//!
//! In and out: numbers and bytes, read by whatever function the caller has for it. Pure.

use super::{Declared, Mark, Source};
use crate::layout::{u32_at, u64_at};
use crate::limits::{
    INTENT_BYTES_MAX, INTENT_LINES_MAX, INTENT_MARKS_MAX, SETTINGS_BYTES_MAX, STATE_PLACE_BYTES_MAX,
    STATE_SESSIONS_MAX,
};
use crate::name::{RingId, RingName};

/// The first eight bytes of a state file; the last of them is the layout's number.
pub(crate) const STATE_MAGIC: [u8; 8] = *b"LSSTATE\x01";
/// The layout's version, u32.
pub(crate) const STATE_VERSION: u32 = 1;

/// Place of [`STATE_MAGIC`].
pub(crate) const STATE_MAGIC_AT: usize = 0;
/// Place of [`STATE_VERSION`], u32; a reserved u32 follows.
pub(crate) const STATE_VERSION_AT: usize = 8;
/// Place of the boot's id, 16 bytes; zeros where the kernel does not tell.
pub(crate) const STATE_BOOT_AT: usize = 16;
/// Place of the number of servers that have held the file, u64.
pub(crate) const GENERATION_AT: usize = 32;
/// Place of the length of the place's text, u64.
pub(crate) const PLACE_LEN_AT: usize = 64;
/// Place of the word that tells which settings count: their length, u32, and their slot, u32 (0 or 1).
pub(crate) const SETTINGS_WORD_AT: usize = 72;
/// Place of the word that tells which intent is declared, u64: 0 none, else 1 + its slot.
pub(crate) const ACTIVE_AT: usize = 80;
/// Places of the two intents' heads.
pub(crate) const INTENT_AT: [usize; 2] = [128, 192];
/// Bytes of an intent's head: seven u64: where its data are, device, inode, offset, bytes, lines, marks.
pub(crate) const INTENT_HEAD_LEN: usize = 56;
/// Place of the text that names the log file.
pub(crate) const PLACE_AT: usize = 4096;
/// Places of the two slots of the settings.
pub(crate) const SETTINGS_AT: [usize; 2] = [12288, 45056];
/// Place of the table of sessions.
pub(crate) const SESSIONS_AT: usize = 77824;
/// Bytes of one session: id (16), sequence number u64, last use u64 (seconds; 0: the entry is free).
pub(crate) const SESSION_LEN: usize = 32;
/// Place from which on the intents' data are.
pub(crate) const INTENT_DATA_AT: usize = 110_592;
/// Bytes of one mark: id (16), kind u32, uid u32, key u64, position u64, count u64.
pub(crate) const MARK_LEN: usize = 48;

const _: () = assert!(PLACE_AT + STATE_PLACE_BYTES_MAX == SETTINGS_AT[0]);
const _: () = assert!(SETTINGS_AT[0] + SETTINGS_BYTES_MAX == SETTINGS_AT[1]);
const _: () = assert!(SETTINGS_AT[1] + SETTINGS_BYTES_MAX == SESSIONS_AT);
const _: () = assert!(SESSIONS_AT + STATE_SESSIONS_MAX * SESSION_LEN == INTENT_DATA_AT);

/// Kinds of a mark's source.
const KIND_RING: u32 = 0;
const KIND_SESSION: u32 = 1;

/// The head of an intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IntentHead {
    pub data_at: usize,
    pub device: u64,
    pub inode: u64,
    pub offset: u64,
    pub bytes: usize,
    pub lines: usize,
    pub marks: usize,
}

impl IntentHead {
    /// Bytes of the data: the lines' bytes, padded to a multiple of 8, their ends, padded, the marks.
    pub(super) fn data_len(&self) -> usize {
        self.marks_at() + self.marks * MARK_LEN - self.data_at
    }

    /// Place of the lines' ends.
    pub(super) fn ends_at(&self) -> usize {
        self.data_at + self.bytes.next_multiple_of(8)
    }

    /// Place of the marks.
    pub(super) fn marks_at(&self) -> usize {
        self.ends_at() + (self.lines * 4).next_multiple_of(8)
    }

    /// Whether its numbers are within the limits, and its data within a file of `len` bytes.
    fn is_possible(&self, len: usize) -> bool {
        self.bytes <= INTENT_BYTES_MAX
            && self.lines <= INTENT_LINES_MAX
            && self.marks <= INTENT_MARKS_MAX
            && (INTENT_DATA_AT..=len).contains(&self.data_at)
            && self.data_at.is_multiple_of(8)
            && self.data_len() <= len - self.data_at
    }

    pub(super) fn to_bytes(self) -> [u8; INTENT_HEAD_LEN] {
        let mut bytes = [0; INTENT_HEAD_LEN];
        let words = [
            self.data_at as u64,
            self.device,
            self.inode,
            self.offset,
            self.bytes as u64,
            self.lines as u64,
            self.marks as u64,
        ];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| u64_at(bytes, at).and_then(|number| usize::try_from(number).ok());
        Some(Self {
            data_at: number(0)?,
            device: u64_at(bytes, 8)?,
            inode: u64_at(bytes, 16)?,
            offset: u64_at(bytes, 24)?,
            bytes: number(32)?,
            lines: number(40)?,
            marks: number(48)?,
        })
    }
}

/// The bytes of a mark.
pub(super) fn mark_bytes(mark: &Mark) -> [u8; MARK_LEN] {
    let (id, kind, uid, key) = match &mark.source {
        Source::Ring { uid, name } => (name.id.0, KIND_RING, *uid, name.key),
        Source::Session(id) => (*id, KIND_SESSION, 0, 0),
    };
    let mut bytes = [0; MARK_LEN];
    let parts: [&[u8]; 6] = [
        &id,
        &kind.to_le_bytes(),
        &uid.to_le_bytes(),
        &key.to_le_bytes(),
        &mark.position.to_le_bytes(),
        &mark.count.to_le_bytes(),
    ];
    let mut rest = bytes.as_mut_slice();
    for part in parts {
        let (place, behind) = rest.split_at_mut(part.len());
        place.copy_from_slice(part);
        rest = behind;
    }
    bytes
}

fn parse_mark(bytes: &[u8]) -> Option<Mark> {
    let id = *bytes.first_chunk()?;
    let source = match u32_at(bytes, 16)? {
        KIND_RING => Source::Ring {
            uid: u32_at(bytes, 20)?,
            name: RingName {
                key: u64_at(bytes, 24)?,
                id: RingId(id),
            },
        },
        KIND_SESSION => Source::Session(id),
        _ => return None,
    };
    Some(Mark {
        source,
        position: u64_at(bytes, 32)?,
        count: u64_at(bytes, 40)?,
    })
}

/// Reads a state file's parts through `read`, which fills a buffer from a place on, or returns false.
pub(super) struct Reader<R: Fn(usize, &mut [u8]) -> bool> {
    /// Bytes of the file.
    pub len: usize,
    /// How its bytes are had.
    pub read: R,
}

impl<R: Fn(usize, &mut [u8]) -> bool> Reader<R> {
    fn bytes(&self, at: usize, len: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; len];
        (self.read)(at, &mut bytes).then_some(bytes)
    }

    fn word(&self, at: usize) -> Option<u64> {
        let mut bytes = [0; 8];
        (self.read)(at, &mut bytes).then_some(u64::from_le_bytes(bytes))
    }

    /// Whether this is a state file of our version and of this boot.
    pub(super) fn is_ours(&self) -> bool {
        let head = self.bytes(0, GENERATION_AT).unwrap_or_default();
        let boot = head.get(STATE_BOOT_AT..).and_then(|boot| boot.first_chunk());
        self.len >= INTENT_DATA_AT
            && head.starts_with(&STATE_MAGIC)
            && u32_at(&head, STATE_VERSION_AT) == Some(STATE_VERSION)
            && boot.is_some_and(|boot| crate::boot::is_this_boot(*boot))
    }

    /// The text that names the log file.
    pub(super) fn place(&self) -> Option<String> {
        let len = usize::try_from(self.word(PLACE_LEN_AT)?).ok()?;
        let len = (len <= STATE_PLACE_BYTES_MAX).then_some(len)?;
        String::from_utf8(self.bytes(PLACE_AT, len)?).ok()
    }

    /// The settings, if there are some.
    pub(super) fn settings(&self) -> Option<String> {
        let word = self.word(SETTINGS_WORD_AT)?;
        let (len, slot) = ((word & 0xffff_ffff) as usize, (word >> 32) as usize);
        if len == 0 || len > SETTINGS_BYTES_MAX {
            return None;
        }
        String::from_utf8(self.bytes(*SETTINGS_AT.get(slot)?, len)?).ok()
    }

    /// The declared intent's slot and head. `Ok(None)`: none is declared. `Err`: one that is impossible.
    pub(super) fn intent(&self) -> Result<Option<(usize, IntentHead)>, ()> {
        let active = self.word(ACTIVE_AT).ok_or(())?;
        let Some(slot) = usize::try_from(active)
            .ok()
            .and_then(|active| active.checked_sub(1))
        else {
            return Ok(None);
        };
        let at = *INTENT_AT.get(slot).ok_or(())?;
        let bytes = self.bytes(at, INTENT_HEAD_LEN).ok_or(())?;
        let head = IntentHead::parse(&bytes).ok_or(())?;
        if head.is_possible(self.len) {
            Ok(Some((slot, head)))
        } else {
            Err(())
        }
    }

    /// The declared intent.
    pub(super) fn declared(&self) -> Option<Declared> {
        let (_, head) = self.intent().ok()??;
        let ends = self.bytes(head.ends_at(), head.lines * 4)?;
        let marks = self.bytes(head.marks_at(), head.marks * MARK_LEN)?;
        Some(Declared {
            device: head.device,
            inode: head.inode,
            offset: head.offset,
            bytes: self.bytes(head.data_at, head.bytes)?,
            ends: ends.chunks_exact(4).filter_map(|end| u32_at(end, 0)).collect(),
            marks: marks
                .chunks_exact(MARK_LEN)
                .map(parse_mark)
                .collect::<Option<_>>()?,
        })
    }
}
