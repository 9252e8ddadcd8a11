//! Pages of a list: `--limit`, `--after` and `--all`.
//!
//! With `--all` each page is printed before the next is read, so memory stays that of one page however long the list; in
//! JSON it is then one object a page. Pages are points in time of their own, as they are in the library.

use ml_persistence::Result;

use crate::line::{Flag, Line, Wrong};
use crate::out::Out;
use crate::table::table;

/// The options of a list.
pub const PAGES: &[Flag] = &[
    Flag::of("limit", "N", "at most N on a page, 1..=1000, default 100 (with --all 1000)"),
    Flag::of("after", "TOKEN", "the page behind the one that ended with this token"),
    Flag::bare("all", "every page, one behind the other"),
];

/// Which pages to show.
pub struct Pages {
    limit: usize,
    after: Option<String>,
    all: bool,
}

impl Pages {
    pub fn read(line: &mut Line) -> Result<Self, Wrong> {
        let (limit, after, all) = (line.number("limit", 1..=1000)?, line.text("after")?, line.flag("all")?);
        let limit = limit.map_or(if all { 1000 } else { 100 }, |limit| limit as usize);
        Ok(Pages { limit, after, all })
    }

    /// Shows page after page: `page` is given where to go on and how many rows to show, and answers the next place.
    pub fn walk(&self, mut page: impl FnMut(Option<&str>, usize) -> Result<Option<String>>) -> Result<bool> {
        let mut after = self.after.clone();
        loop {
            match page(after.as_deref(), self.limit)? {
                Some(next) if self.all => after = Some(next),
                _ => return Ok(true),
            }
        }
    }

    /// One page as a table, and how to come to the next; `nothing` is said of an empty list.
    pub fn table<const COLUMNS: usize>(
        &self,
        out: &mut Out,
        header: [&str; COLUMNS],
        rows: Vec<[String; COLUMNS]>,
        next: Option<&str>,
        nothing: &str,
    ) -> Result<()> {
        if !rows.is_empty() {
            out.say(table(header, rows))?;
        } else if next.is_none() && self.after.is_none() {
            out.say(nothing)?;
        }
        match next {
            Some(next) if !self.all => out.say(format!("\nmore with --after {next}, or --all")),
            _ => Ok(()),
        }
    }
}
