//! How a page was found, for people.

use serde::Serialize;

/// How a page was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Plan {
    /// The index that was read.
    pub index: String,
    /// Conditions of the filter that chose what part of the index was read. None: all of it, or all of the model.
    pub by_index: Vec<String>,
    /// The model whose part alone was read.
    pub model: Option<String>,
    /// Conditions that were asked of each record read.
    pub filtered: Vec<String>,
    /// The order of the rows.
    pub order: String,
    /// `true`: the index has that order, so reading stopped when the page was full. `false`: everything that the index
    /// part holds was read, and the page's rows were picked out.
    pub in_index_order: bool,
    /// Whether neither a condition nor a model narrowed what was read: every record may have been looked at.
    pub full_scan: bool,
    /// Records read for this page.
    pub examined: u64,
}
