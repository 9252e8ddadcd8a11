//! What verify and repair know about jobs beyond their indexes and counters.
//!
//! ```text
//! jobs     every key is a job's or a claim's      claim -> its job
//! history  attempts -> their job
//! meta     the enqueue order is not behind any job      pause marks can be read
//! ```
//!
//! A job whose body or claim can't be read goes to quarantine as a whole: body, claim and attempts. To go on with a
//! body alone would hand out again what may have been completed.

use super::pair::Pair;
use super::schema::attempts_key;
use crate::engine::Tree;
use crate::error::Result;
use crate::keys::{self, KeyWriter};
use crate::record::repair::{self, Repairer};
use crate::record::scrub::{self, Report};
use crate::record::{View, catalog};

/// Claims every key that belongs to the queue.
pub(crate) fn claim(report: &mut Report) {
    scrub::claim::<Pair>(report);
    report.claim(Tree::Jobs, &[]);
    report.claim(Tree::History, &attempts_prefix());
    report.claim(Tree::Meta, &keys::meta("queue.paused", KeyWriter::new()));
    report.claim(Tree::Meta, &keys::meta("queue.sequence", KeyWriter::new()));
}

/// Checks every job with its index entries and counters.
///
/// # Errors
/// As [`scrub::verify`].
pub fn verify(view: &View<'_>, report: &mut Report) -> Result<()> {
    scrub::verify::<Pair>(view, report)
}

/// Rebuilds what is kept about jobs.
pub(crate) fn repair(run: &mut Repairer<'_>) -> Result<()> {
    repair::records::<Pair>(run, places)
}

/// Where the parts of the job at `key` lie.
fn places(key: &[u8]) -> Vec<(Tree, Vec<u8>)> {
    let mut places = vec![(Tree::Jobs, key.to_vec())];
    if let Ok(id) = super::enqueue::parse_key(key) {
        places.push((Tree::Jobs, keys::claim(id.0)));
        places.push((Tree::History, attempts_key(id.0)));
    }
    places
}

fn attempts_prefix() -> Vec<u8> {
    keys::history(catalog::JOB_ATTEMPTS.tag, KeyWriter::new())
}
