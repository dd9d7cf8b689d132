//! How long peers may take. The clock is the test's.

use std::time::Duration;

use logserv_wire::frame::Frame;
use tokio::time::{Instant, sleep};

use super::{Connection, World, framed, pickle, records};
use crate::limits::{HALF_SENT_GRACE, HANDSHAKE_PATIENCE};

/// Seconds until the server closes a connection to which one byte is sent every `pause`.
async fn closed_after(mut connection: Connection, bytes: &[u8], pause: Duration) -> Duration {
    let started = Instant::now();
    for byte in bytes {
        connection.send(&[*byte]).await;
        sleep(pause).await;
        if connection.task.is_finished() {
            break;
        }
    }
    let said = String::from_utf8_lossy(&connection.rest().await).into_owned();
    assert!(said.contains("nothing for too long"), "{said:?}");
    started.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_handshake_is_complete_within_its_time_however_it_is_dripped() {
    let world = World::new();
    for (bytes, pause) in [
        (b"".as_slice(), 0),
        (b"HELLO 1.0\nIDENTIFY {\"--level\": 0}", 1),
        (b"HELLO 2.0\n", 0),
        (b"HELLO 2.0\n\x10\0\0\0\x01{{{{{{{{{{{{{", 1),
    ] {
        let took = closed_after(world.connect(), bytes, Duration::from_secs(pause)).await;
        assert!(
            took >= HANDSHAKE_PATIENCE && took < HANDSHAKE_PATIENCE * 2,
            "{took:?}"
        );
    }
    assert_eq!(world.context.counters.protocol_errors.get(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_half_sent_record_has_to_make_progress() {
    let world = World::new();
    let large = framed(&pickle(&"x".repeat(100_000)));
    let took = closed_after(world.connect(), &large, Duration::from_secs(1)).await;
    assert!(took >= HALF_SENT_GRACE && took < HALF_SENT_GRACE * 2, "{took:?}");
    assert_eq!(world.context.counters.protocol_errors.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_slow_line_is_no_slow_loris() {
    let world = World::new();
    let mut connection = world.connect();
    // 2 KiB a second: a minute and a half for one record.
    for chunk in framed(&pickle(&"x".repeat(200_000))).chunks(2048) {
        connection.send(chunk).await;
        sleep(Duration::from_secs(1)).await;
        assert!(!connection.task.is_finished());
    }
    connection.leave().await;
    assert_eq!(world.context.counters.received.get(), 1);
}

#[tokio::test]
async fn an_open_connection_may_be_idle_for_ever() {
    let world = World::new();
    let mut text = world.connect();
    text.send(b"HELLO 1.0\nIDENTIFY {\"--level\": 0, \"filename\": \"a.log\"}\nLOG\n")
        .await;
    text.expect(b"HELLO 1.0\nOK\nOK\n").await;
    let mut frames = world.connect();
    frames.open(1, "a.log").await;
    let mut plain = world.connect();
    plain.send(&framed(&pickle("plain"))).await;
    super::pause().await;
    tokio::time::pause();
    sleep(Duration::from_secs(100_000)).await;
    tokio::time::resume();
    text.send(&framed(&pickle("text"))).await;
    assert_eq!(world.lines("a.log", 1).await, ["text"]);
    frames
        .send_frame(&Frame::Batch {
            first_seq: 1,
            count: 1,
            records: &records(&["frames"], 0),
        })
        .await;
    frames.acked(1).await;
    assert!(!plain.task.is_finished());
}
