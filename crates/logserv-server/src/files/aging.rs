//! The age limit of rotated files (`retain_age_s`) whose log file is closed: nobody logs to it, and they grow old all the same.
//!
//! In: the configurations of files that were open, as many as are remembered. Out: deleted files. Each is opened for a moment,
//! without making it, which is when the limits are looked at (`logserv_disk`).
//! Not here: files that are open; their writers look after them (`writer/compress.rs`).

use std::path::PathBuf;
use std::sync::Arc;

use logserv_disk::{Clock, FileSettings, Kernel, LogFile, NoJournal, OpenMode};

use super::Files;
use super::entry::Slot;
use crate::limits::RETAIN_CLOSED_EVERY;

impl Files {
    /// Looks after closed files now and then, for ever.
    pub(crate) async fn retain_closed_ones(self) {
        loop {
            tokio::time::sleep(RETAIN_CLOSED_EVERY).await;
            self.retain_closed().await;
        }
    }

    /// Deletes what is too old of the rotated files of files that are closed, one file after the other. What cannot be opened, or
    /// is being opened, is left for the next time. Waits for the disk.
    pub async fn retain_closed(&self) {
        let aging = self.remembered().aging();
        for (path, settings) in aging {
            // Whatever is in the way of it now.
            let _ = self.retain_at(path, settings).await;
        }
    }

    async fn retain_at(&self, path: PathBuf, settings: FileSettings) -> Option<()> {
        let location = self.locate(&settings.filename).await.ok()?;
        if location.path() != path {
            return None;
        }
        let slot = {
            let mut slots = self.slots();
            let slot = slots
                .entry(path)
                .or_insert_with(|| Arc::new(Slot::new(&location)));
            Arc::clone(slot)
        };
        if let Ok(_gate) = slot.gate.try_lock()
            && slot.entry().is_none()
        {
            let settings = FileSettings {
                mode: OpenMode::Append,
                delay: true,
                ..settings
            };
            let filename = location.filename().to_owned();
            let opening = move || {
                // It was closed in order: there is nothing to finish, and what its state remembers stays for whoever opens it to write.
                let kernel = Arc::new(Kernel);
                drop(LogFile::open_with(
                    location,
                    settings,
                    kernel,
                    Clock::system(),
                    Box::new(NoJournal),
                ));
                Ok(())
            };
            let _ = self.inner.doors.run(&filename, opening).await;
        }
        self.forget(&slot);
        Some(())
    }
}
