//! `mlp`: a store from the command line.
//!
//! ```text
//! args ──> exec/    one JSON object a line in, one a line out: for scripts, other languages and test rigs
//!     ├──> people   stats, verify, get, list: tables and plain words (table)
//!     └──> snapshots   copies as files, and a replica that follows
//! ```
//!
//! It knows the façade of `ml_persistence` and nothing below it. Exit codes: 0 done, 1 the store or the asked thing could
//! not be had (or verify found violations), 2 wrong usage, 3 (`exec`) the engine closed itself after a failed write.
#![forbid(unsafe_code)]

mod args;
mod exec;
mod fields;
mod people;
mod snapshots;
mod table;

use std::io::Write;
use std::process::ExitCode;

use args::Command;
use ml_persistence::{EngineKind, Error, Result};

fn main() -> ExitCode {
    match args::parse(std::env::args_os().skip(1)) {
        Ok(Command::Exec(options)) => exec::run(&options),
        Ok(Command::People(options)) => people::run(&options),
        Ok(Command::Snapshot(options)) => snapshots::run(&options),
        Ok(Command::Print(text)) => say(&text),
        Err(problem) => {
            eprintln!("mlp: {problem}\n\n{}", args::USAGE);
            ExitCode::from(2)
        }
    }
}

/// The engine that `--engine` names.
fn engine_kind(name: &str) -> Result<EngineKind> {
    match name {
        "sled" => Ok(EngineKind::Sled),
        "memory" => Ok(EngineKind::Memory),
        other => Err(Error::unsupported(format!("engine {other:?}: this build has sled and memory"))),
    }
}

/// Writes to standard output; a reader that went away is not this program's problem to report, but not a success.
fn say(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
