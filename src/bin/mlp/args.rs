//! The command line: words to options. Opens nothing.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::prelude::*;
use ml_persistence::Durability;

use crate::snapshots::{SnapshotOptions, Task};

/// Latest start of a manual clock. It leaves room for every step that a run could take: a clock must not wrap around.
const NOW_MS_MAX: u64 = 1 << 62;

/// What `mlp --help` prints.
pub const USAGE: &str = "\
usage: mlp COMMAND --data DIR [options]

for people
  mlp stats  --data DIR                      sizes, counts, syncs, queues
  mlp verify --data DIR                      check every index, counter and reference; reads only
  mlp get    --data DIR NAMESPACE KEY        one value of the plain contract
  mlp list   --data DIR NAMESPACE [PREFIX]   keys and values in key order
      --engine sled|memory   the one that the folder was made with, default sled
      --json                 one JSON object instead of a table
      --limit N              list: at most N entries, 1..=1000 (default 100)
  mlp snapshot export  --data DIR FILE       the whole store as one file
      --since CURSOR         only what changed after an earlier export, by its cursor
  mlp snapshot import  --data DIR FILE       into an empty store; a delta into one that was imported
      --replace              in the place of whatever the store holds
  mlp snapshot inspect FILE                  what a file holds; reads and checks all of it (also: verify)
  mlp replica follow   --data DIR FOLDER     apply what leads on among FOLDER's *.mlsnap files

for programs
  mlp exec   --data DIR                      one JSON request a line in, one reply a line out
      --engine sled|memory               default sled; memory without --data keeps nothing
      --durability power-loss|buffered   when writes are answered, default power-loss
      --parallel N                       requests worked on at once, 1..=1024, default 1
      --clock system|manual              manual: time moves by clock.advance alone
      --now MS                           where the manual clock starts, default 0
      --seed N                           fixes ids and jitter: same input, same output

      --help, --version";

/// What to do.
#[derive(Debug)]
pub enum Command {
    Exec(ExecOptions),
    People(PeopleOptions),
    Snapshot(SnapshotOptions),
    Print(String),
}

/// Options of `mlp exec`.
#[derive(Debug)]
pub struct ExecOptions {
    /// The store's folder; `None` only for the memory engine, which then keeps nothing.
    pub data: Option<PathBuf>,
    /// As it was spelled: whether this build has it shows when the store is opened.
    pub engine: String,
    pub durability: Durability,
    pub parallel: usize,
    /// Where a manual clock starts; `None` for the system's clock.
    pub manual_now_ms: Option<u64>,
    pub seed: Option<u64>,
}

/// Options of the commands for people.
#[derive(Debug)]
pub struct PeopleOptions {
    pub question: Question,
    pub engine: String,
    pub data: PathBuf,
    pub json: bool,
}

/// What a person asks.
#[derive(Debug)]
pub enum Question {
    Stats,
    Verify,
    Get { namespace: String, key: String },
    List { namespace: String, prefix: String, limit: usize },
}

/// Every option and word, before it is known what belongs to which command.
#[derive(Default)]
struct Given {
    words: Vec<String>,
    data: Option<PathBuf>,
    engine: Option<String>,
    durability: Option<String>,
    parallel: Option<u64>,
    clock: Option<String>,
    now: Option<u64>,
    seed: Option<u64>,
    limit: Option<u64>,
    json: bool,
    since: Option<String>,
    replace: bool,
}

impl Given {
    fn engine(&self) -> String {
        self.engine.clone().unwrap_or_else(|| "sled".to_owned())
    }
}

/// Reads the words behind the program's name.
pub fn parse(words: impl Iterator<Item = OsString>) -> Result<Command, lexopt::Error> {
    let mut parser = lexopt::Parser::from_args(words);
    let mut given = Given::default();
    while let Some(word) = parser.next()? {
        match word {
            Value(word) => given.words.push(word.string()?),
            Long("data") => given.data = Some(parser.value()?.into()),
            Long("engine") => given.engine = Some(parser.value()?.string()?),
            Long("durability") => given.durability = Some(parser.value()?.string()?),
            Long("parallel") => given.parallel = Some(parser.value()?.parse()?),
            Long("clock") => given.clock = Some(parser.value()?.string()?),
            Long("now") => given.now = Some(parser.value()?.parse()?),
            Long("seed") => given.seed = Some(parser.value()?.parse()?),
            Long("limit") => given.limit = Some(parser.value()?.parse()?),
            Long("json") => given.json = true,
            Long("since") => given.since = Some(parser.value()?.string()?),
            Long("replace") => given.replace = true,
            Long("help") | Short('h') => return Ok(Command::Print(USAGE.to_owned())),
            Long("version") | Short('V') => {
                return Ok(Command::Print(concat!("mlp ", env!("CARGO_PKG_VERSION")).to_owned()));
            }
            other => return Err(other.unexpected()),
        }
    }
    let mut words = std::mem::take(&mut given.words).into_iter();
    let Some(command) = words.next() else { return Err("which command?".into()) };
    let command = match command.as_str() {
        "exec" => Command::Exec(exec(&given)?),
        "stats" => people(&given, Question::Stats)?,
        "verify" => people(&given, Question::Verify)?,
        "get" => {
            let (namespace, key) = words.next().zip(words.next()).ok_or("get: which NAMESPACE and KEY?")?;
            people(&given, Question::Get { namespace, key })?
        }
        "list" => {
            let namespace = words.next().ok_or("list: which NAMESPACE?")?;
            let limit = bounded("--limit", given.limit, 100, 1000)?;
            people(&given, Question::List { namespace, prefix: words.next().unwrap_or_default(), limit })?
        }
        "snapshot" | "replica" => {
            let verb = words.next().ok_or("snapshot: export, import, inspect or verify? replica: follow?")?;
            let path = words.next().ok_or("which file or folder?")?;
            snapshot(&given, &format!("{command} {verb}"), path.into())?
        }
        other => return Err(format!("{other}: no such command").into()),
    };
    if !matches!(command, Command::Snapshot(_)) && (given.since.is_some() || given.replace) {
        return Err("--since and --replace are options of snapshot export and import".into());
    }
    match words.next() {
        Some(word) => Err(format!("{word}: one word too many").into()),
        None => Ok(command),
    }
}

fn exec(given: &Given) -> Result<ExecOptions, lexopt::Error> {
    if given.json || given.limit.is_some() {
        return Err("--json and --limit: exec knows neither; it always speaks JSON".into());
    }
    let engine = given.engine();
    if engine != "memory" && given.data.is_none() {
        return Err("exec: --data DIR is required".into());
    }
    let durability = match given.durability.as_deref() {
        None | Some("power-loss") => Durability::PowerLoss,
        Some("buffered") => Durability::Buffered,
        Some(other) => return Err(format!("--durability {other}: power-loss or buffered").into()),
    };
    let manual_now_ms = match (given.clock.as_deref(), given.now) {
        (None | Some("system"), None) => None,
        (Some("manual"), Some(now)) if now > NOW_MS_MAX => return Err(format!("--now: 0..={NOW_MS_MAX}").into()),
        (Some("manual"), now) => Some(now.unwrap_or(0)),
        (None | Some("system"), Some(_)) => return Err("--now: only with --clock manual".into()),
        (Some(other), _) => return Err(format!("--clock {other}: system or manual").into()),
    };
    let parallel = bounded("--parallel", given.parallel, 1, 1024)?;
    Ok(ExecOptions { data: given.data.clone(), engine, durability, parallel, manual_now_ms, seed: given.seed })
}

fn snapshot(given: &Given, command: &str, path: PathBuf) -> Result<Command, lexopt::Error> {
    refuse_options_of_exec(given)?;
    let Given { since, replace, .. } = given;
    let data = || given.data.clone().ok_or("--data DIR is required: which store?");
    let task = match command {
        "snapshot export" => Task::Export { data: data()?, file: path, since: since.clone() },
        "snapshot import" => Task::Import { data: data()?, file: path, replace: *replace },
        "snapshot inspect" | "snapshot verify" => Task::Verify { file: path },
        "replica follow" => Task::Follow { data: data()?, folder: path },
        other => return Err(format!("{other}: no such command").into()),
    };
    if since.is_some() && command != "snapshot export" || *replace && command != "snapshot import" {
        return Err("--since is an option of snapshot export, --replace of snapshot import".into());
    }
    if given.limit.is_some() {
        return Err("--limit is an option of list".into());
    }
    Ok(Command::Snapshot(SnapshotOptions { task, engine: given.engine(), json: given.json }))
}

fn refuse_options_of_exec(given: &Given) -> Result<(), lexopt::Error> {
    let Given { durability, parallel, clock, now, seed, .. } = given;
    if durability.is_some() || clock.is_some() || parallel.or(*now).or(*seed).is_some() {
        return Err("--durability, --parallel, --clock, --now and --seed are options of exec".into());
    }
    Ok(())
}

fn people(given: &Given, question: Question) -> Result<Command, lexopt::Error> {
    refuse_options_of_exec(given)?;
    if given.limit.is_some() && !matches!(question, Question::List { .. }) {
        return Err("--limit is an option of list".into());
    }
    let data = given.data.clone().ok_or("--data DIR is required: which store?")?;
    Ok(Command::People(PeopleOptions { question, engine: given.engine(), data, json: given.json }))
}

fn bounded(name: &str, given: Option<u64>, default: usize, max: usize) -> Result<usize, lexopt::Error> {
    match given.map(usize::try_from) {
        None => Ok(default),
        Some(Ok(number)) if (1..=max).contains(&number) => Ok(number),
        Some(_) => Err(format!("{name}: 1..={max}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(OsString::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn exec_takes_its_options_in_any_order() {
        let Ok(Command::Exec(options)) = parsed("exec --seed 7 --clock manual --now=5 --data d --durability buffered")
        else {
            panic!("not exec")
        };
        assert_eq!((options.seed, options.manual_now_ms, options.parallel), (Some(7), Some(5), 1));
        assert_eq!(options.durability, Durability::Buffered);
    }

    #[test]
    fn a_wrong_line_is_refused_and_never_guessed_at() {
        for (line, message) in [
            ("", "which command?"),
            ("exec", "exec: --data DIR is required"),
            ("exec --data d extra", "extra: one word too many"),
            ("exec --data d --parallel 0", "--parallel: 1..=1024"),
            ("exec --data d --now 5", "--now: only with --clock manual"),
            ("exec --data d --clock manual --now 18446744073709551615", "--now: 0..=4611686018427387904"),
            ("exec --data d --json", "--json and --limit: exec knows neither; it always speaks JSON"),
            ("get --data d ns", "get: which NAMESPACE and KEY?"),
            ("stats", "--data DIR is required: which store?"),
            ("snapshot export f", "--data DIR is required: which store?"),
            (
                "snapshot import --data d f --since 0",
                "--since is an option of snapshot export, --replace of snapshot import",
            ),
            ("snapshot turn f", "snapshot turn: no such command"),
            ("verify --data d --replace", "--since and --replace are options of snapshot export and import"),
            ("stats --data d --seed 1", "--durability, --parallel, --clock, --now and --seed are options of exec"),
        ] {
            assert_eq!(parsed(line).unwrap_err(), message, "{line}");
        }
    }
}
