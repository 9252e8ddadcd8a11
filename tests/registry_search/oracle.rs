//! What a filter means, written down once more from its specification: over plain cells, with truth as a number, with
//! decimal digits for numbers and a table for patterns. It shares no code with the library, and can be told to be
//! wrong in one way, so that the comparison with it is seen to notice.

use std::cmp::Ordering;
use std::collections::BTreeMap;

/// A record: what it has, by the name of the field (`stage`, `tags.my key`).
pub type Row = BTreeMap<String, Cell>;

#[derive(Debug, Clone)]
pub enum Cell {
    Text(String),
    Number(Decimal),
    Bool(bool),
    /// Bytes, JSON objects, arrays and `null`.
    Other,
}

#[derive(Debug, Clone)]
pub enum Literal {
    Text(String),
    /// As it is written in the filter.
    Number(String),
    Bool(bool),
}

#[derive(Debug, Clone)]
pub enum Expr {
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Not(Box<Expr>),
    Compare(String, &'static str, Literal),
    Between(String, bool, Literal, Literal),
    In(String, bool, Vec<Literal>),
    /// Field, negated, without case, pattern.
    Like(String, bool, bool, String),
    Null(String, bool),
}

/// How the oracle is to be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    Nothing,
    /// The opposite of unknown is true.
    NotOfUnknown,
    /// Integers are compared as `f64`.
    RoundedIntegers,
    /// The upper end of `between` is left out.
    OpenBetween,
    /// `\` stands for itself.
    NoEscape,
    /// What is absent comes first in an order.
    AbsentFirst,
}

const FALSE: u8 = 0;
const UNKNOWN: u8 = 1;
const TRUE: u8 = 2;

/// 2 for true, 1 for unknown, 0 for false: `and` is the smaller, `or` the larger, `not` the rest to 2.
pub fn truth(expr: &Expr, row: &Row, planted: Planted) -> u8 {
    let negate = |negated: bool, truth: u8| match (negated, truth) {
        (true, UNKNOWN) if planted == Planted::NotOfUnknown => TRUE,
        (true, truth) => TRUE - truth,
        (false, truth) => truth,
    };
    let certain = |truth: bool| if truth { TRUE } else { FALSE };
    let against = |field: &String, literal: &Literal, holds: &dyn Fn(Ordering) -> bool| match row
        .get(field)
        .and_then(|cell| order(cell, literal, planted))
    {
        None => UNKNOWN,
        Some(order) => certain(holds(order)),
    };
    match expr {
        Expr::And(a, b) => truth(a, row, planted).min(truth(b, row, planted)),
        Expr::Or(a, b) => truth(a, row, planted).max(truth(b, row, planted)),
        Expr::Not(a) => negate(true, truth(a, row, planted)),
        Expr::Null(field, negated) => negate(*negated, certain(!row.contains_key(field))),
        Expr::Compare(field, operator, literal) => match *operator {
            "=" => against(field, literal, &Ordering::is_eq),
            "!=" => negate(true, against(field, literal, &Ordering::is_eq)),
            "<" => against(field, literal, &Ordering::is_lt),
            "<=" => against(field, literal, &Ordering::is_le),
            ">" => against(field, literal, &Ordering::is_gt),
            ">=" => against(field, literal, &Ordering::is_ge),
            other => panic!("{other}"),
        },
        Expr::Between(field, negated, low, high) => {
            let below: &dyn Fn(Ordering) -> bool =
                if planted == Planted::OpenBetween { &Ordering::is_lt } else { &Ordering::is_le };
            let inside = against(field, low, &Ordering::is_ge).min(against(field, high, below));
            negate(*negated, inside)
        }
        Expr::In(field, negated, list) => {
            let one = list.iter().map(|literal| against(field, literal, &Ordering::is_eq)).max();
            negate(*negated, one.expect("a list is never empty"))
        }
        Expr::Like(field, negated, folds, pattern) => {
            let matched = match row.get(field) {
                Some(Cell::Text(text)) => certain(like(text, pattern, *folds, planted)),
                _ => UNKNOWN,
            };
            negate(*negated, matched)
        }
    }
}

pub fn selects(expr: &Expr, row: &Row, planted: Planted) -> bool {
    truth(expr, row, planted) == TRUE
}

fn order(cell: &Cell, literal: &Literal, planted: Planted) -> Option<Ordering> {
    match (cell, literal) {
        (Cell::Text(a), Literal::Text(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
        (Cell::Bool(a), Literal::Bool(b)) => Some(u8::from(*a).cmp(&u8::from(*b))),
        (Cell::Number(a), Literal::Number(b)) => {
            let b = Decimal::written(b);
            match planted {
                Planted::RoundedIntegers => a.rounded().partial_cmp(&b.rounded()),
                _ => Some(a.compare(&b)),
            }
        }
        _ => None,
    }
}

/// The exact digits of a number.
#[derive(Debug, Clone)]
pub struct Decimal {
    negative: bool,
    whole: String,
    fraction: String,
}

impl Decimal {
    /// With `.` or `e` it is the nearest `f64`, else the integer itself.
    pub fn written(text: &str) -> Self {
        let digits = if text.contains(['.', 'e', 'E']) {
            format!("{:.1074}", text.parse::<f64>().expect("a number"))
        } else {
            text.to_owned()
        };
        Self::exact(&digits)
    }

    pub fn float(value: f64) -> Self {
        Self::exact(&format!("{value:.1074}"))
    }

    fn exact(digits: &str) -> Self {
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let whole = whole.trim_start_matches(['+', '-']).trim_start_matches('0').to_owned();
        let fraction = fraction.trim_end_matches('0').to_owned();
        let zero = whole.is_empty() && fraction.is_empty();
        Decimal { negative: digits.starts_with('-') && !zero, whole, fraction }
    }

    fn compare(&self, other: &Self) -> Ordering {
        let size = |a: &Self, b: &Self| {
            a.whole
                .len()
                .cmp(&b.whole.len())
                .then_with(|| a.whole.cmp(&b.whole))
                .then_with(|| a.fraction.cmp(&b.fraction))
        };
        match (self.negative, other.negative) {
            (false, false) => size(self, other),
            (true, true) => size(other, self),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }

    fn rounded(&self) -> f64 {
        let sign = if self.negative { "-" } else { "" };
        format!("{sign}0{}.{}0", self.whole, self.fraction).parse().expect("a number")
    }
}

/// Whether the text has the shape, by a table: which beginnings of the text the pattern up to here can be.
fn like(text: &str, pattern: &str, folds: bool, planted: Planted) -> bool {
    let fold = |character: char| match character {
        _ if !folds => character,
        'A'..='Z' => char::from(character as u8 + 32),
        'É' => 'é',
        'Σ' | 'ς' => 'σ',
        other => other,
    };
    let text: Vec<char> = text.chars().map(fold).collect();
    let mut reached: Vec<bool> = std::iter::once(true).chain(text.iter().map(|_| false)).collect();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        let mut next = vec![false; text.len() + 1];
        if character == '%' {
            let mut any = false;
            for (place, reached) in reached.iter().enumerate() {
                any |= reached;
                next[place] = any;
            }
        } else {
            let wanted = match character {
                '_' => None,
                '\\' if planted != Planted::NoEscape => Some(fold(characters.next().expect("something is escaped"))),
                other => Some(fold(other)),
            };
            for place in 0..text.len() {
                next[place + 1] = reached[place] && wanted.is_none_or(|wanted| wanted == text[place]);
            }
        }
        reached = next;
    }
    reached[text.len()]
}

/// How two rows stand in an order of (field, descending): absent ones last, equal ones by model and version.
pub fn in_order(a: &Row, b: &Row, order_by: &[(&str, bool)], planted: Planted) -> Ordering {
    for (field, descending) in order_by {
        let absent = |row: &Row| row.contains_key(*field) == (planted == Planted::AbsentFirst);
        let order = absent(a).cmp(&absent(b)).then_with(|| match (a.get(*field), b.get(*field)) {
            (Some(a), Some(b)) if *descending => cells(b, a),
            (Some(a), Some(b)) => cells(a, b),
            _ => Ordering::Equal,
        });
        if order.is_ne() {
            return order;
        }
    }
    cells(&a["model"], &b["model"]).then_with(|| cells(&a["version"], &b["version"]))
}

fn cells(a: &Cell, b: &Cell) -> Ordering {
    match (a, b) {
        (Cell::Text(a), Cell::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
        (Cell::Number(a), Cell::Number(b)) => a.compare(b),
        other => panic!("{other:?}"),
    }
}

/// The filter as text. `style` chooses among spellings of the same: quotes, case, space and superfluous parentheses.
pub fn print(expr: &Expr, style: &mut Style) -> String {
    let text = match expr {
        Expr::And(a, b) => format!("{} {} {}", inside(a, 2, style), style.word("and"), inside(b, 2, style)),
        Expr::Or(a, b) => format!("{} {} {}", inside(a, 1, style), style.word("or"), inside(b, 1, style)),
        Expr::Not(a) => format!("{} {}", style.word("not"), inside(a, 3, style)),
        Expr::Compare(field, operator, literal) => {
            let space = style.pick(&["", " ", "\n "]);
            format!("{}{space}{operator}{space}{}", style.field(field), style.literal(literal))
        }
        Expr::Between(field, negated, low, high) => format!(
            "{} {}{} {} {} {}",
            style.field(field),
            style.negated(*negated),
            style.word("between"),
            style.literal(low),
            style.word("and"),
            style.literal(high)
        ),
        Expr::In(field, negated, list) => {
            let list: Vec<String> = list.iter().map(|literal| style.literal(literal)).collect();
            let comma = style.pick(&[",", " , "]);
            format!("{} {}{}({})", style.field(field), style.negated(*negated), style.word("in"), list.join(comma))
        }
        Expr::Like(field, negated, folds, pattern) => {
            let verb = style.word(if *folds { "ilike" } else { "like" });
            format!("{} {}{verb} {}", style.field(field), style.negated(*negated), quoted(pattern, '\''))
        }
        Expr::Null(field, negated) => {
            format!("{} {} {}{}", style.field(field), style.word("is"), style.negated(*negated), style.word("null"))
        }
    };
    if style.next() % 8 == 0 { format!("({text})") } else { text }
}

/// In parentheses where what stands inside binds less tightly than `level`: 1 or, 2 and, 3 not.
fn inside(expr: &Expr, level: u8, style: &mut Style) -> String {
    let own = match expr {
        Expr::Or(..) => 1,
        Expr::And(..) => 2,
        _ => 3,
    };
    let text = print(expr, style);
    if own < level { format!("({text})") } else { text }
}

fn quoted(text: &str, quote: char) -> String {
    format!("{quote}{}{quote}", text.replace(quote, &format!("{quote}{quote}")))
}

/// A stream of small choices.
pub struct Style(pub u64);

impl Style {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        from[(self.next() % from.len() as u64) as usize]
    }

    fn word(&mut self, word: &str) -> String {
        if self.next() % 4 == 0 { word.to_uppercase() } else { word.to_owned() }
    }

    fn negated(&mut self, negated: bool) -> String {
        if negated { self.word("not") + " " } else { String::new() }
    }

    fn literal(&mut self, literal: &Literal) -> String {
        match literal {
            Literal::Text(text) => quoted(text, '\''),
            Literal::Number(text) => text.clone(),
            Literal::Bool(value) => self.word(if *value { "true" } else { "false" }),
        }
    }

    fn field(&mut self, field: &str) -> String {
        let bare = |name: &str| name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.');
        let mut spell = |name: &str| match self.next() % 6 {
            0 => quoted(name, '`'),
            1 => quoted(name, '"'),
            _ if bare(name) => name.to_owned(),
            _ => quoted(name, '`'),
        };
        match field.split_once('.') {
            Some((map, key)) => format!("{}.{}", spell(map), spell(key)),
            None => spell(field),
        }
    }
}
