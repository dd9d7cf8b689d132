//! When rotated files are compressed, and on which thread: one of a few that all files share, so that a thousand files
//! that are rotated at midnight do not take every processor.
//!
//! In: the file, the time. Out: jobs for a thread, their outcomes for the file; the retention by age while nothing else happens.
//! Not here: what is compressed, and how it is made sure that a kill loses nothing (`logserv_disk`).

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use logserv_disk::{Clock, CompressJob, CompressOutcome, LogFile};

use crate::file_state::FileState;
use crate::limits::{
    COMPRESS_NICENESS, COMPRESS_WAIT, COMPRESSIONS_MAX, COMPRESSIONS_OF_A_DEVICE_MAX, RETAIN_EVERY,
};
use crate::queue::Queue;

/// The places for compressing threads, by device: a disk that hangs keeps its own files waiting.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places(Arc<Mutex<HashMap<u64, usize>>>);

/// A place that is taken, until it is dropped.
#[derive(Debug)]
struct Place {
    places: Places,
    device: u64,
}

impl Places {
    fn take(&self, device: u64) -> Option<Place> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = taken.values().sum::<usize>() >= COMPRESSIONS_MAX;
        let of_device = taken.entry(device).or_default();
        if is_full || *of_device >= COMPRESSIONS_OF_A_DEVICE_MAX {
            return None;
        }
        *of_device += 1;
        Some(Place {
            places: self.clone(),
            device,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.device) {
            *count = count.saturating_sub(1);
        }
        taken.retain(|_, count| *count > 0);
    }
}

/// See the file's head.
#[derive(Debug)]
pub(super) struct Compressor {
    queue: Arc<Queue>,
    state: Arc<FileState>,
    places: Places,
    clock: Clock,
    outcome: Option<Receiver<CompressOutcome>>,
    /// No place was free: not before.
    wait_until: Option<Instant>,
    retained: Instant,
}

impl Compressor {
    pub(super) fn new(queue: &Arc<Queue>, state: &Arc<FileState>, places: &Places) -> Self {
        Self {
            queue: Arc::clone(queue),
            state: Arc::clone(state),
            places: places.clone(),
            clock: Clock::system(),
            outcome: None,
            wait_until: None,
            retained: Instant::now(),
        }
    }

    /// When to [`turn`](Self::turn) again, unless something comes before.
    pub(super) fn due(&self, file: &LogFile, now: Instant) -> Option<Instant> {
        // A thread that is done pokes the queue.
        let compression = file
            .compression_due_s()
            .filter(|_| self.outcome.is_none())
            .map(|due_s| {
                let pause_s = (due_s - self.clock.now_s()).clamp(0.0, 3600.0);
                let due = now + Duration::from_secs_f64(pause_s);
                self.wait_until.map_or(due, |until| due.max(until))
            });
        let retention = file
            .settings()
            .retention
            .age
            .map(|_| self.retained + RETAIN_EVERY);
        [compression, retention].into_iter().flatten().min()
    }

    /// Takes what a thread has done, and starts what is due.
    pub(super) fn turn(&mut self, file: &mut LogFile, now: Instant) {
        if self.take_outcome(file) {
            self.state.set_file(file.status(), file.key());
        }
        if self.outcome.is_none()
            && file.compression_due_s().is_some()
            && self.wait_until.is_none_or(|until| now >= until)
        {
            self.wait_until = None;
            self.begin(file, now);
        }
        if file.settings().retention.age.is_some() && now >= self.retained + RETAIN_EVERY {
            self.retained = now;
            file.retain();
        }
        // What is begun is done before the file is closed because nobody holds it.
        self.state
            .set_compressing(self.outcome.is_some() || self.wait_until.is_some());
    }

    fn begin(&mut self, file: &mut LogFile, now: Instant) {
        let Some(place) = self.places.take(file.key().device) else {
            self.wait_until = Some(now + COMPRESS_WAIT);
            return;
        };
        let Some(job) = file.begin_compression() else {
            return;
        };
        match start(job, place, Arc::clone(&self.queue)) {
            Some(outcome) => self.outcome = Some(outcome),
            None => {
                // No thread is to be had; the file stays as it is for the time being.
                file.drop_compression();
                self.wait_until = Some(now + RETAIN_EVERY);
            }
        }
    }

    /// True if a thread has come to an end.
    fn take_outcome(&mut self, file: &mut LogFile) -> bool {
        let Some(receiver) = &self.outcome else {
            return false;
        };
        let failed_before = file.status().compressions_failed;
        match receiver.try_recv() {
            Ok(outcome) => file.finish_compression(outcome),
            Err(TryRecvError::Empty) => return false,
            // It has died of a fault.
            Err(TryRecvError::Disconnected) => {
                file.drop_compression();
                self.wait_until = Some(Instant::now() + RETAIN_EVERY);
            }
        }
        self.outcome = None;
        let status = file.status();
        if status.compressions_failed > failed_before {
            tracing::warn!("{}", status.last_error.unwrap_or_default());
        }
        true
    }
}

fn start(job: CompressJob, place: Place, queue: Arc<Queue>) -> Option<Receiver<CompressOutcome>> {
    let (done, outcome) = sync_channel(1);
    let work = move || {
        // Threads have a niceness of their own on Linux; without it we are merely less polite.
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), COMPRESS_NICENESS);
        // The place is free before the writer looks for the next.
        let result = job.run();
        drop(place);
        let _ = done.send(result);
        queue.poke();
    };
    std::thread::Builder::new()
        .name("logserv-compr".into())
        .spawn(work)
        .ok()
        .map(|_| outcome)
}

#[cfg(test)]
mod tests {
    use super::Places;
    use crate::limits::COMPRESSIONS_MAX;

    #[test]
    fn a_device_has_one_place_and_all_together_a_few() {
        let places = Places::default();
        let mut taken = vec![places.take(1).unwrap()];
        assert!(places.take(1).is_none());
        for device in 2..=COMPRESSIONS_MAX as u64 {
            taken.push(places.take(device).unwrap());
        }
        assert!(places.take(99).is_none());
        taken.clear();
        assert!(places.take(1).is_some());
    }
}
