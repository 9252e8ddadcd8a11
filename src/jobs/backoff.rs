//! How long a failed job waits before its next attempt.
//!
//! `delay(attempt) = min(base_ms * factor^(attempt - 1), max_ms)`, less a random share of at most `jitter_percent` of
//! it. Jitter only ever shortens, so `max_ms` is a bound and not a guess.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Longest delay that a backoff may name: 30 days.
pub const BACKOFF_MS_MAX: u64 = 30 * 86_400_000;

/// Exponential backoff with jitter.
///
/// ```
/// use ml_persistence::Backoff;
/// let backoff = Backoff::exponential(1_000, 60_000).jitter_percent(0);
/// assert_eq!(backoff.delay_ms(1, 0), 1_000);
/// assert_eq!(backoff.delay_ms(4, 0), 8_000);
/// assert_eq!(backoff.delay_ms(40, 0), 60_000);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Backoff {
    base_ms: u64,
    factor: u32,
    max_ms: u64,
    jitter_percent: u8,
}

impl Default for Backoff {
    /// 1 s, doubling up to 1 h, up to 20 % shorter by chance.
    fn default() -> Self {
        Backoff { base_ms: 1_000, factor: 2, max_ms: 3_600_000, jitter_percent: 20 }
    }
}

impl Backoff {
    /// The same delay after every failure, no jitter.
    #[must_use]
    pub fn fixed(delay_ms: u64) -> Self {
        Backoff { base_ms: delay_ms, factor: 1, max_ms: delay_ms, jitter_percent: 0 }
    }

    /// `base_ms` after the first failure, doubling up to `max_ms`, with the default jitter.
    #[must_use]
    pub fn exponential(base_ms: u64, max_ms: u64) -> Self {
        Backoff { base_ms, max_ms, ..Backoff::default() }
    }

    /// By how much each further delay grows; 1 keeps it the same.
    #[must_use]
    pub fn factor(mut self, factor: u32) -> Self {
        self.factor = factor;
        self
    }

    /// The largest share of a delay that chance may take off, 0..=100.
    #[must_use]
    pub fn jitter_percent(mut self, percent: u8) -> Self {
        self.jitter_percent = percent;
        self
    }

    /// The delay after `attempt` (1 is the first) failed; `random` picks the jitter.
    #[must_use]
    pub fn delay_ms(&self, attempt: u32, random: u64) -> u64 {
        let growth = u64::from(self.factor).saturating_pow(attempt.saturating_sub(1));
        let delay = self.base_ms.saturating_mul(growth).min(self.max_ms);
        let span = u128::from(delay) * u128::from(self.jitter_percent.min(100)) / 100;
        let off = u128::from(random) % (span + 1);
        // `off` is at most `delay`, so both fit.
        delay.saturating_sub(off as u64)
    }

    /// Refuses a backoff that could not work.
    pub(crate) fn check(&self) -> Result<()> {
        if self.jitter_percent > 100 {
            return Err(Error::invalid(format!("backoff: jitter_percent is 0..=100, got {}", self.jitter_percent)));
        }
        if self.factor == 0 {
            return Err(Error::invalid("backoff: factor is at least 1, got 0"));
        }
        if self.base_ms > BACKOFF_MS_MAX || self.max_ms > BACKOFF_MS_MAX {
            return Err(Error::invalid(format!("backoff: base_ms and max_ms are at most {BACKOFF_MS_MAX}")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_only_shortens_and_stays_within_its_share() {
        let backoff = Backoff::exponential(1_000, 10_000).jitter_percent(25);
        for attempt in 1..100 {
            let full = backoff.jitter_percent(0).delay_ms(attempt, 0);
            let delays: Vec<u64> =
                (0..2_000u64).map(|random| backoff.delay_ms(attempt, crate::clock::mix(random))).collect();
            assert!(delays.iter().all(|delay| (full - full / 4..=full).contains(delay)));
            assert!(delays.iter().any(|delay| *delay != full), "chance never spoke at attempt {attempt}");
        }
    }

    #[test]
    fn huge_attempts_and_factors_reach_the_bound_and_no_overflow() {
        let backoff = Backoff::exponential(u64::MAX, u64::MAX).factor(u32::MAX).jitter_percent(100);
        assert_eq!(backoff.delay_ms(u32::MAX, 0), u64::MAX);
        assert_eq!(backoff.delay_ms(0, u64::MAX), 0);
        assert!(backoff.check().is_err());
    }
}
