//! When a timed file is rotated, and how the rotated one is named: `TimedRotatingFileHandler` of CPython 3.13.
//!
//! In: the settings, a time in seconds since 1970, a calendar. Out: the time of the next rotation, a date suffix, and
//! whether a suffix is one of ours. Pure but for the calendar; the daylight-saving corrections are CPython's, to the second.
//! Not here: which rotated files are deleted (`retention.rs`), and the renaming (`log_file.rs`).

use crate::sys::{CalendarTime, local_time, utc_time};

const DAY_S: i64 = 24 * 60 * 60;
const WEEK_S: i64 = 7 * DAY_S;

/// The handler's `when`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// `S`
    Seconds,
    /// `M`
    Minutes,
    /// `H`
    Hours,
    /// `D`: days from the start, not calendar days
    Days,
    /// `MIDNIGHT`, or the time of day in `atTime`
    Midnight,
    /// `W0` (Monday) to `W6`
    Weekday(u8),
}

/// The handler's `atTime`. Its fraction of a second has no effect, as in the standard library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeOfDay {
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
}

/// The settings of a timed rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimedRotation {
    /// The unit.
    pub when: When,
    /// Units between rotations, at least 1.
    pub interval: u32,
    /// Rotated files that are kept; 0 keeps all.
    pub backup_count: u32,
    /// Reckon in UTC instead of the server's time zone.
    pub utc: bool,
    /// For `Midnight` and `Weekday`: rotate at this time instead of 00:00.
    pub at_time: Option<TimeOfDay>,
    /// Bytes; a line that would reach them goes into a new file before the time has come. 0: only the time counts.
    pub max_bytes: u64,
}

impl When {
    /// Reads `S`, `m`, `midnight`, `W0`, …; the case does not matter.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_uppercase().as_str() {
            "S" => Some(Self::Seconds),
            "M" => Some(Self::Minutes),
            "H" => Some(Self::Hours),
            "D" => Some(Self::Days),
            "MIDNIGHT" => Some(Self::Midnight),
            other => match other.as_bytes() {
                [b'W', day @ b'0'..=b'6'] => Some(Self::Weekday(day - b'0')),
                _ => None,
            },
        }
    }

    /// Seconds in one unit.
    fn unit_s(self) -> i64 {
        match self {
            Self::Seconds => 1,
            Self::Minutes => 60,
            Self::Hours => 60 * 60,
            Self::Days | Self::Midnight => DAY_S,
            Self::Weekday(_) => WEEK_S,
        }
    }

    /// The suffix with a `0` for each digit.
    fn pattern(self) -> &'static str {
        match self {
            Self::Seconds => "0000-00-00_00-00-00",
            Self::Minutes => "0000-00-00_00-00",
            Self::Hours => "0000-00-00_00",
            Self::Days | Self::Midnight | Self::Weekday(_) => "0000-00-00",
        }
    }
}

impl TimedRotation {
    /// Seconds between rotations.
    #[must_use]
    pub fn interval_s(&self) -> i64 {
        self.when.unit_s() * i64::from(self.interval)
    }

    /// The standard library's `computeRollover`, in seconds since 1970.
    #[must_use]
    pub fn compute_rollover(&self, now: i64) -> i64 {
        let plain = now.saturating_add(self.interval_s());
        let weekday = match self.when {
            When::Midnight => None,
            When::Weekday(day) => Some(i64::from(day)),
            _ => return plain,
        };
        let today = self.calendar(now);
        let at = self.at_time.map_or(DAY_S, |at| {
            seconds_of(at.hour.into(), at.minute.into(), at.second.into())
        });
        let mut day = i64::from(today.weekday);
        let mut wait = at - seconds_of(today.hour.into(), today.minute.into(), today.second.into());
        if wait <= 0 {
            // That time of today is over.
            wait += DAY_S;
            day = (day + 1) % 7;
        }
        // A weekday is waited for from `day` on, and an interval over one unit is added whole, as the library does.
        let days = weekday.map_or(0, |weekday| (weekday - day).rem_euclid(7));
        let further = self.interval_s() - self.when.unit_s();
        let result = now.saturating_add(wait + days * DAY_S + further);
        if self.utc {
            result
        } else {
            corrected(result, today.is_dst)
        }
    }

    /// The next rotation after `now`. `compute_rollover` can answer a time that is over, when clocks go forward within the
    /// hour before it; the library then tries with every record. We add intervals, as CPython 3.11 did.
    pub(crate) fn next_rollover(&self, now: i64) -> i64 {
        let computed = self.compute_rollover(now);
        if computed > now {
            return computed;
        }
        let interval = self.interval_s().max(1);
        computed.saturating_add(((now - computed) / interval + 1).saturating_mul(interval))
    }

    /// True if a rotation this far ahead was computed by a clock that has been set back since.
    pub(crate) fn is_beyond(&self, rollover_at: i64, now: i64) -> bool {
        rollover_at > now.saturating_add(self.interval_s() + DAY_S + 3600)
    }

    /// The suffix of the file that is rotated at `now`, having been due at `rollover_at`: the start of its interval.
    #[must_use]
    pub fn suffix(&self, rollover_at: i64, now: i64) -> String {
        let start = rollover_at.saturating_sub(self.interval_s());
        let mut time = self.calendar(start);
        if !self.utc {
            let dst_now = local_time(now).is_dst;
            if dst_now != time.is_dst {
                time = local_time(start.saturating_add(if dst_now == 0 { -3600 } else { 3600 }));
            }
        }
        let date = format!("{:04}-{:02}-{:02}", time.year, time.month, time.day);
        match self.when {
            When::Seconds => format!("{date}_{:02}-{:02}-{:02}", time.hour, time.minute, time.second),
            When::Minutes => format!("{date}_{:02}-{:02}", time.hour, time.minute),
            When::Hours => format!("{date}_{:02}", time.hour),
            When::Days | When::Midnight | When::Weekday(_) => date,
        }
    }

    /// Reads what follows `base.` in a rotated file's name: its date, and the number behind it (0 for none).
    pub(crate) fn read_suffix<'s>(&self, suffix: &'s [u8]) -> Option<(&'s [u8], u32)> {
        let pattern = self.when.pattern().as_bytes();
        let (date, rest) = suffix.split_at_checked(pattern.len())?;
        let matches = date.iter().zip(pattern).all(|(byte, like)| match like {
            b'0' => byte.is_ascii_digit(),
            like => byte == like,
        });
        let number = match rest {
            [] => Some(0),
            [b'.', digits @ ..] => crate::chain::read_number(digits),
            _ => None,
        };
        matches.then_some(date).zip(number)
    }

    fn calendar(&self, seconds: i64) -> CalendarTime {
        if self.utc {
            utc_time(seconds)
        } else {
            local_time(seconds)
        }
    }
}

/// CPython's correction: an hour, whatever the zone's rule (Lord Howe's is half of one).
fn corrected(result: i64, dst_now: i32) -> i64 {
    if dst_now == local_time(result).is_dst {
        result
    } else if dst_now != 0 {
        result + 3600
    } else if local_time(result - 3600).is_dst != 0 {
        result - 3600
    } else {
        result
    }
}

fn seconds_of(hour: i64, minute: i64, second: i64) -> i64 {
    (hour * 60 + minute) * 60 + second
}

#[cfg(test)]
mod tests {
    use super::{TimeOfDay, TimedRotation, When};

    fn rotation(when: &str, interval: u32) -> TimedRotation {
        TimedRotation {
            when: When::parse(when).unwrap(),
            interval,
            backup_count: 0,
            utc: true,
            at_time: None,
            max_bytes: 0,
        }
    }

    #[test]
    fn midnight_rotates_at_the_next_midnight() {
        // 2026-01-01 was a Thursday; 1767225600 is its midnight.
        assert_eq!(
            rotation("midnight", 1).compute_rollover(1_767_225_600 + 5),
            1_767_225_600 + 86_400
        );
        assert_eq!(
            rotation("MIDNIGHT", 3).compute_rollover(1_767_225_600),
            1_767_225_600 + 3 * 86_400
        );
        let noon = TimedRotation {
            at_time: Some(TimeOfDay {
                hour: 12,
                minute: 0,
                second: 0,
            }),
            ..rotation("midnight", 1)
        };
        assert_eq!(noon.compute_rollover(1_767_225_600), 1_767_225_600 + 43_200);
        assert_eq!(
            noon.compute_rollover(1_767_225_600 + 43_200),
            1_767_225_600 + 86_400 + 43_200
        );
    }

    #[test]
    fn a_weekday_rotates_at_the_end_of_that_day() {
        assert_eq!(
            rotation("W0", 1).compute_rollover(1_767_225_600 + 1),
            1_767_225_600 + 5 * 86_400
        );
        assert_eq!(
            rotation("w3", 1).compute_rollover(1_767_225_600 + 1),
            1_767_225_600 + 86_400
        );
    }

    #[test]
    fn only_dates_of_the_same_form_are_suffixes() {
        let midnight = rotation("midnight", 1);
        assert_eq!(midnight.read_suffix(b"2026-01-01"), Some((&b"2026-01-01"[..], 0)));
        assert_eq!(
            midnight.read_suffix(b"2026-01-01.12"),
            Some((&b"2026-01-01"[..], 12))
        );
        for foreign in [
            "2026-01-0",
            "2026-01-011",
            "2026-01-01.gz",
            "2026-01-01.",
            "2026-01-01.0",
            "2026-01-01.01",
            "1",
            "",
        ] {
            assert_eq!(midnight.read_suffix(foreign.as_bytes()), None, "{foreign}");
        }
        assert!(rotation("H", 1).read_suffix(b"2026-01-01_05").is_some());
        assert!(rotation("H", 1).read_suffix(b"2026-01-01").is_none());
    }
}
