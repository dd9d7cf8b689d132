//! Says on stderr what peers did wrong, without letting them fill it.
//!
//! In: how connections ended. Out: counters, and at most one warning in [`TELL_EVERY`]. The rest is counted in the next
//! one, and said at level DEBUG.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use super::Ending;
use crate::context::{Context, Peer};
use crate::limits::TELL_EVERY;

/// When the last warning was, and what was not said since.
#[derive(Debug, Default)]
pub(super) struct Telling {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    said: Option<Instant>,
    unsaid: u64,
}

impl Telling {
    /// Counts the ending, and says it where it is worth it.
    pub(super) fn tell(&self, ending: &Ending, peer: &Peer, context: &Context) {
        let text = match ending {
            Ending::Broken(error) => {
                context.counters.protocol_errors.add(1);
                format!("{error}; connection closed")
            }
            Ending::TooSlow => {
                context.counters.protocol_errors.add(1);
                "too slow; connection closed".to_owned()
            }
            Ending::Refused(refusal) => format!("refused: {refusal}"),
            Ending::Lost(error) => return tracing::debug!("{peer}: connection lost: {error}"),
            Ending::TakenOver => return tracing::debug!("{peer}: its session has a newer connection"),
            Ending::Left | Ending::Drained => return,
        };
        match self.turn() {
            Some(0) => tracing::warn!("{peer}: {text}"),
            Some(unsaid) => tracing::warn!("{peer}: {text} (and {unsaid} more connections before)"),
            None => tracing::debug!("{peer}: {text}"),
        }
    }

    /// Whether it is time for a warning, and how many there would have been since the last.
    fn turn(&self) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.said.is_some_and(|said| said.elapsed() < TELL_EVERY) {
            state.unsaid += 1;
            return None;
        }
        state.said = Some(Instant::now());
        Some(std::mem::take(&mut state.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_thousand_bad_peers_make_one_warning() {
        let telling = Telling::default();
        assert_eq!(telling.turn(), Some(0));
        assert!((0..1000).all(|_| telling.turn().is_none()));
        tokio::time::advance(TELL_EVERY).await;
        assert_eq!(telling.turn(), Some(1000));
    }
}
