//! The record that nearly every frame holds, read in one pass: the standard attributes as `SocketHandler` of Python 3
//! sends them, in their order and of their types, then extras that are texts, numbers or None.
//!
//! In: a frame. Out: the same record, byte for byte, that `machine.rs` and `record.rs` make of it, at a fraction of the
//! cost; or nothing, and they do it. `exercise` compares the two.
//! Not here: limits. The frame is so short that none is met, which the constants below see to.

use super::record::{is_standard, len_max, short_max};
use super::scan::{Flat, Memo, Scanner, Unusual};
use super::{Conversion, Converted};
use crate::record::{Record, RecordWriter, tag};
use crate::value::{TAG_FALSE, TAG_FLOAT, TAG_INT, TAG_NONE, TAG_STR, TAG_TRUE, put_bytes};

/// Longest frame in bytes that is read here; longer ones take their time anyway. The work it asks for stays below
/// [`PICKLE_WORK_MIN`](crate::limits::PICKLE_WORK_MIN).
const FRAME_LEN_MAX: usize = 32 << 10;
/// Longest record in bytes that is made here, for texts may be named more than once. Work as above.
const RECORD_LEN_MAX: usize = 64 << 10;

/// Appends the record to `out`; `None`, and `out` as before, where it is not of the usual shape. `memo` is memory to use.
pub(super) fn convert(
    frame: &[u8],
    conversion: &Conversion,
    memo: &mut Memo,
    out: &mut Vec<u8>,
) -> Option<Converted> {
    // Each text is within its share of the record, and all of them leave room for as much again.
    if frame.len() > FRAME_LEN_MAX.min(short_max(conversion)) {
        return None;
    }
    let start = out.len();
    let converted = write(frame, conversion, memo, out);
    if converted.is_err() {
        out.truncate(start);
    }
    converted.ok()
}

/// A text must be UTF-8 to be one here: lone surrogates are for the machine.
fn text(bytes: &[u8]) -> Result<&str, Unusual> {
    std::str::from_utf8(bytes).map_err(|_| Unusual)
}

fn write(
    frame: &[u8],
    conversion: &Conversion,
    memo: &mut Memo,
    out: &mut Vec<u8>,
) -> Result<Converted, Unusual> {
    let mut scan = Scanner::begin(frame, memo)?;
    scan.key(b"name")?;
    let name = scan.text_or_none()?;
    scan.key(b"msg")?;
    let message = scan.text_or_none()?.ok_or(Unusual)?;
    scan.key(b"args")?;
    scan.none()?;
    scan.key(b"levelname")?;
    let level_name = scan.text_or_none()?;
    scan.key(b"levelno")?;
    let level_no = scan.int()?;
    scan.key(b"pathname")?;
    let path_name = scan.text_or_none()?;
    scan.key(b"filename")?;
    let file_name = scan.text_or_none()?;
    scan.key(b"module")?;
    let module = scan.text_or_none()?;
    scan.key(b"exc_info")?;
    scan.none()?;
    scan.key(b"exc_text")?;
    let exc_text = scan.text_or_none()?;
    scan.key(b"stack_info")?;
    let stack_info = scan.text_or_none()?;
    scan.key(b"lineno")?;
    let line_no = scan.int()?;
    scan.key(b"funcName")?;
    let func_name = scan.text_or_none()?;
    scan.key(b"created")?;
    let created = scan.float()?;
    scan.key(b"msecs")?;
    let msecs = scan.float()?;
    scan.key(b"relativeCreated")?;
    let relative_created = scan.float()?;
    scan.key(b"thread")?;
    let thread = scan.int_or_none()?;
    scan.key(b"threadName")?;
    let thread_name = scan.text_or_none()?;
    scan.key(b"processName")?;
    let process_name = scan.text_or_none()?;
    scan.key(b"process")?;
    let process = scan.int_or_none()?;
    // Since Python 3.12.
    let task_name = if scan.has_key(b"taskName")? {
        scan.text_or_none()?
    } else {
        None
    };

    let numbers = Record {
        formatter: conversion.formatter,
        level_no,
        created,
        msecs,
        relative_created,
        line_no,
        thread,
        process,
        ..Record::default()
    };
    let texts = [
        (tag::NAME, name),
        (tag::MESSAGE, Some(message)),
        (tag::LEVEL_NAME, level_name),
        (tag::PATH_NAME, path_name),
        (tag::FILE_NAME, file_name),
        (tag::MODULE, module),
        (tag::FUNC_NAME, func_name),
        (tag::THREAD_NAME, thread_name),
        (tag::PROCESS_NAME, process_name),
        (tag::TASK_NAME, task_name),
        (tag::EXC_TEXT, exc_text),
        (tag::STACK_INFO, stack_info),
    ];
    let mut writer = RecordWriter::begin_bytes(&numbers, &texts, out).ok_or(Unusual)?;
    while !scan.is_over() {
        attribute(&mut scan, &mut writer)?;
        if writer.len() > RECORD_LEN_MAX.min(len_max(conversion) / 2) {
            return Err(Unusual);
        }
    }
    Ok(Converted {
        record_len: writer.finish(),
        level_no,
        ..Converted::default()
    })
}

/// One of the extras.
fn attribute(scan: &mut Scanner<'_, '_>, writer: &mut RecordWriter<'_>) -> Result<(), Unusual> {
    let name = scan.any_key()?;
    if matches!(name, b"asctime" | b"message") {
        // What another handler's formatter has left; ours makes it anew.
        return scan.any().map(drop);
    }
    if is_standard(name) {
        // It comes twice, or late.
        return Err(Unusual);
    }
    let name = text(name)?;
    let value = scan.any()?;
    if let Flat::Text(bytes) = value {
        text(bytes)?;
    }
    writer.attribute_with(name, |out| match value {
        Flat::None => out.push(TAG_NONE),
        Flat::Bool(false) => out.push(TAG_FALSE),
        Flat::Bool(true) => out.push(TAG_TRUE),
        Flat::Int(number) => {
            out.push(TAG_INT);
            out.extend_from_slice(&number.to_le_bytes());
        }
        Flat::Float(number) => {
            out.push(TAG_FLOAT);
            out.extend_from_slice(&number.to_le_bytes());
        }
        Flat::Text(bytes) => put_bytes(out, TAG_STR, bytes),
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pickle::{PickleError, Unpickler, write as write_pickle};

    /// Two records by `SocketHandler`, and one by our own client.
    fn frames() -> Vec<Vec<u8>> {
        let newest = include_bytes!("../../tests/corpus/pickle/usual-record-3.13.bin");
        let mut bytes = Vec::new();
        Unpickler::new()
            .to_record(newest, &Conversion::default(), &mut bytes)
            .unwrap();
        let mut written = Vec::new();
        write_pickle(&Record::decode(&bytes).unwrap().0, &mut written);
        let oldest = include_bytes!("../../tests/corpus/pickle/usual-record-3.6.bin");
        vec![newest.to_vec(), oldest.to_vec(), written]
    }

    type Outcome = (Result<Converted, PickleError>, Vec<u8>);

    /// What this and the machine make of a frame; of this `None` where it leaves the frame to the machine.
    fn both(frame: &[u8], conversion: &Conversion) -> (Option<Outcome>, Outcome) {
        let (mut ours, mut machines) = (b"before".to_vec(), b"before".to_vec());
        let mut unpickler = Unpickler::new();
        let converted = convert(frame, conversion, &mut unpickler.usual_memo.0, &mut ours);
        assert!(converted.is_some() || ours == b"before");
        let result = unpickler.record_by_machine(frame, conversion, &mut machines);
        (
            converted.map(|converted| (Ok(converted), ours)),
            (result, machines),
        )
    }

    /// Asserts that they make the same of it, and tells whether this took it.
    fn same(frame: &[u8], conversion: &Conversion) -> bool {
        let (ours, machines) = both(frame, conversion);
        let is_taken = ours.is_some();
        assert_eq!(
            ours.unwrap_or_else(|| machines.clone()),
            machines,
            "{}",
            frame.escape_ascii()
        );
        is_taken
    }

    #[test]
    fn the_records_of_socket_handler_and_of_our_client_are_usual() {
        for frame in frames() {
            assert!(same(&frame, &Conversion::default()), "{}", frame.escape_ascii());
        }
    }

    #[test]
    fn a_changed_frame_becomes_what_the_machine_makes_of_it() {
        let (mut taken, mut left) = (0, 0);
        let mut compare = |frame: &[u8]| {
            let count = if same(frame, &Conversion::default()) {
                &mut taken
            } else {
                &mut left
            };
            *count += 1;
        };
        for frame in frames() {
            for at in 0..frame.len() {
                let (head, tail) = frame.split_at(at);
                compare(head);
                compare(&[head, &tail[1..]].concat());
                compare(&[head, &tail[..1], tail].concat());
                let opcodes = b"NhqXKMJLGI().su0\n\x00\x01\x1c\x7f\x80\xff\x8c\x94";
                for byte in opcodes
                    .iter()
                    .copied()
                    .chain((0..8).map(|bit| tail[0] ^ 1 << bit))
                {
                    compare(&[head, &[byte], &tail[1..]].concat());
                }
            }
        }
        assert!(taken > 10_000 && left > 10_000, "{taken} taken, {left} left");
    }

    #[test]
    fn odd_ends_of_a_frame_are_read_as_the_machine_reads_them() {
        let frame = &frames()[0];
        let (head, _) = frame.split_at(frame.len() - 2);
        let key = b"X\x01\0\0\0a";
        for value in [
            &b"LL\n"[..],
            b"L0L\n",
            b"L007L\n",
            b"L-5L\n",
            b"L+5L\n",
            b"L 5L\n",
            b"L5\n",
            b"L999999999999999999L\n",
            b"L9223372036854775808L\n",
            b"I1\n",
            b"I00\n",
            b"I02\n",
            b"h\x00",
            b"h\x02",
            b"h\xff",
            b"q\x2ah\x2a",
            b"q\x50h\x40",
            b"q\x02h\x02",
            b"q\x02Nh\x02h\x02",
            b"r\x2a\0\0\0h\x2a",
            b"(t",
            b"}",
            b"K",
            b"",
        ] {
            for end in [
                &b"u."[..],
                b"u.rest",
                b"u",
                b"N.",
                b"u0.",
                b"",
                b"h\x05Nu.",
                b"h\x1ch\x1cu.",
            ] {
                same(&[head, &key[..], value, end].concat(), &Conversion::default());
            }
        }
    }

    #[test]
    fn limits_that_would_cut_something_are_left_to_the_machine() {
        let long = |len: usize| {
            let frame = frames().remove(2);
            let at = frame.windows(3).position(|bytes| bytes == b"zoe").unwrap();
            let len_bytes = u32::try_from(len).unwrap().to_le_bytes();
            [&frame[..at - 4], &len_bytes, &b"x".repeat(len), &frame[at + 3..]].concat()
        };
        for record_len_max in [0, 4096, 10_000, 40_000, 1 << 20, usize::MAX] {
            let conversion = Conversion {
                record_len_max,
                ..Conversion::default()
            };
            let lens = [3, 100, 600, 2_000, 5_000, 20_000, 31_000, 40_000];
            let taken = lens.map(|len| same(&long(len), &conversion));
            assert_eq!(taken[0], record_len_max > 1 << 15, "{record_len_max}");
            assert!(!taken[7], "{record_len_max}");
        }
        // A text that is shared a thousand times is no longer one that is short.
        let frame = &frames()[0];
        let (head, _) = frame.split_at(frame.len() - 2);
        let shares = [head, &b"h\x20h\x02".repeat(1000), b"u."].concat();
        assert!(same(&shares, &Conversion::default()));
        let many = [head, &b"h\x20h\x02".repeat(7000), b"u."].concat();
        assert!(!same(&many, &Conversion::default()));
    }

    #[test]
    fn texts_that_are_no_utf8_are_left_to_the_machine() {
        let frame = &frames()[0];
        for (text, other) in [
            (&b"WARNING"[..], &b"WARN\xed\xb2\x80"[..]),
            (b"zoe", b"\xed\xb2\x80"),
            (b"is_new", b"is\xed\xb2\x80w"),
        ] {
            let at = frame.windows(text.len()).position(|bytes| bytes == text).unwrap();
            let changed = [&frame[..at], other, &frame[at + text.len()..]].concat();
            assert!(
                !same(&changed, &Conversion::default()),
                "{}",
                other.escape_ascii()
            );
        }
    }
}
