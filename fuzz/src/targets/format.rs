//! A formatter's specification and the line it makes of a record: a record that is supported is rendered, always.

use logserv_format::{Formatter, Specification, TimeCache};
use logserv_wire::record::{Record, RecordKind};

use super::{Target, record};
use crate::mutate::Random;

pub const TARGET: Target = Target {
    name: "format",
    generate,
    run,
};

const PARTS: [&str; 44] = [
    "%(message)s",
    "%(asctime)s",
    "%(levelname)-8s",
    "%(created)020.3f",
    "%(msecs)03d",
    "%(user)r",
    "%(x)s",
    "%(x)*d",
    "%(levelno)#x",
    "%(thread)+d",
    "%(process)c",
    "%%",
    "%",
    "%(",
    "%(name",
    "%(x)99999d",
    "%(x).99999f",
    "%(message)a",
    "{message}",
    "{asctime!r:>20}",
    "{levelno:08b}",
    "{x!s:^{levelno}}",
    "{user[0]}",
    "{user.a}",
    "{x:,.2f}",
    "{{",
    "}}",
    "{",
    "}",
    "{0}",
    "{levelname:<10.3}",
    "{created:%}",
    "{x:e}",
    "{x:999999}",
    "$message",
    "${x}",
    "$$",
    "$",
    "${",
    "é",
    "\n",
    "\u{1f389}",
    "%(missing)s",
    "{missing}",
];
const DATES: [&str; 12] = [
    "%Y-%m-%d",
    "%H:%M:%S",
    "%f",
    "%Z",
    "%z",
    "%c",
    "%10Y",
    "%-d",
    "%",
    "%E",
    "%999999999Y",
    "\u{e9}%S",
];

/// The input is the length of the JSON (u16, little-endian), the JSON, then records.
fn generate(random: &mut Random) -> Vec<u8> {
    let quote = |text: &str| {
        format!(
            "\"{}\"",
            text.replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n")
        )
    };
    let parts = (0..random.below(5))
        .map(|_| random.choose(&PARTS))
        .collect::<String>();
    let mut json = format!(
        "{{\"fmt\": {}, \"style\": \"{}\"",
        quote(&parts),
        random.choose(&["%", "{", "$"])
    );
    if random.one_in(3) {
        let dates = (0..random.below(4))
            .map(|_| random.choose(&DATES))
            .collect::<String>();
        json += &format!(", \"datefmt\": {}", quote(&dates));
    }
    if random.one_in(4) {
        json += ", \"defaults\": {\"missing\": [1, null, {\"a\": 1.5}], \"x\": \"\u{e9}\"}";
    }
    if random.one_in(4) {
        json += &format!(
            ", \"default_msec_format\": {}",
            random.choose(&["null", "\"%s,%03d\"", "\"%s.%d%s\"", "\"%%\""])
        );
    }
    if random.one_in(3) {
        json += &format!(", \"json\": {}", json_formatter(random));
    }
    json += &format!(", \"utc\": {}}}", random.one_in(2));
    let mut bytes = u16::try_from(json.len()).unwrap_or(0).to_le_bytes().to_vec();
    bytes.extend_from_slice(json.as_bytes());
    bytes.extend(record::generate(random));
    bytes
}

/// Whatever the record: the line of a `JsonFormatter` is one line, and JSON.
fn check_json(specification: &Specification, record: &Record<'_>, line: &str) -> Result<(), String> {
    let Some(json) = specification
        .json
        .as_ref()
        .filter(|_| record.kind == RecordKind::Fields)
    else {
        return Ok(());
    };
    let object = line.strip_prefix(&json.prefix).unwrap_or_default();
    if line.contains(['\n', '\r', '\u{2028}', '\u{2029}', '\u{85}']) {
        return Err(format!("more than one line: {line:?}"));
    }
    serde_json::from_str::<serde_json::Value>(object)
        .map(drop)
        .map_err(|error| format!("no JSON: {error}: {line:?}"))
}

const NAMES: [&str; 12] = [
    "message",
    "asctime",
    "exc_info",
    "stack_info",
    "msg",
    "user",
    "x",
    "created",
    "missing",
    "\u{e9}",
    "_own",
    "taskName",
];

/// The specification of a `JsonFormatter`.
fn json_formatter(random: &mut Random) -> String {
    let name = |random: &mut Random| format!("\"{}\"", random.choose(&NAMES));
    let list = |random: &mut Random| {
        let names: Vec<String> = (0..random.below(5)).map(|_| name(random)).collect();
        names.join(", ")
    };
    let flag = |random: &mut Random| random.one_in(2);
    let kind = random.choose(&["iso_utc", "iso_local", "iso_z", "epoch_s", "epoch_ms", "other"]);
    let mut json = format!(
        "{{\"fields\": [{}], \"skipped\": [{}]",
        list(random),
        list(random)
    );
    json += &format!(", \"rename\": [[{}, {}]]", name(random), name(random));
    json += &format!(", \"static\": {{{}: [1, {{\"a\": null}}]}}", name(random));
    json += &format!(", \"defaults\": {{{}: 1e300}}", name(random));
    json += &format!(
        ", \"timestamp\": {}, \"timestamp_format\": \"{kind}\"",
        name(random)
    );
    if random.one_in(2) {
        json += &format!(", \"extra_key\": {}", name(random));
    }
    if random.one_in(4) {
        json += ", \"prefix\": \"\u{e9}: \"";
    }
    for option in [
        "keep_missing",
        "exc_info_as_array",
        "exc_info_as_object",
        "stack_info_as_array",
        "ensure_ascii",
    ] {
        json += &format!(", \"{option}\": {}", flag(random));
    }
    json + "}"
}

fn run(bytes: &[u8]) -> Result<bool, String> {
    let Some((len, rest)) = bytes.split_first_chunk() else {
        return Ok(false);
    };
    let Some((json, mut records)) = rest.split_at_checked(u16::from_le_bytes(*len).into()) else {
        return Ok(false);
    };
    let Ok(json) = std::str::from_utf8(json) else {
        return Ok(false);
    };
    let Ok(specification) = Specification::from_json(json) else {
        return Ok(false);
    };
    let json = specification.to_json();
    if Specification::from_json(&json).as_ref() != Ok(&specification) {
        return Err(format!("a specification changed on its way: {json}"));
    }
    let Ok(formatter) = Formatter::compile(&specification) else {
        return Ok(false);
    };
    let mut clock = TimeCache::default();
    let mut line = String::new();
    let mut rendered = false;
    while let Ok((record, behind)) = Record::decode(records) {
        let supported = formatter.supports(&record).is_yes();
        line.clear();
        match formatter.render(&record, &mut clock, &mut line) {
            Ok(()) => {
                check_json(&specification, &record, &line)?;
                rendered = true;
            }
            Err(error) if supported => return Err(format!("supported, but not rendered: {error}")),
            Err(_) => {}
        }
        records = behind;
    }
    Ok(rendered)
}
