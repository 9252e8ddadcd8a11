//! The commands for people, through the real program: what they print, what they refuse, and how they end.
//!
//! Stores are made by `mlp exec` with a clock that stands and seeded ids, so tables and JSON are the same on every day.

mod copies;
mod jobs;
mod registry;
mod store;
mod usage;

use std::path::Path;

use serde_json::Value;

use crate::harness::{Exec, folder, mlp};

/// When everything in these stores happens: 2023-11-14T22:13:20.000Z.
pub const NOW: &str = "1700000000000";

/// What one run of the program came to.
pub struct Told {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// A store, and the program run on it.
pub struct Store(pub tempfile::TempDir);

impl Store {
    /// A store that these requests have made.
    pub fn of(requests: &[Value]) -> Self {
        let store = Store(folder());
        let mut exec = store.exec();
        for request in requests {
            exec.ok(request.clone());
        }
        assert_eq!(exec.finish().0, Some(0));
        store
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// `mlp exec` on the store.
    pub fn exec(&self) -> Exec {
        Exec::start(self.path(), &["--clock", "manual", "--now", NOW, "--seed", "1"])
    }

    /// Runs the words of one command on the store.
    pub fn run(&self, words: &[&str]) -> Told {
        told(&[words, &["--data", self.path().to_str().expect("a plain path")]].concat())
    }

    /// What the command answers when all is well.
    pub fn shown(&self, command: &str) -> String {
        let words: Vec<&str> = command.split(' ').collect();
        let told = self.run(&words);
        assert_eq!(told.code, Some(0), "{command}: {}", told.err);
        told.out
    }

    /// The same as JSON.
    pub fn json(&self, command: &str) -> Value {
        serde_json::from_str(&self.shown(&format!("{command} --json"))).expect("one JSON object")
    }

    /// What the command says when it could not be done: exit code 1, and no answer.
    pub fn refused(&self, command: &str) -> String {
        let words: Vec<&str> = command.split(' ').collect();
        let told = self.run(&words);
        assert_eq!((told.code, told.out.as_str()), (Some(1), ""), "{command}");
        told.err
    }
}

/// A request with these fields as well, or instead.
pub fn with(mut request: Value, fields: Value) -> Value {
    let all = request.as_object_mut().expect("an object");
    all.extend(fields.as_object().expect("an object").clone());
    request
}

/// Runs the program with nobody at its terminal.
pub fn told(words: &[&str]) -> Told {
    let out = mlp(words).output().expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Told { code: out.status.code(), out: text(out.stdout), err: text(out.stderr) }
}
