//! When lines are durable: each file's policy, and what acknowledgements and flushes say of it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall fail")]

mod scene;

use logserv_wire::frame::Level;
use scene::{Session, eventually, files, request};
use serde_json::{Value, json};

const PLAIN: &str = "logging.FileHandler";

async fn open(files: &logserv_server::Files, policy: &Value) -> Session {
    let mut arguments = json!({ "filename": format!("{}.log", policy["sync"].as_str().unwrap_or("none")) });
    for (name, value) in policy.as_object().unwrap() {
        arguments[name] = value.clone();
    }
    Session::new(files.open(request(PLAIN, arguments, 1.0)).await.unwrap())
}

#[tokio::test]
async fn where_every_batch_is_synced_an_acknowledgement_says_so() {
    let root = tempfile::tempdir().unwrap();
    let (files, _) = files(root.path(), |_| {});
    let mut session = open(&files, &json!({"sync": "always"})).await;
    for round in 1..=20 {
        session.send(&["a", "b"]).await;
        session.written().await;
        assert_eq!(session.progress.synced(), 2 * round);
    }
}

#[tokio::test]
async fn an_interval_acknowledges_at_once_and_syncs_within_it() {
    let root = tempfile::tempdir().unwrap();
    let (files, _) = files(root.path(), |_| {});
    let mut session = open(&files, &json!({"sync": "interval", "sync_interval_s": 0.3})).await;
    session.send(&["a"]).await;
    session.written().await;
    assert_eq!(session.progress.synced(), 0);
    let progress = std::sync::Arc::clone(&session.progress);
    tokio::task::spawn_blocking(move || eventually("it is synced", || progress.synced() == 1))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_level_syncs_with_its_record_and_what_came_before() {
    let root = tempfile::tempdir().unwrap();
    let (files, _) = files(root.path(), |_| {});
    // The records of these sessions have level 20.
    let mut above = open(&files, &json!({"sync": "level", "sync_level": 30})).await;
    above.send(&["a"]).await;
    above.written().await;
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert_eq!(above.progress.synced(), 0);
    let mut session = Session::new(
        files
            .open(request(
                PLAIN,
                json!({"filename": "level.log", "sync": "level", "sync_level": 20}),
                2.0,
            ))
            .await
            .unwrap(),
    );
    session.send(&["b"]).await;
    session.written().await;
    let (one, other) = (
        std::sync::Arc::clone(&session.progress),
        std::sync::Arc::clone(&above.progress),
    );
    tokio::task::spawn_blocking(move || {
        eventually("both are synced", || one.synced() == 1 && other.synced() == 1);
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn without_a_policy_a_flush_syncs_all_the_same() {
    let root = tempfile::tempdir().unwrap();
    let (files, _) = files(root.path(), |_| {});
    let mut session = open(&files, &json!({})).await;
    session.send(&["a"]).await;
    session.written().await;
    assert!(session.file.flush(Level::Synced).await);
    assert!(
        session.file.flush(Level::Synced).await,
        "also when nothing is left to sync"
    );
}
