//! The first rows of an order, picked out of everything that was looked at, in memory that does not grow with it.

use std::collections::BTreeMap;

/// At most `most` rows: those with the smallest places behind `after`.
pub(super) struct Selection<T> {
    rows: BTreeMap<Vec<u8>, T>,
    after: Option<Vec<u8>>,
    most: usize,
}

impl<T> Selection<T> {
    pub(super) fn new(after: Option<Vec<u8>>, most: usize) -> Self {
        Selection { rows: BTreeMap::new(), after, most }
    }

    /// Takes a row in if it belongs there. The same place twice is the same row.
    pub(super) fn offer(&mut self, place: Vec<u8>, row: T) {
        if self.after.as_ref().is_some_and(|after| place <= *after) {
            return;
        }
        self.rows.insert(place, row);
        if self.rows.len() > self.most {
            self.rows.pop_last();
        }
    }

    /// The rows in order.
    pub(super) fn into_rows(self) -> impl Iterator<Item = (Vec<u8>, T)> {
        self.rows.into_iter()
    }
}
