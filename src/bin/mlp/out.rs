//! Where answers and messages go: answers to standard output, everything said about them to standard error.

use std::fmt::Display;
use std::io::Write;

use ml_persistence::{Error, ErrorKind, Result};
use serde::Serialize;

/// The two streams of one command.
#[derive(Debug)]
pub struct Out {
    /// Answer in JSON, one object a line, instead of words and tables.
    pub json: bool,
    reader_gone: bool,
}

impl Out {
    pub fn new(json: bool) -> Self {
        Out { json, reader_gone: false }
    }

    /// Writes a piece of the answer, and a line's end.
    pub fn say(&mut self, text: impl Display) -> Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| {
            self.reader_gone = true;
            Error::io("standard output", error)
        })
    }

    /// Answers with one JSON object on a line.
    pub fn object(&mut self, value: &(impl Serialize + ?Sized)) -> Result<()> {
        let text = serde_json::to_string(value).map_err(|error| Error::internal(format!("reply: {error}")))?;
        self.say(text)
    }

    /// The answer in JSON, or in words, as was asked.
    pub fn answer(&mut self, value: &(impl Serialize + ?Sized), words: impl FnOnce() -> String) -> Result<()> {
        if self.json { self.object(value) } else { self.say(words()) }
    }

    /// Says something that is not part of the answer.
    pub fn note(&self, words: &str) {
        if self.json {
            eprintln!("{}", serde_json::json!({"note": words}));
        } else {
            eprintln!("{words}");
        }
    }

    /// Tells what went wrong and what can be done about it. That the reader of the answer went away is not told: it is
    /// not this program's problem.
    pub fn refuse(&self, error: &Error) {
        if self.reader_gone {
            return;
        }
        if self.json {
            let error = serde_json::json!({"kind": error.kind().name(), "message": error.to_string()});
            eprintln!("{}", serde_json::json!({"error": error}));
            return;
        }
        eprintln!("mlp: {error}");
        if let Some(advice) = advice(error.kind()) {
            eprintln!("     {advice}");
        }
    }
}

/// What a person can do about an error of this kind, where the message alone does not say it.
fn advice(kind: ErrorKind) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::Corrupt => "look with `mlp verify`; then `mlp repair`, or bring back a snapshot or a copy",
        ErrorKind::Conflict => "look at how it stands now, then decide again",
        ErrorKind::Unavailable => "a program that has the store open must let it go first; then try again",
        ErrorKind::Full => "make room; the store goes on when there is some",
        ErrorKind::CommitUnknown => "it may have happened or not: look before you try again",
        ErrorKind::Closed => "run the command again: opening the store recovers it",
        ErrorKind::Unsupported => "another build of mlp, or another engine, may offer it",
        ErrorKind::Internal => "this is a bug: please report it with the message",
        _ => return None,
    })
}
