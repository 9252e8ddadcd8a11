//! Rust source as words: just enough of the language to see past comments, text and test code.
//!
//! It promises that what stands in a comment, a string or a character literal never becomes a word, and that every word
//! knows its line. It is no parser: numbers come in pieces, and generics are just angle brackets.

/// One word of code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// A name, a mark such as `::`, or a literal text behind one `"`, so that it equals no name. A raw string's
    /// is left out, and of an escaped character only the backslash stays.
    pub text: String,
    /// Counted from 1.
    pub line: usize,
}

/// All words of `source` in order.
pub fn tokens(source: &str) -> Vec<Token> {
    let mut lexer = Lexer { chars: source.chars().collect(), at: 0, line: 1, found: Vec::new() };
    while lexer.step() {}
    lexer.found
}

/// The words outside of what `#[cfg(test)]` stands before, and the modules declared under it: each by its name, or by
/// the file that `#[path]` gives it.
pub fn without_tests(all: &[Token]) -> (Vec<Token>, Vec<String>) {
    let (mut kept, mut modules) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < all.len() {
        if !is_test_gate(all, at) {
            kept.push(all[at].clone());
            at += 1;
            continue;
        }
        // Other attributes of the same item follow; then the item itself.
        let mut file = None;
        while word(all, at) == "#" {
            if word(all, at + 2) == "path" {
                file = Some(word(all, at + 4).trim_start_matches('"').to_owned());
            }
            at = after_group(all, at + 1);
        }
        let end = after_item(all, at);
        if let Some(keyword) = (at..end).find(|&i| word(all, i) == "mod")
            && word(all, keyword + 2) == ";"
        {
            modules.push(file.unwrap_or_else(|| word(all, keyword + 1).to_owned()));
        }
        at = end;
    }
    (kept, modules)
}

/// The text at `at`, or nothing behind the end.
pub fn word(tokens: &[Token], at: usize) -> &str {
    tokens.get(at).map_or("", |token| token.text.as_str())
}

/// Whether `#[cfg(test)]` or `#[cfg(all(test, …))]` begins at `at`.
fn is_test_gate(tokens: &[Token], at: usize) -> bool {
    let begins = |words: &[&str]| words.iter().enumerate().all(|(i, expected)| word(tokens, at + i) == *expected);
    begins(&["#", "[", "cfg", "(", "test", ")", "]"]) || begins(&["#", "[", "cfg", "(", "all", "(", "test", ","])
}

/// Behind the bracket that closes the one at `at`.
fn after_group(tokens: &[Token], at: usize) -> usize {
    let mut depth = 0usize;
    for (i, token) in tokens.iter().enumerate().skip(at) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return i + 1;
        }
    }
    tokens.len()
}

/// Behind the item, statement, field or arm that begins at `at`.
fn after_item(tokens: &[Token], at: usize) -> usize {
    const ITEMS: [&str; 16] = [
        "pub",
        "fn",
        "mod",
        "use",
        "impl",
        "struct",
        "enum",
        "const",
        "static",
        "trait",
        "type",
        "let",
        "async",
        "extern",
        "unsafe",
        "macro_rules",
    ];
    let comma_ends = !ITEMS.contains(&word(tokens, at));
    let mut i = at;
    while i < tokens.len() {
        match word(tokens, i) {
            ";" => return i + 1,
            "," if comma_ends => return i + 1,
            "{" => return after_group(tokens, i),
            "(" | "[" => i = after_group(tokens, i),
            // The end of the list that the field or arm stands in.
            ")" | "]" | "}" => return i,
            _ => i += 1,
        }
    }
    i
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    line: usize,
    found: Vec<Token>,
}

impl Lexer {
    /// Reads one word or skips one blank, comment or literal; false at the end.
    fn step(&mut self) -> bool {
        let Some(first) = self.peek(0) else { return false };
        match (first, self.peek(1)) {
            ('/', Some('/')) => self.skip_while(|c| c != '\n'),
            ('/', Some('*')) => self.skip_block_comment(),
            ('"', _) => self.text(),
            ('\'', _) => self.quote(),
            (c, _) if c.is_whitespace() => self.advance(1),
            (c, _) if c.is_alphanumeric() || c == '_' => self.name(),
            (':', Some(':')) | ('=', Some('=' | '>')) => self.mark(2),
            _ => self.mark(1),
        }
        true
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn advance(&mut self, count: usize) {
        for _ in 0..count {
            self.line += usize::from(self.peek(0) == Some('\n'));
            self.at += 1;
        }
    }

    fn skip_while(&mut self, goes_on: impl Fn(char) -> bool) {
        while self.peek(0).is_some_and(&goes_on) {
            self.advance(1);
        }
    }

    fn push(&mut self, text: String, line: usize) {
        self.found.push(Token { text, line });
    }

    fn mark(&mut self, length: usize) {
        let text = self.chars.iter().skip(self.at).take(length).collect();
        self.push(text, self.line);
        self.advance(length);
    }

    /// Block comments nest.
    fn skip_block_comment(&mut self) {
        let mut depth = 0;
        while let Some(first) = self.peek(0) {
            match (first, self.peek(1)) {
                ('/', Some('*')) => depth += 1,
                ('*', Some('/')) => depth -= 1,
                _ => {
                    self.advance(1);
                    continue;
                }
            }
            self.advance(2);
            if depth == 0 {
                return;
            }
        }
    }

    fn text(&mut self) {
        let line = self.line;
        let mut text = "\"".to_owned();
        self.advance(1);
        while let Some(c) = self.peek(0) {
            self.advance(if c == '\\' { 2 } else { 1 });
            if c == '"' {
                break;
            }
            text.push(c);
        }
        self.push(text, line);
    }

    /// A character literal, or the quote of a lifetime.
    fn quote(&mut self) {
        if self.peek(1) == Some('\\') {
            // The escaped character itself may be a quote.
            self.advance(3);
            self.skip_while(|c| c != '\'');
            self.advance(1);
        } else if self.peek(2) == Some('\'') {
            self.advance(3);
        } else {
            self.advance(1);
        }
    }

    /// A name, a number, or the letters before a string: `b"…"`, `r#"…"#`.
    fn name(&mut self) {
        let (start, line) = (self.at, self.line);
        self.skip_while(|c| c.is_alphanumeric() || c == '_');
        let text: String = self.chars[start..self.at].iter().collect();
        let raw = matches!(text.as_str(), "r" | "br" | "cr");
        let hashes = (0..).take_while(|&i| self.peek(i) == Some('#')).count();
        if raw && self.peek(hashes) == Some('"') {
            self.advance(hashes + 1);
            let closed = |lexer: &Self| lexer.peek(0) == Some('"') && (1..=hashes).all(|i| lexer.peek(i) == Some('#'));
            while self.peek(0).is_some() && !closed(self) {
                self.advance(1);
            }
            self.advance(hashes + 1);
            self.push("\"".to_owned(), line);
        } else if raw && hashes == 1 {
            // A raw name, `r#type`: the hash goes, the name follows.
            self.advance(1);
        } else if matches!(text.as_str(), "b" | "c") && self.peek(0) == Some('"') {
            self.text();
        } else if text == "b" && self.peek(0) == Some('\'') {
            self.quote();
        } else {
            self.push(text, line);
        }
    }
}
