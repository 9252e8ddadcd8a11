//! Refusals that show where: column, byte, the text around it and a mark below.
//!
//! ```text
//! filter: unknown field `nmae` at column 5 (byte 4); did you mean `name`?
//!   not nmae = 'x'
//!       ^^^^
//! ```

use std::ops::Range;

use crate::error::Error;

/// Characters shown before and behind the place.
const AROUND: usize = 40;
/// Most characters underlined.
const MARKED_MAX: usize = 40;

/// The refusal of the part `span` of a filter: `problem`, its place, and `hint`.
pub(super) fn refusal(source: &str, span: Range<usize>, problem: &str, hint: &str) -> Error {
    let before = source.get(..span.start).unwrap_or(source);
    let column = before.chars().count() + 1;
    let shown = |character: char| if character.is_control() { ' ' } else { character };
    let from = column.saturating_sub(1 + AROUND);
    let marked = source.get(span.clone()).map_or(1, |part| part.chars().count().clamp(1, MARKED_MAX));
    let excerpt: String = source.chars().skip(from).take(AROUND + marked + AROUND).map(shown).collect();
    let (lead, indent) = if from == 0 { ("", column - 1) } else { ("…", AROUND + 1) };
    let more = if source.chars().nth(from + AROUND + marked + AROUND).is_some() { "…" } else { "" };
    let hint = if hint.is_empty() { String::new() } else { format!("; {hint}") };
    Error::invalid(format!(
        "filter: {problem} at column {column} (byte {}){hint}\n  {lead}{}{more}\n  {}{}",
        span.start,
        excerpt.trim_end(),
        " ".repeat(indent),
        "^".repeat(marked)
    ))
}

/// Which of `known` is nearest to `name`: the fewest characters added, left out, changed or swapped with their
/// neighbour; the first of equals.
pub(crate) fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // Past this length nothing is near, and the table stays small.
    let name: Vec<char> = name.chars().take(64).flat_map(char::to_lowercase).collect();
    known.into_iter().min_by_key(|candidate| distance(&name, &candidate.chars().collect::<Vec<_>>()))
}

/// How many single changes lead from one to the other, swaps of neighbours counting one.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut older: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    let mut left_before = None;
    for (row, left) in a.iter().enumerate() {
        let mut line = vec![row + 1];
        let mut over_before = None;
        for (place, over) in b.iter().enumerate() {
            let at = |line: &[usize], place: usize| line.get(place).copied().unwrap_or(usize::MAX - 1);
            let mut best = at(&above, place) + usize::from(left != over);
            best = best.min(at(&above, place + 1) + 1).min(at(&line, place) + 1);
            if left_before == Some(over) && over_before == Some(left) {
                best = best.min(at(&older, place.wrapping_sub(1)) + 1);
            }
            line.push(best);
            over_before = Some(over);
        }
        older = std::mem::replace(&mut above, line);
        left_before = Some(left);
    }
    above.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_change_is_an_addition_an_omission_another_letter_or_a_swap() {
        let far = |a: &str, b: &str| distance(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>());
        for (a, b, changes) in [
            ("", "", 0),
            ("name", "name", 0),
            ("nmae", "name", 1),
            ("nam", "name", 1),
            ("names", "name", 1),
            ("nome", "name", 1),
            ("", "abc", 3),
            ("abc", "", 3),
            ("ca", "abc", 3),
            ("stgae", "stage", 1),
        ] {
            assert_eq!(far(a, b), changes, "{a} {b}");
        }
        assert_eq!(nearest("Stag", ["archived", "stage", "tags"]), Some("stage"));
        assert_eq!(nearest("x", []), None);
    }

    #[test]
    fn the_mark_stands_below_the_place_however_far_along_it_is() {
        let short = refusal("not nmae = 'x'", 4..8, "unknown field `nmae`", "did you mean `name`?");
        assert_eq!(
            short.to_string(),
            "filter: unknown field `nmae` at column 5 (byte 4); did you mean `name`?\n  not nmae = 'x'\n      ^^^^"
        );
        let long = "é".repeat(100) + "?" + &"b".repeat(100);
        let message = refusal(&long, 200..201, "unexpected `?`", "").to_string();
        let lines: Vec<&str> = message.lines().collect();
        assert_eq!(lines[0], "filter: unexpected `?` at column 101 (byte 200)");
        let mark = lines[2].chars().position(|character| character == '^');
        assert_eq!(lines[1].chars().position(|character| character == '?'), mark);
        assert_eq!(lines[1].chars().count(), 2 + 1 + 40 + 1 + 40 + 1);
        let end = refusal("name =", 6..6, "expected a value", "").to_string();
        assert_eq!(end.lines().last(), Some("        ^"));
    }
}
