//! A door that is closed once: who went through before is waited for, and nobody goes through after.

use std::ops::Deref;
use std::sync::Arc;

use super::sync::RwLock;

/// Open, until somebody closes it for good. Cheap to clone; clones are the same door.
#[derive(Debug, Clone, Default)]
pub(crate) struct Door(Arc<RwLock<bool>>);

impl Door {
    /// Goes through, and is inside as long as the answer lives; `None` once the door is closed.
    pub fn enter(&self) -> Option<impl Deref<Target = bool>> {
        Some(self.0.read()).filter(|closed| !**closed)
    }

    /// Waits until nobody is inside any more, and lets nobody in from here on.
    pub fn close(&self) {
        *self.0.write() = true;
    }

    pub fn is_closed(&self) -> bool {
        *self.0.read()
    }
}
