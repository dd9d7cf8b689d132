//! Sends numbered records to a server as fast as it takes them, and says what became of them. For measuring by hand:
//!
//! `cargo run --release -p logserv-client --example flood -- SOCKET-OR-HOST:PORT FILE THREADS RECORDS [PAUSE_US]`
//!
//! Each line is `<thread> <number> <padding>`. Exits with 1 if anything was dropped or stayed unsent.

use std::process::ExitCode;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use logserv_client::{Address, Level, Session, SessionConfig, shutdown};
use logserv_wire::record::Record;
use serde_json::Map;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().unwrap_or_default();
    let (server, file) = (next(), next());
    let (threads, count): (u64, u64) = (next().parse().unwrap_or(1), next().parse().unwrap_or(100_000));
    let pause = Duration::from_micros(next().parse().unwrap_or(0));
    let address = match server.rsplit_once(':') {
        Some((host, port)) => Address::Tcp {
            host: host.to_owned(),
            port: port.parse().unwrap_or(0),
        },
        None => Address::Unix(server.into()),
    };
    let mut settings = Map::new();
    settings.insert("filename".into(), file.into());
    let mut config = SessionConfig::new(address, "logging.FileHandler", settings);
    config.program = "flood".to_owned();
    config.block_timeout = Duration::from_secs(20);
    let session = Arc::new(Session::new(config));
    let barrier = Arc::new(Barrier::new(usize::try_from(threads).unwrap_or(1) + 1));
    let workers: Vec<_> = (0..threads)
        .map(|thread| {
            let (session, barrier) = (Arc::clone(&session), Arc::clone(&barrier));
            std::thread::spawn(move || {
                barrier.wait();
                send(&session, thread, count, pause)
            })
        })
        .collect();
    barrier.wait();
    let start = Instant::now();
    let mut waits: Vec<Duration> = workers
        .into_iter()
        .filter_map(|it| it.join().ok())
        .flatten()
        .collect();
    let pushed = start.elapsed();
    let is_flushed = session.flush(Duration::from_secs(60), Level::Written);
    let all = start.elapsed();
    waits.sort_unstable();
    let at = |part: usize| {
        waits
            .get((waits.len() - 1) * part / 1000)
            .copied()
            .unwrap_or_default()
    };
    println!("{:?}", session.statistics());
    println!(
        "pushed in {pushed:?}, written in {all:?} ({is_flushed}); {:.0}/s",
        (threads * count) as f64 / all.as_secs_f64()
    );
    println!(
        "a push: median {:?}, 99 % {:?}, 99.9 % {:?}, longest {:?}",
        at(500),
        at(990),
        at(999),
        at(1000)
    );
    let unsent = shutdown(Duration::from_secs(1), Duration::from_secs(5));
    if unsent == 0 && session.statistics().dropped == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn send(session: &Session, thread: u64, count: u64, pause: Duration) -> Vec<Duration> {
    let mut waits = Vec::new();
    let mut bytes = Vec::new();
    for number in 0..count {
        let message = format!("{thread} {number} {:-<60}", "");
        bytes.clear();
        Record {
            level_no: 20,
            name: Some("flood"),
            level_name: Some("INFO"),
            message: Some(&message),
            ..Record::default()
        }
        .encode(&mut bytes);
        let start = Instant::now();
        // Drops are in the statistics.
        let _ = session.push_waiting(&bytes);
        waits.push(start.elapsed());
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
    }
    waits
}
