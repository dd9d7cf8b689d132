//! The accounts of dropped records: how many, why, between when and when; and the record that tells of them in the file.
//!
//! In: drops with the record dropped and the time. Out: totals; at most one record per second and reason.
//! Pure: times come in. Not here: which record is dropped, and whether there is space for the one that tells.

use std::time::{Duration, Instant, SystemTime};

use logserv_wire::record::{Record, RecordKind};

use crate::config::DropReason;
use crate::limits::ANNOUNCE_EVERY;

const REASONS: usize = DropReason::ALL.len();

/// What a session has dropped.
#[derive(Debug, Default)]
pub(crate) struct Drops {
    by_reason: [Account; REASONS],
    /// Attributes of the last record that opened an account, so that the record that tells looks like its neighbours.
    likeness: Likeness,
}

#[derive(Debug, Default, Clone)]
struct Account {
    total: u64,
    untold: u64,
    first: Option<SystemTime>,
    last: Option<SystemTime>,
    told: Option<Instant>,
}

#[derive(Debug, Default)]
struct Likeness {
    formatter: u32,
    process: Option<u32>,
    process_name: Option<String>,
    utc_offset_s: Option<i32>,
    /// When the producer's `relativeCreated` was 0, in seconds since 1970.
    started_s: f64,
}

impl Drops {
    /// Counts one dropped record.
    pub(crate) fn count(&mut self, reason: DropReason, record: &[u8], now: SystemTime) {
        let Some(account) = self.by_reason.get_mut(reason as usize) else {
            return;
        };
        account.total += 1;
        account.untold += 1;
        account.last = Some(now);
        if account.first.is_none() {
            account.first = Some(now);
            self.likeness.take_from(record);
        }
    }

    /// Records dropped for this reason.
    pub(crate) fn total(&self, reason: DropReason) -> u64 {
        self.by_reason
            .get(reason as usize)
            .map_or(0, |account| account.total)
    }

    /// Records dropped and not yet told of.
    pub(crate) fn untold(&self) -> u64 {
        self.by_reason.iter().map(|account| account.untold).sum()
    }

    /// How long until the next record may tell of drops; `None`: there is nothing to tell.
    pub(crate) fn due_in(&self, now: Instant) -> Option<Duration> {
        let waiting = self.by_reason.iter().filter(|account| account.untold > 0);
        waiting.map(|account| account.due_in(now)).min()
    }

    /// The next record that is due, encoded; call [`told`](Self::told) once it is stored.
    pub(crate) fn record(&self, now: Instant, wall: SystemTime) -> Option<(DropReason, Vec<u8>)> {
        let due = |account: &Account| account.untold > 0 && account.due_in(now).is_zero();
        let reason = DropReason::ALL
            .into_iter()
            .find(|it| self.by_reason.get(*it as usize).is_some_and(due))?;
        let account = self.by_reason.get(reason as usize)?;
        let (first, last) = (account.first.unwrap_or(wall), account.last.unwrap_or(wall));
        let message = format!(
            "dropped {} records ({}) between {} and {}",
            account.untold,
            reason.name(),
            iso_8601(first),
            iso_8601(last),
        );
        Some((reason, self.likeness.record(&message, wall)))
    }

    /// The record about this reason has been stored.
    pub(crate) fn told(&mut self, reason: DropReason, now: Instant) {
        if let Some(account) = self.by_reason.get_mut(reason as usize) {
            *account = Account {
                total: account.total,
                told: Some(now),
                ..Account::default()
            };
        }
    }
}

impl Account {
    fn due_in(&self, now: Instant) -> Duration {
        self.told.map_or(Duration::ZERO, |told| {
            (told + ANNOUNCE_EVERY).saturating_duration_since(now)
        })
    }
}

impl Likeness {
    fn take_from(&mut self, record: &[u8]) {
        let Ok((record, _)) = Record::decode(record) else {
            return;
        };
        *self = Self {
            formatter: record.formatter,
            process: record.process,
            process_name: record.process_name.map(str::to_owned),
            utc_offset_s: record.utc_offset_s,
            started_s: record.created - record.relative_created / 1000.0,
        };
    }

    fn record(&self, message: &str, now: SystemTime) -> Vec<u8> {
        let created = seconds(now);
        let record = Record {
            kind: RecordKind::Fields,
            formatter: self.formatter,
            level_no: 30,
            created,
            msecs: ((created - created.floor()) * 1000.0).floor(),
            relative_created: (created - self.started_s) * 1000.0,
            thread: Some(0),
            process: self.process.or(Some(std::process::id())),
            utc_offset_s: self.utc_offset_s,
            name: Some("logserv"),
            message: Some(message),
            level_name: Some("WARNING"),
            // What Python's own logging says where there is no calling frame.
            path_name: Some("(unknown file)"),
            file_name: Some("(unknown file)"),
            module: Some("(unknown file)"),
            func_name: Some("(unknown function)"),
            thread_name: Some("logserv-send"),
            process_name: self.process_name.as_deref(),
            ..Record::default()
        };
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        bytes
    }
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

/// A time in UTC, as `2026-01-31T23:59:59.123Z`. Times before 1970 show as 1970.
fn iso_8601(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (days, second_of_day) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
        since.subsec_millis()
    )
}

/// Year, month and day of a day counted from 1970-01-01, by the Gregorian calendar; the year begins in March, so that
/// the leap day is its last and months have a regular length.
fn civil(days: u64) -> (u64, u64, u64) {
    let from_year_0 = days + 719_468;
    let (era, day_of_era) = (from_year_0 / 146_097, from_year_0 % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64, millis: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(seconds * 1000 + millis)
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_782_399, "2000-02-28T23:59:59.007Z"),
            (951_782_400, "2000-02-29T00:00:00.007Z"),
            (951_868_800, "2000-03-01T00:00:00.007Z"),
            (1_709_164_800, "2024-02-29T00:00:00.007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.007Z"),
            (1_767_225_599, "2025-12-31T23:59:59.007Z"),
        ] {
            assert_eq!(iso_8601(at(seconds, 7)), text);
        }
    }

    #[test]
    fn drops_are_told_once_and_at_most_once_a_second() {
        let mut dropped = Vec::new();
        Record {
            formatter: 7,
            process_name: Some("Worker-1"),
            utc_offset_s: Some(3600),
            created: 1_700_000_000.0,
            relative_created: 5000.0,
            ..Record::default()
        }
        .encode(&mut dropped);
        let mut drops = Drops::default();
        let start = Instant::now();
        assert_eq!(drops.due_in(start), None);
        drops.count(DropReason::QueueFull, &dropped, at(1_700_000_000, 0));
        drops.count(DropReason::QueueFull, &dropped, at(1_700_000_001, 500));
        assert_eq!(drops.due_in(start), Some(Duration::ZERO));
        let (reason, bytes) = drops.record(start, at(1_700_000_002, 250)).unwrap();
        let (record, _) = Record::decode(&bytes).unwrap();
        let message =
            "dropped 2 records (queue full) between 2023-11-14T22:13:20.000Z and 2023-11-14T22:13:21.500Z";
        assert_eq!(record.message, Some(message));
        assert_eq!(
            (record.name, record.level_no, record.level_name),
            (Some("logserv"), 30, Some("WARNING"))
        );
        assert_eq!((record.formatter, record.process_name), (7, Some("Worker-1")));
        assert_eq!((record.msecs, record.relative_created), (250.0, 7250.0));
        drops.told(reason, start);
        assert_eq!((drops.untold(), drops.due_in(start)), (0, None));
        drops.count(DropReason::QueueFull, &dropped, at(1_700_000_003, 0));
        assert!(
            drops
                .record(start + Duration::from_millis(999), at(0, 0))
                .is_none()
        );
        assert_eq!(
            drops.due_in(start + Duration::from_millis(999)),
            Some(Duration::from_millis(1))
        );
        let later = start + Duration::from_secs(1);
        assert!(drops.record(later, at(0, 0)).is_some());
        drops.count(DropReason::TooLong, &[], at(1_700_000_003, 0));
        drops.told(DropReason::QueueFull, later);
        assert_eq!(drops.record(later, at(0, 0)).unwrap().0, DropReason::TooLong);
        assert_eq!(
            (
                drops.total(DropReason::QueueFull),
                drops.total(DropReason::TooLong)
            ),
            (3, 1)
        );
    }
}
