//! The command line: words to a command. Opens nothing.
//!
//! ```text
//!   words ──lexopt──> words and options ──> the shape they belong to ──> Line ──> the command's own reading of it
//! ```
//!
//! Which options exist, and which of them take a value, is what the shapes of all commands say; an option of this name
//! takes a value everywhere or nowhere.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::prelude::*;
use ml_persistence::Durability;

use crate::help;
use crate::line::{Flag, Line, Shape, Wrong};
use crate::people::{self, Asked};
use crate::snapshots::{self, SnapshotOptions};

/// Latest start of a manual clock. It leaves room for every step that a run could take: a clock must not wrap around.
const NOW_MS_MAX: u64 = 1 << 62;

/// `mlp exec`.
pub const EXEC: Shape = Shape {
    words: "exec",
    operands: "",
    about: "one JSON request a line in, one reply a line out",
    flags: &[&[
        Flag::of("data", "DIR", "the store's folder; it is created if need be"),
        Flag::of("engine", "sled|memory", "default sled; memory without --data keeps nothing"),
        Flag::of("durability", "power-loss|buffered", "when writes are answered, default power-loss"),
        Flag::of("parallel", "N", "requests worked on at once, 1..=1024, default 1"),
        Flag::of("clock", "system|manual", "manual: time moves by clock.advance alone"),
        Flag::of("now", "MS", "where the manual clock starts, default 0"),
        Flag::of("seed", "N", "fixes ids and jitter: same input, same output"),
    ]],
};

/// What to do.
pub enum Command {
    Exec(ExecOptions),
    People(Asked),
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

/// Every command there is.
pub fn shapes() -> impl Iterator<Item = &'static Shape> {
    people::commands().map(|command| &command.shape).chain(snapshots::SHAPES).chain([&EXEC])
}

/// Reads the words behind the program's name.
pub fn parse(words: impl Iterator<Item = OsString>) -> Result<Command, Wrong> {
    let mut parser = lexopt::Parser::from_args(words);
    let (mut words, mut options, mut asks_help) = (Vec::new(), Vec::new(), false);
    while let Some(word) = parser.next()? {
        let name = match word {
            Value(word) => {
                words.push(word.string()?);
                continue;
            }
            Long("help") | Short('h') => {
                asks_help = true;
                continue;
            }
            Long("version") | Short('V') => {
                return Ok(Command::Print(concat!("mlp ", env!("CARGO_PKG_VERSION")).to_owned()));
            }
            Long(name) => name.to_owned(),
            other => return Err(other.unexpected()),
        };
        match shapes().flat_map(Shape::flags).find(|flag| flag.name == name) {
            None => return Err(format!("--{name}: no command has such an option").into()),
            Some(flag) if flag.value.is_some() => options.push((name, Some(parser.value()?))),
            Some(_) => options.push((name, None)),
        }
    }
    if words.first().is_some_and(|word| word == "help") {
        words.remove(0);
        asks_help = true;
    }
    if asks_help {
        return help::about(&words).map(Command::Print).ok_or_else(|| no_such(&words));
    }
    if words.is_empty() {
        return Err("which command? `mlp --help` shows all".into());
    }
    let shape = shapes().filter(|shape| begins(&words, shape)).max_by_key(|shape| shape.words.len());
    let shape = shape.ok_or_else(|| no_such(&words))?;
    let operands = words.into_iter().skip(shape.words.split(' ').count());
    let line = Line::new(shape, operands, options)?;
    match people::commands().find(|command| std::ptr::eq(&command.shape, shape)) {
        Some(command) => people::read(command, line).map(Command::People),
        None if snapshots::SHAPES.iter().any(|known| std::ptr::eq(known, shape)) => {
            snapshots::read(shape.words, line).map(Command::Snapshot)
        }
        None => exec(line).map(Command::Exec),
    }
}

/// Whether the line begins with all words of the shape.
fn begins(words: &[String], shape: &Shape) -> bool {
    shape.meets(words) && shape.words.split(' ').count() <= words.len()
}

/// The refusal of words that are no command, with those that they could become.
fn no_such(words: &[String]) -> Wrong {
    let given = words.first().map_or("", String::as_str);
    let near: Vec<&str> =
        shapes().map(|shape| shape.words).filter(|known| known.split(' ').next() == Some(given)).collect();
    match near.as_slice() {
        [] => format!("{given}: no such command; `mlp --help` shows all").into(),
        near => format!("{}: no such command; there is {}", words.join(" "), near.join(", ")).into(),
    }
}

fn exec(mut line: Line) -> Result<ExecOptions, Wrong> {
    let data = line.path("data")?;
    let engine = line.text("engine")?.unwrap_or_else(|| "sled".to_owned());
    if engine != "memory" && data.is_none() {
        return Err("exec: --data DIR is required".into());
    }
    let durability = match line.text("durability")?.as_deref() {
        None | Some("power-loss") => Durability::PowerLoss,
        Some("buffered") => Durability::Buffered,
        Some(other) => return Err(format!("--durability {other}: power-loss or buffered").into()),
    };
    let manual_now_ms = match line.text("clock")?.as_deref() {
        None | Some("system") => None,
        Some("manual") => Some(line.number("now", 0..=NOW_MS_MAX)?.unwrap_or(0)),
        Some(other) => return Err(format!("--clock {other}: system or manual").into()),
    };
    if line.text("now")?.is_some() && manual_now_ms.is_none() {
        return Err("--now: only with --clock manual".into());
    }
    let parallel = line.number("parallel", 1..=1024)?.map_or(1, |number| number as usize);
    let seed = line.number("seed", 0..=u64::MAX)?;
    line.finish()?;
    Ok(ExecOptions { data, engine, durability, parallel, manual_now_ms, seed })
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
            ("", "which command? `mlp --help` shows all"),
            ("frobnicate", "frobnicate: no such command; `mlp --help` shows all"),
            ("exec", "exec: --data DIR is required"),
            ("exec --data d extra", "extra: one word too many for `mlp exec`"),
            ("exec --data d --parallel 0", "--parallel: 1..=1024, got \"0\""),
            ("exec --data d --now 5", "--now: only with --clock manual"),
            (
                "exec --data d --clock manual --now 18446744073709551615",
                "--now: 0..=4611686018427387904, got \"18446744073709551615\"",
            ),
            ("exec --data d --json", "--json: no option of `mlp exec`"),
            ("exec --data d --seed 1 --seed 2", "--seed: given twice"),
            ("exec --data d --sead 1", "--sead: no command has such an option"),
            ("kv get --data d ns", "kv get: which KEY?"),
            ("stats", "stats: --data DIR is required: which store?"),
            ("snapshot export f", "snapshot export: --data DIR is required: which store?"),
            ("snapshot import --data d f --since 0", "--since: no option of `mlp snapshot import`"),
            ("stats --data d --seed 1", "--seed: no option of `mlp stats`"),
            ("help frobnicate", "frobnicate: no such command; `mlp --help` shows all"),
        ] {
            assert_eq!(parsed(line).err().as_deref(), Some(message), "{line}");
        }
        let refused = parsed("jobs --data d").err().expect("no command");
        assert!(refused.starts_with("jobs: no such command; there is jobs list, "), "{refused}");
    }

    #[test]
    fn an_option_takes_a_value_everywhere_or_nowhere_and_no_two_commands_share_their_words() {
        let flags: Vec<&Flag> = shapes().flat_map(Shape::flags).collect();
        for flag in &flags {
            let twins = flags.iter().filter(|other| other.name == flag.name);
            assert!(twins.into_iter().all(|twin| twin.value.is_some() == flag.value.is_some()), "--{}", flag.name);
        }
        for shape in shapes() {
            assert_eq!(shapes().filter(|other| other.words == shape.words).count(), 1, "{}", shape.words);
            let mut names: Vec<&str> = shape.flags().map(|flag| flag.name).collect();
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count, "an option twice in {}", shape.words);
        }
    }
}
