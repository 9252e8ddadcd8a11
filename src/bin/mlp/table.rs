//! Tables for people's eyes: columns, no frames.

use comfy_table::{Table, presets};

use crate::time;

/// Widest cell; the rest of a value is what `--json` is for.
const CELL_CHARS_MAX: usize = 100;
/// What stands in a cell that has no value.
const NOTHING: &str = "-";

/// A table with a header line.
pub fn table<const COLUMNS: usize>(
    header: [&str; COLUMNS],
    rows: impl IntoIterator<Item = [String; COLUMNS]>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    for row in rows {
        table.add_row(row.map(|cell| fitted(&cell)));
    }
    laid_out(&table)
}

/// One thing, a field a line: names to the left, values to the right.
pub fn facts<'a>(facts: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for (name, value) in facts {
        table.add_row([name, &fitted(&value)]);
    }
    laid_out(&table)
}

/// The cell of a value that may be missing.
pub fn optional(value: Option<impl ToString>) -> String {
    value.map_or_else(|| NOTHING.to_owned(), |value| value.to_string())
}

/// The cell of a time that may be missing.
pub fn time_or_none(ms: Option<u64>) -> String {
    optional(ms.map(time::shown))
}

/// The cell of `key=value` pairs.
pub fn pairs<V: ToString>(pairs: impl IntoIterator<Item = (impl AsRef<str>, V)>) -> String {
    let shown: Vec<String> =
        pairs.into_iter().map(|(key, value)| format!("{}={}", key.as_ref(), value.to_string())).collect();
    optional((!shown.is_empty()).then(|| shown.join(", ")))
}

/// The beginning of a text of more than `chars_max` characters.
pub fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or(text)),
        None => text.to_owned(),
    }
}

/// The cell, without what would break the line, speak to the terminal, or turn the text around.
fn fitted(cell: &str) -> String {
    let fitted: String = cut(cell, CELL_CHARS_MAX)
        .chars()
        .map(|char| match char {
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => char::REPLACEMENT_CHARACTER,
            char if char.is_control() => char::REPLACEMENT_CHARACTER,
            char => char,
        })
        .collect();
    if fitted.is_empty() { NOTHING.to_owned() } else { fitted }
}

/// Its lines, without the padding around them.
fn laid_out(table: &Table) -> String {
    let lines: Vec<String> =
        table.lines().map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned()).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_neither_breaks_the_line_nor_speaks_to_the_terminal() {
        let shown = table(["key", "value"], [["a\n\u{1b}[31m".to_owned(), "x".repeat(500)]]);
        assert!(!shown.contains('\u{1b}') && shown.contains("a\u{fffd}\u{fffd}[31m"), "{shown}");
        assert!(shown.contains(&format!("{}…", "x".repeat(100))) && !shown.contains(&"x".repeat(101)), "{shown}");
    }

    #[test]
    fn columns_begin_under_their_names_and_nothing_stands_behind_the_last() {
        let shown = table(["key", "value"], [["a".to_owned(), String::new()], ["long".to_owned(), "x".to_owned()]]);
        assert_eq!(shown, "key   value\na     -\nlong  x");
        assert_eq!(facts([("name", "a".to_owned()), ("by", optional(None::<u64>))]), "name  a\nby    -");
    }
}
