//! What every byte of a ring means: places, lengths, checks. The text is `LAYOUT.md`; a test compares the two.
//!
//! In and out: numbers and bytes. Pure: nothing here reads or writes memory that another process sees.

/// The first eight bytes of a ring; the last of them is the layout's number.
pub(crate) const MAGIC: [u8; 8] = *b"LSRING\x00\x01";
/// The layout's version, u32.
pub(crate) const VERSION: u32 = 1;

/// Place of [`MAGIC`].
pub(crate) const MAGIC_AT: usize = 0;
/// Place of [`VERSION`], u32; a reserved u32 follows.
pub(crate) const VERSION_AT: usize = 8;
/// Place of the data area's length in bytes, u64.
pub(crate) const CAPACITY_AT: usize = 16;
/// Place of the meta area's length in bytes, u64.
pub(crate) const META_CAPACITY_AT: usize = 24;
/// Place of the ring's id, 16 bytes.
pub(crate) const ID_AT: usize = 32;
/// Place of the boot's id, 16 bytes; zeros where the kernel does not tell.
pub(crate) const BOOT_AT: usize = 48;

/// Place of the complement of the head, u64. The producer's line begins here: only it writes there.
pub(crate) const HEAD_CHECK_AT: usize = 128;
/// Place of the head, u64: the position behind the last committed record.
pub(crate) const HEAD_AT: usize = 136;
/// Place of the number of committed records, u64.
pub(crate) const RECORDS_AT: usize = 144;
/// Place of the number of valid bytes of the meta area, u64.
pub(crate) const META_LEN_AT: usize = 152;
/// Place of the challenge that the producer copied, 16 bytes.
pub(crate) const PROOF_AT: usize = 192;

/// Place of the tail, u64: the position up to which records may be forgotten. The consumer's line begins here.
pub(crate) const TAIL_AT: usize = 256;
/// Place of the complement of the tail, u64.
pub(crate) const TAIL_CHECK_AT: usize = 264;
/// Place of the number of records before the tail, u64.
pub(crate) const CONSUMED_AT: usize = 272;
/// Place of a u64: 1 while the consumer must be woken, else 0.
pub(crate) const SLEEPING_AT: usize = 280;

/// Place of the meta area.
pub(crate) const META_AT: usize = 4096;
/// Bytes of the meta area.
pub(crate) const META_CAPACITY: usize = DATA_AT - META_AT;
/// Place of the data area.
pub(crate) const DATA_AT: usize = 65536;

/// Bytes of a record's head: length u32, check u32. Records begin at multiples of it, so that none wraps inside of it.
pub(crate) const RECORD_HEAD_LEN: usize = 8;
/// Bytes of the head of an entry in the meta area: kind u32, length u32.
pub(crate) const META_HEAD_LEN: usize = 8;

/// Kind of a meta entry: the JSON of the session's `Open`; the newest one counts.
pub const META_OPEN: u32 = 1;
/// Kind of a meta entry: a formatter's number (u32), then its JSON.
pub const META_FORMATTER: u32 = 2;

/// `len` rounded up to a multiple of 8; `None` where no record can be so long.
pub(crate) fn padded(len: usize) -> Option<usize> {
    Some(len.checked_add(7)? & !7)
}

/// Bytes that a record of `len` bytes takes in the data area.
#[inline]
pub(crate) fn record_size(len: usize) -> Option<usize> {
    padded(len)?.checked_add(RECORD_HEAD_LEN)
}

/// The check of a record's head: differs for the same bytes of another lap, and is not 0 for zeros.
#[inline]
pub(crate) fn check(position: u64, len: u32) -> u32 {
    let mut mixed = position ^ u64::from(len).rotate_left(40) ^ 0x6c6f_6773_6572_7600;
    mixed = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^= mixed >> 32;
    (mixed & 0xffff_ffff) as u32
}

/// The eight bytes of a record's head as one little-endian number.
#[inline]
pub(crate) fn record_head(position: u64, len: u32) -> u64 {
    u64::from(len) | u64::from(check(position, len)) << 32
}

/// The length that a record's head tells, if the head is that of a record at `position` which ends at or before `head`.
pub(crate) fn record_len(bytes: [u8; RECORD_HEAD_LEN], position: u64, head: u64) -> Option<usize> {
    let number = u64::from_le_bytes(bytes);
    let len = (number & 0xffff_ffff) as u32;
    let size = record_size(usize::try_from(len).ok()?)?;
    let fits = u64::try_from(size).ok()? <= head.checked_sub(position)?;
    (fits && number == record_head(position, len)).then_some(len as usize)
}

/// Eight bytes at `at`, or `None` where there are fewer.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|bytes| u64::from_le_bytes(*bytes))
}

/// Four bytes at `at`, or `None` where there are fewer.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|bytes| u32::from_le_bytes(*bytes))
}

/// The first complete entry of the meta area's `bytes`: kind, content, bytes it takes.
pub(crate) fn meta_entry(bytes: &[u8]) -> Option<(u32, &[u8], usize)> {
    let len = usize::try_from(u32_at(bytes, 4)?).ok()?;
    let end = META_HEAD_LEN.checked_add(len)?;
    let size = padded(end)?;
    let content = bytes.get(META_HEAD_LEN..end)?;
    (size <= bytes.len()).then_some((u32_at(bytes, 0)?, content, size))
}

#[cfg(test)]
mod specification;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_another_lap_or_length_and_zeros_are_no_record() {
        let bytes = record_head(4096, 20).to_le_bytes();
        assert_eq!(record_len(bytes, 4096, 4096 + 32), Some(20));
        assert_eq!(record_len(bytes, 4096, 4096 + 24), None, "beyond the head");
        assert_eq!(record_len(bytes, 8192, 1 << 20), None, "another lap");
        assert_eq!(
            record_len(record_head(4096, 21).to_le_bytes(), 4096, 1 << 20),
            Some(21)
        );
        for position in (0..1 << 20).step_by(8) {
            assert_eq!(record_len([0; 8], position, u64::MAX), None);
            assert_eq!(record_len([0xff; 8], position, u64::MAX), None);
        }
    }

    #[test]
    fn a_meta_entry_that_is_not_whole_is_none() {
        let entry = [1, 0, 0, 0, 3, 0, 0, 0, b'a', b'b', b'c', 0, 0, 0, 0, 0];
        assert_eq!(meta_entry(&entry), Some((1, &b"abc"[..], 16)));
        for len in 0..entry.len() {
            assert_eq!(meta_entry(&entry[..len]), None, "{len} bytes");
        }
        assert_eq!(meta_entry(&[0xff; 64]), None);
    }
}
