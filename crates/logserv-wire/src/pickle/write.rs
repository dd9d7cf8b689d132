//! A wire record as the pickle that `SocketHandler` would have sent, for servers that know nothing newer.
//!
//! In: a [`Record`]. Out: a pickled dict of protocol 1 that `pickle.loads` of Python 2.7 and every 3.x reads without
//! importing anything (but `_codecs`, where an attribute is `bytes`), and that `logging.makeLogRecord` takes.
//! Not here: the length prefix.

use super::encode::NOTE;
use crate::bytes::len_to_u32;
use crate::limits::PICKLE_NODES_MAX;
use crate::record::{Record, RecordKind};
use crate::value::Value;

/// More than the standard attributes' keys and values, in nodes of a reader.
const STANDARD_NODES: usize = 64;

/// Attributes that would be rendered once more, behind a line that has them or in its place.
const IN_THE_LINE: [&str; 6] = ["msg", "args", "message", "exc_info", "exc_text", "stack_info"];

/// Appends `record` to `out` as a pickle.
///
/// `msg` is the message and `args` is `None`, as `SocketHandler` sends it. Of [`RecordKind::Line`] `msg` is the whole
/// line, and there are no `exc_text` and `stack_info`, for the line has them. `utc_offset_s` and the formatter are
/// left out: the old protocol has no place for them. An attribute named like a standard one comes behind it, so that
/// it wins, but for those that a finished line has in it. An attribute that would make the pickle one of more values than a reader of ours takes becomes a note, for
/// a record without it is better than none. Blocks: never. Drops: nothing else.
pub fn write(record: &Record<'_>, out: &mut Vec<u8>) {
    let is_line = record.kind == RecordKind::Line;
    out.extend_from_slice(b"}(");
    put_text_or_none(out, "name", record.name);
    put_text_or_none(out, "msg", Some(record.message.unwrap_or_default()));
    put_text_or_none(out, "args", None);
    put_text_or_none(out, "levelname", record.level_name);
    put_key_and_int(out, "levelno", record.level_no.into());
    put_text_or_none(out, "pathname", record.path_name);
    put_text_or_none(out, "filename", record.file_name);
    put_text_or_none(out, "module", record.module);
    put_text_or_none(out, "exc_info", None);
    put_text_or_none(out, "exc_text", record.exc_text.filter(|_| !is_line));
    put_text_or_none(out, "stack_info", record.stack_info.filter(|_| !is_line));
    put_key_and_int(out, "lineno", record.line_no.into());
    put_text_or_none(out, "funcName", record.func_name);
    for (key, number) in [
        ("created", record.created),
        ("msecs", record.msecs),
        ("relativeCreated", record.relative_created),
    ] {
        put_text(out, key);
        put_float(out, number);
    }
    put_text(out, "thread");
    match record.thread {
        Some(thread) => put_long(out, &thread.to_string()),
        None => out.push(b'N'),
    }
    put_text_or_none(out, "threadName", record.thread_name);
    put_text_or_none(out, "processName", record.process_name);
    put_text(out, "process");
    match record.process {
        Some(process) => put_int(out, process.into()),
        None => out.push(b'N'),
    }
    put_text_or_none(out, "taskName", record.task_name);
    let mut nodes_left = PICKLE_NODES_MAX - STANDARD_NODES;
    for (name, value) in record.attributes() {
        if is_line && IN_THE_LINE.contains(&name) {
            continue;
        }
        // The name, and the value or its note.
        let Some(left) = nodes_left.checked_sub(2) else {
            break;
        };
        put_text(out, name);
        match left.checked_sub(parts(&value)) {
            Some(left_after) => {
                put_value(out, &value);
                nodes_left = left_after;
            }
            None => {
                put_text(out, NOTE);
                nodes_left = left;
            }
        }
    }
    out.extend_from_slice(b"u.");
}

fn put_key_and_int(out: &mut Vec<u8>, key: &str, number: i64) {
    put_text(out, key);
    put_int(out, number);
}

fn put_text_or_none(out: &mut Vec<u8>, key: &str, text: Option<&str>) {
    put_text(out, key);
    match text {
        Some(text) => put_text(out, text),
        None => out.push(b'N'),
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend_from_slice(&len_to_u32(text.len()).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn put_int(out: &mut Vec<u8>, number: i64) {
    if let Ok(byte) = u8::try_from(number) {
        out.extend_from_slice(&[b'K', byte]);
    } else if let Ok(number) = i32::try_from(number) {
        out.push(b'J');
        out.extend_from_slice(&number.to_le_bytes());
    } else {
        put_long(out, &number.to_string());
    }
}

fn put_long(out: &mut Vec<u8>, digits: &str) {
    out.push(b'L');
    out.extend_from_slice(digits.as_bytes());
    out.extend_from_slice(b"L\n");
}

fn put_float(out: &mut Vec<u8>, number: f64) {
    out.push(b'G');
    out.extend_from_slice(&number.to_be_bytes());
}

/// Nodes that a reader needs for `value` beyond its own one. Recurses as [`put_value`] does.
fn parts(value: &Value<'_>) -> usize {
    match value {
        Value::List(items) | Value::Tuple(items) => items.iter().map(|item| 1 + parts(item)).sum(),
        Value::Dict(pairs) => pairs
            .iter()
            .map(|(key, value)| 2 + parts(key) + parts(value))
            .sum(),
        // The two names of the function and its two arguments.
        Value::Bytes(_) => 4,
        _ => 0,
    }
}

/// Recurses at most as deep as a decoded value is, [`VALUE_DEPTH_MAX`](crate::limits::VALUE_DEPTH_MAX).
fn put_value(out: &mut Vec<u8>, value: &Value<'_>) {
    match value {
        Value::None => out.push(b'N'),
        Value::Bool(true) => out.extend_from_slice(b"I01\n"),
        Value::Bool(false) => out.extend_from_slice(b"I00\n"),
        Value::Int(number) => put_int(out, *number),
        Value::BigInt(digits) => put_long(out, digits),
        Value::Float(number) => put_float(out, *number),
        Value::Str(text) | Value::Opaque(text) => put_text(out, text),
        Value::Bytes(bytes) => put_bytes(out, bytes),
        Value::List(items) => put_marked(out, b"](", items, b"e"),
        Value::Tuple(items) => put_marked(out, b"(", items, b"t"),
        Value::Dict(pairs) => {
            out.extend_from_slice(b"}(");
            for (key, value) in pairs {
                put_value(out, key);
                put_value(out, value);
            }
            out.push(b'u');
        }
    }
}

fn put_marked(out: &mut Vec<u8>, open: &[u8], items: &[Value<'_>], close: &[u8]) {
    out.extend_from_slice(open);
    for item in items {
        put_value(out, item);
    }
    out.extend_from_slice(close);
}

/// Protocol 1 has no opcode for `bytes`; Python 3 writes them so for Python 2, and reads them back.
fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(b"c_codecs\nencode\n(");
    put_text(out, &bytes.iter().copied().map(char::from).collect::<String>());
    put_text(out, "latin1");
    out.extend_from_slice(b"tR");
}
