//! Protocol 1.0 and `SocketHandler`, against files.

use serde_json::Value;

use super::{Connection, World, framed, pause, pickle, random};
use crate::config::Config;
use crate::context::Peer;
use crate::counters::DropReason;

const VECTORS: &str = include_str!("../../../../logserv-wire/tests/vectors/handshake_1_0_server.json");

fn vectors() -> Vec<Value> {
    let file: Value = serde_json::from_str(VECTORS).unwrap();
    file["vectors"].as_array().unwrap().clone()
}

fn latin1(text: &str) -> Vec<u8> {
    text.chars()
        .map(|character| u8::try_from(u32::from(character)).unwrap())
        .collect()
}

fn stream_of(vector: &Value) -> Vec<u8> {
    let mut stream = Vec::new();
    for part in vector["send"].as_array().unwrap() {
        match part.as_str() {
            Some(text) => stream.extend(latin1(text)),
            None => {
                let times = usize::try_from(part["times"].as_u64().unwrap()).unwrap();
                stream.extend(latin1(part["repeat"].as_str().unwrap()).repeat(times));
            }
        }
    }
    stream
}

fn hello(file: &str) -> Vec<u8> {
    format!("HELLO 1.0\nIDENTIFY {{\"--level\": 0, \"filename\": \"{file}\"}}\nLOG\n").into_bytes()
}

const OKS: &[u8] = b"HELLO 1.0\nOK\nOK\n";

async fn opened(world: &World, file: &str) -> Connection {
    let mut connection = world.connect();
    connection.send(&hello(file)).await;
    connection.expect(OKS).await;
    connection
}

#[tokio::test]
async fn a_personal_server_tells_strangers_that_it_is_not_for_them() {
    let world = World::with(Config {
        personal: true,
        ..Config::default()
    });
    let own = rustix::process::geteuid().as_raw();
    for (peer, who) in [
        (
            Peer::Unix {
                uid: own + 1,
                pid: Some(7),
            },
            format!("pid 7 (uid {})", own + 1),
        ),
        (
            Peer::Tcp {
                address: "127.0.0.1:1".parse().unwrap(),
            },
            "127.0.0.1:1".to_owned(),
        ),
    ] {
        let mut connection = world.connect_as(peer, 64 << 10);
        let said = String::from_utf8(connection.rest().await).unwrap();
        let expected = format!("a connection from uid {own}, whose personal server this is");
        assert_eq!(
            said,
            format!("ERROR EXPECTED {expected}, received one from {who}\n")
        );
        connection.leave().await;
    }
    let path = world.path("a.log");
    opened(&world, path.to_str().unwrap()).await;
    assert!(path.exists(), "its own user is welcome, wherever the file is");
}

#[tokio::test]
async fn every_vector_is_answered_and_written_as_it_says() {
    for vector in vectors() {
        let world = World::new();
        let mut connection = world.connect();
        let stream = stream_of(&vector);
        let reply = vector["reply"].as_str().unwrap();
        let name = &vector["name"];
        let said = if vector["closed"].as_bool().unwrap() {
            connection.send(&stream).await;
            let said = connection.rest().await;
            connection.leave().await;
            said
        } else {
            connection.send(&stream).await;
            connection.leave().await
        };
        assert_eq!(String::from_utf8_lossy(&said), reply, "{name}");
        if let Some(expected) = vector["lines"].as_array() {
            let lines = world.lines("vector.log", expected.len()).await;
            let records: Vec<_> = lines.iter().filter(|line| !line.contains("dropped")).collect();
            assert_eq!(
                records,
                expected
                    .iter()
                    .map(|line| line.as_str().unwrap())
                    .collect::<Vec<_>>(),
                "{name}"
            );
        }
        let errors = world.context.counters.protocol_errors.get();
        assert_eq!(errors, u64::from(vector.get("error").is_some()), "{name}");
    }
}

fn everything(file: &str) -> (Vec<u8>, &'static [&'static str]) {
    let mut stream = hello(file);
    stream.extend(framed(&pickle("one")));
    stream.extend(b"\0\0\0\0FORMAT {\"fmt\": \"%(levelno)s %(message)s\"}\n");
    stream.extend(framed(&pickle("two")));
    stream.extend(b"\0\0\0\0FORMAT {\"fmt\": \"<%(message)s>\"}\n");
    stream.extend(framed(b"nonsense"));
    stream.extend(framed(&pickle("three")));
    stream.extend(b"\0\0\0\0QUIT\n");
    (stream, &["one", "20 two", "<three>"])
}

async fn check_chunks<'a>(
    world: &World,
    file: &str,
    chunks: impl Iterator<Item = &'a [u8]>,
    expected: &[&str],
) {
    let mut connection = world.connect();
    for chunk in chunks {
        connection.send(chunk).await;
        tokio::task::yield_now().await;
    }
    connection.expect(b"HELLO 1.0\nOK\nOK\nOK\nOK\n").await;
    assert_eq!(connection.leave().await, b"");
    let lines = world.lines(file, expected.len()).await;
    assert_eq!(lines, expected, "{file}");
}

#[tokio::test]
async fn a_stream_cut_at_any_place_gives_the_same_lines() {
    let world = World::new();
    let len = everything("0000.log").0.len();
    for at in 0..=len {
        let file = format!("{at:04}.log");
        let (stream, expected) = everything(&file);
        let (head, tail) = stream.split_at(at);
        check_chunks(&world, &file, [head, tail].into_iter(), expected).await;
        let _ = std::fs::remove_file(world.path(&file));
    }
}

#[tokio::test]
async fn a_stream_cut_into_random_pieces_gives_the_same_lines() {
    let world = World::new();
    for seed in 1..40 {
        let mut random = random(seed);
        let file = format!("{seed:04}.log");
        let (stream, expected) = everything(&file);
        let mut rest = stream.as_slice();
        let mut chunks = Vec::new();
        while !rest.is_empty() {
            let (head, tail) = rest.split_at(rest.len().min(1 + random(9)));
            chunks.push(head);
            rest = tail;
        }
        check_chunks(&world, &file, chunks.into_iter(), expected).await;
    }
}

#[tokio::test]
async fn a_peer_that_leaves_within_the_handshake_leaves_nothing_behind() {
    let world = World::new();
    let whole = hello("half.log");
    let identified = whole.len() - "LOG\n".len();
    for len in 0..identified {
        let mut connection = world.connect();
        connection.send(&whole[..len]).await;
        connection.leave().await;
    }
    assert!(!world.path("half.log").exists());
    assert_eq!(world.context.counters.protocol_errors.get(), 0);
}

#[tokio::test]
async fn everything_that_was_sent_whole_is_written_when_the_peer_leaves_within_a_record() {
    let world = World::new();
    let mut connection = opened(&world, "a.log").await;
    let mut stream = framed(&pickle("whole")).repeat(1000);
    stream.extend(framed(&pickle("half")));
    stream.pop();
    connection.send(&stream).await;
    connection.leave().await;
    assert_eq!(world.lines("a.log", 1000).await, vec!["whole"; 1000]);
}

#[tokio::test]
async fn what_the_files_refuse_is_told_in_one_line_and_closed() {
    let world = World::new();
    let mut connection = world.connect();
    connection.send(&hello("../outside.log")).await;
    connection.expect(b"HELLO 1.0\nERROR EXPECTED ").await;
    let said = connection.rest().await;
    assert_eq!(said.iter().filter(|byte| **byte == b'\n').count(), 1);
    connection.leave().await;
    assert_eq!(world.context.counters.refusals.get(), 1);
    assert_eq!(world.context.counters.protocol_errors.get(), 0);
}

#[tokio::test]
async fn records_of_a_socket_handler_go_to_the_file_that_is_named_for_them() {
    let mut config = Config::default();
    config.ingest.socket_handler_file = Some("plain.log".into());
    config.ingest.socket_handler_format = Some("<%(message)s>".into());
    let world = World::with(config);
    let mut connection = world.connect();
    connection
        .send(&[framed(&pickle("one")), framed(&pickle("two"))].concat())
        .await;
    assert_eq!(
        world.lines("plain.log", 2).await,
        ["<one>", "<two>"],
        "without waiting for the peer to leave"
    );
    connection
        .send(b"\0\0\0\0FORMAT {\"fmt\": \"%(levelno)s\"}\n")
        .await;
    connection.expect(b"OK\n").await;
    connection.send(&framed(&pickle("three"))).await;
    assert_eq!(connection.leave().await, b"");
    assert_eq!(world.lines("plain.log", 3).await[2], "20");
}

#[tokio::test]
async fn without_a_file_for_them_records_of_a_socket_handler_are_counted_and_the_connection_is_kept() {
    let world = World::new();
    let mut connection = world.connect();
    for _ in 0..3 {
        connection.send(&framed(&pickle("lost"))).await;
        pause().await;
    }
    assert!(!connection.task.is_finished());
    assert_eq!(connection.leave().await, b"");
    assert_eq!(world.context.counters.dropped(DropReason::NoFile), 3);
    assert_eq!(world.context.counters.received.get(), 3);
}

#[tokio::test]
async fn records_that_cannot_be_read_are_counted_by_reason() {
    let world = World::new();
    let mut connection = opened(&world, "a.log").await;
    connection.send(&framed(b"junk")).await;
    let long = vec![b'x'; logserv_wire::limits::PICKLE_LEN_MAX + 1];
    connection.send(&framed(&long)).await;
    connection.send(&framed(&pickle("good"))).await;
    assert_eq!(connection.leave().await, b"");
    assert_eq!(world.lines("a.log", 1).await, ["good"]);
    let counters = &world.context.counters;
    assert_eq!(counters.dropped(DropReason::Malformed), 1);
    assert_eq!(counters.dropped(DropReason::TooLong), 1);
    assert_eq!(counters.received.get(), 3);
}

#[tokio::test]
async fn records_below_the_announced_level_are_filtered_and_counted() {
    let world = World::new();
    let mut connection = world.connect();
    connection
        .send(b"HELLO 1.0\nIDENTIFY {\"--level\": \"ERROR\", \"filename\": \"a.log\"}\nLOG\n")
        .await;
    connection.expect(OKS).await;
    connection.send(&framed(&pickle("info"))).await;
    connection.leave().await;
    let counters = &world.context.counters;
    while counters.filtered.get() == 0 {
        pause().await;
    }
    assert_eq!(
        (
            counters.received.get(),
            counters.filtered.get(),
            counters.written.get()
        ),
        (1, 1, 0)
    );
}

#[tokio::test]
async fn a_large_record_passes_and_small_ones_after_it() {
    let world = World::new();
    let mut connection = opened(&world, "a.log").await;
    let large = "x".repeat(900_000);
    connection.send(&framed(&pickle(&large))).await;
    connection.send(&framed(&pickle("small"))).await;
    connection.leave().await;
    let lines = world.lines("a.log", 2).await;
    assert_eq!(lines, [large.as_str(), "small"]);
}

#[tokio::test]
async fn a_record_over_its_limit_is_cut_and_counted() {
    let world = World::new();
    let mut connection = opened(&world, "a.log").await;
    connection.send(&framed(&pickle(&"x".repeat(2 << 20)))).await;
    connection.send(&framed(&pickle("small"))).await;
    connection.leave().await;
    let lines = world.lines("a.log", 2).await;
    assert!(
        lines[0].len() < 2 << 20 && lines[0].contains("…[cut: "),
        "{} bytes",
        lines[0].len()
    );
    assert_eq!(lines[1], "small");
    assert_eq!(world.context.counters.cut.get(), 1);
}
