//! The vectors of protocol 2.0, read and written by this crate; `tests/test_protocol.py` reads the same file with a client
//! of its own. PROTOCOL.md is the text that both are held against.
#![expect(
    clippy::unwrap_used,
    reason = "a vector that cannot be read is a defect of the vector, and must stop the test"
)]

use logserv_wire::bytes::Reader;
use logserv_wire::frame::{Frame, decode_first};
use logserv_wire::record::{Record, RecordKind};
use logserv_wire::value::{self, Value};
use serde_json::{Value as Json, json};

fn vectors(section: &str) -> Vec<Json> {
    let all: Json = serde_json::from_str(include_str!("vectors/protocol_2_0.json")).unwrap();
    let found = all.get(section).and_then(Json::as_array).unwrap().clone();
    assert!(!found.is_empty());
    found
}

fn bytes_of(vector: &Json) -> Vec<u8> {
    let hex = vector.get("hex").and_then(Json::as_str).unwrap();
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn describe_value(value: &Value<'_>) -> Json {
    let all = |items: &[Value<'_>]| items.iter().map(describe_value).collect::<Vec<_>>();
    match value {
        Value::None => json!({"none": true}),
        Value::Bool(value) => json!({"bool": value}),
        Value::Int(number) => json!({"int": number.to_string()}),
        Value::BigInt(digits) => json!({"int": digits}),
        Value::Float(number) => json!({"float": describe_float(*number)}),
        Value::Str(text) => json!({"str": text}),
        Value::Bytes(bytes) => json!({"bytes": hex(bytes)}),
        Value::List(items) => json!({"list": all(items)}),
        Value::Tuple(items) => json!({"tuple": all(items)}),
        Value::Dict(pairs) => {
            json!({"dict": pairs.iter().map(|(key, value)| json!([describe_value(key), describe_value(value)])).collect::<Vec<_>>()})
        }
        Value::Opaque(text) => json!({"opaque": text}),
        other => json!({"unknown to this test": format!("{other:?}")}),
    }
}

/// As Python's `repr` has it, for the numbers that the vectors use.
fn describe_float(number: f64) -> String {
    if number.is_finite() && number.abs() >= 1e16 {
        format!("{number:e}").replace('e', "e+")
    } else {
        format!("{number:?}")
    }
}

fn describe_record(record: &Record<'_>) -> Json {
    let texts = [
        ("name", record.name),
        ("message", record.message),
        ("levelname", record.level_name),
        ("pathname", record.path_name),
        ("filename", record.file_name),
        ("module", record.module),
        ("funcName", record.func_name),
        ("threadName", record.thread_name),
        ("processName", record.process_name),
        ("taskName", record.task_name),
        ("exc_text", record.exc_text),
        ("stack_info", record.stack_info),
    ];
    json!({
        "kind": match record.kind { RecordKind::Fields => 1, RecordKind::Line => 2 },
        "formatter": record.formatter,
        "levelno": record.level_no,
        "created": describe_float(record.created),
        "msecs": describe_float(record.msecs),
        "relativeCreated": describe_float(record.relative_created),
        "lineno": record.line_no,
        "thread": record.thread.map(|thread| thread.to_string()),
        "process": record.process,
        "utc_offset_s": record.utc_offset_s,
        "texts": texts.iter().filter_map(|(name, text)| text.map(|text| (*name, text))).collect::<std::collections::BTreeMap<_, _>>(),
        "attributes": record.attributes().map(|(name, value)| json!([name, describe_value(&value)])).collect::<Vec<_>>(),
    })
}

fn describe_frame(frame: Option<Frame<'_>>, frame_type: u8) -> Json {
    let body = match frame {
        None => json!({"skipped": true}),
        Some(Frame::Formatter { id, json }) => json!({"id": id, "json": json}),
        Some(Frame::Batch {
            first_seq,
            count,
            records,
        }) => json!({
            "first_seq": first_seq.to_string(), "count": count, "crc32c": crc32c::crc32c(records), "records": hex(records),
        }),
        Some(Frame::Flush { token, level }) => json!({"token": token.to_string(), "level": level as u8}),
        Some(Frame::Rollover { token }) => json!({"token": token.to_string()}),
        Some(Frame::Close | Frame::Attach | Frame::Wake) => json!({}),
        Some(Frame::Attached { ok }) => json!({"ok": ok}),
        Some(Frame::Ack { seq, level }) => json!({"seq": seq.to_string(), "level": level as u8}),
        Some(Frame::Done { token, ok }) => json!({"token": token.to_string(), "ok": ok}),
        Some(
            Frame::Open { json }
            | Frame::Admin { json }
            | Frame::Welcome { json }
            | Frame::Error { json }
            | Frame::Report { json },
        ) => json!({"json": json}),
        Some(other) => json!({"unknown to this test": format!("{other:?}")}),
    };
    let mut described = json!({"type": frame_type});
    described
        .as_object_mut()
        .unwrap()
        .extend(body.as_object().unwrap().clone());
    described
}

/// Objects compare by content: the order of keys is the text's affair.
fn sorted(json: &Json) -> Json {
    match json {
        Json::Object(map) => {
            let mut pairs: Vec<_> = map
                .iter()
                .map(|(key, value)| (key.clone(), sorted(value)))
                .collect();
            pairs.sort_by(|left, right| left.0.cmp(&right.0));
            Json::Object(pairs.into_iter().collect())
        }
        Json::Array(items) => Json::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

#[track_caller]
fn same(described: &Json, vector: &Json, key: &str) {
    assert_eq!(sorted(described), sorted(vector.get(key).unwrap()));
}

#[test]
fn every_value_is_read_and_written_as_the_vectors_say() {
    for vector in vectors("values") {
        let bytes = bytes_of(&vector);
        let mut reader = Reader::new(&bytes, "value");
        let value = value::decode(&mut reader).unwrap();
        assert!(reader.is_empty());
        same(&describe_value(&value), &vector, "value");
        let mut written = Vec::new();
        value.encode(&mut written);
        assert_eq!(hex(&written), hex(&bytes));
    }
}

#[test]
fn every_record_is_read_and_written_as_the_vectors_say() {
    for vector in vectors("records") {
        let bytes = bytes_of(&vector);
        let (record, rest) = Record::decode(&bytes).unwrap();
        assert!(rest.is_empty());
        same(&describe_record(&record), &vector, "record");
        if vector.get("unknown_fields").is_none() {
            let mut written = Vec::new();
            record.encode(&mut written);
            assert_eq!(hex(&written), hex(&bytes));
        }
    }
}

#[test]
fn every_frame_is_read_and_written_as_the_vectors_say() {
    for vector in vectors("frames") {
        let bytes = bytes_of(&vector);
        let (frame, len) = decode_first(&bytes).unwrap().unwrap();
        assert_eq!(len, bytes.len());
        same(&describe_frame(frame, bytes[4]), &vector, "frame");
        if let Some(frame) = frame {
            let mut written = Vec::new();
            frame.encode(&mut written);
            assert_eq!(hex(&written), hex(&bytes));
        }
    }
}

#[test]
fn what_the_vectors_refuse_is_refused() {
    for vector in vectors("refused_values") {
        assert!(
            value::decode(&mut Reader::new(&bytes_of(&vector), "value")).is_err(),
            "{vector}"
        );
    }
    for vector in vectors("refused_records") {
        assert!(Record::decode(&bytes_of(&vector)).is_err(), "{vector}");
    }
    for vector in vectors("refused_frames") {
        assert!(decode_first(&bytes_of(&vector)).is_err(), "{vector}");
    }
}
