//! A server that leaves when nobody needs it: not while a ring is read, nor while a dead process's records wait.

mod scene;
mod world;

use std::time::{Duration, Instant};

use logserv_ring::Directory;
use scene::eventually;
use world::{Client, World, is_there, push};

const IDLE_EXIT: Duration = Duration::from_millis(300);

fn world() -> World {
    let mut world = World::new();
    world.idle_exit = Some(IDLE_EXIT);
    world
}

#[test]
fn a_ring_that_is_read_keeps_the_server_also_without_a_connection() {
    let mut world = world();
    world.start();
    let mut producer = world.ring("app.log");
    drop(Client::attached(&world, &mut producer, "app.log"));
    std::thread::sleep(4 * IDLE_EXIT);
    assert!(!world.has_left());
    push(&mut producer, "last words", 1e9, 0);
    let name = producer.name().clone();
    drop(producer); // as its death does
    eventually("the ring is removed", || !is_there(&name));
    let since = Instant::now();
    eventually("it leaves", || world.has_left());
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
    std::thread::sleep(4 * IDLE_EXIT);
    assert!(!world.has_left() && is_there(&name));
    world.stop();
    let own = rustix::process::geteuid().as_raw();
    Directory::open(own).unwrap().unwrap().remove(&name).unwrap();
}
