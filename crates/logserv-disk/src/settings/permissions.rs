//! What a file's mode, owner and group are to be: the arguments `file_mode`, `file_owner`, `file_group`, and `umask`.
//!
//! In: a handler's arguments. Out: [`Permissions`]. Pure: names are looked up when the file is opened (`permissions.rs`).

use super::arguments::Arguments;
use crate::error::SettingsError;

/// Permission bits that a file can be given; set-id and sticky bits have no place on a log file.
const MODE_MAX: u32 = 0o777;

/// A user or a group, as a handler names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// By number.
    Id(u32),
    /// By a name of the server's host.
    Name(String),
}

/// What a file's mode, owner and group are to be. The default leaves them to the kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permissions {
    /// Taken from 0666 for a file that succeeds no other; none: the server's own.
    pub umask: Option<u32>,
    /// The mode, whatever the umask.
    pub mode: Option<u32>,
    /// The owner.
    pub owner: Option<Account>,
    /// The group.
    pub group: Option<Account>,
}

impl Permissions {
    /// The names of the arguments. `umask` is what `logserv.handlers` sends of its process.
    pub(super) const ARGUMENTS: [&'static str; 4] = ["file_mode", "file_owner", "file_group", "umask"];

    pub(super) fn read(arguments: &Arguments<'_>) -> Result<Self, SettingsError> {
        Ok(Self {
            umask: read_umask(arguments)?,
            mode: read_mode(arguments)?,
            owner: read_account(arguments, "file_owner", "a user's name or number")?,
            group: read_account(arguments, "file_group", "a group's name or number")?,
        })
    }
}

fn read_umask(arguments: &Arguments<'_>) -> Result<Option<u32>, SettingsError> {
    let umask = arguments.count("umask", u64::from(MODE_MAX))?;
    Ok(umask.and_then(|umask| u32::try_from(umask).ok()))
}

/// A number, or octal text as `chmod` takes it.
fn read_mode(arguments: &Arguments<'_>) -> Result<Option<u32>, SettingsError> {
    let wanted = "a number from 0 to 0o777, or octal text such as \"0640\", which leaves the owner reading and writing (0600),";
    let mode = match arguments.integer_or_text("file_mode") {
        None => return Ok(None),
        Some(Ok(number)) => u32::try_from(number).ok(),
        Some(Err(text)) => octal(text),
    };
    // A file that its writer cannot open again is no log file.
    mode.filter(|mode| *mode <= MODE_MAX && mode & 0o600 == 0o600)
        .map(Some)
        .ok_or_else(|| arguments.wrong("file_mode", wanted))
}

fn octal(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let is_octal =
        (1..=4).contains(&digits.len()) && digits.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    is_octal.then(|| u32::from_str_radix(digits, 8).ok()).flatten()
}

fn read_account(
    arguments: &Arguments<'_>,
    name: &str,
    wanted: &str,
) -> Result<Option<Account>, SettingsError> {
    let account = match arguments.integer_or_text(name) {
        None => return Ok(None),
        // The highest number stands for "no change" in the kernel's call.
        Some(Ok(number)) => u32::try_from(number)
            .ok()
            .filter(|id| *id < u32::MAX)
            .map(Account::Id),
        Some(Err(text)) => is_name(text).then(|| Account::Name(text.to_owned())),
    };
    account.map(Some).ok_or_else(|| arguments.wrong(name, wanted))
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 256 && !text.contains(|byte: char| byte.is_control() || byte == ':')
}
