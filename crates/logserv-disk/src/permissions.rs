//! Who may read and write a file: its mode, owner and group, as a handler asks for them or as the file before had them.
//!
//! In: the settings, the file that was rotated away. Out: a new file is never readable by more than it is meant to be, at
//! no moment: it is made with less, and given the rest. Not here: reading the arguments (`settings/permissions.rs`).

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use crate::error::{OpenError, OpenErrorKind, errno_text, shown};
use crate::fs::{Fs, Stat};
use crate::settings::{Account, Permissions};
use crate::sys;

/// Mode of a new file before the umask is taken off.
const NEW_MODE: u32 = 0o666;
/// Read, write and execute bits: all that is handed on to the next file.
const BITS: u32 = 0o777;

/// What a file that is opened is to be like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Asked for by the handler: also of a file that exists.
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
    /// Of a new file that succeeds no other.
    umask: Option<u32>,
    /// Mode, owner and group of the file before, which a new one takes over as far as we may.
    before: Option<(u32, u32, u32)>,
    /// What the handler asks for and cannot have is no reason to refuse: lines come first, once the file has been opened.
    is_lenient: bool,
}

impl Wanted {
    /// Looks the names up. Blocks: on the system's database of users.
    ///
    /// # Errors
    /// A name that is not known here; an owner whose files this server would refuse to open again (`restricted`).
    pub fn resolve(permissions: &Permissions, restricted: bool) -> Result<Self, OpenError> {
        let uid = resolve(permissions.owner.as_ref(), "user", sys::uid_of)?;
        let own = rustix::process::geteuid().as_raw();
        if let Some(uid) = uid.filter(|uid| restricted && *uid != own) {
            let expected = format!(
                "file_owner to be uid {own}, the server's own: with --root it opens no other user's files. \
                 Run the server as the user whose files they are to be, or use file_group"
            );
            return Err(refusal(expected, format!("uid {uid}")));
        }
        Ok(Self {
            mode: permissions.mode,
            uid,
            gid: resolve(permissions.group.as_ref(), "group", sys::gid_of)?,
            umask: permissions.umask,
            before: None,
            is_lenient: false,
        })
    }

    /// The same for the file that comes after `before`.
    pub fn after(self, before: Option<&Stat>) -> Self {
        Self {
            before: before.map(|stat| (stat.mode & BITS, stat.uid, stat.gid)),
            ..self
        }
    }

    /// The same, taking what can be had.
    pub fn leniently(self) -> Self {
        Self {
            is_lenient: true,
            ..self
        }
    }

    /// The mode to make the file with. Whoever is not to read it cannot open it before it has its owner, either.
    pub fn creation_mode(&self) -> u32 {
        let mode = self.mode.unwrap_or(NEW_MODE);
        if self.uid.is_some() || self.gid.is_some() || self.before.is_some() {
            mode & 0o600
        } else {
            mode & !self.umask.unwrap_or(0)
        }
    }

    /// Gives an open file what is wanted of it. `path` is for messages.
    ///
    /// # Errors
    /// The kernel does not permit it: names who could. A file that was made stays, with less than was wanted.
    pub fn apply(
        &self,
        fs: &dyn Fs,
        file: BorrowedFd<'_>,
        stat: &Stat,
        created: bool,
        path: &str,
    ) -> Result<(), OpenError> {
        let before = self.before.filter(|_| created);
        let uid = self.uid.filter(|uid| *uid != stat.uid);
        let gid = self.gid.filter(|gid| *gid != stat.gid);
        let mut group_is_right = true;
        if (uid.is_some() || gid.is_some())
            && let Err(errno) = fs.set_owner(file, uid, gid)
        {
            if !self.is_lenient {
                return Err(not_permitted(errno, uid, gid, path));
            }
            group_is_right = gid.is_none() || fs.set_owner(file, None, gid).is_ok();
        }
        if let Some((_, uid, gid)) = before {
            // The handler's wish goes before.
            let uid = self.uid.is_none().then_some(uid).filter(|uid| *uid != stat.uid);
            let gid = self.gid.is_none().then_some(gid).filter(|gid| *gid != stat.gid);
            let is_right = (uid.is_none() && gid.is_none())
                || fs.set_owner(file, uid, gid).is_ok()
                || gid.is_none()
                || fs.set_owner(file, None, gid).is_ok();
            group_is_right &= is_right;
        }
        let inherited = before.map(|(mode, _, _)| mode);
        let by_umask = self.umask.filter(|_| created).map(|umask| NEW_MODE & !umask);
        // With an owner or a group of its own the file was made with less than it is to have.
        let is_owned = self.uid.is_some() || self.gid.is_some();
        let plain = (created && is_owned).then(|| NEW_MODE & !own_umask());
        let Some(mode) = self.mode.or(inherited).or(by_umask).or(plain) else {
            return Ok(());
        };
        let mode = if group_is_right { mode } else { without_group(mode) };
        if stat.mode & BITS == mode {
            return Ok(());
        }
        match fs.set_mode(file, mode) {
            Err(errno) if self.mode.is_some() && !self.is_lenient => {
                let expected = format!(
                    "to give {path} the mode {mode:04o}, which its owner (uid {}) and root may",
                    stat.uid
                );
                Err(refusal(expected, errno_text(errno)))
            }
            // As for the rest, the kernel has the last word.
            _ => Ok(()),
        }
    }
}

/// This process's umask, which can only be read there without changing it.
fn own_umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    umask
        .and_then(|text| u32::from_str_radix(text.trim(), 8).ok())
        .unwrap_or(0o077)
}

/// The rights of a group must not be given to another one: what others may, it may.
fn without_group(mode: u32) -> u32 {
    (mode & !0o070) | (mode & 0o007 & (mode >> 3)) << 3
}

fn resolve(
    account: Option<&Account>,
    kind: &str,
    lookup: impl Fn(&str) -> Option<u32>,
) -> Result<Option<u32>, OpenError> {
    match account {
        None => Ok(None),
        Some(Account::Id(id)) => Ok(Some(*id)),
        Some(Account::Name(name)) => lookup(name).map(Some).ok_or_else(|| {
            let argument = if kind == "user" {
                "file_owner"
            } else {
                "file_group"
            };
            let expected = format!("the name or number of a {kind} of the server's host for {argument}");
            refusal(expected, shown(name))
        }),
    }
}

fn not_permitted(errno: Errno, uid: Option<u32>, gid: Option<u32>, path: &str) -> OpenError {
    let own = rustix::process::geteuid().as_raw();
    let (what, need) = match (uid, gid) {
        (Some(uid), _) => (
            format!("the owner uid {uid}"),
            "needs the server to run as root, or as that user".to_owned(),
        ),
        (None, gid) => (
            format!("the group gid {}", gid.unwrap_or(0)),
            format!(
                "needs the server's user (uid {own}) to own it and to be a member of that group, or to be root"
            ),
        ),
    };
    refusal(format!("to give {path} {what}, which {need}"), errno_text(errno))
}

fn refusal(expected: String, received: String) -> OpenError {
    OpenError {
        kind: OpenErrorKind::Permissions,
        expected,
        received,
    }
}

#[cfg(test)]
mod tests {
    use super::without_group;

    #[test]
    fn the_rights_of_a_group_are_not_given_to_another() {
        assert_eq!(without_group(0o640), 0o600);
        assert_eq!(without_group(0o664), 0o644);
        assert_eq!(without_group(0o666), 0o666);
        assert_eq!(without_group(0o604), 0o604);
    }
}
