//! The field for a record's time: what `datetime` makes of `created`.
//!
//! In: `created` as the record has it, the producer's offset from UTC, a [`TimestampFormat`]. Out: JSON. Pure; reads no clock.
//! Not here: `asctime`, which `strftime` writes (`clock.rs`).

use std::fmt::Write as _;

use logserv_wire::value::Value;

use super::specification::TimestampFormat;
use super::value::Writer;
use crate::formatter::RenderError;
use crate::limits::CREATED_MAX_S;
use crate::repr::Doubt;

const OUT_OF_RANGE: RenderError = RenderError::Unsupported {
    what: "a created outside the years 1970 to 9999",
};
const NO_OFFSET: RenderError = RenderError::Unsupported {
    what: "a local time without the producer's offset",
};
const DAY_S: i64 = 86_400;

/// Appends the time `created` as `format` says.
///
/// # Errors
/// `Unsupported` where Python raises or may differ.
pub(super) fn push(
    created: &Value<'_>,
    offset_s: Option<i32>,
    format: TimestampFormat,
    writer: Writer,
    out: &mut String,
) -> Result<(), RenderError> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "within the range; checked to be exact where it matters"
    )]
    let created_s = match created {
        Value::Float(number) => *number,
        Value::Int(number) => *number as f64,
        _ => return Err(OUT_OF_RANGE),
    };
    if !(0.0..CREATED_MAX_S).contains(&created_s) {
        return Err(OUT_OF_RANGE);
    }
    match format {
        TimestampFormat::EpochS => return writer.push(created, out),
        TimestampFormat::EpochMs => {
            #[expect(clippy::cast_possible_truncation, reason = "below 2^53")]
            let milliseconds = (created_s * 1000.0).round_ties_even() as i64;
            return writer.push(&Value::Int(milliseconds), out);
        }
        TimestampFormat::IsoUtc | TimestampFormat::IsoLocal | TimestampFormat::IsoZ => {}
    }
    let (second, micros) = split(created_s);
    let offset_s = match (format, offset_s) {
        (TimestampFormat::IsoLocal, Some(offset_s)) => {
            #[expect(clippy::cast_possible_truncation, reason = "within the range just checked")]
            if second != created_s as i64 && writer.doubt == Doubt::Refuse {
                return Err(NO_OFFSET); // the offset is that of the second before
            }
            i64::from(offset_s)
        }
        (TimestampFormat::IsoLocal, None) if writer.doubt == Doubt::Refuse => return Err(NO_OFFSET),
        _ => 0,
    };
    let local = second + offset_s;
    let (year, month, day) = civil(local.div_euclid(DAY_S));
    let second_of_day = local.rem_euclid(DAY_S);
    let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
    // Writing to a String does not fail.
    let _ = write!(
        out,
        "\"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
    );
    if format == TimestampFormat::IsoZ {
        let _ = write!(out, ".{:03}Z\"", micros / 1000);
        return Ok(());
    }
    if micros != 0 {
        let _ = write!(out, ".{micros:06}");
    }
    let (sign, offset_s) = (if offset_s < 0 { '-' } else { '+' }, offset_s.abs());
    let _ = write!(out, "{sign}{:02}:{:02}", offset_s / 3600, offset_s / 60 % 60);
    if offset_s % 60 != 0 {
        let _ = write!(out, ":{:02}", offset_s % 60);
    }
    out.push('"');
    Ok(())
}

/// Seconds and microseconds, rounded as `datetime.fromtimestamp` rounds.
#[expect(clippy::cast_possible_truncation, reason = "the caller has checked the range")]
fn split(created_s: f64) -> (i64, i64) {
    let micros = (created_s.fract() * 1e6).round_ties_even() as i64;
    let second = created_s.trunc() as i64;
    if micros >= 1_000_000 {
        (second + 1, micros - 1_000_000)
    } else {
        (second, micros)
    }
}

/// Year, month and day of a day since 1970 of the Gregorian calendar. Counts in years from March on, so that a leap
/// day is the last one of its year.
fn civil(day: i64) -> (i64, i64, i64) {
    const DAYS_IN_400_YEARS: i64 = 146_097;
    const DAYS_FROM_YEAR_0: i64 = 719_468; // from March 1st of the year 0 to 1970
    let day = day + DAYS_FROM_YEAR_0;
    let era = day.div_euclid(DAYS_IN_400_YEARS);
    let day_of_era = day.rem_euclid(DAYS_IN_400_YEARS);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(created: f64, offset_s: Option<i32>, format: TimestampFormat) -> Result<String, RenderError> {
        let mut out = String::new();
        let writer = Writer {
            ensure_ascii: true,
            doubt: Doubt::Refuse,
        };
        push(&Value::Float(created), offset_s, format, writer, &mut out).map(|()| out)
    }

    #[test]
    fn times_are_those_of_datetime() {
        use TimestampFormat::{EpochMs, EpochS, IsoLocal, IsoUtc, IsoZ};
        for (created, offset_s, format, expected) in [
            (0.0, None, IsoUtc, "\"1970-01-01T00:00:00+00:00\""),
            (
                951_782_400.25,
                None,
                IsoUtc,
                "\"2000-02-29T00:00:00.250000+00:00\"",
            ),
            (1.0 - 1e-9, None, IsoUtc, "\"1970-01-01T00:00:01+00:00\""),
            (
                1e9 + 0.5,
                Some(-12_600),
                IsoLocal,
                "\"2001-09-08T22:16:40.500000-03:30\"",
            ),
            (1e9, Some(3_661), IsoLocal, "\"2001-09-09T02:47:41+01:01:01\""),
            (1e9 + 0.9996, None, IsoZ, "\"2001-09-09T01:46:40.999Z\""),
            (1e9 + 0.25, None, EpochS, "1000000000.25"),
            (1e9 + 0.0006, None, EpochMs, "1000000000001"),
            (253_402_214_399.0, None, IsoUtc, "\"9999-12-30T23:59:59+00:00\""),
        ] {
            assert_eq!(text(created, offset_s, format).unwrap(), expected);
        }
    }

    #[test]
    fn what_only_the_producer_knows_is_left_to_it() {
        assert!(text(1e9, None, TimestampFormat::IsoLocal).is_err());
        assert!(text(-1.0, None, TimestampFormat::IsoUtc).is_err());
        assert!(text(f64::NAN, None, TimestampFormat::EpochS).is_err());
    }
}
