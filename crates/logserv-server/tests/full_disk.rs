//! A file that cannot be written, in a process of its own: the limit of a file's size is the process's.

mod scene;

use std::fs;
use std::time::Duration;

use logserv_wire::frame::Level;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use scene::{Session, assert_accounted, eventually, files, request};
use serde_json::json;

const LIMIT: u64 = 64 << 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_its_own_file_only_and_nothing_is_lost_when_it_heals() {
    // Handled, it does not kill: as the program does.
    let _handled = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::from_raw(25)).unwrap();
    let root = tempfile::tempdir().unwrap();
    let (files, counters) = files(root.path(), |config| config.sink.queue_bytes = 64 << 10);
    let plain = |name: &str| request("logging.FileHandler", json!({ "filename": name }), 1.0);
    let mut stuck = Session::new(files.open(plain("stuck.log")).await.unwrap());
    let mut other = Session::new(files.open(plain("other.log")).await.unwrap());

    let limit = getrlimit(Resource::Fsize);
    setrlimit(
        Resource::Fsize,
        Rlimit {
            current: Some(LIMIT),
            ..limit
        },
    )
    .unwrap();
    let messages: Vec<String> = (0..4000).map(|number| format!("{number:060}")).collect();
    let sender = tokio::spawn(async move {
        for batch in messages.chunks(50) {
            stuck.send(batch).await;
        }
        stuck.written().await;
        stuck
    });
    let report = |name: &str| {
        let of = |report: &serde_json::Value| report["path"].as_str().unwrap().ends_with(name);
        files.report().into_iter().find(of).unwrap()
    };
    eventually("the fault strikes", || {
        report("stuck.log")["in_trouble_for_s"].is_number()
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!sender.is_finished(), "back-pressure");
    assert!(report("stuck.log")["queue_bytes"].as_u64().unwrap() <= 64 << 10);
    let before = counters.received.get();

    other.send(&["still written"]).await;
    other.written().await;
    assert_eq!(
        fs::read_to_string(root.path().join("other.log")).unwrap(),
        "still written\n"
    );
    assert_eq!(
        counters.received.get(),
        before + 1,
        "nothing more is taken in for the stuck file"
    );

    setrlimit(Resource::Fsize, limit).unwrap();
    let stuck = tokio::time::timeout(Duration::from_secs(10), sender)
        .await
        .unwrap()
        .unwrap();
    assert!(stuck.file.flush(Level::Written).await);
    assert!(stuck.file.trouble().is_none());
    let lines = fs::read_to_string(root.path().join("stuck.log")).unwrap();
    let numbers: Vec<u64> = lines.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(numbers, (0..4000).collect::<Vec<_>>());
    assert!(
        report("stuck.log")["last_error"]
            .as_str()
            .unwrap()
            .contains("File too large")
    );
    assert_eq!(counters.dropped_total(), 0);
    assert_accounted(&counters);
}
