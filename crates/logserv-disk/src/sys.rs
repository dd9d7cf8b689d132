//! The C library's calendar and its database of users: the only unsafe code of this crate.
//!
//! In: seconds since 1970; names. Out: year, month, …, as `time.localtime` and `time.gmtime` of CPython give them, because both
//! ask the same functions of the same library with the same time-zone data; the numbers of users and groups, wherever the
//! system keeps them.
#![expect(unsafe_code, reason = "these are C functions; the calls are argued below")]

use std::ffi::CString;

/// Bytes for an entry of the database of users or groups; a group of ten thousand members fits.
const ENTRY_BYTES: usize = 256 * 1024;

/// The number of a user. Blocks: on the system's database, which may be across a network.
pub(crate) fn uid_of(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    let mut buffer = vec![0_u8; ENTRY_BYTES];
    // SAFETY: `passwd` is integers and nullable pointers: all zeros is valid.
    let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
    let mut found = std::ptr::null_mut();
    // SAFETY: the name ends in NUL; the function writes `entry`, `found`, and at most the given length of `buffer`, all of
    // which outlive the call.
    unsafe {
        libc::getpwnam_r(
            name.as_ptr(),
            &raw mut entry,
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            &raw mut found,
        );
    }
    (!found.is_null()).then_some(entry.pw_uid)
}

/// The number of a group. Blocks: as [`uid_of`].
pub(crate) fn gid_of(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    let mut buffer = vec![0_u8; ENTRY_BYTES];
    // SAFETY: as above.
    let mut entry: libc::group = unsafe { std::mem::zeroed() };
    let mut found = std::ptr::null_mut();
    // SAFETY: as above.
    unsafe {
        libc::getgrnam_r(
            name.as_ptr(),
            &raw mut entry,
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            &raw mut found,
        );
    }
    (!found.is_null()).then_some(entry.gr_gid)
}

/// A moment in calendar terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CalendarTime {
    /// The year, e.g. 2026.
    pub year: i64,
    /// 1 to 12.
    pub month: i32,
    /// 1 to 31.
    pub day: i32,
    /// 0 to 23.
    pub hour: i32,
    /// 0 to 59.
    pub minute: i32,
    /// 0 to 60.
    pub second: i32,
    /// 0 (Monday) to 6 (Sunday), as in Python.
    pub weekday: i32,
    /// 1 while daylight-saving time is in effect, else 0.
    pub is_dst: i32,
}

/// The calendar time of `seconds` since 1970 in the process's time zone. Blocks: on its first call, reading the zone's file.
pub(crate) fn local_time(seconds: i64) -> CalendarTime {
    calendar(seconds, false)
}

/// The calendar time of `seconds` since 1970 in UTC.
pub(crate) fn utc_time(seconds: i64) -> CalendarTime {
    calendar(seconds, true)
}

fn calendar(seconds: i64, utc: bool) -> CalendarTime {
    // SAFETY: `tm` is plain integers and a nullable pointer to a static zone name, which we never read: all zeros is valid.
    let mut broken: libc::tm = unsafe { std::mem::zeroed() };
    let time: libc::time_t = seconds;
    // SAFETY: both functions read `time` and write `broken`, which live in this frame; the `_r` forms share no result.
    let done = unsafe {
        if utc {
            libc::gmtime_r(&raw const time, &raw mut broken)
        } else {
            libc::localtime_r(&raw const time, &raw mut broken)
        }
    };
    if done.is_null() && seconds != 0 {
        // Only a year beyond 32 bits fails; such a clock has no calendar, and 1970 is as good as any date.
        return calendar(0, utc);
    }
    CalendarTime {
        year: i64::from(broken.tm_year) + 1900,
        month: broken.tm_mon + 1,
        day: broken.tm_mday,
        hour: broken.tm_hour,
        minute: broken.tm_min,
        second: broken.tm_sec,
        weekday: (broken.tm_wday + 6) % 7,
        is_dst: broken.tm_isdst,
    }
}
