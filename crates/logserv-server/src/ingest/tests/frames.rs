//! Protocol 2.0, against files.

use logserv_wire::frame::{Frame, Level};
use logserv_wire::limits::FRAME_LEN_MAX;

use super::{Answer, Connection, World, batch, encoded, open_frame, pause, random, records};
use crate::context::Peer;
use crate::limits::JSON_FRAME_LEN_MAX;

async fn error_of(connection: &mut Connection) -> (String, String, bool) {
    match connection.answer().await {
        Answer::Error(json) => (
            json["expected"].as_str().unwrap().to_owned(),
            json["received"].as_str().unwrap().to_owned(),
            json["retry"].as_bool().unwrap(),
        ),
        other => panic!("{other:?} in place of an Error"),
    }
}

#[tokio::test]
async fn records_are_written_rendered_acknowledged_flushed_and_rotated() {
    let world = World::new();
    let mut connection = world.connect();
    assert_eq!(connection.open(1, "a.log").await, 0);
    connection.batch(1, &["one", "two"]).await;
    connection.acked(2).await;
    connection
        .send_frame(&Frame::Formatter {
            id: 9,
            json: r#"{"fmt": "<%(message)s>", "of_the_future": 1}"#,
        })
        .await;
    connection
        .send_frame(&Frame::Batch {
            first_seq: 3,
            count: 1,
            records: &records(&["three"], 9),
        })
        .await;
    connection
        .send_frame(&Frame::Flush {
            token: 77,
            level: Level::Synced,
        })
        .await;
    assert_eq!(
        connection.frame().await,
        Answer::Ack(3),
        "before the answer to the flush"
    );
    assert_eq!(connection.frame().await, Answer::Done(77, true));
    assert_eq!(world.lines("a.log", 3).await, ["one", "two", "<three>"]);
    connection.send_frame(&Frame::Close).await;
    assert_eq!(connection.rest().await, b"");
    connection.leave().await;
    assert!(
        world.context.sessions.report().is_empty(),
        "a closed session is forgotten"
    );
}

#[tokio::test]
async fn a_stream_cut_at_any_place_gives_the_same_lines_and_acknowledgements() {
    let world = World::new();
    let stream = |file: &str, session: u32| {
        let mut stream = b"HELLO 2.0\n".to_vec();
        stream.extend(open_frame(session, file));
        stream.extend(encoded(&Frame::Formatter {
            id: 1,
            json: r#"{"fmt": "%(levelno)s %(message)s"}"#,
        }));
        stream.extend(encoded(&Frame::Batch {
            first_seq: 1,
            count: 2,
            records: &records(&["a", "b"], 1),
        }));
        stream.extend([3, 0, 0, 0, 200, 1, 2]); // a frame of the future, to be skipped
        stream.extend(batch(3, &["c"]));
        stream.extend(encoded(&Frame::Flush {
            token: 5,
            level: Level::Written,
        }));
        stream
    };
    let len = stream("0000.log", 0).len();
    let mut random = random(7);
    for at in 0..=len {
        let file = format!("{at:04}.log");
        let bytes = stream(&file, u32::try_from(at).unwrap());
        let mut connection = world.connect();
        let other = random(len);
        let (first, second) = (at.min(other), at.max(other));
        for part in [&bytes[..first], &bytes[first..second], &bytes[second..]] {
            connection.send(part).await;
            tokio::task::yield_now().await;
        }
        connection.expect(b"HELLO 2.0\n").await;
        assert!(matches!(connection.frame().await, Answer::Welcome(_)));
        assert_eq!(
            connection.answer().await,
            Answer::Done(5, true),
            "cut at {first} and {second}"
        );
        assert_eq!(connection.leave().await, b"");
        assert_eq!(
            world.lines(&file, 3).await,
            ["20 a", "20 b", "c"],
            "cut at {first} and {second}"
        );
    }
}

#[tokio::test]
async fn a_resend_after_a_reconnect_doubles_nothing() {
    let world = World::new();
    let mut first = world.connect();
    first.open(1, "a.log").await;
    first.batch(1, &["1", "2", "3"]).await;
    first.acked(3).await;
    drop(first);
    let mut second = world.connect();
    assert_eq!(second.open(1, "a.log").await, 3);
    second.batch(2, &["2", "3", "4", "5"]).await; // partly known
    second.acked(5).await;
    second.batch(4, &["4", "5"]).await; // known altogether: acknowledged once more
    assert_eq!(second.frame().await, Answer::Ack(5));
    second.batch(6, &["6"]).await;
    second.acked(6).await;
    assert_eq!(world.lines("a.log", 6).await, ["1", "2", "3", "4", "5", "6"]);
    assert_eq!(world.context.counters.duplicates.get(), 4);
    assert_eq!(world.context.counters.received.get(), 6);
}

#[tokio::test]
async fn the_last_records_are_acknowledged_also_when_the_peer_has_said_all() {
    let world = World::new();
    for round in 0..100_u32 {
        let mut connection = world.connect();
        connection.open(round, "a.log").await;
        connection.batch(1, &["x"; 50]).await;
        if round % 2 == 0 {
            connection.send_frame(&Frame::Close).await;
        }
        let said = connection.leave().await;
        let ack = encoded(&Frame::Ack {
            seq: 50,
            level: Level::Written,
        });
        assert_eq!(said, ack, "round {round}");
    }
    assert_eq!(
        world.context.sessions.report().len(),
        50,
        "those closed are forgotten"
    );
}

#[tokio::test]
async fn a_session_that_the_server_does_not_know_goes_on_where_its_client_stands() {
    let world = World::new();
    let mut connection = world.connect();
    assert_eq!(connection.open(1, "a.log").await, 0);
    connection.batch(1001, &["x"]).await;
    connection.acked(1001).await;
    connection.batch(1003, &["gap"]).await;
    assert_eq!(error_of(&mut connection).await.0, "a first_seq of at most 1002");
}

#[tokio::test]
async fn broken_sequences_and_batches_end_the_connection_with_a_reason_and_without_a_line() {
    let two = records(&["x", "y"], 0);
    let cases: [(u64, u32, &[u8], &str); 6] = [
        (3, 1, &records(&["gap"], 0), "a first_seq of at most 2"),
        (0, 1, &records(&["zero"], 0), "a first_seq of 1 or more"),
        (u64::MAX, 1, &records(&["wrap"], 0), "sequence numbers below 2^64"),
        (2, 1, &two, "a batch of 1 records"),
        (2, 3, &two, "a frame of protocol 2.0"),
        (2, 1, &two[..20], "a frame of protocol 2.0"),
    ];
    for (first_seq, count, records, expected) in cases {
        let world = World::new();
        let mut connection = world.connect();
        connection.open(1, "a.log").await;
        connection.batch(1, &["good"]).await;
        connection
            .send_frame(&Frame::Batch {
                first_seq,
                count,
                records,
            })
            .await;
        let (said, received, retry) = error_of(&mut connection).await;
        assert_eq!(said, expected);
        assert!(!received.is_empty() && !retry);
        assert_eq!(connection.rest().await, b"");
        connection.leave().await;
        assert_eq!(world.lines("a.log", 1).await, ["good"]);
        assert_eq!(world.context.counters.protocol_errors.get(), 1);
    }
}

#[tokio::test]
async fn bytes_that_are_no_frames_end_the_connection_with_a_reason() {
    let flipped = {
        let mut bytes = batch(1, &["x"]);
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        bytes
    };
    let too_long = u32::try_from(FRAME_LEN_MAX + 1).unwrap().to_le_bytes().to_vec();
    let long_json = [
        u32::try_from(JSON_FRAME_LEN_MAX + 1)
            .unwrap()
            .to_le_bytes()
            .as_slice(),
        &[2],
    ]
    .concat();
    let cases = [
        ("a checksum", flipped),
        ("a length of 0", vec![0; 4]),
        ("a length over the limit", too_long),
        ("a formatter that is too long", long_json),
        ("an unknown type", vec![1, 0, 0, 0, 99]),
        ("a server's frame", encoded(&Frame::Welcome { json: "{}" })),
        ("a second Open", open_frame(1, "a.log")),
        ("a command in a session", encoded(&Frame::Admin { json: "{}" })),
        (
            "a formatter of number 0",
            encoded(&Frame::Formatter { id: 0, json: "{}" }),
        ),
        (
            "a formatter that is none",
            encoded(&Frame::Formatter { id: 1, json: "[]" }),
        ),
        (
            "a flush to a level that does not exist",
            vec![10, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 9],
        ),
    ];
    for (name, bytes) in cases {
        let world = World::new();
        let mut connection = world.connect();
        connection.open(1, "a.log").await;
        connection.send(&bytes).await;
        let (_, _, retry) = error_of(&mut connection).await;
        assert!(!retry, "{name}");
        assert_eq!(connection.rest().await, b"", "{name}");
        assert_eq!(world.context.counters.protocol_errors.get(), 1, "{name}");
    }
}

#[tokio::test]
async fn bytes_that_are_no_frames_before_the_open_are_told_as_well() {
    for bytes in [vec![0; 4], vec![1, 0, 0, 0, 99], encoded(&Frame::Close)] {
        let world = World::new();
        let mut connection = world.connect();
        connection.send(b"HELLO 2.0\n").await;
        connection.send(&bytes).await;
        connection.expect(b"HELLO 2.0\n").await;
        assert!(!error_of(&mut connection).await.2);
        assert_eq!(connection.rest().await, b"");
    }
}

#[tokio::test]
async fn an_open_that_is_wrong_is_refused_and_creates_nothing() {
    let wrong = [
        r#"{"session": "00", "handler": "logging.FileHandler", "arguments": {"filename": "a.log"}, "configured_at_s": 0}"#,
        r#"{"session": "00000000000000000000000000000000", "handler": "os.system", "arguments": {"filename": "a.log"}, "configured_at_s": 0}"#,
        r#"{"session": "00000000000000000000000000000000", "handler": "logging.FileHandler", "arguments": {"filename": "../a.log"}, "configured_at_s": 0}"#,
        r#"{"session": "00000000000000000000000000000000", "handler": "logging.FileHandler", "arguments": {}, "configured_at_s": 0}"#,
        "{}",
        "null",
    ];
    for json in wrong {
        let world = World::new();
        let mut connection = world.connect();
        connection.send(b"HELLO 2.0\n").await;
        connection.expect(b"HELLO 2.0\n").await;
        connection.send_frame(&Frame::Open { json }).await;
        let (_, _, retry) = error_of(&mut connection).await;
        assert!(!retry, "{json}");
        assert_eq!(connection.rest().await, b"");
        assert_eq!(
            std::fs::read_dir(world.directory.path()).unwrap().count(),
            0,
            "{json}"
        );
        assert!(world.context.sessions.report().is_empty(), "{json}");
    }
}

#[tokio::test]
async fn a_session_does_not_change_its_file() {
    let world = World::new();
    let mut first = world.connect();
    first.open(1, "a.log").await;
    let mut second = world.connect();
    second.send(b"HELLO 2.0\n").await;
    second.expect(b"HELLO 2.0\n").await;
    second.send(&open_frame(1, "b.log")).await;
    let (expected, received, _) = error_of(&mut second).await;
    assert_eq!(
        (expected.as_str(), received.as_str()),
        ("the session's file, a.log", "b.log")
    );
    assert!(!world.path("b.log").exists());
    first.batch(1, &["still here"]).await;
    first.acked(1).await;
}

#[tokio::test]
async fn a_newer_connection_takes_the_session_over_and_nothing_is_doubled() {
    let world = World::new();
    for round in 0..50_u32 {
        let file = format!("{round}.log");
        let mut old = world.connect();
        old.open(round, &file).await;
        let messages: Vec<_> = (1..=200).map(|number| format!("{number}")).collect();
        let texts: Vec<_> = messages.iter().map(String::as_str).collect();
        for (at, chunk) in texts.chunks(10).enumerate() {
            old.batch(u64::try_from(at * 10 + 1).unwrap(), chunk).await;
        }
        // The old one is still sending, or has just been read: nobody knows how far.
        let mut new = world.connect();
        let written = new.open(round, &file).await;
        assert_eq!(
            old.leave().await.iter().filter(|byte| **byte == 68).count(),
            0,
            "no Error frame"
        );
        let from = usize::try_from(written).unwrap();
        if from < texts.len() {
            new.batch(written + 1, &texts[from..]).await;
        }
        new.acked_or_written(200, written).await;
        assert_eq!(world.lines(&file, 200).await, messages, "round {round}");
    }
}

impl Connection {
    async fn acked_or_written(&mut self, seq: u64, written: u64) {
        if written < seq {
            self.acked(seq).await;
        }
    }
}

#[tokio::test]
async fn a_client_that_never_reads_keeps_nobody_else_waiting() {
    let world = World::new();
    let mut deaf = world.connect_as(World::own_peer(), 256);
    deaf.open(1, "a.log").await;
    let sending = async {
        for seq in 1..=2000 {
            deaf.batch(seq, &["x"]).await;
        }
        world.lines("a.log", 2000).await.len()
    };
    assert_eq!(sending.await, 2000, "its own records are taken in all the same");
    let mut other = world.connect();
    other.open(2, "a.log").await;
    other.batch(1, &["y"]).await;
    other.acked(1).await;
    // Only the newest acknowledgement is kept for it.
    pause().await;
    deaf.acked(2000).await;
}

#[tokio::test]
async fn commands_are_for_the_servers_own_user_and_over_a_unix_socket() {
    let world = World::new();
    let ask = async |peer| {
        let mut connection = world.connect_as(peer, 64 << 10);
        connection.send(b"HELLO 2.0\n").await;
        connection.expect(b"HELLO 2.0\n").await;
        connection
            .send_frame(&Frame::Admin {
                json: r#"{"command": "status"}"#,
            })
            .await;
        connection.answer().await
    };
    assert!(matches!(ask(World::own_peer()).await, Answer::Report(report) if report["pid"].is_number()));
    let tcp = Peer::Tcp {
        address: "127.0.0.1:1".parse().unwrap(),
    };
    assert!(matches!(ask(tcp).await, Answer::Error(_)));
    assert!(matches!(
        ask(Peer::Unix {
            uid: 12_345,
            pid: None
        })
        .await,
        Answer::Error(_)
    ));
}

#[tokio::test]
async fn too_many_formatters_on_a_connection_are_refused_but_may_be_tried_again() {
    let world = World::new();
    let mut connection = world.connect();
    connection.open(1, "a.log").await;
    for id in 1..=u32::try_from(crate::limits::FORMATTERS_MAX).unwrap() + 1 {
        connection.send_frame(&Frame::Formatter { id, json: "{}" }).await;
    }
    assert!(error_of(&mut connection).await.2);
}

#[tokio::test]
async fn a_stream_that_ends_anywhere_leaves_exactly_its_whole_batches() {
    let world = World::new();
    let parts = |file: &str, session: u32| {
        [
            b"HELLO 2.0\n".to_vec(),
            open_frame(session, file),
            batch(1, &["a", "b"]),
            batch(3, &["c"]),
        ]
    };
    let lens = parts("0000.log", 0).map(|part| part.len());
    let (first, second) = (lens[0] + lens[1] + lens[2], lens.iter().sum::<usize>());
    for len in 0..=second {
        let file = format!("{len:04}.log");
        let mut connection = world.connect();
        connection
            .send(&parts(&file, u32::try_from(len).unwrap()).concat()[..len])
            .await;
        connection.leave().await;
        let expected: &[&str] = match len {
            _ if len >= second => &["a", "b", "c"],
            _ if len >= first => &["a", "b"],
            _ => &[],
        };
        assert_eq!(
            world.lines(&file, expected.len()).await,
            expected,
            "ended after {len} bytes"
        );
    }
    assert_eq!(world.context.counters.protocol_errors.get(), 0);
}
