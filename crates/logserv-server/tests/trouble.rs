//! Files that stay unwritable: who is kept waiting, and what is said of their records at the end.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall fail")]

mod scene;

use std::fs;
use std::path::Path;
use std::time::Duration;

use logserv_server::{DropReason, OpenRequest};
use scene::{Session, assert_accounted, eventually, files, request};
use serde_json::json;
use tokio::time::timeout;

fn plain(name: &str) -> OpenRequest {
    request("logging.FileHandler", json!({ "filename": name }), 1.0)
}

/// Puts a directory where the file was.
fn spoil(path: &Path) {
    fs::remove_file(path).unwrap();
    fs::create_dir(path).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_in_trouble_that_nobody_holds_is_joined_and_stops_no_other_opening() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("stuck.log");
    let (files, counters) = files(root.path(), |config| config.sink.files_max = 1);
    let mut session = Session::new(files.open(plain("stuck.log")).await.unwrap());
    spoil(&path);
    session.send(&["waits"]).await;
    eventually("the fault strikes", || session.file.trouble().is_some());
    drop(session.file);

    let soon = Duration::from_secs(3);
    let refusal = timeout(soon, files.open(plain("other.log")))
        .await
        .expect("nobody waits for the stuck one to close")
        .unwrap_err();
    assert!(
        refusal.retry && refusal.expected.contains("at most 1 open files"),
        "{refusal}"
    );
    let joined = timeout(soon, files.open(plain("stuck.log")))
        .await
        .unwrap()
        .unwrap();
    fs::remove_dir(&path).unwrap();
    assert_eq!(timeout(soon, session.progress.changed(0)).await.unwrap(), 1);
    drop(joined);
    eventually("its trouble is over", || {
        files.report()[0]["in_trouble_for_s"].is_null()
    });
    timeout(soon, files.open(plain("other.log")))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "waits\n");
    assert_accounted(&counters);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_in_the_last_moment_is_told_to_the_record() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("late.log");
    let (files, counters) = files(root.path(), |_| {});
    let mut session = Session::new(files.open(plain("late.log")).await.unwrap());
    spoil(&path);
    // One batch, more than the file takes before it must write: the fault strikes in its middle.
    let messages: Vec<String> = (0..400).map(|number| format!("{number:01000}")).collect();
    session.send(&messages).await;
    eventually("the fault strikes", || session.file.trouble().is_some());
    // By now the file is tried again only every second: it heals in between, and the drain ends before the next try.
    tokio::time::sleep(Duration::from_millis(1750)).await;
    fs::remove_dir(&path).unwrap();
    files.drain(Duration::from_millis(100)).await;

    let lines = fs::read_to_string(&path).unwrap().lines().count() as u64;
    assert!(0 < lines && lines < 400, "{lines}");
    assert_eq!(
        session.progress.written(),
        lines,
        "the others are sent again, and only they"
    );
    assert_eq!(counters.written.get(), lines);
    assert_eq!(counters.dropped(DropReason::Shutdown), 400 - lines);
    assert_accounted(&counters);
}
