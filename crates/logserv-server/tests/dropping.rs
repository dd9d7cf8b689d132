//! Records of protocols without acknowledgements while a file cannot be written. In a process of its own: the limit of
//! a file's size is the process's.

mod scene;

use std::fs;
use std::time::{Duration, Instant};

use logserv_server::{DropReason, limits};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use scene::{Session, assert_accounted, eventually, files, request};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_wait_is_dropped_counted_and_told_of_in_the_file() {
    let _handled = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::from_raw(25)).unwrap();
    let root = tempfile::tempdir().unwrap();
    let (files, counters) = files(root.path(), |config| config.sink.queue_bytes = 64 << 10);
    let request = request("logging.FileHandler", json!({ "filename": "app.log" }), 1.0);
    let mut session = Session::new(files.open(request).await.unwrap());
    let limit = getrlimit(Resource::Fsize);
    setrlimit(
        Resource::Fsize,
        Rlimit {
            current: Some(32 << 10),
            ..limit
        },
    )
    .unwrap();

    let messages: Vec<String> = (0..4000).map(|number| format!("{number:060}")).collect();
    let started = Instant::now();
    for batch in messages.chunks(50) {
        let batch = session.batch(batch);
        session.file.submit_or_drop(batch).await;
    }
    let waited = started.elapsed();
    let dropped = counters.dropped(DropReason::Unwritable);
    assert!(dropped > 2000, "the fault strikes: {dropped} dropped");
    assert!(
        waited >= limits::UNWRITABLE_PATIENCE && waited < 2 * limits::UNWRITABLE_PATIENCE,
        "{waited:?}"
    );
    assert_eq!(
        counters.received.get(),
        4000,
        "dropped ones are received ones too"
    );

    setrlimit(Resource::Fsize, limit).unwrap();
    let text = || fs::read_to_string(root.path().join("app.log")).unwrap();
    let told = format!("dropped {dropped} records (file cannot be written) between ");
    eventually("the file is told", || text().contains(&told));
    eventually("everything taken is written", || {
        counters.written.get() == 4000 - dropped
    });
    // There is space again: nothing is dropped any more.
    let batch = session.batch(&["last"]);
    session.file.submit_or_drop(batch).await;
    session.written().await;
    let text = text();
    let numbers: Vec<&str> = text.lines().filter(|line| !line.starts_with("dropped")).collect();
    assert_eq!(numbers.len() as u64, 4000 - dropped + 1);
    let (last, taken) = numbers.split_last().unwrap();
    assert_eq!(
        (*last, taken),
        (
            "last",
            &messages.iter().map(String::as_str).collect::<Vec<_>>()[..taken.len()]
        )
    );
    files.drain(Duration::from_secs(5)).await;
    assert_accounted(&counters);
}
