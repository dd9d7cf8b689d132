//! Two configurations of one file: the newest wins, and one warning names both. Alone, for it reads the server's log.

mod scene;

use scene::{OwnLog, Session, files, request};
use serde_json::json;

const ROTATING: &str = "logging.handlers.RotatingFileHandler";

#[tokio::test]
async fn the_newest_configuration_wins_and_one_warning_names_both() {
    let log = OwnLog::start();
    let root = tempfile::tempdir().unwrap();
    let (files, _) = files(root.path(), |config| config.sink.files_max = 1);
    let warnings = || {
        log.lines()
            .into_iter()
            .filter(|line| line.contains("newest configuration"))
            .collect::<Vec<_>>()
    };
    let backups = || {
        std::fs::read_dir(root.path())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().path().extension().unwrap() != "log")
            .count()
    };
    let large = || {
        request(
            ROTATING,
            json!({ "filename": "a.log", "maxBytes": 100_000, "backupCount": 9 }),
            1.0,
        )
    };
    let small = || {
        request(
            ROTATING,
            json!({ "filename": "a.log", "maxBytes": 20, "backupCount": 9 }),
            2.0,
        )
    };

    let mut old = Session::new(files.open(large()).await.unwrap());
    old.send(&["0123456789", "0123456789", "0123456789"]).await;
    old.written().await;
    assert_eq!((backups(), warnings().len()), (0, 0));

    let mut new = Session::new(files.open(small()).await.unwrap());
    new.send(&["0123456789", "0123456789", "0123456789"]).await;
    new.written().await;
    assert_eq!(backups(), 3);
    let told = warnings();
    assert_eq!(told.len(), 1, "{told:?}");
    for part in [
        "a.log",
        "maxBytes=20",
        "maxBytes=100000",
        "client of 1",
        "client of 2",
    ] {
        assert!(told[0].contains(part), "{part}: {told:?}");
    }

    // A reconnect is not new, nor told of again; also not when the file was closed in between.
    drop((old, new));
    // There is room for one file only.
    drop(
        files
            .open(request(ROTATING, json!({ "filename": "b.log" }), 3.0))
            .await
            .unwrap(),
    );
    let mut again = Session::new(files.open(large()).await.unwrap());
    again.send(&["0123456789"]).await;
    again.written().await;
    assert_eq!((backups(), warnings().len()), (4, 1));
    drop(again);

    // In the same test, for a program has one log: a limit that leaves no more than the newest rotated file is told of, once.
    let doubted = |max_bytes: u64, configured_at_s| {
        let arguments =
            json!({ "filename": "c.log", "maxBytes": max_bytes, "backupCount": 9, "retain_bytes": 1000 });
        request(ROTATING, arguments, configured_at_s)
    };
    let doubts = || {
        let lines = log.lines().into_iter();
        lines
            .filter(|line| line.contains("more than retain_bytes=1000"))
            .collect::<Vec<_>>()
    };
    drop(files.open(doubted(1000, 4.0)).await.unwrap());
    assert_eq!(doubts().len(), 0);
    for configured_at_s in [5.0, 5.0, 6.0] {
        drop(files.open(doubted(1001, configured_at_s)).await.unwrap());
        // It is closed in between.
        drop(
            files
                .open(request(ROTATING, json!({ "filename": "b.log" }), 3.0))
                .await
                .unwrap(),
        );
    }
    let told = doubts();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("maxBytes=1001") && told[0].contains("client of 5"),
        "{told:?}"
    );
}
