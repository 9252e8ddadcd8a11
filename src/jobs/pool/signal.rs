//! A flag that is raised once and can be waited for.
//!
//! A wait is the only way in which the pool lets time pass, so everything that waits also hears of the end at once.

use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use parking_lot::Mutex;

/// Down, until somebody raises it for good.
#[derive(Debug)]
pub(super) struct Signal {
    /// Nothing is ever sent: raising it drops the sender, which every receiver notices.
    raised: Mutex<Option<Sender<()>>>,
    receiver: Receiver<()>,
}

impl Default for Signal {
    fn default() -> Self {
        let (sender, receiver) = bounded(0);
        Signal { raised: Mutex::new(Some(sender)), receiver }
    }
}

impl Signal {
    pub fn raise(&self) {
        drop(self.raised.lock().take());
    }

    pub fn is_raised(&self) -> bool {
        self.raised.lock().is_none()
    }

    /// Waits at most this long for it to be raised; answers whether it is.
    pub fn wait(&self, at_most: Duration) -> bool {
        !matches!(self.receiver.recv_timeout(at_most), Err(RecvTimeoutError::Timeout))
    }
}
