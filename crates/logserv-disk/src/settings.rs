//! The settings of a file: what a handler class of `logging` and its arguments mean here.
//!
//! In: the class's dotted name and its arguments as JSON, from a client. Out: [`FileSettings`], or an error that names the
//! argument that is unknown, missing or of the wrong type. Pure: nothing is opened.

mod arguments;
mod newlines;
mod permissions;
mod rotated;
mod sync;

use serde_json::{Map, Value};

use crate::encoding::{Encoding, ErrorPolicy};
use crate::error::SettingsError;
use crate::form::Compression;
use crate::retention::Retention;
use crate::timed::{TimeOfDay, TimedRotation, When};
use arguments::Arguments;

pub use newlines::Newlines;
pub use permissions::{Account, Permissions};
pub use sync::SyncPolicy;

/// The handler classes that the server knows, by their names in `logging` and `logging.handlers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileClass {
    /// `FileHandler`
    File,
    /// `RotatingFileHandler`
    Rotating,
    /// `TimedRotatingFileHandler`
    TimedRotating,
    /// `WatchedFileHandler`
    Watched,
}

/// The handler's `mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// `a`
    Append,
    /// `w`. [`LogFile::open`](crate::LogFile::open) empties the file; whoever reconnects must ask for `Append`.
    Truncate,
}

/// When the file is replaced by a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotation {
    /// Never by itself.
    Never,
    /// By size, into `base.1`, `base.2`, ….
    Size {
        /// Bytes; a line that would reach them goes into a new file. 0 never rotates by itself.
        max_bytes: u64,
        /// Highest number kept; 0 never rotates.
        backup_count: u32,
    },
    /// By time, into `base.<date>`.
    Timed(TimedRotation),
}

/// The settings of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSettings {
    /// The handler class.
    pub class: FileClass,
    /// The file's name as the client gave it, for [`Roots::locate`](crate::Roots::locate).
    pub filename: String,
    /// Append or empty first.
    pub mode: OpenMode,
    /// The codec.
    pub encoding: Encoding,
    /// What becomes of characters that the codec lacks.
    pub errors: ErrorPolicy,
    /// Make the file with the first line, not before.
    pub delay: bool,
    /// What the caller puts behind each line.
    pub terminator: String,
    /// When the file is replaced.
    pub rotation: Rotation,
    /// When its lines are made durable.
    pub sync: SyncPolicy,
    /// Its mode, owner and group.
    pub permissions: Permissions,
    /// What becomes of line breaks within a record.
    pub newlines: Newlines,
    /// How its rotated files are compressed.
    pub compress: Option<Compression>,
    /// What is kept of its rotated files.
    pub retention: Retention,
}

impl Rotation {
    /// True if a file's size can be a reason to rotate it.
    pub(crate) fn goes_by_size(&self) -> bool {
        match self {
            Self::Never => false,
            Self::Size { .. } => true,
            Self::Timed(timed) => timed.max_bytes > 0,
        }
    }
}

impl FileClass {
    const ALL: [Self; 4] = [Self::File, Self::Rotating, Self::TimedRotating, Self::Watched];

    /// Finds a class by its dotted name (`logging.handlers.RotatingFileHandler`, `logserv.handlers.…`) or its last part.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (module, class) = name.rsplit_once('.').unwrap_or(("", name));
        let class = Self::ALL.into_iter().find(|known| known.name() == class)?;
        let known = match module {
            "" | "logserv.handlers" | "logging.handlers" => true,
            "logging" => class == Self::File,
            _ => false,
        };
        known.then_some(class)
    }

    /// The class's name without its module.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "FileHandler",
            Self::Rotating => "RotatingFileHandler",
            Self::TimedRotating => "TimedRotatingFileHandler",
            Self::Watched => "WatchedFileHandler",
        }
    }

    /// The class's own, and ours.
    fn all_argument_names(self) -> Vec<&'static str> {
        let of_rotated: &[&str] = match self {
            Self::File | Self::Watched => &[],
            Self::Rotating | Self::TimedRotating => &rotated::ARGUMENTS,
        };
        [
            self.argument_names(),
            of_rotated,
            &SyncPolicy::ARGUMENTS,
            &Permissions::ARGUMENTS,
            &[Newlines::ARGUMENT],
        ]
        .concat()
    }

    fn argument_names(self) -> &'static [&'static str] {
        match self {
            Self::File | Self::Watched => &["filename", "mode", "encoding", "delay", "errors", "terminator"],
            Self::Rotating => &[
                "filename",
                "mode",
                "maxBytes",
                "backupCount",
                "encoding",
                "delay",
                "errors",
                "terminator",
            ],
            Self::TimedRotating => &[
                "filename",
                "when",
                "interval",
                "backupCount",
                "encoding",
                "delay",
                "utc",
                "atTime",
                "maxBytes",
                "errors",
                "terminator",
            ],
        }
    }
}

impl FileSettings {
    /// Settings with every default of a class; the quickest way for the server's own files and for tests.
    #[must_use]
    pub fn new(class: FileClass, filename: &str) -> Self {
        let rotation = match class {
            FileClass::File | FileClass::Watched => Rotation::Never,
            FileClass::Rotating => Rotation::Size {
                max_bytes: 0,
                backup_count: 0,
            },
            FileClass::TimedRotating => Rotation::Timed(TimedRotation {
                when: When::Hours,
                interval: 1,
                backup_count: 0,
                utc: false,
                at_time: None,
                max_bytes: 0,
            }),
        };
        Self {
            class,
            filename: filename.to_owned(),
            mode: OpenMode::Append,
            encoding: Encoding::UTF_8,
            errors: ErrorPolicy::BackslashReplace,
            delay: false,
            terminator: "\n".to_owned(),
            rotation,
            sync: SyncPolicy::Never,
            permissions: Permissions::default(),
            newlines: Newlines::Keep,
            compress: None,
            retention: Retention::default(),
        }
    }

    /// What of these settings can hardly be meant, in words, for the server's log.
    #[must_use]
    pub fn doubt(&self) -> Option<String> {
        let max_bytes = match &self.rotation {
            Rotation::Never => 0,
            Rotation::Size { max_bytes, .. } => *max_bytes,
            Rotation::Timed(timed) => timed.max_bytes,
        };
        let most = self.retention.bytes.filter(|most| max_bytes > *most)?;
        Some(format!(
            "maxBytes={max_bytes} is more than retain_bytes={most}: of its rotated files only the newest is sure to be kept"
        ))
    }

    /// Reads what a client sent. `null` stands for an argument's default.
    ///
    /// # Errors
    /// A class that the server does not know; an argument that is missing, unknown to the class, or of a wrong type.
    pub fn from_arguments(
        handler_class: &str,
        arguments: &Map<String, Value>,
    ) -> Result<Self, SettingsError> {
        let class = FileClass::parse(handler_class).ok_or_else(|| unknown_class(handler_class))?;
        let arguments = Arguments::new(class.name(), &class.all_argument_names(), arguments)?;
        let filename = arguments.required_text("filename")?;
        let mut settings = Self::new(class, filename);
        settings.sync = SyncPolicy::read(&arguments)?;
        settings.permissions = Permissions::read(&arguments)?;
        settings.newlines = Newlines::read(&arguments)?;
        settings.compress = rotated::read_compress(&arguments)?;
        settings.retention = rotated::read_retention(&arguments)?;
        settings.delay = arguments.flag("delay")?.unwrap_or(false);
        if let Some(terminator) = arguments.text("terminator")? {
            terminator.clone_into(&mut settings.terminator);
        }
        if let Some(name) = arguments.text("encoding")? {
            let wanted = "the name of a codec of one or more whole bytes a character, such as \"utf-8\" or \"latin-1\"";
            settings.encoding = Encoding::parse(name).ok_or_else(|| arguments.wrong("encoding", wanted))?;
        }
        if let Some(name) = arguments.text("errors")? {
            let wanted = "\"strict\", \"ignore\", \"replace\", \"backslashreplace\" or \"xmlcharrefreplace\"";
            settings.errors = ErrorPolicy::parse(name).ok_or_else(|| arguments.wrong("errors", wanted))?;
        }
        match class {
            FileClass::File | FileClass::Watched => settings.mode = read_mode(&arguments)?,
            FileClass::Rotating => {
                let max_bytes = arguments.count("maxBytes", u64::MAX)?.unwrap_or(0);
                let backup_count = read_backup_count(&arguments)?;
                // The library's rule: who wants rotation cannot want yesterday's lines thrown away at each start.
                let mode = read_mode(&arguments)?;
                settings.mode = if max_bytes > 0 { OpenMode::Append } else { mode };
                settings.rotation = Rotation::Size {
                    max_bytes,
                    backup_count,
                };
            }
            FileClass::TimedRotating => settings.rotation = Rotation::Timed(read_timed(&arguments)?),
        }
        Ok(settings)
    }
}

fn read_mode(arguments: &Arguments<'_>) -> Result<OpenMode, SettingsError> {
    match arguments.text("mode")? {
        None | Some("a" | "at" | "a+" | "at+" | "a+t") => Ok(OpenMode::Append),
        Some("w" | "wt" | "w+" | "wt+" | "w+t") => Ok(OpenMode::Truncate),
        Some(_) => Err(arguments.wrong("mode", "\"a\" or \"w\"")),
    }
}

fn read_backup_count(arguments: &Arguments<'_>) -> Result<u32, SettingsError> {
    let count = arguments.count("backupCount", u64::from(u32::MAX))?.unwrap_or(0);
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

fn read_timed(arguments: &Arguments<'_>) -> Result<TimedRotation, SettingsError> {
    let when = match arguments.text("when")? {
        None => When::Hours,
        Some(text) => When::parse(text).ok_or_else(|| {
            arguments.wrong(
                "when",
                "\"S\", \"M\", \"H\", \"D\", \"midnight\" or \"W0\" (Monday) to \"W6\"",
            )
        })?,
    };
    let interval = arguments.count("interval", u64::from(u32::MAX))?.unwrap_or(1);
    let interval = u32::try_from(interval).ok().filter(|interval| *interval > 0);
    let at_time = match arguments.text("atTime")? {
        None => None,
        Some(text) => {
            Some(read_time(text).ok_or_else(|| arguments.wrong("atTime", "\"HH:MM:SS[.ffffff]\""))?)
        }
    };
    Ok(TimedRotation {
        when,
        interval: interval.ok_or_else(|| arguments.wrong("interval", "a whole number from 1"))?,
        backup_count: read_backup_count(arguments)?,
        utc: arguments.flag("utc")?.unwrap_or(false),
        at_time,
        max_bytes: arguments.count("maxBytes", u64::MAX)?.unwrap_or(0),
    })
}

/// `HH:MM:SS`, with up to six digits of a fraction, which has no effect.
fn read_time(text: &str) -> Option<TimeOfDay> {
    let (whole, fraction) = text
        .split_once('.')
        .map_or((text, None), |(whole, fraction)| (whole, Some(fraction)));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if fraction.is_some_and(|fraction| fraction.is_empty() || fraction.len() > 6 || !digits(fraction)) {
        return None;
    }
    let mut parts = whole.split(':');
    let mut part = |limit: u8| {
        let text = parts.next().filter(|part| part.len() == 2 && digits(part))?;
        text.parse().ok().filter(|number: &u8| *number < limit)
    };
    let time = TimeOfDay {
        hour: part(24)?,
        minute: part(60)?,
        second: part(60)?,
    };
    parts.next().is_none().then_some(time)
}

fn unknown_class(received: &str) -> SettingsError {
    let known = "logging.FileHandler, logging.handlers.RotatingFileHandler, logging.handlers.TimedRotatingFileHandler \
                 or logging.handlers.WatchedFileHandler";
    SettingsError {
        expected: format!("the handler class {known}"),
        received: crate::error::shown(received),
    }
}

#[cfg(test)]
mod tests;
