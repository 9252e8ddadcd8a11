//! The seven states of a job and the ten ways in which an attempt ends.
//!
//! Both are persisted by their place in the list (values) and by [`State::number`] (index keys): append only, never
//! reorder.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Where a job is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum State {
    /// Ready to be claimed.
    Available,
    /// Waits for its `run_at`.
    Scheduled,
    /// Claimed: the only state with a lease.
    Executing,
    /// Failed, and waits for its next attempt.
    Retryable,
    /// Finished with a result.
    Completed,
    /// Given up: attempts or crashes used up, or discarded by its worker.
    Discarded,
    /// Cancelled.
    Cancelled,
}

impl State {
    /// Every state, in the order of their numbers.
    pub const ALL: [State; 7] = [
        State::Available,
        State::Scheduled,
        State::Executing,
        State::Retryable,
        State::Completed,
        State::Discarded,
        State::Cancelled,
    ];

    /// Its number in index entries and counters: 1 for [`State::Available`] and so on.
    #[must_use]
    pub(crate) fn number(self) -> u8 {
        self as u8 + 1
    }

    /// The state with this number.
    pub(crate) fn from_number(number: u8) -> Result<Self> {
        State::ALL
            .into_iter()
            .find(|state| state.number() == number)
            .ok_or_else(|| Error::corrupt(format!("job state {number}: there is no such state")))
    }

    /// Its name in snake case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            State::Available => "available",
            State::Scheduled => "scheduled",
            State::Executing => "executing",
            State::Retryable => "retryable",
            State::Completed => "completed",
            State::Discarded => "discarded",
            State::Cancelled => "cancelled",
        }
    }

    /// Whether the job is over: only `retry` brings it back.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, State::Completed | State::Discarded | State::Cancelled)
    }

    /// Whether a job in this state waits for its `run_at`.
    #[must_use]
    pub(crate) fn waits(self) -> bool {
        matches!(self, State::Scheduled | State::Retryable)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for State {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        State::ALL
            .into_iter()
            .find(|state| state.name() == text)
            .ok_or_else(|| Error::invalid(format!("state: one of the seven job states, got {text:?}")))
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// With a result.
    Completed,
    /// With an error that the worker reported.
    Failed,
    /// Its worker panicked.
    Panicked,
    /// Its lease was dropped unfinished.
    Dropped,
    /// It ran past its timeout.
    TimedOut,
    /// Its lease ran out and was taken back.
    LeaseExpired,
    /// The process that held it ended without closing the store.
    ProcessCrash,
    /// Put off by its worker; the attempt was given back.
    Snoozed,
    /// Let go by its worker or by a clean close; the attempt was given back.
    Released,
    /// A cancel was asked for while it ran, and it ended without a result.
    Cancelled,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_lead_back_to_their_state() {
        for state in State::ALL {
            assert_eq!(State::from_number(state.number()).unwrap(), state);
            assert_eq!(state.name().parse::<State>().unwrap(), state);
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
        }
        assert!(State::from_number(0).is_err() && State::from_number(8).is_err());
        assert!("running".parse::<State>().is_err());
    }
}
