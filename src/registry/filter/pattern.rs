//! Patterns of `like` and `ilike`.
//!
//! `%` stands for any run of characters, the empty one included, `_` for one character, and `\` takes the character
//! behind it as it is. A character is a Unicode scalar value: an accent written as a mark of its own is one more.
//!
//! `ilike` folds case one character to one character, as Unicode's simple folding does: both sides are taken to upper
//! and then to lower case where each is a single character. So `Σ`, `σ` and `ς` are equal and so are `K` and the Kelvin
//! sign, while `ß` is not `ss`, and `İ` and `ı` are only themselves.

/// A parsed pattern.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    pieces: Vec<Piece>,
    folds: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    /// This character; folded when the pattern folds.
    This(char),
    /// `_`
    One,
    /// `%`
    Run,
}

/// The pattern ends in a `\` with nothing behind it.
#[derive(Debug)]
pub(crate) struct EndsInEscape;

impl Pattern {
    /// The pattern that `text` spells; `folds` for `ilike`.
    pub(crate) fn parse(text: &str, folds: bool) -> Result<Self, EndsInEscape> {
        let mut pieces = Vec::new();
        let mut characters = text.chars();
        let this = |character| Piece::This(if folds { fold(character) } else { character });
        while let Some(character) = characters.next() {
            let piece = match character {
                '%' => Piece::Run,
                '_' => Piece::One,
                '\\' => this(characters.next().ok_or(EndsInEscape)?),
                other => this(other),
            };
            // A run of runs is a run.
            if piece != Piece::Run || pieces.last() != Some(&Piece::Run) {
                pieces.push(piece);
            }
        }
        Ok(Pattern { pieces, folds })
    }

    /// Whether all of `text` has this shape. Time grows with the product of both lengths at worst; memory is constant.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let mut rest = text.chars();
        let mut at = 0;
        // Where to go on when what follows the last run does not fit: the run takes one character more.
        let mut behind_run: Option<(usize, std::str::Chars<'_>)> = None;
        loop {
            let here = rest.clone();
            let next = rest.next();
            let fits = match (self.pieces.get(at), next) {
                (None, None) => return true,
                (Some(Piece::Run), _) => {
                    behind_run = Some((at + 1, here.clone()));
                    rest = here;
                    true
                }
                (Some(Piece::One), Some(_)) => true,
                (Some(Piece::This(wanted)), Some(found)) => *wanted == if self.folds { fold(found) } else { found },
                _ => false,
            };
            if fits {
                at += 1;
                continue;
            }
            let Some((piece, from)) = &mut behind_run else { return false };
            if from.next().is_none() {
                return false;
            }
            at = *piece;
            rest = from.clone();
        }
    }

    /// What every text of this shape begins with; empty when case is folded.
    pub(crate) fn prefix(&self) -> String {
        let this = |piece: &Piece| match piece {
            Piece::This(character) if !self.folds => Some(*character),
            _ => None,
        };
        self.pieces.iter().map_while(this).collect()
    }
}

/// The character that stands for all those that differ from it in case alone.
fn fold(character: char) -> char {
    if character.is_ascii() {
        return character.to_ascii_lowercase();
    }
    // Without a dot it is another letter, although its capital is `I`.
    if character == '\u{131}' {
        return character;
    }
    let upper = single(character.to_uppercase()).unwrap_or(character);
    single(upper.to_lowercase()).unwrap_or(upper)
}

fn single(mut characters: impl Iterator<Item = char>) -> Option<char> {
    characters.next().filter(|_| characters.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn like(text: &str, pattern: &str) -> bool {
        Pattern::parse(pattern, false).unwrap().matches(text)
    }

    fn ilike(text: &str, pattern: &str) -> bool {
        Pattern::parse(pattern, true).unwrap().matches(text)
    }

    /// Whether `text` has the shape, by its definition: every way to share the text out is tried.
    fn defined(text: &[char], pattern: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['%', rest @ ..] => (0..=text.len()).any(|taken| defined(&text[taken..], rest)),
            ['_', rest @ ..] => !text.is_empty() && defined(&text[1..], rest),
            ['\\', this, rest @ ..] | [this, rest @ ..] => text.first() == Some(this) && defined(&text[1..], rest),
        }
    }

    /// All texts of up to `length` characters of `alphabet`.
    fn all(alphabet: &[char], length: usize) -> Vec<Vec<char>> {
        let mut texts = vec![Vec::new()];
        let mut longest = texts.clone();
        for _ in 0..length {
            longest = longest
                .iter()
                .flat_map(|text: &Vec<char>| {
                    alphabet
                        .iter()
                        .map(|next| text.iter().copied().chain([*next]).collect())
                        .collect::<Vec<Vec<char>>>()
                })
                .collect();
            texts.extend(longest.iter().cloned());
        }
        texts
    }

    #[test]
    fn every_short_text_and_pattern_match_as_the_definition_says() {
        let texts = all(&['a', 'b', '%', '\\'], 4);
        for pattern in all(&['a', 'b', '%', '_', '\\'], 5) {
            let spelled: String = pattern.iter().collect();
            let Ok(parsed) = Pattern::parse(&spelled, false) else {
                continue;
            };
            for text in &texts {
                let whole: String = text.iter().collect();
                assert_eq!(parsed.matches(&whole), defined(text, &pattern), "{whole:?} like {spelled:?}");
            }
        }
    }

    #[test]
    fn a_pattern_may_not_end_in_its_escape() {
        assert!(Pattern::parse("a\\", false).is_err());
        assert!(Pattern::parse("a\\\\", false).is_ok());
        assert!(like("a%c", "a\\%c") && !like("abc", "a\\%c") && like("abc", "a\\bc"));
    }

    #[test]
    fn case_is_folded_one_character_to_one_character() {
        for (a, b) in
            [("SPAM", "spam"), ("Σίσυφος", "σΊΣΥΦΟΣ"), ("\u{212a}", "k"), ("Straße", "STRAẞE"), ("ǅ", "ǆ"), ("ſ", "S")]
        {
            assert!(ilike(a, b) && ilike(b, a), "{a} and {b}");
        }
        for (a, b) in [("ß", "ss"), ("ı", "i"), ("İ", "i"), ("ﬁ", "fi"), ("é", "e")] {
            assert!(!ilike(a, b) && !ilike(b, a), "{a} and {b}");
        }
        assert!(!like("SPAM", "spam"));
    }

    #[test]
    fn a_hostile_pattern_takes_time_but_no_memory() {
        assert!(!like(&"a".repeat(20_000), &("%a".repeat(300) + "b")));
    }

    #[test]
    fn the_prefix_ends_at_the_first_wildcard() {
        let prefix = |pattern| Pattern::parse(pattern, false).unwrap().prefix();
        assert_eq!([prefix("ab%c"), prefix("a\\%b_"), prefix("%a"), prefix("abc")], ["ab", "a%b", "", "abc"]);
        assert_eq!(Pattern::parse("ab%", true).unwrap().prefix(), "");
    }
}
