//! A server that leaves when nobody needs it: not while a ring is read, nor while a dead process's records wait.
//!
//! That one stays shows beside others that nobody needs: where two of them have left, one after the other, it would have, too.

mod scene;
mod world;

use std::time::{Duration, Instant};

use logserv_ring::Directory;
use scene::eventually;
use world::{Client, World, is_there, push};

/// Longer than a busy machine needs from a server's start to its first client.
const IDLE_EXIT: Duration = Duration::from_secs(2);

fn world() -> World {
    let mut world = World::new();
    world.idle_exit = Some(IDLE_EXIT);
    world
}

/// Waits until two others that began after this call would have left.
fn others_leave() {
    for _ in 0..2 {
        let mut other = world();
        other.start();
        eventually("one that nobody needs leaves", || other.has_left());
    }
}

#[test]
fn a_ring_that_is_read_keeps_the_server_also_without_a_connection() {
    let mut world = world();
    let mut producer = world.ring("app.log");
    world.start();
    drop(Client::attached(&world, &mut producer, "app.log"));
    others_leave();
    assert!(!world.has_left());
    push(&mut producer, "last words", 1e9, 0);
    let name = producer.name().clone();
    let since = Instant::now();
    drop(producer); // as its death does
    eventually("the ring is removed", || !is_there(&name));
    eventually("it leaves", || world.has_left());
    // It looks now and then only, and may have seen the ring last a moment before.
    assert!(since.elapsed() >= IDLE_EXIT / 2, "{:?}", since.elapsed());
    assert!(!world.socket().exists());
    assert_eq!(world.lines("app.log"), ["last words"]);
}

#[test]
fn records_of_the_dead_that_cannot_be_written_keep_the_server() {
    let mut world = world();
    let mut producer = world.ring("missing/app.log");
    push(&mut producer, "kept", 1e9, 0);
    let name = producer.name().clone();
    drop(producer);
    world.start();
    others_leave();
    assert!(!world.has_left() && is_there(&name));
    world.stop();
    let own = rustix::process::geteuid().as_raw();
    Directory::open(own).unwrap().unwrap().remove(&name).unwrap();
}
