//! The record of the property test: a field of every type, under a schema that each case draws.
//!
//! [`Value`] is the model's own idea of a value and its order. It shares no code with the key codec.

use std::cell::RefCell;
use std::cmp::Ordering;

use ml_persistence::{Query, Rank, Record, Schema, Timestamp, asc, desc};
use serde::{Deserialize, Serialize};

use super::dice::Dice;

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Stage {
    Live,
    Draft,
    Old,
}

impl Rank for Stage {
    const RANKS: &'static [(Self, u32)] = &[(Stage::Draft, 1), (Stage::Live, 2), (Stage::Old, 30)];
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Item {
    pub name: String,
    pub number: i16,
    pub tiny: i8,
    pub word: u16,
    pub count: u64,
    pub wide: i128,
    pub huge: u128,
    pub float: f64,
    pub small_float: f32,
    pub flag: bool,
    pub text: String,
    pub raw: Vec<u8>,
    pub maybe: Option<String>,
    pub maybe_number: Option<i32>,
    pub stage: Stage,
    pub at: Timestamp,
    pub pair: (u8, String),
    pub labels: Vec<String>,
    pub scores: Vec<i64>,
}

/// The model's value: derived order is the documented one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    Signed(i128),
    Unsigned(u128),
    Float(Total),
    Small(Total),
    Flag(bool),
    Bytes(Vec<u8>),
    Text(Vec<u8>),
    Maybe(Option<Box<Value>>),
    Rank(u32),
    Both(Box<Value>, Box<Value>),
}

#[derive(Debug, Clone)]
pub struct Total(pub f64);

impl PartialEq for Total {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Total {}

impl PartialOrd for Total {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Total {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Value {
    pub fn text(text: &str) -> Self {
        Value::Text(text.as_bytes().to_vec())
    }

    pub fn is_absent(&self) -> bool {
        matches!(self, Value::Maybe(None))
    }

    /// Texts of 10 kB have no room in an index.
    pub fn is_long(&self) -> bool {
        match self {
            Value::Bytes(bytes) | Value::Text(bytes) => bytes.len() > 1_000,
            Value::Maybe(held) => held.as_ref().is_some_and(|held| held.is_long()),
            Value::Both(one, two) => one.is_long() || two.is_long(),
            _ => false,
        }
    }

    /// Whether this, a text or bytes, starts with `start`.
    pub fn starts_with(&self, start: &[u8]) -> bool {
        match self {
            Value::Bytes(bytes) | Value::Text(bytes) => bytes.starts_with(start),
            Value::Maybe(Some(held)) => held.starts_with(start),
            _ => false,
        }
    }
}

/// A field of [`Item`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field(pub usize);

pub const FIELDS: [&str; 18] = [
    "tiny",
    "word",
    "count",
    "wide",
    "huge",
    "float",
    "small_float",
    "flag",
    "text",
    "raw",
    "maybe",
    "maybe_number",
    "stage",
    "at",
    "pair",
    "labels",
    "scores",
    "number",
];

impl Field {
    pub fn name(self) -> &'static str {
        FIELDS[self.0]
    }

    pub fn is_list(self) -> bool {
        matches!(self.name(), "labels" | "scores")
    }

    pub fn is_text(self) -> bool {
        matches!(self.name(), "text" | "raw" | "maybe" | "labels")
    }

    /// The values of `item`: one, or those of a list, each once.
    pub fn values(self, item: &Item) -> Vec<Value> {
        let maybe = |held: Option<Value>| Value::Maybe(held.map(Box::new));
        let mut values = match self.name() {
            "tiny" => vec![Value::Signed(item.tiny.into())],
            "word" => vec![Value::Unsigned(item.word.into())],
            "count" => vec![Value::Unsigned(item.count.into())],
            "wide" => vec![Value::Signed(item.wide)],
            "huge" => vec![Value::Unsigned(item.huge)],
            "float" => vec![Value::Float(Total(item.float))],
            // The order of a NaN's payload survives no conversion, so the model keeps the sign and the class apart.
            "small_float" => vec![Value::Small(Total(f64::from(item.small_float)))],
            "flag" => vec![Value::Flag(item.flag)],
            "text" => vec![Value::text(&item.text)],
            "raw" => vec![Value::Bytes(item.raw.clone())],
            "maybe" => vec![maybe(item.maybe.as_deref().map(Value::text))],
            "maybe_number" => vec![maybe(item.maybe_number.map(|number| Value::Signed(number.into())))],
            "stage" => {
                vec![Value::Rank(match item.stage {
                    Stage::Draft => 1,
                    Stage::Live => 2,
                    Stage::Old => 30,
                })]
            }
            "at" => vec![Value::Unsigned(item.at.0.into())],
            "pair" => {
                let (one, two) = &item.pair;
                vec![Value::Both(Box::new(Value::Unsigned((*one).into())), Box::new(Value::text(two)))]
            }
            "labels" => item.labels.iter().map(|label| Value::text(label)).collect(),
            "scores" => item.scores.iter().map(|score| Value::Signed((*score).into())).collect(),
            "number" => vec![Value::Signed(item.number.into())],
            other => panic!("no field {other}"),
        };
        values.sort();
        values.dedup();
        values
    }
}

/// A condition of a query with the value of the field type that `from` has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verb {
    Eq,
    Lt,
    Le,
    Gt,
    Ge,
}

/// Adds the condition that `field` stands so to the value that it has in `from` (in a list, the value at `at`).
pub fn ask(query: Query, verb: Verb, field: Field, from: &Item, at: usize) -> Query {
    macro_rules! with {
        ($value:expr) => {
            match verb {
                Verb::Eq => query.eq(field.name(), $value),
                Verb::Lt => query.lt(field.name(), $value),
                Verb::Le => query.le(field.name(), $value),
                Verb::Gt => query.gt(field.name(), $value),
                Verb::Ge => query.ge(field.name(), $value),
            }
        };
    }
    match field.name() {
        // An integer of another type, as literals are.
        "tiny" => with!(i32::from(from.tiny)),
        "word" => with!(i32::from(from.word)),
        "count" => with!(i128::from(from.count)),
        "wide" => with!(from.wide),
        "huge" => with!(from.huge),
        "float" => with!(from.float),
        "small_float" => with!(from.small_float),
        "flag" => with!(from.flag),
        "text" => with!(from.text.as_str()),
        "raw" => with!(from.raw.clone()),
        // The held value alone, where there is one.
        "maybe" => match &from.maybe {
            Some(held) => with!(held.as_str()),
            None => with!(None::<String>),
        },
        "maybe_number" => with!(from.maybe_number),
        "stage" => with!(from.stage),
        "at" => with!(from.at),
        "pair" => with!(from.pair.clone()),
        "labels" => {
            let mut labels = from.labels.clone();
            labels.sort();
            labels.dedup();
            with!(labels[at].clone())
        }
        "scores" => {
            let mut scores = from.scores.clone();
            scores.sort();
            scores.dedup();
            with!(scores[at])
        }
        "number" => with!(from.number),
        other => panic!("no field {other}"),
    }
}

#[derive(Debug, Clone)]
pub struct IndexSpec {
    pub name: &'static str,
    pub parts: Vec<(Field, bool)>,
    pub unique: bool,
    pub sparse: bool,
}

#[derive(Debug, Clone)]
pub struct CounterSpec {
    pub name: &'static str,
    pub group: Vec<Field>,
    pub sums: bool,
}

/// The schema that a case has drawn.
#[derive(Debug, Clone, Default)]
pub struct Spec {
    pub indexes: Vec<IndexSpec>,
    pub counters: Vec<CounterSpec>,
}

thread_local! {
    /// What [`Item::schema`] answers on this thread.
    pub static SPEC: RefCell<Spec> = RefCell::default();
}

impl Spec {
    pub fn draw(dice: &Dice) -> Self {
        const INDEXES: [&str; 5] = ["i0", "i1", "i2", "i3", "i4"];
        const COUNTERS: [&str; 3] = ["c0", "c1", "c2"];
        let fields = |most: usize| {
            let mut fields: Vec<Field> = Vec::new();
            for _ in 0..most {
                let field = Field(dice.below(FIELDS.len()));
                let second_list = field.is_list() && fields.iter().any(|field| field.is_list());
                if !fields.contains(&field) && !second_list {
                    fields.push(field);
                }
            }
            fields
        };
        let indexes = INDEXES[..1 + dice.below(5)].iter().map(|&name| IndexSpec {
            name,
            parts: fields(1 + dice.below(3)).into_iter().map(|field| (field, dice.coin())).collect(),
            unique: dice.once_in(5),
            sparse: dice.once_in(4),
        });
        let indexes = indexes.collect();
        let counters = COUNTERS[..dice.below(4)].iter().map(|&name| {
            let sums = dice.coin();
            CounterSpec { name, group: fields(if sums { dice.below(3) } else { 1 + dice.below(2) }), sums }
        });
        Spec { indexes, counters: counters.collect() }
    }
}

impl Record for Item {
    const COLLECTION: &'static str = "items";
    type Key = (String, i16);

    fn key(&self) -> Self::Key {
        (self.name.clone(), self.number)
    }

    fn schema() -> Schema<Self> {
        let mut schema = Schema::new()
            .field("tiny", |item: &Item| item.tiny)
            .field("word", |item| item.word)
            .field("count", |item| item.count)
            .field("wide", |item| item.wide)
            .field("huge", |item| item.huge)
            .field("float", |item| item.float)
            .field("small_float", |item| item.small_float)
            .field("flag", |item| item.flag)
            .field("text", |item| item.text.clone())
            .field("raw", |item| item.raw.clone())
            .field("maybe", |item| item.maybe.clone())
            .field("maybe_number", |item| item.maybe_number)
            .field("stage", |item| item.stage)
            .field("at", |item| item.at)
            .field("pair", |item| item.pair.clone())
            .field("number", |item| item.number)
            .list_field("labels", |item| item.labels.clone())
            .list_field("scores", |item| item.scores.clone());
        SPEC.with_borrow(|spec| {
            for index in &spec.indexes {
                let parts = index.parts.iter();
                let parts = parts.map(|(field, down)| if *down { desc(field.name()) } else { asc(field.name()) });
                let before = std::mem::take(&mut schema);
                schema = match (index.unique, index.sparse) {
                    (false, false) => before.index(index.name, parts),
                    (true, false) => before.unique(index.name, parts),
                    (false, true) => before.sparse(index.name, parts),
                    (true, true) => before.unique_sparse(index.name, parts),
                };
            }
            for counter in &spec.counters {
                let group: Vec<&'static str> = counter.group.iter().map(|field| field.name()).collect();
                let before = std::mem::take(&mut schema);
                schema = match counter.sums {
                    true => before.sum(counter.name, group, |item| item.tiny.into()),
                    false => before.count_by(counter.name, group),
                };
            }
        });
        schema
    }
}

impl Item {
    pub fn draw(dice: &Dice) -> Self {
        let list = |most: usize| (0..dice.below(most)).map(|_| dice.text()).collect::<Vec<_>>();
        Item {
            name: dice.pick(&["", "a", "a\0", "ab"]).to_owned(),
            number: dice.pick(&[-1, 0, 10]),
            tiny: dice.signed() as i8,
            word: dice.signed() as u16,
            count: dice.signed() as u64,
            wide: dice.signed(),
            huge: dice.signed() as u128,
            float: dice.float(),
            small_float: dice.pick(&[0.0, -0.0, 1.5, -1.5, f32::NAN, -f32::NAN, f32::MIN, f32::MAX, f32::INFINITY]),
            flag: dice.coin(),
            text: dice.text(),
            raw: dice.text().into_bytes(),
            maybe: dice.coin().then(|| dice.text()),
            maybe_number: dice.coin().then(|| dice.signed() as i32),
            stage: dice.pick(&[Stage::Draft, Stage::Live, Stage::Old]),
            at: Timestamp(dice.pick(&[0, 1, 1_000, u64::MAX])),
            pair: (dice.pick(&[0, 255]), dice.text()),
            labels: list(4),
            scores: (0..dice.below(3)).map(|_| dice.signed() as i64).collect(),
        }
    }

    /// To the bit, as floats don't compare.
    pub fn is(&self, other: &Item) -> bool {
        format!("{self:?}") == format!("{other:?}") && self.float.to_bits() == other.float.to_bits()
    }
}
