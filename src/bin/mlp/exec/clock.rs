//! `clock.*`: time, where it is this program's to move.

use ml_persistence::Error;

use super::session::{Answer, Request, json};

/// Longest step: a thousand years. A sum of steps never meets the end of the range of milliseconds.
const STEP_MS_MAX: u64 = 1_000 * 366 * 86_400_000;

pub fn advance(request: &Request<'_>) -> Answer {
    let ms = request.fields.integer("ms", 0..=STEP_MS_MAX)?;
    match &request.session.clock {
        Some(clock) => json(&clock.advance(ms)),
        None => Err(Error::unsupported("clock.advance: only with --clock manual")),
    }
}
