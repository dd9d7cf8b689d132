//! What a formatter makes of whole records. Single conversions are tested beside their code.

use super::*;
use logserv_wire::record::RecordWriter;
use logserv_wire::value::Value;

fn record() -> Record<'static> {
    Record {
        level_no: 20,
        level_name: Some("INFO"),
        name: Some("app.db"),
        message: Some("ready"),
        line_no: 42,
        created: 1_700_000_000.25,
        msecs: 250.0,
        utc_offset_s: Some(3600),
        process: Some(4711),
        ..Record::default()
    }
}

fn formatter(style: Style, fmt: &str) -> Formatter {
    let specification = Specification {
        fmt: Some(fmt.to_owned()),
        style,
        ..Specification::default()
    };
    Formatter::compile(&specification).unwrap()
}

fn line(formatter: &Formatter, record: &Record<'_>) -> Result<String, RenderError> {
    let mut out = "before ".to_owned();
    let result = formatter.render(record, &mut TimeCache::new(), &mut out);
    assert_eq!(
        formatter.supports(record).is_yes(),
        result.is_ok(),
        "{:?}",
        formatter.supports(record)
    );
    let line = out.strip_prefix("before ").unwrap().to_owned();
    assert!(result.is_ok() || line.is_empty());
    result.map(|()| line)
}

#[test]
fn the_default_is_the_message() {
    assert_eq!(line(&Formatter::default(), &record()).unwrap(), "ready");
    let compiled = Formatter::compile(&Specification::default()).unwrap();
    assert_eq!(line(&compiled, &record()).unwrap(), "ready");
}

#[test]
fn each_style_renders_the_same_line() {
    for (style, fmt) in [
        (
            Style::Percent,
            "%(asctime)s %(levelname)-8s %(name)s[%(process)d]: %(message)s 100%%",
        ),
        (
            Style::Brace,
            "{asctime} {levelname:<8} {name}[{process:d}]: {message} 100%",
        ),
        (
            Style::Dollar,
            "$asctime ${levelname}     $name[$process]: ${message} 100%",
        ),
    ] {
        let expected = "2023-11-14 23:13:20,250 INFO     app.db[4711]: ready 100%";
        assert_eq!(line(&formatter(style, fmt), &record()).unwrap(), expected);
    }
}

#[test]
fn exception_and_stack_follow_on_lines_of_their_own() {
    let default = Formatter::default();
    let with = |message, exc_text, stack_info| {
        line(
            &default,
            &Record {
                message: Some(message),
                exc_text,
                stack_info,
                ..record()
            },
        )
        .unwrap()
    };
    assert_eq!(with("m", Some("T\nE"), Some("S")), "m\nT\nE\nS");
    assert_eq!(with("m\n", Some("T\n"), Some("S")), "m\nT\nS");
    assert_eq!(with("", Some("T"), None), "\nT");
    assert_eq!(with("m", Some(""), Some("")), "m");
}

#[test]
fn a_line_rendered_by_the_client_is_left_alone() {
    let record = Record {
        kind: RecordKind::Line,
        message: Some("x"),
        exc_text: Some("T"),
        ..Record::default()
    };
    assert_eq!(
        line(&formatter(Style::Percent, "%(nothing)s"), &record).unwrap(),
        "x"
    );
}

#[test]
fn an_attribute_takes_the_place_of_a_field_and_a_field_of_a_default() {
    let specification = r#"{"fmt": "%(levelno)s %(user)s %(host)s %(message)s", "defaults": {"user": 1, "host": [1.0], "levelno": 9}}"#;
    let formatter = Formatter::compile(&Specification::from_json(specification).unwrap()).unwrap();
    assert_eq!(line(&formatter, &record()).unwrap(), "20 1 [1.0] ready");
    let mut bytes = Vec::new();
    let mut writer = RecordWriter::begin(&record(), &mut bytes);
    writer.attribute("levelno", &Value::Str("loud".into()));
    writer.attribute("user", &Value::None);
    writer.attribute("message", &Value::Str("stale".into()));
    writer.finish();
    let (record, _) = Record::decode(&bytes).unwrap();
    assert_eq!(line(&formatter, &record).unwrap(), "loud None [1.0] ready");
}

#[test]
fn what_is_missing_is_named() {
    let error = line(&formatter(Style::Percent, "%(message)s %(user)s"), &record()).unwrap_err();
    assert_eq!(
        error,
        RenderError::Missing {
            name: "user".to_owned()
        }
    );
    let formatter = formatter(Style::Percent, "%(asctime)s %(user)s %(user)d");
    assert_eq!(
        formatter.uses().collect::<Vec<_>>(),
        ["asctime", "user", "created", "msecs"]
    );
}

#[test]
fn a_local_time_without_offset_is_not_supported_but_rendered() {
    let record = Record {
        utc_offset_s: None,
        ..record()
    };
    let formatter = formatter(Style::Percent, "%(asctime)s");
    assert!(!formatter.supports(&record).is_yes());
    let mut out = String::new();
    formatter
        .render(&record, &mut TimeCache::new(), &mut out)
        .unwrap();
    assert!(out.starts_with("2023-11-1") && out.ends_with(",250"), "{out}");
}

#[test]
fn times_that_only_the_producer_knows_are_refused() {
    for (datefmt, utc, supported) in [
        ("%H %Z", false, false),
        ("%H %Z", true, true),
        ("%s", true, false),
        ("%s", false, false),
        ("%z", false, true),
    ] {
        let specification = Specification {
            fmt: Some("%(asctime)s".to_owned()),
            datefmt: Some(datefmt.to_owned()),
            utc,
            ..Specification::default()
        };
        let formatter = Formatter::compile(&specification).unwrap();
        assert_eq!(line(&formatter, &record()).is_ok(), supported, "{datefmt} {utc}");
    }
    let formatter = formatter(Style::Percent, "%(asctime)s");
    for created in [f64::NAN, f64::INFINITY, -1.0, 1e18] {
        assert!(
            line(&formatter, &Record { created, ..record() }).is_err(),
            "{created}"
        );
    }
}

#[test]
fn a_line_over_its_limit_is_refused() {
    let message = "x".repeat(2 << 20);
    let formatter = formatter(Style::Percent, &"%(message)s".repeat(9));
    let error = line(
        &formatter,
        &Record {
            message: Some(&message),
            ..record()
        },
    )
    .unwrap_err();
    assert_eq!(error, RenderError::TooLong { limit: LINE_LEN_MAX });
}

#[test]
fn one_cache_serves_many_formatters_and_zones() {
    let mut clock = TimeCache::new();
    let formatters: Vec<_> = ["%H", "%M", "%z"]
        .iter()
        .cycle()
        .take(30)
        .map(|datefmt| {
            let datefmt = Some((*datefmt).to_owned());
            let fmt = Some("%(asctime)s".to_owned());
            Formatter::compile(&Specification {
                fmt,
                datefmt,
                ..Specification::default()
            })
            .unwrap()
        })
        .collect();
    for offset in [0, 3600, -12_600] {
        let record = Record {
            utc_offset_s: Some(offset),
            ..record()
        };
        let expected = match offset {
            0 => ["22", "13", "+0000"],
            3600 => ["23", "13", "+0100"],
            _ => ["18", "43", "-0330"],
        };
        for _ in 0..2 {
            for (formatter, expected) in formatters.iter().zip(expected.iter().cycle()) {
                let mut out = String::new();
                formatter.render(&record, &mut clock, &mut out).unwrap();
                assert_eq!(&out, expected);
            }
        }
    }
}

/// A small generator of pseudo-random numbers, so that a failure can be replayed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn text(&mut self, alphabet: &[&str], len_max: usize) -> String {
        (0..self.below(len_max))
            .map(|_| alphabet[self.below(alphabet.len())])
            .collect()
    }

    fn value(&mut self, depth: usize) -> Value<'static> {
        let kinds = if depth < 3 { 11 } else { 8 };
        match self.below(kinds) {
            0 => Value::None,
            1 => Value::Bool(self.below(2) == 0),
            2 => Value::Int(self.0.cast_signed() >> self.below(63)),
            3 => Value::BigInt(self.text(&["0", "9", "5"], 40).into()),
            4 => Value::Float(f64::from_bits(self.0)),
            5 => Value::Str(self.text(&["a", "é", "'", "😀", "\0"], 9).into()),
            6 => Value::Bytes(self.text(&["a", "é", "'"], 9).into_bytes().into()),
            7 => Value::Opaque("<x>".into()),
            8 => Value::List((0..self.below(4)).map(|_| self.value(depth + 1)).collect()),
            9 => Value::Tuple((0..self.below(4)).map(|_| self.value(depth + 1)).collect()),
            _ => Value::Dict(
                (0..self.below(4))
                    .map(|_| (self.value(3), self.value(depth + 1)))
                    .collect(),
            ),
        }
    }
}

#[test]
fn no_format_makes_it_panic_and_what_is_supported_is_rendered() {
    let seed = std::env::var("LOGSERV_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(4711_u64);
    let mut numbers = Numbers(seed | 1);
    let alphabet = [
        "%(x)",
        "%(asctime)",
        "%(created)",
        "{x",
        "{asctime",
        "{created",
        "${x}",
        "$x",
        "$asctime",
        "}",
        "{",
        "%",
        "$",
        "!r",
        "!a",
        ":",
        "<",
        "=",
        "^",
        "+",
        "-",
        " ",
        "z",
        "#",
        "0",
        "9",
        "4096",
        ",",
        "_",
        ".",
        "d",
        "s",
        "x",
        "X",
        "c",
        "e",
        "f",
        "g",
        "%%",
        "[0]",
        "[a]",
        "é",
        "\0",
    ];
    let dates = ["%", "Y", "H", "z", "Z", "s", "-", "0", "255", "E", "c", "é", "d"];
    let (mut compiled, mut supported) = (0, 0);
    for _ in 0..20_000 {
        let style = [Style::Percent, Style::Brace, Style::Dollar][numbers.below(3)];
        let specification = Specification {
            fmt: Some(numbers.text(&alphabet, 9)),
            datefmt: Some(numbers.text(&dates, 6)),
            default_msec_format: Some(numbers.text(&alphabet, 6)),
            style,
            utc: numbers.below(2) == 0,
            ..Specification::default()
        };
        let Ok(formatter) = Formatter::compile(&specification) else {
            continue;
        };
        compiled += 1;
        let created = if numbers.below(9) == 0 {
            f64::from_bits(numbers.0)
        } else {
            1.7e9
        };
        let mut bytes = Vec::new();
        let mut writer = RecordWriter::begin(
            &Record {
                created,
                msecs: created,
                ..record()
            },
            &mut bytes,
        );
        writer.attribute("x", &numbers.value(0));
        writer.finish();
        let (record, _) = Record::decode(&bytes).unwrap();
        let mut out = String::new();
        let result = formatter.render(&record, &mut TimeCache::new(), &mut out);
        if formatter.supports(&record).is_yes() {
            supported += 1;
            assert!(
                result.is_ok(),
                "seed {seed}: {specification:?} {record:?} {result:?}"
            );
        }
    }
    assert!(
        compiled > 2_000 && supported > 500,
        "{compiled} compiled, {supported} supported"
    );
}
