//! Tables for people's eyes: names, then numbers, no frames.

use comfy_table::{Table, presets};

/// Widest cell; the rest of a value is what `--json` is for.
const CELL_CHARS_MAX: usize = 100;

/// A table with a header line.
pub fn table<const COLUMNS: usize>(header: [&str; COLUMNS], rows: impl Iterator<Item = [String; COLUMNS]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header(header);
    for row in rows {
        table.add_row(row.map(|cell| fitted(&cell)));
    }
    table.to_string()
}

/// The cell, without what would break the line or the terminal.
fn fitted(cell: &str) -> String {
    let mut fitted: String = cell
        .chars()
        .take(CELL_CHARS_MAX)
        .map(|char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char })
        .collect();
    if cell.chars().nth(CELL_CHARS_MAX).is_some() {
        fitted.push('…');
    }
    fitted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_neither_breaks_the_line_nor_speaks_to_the_terminal() {
        let shown = table(["key", "value"], [["a\n\u{1b}[31m".to_owned(), "x".repeat(500)]].into_iter());
        assert!(!shown.contains('\u{1b}') && shown.contains("a\u{fffd}\u{fffd}[31m"), "{shown}");
        assert!(shown.contains(&format!("{}…", "x".repeat(100))) && !shown.contains(&"x".repeat(101)), "{shown}");
    }
}
