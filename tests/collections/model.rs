//! Random schemas, records, operations and queries against a model: a vector that is sorted for each question.

use std::collections::BTreeMap;
use std::ops::Bound;

use ml_persistence::{Collection, Durability, Error, ErrorKind, MlPersistence, Page, Query, asc, desc};

use super::dice::Dice;
use super::item::{Field, IndexSpec, Item, SPEC, Spec, Value, Verb, ask};

const CASES: u64 = 256;
const OPERATIONS: usize = 200;

type Key = (String, i16);

/// What is stored, by key, with its revision.
#[derive(Default)]
struct Model {
    rows: BTreeMap<Key, (Item, u64)>,
}

/// An entry of an index, as the model sees it: values in part order.
type Entry = Vec<Value>;

fn entries(index: &IndexSpec, item: &Item) -> Vec<Entry> {
    let mut entries: Vec<Entry> = vec![Vec::new()];
    for (field, _) in &index.parts {
        let values = field.values(item);
        let with = |entry: &Entry, value: &Value| entry.iter().chain([value]).cloned().collect();
        entries = entries.iter().flat_map(|entry| values.iter().map(move |value| with(entry, value))).collect();
    }
    entries.retain(|entry| !(index.sparse && entry.iter().any(Value::is_absent)));
    entries
}

/// What saving `item` answers, checked in the documented order.
fn refusal(spec: &Spec, model: &Model, item: &Item) -> Option<ErrorKind> {
    let long = |entries: Vec<Entry>| entries.iter().flatten().any(Value::is_long);
    let in_index = spec.indexes.iter().any(|index| long(entries(index, item)));
    let in_counter = spec.counters.iter().any(|counter| long(groups(&counter.group, item)));
    if in_index || in_counter {
        return Some(ErrorKind::Invalid);
    }
    let key = (item.name.clone(), item.number);
    for index in spec.indexes.iter().filter(|index| index.unique) {
        let own = entries(index, item);
        for (other, _) in model.rows.iter().filter(|(other, _)| **other != key).map(|(_, row)| row) {
            if entries(index, other).iter().any(|entry| own.contains(entry)) {
                return Some(ErrorKind::AlreadyExists);
            }
        }
    }
    None
}

fn groups(group: &[Field], item: &Item) -> Vec<Entry> {
    let parts = group.iter().map(|field| (*field, false)).collect();
    entries(&IndexSpec { name: "", parts, unique: false, sparse: false }, item)
}

/// A query, and which rows the model expects for it in which order.
struct Question {
    query: Query,
    expected: Vec<Key>,
    /// Whether the order of rows with equal ordered values is pinned, too.
    index: IndexSpec,
}

/// A place in an entry, and the bounds of its value.
type Test = (usize, (Bound<Value>, Bound<Value>));

/// Draws a question that `index` serves.
fn question(dice: &Dice, model: &Model, index: &IndexSpec) -> Question {
    let all: Vec<&Item> = model.rows.values().map(|(item, _)| item).collect();
    let drawn = Item::draw(dice);
    // Values that are there, mostly.
    let from = |dice: &Dice| if all.is_empty() || dice.once_in(4) { drawn.clone() } else { dice.pick(&all).clone() };
    let mut query = Query::index(index.name);
    let mut tests: Vec<Test> = Vec::new();
    let mut start: Option<(usize, Vec<u8>)> = None;
    let equal = dice.below(index.parts.len() + 1);
    // What has no value to ask with ends the equal parts.
    let mut place = 0;
    let of = |item: &Item, field: Field, at: usize| field.values(item)[at].clone();
    while place < equal {
        let (field, item) = (index.parts[place].0, from(dice));
        let values = field.values(&item);
        if values.is_empty() {
            break;
        }
        let at = dice.below(values.len());
        query = ask(query, Verb::Eq, field, &item, at);
        tests.push((place, (Bound::Included(of(&item, field, at)), Bound::Included(of(&item, field, at)))));
        place += 1;
    }
    let equal = place;
    if let Some((field, _)) = index.parts.get(equal).copied() {
        let (one, two) = (from(dice), from(dice));
        let (first, second) = (field.values(&one), field.values(&two));
        let kind = dice.below(8);
        if kind < 5 && !first.is_empty() && !second.is_empty() {
            let (a, b) = (dice.below(first.len()), dice.below(second.len()));
            let (low, high) = (of(&one, field, a), of(&two, field, b));
            let bounds = match kind {
                0 => {
                    query = ask(query, Verb::Lt, field, &two, b);
                    (Bound::Unbounded, Bound::Excluded(high))
                }
                1 => {
                    query = ask(query, Verb::Le, field, &two, b);
                    (Bound::Unbounded, Bound::Included(high))
                }
                2 => {
                    query = ask(query, Verb::Gt, field, &one, a);
                    (Bound::Excluded(low), Bound::Unbounded)
                }
                3 => {
                    query = ask(query, Verb::Ge, field, &one, a);
                    (Bound::Included(low), Bound::Unbounded)
                }
                // Between, ends that cross each other included.
                _ => {
                    query = ask(ask(query, Verb::Ge, field, &one, a), Verb::Le, field, &two, b);
                    (Bound::Included(low), Bound::Included(high))
                }
            };
            tests.push((equal, bounds));
        } else if kind == 5 && field.is_text() {
            let text = dice.pick(&["", "a", "a\0", "\0", "ab", "é"]);
            query = match field.name() {
                "raw" => query.starts_with(field.name(), text.as_bytes()),
                _ => query.starts_with(field.name(), text),
            };
            start = Some((equal, text.as_bytes().to_vec()));
        }
    }
    // An order by what follows, with or against it; equal parts may be named as well.
    let (flip, reversed) = (dice.coin(), dice.once_in(3));
    let ordered = if dice.coin() { dice.below(index.parts.len() - equal + 1) } else { 0 };
    for (field, down) in index.parts.iter().skip(equal).take(ordered) {
        query = query.order_by(if *down != flip { desc(field.name()) } else { asc(field.name()) });
    }
    if reversed {
        query = query.descending();
    }
    let turned = (ordered > 0 && flip) != reversed;
    let expected = answer(model, index, turned, |entry| {
        let inside = |(place, bounds): &Test| {
            let value = &entry[*place];
            let above = match &bounds.0 {
                Bound::Included(low) => value >= low,
                Bound::Excluded(low) => value > low,
                Bound::Unbounded => true,
            };
            let below = match &bounds.1 {
                Bound::Included(high) => value <= high,
                Bound::Excluded(high) => value < high,
                Bound::Unbounded => true,
            };
            above && below
        };
        tests.iter().all(inside) && start.as_ref().is_none_or(|(place, start)| entry[*place].starts_with(start))
    });
    Question { query, expected, index: index.clone() }
}

/// Keys of the rows with an entry that is wanted, in the index's order or against it, each at its first place.
fn answer(model: &Model, index: &IndexSpec, turned: bool, wanted: impl Fn(&Entry) -> bool) -> Vec<Key> {
    let mut found: Vec<(Entry, Key)> = Vec::new();
    for (key, (item, _)) in &model.rows {
        found.extend(entries(index, item).into_iter().filter(&wanted).map(|entry| (entry, key.clone())));
    }
    found.sort_by(|(a, key_a), (b, key_b)| {
        let parts = index.parts.iter().zip(a.iter().zip(b));
        let by_parts = parts.map(|((_, down), (a, b))| if *down { b.cmp(a) } else { a.cmp(b) });
        by_parts.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then).then_with(|| key_a.cmp(key_b))
    });
    if turned {
        found.reverse();
    }
    let mut keys: Vec<Key> = Vec::new();
    for (_, key) in found {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

/// Every page of the query's answer, each row compared with the model's.
fn read_all(items: &Collection<Item>, model: &Model, query: &Query, limit: usize) -> Result<Vec<Key>, Error> {
    let (mut keys, mut token) = (Vec::new(), None::<String>);
    loop {
        let mut query = query.clone().limit(limit);
        if let Some(token) = token {
            query = query.after(token);
        }
        let Page { rows, next, damaged, .. } = items.list(&query)?;
        assert!(rows.len() <= limit && damaged.is_empty());
        for row in rows {
            let key = (row.name.clone(), row.number);
            let (item, revision) = &model.rows[&key];
            assert!(row.record.is(item) && row.revision == *revision, "a row is what was saved");
            keys.push(key);
        }
        token = next;
        if token.is_none() {
            return Ok(keys);
        }
    }
}

struct Case {
    dice: Dice,
    spec: Spec,
    db: MlPersistence,
    items: Collection<Item>,
    model: Model,
}

impl Case {
    fn new(seed: u64) -> Self {
        let dice = Dice::new(seed);
        let spec = Spec::draw(&dice);
        SPEC.set(spec.clone());
        let db = MlPersistence::in_memory().durability(Durability::Buffered).open().expect("a store in memory");
        let items = db.collection::<Item>().expect("a schema that makes sense");
        Case { dice, spec, db, items, model: Model::default() }
    }

    fn write(&mut self) {
        let item = Item::draw(&self.dice);
        let key = (item.name.clone(), item.number);
        let stored = self.model.rows.get(&key).map(|(_, revision)| *revision);
        let kind = self.dice.below(4);
        let guess = self.dice.below(4) as u64;
        let (answer, early) = match kind {
            0 => (self.items.insert(item.clone()), stored.map(|_| ErrorKind::AlreadyExists)),
            1 => {
                let conflict =
                    stored.map_or(Some(ErrorKind::NotFound), |stored| (stored != guess).then_some(ErrorKind::Conflict));
                (self.items.update(item.clone(), guess), conflict)
            }
            2 => (self.items.save(item.clone()), None),
            // The same inside a transaction, twice: the second sees the first.
            _ => {
                let answer = self.db.transact(|txn| {
                    let mut items = txn.collection::<Item>()?;
                    let first = items.save(item.clone())?;
                    assert_eq!(items.get(&key)?.map(|row| row.revision), Some(first.revision));
                    items.save(item.clone())
                });
                (answer, None)
            }
        };
        let expected = early.or_else(|| refusal(&self.spec, &self.model, &item));
        match (answer, expected) {
            (Ok(row), None) => {
                let revision = stored.unwrap_or(0) + if kind == 3 { 2 } else { 1 };
                assert_eq!(row.revision, revision);
                self.model.rows.insert(key, (item, revision));
            }
            (Err(error), Some(kind)) => assert_eq!(error.kind(), kind, "{error}"),
            (answer, expected) => panic!("answered {answer:?}, expected {expected:?}"),
        }
    }

    fn delete(&mut self) {
        let item = Item::draw(&self.dice);
        let key = (item.name, item.number);
        let was_there = self.model.rows.remove(&key).is_some();
        assert_eq!(self.items.delete(&key).expect("a deletion"), was_there);
        assert_eq!(self.items.get(&key).expect("a read").map(|row| row.revision), None);
    }

    fn ask(&mut self) {
        let index = self.dice.pick(&self.spec.indexes);
        let Question { query, expected, index } = question(&self.dice, &self.model, &index);
        let limit = self.dice.pick(&[1, 2, 3, 7, 1_000]);
        let found =
            read_all(&self.items, &self.model, &query, limit).unwrap_or_else(|error| panic!("{error}: {query:?}"));
        assert_eq!(found, expected, "{index:?} {query:?}");
        // Without its name, an index that leaves nothing out answers the same rows; or another one that serves, too, in
        // an order of its own.
        if !index.sparse && !index.parts.iter().any(|(field, _)| field.is_list()) {
            let mut unnamed = read_all(&self.items, &self.model, &query.clone().any_index(), limit).expect("a list");
            let mut expected = expected.clone();
            unnamed.sort();
            expected.sort();
            assert_eq!(unnamed, expected, "{query:?}");
        }
        if self.dice.once_in(12) {
            let removed = self.items.delete_where(&query).expect("a deletion");
            assert_eq!(removed, expected.len() as u64, "{query:?}");
            self.model.rows.retain(|key, _| !expected.contains(key));
        }
    }

    fn count(&self) {
        assert_eq!(self.items.count().expect("a count"), self.model.rows.len() as u64);
        for counter in &self.spec.counters {
            let mut sums: BTreeMap<Entry, i64> = BTreeMap::new();
            for (item, _) in self.model.rows.values() {
                for group in groups(&counter.group, item) {
                    *sums.entry(group).or_default() += if counter.sums { i64::from(item.tiny) } else { 1 };
                }
            }
            sums.retain(|_, sum| *sum != 0);
            // Each group by a record that is in it, and all of them by their number and sum.
            for (item, _) in self.model.rows.values() {
                if let [field] = counter.group.as_slice()
                    && field.name() == "text"
                {
                    let expected = sums.get(&field.values(item)).copied().unwrap_or(0);
                    assert_eq!(self.items.sum(counter.name, item.text.as_str()).expect("a sum"), expected);
                }
            }
            let found: Option<Vec<i64>> = match counter.group.as_slice() {
                [] => Some(vec![self.items.sum(counter.name, ()).expect("a sum")]),
                [field] if matches!(field.name(), "text" | "labels") => {
                    Some(sums_of::<String>(&self.items, counter.name))
                }
                [field] if field.name() == "scores" => Some(sums_of::<i64>(&self.items, counter.name)),
                [field] if field.name() == "maybe" => Some(sums_of::<Option<String>>(&self.items, counter.name)),
                [field] if field.name() == "float" => Some(sums_of::<f64>(&self.items, counter.name)),
                _ => None,
            };
            if let Some(found) = found {
                let mut expected: Vec<i64> = sums.into_values().collect();
                if counter.group.is_empty() && expected.is_empty() {
                    expected.push(0);
                }
                assert_eq!(found, expected, "{counter:?}");
            }
        }
    }

    fn verify(&self) {
        let report = self.db.verify().expect("a sweep");
        assert_eq!(report.violations, []);
        assert_eq!(report.records, self.model.rows.len() as u64);
    }

    fn run(mut self) {
        for _ in 0..OPERATIONS {
            match self.dice.below(10) {
                0..=3 => self.write(),
                4 => self.delete(),
                5 => self.count(),
                _ => self.ask(),
            }
        }
        let by_key = read_all(&self.items, &self.model, &Query::new(), 5).expect("a list");
        assert_eq!(by_key, self.model.rows.keys().cloned().collect::<Vec<_>>());
        let backwards = read_all(&self.items, &self.model, &Query::new().descending(), 5).expect("a list");
        assert_eq!(backwards, self.model.rows.keys().rev().cloned().collect::<Vec<_>>());
        self.verify();
    }
}

fn sums_of<G: ml_persistence::FromKey>(items: &Collection<Item>, counter: &str) -> Vec<i64> {
    items.counts::<G>(counter).expect("its groups").into_iter().map(|(_, sum)| sum).collect()
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn every_query_over_every_schema_answers_the_rows_of_a_sorted_vector() {
    let seeds = match setting("MLP_COLLECTIONS_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..setting("MLP_COLLECTIONS_CASES").unwrap_or(CASES),
    };
    for seed in seeds {
        // The name of a failing case; printed with its panic.
        println!("MLP_COLLECTIONS_SEED={seed}");
        Case::new(seed).run();
    }
}
