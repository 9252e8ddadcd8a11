//! What can be chosen on the command line.

use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::{Long, Short, ValueExt};

use crate::Failure;
use crate::systems::Contender;

const HELP: &str =
    "compare [--rounds N] [--burst SECONDS] [--callers 1,4,16,64] [--only TEXT,TEXT] [--json FILE] [--folder DIR]
compare --sustained SECONDS   one long run each (the other options hold, too)
compare --churn SECONDS       ours alone: rewrites 10 MB of live data, Buffered, and watches memory and stalls
compare --collection SECONDS  typed records with 0, 1, 3 and 6 indexes: save, list, count
compare --registry SECONDS    versions of a model: register (so long for each of --callers), get, list, search by tag
  --only      systems whose name holds one of these texts, or is it, for a text that ends in $
  --folder    where the stores are put; not a tmpfs, or nothing is measured";

/// What a run is about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// Bursts of so many seconds, from a fresh folder.
    Burst(f64),
    /// Runs long enough for what happens behind the commits to matter.
    Sustained(f64),
    /// Memory and stalls of ours.
    Churn(f64),
    /// Collections, so many seconds for each number of indexes.
    Collection(f64),
    /// Model registries, so many seconds of registrations for each number of callers.
    Registry(f64),
}

/// A run, as asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// What is run.
    pub mode: Mode,
    /// How often each burst is repeated.
    pub rounds: usize,
    /// Numbers of concurrent callers.
    pub callers: Vec<usize>,
    /// Systems are picked by these; empty: all of them.
    pub only: Vec<String>,
    /// Where the numbers go besides standard output.
    pub json: Option<PathBuf>,
    /// Where the stores are made.
    pub folder: PathBuf,
}

impl Options {
    /// Reads the command line; `None` when it only asked for help.
    pub fn parse() -> Result<Option<Self>, Failure> {
        let mut options = Options {
            mode: Mode::Burst(0.4),
            rounds: 0,
            callers: Vec::new(),
            only: Vec::new(),
            json: None,
            folder: std::env::temp_dir(),
        };
        let mut words = lexopt::Parser::from_env();
        while let Some(word) = words.next()? {
            match word {
                Long("burst") => options.mode = Mode::Burst(words.value()?.parse()?),
                Long("sustained") => options.mode = Mode::Sustained(words.value()?.parse()?),
                Long("churn") => options.mode = Mode::Churn(words.value()?.parse()?),
                Long("collection") => options.mode = Mode::Collection(words.value()?.parse()?),
                Long("registry") => options.mode = Mode::Registry(words.value()?.parse()?),
                Long("rounds") => options.rounds = words.value()?.parse()?,
                Long("callers") => {
                    let list = words.value()?.string()?;
                    options.callers = list.split(',').map(str::parse).collect::<Result<_, _>>()?;
                }
                Long("only") => options.only = words.value()?.string()?.split(',').map(str::to_owned).collect(),
                Long("json") => options.json = Some(words.value()?.into()),
                Long("folder") => options.folder = words.value()?.into(),
                // `cargo bench` adds this to whatever it runs.
                Long("bench") => {}
                Long("help") | Short('h') => {
                    println!("{HELP}");
                    return Ok(None);
                }
                other => return Err(other.unexpected().into()),
            }
        }
        let sustained = matches!(options.mode, Mode::Sustained(_));
        if options.rounds == 0 {
            options.rounds = if sustained { 1 } else { 5 };
        }
        if options.callers.is_empty() {
            options.callers = match options.mode {
                Mode::Burst(_) => vec![1, 4, 16, 64],
                Mode::Sustained(_) | Mode::Registry(_) => vec![1, 16, 64],
                Mode::Churn(_) => vec![4],
                Mode::Collection(_) => vec![1],
            };
        }
        Ok(Some(options))
    }

    /// How long one burst takes.
    pub fn seconds(&self) -> Duration {
        let (Mode::Burst(seconds)
        | Mode::Sustained(seconds)
        | Mode::Churn(seconds)
        | Mode::Collection(seconds)
        | Mode::Registry(seconds)) = self.mode;
        Duration::from_secs_f64(seconds)
    }

    /// Whether this system takes part.
    pub fn wants(&self, contender: &Contender) -> bool {
        let sustained = matches!(self.mode, Mode::Sustained(_));
        match self.only.as_slice() {
            [] => contender.sustained || !sustained,
            texts => texts.iter().any(|text| match text.strip_suffix('$') {
                Some(whole) => contender.name == whole,
                None => contender.name.contains(text.as_str()),
            }),
        }
    }
}
