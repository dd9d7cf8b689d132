//! The line of a `JsonFormatter` where nobody can be asked any more: of 1.0 clients, and of the server's own records. What Python would
//! give is compared in `tests/test_json_formatter.py`.

use logserv_wire::record::{Record, RecordWriter};
use logserv_wire::value::Value;

use crate::{Formatter, Specification, TimeCache};

fn formatter(json: &str) -> Formatter {
    let specification = Specification::from_json(&format!("{{\"json\": {json}}}")).unwrap();
    Formatter::compile(&specification).unwrap()
}

fn line(formatter: &Formatter, record: &Record<'_>) -> String {
    let mut line = String::new();
    formatter
        .render(record, &mut TimeCache::default(), &mut line)
        .unwrap();
    line
}

#[test]
fn what_only_python_knows_is_guessed_or_null_and_the_line_is_json() {
    let formatter = formatter(
        r#"{"fields": ["message", "msg", "taskName", "exc_text"], "timestamp": "at", "timestamp_format": "iso_local"}"#,
    );
    let mut bytes = Vec::new();
    let head = Record {
        created: 1e9,
        message: Some("two\nlines"),
        exc_text: Some("Traceback"),
        ..Record::default()
    };
    let mut writer = RecordWriter::begin(&head, &mut bytes);
    writer.attribute("thing", &Value::Opaque("<m.Thing()>".into()));
    writer.attribute(
        "keys",
        &Value::Dict(vec![(Value::Tuple(vec![Value::None]), Value::Float(f64::NAN))]),
    );
    writer.finish();
    let (record, _) = Record::decode(&bytes).unwrap();
    assert!(!formatter.supports(&record).is_yes());
    let line = line(&formatter, &record);
    assert_eq!(
        line,
        r#"{"message": "two\nlines", "msg": null, "taskName": null, "exc_text": "Traceback", "exc_info": "Traceback", "thing": "<m.Thing()>", "keys": {"(None,)": null}, "at": "2001-09-09T01:46:40+00:00"}"#
    );
}

#[test]
fn a_time_out_of_range_is_null_where_nobody_can_be_asked() {
    let formatter = formatter(r#"{"timestamp": "at"}"#);
    let record = Record {
        created: -1.0,
        message: Some(""),
        ..Record::default()
    };
    assert!(!formatter.supports(&record).is_yes());
    assert_eq!(line(&formatter, &record), r#"{"message": "", "at": null}"#);
}

#[test]
fn a_record_of_nothing_but_a_message_is_an_object_too() {
    let record = Record {
        created: 1_000_000_000.0,
        utc_offset_s: Some(0),
        message: Some("m"),
        level_name: Some("INFO"),
        ..Record::default()
    };
    for (specification, expected) in [
        ("{}", r#"{"message": "m"}"#),
        (
            r#"{"fields": ["levelname", "message"]}"#,
            r#"{"levelname": "INFO", "message": "m"}"#,
        ),
    ] {
        assert_eq!(line(&formatter(specification), &record), expected);
    }
}

#[test]
fn a_prefix_of_several_lines_is_refused() {
    for end in ["\\n", "\\u2028"] {
        let json = format!("{{\"json\": {{\"prefix\": \"a{end}b\"}}}}");
        assert!(Formatter::compile(&Specification::from_json(&json).unwrap()).is_err());
    }
}

#[test]
fn very_many_attributes_are_written_each_once() {
    let formatter = formatter(r#"{"rename": [["a0", "b"], ["a1", "b"]], "keep_missing": true}"#);
    let mut bytes = Vec::new();
    let head = Record {
        message: Some("x"),
        ..Record::default()
    };
    let mut writer = RecordWriter::begin(&head, &mut bytes);
    for number in 0..1000 {
        writer.attribute(&format!("a{number}"), &Value::Int(number));
    }
    writer.finish();
    let (record, _) = Record::decode(&bytes).unwrap();
    assert!(formatter.supports(&record).is_yes());
    let line = line(&formatter, &record);
    assert!(
        line.starts_with(r#"{"message": "x", "b": 1, "a2": 2, "#),
        "{line}"
    );
    assert_eq!(line.matches(": ").count(), 1000);
}
