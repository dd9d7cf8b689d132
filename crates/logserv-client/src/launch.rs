//! Starts the user's own server where nobody listens, through the program of this installation.
//!
//! In: the socket where it is to listen, the time. Out: it accepts there now, or why not. At most one process of a user
//! starts at a time, and none too often; a server that was there already is as good as one that was started.
//! Not here: how a process comes about that the application does not notice (`sys/launch.rs`); who waits for it.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use logserv_ring::make_personal_directory;

use crate::limits::{LAUNCH_AFTER_FIRST, LAUNCH_AFTER_MAX, LAUNCH_LIMIT};
use crate::sys::{Command, Ending};
use crate::{sys, trouble};

/// What is started, and with which environment; fixed when the handler was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    program: PathBuf,
    environment: Vec<CString>,
    idle_exit: Option<CString>,
}

impl Launch {
    /// The program's file, and the environment that its process gets. Of it, `LOGSERV_IDLE_EXIT_S` says after how many idle
    /// seconds it leaves.
    #[must_use]
    pub fn new(program: PathBuf, environment: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut idle_exit = None;
        let variables = environment.into_iter().filter_map(|(name, value)| {
            if name == "LOGSERV_IDLE_EXIT_S" && !value.is_empty() {
                idle_exit = CString::new(value.as_bytes()).ok();
            }
            let mut text = name.into_vec();
            text.push(b'=');
            text.extend_from_slice(value.as_bytes());
            CString::new(text).ok()
        });
        let environment = variables.collect();
        Self {
            program,
            environment,
            idle_exit,
        }
    }

    /// What is executed, for a server at this socket.
    fn arguments(&self, socket: &Path) -> Option<Vec<CString>> {
        let fixed = [c"logserv", c"serve", c"--personal", c"--detach", c"--unix"];
        let mut arguments: Vec<CString> = fixed.into_iter().map(CString::from).collect();
        arguments.push(text(socket.as_os_str())?);
        if let Some(idle_exit) = &self.idle_exit {
            arguments.push(c"--idle-exit-s".into());
            arguments.push(idle_exit.clone());
        }
        Some(arguments)
    }

    fn run(&self, socket: &Path) -> Ending {
        let mut lock = socket.as_os_str().to_owned();
        lock.push(".start");
        let lock = text(&lock);
        let (Some(program), Some(arguments)) = (text(self.program.as_os_str()), self.arguments(socket))
        else {
            return Ending::NotExecuted(libc::EINVAL);
        };
        sys::run(&Command {
            program: &program,
            arguments: &arguments,
            environment: &self.environment,
            lock: lock.as_deref(),
            limit: LAUNCH_LIMIT,
        })
    }

    /// The ending in words, where it is a failure.
    fn reason(&self, ending: Ending) -> String {
        let program = self.program.display();
        let words = |number| trouble::reason(&std::io::Error::from_raw_os_error(number));
        match ending {
            Ending::NotExecuted(libc::ENOENT) => {
                format!("expected its program at {program}, found none; install logserv again")
            }
            Ending::NotExecuted(number) => format!("cannot execute {program}: {}", words(number)),
            Ending::NotStarted(number) => format!("cannot make a process for it: {}", words(number)),
            Ending::Killed(signal) => format!("{program} was ended by signal {signal}"),
            Ending::TooLong => format!("{program} did not answer within {} s", LAUNCH_LIMIT.as_secs()),
            Ending::Exited(status, said) if said.is_empty() => {
                format!("{program} ended with status {status}")
            }
            Ending::Exited(_, said) => {
                let line = said.lines().next().unwrap_or_default();
                let line = line.strip_prefix("logserv: ").unwrap_or(line);
                line.strip_prefix("error: ").unwrap_or(line).to_owned()
            }
            Ending::Busy => "another process is starting it".to_owned(),
        }
    }
}

/// What came of the wish for a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Started {
    /// One accepts now, or did a moment ago.
    Accepts,
    /// Another process is starting it, or the last start was too short a time ago.
    Later,
    /// It cannot be started, for this reason.
    Failed(String),
}

/// When a session may start a server again.
#[derive(Debug, Default)]
pub(crate) struct Launcher {
    next_at: Option<Instant>,
    pause: Option<Duration>,
    failure: Option<String>,
}

impl Launcher {
    /// Whether [`start`](Self::start) would try.
    pub(crate) fn is_due(&self) -> bool {
        self.next_at.is_none_or(|at| Instant::now() >= at)
    }

    /// Starts a server, unless it is too early. Blocks: for [`LAUNCH_LIMIT`]; usually some 20 ms.
    pub(crate) fn start(&mut self, launch: &Launch, socket: &Path) -> Started {
        if !self.is_due() {
            return self.failure.clone().map_or(Started::Later, Started::Failed);
        }
        if let Err(error) = make_personal_directory(socket) {
            return self.failed(error.to_string());
        }
        match launch.run(socket) {
            Ending::Busy => Started::Later,
            Ending::Exited(0, _) => {
                self.failure = None;
                self.wait();
                Started::Accepts
            }
            ending => self.failed(launch.reason(ending)),
        }
    }

    /// A server has been of use.
    pub(crate) fn reset(&mut self) {
        self.pause = None;
        self.failure = None;
    }

    fn failed(&mut self, reason: String) -> Started {
        self.failure = Some(reason.clone());
        self.wait();
        Started::Failed(reason)
    }

    /// The next start is that far off: half a second, or twice as long as last time where nothing came of it.
    fn wait(&mut self) {
        let pause = self.pause.unwrap_or(LAUNCH_AFTER_FIRST);
        self.next_at = Some(Instant::now() + pause);
        self.pause = Some((pause * 2).min(LAUNCH_AFTER_MAX));
    }
}

fn text(text: &OsStr) -> Option<CString> {
    CString::new(text.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of this test's own, removed with it.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("logserv-launch-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn socket(&self) -> PathBuf {
            self.0.join("own/s.sock")
        }

        fn script(&self, text: &str) -> Launch {
            use std::os::unix::fs::PermissionsExt;
            let program = self.0.join("program");
            std::fs::write(&program, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
            Launch::new(
                program,
                [
                    ("PATH".into(), "/bin:/usr/bin".into()),
                    ("A".into(), "b c".into()),
                ],
            )
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn start(launch: &Launch, place: &Place) -> Started {
        sys::with_signals_blocked(|| Launcher::default().start(launch, &place.socket()))
    }

    #[test]
    fn the_program_gets_its_arguments_and_environment_and_its_success_is_seen() {
        let place = Place::new("seen");
        let launch = place.script("echo \"$A|$*|$PWD\" > \"$5.seen\"");
        assert_eq!(start(&launch, &place), Started::Accepts);
        let seen = std::fs::read_to_string(place.0.join("own/s.sock.seen")).ok();
        let expected = format!(
            "b c|serve --personal --detach --unix {}|/\n",
            place.socket().display()
        );
        assert_eq!(seen.as_deref(), Some(expected.as_str()));
    }

    #[test]
    fn what_the_program_says_is_the_reason_of_its_failure() {
        let place = Place::new("said");
        let launch = place.script("echo 'logserv: no such luck' >&2; echo more >&2; exit 1");
        assert_eq!(start(&launch, &place), Started::Failed("no such luck".into()));
        let launch = place.script("head -c 100000 /dev/zero | tr '\\0' x >&2; exit 1");
        let Started::Failed(said) = start(&launch, &place) else {
            panic!("no failure");
        };
        assert_eq!(said.len(), crate::limits::LAUNCH_MESSAGE_LEN);
        let launch = place.script("kill -9 $$");
        let Started::Failed(said) = start(&launch, &place) else {
            panic!("no failure");
        };
        assert!(said.ends_with("was ended by signal 9"), "{said}");
    }

    #[test]
    fn a_program_that_is_missing_is_named() {
        let place = Place::new("missing");
        let launch = Launch::new(place.0.join("nothing"), []);
        let Started::Failed(said) = start(&launch, &place) else {
            panic!("no failure");
        };
        assert!(said.contains("found none; install logserv again"), "{said}");
    }

    #[test]
    fn one_process_starts_at_a_time_and_none_too_often() {
        let place = Place::new("once");
        let launch = place.script("sleep 1");
        std::thread::scope(|scope| {
            let first = scope.spawn(|| start(&launch, &place));
            std::thread::sleep(Duration::from_millis(300));
            assert_eq!(start(&launch, &place), Started::Later);
            assert_eq!(first.join().unwrap(), Started::Accepts);
        });
        let launch = place.script("exit 1");
        let mut launcher = Launcher::default();
        sys::with_signals_blocked(|| {
            let failed = launcher.start(&launch, &place.socket());
            assert!(matches!(failed, Started::Failed(_)));
            let began = Instant::now();
            assert_eq!(
                launcher.start(&launch, &place.socket()),
                failed,
                "told again, not tried again"
            );
            assert!(began.elapsed() < LAUNCH_AFTER_FIRST);
        });
    }
}
