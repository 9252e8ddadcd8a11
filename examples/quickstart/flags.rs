//! What the command line says.

use std::path::PathBuf;

use crate::training::{self, Failure};

/// How to call the program.
pub const USAGE: &str = "\
quickstart [--data DIR] [--workers N] [--jobs N] [--crash-after N] [--json]

  --data DIR       the store's folder (default ./ml-data)
  --workers N      threads that train (default 2)
  --jobs N         training jobs to add (default: the whole grid; more than that begins it again with another seed)
  --crash-after N  kill the own process, hard, when N jobs are completed
  --json           last line: the outcome as one JSON object";

/// The command line, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flags {
    pub data: PathBuf,
    pub workers: usize,
    pub jobs: usize,
    pub crash_after: Option<u64>,
    pub json: bool,
}

impl Flags {
    /// Reads the arguments behind the program's name; `None` when they ask for help.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Self>, Failure> {
        let mut flags = Flags {
            data: PathBuf::from("./ml-data"),
            workers: 2,
            jobs: training::grid(0).len(),
            crash_after: None,
            json: false,
        };
        while let Some(flag) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{flag} needs a value\n\n{USAGE}"));
            match flag.as_str() {
                "--data" => flags.data = value()?.into(),
                "--workers" => flags.workers = number(&flag, &value()?, 1)?,
                "--jobs" => flags.jobs = number(&flag, &value()?, 0)?,
                "--crash-after" => flags.crash_after = Some(number(&flag, &value()?, 1)? as u64),
                "--json" => flags.json = true,
                "--help" | "-h" => return Ok(None),
                other => return Err(format!("{other} is not a flag of this program\n\n{USAGE}").into()),
            }
        }
        Ok(Some(flags))
    }
}

fn number(flag: &str, text: &str, least: usize) -> Result<usize, Failure> {
    match text.parse() {
        Ok(number) if number >= least => Ok(number),
        _ => Err(format!("{flag} wants a whole number from {least} on, got {text:?}").into()),
    }
}
