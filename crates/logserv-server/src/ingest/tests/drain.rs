//! What connections do when the server leaves.

use super::{World, framed, pause, pickle};

#[tokio::test]
async fn a_drain_takes_in_what_peers_without_acknowledgements_have_sent() {
    let world = World::new();
    let mut connection = world.connect_as(World::own_peer(), 1 << 20);
    connection
        .send(b"HELLO 1.0\nIDENTIFY {\"--level\": 0, \"filename\": \"a.log\"}\nLOG\n")
        .await;
    connection.expect(b"HELLO 1.0\nOK\nOK\n").await;
    // Sent, and not read yet when the drain begins: this task has not let the other run.
    connection.send(&framed(&pickle("on its way")).repeat(5000)).await;
    world.drain();
    assert_eq!(connection.rest().await, b"", "closed by the server");
    assert_eq!(world.lines("a.log", 5000).await.len(), 5000);
}

#[tokio::test]
async fn a_drain_takes_in_what_is_still_on_the_line() {
    let world = World::new();
    let mut connection = world.connect();
    connection
        .send(b"HELLO 1.0\nIDENTIFY {\"--level\": 0, \"filename\": \"a.log\"}\nLOG\n")
        .await;
    connection.expect(b"HELLO 1.0\nOK\nOK\n").await;
    let record = framed(&pickle("in pieces"));
    let (head, tail) = record.split_at(7);
    connection.send(head).await;
    pause().await;
    world.drain();
    pause().await;
    connection.send(tail).await;
    assert_eq!(connection.rest().await, b"");
    assert_eq!(world.lines("a.log", 1).await, ["in pieces"]);
}

#[tokio::test]
async fn a_drain_does_not_wait_for_a_peer_that_never_pauses() {
    let world = World::new();
    let mut connection = world.connect();
    connection
        .send(b"HELLO 1.0\nIDENTIFY {\"--level\": 0, \"filename\": \"a.log\"}\nLOG\n")
        .await;
    connection.expect(b"HELLO 1.0\nOK\nOK\n").await;
    world.drain();
    let started = std::time::Instant::now();
    while !connection.task.is_finished() {
        connection.send(&framed(&pickle("more"))).await;
        pause().await;
    }
    assert!(started.elapsed() < crate::limits::DRAIN_READ_MAX * 3);
}

#[tokio::test]
async fn a_drain_acknowledges_what_was_received_and_closes() {
    let world = World::new();
    let mut connection = world.connect();
    connection.open(1, "a.log").await;
    connection.batch(1, &["one", "two"]).await;
    connection.acked(2).await;
    connection.batch(3, &["three"]).await;
    pause().await;
    world.drain();
    connection.acked(3).await;
    assert_eq!(connection.rest().await, b"");
    connection.leave().await;
    assert_eq!(world.lines("a.log", 3).await, ["one", "two", "three"]);
}

#[tokio::test]
async fn a_drain_ends_connections_that_have_said_nothing() {
    let world = World::new();
    let mut silent = world.connect();
    let mut greeted = world.connect();
    greeted.send(b"HELLO 2.0\n").await;
    greeted.expect(b"HELLO 2.0\n").await;
    world.drain();
    assert_eq!(silent.rest().await, b"");
    assert_eq!(greeted.rest().await, b"");
}
