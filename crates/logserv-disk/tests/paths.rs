//! Names from hostile clients: nothing outside the roots is opened, made or changed, and a refusal says why.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod place;

use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use logserv_disk::{FileSettings, LogFile, OpenErrorKind, PathErrorKind, Roots};
use place::{MARK, Place, listing, settings};
use rustix::fs::{CWD, FileType, Mode, RenameFlags, mknodat};
use serde_json::json;

fn plain() -> FileSettings {
    settings("logging.FileHandler", json!({}))
}

#[test]
fn a_name_that_is_no_file_beneath_a_root_is_refused_and_creates_nothing() {
    use PathErrorKind::{DirectoryMissing, DirectoryRefused, DotComponent, NotAFileName, OutsideRoots};
    let place = Place::new();
    std::fs::create_dir(place.path("sub")).unwrap();
    place.write("file", "x\n");
    symlink(place.outside(), place.path("out")).unwrap();
    symlink(place.path("sub"), place.path("in")).unwrap();
    symlink("sub", place.path("near")).unwrap();
    symlink("loop", place.path("loop")).unwrap();
    let root = place.root().display().to_string();
    let long = "a".repeat(256);
    let deep = "a/".repeat(3000);
    let table = [
        ("", NotAFileName),
        ("a\0b", NotAFileName),
        ("sub/", NotAFileName),
        ("/", NotAFileName),
        (&root, NotAFileName),
        (&format!("{root}/"), NotAFileName),
        (&long, NotAFileName),
        (&format!("{deep}a"), NotAFileName),
        ("../x", DotComponent),
        ("..", DotComponent),
        (".", DotComponent),
        ("./x", DotComponent),
        ("sub/../x", DotComponent),
        ("sub/../../outside/x", DotComponent),
        (&format!("{root}/../outside/x"), DotComponent),
        (".hidden", DotComponent),
        ("sub/.hidden/x", DotComponent),
        (".logserv-state", DotComponent),
        ("...", DotComponent),
        ("/etc/passwd", OutsideRoots),
        ("//etc/passwd", OutsideRoots),
        ("/dev/full", OutsideRoots),
        ("/proc/self/fd/3", OutsideRoots),
        ("/proc/self/mem", OutsideRoots),
        (&format!("{root}x/file"), OutsideRoots),
        (&format!("{}/x", place.outside().display()), OutsideRoots),
        ("missing/x", DirectoryMissing),
        ("~/x", DirectoryMissing),
        ("file/x", DirectoryRefused),
        ("out/x", DirectoryRefused),
        ("in/x", DirectoryRefused),
        ("near/x", DirectoryRefused),
        ("loop/x", DirectoryRefused),
    ];
    let before = (place.listing(), listing(&place.outside()));
    for (name, kind) in table {
        let error = place.roots.locate(name).expect_err(name);
        assert_eq!(error.kind, kind, "{name:?}: {error}");
        assert!(!error.to_string().contains('\0'), "{error}");
        if kind == OutsideRoots {
            assert!(
                error.expected.contains(&root) && error.expected.contains("--root DIR"),
                "{error}"
            );
        }
    }
    assert_eq!((place.listing(), listing(&place.outside())), before);
}

#[test]
fn strange_but_honest_names_are_files() {
    let place = Place::new();
    std::fs::create_dir(place.path("sub")).unwrap();
    let root = place.root().display().to_string();
    let longest = "b".repeat(255);
    let names = [
        "-rf",
        "a b",
        "trailing.",
        "trailing ",
        "back\\slash",
        "new\nline",
        "caf\u{e9}",
        "cafe\u{301}",
        "\u{202e}gol",
        "APP.log",
        "app.log",
        "app.log.1",
        "app.log.gz",
        "a..b",
        "sub//deep.log",
        "sub/x",
        &longest,
        "\u{1f600}",
    ];
    for name in names {
        let location = place
            .roots
            .locate(name)
            .unwrap_or_else(|error| panic!("{name:?}: {error}"));
        let mut file = LogFile::open(location, plain()).unwrap_or_else(|error| panic!("{name:?}: {error}"));
        file.append("line\n", 0.0, MARK).unwrap();
        file.commit().unwrap();
        assert_eq!(
            std::fs::read(place.root().join(name)).unwrap(),
            b"line\n",
            "{name:?}"
        );
    }
    let absolute = place.roots.locate(&format!("{root}/sub/x")).unwrap();
    assert_eq!(absolute.key(), place.roots.locate("sub/x").unwrap().key());
    assert_eq!(absolute.path(), place.path("sub/x"));
}

#[test]
fn only_a_regular_file_with_one_link_and_our_owner_is_opened() {
    let place = Place::new();
    let outside = place.outside();
    std::fs::write(outside.join("target"), "precious\n").unwrap();
    symlink(outside.join("target"), place.path("link")).unwrap();
    symlink(outside.join("nothing"), place.path("dangling")).unwrap();
    std::fs::create_dir(place.path("directory")).unwrap();
    std::fs::hard_link(outside.join("target"), place.path("hardlink")).unwrap();
    mknodat(
        CWD,
        place.path("fifo"),
        FileType::Fifo,
        Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let _socket = UnixListener::bind(place.path("socket")).unwrap();
    let mut table = vec![
        ("link", OpenErrorKind::NotRegular, "a symbolic link"),
        ("dangling", OpenErrorKind::NotRegular, "a symbolic link"),
        ("directory", OpenErrorKind::NotRegular, "a directory"),
        ("hardlink", OpenErrorKind::Linked, "a file with 2 links"),
        ("fifo", OpenErrorKind::NotRegular, "a FIFO"),
        ("socket", OpenErrorKind::NotRegular, "a socket"),
    ];
    if rustix::process::geteuid().is_root() {
        place.write("foreign", "theirs\n");
        std::os::unix::fs::chown(place.path("foreign"), Some(65534), None).unwrap();
        table.push(("foreign", OpenErrorKind::ForeignOwner, "a file of uid 65534"));
        let null = rustix::fs::makedev(1, 3);
        if mknodat(
            CWD,
            place.path("device"),
            FileType::CharacterDevice,
            Mode::from_raw_mode(0o600),
            null,
        )
        .is_ok()
        {
            table.push(("device", OpenErrorKind::NotRegular, "a device"));
        }
    } else {
        println!("NOT RUN: foreign owner and device, reason: needs root");
    }
    let before = (place.listing_of_names(), listing(&outside));
    for (name, kind, received) in table {
        for delay in [false, true] {
            let location = place.roots.locate(name).unwrap();
            let error = LogFile::open(location, settings("logging.FileHandler", json!({"delay": delay})))
                .expect_err(name);
            assert_eq!((error.kind, error.received.as_str()), (kind, received), "{name}");
            assert!(error.expected.contains("--root DIR"), "{error}");
        }
    }
    assert_eq!((place.listing_of_names(), listing(&outside)), before);
}

impl Place {
    /// As `listing`, without reading: a FIFO would wait.
    fn listing_of_names(&self) -> Vec<(String, u64, u64)> {
        let entries = std::fs::read_dir(self.root()).unwrap().map(Result::unwrap);
        let mut names: Vec<_> = entries
            .map(|entry| {
                let meta = entry.metadata().unwrap();
                (
                    entry.file_name().to_string_lossy().into_owned(),
                    meta.ino(),
                    meta.size(),
                )
            })
            .collect();
        names.sort();
        names
    }
}

#[test]
fn an_absolute_name_may_be_spelled_as_the_root_was() {
    let place = Place::new();
    let alias = place.directory.path().join("alias");
    symlink(place.root(), &alias).unwrap();
    let roots = Roots::new(&[place.outside(), alias.clone()]).unwrap();
    let by_alias = roots.locate(alias.join("a.log").to_str().unwrap()).unwrap();
    let canonical = roots.locate(place.path("a.log").to_str().unwrap()).unwrap();
    assert_eq!(by_alias.key(), canonical.key());
    assert_eq!(
        roots.locate("a.log").unwrap().path(),
        place.outside().join("a.log"),
        "relative: the first root"
    );
    let error = roots.locate("/elsewhere/a.log").unwrap_err();
    assert!(error.expected.contains(place.root().to_str().unwrap()), "{error}");
}

#[test]
fn a_root_must_be_a_directory() {
    let place = Place::new();
    place.write("file", "");
    assert!(Roots::new(&[place.path("file")]).is_err());
    let error = Roots::new(&[place.path("missing")]).unwrap_err();
    assert!(
        error.to_string().contains("missing") && error.to_string().contains("--root"),
        "{error}"
    );
}

#[test]
fn a_root_whose_place_a_link_has_taken_is_no_root_any_more() {
    let place = Place::new();
    std::fs::rename(place.root(), place.directory.path().join("moved")).unwrap();
    symlink(place.outside(), place.directory.path().join("root")).unwrap();
    assert_eq!(
        place.roots.locate("a.log").unwrap_err().kind,
        PathErrorKind::DirectoryRefused
    );
}

#[test]
fn the_personal_server_leaves_dots_links_and_ownership_to_the_kernel() {
    let place = Place::new();
    let roots = Roots::unrestricted();
    std::fs::write(place.outside().join("target"), "before\n").unwrap();
    symlink(place.outside().join("target"), place.path("link")).unwrap();
    symlink(place.outside(), place.path("out")).unwrap();
    symlink("../outside/not yet", place.path("dangling")).unwrap();
    std::fs::hard_link(place.outside().join("target"), place.path("second")).unwrap();
    let root = place.root().display().to_string();
    for name in [
        "link",
        "dangling",
        ".hidden",
        "out/made",
        "../outside/dots",
        "out/../outside/.both",
    ] {
        let mut file = LogFile::open(roots.locate(&format!("{root}/{name}")).unwrap(), plain()).unwrap();
        file.append("line\n", 0.0, MARK).unwrap();
        file.commit().unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(place.outside().join("target")).unwrap(),
        "before\nline\n"
    );
    for name in ["made", "dots", ".both", "not yet"] {
        assert_eq!(
            std::fs::read_to_string(place.outside().join(name)).unwrap(),
            "line\n",
            "{name}"
        );
    }
    for name in ["/dev/full", "/proc/self/fd", "/"] {
        let refused = roots
            .locate(name)
            .map_err(Into::into)
            .and_then(|location| LogFile::open(location, plain()));
        let error = refused.unwrap_err();
        assert!(
            !error.expected.contains("link") && !error.expected.contains("--root"),
            "{error}"
        );
        assert!(!error.may_heal(), "{error}");
    }
    let error = roots.locate("/dev/null/a.log").unwrap_err().to_string();
    assert!(!error.contains("link") && !error.contains("--root"), "{error}");
}

/// H9: a directory on the way is swapped with a link to the outside, again and again, while files are opened, written and
/// rotated beneath it.
#[test]
fn a_directory_swapped_for_a_link_never_lets_a_byte_out() {
    let place = Place::new();
    std::fs::create_dir(place.path("sub")).unwrap();
    symlink(place.outside(), place.path("evil")).unwrap();
    std::fs::write(place.outside().join("app.log"), "precious\n").unwrap();
    std::fs::write(place.outside().join("app.log.1"), "precious 1\n").unwrap();
    let before = listing(&place.outside());
    let stop = std::sync::atomic::AtomicBool::new(false);
    let (sub, evil) = (place.path("sub"), place.path("evil"));
    let (mut opened, mut refused, mut swaps) = (0_u32, 0_u32, 0_u32);
    std::thread::scope(|scope| {
        let swapper = scope.spawn(|| {
            let mut count = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                rustix::fs::renameat_with(CWD, &sub, CWD, &evil, RenameFlags::EXCHANGE).unwrap();
                count += 1;
            }
            count
        });
        let until = std::time::Instant::now() + std::time::Duration::from_secs(2);
        while std::time::Instant::now() < until {
            match place
                .roots
                .locate("sub/app.log")
                .map_err(Into::into)
                .and_then(open_rotating)
            {
                Ok(mut file) => {
                    opened += 1;
                    for _ in 0..6 {
                        file.append("0123456789\n", 0.0, MARK).unwrap();
                        file.commit().unwrap();
                    }
                }
                Err(_) => refused += 1,
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        swaps = swapper.join().unwrap();
    });
    println!("{swaps} swaps, {opened} opened, {refused} refused, 0 escapes");
    assert!(
        swaps > 100 && opened > 20 && refused > 20,
        "the race did not happen: {swaps} {opened} {refused}"
    );
    assert_eq!(listing(&place.outside()), before);
    let inside = if Path::is_symlink(&sub) { evil } else { sub };
    assert!(inside.join("app.log.3").exists(), "nothing was rotated");
}

fn open_rotating(location: logserv_disk::Location) -> Result<LogFile, logserv_disk::OpenError> {
    let rotating = json!({"maxBytes": 30, "backupCount": 3});
    LogFile::open(
        location,
        settings("logging.handlers.RotatingFileHandler", rotating),
    )
}
