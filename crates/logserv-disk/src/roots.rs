//! The directories beneath which files may be named.
//!
//! In: the operator's `--root` directories, once, at start; then names from anybody. Out: a [`Location`] (a directory that
//! is held open, and one name in it), or a typed refusal. Nothing is created, and no symbolic link beneath a root followed.
//! Not here: what the named file must be like; that is `active.rs`.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::{PathError, PathErrorKind, RootsError, errno_text, shown};
use crate::limits::{NAME_BYTES_MAX, OPEN_ATTEMPTS_MAX, PATH_BYTES_MAX};
use crate::location::{InUse, Location};

/// The directories beneath which files may be named; canonical from the start.
#[derive(Debug, Clone)]
pub struct Roots {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Takes relative names.
    first: Root,
    others: Vec<Root>,
    /// False for the personal server: dots, links and ownership are left to the kernel.
    restricted: bool,
    in_use: InUse,
}

#[derive(Debug)]
struct Root {
    /// As given, made absolute: a client may spell it this way although it leads through a symbolic link.
    given: PathBuf,
    canonical: PathBuf,
}

/// A name split into a root and what is beneath it.
struct Beneath<'r> {
    root: &'r Root,
    parents: PathBuf,
    name: String,
}

impl Roots {
    /// Takes the directories; an empty list means the working directory. Blocks: on looking them up.
    ///
    /// # Errors
    /// One that does not exist, is not a directory or cannot be entered.
    pub fn new(directories: &[PathBuf]) -> Result<Self, RootsError> {
        let (first, others) = match directories.split_first() {
            Some((first, others)) => (Root::new(first)?, others),
            None => (Root::new(Path::new("."))?, directories),
        };
        let others = others
            .iter()
            .map(|directory| Root::new(directory))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            inner: Arc::new(Inner {
                first,
                others,
                restricted: true,
                in_use: InUse::default(),
            }),
        })
    }

    /// The whole file system, dots, links and other owners' files included, as far as the kernel lets us: for the
    /// personal server, which serves its own user only.
    #[must_use]
    pub fn unrestricted() -> Self {
        let first = Root {
            given: PathBuf::from("/"),
            canonical: PathBuf::from("/"),
        };
        Self {
            inner: Arc::new(Inner {
                first,
                others: Vec::new(),
                restricted: false,
                in_use: InUse::default(),
            }),
        }
    }

    /// The roots, canonical, in the order given.
    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        self.all().map(|root| root.canonical.as_path())
    }

    /// False for [`Roots::unrestricted`].
    #[must_use]
    pub fn is_restricted(&self) -> bool {
        self.inner.restricted
    }

    pub(crate) fn in_use(&self) -> &InUse {
        &self.inner.in_use
    }

    /// Finds where `filename` leads: relative names beneath the first root, absolute ones beneath any.
    ///
    /// The directory is opened, the file is not looked at. Blocks: on looking up directories.
    ///
    /// # Errors
    /// A name that is no file's name, or not ours to write; a directory on the way that is missing or refused.
    pub fn locate(&self, filename: &str) -> Result<Location, PathError> {
        let beneath = self.split(filename)?;
        let directory = self.open_directory(&beneath, filename)?;
        let mut path = beneath.root.canonical.join(&beneath.parents);
        path.push(&beneath.name);
        Location::new(self.clone(), filename, directory, beneath.name.into(), path)
    }

    fn split(&self, filename: &str) -> Result<Beneath<'_>, PathError> {
        let refuse = |expected: &str, what: &str| {
            Err(PathError {
                kind: PathErrorKind::NotAFileName,
                expected: expected.to_owned(),
                received: format!("{} ({what})", shown(filename)),
            })
        };
        if filename.is_empty() {
            return refuse("the name of a file", "empty");
        }
        if filename.contains('\0') {
            return refuse("the name of a file", "with a NUL in it");
        }
        if filename.ends_with('/') {
            return refuse("the name of a file", "ends in a slash");
        }
        if filename.len() > PATH_BYTES_MAX {
            return refuse("a name of at most 4095 bytes", "too long");
        }
        if filename
            .split('/')
            .any(|component| component.len() > NAME_BYTES_MAX)
        {
            return refuse("components of at most 255 bytes", "too long");
        }
        if !self.inner.restricted {
            return self.split_unrestricted(filename);
        }
        let components: Vec<&str> = filename
            .split('/')
            .filter(|component| !component.is_empty())
            .collect();
        if components.contains(&"..") {
            return Err(self.dots(filename));
        }
        let (root, beneath) = if filename.starts_with('/') {
            self.root_of(&components).ok_or_else(|| self.outside(filename))?
        } else {
            (&self.inner.first, components.as_slice())
        };
        if beneath.iter().any(|component| component.starts_with('.')) {
            return Err(self.dots(filename));
        }
        match beneath.split_last() {
            Some((name, parents)) => Ok(Beneath {
                root,
                parents: parents.iter().collect(),
                name: (*name).to_owned(),
            }),
            None => refuse("the name of a file beneath the root", "the root itself"),
        }
    }

    fn split_unrestricted(&self, filename: &str) -> Result<Beneath<'_>, PathError> {
        let (parents, name) = filename.rsplit_once('/').unwrap_or(("", filename));
        if matches!(name, "." | "..") {
            return Err(PathError {
                kind: PathErrorKind::NotAFileName,
                expected: "the name of a file".to_owned(),
                received: format!("{} (a directory)", shown(filename)),
            });
        }
        let parents = PathBuf::from(parents.trim_start_matches('/'));
        Ok(Beneath {
            root: &self.inner.first,
            parents,
            name: name.to_owned(),
        })
    }

    fn all(&self) -> impl Iterator<Item = &Root> {
        std::iter::once(&self.inner.first).chain(&self.inner.others)
    }

    /// The root with the longest path that `components` begin with, and the rest.
    fn root_of<'c, 's>(&self, components: &'c [&'s str]) -> Option<(&Root, &'c [&'s str])> {
        let spellings = self
            .all()
            .flat_map(|root| [(root, &root.canonical), (root, &root.given)]);
        spellings
            .filter_map(|(root, spelling)| {
                let names: Vec<&OsStr> = normal_components(spelling).collect();
                let head = components.get(..names.len())?;
                let same = head
                    .iter()
                    .zip(&names)
                    .all(|(component, name)| OsStr::new(component) == *name);
                same.then(|| components.get(names.len()..).map(|rest| (root, rest)))?
            })
            .min_by_key(|(_, rest)| rest.len())
    }

    fn open_directory(&self, beneath: &Beneath<'_>, filename: &str) -> Result<OwnedFd, PathError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = &beneath.root.canonical;
        if !self.inner.restricted {
            return rustix::fs::open(root.join(&beneath.parents), flags, Mode::empty())
                .map_err(|errno| directory_refused(errno, None, beneath, filename));
        }
        // Canonical at start: if a link has taken a directory's place since, the path is no longer the operator's root.
        let no_links = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let held = rustix::fs::openat2(rustix::fs::CWD, root, flags, Mode::empty(), no_links)
            .map_err(|errno| directory_refused(errno, Some(root), beneath, filename))?;
        if beneath.parents.as_os_str().is_empty() {
            return Ok(held);
        }
        let mut attempts = 0;
        loop {
            let opened = rustix::fs::openat2(
                &held,
                &beneath.parents,
                flags,
                Mode::empty(),
                no_links | ResolveFlags::BENEATH,
            );
            attempts += 1;
            match opened {
                // A rename somewhere in the system made the kernel unsure.
                Err(Errno::AGAIN | Errno::INTR) if attempts < OPEN_ATTEMPTS_MAX => {}
                result => {
                    return result.map_err(|errno| directory_refused(errno, Some(root), beneath, filename));
                }
            }
        }
    }

    fn dots(&self, filename: &str) -> PathError {
        PathError {
            kind: PathErrorKind::DotComponent,
            expected: format!(
                "a name beneath {} in which no part is .. or begins with a dot",
                self.names()
            ),
            received: shown(filename),
        }
    }

    fn outside(&self, filename: &str) -> PathError {
        PathError {
            kind: PathErrorKind::OutsideRoots,
            expected: format!(
                "a name beneath {} (the server's option --root DIR allows more)",
                self.names()
            ),
            received: shown(filename),
        }
    }

    fn names(&self) -> String {
        let names: Vec<String> = self
            .all()
            .map(|root| root.canonical.display().to_string())
            .collect();
        match names.as_slice() {
            [one] => format!("the root {one}"),
            several => format!("one of the roots {}", several.join(", ")),
        }
    }
}

impl Root {
    fn new(directory: &Path) -> Result<Self, RootsError> {
        let error = |reason: String| RootsError {
            path: directory.display().to_string(),
            reason,
        };
        let canonical = std::fs::canonicalize(directory).map_err(|source| error(source.to_string()))?;
        let given = std::path::absolute(directory).map_err(|source| error(source.to_string()))?;
        rustix::fs::open(
            &canonical,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|errno| error(errno_text(errno)))?;
        // `a/../b` is a spelling that no client may use anyway.
        let given = if given.components().any(|part| part == Component::ParentDir) {
            canonical.clone()
        } else {
            given
        };
        Ok(Self { given, canonical })
    }
}

fn normal_components(path: &Path) -> impl Iterator<Item = &OsStr> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name),
        _ => None,
    })
}

/// `root`: `None` where links are followed.
fn directory_refused(errno: Errno, root: Option<&Path>, beneath: &Beneath<'_>, filename: &str) -> PathError {
    let wanted = beneath.root.canonical.join(&beneath.parents);
    let wanted = wanted.display();
    let filename = shown(filename);
    let (kind, expected, received) = match errno {
        Errno::NOENT => (
            PathErrorKind::DirectoryMissing,
            format!("an existing directory {wanted} (directories are never made)"),
            format!("{filename}, whose directory does not exist"),
        ),
        Errno::LOOP | Errno::XDEV | Errno::NOTDIR => match root {
            Some(root) => (
                PathErrorKind::DirectoryRefused,
                format!(
                    "a directory {wanted} with no symbolic link beneath the root {} \
                     (give the link's target to the server as another --root DIR)",
                    root.display()
                ),
                format!("{filename}, which leads through a symbolic link or a file"),
            ),
            None => (
                PathErrorKind::DirectoryRefused,
                format!("a directory {wanted}"),
                format!("{filename}: {}", errno_text(errno)),
            ),
        },
        errno => (
            PathErrorKind::Io,
            format!("a directory {wanted} that the server may enter"),
            format!("{filename}: {}", errno_text(errno)),
        ),
    };
    PathError {
        kind,
        expected,
        received,
    }
}
