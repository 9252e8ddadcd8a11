//! One command line: what a command may be given (its [`Shape`]), and what it was given (a [`Line`]).
//!
//! ```text
//!   mlp jobs list --queue train --data d
//!       └─words─┘ └──options────────────┘     operands stand behind the words; options anywhere
//! ```
//!
//! A command takes from its line what it knows and then calls [`Line::finish`]: what is left over is refused, and so is
//! an option given twice that counts once. Nothing is guessed at. It opens nothing and knows no command.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use ml_persistence::Json;

/// What is wrong with a command line, in words for the person who typed it.
pub type Wrong = lexopt::Error;

/// One option that a command takes.
#[derive(Debug)]
pub struct Flag {
    pub name: &'static str,
    /// What stands for its value in the help; `None` for an option without one.
    pub value: Option<&'static str>,
    pub about: &'static str,
}

impl Flag {
    /// An option without a value.
    pub const fn bare(name: &'static str, about: &'static str) -> Self {
        Flag { name, value: None, about }
    }

    /// An option with a value.
    pub const fn of(name: &'static str, value: &'static str, about: &'static str) -> Self {
        Flag { name, value: Some(value), about }
    }
}

/// How one command is written.
#[derive(Debug)]
pub struct Shape {
    /// Its words, such as `jobs list`.
    pub words: &'static str,
    /// What stands behind them, such as `MODEL [VERSION]`.
    pub operands: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    pub flags: &'static [&'static [Flag]],
}

impl Shape {
    /// Its options, in the order in which help shows them.
    pub fn flags(&self) -> impl Iterator<Item = &'static Flag> {
        self.flags.iter().copied().flatten()
    }

    /// Whether its words begin with these, or these with its own.
    pub fn meets(&self, words: &[String]) -> bool {
        self.words.split(' ').zip(words).all(|(own, given)| own == given)
    }
}

/// What stands behind a command's words.
#[derive(Debug)]
pub struct Line {
    command: &'static str,
    operands: VecDeque<String>,
    options: Vec<(String, Option<OsString>)>,
}

impl Line {
    /// The operands and options that were given to the command of this shape.
    pub fn new(
        shape: &'static Shape,
        operands: impl IntoIterator<Item = String>,
        options: Vec<(String, Option<OsString>)>,
    ) -> Result<Self, Wrong> {
        match options.iter().find(|(name, _)| !shape.flags().any(|flag| flag.name == name)) {
            Some((name, _)) => Err(format!("--{name}: no option of `mlp {}`", shape.words).into()),
            None => Ok(Line { command: shape.words, operands: operands.into_iter().collect(), options }),
        }
    }

    /// The next operand.
    pub fn operand(&mut self, name: &str) -> Result<String, Wrong> {
        let missing = || format!("{}: which {name}?", self.command).into();
        self.operands.pop_front().ok_or_else(missing)
    }

    /// The next operand, if there is one.
    pub fn operand_opt(&mut self) -> Option<String> {
        self.operands.pop_front()
    }

    /// Whether an option without a value was given.
    pub fn flag(&mut self, name: &str) -> Result<bool, Wrong> {
        Ok(self.take(name)?.is_some())
    }

    /// An option's text.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, Wrong> {
        self.take(name)?.map(|value| text_of(name, value)).transpose()
    }

    /// The texts of an option that may be given many times, in their order.
    pub fn texts(&mut self, name: &str) -> Result<Vec<String>, Wrong> {
        let mut texts = Vec::new();
        while let Some(value) = self.take_first(name) {
            texts.push(text_of(name, value)?);
        }
        Ok(texts)
    }

    /// Pairs `KEY=VALUE` of an option that may be given many times.
    pub fn pairs(&mut self, name: &str) -> Result<Vec<(String, String)>, Wrong> {
        let pair = |text: String| match text.split_once('=') {
            Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
            None => Err(format!("--{name} {text}: KEY=VALUE").into()),
        };
        self.texts(name)?.into_iter().map(pair).collect()
    }

    /// Pairs `KEY=JSON` of an option that may be given many times.
    pub fn json_pairs(&mut self, name: &str) -> Result<Vec<(String, Json)>, Wrong> {
        let read = |(key, text): (String, String)| match Json::parse(&text) {
            Ok(value) => Ok((key, value)),
            Err(error) => Err(format!("--{name} {key}: {error}; texts stand in quotes").into()),
        };
        self.pairs(name)?.into_iter().map(read).collect()
    }

    /// An option's path.
    pub fn path(&mut self, name: &str) -> Result<Option<PathBuf>, Wrong> {
        Ok(self.take(name)?.flatten().map(PathBuf::from))
    }

    /// An option's number, within `range`.
    pub fn number(&mut self, name: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, Wrong> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        match text.parse() {
            Ok(number) if range.contains(&number) => Ok(Some(number)),
            _ => Err(format!("--{name}: {}..={}, got {text:?}", range.start(), range.end()).into()),
        }
    }

    /// Refuses what nobody has taken.
    pub fn finish(self) -> Result<(), Wrong> {
        match (self.operands.front(), self.options.first()) {
            (Some(word), _) => Err(format!("{word}: one word too many for `mlp {}`", self.command).into()),
            (None, Some((name, _))) => Err(format!("--{name}: of no use here").into()),
            (None, None) => Ok(()),
        }
    }

    fn take(&mut self, name: &str) -> Result<Option<Option<OsString>>, Wrong> {
        let taken = self.take_first(name);
        match self.take_first(name) {
            Some(_) => Err(format!("--{name}: given twice").into()),
            None => Ok(taken),
        }
    }

    fn take_first(&mut self, name: &str) -> Option<Option<OsString>> {
        let place = self.options.iter().position(|(given, _)| given == name)?;
        Some(self.options.remove(place).1)
    }
}

fn text_of(name: &str, value: Option<OsString>) -> Result<String, Wrong> {
    value.unwrap_or_default().into_string().map_err(|_| format!("--{name}: not UTF-8").into())
}
