//! What `mlp --help`, `mlp help NOUN` and `mlp NOUN VERB --help` print, made from the commands themselves: a command
//! that exists is in the help, and nothing else is.

use crate::args::EXEC;
use crate::line::{Flag, Shape};
use crate::people::{self, COMMON, Command, Does, NOUNS, Noun};
use crate::snapshots::SHAPES;

const ENDS: &str = "\
`mlp help NOUN`, or --help behind any command, tells its options. Without --json the answers are tables, with times in
UTC; with it, one JSON object a line, with times in milliseconds since 1970.

exit codes  0 done · 1 the store or the asked thing could not be had, verify found violations, or nobody said yes
            2 wrong usage · 3 the store closed itself after a failed write: look before you try again

      --help, --version";

const WRITES: &str =
    "  opens the store for writing. That is an opening like any other: it counts an epoch, and jobs that
  an ended process left executing are taken back. It is refused while another process has the store open.";

const DESTROYS: &str = "  shows what will go and asks first; where there is nobody to ask, it takes --yes.";

/// The help for the commands that begin with these words; without words, for all of them. `None` when there are none.
pub fn about(words: &[String]) -> Option<String> {
    if words.is_empty() {
        return Some(overview());
    }
    if EXEC.meets(words) {
        return Some(page(&EXEC, EXEC.flags()));
    }
    let copies: Vec<&Shape> = SHAPES.iter().filter(|shape| shape.meets(words)).collect();
    if !copies.is_empty() {
        return Some(joined(copies.iter().map(|shape| page(shape, shape.flags()))));
    }
    let asked: Vec<&Command> = people::commands().filter(|command| command.shape.meets(words)).collect();
    match asked.as_slice() {
        [] => None,
        [only] => Some(joined([page(&only.shape, only.shape.flags())].into_iter().chain(notes(&asked)))),
        // What holds for many of them is said once, at the end.
        many => {
            let own = |command: &&Command| page(&command.shape, command.shape.flags().filter(|flag| !is_common(flag)));
            let common = format!("all of them take\n{}", options(COMMON.iter()));
            Some(joined(many.iter().map(own).chain([common]).chain(notes(many))))
        }
    }
}

fn joined(pieces: impl Iterator<Item = String>) -> String {
    pieces.collect::<Vec<_>>().join("\n\n")
}

/// What people must know of the commands that change the store.
fn notes(asked: &[&Command]) -> Option<String> {
    let words = |chosen: fn(&Does) -> bool| {
        let chosen: Vec<_> = asked.iter().filter(|command| chosen(&command.does)).collect();
        let names: Vec<String> = chosen.iter().map(|command| format!("`mlp {}`", command.shape.words)).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    let writes = words(|does| !matches!(does, Does::Reads(_))).map(|names| format!("{names}:\n{WRITES}"));
    let destroys = words(|does| matches!(does, Does::Destroys(_))).map(|names| format!("{names}:\n{DESTROYS}"));
    let notes: Vec<String> = writes.into_iter().chain(destroys).collect();
    (!notes.is_empty()).then(|| notes.join("\n\n"))
}

fn is_common(flag: &Flag) -> bool {
    COMMON.iter().any(|common| common.name == flag.name)
}

/// Every command in one line each.
fn overview() -> String {
    let width = NOUNS.iter().flat_map(|noun| noun.commands).map(|command| call(&command.shape).len()).max();
    let width = width.unwrap_or_default();
    let mut text = "usage: mlp COMMAND --data DIR [options]\n".to_owned();
    let line = |text: &mut String, shape: &Shape| {
        text.push_str(&format!("  {:width$}   {}\n", call(shape), shape.about));
    };
    let mut above = "";
    for Noun { title, commands, .. } in NOUNS {
        if *title != above {
            text.push_str(&format!("\n{title}\n"));
        }
        above = title;
        commands.iter().for_each(|command| line(&mut text, &command.shape));
    }
    text.push_str("\ncopies\n");
    SHAPES.iter().for_each(|shape| line(&mut text, shape));
    text.push_str("\nfor programs\n");
    line(&mut text, &EXEC);
    format!("{text}\n{ENDS}")
}

/// One command with these of its options.
fn page(shape: &Shape, flags: impl Iterator<Item = &'static Flag>) -> String {
    let options = options(flags);
    let store = if shape.flags().any(|flag| flag.name == "data") { " --data DIR" } else { "" };
    let text = format!("usage: {}{store} [options]\n  {}\n{options}", call(shape), shape.about);
    text.trim_end().to_owned()
}

/// Options, one a line.
fn options(flags: impl Iterator<Item = &'static Flag>) -> String {
    let name = |flag: &Flag| format!("--{} {}", flag.name, flag.value.unwrap_or_default()).trim_end().to_owned();
    let flags: Vec<&Flag> = flags.collect();
    let width = flags.iter().map(|flag| name(flag).len()).max().unwrap_or_default();
    let lines: Vec<String> = flags.iter().map(|flag| format!("      {:width$}   {}", name(flag), flag.about)).collect();
    lines.join("\n")
}

fn call(shape: &Shape) -> String {
    format!("mlp {} {}", shape.words, shape.operands).trim_end().to_owned()
}
