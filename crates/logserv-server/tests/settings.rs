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
}
