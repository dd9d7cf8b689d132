//! Cuts a record that is longer than the server takes: the message ends in `…[cut: N bytes]`, nothing is dropped.
//!
//! In: one whole record and a limit. Out: a record within it. Pure. Not here: the usual limit, which the maker of records
//! keeps; this is for a server with a lower one.

use logserv_wire::record::{HEADER_LEN, Record};

/// Least limit that this keeps to: the header, names, and room for a message worth reading.
pub(crate) const RECORD_LEN_MIN: usize = 4096;

/// Longest text kept beside the message once there is not enough room for all.
const NAME_LEN_MAX: usize = 256;

/// Appends `record` to `out` in at most `len_max` bytes. A traceback goes first, then attributes, then the message's end.
pub(crate) fn cut(record: &[u8], len_max: usize, out: &mut Vec<u8>) {
    let Ok((whole, _)) = Record::decode(record) else {
        return;
    };
    let short = |text| head(text, NAME_LEN_MAX);
    // Attributes stay behind: a record built anew has none.
    let mut record = Record {
        kind: whole.kind,
        formatter: whole.formatter,
        level_no: whole.level_no,
        created: whole.created,
        msecs: whole.msecs,
        relative_created: whole.relative_created,
        line_no: whole.line_no,
        thread: whole.thread,
        process: whole.process,
        utc_offset_s: whole.utc_offset_s,
        name: whole.name.map(short),
        level_name: whole.level_name.map(short),
        path_name: whole.path_name.map(short),
        file_name: whole.file_name.map(short),
        module: whole.module.map(short),
        func_name: whole.func_name.map(short),
        thread_name: whole.thread_name.map(short),
        process_name: whole.process_name.map(short),
        task_name: whole.task_name.map(short),
        ..Record::default()
    };
    let mut rest = Vec::new();
    record.encode(&mut rest);
    // Room for the field's head and for the mark of the cut.
    let room = len_max.saturating_sub(rest.len() + 64);
    let message = whole.message.unwrap_or_default();
    let kept = head(message, room);
    let texts = [whole.exc_text, whole.stack_info];
    let cut_len = message.len() - kept.len() + texts.into_iter().flatten().map(str::len).sum::<usize>();
    let marked = if cut_len == 0 {
        kept.to_owned()
    } else {
        format!("{kept}…[cut: {cut_len} bytes]")
    };
    record.message = Some(&marked);
    record.encode(out);
}

/// The first `len_max` bytes of a text, less to end at a character.
fn head(text: &str, len_max: usize) -> &str {
    let mut len = text.len().min(len_max);
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    text.get(..len).unwrap_or_default()
}

// The smallest record left fits the smallest limit.
const _: () = assert!(HEADER_LEN + 9 * (NAME_LEN_MAX + 4) + 64 < RECORD_LEN_MIN);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_cut_to_any_limit_and_says_by_how_much() {
        let message = "ä".repeat(50_000);
        let name = "n".repeat(10_000);
        let mut bytes = Vec::new();
        let long = Some(name.as_str());
        Record {
            name: long,
            path_name: long,
            message: Some(&message),
            exc_text: Some("abc"),
            ..Record::default()
        }
        .encode(&mut bytes);
        for len_max in [RECORD_LEN_MIN, 4097, 50_000, 99_999] {
            let mut out = Vec::new();
            cut(&bytes, len_max, &mut out);
            assert!(out.len() <= len_max);
            let (record, rest) = Record::decode(&out).unwrap();
            assert!(rest.is_empty());
            let (kept, mark) = record.message.unwrap().split_once('…').unwrap();
            let cut_len = message.len() - kept.len() + 3;
            assert_eq!(mark, format!("[cut: {cut_len} bytes]"));
            assert!(out.len() + 128 > len_max, "no more is cut than must be");
        }
    }
}
