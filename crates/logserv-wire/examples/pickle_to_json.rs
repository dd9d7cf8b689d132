//! Decodes framed pickles for `tests/test_pickle.py`, which compares them with what CPython makes of the same bytes.
//!
//! In, on stdin: pickles, each behind its length as a big-endian `u32`. Out, on stdout, by the argument:
//! `value`: one line of JSON for each, the value with its types spelled out, or `{"error": …}`;
//! `record`: one line of JSON for each, the wire record; `pickle`: the wire record pickled again, framed as it came.

use std::io::{self, Read, Write};

use logserv_wire::bytes::Reader;
use logserv_wire::pickle::{self, Conversion, Unpickler};
use logserv_wire::record::Record;
use logserv_wire::value::{self, Value};
use serde_json::{Value as Json, json};

/// The time that a record without one gets.
const ARRIVAL_S: f64 = 1_700_000_000.5;

fn main() -> io::Result<()> {
    let mode = std::env::args().nth(1).unwrap_or_else(|| "value".to_owned());
    let mut input = Vec::new();
    io::stdin().read_to_end(&mut input)?;
    let mut output = io::BufWriter::new(io::stdout().lock());
    let mut unpickler = Unpickler::new();
    let mut rest = input.as_slice();
    while let Some((len, tail)) = rest.split_first_chunk::<4>() {
        let len = u32::from_be_bytes(*len) as usize;
        let (frame, tail) = tail.split_at_checked(len).unwrap_or((tail, &[]));
        rest = tail;
        match mode.as_str() {
            "record" => writeln!(output, "{}", record_json(&mut unpickler, frame))?,
            "pickle" => output.write_all(&pickled_again(&mut unpickler, frame))?,
            _ => writeln!(output, "{}", value_json(&mut unpickler, frame))?,
        }
    }
    output.flush()
}

fn conversion() -> Conversion {
    Conversion {
        default_created_s: ARRIVAL_S,
        ..Conversion::default()
    }
}

fn value_json(unpickler: &mut Unpickler, frame: &[u8]) -> Json {
    let mut encoded = Vec::new();
    if let Err(error) = unpickler.to_value(frame, &mut encoded) {
        return json!({"error": error.to_string()});
    }
    let mut reader = Reader::new(&encoded, "value");
    match value::decode(&mut reader) {
        Ok(value) if reader.is_empty() => typed(&value),
        Ok(_) => json!({"error": "bytes behind the value"}),
        Err(error) => json!({"error": error.to_string()}),
    }
}

fn typed(value: &Value<'_>) -> Json {
    let all = |items: &[Value<'_>]| items.iter().map(typed).collect::<Vec<_>>();
    match value {
        Value::None => json!(["none"]),
        Value::Bool(value) => json!(["bool", value]),
        Value::Int(number) => json!(["int", number.to_string()]),
        Value::BigInt(digits) => json!(["int", digits]),
        Value::Float(number) => json!(["float", format!("{:016x}", number.to_bits())]),
        Value::Str(text) => json!(["str", text]),
        Value::Bytes(bytes) => {
            json!([
                "bytes",
                bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
            ])
        }
        Value::List(items) => json!(["list", all(items)]),
        Value::Tuple(items) => json!(["tuple", all(items)]),
        Value::Dict(pairs) => {
            let pairs: Vec<_> = pairs
                .iter()
                .map(|(key, value)| json!([typed(key), typed(value)]))
                .collect();
            json!(["dict", pairs])
        }
        Value::Opaque(text) => json!(["opaque", text]),
        other => json!(["unknown", format!("{other:?}")]),
    }
}

fn record_json(unpickler: &mut Unpickler, frame: &[u8]) -> Json {
    let mut encoded = Vec::new();
    let converted = match unpickler.to_record(frame, &conversion(), &mut encoded) {
        Ok(converted) => converted,
        Err(error) => return json!({"error": error.to_string()}),
    };
    let record = match Record::decode(&encoded) {
        Ok((record, [])) => record,
        Ok(_) => return json!({"error": "bytes behind the record"}),
        Err(error) => return json!({"error": error.to_string()}),
    };
    let attributes: Vec<_> = record
        .attributes()
        .map(|(name, value)| json!([name, typed(&value)]))
        .collect();
    json!({
        "levelno": record.level_no, "lineno": record.line_no, "thread": record.thread, "process": record.process,
        "created": format!("{:016x}", record.created.to_bits()),
        "msecs": format!("{:016x}", record.msecs.to_bits()),
        "relativeCreated": format!("{:016x}", record.relative_created.to_bits()),
        "name": record.name, "message": record.message, "levelname": record.level_name,
        "pathname": record.path_name, "filename": record.file_name, "module": record.module,
        "funcName": record.func_name, "threadName": record.thread_name, "processName": record.process_name,
        "taskName": record.task_name, "exc_text": record.exc_text, "stack_info": record.stack_info,
        "attributes": attributes, "cut_bytes": converted.cut_bytes, "elided": converted.elided_attributes,
    })
}

fn pickled_again(unpickler: &mut Unpickler, frame: &[u8]) -> Vec<u8> {
    let (mut encoded, mut pickled) = (Vec::new(), vec![0; 4]);
    if unpickler.to_record(frame, &conversion(), &mut encoded).is_ok()
        && let Ok((record, _)) = Record::decode(&encoded)
    {
        pickle::write(&record, &mut pickled);
    }
    let len = u32::try_from(pickled.len() - 4).unwrap_or(u32::MAX).to_be_bytes();
    if let Some(place) = pickled.first_chunk_mut::<4>() {
        *place = len;
    }
    pickled
}
