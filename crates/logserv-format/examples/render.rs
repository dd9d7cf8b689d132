//! Renders records from standard input: the Rust side of `tests/test_format.py`, and a way to try a formatter.
//!
//! In: one JSON object per line, `{"spec": {…}, "fields": {"name": …}, "attributes": [["user", ["s", "zoë"]]]}`; a value is
//! a pair of its kind and its content (`n`, `b`, `i`, `f`, `s`, `y`, `l`, `t`, `d`, `o`), integers as decimal text,
//! floats as the 16 hexadecimal digits of their bits, bytes as a list of numbers. Out: one JSON object per line with
//! `refused` (the compiler's answer), `unsupported`, `line`, `locale_names`, `zone_name`.
//! `--local`: the offset is left out, as by an old client, and this process's own zone is used.
//! `--speed N`: renders each line N times and prints nanoseconds instead.

use std::collections::HashMap;
use std::error::Error;
use std::io::{BufRead, Write};
use std::time::Instant;

use logserv_format::{Formatter, Specification, Support, TimeCache};
use logserv_wire::record::{Record, RecordWriter};
use logserv_wire::value::Value;
use serde_json::json;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_local = arguments.iter().any(|argument| argument == "--local");
    let rounds = arguments
        .iter()
        .position(|argument| argument == "--speed")
        .and_then(|at| arguments.get(at + 1));
    let rounds: Option<u32> = rounds.map(|rounds| rounds.parse()).transpose()?;
    let mut formatters = HashMap::new();
    let mut clock = TimeCache::new();
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let case: serde_json::Value = serde_json::from_str(&line?)?;
        let specification = case.get("spec").ok_or("no spec")?.to_string();
        let formatter = formatters
            .entry(specification)
            .or_insert_with_key(|specification| {
                Specification::from_json(specification)
                    .and_then(|specification| Formatter::compile(&specification))
            });
        let bytes = encode(&case, is_local)?;
        let (record, _) = Record::decode(&bytes)?;
        let answer = match (&formatter, rounds) {
            (Err(error), _) => json!({"refused": error.to_string()}),
            (Ok(formatter), Some(rounds)) => speed(formatter, &record, &mut clock, rounds),
            (Ok(formatter), None) => answer(formatter, &record, &mut clock),
        };
        writeln!(out, "{answer}")?;
    }
    out.flush()?;
    Ok(())
}

fn answer(formatter: &Formatter, record: &Record<'_>, clock: &mut TimeCache) -> serde_json::Value {
    let unsupported = match formatter.supports(record) {
        Support::Yes => None,
        Support::No(error) => Some(error.to_string()),
    };
    let mut line = String::new();
    let error = formatter
        .render(record, clock, &mut line)
        .err()
        .map(|error| error.to_string());
    json!({
        "unsupported": unsupported,
        "line": error.is_none().then_some(line),
        "error": error,
        "uses": formatter.uses().collect::<Vec<_>>(),
        "locale_names": formatter.uses_locale_names(),
        "zone_name": formatter.uses_zone_name(),
    })
}

fn speed(
    formatter: &Formatter,
    record: &Record<'_>,
    clock: &mut TimeCache,
    rounds: u32,
) -> serde_json::Value {
    let mut line = String::new();
    let time = |mut work: Box<dyn FnMut() + '_>| {
        let start = Instant::now();
        (0..rounds).for_each(|_| work());
        start.elapsed().as_nanos() / u128::from(rounds.max(1))
    };
    let supports = time(Box::new(|| {
        std::hint::black_box(formatter.supports(record).is_yes());
    }));
    let render = time(Box::new(|| {
        line.clear();
        let _ = std::hint::black_box(formatter.render(record, clock, &mut line));
    }));
    json!({"supports_ns": supports, "render_ns": render, "line": line})
}

/// The wire record of one case.
fn encode(case: &serde_json::Value, is_local: bool) -> Outcome<Vec<u8>> {
    let fields = case.get("fields").ok_or("no fields")?;
    let text = |name: &str| fields.get(name).and_then(serde_json::Value::as_str);
    let int = |name: &str| fields.get(name).and_then(serde_json::Value::as_i64);
    let float = |name: &str| -> Outcome<f64> { fields.get(name).map_or(Ok(0.0), float) };
    let record = Record {
        level_no: int("levelno").unwrap_or(0).try_into()?,
        created: float("created")?,
        msecs: float("msecs")?,
        relative_created: float("relativeCreated")?,
        line_no: int("lineno").unwrap_or(0).try_into()?,
        thread: fields.get("thread").and_then(serde_json::Value::as_u64),
        process: int("process").map(u32::try_from).transpose()?,
        utc_offset_s: int("utc_offset_s")
            .filter(|_| !is_local)
            .map(i32::try_from)
            .transpose()?,
        name: text("name"),
        message: text("message"),
        level_name: text("levelname"),
        path_name: text("pathname"),
        file_name: text("filename"),
        module: text("module"),
        func_name: text("funcName"),
        thread_name: text("threadName"),
        process_name: text("processName"),
        task_name: text("taskName"),
        exc_text: text("exc_text"),
        stack_info: text("stack_info"),
        ..Record::default()
    };
    let mut bytes = Vec::new();
    let mut writer = RecordWriter::begin(&record, &mut bytes);
    for attribute in case
        .get("attributes")
        .and_then(serde_json::Value::as_array)
        .ok_or("no attributes")?
    {
        let name = attribute
            .get(0)
            .and_then(serde_json::Value::as_str)
            .ok_or("an attribute without name")?;
        writer.attribute(
            name,
            &value(attribute.get(1).ok_or("an attribute without value")?)?,
        );
    }
    writer.finish();
    Ok(bytes)
}

fn float(bits: &serde_json::Value) -> Outcome<f64> {
    let bits = bits.as_str().ok_or("a float that is no text")?;
    Ok(f64::from_bits(u64::from_str_radix(bits, 16)?))
}

fn value(pair: &serde_json::Value) -> Outcome<Value<'_>> {
    let kind = pair
        .get(0)
        .and_then(serde_json::Value::as_str)
        .ok_or("a value without kind")?;
    let content = pair.get(1).unwrap_or(&serde_json::Value::Null);
    let text = || content.as_str().ok_or("a content that is no text");
    let list = || content.as_array().ok_or("a content that is no list");
    Ok(match kind {
        "n" => Value::None,
        "b" => Value::Bool(content.as_bool().ok_or("no bool")?),
        "i" => match text()?.parse() {
            Ok(number) => Value::Int(number),
            Err(_) => Value::BigInt(text()?.into()),
        },
        "f" => Value::Float(float(content)?),
        "s" => Value::Str(text()?.into()),
        "y" => {
            let bytes = list()?
                .iter()
                .map(|byte| Ok(u8::try_from(byte.as_u64().ok_or("no byte")?)?));
            Value::Bytes(bytes.collect::<Outcome<Vec<u8>>>()?.into())
        }
        "l" => Value::List(list()?.iter().map(value).collect::<Outcome<_>>()?),
        "t" => Value::Tuple(list()?.iter().map(value).collect::<Outcome<_>>()?),
        "d" => {
            let item = |pair: &'_ serde_json::Value, at: usize| -> Outcome<Value<'static>> {
                Ok(value(pair.get(at).ok_or("no pair")?)?.into_owned())
            };
            let pairs = list()?.iter().map(|pair| Ok((item(pair, 0)?, item(pair, 1)?)));
            Value::Dict(pairs.collect::<Outcome<_>>()?)
        }
        "o" => Value::Opaque(text()?.into()),
        kind => return Err(format!("a value of kind {kind:?}").into()),
    })
}
