//! A record of protocol 2.0 and the values in it: read, written and read again, it stays what it was.

use logserv_wire::record::{Record, RecordKind, RecordWriter};
use logserv_wire::value::Value;

use super::Target;
use crate::mutate::Random;

pub const TARGET: Target = Target {
    name: "record",
    generate,
    run,
};

/// A record with any of its fields, and attributes of every kind.
pub fn generate(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..=random.below(3) {
        push_record(random, &mut bytes);
    }
    bytes
}

pub(super) fn push_record(random: &mut Random, bytes: &mut Vec<u8>) {
    let texts: Vec<String> = (0..12).map(|_| random.text()).collect();
    let present = random.next();
    let text = |index: usize| (present & (1 << index) != 0).then(|| texts[index].as_str());
    let mut record = Record {
        kind: if random.one_in(8) {
            RecordKind::Line
        } else {
            RecordKind::Fields
        },
        formatter: random.byte().into(),
        level_no: i32::from(random.byte()),
        created: time(random),
        msecs: time(random),
        relative_created: time(random),
        line_no: random.byte().into(),
        ..Record::default()
    };
    record.thread = random.one_in(2).then(|| random.interesting());
    record.process = random.one_in(2).then(|| random.byte().into());
    record.utc_offset_s = random.one_in(2).then(|| i32::from(random.byte()) * 900);
    (record.name, record.message, record.level_name) = (text(0), text(1), text(2));
    (record.path_name, record.file_name, record.module) = (text(3), text(4), text(5));
    (record.func_name, record.thread_name, record.process_name) = (text(6), text(7), text(8));
    (record.task_name, record.exc_text, record.stack_info) = (text(9), text(10), text(11));
    let mut writer = RecordWriter::begin(&record, bytes);
    for _ in 0..random.below(4) {
        let name = if random.one_in(4) {
            random.text()
        } else {
            random.choose(&["user", "x", "levelno"]).to_owned()
        };
        writer.attribute(&name, &value(random, 0));
    }
    writer.finish();
}

fn time(random: &mut Random) -> f64 {
    match random.below(6) {
        0 => f64::from_bits(random.next()),
        1 => -1e9,
        2 => 1e300,
        3 => f64::NAN,
        _ => 1.7e9 + random.byte() as f64 / 7.0,
    }
}

fn value(random: &mut Random, depth: usize) -> Value<'static> {
    match random.below(if depth < 4 { 11 } else { 8 }) {
        0 => Value::None,
        1 => Value::Bool(random.one_in(2)),
        2 => Value::Int(random.interesting().cast_signed()),
        3 => Value::BigInt(format!("-{}{}", random.interesting(), random.interesting()).into()),
        4 => Value::Float(f64::from_bits(random.interesting())),
        5 => Value::Str(random.text().into()),
        6 => Value::Bytes(random.bytes(12).into()),
        7 => Value::Opaque(random.text().into()),
        8 => Value::List((0..random.below(4)).map(|_| value(random, depth + 1)).collect()),
        9 => Value::Tuple((0..random.below(4)).map(|_| value(random, depth + 1)).collect()),
        _ => Value::Dict(
            (0..random.below(4))
                .map(|_| (value(random, depth + 1), value(random, depth + 1)))
                .collect(),
        ),
    }
}

pub fn run(bytes: &[u8]) -> Result<bool, String> {
    let mut rest = bytes;
    let mut accepted = false;
    while !rest.is_empty() {
        let Ok((record, behind)) = Record::decode(rest) else {
            return Ok(false);
        };
        if behind.len() >= rest.len() {
            return Err("a record took no bytes".to_owned());
        }
        let mut once = Vec::new();
        record.encode(&mut once);
        let (again, nothing) =
            Record::decode(&once).map_err(|error| format!("written, but not read: {error}"))?;
        let mut twice = Vec::new();
        again.encode(&mut twice);
        if !nothing.is_empty() || once != twice {
            return Err("a record changed on its way".to_owned());
        }
        accepted = true;
        rest = behind;
    }
    Ok(accepted)
}
