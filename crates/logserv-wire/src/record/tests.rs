//! Records there and back, cut, and of another version.

use super::*;

fn sample() -> Record<'static> {
    Record {
        formatter: 7,
        level_no: 20,
        created: 1_700_000_000.25,
        msecs: 250.0,
        relative_created: 12.5,
        line_no: 42,
        thread: Some(u64::MAX),
        process: Some(4711),
        utc_offset_s: Some(-3600),
        name: Some("app.db"),
        message: Some("hällo"),
        exc_text: Some("Traceback …\nValueError"),
        ..Record::default()
    }
}

#[test]
fn a_record_comes_back_with_its_attributes() {
    let mut bytes = Vec::new();
    let mut writer = RecordWriter::begin(&sample(), &mut bytes);
    writer.attribute("user", &Value::Str("zoë".into()));
    writer.attribute("n", &Value::Int(3));
    let len = writer.finish();
    assert_eq!(len, bytes.len());
    let (record, rest) = Record::decode(&bytes).unwrap();
    assert!(rest.is_empty());
    assert_eq!(
        Record {
            encoded_attributes: Attributes::default(),
            ..record.clone()
        },
        sample()
    );
    let attributes: Vec<_> = record.attributes().collect();
    assert_eq!(
        attributes,
        [("user", Value::Str("zoë".into())), ("n", Value::Int(3))]
    );
    let mut again = Vec::new();
    record.encode(&mut again);
    assert_eq!(again, bytes);
}

#[test]
fn the_header_has_the_length_that_the_specification_gives() {
    let mut bytes = Vec::new();
    Record::default().encode(&mut bytes);
    assert_eq!(bytes.len(), HEADER_LEN);
}

#[test]
fn a_record_cut_anywhere_is_an_error_and_never_a_panic() {
    let mut bytes = Vec::new();
    let mut writer = RecordWriter::begin(&sample(), &mut bytes);
    writer.attribute("user", &Value::List(vec![Value::Str("zoë".into()), Value::None]));
    writer.finish();
    for len in 0..bytes.len() {
        assert!(Record::decode(&bytes[..len]).is_err(), "cut to {len} bytes");
    }
}

#[test]
fn texts_of_every_length_come_back_whatever_stands_before_them() {
    // The length of a field before it is, or is not, UTF-8 by itself.
    for len in (0..300).chain([0x80c2, 0xa4c3, 70_000]) {
        for filler in ["m", "\u{fc}"] {
            let message = filler.repeat(len);
            let record = Record {
                message: Some(&message),
                module: Some("m\u{f6}dule"),
                stack_info: Some("Stack"),
                ..sample()
            };
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            assert_eq!(Record::decode(&bytes), Ok((record, &[][..])), "{len}");
        }
    }
}

#[test]
fn no_text_is_one_by_what_stands_behind_it() {
    let mut bytes = Vec::new();
    Record::default().encode(&mut bytes);
    // Half of a character, which the next field's tag would complete.
    put_field(&mut bytes, 1, b"half \xc3");
    put_field(&mut bytes, 0xa9, b"");
    let len = len_to_u32(bytes.len()).to_le_bytes();
    bytes[..4].copy_from_slice(&len);
    assert_eq!(Record::decode(&bytes), Err(WireError::NotUtf8 { what: "name" }));
}

#[test]
fn an_unknown_field_is_skipped() {
    let mut bytes = Vec::new();
    sample().encode(&mut bytes);
    put_field(&mut bytes, 200, b"from the future");
    let len = len_to_u32(bytes.len()).to_le_bytes();
    bytes[..4].copy_from_slice(&len);
    let (record, _) = Record::decode(&bytes).unwrap();
    assert_eq!(record.message, Some("hällo"));
    assert_eq!(record.attributes().count(), 0);
}
