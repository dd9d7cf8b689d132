//! Durability off the writer's way: a job syncs what was written when it was begun, and no failure is ever forgotten.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod place;

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use logserv_disk::{Fs, Kernel, LogFile, WriteErrorKind};
use place::{Hand, MARK, Place, no_journal, settings};
use rustix::io::Errno;
use serde_json::{Value, json};

const FILE: &str = "logging.FileHandler";
const ROTATING: &str = "logging.handlers.RotatingFileHandler";
const TIMED: &str = "logging.handlers.TimedRotatingFileHandler";

/// A disk whose syncs are counted, fail, or wait for the test.
#[derive(Debug, Default)]
struct Disk {
    data_syncs: AtomicUsize,
    directory_syncs: AtomicUsize,
    data_fails: AtomicBool,
    directory_fails: AtomicBool,
    /// The next sync waits here twice: when it has begun, and before it ends.
    gate: std::sync::Mutex<Option<Arc<Barrier>>>,
}

impl Disk {
    fn answer(fails: &AtomicBool) -> Result<(), Errno> {
        if fails.load(Ordering::Relaxed) {
            Err(Errno::IO)
        } else {
            Ok(())
        }
    }

    fn syncs(&self) -> (usize, usize) {
        (
            self.data_syncs.swap(0, Ordering::Relaxed),
            self.directory_syncs.swap(0, Ordering::Relaxed),
        )
    }
}

impl Fs for Disk {
    fn sync_data(&self, _: BorrowedFd<'_>) -> Result<(), Errno> {
        self.data_syncs.fetch_add(1, Ordering::Relaxed);
        let gate = self.gate.lock().unwrap().take();
        if let Some(gate) = gate {
            gate.wait();
            gate.wait();
        }
        Self::answer(&self.data_fails)
    }

    fn sync_directory(&self, _: BorrowedFd<'_>) -> Result<(), Errno> {
        self.directory_syncs.fetch_add(1, Ordering::Relaxed);
        Self::answer(&self.directory_fails)
    }

    fn sync_everything(&self, _: BorrowedFd<'_>) -> Result<(), Errno> {
        Self::answer(&self.data_fails)
    }
}

fn open(place: &Place, disk: &Arc<Disk>, class: &str, arguments: Value) -> LogFile {
    LogFile::open_with(
        place.roots.locate("app.log").unwrap(),
        settings(class, arguments),
        disk.clone(),
        Hand::at(1_767_225_600).clock(),
        no_journal(),
    )
    .unwrap()
}

fn write(file: &mut LogFile, text: &str) {
    file.append(&format!("{text}\n"), 0.0, MARK).unwrap();
    file.commit().unwrap();
}

fn rotating() -> Value {
    json!({"maxBytes": 1000, "backupCount": 3})
}

#[test]
fn a_job_syncs_what_was_written_and_the_next_what_came_after() {
    let (place, disk) = (Place::new(), Arc::new(Disk::default()));
    let mut file = open(&place, &disk, FILE, json!({}));
    write(&mut file, "one");
    write(&mut file, "two");
    let job = file.begin_sync().unwrap();
    assert_eq!((job.commits(), file.commits()), (2, 2));
    write(&mut file, "three");
    assert!(file.begin_sync().is_none(), "one at a time");
    let outcome = std::thread::spawn(move || job.run()).join().unwrap();
    assert!(outcome.is_ok());
    assert_eq!(file.finish_sync(outcome).unwrap(), 2);
    assert_eq!(disk.syncs(), (1, 1), "the file is new");
    let job = file.begin_sync().unwrap();
    assert_eq!(file.finish_sync(job.run()).unwrap(), 3);
    assert_eq!(disk.syncs(), (1, 0));
    assert!(file.begin_sync().is_none(), "nothing is left");
}

#[test]
fn writing_goes_on_while_a_job_waits_for_the_disk() {
    let (place, disk) = (Place::new(), Arc::new(Disk::default()));
    let mut file = open(&place, &disk, ROTATING, rotating());
    write(&mut file, "one");
    let gate = Arc::new(Barrier::new(2));
    *disk.gate.lock().unwrap() = Some(Arc::clone(&gate));
    let job = file.begin_sync().unwrap();
    let thread = std::thread::spawn(move || job.run());
    gate.wait();
    write(&mut file, "two");
    file.rollover().unwrap();
    write(&mut file, "three");
    assert_eq!(
        (place.read("app.log.1"), place.read("app.log")),
        ("one\ntwo\n".into(), "three\n".into())
    );
    gate.wait();
    assert_eq!(file.finish_sync(thread.join().unwrap()).unwrap(), 1);
    disk.syncs();
    let job = file.begin_sync().unwrap();
    assert_eq!(file.finish_sync(job.run()).unwrap(), 3);
    assert_eq!(
        disk.syncs(),
        (2, 1),
        "the replaced file, the new one, and the names"
    );
}

#[test]
fn a_sync_on_the_spot_waits_for_the_job_under_way_and_believes_its_outcome() {
    for fails in [false, true] {
        let (place, disk) = (Place::new(), Arc::new(Disk::default()));
        let mut file = open(&place, &disk, FILE, json!({}));
        write(&mut file, "one");
        disk.data_fails.store(fails, Ordering::Relaxed);
        let gate = Arc::new(Barrier::new(2));
        *disk.gate.lock().unwrap() = Some(Arc::clone(&gate));
        let job = file.begin_sync().unwrap();
        let thread = std::thread::spawn(move || job.run());
        gate.wait();
        let releasing = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(20));
            gate.wait();
        });
        assert_eq!(
            file.sync().is_err(),
            fails,
            "the kernel tells a failure once; it must not get lost"
        );
        assert_eq!(disk.syncs().0, 1, "it is not synced twice");
        releasing.join().unwrap();
        assert_eq!(file.finish_sync(thread.join().unwrap()).is_err(), fails);
    }
    // A job that nobody runs is done by whoever needs it.
    let (place, disk) = (Place::new(), Arc::new(Disk::default()));
    let mut file = open(&place, &disk, FILE, json!({}));
    write(&mut file, "one");
    let job = file.begin_sync().unwrap();
    file.sync().unwrap();
    assert_eq!(disk.syncs(), (1, 1));
    assert_eq!(file.finish_sync(job.run()).unwrap(), 1);
    assert_eq!(disk.syncs(), (0, 0));
}

#[test]
fn a_failed_sync_stays_until_the_file_is_replaced() {
    for (class, arguments, rotates) in [
        (FILE, json!({}), false),
        (ROTATING, json!({"maxBytes": 1000}), false),
        (ROTATING, rotating(), true),
        (TIMED, json!({"when": "H", "utc": true}), true),
    ] {
        let (place, disk) = (Place::new(), Arc::new(Disk::default()));
        let mut file = open(&place, &disk, class, arguments);
        write(&mut file, "one");
        disk.data_fails.store(true, Ordering::Relaxed);
        let job = file.begin_sync().unwrap();
        assert_eq!(file.finish_sync(job.run()).unwrap_err().kind, WriteErrorKind::Io);
        disk.data_fails.store(false, Ordering::Relaxed);
        disk.syncs();
        assert!(file.is_sync_failed() && file.status().sync_failed);
        write(&mut file, "two");
        assert!(file.begin_sync().is_none());
        assert_eq!(file.sync().unwrap_err().kind, WriteErrorKind::SyncFailed);
        file.reopen().unwrap();
        assert_eq!(
            file.sync().unwrap_err().kind,
            WriteErrorKind::SyncFailed,
            "it is the same file"
        );
        assert_eq!(disk.syncs(), (0, 0), "a failed sync is never tried again");
        assert_eq!(file.commits_lost(), 2);

        file.append("three\n", 0.0, MARK).unwrap();
        assert_eq!(file.replace_after_failed_sync().unwrap(), rotates);
        assert_eq!(file.is_sync_failed(), !rotates);
        assert_eq!(file.sync().is_ok(), rotates);
        assert_eq!(file.commits_lost(), if rotates { 2 } else { 3 });
        if rotates {
            assert_eq!(
                place.read("app.log"),
                "three\n",
                "what was pending goes into the new file"
            );
            write(&mut file, "four");
            let job = file.begin_sync().unwrap();
            assert_eq!(file.finish_sync(job.run()).unwrap(), 4);
        } else {
            // Somebody takes it away.
            std::fs::rename(place.path("app.log"), place.path("bad")).unwrap();
            write(&mut file, "four");
            file.sync().unwrap();
        }
        assert!(file.replace_after_failed_sync().unwrap());
    }
}

#[test]
fn a_failure_about_a_file_that_was_replaced_meanwhile_is_told_and_does_not_stick_to_the_new_one() {
    let (place, disk) = (Place::new(), Arc::new(Disk::default()));
    let mut file = open(&place, &disk, ROTATING, rotating());
    write(&mut file, "one");
    let job = file.begin_sync().unwrap();
    file.rollover().unwrap();
    write(&mut file, "two");
    disk.data_fails.store(true, Ordering::Relaxed);
    let outcome = job.run();
    disk.data_fails.store(false, Ordering::Relaxed);
    assert!(!outcome.is_ok());
    assert!(file.finish_sync(outcome).is_err());
    assert_eq!((file.is_sync_failed(), file.commits_lost()), (false, 1));
    let job = file.begin_sync().unwrap();
    assert_eq!(file.finish_sync(job.run()).unwrap(), 2);
}

#[test]
fn a_directory_that_cannot_be_synced_is_a_failure_too() {
    let (place, disk) = (Place::new(), Arc::new(Disk::default()));
    let mut file = open(&place, &disk, FILE, json!({}));
    write(&mut file, "one");
    disk.directory_fails.store(true, Ordering::Relaxed);
    let job = file.begin_sync().unwrap();
    assert!(file.finish_sync(job.run()).is_err());
    assert_eq!(file.sync().unwrap_err().kind, WriteErrorKind::SyncFailed);
}

#[test]
fn a_job_under_way_holds_no_lock_of_a_file_that_was_let_go() {
    let (place, disk) = (Place::new(), Arc::new(Disk::default()));
    let mut file = open(&place, &disk, FILE, json!({}));
    write(&mut file, "one");
    let job = file.begin_sync().unwrap();
    file.reopen().unwrap();
    write(&mut file, "two");
    drop(file);
    let mut file = open(&place, &disk, FILE, json!({}));
    write(&mut file, "three");
    assert!(job.run().is_ok());
    assert_eq!(place.read("app.log"), "one\ntwo\nthree\n");
}

#[test]
fn the_real_disk_syncs() {
    let place = Place::new();
    let mut file = LogFile::open_with(
        place.roots.locate("app.log").unwrap(),
        settings(ROTATING, rotating()),
        Arc::new(Kernel),
        Hand::at(0).clock(),
        no_journal(),
    )
    .unwrap();
    write(&mut file, "one");
    file.rollover().unwrap();
    write(&mut file, "two");
    let job = file.begin_sync().unwrap();
    let outcome = std::thread::spawn(move || job.run()).join().unwrap();
    assert_eq!(file.finish_sync(outcome).unwrap(), 2);
    assert!(file.begin_sync().is_none());
}
