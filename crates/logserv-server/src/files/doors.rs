//! How many calls that look up and open files may wait for the disk at the same time: in all, and for one directory.
//!
//! In: a task that may block, and the directory that it is about. Out: its result, or a refusal where no place was to be
//! had in time. A file system that hangs keeps the threads of its own directories, and leaves the others theirs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::limits::{OPEN_TIMEOUT, OPENS_MAX, OPENS_OF_A_DIRECTORY_MAX};
use crate::pipeline::Refusal;

#[derive(Debug)]
pub(super) struct Doors {
    all: Arc<Semaphore>,
    /// By the directory as the client spells it: where it leads is what only the disk knows.
    of_directories: Mutex<HashMap<String, Weak<Semaphore>>>,
}

impl Default for Doors {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(OPENS_MAX)),
            of_directories: Mutex::default(),
        }
    }
}

impl Doors {
    /// Runs `task`, about the file `filename`, on a thread that may block.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        filename: &str,
        task: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let of_directory = self.of_directory(filename);
        let place = async {
            // The directory's first: who waits for a hung one holds nothing that others wait for.
            let own = Arc::clone(&of_directory).acquire_owned().await.ok()?;
            Some((own, Arc::clone(&self.all).acquire_owned().await.ok()?))
        };
        let place = timeout(OPEN_TIMEOUT, place).await.map_err(|_| slow())?;
        let Some(place) = place else {
            return Err(Refusal::passing("a server that stays", "one that leaves"));
        };
        let task = move || {
            let _place = place;
            task()
        };
        let result = tokio::task::spawn_blocking(task).await;
        result.unwrap_or_else(|error| Err(Refusal::passing("the disk", error.to_string())))
    }

    /// Nobody comes through any more: the server leaves.
    pub(super) fn close(&self) {
        self.all.close();
    }

    fn of_directory(&self, filename: &str) -> Arc<Semaphore> {
        let directory = filename.rsplit_once('/').map_or("", |(directory, _)| directory);
        let mut all = self.of_directories.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.get(directory).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            all.retain(|_, one| one.strong_count() > 0);
            let one = Arc::new(Semaphore::new(OPENS_OF_A_DIRECTORY_MAX));
            all.insert(directory.to_owned(), Arc::downgrade(&one));
            one
        })
    }
}

/// Why an opening is given up.
pub(super) fn slow() -> Refusal {
    Refusal::passing(
        format!("the disk to answer within {} s", OPEN_TIMEOUT.as_secs()),
        "nothing",
    )
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_directory_that_hangs_leaves_the_others_their_places() {
        let doors = Arc::new(Doors::default());
        let (release, hung) = mpsc::channel::<()>();
        let hung = Arc::new(Mutex::new(hung));
        let stuck: Vec<_> = (0..2 * OPENS_MAX)
            .map(|_| {
                let (doors, hung) = (Arc::clone(&doors), Arc::clone(&hung));
                tokio::spawn(async move {
                    let task = move || {
                        let _ = hung.lock().unwrap_or_else(PoisonError::into_inner).recv();
                        Ok(())
                    };
                    doors.run("/hung/a.log", task).await
                })
            })
            .collect();
        tokio::task::yield_now().await;
        assert_eq!(doors.run("/healthy/a.log", || Ok(1)).await, Ok(1));
        drop(release);
        for one in stuck {
            one.await.unwrap().unwrap();
        }
        assert_eq!(
            doors.of_directories.lock().unwrap().len(),
            2,
            "forgotten with the next one"
        );
        doors.close();
        assert!(doors.run("a.log", || Ok(())).await.unwrap_err().retry);
    }
}
