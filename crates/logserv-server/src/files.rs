//! The files that are open for writing: one writer each, whoever names them over whichever transport.
//!
//! In: requests of handlers. Out: shares in open files, or refusals. A file is known by its canonical path, which its
//! writer follows when the directory is replaced; a second path to the same directory (a bind mount) meets the first.
//! Opening and closing of one file go one after the other; files do not
//! wait for each other. A file that nobody holds is closed after a while, and its newest configuration remembered.
//! Not here: what is written (`writer.rs`), which settings win (`configuration.rs`).

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use logserv_disk::{Clock, FileSettings, Kernel, Location, LogFile, OpenErrorKind, OpenMode, Roots};
use tokio::time::timeout;

use crate::config::{Config, ConfigError, Sink};
use crate::counters::Counters;
use crate::limits::{HANDOVER_PATIENCE, OPEN_TIMEOUT, RETRY_MIN};
use crate::pipeline::{OpenRequest, Refusal};
use crate::writer::compress::Places;
use crate::writer::{Ledger, state};

mod aging;
mod configuration;
mod doors;
mod entry;
mod file_ref;
mod finish;
mod holder;
mod life;
mod socket_handler;
use configuration::{Configuration, Remembered};
use doors::{Doors, slow};
use entry::{Entry, Slot};
pub use file_ref::FileRef;
use holder::{Held, Holder};
use socket_handler::SocketHandlerFile;
pub(crate) use socket_handler::compile_format;

/// The registry of open files. Clones share it.
#[derive(Debug, Clone)]
pub struct Files {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    roots: Roots,
    options: Sink,
    counters: Arc<Counters>,
    slots: Mutex<HashMap<PathBuf, Arc<Slot>>>,
    remembered: Mutex<Remembered>,
    doors: Doors,
    /// For threads that compress rotated files.
    places: Places,
    socket_handler: Option<SocketHandlerFile>,
    /// What the states of our files say of us.
    holder: OnceLock<Holder>,
}

impl Files {
    /// Looks the roots up and compiles `--socket-handler-format`. Opens no file. Blocks: for a few system calls.
    ///
    /// # Errors
    /// A root that is no directory, or a format that cannot be rendered here.
    pub fn new(config: &Config, counters: Arc<Counters>) -> Result<Self, ConfigError> {
        let roots = config.open_roots()?;
        let socket_handler = SocketHandlerFile::new(&config.ingest)?;
        let inner = Inner {
            roots,
            options: config.sink.clone(),
            counters,
            slots: Mutex::default(),
            remembered: Mutex::default(),
            doors: Doors::default(),
            places: Places::default(),
            socket_handler,
            holder: OnceLock::new(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Says where this server listens, for the states of its files: other servers send the clients of a file there.
    pub(crate) fn listen_at(&self, addresses: &[String]) {
        if let Some(holder) = Holder::new(addresses) {
            // Once, at the start.
            let _ = self.inner.holder.set(holder);
        }
    }

    /// Opens the file that a handler asks for, or joins those who have it open. Waits for the disk (not on an async
    /// thread), 10 s at most. Cancelled, it still ends in order.
    ///
    /// # Errors
    /// Names what is wrong with the class, its arguments, the name or the file. Nothing has been created then.
    pub async fn open(&self, request: OpenRequest) -> Result<FileRef, Refusal> {
        let files = self.clone();
        // In a task of its own: a connection that breaks meanwhile must not leave a file half-open.
        let task = tokio::spawn(async move { files.open_now(request).await });
        let result = match timeout(OPEN_TIMEOUT, task).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => Err(Refusal::passing("to open the file", error.to_string())),
            Err(_) => Err(slow()),
        };
        if result.is_err() {
            self.inner.counters.refusals.add(1);
        }
        result
    }

    async fn open_now(&self, request: OpenRequest) -> Result<FileRef, Refusal> {
        let settings = FileSettings::from_arguments(&request.handler_class, &request.arguments)
            .map_err(|error| Refusal::lasting(error.expected, error.received))?;
        let location = self.locate(&settings.filename).await?;
        let path = location.path().display().to_string();
        let truncates = settings.mode == OpenMode::Truncate && request.first;
        let asked = Configuration::new(settings, &request);
        let slot = match self.namesake(&location).await {
            Some(slot) => slot,
            None => match self.alias(&location).await? {
                Some(slot) => slot,
                None => self.slot(&location).await?,
            },
        };
        // Until the end: nobody else opens or closes this file meanwhile.
        let Ok(_gate) = timeout(OPEN_TIMEOUT, slot.gate.lock()).await else {
            self.forget(&slot);
            return Err(slow());
        };
        let remembered = self.remembered().get(&slot.path);
        let truncates =
            truncates && remembered.is_none_or(|known| asked.configured_at_s > known.configured_at_s);
        match slot.entry() {
            // What waits for a file in trouble is not ours to wait for: it is joined.
            Some(entry)
                if entry.has_ended()
                    || (truncates && entry.idle_for().is_some() && !entry.is_in_trouble()) =>
            {
                self.close(&slot, &entry).await
            }
            Some(entry) => {
                self.reconcile(&slot, &entry, asked);
                return Ok(entry.hold());
            }
            None => {}
        }
        let configuration = match self.remembered().get(&slot.path) {
            Some(known) => known.winner(asked, &path).0,
            None => asked,
        };
        let mut settings = configuration.settings.clone();
        settings.mode = if truncates {
            OpenMode::Truncate
        } else {
            OpenMode::Append
        };
        let started = self.start(location, settings, configuration, &slot).await;
        if started.is_err() {
            self.forget(&slot);
        }
        started
    }

    /// Opens the file and starts its writer; the slot's gate is the caller's.
    async fn start(
        &self,
        location: Location,
        settings: FileSettings,
        configuration: Configuration,
        slot: &Slot,
    ) -> Result<FileRef, Refusal> {
        let path = location.path().display().to_string();
        let (ledger, file) = self.open_file(location, settings).await?;
        ledger.set_settings(&configuration.handler_json(&path, self.inner.holder.get()));
        let known = self.remembered().get(&slot.path);
        configuration.warn_of_doubt(known.as_ref(), &path);
        let entry = Entry::start(
            path,
            file,
            ledger,
            configuration,
            &self.inner.options,
            &self.inner.counters,
            &self.inner.places,
        )
        .map_err(|error| Refusal::passing("a thread for the file's writer", error.to_string()))?;
        let entry = Arc::new(entry);
        self.remembered()
            .put(slot.path.clone(), entry.configuration().clone());
        slot.set(Some(Arc::clone(&entry)));
        Ok(entry.hold())
    }

    /// Opens the file; waits for it where its holder is about to leave.
    async fn open_file(
        &self,
        location: Location,
        settings: FileSettings,
    ) -> Result<(Ledger, LogFile), Refusal> {
        let filename = location.filename().to_owned();
        let place = state::place_of(&location);
        let until = Instant::now() + HANDOVER_PATIENCE;
        loop {
            let (location, settings, place) = (location.clone(), settings.clone(), place.clone());
            let own = self.inner.holder.get().cloned();
            let ledger = Ledger::new(place.clone());
            let journal = ledger.journal();
            let opening = move || {
                let error = match LogFile::open_with(
                    location,
                    settings,
                    Arc::new(Kernel),
                    Clock::system(),
                    journal,
                ) {
                    Ok(file) => return Ok(Some(file)),
                    Err(error) => error,
                };
                let held = match error.kind {
                    OpenErrorKind::Held(pid) => holder::look(&place, pid, own.as_ref()),
                    _ => Held::Unknown,
                };
                if held == Held::Leaving && Instant::now() < until {
                    return Ok(None);
                }
                Err(Refusal {
                    retry: error.may_heal(),
                    held_at: match held {
                        Held::At(address) => Some(address),
                        Held::Leaving | Held::Unknown => None,
                    },
                    expected: error.expected,
                    received: error.received,
                })
            };
            if let Some(file) = self.inner.doors.run(&filename, opening).await? {
                return Ok((ledger, file));
            }
            tokio::time::sleep(RETRY_MIN).await;
        }
    }

    async fn locate(&self, filename: &str) -> Result<Location, Refusal> {
        let (roots, name) = (self.inner.roots.clone(), filename.to_owned());
        let locating = move || {
            roots.locate(&name).map_err(|error| Refusal {
                retry: error.may_heal(),
                held_at: None,
                expected: error.expected,
                received: error.received,
            })
        };
        self.inner.doors.run(filename, locating).await
    }

    /// Decides whose settings an open file has.
    fn reconcile(&self, slot: &Slot, entry: &Entry, asked: Configuration) {
        let mut current = entry.configuration();
        let (winner, changed) = current.winner(asked, entry.path());
        if changed {
            let mut settings = winner.settings.clone();
            settings.mode = OpenMode::Append;
            entry
                .ledger
                .set_settings(&winner.handler_json(entry.path(), self.inner.holder.get()));
            entry.queue.reconfigure(settings);
            winner.warn_of_doubt(Some(&*current), entry.path());
        }
        *current = winner.clone();
        drop(current);
        self.remembered().put(slot.path.clone(), winner);
    }

    /// The slot of a file that is open under another path to the same directory.
    async fn namesake(&self, location: &Location) -> Option<Arc<Slot>> {
        let other = {
            let slots = self.slots();
            if slots.contains_key(location.path()) {
                return None;
            }
            slots
                .values()
                .find(|slot| {
                    slot.entry()
                        .is_some_and(|entry| entry.state.is_at(location.key()))
                })
                .map(Arc::clone)
        }?;
        let still_there = self
            .locate(&other.filename)
            .await
            .is_ok_and(|there| there.key() == location.key());
        if still_there {
            return Some(other);
        }
        // The directory was renamed, and leaves the other file's path: its writer lets go of it.
        if let Some(entry) = other.entry() {
            entry.queue.reopen();
        }
        None
    }

    /// The slot of a file that is open under another name: a symbolic or hard link, which only a personal server follows.
    /// While several hold it, it is rotated under the name by which it was opened first.
    async fn alias(&self, location: &Location) -> Result<Option<Arc<Slot>>, Refusal> {
        if self.inner.roots.is_restricted() || self.slots().contains_key(location.path()) {
            return Ok(None);
        }
        let there = location.clone();
        let looking = move || Ok(there.identity());
        let Some(identity) = self.inner.doors.run(location.filename(), looking).await? else {
            return Ok(None);
        };
        let is_it = |slot: &&Arc<Slot>| slot.entry().is_some_and(|entry| entry.state.is_file(identity));
        let found = self.slots().values().find(is_it).map(Arc::clone);
        let Some(slot) = found else { return Ok(None) };
        // One that nobody holds is opened anew, under the name that is asked for.
        self.close_if_idle(&slot, Duration::ZERO).await;
        Ok(slot.entry().is_some().then_some(slot))
    }

    /// The slot of a path; makes room for it if there are too many.
    async fn slot(&self, location: &Location) -> Result<Arc<Slot>, Refusal> {
        loop {
            {
                let mut slots = self.slots();
                if let Some(slot) = slots.get(location.path()) {
                    return Ok(Arc::clone(slot));
                }
                if slots.len() >= self.inner.options.files_max {
                    life::drop_unused(&mut slots);
                }
                if slots.len() < self.inner.options.files_max {
                    let slot = Arc::new(Slot::new(location));
                    slots.insert(slot.path.clone(), Arc::clone(&slot));
                    return Ok(slot);
                }
            }
            if !self.close_longest_idle().await {
                let max = self.inner.options.files_max;
                let expected = format!("at most {max} open files (files_max in the configuration)");
                return Err(Refusal::passing(expected, "one more"));
            }
        }
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<PathBuf, Arc<Slot>>> {
        self.inner.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.inner
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn entries(&self) -> Vec<Arc<Entry>> {
        self.slots().values().filter_map(|slot| slot.entry()).collect()
    }
}
