//! Where a user's personal server listens: one path that clients, the server and `logserv status` find by the same rule.
//!
//! In: `$LOGSERV_SOCKET`, `$XDG_RUNTIME_DIR`, the effective user, the mount namespace. Out: the socket's path, or what is
//! wrong with the place; on wish the directory. Nobody else can put anything into that directory: whoever could, would
//! receive the user's records. Not here: who listens there, and whether anybody does.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, FileType, Mode};
use rustix::io::Errno;

use crate::directory::{own_uid, type_name};
use crate::limits::SOCKET_PATH_BYTES_MAX;

/// The variable that names the socket.
const SOCKET_VARIABLE: &str = "LOGSERV_SOCKET";
/// The variable that names the user's runtime directory.
const RUNTIME_VARIABLE: &str = "XDG_RUNTIME_DIR";
/// Mode of the directory: its owner's alone.
const MODE: u32 = 0o700;
/// Bits of a mode that let others change what is in a directory.
const OTHERS_WRITE: u32 = 0o022;

/// Where the place was ours to choose.
const CHANGE_IT: &str = "change that, or name another socket in LOGSERV_SOCKET";
/// Where the user has named the socket: its directory may be everybody's, and right as it is.
const NAME_ANOTHER: &str = "name a socket in a directory of your own in LOGSERV_SOCKET";

/// Why there is no place for the personal server's socket. Nothing has been made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PersonalSocketError {
    /// What is at the directory's place cannot be trusted.
    #[error(
        "expected {} to be {expected}, received {received}; {advice}",
        .path.display()
    )]
    Refused {
        /// The directory.
        path: PathBuf,
        /// What it must be.
        expected: String,
        /// What it is.
        received: String,
        /// What to do.
        advice: &'static str,
    },
    /// The socket's path does not fit an address.
    #[error(
        "expected a socket's path of at most {SOCKET_PATH_BYTES_MAX} bytes, received {} of {} bytes; name a shorter one in LOGSERV_SOCKET",
        .path.display(), .path.as_os_str().len()
    )]
    TooLong {
        /// The socket.
        path: PathBuf,
    },
    /// None of the usual directories can be used.
    #[error(
        "expected a writable directory for the personal server's socket, received {received}; name a socket in LOGSERV_SOCKET"
    )]
    NoPlace {
        /// What is wrong with each.
        received: String,
    },
    /// The kernel refused.
    #[error("cannot {doing} {}: {source}", .path.display())]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// The kernel's words.
        source: std::io::Error,
    },
}

/// The path of the personal server's socket for this process, absolute. Makes nothing, and does not say that anybody
/// listens. Blocks: for a few system calls.
///
/// `$LOGSERV_SOCKET`; else `logserv-N.sock`, with N the number of the process's mount namespace (in another one the same
/// path is another file), in the first of these directories whose parent is the user's own and writable:
/// `$XDG_RUNTIME_DIR/logserv`, `/run/user/UID/logserv`; else in `/tmp/logserv-UID`.
///
/// Reads the environment: not while another thread of a program changes it; see [`personal_socket_of`].
///
/// # Errors
/// A directory that is not the user's own, or that others may write to; no place at all.
pub fn personal_socket() -> Result<PathBuf, PersonalSocketError> {
    personal_socket_of(
        std::env::var_os(SOCKET_VARIABLE),
        std::env::var_os(RUNTIME_VARIABLE),
    )
}

/// [`personal_socket`] for given values of `LOGSERV_SOCKET` and `XDG_RUNTIME_DIR`; empty ones count as none.
///
/// # Errors
/// As there.
pub fn personal_socket_of(
    socket: Option<OsString>,
    runtime: Option<OsString>,
) -> Result<PathBuf, PersonalSocketError> {
    let set = |value: Option<OsString>| value.filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(socket) = set(socket) {
        let socket = std::path::absolute(&socket).map_err(|source| PersonalSocketError::Io {
            doing: "find the working directory for",
            path: socket,
            source,
        })?;
        check_named(parent_of(&socket))?;
        return fitting(socket);
    }
    let uid = own_uid();
    Place {
        uid,
        runtime: set(runtime),
        run_user: PathBuf::from(format!("/run/user/{uid}")),
        temporary: PathBuf::from("/tmp"),
    }
    .socket(&socket_name())
}

/// Makes the directory of a personal server's socket where it is missing, and checks it. Its parent is never made.
///
/// # Errors
/// As [`personal_socket`], and those of `mkdir(2)`.
pub fn make_personal_directory(socket: &Path) -> Result<(), PersonalSocketError> {
    let directory = parent_of(socket);
    match rustix::fs::mkdir(directory, Mode::from_raw_mode(MODE)) {
        // A strange umask or a set-group-id parent must not shape it.
        Ok(()) => rustix::fs::chmod(directory, Mode::from_raw_mode(MODE))
            .map_err(|errno| failed("set the mode of", directory, errno))?,
        Err(Errno::EXIST) => {}
        Err(errno) => return Err(failed("make", directory, errno)),
    }
    check_named(directory)
}

/// Where the usual directories are.
struct Place {
    uid: u32,
    runtime: Option<PathBuf>,
    run_user: PathBuf,
    temporary: PathBuf,
}

impl Place {
    fn socket(&self, name: &str) -> Result<PathBuf, PersonalSocketError> {
        let mut unusable = Vec::new();
        let runtimes = self.runtime.iter().chain([&self.run_user]);
        for runtime in runtimes {
            match self.why_not(runtime) {
                None => {
                    let directory = runtime.join("logserv");
                    self.check_own(&directory)?;
                    return fitting(directory.join(name));
                }
                Some(why) => unusable.push(format!("{}: {why}", runtime.display())),
            }
        }
        let directory = self.temporary.join(format!("logserv-{}", self.uid));
        let exists = self.check_own(&directory)?;
        let wanted = if exists { &directory } else { &self.temporary };
        if let Err(errno) = writable(wanted) {
            unusable.push(format!("{}: {}", wanted.display(), text_of(errno)));
            return Err(PersonalSocketError::NoPlace {
                received: unusable.join("; "),
            });
        }
        fitting(directory.join(name))
    }

    /// Why a runtime directory is not used. One of another user is no mistake: `sudo` may keep the variable.
    fn why_not(&self, runtime: &Path) -> Option<String> {
        if !runtime.is_absolute() {
            return Some("not an absolute path".into());
        }
        match rustix::fs::stat(runtime) {
            Err(errno) => Some(text_of(errno)),
            Ok(stat) if stat.st_uid != self.uid => {
                Some(format!("owned by uid {}, not {}", stat.st_uid, self.uid))
            }
            Ok(stat) if stat.st_mode & OTHERS_WRITE != 0 => {
                Some(format!("writable by others (mode {:04o})", stat.st_mode & 0o7777))
            }
            Ok(_) => {
                let directory = runtime.join("logserv");
                let exists = directory.symlink_metadata().is_ok();
                let wanted = if exists { &directory } else { runtime };
                writable(wanted).err().map(text_of)
            }
        }
    }

    /// Whether the directory exists; if so, it is the user's alone.
    fn check_own(&self, directory: &Path) -> Result<bool, PersonalSocketError> {
        let Some((uid, mode)) = look(directory)? else {
            return Ok(false);
        };
        let refused = |expected: String, received: String| PersonalSocketError::Refused {
            path: directory.to_owned(),
            expected,
            received,
            advice: CHANGE_IT,
        };
        if uid != self.uid {
            return Err(refused(
                format!("owned by uid {}", self.uid),
                format!("owner {uid}"),
            ));
        }
        if mode != MODE {
            return Err(refused(format!("of mode {MODE:04o}"), format!("{mode:04o}")));
        }
        Ok(true)
    }
}

/// Checks the directory of a socket that was named, where it exists: nobody but the user and root can put anything there.
fn check_named(directory: &Path) -> Result<(), PersonalSocketError> {
    let own = own_uid();
    let refused = |expected: String, received: String| PersonalSocketError::Refused {
        path: directory.to_owned(),
        expected,
        received,
        advice: NAME_ANOTHER,
    };
    match look(directory)? {
        Some((uid, _)) if uid != own && uid != 0 => Err(refused(
            format!("owned by uid {own} or root"),
            format!("owner {uid}"),
        )),
        Some((_, mode)) if mode & OTHERS_WRITE != 0 => Err(refused(
            "writable by its owner only".into(),
            format!("mode {mode:04o}"),
        )),
        _ => Ok(()),
    }
}

/// The owner and the mode of a directory, if there is something.
fn look(directory: &Path) -> Result<Option<(u32, u32)>, PersonalSocketError> {
    let stat = match rustix::fs::statat(rustix::fs::CWD, directory, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(failed("look at", directory, errno)),
    };
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind != FileType::Directory {
        return Err(PersonalSocketError::Refused {
            path: directory.to_owned(),
            expected: "a directory".into(),
            received: type_name(kind).into(),
            advice: CHANGE_IT,
        });
    }
    Ok(Some((stat.st_uid, stat.st_mode & 0o7777)))
}

/// By the effective user's rights; root is stopped by a read-only file system only.
fn writable(directory: &Path) -> Result<(), Errno> {
    let wanted = Access::WRITE_OK | Access::EXEC_OK;
    rustix::fs::accessat(rustix::fs::CWD, directory, wanted, AtFlags::EACCESS)
}

/// The number of the process's mount namespace, as far as the kernel tells it. Blocks: for a system call.
#[must_use]
pub fn mount_namespace() -> Option<u64> {
    let namespace = rustix::fs::stat("/proc/self/ns/mnt").ok()?;
    Some(namespace.st_ino)
}

fn socket_name() -> String {
    mount_namespace().map_or_else(
        || "logserv.sock".into(),
        |number| format!("logserv-{number}.sock"),
    )
}

fn fitting(socket: PathBuf) -> Result<PathBuf, PersonalSocketError> {
    if socket.as_os_str().as_bytes().len() > SOCKET_PATH_BYTES_MAX {
        return Err(PersonalSocketError::TooLong { path: socket });
    }
    Ok(socket)
}

fn parent_of(socket: &Path) -> &Path {
    socket.parent().unwrap_or(Path::new("/"))
}

fn text_of(errno: Errno) -> String {
    std::io::Error::from(errno).to_string()
}

fn failed(doing: &'static str, path: &Path, errno: Errno) -> PersonalSocketError {
    PersonalSocketError::Io {
        doing,
        path: path.to_owned(),
        source: errno.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn place(base: &Path) -> Place {
        Place {
            uid: own_uid(),
            runtime: Some(base.join("runtime")),
            run_user: base.join("user"),
            temporary: base.to_owned(),
        }
    }

    fn directory(path: &Path, mode: u32) {
        fs::create_dir(path).unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_first_directory_of_ones_own_is_taken_and_nothing_made() {
        let base = tempfile::tempdir().unwrap();
        let place = place(base.path());
        let temporary = base.path().join(format!("logserv-{}/s", own_uid()));
        assert_eq!(place.socket("s").unwrap(), temporary);
        directory(&place.run_user, 0o700);
        assert_eq!(place.socket("s").unwrap(), base.path().join("user/logserv/s"));
        directory(&base.path().join("runtime"), 0o777);
        assert_eq!(
            place.socket("s").unwrap(),
            base.path().join("user/logserv/s"),
            "others may write to it"
        );
        fs::set_permissions(base.path().join("runtime"), Permissions::from_mode(0o700)).unwrap();
        assert_eq!(place.socket("s").unwrap(), base.path().join("runtime/logserv/s"));
        assert_eq!(fs::read_dir(base.path().join("runtime")).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_of_another_user_or_open_to_others_is_refused_and_named() {
        let base = tempfile::tempdir().unwrap();
        let mut place = place(base.path());
        directory(&base.path().join("runtime"), 0o700);
        let trap = base.path().join("runtime/logserv");
        directory(&trap, 0o750);
        let error = place.socket("s").unwrap_err().to_string();
        assert!(error.contains("of mode 0700, received 0750"), "{error}");
        fs::remove_dir(&trap).unwrap();
        std::os::unix::fs::symlink("/tmp", &trap).unwrap();
        let error = place.socket("s").unwrap_err().to_string();
        assert!(error.contains("a directory, received a symbolic link"), "{error}");
        // The runtime directory of the user whom `sudo` has left is passed over, a trap in /tmp is not.
        place.uid += 1;
        let foreign = base.path().join(format!("logserv-{}", place.uid));
        directory(&foreign, 0o700);
        let error = place.socket("s").unwrap_err().to_string();
        assert!(error.contains(&format!("owned by uid {}", place.uid)), "{error}");
    }

    #[test]
    fn a_named_socket_is_taken_as_it_is_or_refused_and_never_replaced_by_another() {
        let base = tempfile::tempdir().unwrap();
        let named = |path: &Path| personal_socket_of(Some(path.into()), None);
        let socket = base.path().join("new/s.sock");
        assert_eq!(named(&socket).unwrap(), socket);
        make_personal_directory(&socket).unwrap();
        let mode = fs::metadata(base.path().join("new"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o700);
        fs::set_permissions(base.path().join("new"), Permissions::from_mode(0o770)).unwrap();
        for error in [
            named(&socket).unwrap_err(),
            make_personal_directory(&socket).unwrap_err(),
        ] {
            let error = error.to_string();
            assert!(
                error.contains(
                    "writable by its owner only, received mode 0770; name a socket in a directory of your own"
                ),
                "{error}"
            );
        }
        let error = named(&base.path().join("s".repeat(108))).unwrap_err();
        assert!(matches!(error, PersonalSocketError::TooLong { .. }), "{error}");
        let lost = base.path().join("not/there/s.sock");
        assert!(matches!(
            make_personal_directory(&lost),
            Err(PersonalSocketError::Io { .. })
        ));
    }
}
