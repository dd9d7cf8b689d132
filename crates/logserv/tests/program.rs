//! The program as its users meet it: exit statuses, messages, signals, sockets, with real processes.

mod scene;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;
use scene::{Place, argument, eventually, program, run, socket_handler_frame};

#[test]
fn wrong_usage_exits_2_and_says_what_was_expected() {
    for (arguments, part) in [
        (&["serve"][..], "expected --unix PATH or --tcp HOST:PORT"),
        (&["serve", "--tcp", "0.0.0.0:0"], "--allow-remote-plain"),
        (&["serve", "--tcp", "nohost"], "expected host:port"),
        (&["serve", "--unix", "x", "--unix-mode", "rw"], "octal"),
        (&["serve", "--unx", "x"], "--unix"),
        (&["sreve"], "serve"),
        (&[], "Usage"),
    ] {
        let (code, _, error) = run(arguments);
        assert_eq!(code, 2, "{arguments:?}: {error}");
        assert!(error.contains(part), "{arguments:?}: {error}");
    }
    let (code, version, _) = run(&["--version"]);
    assert_eq!(
        (code, version.as_str()),
        (0, concat!("logserv ", env!("CARGO_PKG_VERSION"), "\n"))
    );
}

#[test]
fn check_says_where_a_configuration_is_wrong() {
    let place = Place::new();
    let file = place.path("c.toml");
    let check = |text: &str| {
        fs::write(&file, text).unwrap();
        run(&["check", argument(&file)])
    };
    let (code, _, error) = check("[listen]\nunix = [\"s\"]\n[sink]\nrots = []\n");
    assert_eq!(code, 1);
    assert!(
        error.contains("line 4, column 1") && error.contains("did you mean `roots`?"),
        "{error}"
    );
    let (code, _, error) = check("[sink]\nroots = [\"/does/not/exist\"]\n");
    assert!(code == 1 && error.contains("/does/not/exist"), "{error}");
    let (code, out, error) =
        check("[sink]\nroots = [\"/tmp\"]\n[ingest]\nsocket_handler_format = \"%(message)s\"\n");
    assert!(code == 0 && out.contains("ok"), "{error}");
    assert_eq!(run(&["check", "/does/not/exist.toml"]).0, 1);
}

#[test]
fn options_add_to_the_configuration_file() {
    let place = Place::new();
    let file = place.path("c.toml");
    let roots = format!("[sink]\nroots = [{:?}]\n", argument(&place.path("")));
    fs::write(
        &file,
        format!(
            "[listen]\nunix = [{:?}]\nunix_mode = \"0660\"\n{roots}",
            argument(&place.path("t.sock"))
        ),
    )
    .unwrap();
    let mut command = program();
    command.args([
        "serve",
        "--config",
        argument(&file),
        "--unix",
        argument(&place.path("s.sock")),
    ]);
    let mut server = place.start(command);
    for name in ["s.sock", "t.sock"] {
        let mode = fs::metadata(place.path(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660, "{name}");
    }
    server.stop();
}

#[test]
fn a_second_server_exits_1_naming_the_holder_and_a_stale_socket_is_replaced() {
    let place = Place::new();
    let mut first = place.serve(&["--tcp", "127.0.0.1:0"]);
    assert_eq!(
        fs::metadata(place.path("s.sock")).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let pid = first.child.id().to_string();
    let (code, _, error) = run(&["serve", "--unix", argument(&place.path("s.sock"))]);
    assert!(
        code == 1 && error.contains(&format!("held by pid {pid}")),
        "{error}"
    );
    let status = first.status();
    let tcp = status["listeners"][1]
        .as_str()
        .unwrap()
        .strip_prefix("tcp:")
        .unwrap();
    let (code, _, error) = run(&["serve", "--tcp", tcp]);
    assert!(
        code == 1 && error.contains(&format!("held by pid {pid}")),
        "{error}"
    );

    first.signal(Signal::KILL);
    first.end();
    assert!(place.path("s.sock").exists(), "stale");
    let mut second = place.serve(&[]);
    second.stop();
    assert!(!place.path("s.sock").exists(), "removed at the end");
}

#[test]
fn a_file_that_another_server_holds_is_refused_naming_it() {
    let place = Place::new();
    let first = place.serve(&["--socket-handler-file", "app.log"]);
    let root = place.path("");
    let other = place.path("t.sock");
    let options = [
        "--unix",
        argument(&other),
        "--root",
        argument(&root),
        "--socket-handler-file",
        "app.log",
    ];
    let (code, _, error) = run(&[&["serve"], &options[..]].concat());
    assert!(
        code == 1 && error.contains(&first.child.id().to_string()),
        "{error}"
    );
    assert!(!other.exists());
}

#[test]
fn sigterm_writes_what_socket_handlers_have_sent() {
    let place = Place::new();
    let mut server = place.serve(&[
        "--socket-handler-file",
        "app.log",
        "--socket-handler-format",
        "%(name)s %(message)s",
    ]);
    let mut connections = Vec::new();
    for client in 0..8 {
        let mut stream = server.connect();
        for number in 0..500 {
            stream
                .write_all(&socket_handler_frame(&format!("{client}-{number}")))
                .unwrap();
        }
        connections.push(stream);
    }
    server.stop();
    let text = place.text("app.log");
    assert_eq!(text.lines().count(), 4000, "{}", server.log());
    for client in 0..8 {
        let of = |line: &&str| line.starts_with(&format!("n {client}-"));
        let numbers: Vec<&str> = text
            .lines()
            .filter(of)
            .map(|line| line.rsplit('-').next().unwrap())
            .collect();
        assert!(
            numbers
                .iter()
                .enumerate()
                .all(|(expected, number)| **number == expected.to_string())
        );
    }
}

#[test]
fn a_server_that_replaces_another_waits_for_it_and_no_record_is_lost() {
    let place = Place::new();
    let mut first = place.serve(&[]);
    let mut session = first.session("app.log");
    session.send(&["before".into()]);
    session.written();
    let mut second = place.serve(&["--replace"]);
    assert_eq!(first.end().code(), Some(0), "{}", first.log());
    let mut session = second.session("app.log");
    session.send(&["after".into()]);
    session.written();
    assert_eq!(place.text("app.log"), "before\nafter\n");
    second.stop();
    // Nobody to replace: as without the option.
    place.serve(&["--replace"]).stop();
}

#[test]
fn sighup_reopens_a_file_that_was_renamed() {
    let place = Place::new();
    let server = place.serve(&[]);
    let mut session = server.session("app.log");
    session.send(&["old".into()]);
    session.written();
    fs::rename(place.path("app.log"), place.path("app.log.1")).unwrap();
    server.signal(Signal::HUP);
    eventually("the file is made again", || place.path("app.log").exists());
    session.send(&["new".into()]);
    session.written();
    assert_eq!(
        (place.text("app.log.1").as_str(), place.text("app.log").as_str()),
        ("old\n", "new\n")
    );
}

#[test]
fn status_and_stop_tell_the_truth() {
    let place = Place::new();
    let mut server = place.serve(&[]);
    let mut session = server.session("app.log");
    session.send(&(0..10).map(|number| number.to_string()).collect::<Vec<_>>());
    session.written();
    let status = server.status();
    assert_eq!(status["pid"], server.child.id());
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    let counters = &status["counters"];
    assert_eq!(
        (&counters["records_received"], &counters["records_written"]),
        (&10.into(), &10.into())
    );
    let file = &status["files"][0];
    assert_eq!(
        (&file["records_written"], &file["size_bytes"], &file["sessions"]),
        (&10.into(), &20.into(), &1.into())
    );
    assert_eq!(status["sessions"].as_array().unwrap().len(), 1);

    let socket = place.path("s.sock");
    let (code, text, _) = run(&["status", "--unix", argument(&socket)]);
    assert_eq!(code, 0);
    for part in [
        "10 received = 10 written + 0 filtered + 0 dropped + 0 pending",
        "app.log",
        "1 sessions",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(run(&["stop", "--unix", argument(&socket)]).0, 0);
    assert!(
        server
            .child
            .try_wait()
            .unwrap()
            .is_some_and(|status| status.code() == Some(0)),
        "gone when stop returns"
    );
    let (code, _, error) = run(&["status", "--unix", argument(&socket)]);
    assert!(
        code == 1 && error.contains("start one with: logserv serve"),
        "{error}"
    );
}

#[test]
fn the_default_socket_is_that_of_the_environment() {
    let place = Place::new();
    let server = place.serve(&[]);
    let output = program()
        .args(["status", "--json"])
        .env("LOGSERV_SOCKET", place.path("s.sock"))
        .output()
        .unwrap();
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["pid"], server.child.id());
    let run = place.path("logserv/logserv-");
    let elsewhere = program()
        .arg("status")
        .env_remove("LOGSERV_SOCKET")
        .env("XDG_RUNTIME_DIR", place.path(""))
        .output();
    let error = String::from_utf8(elsewhere.unwrap().stderr).unwrap();
    assert!(error.contains(argument(&run)), "{error}");
}

#[test]
fn systemd_is_told_when_the_server_is_ready_and_when_it_leaves() {
    let place = Place::new();
    let systemd = std::os::unix::net::UnixDatagram::bind(place.path("notify")).unwrap();
    systemd
        .set_read_timeout(Some(std::time::Duration::from_secs(10)))
        .unwrap();
    let mut command = program();
    command.args([
        "serve",
        "--unix",
        argument(&place.path("s.sock")),
        "--root",
        argument(&place.path("")),
    ]);
    command.env("NOTIFY_SOCKET", place.path("notify"));
    let mut server = place.start(command);
    let mut buffer = [0; 256];
    let mut told = || {
        let len = systemd.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..len]).trim().to_owned()
    };
    assert_eq!(told(), "READY=1");
    server.stop();
    assert_eq!(told(), "STOPPING=1");
}
