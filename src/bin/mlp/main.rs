//! `mlp`: a store from the command line.
//!
//! ```text
//! args ──> exec/     one JSON object a line in, one a line out: for scripts, other languages and test rigs
//!     ├──> snapshots copies as files, and a replica that follows
//!     └──> people/   one file a noun: stats, verify, repair, kv, jobs, models, versions …
//!                    (line, help, out, table, time)
//! ```
//!
//! It knows the façade of `ml_persistence` and nothing below it. Exit codes: 0 done; 1 the store or the asked thing could
//! not be had, verify found violations, or nobody agreed to what cannot be taken back; 2 wrong usage; 3 the engine closed
//! itself after a failed write: what was asked may or may not have happened.
#![forbid(unsafe_code)]

mod args;
mod exec;
mod fields;
mod help;
mod line;
mod out;
mod people;
mod snapshots;
mod table;
mod time;

use std::process::ExitCode;

use args::Command;
use ml_persistence::{EngineKind, Error, Result};
use out::Out;

fn main() -> ExitCode {
    match args::parse(std::env::args_os().skip(1)) {
        Ok(Command::Exec(options)) => exec::run(&options),
        Ok(Command::People(asked)) => people::run(asked),
        Ok(Command::Snapshot(options)) => snapshots::run(&options),
        Ok(Command::Print(text)) => match Out::new(false).say(text) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(problem) => {
            eprintln!("mlp: {problem}");
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
