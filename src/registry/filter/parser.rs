//! Tokens become a condition. One function for each rule of the grammar; `or` and `and` gather their parts in lists,
//! so only parentheses and `not` go deeper.

use std::ops::Range;

use super::ast::{Compare, Expr, Kind, Literal, Test};
use super::field::{Field, Subject};
use super::lexer::{self, Token};
use super::pattern::Pattern;
use super::{FILTER_BYTES_MAX, FILTER_DEPTH_MAX, FILTER_LIST_MAX, FILTER_TESTS_MAX, PATTERN_BYTES_MAX, nearest, place};
use crate::error::{Error, Result};
use crate::registry::name::ENTRY_KEY_BYTES_MAX;

/// The words of the language: none of them can be a field without quotes.
const WORDS: [&str; 11] = ["and", "or", "not", "like", "ilike", "in", "between", "is", "null", "true", "false"];

/// The condition that `source` spells; `None` when it is blank.
pub(super) fn parse(source: &str, subject: Subject) -> Result<Option<Expr>> {
    if source.len() > FILTER_BYTES_MAX {
        return Err(Error::invalid(format!("filter: at most {FILTER_BYTES_MAX} bytes, got {}", source.len())));
    }
    let tokens = lexer::tokens(source)?;
    if tokens.is_empty() {
        return Ok(None);
    }
    let mut parser = Parser { source, subject, tokens, at: 0, depth: 0, tests: 0 };
    let expr = parser.or()?;
    match parser.tokens.get(parser.at) {
        None => Ok(Some(expr)),
        Some(_) => Err(parser.expected("`and`, `or` or the end")),
    }
}

struct Parser<'s> {
    source: &'s str,
    subject: Subject,
    tokens: Vec<(Token, Range<usize>)>,
    at: usize,
    depth: usize,
    tests: usize,
}

impl Parser<'_> {
    fn or(&mut self) -> Result<Expr> {
        let start = self.place().start;
        let mut parts = vec![self.and()?];
        while self.take_word("or") {
            parts.push(self.and()?);
        }
        Ok(self.joined(start, parts, Kind::Or))
    }

    fn and(&mut self) -> Result<Expr> {
        let start = self.place().start;
        let mut parts = vec![self.not()?];
        while self.take_word("and") {
            parts.push(self.not()?);
        }
        Ok(self.joined(start, parts, Kind::And))
    }

    fn joined(&self, start: usize, mut parts: Vec<Expr>, kind: fn(Vec<Expr>) -> Kind) -> Expr {
        match parts.pop() {
            Some(only) if parts.is_empty() => only,
            last => {
                parts.extend(last);
                Expr { kind: kind(parts), span: start..self.end_before() }
            }
        }
    }

    fn not(&mut self) -> Result<Expr> {
        let start = self.place();
        if self.take_word("not") {
            let inner = self.deeper(start.clone(), Self::not)?;
            return Ok(self.opposite(start.start, inner));
        }
        if self.take(&Token::Open) {
            let mut inner = self.deeper(start.clone(), Self::or)?;
            if !self.take(&Token::Close) {
                return Err(self.expected("`and`, `or` or `)`"));
            }
            inner.span = start.start..self.end_before();
            return Ok(inner);
        }
        self.test()
    }

    /// `inside`, one level down.
    fn deeper(&mut self, span: Range<usize>, inside: fn(&mut Self) -> Result<Expr>) -> Result<Expr> {
        self.depth += 1;
        if self.depth > FILTER_DEPTH_MAX {
            return Err(self.refuse(
                span,
                &format!("more than {FILTER_DEPTH_MAX} levels of `not` and parentheses"),
                "",
            ));
        }
        let expr = inside(self)?;
        self.depth -= 1;
        Ok(expr)
    }

    fn opposite(&self, start: usize, inner: Expr) -> Expr {
        Expr { kind: Kind::Not(Box::new(inner)), span: start..self.end_before() }
    }

    fn test(&mut self) -> Result<Expr> {
        let span = self.place();
        let start = span.start;
        let field = self.field()?;
        self.tests += 1;
        if self.tests > FILTER_TESTS_MAX {
            return Err(self.refuse(span, &format!("more than {FILTER_TESTS_MAX} tests"), ""));
        }
        let (test, negated) = self.question()?;
        let expr = Expr { kind: Kind::Test(field, test), span: start..self.end_before() };
        Ok(if negated { self.opposite(start, expr) } else { expr })
    }

    /// What stands behind the field, and whether its opposite is meant.
    fn question(&mut self) -> Result<(Test, bool)> {
        if self.take_word("is") {
            let negated = self.take_word("not");
            return if self.take_word("null") { Ok((Test::IsNull, negated)) } else { Err(self.expected("`null`")) };
        }
        if self.take(&Token::Unequal) {
            return Ok((Test::Compare(Compare::Equal, self.literal()?), true));
        }
        if let Some((Token::Compare(compare), _)) = self.tokens.get(self.at) {
            let compare = *compare;
            self.at += 1;
            return Ok((Test::Compare(compare, self.literal()?), false));
        }
        let negated = self.take_word("not");
        let test = if self.take_word("between") {
            let low = self.literal()?;
            if !self.take_word("and") {
                return Err(self.expected("`and` and the upper end of `between`"));
            }
            Test::Between(low, self.literal()?)
        } else if self.take_word("in") {
            Test::In(self.list()?)
        } else if self.take_word("like") {
            Test::Like(self.pattern(false)?)
        } else if self.take_word("ilike") {
            Test::Like(self.pattern(true)?)
        } else if negated {
            return Err(self.expected("`like`, `ilike`, `in` or `between`"));
        } else {
            return Err(self.expected("a comparison such as `=`, `like`, `in`, `between` or `is null`"));
        };
        Ok((test, negated))
    }

    fn list(&mut self) -> Result<Vec<Literal>> {
        if !self.take(&Token::Open) {
            return Err(self.expected("`(` and a list of values"));
        }
        let mut list = Vec::new();
        loop {
            let span = self.place();
            list.push(self.literal()?);
            if list.len() > FILTER_LIST_MAX {
                return Err(self.refuse(span, &format!("more than {FILTER_LIST_MAX} values in a list"), ""));
            }
            if self.take(&Token::Close) {
                return Ok(list);
            }
            if !self.take(&Token::Comma) {
                return Err(self.expected("`,` or `)`"));
            }
        }
    }

    fn pattern(&mut self, folds: bool) -> Result<Pattern> {
        let span = self.place();
        let Some((Token::Text(text), _)) = self.tokens.get(self.at) else {
            return Err(self.expected("a pattern in single quotes"));
        };
        if text.len() > PATTERN_BYTES_MAX {
            let problem = format!("a pattern of {} bytes, at most {PATTERN_BYTES_MAX} are allowed,", text.len());
            return Err(self.refuse(span, &problem, ""));
        }
        let parsed = Pattern::parse(text, folds);
        self.at += 1;
        parsed.map_err(|_| self.refuse(span, "a pattern that ends in its escape", "write `\\\\` for a backslash"))
    }

    fn literal(&mut self) -> Result<Literal> {
        let literal = match self.tokens.get(self.at) {
            Some((Token::Text(text), _)) => Literal::Text(text.clone()),
            Some((Token::Number(number), _)) => Literal::Number(number.clone()),
            Some((Token::Name(name), span)) => {
                let is = |word: &str| name.is_word && name.head.eq_ignore_ascii_case(word);
                if !is("true") && !is("false") {
                    let hint = if is("null") { "ask `is null`" } else { "a text stands in single quotes" };
                    return Err(self.refuse(span.clone(), "expected a value, found a name", hint));
                }
                Literal::Bool(is("true"))
            }
            _ => return Err(self.expected("a value")),
        };
        self.at += 1;
        Ok(literal)
    }

    fn field(&mut self) -> Result<Field> {
        let Some((Token::Name(name), span)) = self.tokens.get(self.at) else {
            return Err(self.expected("a field"));
        };
        let span = span.clone();
        if name.is_word && WORDS.iter().any(|word| name.head.eq_ignore_ascii_case(word)) {
            return Err(self.expected("a field"));
        }
        let (plain, keyed) = (self.subject.plain(&name.head), self.subject.keyed(&name.head));
        let found = match (&name.key, plain, keyed) {
            (None, Some(field), _) => Ok(field),
            (Some(key), _, Some(field)) if key.len() <= ENTRY_KEY_BYTES_MAX => Ok(field(key.clone())),
            (Some(_), _, Some(_)) => Err((format!("a key of more than {ENTRY_KEY_BYTES_MAX} bytes"), String::new())),
            (None, _, Some(_)) => {
                Err((format!("`{0}` without a key", name.head), format!("write `{}.key`", name.head)))
            }
            (Some(_), Some(_), _) => Err((format!("`{}` takes no key", name.head), format!("write `{}`", name.head))),
            (_, None, None) => {
                Err((format!("unknown field `{}`", shown(&name.head)), self.suggestion(&name.head, name.key.is_some())))
            }
        };
        match found {
            Ok(field) => {
                self.at += 1;
                Ok(field)
            }
            Err((problem, hint)) => Err(self.refuse(span, &problem, &hint)),
        }
    }

    fn suggestion(&self, name: &str, has_key: bool) -> String {
        // What takes a key is the likelier the name's neighbour when a key was given, and the other way round.
        let names = self.subject.names();
        let alike: Vec<&str> =
            names.iter().copied().filter(|name| self.subject.keyed(name).is_some() == has_key).collect();
        let near = nearest(name, alike.into_iter().chain(names.iter().copied())).unwrap_or_default();
        let key = if self.subject.keyed(near).is_some() { ".key" } else { "" };
        format!("did you mean `{near}{key}`? (known: {})", names.join(", "))
    }

    fn take(&mut self, wanted: &Token) -> bool {
        let found = self.tokens.get(self.at).is_some_and(|(token, _)| token == wanted);
        self.at += usize::from(found);
        found
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = match self.tokens.get(self.at) {
            Some((Token::Name(name), _)) => name.is_word && name.head.eq_ignore_ascii_case(word),
            _ => false,
        };
        self.at += usize::from(found);
        found
    }

    /// The place of the next token; behind the text when there is none.
    fn place(&self) -> Range<usize> {
        let end = self.source.trim_end().len();
        self.tokens.get(self.at).map_or(end..end, |(_, span)| span.clone())
    }

    /// Where the last token taken ends.
    fn end_before(&self) -> usize {
        self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map_or(0, |(_, span)| span.end)
    }

    fn expected(&self, what: &str) -> Error {
        let span = self.place();
        let found = match self.source.get(span.clone()) {
            Some("") | None => "the end".to_owned(),
            Some(text) => format!("`{}`", shown(text)),
        };
        let hint = match self.tokens.get(self.at) {
            Some((Token::Text(_), _)) if what == "a field" => "a name stands bare, in double quotes or in backquotes",
            _ => "",
        };
        self.refuse(span, &format!("expected {what}, found {found}"), hint)
    }

    fn refuse(&self, span: Range<usize>, problem: &str, hint: &str) -> Error {
        place::refusal(self.source, span, problem, hint)
    }
}

/// The beginning of a foreign text, fit for a message.
fn shown(text: &str) -> String {
    const SHOWN_CHARS: usize = 40;
    let clear = |character: char| if character.is_control() { ' ' } else { character };
    let mut shown: String = text.chars().take(SHOWN_CHARS).map(clear).collect();
    if text.chars().nth(SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    shown
}
