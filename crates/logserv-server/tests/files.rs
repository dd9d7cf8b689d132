//! The registry of files and their writers, without sockets: who shares a file, whose settings it has, what is counted.

mod scene;

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use logserv_format::{Formatter, Specification};
use logserv_server::{DropReason, Formatters};
use logserv_wire::frame::Level;
use logserv_wire::record::Record;
use scene::{Session, assert_accounted, files, request};
use serde_json::{Value, json};

const ROTATING: &str = "logging.handlers.RotatingFileHandler";
const PLAIN: &str = "logging.FileHandler";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_sessions_share_one_file_and_rotation_loses_doubles_and_splits_nothing() {
    let root = tempfile::tempdir().unwrap();
    let (files, counters) = files(root.path(), |_| {});
    let absolute = root.path().canonicalize().unwrap().join("app.log");
    // Two spellings of one place.
    let names = [json!("app.log"), json!(absolute)];
    let mut tasks = Vec::new();
    for (client, name) in names.into_iter().enumerate() {
        let arguments = json!({ "filename": name, "maxBytes": 2000, "backupCount": 100 });
        let mut session = Session::new(files.open(request(ROTATING, arguments, 1.0)).await.unwrap());
        tasks.push(tokio::spawn(async move {
            for batch in 0..100 {
                let messages: Vec<String> = (0..10)
                    .map(|number| format!("{client} {} {}", batch * 10 + number, "x".repeat(number)))
                    .collect();
                session.send(&messages).await;
            }
            session.written().await;
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(files.report().len(), 1, "one writer for one file");

    let mut chain: Vec<_> = fs::read_dir(root.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    chain.sort_by_key(|path| {
        std::cmp::Reverse(path.extension().unwrap().to_str().unwrap().parse().unwrap_or(0))
    });
    assert!(chain.len() > 5, "{chain:?}");
    let mut next: HashMap<String, u32> = HashMap::new();
    for path in &chain {
        let text = fs::read_to_string(path).unwrap();
        assert!(
            text.len() < 2000 && text.ends_with('\n'),
            "{} bytes in {}",
            text.len(),
            path.display()
        );
        for line in text.lines() {
            let mut parts = line.split(' ');
            let expected = next.entry(parts.next().unwrap().into()).or_default();
            assert_eq!(parts.next().unwrap(), expected.to_string(), "{line}");
            *expected += 1;
        }
    }
    assert_eq!(next.into_values().collect::<Vec<_>>(), [1000, 1000]);
    assert_eq!((counters.received.get(), counters.written.get()), (2000, 2000));
}

#[tokio::test]
async fn a_mode_of_w_truncates_only_when_nobody_else_holds_the_file_and_never_again() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("app.log");
    fs::write(&path, "old\n").unwrap();
    let (files, _) = files(root.path(), |_| {});
    let ask = |configured_at_s: f64, first: bool| {
        let arguments = json!({ "filename": "app.log", "mode": "w" });
        let mut request = request(PLAIN, arguments, configured_at_s);
        request.first = first;
        let files = files.clone();
        async move { Session::new(files.open(request).await.unwrap()) }
    };
    let mut reconnected = ask(1.0, false).await;
    reconnected.send(&["a"]).await;
    reconnected.written().await;
    assert_eq!(fs::read_to_string(&path).unwrap(), "old\na\n");

    let mut second = ask(2.0, true).await;
    second.send(&["b"]).await;
    second.written().await;
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "old\na\nb\n",
        "another session holds it"
    );
    drop((reconnected, second));

    let again = ask(2.0, true).await;
    assert!(again.file.flush(Level::Written).await);
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "old\na\nb\n",
        "this configuration has been here before"
    );
    drop(again);

    let mut alone = ask(3.0, true).await;
    alone.send(&["c"]).await;
    alone.written().await;
    assert_eq!(fs::read_to_string(&path).unwrap(), "c\n");
}

#[tokio::test]
async fn a_refusal_names_what_was_expected_and_creates_nothing() {
    let root = tempfile::tempdir().unwrap();
    let (files, counters) = files(root.path(), |_| {});
    for (class, arguments, part) in [
        (PLAIN, json!({ "filename": "../escape.log" }), "--root"),
        (PLAIN, json!({ "filename": "/escape.log" }), "--root"),
        (PLAIN, json!({ "filename": ".hidden" }), "dot"),
        (PLAIN, json!({ "filename": "missing/app.log" }), "missing"),
        (PLAIN, json!({}), "filename"),
        (
            ROTATING,
            json!({ "filename": "app.log", "maxbytes": 1 }),
            "maxBytes",
        ),
        (
            "os.system",
            json!({ "filename": "app.log" }),
            "RotatingFileHandler",
        ),
    ] {
        let refusal = files
            .open(request(class, arguments.clone(), 1.0))
            .await
            .unwrap_err();
        let text = refusal.to_string();
        assert!(
            text.contains(part) || part == "--root" && text.contains("root"),
            "{arguments}: {text}"
        );
    }
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    assert_eq!(counters.refusals.get(), 7);
    assert!(files.report().is_empty());
}

#[tokio::test]
async fn records_are_filtered_rendered_and_counted_one_by_one() {
    let root = tempfile::tempdir().unwrap();
    let (files, counters) = files(root.path(), |_| {});
    let mut session = Session::new(
        files
            .open(request(PLAIN, json!({ "filename": "app.log" }), 1.0))
            .await
            .unwrap(),
    );

    let mut batch = session.batch::<&str>(&[]);
    let specification = Specification {
        fmt: Some("%(name)s/%(extra)s %(message)s".into()),
        ..Specification::default()
    };
    let formatter = Arc::new(Formatter::compile(&specification).unwrap());
    batch.formatters = Arc::new(Formatters::default().with(7, formatter));
    batch.level_min = 20;
    let record = |message, level_no, formatter| Record {
        message: Some(message),
        name: Some("n"),
        level_no,
        formatter,
        created: 1e9,
        ..Record::default()
    };
    record("too low", 10, 0).encode(&mut batch.records);
    record("plain", 20, 0).encode(&mut batch.records);
    record("lacks extra", 20, 7).encode(&mut batch.records);
    record("no such formatter", 20, 8).encode(&mut batch.records);
    let unreadable_at = batch.records.len();
    record("unreadable", 20, 0).encode(&mut batch.records);
    batch.records[unreadable_at + 5] = 99;
    record("after it", 20, 0).encode(&mut batch.records);
    batch.records.extend_from_slice(&[1, 2, 3]);
    (batch.count, batch.first_seq) = (7, 1);
    let progress = Arc::clone(&batch.progress);
    session.file.submit(batch).await;
    assert_eq!(progress.changed(6).await, 7);

    session.file.discard(DropReason::TooLong, 4);
    assert!(session.file.flush(Level::Synced).await);
    let told = || fs::read_to_string(root.path().join("app.log")).unwrap();
    scene::eventually("both drops are told", || told().lines().count() == 6);
    let text = told();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..4],
        ["plain", "lacks extra", "no such formatter", "after it"]
    );
    assert!(
        lines[4].starts_with("dropped 2 records (malformed) between 2"),
        "{text}"
    );
    assert!(
        lines[5].starts_with("dropped 4 records (too long) between 2"),
        "{text}"
    );
    assert_eq!(
        (
            counters.received.get(),
            counters.filtered.get(),
            counters.written.get()
        ),
        (11, 1, 4)
    );
    assert_eq!(
        (
            counters.dropped(DropReason::Malformed),
            counters.dropped(DropReason::TooLong)
        ),
        (2, 4)
    );
    assert_eq!(counters.format_errors.get(), 2);
    assert_accounted(&counters);
}

#[tokio::test]
async fn a_file_that_nobody_holds_is_closed_and_can_be_opened_again() {
    let root = tempfile::tempdir().unwrap();
    let (files, _) = files(root.path(), |config| {
        config.sink.files_max = 2;
    });
    for round in 0..3 {
        for name in ["a", "b", "c"] {
            let arguments = json!({ "filename": name });
            let mut session = Session::new(files.open(request(PLAIN, arguments, 1.0)).await.unwrap());
            session.send(&[format!("{round}")]).await;
            session.written().await;
        }
        assert_eq!(files.report().len(), 2);
    }
    let held = [
        files
            .open(request(PLAIN, json!({ "filename": "a" }), 1.0))
            .await
            .unwrap(),
        files
            .open(request(PLAIN, json!({ "filename": "b" }), 1.0))
            .await
            .unwrap(),
    ];
    let refusal = files
        .open(request(PLAIN, json!({ "filename": "c" }), 1.0))
        .await
        .unwrap_err();
    assert!(
        refusal.retry && refusal.expected.contains("at most 2 open files"),
        "{refusal}"
    );
    drop(held);
    for name in ["a", "b", "c"] {
        assert_eq!(
            fs::read_to_string(root.path().join(name)).unwrap(),
            "0\n1\n2\n",
            "{name}"
        );
    }
}

#[tokio::test]
async fn many_who_open_one_file_at_once_get_one_writer() {
    let root = tempfile::tempdir().unwrap();
    let (files, _) = files(root.path(), |_| {});
    let opening: Vec<_> = (0..40)
        .map(|_| {
            let files = files.clone();
            tokio::spawn(async move {
                files
                    .open(request(PLAIN, json!({ "filename": "app.log" }), 1.0))
                    .await
                    .unwrap()
            })
        })
        .collect();
    let mut held = Vec::new();
    for task in opening {
        held.push(task.await.unwrap());
    }
    let report = files.report();
    assert_eq!((report.len(), &report[0]["sessions"]), (1, &json!(40)));
    drop(held);
    assert_eq!(files.report()[0]["sessions"], 0);
}

#[tokio::test]
async fn a_drain_writes_what_was_submitted_and_closes_everything() {
    let root = tempfile::tempdir().unwrap();
    let (files, counters) = files(root.path(), |_| {});
    let mut session = Session::new(
        files
            .open(request(PLAIN, json!({ "filename": "app.log" }), 1.0))
            .await
            .unwrap(),
    );
    let messages: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
    session.send(&messages).await;
    files.drain(Duration::from_secs(5)).await;
    assert_eq!(
        fs::read_to_string(root.path().join("app.log"))
            .unwrap()
            .lines()
            .count(),
        1000
    );
    session.send(&["too late"]).await;
    assert_eq!(counters.dropped(DropReason::Shutdown), 1);
    assert!(!session.file.flush(Level::Written).await);
    assert_accounted(&counters);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_whose_directory_goes_waits_for_it_to_come_back() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("sub");
    fs::create_dir(&directory).unwrap();
    let (files, counters) = files(root.path(), |_| {});
    let open = || files.open(request(PLAIN, json!({ "filename": "sub/app.log" }), 1.0));
    let mut session = Session::new(open().await.unwrap());
    session.send(&["before"]).await;
    session.written().await;
    fs::remove_dir_all(&directory).unwrap();
    session.send(&["while it is gone"]).await;
    let file = session.file.clone();
    scene::eventually("the fault strikes", || file.trouble().is_some());
    assert_eq!(counters.written.get(), 1);
    let refusal = open().await.unwrap_err();
    assert!(refusal.retry, "{refusal}");

    fs::create_dir(&directory).unwrap();
    let mut another = Session::new(open().await.unwrap());
    another.send(&["of another"]).await;
    session.written().await;
    another.written().await;
    assert_eq!(
        fs::read_to_string(directory.join("app.log")).unwrap(),
        "while it is gone\nof another\n"
    );
    assert_eq!(files.report().len(), 1, "one writer still");

    // Put aside and replaced: the file follows its path. The old directory, under its new name, is another place.
    let aside = root.path().join("aside");
    fs::rename(&directory, &aside).unwrap();
    fs::create_dir(&directory).unwrap();
    let arguments = json!({ "filename": "aside/app.log" });
    let mut moved = files.open(request(PLAIN, arguments.clone(), 1.0)).await;
    while let Err(refusal) = moved {
        assert!(refusal.retry, "{refusal}");
        tokio::time::sleep(Duration::from_millis(20)).await;
        moved = files.open(request(PLAIN, arguments.clone(), 1.0)).await;
    }
    let mut moved = Session::new(moved.unwrap());
    moved.send(&["moved"]).await;
    moved.written().await;
    let old = "while it is gone\nof another\nmoved\n";
    assert_eq!(fs::read_to_string(aside.join("app.log")).unwrap(), old);
    session.send(&["back"]).await;
    session.written().await;
    assert_eq!(fs::read_to_string(directory.join("app.log")).unwrap(), "back\n");
    assert_accounted(&counters);
}

#[tokio::test]
async fn rotated_files_grow_old_also_while_nobody_logs() {
    let root = tempfile::tempdir().unwrap();
    let (files, _) = files(root.path(), |config| config.sink.files_max = 1);
    let path = |name: &str| root.path().join(name);
    let rotating = |name: &str, age_s: Value| {
        let arguments = json!({ "filename": name, "maxBytes": 9, "backupCount": 9, "retain_age_s": age_s });
        request(ROTATING, arguments, 1.0)
    };
    for name in ["aging.log", "ageless.log", "open.log"] {
        let age_s = if name == "ageless.log" {
            Value::Null
        } else {
            json!(500)
        };
        let mut session = Session::new(files.open(rotating(name, age_s)).await.unwrap());
        session
            .send(&["a rotated file", "another", "and the active one"])
            .await;
        session.written().await;
        // There is room for one file only: each is closed by the next, and the last one stays.
        if name == "open.log" {
            std::mem::forget(session);
        }
    }
    std::fs::remove_file(path("aging.log")).unwrap();
    for name in ["aging.log.1", "ageless.log.1", "open.log.1"] {
        let file = std::fs::File::options().write(true).open(path(name)).unwrap();
        file.set_modified(std::time::SystemTime::now() - Duration::from_secs(1000))
            .unwrap();
    }
    files.retain_closed().await;
    let is_there = |name: &str| path(name).exists();
    assert!(!is_there("aging.log.1") && is_there("aging.log.2"));
    assert!(!is_there("aging.log"), "nothing was to be written");
    assert!(is_there("ageless.log.1"), "it has no limit");
    assert!(is_there("open.log.1"), "its writer looks after it, every minute");
    assert_eq!(files.report().len(), 1);
    // In nobody's way.
    let opened = files.open(rotating("aging.log", json!(500))).await;
    assert!(opened.is_err_and(|refusal| refusal.expected.contains("files_max")));
}
