//! What pickles of records become, and what is written for servers that only know pickles.
//!
//! That CPython agrees is `tests/test_pickle.py` of the whole product; the attacks are `pickle_attacks.rs`.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use logserv_wire::bytes::Reader;
use logserv_wire::pickle::{Conversion, Converted, PickleError, Unpickler, write};
use logserv_wire::record::{Record, RecordKind, RecordWriter};
use logserv_wire::value::{self, Value};

/// A record of Python 3.13's `SocketHandler`.
const RECORD: &[u8] = include_bytes!("corpus/pickle/record-3.13.bin");

fn value_of(frame: &[u8]) -> Value<'static> {
    let mut encoded = Vec::new();
    Unpickler::new().to_value(frame, &mut encoded).unwrap();
    value::decode(&mut Reader::new(&encoded, "value"))
        .unwrap()
        .into_owned()
}

fn record_of(frame: &[u8]) -> (Vec<u8>, Converted) {
    let conversion = Conversion {
        formatter: 7,
        default_created_s: 1.5,
        ..Conversion::default()
    };
    let mut encoded = Vec::new();
    let converted = Unpickler::new()
        .to_record(frame, &conversion, &mut encoded)
        .unwrap();
    assert_eq!(converted.record_len, encoded.len());
    (encoded, converted)
}

/// The record's own fields, to be compared; a decoded record also remembers the bytes they came from.
fn without_attributes<'a>(record: &Record<'a>) -> Record<'a> {
    Record {
        encoded_attributes: Default::default(),
        ..record.clone()
    }
}

#[test]
fn a_record_of_socket_handler_has_everything_in_its_place() {
    let (encoded, converted) = record_of(RECORD);
    assert_eq!(converted.level_no, 30);
    let (record, _) = Record::decode(&encoded).unwrap();
    let expected = Record {
        formatter: 7,
        level_no: 30,
        created: 1_700_000_000.25,
        msecs: 250.0,
        relative_created: 12.5,
        line_no: 42,
        thread: Some(140_735_268_357_120),
        process: Some(4711),
        name: Some("app.db"),
        message: Some("café lost"),
        level_name: Some("WARNING"),
        path_name: Some("/srv/app/db.py"),
        file_name: Some("db.py"),
        module: Some("db"),
        func_name: Some("query"),
        thread_name: Some("MainThread"),
        process_name: Some("MainProcess"),
        ..Record::default()
    };
    assert_eq!(without_attributes(&record), expected);
    let tags = Value::Dict(vec![(
        Value::Str("b".into()),
        Value::Tuple(vec![Value::Int(1), Value::None, Value::Bool(true)]),
    )]);
    let attributes: Vec<_> = record.attributes().collect();
    assert_eq!(
        attributes,
        [
            ("user", Value::Str("zoe".into())),
            ("tags", Value::List(vec![Value::Str("a".into()), tags])),
            ("n", Value::BigInt("1180591620717411303424".into())),
        ]
    );
}

#[test]
fn every_python_sends_the_same_record() {
    let (newest, _) = record_of(RECORD);
    let (newest, _) = Record::decode(&newest).unwrap();
    for (version, frame) in [
        ("2.7", &include_bytes!("corpus/pickle/record-2.7.bin")[..]),
        ("3.6", include_bytes!("corpus/pickle/record-3.6.bin")),
        ("3.8", include_bytes!("corpus/pickle/record-3.8.bin")),
        ("3.11", include_bytes!("corpus/pickle/record-3.11.bin")),
    ] {
        let (encoded, _) = record_of(frame);
        let (record, _) = Record::decode(&encoded).unwrap();
        let sorted = |record: &Record<'_>| {
            let mut attributes: Vec<_> = record
                .attributes()
                .map(|(name, value)| format!("{name}={value:?}"))
                .collect();
            attributes.sort();
            attributes
        };
        assert_eq!(sorted(&record), sorted(&newest), "{version}");
        // Python 2 cannot mix its `str` with foreign bytes into one text, but keeps them.
        if version != "2.7" {
            assert_eq!(record.message, newest.message, "{version}");
        }
        assert_eq!(record.created, newest.created, "{version}");
        assert_eq!(record.func_name, newest.func_name, "{version}");
    }
}

#[test]
fn objects_become_texts_in_every_protocol() {
    let expected = [
        "<datetime.datetime(b'\\x07\\xe8\\x01\\x02\\x03\\x04\\x05\\x00\\x00\\x06', \
         <datetime.timezone(<datetime.timedelta(0, 0, 0)>)>)>",
        "<decimal.Decimal('1.50')>",
        "<uuid.UUID(int=1)>",
        "<collections.OrderedDict({'a': 1})>",
        "<collections.deque((), 3, [1, 2])>",
        "<builtins.ValueError('lost')>",
        "<__main__.Plain>",
        "<__main__.Plain(x=1)>",
        "<builtins.complex(1.0, 2.0)>",
    ];
    for (protocol, frame) in [
        &include_bytes!("corpus/pickle/objects-0.bin")[..],
        include_bytes!("corpus/pickle/objects-1.bin"),
        include_bytes!("corpus/pickle/objects-2.bin"),
        include_bytes!("corpus/pickle/objects-3.bin"),
        include_bytes!("corpus/pickle/objects-4.bin"),
        include_bytes!("corpus/pickle/objects-5.bin"),
    ]
    .into_iter()
    .enumerate()
    {
        let Value::Dict(pairs) = value_of(frame) else {
            panic!("expected a dict")
        };
        let [(_, Value::List(objects))] = &pairs[..] else {
            panic!("expected a list, received {pairs:?}")
        };
        for (object, expected) in objects.iter().zip(expected) {
            assert_eq!(*object, Value::Opaque(expected.into()), "protocol {protocol}");
        }
        assert_eq!(objects.len(), expected.len());
    }
}

#[test]
fn a_standard_attribute_of_an_unusual_type_travels_under_its_name() {
    let frame = b"}(X\x07\x00\x00\x00levelnoX\x01\x00\x00\x00xX\x06\x00\x00\x00linenoJ\xff\xff\xff\xff\
        X\x07\x00\x00\x00createdK\x05X\x06\x00\x00\x00threadNX\x04\x00\x00\x00nameK\x07u.";
    let (encoded, converted) = record_of(frame);
    assert_eq!(converted.level_no, 0);
    let (record, _) = Record::decode(&encoded).unwrap();
    assert_eq!((record.created, record.line_no, record.name), (5.0, 0, None));
    let attributes: Vec<_> = record.attributes().collect();
    assert_eq!(
        attributes,
        [
            ("name", Value::Int(7)),
            ("levelno", Value::Str("x".into())),
            ("lineno", Value::Int(-1)),
            ("created", Value::Int(5)),
        ]
    );
}

#[test]
fn what_is_missing_has_the_default_of_make_log_record() {
    let (encoded, _) = record_of(b"}.");
    let (record, _) = Record::decode(&encoded).unwrap();
    let expected = Record {
        formatter: 7,
        created: 1.5,
        msecs: 500.0,
        message: Some(""),
        level_name: Some("Level None"),
        path_name: Some(""),
        file_name: Some(""),
        module: Some(""),
        process_name: Some("MainProcess"),
        ..Record::default()
    };
    assert_eq!(without_attributes(&record), expected);
}

#[test]
fn an_exception_that_came_as_an_object_becomes_the_traceback() {
    let frame = b"}X\x08\x00\x00\x00exc_info(cbuiltins\nValueError\nh\x00)RNts.";
    let error = Unpickler::new()
        .to_record(frame, &Conversion::default(), &mut Vec::new())
        .unwrap_err();
    assert!(matches!(error, PickleError::Malformed { .. }), "{error}");
    let frame = b"}X\x08\x00\x00\x00exc_info(cbuiltins\nValueError\nq\x00h\x00(X\x01\x00\x00\x00xtRNts.";
    let (encoded, _) = record_of(frame);
    let (record, _) = Record::decode(&encoded).unwrap();
    assert_eq!(record.exc_text, Some("<builtins.ValueError('x')>"));
    assert_eq!(record.attributes().count(), 0);
}

#[test]
fn a_frame_that_is_no_dict_is_refused_by_its_type() {
    for (frame, name) in [
        (&b"]."[..], "list"),
        (b"N.", "None"),
        (b"cos\nsystem\n.", "a class or function"),
    ] {
        let error = Unpickler::new()
            .to_record(frame, &Conversion::default(), &mut Vec::new())
            .unwrap_err();
        assert_eq!(error, PickleError::NotADict { received: name });
        assert_eq!(
            error.to_string(),
            format!("pickle of a record: expected a dict, received {name}")
        );
    }
}

#[test]
fn a_written_record_is_read_as_it_was() {
    let (first, _) = record_of(RECORD);
    let mut pickle = Vec::new();
    write(&Record::decode(&first).unwrap().0, &mut pickle);
    assert_eq!(record_of(&pickle).0, first);
}

#[test]
fn a_line_is_written_as_the_message_and_without_what_it_has_already() {
    let line = Record {
        kind: RecordKind::Line,
        message: Some("12:00 lost\nTraceback"),
        exc_text: Some("Traceback"),
        stack_info: Some("Stack"),
        ..Record::default()
    };
    let (mut encoded, mut pickle) = (Vec::new(), Vec::new());
    let mut writer = RecordWriter::begin(&line, &mut encoded);
    writer.attribute("data", &Value::Bytes(b"\x00\xff".as_slice().into()));
    writer.attribute("object", &Value::Opaque("<x.Y()>".into()));
    writer.finish();
    write(&Record::decode(&encoded).unwrap().0, &mut pickle);
    let (read, _) = record_of(&pickle);
    let (record, _) = Record::decode(&read).unwrap();
    assert_eq!(record.kind, RecordKind::Fields);
    assert_eq!(record.message, line.message);
    assert_eq!((record.exc_text, record.stack_info), (None, None));
    let attributes: Vec<_> = record.attributes().collect();
    assert_eq!(
        attributes,
        [
            ("data", Value::Bytes(b"\x00\xff".as_slice().into())),
            ("object", Value::Str("<x.Y()>".into()))
        ]
    );
}

#[test]
fn a_record_of_more_values_than_a_pickle_may_have_is_written_with_a_note_in_their_place() {
    let many = Value::List(vec![Value::None; 40_000]);
    let (mut encoded, mut pickle) = (Vec::new(), Vec::new());
    let mut writer = RecordWriter::begin(&Record::default(), &mut encoded);
    for name in ["first", "second", "third"] {
        writer.attribute(name, &many);
    }
    writer.attribute("last", &Value::Bytes(b"x".as_slice().into()));
    writer.finish();
    write(&Record::decode(&encoded).unwrap().0, &mut pickle);
    let (read, _) = record_of(&pickle);
    let (record, _) = Record::decode(&read).unwrap();
    let attributes: Vec<_> = record.attributes().collect();
    let note = Value::Str("…[cut: a value over its limits]".into());
    assert_eq!(
        attributes,
        [
            ("first", many),
            ("second", note.clone()),
            ("third", note),
            ("last", Value::Bytes(b"x".as_slice().into()))
        ]
    );
}
