//! What a worker shows to act on its job: the name of one claim, never of a worker.
//!
//! Text form, 104 lower-case hex digits (all big-endian):
//!
//! ```text
//!  0  16  job
//! 16   8  its place in enqueue order: tells it from an earlier job of the same id, which was pruned
//! 24   8  claim number: grows with every claim of the job, never goes back
//! 32   8  epoch number
//! 40   8  epoch id: tells copies of one folder apart
//! 48   4  CRC32C over the 96 digits before: a token that was cut or mistyped is `Invalid`, not `LeaseLost`
//! ```

use std::fmt;
use std::str::FromStr;

use super::job::JobId;
use crate::engine::Epoch;
use crate::error::{Error, Result};

/// One claim of one job. Opaque; its text form goes over any border.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token {
    pub(crate) job: JobId,
    pub(crate) sequence: u64,
    pub(crate) number: u64,
    pub(crate) epoch: Epoch,
}

/// Which claim of the jobs that had one id: a later one is greater. Across openings, since a store whose state is
/// replaced may go back to fewer claims; and across jobs, since the id of a pruned one may be given to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Which {
    pub opening: u64,
    pub sequence: u64,
    pub number: u64,
}

const BODY_BYTES: usize = 48;
const DIGITS: usize = 2 * (BODY_BYTES + 4);

impl Token {
    /// The job it is about.
    #[must_use]
    pub fn job(&self) -> JobId {
        self.job
    }

    pub(crate) fn which(&self) -> Which {
        Which { opening: self.epoch.number, sequence: self.sequence, number: self.number }
    }

    fn body(&self) -> String {
        let Token { job, sequence, number, epoch } = self;
        format!("{:032x}{sequence:016x}{number:016x}{:016x}{:016x}", job.0, epoch.number, epoch.id)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = self.body();
        write!(f, "{body}{:08x}", crc32c::crc32c(body.as_bytes()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}, claim {}, epoch {})", self.job, self.number, self.epoch.number)
    }
}

impl FromStr for Token {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let malformed = || Error::invalid("token: not a token as a claim answered it");
        if text.len() != DIGITS || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(malformed());
        }
        let field = |from: usize, digits: usize| {
            let digits = text.get(from..from + digits).ok_or_else(malformed)?;
            u128::from_str_radix(digits, 16).map_err(|_| malformed())
        };
        let token = Token {
            job: JobId(field(0, 32)?),
            sequence: field(32, 16)? as u64,
            number: field(48, 16)? as u64,
            epoch: Epoch { number: field(64, 16)? as u64, id: field(80, 16)? as u64 },
        };
        // The checksum covers the text, so comparing whole texts is the whole check.
        if token.to_string() != text {
            return Err(malformed());
        }
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_its_text_and_every_mistyped_digit_is_invalid() {
        let token = Token { job: JobId(7 << 100), sequence: 5, number: 3, epoch: Epoch { number: 9, id: u64::MAX } };
        let text = token.to_string();
        assert_eq!(text.len(), DIGITS);
        assert_eq!(text.parse::<Token>().unwrap(), token);
        for place in 0..text.len() {
            let mut other = text.clone().into_bytes();
            other[place] = if other[place] == b'0' { b'1' } else { b'0' };
            assert!(String::from_utf8(other).unwrap().parse::<Token>().is_err());
        }
        for wrong in ["", "abc", &text[1..], &text.to_uppercase(), &"é".repeat(DIGITS / 2)] {
            assert_eq!(wrong.parse::<Token>().unwrap_err().kind(), crate::ErrorKind::Invalid);
        }
    }
}
