//! The commands for people, by noun.
//!
//! ```text
//!   line ──read──> Asked ──run──> open the store as the command needs it ──> answer ──> close ──> exit code
//!
//!   Reads     opened for reading: nothing is created or changed, no epoch is counted
//!   Writes    opened for writing: an opening like any other, so recovery runs first and says what it took back
//!   Destroys  looked at for reading, shown, agreed to, and only then opened for writing
//! ```
//!
//! A command reads its whole line before anything is opened. One noun is one file, with its options beside it. Every
//! write returns when it survives power loss.

mod agree;
mod change;
mod jobs;
mod kv;
mod models;
mod pages;
mod quarantine;
mod repair;
mod search;
mod stats;
pub mod store;
mod verify;
mod versions;

use std::path::PathBuf;
use std::process::ExitCode;

use ml_persistence::{Error, ErrorKind, MlPersistence, Result};

use crate::line::{Flag, Line, Shape, Wrong};
use crate::out::Out;
use agree::Plan;
use store::Place;

/// Every noun, in the order of the help.
pub const NOUNS: &[&Noun] = &[
    &stats::NOUN,
    &verify::NOUN,
    &repair::NOUN,
    &quarantine::NOUN,
    &kv::NOUN,
    &jobs::NOUN,
    &models::NOUN,
    &versions::NOUN,
    &versions::aliases::NOUN,
];

/// Options that every command for people takes.
pub const COMMON: &[Flag] = &[
    Flag::of("data", "DIR", "the store's folder"),
    Flag::of("engine", "sled|memory", "the one that the folder was made with, default sled"),
    Flag::bare("json", "one JSON object a line instead of words and tables"),
];

/// What belongs together in the help.
pub struct Noun {
    pub title: &'static str,
    pub commands: &'static [Command],
}

/// One command.
pub struct Command {
    pub shape: Shape,
    pub does: Does,
}

/// What a command does to the store, and how its line is read.
pub enum Does {
    Reads(fn(&mut Line) -> Result<Ask, Wrong>),
    Writes(fn(&mut Line) -> Result<Ask, Wrong>),
    Destroys(fn(&mut Line) -> Result<Destroy, Wrong>),
}

/// Answers on an open store; whether all is well with what was asked after.
pub type Ask = Box<dyn Fn(&MlPersistence, &mut Out) -> Result<bool>>;

/// Finds out what would go.
type Look = Box<dyn Fn(&MlPersistence) -> Result<Plan>>;

/// Does it, and answers.
type Act = Box<dyn Fn(&MlPersistence, &Plan, &mut Out) -> Result<()>>;

/// What cannot be taken back: what it would do, and the doing.
pub struct Destroy {
    pub plan: Look,
    pub act: Act,
}

/// A command whose line is read.
pub struct Asked {
    place: Place,
    json: bool,
    task: Task,
}

enum Task {
    Read(Ask),
    Write(Ask),
    Destroy { destroy: Destroy, agreed: bool },
}

/// Every command for people.
pub fn commands() -> impl Iterator<Item = &'static Command> {
    NOUNS.iter().flat_map(|noun| noun.commands)
}

/// Reads what stands behind a command's words.
pub fn read(command: &'static Command, mut line: Line) -> Result<Asked, Wrong> {
    let words = command.shape.words;
    let missing = || format!("{words}: --data DIR is required: which store?");
    let folder: PathBuf = line.path("data")?.ok_or_else(missing)?;
    let engine = line.text("engine")?.unwrap_or_else(|| "sled".to_owned());
    let json = line.flag("json")?;
    let task = match command.does {
        Does::Reads(read) => Task::Read(read(&mut line)?),
        Does::Writes(read) => Task::Write(read(&mut line)?),
        Does::Destroys(read) => Task::Destroy { destroy: read(&mut line)?, agreed: line.flag("yes")? },
    };
    line.finish()?;
    Ok(Asked { place: Place { folder, engine }, json, task })
}

/// Does what was asked.
pub fn run(asked: Asked) -> ExitCode {
    let mut out = Out::new(asked.json);
    match work(&asked, &mut out) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            out.refuse(&error);
            match error.kind() {
                ErrorKind::CommitUnknown | ErrorKind::Closed => ExitCode::from(3),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn work(asked: &Asked, out: &mut Out) -> Result<bool> {
    let place = &asked.place;
    match &asked.task {
        Task::Read(ask) => place.with_reader(|db| ask(db, out)),
        Task::Write(ask) => place.with_writer(out, |db, out| ask(db, out)),
        Task::Destroy { destroy, agreed: true } => place.with_writer(out, |db, out| {
            let plan = (destroy.plan)(db)?;
            out.note(&plan.words);
            (destroy.act)(db, &plan, out).map(|()| true)
        }),
        Task::Destroy { destroy, agreed: false } => {
            // Nothing is locked while a person thinks; what is shown then is what must still stand.
            let plan = place.with_reader(|db| (destroy.plan)(db))?;
            out.note(&plan.words);
            if !agree::asked_for()? {
                return Err(Error::invalid("nothing was changed: nobody said yes; --yes says it"));
            }
            place.with_writer(out, |db, out| (destroy.act)(db, &plan, out)).map(|()| true)
        }
    }
}
