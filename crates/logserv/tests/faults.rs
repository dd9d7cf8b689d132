//! The program under faults: no descriptors, no disk, no parent. Each test proves that its fault struck.

mod scene;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use scene::{Place, argument, eventually, program, run, ticks};

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_logserv")]);
    command
}

#[test]
fn accepting_without_descriptors_does_not_spin_and_heals() {
    let place = Place::new();
    let mut command = shell("ulimit -n 40 && exec \"$0\" serve --unix \"$1\" --root \"$2\"");
    command.args([place.path("s.sock"), place.path("")]);
    let server = place.start(command);
    let connections: Vec<UnixStream> = (0..80).map(|_| server.connect()).collect();
    eventually("the fault strikes", || {
        server
            .log()
            .contains("cannot accept a connection: Too many open files")
    });
    let before = ticks(server.child.id());
    std::thread::sleep(Duration::from_millis(1000));
    let used = ticks(server.child.id()) - before;
    assert!(used <= 20, "{used} of 100 ticks");
    assert_eq!(server.log().matches("cannot accept").count(), 1, "told once");
    drop(connections);
    let mut session = server.session("app.log");
    session.send(&["healed".into()]);
    session.written();
    assert_eq!(place.text("app.log"), "healed\n");
}

#[test]
fn a_full_file_system_stops_nobody_else_and_heals() {
    let place = Place::new();
    let small = place.path("small");
    fs::create_dir(&small).unwrap();
    let mount = |arguments: &[&str]| Command::new(arguments[0]).args(&arguments[1..]).output();
    let mounted = mount(&["mount", "-t", "tmpfs", "-o", "size=64k", "none", argument(&small)]);
    if !mounted.is_ok_and(|output| output.status.success()) {
        println!("NOT RUN: a_full_file_system_stops_nobody_else_and_heals, mounting a tmpfs needs root");
        return;
    }
    let server = place.serve(&[]);
    let mut stuck = server.session("small/app.log");
    let messages: Vec<String> = (0..2000).map(|number| format!("{number:060}")).collect();
    messages.chunks(100).for_each(|batch| stuck.send(batch));
    let report = || {
        server.status()["files"]
            .as_array()
            .unwrap()
            .iter()
            .find(|file| file["path"].as_str().unwrap().contains("small"))
            .unwrap()
            .clone()
    };
    eventually("the fault strikes", || {
        report()["last_error"]
            .as_str()
            .is_some_and(|error| error.contains("No space left"))
    });
    assert!(report()["in_trouble_for_s"].is_number());
    let text = run(&["status", "--unix", argument(&place.path("s.sock"))]).1;
    assert!(text.contains("CANNOT BE WRITTEN"), "{text}");

    let mut other = server.session("other.log");
    other.send(&["still written".into()]);
    other.written();
    assert_eq!(place.text("other.log"), "still written\n");

    mount(&["mount", "-o", "remount,size=10m", argument(&small)]).unwrap();
    stuck.written();
    let lines = place.text("small/app.log");
    mount(&["umount", "-l", argument(&small)]).unwrap();
    assert_eq!(lines.lines().collect::<Vec<_>>(), messages);
}

#[test]
fn a_drain_that_cannot_end_ends_in_time_and_a_second_signal_ends_it_at_once() {
    for signals in [1, 2] {
        let place = Place::new();
        let config = place.path("c.toml");
        fs::write(&config, "[server]\ndrain_timeout_s = 1.5\n").unwrap();
        let mut command = shell(
            "ulimit -f 4 && exec \"$0\" serve --unix \"$1\" --root \"$2\" --config \"$3\" 2>&1 | cat 1>&2",
        );
        // The shell's limit is for the server's own log too, if that is a file.
        command.args([place.path("s.sock"), place.path(""), config]);
        let mut server = place.start(command);
        let mut session = server.session("app.log");
        session.send(
            &(0..1000)
                .map(|number| format!("{number:060}"))
                .collect::<Vec<_>>(),
        );
        eventually("the fault strikes", || {
            server.status()["files"][0]["in_trouble_for_s"].is_number()
        });
        let pid = i32::try_from(server.status()["pid"].as_u64().unwrap()).unwrap();
        let started = Instant::now();
        for _ in 0..signals {
            rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), Signal::TERM)
                .unwrap();
            std::thread::sleep(Duration::from_millis(100));
        }
        server.end();
        let took = started.elapsed();
        assert!(server.log().contains("unwritten"), "{}", server.log());
        if signals == 1 {
            assert!(
                took > Duration::from_millis(1000) && took < Duration::from_secs(4),
                "{took:?}"
            );
        } else {
            assert!(took < Duration::from_millis(1000), "{took:?}");
        }
    }
}

#[test]
fn a_server_leaves_when_the_parent_that_it_watches_is_gone() {
    let place = Place::new();
    let mut command = shell("\"$0\" serve --unix \"$1\" --root \"$2\" --watch-parent $$ & sleep 60");
    command.args([place.path("s.sock"), place.path("")]);
    let mut parent = place.start(command);
    let pid = parent.status()["pid"].as_u64().unwrap();
    assert_ne!(pid, u64::from(parent.child.id()));
    parent.signal(Signal::KILL);
    parent.end();
    eventually("the server has drained", || parent.log().contains("drained in"));
    assert!(parent.log().contains("leaving: the parent"), "{}", parent.log());
    assert!(!place.path("s.sock").exists());
    // A parent that was never ours, or has gone already.
    let (code, _, error) = run(&[
        "serve",
        "--unix",
        argument(&place.path("s.sock")),
        "--watch-parent",
        "1",
    ]);
    assert!(code == 1 && error.contains("is gone"), "{error}");
}

#[test]
fn whoever_starts_a_server_learns_when_it_accepts_or_why_it_does_not() {
    let place = Place::new();
    let script =
        "exec 7>\"$3\"; exec \"$0\" serve --unix \"$1\" --tcp 127.0.0.1:0 --root \"$2\" --ready-fd 7";
    let start = |told: &str| {
        let mut command = shell(script);
        command.args([place.path("s.sock"), place.path(""), place.path(told)]);
        command
    };
    let server = place.start(start("told"));
    eventually("it is told", || !place.text("told").is_empty());
    let told = place.text("told");
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[0], "ready");
    assert!(
        lines[1].starts_with("unix:/") && lines[2].starts_with("tcp:127.0.0.1:"),
        "{told}"
    );
    assert_eq!(start("not told").output().unwrap().status.code(), Some(1));
    let told = place.text("not told");
    // EADDRINUSE: what binding in the parent would have raised.
    assert!(
        told.starts_with("error 98 unix:") && told.contains(&server.child.id().to_string()),
        "{told}"
    );
    assert_eq!(told.lines().count(), 1);
}

#[test]
fn a_log_that_nobody_reads_delays_no_client() {
    let place = Place::new();
    let (_unread, stderr) = std::io::pipe().unwrap();
    let child = program()
        .arg("serve")
        .arg("--unix")
        .arg(place.path("s.sock"))
        .arg("--root")
        .arg(place.path(""))
        // Each of them is warned of then, and not one in a second.
        .env("LOGSERV_LOG", "debug")
        .stderr(stderr)
        .spawn()
        .unwrap();
    let mut child = Killed(child);
    eventually("the server accepts", || {
        UnixStream::connect(place.path("s.sock")).is_ok()
    });
    // Told with what they said, they are several times what a pipe takes.
    let wrong = format!("HELLO 1.0\n{}\n", "x".repeat(5000));
    for _ in 0..300 {
        let mut stream = UnixStream::connect(place.path("s.sock")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(wrong.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the server hangs");
        assert!(answer.contains("ERROR EXPECTED"), "{answer}");
    }
    kill_process(Pid::from_child(&child.0), Signal::TERM).unwrap();
    let mut status = None;
    eventually("the server has left", || {
        status = child.0.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(status.unwrap().code(), Some(0));
}

struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_is_written_at_the_end_of_a_drain_is_acknowledged() {
    let place = Place::new();
    fs::write(place.path("c.toml"), "[server]\ndrain_timeout_s = 2\n").unwrap();
    let mut server = place.serve(&["--config", argument(&place.path("c.toml"))]);
    let mut session = server.session("late.log");
    session.send(&["first".into()]);
    session.written();
    fs::remove_file(place.path("late.log")).unwrap();
    fs::create_dir(place.path("late.log")).unwrap();
    session.send(&["second".into()]);
    eventually("the fault strikes", || {
        server.status()["files"][0]["in_trouble_for_s"].is_number()
    });
    server.signal(Signal::TERM);
    // The connections' share of the drain is over by then, the files' is not.
    std::thread::sleep(Duration::from_millis(1700));
    fs::remove_dir(place.path("late.log")).unwrap();
    session.written();
    assert_eq!(server.end().code(), Some(0));
    assert_eq!(place.text("late.log"), "second\n");
}

#[test]
fn a_report_fits_however_many_sessions_there_are() {
    let place = Place::new();
    let server = place.serve(&[]);
    // The same file, in the longest spelling that there is.
    let name = format!("{}{}app.log", argument(&place.path("")), "/".repeat(3900));
    let sessions: Vec<_> = (0..600).map(|_| server.session(&name)).collect();
    for mut session in sessions {
        session.send(&["x".into()]);
        session.written();
    }
    let status = server.status();
    let told = status["sessions"].as_array().unwrap().len() as u64;
    assert_eq!(told + status["sessions_left_off"].as_u64().unwrap(), 600);
    assert!(status.to_string().len() < 1 << 20, "spellings are cut");
}

#[test]
fn a_name_with_a_line_end_makes_no_line_in_the_log_and_the_status() {
    let place = Place::new();
    let server = place.serve(&[]);
    let name = "a\nWARN forged\u{1b}[2J.log";
    let mut session = server.session(name);
    session.send(&["x".into()]);
    session.written();
    fs::remove_file(place.path(name)).unwrap();
    fs::create_dir(place.path(name)).unwrap();
    session.send(&["y".into()]);
    eventually("it is told of", || server.log().contains("tried again"));
    let socket = place.path("s.sock");
    let (_, status, _) = run(&["status", "--unix", argument(&socket)]);
    for text in [server.log(), status] {
        assert!(text.contains("forged"), "{text}");
        assert!(
            !text.contains("\nWARN forged") && !text.contains('\u{1b}'),
            "{text:?}"
        );
    }
}
