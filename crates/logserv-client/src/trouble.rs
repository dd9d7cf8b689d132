//! Lines on stderr for the user who forgot to start the server, or whose file the server refuses.
//!
//! In: failures, refusals, drops, the time. Out: a line now and then. Pure: `sender.rs` writes it, if the user wants it.
//! Not here: the records in the file that tell of drops; those are `drops.rs`.

use std::io;
use std::time::Instant;

use crate::config::{Address, Refusal, SessionConfig};
use crate::limits::{TROUBLE_AFTER, TROUBLE_EVERY};

/// What stands between a session and its server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// Nobody listens there.
    Absent(String),
    /// Something else: no permission, no answer, no such host.
    Unreachable(String),
    /// The server is there and refuses us, for now as it says.
    Postponed(Refusal),
    /// The server is there and refuses us.
    Refused(Refusal),
    /// It is the user's own, and cannot be started.
    NotStarted(String),
}

impl Obstacle {
    /// Whether somebody must do something before another attempt can succeed, as far as one can tell.
    pub(crate) fn is_lasting(&self) -> bool {
        matches!(self, Self::Absent(_) | Self::Refused(_) | Self::NotStarted(_))
    }

    /// What the operating system said when we tried to connect.
    pub(crate) fn from_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Self::Absent(reason(error)),
            _ => Self::Unreachable(reason(error)),
        }
    }
}

/// What a session has complained about, and when.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    unreachable_since: Option<Instant>,
    postponed_since: Option<Instant>,
    obstacle: Option<Obstacle>,
    told_unreachable: Option<Instant>,
    told_refused: Option<Instant>,
    told_dropped: Option<Instant>,
    dropped_then: u64,
}

impl Trouble {
    /// The server could not be reached, or the connection broke.
    pub(crate) fn failed(&mut self, obstacle: Obstacle, now: Instant) {
        self.unreachable_since.get_or_insert(now);
        if matches!(obstacle, Obstacle::Postponed(_)) {
            self.postponed_since.get_or_insert(now);
        }
        self.obstacle = Some(obstacle);
    }

    /// Whether a refusal that was to pass by itself has lasted so long that the user is told of it.
    pub(crate) fn has_lasted(&self, now: Instant) -> bool {
        self.postponed_since
            .is_some_and(|since| now >= since + TROUBLE_AFTER)
    }

    /// The server takes records.
    pub(crate) fn is_over(&mut self) {
        self.unreachable_since = None;
        self.postponed_since = None;
    }

    /// When [`unreachable`](Self::unreachable) should be asked; `None`: not because of the present trouble.
    pub(crate) fn due(&self) -> Option<Instant> {
        if matches!(self.obstacle, Some(Obstacle::Postponed(_) | Obstacle::Refused(_))) {
            return None; // it is reached
        }
        let due = self.unreachable_since? + TROUBLE_AFTER;
        Some(
            self.told_unreachable
                .map_or(due, |told| due.max(told + TROUBLE_EVERY)),
        )
    }

    /// The line about a server out of reach, if it is time for one.
    pub(crate) fn unreachable(
        &mut self,
        config: &SessionConfig,
        pending: u64,
        now: Instant,
    ) -> Option<String> {
        if self.due().is_none_or(|due| now < due) {
            return None;
        }
        self.told_unreachable = Some(now);
        let (address, waiting) = (display(&config.address), records(pending));
        if let Some(Obstacle::NotStarted(reason)) = &self.obstacle {
            return Some(format!(
                "logserv: cannot start the server ({reason}); {waiting} waiting; it is tried again\n"
            ));
        }
        let (reason, advice) = match &self.obstacle {
            Some(Obstacle::Absent(reason)) => (reason.as_str(), advice(&config.address)),
            Some(Obstacle::Unreachable(reason)) => (reason.as_str(), String::new()),
            Some(Obstacle::Postponed(_) | Obstacle::Refused(_) | Obstacle::NotStarted(_)) | None => {
                ("no answer", String::new())
            }
        };
        Some(format!(
            "logserv: cannot reach {address} ({reason}); {waiting} waiting{advice}\n"
        ))
    }

    /// The line about a refusal, if it is time for one.
    pub(crate) fn refused(
        &mut self,
        config: &SessionConfig,
        refusal: &Refusal,
        is_news: bool,
        pending: u64,
        now: Instant,
    ) -> Option<String> {
        if !is_news && is_recent(self.told_refused, now) {
            return None;
        }
        self.told_refused = Some(now);
        let (
            address,
            Refusal {
                expected, received, ..
            },
        ) = (display(&config.address), refusal);
        Some(format!(
            "logserv: {address} refuses these records: expected {expected}, received {received}; {} waiting\n",
            records(pending)
        ))
    }

    /// The line about dropped records, if there are new ones and it is time for one.
    pub(crate) fn dropped(
        &mut self,
        config: &SessionConfig,
        dropped: u64,
        reasons: impl FnOnce() -> String,
        now: Instant,
    ) -> Option<String> {
        if dropped <= self.dropped_then || is_recent(self.told_dropped, now) {
            return None;
        }
        let (newly, reasons) = (dropped - self.dropped_then, reasons());
        self.dropped_then = dropped;
        self.told_dropped = Some(now);
        Some(format!(
            "logserv: dropped {} ({reasons}) on the way to {}\n",
            records(newly),
            display(&config.address)
        ))
    }
}

/// The line about a ring that could not be made.
pub(crate) fn no_ring_line(config: &SessionConfig, reason: &str) -> String {
    format!(
        "logserv: no shared memory for records to {} ({reason}); what is unsent when this process is killed will be lost\n",
        display(&config.address)
    )
}

/// The line about records that the end of the process leaves unsent. `is_kept`: they stay in a ring. `obstacle`: `None`
/// while a server takes records, or before the first attempt to reach one has come to anything.
pub(crate) fn unsent_line(
    config: &SessionConfig,
    pending: u64,
    is_kept: bool,
    is_connected: bool,
    obstacle: Option<&Obstacle>,
) -> String {
    let why = match obstacle {
        _ if is_connected => "; the server did not write them in time".to_owned(),
        None => "; the server did not answer in time".to_owned(),
        Some(Obstacle::Absent(_)) => advice(&config.address),
        Some(Obstacle::Unreachable(reason)) => format!("; cannot reach it ({reason})"),
        Some(Obstacle::NotStarted(reason)) => format!("; cannot start it ({reason})"),
        Some(Obstacle::Postponed(refusal) | Obstacle::Refused(refusal)) => {
            let Refusal {
                expected, received, ..
            } = refusal;
            format!("; it refuses them: expected {expected}, received {received}")
        }
    };
    let (address, records) = (display(&config.address), records(pending));
    if is_kept {
        format!("logserv: {records} unsent to {address} at exit and kept for it{why}\n")
    } else {
        format!("logserv: {records} unsent to {address} at exit{why}\n")
    }
}

/// An error of the operating system in the words of its manual, in lower case and without its number.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(characters).collect()
    })
}

fn is_recent(told: Option<Instant>, now: Instant) -> bool {
    told.is_some_and(|told| now.saturating_duration_since(told) < TROUBLE_EVERY)
}

fn records(count: u64) -> String {
    format!("{count} record{}", if count == 1 { "" } else { "s" })
}

fn display(address: &Address) -> String {
    match address {
        Address::Unix(path) => path.display().to_string(),
        Address::Personal(personal) => match personal.path() {
            Ok(path) => path.display().to_string(),
            Err(_) => "the user's own server".to_owned(),
        },
        Address::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
        Address::Tcp { host, port } => format!("{host}:{port}"),
    }
}

fn advice(address: &Address) -> String {
    let option = match address {
        Address::Unix(_) => "--unix",
        Address::Tcp { .. } => "--tcp",
        Address::Personal(_) => "--personal --unix",
    };
    format!("; start it with: logserv serve {option} {}", display(address))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn config(address: Address) -> SessionConfig {
        SessionConfig::new(address, "logging.FileHandler", serde_json::Map::new())
    }

    #[test]
    fn a_server_out_of_reach_is_told_of_after_two_seconds_and_then_once_a_minute() {
        let config = config(Address::Tcp {
            host: "127.0.0.1".into(),
            port: 9876,
        });
        let mut trouble = Trouble::default();
        let start = Instant::now();
        let refused = io::Error::from_raw_os_error(libc::ECONNREFUSED);
        trouble.failed(Obstacle::from_io(&refused), start);
        assert_eq!(
            trouble.unreachable(&config, 12, start + Duration::from_millis(1999)),
            None
        );
        let line = trouble.unreachable(&config, 12, start + TROUBLE_AFTER).unwrap();
        assert_eq!(
            line,
            "logserv: cannot reach 127.0.0.1:9876 (connection refused); 12 records waiting; \
             start it with: logserv serve --tcp 127.0.0.1:9876\n"
        );
        let later = start + TROUBLE_AFTER + TROUBLE_EVERY;
        assert_eq!(
            trouble.unreachable(&config, 12, later - Duration::from_millis(1)),
            None
        );
        assert!(trouble.unreachable(&config, 12, later).is_some());
        trouble.is_over();
        assert_eq!(trouble.unreachable(&config, 12, later + TROUBLE_EVERY), None);
    }

    #[test]
    fn only_where_nobody_listens_is_it_advised_to_start_a_server() {
        let config = config(Address::Unix("/run/x.sock".into()));
        let line = |is_connected, obstacle| unsent_line(&config, 1, false, is_connected, obstacle);
        let start = "logserv: 1 record unsent to /run/x.sock at exit";
        let absent = Obstacle::from_io(&io::Error::from_raw_os_error(libc::ENOENT));
        assert_eq!(
            line(false, Some(&absent)),
            format!("{start}; start it with: logserv serve --unix /run/x.sock\n")
        );
        assert_eq!(
            unsent_line(&config, 12, true, false, Some(&absent)),
            "logserv: 12 records unsent to /run/x.sock at exit and kept for it; start it with: logserv serve --unix /run/x.sock\n"
        );
        let forbidden = Obstacle::from_io(&io::Error::from_raw_os_error(libc::EACCES));
        assert_eq!(
            line(false, Some(&forbidden)),
            format!("{start}; cannot reach it (permission denied)\n")
        );
        let refusal = Refusal {
            expected: "a file below /logs".into(),
            received: "/etc/passwd".into(),
            held_at: None,
        };
        let why = "it refuses them: expected a file below /logs, received /etc/passwd";
        let postponed = Obstacle::Postponed(refusal.clone());
        let refused = Obstacle::Refused(refusal);
        assert_eq!(line(false, Some(&refused)), format!("{start}; {why}\n"));
        assert_eq!(line(false, Some(&postponed)), format!("{start}; {why}\n"));
        assert_eq!(
            line(true, None),
            format!("{start}; the server did not write them in time\n")
        );
        let mut trouble = Trouble::default();
        let now = Instant::now();
        trouble.failed(forbidden, now);
        assert_eq!(
            trouble.unreachable(&config, 2, now + TROUBLE_AFTER).unwrap(),
            "logserv: cannot reach /run/x.sock (permission denied); 2 records waiting\n"
        );
    }

    #[test]
    fn a_server_that_refuses_is_never_said_to_be_out_of_reach() {
        let config = config(Address::Unix("/run/x.sock".into()));
        let refusal = Refusal {
            expected: "a regular file".into(),
            received: "a FIFO".into(),
            held_at: None,
        };
        let mut trouble = Trouble::default();
        let start = Instant::now();
        trouble.failed(Obstacle::Postponed(refusal.clone()), start);
        assert!(!trouble.has_lasted(start + TROUBLE_AFTER - Duration::from_millis(1)));
        assert!(trouble.has_lasted(start + TROUBLE_AFTER));
        assert_eq!(trouble.due(), None);
        assert_eq!(trouble.unreachable(&config, 2, start + TROUBLE_EVERY), None);
        assert_eq!(
            trouble
                .refused(&config, &refusal, true, 2, start + TROUBLE_AFTER)
                .unwrap(),
            "logserv: /run/x.sock refuses these records: expected a regular file, received a FIFO; 2 records waiting\n"
        );
        let later = start + TROUBLE_AFTER + TROUBLE_EVERY;
        assert_eq!(
            trouble.refused(&config, &refusal, false, 2, later - Duration::from_millis(1)),
            None
        );
        trouble.is_over();
        assert!(!trouble.has_lasted(later));
    }

    #[test]
    fn an_address_of_version_6_stands_in_brackets() {
        assert_eq!(
            display(&Address::Tcp {
                host: "::1".into(),
                port: 5
            }),
            "[::1]:5"
        );
    }

    #[test]
    fn drops_are_told_of_once_for_each_time() {
        let config = config(Address::Unix("x".into()));
        let mut trouble = Trouble::default();
        let reasons = || "queue full".to_owned();
        let now = Instant::now();
        assert_eq!(trouble.dropped(&config, 0, reasons, now), None);
        assert_eq!(
            trouble.dropped(&config, 3, reasons, now).unwrap(),
            "logserv: dropped 3 records (queue full) on the way to x\n"
        );
        assert_eq!(
            trouble.dropped(&config, 9, reasons, now + Duration::from_secs(1)),
            None
        );
        assert!(
            trouble
                .dropped(&config, 9, reasons, now + TROUBLE_EVERY)
                .unwrap()
                .contains("dropped 6 records")
        );
    }
}
