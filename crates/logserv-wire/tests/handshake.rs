//! The vectors of protocol 1.0, held against both state machines, whole and cut at every place.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a vector that is not as expected fails the test"
)]

use logserv_wire::handshake::client::{self, Identity, Next};
use logserv_wire::handshake::server::{Conversation, Event};
use logserv_wire::handshake::{HANDLER_CLASS_DEFAULT, ProtocolError};
use serde_json::{Value, json};

fn vectors(text: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(text).unwrap();
    file["vectors"].as_array().unwrap().clone()
}

fn server_vectors() -> Vec<Value> {
    vectors(include_str!("vectors/handshake_1_0_server.json"))
}

/// Each character is one byte.
fn latin1(text: &str) -> Vec<u8> {
    text.chars()
        .map(|character| u8::try_from(u32::from(character)).unwrap())
        .collect()
}

fn from_latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn stream_of(vector: &Value) -> Vec<u8> {
    let mut stream = Vec::new();
    for part in vector["send"].as_array().unwrap() {
        match part {
            Value::String(text) => stream.extend(latin1(text)),
            run => {
                let times = usize::try_from(run["times"].as_u64().unwrap()).unwrap();
                stream.extend(latin1(run["repeat"].as_str().unwrap()).repeat(times));
            }
        }
    }
    stream
}

fn event_json(event: Event<'_>) -> Value {
    match event {
        Event::SocketHandler => json!({"socket_handler": true}),
        Event::Hello(hello) => json!({"hello": hello.version}),
        Event::Identify(identify) => json!({"identify": {
            "level": identify.level, "handler": identify.handler_class, "arguments": identify.arguments}}),
        Event::Log => json!({"log": true}),
        Event::Pickle(bytes) => json!({"pickle": from_latin1(bytes)}),
        Event::Skipped { len } => json!({"skipped": len}),
        Event::Format { json } => json!({"format": json}),
        Event::Rejected(error) => {
            json!({"rejected": {"expected": error.expected, "received": error.received}})
        }
        Event::Quit => json!({"quit": true}),
        other => panic!("an event without a vector: {other:?}"),
    }
}

/// Feeds the chunks as a connection would, keeping what is not consumed.
fn run_server<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Value>, Option<ProtocolError>) {
    let mut conversation = Conversation::default();
    let (mut unread, mut events) = (Vec::new(), Vec::new());
    for chunk in chunks {
        unread.extend_from_slice(chunk);
        loop {
            match conversation.step(&unread) {
                Ok((consumed, Some(event))) => {
                    events.push(event_json(event));
                    unread.drain(..consumed);
                }
                Ok((consumed, None)) => {
                    unread.drain(..consumed);
                    break;
                }
                Err(error) => return (events, Some(error)),
            }
        }
    }
    (events, None)
}

fn expected_of(vector: &Value) -> (Vec<Value>, Option<ProtocolError>) {
    let error = vector.get("error").map(|error| {
        ProtocolError::new(
            error["expected"].as_str().unwrap(),
            error["received"].as_str().unwrap(),
        )
    });
    (vector["events"].as_array().unwrap().clone(), error)
}

/// As it would be sent: escaped.
fn shown((events, error): (Vec<Value>, Option<ProtocolError>)) -> (Vec<Value>, Option<String>) {
    (events, error.map(|error| error.to_string()))
}

#[test]
fn a_server_reads_every_vector_as_it_says() {
    for vector in server_vectors() {
        let stream = stream_of(&vector);
        let result = shown(run_server([stream.as_slice()]));
        let (events, error) = expected_of(&vector);
        let error = error.map(|error| format!("EXPECTED {}, received {}", error.expected, error.received));
        assert_eq!(result, (events, error), "{}", vector["name"]);
    }
}

#[test]
fn a_server_reads_the_same_however_the_stream_is_cut() {
    let mut cuts = 0;
    for vector in server_vectors() {
        let stream = stream_of(&vector);
        let whole = run_server([stream.as_slice()]);
        // Long runs are cut near their ends only.
        let places = (0..=stream.len()).filter(|at| *at < 1024 || stream.len() - at < 1024);
        for at in places.clone() {
            let (head, tail) = stream.split_at(at);
            assert_eq!(run_server([head, tail]), whole, "{} cut at {at}", vector["name"]);
            cuts += 1;
        }
        if stream.len() < 64 << 10 {
            assert_eq!(
                run_server(stream.chunks(1)),
                whole,
                "{} byte by byte",
                vector["name"]
            );
        }
    }
    assert!(cuts > 1000);
}

#[test]
fn a_stream_that_ends_anywhere_is_a_beginning_of_the_whole_one_and_never_an_error() {
    for vector in server_vectors() {
        let (all, error) = expected_of(&vector);
        let stream = stream_of(&vector);
        if error.is_some() {
            continue;
        }
        for len in (0..stream.len()).filter(|len| *len < 1024) {
            let (events, error) = run_server([&stream[..len]]);
            assert_eq!(error, None);
            assert_eq!(
                events,
                all[..events.len()],
                "{} ended after {len}",
                vector["name"]
            );
        }
    }
}

#[test]
fn random_bytes_never_panic_and_are_never_consumed_twice() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut pickles = 0;
    for round in 0..20_000 {
        let len = usize::try_from(random() % 64).unwrap();
        let mut bytes = b"HELLO 1.0\nIDENTIFY {\"--level\": 0}\nLOG\n".to_vec();
        if round % 2 == 0 {
            bytes.clear();
        }
        bytes.extend((0..len).map(|_| {
            if random() % 2 == 0 {
                0
            } else {
                u8::try_from(random() % 256).unwrap()
            }
        }));
        let mut conversation = Conversation::default();
        let mut at = 0;
        while let Ok((consumed, event)) = conversation.step(&bytes[at..]) {
            at += consumed;
            assert!(at <= bytes.len());
            match event {
                Some(Event::Pickle(_)) => pickles += 1,
                Some(_) => {}
                None => break,
            }
        }
    }
    assert!(pickles > 0, "the corpus never got as far as a record");
}

#[test]
fn a_client_does_what_every_vector_says() {
    for vector in vectors(include_str!("vectors/handshake_1_0_client.json")) {
        let steps = vector["steps"].as_array().unwrap();
        for cut in [false, true] {
            run_client(
                &vector["name"],
                vector["format_works"].as_bool().unwrap(),
                steps,
                cut,
            );
        }
    }
}

fn run_client(name: &Value, format_works: bool, steps: &[Value], cut: bool) {
    let arguments = serde_json::from_str(r#"{"filename": "vector.log"}"#).unwrap();
    let identity = Identity {
        level: 20,
        handler_class: HANDLER_CLASS_DEFAULT.into(),
        arguments,
    };
    let mut conversation = client::Conversation::new(identity, format_works);
    let mut outcome = Ok(Next::Wait);
    for step in steps {
        let (key, value) = step.as_object().unwrap().iter().next().unwrap();
        let text = value.as_str();
        match (key.as_str(), text) {
            ("received", Some(text)) => {
                let bytes = latin1(text);
                let (head, tail) = bytes.split_at(if cut { bytes.len() / 2 } else { 0 });
                if cut {
                    assert_eq!(conversation.received(head), Ok(Next::Wait), "{name}");
                }
                outcome = conversation.received(tail);
            }
            ("quiet", _) => {
                assert_eq!(outcome, Ok(Next::Wait), "{name}");
                outcome = conversation.quiet();
            }
            ("announce", Some(json)) => outcome = Ok(Next::Send(conversation.announce(json).unwrap())),
            ("send", Some(text)) => assert_eq!(outcome, Ok(Next::Send(latin1(text))), "{name}"),
            ("frames", Some(text)) => assert_eq!(outcome, Ok(Next::Frames(latin1(text))), "{name}"),
            ("records", _) => assert_eq!(outcome, Ok(Next::Records), "{name}"),
            ("render_here", _) => assert_eq!(outcome, Ok(Next::RenderHere), "{name}"),
            ("error", _) => {
                let expected = ProtocolError::new(
                    value["expected"].as_str().unwrap(),
                    value["received"].as_str().unwrap(),
                );
                assert_eq!(outcome, Err(expected), "{name}");
            }
            other => panic!("{name}: unknown step {other:?}"),
        }
    }
}
