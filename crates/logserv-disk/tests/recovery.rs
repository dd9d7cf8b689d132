//! A writer that dies at any call, also while it repairs what another left: each line is in the chain once, whole, in order, and
//! the bytes of others are all still there.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod mortal;
mod place;

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use logserv_disk::{CompressJob, LogFile, Mark, Status};
use mortal::{Death, Intruder, Kept, Life, Manner, Memory};
use place::{Hand, Place, compress, contents, settings};
use serde_json::{Map, Value, json};

const FILE: &str = "logging.FileHandler";
const ROTATING: &str = "logging.handlers.RotatingFileHandler";
const TIMED: &str = "logging.handlers.TimedRotatingFileHandler";

const LINES: u64 = 20;
const START: i64 = 1_767_225_600;
const STEP_S: i64 = 900;

/// What somebody does to the file while nobody holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Foreign {
    Nothing,
    Append,
    AppendWithoutEnd,
    AppendOddBytes,
    Empty,
    Cut,
    Rename,
    RenameAndCreate,
    MoveAway,
    Delete,
    /// Appends just before each of our writes.
    Intrude,
}

#[derive(Debug, Clone)]
struct Scene {
    class: &'static str,
    arguments: Value,
    encoding: &'static str,
    sources: u64,
    foreign: Foreign,
    /// Rotates on request once.
    rollover: bool,
}

impl Scene {
    fn rotating(encoding: &'static str, foreign: Foreign) -> Self {
        Self {
            class: ROTATING,
            arguments: json!({"maxBytes": if encoding.contains("32") { 640 } else { 220 }, "backupCount": 50}),
            encoding,
            sources: 2,
            foreign,
            rollover: true,
        }
    }

    fn settings(&self) -> logserv_disk::FileSettings {
        let mut arguments: Map<String, Value> = self.arguments.as_object().unwrap().clone();
        arguments.insert("encoding".to_owned(), self.encoding.into());
        settings(self.class, Value::Object(arguments))
    }

    fn line(&self, number: u64) -> (Mark, Option<String>) {
        let position = number / self.sources + 1;
        let source = u32::try_from(number % self.sources).unwrap();
        let mark = Mark {
            source,
            position,
            count: position,
        };
        // U+0A0A looks like two newlines in UTF-16.
        let line = format!(
            "{source}.{position:02} \u{a0a}\u{1f600} {}\n",
            "x".repeat(number as usize % 7)
        );
        (mark, (number % 11 != 7).then_some(line))
    }

    fn wanted(&self) -> BTreeMap<String, Mark> {
        (0..LINES)
            .filter_map(|number| {
                let (mark, line) = self.line(number);
                Some((line?.trim_end().to_owned(), mark))
            })
            .collect()
    }

    fn encode(&self, text: &str) -> Vec<u8> {
        match self.encoding {
            "utf-16" => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            "utf-32" => text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect(),
            _ => text.as_bytes().to_vec(),
        }
    }

    fn decode(&self, bytes: &[u8]) -> String {
        match self.encoding {
            "utf-16" => {
                let units: Vec<u16> = bytes
                    .chunks(2)
                    .map(|pair| u16::from_le_bytes([pair[0], *pair.get(1).unwrap_or(&0)]))
                    .collect();
                String::from_utf16_lossy(&units)
                    .trim_start_matches('\u{feff}')
                    .to_owned()
            }
            "utf-32" => {
                let character = |quad: &[u8]| {
                    let mut code = [0; 4];
                    code[..quad.len()].copy_from_slice(quad);
                    char::from_u32(u32::from_le_bytes(code)).unwrap_or('\u{fffd}')
                };
                let text: String = bytes.chunks(4).map(character).collect();
                text.trim_start_matches('\u{feff}').to_owned()
            }
            "utf-8-sig" => String::from_utf8_lossy(bytes)
                .trim_start_matches('\u{feff}')
                .to_owned(),
            _ => String::from_utf8_lossy(bytes).into_owned(),
        }
    }
}

/// What a run through deaths to a good end has left.
struct Run {
    place: Place,
    lives: Vec<Arc<Life>>,
    status: Vec<Status>,
    /// Bytes that others have appended.
    foreign: Vec<Vec<u8>>,
    /// Lines that others have taken out of the chain.
    taken: BTreeMap<String, usize>,
    /// Runs in which the file held a part of a declared batch when it was opened again.
    torn_found: usize,
}

fn run(scene: &Scene, deaths: &[Death]) -> Run {
    let place = Place::in_memory();
    let memory = Arc::new(Mutex::new(Memory::default()));
    let foreign = Arc::new(Mutex::new(Vec::new()));
    let mut result = Run {
        place,
        lives: Vec::new(),
        status: Vec::new(),
        foreign: Vec::new(),
        taken: BTreeMap::new(),
        torn_found: 0,
    };
    let hand = Hand::at(START);
    let mut rolled = !scene.rollover;
    for death in deaths.iter().copied().map(Some).chain([None]) {
        let intruder = (scene.foreign == Foreign::Intrude).then(|| intruder(&result.place, &foreign));
        let life = Life::new(death, intruder);
        result.lives.push(Arc::clone(&life));
        result.torn_found += usize::from(ends_torn(&result.place, &memory));
        if result.lives.len() == 2 {
            let before = whole_lines(scene, &result.place);
            act(scene, &result.place, &foreign);
            let after = whole_lines(scene, &result.place);
            for (line, count) in before {
                let gone = count.saturating_sub(after.get(&line).copied().unwrap_or(0));
                *result.taken.entry(line).or_default() += gone;
            }
        }
        if let Some(status) = live(scene, &result.place, &memory, &life, &hand, &mut rolled) {
            result.status.push(status);
        }
        assert!(death.is_some() || life.died_in().is_none());
    }
    assert_eq!(memory.lock().unwrap().declared, None);
    result.foreign = std::mem::take(&mut foreign.lock().unwrap());
    result
}

fn intruder(place: &Place, foreign: &Arc<Mutex<Vec<Vec<u8>>>>) -> Intruder {
    let (path, foreign) = (place.path("app.log"), Arc::clone(foreign));
    Box::new(move || {
        let mut all = foreign.lock().unwrap();
        let bytes = format!("intruder {}\n", all.len()).into_bytes();
        if let Ok(mut file) = std::fs::OpenOptions::new().append(true).open(&path) {
            file.write_all(&bytes).unwrap();
            all.push(bytes);
        }
    })
}

/// One life: opens the file, and sends all that is not answered for. The state at the end, if it was reached.
fn live(
    scene: &Scene,
    place: &Place,
    memory: &Arc<Mutex<Memory>>,
    life: &Arc<Life>,
    hand: &Hand,
    rolled: &mut bool,
) -> Option<Status> {
    let journal = Kept {
        memory: Arc::clone(memory),
        life: Arc::clone(life),
    };
    let location = place.roots.locate("app.log").unwrap();
    let file = LogFile::open_with(
        location,
        scene.settings(),
        life.clone(),
        hand.clock(),
        Box::new(journal),
    );
    let mut file = match file {
        Ok(file) => file,
        Err(error) => {
            assert!(life.died_in().is_some(), "{error}");
            return None;
        }
    };
    let answered = memory.lock().unwrap().answered.clone();
    let mut outcome = None;
    for number in 0..LINES {
        let (mark, line) = scene.line(number);
        if answered
            .get(&mark.source)
            .is_some_and(|known| known.position >= mark.position)
        {
            continue;
        }
        let now = START + i64::try_from(number).unwrap() * STEP_S;
        hand.set(now);
        match line {
            #[expect(clippy::cast_precision_loss, reason = "seconds of this millennium are exact")]
            Some(line) => file.append(&line, now as f64, mark).ok()?,
            None => file.pass(mark),
        }
        if number % 4 == 2 {
            file.commit().ok()?;
        }
        // What another thread would have done meanwhile: rotations come in between.
        if let Some(outcome) = outcome.take() {
            file.finish_compression(outcome);
        }
        outcome = file.begin_compression().map(CompressJob::run);
        if number > 12 && !*rolled {
            file.rollover().ok()?;
            *rolled = true;
        }
    }
    file.commit().ok()?;
    if let Some(outcome) = outcome {
        file.finish_compression(outcome);
    }
    compress(&mut file);
    let status = file.status();
    assert!(
        life.died_in().is_some() || status.compressions_failed == 0,
        "{status:?}"
    );
    life.died_in().is_none().then_some(status)
}

/// True if the file ends with a part of a declared batch.
fn ends_torn(place: &Place, memory: &Mutex<Memory>) -> bool {
    let memory = memory.lock().unwrap();
    let declared = memory
        .declared
        .as_ref()
        .map_or(&[][..], |declared| &declared.bytes);
    let bytes = std::fs::read(place.path("app.log")).unwrap_or_default();
    (1..declared.len()).any(|len| bytes.ends_with(&declared[..len]))
}

fn act(scene: &Scene, place: &Place, foreign: &Mutex<Vec<Vec<u8>>>) {
    let path = place.path("app.log");
    let len = std::fs::metadata(&path).map_or(0, |found| found.len());
    let append = |bytes: Vec<u8>| {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(&path);
        file.unwrap().write_all(&bytes).unwrap();
        foreign.lock().unwrap().push(bytes);
    };
    let cut = |len: u64| {
        if let Ok(file) = std::fs::OpenOptions::new().write(true).open(&path) {
            file.set_len(len).unwrap();
        }
    };
    let rename = |to: &str| {
        // Before the first file was made, there is none.
        let _ = std::fs::rename(&path, place.path(to));
    };
    match scene.foreign {
        Foreign::Nothing | Foreign::Intrude => {}
        Foreign::Append => append(scene.encode("foreign line\n")),
        Foreign::AppendWithoutEnd => append(scene.encode("foreign")),
        Foreign::AppendOddBytes => append(b"odd".to_vec()),
        Foreign::Empty => cut(0),
        Foreign::Cut => cut(len.saturating_sub(3)),
        Foreign::Rename => rename("app.log.old"),
        Foreign::RenameAndCreate => {
            rename("app.log.old");
            append(scene.encode("foreign line\n"));
        }
        Foreign::MoveAway => rename("elsewhere"),
        Foreign::Delete => {
            let _ = std::fs::remove_file(&path);
        }
    }
}

/// The files of the chain from the oldest to the newest, with their bytes.
fn chain(place: &Place) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(u32, String, Vec<u8>)> = std::fs::read_dir(place.root())
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let bytes = std::fs::read(place.path(&name)).unwrap();
            let suffix = name.strip_prefix("app.log")?;
            let bytes = contents(&name, &bytes).unwrap();
            let suffix = suffix.trim_end_matches(".gz").trim_end_matches(".zst");
            let number = suffix.strip_prefix('.').and_then(|number| number.parse().ok());
            // Dated files, and what somebody has renamed, before the numbered ones, and the active one last.
            let age = if suffix.is_empty() {
                0
            } else {
                number.unwrap_or(u32::MAX)
            };
            Some((u32::MAX - age, format!("app.log{suffix}"), bytes))
        })
        .collect();
    files.sort();
    files.into_iter().map(|(_, name, bytes)| (name, bytes)).collect()
}

fn whole_lines(scene: &Scene, place: &Place) -> BTreeMap<String, usize> {
    let wanted = scene.wanted();
    let mut found = BTreeMap::new();
    for (_, bytes) in chain(place) {
        let text = scene.decode(&bytes);
        let (ended, _) = text.rsplit_once('\n').unwrap_or_default();
        for line in ended
            .split('\n')
            .map(str::trim_end)
            .filter(|line| wanted.contains_key(*line))
        {
            *found.entry(line.to_owned()).or_default() += 1;
        }
    }
    found
}

/// Each line once, whole and in order; others' bytes where they were.
fn check(scene: &Scene, run: &Run, context: &str) {
    let wanted = scene.wanted();
    let found = whole_lines(scene, &run.place);
    let show = || format!("{context}\n{:#?}", run.place.listing());
    for line in wanted.keys() {
        let count = found.get(line).copied().unwrap_or(0);
        let taken = run.taken.get(line).copied().unwrap_or(0);
        // What somebody took away may have been written whole, and is written again only if it was still declared.
        assert!(
            count <= 1 && count + taken >= 1,
            "{line} is there {count} times: {}",
            show()
        );
    }
    let files = chain(&run.place);
    let mut last: BTreeMap<u32, u64> = BTreeMap::new();
    for (name, bytes) in &files {
        let text = scene.decode(bytes);
        assert!(
            text.is_empty() || text.ends_with('\n') || scene.foreign != Foreign::Nothing,
            "{}",
            show()
        );
        if name.ends_with(".old") {
            last.clear();
        }
        for line in text.split_terminator('\n').map(str::trim_end) {
            match wanted.get(line) {
                Some(mark) => {
                    let before = last.insert(mark.source, mark.position);
                    assert!(before < Some(mark.position), "{line} is out of order: {}", show());
                }
                None => assert!(
                    scene.foreign != Foreign::Nothing,
                    "{line:?} is nobody's: {}",
                    show()
                ),
            }
        }
        if name.ends_with(".old") {
            last.clear();
        }
    }
    assert!(!run.place.path(".app.log.logserv-tmp").exists(), "{}", show());
    for bytes in &run.foreign {
        let there = |(_, text): &(String, Vec<u8>)| text.windows(bytes.len()).any(|window| window == bytes);
        assert!(
            files.iter().any(there),
            "{:?} is gone: {}",
            String::from_utf8_lossy(bytes),
            show()
        );
    }
}

/// What the deaths of many runs have hit: a test whose faults do not strike proves nothing.
#[derive(Debug, Default)]
struct Struck {
    runs: usize,
    deaths: BTreeMap<&'static str, usize>,
    torn_writes: usize,
    torn_found: usize,
    deaths_in_recovery: usize,
    recovered: u64,
    completed_bytes: u64,
    torn_lines: u64,
}

impl Struck {
    fn note(&mut self, run: &Run) {
        self.runs += 1;
        for (number, life) in run.lives.iter().enumerate() {
            if let Some(name) = life.died_in() {
                *self.deaths.entry(name).or_default() += 1;
                self.torn_writes += usize::from(life.tore());
                let repaired = life.calls().contains(&"redeclare") && !life.calls().contains(&"declare");
                self.deaths_in_recovery += usize::from(number > 0 && repaired);
            }
        }
        self.torn_found += run.torn_found;
        for status in &run.status {
            self.recovered += status.recovered_batches;
            self.completed_bytes += status.completed_bytes;
            self.torn_lines += status.torn_lines;
        }
    }
}

/// Calls after which the world is another. Before and after all others a death is the same.
const EFFECTS: [&str; 9] = [
    "create",
    "link",
    "open",
    "write",
    "rename",
    "unlink",
    "declare",
    "redeclare",
    "written",
];

/// Every call in every manner; where it makes a difference, the same again with one or two more deaths, at calls of a random
/// choice, most of which are in the recovery.
fn every_death(scene: &Scene, struck: &mut Struck) {
    static SEED: AtomicU32 = AtomicU32::new(0);
    let seed = std::env::var("LOGSERV_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let mut seed: u32 = seed.unwrap_or_else(|| 1 + SEED.fetch_add(1, Ordering::Relaxed));
    let context = format!("LOGSERV_TEST_SEED={seed} {scene:?}");
    let mut random = move |below: u32| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        u64::from((seed >> 8) % below)
    };
    let undisturbed = run(scene, &[]);
    check(scene, &undisturbed, &context);
    let calls = undisturbed.lives[0].calls();
    const MANNERS: [Manner; 5] = [
        Manner::Before,
        Manner::After,
        Manner::One,
        Manner::Half,
        Manner::AllButOne,
    ];
    for (call, name) in (0..).zip(&calls) {
        for manner in MANNERS {
            let has_effect = EFFECTS.contains(name);
            let meant = match manner {
                Manner::Before => has_effect || scene.foreign == Foreign::Nothing,
                Manner::After => has_effect,
                _ => *name == "write",
            };
            if !meant {
                continue;
            }
            let first = Death { call, manner };
            let mut again = || Death {
                call: random(24),
                manner: MANNERS[usize::try_from(random(5)).unwrap()],
            };
            let more = [vec![first, again()], vec![first, again(), again()]];
            let more = more.into_iter().filter(|_| has_effect);
            for deaths in std::iter::once(vec![first]).chain(more) {
                let run = run(scene, &deaths);
                check(scene, &run, &format!("{context} {deaths:?} in {name}"));
                struck.note(&run);
            }
        }
    }
}

fn assert_struck(struck: &Struck, calls: &[&str]) {
    println!("{struck:?}");
    for call in calls {
        assert!(
            struck.deaths.get(call).is_some_and(|count| *count > 0),
            "nobody died in {call}"
        );
    }
    assert!(
        struck.torn_writes > 10 && struck.torn_found > 10 && struck.deaths_in_recovery > 10,
        "{struck:?}"
    );
    assert!(
        struck.recovered > 10 && struck.completed_bytes > 100,
        "{struck:?}"
    );
}

const CALLS: [&str; 4] = ["open", "write", "declare", "written"];

#[test]
fn a_death_at_any_call_loses_and_doubles_nothing_in_any_encoding() {
    let mut struck = Struck::default();
    for encoding in ["utf-8", "utf-8-sig", "utf-16", "utf-32"] {
        every_death(&Scene::rotating(encoding, Foreign::Nothing), &mut struck);
    }
    assert_struck(&struck, &CALLS);
    assert_struck(
        &struck,
        &["stat", "stat_at", "lock", "read_at", "rename", "redeclare"],
    );
    assert_eq!(struck.torn_lines, 0, "nobody came between");
}

#[test]
fn a_death_at_any_call_loses_and_doubles_nothing_without_rotation_and_with_one_by_time() {
    let mut struck = Struck::default();
    for (class, arguments) in [
        (FILE, json!({})),
        (FILE, json!({"delay": true})),
        (TIMED, json!({"when": "H", "utc": true, "backupCount": 40})),
    ] {
        let scene = Scene {
            class,
            arguments,
            rollover: class == TIMED,
            ..Scene::rotating("utf-8", Foreign::Nothing)
        };
        every_death(&scene, &mut struck);
    }
    assert_struck(&struck, &CALLS);
    assert_struck(&struck, &["rename", "names_after"]);
}

/// Rotated files are compressed while lines are written and files rotated.
#[test]
fn a_death_at_any_call_of_a_compression_loses_and_doubles_nothing() {
    let mut struck = Struck::default();
    for (class, arguments) in [
        (
            ROTATING,
            json!({"maxBytes": 100, "backupCount": 50, "compress": "gzip"}),
        ),
        (
            TIMED,
            json!({"when": "H", "utc": true, "maxBytes": 130, "compress": "zstd", "retain_bytes": 9999}),
        ),
    ] {
        let scene = Scene {
            class,
            arguments,
            ..Scene::rotating("utf-8", Foreign::Nothing)
        };
        every_death(&scene, &mut struck);
        let left = run(&scene, &[]).place.listing();
        let plain = |name: &String| !name.ends_with(".gz") && !name.ends_with(".zst");
        assert!(
            left.len() > 3 && left.iter().filter(|(name, _)| plain(name)).count() == 1,
            "{left:?}"
        );
    }
    assert_struck(&struck, &CALLS);
    assert_struck(
        &struck,
        &[
            "create",
            "link",
            "unlink",
            "sync_file",
            "set_mode",
            "set_modified",
        ],
    );
}

#[test]
fn what_others_append_between_death_and_recovery_is_never_cut() {
    let mut struck = Struck::default();
    for foreign in [
        Foreign::Append,
        Foreign::AppendWithoutEnd,
        Foreign::AppendOddBytes,
    ] {
        for encoding in ["utf-8", "utf-16"] {
            every_death(&Scene::rotating(encoding, foreign), &mut struck);
        }
    }
    assert_struck(&struck, &CALLS);
    assert!(struck.torn_lines > 10, "{struck:?}");
}

#[test]
fn a_file_that_others_cut_rename_or_delete_after_a_death_gets_what_was_being_written() {
    let mut struck = Struck::default();
    for foreign in [
        Foreign::Empty,
        Foreign::Cut,
        Foreign::Rename,
        Foreign::RenameAndCreate,
        Foreign::MoveAway,
        Foreign::Delete,
    ] {
        every_death(&Scene::rotating("utf-8", foreign), &mut struck);
    }
    every_death(&Scene::rotating("utf-16", Foreign::RenameAndCreate), &mut struck);
    assert_struck(&struck, &CALLS);
}

#[test]
fn somebody_who_appends_just_before_every_write_makes_no_line_double() {
    let mut struck = Struck::default();
    every_death(&Scene::rotating("utf-8", Foreign::Intrude), &mut struck);
    assert_struck(&struck, &CALLS);
}

/// A full chain ends as if nobody had died: the same files with the same lines, none deleted too early.
#[test]
fn a_death_at_any_call_deletes_no_rotated_file_too_early() {
    let mut struck = Struck::default();
    for (backup_count, compress) in [(1, None), (2, None), (3, None), (4, None), (2, Some("gzip"))] {
        let scene = Scene {
            arguments: json!({"maxBytes": 60, "backupCount": backup_count, "compress": compress}),
            sources: 1,
            rollover: false,
            ..Scene::rotating("utf-8", Foreign::Nothing)
        };
        let undisturbed = run(&scene, &[]);
        let wanted = chain(&undisturbed.place);
        assert_eq!(wanted.len(), backup_count + 1);
        for (call, name) in (0..).zip(undisturbed.lives[0].calls()) {
            if !EFFECTS.contains(&name) {
                continue;
            }
            for manner in [Manner::Before, Manner::After, Manner::Half] {
                let first = Death { call, manner };
                for second in [
                    None,
                    Some(3),
                    Some(6),
                    Some(8),
                    Some(9),
                    Some(10),
                    Some(11),
                    Some(12),
                    Some(14),
                ] {
                    let deaths: Vec<Death> = [Some(first), second.map(|call| Death { call, manner })]
                        .into_iter()
                        .flatten()
                        .collect();
                    let run = run(&scene, &deaths);
                    assert_eq!(chain(&run.place), wanted, "{backup_count} {deaths:?} in {name}");
                    struck.note(&run);
                }
            }
        }
    }
    assert_struck(&struck, &CALLS);
    assert_struck(&struck, &["unlink", "rename"]);
}
