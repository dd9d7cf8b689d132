//! The handle by which a running server is told to leave, or to reopen its files. Signals and commands end here.

use tokio::sync::watch;

/// What the server shall do. Only grows: nothing takes a drain back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Order {
    /// Serve.
    #[default]
    Serve,
    /// Take in and write what is on its way, then leave.
    Drain,
    /// Leave at once. What is not written is lost, unless its client keeps it until it is acknowledged.
    Leave,
}

/// A handle on a running server. Clones steer the same one.
#[derive(Debug, Clone, Default)]
pub struct Control {
    order: watch::Sender<Order>,
    /// Counts the requests to reopen.
    reopen: watch::Sender<u64>,
}

impl Control {
    /// Starts a drain: the server returns from `run` within its drain timeout.
    pub fn drain(&self) {
        self.give(Order::Drain);
    }

    /// Ends the server now, and a drain that is going on.
    pub fn leave(&self) {
        self.give(Order::Leave);
    }

    /// A first call drains, a second one leaves at once: SIGTERM and SIGINT.
    pub fn interrupt(&self) {
        let next = if *self.order.borrow() == Order::Serve {
            Order::Drain
        } else {
            Order::Leave
        };
        self.give(next);
    }

    /// Has every file opened anew under its name: SIGHUP, after another program has renamed it.
    pub fn reopen(&self) {
        self.reopen.send_modify(|count| *count += 1);
    }

    /// The order now.
    #[must_use]
    pub fn order(&self) -> Order {
        *self.order.borrow()
    }

    /// Waits until the order is `order`, or a stronger one.
    pub async fn ordered(&self, order: Order) {
        // The sender lives in `self`, so that this ends with the order only.
        let _ = self.order.subscribe().wait_for(|now| *now >= order).await;
    }

    pub(crate) fn reopenings(&self) -> watch::Receiver<u64> {
        self.reopen.subscribe()
    }

    fn give(&self, order: Order) {
        self.order.send_modify(|now| *now = (*now).max(order));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_interrupt_does_not_wait_for_the_drain() {
        let control = Control::default();
        assert_eq!(control.order(), Order::Serve);
        control.interrupt();
        control.ordered(Order::Drain).await;
        assert_eq!(control.order(), Order::Drain);
        control.clone().interrupt();
        control.ordered(Order::Leave).await;
        control.drain();
        assert_eq!(control.order(), Order::Leave);
    }
}
