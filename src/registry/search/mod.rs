//! Search: pages of models or versions that a filter selects, in an order, each page one point in time.
//!
//! ```text
//!   request ──> order ──┐
//!          └──> filter ─┴─> plan ── ranges of one index, and how their order becomes the one asked for
//!                             │
//!        in order ────────────┼──────────── walk: entry by entry, until the page is full
//!        in another order ────┴──────────── select: all of them, keeping the first page's worth
//!                             │
//!                            run ── the record of each entry, the filter, the page and its token
//! ```
//!
//! It promises full pages: a page is short only at the end, or when its rows weigh [`PAGE_BYTES`](crate::record::PAGE_BYTES).
//! No page is empty and has a next one. A record that stands for the whole walk, unchanged in what it is ordered by, comes
//! exactly once, whatever is written in between. A token goes on behind a place in the order, so it is bound to the
//! filter, the order and the model, but not to the size of a page.
//!
//! Every read of the engine is bounded (256 entries), and so is memory: one page of rows and its place in
//! the order. Time is not: a filter that no index answers looks at every record of the model, or of all; [`Plan`] says
//! so beforehand. The filter is always asked of the record itself, so an index only ever saves work.
//!
//! A record that can't be read is reported in the page where it belongs; where its fields decide on that, it comes
//! last, since they are not known.

mod explain;
mod narrow;
mod order;
mod plan;
mod request;
mod run;
mod select;
mod subject;
mod walk;

pub use explain::Plan;
pub use request::SearchRequest;
pub(crate) use run::{models, versions};
pub(crate) use subject::{
    MODEL_CREATED, MODEL_TAGS, MODEL_UPDATED, VERSION_CREATED, VERSION_RUNS, VERSION_STAGES_OF_ALL, VERSION_TAGS,
    VERSION_UPDATED,
};
