//! Agreeing to what cannot be taken back: it is shown, and then somebody says yes - at the terminal or with `--yes`.

use std::io::{IsTerminal, Write};

use ml_persistence::{Change, Error, Result};

use crate::line::Flag;

/// The option that says yes beforehand.
pub const YES: &[Flag] = &[Flag::bare("yes", "do it without asking")];

/// What will go.
pub struct Plan {
    /// In words, for the person who decides.
    pub words: String,
    /// The revision of what was shown: what has changed since is not what was agreed to.
    pub revision: Option<u64>,
}

impl Plan {
    /// The change that was agreed to: what was shown is what goes, unless the line says what to go by.
    pub fn agreed(&self, change: &Change) -> Change {
        let mut change = change.clone();
        change.expected_revision = change.expected_revision.or(self.revision);
        change
    }
}

/// Asks the person at the terminal; without a terminal, nobody says yes.
pub fn asked_for() -> Result<bool> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        return Ok(false);
    }
    let told = |error| Error::io("terminal", error);
    eprint!("Go on? It cannot be taken back. [y/N] ");
    std::io::stderr().flush().map_err(told)?;
    let mut answer = String::new();
    input.read_line(&mut answer).map_err(told)?;
    Ok(says_yes(&answer))
}

fn says_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_a_yes() {
        assert!(["y\n", "Yes\n", " YES "].into_iter().all(says_yes));
        assert!(!["", "\n", "n\n", "yess\n", "ok\n", "y es\n"].into_iter().any(says_yes));
    }
}
