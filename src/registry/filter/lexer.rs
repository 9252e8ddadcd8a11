//! The text of a filter, cut into tokens, each with its place in bytes.

use std::iter::Peekable;
use std::ops::Range;
use std::str::CharIndices;

use super::ast::Compare;
use super::field::is_bare;
use super::number::Number;
use super::place;
use crate::error::{Error, Result};

/// A piece of the text with a meaning of its own.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A word of the language or the name of a field.
    Name(Name),
    /// `'text'`
    Text(String),
    /// A number.
    Number(Number),
    /// `=` `<` `<=` `>` `>=`
    Compare(Compare),
    /// `!=`
    Unequal,
    /// `(`
    Open,
    /// `)`
    Close,
    /// `,`
    Comma,
}

/// A name, and the key behind its dot.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Name {
    pub(super) head: String,
    pub(super) key: Option<String>,
    /// Bare and without a key: it may be a word of the language.
    pub(super) is_word: bool,
}

/// All tokens of `source`.
///
/// # Errors
/// `Invalid`, with the place, for what is no token.
pub(super) fn tokens(source: &str) -> Result<Vec<(Token, Range<usize>)>> {
    let mut lexer = Lexer { source, rest: source.char_indices().peekable() };
    let mut found = Vec::new();
    while let Some((start, first)) = lexer.next_visible() {
        let token = lexer.token(start, first)?;
        found.push((token, start..lexer.place()));
    }
    Ok(found)
}

struct Lexer<'s> {
    source: &'s str,
    rest: Peekable<CharIndices<'s>>,
}

impl Lexer<'_> {
    fn next_visible(&mut self) -> Option<(usize, char)> {
        self.take_while(char::is_whitespace);
        self.rest.next()
    }

    fn token(&mut self, start: usize, first: char) -> Result<Token> {
        Ok(match first {
            '(' => Token::Open,
            ')' => Token::Close,
            ',' => Token::Comma,
            '\'' => Token::Text(self.quoted(start, '\'')?),
            '=' if self.peek() == Some('=') => return Err(self.wrong(start, "unexpected `==`", "write `=`")),
            '=' => Token::Compare(Compare::Equal),
            '!' if self.take_if('=') => Token::Unequal,
            '<' if self.peek() == Some('>') => return Err(self.wrong(start, "unexpected `<>`", "write `!=`")),
            '<' if self.take_if('=') => Token::Compare(Compare::AtMost),
            '<' => Token::Compare(Compare::Less),
            '>' if self.take_if('=') => Token::Compare(Compare::AtLeast),
            '>' => Token::Compare(Compare::Greater),
            '"' | '`' => {
                let head = self.quoted(start, first)?;
                Token::Name(Name { head, key: self.key()?, is_word: false })
            }
            '+' | '-' if self.peek().is_some_and(|next| next.is_ascii_digit()) => self.number(start)?,
            _ if first.is_ascii_digit() => self.number(start)?,
            _ if is_bare(first) => {
                let head = format!("{first}{}", self.take_while(is_bare));
                let key = self.key()?;
                Token::Name(Name { head, is_word: key.is_none(), key })
            }
            other => return Err(self.wrong(start, &format!("unexpected `{}`", other.escape_debug()), "")),
        })
    }

    /// What stands up to the next single `quote`; two of them are one of the text. The opening one is taken.
    fn quoted(&mut self, start: usize, quote: char) -> Result<String> {
        let mut text = String::new();
        while let Some((_, character)) = self.rest.next() {
            if character != quote {
                text.push(character);
            } else if self.take_if(quote) {
                text.push(quote);
            } else {
                return Ok(text);
            }
        }
        let what = if quote == '\'' { "text" } else { "name" };
        Err(self.wrong(start, &format!("{what} without its closing `{quote}`"), ""))
    }

    /// The key behind a dot, where there is one: quoted, or bare with more dots inside.
    fn key(&mut self) -> Result<Option<String>> {
        let dot = self.place();
        if !self.take_if('.') {
            return Ok(None);
        }
        let start = self.place();
        let key = match self.peek() {
            Some(quote @ ('"' | '`')) => {
                self.rest.next();
                self.quoted(start, quote)?
            }
            _ => self.take_while(|character| is_bare(character) || character == '.'),
        };
        if key.is_empty() {
            return Err(self.wrong(dot, "a key must follow the dot", "put one with other characters in backquotes"));
        }
        let bare = self.source.get(start..).is_some_and(|rest| !rest.starts_with(['"', '`']));
        if bare && (key.starts_with('.') || key.ends_with('.') || key.contains("..")) {
            return Err(self.wrong(start, "a dot without a name beside it", "put such a key in backquotes"));
        }
        Ok(Some(key))
    }

    fn number(&mut self, start: usize) -> Result<Token> {
        self.take_while(|character| character.is_ascii_digit());
        if self.take_if('.') && self.take_while(|character| character.is_ascii_digit()).is_empty() {
            return Err(self.wrong(start, "a number without digits behind its point", ""));
        }
        if self.take_if('e') || self.take_if('E') {
            let _signed = self.take_if('-') || self.take_if('+');
            if self.take_while(|character| character.is_ascii_digit()).is_empty() {
                return Err(self.wrong(start, "a number without digits in its exponent", ""));
            }
        }
        if self.peek().is_some_and(|next| is_bare(next) || next == '.') {
            self.take_while(|character| is_bare(character) || character == '.');
            return Err(self.wrong(
                start,
                "neither a number nor a name",
                "a name that begins with a digit wants backquotes",
            ));
        }
        let text = self.source.get(start..self.place()).unwrap_or_default();
        Number::parse(text).map(Token::Number).ok_or_else(|| self.wrong(start, "a number beyond the range of f64", ""))
    }

    fn peek(&mut self) -> Option<char> {
        self.rest.peek().map(|(_, character)| *character)
    }

    fn take_if(&mut self, wanted: char) -> bool {
        self.rest.next_if(|(_, character)| *character == wanted).is_some()
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        std::iter::from_fn(|| self.rest.next_if(|(_, character)| wanted(*character))).map(|(_, taken)| taken).collect()
    }

    /// The byte at which the rest begins.
    fn place(&mut self) -> usize {
        self.rest.peek().map_or(self.source.len(), |(place, _)| *place)
    }

    fn wrong(&mut self, start: usize, problem: &str, hint: &str) -> Error {
        let end = self.place().max(start + 1);
        place::refusal(self.source, start..end, problem, hint)
    }
}
